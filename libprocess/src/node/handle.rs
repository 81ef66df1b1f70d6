//! A running node, as a program holds it.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use super::{NodeBuilder, NodeInner, SpawnError};
use crate::builtin;
use crate::clock::ClockInner;
use crate::future::Future;
use crate::host::runtime::Runtime;
use crate::host::worker;
use crate::http;
use crate::message::Message;
use crate::metrics::Metrics;
use crate::process::Process;
use crate::time::Time;
use crate::upid::{Address, Id, Pid, Upid};

/// A running node. Dropping the last handle leaves its processes running; [`shutdown`](Self::shutdown) ends
/// them.
#[derive(Clone)]
pub struct Node {
    inner: Arc<NodeInner>,
    clock: Arc<ClockInner>,
    runtime: Runtime,
}

impl Node {
    /// A node to be configured and started.
    pub fn builder() -> NodeBuilder {
        NodeBuilder::default()
    }

    /// A node without a network.
    pub fn local() -> Result<Node, super::StartError> {
        Node::builder().start()
    }

    pub(super) fn new(inner: Arc<NodeInner>, clock: Arc<ClockInner>, runtime: Runtime) -> Node {
        Node { inner, clock, runtime }
    }

    pub(super) fn serve(&self, listener: TcpListener) {
        self.inner.set_serving(http::serve(&self.inner, &self.runtime, listener));
        builtin::start(&self.inner);
    }

    /// The address this node advertises.
    pub fn address(&self) -> Address {
        self.inner.address()
    }

    /// What this node counts and measures. Metrics made through this handle belong to no process and stay.
    pub fn metrics(&self) -> Metrics {
        Metrics::new(self.inner.metrics().clone(), None)
    }

    /// Starts a process.
    pub fn spawn<P: Process>(&self, id: impl Into<Id>, process: P) -> Result<Pid<P>, SpawnError> {
        self.inner.spawn(id.into().checked()?, process)
    }

    /// Starts a process on the worker of that index (modulo their number): processes that talk a lot are
    /// faster side by side.
    pub fn spawn_on<P: Process>(
        &self,
        worker: usize,
        id: impl Into<Id>,
        process: P,
    ) -> Result<Pid<P>, SpawnError> {
        self.inner.spawn_in(worker, id.into().checked()?, process)
    }

    /// Sends a message from outside any process: its sender is [nobody](Upid::nobody).
    pub fn send(&self, to: impl AsRef<Upid>, message: impl Message) {
        self.inner.send(&Upid::nobody(), to.as_ref(), message);
    }

    /// A reference to the process of that id on this node.
    pub fn find(&self, id: &str) -> Option<Upid> {
        self.inner.find(id)
    }

    /// Ends a process before it serves anything more.
    pub fn terminate(&self, upid: impl AsRef<Upid>) {
        self.inner.terminate(upid.as_ref(), true);
    }

    /// Ends a process once it has served what its queue holds now.
    pub fn terminate_after_queued(&self, upid: impl AsRef<Upid>) {
        self.inner.terminate(upid.as_ref(), false);
    }

    /// For tests: `to`, a process of this node, hears by [`Process::exited`] of the end of `from`, whether that
    /// has ended or not, and whether it had linked to it or not. Its links stay as they are. False when there is
    /// no such process here.
    pub fn inject_exited(&self, from: impl AsRef<Upid>, to: impl AsRef<Upid>) -> bool {
        self.inner.inject_exited(from.as_ref(), to.as_ref())
    }

    /// Settled once the process is no more.
    pub fn wait(&self, upid: impl AsRef<Upid>) -> Future<()> {
        self.inner.wait(upid.as_ref())
    }

    /// The clock that this node's processes see.
    pub fn clock(&self) -> ClockHandle {
        ClockHandle { clock: self.clock.clone(), runtime: self.runtime.clone() }
    }

    /// Ends all processes, then the connections.
    pub fn shutdown(&self) -> Future<()> {
        self.clock.stop();
        self.inner.shut_down()
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("address", &self.address()).finish_non_exhaustive()
    }
}

/// The clock of a node, for tests to turn.
#[derive(Clone)]
pub struct ClockHandle {
    clock: Arc<ClockInner>,
    runtime: Runtime,
}

impl ClockHandle {
    /// The time.
    pub fn now(&self) -> Time {
        self.clock.now()
    }

    /// Stops the clock. Timers wait for [`advance`](Self::advance).
    pub fn pause(&self) {
        self.clock.pause();
    }

    /// Whether it is stopped.
    pub fn is_paused(&self) -> bool {
        self.clock.is_paused()
    }

    /// Moves the time forward; what falls due, the exact instant included, fires in order.
    pub fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    /// Blocks until no process on this node's runtime has anything to do and no timer is due. What happens
    /// outside (connections, child processes, work off the actors) is not waited for. Where timers keep the
    /// processes busy, the clock has to be paused first, or it never comes to rest.
    ///
    /// # Panics
    /// On a thread that runs processes: that one would have to wait for itself.
    pub fn settle(&self) {
        assert!(
            !worker::is_a_workers_thread(),
            "`settle` waits for all processes, so none of them may call it"
        );
        let workers = self.runtime.workers();
        let mut before = None;
        loop {
            self.clock.fire();
            let idle = workers.iter().all(|worker| worker.is_idle());
            let turns: Vec<u64> = workers.iter().map(|worker| worker.n_turns()).collect();
            // Twice idle and no turn in between: nothing was on its way from one to another.
            if idle && before.as_ref() == Some(&turns) {
                return;
            }
            before = idle.then_some(turns);
            std::thread::yield_now();
        }
    }

    /// Lets the clock run on from where it stands.
    pub fn resume(&self) {
        self.clock.resume();
    }
}
