//! What those who watch the allocator ask it about roles. None of it decides anything.

use std::collections::BTreeSet;

use api::resources::Name;
use api::roles::ancestors;

use crate::amounts::Amounts;
use crate::{Allocator, Quota};

impl Allocator {
    /// The roles in which some framework is subscribed or holds something.
    pub fn roles(&self) -> impl Iterator<Item = &str> {
        self.role_keys.keys().map(|role| &**role)
    }

    /// These roles, those with a quota or a weight or with something reserved to them, and all roles above one of
    /// them.
    pub fn role_tree(&self) -> BTreeSet<&str> {
        let mut tree = BTreeSet::new();
        let reserved = self.reservations.keys().map(|role| &**role);
        let with_quota = self.quotas().map(|(role, _)| role);
        for role in self.roles().chain(reserved).chain(with_quota).chain(self.role_sorter.weighted_paths()) {
            if tree.insert(role) {
                tree.extend(ancestors(role));
            }
        }
        tree
    }

    /// Changes when one of [`Allocator::role_tree`] comes or goes, or a quota or [`Allocator::scalars`] change.
    pub fn roles_version(&self) -> (u64, u64) {
        (self.roles_version, self.pool.names_version())
    }

    /// The names of the scalar resources that agents have.
    pub fn scalars(&self) -> impl Iterator<Item = &Name> {
        self.pool.names()
    }

    /// The quotas that were set, by role.
    pub fn quotas(&self) -> impl Iterator<Item = (&str, &Quota)> {
        self.ledger.iter().map(|(_, account)| (&*account.role, &account.quota))
    }

    /// The dominant share of a role and all below it, divided by its weight: what decides whose turn it is.
    pub fn weighted_share(&self, role: &str) -> Option<f64> {
        self.role_sorter.weighted_share(role, &self.pool)
    }

    /// For how many pairs of framework and agent something is refused in a role; `None` if it has no frameworks.
    pub fn n_refusals(&self, role: &str) -> Option<usize> {
        let role = &self.roles[self.role_keys.get(role)?.0];
        Some(role.sorter.clients().map(|client| self.filters.n_of_client(client)).sum())
    }

    /// How much of a scalar a role and all below it use, unreserved and not revocable, or have reserved to them, in
    /// its own unit: what a quota's limit bounds, without what is offered.
    pub fn consumed_quota(&self, role: &str, name: &Name) -> f64 {
        let used = self.roles_under(role).into_iter().map(|role| &self.roles[role.0].allocated);
        self.in_units(name, used.chain(self.reservations_under(role)))
    }

    /// How much of a scalar a role and all below it are offered or use, in its own unit, whatever its kind.
    pub fn held_by_role(&self, role: &str, name: &Name) -> f64 {
        self.in_units(name, self.role_sorter.held_at(role))
    }

    fn in_units<'a>(&self, name: &Name, amounts: impl IntoIterator<Item = &'a Amounts>) -> f64 {
        let Some(id) = self.pool.find(name) else { return 0.0 };
        amounts.into_iter().map(|amounts| amounts.get(id)).sum::<u128>() as f64 / 1000.0
    }
}
