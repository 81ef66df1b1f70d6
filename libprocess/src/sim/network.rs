//! The network between simulated nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use rand::Rng as _;

use super::SimNode;
use super::world::{State, World};
use crate::message::Message;
use crate::time::Time;
use crate::upid::{Address, Upid};

/// How often a link asks whether the other side is there, and how often in vain before it is given up: as
/// the native link does.
const PROBE_EVERY: Duration = Duration::from_secs(1);
const PROBES_IN_VAIN: u32 = 4;

/// When a connection tries again what did not get through: links and ends are told or the connection is lost,
/// as over TCP.
const RETRY_EVERY: Duration = Duration::from_millis(200);

/// How long a node that is down takes to refuse a connection: its system answers for it.
const REFUSED_AFTER: Duration = Duration::from_millis(1);

pub(super) struct NetworkState {
    latency: Range<Duration>,
    loss: f64,
    duplication: f64,
    /// Directed pairs of nodes that do not reach each other.
    cut: BTreeSet<(usize, usize)>,
    /// Wire names of which the next message is lost.
    drop_next: BTreeMap<String, u32>,
    /// When the last packet of each directed pair arrives: one connection keeps its order.
    last_arrival: BTreeMap<(usize, usize), Time>,
}

impl Default for NetworkState {
    fn default() -> Self {
        NetworkState {
            latency: Duration::from_micros(100)..Duration::from_millis(5),
            loss: 0.0,
            duplication: 0.0,
            cut: BTreeSet::new(),
            drop_next: BTreeMap::new(),
            last_arrival: BTreeMap::new(),
        }
    }
}

/// Who is linked to whose process.
#[derive(Default)]
pub(super) struct Links {
    /// Process, and the nodes where somebody linked to it.
    pub(super) to_process: BTreeMap<Upid, BTreeSet<usize>>,
    /// Node and peer with a connection between them, and its number: probes of an earlier one do not speak
    /// for it.
    connected: BTreeMap<(usize, usize), u64>,
    n_connections: u64,
}

impl Links {
    fn is_connected(&self, node: usize, peer: usize, number: u64) -> bool {
        self.connected.get(&(node, peer)) == Some(&number)
    }

    /// A node has crashed: nobody there is linked to any more, and nobody there links.
    pub(super) fn forget(&mut self, node: usize, address: Address) {
        self.to_process.retain(|upid, linkers| {
            linkers.remove(&node);
            upid.address() != address && !linkers.is_empty()
        });
        self.connected.retain(|(watcher, _), _| *watcher != node);
    }
}

/// Whom a connection is watched for, and what it was when it was made.
#[derive(Clone, Copy)]
struct Probe {
    node: usize,
    life: u64,
    peer: usize,
    peer_life: u64,
    number: u64,
}

/// What may travel from node to node.
pub(super) enum Packet {
    Message { from: Upid, to: Upid, name: String, body: Vec<u8> },
    Link { linkee: Upid },
    Exited { linkee: Upid },
}

/// Changes how the network behaves.
pub struct Network<'a> {
    world: &'a Arc<World>,
}

impl<'a> Network<'a> {
    pub(super) fn new(world: &'a Arc<World>) -> Network<'a> {
        Network { world }
    }

    /// Every packet takes a time drawn from this range; between two nodes order is kept.
    pub fn latency(&mut self, range: Range<Duration>) -> &mut Self {
        assert!(range.start < range.end, "an empty range of latencies: {range:?}");
        self.world.state.lock().network.latency = range;
        self
    }

    /// The probability that a message is lost.
    pub fn loss(&mut self, probability: f64) -> &mut Self {
        self.world.state.lock().network.loss = probability;
        self
    }

    /// The probability that a message arrives twice.
    pub fn duplication(&mut self, probability: f64) -> &mut Self {
        self.world.state.lock().network.duplication = probability;
        self
    }

    /// Loses the next message of this type between nodes.
    pub fn drop_next<M: Message>(&mut self) -> &mut Self {
        *self.world.state.lock().network.drop_next.entry(M::name().to_owned()).or_default() += 1;
        self
    }

    /// Cuts one direction: what `from` sends does not reach `to`.
    pub fn cut(&mut self, from: SimNode, to: SimNode) -> &mut Self {
        let mut state = self.world.state.lock();
        state.network.cut.insert((from.0, to.0));
        let (now, from, to) = (state.now(), state.nodes[from.0].address, state.nodes[to.0].address);
        state.log.note(now, format_args!("network cut from {from} to {to}"));
        self
    }

    /// Separates each node of `one` from each of `other`, both ways.
    pub fn partition(&mut self, one: &[SimNode], other: &[SimNode]) -> &mut Self {
        for &a in one {
            for &b in other {
                self.cut(a, b).cut(b, a);
            }
        }
        self
    }

    /// Mends every cut. Loss and latency stay as they are.
    pub fn heal(&mut self) -> &mut Self {
        let mut state = self.world.state.lock();
        state.network.cut.clear();
        let now = state.now();
        state.log.note(now, format_args!("network healed"));
        self
    }
}

impl State {
    fn reaches(&self, from: usize, to: usize) -> bool {
        self.nodes[to].inner.is_some() && !self.network.cut.contains(&(from, to))
    }
}

impl World {
    /// Sends a packet on its way. It is lost when the way is cut now, or when it would arrive.
    pub(super) fn transmit(self: &Arc<Self>, from: usize, to: Address, packet: Packet) {
        let mut state = self.state.lock();
        let Some(to) = state.node_at(to) else { return };
        let life = state.nodes[to].life;
        if state.network.cut.contains(&(from, to)) {
            drop(state);
            self.try_again(from, to, life, packet);
            return;
        }
        let mut packets = vec![packet];
        if let Packet::Message { from: sender, to: receiver, name, body } = &packets[0] {
            let mut lost = state.network.loss > 0.0 && {
                let loss = state.network.loss;
                state.rng.random_bool(loss.clamp(0.0, 1.0))
            };
            if let Some(n) = state.network.drop_next.get_mut(name).filter(|n| **n > 0) {
                *n -= 1;
                lost = true;
            }
            if lost {
                let now = state.now();
                state.log.note(now, format_args!("lost {name} from {sender} to {receiver}"));
                return;
            }
            let duplication = state.network.duplication;
            if duplication > 0.0 && state.rng.random_bool(duplication.clamp(0.0, 1.0)) {
                let again = Packet::Message {
                    from: sender.clone(),
                    to: receiver.clone(),
                    name: name.clone(),
                    body: body.clone(),
                };
                packets.push(again);
            }
        }
        for packet in packets {
            let latency = state.network.latency.clone();
            let takes =
                state.rng.random_range(latency.start.as_nanos() as u64..latency.end.as_nanos() as u64);
            let now = state.now();
            let earliest = now + Duration::from_nanos(takes);
            let last = state.network.last_arrival.entry((from, to)).or_default();
            *last = earliest.max(*last);
            let after = *last - now;
            drop(state);
            let world = Arc::downgrade(self);
            self.schedule(
                after,
                Box::new(move || {
                    if let Some(world) = world.upgrade() {
                        world.arrive(from, to, life, packet);
                    }
                }),
            );
            state = self.state.lock();
        }
    }

    fn arrive(self: &Arc<Self>, from: usize, to: usize, life: u64, packet: Packet) {
        let (inner, sender) = {
            let state = self.state.lock();
            if state.nodes[to].life != life {
                return;
            }
            if !state.reaches(from, to) {
                drop(state);
                self.try_again(from, to, life, packet);
                return;
            }
            (state.nodes[to].inner.clone(), state.nodes[from].address)
        };
        let Some(inner) = inner else { return };
        match packet {
            Packet::Message { from, to, name, body } => {
                inner.deliver(to.id(), from, &name, body.into(), None);
            }
            Packet::Link { linkee } => {
                if inner.find(linkee.id()).is_some() {
                    self.state.lock().links.to_process.entry(linkee).or_default().insert(from);
                } else {
                    self.transmit(to, sender, Packet::Exited { linkee });
                }
            }
            Packet::Exited { linkee } => inner.remote_exited(&linkee),
        }
    }

    /// A packet did not get through. A message is lost then; what a connection has to tell, it tells as soon as
    /// it can, for as long as there is a connection.
    fn try_again(self: &Arc<Self>, from: usize, to: usize, life: u64, packet: Packet) {
        let state = self.state.lock();
        let connection = match packet {
            Packet::Message { .. } => return,
            Packet::Link { .. } => (from, to),
            Packet::Exited { .. } => (to, from),
        };
        let Some(&number) = state.links.connected.get(&connection) else { return };
        let address = state.nodes[to].address;
        drop(state);
        let world = Arc::downgrade(self);
        let again = move || {
            let Some(world) = world.upgrade() else { return };
            let still = {
                let state = world.state.lock();
                state.links.is_connected(connection.0, connection.1, number) && state.nodes[to].life == life
            };
            if still {
                world.transmit(from, address, packet);
            }
        };
        self.schedule(RETRY_EVERY, Box::new(again));
    }

    /// Sees to a connection from `node` to a peer, a new one if `reconnect`, and watches it.
    pub(super) fn connect(self: &Arc<Self>, node: usize, life: u64, address: Address, reconnect: bool) {
        let mut state = self.state.lock();
        let Some(peer) = state.node_at(address) else {
            drop(state);
            self.refuse(node, life, address);
            return;
        };
        if state.links.connected.contains_key(&(node, peer)) && !reconnect {
            return;
        }
        let both_ways = [(node, peer), (peer, node)];
        let is_cut = both_ways.iter().any(|way| state.network.cut.contains(way));
        if state.nodes[peer].inner.is_none() && !is_cut {
            state.links.connected.remove(&(node, peer));
            drop(state);
            self.refuse(node, life, address);
            return;
        }
        state.links.n_connections += 1;
        let number = state.links.n_connections;
        state.links.connected.insert((node, peer), number);
        let probe = Probe { node, life, peer, peer_life: state.nodes[peer].life, number };
        drop(state);
        self.probe(probe, 0);
    }

    fn refuse(self: &Arc<Self>, node: usize, life: u64, address: Address) {
        let world = Arc::downgrade(self);
        let refused = move || {
            if let Some(world) = world.upgrade() {
                world.give_up(node, life, address);
            }
        };
        self.schedule(REFUSED_AFTER, Box::new(refused));
    }

    fn probe(self: &Arc<Self>, probe: Probe, in_vain: u32) {
        let world = Arc::downgrade(self);
        let next = move || {
            let Some(world) = world.upgrade() else { return };
            let Probe { node, life, peer, peer_life, number } = probe;
            let (there, same, address) = {
                let state = world.state.lock();
                if !state.links.is_connected(node, peer, number) {
                    return;
                }
                let there = state.reaches(node, peer) && state.reaches(peer, node);
                (there, state.nodes[peer].life == peer_life, state.nodes[peer].address)
            };
            let in_vain = if there { 0 } else { in_vain + 1 };
            // A peer that has started again answers, but knows nothing of the connection.
            if in_vain >= PROBES_IN_VAIN || (there && !same) {
                world.state.lock().links.connected.remove(&(node, peer));
                world.give_up(node, life, address);
            } else {
                world.probe(probe, in_vain);
            }
        };
        self.schedule(PROBE_EVERY, Box::new(next));
    }

    fn give_up(self: &Arc<Self>, node: usize, life: u64, peer: Address) {
        if self.is_alive(node, life)
            && let Some(inner) = self.inner(node)
        {
            {
                let mut state = self.state.lock();
                let (now, address) = (state.now(), state.nodes[node].address);
                state.log.note(now, format_args!("connection from {address} to {peer} lost"));
            }
            inner.connection_lost(peer);
        }
    }

    /// A node went down: whoever it reaches learns from its system within a round trip.
    pub(super) fn peer_lost(self: &Arc<Self>, node: usize) {
        let (watchers, address) = {
            let mut state = self.state.lock();
            let address = state.nodes[node].address;
            state.links.forget(node, address);
            let watchers: Vec<(usize, u64)> = state
                .links
                .connected
                .keys()
                .filter(|(watcher, peer)| *peer == node && !state.network.cut.contains(&(node, *watcher)))
                .map(|(watcher, _)| (*watcher, state.nodes[*watcher].life))
                .collect();
            for (watcher, _) in &watchers {
                state.links.connected.remove(&(*watcher, node));
            }
            (watchers, address)
        };
        for (watcher, life) in watchers {
            self.refuse(watcher, life, address);
        }
    }
}
