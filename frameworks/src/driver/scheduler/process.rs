//! The actor that speaks with the master for a scheduler.

use std::time::Duration;

use api::internal::{
    DeactivateFrameworkMessage, ExecutorToFrameworkMessage, ExitedExecutorMessage, FrameworkErrorMessage,
    FrameworkRegisteredMessage, FrameworkReregisteredMessage, LostSlaveMessage, RescindResourceOfferMessage,
    ResourceOffersMessage, StatusUpdateMessage,
};
use api::v0::scheduler::call;
use api::v1::{FrameworkId, FrameworkInfo, MasterInfo};
use detector::{ComeBack, Detector, Leader, Masters};
use libprocess::{Context, Future, Id, Pid, Process, Promise, Time, Timer, Upid};
use rand::Rng as _;

use super::session::{Admission, Session};
use super::{Scheduler, SchedulerCalls, SchedulerOptions};
use crate::driver::Outcome;
use crate::driver::backoff::Backoff;

/// A leader that comes and goes, without being another one, is not asked again sooner than this.
const SAME_AGAIN: Duration = Duration::from_secs(1);
/// No master can send a driver away for longer than this.
const COME_BACK_MAX: Duration = Duration::from_secs(10 * 60);

/// What a master says to a driver that it took for lost.
const FRAMEWORK_DISCONNECTED: &str = "Framework disconnected";

/// The actor behind a [`SchedulerDriver`](super::SchedulerDriver). Spawn it oneself only where there is no
/// [`Node`](libprocess::Node), as in a simulation.
pub struct SchedulerProcess<S: Scheduler> {
    scheduler: S,
    pub(super) session: Session,
    masters: Masters,
    /// None where the master is appointed.
    detector: Option<Pid<Detector>>,
    leader: Option<Leader>,
    /// Whom it asked last, and when.
    asked: Option<(Leader, Time)>,
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
        ctx.install(Self::come_back);
        self.detect(ctx);
    }

    fn exited(&mut self, pid: &Upid, ctx: &mut Context<Self>) {
        if self.session.is_aborted() {
            return;
        }
        if self.detector.as_ref().is_some_and(|detector| detector.upid() == pid) {
            return self.abort(Some("its detector has ended".to_owned()), ctx);
        }
        if self.session.master() == Some(pid) && self.disconnected(ctx) {
            self.register_soon(ctx);
        }
    }

    fn finalize(&mut self, ctx: &mut Context<Self>) {
        if let Some(detector) = &self.detector {
            ctx.terminate(detector);
        }
    }
}

impl<S: Scheduler> SchedulerProcess<S> {
    /// The actor, and how it will have ended.
    pub fn new(
        scheduler: S,
        framework: FrameworkInfo,
        masters: impl Into<Masters>,
        options: SchedulerOptions,
    ) -> (SchedulerProcess<S>, Future<Outcome>) {
        let (promise, future) = Promise::new();
        let process = SchedulerProcess {
            scheduler,
            session: Session::new(framework),
            masters: masters.into(),
            detector: None,
            leader: None,
            asked: None,
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

    /// The scheduler, without its calls.
    pub fn scheduler(&mut self) -> &mut S {
        &mut self.scheduler
    }

    /// Follows the leader from now on. Where it is appointed there is nothing to follow.
    fn detect(&mut self, ctx: &mut Context<Self>) {
        if let Some(leader) = self.masters.appointed() {
            return self.leader_is(Some(leader), Duration::MAX, ctx);
        }
        let news =
            ctx.defer(|process: &mut Self, (leader, spread), ctx| process.leader_is(leader, spread, ctx));
        let told = move |leader, spread| {
            // A driver that has ended follows nobody.
            news.call((leader, spread));
        };
        match ctx.spawn(Id::prefix("detector"), Detector::new(self.masters.clone(), told)) {
            Ok(detector) => {
                ctx.link(&detector);
                self.detector = Some(detector);
            }
            Err(error) => self.abort(Some(format!("it cannot follow the master: {error}")), ctx),
        }
    }

    /// A master that leads was detected by whoever runs this driver. The driver leaves the one it has.
    pub fn detected(&mut self, master: Upid, ctx: &mut Context<Self>) {
        let leader = Masters::from(master).appointed();
        if self.leader != leader {
            self.leader_is(leader, Duration::MAX, ctx);
        }
    }

    /// Another master leads, or none does, or the one that leads is there again.
    fn leader_is(&mut self, leader: Option<Leader>, spread: Duration, ctx: &mut Context<Self>) {
        if self.session.is_aborted() {
            return;
        }
        let before = std::mem::replace(&mut self.leader, leader);
        let same = before.zip(self.leader.as_ref()).is_some_and(|(before, leader)| before.may_be(leader));
        if same && self.session.is_connected() {
            return;
        }
        // Calls made by `disconnected` are for neither.
        self.disconnected(ctx);
        self.session.follow(self.leader.as_ref().map(|leader| &leader.pid));
        self.cancel_retry();
        if let Some(leader) = &self.leader {
            // The waits have grown while nobody answered; this one is known to be there.
            self.backoff.reset();
            let asked = self.asked.as_ref().filter(|(before, _)| before == leader);
            let pause = asked.map_or(Duration::ZERO, |(_, at)| (*at + SAME_AGAIN) - ctx.now());
            let wait = self.backoff.spread_over(spread, ctx.rng()).max(pause);
            self.retry_after(wait, ctx);
        }
    }

    /// The master has too much to do.
    fn come_back(&mut self, from: &Upid, message: ComeBack, ctx: &mut Context<Self>) {
        let waiting = !self.session.is_connected() && !self.session.is_aborted();
        if waiting && self.session.master() == Some(from) {
            let after = Duration::from_millis(message.after_ms).min(COME_BACK_MAX);
            let wait = after.mul_f64(ctx.rng().random_range(1.0..1.25));
            self.retry_after(wait, ctx);
        }
    }

    /// Asks to be registered, and asks again until the master answers.
    fn subscribe(&mut self, ctx: &mut Context<Self>) {
        if self.session.is_connected() || self.session.is_aborted() {
            return;
        }
        let Some(master) = self.session.master().cloned() else { return };
        self.asked = self.leader.clone().map(|leader| (leader, ctx.now()));
        // Each time: the link is gone once it broke.
        ctx.link(&master);
        ctx.send(&master, self.session.subscribe());
        let wait = self.backoff.next(ctx.rng());
        self.retry_after(wait, ctx);
    }

    fn retry_after(&mut self, wait: Duration, ctx: &mut Context<Self>) {
        self.cancel_retry();
        self.retry = Some(ctx.delay(wait, Self::subscribe));
    }

    fn cancel_retry(&mut self) {
        if let Some(retry) = self.retry.take() {
            retry.cancel();
        }
    }

    /// The master is lost; whether it was ours until now.
    fn disconnected(&mut self, ctx: &mut Context<Self>) -> bool {
        let was_connected = self.session.lost();
        if was_connected {
            let master = self.session.master().map(Upid::to_string).unwrap_or_default();
            tracing::warn!(master, "the master is lost");
            self.with(ctx, |scheduler, calls| scheduler.disconnected(calls));
        }
        was_connected
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
        tracing::debug!(%from, "admitted");
        self.backoff.reset();
        self.cancel_retry();
        self.with(ctx, |scheduler, calls| match admission {
            Admission::First(id) => scheduler.registered(calls, &id, &master),
            Admission::Again => scheduler.reregistered(calls, &master),
            Admission::Ignored => {}
        });
    }

    fn resource_offers(&mut self, from: &Upid, message: ResourceOffersMessage, ctx: &mut Context<Self>) {
        if self.session.heeds(from) {
            tracing::debug!(offers = message.offers.len(), "offered");
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
        if self.session.is_aborted() || self.session.master() != Some(from) {
            return;
        }
        // Only the connection is gone, and only the master's end of it: nothing is wrong with the framework.
        if message.message == FRAMEWORK_DISCONNECTED {
            if self.disconnected(ctx) {
                self.register_soon(ctx);
            }
            return;
        }
        tracing::error!(reason = %message.message, "the master refuses this framework");
        self.with(ctx, |scheduler, calls| scheduler.error(calls, &message.message));
        self.abort(Some(message.message), ctx);
    }

    /// Ends this driver. Unless another scheduler is to take over, the framework and all its tasks go too.
    pub(super) fn stop(&mut self, failover: bool, ctx: &mut Context<Self>) {
        if let Some(master) = self.session.connected_to().filter(|_| !failover) {
            ctx.send(master, self.session.call(call::Type::Teardown));
        }
        self.finish(Outcome::Stopped);
        ctx.terminate_self();
    }

    /// Calls nobody any more. Tasks go on running; the framework gets no offers.
    pub(super) fn abort(&mut self, reason: Option<String>, ctx: &mut Context<Self>) {
        if let (Some(master), Some(id)) = (self.session.connected_to(), self.session.framework_id()) {
            ctx.send(master, DeactivateFrameworkMessage { framework_id: id.clone() });
        }
        self.cancel_retry();
        self.session.abort();
        self.finish(Outcome::Aborted(reason));
    }

    fn finish(&mut self, outcome: Outcome) {
        if let Some(ended) = self.ended.take() {
            ended.set(outcome);
        }
    }
}
