//! What a registrar does after each event: propose what waits, send, write, answer.

use std::time::Duration;

use libprocess::Context;
use prost::Message as _;

use super::super::group::{Applied, Member, Output, SnapshotJob, TICK, Write};
use super::super::operation::Batch;
use super::{Asked, ENTRY, Registrar, State};

impl Registrar {
    fn tick(&mut self, ctx: &mut Context<Self>) {
        self.ticking = false;
        let State::Open(open) = &mut self.state else { return };
        open.member.tick(ctx.now());
        let mut given_up = Vec::new();
        for (&to, outgoing) in &mut self.outgoing {
            match outgoing.tick() {
                Ok(Some(piece)) => {
                    if let Some(upid) = self.peers.upid(to) {
                        ctx.send(upid, piece);
                    }
                }
                Ok(None) => {}
                Err(()) => given_up.push(to),
            }
        }
        for to in given_up {
            self.outgoing.remove(&to);
            open.member.snapshot_sent(to, false);
        }
        self.greet(ctx);
        self.look_after_peers(ctx);
        self.go_on(ctx);
    }

    /// Has time move on, unless nothing depends on it.
    pub(super) fn keep_ticking(&mut self, ctx: &mut Context<Self>) {
        let State::Open(open) = &self.state else { return };
        if !self.ticking && (open.member.needs_ticks() || self.change.is_some()) {
            self.ticking = true;
            ctx.delay(TICK, Self::tick);
        }
    }

    /// Proposes what waits, and does what the member says. Follows every event.
    pub(super) fn go_on(&mut self, ctx: &mut Context<Self>) {
        self.propose();
        self.pursue(ctx.now());
        let own = self.member().is_some_and(Member::may_announce).then(|| self.own(ctx));
        let State::Open(open) = &mut self.state else { return };
        if let Some(own) = own.filter(|_| self.seat.is_none()) {
            open.member.announce(&own);
        }
        let Output { messages, write, applied } = match open.member.output() {
            Ok(output) => output,
            Err(error) => return self.fail(&error.to_string()),
        };
        let job = open.member.snapshot_due();
        // Before anything is said that lets another be elected.
        self.lease.set(open.member.term(), open.member.lease_until());
        self.know_members(ctx);
        for message in messages {
            self.send(message, ctx);
        }
        if let Some(write) = write {
            self.write(write, ctx);
        }
        for batch in applied {
            self.answer(batch, ctx);
        }
        if let Some(job) = job {
            Self::make_snapshot(job, ctx);
        }
        self.keep_ticking(ctx);
        self.tell(ctx);
    }

    /// What the log says of the group has changed, perhaps.
    fn know_members(&mut self, ctx: &mut Context<Self>) {
        let State::Open(open) = &self.state else { return };
        let n_changes = open.member.n_changes();
        if self.known == Some(n_changes) || self.seat.is_some() {
            return;
        }
        self.known = Some(n_changes);
        self.peers.update(&open.member.machine().members().by_id);
        let ids = open.member.ids();
        self.outgoing.retain(|id, _| ids.contains(id));
        self.look_after_peers(ctx);
    }

    fn propose(&mut self) {
        let State::Open(open) = &mut self.state else { return };
        let member = &mut open.member;
        if !member.is_raft_leader() {
            let leader = self.leader();
            let proposed = std::mem::take(&mut self.proposed).into_values().flat_map(|(_, asked)| asked);
            let queued = std::mem::take(&mut self.queue).into_iter().map(|(_, asked)| asked);
            proposed.chain(queued).for_each(|asked| asked.not_leading(&leader));
            if self.told.is_some() {
                self.give_up_recovery();
            }
            return;
        }
        if let Some(recovering) = self.recovering.as_mut().filter(|it| it.asked != Some(member.term())) {
            recovering.asked = Some(member.term());
            self.queue.insert(0, (recovering.operation.clone(), Asked::Recover));
        }
        // While the lead is being offered to another, nothing can be proposed; that may still come to nothing.
        if member.is_writing() || member.is_offering() {
            return;
        }
        let mut queue = std::mem::take(&mut self.queue).into_iter().peekable();
        while queue.peek().is_some() {
            let (mut operations, mut asked, mut size) = (Vec::new(), Vec::new(), 0);
            while size < ENTRY
                && let Some((operation, who)) = queue.next()
            {
                // One without a ticket can be asked for once only, so nobody has to remember it.
                size += operation.encoded_len();
                operations.push(operation);
                asked.push(who);
            }
            match member.propose(&Batch { operations }) {
                Some((index, term)) => {
                    self.proposed.insert(index, (term, asked));
                }
                None => {
                    asked.into_iter().for_each(|asked| asked.not_leading(&None));
                    if let Some(recovering) = &mut self.recovering {
                        recovering.asked = None;
                    }
                }
            }
        }
    }

    fn write(&mut self, write: Write, ctx: &mut Context<Self>) {
        let State::Open(open) = &mut self.state else { return };
        let began = ctx.now();
        let job = open.disk.submit(write);
        let written = ctx.blocking(job);
        self.turn += 1;
        let (turn, at_most) = (self.turn, self.store_timeout);
        // The disk may hang, and a master that cannot write must not seem to work.
        ctx.delay(at_most, move |this, _| {
            if this.turn == turn && matches!(this.state, State::Open(_)) {
                this.fail(&format!(
                    "writing the registry took longer than {}",
                    api::duration::format(at_most)
                ));
            }
        });
        ctx.then(written, move |this, result, ctx| {
            this.turn += 1;
            let State::Open(open) = &mut this.state else { return };
            match result {
                Ok(Ok(())) => {
                    if this.recovering.is_none() {
                        let window = Duration::from_secs(86_400);
                        ctx.metrics().timer("registrar/state_store", window).record(ctx.now() - began);
                    }
                    open.member.persisted();
                    this.go_on(ctx);
                }
                Ok(Err(error)) => this.fail(&error.to_string()),
                Err(_) => this.fail("writing it ended in a panic"),
            }
        });
    }

    fn make_snapshot(job: SnapshotJob, ctx: &mut Context<Self>) {
        let made = ctx.blocking(move || job.make());
        ctx.then(made, move |this, made, ctx| {
            let State::Open(open) = &mut this.state else { return };
            match made {
                Ok(made) => {
                    open.member.snapshot_made(made);
                    this.go_on(ctx);
                }
                Err(_) => this.fail("making a snapshot of it ended in a panic"),
            }
        });
    }

    fn answer(&mut self, batch: Applied, ctx: &mut Context<Self>) {
        let Some((term, asked)) = self.proposed.remove(&batch.index) else { return };
        for (asked, outcome) in asked.into_iter().zip(batch.outcomes) {
            match asked {
                // Another leader's batch took the place.
                asked if term != batch.term => asked.not_leading(&None),
                Asked::Operation(promise) => {
                    promise.set(Ok(outcome));
                }
                Asked::Recover => {
                    let (Some(recovering), State::Open(open)) = (self.recovering.take(), &self.state) else {
                        continue;
                    };
                    let took = ctx.now() - recovering.began;
                    ctx.metrics().timer("registrar/state_fetch", None).record(took);
                    recovering.promise.set(Ok(open.member.machine().registry().clone()));
                }
            }
        }
    }
}
