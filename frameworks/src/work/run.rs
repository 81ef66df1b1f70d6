//! Running a job from beginning to end.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use api::v1::{CommandInfo, FrameworkInfo};
use detector::Masters;
use libprocess::{Node, Promise, SpawnError};

use super::scheduler::WorkScheduler;
use super::{Job, Progress};
use crate::driver::SchedulerDriver;
use crate::ledger::Ledger;

/// How soon a cancelled run notices.
const CANCEL_POLL: Duration = Duration::from_millis(20);
/// How long a driver gets to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// A program that agents start as the executor.
#[derive(Clone, Debug)]
pub struct ExecutorCommand {
    /// Its path, which has to be the same on every agent.
    pub program: PathBuf,
    /// What it is told.
    pub arguments: Vec<String>,
}

impl ExecutorCommand {
    /// This program, told to be the executor.
    pub fn this_program(argument: &str) -> io::Result<ExecutorCommand> {
        Ok(ExecutorCommand { program: std::env::current_exe()?, arguments: vec![argument.to_owned()] })
    }

    pub(super) fn to_command_info(&self) -> CommandInfo {
        let program = path_text(&self.program);
        let mut arguments = vec![program.clone()];
        arguments.extend(self.arguments.iter().cloned());
        CommandInfo { shell: Some(false), value: Some(program), arguments, ..Default::default() }
    }
}

fn path_text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Cancels a run, from any thread.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Nothing is cancelled yet.
    pub fn new() -> Cancel {
        Cancel::default()
    }

    /// Ends the run soon: the framework is torn down, and its executors with it.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether that has been asked for.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum WorkError {
    /// It was cancelled.
    #[error("cancelled")]
    Cancelled,
    /// The master refused the framework.
    #[error("the master refuses the framework: {0}")]
    Refused(String),
    /// Task after task failed.
    #[error("{n} tasks failed one after the other; the last one: {last}")]
    Failing {
        /// How many.
        n: u32,
        /// Why the last one did.
        last: String,
    },
    /// The input could not be read.
    #[error("could not read the input")]
    Input(#[source] io::Error),
    /// See [`SpawnError`].
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// The scheduler ended without a result.
    #[error("the scheduler has ended unexpectedly")]
    Ended,
}

/// All results of a run.
pub(crate) struct Finished<J: Job> {
    pub(crate) ledger: Ledger<J::Result>,
    /// Tasks that had to be run again.
    pub(crate) tasks_failed: u64,
}

/// Has `job`, cut into `ranges`, computed by the cluster of `masters`. Blocks until it is done.
pub(crate) fn run<J: Job>(
    node: &Node,
    masters: impl Into<Masters>,
    job: J,
    ranges: Vec<Range<u64>>,
    executor: ExecutorCommand,
    progress: Box<dyn Progress>,
    cancel: &Cancel,
) -> Result<Finished<J>, WorkError> {
    let framework = FrameworkInfo { user: crate::user(), name: job.name().to_owned(), ..Default::default() };
    let (promise, future) = Promise::new();
    let (sender, receiver) = channel();
    future.settled(move |result| {
        // Nobody waits any more for a run that was cancelled.
        let _ = sender.send(result.unwrap_or(Err(WorkError::Ended)));
    });
    let scheduler = WorkScheduler::new(job, ranges, executor, progress, promise);
    let driver = SchedulerDriver::start(node, scheduler, framework, masters)?;
    let result = loop {
        match receiver.recv_timeout(CANCEL_POLL) {
            Ok(result) => break result,
            Err(RecvTimeoutError::Disconnected) => break Err(WorkError::Ended),
            Err(RecvTimeoutError::Timeout) if cancel.is_cancelled() => break Err(WorkError::Cancelled),
            Err(RecvTimeoutError::Timeout) => {}
        }
    };
    driver.stop(false);
    if driver.gone().wait(STOP_TIMEOUT).is_err() {
        tracing::warn!("the driver has not ended in time");
    }
    result
}
