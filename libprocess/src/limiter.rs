//! Doing things one after another, and not too often.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::future::{Future, Promise};
use crate::time::Time;

/// Grants so many permits per time, evenly spread: after one, the next comes a full interval later. There are
/// no bursts.
///
/// It only tells how long to wait; the waiting is the actor's:
/// `let wait = self.limiter.reserve(ctx.now()); ctx.delay(wait, …)`.
#[derive(Clone, Debug)]
pub struct Limiter {
    interval: Duration,
    next: Time,
}

impl Limiter {
    /// That many permits per `per`; none at all is one.
    pub fn new(permits: u32, per: Duration) -> Limiter {
        Limiter { interval: per / permits.max(1), next: Time::EPOCH }
    }

    /// Takes the next permit; how long to wait before using it.
    pub fn reserve(&mut self, now: Time) -> Duration {
        let at = self.next.max(now);
        self.next = at + self.interval;
        at - now
    }

    /// Takes the next permit, unless that would mean waiting longer than `at_most`.
    pub fn reserve_within(&mut self, now: Time, at_most: Duration) -> Option<Duration> {
        if self.next.saturating_since(now) > at_most {
            return None;
        }
        Some(self.reserve(now))
    }
}

type Job = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Line {
    jobs: VecDeque<Job>,
    /// A job's future is not settled yet.
    busy: bool,
    /// Someone is starting jobs.
    pumping: bool,
}

/// Runs jobs one after another, each when the future of the one before is settled, whatever its outcome.
#[derive(Clone, Default)]
pub struct Sequence(Arc<Mutex<Line>>);

impl Sequence {
    /// A sequence with nothing in it.
    pub fn new() -> Sequence {
        Sequence::default()
    }

    /// Appends a job. It runs here and now if its turn has come, or else on the thread that settles the one
    /// before; an actor lets it [`dispatch`](crate::Pid::dispatch) to itself. A job whose future nobody holds
    /// any more when its turn comes is skipped.
    pub fn add<T: Send + 'static>(&self, job: impl FnOnce() -> Future<T> + Send + 'static) -> Future<T> {
        let (promise, future) = Promise::new();
        let sequence = self.clone();
        let job = Box::new(move || {
            if promise.is_unwanted() {
                sequence.settled();
                return;
            }
            job().settled(move |result| {
                match result {
                    Ok(value) => promise.set(value),
                    Err(_) => drop(promise),
                }
                sequence.settled();
            });
        });
        self.0.lock().jobs.push_back(job);
        self.pump();
        future
    }

    fn settled(&self) {
        self.0.lock().busy = false;
        self.pump();
    }

    /// Starts what can be started. A loop, not a recursion: a thousand jobs may be done at once.
    fn pump(&self) {
        let mut line = self.0.lock();
        if line.pumping {
            return;
        }
        line.pumping = true;
        while !line.busy
            && let Some(job) = line.jobs.pop_front()
        {
            line.busy = true;
            drop(line);
            job();
            line = self.0.lock();
        }
        line.pumping = false;
    }
}

impl std::fmt::Debug for Sequence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sequence({} waiting)", self.0.lock().jobs.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permits_come_evenly_and_are_not_saved_up() {
        let mut limiter = Limiter::new(2, Duration::from_secs(1));
        let half = Duration::from_millis(500);
        let now = Time::from_nanos(1_000_000_000_000);
        assert_eq!(limiter.reserve(now), Duration::ZERO);
        assert_eq!(limiter.reserve(now), half);
        assert_eq!(limiter.reserve_within(now, half), None);
        assert_eq!(limiter.reserve_within(now, half * 2), Some(half * 2));
        let later = now + Duration::from_secs(60);
        assert_eq!(limiter.reserve(later), Duration::ZERO);
        assert_eq!(limiter.reserve(later), half);
    }

    #[test]
    fn jobs_run_one_after_another_whatever_becomes_of_them() {
        let sequence = Sequence::new();
        let order = Arc::new(Mutex::new(Vec::new()));
        let start = |n: u32| {
            let (promise, future) = Promise::<u32>::new();
            let order = order.clone();
            let result = sequence.add(move || {
                order.lock().push(n);
                future
            });
            (promise, result)
        };
        let ((first, one), (second, _two), (_, skipped), (fourth, four)) =
            (start(1), start(2), start(3), start(4));
        drop(skipped);
        assert_eq!(*order.lock(), [1]);
        first.set(10);
        assert_eq!(one.wait(Duration::ZERO), Ok(10));
        assert_eq!(*order.lock(), [1, 2]);
        drop(second);
        assert_eq!(*order.lock(), [1, 2, 4]);
        fourth.set(40);
        assert_eq!(four.wait(Duration::ZERO), Ok(40));
    }

    #[test]
    fn many_jobs_that_are_done_at_once_need_no_stack() {
        let sequence = Sequence::new();
        let (open, gate) = Promise::<()>::new();
        let _first = sequence.add(move || gate);
        let all: Vec<_> = (0..100_000).map(|n| sequence.add(move || Future::ready(n))).collect();
        open.set(());
        assert!(all.into_iter().enumerate().all(|(n, future)| future.wait(Duration::ZERO) == Ok(n)));
    }
}
