//! How a process reaches the world.

use std::any::Any;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rand::SeedableRng;

use crate::clock::{OwnTimers, Timer};
use crate::event::Event;
use crate::future::{Abandoned, Future, Promise};
use crate::handlers::{Addition, Handler};
use crate::http;
use crate::message::Message;
use crate::metrics::{Metrics, Queued};
use crate::node::{NodeInner, SpawnError};
use crate::process::Process;
use crate::time::Time;
use crate::upid::{Address, Id, Pid, Upid};

/// The generator a process draws from. Seeded by its host: from the machine's entropy on a real one, from
/// the run's seed in a simulation.
pub type Rng = rand_xoshiro::Xoshiro256PlusPlus;

/// Everything a process may do to the world beyond its own state.
pub struct Context<P: Process> {
    upid: Upid,
    node: Arc<NodeInner>,
    sender: Option<Upid>,
    installed: Vec<Addition<P>>,
    rng: Option<Box<Rng>>,
    timers: OwnTimers,
    ending: bool,
    process: PhantomData<fn(P)>,
}

impl<P: Process> Context<P> {
    pub(crate) fn new(upid: Upid, node: Arc<NodeInner>) -> Context<P> {
        Context {
            upid,
            node,
            sender: None,
            installed: Vec::new(),
            rng: None,
            timers: OwnTimers::default(),
            ending: false,
            process: PhantomData,
        }
    }

    pub(crate) fn node(&self) -> &Arc<NodeInner> {
        &self.node
    }

    pub(crate) fn take_installed(&mut self) -> Option<Vec<Addition<P>>> {
        (!self.installed.is_empty()).then(|| std::mem::take(&mut self.installed))
    }

    pub(crate) fn wants_to_end(&self) -> bool {
        self.ending
    }

    /// Whom [`reply`](Self::reply) answers.
    pub(crate) fn set_sender(&mut self, sender: Option<Upid>) {
        self.sender = sender;
    }

    /// This process.
    pub fn pid(&self) -> Pid<P> {
        Pid::new(self.upid.clone())
    }

    /// This process, untyped.
    pub fn upid(&self) -> &Upid {
        &self.upid
    }

    /// The address this node advertises.
    pub fn address(&self) -> Address {
        self.node.address()
    }

    /// Calls `handler` with each message of the type in its signature, whichever node it comes from. A later
    /// handler for the same message replaces the earlier one.
    pub fn install<Form: 'static>(&mut self, handler: impl Handler<P, Form>) {
        self.installed.push(Addition::typed(handler));
    }

    /// Calls `handler` with the encoded body of each message of that wire name, unless a typed handler takes it.
    pub fn install_raw(
        &mut self,
        name: impl Into<String>,
        handler: impl Fn(&mut P, &Upid, &str, Bytes, &mut Context<P>) + Send + 'static,
    ) {
        self.installed.push(Addition::Raw { name: name.into(), handler: Box::new(handler) });
    }

    /// Forwards messages of that wire name, which no handler here takes, to another process. They keep their
    /// sender.
    pub fn delegate(&mut self, name: impl Into<String>, to: &Upid) {
        self.installed.push(Addition::Delegate { name: name.into(), to: to.clone() });
    }

    /// Sends a message. On this node it is moved into the receiver's queue; to another it is encoded. It may
    /// be lost, and nobody is told; order is kept between one sender and one receiver.
    pub fn send(&mut self, to: impl AsRef<Upid>, message: impl Message) {
        self.node.send(&self.upid, to.as_ref(), message);
    }

    /// Sends a message under another's name, to pass on what one was sent.
    pub fn send_as(&mut self, from: &Upid, to: impl AsRef<Upid>, message: impl Message) {
        self.node.send(from, to.as_ref(), message);
    }

    /// Sends to whoever sent the message being handled; outside a message handler, to nobody.
    pub fn reply(&mut self, message: impl Message) {
        if let Some(sender) = self.sender.take() {
            self.node.send(&self.upid, &sender, message);
            self.sender = Some(sender);
        }
    }

    /// Runs `f` on another process of this node, in its turn. The future is abandoned when that process is
    /// gone, or goes first; see [`Future::flatten`] for an `f` that answers later itself.
    pub fn dispatch<Q: Process, R: Send + 'static>(
        &mut self,
        to: &Pid<Q>,
        f: impl FnOnce(&mut Q, &mut Context<Q>) -> R + Send + 'static,
    ) -> Future<R> {
        to.dispatch(f)
    }

    /// Runs `f` on this process once the future is settled.
    pub fn then<T: Send + 'static>(
        &mut self,
        future: Future<T>,
        f: impl FnOnce(&mut P, Result<T, Abandoned>, &mut Context<P>) + Send + 'static,
    ) {
        let upid = self.upid.clone();
        future.settled(move |result| {
            upid.post(Event::call::<P>(move |process, ctx| f(process, result, ctx)));
        });
    }

    /// A callable for others: each call comes back to this process as an event.
    pub fn defer<A: Send + 'static>(
        &self,
        f: impl Fn(&mut P, A, &mut Context<P>) + Send + Sync + 'static,
    ) -> Deferred<A> {
        let upid = self.upid.clone();
        let f = Arc::new(f);
        Deferred(Arc::new(move |argument| {
            let f = f.clone();
            upid.post(Event::call::<P>(move |process, ctx| f(process, argument, ctx)))
        }))
    }

    /// Runs `f` on this process after `after`, by this node's clock. If this process ends before that, `f` is
    /// dropped with it.
    pub fn delay(
        &mut self,
        after: Duration,
        f: impl FnOnce(&mut P, &mut Context<P>) + Send + 'static,
    ) -> Timer {
        let upid = self.upid.clone();
        let thunk = Box::new(move || {
            upid.post(Event::call::<P>(f));
        });
        let environment = self.node.environment();
        self.timers.start(|owner| environment.schedule(after, Some(owner), thunk))
    }

    /// Asks to hear, by [`Process::exited`], when `to` ends or its node is lost. If it is gone already, that
    /// comes at once.
    pub fn link(&mut self, to: impl AsRef<Upid>) {
        self.node.link(&self.upid, to.as_ref(), false);
    }

    /// Links over a new connection, when the existing one is suspected dead.
    pub fn link_reconnect(&mut self, to: impl AsRef<Upid>) {
        self.node.link(&self.upid, to.as_ref(), true);
    }

    /// Starts another process on this node.
    pub fn spawn<Q: Process>(&mut self, id: impl Into<Id>, process: Q) -> Result<Pid<Q>, SpawnError> {
        self.node.spawn(id.into().checked()?, process)
    }

    /// Ends a process of this node before it serves anything more.
    pub fn terminate(&mut self, upid: impl AsRef<Upid>) {
        self.node.terminate(upid.as_ref(), true);
    }

    /// Ends a process of this node once it has served what its queue holds now.
    pub fn terminate_after_queued(&mut self, upid: impl AsRef<Upid>) {
        self.node.terminate(upid.as_ref(), false);
    }

    /// Ends this process when the running handler returns.
    pub fn terminate_self(&mut self) {
        self.ending = true;
    }

    /// The time, by this node's clock.
    pub fn now(&self) -> Time {
        self.node.environment().now()
    }

    /// This process's random numbers.
    pub fn rng(&mut self) -> &mut Rng {
        let node = &self.node;
        let upid = &self.upid;
        self.rng.get_or_insert_with(|| Box::new(Rng::seed_from_u64(node.environment().seed(upid))))
    }

    /// A random (version 4) UUID.
    pub fn uuid(&mut self) -> uuid::Uuid {
        let mut bytes = [0; 16];
        rand::RngCore::fill_bytes(self.rng(), &mut bytes);
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }

    /// Runs `work` off the actor, where it may block: disk, forking, rendering. The result comes by the future.
    pub fn blocking<T: Send + 'static>(&mut self, work: impl FnOnce() -> T + Send + 'static) -> Future<T> {
        let (promise, future) = Promise::new();
        self.node.environment().blocking(Box::new(move || promise.set(work())));
        future
    }

    /// The raw wait status of the child process `os_pid` once it has ended; `None` when it is not a child of
    /// ours and has ended. All who ask while it runs, or before it has been collected for one of them, are given
    /// the same status; whoever asks later finds no child any more.
    pub fn reap(&mut self, os_pid: u32) -> Future<Option<i32>> {
        let (promise, future) = Promise::new();
        self.node.environment().reap(os_pid, promise);
        future
    }

    /// What this node counts and measures; what is added through this goes when this process ends.
    pub fn metrics(&self) -> Metrics {
        self.upid.mark_listed();
        Metrics::new(self.node.metrics().clone(), Some(self.upid.clone()))
    }

    /// Adds a gauge whose value `f` tells, called on this process for each snapshot. It replaces another metric
    /// of the name.
    pub fn pull_gauge(&mut self, name: &str, f: impl Fn(&P) -> f64 + Send + Sync + 'static) {
        self.upid.mark_listed();
        let pull = move |process: &dyn Any| process.downcast_ref().map_or(f64::NAN, &f);
        self.node.metrics().add_pull(name, &self.upid, Arc::new(pull));
    }

    /// Adds a gauge of how many events of that kind wait in this process's queue, as its worker sees it between
    /// two turns of the process. It replaces another metric of the name.
    pub fn queue_gauge(&mut self, name: &str, kind: Queued) {
        self.upid.mark_listed();
        self.node.metrics().add_queue(name, &self.upid, kind);
    }

    /// Answers HTTP requests below `/<id of this process><path>`; the longest matching path wins.
    pub fn route<R: Into<http::Answer>>(
        &mut self,
        path: &str,
        handler: impl Fn(&mut P, http::Request, &mut Context<P>) -> R + Send + 'static,
    ) {
        self.route_with(path, http::RouteOptions::default(), handler);
    }

    /// [`route`](Self::route), with limits and a help text.
    pub fn route_with<R: Into<http::Answer>>(
        &mut self,
        path: &str,
        options: http::RouteOptions,
        handler: impl Fn(&mut P, http::Request, &mut Context<P>) -> R + Send + 'static,
    ) {
        let path = http::normalized(path);
        self.node.add_route(&self.upid, &path, http::Route { options, shared: None });
        let handler = Box::new(move |process: &mut P, request, ctx: &mut Context<P>| {
            handler(process, request, ctx).into()
        });
        self.installed.push(Addition::Route { path, handler });
    }

    /// Answers below `path` without entering this process: `handler` serves from a snapshot this process
    /// publishes, on the thread of the connection.
    pub fn route_shared(
        &mut self,
        path: &str,
        options: http::RouteOptions,
        handler: impl Fn(http::Request) -> http::Answer + Send + Sync + 'static,
    ) {
        let route = http::Route { options, shared: Some(Arc::new(handler)) };
        self.node.add_route(&self.upid, &http::normalized(path), route);
    }
}

/// A callable that runs a closure on the process that made it. Calls from one thread keep their order.
pub struct Deferred<A>(Arc<dyn Fn(A) -> bool + Send + Sync>);

impl<A> Deferred<A> {
    /// Queues the call; false when the process is gone.
    pub fn call(&self, argument: A) -> bool {
        (self.0)(argument)
    }
}

impl<A> Clone for Deferred<A> {
    fn clone(&self) -> Self {
        Deferred(self.0.clone())
    }
}
