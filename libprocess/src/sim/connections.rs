//! Who is linked to whom, and how they learn that the other side is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::world::World;
use crate::upid::{Address, Upid};

/// How often a link asks whether the other side is there, and how often in vain before it is given up: as
/// the native link does.
const PROBE_EVERY: Duration = Duration::from_secs(1);
const PROBES_IN_VAIN: u32 = 4;

/// How long a node that is down takes to refuse a connection: its system answers for it.
const REFUSED_AFTER: Duration = Duration::from_millis(1);

/// Who is linked to whose process.
#[derive(Default)]
pub(super) struct Links {
    /// Process, and the nodes where somebody linked to it.
    pub(super) to_process: BTreeMap<Upid, BTreeSet<usize>>,
    /// Node and peer with a connection between them, and its number: probes of an earlier one do not speak
    /// for it.
    pub(super) connected: BTreeMap<(usize, usize), u64>,
    n_connections: u64,
}

impl Links {
    pub(super) fn is_connected(&self, node: usize, peer: usize, number: u64) -> bool {
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

impl World {
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
        let is_cut = state.network.is_cut(node, peer) || state.network.is_cut(peer, node);
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
                // One that is stopped does not answer, and asks nobody.
                let there = state.reaches(node, peer) && state.reaches(peer, node) && !state.is_stopped(peer);
                let there = there || state.is_stopped(node);
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
        let world = Arc::downgrade(self);
        let told = move || {
            let Some(world) = world.upgrade() else { return };
            let Some(inner) = world.inner(node) else { return };
            {
                let mut state = world.state.lock();
                let (now, address) = (state.now(), state.nodes[node].address);
                state.log.note(now, format_args!("connection from {address} to {peer} lost"));
            }
            inner.connection_lost(peer);
        };
        self.on_node(node, life, Box::new(told));
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
                .filter(|(watcher, peer)| *peer == node && !state.network.is_cut(node, *watcher))
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
