//! Which master the agent is to be registered with, and when it is to try.

use std::time::Duration;

use detector::{ComeBack, Detector, Leader};
use libprocess::{Context, Id, Upid};
use rand::Rng as _;

use super::{Agent, AgentState};

/// A leader that comes and goes, without being another one, is not asked again sooner than this.
const SAME_AGAIN: Duration = Duration::from_secs(1);
/// No master can send this agent away for longer than this.
const COME_BACK_MAX: Duration = Duration::from_secs(10 * 60);

impl Agent {
    /// Follows the leader from now on. Where it is appointed there is nothing to follow.
    pub(super) fn detect(&mut self, ctx: &mut Context<Self>) {
        self.disconnect(ctx);
        let masters = self.registration.masters.clone();
        if let Some(leader) = masters.appointed() {
            return self.leader_is(Some(leader), Duration::MAX, ctx);
        }
        let news = ctx.defer(|agent: &mut Agent, (leader, spread), ctx| agent.leader_is(leader, spread, ctx));
        let told = move |leader, spread| {
            // An agent that has ended follows nobody.
            news.call((leader, spread));
        };
        match ctx.spawn(Id::prefix("detector"), Detector::new(masters, told)) {
            Ok(detector) => {
                ctx.link(&detector);
                self.detector = Some(detector);
            }
            Err(error) => self.fail(format!("it cannot start: {error}"), ctx),
        }
    }

    /// Another master leads, or none does. The registration with the one before ends first: no agent is ever
    /// registered with two.
    fn leader_is(&mut self, leader: Option<Leader>, spread: Duration, ctx: &mut Context<Self>) {
        let registration = &mut self.registration;
        let before = std::mem::replace(&mut registration.leader, leader);
        registration.spread = spread;
        // That of a lone master was not known until it announced itself, perhaps under another address.
        let same = before.zip(registration.leader.as_ref()).is_some_and(|(before, leader)| {
            before.may_be(leader)
                || before.id.is_empty() && registration.known_by.as_ref() == Some(&leader.pid)
        });
        if !(same && self.state == AgentState::Running) {
            self.disconnect(ctx);
        }
    }

    /// No master knows us: registers with the one that leads, once there is one.
    pub(super) fn disconnect(&mut self, ctx: &mut Context<Self>) {
        if self.state == AgentState::Terminating {
            return;
        }
        self.state = AgentState::Disconnected;
        self.registration.known_by = None;
        self.pause_updates();
        for timer in [self.registration.attempt.take(), self.registration.ping.take()].into_iter().flatten() {
            timer.cancel();
        }
        if let Some(leader) = &self.registration.leader {
            let factor = self.flags.registration_backoff_factor;
            // A new leader is met by all agents; they are not to come all at once. It knows how many there are.
            let span = factor.min(self.registration.spread);
            let asked = self.registration.asked.as_ref().filter(|(before, _)| before == leader);
            let pause = asked.map_or(Duration::ZERO, |(_, at)| (*at + SAME_AGAIN) - ctx.now());
            let wait = span.mul_f64(ctx.rng().random::<f64>()).max(pause);
            self.attempt_after(wait, factor * 2, ctx);
        }
    }

    /// The master has too much to do.
    pub(super) fn come_back(&mut self, from: &Upid, message: ComeBack, ctx: &mut Context<Self>) {
        if !self.is_from_master(from, "come back", ctx) || self.state != AgentState::Disconnected {
            return;
        }
        let after = Duration::from_millis(message.after_ms).min(COME_BACK_MAX);
        let wait = after.mul_f64(ctx.rng().random_range(1.0..1.25));
        tracing::info!(master = %from, ?wait, "the master has too much to do; registering later");
        self.attempt_after(wait, self.flags.registration_backoff_factor * 2, ctx);
    }
}
