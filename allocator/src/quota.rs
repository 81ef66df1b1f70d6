//! Quota: what roles are promised, what they may have at most, and what is held back for the promises.
//!
//! ```text
//! consumed(role) = what it and all below it are offered or use, unreserved and not revocable
//!                + everything reserved to it or below it, used or not
//! required       = sum over roles of (guarantees - consumed), never below zero
//! free           = what of all agents nobody holds, unreserved and not revocable
//! headroom       = free - required: what may go to roles beyond their guarantees
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use api::resources::{Limits, Name, Quantities};
use slab::Slab;

use crate::amounts::{Amounts, NameId, Pool};
use crate::bits::Bits;
use crate::keys::{AgentKey, QuotaKey};

/// What a top-level role is promised and what it may have at most, together with all roles below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// Held back for the role as long as it has less. Of a name that is absent nothing is.
    pub guarantees: Quantities,
    /// The role is not offered more. A name that is absent has no limit.
    pub limits: Limits,
}

impl Quota {
    /// Whether this is what every role has: no promise and no limit.
    pub fn is_default(&self) -> bool {
        self.guarantees.is_empty() && self.limits.is_empty()
    }
}

/// The account of one role that has a quota.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) role: Arc<str>,
    pub(crate) quota: Quota,
    guarantees: Amounts,
    limits: Vec<(NameId, u128)>,
    /// By the role and all below it, reservations included.
    pub(crate) consumed: Amounts,
    /// The limits leave less than the least that is offered to anybody, as far as is known: what makes them leave
    /// more is noticed by the next cycle.
    pub(crate) exhausted: bool,
    /// Agents of which a limit, or the headroom, kept something from a framework of this role.
    pub(crate) kept_from: Bits,
    /// The limits leave more, or the guarantees less, than when those agents were looked at.
    pub(crate) grew: bool,
}

impl Account {
    /// What is missing to the guarantees.
    pub(crate) fn unsatisfied(&self) -> Amounts {
        let mut left = self.guarantees.clone();
        left.subtract(&self.consumed);
        left
    }

    /// How much more of a resource the role may have; `None` is any amount.
    pub(crate) fn limit_left(&self, name: NameId) -> Option<u128> {
        let limit = self.limits.iter().find(|(limited, _)| *limited == name)?.1;
        Some(limit.saturating_sub(self.consumed.get(name)))
    }

    /// The resources that are limited.
    pub(crate) fn limited(&self) -> impl Iterator<Item = NameId> {
        self.limits.iter().map(|(name, _)| *name)
    }

    pub(crate) fn is_guaranteed(&self) -> bool {
        !self.guarantees.is_empty()
    }

    pub(crate) fn is_limited(&self) -> bool {
        !self.limits.is_empty()
    }
}

/// All quotas, and how much of them is used.
///
/// **Invariant:** `required` is the sum of what is unsatisfied, `unsatisfied` those with a part in it, and `free`
/// the sum of what agents say is free, kept while there is any quota.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) accounts: Slab<Account>,
    keys: BTreeMap<Arc<str>, QuotaKey>,
    required: Amounts,
    pub(crate) free: Amounts,
    /// Accounts whose guarantees are not satisfied.
    pub(crate) unsatisfied: Bits,
    /// Agents of which the headroom kept something from somebody.
    pub(crate) kept_from: Bits,
    /// Somebody may be given more of what the headroom kept, be there no more of it.
    pub(crate) grew: bool,
    /// The headroom when those agents were last looked at, or less.
    seen: Amounts,
}

impl Ledger {
    pub(crate) fn is_empty(&self) -> bool {
        self.accounts.is_empty()
    }

    /// The account of a role, which counts for all below that role too.
    pub(crate) fn key(&self, top_level: &str) -> Option<QuotaKey> {
        self.keys.get(top_level).copied()
    }

    /// Opens, changes or (with a default quota) closes the account of a role that has consumed `consumed`.
    pub(crate) fn set(&mut self, role: &str, quota: Quota, consumed: Amounts, pool: &mut Pool) {
        if let Some(key) = self.keys.remove(role) {
            let account = self.accounts.remove(key.0);
            self.required.subtract(&account.unsatisfied());
            self.unsatisfied.remove(key.0);
        }
        if quota.is_default() {
            return;
        }
        let thousandths = |amount: api::resources::Scalar| u128::from(amount.thousandths());
        let mut guarantees = Amounts::default();
        for (name, amount) in quota.guarantees.iter() {
            guarantees.add_one(pool.name(name), thousandths(amount));
        }
        let limits = quota.limits.iter().map(|(name, limit)| (pool.name(name), thousandths(limit))).collect();
        let role: Arc<str> = role.into();
        let account = Account {
            role: role.clone(),
            quota,
            guarantees,
            limits,
            consumed,
            exhausted: false,
            kept_from: Bits::default(),
            grew: false,
        };
        let unsatisfied = account.unsatisfied();
        self.required.add(&unsatisfied);
        let key = QuotaKey(self.accounts.insert(account));
        if !unsatisfied.is_empty() {
            self.unsatisfied.insert(key.0);
        }
        self.keys.insert(role, key);
    }

    /// Changes what a role consumed.
    pub(crate) fn change(&mut self, key: QuotaKey, f: impl FnOnce(&mut Amounts)) {
        let account = &mut self.accounts[key.0];
        self.required.subtract(&account.unsatisfied());
        f(&mut account.consumed);
        let unsatisfied = account.unsatisfied();
        self.required.add(&unsatisfied);
        if unsatisfied.is_empty() { self.unsatisfied.remove(key.0) } else { self.unsatisfied.insert(key.0) }
    }

    /// Whether a role has less than it is guaranteed.
    pub(crate) fn is_unsatisfied(&self, quota: Option<QuotaKey>) -> bool {
        quota.is_some_and(|key| self.unsatisfied.contains(key.0))
    }

    /// Enters what is offered to a role in the course of a look at an agent.
    pub(crate) fn spend(&mut self, quota: Option<QuotaKey>, plain: &Amounts) {
        self.free.subtract(plain);
        if let Some(key) = quota {
            self.change(key, |consumed| consumed.add(plain));
        }
    }

    /// Undoes [`Ledger::spend`], before it is counted for good.
    pub(crate) fn take_back(&mut self, quota: Option<QuotaKey>, plain: &Amounts) {
        self.free.add(plain);
        if let Some(key) = quota {
            self.change(key, |consumed| consumed.subtract(plain));
        }
    }

    /// Notes that a limit, or the headroom, kept something of an agent from a framework of the role.
    pub(crate) fn note_kept(
        &mut self,
        agent: AgentKey,
        quota: Option<QuotaKey>,
        limited: bool,
        held_back: bool,
    ) {
        if held_back {
            self.kept_from.insert(agent.0);
        }
        if limited && let Some(key) = quota {
            self.accounts[key.0].kept_from.insert(agent.0);
        }
    }

    /// Whether something is held back for somebody.
    pub(crate) fn holds_back(&self) -> bool {
        !self.required.is_empty()
    }

    /// How much of a resource may go beyond guarantees.
    pub(crate) fn headroom(&self, name: NameId) -> u128 {
        self.free.get(name).saturating_sub(self.required.get(name))
    }

    /// Remembers how much headroom there is at the end of a cycle, when all has been given that could be.
    pub(crate) fn note_headroom(&mut self) {
        self.seen = Amounts::default();
        for (name, _) in self.free.iter() {
            self.seen.add_one(name, self.headroom(name));
        }
    }

    /// Whether there may be something for somebody from whom the headroom kept it in the last cycle.
    pub(crate) fn has_grown(&self) -> bool {
        let more = |(name, _)| self.headroom(name) > self.seen.get(name);
        !self.kept_from.is_empty() && (self.grew || !self.holds_back() || self.free.iter().any(more))
    }

    /// All amounts in the books.
    pub(crate) fn amounts(&self) -> impl Iterator<Item = &Amounts> {
        let of_accounts = self.accounts.iter().flat_map(|(_, it)| [&it.guarantees, &it.consumed]);
        of_accounts.chain([&self.required, &self.free, &self.seen])
    }

    /// Roles with a quota, by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (QuotaKey, &Account)> {
        self.keys.values().map(|key| (*key, &self.accounts[key.0]))
    }

    pub(crate) fn check_invariants(&self) -> Result<(), String> {
        let mut required = Amounts::default();
        for (key, account) in self.iter() {
            let unsatisfied = account.unsatisfied();
            required.add(&unsatisfied);
            if self.unsatisfied.contains(key.0) == unsatisfied.is_empty() {
                return Err(format!("whether the guarantees of {} are satisfied is not noted", account.role));
            }
        }
        if required == self.required && self.keys.len() == self.accounts.len() {
            Ok(())
        } else {
            Err("what guarantees require is not the sum over roles".to_owned())
        }
    }
}

/// Sets of least amounts, one of which an offer has to reach, as far as they speak of the usual scalars.
///
/// Serves to tell at a glance that nobody can be offered anything.
#[derive(Clone, Debug, Default)]
pub(crate) struct Minimums(Vec<Vec<(NameId, u128)>>);

impl Minimums {
    pub(crate) fn new(sets: &[Quantities], pool: &mut Pool) -> Minimums {
        let usual = [Name::CPUS, Name::MEM, Name::DISK, Name::GPUS];
        let mut numbered = |set: &Quantities| {
            set.iter()
                .filter(|(name, _)| usual.contains(name))
                .map(|(name, least)| (pool.name(name), u128::from(least.thousandths())))
                .collect()
        };
        Minimums(sets.iter().map(&mut numbered).collect())
    }

    /// The resources they speak of.
    pub(crate) fn names(&self) -> impl Iterator<Item = NameId> {
        self.0.iter().flatten().map(|(name, _)| *name)
    }

    /// Whether none of the sets can be reached if there is at most `bound` of a resource; `None` is any amount.
    pub(crate) fn are_out_of_reach(&self, bound: impl Fn(NameId) -> Option<u128>) -> bool {
        let fails = |set: &Vec<(NameId, u128)>| {
            set.iter().any(|(name, least)| bound(*name).is_some_and(|bound| bound < *least))
        };
        !self.0.is_empty() && self.0.iter().all(fails)
    }
}
