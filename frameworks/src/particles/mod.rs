//! Where particles come down: a file of parabolas, read in chunks all over the cluster.
//!
//! Each line of the file is a parabola `a,b,c`, y = a·x² + b·x + c. A particle ends where its larger root is:
//! left or right of the origin (at it counts as right), or never, without a real root.

pub mod chunk;
pub mod generate;
mod job;
pub mod landings;
pub mod parabola;
pub mod plot;
pub mod tally;
#[cfg(test)]
mod tests;

use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use detector::Masters;
use libprocess::Node;

use crate::driver::{ExecutorError, Outcome};
use crate::ledger::split;
use crate::work::{Cancel, ExecutorCommand, Progress, WorkError, run as run_job, run_executor};
use job::{Fingerprint, ParticlesJob, ParticlesWork};
use tally::Tally;

/// What to compute.
#[derive(Clone, Debug)]
pub struct Options {
    /// The file.
    pub input: PathBuf,
    /// How many tasks; with fewer bytes than that, a task a byte.
    pub tasks: u64,
    /// Whether one malformed line spoils it all.
    pub strict: bool,
    /// The program that runs [`executor`].
    pub executor: ExecutorCommand,
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum ParticlesError {
    /// The file cannot be read.
    #[error("could not read `{path}`")]
    Input {
        /// Its path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is nothing in the file.
    #[error("`{path}` is empty")]
    Empty {
        /// Its path.
        path: PathBuf,
    },
    /// A line is no parabola, and it was to be strict.
    #[error("`{path}`, line {line}: {reason} (malformed lines: {n_malformed})")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The number of the first such line, from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
        /// How many there are.
        n_malformed: u64,
    },
    /// See [`WorkError`].
    #[error(transparent)]
    Work(#[from] WorkError),
}

/// What came of it. Its text is `left = 2, right = 3, never = 1 (20 tasks, 7 lines, 1 malformed, 1.2 s)`.
#[derive(Clone, Debug)]
pub struct Summary {
    /// The counts, what to draw, and the malformed lines.
    pub tally: Tally,
    /// How many tasks the work was cut into.
    pub tasks: u64,
    /// How many of them were lost or failed, and run again.
    pub tasks_failed: u64,
    /// How long it took.
    pub elapsed: Duration,
}

impl Summary {
    /// A text for each malformed line that is named: `line 5: 1 fields instead of the three of `a,b,c``. The
    /// last one says how many more there are, if any.
    pub fn malformed_lines(&self) -> Vec<String> {
        let named = self.tally.first_malformed.iter();
        let mut lines: Vec<String> = named.map(|it| format!("line {}: {}", it.line + 1, it.reason)).collect();
        let more = self.tally.malformed.saturating_sub(lines.len() as u64);
        if more > 0 {
            lines.push(format!("and {more} more"));
        }
        lines
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { left, right, never, lines, malformed, .. } = &self.tally;
        let (tasks, elapsed) = (self.tasks, self.elapsed.as_secs_f64());
        write!(f, "left = {left}, right = {right}, never = {never} ")?;
        write!(f, "({tasks} tasks, {lines} lines, {malformed} malformed, {elapsed:.1} s)")
    }
}

/// Tallies a file on the cluster of `masters`, as a framework on `node`, which these must be able to
/// reach. Blocks until it is done or cancelled; either way nothing is left running.
pub fn run(
    node: &Node,
    masters: impl Into<Masters>,
    options: Options,
    progress: impl Progress,
    cancel: &Cancel,
) -> Result<Summary, ParticlesError> {
    let started = node.clock().now();
    let Options { input, tasks, strict, executor } = options;
    let (path, fingerprint) = open(&input)?;
    let ranges = split(fingerprint.length(), tasks.max(1));
    let tasks = ranges.len() as u64;
    let job = ParticlesJob { path, fingerprint, n_tasks: tasks };
    let finished = run_job(node, masters, job, ranges, executor, Box::new(progress), cancel)?;
    let mut tally = Tally::default();
    for (_, part) in finished.ledger.parts() {
        tally.append(part);
    }
    if let (Some(first), true) = (tally.first_malformed.first(), strict) {
        return Err(ParticlesError::Malformed {
            path: input,
            line: first.line + 1,
            reason: first.reason.clone(),
            n_malformed: tally.malformed,
        });
    }
    let elapsed = node.clock().now() - started;
    Ok(Summary { tally, tasks, tasks_failed: finished.tasks_failed, elapsed })
}

/// The whole path, for executors have another working directory, and what tells the file from others.
fn open(input: &Path) -> Result<(PathBuf, Fingerprint), ParticlesError> {
    let unreadable = |source| ParticlesError::Input { path: input.to_owned(), source };
    let path = input.canonicalize().map_err(unreadable)?;
    let fingerprint =
        File::open(&path).and_then(|mut file| Fingerprint::of(&mut file)).map_err(unreadable)?;
    match fingerprint.length() {
        0 => Err(ParticlesError::Empty { path: input.to_owned() }),
        _ => Ok((path, fingerprint)),
    }
}

/// Runs the executor in this program, which an agent has started, until it is told to end.
pub fn executor() -> Result<Outcome, ExecutorError> {
    run_executor::<ParticlesWork>()
}
