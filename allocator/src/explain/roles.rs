//! The roles there are, with what each has and may have.

use std::collections::BTreeSet;

use serde::Serialize;

use super::Page;
use super::shown::{Numbers, limits, numbers, quantities};
use crate::Allocator;
use crate::amounts::Amounts;

/// A page of the roles there are, in the order of their paths, so that a role comes after the one above it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RoleTree {
    /// All roles.
    pub n_roles: usize,
    /// Which of them are told.
    pub page: Page,
    /// They.
    pub roles: Vec<RoleView>,
}

/// One role, all below it included where nothing else is said.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RoleView {
    /// Its path.
    pub name: String,
    /// What its share is divided by.
    pub weight: f64,
    /// The largest fraction of any one resource of the cluster that frameworks hold in it.
    pub share: f64,
    /// Of which resource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dominant_resource: Option<String>,
    /// The share divided by the weight: whose is smallest is served first.
    pub weighted_share: f64,
    /// Its quota, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota: Option<QuotaView>,
    /// What frameworks are offered or use, reserved or not.
    pub offered_or_allocated: Numbers,
    /// What is reserved on agents, whether anybody is offered it or uses it or not.
    pub reserved: Numbers,
    /// What counts towards a quota: what frameworks are offered or use, unreserved and not revocable, and all
    /// reservations.
    pub offered_or_consumed: Numbers,
    /// The same without what frameworks are just offered.
    pub consumed: Numbers,
    /// Frameworks in exactly this role.
    pub frameworks: FrameworkCounts,
    /// Roles right below it and further down.
    pub n_roles_below: usize,
}

/// What a role is promised, and what it may have at most.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct QuotaView {
    /// The promise.
    pub guarantees: Numbers,
    /// What of it is still missing, and held back from others.
    pub missing: Numbers,
    /// The most it may have; what is not named is not limited.
    pub limits: Numbers,
    /// The limits leave less than the least amounts of an offer.
    pub exhausted: bool,
}

/// How many frameworks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FrameworkCounts {
    /// All that are tracked in the role.
    pub tracked: usize,
    /// Subscribed to it; others just hold something.
    pub subscribed: usize,
    /// Take turns.
    pub active: usize,
    /// Suppressed offers.
    pub suppressed: usize,
    /// Wait as the limits are reached.
    pub parked: usize,
}

impl Allocator {
    /// A page of the roles that exist: those with a framework, a weight other than 1, a quota or a reservation, and
    /// all roles above one of these.
    pub fn describe_roles(&self, page: Page) -> RoleTree {
        let names: BTreeSet<Path<'_>> = self.role_tree().into_iter().map(Path).collect();
        let told = names.iter().skip(page.offset).take(page.limit());
        let roles = told.map(|name| self.role_view(name, &names)).collect();
        RoleTree { n_roles: names.len(), page, roles }
    }

    fn role_view(&self, Path(name): &Path<'_>, names: &BTreeSet<Path<'_>>) -> RoleView {
        let (mut held, mut allocated, mut reserved) = <(Amounts, Amounts, Amounts)>::default();
        for key in self.roles_under(name) {
            held.add(&self.roles[key.0].held);
            allocated.add(&self.roles[key.0].allocated);
        }
        self.reservations_under(name).for_each(|amounts| reserved.add(amounts));
        held.add(&reserved);
        allocated.add(&reserved);
        let nothing = Amounts::default();
        let all_held = self.role_sorter.held_at(name).unwrap_or(&nothing);
        let dominant = self.pool.dominant(all_held);
        let (share, weight) = (dominant.map_or(0.0, |(_, share)| share), self.role_sorter.weight(name));
        let prefix = format!("{name}/");
        let below = names.range(Path(&prefix)..).take_while(|Path(below)| below.starts_with(&prefix));
        let shown = |amounts: &Amounts| numbers(amounts, &self.pool);
        let quota = self.ledger.key(name).map(|key| {
            let account = &self.ledger.accounts[key.0];
            QuotaView {
                guarantees: quantities(&account.quota.guarantees),
                missing: shown(&account.unsatisfied()),
                limits: limits(&account.quota.limits),
                exhausted: account.exhausted,
            }
        });
        RoleView {
            name: (*name).to_owned(),
            weight,
            share,
            dominant_resource: dominant.map(|(id, _)| self.pool.name_of(id).to_owned()),
            weighted_share: share / weight,
            quota,
            offered_or_allocated: shown(all_held),
            reserved: shown(&reserved),
            offered_or_consumed: shown(&held),
            consumed: shown(&allocated),
            frameworks: self.count_frameworks(name),
            n_roles_below: below.count(),
        }
    }

    fn count_frameworks(&self, role: &str) -> FrameworkCounts {
        let mut counts = FrameworkCounts::default();
        let Some(key) = self.role_keys.get(role) else { return counts };
        for client in self.roles[key.0].sorter.clients() {
            let state = &self.clients[client.0];
            counts.tracked += 1;
            counts.subscribed += usize::from(state.subscribed);
            counts.active += usize::from(self.active.contains(client.0));
            counts.suppressed += usize::from(state.subscribed && state.suppressed);
            counts.parked += usize::from(state.parked);
        }
        counts
    }
}

/// A role's path, by its components: `a/b` comes before `a-b`, right after `a`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Path<'r>(&'r str);

impl Ord for Path<'_> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.split('/').cmp(other.0.split('/'))
    }
}

impl PartialOrd for Path<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
