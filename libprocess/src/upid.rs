//! References to processes: [`Upid`] to any, anywhere; [`Pid`] to one of known type on this node.

use std::borrow::Borrow;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher, RandomState};
use std::marker::PhantomData;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, OnceLock, Weak};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::context::Context;
use crate::event::Event;
use crate::future::{Future, Promise};
use crate::host::Arena;
use crate::node::{NodeInner, SpawnError};
use crate::process::Process;

/// Where a node can be reached: the address it advertises.
pub type Address = SocketAddr;

/// The address of a reference that refers to nothing.
pub(crate) const NOWHERE: Address = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// A process by id and address, wherever it runs; as text, `id@ip:port`.
///
/// Cheap to clone. Two are equal when id and address are. A `Upid` may outlive its process: what is sent
/// to it then is dropped.
#[derive(Clone)]
pub struct Upid(Arc<Inner>);

struct Inner {
    id: Box<str>,
    address: Address,
    /// Of both; references are looked up in tables far more often than they are made.
    hash: u64,
    /// Set in the reference that a process was spawned with.
    local: Option<Local>,
    /// What a parsed reference turned out to name on this node.
    resolved: OnceLock<Weak<Inner>>,
}

/// Where a process of this node keeps its queue.
pub(crate) struct Local {
    pub(crate) node: Weak<NodeInner>,
    pub(crate) arena: Arc<dyn Arena>,
    pub(crate) key: u64,
    /// Set by a terminate that overtakes the queue.
    pub(crate) terminating: AtomicBool,
    /// Set once nothing posted can be served any more.
    pub(crate) ended: AtomicBool,
    /// Set, later, when its end is told and its id free.
    pub(crate) gone: AtomicBool,
    /// Whether the node's tables of routes or of metrics hold anything of this process.
    pub(crate) listed: AtomicBool,
}

impl Local {
    pub(crate) fn new(node: Weak<NodeInner>, arena: Arc<dyn Arena>, key: u64) -> Local {
        let no = || AtomicBool::new(false);
        Local { node, arena, key, terminating: no(), ended: no(), gone: no(), listed: no() }
    }
}

impl Upid {
    /// A reference to the process `id` at `address`; nothing is looked up.
    pub fn new(id: impl Into<Box<str>>, address: Address) -> Upid {
        Upid::made(id.into(), address, None)
    }

    fn made(id: Box<str>, address: Address, local: Option<Local>) -> Upid {
        // Seeded by chance, once: ids and addresses may be chosen by others, to collide.
        static SEED: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        let hash = SEED.hash_one((&id, address));
        Upid(Arc::new(Inner { id, address, hash, local, resolved: OnceLock::new() }))
    }

    /// The reference to nothing, which messages from outside any process bear as their sender.
    pub fn nobody() -> Upid {
        static NOBODY: OnceLock<Upid> = OnceLock::new();
        NOBODY.get_or_init(|| Upid::new("", NOWHERE)).clone()
    }

    /// Whether this refers to nothing at all.
    pub fn is_nobody(&self) -> bool {
        self.0.id.is_empty() && self.0.address == NOWHERE
    }

    pub(crate) fn spawned(id: String, address: Address, local: Local) -> Upid {
        Upid::made(id.into(), address, Some(local))
    }

    /// The process's id on its node, for example `slave(1)`.
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// The address of its node.
    pub fn address(&self) -> Address {
        self.0.address
    }

    pub(crate) fn local(&self) -> Option<&Local> {
        self.0.local.as_ref()
    }

    /// The process's own reference, remembered after the first look-up by id.
    pub(crate) fn resolved(&self) -> Option<Upid> {
        self.0.resolved.get()?.upgrade().map(Upid).filter(|upid| !upid.has_ended())
    }

    pub(crate) fn remember(&self, resolved: &Upid) {
        // Set once: a process that took the id of a dead one is found by look-up each time.
        let _ = self.0.resolved.set(Arc::downgrade(&resolved.0));
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.0.local.as_ref().is_some_and(|local| local.ended.load(Ordering::Acquire))
    }

    /// Puts an event at the end of a local process's queue; whether it has one.
    pub(crate) fn post(&self, event: Event) -> bool {
        match &self.0.local {
            Some(local) if !local.ended.load(Ordering::Relaxed) => {
                local.arena.post(local.key, event);
                true
            }
            _ => false,
        }
    }

    pub(crate) fn mark_ended(&self) {
        if let Some(local) = &self.0.local {
            local.ended.store(true, Ordering::Release);
        }
    }

    pub(crate) fn mark_gone(&self) {
        if let Some(local) = &self.0.local {
            local.gone.store(true, Ordering::Release);
        }
    }

    pub(crate) fn mark_listed(&self) {
        if let Some(local) = &self.0.local {
            local.listed.store(true, Ordering::Release);
        }
    }

    pub(crate) fn is_listed(&self) -> bool {
        self.0.local.as_ref().is_some_and(|local| local.listed.load(Ordering::Acquire))
    }

    /// Tells the node that this process is no more.
    pub(crate) fn ended(&self, panic: Option<String>) {
        if let Some(node) = self.0.local.as_ref().and_then(|local| local.node.upgrade()) {
            node.process_ended(self, panic);
        }
    }

    pub(crate) fn mark_terminating(&self) {
        if let Some(local) = &self.0.local {
            local.terminating.store(true, Ordering::Relaxed);
        }
    }

    pub(crate) fn is_terminating(&self) -> bool {
        self.0.local.as_ref().is_some_and(|local| local.terminating.load(Ordering::Relaxed))
    }
}

impl AsRef<Upid> for Upid {
    fn as_ref(&self) -> &Upid {
        self
    }
}

impl PartialEq for Upid {
    fn eq(&self, other: &Upid) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
            || (self.0.hash == other.0.hash && self.0.id == other.0.id && self.0.address == other.0.address)
    }
}

impl Eq for Upid {}

impl Hash for Upid {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.hash);
    }
}

impl Ord for Upid {
    fn cmp(&self, other: &Upid) -> std::cmp::Ordering {
        (self.0.address, &self.0.id).cmp(&(other.0.address, &other.0.id))
    }
}

impl PartialOrd for Upid {
    fn partial_cmp(&self, other: &Upid) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Upid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.0.id, self.0.address)
    }
}

impl fmt::Debug for Upid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Text that does not name a process.
#[derive(Debug, thiserror::Error)]
#[error("`{text}` does not name a process: {reason}; expected `id@ip:port`")]
pub struct ParseUpidError {
    text: String,
    reason: String,
}

impl FromStr for Upid {
    type Err = ParseUpidError;

    /// Splits at the first `@`. A host name is resolved to its first IPv4 address (this may block).
    fn from_str(text: &str) -> Result<Upid, ParseUpidError> {
        let error = |reason: &str| ParseUpidError { text: text.to_owned(), reason: reason.to_owned() };
        let (id, at) = text.trim().split_once('@').ok_or_else(|| error("there is no `@`"))?;
        if let Ok(address) = at.parse::<SocketAddr>() {
            return Ok(Upid::new(id, address));
        }
        let (_, port) = at.rsplit_once(':').ok_or_else(|| error("there is no port"))?;
        port.parse::<u16>().map_err(|_| error("the port is not a number up to 65535"))?;
        let address = at
            .to_socket_addrs()
            .map_err(|_| error("the host is neither an IP address nor a known name"))?
            .find(SocketAddr::is_ipv4)
            .ok_or_else(|| error("the host has no IPv4 address"))?;
        Ok(Upid::new(id, address))
    }
}

impl Serialize for Upid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Upid {
    /// Takes IP addresses only: decoding a message must not wait for a name server.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Upid, D::Error> {
        let text = String::deserialize(deserializer)?;
        Upid::parse_ip(&text).ok_or_else(|| serde::de::Error::custom(format!("`{text}` is not `id@ip:port`")))
    }
}

impl Upid {
    /// Parses `id@ip:port` without ever asking a name server.
    pub fn parse_ip(text: &str) -> Option<Upid> {
        let (id, at) = text.trim().split_once('@')?;
        Some(Upid::new(id, at.parse().ok()?))
    }
}

/// A process of known type on this node.
pub struct Pid<P> {
    upid: Upid,
    process: PhantomData<fn(P)>,
}

impl<P: Process> Pid<P> {
    pub(crate) fn new(upid: Upid) -> Pid<P> {
        Pid { upid, process: PhantomData }
    }

    /// The untyped reference, which may be sent to other nodes.
    pub fn upid(&self) -> &Upid {
        &self.upid
    }

    /// Runs `f` on the process, in its turn. The future is abandoned when the process is gone, or goes
    /// before its turn comes.
    pub fn dispatch<R: Send + 'static>(
        &self,
        f: impl FnOnce(&mut P, &mut Context<P>) -> R + Send + 'static,
    ) -> Future<R> {
        let (promise, future) = Promise::new();
        self.call(move |process, ctx| promise.set(f(process, ctx)));
        future
    }

    /// Runs `f` on the process, in its turn, with no answer wanted.
    pub fn call(&self, f: impl FnOnce(&mut P, &mut Context<P>) + Send + 'static) {
        self.upid.post(Event::call(f));
    }
}

impl<P> Clone for Pid<P> {
    fn clone(&self) -> Pid<P> {
        Pid { upid: self.upid.clone(), process: PhantomData }
    }
}

impl<P> AsRef<Upid> for Pid<P> {
    fn as_ref(&self) -> &Upid {
        &self.upid
    }
}

impl<P> fmt::Debug for Pid<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.upid.fmt(f)
    }
}

impl<P> fmt::Display for Pid<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.upid.fmt(f)
    }
}

/// The id a process is spawned under.
#[derive(Clone, Debug)]
pub enum Id {
    /// Exactly this.
    Fixed(String),
    /// `prefix(N)`, N counting from 1 for each prefix on a node.
    Prefix(String),
}

impl Id {
    /// `prefix(N)`, N counting from 1 for each prefix on a node.
    pub fn prefix(prefix: impl Into<String>) -> Id {
        Id::Prefix(prefix.into())
    }

    /// Refuses what a user's process cannot be called.
    pub(crate) fn checked(self) -> Result<Id, SpawnError> {
        const RESERVED: [&str; 6] = ["help", "metrics", "logging", "profiler", "memory-profiler", "system"];
        let (text, fixed) = match &self {
            Id::Fixed(id) => (id, true),
            Id::Prefix(prefix) => (prefix, false),
        };
        // References are split at the first `@`, paths at `/`, and both are parts of lines of text.
        let separates = |c: char| matches!(c, '@' | '/') || c.is_whitespace() || c.is_control();
        if fixed && text.is_empty() || text.contains(separates) {
            return Err(SpawnError::IdInvalid(text.clone()));
        }
        if text.starts_with("__") || fixed && RESERVED.contains(&text.as_str()) {
            return Err(SpawnError::IdReserved(text.clone()));
        }
        Ok(self)
    }
}

impl From<&str> for Id {
    fn from(id: &str) -> Id {
        Id::Fixed(id.to_owned())
    }
}

impl From<String> for Id {
    fn from(id: String) -> Id {
        Id::Fixed(id)
    }
}

/// For tables by [`Upid`]: its hash is one already.
#[derive(Default)]
pub(crate) struct UpidHasher(u64);

impl Hasher for UpidHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

pub(crate) type UpidMap<V> = HashMap<Upid, V, BuildHasherDefault<UpidHasher>>;
pub(crate) type UpidSet = HashSet<Upid, BuildHasherDefault<UpidHasher>>;

/// A process of a node, to be found by its id.
pub(crate) struct ById(pub(crate) Upid);

impl Borrow<str> for ById {
    fn borrow(&self) -> &str {
        self.0.id()
    }
}

impl Hash for ById {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.id().hash(state);
    }
}

impl PartialEq for ById {
    fn eq(&self, other: &ById) -> bool {
        self.0.id() == other.0.id()
    }
}

impl Eq for ById {}
