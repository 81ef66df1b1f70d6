//! π by throwing points at a square, on a cluster.
//!
//! The points are numbered, and what a point is follows from the run's seed and its number alone, so the
//! result does not depend on how many tasks there were, where they ran, or which were run twice.

pub mod estimate;
mod job;
pub mod kernel;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use detector::Masters;
use libprocess::Node;

pub use estimate::Estimate;

use crate::driver::{ExecutorError, Outcome};
use crate::ledger::split;
use crate::work::{Cancel, ExecutorCommand, Progress, WorkError, run as run_job, run_executor};
use job::{PiJob, PiWork};

/// What to compute.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many tasks; with fewer points than that, a task a point.
    pub tasks: u64,
    /// How many points each throws.
    pub points_per_task: u64,
    /// The same seed gives the same points.
    pub seed: u64,
    /// The program that runs [`executor`].
    pub executor: ExecutorCommand,
}

/// More points than can be numbered, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{tasks} tasks of {points_per_task} points: there must be at least one point, and at most 2^63 of them"
)]
pub struct WrongSize {
    tasks: u64,
    points_per_task: u64,
}

/// Why there is no π.
#[derive(Debug, thiserror::Error)]
pub enum PiError {
    /// See [`WrongSize`].
    #[error(transparent)]
    WrongSize(#[from] WrongSize),
    /// See [`WorkError`].
    #[error(transparent)]
    Work(#[from] WorkError),
}

/// What came of it. Its text is `pi = 3.14159 ± 0.00026 (20 tasks, 40000000 points, 1.2 s)`.
#[derive(Clone, Debug)]
pub struct Summary {
    /// π and its error.
    pub estimate: Estimate,
    /// How many tasks the work was cut into.
    pub tasks: u64,
    /// How many of them were lost or failed, and run again.
    pub tasks_failed: u64,
    /// How long it took.
    pub elapsed: Duration,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { estimate, tasks, elapsed, .. } = self;
        let elapsed = elapsed.as_secs_f64();
        write!(f, "pi = {estimate} ({tasks} tasks, {} points, {elapsed:.1} s)", estimate.points)
    }
}

/// Computes π on the cluster of `masters`, as a framework on `node`, which these must be able to reach.
/// Blocks until it is done or cancelled; either way nothing is left running.
pub fn run(
    node: &Node,
    masters: impl Into<Masters>,
    options: Options,
    progress: impl Progress,
    cancel: &Cancel,
) -> Result<Summary, PiError> {
    let started = node.clock().now();
    let Options { tasks, points_per_task, seed, executor } = options;
    let points = tasks.checked_mul(points_per_task).filter(|points| (1..=1 << 63).contains(points));
    let points = points.ok_or(WrongSize { tasks, points_per_task })?;
    let ranges = split(points, tasks);
    let tasks = ranges.len() as u64;
    let job = PiJob { seed, points, points_per_task };
    let finished = run_job(node, masters, job, ranges, executor, Box::new(progress), cancel)?;
    let inside = finished.ledger.parts().map(|(_, inside)| inside).sum();
    Ok(Summary {
        estimate: Estimate { inside, points },
        tasks,
        tasks_failed: finished.tasks_failed,
        elapsed: node.clock().now() - started,
    })
}

/// Runs the executor in this program, which an agent has started, until it is told to end.
pub fn executor() -> Result<Outcome, ExecutorError> {
    run_executor::<PiWork>()
}
