//! Until when this master may act as leader, for others to see at any moment.
//!
//! An exception to the rule that no state is shared: whoever acts has to know *now*. To ask the registrar by message
//! would queue behind the very events that have to be stopped, and after the process was stopped and continued the
//! answer might be as old as the pause. It has one writer, and a reader that sees an older value sees an earlier end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use libprocess::Time;

/// Whether this master may act as leader; from [`Registrar::lease`](super::Registrar::lease).
#[derive(Debug, Clone)]
pub struct Lease {
    granted: Arc<Granted>,
    /// The only term it is good for, if there is one.
    only: Option<u64>,
}

#[derive(Debug, Default)]
struct Granted {
    /// Nanoseconds of [`Time`]; 0 when there is none. Written after the term it is granted in, and read before.
    until: AtomicU64,
    term: AtomicU64,
}

impl Lease {
    /// The lease of that term alone. Whoever began to lead in one term must not go on in another: somebody else may
    /// have led in between.
    pub fn in_term(self, term: u64) -> Lease {
        Lease { only: Some(term), ..self }
    }

    /// Whether no other master can have been elected at that moment of this node's clock.
    pub fn holds(&self, now: Time) -> bool {
        now < self.until() && self.only.is_none_or(|term| term == self.granted.term.load(Ordering::Acquire))
    }

    /// The end of it; the epoch when this master does not lead, and the end of time when it is alone and does.
    pub fn until(&self) -> Time {
        Time::from_nanos(self.granted.until.load(Ordering::Acquire))
    }
}

/// The writing end. There is no lease after it is dropped.
#[derive(Debug)]
pub(super) struct LeaseGrant {
    lease: Lease,
}

impl LeaseGrant {
    pub(super) fn new() -> LeaseGrant {
        LeaseGrant { lease: Lease { granted: Arc::default(), only: None } }
    }

    pub(super) fn lease(&self) -> Lease {
        self.lease.clone()
    }

    /// From now on the lease is for that term and ends then; `None` ends it at once.
    pub(super) fn set(&mut self, term: u64, until: Option<Time>) {
        let granted = &self.lease.granted;
        if granted.term.load(Ordering::Relaxed) != term {
            // Whoever sees the end of one term's lease does not see another term beside it.
            granted.until.store(0, Ordering::Release);
            granted.term.store(term, Ordering::Release);
        }
        granted.until.store(until.unwrap_or_default().as_nanos(), Ordering::Release);
    }

    /// There is none from now on.
    pub(super) fn end(&mut self) {
        self.lease.granted.until.store(0, Ordering::Release);
    }
}

impl Drop for LeaseGrant {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_by_the_clock_and_with_its_writer() {
        let mut grant = LeaseGrant::new();
        let lease = grant.lease();
        assert!(!lease.holds(Time::EPOCH));
        grant.set(1, Some(Time::from_nanos(10)));
        assert!(lease.holds(Time::from_nanos(9)) && !lease.holds(Time::from_nanos(10)));
        drop(grant);
        assert!(!lease.holds(Time::EPOCH));
    }

    #[test]
    fn it_may_be_good_for_one_term_only() {
        let mut grant = LeaseGrant::new();
        let (any, first) = (grant.lease(), grant.lease().in_term(1));
        grant.set(1, Some(Time::from_nanos(10)));
        assert!(any.holds(Time::EPOCH) && first.holds(Time::EPOCH));
        grant.set(3, Some(Time::from_nanos(20)));
        assert!(any.holds(Time::from_nanos(15)) && !first.holds(Time::EPOCH));
    }
}
