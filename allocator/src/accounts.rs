//! Keeping quota's books in line with what happens.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use api::resources::Resources;

use crate::Allocator;
use crate::amounts::Amounts;
use crate::bits::Bits;
use crate::candidate::plain_amounts;
use crate::frameworks::top_level;
use crate::keys::{AgentKey, ClientKey, QuotaKey, RoleKey};
use crate::quota::{Ledger, Quota};

impl Allocator {
    /// Notes that a role consumes more of its quota, if it has one.
    pub(crate) fn consume(&mut self, role: RoleKey, plain: &Amounts) {
        if let Some(key) = self.roles[role.0].quota {
            self.ledger.change(key, |consumed| consumed.add(plain));
            self.park_if_exhausted(key);
        }
    }

    /// Notes that a role consumes less of its quota.
    pub(crate) fn unconsume(&mut self, role: RoleKey, plain: &Amounts) {
        if let Some(key) = self.roles[role.0].quota {
            self.ledger.change(key, |consumed| consumed.subtract(plain));
            self.note_less_consumed(key);
        }
    }

    /// Brings what an agent has free in line with what of it is available.
    pub(crate) fn refresh_free(&mut self, agent: AgentKey) {
        if self.ledger.is_empty() {
            return;
        }
        let state = &mut self.agents[agent.0];
        let free = plain_amounts(&state.available, &self.pool);
        if free != state.free {
            self.ledger.free.subtract(&state.free);
            self.ledger.free.add(&free);
            state.free = free;
        }
    }

    /// An agent is gone, and what it had free with it.
    pub(crate) fn forget_free(&mut self, free: &Amounts) {
        self.ledger.free.subtract(free);
    }

    /// Notes that something was reserved, or is so no more. What only became something else, a volume of a disk,
    /// changes nothing.
    pub(crate) fn change_reservations(&mut self, before: &Resources, after: &Resources) {
        let (before, after) = (self.reserved_by_role(before), self.reserved_by_role(after));
        let none = Amounts::default();
        let roles: BTreeSet<&Arc<str>> = before.keys().chain(after.keys()).collect();
        for role in roles {
            let (less, more) = (before.get(role).unwrap_or(&none), after.get(role).unwrap_or(&none));
            if less != more {
                self.change_reserved(role, less, more);
            }
        }
    }

    fn reserved_by_role(&mut self, resources: &Resources) -> BTreeMap<Arc<str>, Amounts> {
        let reserved = resources.reservations().into_iter();
        let amounts = reserved.map(|(role, reserved)| (role.into(), self.amounts(&reserved)));
        amounts.filter(|(_, amounts)| !amounts.is_empty()).collect()
    }

    fn change_reserved(&mut self, role: &Arc<str>, less: &Amounts, more: &Amounts) {
        let reserved = self.reservations.entry(role.clone()).or_default();
        let was_empty = reserved.is_empty();
        reserved.add(more);
        reserved.subtract(less);
        let is_empty = reserved.is_empty();
        self.roles_version += u64::from(was_empty != is_empty);
        if is_empty {
            self.reservations.remove(role);
        }
        if let Some(key) = self.ledger.key(top_level(role)) {
            self.ledger.change(key, |consumed| {
                consumed.add(more);
                consumed.subtract(less);
            });
            self.note_less_consumed(key);
            self.park_if_exhausted(key);
        }
    }

    /// A role may be offered more than when agents were looked at for it. Its frameworks that are parked are woken
    /// by the next cycle: many tasks may end before that.
    fn note_less_consumed(&mut self, key: QuotaKey) {
        self.ledger.accounts[key.0].grew = true;
        // Guarantees that are not satisfied any more may be given what the headroom kept.
        self.ledger.grew |= self.ledger.unsatisfied.contains(key.0);
    }

    /// Sets the quota of a top-level role, known to be a good one.
    pub(crate) fn set_quota(&mut self, role: &str, quota: Quota) {
        self.forget_unused_names();
        let first = self.ledger.is_empty();
        let consumed = self.consumed(role);
        self.ledger.set(role, quota, consumed, &mut self.pool);
        self.roles_version += 1;
        let key = self.ledger.key(role);
        for below in self.roles_under(role) {
            self.roles[below.0].quota = key;
        }
        if let Some(key) = key {
            self.ledger.accounts[key.0].exhausted = self.is_exhausted(key);
        } else if self.ledger.is_empty() {
            self.ledger = Ledger::default();
        }
        self.clients_under(role).iter().for_each(|client| self.update_activity(ClientKey(client)));
        self.requoted = true;
        if first {
            let agents: Vec<AgentKey> = self.agents.iter().map(|(key, _)| AgentKey(key)).collect();
            for agent in agents {
                self.agents[agent.0].free = Amounts::default();
                self.refresh_free(agent);
            }
        }
    }

    /// What a top-level role and all below it consume of a quota: see [`crate::quota`].
    pub(crate) fn consumed(&self, top: &str) -> Amounts {
        let mut consumed = Amounts::default();
        for role in self.roles_under(top) {
            consumed.add(&self.roles[role.0].held);
        }
        self.reservations_under(top).for_each(|reserved| consumed.add(reserved));
        consumed
    }

    /// What is reserved to a role, and to each below it.
    pub(crate) fn reservations_under(&self, top: &str) -> impl Iterator<Item = &Amounts> {
        under(&self.reservations, top).map(|(_, reserved)| reserved)
    }

    /// A role and all below it that have frameworks.
    pub(crate) fn roles_under(&self, top: &str) -> Vec<RoleKey> {
        under(&self.role_keys, top).map(|(_, key)| *key).collect()
    }

    /// The clients of a role and of all below it.
    pub(crate) fn clients_under(&self, top: &str) -> Bits {
        let mut clients = Bits::default();
        for role in self.roles_under(top) {
            self.roles[role.0].sorter.clients().for_each(|client| clients.insert(client.0));
        }
        clients
    }

    /// Parks the frameworks of a role whose limits leave nothing to offer.
    fn park_if_exhausted(&mut self, key: QuotaKey) {
        if !self.ledger.accounts[key.0].exhausted && self.is_exhausted(key) {
            self.set_exhausted(key, true);
        }
    }

    /// Wakes the frameworks of a role whose limits leave something to offer again.
    pub(crate) fn wake_unless_exhausted(&mut self, key: QuotaKey) {
        if self.ledger.accounts[key.0].exhausted && !self.is_exhausted(key) {
            self.set_exhausted(key, false);
        }
    }

    fn set_exhausted(&mut self, key: QuotaKey, exhausted: bool) {
        let account = &mut self.ledger.accounts[key.0];
        account.exhausted = exhausted;
        let role = account.role.clone();
        self.clients_under(&role).iter().for_each(|client| self.update_activity(ClientKey(client)));
    }

    /// Whether the limits of a role leave less than the least that is offered to anybody.
    pub(crate) fn is_exhausted(&self, key: QuotaKey) -> bool {
        let account = &self.ledger.accounts[key.0];
        account.is_limited()
            && self.minimums.are_out_of_reach(|name| account.limit_left(name))
            && under(&self.reservations, &account.role).next().is_none()
    }
}

/// The entries of a role and of all below it.
fn under<'m, V>(map: &'m BTreeMap<Arc<str>, V>, top: &str) -> impl Iterator<Item = (&'m Arc<str>, &'m V)> {
    // `0` is the byte after `/`, so between the two lie the paths below `top`.
    let (from, to) = (format!("{top}/"), format!("{top}0"));
    let below = map.range::<str, _>((Bound::Included(from.as_str()), Bound::Excluded(to.as_str())));
    map.get_key_value(top).into_iter().chain(below)
}
