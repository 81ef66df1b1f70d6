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
    /// Nanoseconds of [`Time`]; 0 when there is none.
    until: Arc<AtomicU64>,
}

impl Lease {
    /// Whether no other master can have been elected at that moment of this node's clock.
    pub fn holds(&self, now: Time) -> bool {
        now < self.until()
    }

    /// The end of it; the epoch when this master does not lead, and the end of time when it is alone and does.
    pub fn until(&self) -> Time {
        Time::from_nanos(self.until.load(Ordering::Acquire))
    }
}

/// The writing end. There is no lease after it is dropped.
#[derive(Debug)]
pub(super) struct LeaseGrant {
    lease: Lease,
}

impl LeaseGrant {
    pub(super) fn new() -> LeaseGrant {
        LeaseGrant { lease: Lease { until: Arc::default() } }
    }

    pub(super) fn lease(&self) -> Lease {
        self.lease.clone()
    }

    /// From now on the lease ends then; `None` ends it at once.
    pub(super) fn set(&mut self, until: Option<Time>) {
        self.lease.until.store(until.unwrap_or_default().as_nanos(), Ordering::Release);
    }
}

impl Drop for LeaseGrant {
    fn drop(&mut self) {
        self.set(None);
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
        grant.set(Some(Time::from_nanos(10)));
        assert!(lease.holds(Time::from_nanos(9)) && !lease.holds(Time::from_nanos(10)));
        drop(grant);
        assert!(!lease.holds(Time::EPOCH));
    }
}
