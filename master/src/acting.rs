//! When this master may act, and what becomes of what happens while it may not.
//!
//! It acts only while it leads, has read the registry, and holds the lease: until the lease ends, nobody else can
//! have been elected. The lease is looked at here, right before each event, and everything that changes the
//! cluster or tells anybody of it comes through here. A process that was stopped, or whose machine was, finds its
//! lease run out when it goes on, and so does nothing before it has heard from a majority again. What it sent may
//! still be under way then; agents and drivers heed only the master they registered with.
//!
//! Without the lease a master may still lead: its group has only not answered yet. And one that was told to lead may
//! not have read the registry yet, when others have heard of it already. So it waits, and nothing is lost:
//!
//! | what happens meanwhile | |
//! | --- | --- |
//! | messages | held too, in the same order, up to a thousand; more are dropped: who sent them repeats them, but after ten seconds, say |
//! | agents that come back | wait in their room, for which there is a bound anyway |
//! | calls of schedulers | wait as long, up to a thousand; more are answered 503, as are other requests |
//! | what is told only once (ends, timers, what the registry or the allocator answered) | held, in order, and done before anything else when the lease is there again |
//! | the lead is lost | all of it goes with this process |

use std::collections::VecDeque;
use std::time::Duration;

use libprocess::http::{Answer, Request, Response};
use libprocess::{Context, Promise, Time};

use crate::actor::Master;
use crate::cluster::Cluster;
use crate::effect::Timeout;
use crate::registry::Lease;

/// How often a master that holds something looks whether it may act again.
const RETRY: Duration = Duration::from_millis(20);

/// How often the time is looked at, to know what of it was lost.
const LOOK: Duration = Duration::from_secs(1);

/// Room for so many effects is kept for the next event.
const ROOM_KEPT: usize = 256;

/// So many messages, and so many calls, are held. The lease lapses for less than a second, or the lead is lost; and a
/// registry is read in about that time.
const MAX_HELD: usize = 1_000;

type Held = Box<dyn FnOnce(&mut Cluster) + Send>;

/// Whether a master may act, and the time in which it could not.
pub(crate) struct Entitlement {
    lease: Lease,
    /// In the order they happened. There is one for each link, timer or answer that was under way at most, the messages
    /// that are held, and one for each agent that was being read.
    held: VecDeque<Held>,
    /// Calls whose clients wait.
    n_calls: usize,
    retrying: bool,
    looked: Time,
    /// How much time passed in which this master, though elected, could do nothing.
    lost: Duration,
}

impl Entitlement {
    pub(crate) fn new(lease: Lease) -> Self {
        let (held, looked) = (VecDeque::new(), Time::EPOCH);
        Entitlement { lease, held, n_calls: 0, retrying: false, looked, lost: Duration::ZERO }
    }
}

impl Entitlement {
    /// From now on by the lease of that term alone.
    pub(crate) fn of_term(&mut self, term: u64) {
        self.lease = self.lease.clone().in_term(term);
    }
}

impl Master {
    /// Whether it is elected, has read the registry, and nobody else can have been elected since.
    pub(crate) fn may_act(&mut self, ctx: &mut Context<Self>) -> bool {
        loop {
            if !self.is_elected() || !self.entitlement.lease.holds(ctx.now()) {
                return false;
            }
            // What had to wait happened before what is about to.
            match self.entitlement.held.pop_front() {
                Some(held) => self.event(ctx, held),
                None => return true,
            }
        }
    }

    /// Whether nobody else can have been elected at that moment.
    pub(crate) fn holds_lease(&self, now: Time) -> bool {
        self.entitlement.lease.holds(now)
    }

    /// Whether something that happened has yet to be done, before anything else is: the lease was missing, and is only
    /// just back.
    pub fn is_behind(&self) -> bool {
        !self.entitlement.held.is_empty()
    }

    /// Lets something happen to the cluster, and does what follows from it; `None` when this master may not act.
    pub(crate) fn act<R>(
        &mut self,
        ctx: &mut Context<Self>,
        event: impl FnOnce(&mut Cluster) -> R,
    ) -> Option<R> {
        self.may_act(ctx).then(|| self.event(ctx, event))
    }

    /// The same for what nobody repeats: if this master may not act, it happens as soon as it may again.
    pub(crate) fn act_in_time(
        &mut self,
        ctx: &mut Context<Self>,
        event: impl FnOnce(&mut Cluster) + Send + 'static,
    ) {
        if self.may_act(ctx) {
            self.event(ctx, event);
        } else if self.leads {
            self.entitlement.held.push_back(Box::new(event));
            self.retry(ctx);
        }
    }

    /// Before all that is held, as soon as this master may act.
    pub(crate) fn act_first(
        &mut self,
        ctx: &mut Context<Self>,
        event: impl FnOnce(&mut Cluster) + Send + 'static,
    ) {
        self.entitlement.held.push_front(Box::new(event));
        self.go_on(ctx);
    }

    /// Does what had to wait, if this master may act, and otherwise as soon as it may.
    fn go_on(&mut self, ctx: &mut Context<Self>) {
        if self.may_act(ctx) {
            self.call_in(ctx);
        } else {
            self.retry(ctx);
        }
    }

    /// The same for a message, of which only so many are held: `false` when it is dropped.
    pub(crate) fn act_on_message(
        &mut self,
        ctx: &mut Context<Self>,
        event: impl FnOnce(&mut Cluster) + Send + 'static,
    ) -> bool {
        let acts = self.may_act(ctx);
        if !acts && (!self.leads || self.entitlement.held.len() >= MAX_HELD) {
            return false;
        }
        self.act_in_time(ctx, event);
        true
    }

    /// Answers a call when this master may act again, or leads no more; at once if that is so already. A client
    /// whose call is refused for a moment's lapse may well give up for good.
    pub(crate) fn in_time(
        &mut self,
        request: Request,
        ctx: &mut Context<Self>,
        answer: fn(&mut Master, Request, &mut Context<Master>) -> Response,
    ) -> Answer {
        if self.may_act(ctx) || !self.leads || self.entitlement.n_calls >= MAX_HELD {
            return answer(self, request, ctx).into();
        }
        self.entitlement.n_calls += 1;
        let (promise, future) = Promise::new();
        self.answer_in_time(request, promise, ctx, answer);
        future.into()
    }

    fn answer_in_time(
        &mut self,
        request: Request,
        promise: Promise<Response>,
        ctx: &mut Context<Self>,
        answer: fn(&mut Master, Request, &mut Context<Master>) -> Response,
    ) {
        ctx.delay(RETRY, move |master, ctx| {
            if master.leads && !master.may_act(ctx) {
                return master.answer_in_time(request, promise, ctx, answer);
            }
            master.entitlement.n_calls -= 1;
            promise.set(answer(master, request, ctx));
        });
    }

    /// Comes back to what waits, for as long as this master leads.
    pub(crate) fn retry(&mut self, ctx: &mut Context<Self>) {
        if self.entitlement.retrying || !self.leads {
            return;
        }
        self.entitlement.retrying = true;
        ctx.delay(RETRY, |master, ctx| {
            master.entitlement.retrying = false;
            master.go_on(ctx);
        });
    }

    fn event<R>(&mut self, ctx: &mut Context<Self>, event: impl FnOnce(&mut Cluster) -> R) -> R {
        self.version += 1;
        let result = event(self.cluster.at(ctx.now()));
        let mut effects = std::mem::take(&mut self.room_for_effects);
        loop {
            self.cluster.swap_effects(&mut effects);
            if effects.is_empty() {
                break;
            }
            for effect in effects.drain(..) {
                self.perform(effect, ctx);
            }
        }
        if effects.capacity() <= ROOM_KEPT {
            self.room_for_effects = effects;
        }
        if let Some(why) = self.cluster.fatal.take() {
            self.fail(why, ctx);
        }
        result
    }

    /// Keeps track of the time this master could do nothing: it was stopped, or far too busy, or without lease.
    pub(crate) fn look_at_the_time(&mut self, ctx: &mut Context<Self>) {
        let now = ctx.now();
        let passed = now - self.entitlement.looked;
        self.entitlement.looked = now;
        if !self.is_elected() {
            return;
        }
        if passed > 2 * LOOK {
            self.entitlement.lost += passed - LOOK;
        } else if !self.entitlement.lease.holds(now) {
            self.entitlement.lost += passed;
        }
    }

    /// Calls [`Master::look_at_the_time`] from now on.
    pub(crate) fn watch_the_time(&mut self, ctx: &mut Context<Self>) {
        self.look_at_the_time(ctx);
        ctx.metrics().gauge("master/uptime_secs").set((ctx.now() - self.started).as_secs_f64());
        ctx.delay(LOOK, Self::watch_the_time);
    }

    /// Lets a time run out in a while.
    pub(crate) fn start_timer(&mut self, after: Duration, timeout: Timeout, ctx: &mut Context<Self>) {
        let before = self.entitlement.lost;
        ctx.delay(after, move |master, ctx| {
            master.look_at_the_time(ctx);
            let lost = master.entitlement.lost - before;
            if lost > Duration::ZERO {
                // Whoever was to come back within this time may have tried, and found nobody awake. He gets that
                // time again: no agent is given up, and no framework, because its master slept.
                return master.start_timer(lost, timeout, ctx);
            }
            master.act_in_time(ctx, move |cluster| timed_out(cluster, timeout));
        });
    }
}

fn timed_out(cluster: &mut Cluster, timeout: Timeout) {
    match timeout {
        Timeout::FrameworkFailover { id, subscription } => cluster.failover_timed_out(&id, subscription),
        Timeout::Offer(id) => cluster.offer_timed_out(&id),
        Timeout::AgentReregistration { id, connection } => {
            cluster.agent_reregistration_timed_out(&id, connection);
        }
        Timeout::Recovery => cluster.recovery_timed_out(),
        Timeout::Removal => cluster.removal_permitted(),
    }
}
