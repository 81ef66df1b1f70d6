//! Messages between nodes over TCP.
//!
//! Two nodes of this library hold one long-lived connection, a native link, that begins as an HTTP upgrade
//! and carries frames both ways. A node of Apache's libprocess answers the upgrade with something else than
//! 101, or has spoken first; it gets its messages as HTTP requests. Both kinds arrive at the node's one port,
//! whose accept loop hands them here: [`accept_native`] and [`wire_message`].

mod apache;
mod connection;
mod frame;
mod handshake;
mod outbox;
mod peer;
mod wire;

use std::cell::Cell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::BytesMut;
use parking_lot::{Mutex, RwLock};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::future::Promise;
use crate::host::Transport;
use crate::host::runtime::Runtime;
use crate::node::NodeInner;
use crate::upid::{Address, Upid};
use connection::{Connection, Ended};
use handshake::{ConnectError, Greeting};
use peer::Peer;
pub(crate) use wire::wire_message;

/// How long a peer that answered in HTTP is taken to do so again.
const APACHE_FOR: Duration = Duration::from_secs(600);
/// How long one that spoke Apache's wire first is. Not for ever: it may be a node of this library that could
/// not make a link at that moment.
const SPOKE_APACHE_FOR: Duration = Duration::from_secs(60);
/// How long one that kept silent or hung up is.
const FOREIGN_FOR: Duration = Duration::from_secs(10);
/// Addresses remembered to speak Apache's wire. Anyone can name us addresses.
const MAX_APACHE: usize = 16 << 10;
/// Attempts to connect under way at once; more wait their turn. Anyone can have us answer addresses that never
/// do, and each attempt takes a file descriptor.
const MAX_ATTEMPTS: usize = 512;
/// From so many peers on, those that nothing connects us to are forgotten now and then.
const MANY_PEERS: usize = 1024;

/// A connection to this node whose first bytes are `GET /__link__ `, unread. Serves it until it ends.
pub(crate) async fn accept_native(node: Arc<NodeInner>, mut stream: TcpStream) {
    let Some(transport) = TcpTransport::of(&node) else { return };
    // A connection does not keep its node alive.
    drop(node);
    let from = stream.peer_addr().ok();
    let require_ip = from.and_then(|from| transport.require_ip(from.ip()));
    match handshake::accept(&mut stream, transport.greeting(), require_ip).await {
        Ok((greeting, arrived)) => transport.accepted(greeting, stream, arrived).await,
        Err(error) => tracing::warn!(?from, %error, "a link was refused"),
    }
}

/// The nodes that this one has had to do with.
struct Peers {
    known: HashMap<Address, Arc<Peer>>,
    /// When there are so many, those that are not needed are looked for.
    many: usize,
}

impl Default for Peers {
    fn default() -> Self {
        Peers { known: HashMap::new(), many: MANY_PEERS }
    }
}

impl Peers {
    fn add(&mut self, address: Address) -> Arc<Peer> {
        if self.known.len() >= self.many {
            // Whoever holds one of these may be about to use it.
            self.known.retain(|_, peer| Arc::strong_count(peer) > 1 || !peer.is_forgettable());
            // Looked for again when there are twice as many: a cluster of thousands is not looked through for each
            // of its nodes.
            self.many = (self.known.len() * 2).max(MANY_PEERS);
        }
        self.known.entry(address).or_insert_with(|| Peer::new(address)).clone()
    }
}

/// Messages to and from other nodes over TCP.
pub(crate) struct TcpTransport {
    me: Weak<TcpTransport>,
    node: Weak<NodeInner>,
    own: Address,
    incarnation: u64,
    runtime: Runtime,
    next_arbiter: AtomicUsize,
    require_ip_match: bool,
    peers: RwLock<Peers>,
    /// All native links, whether messages are sent over them or only received.
    links: Mutex<Vec<Arc<Connection>>>,
    /// Which peers want to hear of the end of which process of this node.
    watchers: Mutex<HashMap<Box<str>, Vec<Arc<Connection>>>>,
    /// Until when a peer is taken to speak Apache's wire.
    apache: Mutex<HashMap<Address, Instant>>,
    attempts: Semaphore,
    closed: AtomicBool,
    /// To be told once the last link has sent what it had, and ended.
    closing: Mutex<Option<Promise<()>>>,
}

impl TcpTransport {
    #[allow(clippy::disallowed_methods)]
    pub(crate) fn new(node: &Arc<NodeInner>, runtime: Runtime, require_ip_match: bool) -> Arc<TcpTransport> {
        Arc::new_cyclic(|me| TcpTransport {
            me: me.clone(),
            node: node.weak(),
            own: node.address(),
            incarnation: rand::random(),
            runtime,
            next_arbiter: AtomicUsize::new(0),
            require_ip_match,
            peers: RwLock::default(),
            links: Mutex::default(),
            watchers: Mutex::default(),
            apache: Mutex::default(),
            attempts: Semaphore::new(MAX_ATTEMPTS),
            closed: AtomicBool::new(false),
            closing: Mutex::default(),
        })
    }

    /// The transport of a node that has one over TCP.
    pub(crate) fn of(node: &NodeInner) -> Option<Arc<TcpTransport>> {
        node.transport()?.clone().as_tcp()
    }

    fn node(&self) -> Option<Arc<NodeInner>> {
        self.node.upgrade()
    }

    fn greeting(&self) -> Greeting {
        Greeting { address: self.own, incarnation: self.incarnation }
    }

    /// The one IP address a peer that connects from `ip` may claim for its processes, if it may not claim all.
    fn require_ip(&self, ip: IpAddr) -> Option<IpAddr> {
        self.require_ip_match.then(|| ip.to_canonical())
    }

    fn peer(&self, address: Address) -> Arc<Peer> {
        if let Some(peer) = self.peers.read().known.get(&address) {
            return peer.clone();
        }
        self.peers.write().add(address)
    }

    /// That peer has sent a message by Apache's wire: it is answered in it, unless it is known to make links.
    fn spoke_apache(&self, address: Address) {
        if !self.peers.read().known.get(&address).is_some_and(|peer| peer.is_native()) {
            self.mark_apache(address, SPOKE_APACHE_FOR);
        }
    }

    /// That peer speaks Apache's wire; not said anew before it has expired.
    fn mark_apache(&self, address: Address, for_: Duration) {
        let mut apache = self.apache.lock();
        let now = Instant::now();
        if apache.len() >= MAX_APACHE {
            apache.retain(|_, until| *until > now);
        }
        if apache.get(&address).is_none_or(|until| *until <= now) && apache.len() < MAX_APACHE {
            apache.insert(address, now + for_);
        }
    }

    fn speaks_apache(&self, address: Address) -> bool {
        self.apache.lock().get(&address).is_some_and(|until| *until > Instant::now())
    }

    /// Starts an attempt to connect, after `delay`.
    fn start_connecting(&self, peer: &Arc<Peer>, attempt: u64, delay: Duration) {
        let Some(me) = self.me.upgrade() else { return };
        let peer = peer.clone();
        let next = self.next_arbiter.fetch_add(1, Ordering::Relaxed);
        self.runtime.arbiter(next).spawn(async move {
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            me.connect(&peer, attempt).await;
        });
    }

    async fn connect(self: Arc<Self>, peer: &Arc<Peer>, attempt: u64) {
        let address = peer.address;
        // Never closed, so there always comes a permit.
        let permit = self.attempts.acquire().await;
        let error = if self.speaks_apache(address) {
            None
        } else {
            match handshake::connect(address, self.greeting()).await {
                Ok((stream, greeting, arrived)) => {
                    drop(permit);
                    let connection = Connection::new(address, greeting.incarnation, false);
                    if self.register(&connection) && peer.connected(attempt, &connection, self.own) {
                        tracing::debug!(peer = %address, "linked");
                        self.serve(peer, &connection, stream, arrived).await;
                    } else {
                        self.unregister(&connection);
                    }
                    return;
                }
                Err(error) => Some(error),
            }
        };
        match &error {
            Some(ConnectError::Unreachable(_)) => {}
            Some(ConnectError::Http(_)) => {
                peer.is_no_longer_native();
                self.mark_apache(address, APACHE_FOR);
            }
            Some(ConnectError::Foreign(_)) if peer.is_native() => {}
            Some(ConnectError::Foreign(_)) => self.mark_apache(address, FOREIGN_FOR),
            Some(ConnectError::Greeting(error)) => {
                peer.is_no_longer_native();
                tracing::warn!(peer = %address, %error, "no link; falling back to Apache's wire");
                self.mark_apache(address, APACHE_FOR);
            }
            None => {}
        }
        let error = match error {
            Some(error @ ConnectError::Unreachable(_)) => error,
            Some(error @ ConnectError::Foreign(_)) if peer.is_native() => error,
            _ => match handshake::tcp(address).await {
                Ok(stream) => {
                    drop(permit);
                    return self.serve_apache(peer, attempt, stream).await;
                }
                Err(error) => error,
            },
        };
        if let Some(n_dropped) = peer.failed(attempt, self.own) {
            tracing::debug!(peer = %address, %error, n_dropped, "not connected; what was queued is dropped");
            self.lost(address);
        }
    }

    async fn serve_apache(&self, peer: &Arc<Peer>, attempt: u64, stream: TcpStream) {
        let Some(connection) = peer.connected_apache(attempt) else { return };
        tracing::debug!(peer = %peer.address, "connected, speaking Apache's wire");
        let why = connection.run(stream).await;
        tracing::debug!(peer = %peer.address, %why, "the connection has ended");
        if peer.lost_apache(&connection) {
            self.lost(peer.address);
        }
    }

    /// A peer has connected and introduced itself.
    async fn accepted(self: &Arc<Self>, greeting: Greeting, stream: TcpStream, arrived: BytesMut) {
        let peer = self.peer(greeting.address);
        let connection = Connection::new(greeting.address, greeting.incarnation, true);
        if !self.register(&connection) {
            return;
        }
        self.apache.lock().remove(&greeting.address);
        if peer.accepted(&connection, self.own) {
            tracing::info!(peer = %greeting.address, "the node has been started anew");
            self.lost(greeting.address);
            peer.relink();
        }
        self.serve(&peer, &connection, stream, arrived).await;
    }

    async fn serve(
        self: &Arc<Self>,
        peer: &Arc<Peer>,
        connection: &Arc<Connection>,
        stream: TcpStream,
        arrived: BytesMut,
    ) {
        let why = connection.run(self, stream, arrived).await;
        match why {
            Ended::ByPeer | Ended::ByUs => tracing::debug!(peer = %peer.address, %why, "the link has ended"),
            _ => tracing::info!(peer = %peer.address, %why, "the link is lost"),
        }
        self.unregister(connection);
        if peer.lost(connection) {
            self.lost(peer.address);
        }
    }

    /// Everyone linked to a process at `address` hears that it is lost.
    fn lost(&self, address: Address) {
        if let Some(node) = self.node() {
            node.connection_lost(address);
        }
    }

    /// Whether the connection may be: not when the node closes.
    fn register(&self, connection: &Arc<Connection>) -> bool {
        let mut links = self.links.lock();
        if self.closed.load(Ordering::SeqCst) {
            return false;
        }
        links.push(connection.clone());
        true
    }

    fn unregister(&self, connection: &Arc<Connection>) {
        self.links.lock().retain(|other| !Arc::ptr_eq(other, connection));
        self.tell_if_closed();
        let mut watchers = self.watchers.lock();
        for id in connection.watched() {
            if let Some(connections) = watchers.get_mut(&id) {
                connections.retain(|other| !Arc::ptr_eq(other, connection));
                if connections.is_empty() {
                    watchers.remove(&id);
                }
            }
        }
    }

    fn tell_if_closed(&self) {
        if self.closed.load(Ordering::SeqCst) && self.links.lock().is_empty() {
            let closing = self.closing.lock().take();
            if let Some(done) = closing {
                done.set(());
            }
        }
    }

    /// `connection` wants to hear of the end of the process `id`.
    fn watch(&self, id: &str, connection: &Arc<Connection>) {
        let mut watchers = self.watchers.lock();
        let connections = watchers.entry(id.into()).or_default();
        if !connections.iter().any(|other| Arc::ptr_eq(other, connection)) {
            connections.push(connection.clone());
        }
    }

    fn tell_exited(&self, id: &str) {
        let connections = self.watchers.lock().remove(id).unwrap_or_default();
        for connection in connections {
            connection.exited(id);
        }
    }

    /// The peer at the other end of `connection` says that its process `id` has ended.
    fn remote_exited(&self, node: &NodeInner, connection: &Connection, id: &str) {
        self.peer(connection.address).forget_link(id);
        node.remote_exited(&Upid::new(id, connection.address));
    }

    fn send_body(&self, from: &Upid, to: &Upid, name: &str, body: &[u8]) {
        if self.closed.load(Ordering::Relaxed) {
            return;
        }
        let peer = self.peer(to.address());
        if let Some((attempt, delay)) = peer.send(self.own, from, to, name, body) {
            self.start_connecting(&peer, attempt, delay);
        }
    }
}

thread_local! {
    /// Where bodies are encoded before they go into a connection's buffer: encoding is the user's code, which
    /// must not run under a lock.
    static BODY: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}
/// A buffer that grew beyond this is not kept.
const MAX_KEPT: usize = 1 << 20;

impl Transport for TcpTransport {
    fn send(&self, from: &Upid, to: &Upid, name: &str, body: Vec<u8>) {
        self.send_body(from, to, name, &body);
    }

    fn send_with(&self, from: &Upid, to: &Upid, name: &str, encode: &mut dyn FnMut(&mut Vec<u8>)) {
        let mut body = BODY.take();
        encode(&mut body);
        self.send_body(from, to, name, &body);
        if body.capacity() <= MAX_KEPT {
            body.clear();
            BODY.set(body);
        }
    }

    fn link(&self, to: &Upid, reconnect: bool) {
        if self.closed.load(Ordering::Relaxed) {
            return self.lost(to.address());
        }
        let peer = self.peer(to.address());
        if let Some((attempt, delay)) = peer.link(self.own, to.id(), reconnect) {
            self.start_connecting(&peer, attempt, delay);
        }
    }

    fn local_exited(&self, upid: &Upid) {
        self.tell_exited(upid.id());
    }

    fn close(&self, done: Promise<()>) {
        {
            let links = self.links.lock();
            self.closed.store(true, Ordering::SeqCst);
            *self.closing.lock() = Some(done);
            for connection in links.iter() {
                connection.finish();
            }
        }
        for peer in self.peers.read().known.values() {
            peer.close();
        }
        self.tell_if_closed();
    }

    fn as_tcp(self: Arc<Self>) -> Option<Arc<TcpTransport>> {
        Some(self)
    }
}

/// Lets the worker on this thread have a turn before the task goes on.
async fn yield_to_worker() {
    let mut yielded = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return std::task::Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}

/// What [`crate::fuzzing`] shows of this.
pub(crate) mod fuzzing {
    pub(crate) fn frames(stream: &[u8], size: usize) -> usize {
        super::frame::read_all(stream, size)
    }

    pub(crate) fn handshake(bytes: &[u8]) -> bool {
        super::handshake::read_any(bytes)
    }
}
