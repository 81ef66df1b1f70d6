//! Where the other members' registrars are. A member is known by its number: its address may change, and names come
//! to mean other addresses. Where its last message came from counts first; where the group says it is, else.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use detector::HostPort;
use libprocess::{Context, Time, Upid};

use super::{Registrar, State};

/// The id of a registrar on its node.
pub(super) const REGISTRAR: &str = "registrar(1)";

/// A member that has said nothing for so long is looked for anew.
const SILENCE: Duration = Duration::from_secs(2);

/// A broken link is made again after that.
const RELINK: Duration = Duration::from_millis(500);

/// No more members are kept that this one only knows by their messages. There are some while this member is behind:
/// they joined later than what it has of the log.
const STRANGERS: usize = 16;

#[derive(Default)]
pub(super) struct Peer {
    /// Where its master is, as the group has it.
    host_port: Option<HostPort>,
    pub(super) upid: Option<Upid>,
    pub(super) heard: Option<Time>,
    /// When its address was asked for last, and how often in all.
    looked: Option<Time>,
    n_looked: usize,
    looking: bool,
    linked: Option<Upid>,
    link_not_before: Time,
}

impl Peer {
    fn is_silent(&self, now: Time) -> bool {
        self.heard.is_none_or(|heard| now - heard >= SILENCE)
    }
}

/// The other members, by number.
#[derive(Default)]
pub(super) struct Peers {
    by_id: BTreeMap<u64, Peer>,
}

impl Peers {
    /// Members at fixed addresses.
    pub(super) fn seated(members: &BTreeMap<u64, Option<Upid>>) -> Peers {
        let peer = |(id, upid): (&u64, &Option<Upid>)| (*id, Peer { upid: upid.clone(), ..Peer::default() });
        Peers { by_id: members.iter().map(peer).collect() }
    }

    /// These are the members, as the group has it; what is known of them stays.
    pub(super) fn update(&mut self, members: &BTreeMap<u64, String>) {
        for peer in self.by_id.values_mut() {
            peer.host_port = None;
        }
        for (&id, host_port) in members {
            let peer = self.by_id.entry(id).or_default();
            let host_port = host_port.parse().ok();
            peer.host_port = host_port;
        }
        self.bound(0);
    }

    pub(super) fn get(&self, id: u64) -> Option<&Peer> {
        self.by_id.get(&id)
    }

    pub(super) fn upid(&self, id: u64) -> Option<&Upid> {
        self.by_id.get(&id)?.upid.as_ref()
    }

    /// A message of that member came from there.
    pub(super) fn heard(&mut self, id: u64, from: &Upid, now: Time) {
        if !self.by_id.contains_key(&id) {
            self.bound(1);
        }
        let peer = self.by_id.entry(id).or_default();
        peer.heard = Some(now);
        if peer.upid.as_ref() != Some(from) {
            peer.upid = Some(from.clone());
        }
    }

    /// Forgets strangers, those first that were silent longest, until so many more have room.
    fn bound(&mut self, room: usize) {
        loop {
            let strangers = self.by_id.iter().filter(|(_, peer)| peer.host_port.is_none());
            let mut strangers: Vec<_> = strangers.map(|(id, peer)| (peer.heard, *id)).collect();
            if strangers.len() + room <= STRANGERS {
                return;
            }
            strangers.sort_unstable();
            self.by_id.remove(&strangers[0].1);
        }
    }
}

impl Registrar {
    /// Looks for members that are silent, and links to all.
    pub(super) fn look_after_peers(&mut self, ctx: &mut Context<Self>) {
        let State::Open(open) = &self.state else { return };
        let (own, now) = (open.member.id(), ctx.now());
        let mut names = Vec::new();
        for (&id, peer) in self.peers.by_id.iter_mut().filter(|(id, _)| **id != own) {
            if let Some(host_port) = &peer.host_port
                && !peer.looking
                && peer.is_silent(now)
                && peer.looked.is_none_or(|looked| now - looked >= SILENCE)
            {
                peer.looked = Some(now);
                peer.n_looked += 1;
                match host_port.address() {
                    Some(address) => peer.upid = Some(Upid::new(REGISTRAR, address)),
                    None => {
                        peer.looking = true;
                        names.push((id, host_port.clone()));
                    }
                }
            }
            if peer.linked != peer.upid
                && now >= peer.link_not_before
                && let Some(upid) = &peer.upid
            {
                peer.linked = Some(upid.clone());
                ctx.link(upid);
            }
        }
        for (id, host_port) in names {
            let resolved = ctx.blocking(move || host_port.resolve());
            ctx.then(resolved, move |this, resolved, ctx| {
                this.resolved(id, resolved.ok().and_then(Result::ok).unwrap_or_default(), ctx);
            });
        }
    }

    fn resolved(&mut self, id: u64, addresses: Vec<SocketAddr>, ctx: &mut Context<Self>) {
        let Some(peer) = self.peers.by_id.get_mut(&id) else { return };
        peer.looking = false;
        // If it answers at none of them, each has its turn.
        let turn = peer.n_looked.checked_rem(addresses.len()).and_then(|turn| addresses.get(turn));
        if let Some(address) = turn
            && peer.is_silent(ctx.now())
        {
            peer.upid = Some(Upid::new(REGISTRAR, *address));
        }
    }

    /// The link to a member broke: what was on its way there is lost.
    pub(super) fn peer_lost(&mut self, upid: &Upid, ctx: &mut Context<Self>) {
        let State::Open(open) = &mut self.state else { return };
        for (&id, peer) in &mut self.peers.by_id {
            if peer.linked.as_ref() == Some(upid) {
                peer.linked = None;
                peer.link_not_before = ctx.now() + RELINK;
                open.member.unreachable(id);
            }
        }
        self.go_on(ctx);
    }
}
