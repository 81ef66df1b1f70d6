//! The actor that speaks with the master for a scheduler.

use std::time::Duration;

use api::internal::{
    DeactivateFrameworkMessage, ExecutorToFrameworkMessage, ExitedExecutorMessage, FrameworkErrorMessage,
    FrameworkRegisteredMessage, FrameworkReregisteredMessage, LostSlaveMessage, RescindResourceOfferMessage,
    ResourceOffersMessage, StatusUpdateMessage,
};
use api::v0::scheduler::call;
use api::v1::{FrameworkId, FrameworkInfo, MasterInfo};
use libprocess::{Context, Future, Process, Promise, Timer, Upid};

use super::session::{Admission, Session};
use super::{Scheduler, SchedulerCalls, SchedulerOptions};
use crate::driver::Outcome;
use crate::driver::backoff::Backoff;

/// The actor behind a [`SchedulerDriver`](super::SchedulerDriver). Spawn it oneself only where there is no
/// [`Node`](libprocess::Node), as in a simulation.
pub struct SchedulerProcess<S: Scheduler> {
    scheduler: S,
    pub(super) session: Session,
    options: SchedulerOptions,
    backoff: Backoff,
    retry: Option<Timer>,
    ended: Option<Promise<Outcome>>,
}

impl<S: Scheduler> Process for SchedulerProcess<S> {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.install(Self::framework_registered);
        ctx.install(Self::framework_reregistered);
        ctx.install(Self::resource_offers);
        ctx.install(Self::rescind_offer);
        ctx.install(Self::status_update);
        ctx.install(Self::lost_agent);
        ctx.install(Self::exited_executor);
        ctx.install(Self::executor_message);
        ctx.install(Self::framework_error);
        self.subscribe(ctx);
    }

    fn exited(&mut self, pid: &Upid, ctx: &mut Context<Self>) {
        if pid == self.session.master() && !self.session.is_aborted() {
            self.disconnected(ctx);
        }
    }
}

impl<S: Scheduler> SchedulerProcess<S> {
    /// The actor, and how it will have ended.
    pub fn new(
        scheduler: S,
        framework: FrameworkInfo,
        master: Upid,
        options: SchedulerOptions,
    ) -> (SchedulerProcess<S>, Future<Outcome>) {
        let (promise, future) = Promise::new();
        let process = SchedulerProcess {
            scheduler,
            session: Session::new(master, framework),
            backoff: Backoff::new(options.registration_backoff),
            options,
            retry: None,
            ended: Some(promise),
        };
        (process, future)
    }

    /// Runs `f` with the scheduler and its calls.
    pub fn with<R>(
        &mut self,
        ctx: &mut Context<Self>,
        f: impl FnOnce(&mut S, &mut SchedulerCalls<'_, S>) -> R,
    ) -> R {
        let mut calls = SchedulerCalls::new(&mut self.session, &mut self.ended, ctx);
        f(&mut self.scheduler, &mut calls)
    }

    /// A master that leads was detected. The driver leaves the one it has.
    pub fn detected(&mut self, master: Upid, ctx: &mut Context<Self>) {
        if self.session.is_aborted() || master == *self.session.master() {
            return;
        }
        self.session.follow(master);
        if self.session.is_connected() {
            return self.disconnected(ctx);
        }
        // The waits have grown while nobody answered; this one is known to be there.
        self.register_soon(ctx);
    }

    /// Asks to be registered, and asks again until the master answers.
    fn subscribe(&mut self, ctx: &mut Context<Self>) {
        if self.session.is_connected() || self.session.is_aborted() {
            return;
        }
        let master = self.session.master().clone();
        // Each time: the link is gone once it broke.
        ctx.link(&master);
        ctx.send(&master, self.session.subscribe());
        let wait = self.backoff.next(ctx.rng());
        self.retry_after(wait, ctx);
    }

    fn retry_after(&mut self, wait: Duration, ctx: &mut Context<Self>) {
        if let Some(earlier) = self.retry.take() {
            earlier.cancel();
        }
        self.retry = Some(ctx.delay(wait, Self::subscribe));
    }

    fn disconnected(&mut self, ctx: &mut Context<Self>) {
        if self.session.lost() {
            tracing::warn!(master = %self.session.master(), "the master is lost; registering again");
            self.with(ctx, |scheduler, calls| scheduler.disconnected(calls));
            self.register_soon(ctx);
        }
    }

    /// Not at once: a master whose process has just ended is not there yet.
    fn register_soon(&mut self, ctx: &mut Context<Self>) {
        self.backoff.reset();
        let wait = self.backoff.next(ctx.rng());
        self.retry_after(wait, ctx);
    }

    fn framework_registered(
        &mut self,
        from: &Upid,
        message: FrameworkRegisteredMessage,
        ctx: &mut Context<Self>,
    ) {
        self.admitted(from, message.framework_id, message.master_info, ctx);
    }

    fn framework_reregistered(
        &mut self,
        from: &Upid,
        message: FrameworkReregisteredMessage,
        ctx: &mut Context<Self>,
    ) {
        self.admitted(from, message.framework_id, message.master_info, ctx);
    }

    fn admitted(&mut self, from: &Upid, id: FrameworkId, master: MasterInfo, ctx: &mut Context<Self>) {
        let admission = self.session.admitted(from, id);
        if admission == Admission::Ignored {
            return;
        }
        self.backoff.reset();
        if let Some(retry) = self.retry.take() {
            retry.cancel();
        }
        self.with(ctx, |scheduler, calls| match admission {
            Admission::First(id) => scheduler.registered(calls, &id, &master),
            Admission::Again => scheduler.reregistered(calls, &master),
            Admission::Ignored => {}
        });
    }

    fn resource_offers(&mut self, from: &Upid, message: ResourceOffersMessage, ctx: &mut Context<Self>) {
        if self.session.heeds(from) {
            self.session.offered(&message.offers, &message.pids);
            self.with(ctx, |scheduler, calls| scheduler.resource_offers(calls, message.offers));
        }
    }

    fn rescind_offer(&mut self, from: &Upid, message: RescindResourceOfferMessage, ctx: &mut Context<Self>) {
        if self.session.heeds(from) {
            self.with(ctx, |scheduler, calls| scheduler.offer_rescinded(calls, &message.offer_id));
        }
    }

    fn status_update(&mut self, from: &Upid, message: StatusUpdateMessage, ctx: &mut Context<Self>) {
        if !self.session.heeds(from) {
            return;
        }
        let update = message.update;
        let mut status = update.status;
        // An update without an identity was made by the master, which wants no acknowledgement.
        status.uuid = update.uuid.filter(|uuid| !uuid.is_empty());
        status.timestamp = status.timestamp.or(Some(update.timestamp));
        status.agent_id = status.agent_id.or(update.slave_id);
        status.executor_id = status.executor_id.or(update.executor_id);
        let acknowledged = status.clone();
        self.with(ctx, |scheduler, calls| scheduler.status_update(calls, status));
        if self.options.implicit_acknowledgements {
            self.with(ctx, |_, calls| calls.acknowledge(&acknowledged));
        }
    }

    fn lost_agent(&mut self, from: &Upid, message: LostSlaveMessage, ctx: &mut Context<Self>) {
        if self.session.heeds(from) {
            self.session.agent_lost(&message.slave_id);
            self.with(ctx, |scheduler, calls| scheduler.agent_lost(calls, &message.slave_id));
        }
    }

    fn exited_executor(&mut self, from: &Upid, message: ExitedExecutorMessage, ctx: &mut Context<Self>) {
        if self.session.heeds(from) {
            self.with(ctx, |scheduler, calls| {
                scheduler.executor_lost(calls, &message.executor_id, &message.slave_id, message.status);
            });
        }
    }

    /// These come from agents, not from the master.
    fn executor_message(&mut self, message: ExecutorToFrameworkMessage, ctx: &mut Context<Self>) {
        if !self.session.is_aborted() && self.session.framework_id() == Some(&message.framework_id) {
            self.with(ctx, |scheduler, calls| {
                scheduler.framework_message(calls, &message.executor_id, &message.slave_id, &message.data);
            });
        }
    }

    fn framework_error(&mut self, from: &Upid, message: FrameworkErrorMessage, ctx: &mut Context<Self>) {
        if self.session.is_aborted() || from != self.session.master() {
            return;
        }
        tracing::error!(reason = %message.message, "the master refuses this framework");
        self.with(ctx, |scheduler, calls| scheduler.error(calls, &message.message));
        self.abort(Some(message.message), ctx);
    }

    /// Ends this driver. Unless another scheduler is to take over, the framework and all its tasks go too.
    pub(super) fn stop(&mut self, failover: bool, ctx: &mut Context<Self>) {
        if self.session.is_connected() && !failover {
            ctx.send(self.session.master().clone(), self.session.call(call::Type::Teardown));
        }
        self.finish(Outcome::Stopped);
        ctx.terminate_self();
    }

    /// Calls nobody any more. Tasks go on running; the framework gets no offers.
    pub(super) fn abort(&mut self, reason: Option<String>, ctx: &mut Context<Self>) {
        if self.session.is_connected()
            && let Some(id) = self.session.framework_id()
        {
            let message = DeactivateFrameworkMessage { framework_id: id.clone() };
            ctx.send(self.session.master().clone(), message);
        }
        if let Some(retry) = self.retry.take() {
            retry.cancel();
        }
        self.session.abort();
        self.finish(Outcome::Aborted(reason));
    }

    fn finish(&mut self, outcome: Outcome) {
        if let Some(ended) = self.ended.take() {
            ended.set(outcome);
        }
    }
}
