//! Until when the leader may act, by the heartbeats that a majority has answered.

use std::collections::VecDeque;

use libprocess::Time;

use super::LEASE;

/// The heartbeats of one term.
#[derive(Default)]
pub(super) struct Rounds {
    /// The term; 0 before there was one.
    pub(super) term: u64,
    /// The heartbeats under way: number, and when they were sent.
    under_way: VecDeque<(u64, Time)>,
    n_rounds: u64,
    until: Option<Time>,
    /// Whether the lead was offered to another. From then on members may vote inside their promise, and the offer may
    /// be taken at any time as long as the term goes on; so this ends acting for good.
    yielded: bool,
}

impl Rounds {
    pub(super) fn of(term: u64) -> Rounds {
        Rounds { term, ..Rounds::default() }
    }

    /// A heartbeat is sent; gives what marks the answers to it. `None` when they would be of no use.
    pub(super) fn begin(&mut self, now: Time) -> Option<Vec<u8>> {
        if self.yielded {
            return None;
        }
        self.n_rounds += 1;
        self.under_way.push_back((self.n_rounds, now));
        Some(self.n_rounds.to_be_bytes().to_vec())
    }

    /// A majority has answered the heartbeat of that mark.
    pub(super) fn answered(&mut self, mark: &[u8]) {
        let Ok(round) = mark.try_into().map(u64::from_be_bytes) else { return };
        while let Some(&(number, sent)) = self.under_way.front()
            && number <= round
        {
            self.under_way.pop_front();
            if number == round {
                self.until = Some(sent + LEASE);
            }
        }
    }

    /// The lead is offered to another.
    pub(super) fn give_up(&mut self) {
        self.yielded = true;
    }

    /// Whether that was so in this term. Until a new leader's own entry takes effect, these may be the rounds of an
    /// earlier reign.
    pub(super) fn has_yielded(&self, term: u64) -> bool {
        self.yielded && self.term == term
    }

    /// The end of the lease, if there is one.
    pub(super) fn until(&self) -> Option<Time> {
        self.until.filter(|_| !self.yielded)
    }
}
