//! What carries a simulated node's messages.

use std::sync::Weak;

use super::network::Packet;
use super::world::World;
use crate::future::Promise;
use crate::host::Transport;
use crate::upid::Upid;

pub(super) struct SimTransport {
    pub(super) world: Weak<World>,
    pub(super) node: usize,
    pub(super) life: u64,
}

impl Transport for SimTransport {
    fn send(&self, from: &Upid, to: &Upid, name: &str, body: Vec<u8>) {
        if let Some(world) = self.world.upgrade() {
            let packet = Packet::Message { from: from.clone(), to: to.clone(), name: name.to_owned(), body };
            world.transmit(self.node, to.address(), packet);
        }
    }

    fn link(&self, to: &Upid, reconnect: bool) {
        if let Some(world) = self.world.upgrade() {
            world.connect(self.node, self.life, to.address(), reconnect);
            world.transmit(self.node, to.address(), Packet::Link { linkee: to.clone() });
        }
    }

    fn local_exited(&self, upid: &Upid) {
        let Some(world) = self.world.upgrade() else { return };
        let peers = {
            let mut state = world.state.lock();
            let peers = state.links.to_process.remove(upid).unwrap_or_default();
            peers.into_iter().map(|peer| state.nodes[peer].address).collect::<Vec<_>>()
        };
        for peer in peers {
            world.transmit(self.node, peer, Packet::Exited { linkee: upid.clone() });
        }
    }

    fn close(&self, done: Promise<()>) {
        done.set(());
    }
}
