//! Another node as seen from this one: how messages reach it, and what waits until they do.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::apache::ApacheConnection;
use super::connection::Connection;
use super::outbox::MAX_QUEUED;
use crate::upid::{Address, Upid};

const BACK_OFF_MIN: Duration = Duration::from_millis(100);
/// A restarted peer is not kept waiting for longer than this.
const BACK_OFF_MAX: Duration = Duration::from_secs(1);

/// The node at one address.
pub(crate) struct Peer {
    pub(crate) address: Address,
    state: Mutex<State>,
}

struct State {
    mode: Mode,
    /// Counts attempts to connect; the result of any but the last is of no interest.
    attempt: u64,
    /// The processes there that somebody here has linked to. A connection is told of all of them.
    linked: BTreeSet<Box<str>>,
    /// The link the peer made last, which serves for sending when there is no other.
    incoming: Option<Arc<Connection>>,
    failures: u32,
    not_before: Option<Instant>,
    /// Whether it has made links, and answered nothing else since.
    native: bool,
}

enum Mode {
    Idle,
    Connecting(Queue),
    Native(Arc<Connection>),
    Apache(Arc<ApacheConnection>),
}

/// What waits for a connection, in order.
#[derive(Default)]
struct Queue {
    messages: VecDeque<Waiting>,
    n_bytes: usize,
    n_dropped: usize,
}

struct Waiting {
    from: Upid,
    to: Upid,
    name: Box<str>,
    body: Box<[u8]>,
}

/// An attempt to start: its number, and how long to wait first.
type Attempt = (u64, Duration);

impl Queue {
    fn push(&mut self, from: &Upid, to: &Upid, name: &str, body: &[u8]) {
        let size = body.len() + name.len() + std::mem::size_of::<Waiting>();
        if self.n_bytes + size > MAX_QUEUED {
            self.n_dropped += 1;
            return;
        }
        self.n_bytes += size;
        let message = Waiting { from: from.clone(), to: to.clone(), name: name.into(), body: body.into() };
        self.messages.push_back(message);
    }

    fn flush(self, address: Address, mut send: impl FnMut(&Waiting)) {
        if self.n_dropped > 0 {
            let n_dropped = self.n_dropped;
            tracing::warn!(peer = %address, n_dropped, "too much was sent while connecting; messages dropped");
        }
        for message in &self.messages {
            send(message);
        }
    }
}

impl State {
    /// Goes over to that link: it is told of what is linked, then gets what has waited.
    fn adopt(&mut self, address: Address, own: Address, connection: &Arc<Connection>) {
        self.attempt += 1;
        self.failures = 0;
        self.not_before = None;
        self.native = true;
        for id in &self.linked {
            connection.link(id);
        }
        if let Mode::Connecting(queue) = std::mem::replace(&mut self.mode, Mode::Native(connection.clone())) {
            queue.flush(address, |m| connection.send(own, &m.from, &m.to, &m.name, &m.body));
        }
    }

    fn live_incoming(&self) -> Option<Arc<Connection>> {
        self.incoming.clone().filter(|connection| connection.is_alive())
    }

    fn start_attempt(&mut self) -> Attempt {
        self.attempt += 1;
        let now = Instant::now();
        (self.attempt, self.not_before.map_or(Duration::ZERO, |then| then.saturating_duration_since(now)))
    }
}

impl Peer {
    pub(super) fn new(address: Address) -> Arc<Peer> {
        let state = State {
            mode: Mode::Idle,
            attempt: 0,
            linked: BTreeSet::new(),
            incoming: None,
            failures: 0,
            not_before: None,
            native: false,
        };
        Arc::new(Peer { address, state: Mutex::new(state) })
    }

    /// Whether nothing is lost by forgetting the peer.
    pub(super) fn is_forgettable(&self) -> bool {
        let state = self.state.lock();
        matches!(state.mode, Mode::Idle)
            && state.incoming.is_none()
            && state.not_before.is_none_or(|then| then < Instant::now())
    }

    /// Whether it is known to make links, so that silence means trouble and not another protocol.
    pub(super) fn is_native(&self) -> bool {
        self.state.lock().native
    }

    /// It has answered a request for a link with something else.
    pub(super) fn is_no_longer_native(&self) {
        self.state.lock().native = false;
    }

    /// Sends, or queues until there is a connection; the attempt to start for that, if one is needed.
    pub(super) fn send(
        &self,
        own: Address,
        from: &Upid,
        to: &Upid,
        name: &str,
        body: &[u8],
    ) -> Option<Attempt> {
        let mut state = self.state.lock();
        match &mut state.mode {
            Mode::Native(connection) => {
                connection.send(own, from, to, name, body);
                return None;
            }
            Mode::Connecting(queue) => {
                queue.push(from, to, name, body);
                return None;
            }
            Mode::Apache(connection) => {
                // One that a link keeps ends only by being lost, which those linked are about to hear.
                if connection.send(from, to, name, body) || !state.linked.is_empty() {
                    return None;
                }
            }
            Mode::Idle => {}
        }
        if let Some(connection) = state.live_incoming() {
            state.adopt(self.address, own, &connection);
            connection.send(own, from, to, name, body);
            return None;
        }
        let mut queue = Queue::default();
        queue.push(from, to, name, body);
        state.mode = Mode::Connecting(queue);
        Some(state.start_attempt())
    }

    /// Links to the process `id` there; the attempt to start for that, if one is needed.
    pub(super) fn link(&self, own: Address, id: &str, reconnect: bool) -> Option<Attempt> {
        let mut state = self.state.lock();
        let kept = !state.linked.is_empty();
        state.linked.insert(id.into());
        match &state.mode {
            Mode::Connecting(_) => return None,
            Mode::Native(connection) if !reconnect => {
                connection.link(id);
                return None;
            }
            // Kept by a link before and ended: lost, which this linker hears of with the others.
            Mode::Apache(connection) if !reconnect && (connection.persist() || kept) => return None,
            // Replaced: what is queued there still goes out, and nobody hears of its end.
            Mode::Native(connection) => connection.retire(),
            Mode::Apache(connection) => connection.finish(),
            Mode::Idle => {
                if let Some(connection) = state.live_incoming().filter(|_| !reconnect) {
                    state.adopt(self.address, own, &connection);
                    return None;
                }
            }
        }
        state.mode = Mode::Connecting(Queue::default());
        Some(state.start_attempt())
    }

    /// Puts the links that were made before back onto the connection there is.
    pub(super) fn relink(&self) {
        let state = self.state.lock();
        if let Mode::Native(connection) = &state.mode {
            state.linked.iter().for_each(|id| connection.link(id));
        }
    }

    pub(super) fn forget_link(&self, id: &str) {
        self.state.lock().linked.remove(id);
    }

    /// An attempt has led to a link; whether it is still wanted.
    pub(super) fn connected(&self, attempt: u64, connection: &Arc<Connection>, own: Address) -> bool {
        let mut state = self.state.lock();
        let wanted = state.attempt == attempt;
        if wanted {
            state.adopt(self.address, own, connection);
        }
        wanted
    }

    /// An attempt has led to a connection for Apache's wire; it, if it is still wanted.
    pub(super) fn connected_apache(&self, attempt: u64) -> Option<Arc<ApacheConnection>> {
        let mut state = self.state.lock();
        if state.attempt != attempt {
            return None;
        }
        state.failures = 0;
        state.not_before = None;
        let connection = ApacheConnection::new(self.address, !state.linked.is_empty());
        if let Mode::Connecting(queue) = std::mem::replace(&mut state.mode, Mode::Apache(connection.clone()))
        {
            queue.flush(self.address, |m| {
                connection.send(&m.from, &m.to, &m.name, &m.body);
            });
        }
        Some(connection)
    }

    /// An attempt has failed. How many messages are dropped for it, and the peer is lost; `None` if the
    /// attempt is not the last, or there is another way.
    pub(super) fn failed(&self, attempt: u64, own: Address) -> Option<usize> {
        let mut state = self.state.lock();
        if state.attempt != attempt {
            return None;
        }
        state.failures += 1;
        let back_off = BACK_OFF_MIN.saturating_mul(1 << state.failures.min(10) >> 1).min(BACK_OFF_MAX);
        state.not_before = Some(Instant::now() + jittered(back_off));
        if let Some(connection) = state.live_incoming() {
            state.adopt(self.address, own, &connection);
            return None;
        }
        state.linked.clear();
        match std::mem::replace(&mut state.mode, Mode::Idle) {
            Mode::Connecting(queue) => Some(queue.messages.len() + queue.n_dropped),
            _ => Some(0),
        }
    }

    /// The peer has made a link; whether it is not the node that we were connected to before.
    pub(super) fn accepted(&self, connection: &Arc<Connection>, own: Address) -> bool {
        let mut state = self.state.lock();
        state.incoming = Some(connection.clone());
        match &state.mode {
            Mode::Idle => {}
            // Both connect at once: the one of the lower address prevails, on both sides.
            Mode::Connecting(_) if self.address < own => {}
            Mode::Connecting(_) => return false,
            Mode::Native(old) if old.incarnation != connection.incarnation => {
                old.close();
                state.linked.clear();
                state.adopt(self.address, own, connection);
                return true;
            }
            // The peer suspects its last connection.
            Mode::Native(old) if old.accepted => old.finish(),
            Mode::Native(_) => return false,
            Mode::Apache(old) => old.finish(),
        }
        state.adopt(self.address, own, connection);
        false
    }

    /// A link has ended; whether the peer is lost with it.
    pub(super) fn lost(&self, connection: &Arc<Connection>) -> bool {
        let mut state = self.state.lock();
        if state.incoming.as_ref().is_some_and(|incoming| Arc::ptr_eq(incoming, connection)) {
            state.incoming = None;
        }
        let lost = matches!(&state.mode, Mode::Native(current) if Arc::ptr_eq(current, connection));
        if lost {
            state.mode = Mode::Idle;
            state.linked.clear();
        }
        lost
    }

    /// A connection for Apache's wire has ended; whether the peer is lost with it.
    pub(super) fn lost_apache(&self, connection: &Arc<ApacheConnection>) -> bool {
        let mut state = self.state.lock();
        let current = matches!(&state.mode, Mode::Apache(current) if Arc::ptr_eq(current, connection));
        if current {
            state.mode = Mode::Idle;
            state.linked.clear();
        }
        current
    }

    /// Ends everything that leads there.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.attempt += 1;
        if let Mode::Apache(connection) = std::mem::replace(&mut state.mode, Mode::Idle) {
            connection.finish();
        }
    }
}

/// Within a quarter of `duration`, so that many nodes do not come back to one in step.
#[allow(clippy::disallowed_methods)]
fn jittered(duration: Duration) -> Duration {
    duration.mul_f64(rand::random_range(0.75..1.25))
}
