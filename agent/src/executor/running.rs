//! The command of a task as a process: how it is started, how it is ended, what its end means.

use std::collections::BTreeMap;
use std::io;
use std::process::{Command, Stdio};
use std::time::Duration;

use api::v1::task_status::Reason;
use api::v1::{CommandInfo, KillPolicy, TaskState};
use nix::sys::signal::Signal;

use crate::containers::processes;
use crate::environment::plain_variables;
use crate::wait_status;

/// How long a task may take to end when nobody says how long.
const KILL_GRACE: Duration = Duration::from_secs(3);

/// Why a task did not start.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    #[error("the task's command names no program")]
    NoProgram,
    #[error("could not execute `{program}`: {source}")]
    Execute { program: String, source: io::Error },
}

/// What a task is run with beside its command.
#[derive(Debug, Clone)]
pub(super) struct Start {
    pub(super) command: CommandInfo,
    /// The role its resources are allocated to.
    pub(super) role: Option<String>,
}

impl Start {
    /// Starts it. The answer is its pid; the caller reaps. Blocks for as long as that takes.
    pub(super) fn start(self) -> Result<u32, StartError> {
        let value = self.command.value.filter(|value| !value.is_empty()).ok_or(StartError::NoProgram)?;
        let (program, arguments) = if self.command.shell.unwrap_or(true) {
            ("/bin/sh".to_owned(), vec!["sh".to_owned(), "-c".to_owned(), value])
        } else {
            (value, self.command.arguments)
        };
        let mut command = Command::new(&program);
        let mut arguments = arguments.into_iter();
        if let Some(name) = arguments.next() {
            std::os::unix::process::CommandExt::arg0(&mut command, name);
        }
        let variables: BTreeMap<&str, &str> =
            self.command.environment.iter().flat_map(plain_variables).collect();
        command.args(arguments).envs(variables).stdin(Stdio::null());
        if let Some(role) = &self.role {
            command.env("MESOS_ALLOCATION_ROLE", role);
        }
        let child = command.spawn().map_err(|source| StartError::Execute { program, source })?;
        Ok(child.id())
    }
}

/// Why a task is being ended before it ends itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// Its framework or the agent wants it so.
    Killed,
    /// It ran for longer than it may.
    TooLong,
}

/// What the end of a task means for its framework.
pub(super) fn verdict(status: Option<i32>, ending: Option<Ending>) -> (TaskState, Option<Reason>, String) {
    let message = match status {
        Some(status) => format!("Command {}", wait_status::describe(status)),
        None => "Command ended, and nobody knows how".to_owned(),
    };
    match ending {
        Some(Ending::Killed) => (TaskState::TaskKilled, None, message),
        Some(Ending::TooLong) => {
            let message = format!("the task ran for longer than its max_completion_time; {message}");
            (TaskState::TaskFailed, Some(Reason::MaxCompletionTimeReached), message)
        }
        None if status == Some(0) => (TaskState::TaskFinished, None, message),
        None => (TaskState::TaskFailed, None, message),
    }
}

/// How long a task may take to end: what whoever ends it says, else what the task says itself.
pub(super) fn grace(told: Option<KillPolicy>, own: Option<KillPolicy>) -> Duration {
    [told, own]
        .into_iter()
        .find_map(|policy| policy?.grace_period)
        .and_then(|grace| u64::try_from(grace.nanoseconds).ok())
        .map_or(KILL_GRACE, Duration::from_nanos)
}

/// Asks all that descends from this program to end.
pub(super) fn ask_to_end() {
    processes::signal_descendants(std::process::id(), Signal::SIGTERM);
}

/// Ends all that descends from this program.
pub(super) fn end() {
    processes::kill_descendants(std::process::id());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_kills_may_say_how_long_it_takes_then_the_task_and_else_it_is_three_seconds() {
        let policy = |seconds: i64| {
            let grace_period = Some(api::v1::DurationInfo { nanoseconds: seconds * 1_000_000_000 });
            Some(KillPolicy { grace_period })
        };
        assert_eq!(grace(policy(7), policy(9)).as_secs(), 7);
        assert_eq!(grace(Some(KillPolicy::default()), policy(9)).as_secs(), 9);
        assert_eq!(grace(None, policy(0)).as_secs(), 0);
        assert_eq!((grace(None, None).as_secs(), grace(None, policy(-1)).as_secs()), (3, 3));
    }

    #[test]
    fn how_a_task_ended_and_why_decide_what_its_framework_hears() {
        let hear = |status, ending| {
            let (state, reason, message) = verdict(status, ending);
            format!("{} {reason:?} {message}", state.as_str_name())
        };
        assert_eq!(hear(Some(0), None), "TASK_FINISHED None Command exited with status 0");
        assert_eq!(hear(Some(1 << 8), None), "TASK_FAILED None Command exited with status 1");
        assert_eq!(
            hear(Some(11), None),
            "TASK_FAILED None Command terminated with signal Segmentation fault"
        );
        assert_eq!(
            hear(Some(15), Some(Ending::Killed)),
            "TASK_KILLED None Command terminated with signal Terminated"
        );
        assert!(
            hear(Some(9), Some(Ending::TooLong)).starts_with("TASK_FAILED Some(MaxCompletionTimeReached)")
        );
    }
}
