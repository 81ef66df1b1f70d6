//! Reads flags as Mesos does: from the command line and from `MESOS_*`, names in any case, with underscores or
//! dashes, `--no-name` for booleans, values from files.
//!
//! What comes out is plain arguments for clap, which knows the flags themselves.

use std::collections::BTreeMap;

use clap::{ArgAction, Command};

/// Why the flags cannot be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum FlagError {
    #[error("flag `--{0}` is given twice")]
    Twice(String),
    #[error("flag `--{0}` is not a yes-or-no flag, so `--no-{0}` means nothing")]
    NotBoolean(String),
    #[error("`--no-{0}` takes no value; write `--{0}=false`")]
    NegatedWithValue(String),
    #[error("`{value}` for `--{flag}` is neither true nor false")]
    NotTrueOrFalse { flag: String, value: String },
    #[error("could not read the value of `--{flag}` from `{path}`: {reason}")]
    File { flag: String, path: String, reason: String },
}

/// What clap knows of a flag.
struct Known {
    boolean: bool,
    file: File,
    many: bool,
}

/// What `file://` in front of a value means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum File {
    /// The file's content is the value.
    Content,
    /// The value is the path of a file, and this is that path.
    Path,
    /// Whoever gets the value knows what it means.
    Known,
}

/// Flags that know themselves what `file://` means: this file is read again while the program runs.
const KNOW_FILES: &[&str] = &["master"];

/// Flags whose value is the path of a file, so that the file is not read here.
const PATHS: &[&str] = &["credentials", "credential", "http_credentials", "jwt_secret_key", "whitelist"];

/// Rewrites the arguments behind a subcommand and adds what the environment says.
///
/// `env` are the program's variables. One that names no flag is ignored, as is one whose flag is on the
/// command line.
pub(crate) fn normalize(
    command: &Command,
    given: &[String],
    env: impl Iterator<Item = (String, String)>,
) -> Result<Vec<String>, FlagError> {
    let known = known(command);
    let canonical = |name: &str| current(canonical(name), command);
    let mut out = Vec::new();
    let mut seen: BTreeMap<String, ()> = BTreeMap::new();
    let mut rest = given.iter();
    while let Some(arg) = rest.next() {
        if arg == "--" {
            out.push(arg.clone());
            out.extend(rest.cloned());
            break;
        }
        let Some(body) = arg.strip_prefix("--").filter(|body| !body.is_empty()) else {
            out.push(arg.clone());
            continue;
        };
        let (name, value) = match body.split_once('=') {
            Some((name, value)) => (canonical(name), Some(value.to_owned())),
            None => (canonical(body), None),
        };
        let (name, value) = match (known.get(&name), name.strip_prefix("no_")) {
            (None, Some(positive)) if known.contains_key(positive) => {
                if !known[positive].boolean {
                    return Err(FlagError::NotBoolean(positive.to_owned()));
                }
                if value.is_some_and(|value| !value.is_empty()) {
                    return Err(FlagError::NegatedWithValue(positive.to_owned()));
                }
                (positive.to_owned(), Some("false".to_owned()))
            }
            (None, _) => {
                // Clap says what it thinks of a flag it does not know, in its own words.
                out.push(arg.clone());
                continue;
            }
            (Some(_), _) => (name, value),
        };
        let flag = &known[&name];
        if !flag.many && seen.insert(name.clone(), ()).is_some() {
            return Err(FlagError::Twice(name));
        }
        // `--port 5050` is as good as `--port=5050`.
        let value = match value {
            None if !flag.boolean => rest.next().cloned(),
            value => value,
        };
        out.push(argument(&name, value, flag)?);
    }
    let env: BTreeMap<String, String> = env
        .filter_map(|(name, value)| {
            let upper = name.to_ascii_uppercase();
            Some((canonical(upper.strip_prefix("MESOS_")?), value))
        })
        .collect();
    for (name, value) in env {
        if let Some(flag) = known.get(&name).filter(|_| !seen.contains_key(&name)) {
            // Before whatever `--` ends the flags.
            out.insert(0, argument(&name, Some(value), flag)?);
        }
    }
    Ok(out)
}

/// The name that counts where a flag is given by an old one.
fn current(name: String, command: &Command) -> String {
    let old = |arg: &&clap::Arg| {
        arg.get_all_aliases().is_some_and(|aliases| aliases.iter().any(|alias| canonical(alias) == name))
    };
    let current = command.get_arguments().find(old).and_then(|arg| arg.get_long());
    current.map_or(name.clone(), canonical)
}

fn canonical(name: &str) -> String {
    name.to_ascii_lowercase().replace('-', "_")
}

fn known(command: &Command) -> BTreeMap<String, Known> {
    let flags = command.get_arguments().filter_map(|arg| {
        let name = arg.get_long()?;
        let boolean = arg.get_num_args().is_some_and(|range| range.min_values() == 0);
        let many = matches!(arg.get_action(), ArgAction::Append);
        let file = match name {
            name if PATHS.contains(&name) => File::Path,
            name if KNOW_FILES.contains(&name) => File::Known,
            _ => File::Content,
        };
        Some((canonical(name), Known { boolean, file, many }))
    });
    flags.collect()
}

fn argument(name: &str, value: Option<String>, flag: &Known) -> Result<String, FlagError> {
    if name == "help" || name == "version" {
        return Ok(format!("--{name}"));
    }
    let Some(value) = value else {
        return Ok(if flag.boolean { format!("--{name}=true") } else { format!("--{name}") });
    };
    let value = match value.strip_prefix("file://").filter(|_| flag.file != File::Known) {
        Some(path) if flag.file == File::Path => path.to_owned(),
        Some(path) => match std::fs::read_to_string(path) {
            Ok(content) => content.trim_end().to_owned(),
            Err(error) => {
                return Err(FlagError::File {
                    flag: name.to_owned(),
                    path: path.to_owned(),
                    reason: error.to_string(),
                });
            }
        },
        None => value,
    };
    if !flag.boolean {
        return Ok(format!("--{name}={value}"));
    }
    match value.to_ascii_lowercase().as_str() {
        "" | "true" | "1" => Ok(format!("--{name}=true")),
        "false" | "0" => Ok(format!("--{name}=false")),
        _ => Err(FlagError::NotTrueOrFalse { flag: name.to_owned(), value }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Arg;

    fn command() -> Command {
        let boolean = Arg::new("quiet").long("quiet").num_args(0..=1).default_missing_value("true");
        Command::new("test")
            .arg(Arg::new("work_dir").long("work_dir"))
            .arg(Arg::new("port").long("port"))
            .arg(Arg::new("role_sorter").long("role_sorter").alias("user_sorter"))
            .arg(Arg::new("credentials").long("credentials"))
            .arg(Arg::new("master").long("master"))
            .arg(boolean)
    }

    fn check(given: &[&str], env: &[(&str, &str)]) -> Result<Vec<String>, FlagError> {
        let given: Vec<String> = given.iter().map(|s| (*s).to_owned()).collect();
        normalize(&command(), &given, env.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())))
    }

    #[test]
    fn names_come_in_any_case_with_dashes_and_with_values_apart() {
        assert_eq!(
            check(&["--Work-Dir=/x", "--port", "5050", "--quiet"], &[]).unwrap(),
            ["--work_dir=/x", "--port=5050", "--quiet=true"]
        );
    }

    #[test]
    fn a_boolean_is_negated_by_no_and_nothing_else_is() {
        assert_eq!(check(&["--no-quiet"], &[]).unwrap(), ["--quiet=false"]);
        assert_eq!(check(&["--no-port"], &[]), Err(FlagError::NotBoolean("port".into())));
        assert_eq!(check(&["--no-quiet=1"], &[]), Err(FlagError::NegatedWithValue("quiet".into())));
        assert!(matches!(check(&["--quiet=maybe"], &[]), Err(FlagError::NotTrueOrFalse { .. })));
    }

    #[test]
    fn the_environment_is_read_and_the_command_line_wins() {
        let env = [("MESOS_WORK_DIR", "/env"), ("MESOS_UNKNOWN", "1"), ("HOME", "/h"), ("mesos_quiet", "0")];
        assert_eq!(check(&["--port=1"], &env).unwrap(), ["--work_dir=/env", "--quiet=false", "--port=1"]);
        assert_eq!(check(&["--work_dir=/cli"], &env[..1]).unwrap(), ["--work_dir=/cli"]);
    }

    #[test]
    fn a_flag_is_given_once() {
        assert_eq!(check(&["--port=1", "--PORT=2"], &[]), Err(FlagError::Twice("port".into())));
    }

    #[test]
    fn an_old_name_is_as_good_as_the_present_one() {
        let env = [("MESOS_USER_SORTER", "random")];
        assert_eq!(check(&[], &env).unwrap(), ["--role_sorter=random"]);
        assert_eq!(check(&["--user-sorter", "drf"], &env).unwrap(), ["--role_sorter=drf"]);
        let both = ["--role_sorter=drf", "--user_sorter=drf"];
        assert_eq!(check(&both, &[]), Err(FlagError::Twice("role_sorter".into())));
    }

    #[test]
    fn a_value_may_be_the_content_of_a_file_and_a_path_stays_a_path() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("port");
        std::fs::write(&path, "5055\n").unwrap();
        let arg = format!("--port=file://{}", path.display());
        assert_eq!(check(&[&arg], &[]).unwrap(), ["--port=5055"]);
        assert_eq!(check(&["--credentials=file:///c"], &[]).unwrap(), ["--credentials=/c"]);
        assert_eq!(check(&["--master=file:///m"], &[]).unwrap(), ["--master=file:///m"]);
        assert!(matches!(check(&["--port=file:///no/such"], &[]), Err(FlagError::File { .. })));
    }

    #[test]
    fn what_stands_behind_two_dashes_is_left_alone() {
        assert_eq!(check(&["--port=1", "--", "--port=2"], &[]).unwrap(), ["--port=1", "--", "--port=2"]);
    }
}
