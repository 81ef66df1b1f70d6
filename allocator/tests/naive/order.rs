//! Whose turn it is: shares, and how often somebody was served.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use allocator::sorter::{Sorter, SorterKind};
use api::resources::Quantities;
use rand::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;

use super::Naive;

/// What stands between siblings: weighted share, count, path.
type Rank = (f64, u64, String);

fn compare(left: &Rank, right: &Rank) -> Ordering {
    left.0.total_cmp(&right.0).then(left.1.cmp(&right.1)).then(left.2.cmp(&right.2))
}

/// Whether `path` is `above` or below it.
pub(super) fn is_within(path: &str, above: &str) -> bool {
    path == above || path.strip_prefix(above).is_some_and(|rest| rest.starts_with('/'))
}

fn draw(
    mut sorter: Sorter<usize>,
    names: BTreeSet<String>,
    takes_turns: impl Fn(&str) -> bool,
    seed: u64,
) -> Vec<String> {
    let names: Vec<String> = names.into_iter().collect();
    for (client, name) in names.iter().enumerate() {
        sorter.add(name, client);
        if takes_turns(name) {
            sorter.activate(client);
        }
    }
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    sorter.turns(&mut rng).map(|client| names[client].clone()).collect()
}

impl Naive {
    fn pool(&self) -> Quantities {
        self.agents.values().fold(Quantities::new(), |sum, agent| sum + &agent.total.scalar_quantities())
    }

    /// "Max over resource names in the pool total, not excluded, of allocated / total."
    fn share(&self, held: &Quantities) -> f64 {
        let pool = self.pool();
        let counts = |name: &str| !self.rules.excluded.contains(name);
        let fractions = pool
            .iter()
            .filter(|(name, _)| counts(name.as_str()))
            .map(|(name, total)| held.get(name).thousandths() as f64 / total.thousandths() as f64);
        fractions.fold(0.0, f64::max)
    }

    /// The scalars a framework holds in a role. What is shared counts once for each agent it is on.
    fn held_by_client(&self, role: &str, framework: &str) -> Quantities {
        self.agents.keys().fold(Quantities::new(), |sum, agent| {
            sum + &self.held_in(framework, agent, role).scalar_quantities()
        })
    }

    /// The same of all frameworks in a role, what is shared counting once for all of them.
    fn held_by_role(&self, role: &str) -> Quantities {
        self.agents.keys().fold(Quantities::new(), |sum, agent| {
            let mut held = api::resources::Resources::new();
            self.frameworks.keys().for_each(|framework| held += &self.held_in(framework, agent, role));
            sum + &held.scalar_quantities()
        })
    }

    /// Of a node of the tree of roles: a role and all below it, or a virtual leaf.
    pub(crate) fn weighted_share(&self, node: &str) -> f64 {
        let roles: BTreeSet<String> = self.clients().into_iter().map(|(role, _)| role).collect();
        let leaf = node.strip_suffix("/.");
        let counts = |role: &&String| leaf.map_or(is_within(role, node), |leaf| leaf == *role);
        let held =
            roles.iter().filter(counts).fold(Quantities::new(), |sum, role| sum + &self.held_by_role(role));
        self.share(&held) / self.weights.get(node).copied().unwrap_or(1.0)
    }

    /// Roles and their frameworks, as they take turns at an agent.
    pub(super) fn turns(&self, lots: u64) -> Vec<(String, String)> {
        let roles = if self.rules.by_lot { self.roles_by_lot(lots) } else { self.roles_in_order() };
        let mut turns = Vec::new();
        for (n, role) in (0..).zip(roles) {
            let frameworks = if self.rules.by_lot {
                self.frameworks_by_lot(&role, allocator::order_key(lots, n))
            } else {
                self.frameworks_in_order(&role)
            };
            turns.extend(frameworks.into_iter().map(|framework| (role.clone(), framework)));
        }
        turns
    }

    fn takes_turns(&self, framework: &str, role: &str) -> bool {
        self.wants_offers(framework, role) && !self.is_parked(framework, role)
    }

    /// Everybody who takes turns in a new draw, so that nothing of an earlier one can be left.
    fn roles_by_lot(&self, seed: u64) -> Vec<String> {
        let roles: BTreeSet<String> = self.clients().into_iter().map(|(role, _)| role).collect();
        let takes_turns = |role: &str| self.frameworks.keys().any(|it| self.takes_turns(it, role));
        let mut sorter = Sorter::new(SorterKind::Random);
        self.weights.iter().for_each(|(path, weight)| sorter.set_weight(path, *weight));
        draw(sorter, roles, takes_turns, seed)
    }

    fn frameworks_by_lot(&self, role: &str, seed: u64) -> Vec<String> {
        let ids = self.frameworks.keys().cloned().collect();
        draw(Sorter::new(SorterKind::Random), ids, |id| self.takes_turns(id, role), seed)
    }

    /// Roles with somebody to serve, the one whose turn it is first.
    fn roles_in_order(&self) -> Vec<String> {
        let roles: BTreeSet<String> = self.clients().into_iter().map(|(role, _)| role).collect();
        let mut order = Vec::new();
        self.order_below("", &roles, &mut order);
        order.retain(|role| self.frameworks.keys().any(|framework| self.wants_offers(framework, role)));
        order
    }

    /// Depth first through the tree of roles. A role that has roles below it competes with them as the
    /// virtual leaf `.`, whose weight is 1.
    fn order_below(&self, parent: &str, roles: &BTreeSet<String>, order: &mut Vec<String>) {
        let mut children: BTreeSet<String> = BTreeSet::new();
        for role in roles {
            let below = match parent {
                "" => Some(role.as_str()),
                _ => role.strip_prefix(parent).and_then(|rest| rest.strip_prefix('/')),
            };
            if let Some(name) = below.and_then(|below| below.split('/').next()) {
                children.insert(if parent.is_empty() { name.to_owned() } else { format!("{parent}/{name}") });
            }
        }
        if roles.contains(parent) {
            children.insert(format!("{parent}/."));
        }
        let mut ranked: Vec<Rank> = Vec::new();
        for child in children {
            let count = self.role_counts.get(&child).copied().unwrap_or_default();
            ranked.push((self.weighted_share(&child), count, child));
        }
        ranked.sort_by(compare);
        for (_, _, child) in ranked {
            let is_inner = roles.iter().any(|role| *role != child && is_within(role, &child));
            match child.strip_suffix("/.") {
                Some(leaf) => order.push(leaf.to_owned()),
                None if is_inner => self.order_below(&child, roles, order),
                None => order.push(child),
            }
        }
    }

    /// Frameworks that want offers in a role, the one whose turn it is first.
    fn frameworks_in_order(&self, role: &str) -> Vec<String> {
        let mut ranked: Vec<Rank> = Vec::new();
        for id in self.frameworks.keys().filter(|id| self.wants_offers(id, role)) {
            let count = self.client_counts.get(&(role.to_owned(), id.clone())).copied().unwrap_or_default();
            ranked.push((self.share(&self.held_by_client(role, id)), count, id.clone()));
        }
        ranked.sort_by(compare);
        ranked.into_iter().map(|(_, _, id)| id).collect()
    }

    /// The one thing that is not recomputed: "the number of `allocated` calls on the node and through it on
    /// its ancestors".
    pub(super) fn count_allocation(&mut self, framework: &str, role: &str) {
        *self.client_counts.entry((role.to_owned(), framework.to_owned())).or_default() += 1;
        for (path, count) in &mut self.role_counts {
            if is_within(role, path) || path.strip_suffix("/.") == Some(role) {
                *count += 1;
            }
        }
    }

    /// Follows the nodes that appear and disappear with roles. A leaf that becomes an inner node hands its
    /// count to its virtual leaf; one that becomes a leaf again keeps the count of the inner node.
    pub(super) fn track(&mut self) {
        let clients = self.clients();
        self.client_counts.retain(|client, _| clients.contains(client));
        let roles: BTreeSet<&str> = clients.iter().map(|(role, _)| role.as_str()).collect();
        let mut nodes: BTreeSet<String> = BTreeSet::new();
        for role in &roles {
            let ends = role.match_indices('/').map(|(at, _)| at).chain([role.len()]);
            nodes.extend(ends.map(|end| role[..end].to_owned()));
            if roles.iter().any(|other| other != role && is_within(other, role)) {
                nodes.insert(format!("{role}/."));
            }
        }
        let before = std::mem::take(&mut self.role_counts);
        for node in nodes {
            let was_leaf = |leaf: &str| !before.keys().any(|other| other != leaf && is_within(other, leaf));
            let count = before.get(&node).copied().or_else(|| {
                let leaf = node.strip_suffix("/.")?;
                before.get(leaf).copied().filter(|_| was_leaf(leaf))
            });
            self.role_counts.insert(node, count.unwrap_or_default());
        }
    }
}
