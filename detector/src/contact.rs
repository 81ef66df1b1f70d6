//! One master of those that are asked who leads.

use std::net::SocketAddr;
use std::time::Duration;

use libprocess::{Time, Upid};
use rand::Rng;

use crate::search::Step;
use crate::{CONTENDER, HostPort, Leader};

/// How soon a lost link is tried again, at first; it doubles with each failure.
pub(crate) const RETRY_MIN: Duration = Duration::from_millis(100);
/// And at the longest: a master that comes back is not kept waiting for longer.
pub(crate) const RETRY_MAX: Duration = Duration::from_secs(5);
/// How long the first answer may take, before a lone master is taken to be one that answers no such question.
pub(crate) const FIRST_ANSWER: Duration = Duration::from_millis(500);

/// A master that is known of.
pub(crate) struct Contact {
    pub(crate) host: HostPort,
    pub(crate) phase: Phase,
    /// Attempts in a row that came to nothing.
    pub(crate) failures: u32,
    /// Whether it was lost or silent since it answered last.
    pub(crate) missed: bool,
    /// What the contender called itself when it could not be reached under that name.
    pub(crate) unreachable: Option<Upid>,
    pub(crate) answer: Option<Answer>,
}

/// How far things are with it.
pub(crate) enum Phase {
    Resolving,
    /// It was lost, or not found: until when to wait.
    Waiting(Time),
    Linked {
        /// The contender under the address by which it is reached.
        target: Upid,
        /// The contender as it calls itself, once it has spoken.
        own: Option<Upid>,
        ask_at: Time,
        unanswered: u32,
    },
}

/// What it said last.
pub(crate) struct Answer {
    pub(crate) term: u64,
    pub(crate) leader: Option<Leader>,
    pub(crate) spread: Duration,
    pub(crate) masters: Vec<HostPort>,
    /// Counts answers: of two the later one is newer.
    pub(crate) number: u64,
}

impl Contact {
    /// One to be reached for as soon as it is due.
    pub(crate) fn new(host: HostPort, now: Time) -> Contact {
        let phase = Phase::Waiting(now);
        Contact { host, phase, failures: 0, missed: false, unreachable: None, answer: None }
    }

    /// Reaches for it there.
    pub(crate) fn link(&mut self, address: SocketAddr, now: Time) -> Step {
        let target = Upid::new(CONTENDER, address);
        let ask_at = now + FIRST_ANSWER;
        self.phase = Phase::Linked { target: target.clone(), own: None, ask_at, unanswered: 1 };
        Step::Ask(target)
    }

    /// Nothing came of it: what it said no longer stands, and it is tried again.
    pub(crate) fn wait(&mut self, now: Time, rng: &mut impl Rng) {
        if let Phase::Linked { target, own: Some(own), unanswered, .. } = &self.phase {
            // What did not work is tried again when the other way has failed, too.
            self.unreachable = (target == own && *unanswered > 0).then(|| own.clone());
        }
        let wait = doubled(RETRY_MIN, self.failures, RETRY_MAX);
        self.failures = self.failures.saturating_add(1);
        self.answer = None;
        self.missed = true;
        self.phase = Phase::Waiting(now + wait.mul_f64(rng.random_range(0.5..=1.0)));
    }
}

/// `first`, doubled so many times, but at most `most`.
pub(crate) fn doubled(first: Duration, times: u32, most: Duration) -> Duration {
    first.saturating_mul(2u32.saturating_pow(times.min(31))).min(most)
}
