//! The simulation host: the same processes on one thread, in virtual time, from a seed.
//!
//! Nothing here is concurrent. At each step a seeded generator picks one of the processes that have something
//! to do, and it serves one event; when none has, the clock jumps to the next timer. Messages between nodes
//! travel through a network that delays, loses and duplicates them, that can be partitioned, and whose links can
//! come and go. Nodes can crash, stop for a while, have clocks that run at their own speed, and slow disks. What
//! happens is written to a log: the same seed gives the same log, byte for byte.

mod arena;
mod connections;
mod flapping;
mod log;
mod machine;
mod network;
mod requests;
mod transport;
mod world;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::context::Context;
use crate::future::Future;
use crate::http::{HeaderMap, Method, Response};
use crate::message::Message;
use crate::node::SpawnError;
use crate::process::Process;
use crate::time::Time;
use crate::upid::{Address, Id, Pid, Upid};

pub use machine::Clock;
pub use network::Network;
use world::World;

/// What a run is drawn from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed(pub u64);

impl Seed {
    /// The seed in `LIBPROCESS_SEED` if there is one, to replay a run; else a fresh one. Says on stderr which.
    #[allow(clippy::disallowed_methods)]
    pub fn from_env() -> Seed {
        let given = std::env::var("LIBPROCESS_SEED").ok().and_then(|text| text.parse().ok());
        let seed = Seed(given.unwrap_or_else(rand::random));
        eprintln!("simulation seed: {} (replay with LIBPROCESS_SEED={})", seed.0, seed.0);
        seed
    }
}

/// One of a simulation's nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SimNode(usize);

/// A run did not come to where it should in time.
#[derive(Debug, thiserror::Error)]
#[error("the simulation with seed {seed} did not get there within {limit:?} of virtual time")]
pub struct NotReached {
    seed: u64,
    limit: Duration,
}

/// Any number of nodes on one thread.
///
/// ```
/// use libprocess::sim::{Seed, Simulation};
///
/// let mut sim = Simulation::new(Seed(7));
/// let node = sim.node("10.0.0.1:5050".parse().unwrap());
/// assert_eq!(sim.address(node).port(), 5050);
/// ```
pub struct Simulation {
    world: Arc<World>,
    seed: Seed,
}

impl Simulation {
    /// An empty world. Time begins at a fixed instant, the same for every run.
    pub fn new(seed: Seed) -> Simulation {
        Simulation { world: World::new(seed.0), seed }
    }

    /// The seed of this run.
    pub fn seed(&self) -> Seed {
        self.seed
    }

    /// Adds a node at an address of its own.
    pub fn node(&mut self, address: Address) -> SimNode {
        SimNode(self.world.add_node(address, None))
    }

    /// Adds a node whose HTTP requests go to the process `delegate` when their path names none.
    pub fn node_with_delegate(&mut self, address: Address, delegate: &str) -> SimNode {
        SimNode(self.world.add_node(address, Some(delegate.to_owned())))
    }

    /// The address of a node.
    pub fn address(&self, node: SimNode) -> Address {
        self.world.address(node.0)
    }

    /// Starts a process on a node that is up.
    pub fn spawn<P: Process>(
        &mut self,
        node: SimNode,
        id: impl Into<Id>,
        process: P,
    ) -> Result<Pid<P>, SpawnError> {
        match self.world.inner(node.0) {
            Some(inner) => inner.spawn(id.into().checked()?, process),
            None => Err(SpawnError::ShuttingDown),
        }
    }

    /// The node at an address.
    pub fn node_at(&self, address: Address) -> Option<SimNode> {
        self.world.node_at(address).map(SimNode)
    }

    /// The process of that id on a node, if it is there.
    pub fn find(&self, node: SimNode, id: &str) -> Option<Upid> {
        self.world.inner(node.0)?.find(id)
    }

    /// Sends a message from nobody to a process of that node.
    pub fn send(&mut self, node: SimNode, to: impl AsRef<Upid>, message: impl Message) {
        if let Some(inner) = self.world.inner(node.0) {
            inner.send(&Upid::nobody(), to.as_ref(), message);
        }
    }

    /// Ends a process before it serves anything more.
    pub fn terminate(&mut self, upid: impl AsRef<Upid>) {
        let upid = upid.as_ref();
        if let Some(inner) = self.world.node_at(upid.address()).and_then(|node| self.world.inner(node)) {
            inner.terminate(upid, true);
        }
    }

    /// `to` hears by [`Process::exited`] of the end of `from`, whether that has ended or not, and whether it had
    /// linked to it or not. Its links stay as they are. False when there is no such process.
    pub fn inject_exited(&mut self, from: impl AsRef<Upid>, to: impl AsRef<Upid>) -> bool {
        let (from, to) = (from.as_ref(), to.as_ref());
        let node = self.world.node_at(to.address()).and_then(|node| self.world.inner(node));
        node.is_some_and(|node| node.inject_exited(from, to))
    }

    /// Looks into a process, or changes it, without an event: `None` when it is no more.
    pub fn with<P: Process, R>(&mut self, pid: &Pid<P>, f: impl FnOnce(&mut P) -> R) -> Option<R> {
        self.world.with(pid.upid(), f)
    }

    /// Runs `f` on a process in its turn, as any dispatch.
    pub fn dispatch<P: Process, R: Send + 'static>(
        &mut self,
        pid: &Pid<P>,
        f: impl FnOnce(&mut P, &mut Context<P>) -> R + Send + 'static,
    ) -> Future<R> {
        pid.dispatch(f)
    }

    /// Asks a node over HTTP, as a client outside the simulation would: the request finds its process and its
    /// route as on a real node. `path` may have a query. The future is abandoned when the node is down, or goes
    /// down before it has answered.
    pub fn request(
        &mut self,
        node: SimNode,
        method: Method,
        path: &str,
        body: impl Into<Bytes>,
    ) -> Future<Response> {
        self.request_with(node, method, path, HeaderMap::new(), body)
    }

    /// [`request`](Self::request), with headers.
    pub fn request_with(
        &mut self,
        node: SimNode,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: impl Into<Bytes>,
    ) -> Future<Response> {
        self.world.request(node.0, method, path, headers, body.into())
    }

    /// The network between the nodes.
    pub fn network(&mut self) -> Network<'_> {
        Network::new(&self.world)
    }

    /// Takes a node down at once: its processes are gone without a word, and so is what they had under way.
    pub fn crash(&mut self, node: SimNode) {
        self.world.crash(node.0);
    }

    /// Brings a crashed node back, empty, at its old address.
    pub fn restart(&mut self, node: SimNode) {
        self.world.restart(node.0);
    }

    /// Stops a node as SIGSTOP stops a process: nothing there is served and no timer ends, while what is sent to it
    /// arrives and waits. Its clock runs on. Who is linked to it hears after some seconds that it does not answer.
    pub fn stop(&mut self, node: SimNode) {
        self.world.stop(node.0);
    }

    /// Lets a stopped node go on, as SIGCONT does: everything that waited comes at once, in the order it came due or
    /// arrived. Does nothing to one that is not stopped.
    pub fn go_on(&mut self, node: SimNode) {
        self.world.go_on(node.0);
    }

    /// Whether a node is stopped.
    pub fn is_stopped(&self, node: SimNode) -> bool {
        self.world.state.lock().is_stopped(node.0)
    }

    /// A node's clock, which can be set, and run at a speed of its own. It stays as it is over the
    /// node's crashes.
    pub fn clock(&mut self, node: SimNode) -> Clock<'_> {
        Clock::new(&self.world, node)
    }

    /// What a node's clock says.
    pub fn now_at(&self, node: SimNode) -> Time {
        self.world.clock(node.0)
    }

    /// What is done off the actors of a node ([`Context::blocking`]), as reading and writing disks is, takes a time
    /// drawn from this range, by the world's clock; from 50 µs to 2 ms where nothing is said.
    pub fn blocking_takes(&mut self, node: SimNode, range: Range<Duration>) {
        self.world.set_blocking(node.0, range);
    }

    /// Whether a node is up.
    pub fn is_up(&self, node: SimNode) -> bool {
        self.world.inner(node.0).is_some()
    }

    /// The virtual time, as the world's clock tells it.
    pub fn now(&self) -> Time {
        self.world.now()
    }

    /// Lets that much virtual time pass.
    pub fn run_for(&mut self, span: Duration) {
        let end = self.now() + span;
        while self.world.step(end) {}
    }

    /// Runs until nothing is left to do now; timers still wait.
    pub fn settle(&mut self) {
        self.run_for(Duration::ZERO);
    }

    /// Runs until `reached` holds, which is looked at after every step.
    pub fn run_until(
        &mut self,
        limit: Duration,
        mut reached: impl FnMut(&mut Simulation) -> bool,
    ) -> Result<(), NotReached> {
        let end = self.now() + limit;
        loop {
            if reached(self) {
                return Ok(());
            }
            if !self.world.step(end) {
                return Err(NotReached { seed: self.seed.0, limit });
            }
        }
    }

    /// What happened so far, a line an event.
    pub fn log(&self) -> String {
        self.world.log_text()
    }

    /// A digest of the log, kept even when the log's text is not.
    pub fn digest(&self) -> u64 {
        self.world.log_digest()
    }

    /// Stops keeping the log's text: long runs need the digest only.
    pub fn keep_no_log(&mut self) {
        self.world.keep_no_log();
    }
}

impl Drop for Simulation {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the simulation that failed had seed {}", self.seed.0);
        }
        // Nodes hold the world and the world its nodes.
        self.world.dissolve();
    }
}
