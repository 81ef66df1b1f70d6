//! Work that can be cut anywhere: what `pi` and `particles` have in common.
//!
//! A [`Job`] is a number of units, points or bytes, in ranges that are computed as tasks and whose results
//! add up. The scheduler deals ranges to executors, runs again what was lost, and counts each unit once; an
//! executor computes one task after the other with all that one core has. Partial results travel by framework
//! message, which may be lost; the final result is part of the task's last status update, which may not.

mod executor;
mod plan;
mod run;
mod scheduler;
#[cfg(test)]
pub(crate) mod testing;

pub use executor::{Step, Work, run_executor};
pub(crate) use run::run;
pub use run::{Cancel, ExecutorCommand, WorkError};

use std::io;
use std::ops::Range;

/// What there is to do, as the scheduler sees it.
pub(crate) trait Job: Send + 'static {
    /// What is known of a range once it is computed.
    type Result: Send + 'static;

    /// Names the framework, its tasks and its executors.
    fn name(&self) -> &'static str;

    /// How many units there are.
    fn length(&self) -> u64;

    /// How many tasks are sent to one executor at a time. Many, when they are short, so that an executor need
    /// not wait for an offer between two; few, when they are long, so that agents which come later get some.
    fn tasks_at_once(&self) -> usize;

    /// What an executor needs to know to compute a range. `payload` is what [`fetch`](Self::fetch) brought.
    fn task_data(&self, range: &Range<u64>, payload: Option<Vec<u8>>) -> Vec<u8>;

    /// Reads what an executor found. Whatever does not add up is refused: it may come from anyone.
    fn read_answer(&self, data: &[u8]) -> Result<Answer<Self::Result>, String>;

    /// How to get the input of a range for executors that cannot read it themselves, where there is one.
    fn fetch(&self, range: Range<u64>) -> Option<Fetch> {
        let _ = range;
        None
    }
}

/// Reads the input of a range. It may block.
pub(crate) type Fetch = Box<dyn FnOnce() -> io::Result<Vec<u8>> + Send>;

/// What an executor says of a task.
pub(crate) enum Answer<R> {
    /// The result for a range, which may be a first part of the task's.
    Result(Range<u64>, R),
    /// The executor cannot get at the input.
    NoInput,
}

/// Told how a run goes. It is called by the scheduler's actor and must not block for long.
pub trait Progress: Send + 'static {
    /// Something has changed.
    fn changed(&mut self, state: &RunState);

    /// Something worth a line has happened.
    fn note(&mut self, text: &str) {
        let _ = text;
    }
}

/// Nobody is told.
impl Progress for () {
    fn changed(&mut self, _: &RunState) {}
}

/// How far a run is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunState {
    /// Units whose result is known: points, or bytes of a file.
    pub done: u64,
    /// All units.
    pub total: u64,
    /// Executors at work.
    pub executors: usize,
    /// Tasks launched and not ended.
    pub tasks_running: usize,
    /// Tasks that have ended well.
    pub tasks_finished: u64,
    /// Tasks that were lost or failed, and are run again.
    pub tasks_failed: u64,
}
