//! Keeping quota's books in line with what happens.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use api::resources::Resources;

use crate::Allocator;
use crate::amounts::Amounts;
use crate::candidate::plain_amounts;
use crate::frameworks::top_level;
use crate::keys::{AgentKey, ClientKey, QuotaKey, RoleKey};
use crate::quota::Quota;

impl Allocator {
    /// Notes that a role consumes more of its quota, if it has one.
    pub(crate) fn consume(&mut self, role: RoleKey, plain: &Amounts) {
        if let Some(key) = self.roles[role.0].quota {
            self.ledger.change(key, |consumed| consumed.add(plain));
            self.review_limits(key);
        }
    }

    /// Notes that a role consumes less of its quota.
    pub(crate) fn unconsume(&mut self, role: RoleKey, plain: &Amounts) {
        if let Some(key) = self.roles[role.0].quota {
            self.ledger.change(key, |consumed| consumed.subtract(plain));
            self.ledger.accounts[key.0].grew = true;
            // Guarantees that are not satisfied any more may be given what the headroom kept.
            self.ledger.grew |= self.ledger.unsatisfied.contains(key.0);
            self.review_limits(key);
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

    /// Notes that something was reserved, or is so no more.
    pub(crate) fn change_reservations(&mut self, before: &Resources, after: &Resources) {
        for (resources, sign) in [(before, -1), (after, 1)] {
            for (role, reserved) in resources.reservations() {
                let amounts = self.amounts(&reserved);
                self.change_reserved(&role, &amounts, sign > 0);
            }
        }
    }

    fn change_reserved(&mut self, role: &str, amounts: &Amounts, more: bool) {
        if amounts.is_empty() {
            return;
        }
        let role: Arc<str> = role.into();
        let reserved = self.reservations.entry(role.clone()).or_default();
        let was_empty = reserved.is_empty();
        match more {
            true => reserved.add(amounts),
            false => reserved.subtract(amounts),
        }
        self.roles_version += u64::from(was_empty || reserved.is_empty());
        if reserved.is_empty() {
            self.reservations.remove(&role);
        }
        if let Some(key) = self.ledger.key(top_level(&role)) {
            self.ledger.change(key, |consumed| match more {
                true => consumed.add(amounts),
                false => consumed.subtract(amounts),
            });
            self.ledger.accounts[key.0].grew = true;
            // Guarantees that are not satisfied any more may be given what the headroom kept.
            self.ledger.grew |= self.ledger.unsatisfied.contains(key.0);
            self.review_limits(key);
        }
    }

    /// Sets the quota of a top-level role, known to be a good one.
    pub(crate) fn set_quota(&mut self, role: &str, quota: Quota) {
        let first = self.ledger.is_empty();
        let mut parked: Vec<ClientKey> = Vec::new();
        for role in self.roles_under(role) {
            parked.extend(self.roles[role.0].sorter.clients());
        }
        let consumed = self.consumed(role);
        self.ledger.set(role, quota, consumed, &mut self.pool);
        self.roles_version += 1;
        let key = self.ledger.key(role);
        for role in self.roles_under(role) {
            self.roles[role.0].quota = key;
        }
        match key {
            Some(key) => {
                self.ledger.accounts[key.0].exhausted = self.is_exhausted(key);
            }
            None if self.ledger.is_empty() => self.ledger = Default::default(),
            None => {}
        }
        parked.into_iter().for_each(|client| self.update_activity(client));
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

    /// Parks the frameworks of a role whose limits leave nothing to offer, and wakes them when they do again.
    fn review_limits(&mut self, key: QuotaKey) {
        if !self.ledger.accounts[key.0].is_limited() {
            return;
        }
        let exhausted = self.is_exhausted(key);
        let account = &mut self.ledger.accounts[key.0];
        if account.exhausted == exhausted {
            return;
        }
        account.exhausted = exhausted;
        let top = account.role.clone();
        for role in self.roles_under(&top) {
            let clients: Vec<ClientKey> = self.roles[role.0].sorter.clients().collect();
            clients.into_iter().for_each(|client| self.update_activity(client));
        }
    }

    pub(crate) fn is_exhausted(&self, key: QuotaKey) -> bool {
        let account = &self.ledger.accounts[key.0];
        account.is_limited()
            && self.minimums.are_out_of_reach(|name| account.limit_left(name))
            && under(&self.reservations, &account.role).next().is_none()
    }

    /// Limits or headroom may allow more than when some agents were looked at: these deserve another look.
    pub(crate) fn release_held_back(&mut self) {
        if std::mem::take(&mut self.requoted) {
            for (agent, state) in &mut self.agents {
                state.held_back.clear();
                if !state.available.is_empty() {
                    self.unsettled.insert(agent);
                }
            }
        }
        let mut agents = Vec::new();
        if self.ledger.has_grown() {
            self.ledger.grew = false;
            agents.extend(std::mem::take(&mut self.ledger.held).iter());
        }
        for (_, account) in &mut self.ledger.accounts {
            if std::mem::take(&mut account.grew) {
                agents.extend(std::mem::take(&mut account.held).iter());
            }
        }
        for agent in agents {
            if let Some(state) = self.agents.get_mut(agent) {
                state.held_back.clear();
                self.unsettled.insert(agent);
            }
        }
    }

    /// An agent is gone, and its number may come to mean another one.
    pub(crate) fn forget_held_back(&mut self, agent: AgentKey) {
        self.ledger.held.remove(agent.0);
        for (_, account) in &mut self.ledger.accounts {
            account.held.remove(agent.0);
        }
    }

    /// Whether another look at an agent is due for what quota kept from somebody.
    pub(crate) fn is_held_back_due(&self, agent: AgentKey) -> bool {
        self.requoted
            || (self.ledger.held.contains(agent.0) && self.ledger.has_grown())
            || self.ledger.iter().any(|(_, account)| account.grew && account.held.contains(agent.0))
    }
}

/// The entries of a role and of all below it.
fn under<'m, V>(map: &'m BTreeMap<Arc<str>, V>, top: &str) -> impl Iterator<Item = (&'m Arc<str>, &'m V)> {
    // `0` is the byte after `/`, so between the two lie the paths below `top`.
    let (from, to) = (format!("{top}/"), format!("{top}0"));
    let below = map.range::<str, _>((Bound::Included(from.as_str()), Bound::Excluded(to.as_str())));
    map.get_key_value(top).into_iter().chain(below)
}
