//! The network between simulated nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use rand::Rng as _;

use super::SimNode;
use super::flapping::Flapping;
use super::world::{State, World};
use crate::message::Message;
use crate::node::NodeInner;
use crate::time::Time;
use crate::upid::{Address, Upid};

/// When a connection tries again what did not get through: links and ends are told or the connection is lost,
/// as over TCP.
const RETRY_EVERY: Duration = Duration::from_millis(200);

pub(super) struct NetworkState {
    latency: Range<Duration>,
    /// Of directed pairs of nodes that are nearer or farther than others.
    latency_between: BTreeMap<(usize, usize), Range<Duration>>,
    loss: f64,
    duplication: f64,
    /// Directed pairs of nodes that do not reach each other.
    cut: BTreeSet<(usize, usize)>,
    pub(super) flapping: Flapping,
    /// Wire names of which the next message is lost.
    drop_next: BTreeMap<String, u32>,
    /// When the last packet of each directed pair arrives: one connection keeps its order.
    last_arrival: BTreeMap<(usize, usize), Time>,
}

impl Default for NetworkState {
    fn default() -> Self {
        NetworkState {
            latency: Duration::from_micros(100)..Duration::from_millis(5),
            latency_between: BTreeMap::new(),
            loss: 0.0,
            duplication: 0.0,
            cut: BTreeSet::new(),
            flapping: Flapping::default(),
            drop_next: BTreeMap::new(),
            last_arrival: BTreeMap::new(),
        }
    }
}

impl NetworkState {
    pub(super) fn is_cut(&self, from: usize, to: usize) -> bool {
        self.cut.contains(&(from, to)) || self.flapping.is_down(from, to)
    }

    fn latency(&self, from: usize, to: usize) -> Range<Duration> {
        self.latency_between.get(&(from, to)).unwrap_or(&self.latency).clone()
    }
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

    /// As [`latency`](Self::latency), for what `from` sends to `to` only; the general range does not hold for them any
    /// more.
    pub fn latency_between(&mut self, from: SimNode, to: SimNode, range: Range<Duration>) -> &mut Self {
        assert!(range.start < range.end, "an empty range of latencies: {range:?}");
        self.world.state.lock().network.latency_between.insert((from.0, to.0), range);
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

    /// From now on the link between two nodes comes and goes: it is cut both ways for a time drawn from `down`, carries
    /// again for a time drawn from `up`, and so on, until [`heal`](Self::heal).
    pub fn flap(&mut self, a: SimNode, b: SimNode, down: Range<Duration>, up: Range<Duration>) -> &mut Self {
        self.world.flap(a.0, b.0, down, up);
        self
    }

    /// Mends every cut, and ends all flapping. Loss and latency stay as they are.
    pub fn heal(&mut self) -> &mut Self {
        let mut state = self.world.state.lock();
        state.network.cut.clear();
        state.network.flapping.end();
        let now = state.now();
        state.log.note(now, format_args!("network healed"));
        self
    }
}

impl State {
    pub(super) fn reaches(&self, from: usize, to: usize) -> bool {
        self.nodes[to].inner.is_some() && !self.network.is_cut(from, to)
    }
}

impl World {
    /// Sends a packet on its way. It is lost when the way is cut now, or when it would arrive.
    pub(super) fn transmit(self: &Arc<Self>, from: usize, to: Address, packet: Packet) {
        let mut state = self.state.lock();
        let Some(to) = state.node_at(to) else { return };
        let life = state.nodes[to].life;
        if state.network.is_cut(from, to) {
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
            let latency = state.network.latency(from, to);
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

    /// At a node that is stopped it waits: the system there takes it all the same.
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
        let world = Arc::downgrade(self);
        let taken = move || {
            if let Some(world) = world.upgrade() {
                world.take(&inner, from, sender, to, packet);
            }
        };
        self.on_node(to, life, Box::new(taken));
    }

    fn take(self: &Arc<Self>, inner: &NodeInner, from: usize, sender: Address, to: usize, packet: Packet) {
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
}
