//! When a framework's turn comes, and who comes before it.

use std::collections::BTreeMap;
use std::fmt;

use api::resources::Resources;
use serde::Serialize;

use crate::cycle::Stage;
use crate::keys::{AgentKey, ClientKey, RoleKey};
use crate::sorter::{Place, Rank, Sorter, SorterKind};
use crate::{Allocator, Time};

/// For how many pairs of framework and agent one explanation asks who would come before.
const ASKS_MAX: usize = 20_000;

/// When the turn of a framework in a role comes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Turn {
    /// The components of the role's path, the outermost first; `.` stands for a role among those below it.
    pub role: Vec<Level>,
    /// The framework among those of the role.
    pub framework: Option<Level>,
    /// Whether turns are drawn by lot, rather than by share.
    pub by_lot: bool,
}

/// A place among siblings.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Level {
    /// The role, or the framework.
    pub name: String,
    /// From 1 for the one whose turn is first. Absent if it takes no turns, or if they are drawn by lot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<usize>,
    /// How many siblings take turns, itself among them if it does.
    pub n_active: usize,
    /// What the order goes by: `share / weight`, the smallest first, then the fewest allocations, then the name.
    pub weighted_share: f64,
    /// The largest fraction of any one resource of the cluster that it, and all below it, holds.
    pub share: f64,
    /// Of which resource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dominant_resource: Option<String>,
    /// What the share is divided by.
    pub weight: f64,
    /// How often it, or one below it, was offered something.
    pub n_allocations: u64,
    /// How likely it is the first one drawn, by lot. Absent if it takes no turns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chance: Option<f64>,
}

impl Turn {
    /// The numbers in words.
    pub fn text(&self) -> String {
        let roles = self.role.iter().map(|level| format!("role {level}"));
        let framework = self.framework.iter().map(|level| format!("framework {level}"));
        let levels: Vec<String> = roles.chain(framework).collect();
        format!("Its turn: {}.", levels.join("; "))
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Level { name, n_active, weighted_share, share, weight, n_allocations, .. } = self;
        write!(f, "`{name}` ")?;
        match (self.position, self.chance) {
            (Some(position), _) => write!(f, "is {position} of {n_active}")?,
            (None, Some(chance)) => {
                return write!(f, "is drawn first of {n_active} with a chance of {chance:.3}");
            }
            (None, None) => write!(f, "takes no turn, {n_active} others do")?,
        }
        write!(f, " (share {share:.4}")?;
        if let Some(name) = &self.dominant_resource {
            write!(f, " of {name}")?;
        }
        write!(f, " / weight {weight} = {weighted_share:.4}, {n_allocations} allocations)")
    }
}

impl Allocator {
    pub(super) fn turn_of(&self, client: ClientKey) -> Turn {
        let state = &self.clients[client.0];
        let role = &self.roles[state.role.0];
        let levels = |place: Option<Place>| -> Vec<Level> {
            let levels = place.map(|place| place.levels).unwrap_or_default();
            levels.into_iter().rev().map(|rank| self.level(rank)).collect()
        };
        Turn {
            role: levels(self.role_sorter.place_of(state.role, &self.pool)),
            framework: levels(role.sorter.place_of(client, &self.pool)).pop(),
            by_lot: self.options.sorter == SorterKind::Random,
        }
    }

    fn level(&self, rank: Rank) -> Level {
        Level {
            name: rank.path,
            position: rank.position,
            n_active: rank.n_active,
            weighted_share: rank.weighted_share,
            share: rank.dominant.map_or(0.0, |(_, share)| share),
            dominant_resource: rank.dominant.map(|(name, _)| self.pool.name_of(name).to_owned()),
            weight: rank.weight,
            n_allocations: rank.n_allocations,
            chance: rank.chance,
        }
    }
}

/// Who comes first at an agent: the order of turns as it is now, made when it is first asked for.
pub(super) struct Queue<'a> {
    allocator: &'a Allocator,
    /// Roles that take turns, in order.
    roles: Option<Vec<RoleKey>>,
    frameworks: BTreeMap<RoleKey, Vec<ClientKey>>,
    asks_left: usize,
}

impl<'a> Queue<'a> {
    pub(super) fn new(allocator: &'a Allocator) -> Queue<'a> {
        Queue { allocator, roles: None, frameworks: BTreeMap::new(), asks_left: ASKS_MAX }
    }

    /// Who would be offered something of the agent before the client is asked, and what. `None` if nobody, if turns
    /// are drawn by lot, or if finding out takes too long.
    pub(super) fn before(
        &mut self,
        client: ClientKey,
        agent: AgentKey,
        now: Time,
    ) -> Option<(ClientKey, Resources)> {
        let allocator = self.allocator;
        if allocator.options.sorter == SorterKind::Random {
            return None;
        }
        let roles = self.roles.get_or_insert_with(|| in_order(&allocator.role_sorter, allocator));
        let guarantees = !allocator.ledger.unsatisfied.is_empty();
        for stage in [Stage::Guarantees, Stage::FairShare].into_iter().skip(usize::from(!guarantees)) {
            for role in &*roles {
                let role_state = &allocator.roles[role.0];
                let unsatisfied =
                    role_state.quota.is_some_and(|key| allocator.ledger.unsatisfied.contains(key.0));
                if stage == Stage::Guarantees && !unsatisfied {
                    continue;
                }
                let frameworks = self.frameworks.entry(*role);
                for &other in &*frameworks.or_insert_with(|| in_order(&role_state.sorter, allocator)) {
                    self.asks_left = self.asks_left.checked_sub(1)?;
                    let candidate = allocator.candidate(other, agent, now);
                    let available = &candidate.agent.available;
                    let (answer, _) = allocator.ask(&candidate, other, agent, available, stage);
                    if let Some(offer) = answer.offer(available) {
                        return (other != client).then_some((other, offer));
                    }
                    if other == client && stage == Stage::FairShare {
                        return None;
                    }
                }
            }
        }
        None
    }
}

fn in_order<K: Copy + Eq + std::hash::Hash + std::fmt::Debug>(
    sorter: &Sorter<K>,
    allocator: &Allocator,
) -> Vec<K> {
    // The order is kept up to date by cycles only, and a question changes nothing.
    let mut sorter = sorter.clone();
    sorter.refresh(&allocator.pool);
    sorter.iter().collect()
}
