//! Agents that come back, on their way from the wire to the [`Cluster`](crate::cluster::Cluster).
//!
//! After a failover all of them come at once. They wait in a [`WaitingRoom`], a few at a time are read off this
//! actor, and what else happens has its turn between them.

use std::borrow::Cow;

use api::internal::ReregisterSlaveMessage;
use api::wire::DecodeError;
use bytes::Bytes;
use detector::ComeBack;
use libprocess::{Context, Message, Upid};

use crate::actor::Master;
use crate::agent_life::Brought;
use crate::bounds::Bounds;
use crate::waiting_room::{Load, Place, WaitingRoom};

/// So many are called in together: enough to be worth another thread's while, and a millisecond's work here.
const AT_ONCE: usize = 32;

/// So many groups are under way: one is dealt with while the other is being read.
const GROUPS: usize = 2;

/// Agents that come back and have not been dealt with.
#[derive(Debug)]
pub(crate) struct Returns {
    room: WaitingRoom,
    /// Those that are being read, and how many groups of them these are.
    reading: Load,
    n_groups: usize,
}

impl Returns {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Returns { room: WaitingRoom::new(bounds), reading: Load::default(), n_groups: 0 }
    }
}

impl Master {
    /// `ReregisterSlaveMessage`, unread.
    pub(crate) fn agent_returns(&mut self, from: &Upid, _: &str, body: Bytes, ctx: &mut Context<Self>) {
        if !self.leads {
            return self.count(Cow::Borrowed("master/dropped_messages"), ctx);
        }
        // Those of which the registry has to hear wait for it with all they sent.
        let elsewhere = self.returns.reading + self.cluster.agents.reregistering.load();
        if !self.may_act(ctx) && !self.returns.room.has_room(from, body.len(), elsewhere) {
            // Nobody is told anything now. What it sent before keeps its place.
            return self.count(Cow::Borrowed("master/dropped_messages"), ctx);
        }
        match self.returns.room.enter(from, body, elsewhere, ctx.now()) {
            Place::Waits => self.call_in(ctx),
            Place::Later(after) => {
                self.count(Cow::Borrowed("master/slave_reregistrations_put_off"), ctx);
                let after_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
                // An agent of Apache's does not know this message, and asks again when it would have by itself.
                ctx.send(from, ComeBack { after_ms });
            }
        }
    }

    /// Has the next ones read, once this master may act.
    pub(crate) fn call_in(&mut self, ctx: &mut Context<Self>) {
        if self.returns.room.is_empty() {
            return;
        }
        if !self.may_act(ctx) {
            return self.retry(ctx);
        }
        while self.returns.n_groups < GROUPS && !self.returns.room.is_empty() {
            let called = self.returns.room.call_in(AT_ONCE, ctx.now());
            let n_bytes = called.iter().map(|(_, body)| body.len()).sum();
            let load = Load { n_agents: called.len(), n_bytes };
            self.returns.reading = self.returns.reading + load;
            self.returns.n_groups += 1;
            let read = ctx.blocking(move || {
                called.into_iter().map(|(from, body)| (from, Brought::read(&body))).collect::<Vec<_>>()
            });
            ctx.then(read, move |master, result, ctx| {
                master.returns.reading = master.returns.reading - load;
                master.returns.n_groups -= 1;
                // First, so that the next are read meanwhile.
                master.call_in(ctx);
                for (from, brought) in result.into_iter().flatten() {
                    master.agent_has_returned(&from, brought, ctx);
                }
            });
        }
    }

    fn agent_has_returned(
        &mut self,
        from: &Upid,
        brought: Result<Brought, DecodeError>,
        ctx: &mut Context<Self>,
    ) {
        let brought = match brought {
            Ok(brought) => brought,
            Err(error) => {
                let message = ReregisterSlaveMessage::name();
                return tracing::error!(message, %from, %error, "undecodable message dropped");
            }
        };
        let from = from.clone();
        self.act_in_time(ctx, move |cluster| cluster.agent_returns(&from, brought));
    }
}
