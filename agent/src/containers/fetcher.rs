//! Brings what a command lists as URIs into its sandbox, before it starts.
//!
//! It runs as a process of its own, as the container's user, so that a framework cannot read what that user
//! may not. Local files are copied; what lies on the network is left to `curl`.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use api::v1::command_info::Uri;
use serde::{Deserialize, Serialize};

/// What the fetcher is to do, as it finds it on standard input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orders {
    /// What to fetch, in this order.
    pub items: Vec<Item>,
    /// Where to.
    pub sandbox: PathBuf,
    /// What relative URIs are relative to.
    pub frameworks_home: Option<PathBuf>,
}

/// One URI.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Where from.
    pub uri: String,
    /// Whether to make it executable; it is not extracted then.
    pub executable: bool,
    /// Whether to extract it, if it is an archive.
    pub extract: bool,
    /// What to call it; by default the URI's last part.
    pub output_file: Option<String>,
}

impl From<&Uri> for Item {
    fn from(uri: &Uri) -> Item {
        Item {
            uri: uri.value.clone(),
            executable: uri.executable.unwrap_or(false),
            extract: uri.extract.unwrap_or(true),
            output_file: uri.output_file.clone(),
        }
    }
}

/// Why something was not fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// What came on standard input is not what the agent writes.
    #[error("the fetcher is started by the agent, which tells it what to fetch")]
    Orders(#[source] serde_json::Error),
    /// It cannot be a URI.
    #[error("`{0}` is no URI: it is empty or holds a backslash, a single quote or a NUL")]
    Characters(String),
    /// There is nothing behind the scheme.
    #[error("`{0}` names no path")]
    NoPath(String),
    /// Nothing here can fetch that.
    #[error(
        "`{uri}` cannot be fetched: this agent knows local paths, file, http, https, ftp and ftps, not {scheme}"
    )]
    Scheme {
        /// The URI.
        uri: String,
        /// Its scheme.
        scheme: String,
    },
    /// A relative path needs something to be relative to.
    #[error("`{0}` is a relative path, and the agent was started without --frameworks_home")]
    Relative(String),
    /// The name given would leave the sandbox.
    #[error("the output file `{0}` is empty, absolute or leaves the sandbox")]
    Output(String),
    /// Copying failed.
    #[error("could not fetch `{uri}` to `{to}`")]
    Copy {
        /// The URI.
        uri: String,
        /// The file in the sandbox.
        to: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Downloading failed.
    #[error("could not download `{uri}`: {reason}")]
    Download {
        /// The URI.
        uri: String,
        /// What the downloading program said.
        reason: String,
    },
    /// Extracting failed.
    #[error("could not extract `{archive}`: {reason}")]
    Extract {
        /// The archive in the sandbox.
        archive: PathBuf,
        /// What the extracting program said.
        reason: String,
    },
}

/// Carries the orders out; says on stderr, which lies in the sandbox, what failed.
pub fn main(orders: &[u8]) -> ExitCode {
    let fetched = serde_json::from_slice::<Orders>(orders)
        .map_err(FetchError::Orders)
        .and_then(|orders| orders.items.iter().try_for_each(|item| fetch(item, &orders)));
    let Err(error) = fetched else { return ExitCode::SUCCESS };
    let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
    let _ = writeln!(io::stderr(), "{error}{cause}");
    ExitCode::FAILURE
}

fn fetch(item: &Item, orders: &Orders) -> Result<(), FetchError> {
    let source = source(&item.uri, orders.frameworks_home.as_deref())?;
    let to = orders.sandbox.join(target(item)?);
    let failed = |source| FetchError::Copy { uri: item.uri.clone(), to: to.clone(), source };
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).map_err(failed)?;
    }
    match source {
        Source::Local(path) => drop(fs::copy(path, &to).map_err(failed)?),
        Source::Network => download(&item.uri, &to)?,
    }
    if item.executable {
        return fs::set_permissions(&to, fs::Permissions::from_mode(0o755)).map_err(failed);
    }
    if item.extract { extract(&to) } else { Ok(()) }
}

/// Where something comes from.
#[derive(Debug, PartialEq, Eq)]
enum Source {
    Local(PathBuf),
    Network,
}

/// Where the URI says it lies.
fn source(uri: &str, home: Option<&Path>) -> Result<Source, FetchError> {
    if uri.is_empty() || uri.contains(['\\', '\'', '\0']) {
        return Err(FetchError::Characters(uri.escape_debug().to_string()));
    }
    if let Some(rest) = uri.strip_prefix("file://") {
        let path = rest.strip_prefix("localhost").unwrap_or(rest);
        let absolute = path.starts_with('/');
        return if absolute {
            Ok(Source::Local(path.into()))
        } else {
            Err(FetchError::NoPath(uri.to_owned()))
        };
    }
    if let Some((scheme, rest)) = uri.split_once("://") {
        if ["http", "https", "ftp", "ftps"].contains(&scheme) {
            return if rest.contains('/') {
                Ok(Source::Network)
            } else {
                Err(FetchError::NoPath(uri.to_owned()))
            };
        }
        return Err(FetchError::Scheme { uri: uri.to_owned(), scheme: scheme.to_owned() });
    }
    if uri.starts_with('/') {
        return Ok(Source::Local(uri.into()));
    }
    home.map(|home| Source::Local(home.join(uri))).ok_or_else(|| FetchError::Relative(uri.to_owned()))
}

/// What the file is called in the sandbox.
fn target(item: &Item) -> Result<PathBuf, FetchError> {
    let name = match &item.output_file {
        Some(name) => name.as_str(),
        None => item.uri.rsplit('/').next().unwrap_or_default(),
    };
    let path = Path::new(name);
    let stays = path.components().all(|component| matches!(component, Component::Normal(_)));
    match (name.is_empty(), stays, &item.output_file) {
        (false, true, _) => Ok(path.to_owned()),
        (_, _, Some(_)) => Err(FetchError::Output(name.to_owned())),
        (_, _, None) => Err(FetchError::NoPath(item.uri.clone())),
    }
}

/// Downloads; gives up when nothing comes for a minute.
fn download(uri: &str, to: &Path) -> Result<(), FetchError> {
    let failed = |reason: String| FetchError::Download { uri: uri.to_owned(), reason };
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--fail", "--location", "--globoff"]);
    curl.args(["--connect-timeout", "60", "--speed-limit", "1", "--speed-time", "60", "--output"]);
    run(curl.arg(to).arg("--").arg(uri)).map_err(failed)
}

/// Extracts an archive beside itself; a file of another kind stays as it is.
fn extract(archive: &Path) -> Result<(), FetchError> {
    let name = archive.file_name().map(OsStr::to_string_lossy).unwrap_or_default().to_lowercase();
    let ends = |suffixes: &[&str]| suffixes.iter().any(|suffix| name.ends_with(suffix));
    let directory = archive.parent().unwrap_or(Path::new("."));
    let failed = |reason: String| FetchError::Extract { archive: archive.to_owned(), reason };
    if ends(&[".tar", ".tgz", ".tar.gz", ".tbz2", ".tar.bz2", ".txz", ".tar.xz"]) {
        run(Command::new("tar").arg("-C").arg(directory).arg("-xf").arg(archive)).map_err(failed)
    } else if ends(&[".zip"]) {
        run(Command::new("unzip").arg("-o").arg("-d").arg(directory).arg(archive)).map_err(failed)
    } else if ends(&[".gz"]) {
        let unpacked =
            fs::File::create(archive.with_extension("")).map_err(|error| failed(error.to_string()))?;
        run(Command::new("gzip").args(["-d", "-c"]).arg(archive).stdout(unpacked)).map_err(failed)
    } else {
        Ok(())
    }
}

/// Runs a program to its end; what it said when it failed.
fn run(command: &mut Command) -> Result<(), String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn();
    let output = child
        .and_then(|child| child.wait_with_output())
        .map_err(|error| format!("`{program}` could not be run: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said: String = String::from_utf8_lossy(&output.stderr).trim().chars().take(500).collect();
    Err(format!("`{program}` ended with {}: {said}", output.status))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(uri: &str) -> Item {
        Item { uri: uri.into(), executable: false, extract: true, output_file: None }
    }

    #[test]
    fn local_paths_are_found_and_everything_else_is_refused_by_name() {
        let home = Some(Path::new("/home/fw"));
        for (uri, path) in [
            ("/a/b", "/a/b"),
            ("file:///a/b", "/a/b"),
            ("file://localhost/a/b", "/a/b"),
            ("c/d", "/home/fw/c/d"),
        ] {
            assert_eq!(source(uri, home).unwrap(), Source::Local(path.into()));
        }
        assert_eq!(source("http://x/y", home).unwrap(), Source::Network);
        assert!(matches!(source("http://x", home), Err(FetchError::NoPath(_))));
        assert!(
            matches!(source("hdfs://x/y", home), Err(FetchError::Scheme { scheme, .. }) if scheme == "hdfs")
        );
        assert!(
            matches!(source("hdfs://x/y", home), Err(FetchError::Scheme { scheme, .. }) if scheme == "hdfs")
        );
        assert!(matches!(source("c/d", None), Err(FetchError::Relative(_))));
        assert!(matches!(source("/a'b", home), Err(FetchError::Characters(_))));
        assert!(matches!(source("file://", home), Err(FetchError::NoPath(_))));
    }

    #[test]
    fn a_file_never_lands_outside_the_sandbox() {
        assert_eq!(target(&item("/a/b.tar")).unwrap(), Path::new("b.tar"));
        assert!(matches!(target(&item("/a/")), Err(FetchError::NoPath(_))));
        assert!(matches!(target(&item("/a/..")), Err(FetchError::NoPath(_))));
        for name in ["", "/etc/x", "../x", "a/../../x"] {
            let item = Item { output_file: Some(name.into()), ..item("/a/b") };
            assert!(matches!(target(&item), Err(FetchError::Output(_))), "{name}");
        }
    }

    #[test]
    fn files_are_copied_made_executable_or_extracted() {
        let from = tempfile::tempdir().unwrap();
        let sandbox = tempfile::tempdir().unwrap();
        let path = |name: &str| from.path().join(name).display().to_string();
        fs::write(path("run"), "#!/bin/sh\n").unwrap();
        fs::write(path("inner"), "inside").unwrap();
        let tar = Command::new("tar")
            .arg("-C")
            .arg(from.path())
            .args(["-czf", &path("x.tar.gz"), "inner"])
            .status();
        assert!(tar.unwrap().success());
        let items = vec![
            Item { executable: true, output_file: Some("bin/run".into()), ..item(&path("run")) },
            item(&format!("file://{}", path("x.tar.gz"))),
        ];
        let orders = Orders { items, sandbox: sandbox.path().into(), frameworks_home: None };
        orders.items.iter().try_for_each(|item| fetch(item, &orders)).unwrap();
        let mode = fs::metadata(sandbox.path().join("bin/run")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o755);
        assert_eq!(fs::read_to_string(sandbox.path().join("inner")).unwrap(), "inside");
        assert!(sandbox.path().join("x.tar.gz").exists(), "the archive stays");
        // A port that nothing listens on: curl says so, or is not installed, which is said as well.
        let error = fetch(&item("http://127.0.0.1:1/x"), &orders).unwrap_err();
        assert!(
            error.to_string().starts_with("could not download `http://127.0.0.1:1/x`: `curl`"),
            "{error}"
        );
        let error = fetch(&item(&path("absent")), &orders).unwrap_err();
        assert!(error.to_string().starts_with("could not fetch"), "{error}");
    }
}
