//! A node: an id space with one address.

mod builder;
mod env;
mod handle;

pub use builder::{NodeBuilder, StartError};
pub use env::EnvironmentError;
pub use handle::{ClockHandle, Node};

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};

use crate::context::Context;
use crate::event::{Event, WireMessage};
use crate::future::{Future, Promise};
use crate::host::{Arena, Environment, Transport};
use crate::http;
use crate::links::Links;
use crate::message::{AnyMessage, Message};
use crate::metrics::Registry;
use crate::process::{Process, ProcessCell, discard};
use crate::unhandled::Held;
use crate::upid::{Address, ById, Id, Local, Pid, Upid, UpidMap};

/// Why a process was not spawned.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// Another process has the id.
    #[error("there is a process `{0}` on this node already")]
    IdInUse(String),
    /// The id belongs to processes that come with a node.
    #[error(
        "the id `{0}` is reserved for a process that comes with each node: ids may not begin with `__`, nor be \
         `help`, `metrics`, `logging`, `profiler`, `memory-profiler` or `system`"
    )]
    IdReserved(String),
    /// The id could not be told apart in a reference or in a path.
    #[error("`{0}` cannot be an id: it has to be visible characters without `@` and `/`, and not empty")]
    IdInvalid(String),
    /// The node is shutting down.
    #[error("this node is shutting down")]
    ShuttingDown,
}

/// What everything on a node shares.
pub(crate) struct NodeInner {
    address: Address,
    /// Whose id is put before a path whose first part names no process.
    delegate: Option<String>,
    environment: Arc<dyn Environment>,
    arenas: Vec<Arc<dyn Arena>>,
    next_arena: AtomicUsize,
    processes: RwLock<HashSet<ById>>,
    prefixes: Mutex<HashMap<String, u64>>,
    links: Mutex<Links>,
    waiting: Mutex<UpidMap<Vec<Promise<()>>>>,
    routes: RwLock<BTreeMap<Box<str>, BTreeMap<String, http::Route>>>,
    metrics: Arc<Registry>,
    transport: OnceLock<Arc<dyn Transport>>,
    serving: Mutex<Option<http::Serving>>,
    closing: AtomicBool,
}

impl NodeInner {
    pub(crate) fn new(
        address: Address,
        delegate: Option<String>,
        environment: Arc<dyn Environment>,
        arenas: Vec<Arc<dyn Arena>>,
    ) -> Arc<NodeInner> {
        Arc::new(NodeInner {
            address,
            delegate,
            metrics: Registry::new(environment.clone()),
            environment,
            arenas,
            next_arena: AtomicUsize::new(0),
            processes: RwLock::default(),
            prefixes: Mutex::default(),
            links: Mutex::default(),
            waiting: Mutex::default(),
            routes: RwLock::default(),
            transport: OnceLock::new(),
            serving: Mutex::default(),
            closing: AtomicBool::new(false),
        })
    }

    pub(crate) fn set_transport(&self, transport: Arc<dyn Transport>) {
        let _ = self.transport.set(transport);
    }

    pub(crate) fn transport(&self) -> Option<&Arc<dyn Transport>> {
        self.transport.get()
    }

    pub(crate) fn set_serving(&self, serving: http::Serving) {
        *self.serving.lock() = Some(serving);
    }

    pub(crate) fn address(&self) -> Address {
        self.address
    }

    pub(crate) fn delegate(&self) -> Option<&str> {
        self.delegate.as_deref()
    }

    pub(crate) fn environment(&self) -> &dyn Environment {
        &*self.environment
    }

    pub(crate) fn metrics(&self) -> &Arc<Registry> {
        &self.metrics
    }

    /// The processes of this node, by id.
    pub(crate) fn processes(&self) -> Vec<Upid> {
        let mut all: Vec<Upid> = self.processes.read().iter().map(|process| process.0.clone()).collect();
        all.sort();
        all
    }

    pub(crate) fn spawn<P: Process>(self: &Arc<Self>, id: Id, process: P) -> Result<Pid<P>, SpawnError> {
        let next = self.next_arena.fetch_add(1, Ordering::Relaxed);
        self.spawn_in(next, id, process)
    }

    pub(crate) fn spawn_in<P: Process>(
        self: &Arc<Self>,
        arena: usize,
        id: Id,
        process: P,
    ) -> Result<Pid<P>, SpawnError> {
        let arena = self.arenas[arena % self.arenas.len()].clone();
        // Held over the adoption, so that whoever finds the id finds a process that can be posted to.
        let mut processes = self.processes.write();
        // Under the lock: who lists the processes after `closing` was set, to end them, sees them all.
        if self.closing.load(Ordering::Acquire) {
            return Err(SpawnError::ShuttingDown);
        }
        let id = match id {
            Id::Fixed(id) if processes.contains(id.as_str()) => return Err(SpawnError::IdInUse(id)),
            Id::Fixed(id) => id,
            Id::Prefix(prefix) => {
                let mut prefixes = self.prefixes.lock();
                let n = match prefixes.get_mut(&prefix) {
                    Some(n) => n,
                    None => prefixes.entry(prefix.clone()).or_insert(0),
                };
                loop {
                    *n += 1;
                    let id = format!("{prefix}({n})");
                    // Somebody may have taken it literally.
                    if !processes.contains(id.as_str()) {
                        break id;
                    }
                }
            }
        };
        let key = arena.reserve();
        let local = Local::new(Arc::downgrade(self), arena.clone(), key);
        let upid = Upid::spawned(id, self.address, local);
        let ctx = Context::new(upid.clone(), self.clone());
        arena.adopt(key, Box::new(ProcessCell::new(process, ctx)));
        processes.insert(ById(upid.clone()));
        Ok(Pid::new(upid))
    }

    /// The process of that id, if it is on this node.
    pub(crate) fn find(&self, id: &str) -> Option<Upid> {
        self.processes.read().get(id).map(|process| process.0.clone())
    }

    /// The process on this node that `upid` refers to. The reference that a process was spawned with is to it
    /// alone; one made of an id and an address is to whoever has the id.
    pub(crate) fn resolve(&self, upid: &Upid) -> Option<Upid> {
        if let Some(local) = upid.local()
            && std::ptr::eq(local.node.as_ptr(), self)
        {
            return (!upid.has_ended()).then(|| upid.clone());
        }
        if let Some(resolved) = upid.resolved() {
            return Some(resolved);
        }
        let found = self.find(upid.id())?;
        upid.remember(&found);
        Some(found)
    }

    /// Whether the process that `upid` refers to still has its id. One that is about to has ended already and
    /// is served nothing more, but its end has not been told yet.
    fn is_known(&self, upid: &Upid) -> bool {
        match upid.local() {
            Some(local) if std::ptr::eq(local.node.as_ptr(), self) => !local.gone.load(Ordering::Acquire),
            _ => upid.address() == self.address && self.processes.read().contains(upid.id()),
        }
    }

    pub(crate) fn send<M: Message>(&self, from: &Upid, to: &Upid, message: M) {
        if let Some(local) = to.local()
            && std::ptr::eq(local.node.as_ptr(), self)
        {
            // The common case, without a look-up: a reference that was handed out on this node.
            if to.post(Event::Message { from: from.clone(), message: Box::new(message) }) {
                return;
            }
        } else if to.address() == self.address {
            if let Some(to) = self.resolve(to) {
                to.post(Event::Message { from: from.clone(), message: Box::new(message) });
                return;
            }
        } else {
            if to.is_nobody() {
                return;
            }
            self.send_away(from, to, M::name(), &mut |out| message.encode(out));
            return;
        }
        tracing::debug!(%to, message = M::name(), "no such process; dropped");
    }

    pub(crate) fn send_any(&self, from: &Upid, to: &Upid, message: Box<dyn AnyMessage>) {
        if to.address() == self.address {
            if let Some(to) = self.resolve(to) {
                to.post(Event::Message { from: from.clone(), message });
            }
            return;
        }
        self.send_away(from, to, message.wire_name(), &mut |out| message.encode_into(out));
    }

    pub(crate) fn send_encoded(&self, from: &Upid, to: &Upid, name: &str, body: Bytes, held: Option<Held>) {
        if to.address() == self.address {
            self.deliver(to.id(), from.clone(), name, body, held);
        } else {
            self.send_away(from, to, name, &mut |out| out.extend_from_slice(&body));
        }
    }

    fn send_away(&self, from: &Upid, to: &Upid, name: &str, encode: &mut dyn FnMut(&mut Vec<u8>)) {
        match self.transport.get() {
            Some(transport) => transport.send_with(from, to, name, encode),
            None => tracing::debug!(%to, message = name, "this node has no network; dropped"),
        }
    }

    /// A message from another node; whether there is such a process.
    pub(crate) fn deliver(&self, id: &str, from: Upid, name: &str, body: Bytes, held: Option<Held>) -> bool {
        let Some(to) = self.find(id) else { return false };
        to.post(Event::Wire(Box::new(WireMessage { from, name: name.into(), body, held })))
    }

    pub(crate) fn link(&self, linker: &Upid, linkee: &Upid, reconnect: bool) {
        if linkee.is_nobody() {
            return;
        }
        if linkee.address() == self.address {
            let mut links = self.links.lock();
            // Under the lock, so that the process cannot end between the look and the entry.
            if self.is_known(linkee) {
                links.add(linker, linkee, false);
            } else {
                drop(links);
                linker.post(Event::Exited(linkee.clone()));
            }
            return;
        }
        match self.transport.get() {
            Some(transport) => {
                self.links.lock().add(linker, linkee, true);
                transport.link(linkee, reconnect);
            }
            None => {
                linker.post(Event::Exited(linkee.clone()));
            }
        }
    }

    /// The connection to a node is lost: everyone linked to a process there hears of it.
    pub(crate) fn connection_lost(&self, address: Address) {
        // All in one: whoever links again as soon as it hears of it makes a link that is new.
        let lost = self.links.lock().take_linkers_at(address);
        for (linkee, linkers) in lost {
            for linker in linkers {
                linker.post(Event::Exited(linkee.clone()));
            }
        }
    }

    /// A process on another node has ended, or its node is lost.
    pub(crate) fn remote_exited(&self, linkee: &Upid) {
        let linkers = self.links.lock().take_linkers(linkee);
        for linker in linkers {
            linker.post(Event::Exited(linkee.clone()));
        }
    }

    /// Has a process of this node hear of an end that need not be; whether there is such a process.
    pub(crate) fn inject_exited(&self, from: &Upid, to: &Upid) -> bool {
        let to = (to.address() == self.address).then(|| self.resolve(to)).flatten();
        to.is_some_and(|to| to.post(Event::Exited(from.clone())))
    }

    pub(crate) fn terminate(&self, upid: &Upid, inject: bool) {
        if let Some(upid) = (upid.address() == self.address).then(|| self.resolve(upid)).flatten() {
            if inject {
                upid.mark_terminating();
            }
            upid.post(Event::Terminate);
        }
    }

    /// Called by the host when a process is no more.
    pub(crate) fn process_ended(&self, upid: &Upid, panic: Option<String>) {
        match panic {
            Some(panic) => tracing::error!(process = %upid, %panic, "a process panicked and has ended"),
            None => tracing::trace!(process = %upid, "ended"),
        }
        // Before the id is free again: its next holder has routes and metrics of its own.
        if upid.is_listed() {
            let routes = self.routes.write().remove(upid.id());
            discard(routes);
            self.metrics.remove_all_of(upid);
        }
        let (linkers, waiting) = {
            let mut links = self.links.lock();
            let mut waiting = self.waiting.lock();
            // In one with the tables: links and waits are by id, and the next holder's are not to go with
            // these.
            self.processes.write().remove(upid.id());
            upid.mark_gone();
            links.forget_linker(upid);
            (links.take_linkers(upid), waiting.remove(upid))
        };
        for linker in linkers {
            linker.post(Event::Exited(upid.clone()));
        }
        if let Some(transport) = self.transport.get() {
            transport.local_exited(upid);
        }
        for promise in waiting.into_iter().flatten() {
            promise.set(());
        }
    }

    /// Settled once that process is no more; at once when there is none.
    pub(crate) fn wait(&self, upid: &Upid) -> Future<()> {
        let (promise, future) = Promise::new();
        let mut waiting = self.waiting.lock();
        // Under the lock: the end of a process empties this table when it leaves the other.
        if self.is_known(upid) {
            waiting.entry(upid.clone()).or_default().push(promise);
        } else {
            drop(waiting);
            promise.set(());
        }
        future
    }

    pub(crate) fn add_route(&self, upid: &Upid, path: &str, route: http::Route) {
        upid.mark_listed();
        let before = self.routes.write().entry(upid.id().into()).or_default().insert(path.to_owned(), route);
        // Unlocked: what a route holds is the user's.
        drop(before);
    }

    /// The process and the longest matching route for what is left of a path behind the process's id.
    pub(crate) fn find_route(&self, upid: &Upid, rest: &str) -> Option<(String, http::Route)> {
        let routes = self.routes.read();
        let routes = routes.get(upid.id())?;
        let mut path = rest.trim_matches('/');
        loop {
            if let Some(route) = routes.get(path) {
                return Some((path.to_owned(), route.clone()));
            }
            path = match path.rsplit_once('/') {
                Some((above, _)) => above,
                // The root is no prefix of everything, unless it wants to be.
                None => {
                    let root = routes.get("").filter(|root| root.options.catch_all)?;
                    return Some((String::new(), root.clone()));
                }
            };
        }
    }

    /// All routes by process id, with their help.
    pub(crate) fn routes(&self) -> BTreeMap<String, BTreeMap<String, http::RouteOptions>> {
        let routes = self.routes.read();
        routes
            .iter()
            .map(|(id, routes)| {
                let routes = routes.iter().map(|(path, route)| (path.clone(), route.options.clone()));
                (id.to_string(), routes.collect())
            })
            .collect()
    }

    /// Refuses new processes and ends all there are; settled when they are gone.
    pub(crate) fn shut_down(&self) -> Future<()> {
        self.closing.store(true, Ordering::Release);
        let processes = self.processes();
        for upid in &processes {
            self.terminate(upid, true);
        }
        let (promise, future) = Promise::new();
        let last = Future::all(processes.iter().map(|upid| self.wait(upid)));
        let transport = self.transport.get().cloned();
        let serving = self.serving.lock().take();
        last.settled(move |_| {
            let (sent, all_sent) = Promise::new();
            match transport {
                Some(transport) => transport.close(sent),
                None => sent.set(()),
            }
            let served = match serving {
                Some(serving) => serving.stop(),
                None => Future::ready(()),
            };
            promise.follow(all_sent.map(move |()| served).flatten());
        });
        future
    }

    pub(crate) fn weak(self: &Arc<Self>) -> Weak<NodeInner> {
        Arc::downgrade(self)
    }
}
