//! What goes to the other members and comes from them.

use libprocess::{Context, Upid};
use protobuf::Message as _;
use raft::eraftpb::{Message, MessageType};

use super::super::group::{Arrival, Incoming, Outgoing, Piece, PieceReceived};
use super::messages::RaftMessage;
use super::{Registrar, State};

impl Registrar {
    pub(super) fn raft_message(&mut self, from: &Upid, message: RaftMessage, ctx: &mut Context<Self>) {
        self.receive(from, message.group, &message.bytes, ctx);
    }

    fn receive(&mut self, at: &Upid, group: u64, bytes: &[u8], ctx: &mut Context<Self>) {
        let own_group = self.group();
        let State::Open(open) = &mut self.state else { return };
        let Ok(message) = Message::parse_from_bytes(bytes) else { return };
        // Numbers are drawn by chance: who knows this member's belongs to its group, or was told of it. Whoever says
        // so may still be unknown here, for this member may be behind.
        let (from, own) = (message.from, open.member.id());
        if message.to != own || from == 0 || from == own || own_group.is_some_and(|own| own != group) {
            return;
        }
        self.peers.heard(from, at, ctx.now());
        if open.member.is_waiting() {
            // After a restart it no longer knows whom it had promised itself to, but they know it.
            self.greeting.promised = Some(group);
            self.greeting.bound = true;
        }
        match open.member.receive(message, ctx.now()) {
            Ok(()) => self.go_on(ctx),
            Err(error) => self.fail(&error.to_string()),
        }
    }

    /// The group whose messages concern this member: any, while it waits for one and has promised itself to none.
    fn group(&self) -> Option<u64> {
        match self.member() {
            Some(member) if !member.is_waiting() => Some(member.machine().members().group),
            _ => self.greeting.promised,
        }
    }

    pub(super) fn send(&mut self, message: Message, ctx: &mut Context<Self>) {
        let Some(member) = self.member() else { return };
        // One that waits speaks to whom it was spoken to by, of the group it has promised itself to.
        let group = self.group().unwrap_or(member.machine().members().group);
        let own = member.id();
        let Some(upid) = self.peers.upid(message.to) else { return };
        let Ok(bytes) = message.write_to_bytes() else { return };
        if message.get_msg_type() == MessageType::MsgSnapshot {
            let transfer = ctx.uuid().as_u64_pair().0;
            let outgoing = Outgoing::new(transfer, group, own, message.to, bytes);
            ctx.send(upid, outgoing.piece());
            self.outgoing.insert(message.to, outgoing);
        } else {
            ctx.send(upid, RaftMessage { group, bytes });
        }
    }

    pub(super) fn piece(&mut self, at: &Upid, piece: Piece, ctx: &mut Context<Self>) {
        let Some(member) = self.member() else { return };
        let (group, from) = (piece.group, piece.from);
        if piece.to != member.id() || self.group().is_some_and(|own| own != group) {
            return;
        }
        // Only a leader sends any, and there is one: what another left unfinished is dropped.
        if self.incoming.as_ref().is_none_or(|(sender, _)| *sender != from) {
            self.incoming = Some((from, Incoming::default()));
        }
        let Some((_, incoming)) = &mut self.incoming else { return };
        let Some((receipt, whole)) = incoming.take(piece) else { return };
        ctx.send(at, receipt);
        if let Some(bytes) = whole {
            self.receive(at, group, &bytes, ctx);
        }
    }

    pub(super) fn piece_received(&mut self, at: &Upid, receipt: PieceReceived, ctx: &mut Context<Self>) {
        let State::Open(open) = &mut self.state else { return };
        let to = receipt.by;
        let Some(outgoing) = self.outgoing.get_mut(&to) else { return };
        match outgoing.receipt(&receipt) {
            None => {}
            Some(Arrival::Partly) => ctx.send(at, outgoing.piece()),
            Some(Arrival::Whole) => {
                self.outgoing.remove(&to);
                open.member.snapshot_sent(to, true);
                self.go_on(ctx);
            }
        }
    }
}
