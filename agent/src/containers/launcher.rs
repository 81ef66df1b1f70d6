//! The program between the agent and an executor: `mesos containerizer launch`.
//!
//! The agent starts it in place of the executor, with the executor's environment and output files. It makes
//! itself a session, waits until the agent has done what needs its pid, becomes the executor's user, and
//! then the executor. It uses no threads and no runtime: it is started for every executor, and is to cost a
//! few milliseconds at most.

use std::ffi::{CString, OsStr, OsString};
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use nix::unistd::{Uid, User, chdir, dup2_stdin, geteuid, initgroups, setgid, setsid, setuid};

use crate::command_task::EXECUTOR_ARGUMENTS;
use crate::containers::{fetcher, processes};
use crate::executor;

/// What the agent writes to standard input to let the launcher go on. When its end comes instead, the
/// agent has changed its mind, or is dead.
pub const GO: u8 = 1;
/// The words after the `mesos` command that make it the launcher.
pub const LAUNCH_ARGUMENTS: [&str; 2] = ["containerizer", "launch"];
/// The words after the `mesos` command that make it the fetcher.
pub const FETCH_ARGUMENTS: [&str; 2] = ["containerizer", "fetch"];

/// What stands in front of each variable's name while the launcher still is somebody else than the executor
/// will be. A framework chooses the variables, and some of them, `LD_PRELOAD` above all, would make the
/// launcher, which may be root, run what the framework's user has put somewhere.
pub const VEIL: &str = "MESOS_VEILED_";

/// What the launcher is told on its command line:
/// `[--user=NAME] --directory=DIR -- PROGRAM [ARGV0 ARG...]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Whom to become.
    pub user: Option<String>,
    /// Where to go.
    pub directory: PathBuf,
    /// What to execute, looked up in `PATH`; empty for the fetcher.
    pub program: OsString,
    /// Its whole argument vector, `argv[0]` included.
    pub arguments: Vec<OsString>,
}

/// Why a container did not start. It is written to the container's stderr.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// Started by hand, most likely.
    #[error("the launcher is started by the agent, with --directory=DIR -- PROGRAM ARGV0 ARG...: {0}")]
    Usage(String),
    /// A step failed.
    #[error("could not {what}")]
    Step {
        /// Which.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// The user to become does not exist.
    #[error("there is no user `{0}` on this machine")]
    UnknownUser(String),
}

fn step(what: impl Into<String>) -> impl FnOnce(io::Error) -> LaunchError {
    let what = what.into();
    move |source| LaunchError::Step { what, source }
}

impl Plan {
    /// The words, behind those that name the helper, that say this.
    pub fn arguments(&self) -> Vec<OsString> {
        let joined = |flag: &str, value: &OsStr| {
            let mut text = OsString::from(flag);
            text.push(value);
            text
        };
        let mut line = Vec::with_capacity(4 + self.arguments.len());
        line.extend(self.user.as_ref().map(|user| joined("--user=", OsStr::new(user))));
        line.push(joined("--directory=", self.directory.as_os_str()));
        line.push("--".into());
        line.push(self.program.clone());
        line.extend(self.arguments.iter().cloned());
        line
    }

    /// Reads the words behind `containerizer launch`.
    pub fn parse(mut line: impl Iterator<Item = OsString>) -> Result<Plan, LaunchError> {
        let usage = |text: &str| LaunchError::Usage(text.to_owned());
        let (mut user, mut directory) = (None, None);
        loop {
            let word = line.next().ok_or_else(|| usage("there is no `--`"))?;
            let text = word.to_string_lossy();
            if text == "--" {
                break;
            } else if let Some(name) = text.strip_prefix("--user=") {
                user = Some(name.to_owned());
            } else if let Some(path) = word.as_bytes().strip_prefix(b"--directory=") {
                directory = Some(PathBuf::from(OsStr::from_bytes(path)));
            } else {
                return Err(usage(&format!("`{text}` is none of its flags")));
            }
        }
        Ok(Plan {
            user,
            directory: directory.ok_or_else(|| usage("--directory is missing"))?,
            program: line.next().ok_or_else(|| usage("no program"))?,
            arguments: line.collect(),
        })
    }
}

/// `mesos containerizer launch`: becomes what the rest of its command line says. Returns only when it failed,
/// or when what it became was a part of this program.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    launch(arguments).unwrap_or_else(|error| report(&error))
}

/// `mesos containerizer fetch`: fetches what standard input lists into `--directory`, as `--user`.
pub fn fetch_main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let fetched = (|| {
        let plan = Plan::parse(arguments)?;
        begin()?;
        become_user(&plan)?;
        unveil(&plan);
        let mut orders = Vec::new();
        io::stdin().lock().read_to_end(&mut orders).map_err(step("read what to fetch"))?;
        Ok(orders)
    })();
    match fetched {
        Ok(orders) => fetcher::main(&orders),
        Err(error) => report(&error),
    }
}

fn report(error: &LaunchError) -> ExitCode {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    eprintln!("{error}{cause}");
    ExitCode::FAILURE
}

fn launch(arguments: impl Iterator<Item = OsString>) -> Result<ExitCode, LaunchError> {
    let plan = Plan::parse(arguments)?;
    begin()?;
    let mut go = [0; 1];
    // One byte and no more: nothing may be left in a buffer that the executor cannot see.
    let n_read = nix::unistd::read(io::stdin(), &mut go)
        .map_err(io::Error::from)
        .map_err(step("wait for the agent"))?;
    if n_read == 0 || go[0] != GO {
        // The agent is dead or has changed its mind: nobody waits for a container.
        return Ok(ExitCode::FAILURE);
    }
    become_user(&plan)?;
    unveil(&plan);
    let null = OpenOptions::new().read(true).open("/dev/null").map_err(step("open /dev/null"))?;
    dup2_stdin(&null).map_err(io::Error::from).map_err(step("detach standard input"))?;
    drop(null);
    if is_command_executor(&plan) {
        // It is this very program: executing it again would only take time.
        return Ok(executor::command::main());
    }
    let mut command = Command::new(&plan.program);
    let mut arguments = plan.arguments.iter();
    command.arg0(arguments.next().unwrap_or(&plan.program)).args(arguments);
    Err(step(format!("execute `{}`", plan.program.to_string_lossy()))(command.exec()))
}

fn is_command_executor(plan: &Plan) -> bool {
    let own = std::env::args_os().next();
    own.as_ref() == Some(&plan.program)
        && plan.arguments.iter().skip(1).map(OsString::as_os_str).eq(EXECUTOR_ARGUMENTS.map(OsStr::new))
}

/// A session of its own, which keeps the agent's terminal and its signals away, and the adoption of orphans,
/// which outlasts the coming `exec`.
fn begin() -> Result<(), LaunchError> {
    setsid().map_err(io::Error::from).map_err(step("begin a session"))?;
    processes::adopt_orphans().map_err(step("adopt orphans"))
}

fn become_user(plan: &Plan) -> Result<(), LaunchError> {
    // First the directory: on the way there may be one that only root may pass.
    let directory = plan.directory.display();
    chdir(&plan.directory).map_err(io::Error::from).map_err(step(format!("enter `{directory}`")))?;
    let Some(name) = &plan.user else { return Ok(()) };
    let user = look_up(name)?;
    if user.uid == geteuid() {
        return Ok(());
    }
    let name = CString::new(user.name.as_str()).map_err(|error| step("name a user")(error.into()))?;
    let switch = || {
        initgroups(&name, user.gid)?;
        setgid(user.gid)?;
        setuid(user.uid)
    };
    switch().map_err(io::Error::from).map_err(step(format!("become user `{}`", user.name)))
}

/// Takes the veil off the variables, now that they can do no more than their user may.
fn unveil(plan: &Plan) {
    if plan.user.is_none() {
        return;
    }
    let variables: Vec<_> = std::env::vars_os().collect();
    for (name, value) in variables {
        let Some(own) = name.as_bytes().strip_prefix(VEIL.as_bytes()).filter(|own| !own.is_empty()) else {
            continue;
        };
        // SAFETY: neither the launcher nor the fetcher has a second thread that could read the environment.
        unsafe {
            std::env::remove_var(&name);
            std::env::set_var(OsStr::from_bytes(own), value);
        }
    }
}

/// The user of that name, or of that number; but root goes by its name only, by which masters tell it.
pub fn look_up(name: &str) -> Result<User, LaunchError> {
    let failed = |error: nix::Error| step(format!("look up user `{name}`"))(error.into());
    let mut found = User::from_name(name).map_err(failed)?;
    if found.is_none()
        && let Ok(uid) = name.parse()
        && uid != 0
    {
        found = User::from_uid(Uid::from_raw(uid)).map_err(failed)?;
    }
    found.ok_or_else(|| LaunchError::UnknownUser(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_says_what_the_plan_does() {
        let plan = Plan {
            user: Some("nobody".into()),
            directory: "/sand box".into(),
            program: "/bin/sh".into(),
            arguments: vec!["sh".into(), "-c".into(), "--".into()],
        };
        assert_eq!(Plan::parse(plan.arguments().into_iter()).unwrap(), plan);
    }

    #[test]
    fn a_user_is_found_by_name_or_number_and_root_by_name_only() {
        assert!(look_up("root").unwrap().uid.is_root());
        for name in ["0", "00", "+0", "no-such-user"] {
            assert!(matches!(look_up(name), Err(LaunchError::UnknownUser(_))), "{name}");
        }
    }

    #[test]
    fn a_line_that_is_no_plan_is_refused() {
        let parse = |line: &[&str]| Plan::parse(line.iter().map(OsString::from)).unwrap_err().to_string();
        assert!(parse(&["--directory=/x"]).ends_with("there is no `--`"));
        assert!(parse(&["--", "x"]).ends_with("--directory is missing"));
        assert!(parse(&["--x", "--"]).ends_with("`--x` is none of its flags"));
        assert!(parse(&["--directory=/x", "--"]).ends_with("no program"));
    }
}
