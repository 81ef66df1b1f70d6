//! A scheduler's driver as a program holds it.

use std::time::Duration;

use api::v1::FrameworkInfo;
use detector::Masters;
use libprocess::{Future, Node, Pid, SpawnError, Upid};

use super::process::SchedulerProcess;
use super::{Scheduler, SchedulerCalls, SchedulerOptions};
use crate::driver::Outcome;
use crate::driver::outcome::Ending;

/// A running scheduler. Dropping it leaves the scheduler running; see [`stop`](Self::stop).
pub struct SchedulerDriver<S: Scheduler> {
    node: Node,
    pid: Pid<SchedulerProcess<S>>,
    ending: Ending,
}

impl<S: Scheduler> SchedulerDriver<S> {
    /// Starts a scheduler on `node`, which has to listen where the master can reach it, and registers
    /// `framework` with whichever of `masters` leads, now and later. One appointed master may be given by its
    /// [`Upid`] alone.
    ///
    /// A framework that brings an id takes over from the scheduler that had it.
    pub fn start(
        node: &Node,
        scheduler: S,
        framework: FrameworkInfo,
        masters: impl Into<Masters>,
    ) -> Result<SchedulerDriver<S>, SpawnError> {
        SchedulerDriver::start_with(node, scheduler, framework, masters, SchedulerOptions::default())
    }

    /// [`start`](Self::start), with options.
    pub fn start_with(
        node: &Node,
        scheduler: S,
        framework: FrameworkInfo,
        masters: impl Into<Masters>,
        options: SchedulerOptions,
    ) -> Result<SchedulerDriver<S>, SpawnError> {
        let (process, outcome) = SchedulerProcess::new(scheduler, framework, masters, options);
        // A name never used before: the master must not take a scheduler that was restarted on the same
        // port for the one it knows.
        let id = format!("scheduler-{}", uuid::Uuid::new_v4());
        let pid = node.spawn(id, process)?;
        Ok(SchedulerDriver { node: node.clone(), pid, ending: Ending::of(outcome) })
    }

    /// The scheduler's process.
    pub fn upid(&self) -> &Upid {
        self.pid.upid()
    }

    /// Makes calls from outside: runs `f` on the driver's actor, in its turn.
    pub fn with<R: Send + 'static>(
        &self,
        f: impl FnOnce(&mut S, &mut SchedulerCalls<'_, S>) -> R + Send + 'static,
    ) -> Future<R> {
        self.pid.dispatch(|process, ctx| process.with(ctx, f))
    }

    /// Tells the driver which master leads now: for programs that find out by themselves, and have appointed one at
    /// the start.
    pub fn detected(&self, master: Upid) {
        self.pid.call(move |process, ctx| process.detected(master, ctx));
    }

    /// Ends the driver. Unless `failover` says that another scheduler is to take over, the framework is torn
    /// down and all its executors end.
    pub fn stop(&self, failover: bool) {
        self.pid.call(move |process, ctx| process.stop(failover, ctx));
    }

    /// Ends the driver's calls of the scheduler. Tasks go on running.
    pub fn abort(&self) {
        self.pid.call(|process, ctx| process.abort(None, ctx));
    }

    /// Blocks until the driver was stopped or aborted. The outcome is told once.
    pub fn join(&self) -> Outcome {
        self.ending.wait()
    }

    /// [`join`](Self::join) for so long at most; `None` when it goes on.
    pub fn join_for(&self, at_most: Duration) -> Option<Outcome> {
        self.ending.wait_for(at_most)
    }

    /// Settled once the driver's process is no more, and with it the scheduler.
    pub fn gone(&self) -> Future<()> {
        self.node.wait(&self.pid)
    }
}
