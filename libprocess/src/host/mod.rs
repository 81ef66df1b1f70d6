//! What runs processes: the actix host for production, the simulation host for tests.
//!
//! Both keep processes in [`Arena`]s and give them an [`Environment`]; everything else, from handlers to
//! links, is the same code.

pub(crate) mod children;
pub(crate) mod runtime;
pub(crate) mod worker;

use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Owner, Timer};
use crate::event::Event;
use crate::future::Promise;
use crate::process::AnyCell;
use crate::time::Time;
use crate::transport::TcpTransport;
use crate::upid::Upid;

/// Where processes live: it keeps their queues and runs them, one event at a time each.
pub(crate) trait Arena: Send + Sync {
    /// A key for a process about to be adopted. Events may be posted to it from now on.
    fn reserve(&self) -> u64;

    /// Takes a process in. It is initialized before it sees an event.
    fn adopt(&self, key: u64, cell: Box<dyn AnyCell>);

    /// Appends an event to a process's queue; dropped when the key's process is gone.
    fn post(&self, key: u64, event: Event);

    /// The kinds of events that wait in a process's queue, by a future since only the arena's own thread may
    /// look.
    fn queued(&self, key: u64, answer: Promise<Vec<&'static str>>);
}

/// The part of the world that differs between a real host and a simulated one.
pub(crate) trait Environment: Send + Sync {
    fn now(&self) -> Time;
    /// Runs `thunk` after `after`, if it has not been cancelled, alone or with all of its owner's.
    fn schedule(&self, after: Duration, owner: Option<Owner>, thunk: Box<dyn FnOnce() + Send>) -> Timer;
    /// The seed of a process's random numbers.
    fn seed(&self, upid: &Upid) -> u64;
    fn blocking(&self, work: Box<dyn FnOnce() + Send>);
    fn reap(&self, os_pid: u32, promise: Promise<Option<i32>>);
}

/// What carries messages to other nodes.
pub(crate) trait Transport: Send + Sync {
    /// Sends or drops; never waits.
    fn send(&self, from: &Upid, to: &Upid, name: &str, body: Vec<u8>);

    /// The same, with a body that `encode` appends to a buffer of the transport's.
    fn send_with(&self, from: &Upid, to: &Upid, name: &str, encode: &mut dyn FnMut(&mut Vec<u8>)) {
        let mut body = Vec::new();
        encode(&mut body);
        self.send(from, to, name, body);
    }

    /// Sees to a connection to `to`'s node, a new one if `reconnect`; the node is told when it is lost
    /// ([`NodeInner::connection_lost`](crate::node::NodeInner::connection_lost)) or when the peer says that
    /// the process has ended ([`NodeInner::remote_exited`](crate::node::NodeInner::remote_exited)).
    fn link(&self, to: &Upid, reconnect: bool);

    /// A process of this node has ended: peers that linked to it want to know.
    fn local_exited(&self, upid: &Upid);

    /// Ends all connections. `done` is for when what was sent before has left.
    fn close(&self, done: Promise<()>);

    /// Itself, if it is the one over TCP: what arrives at the node's port is handed to it.
    fn as_tcp(self: Arc<Self>) -> Option<Arc<TcpTransport>> {
        None
    }
}
