//! The allocator once more, as plainly as it can be said: the rules read from top to bottom, nothing is
//! remembered but what happened, and everything else is counted anew whenever it is asked for.
//!
//! It is far too slow for a cluster and shares nothing with the allocator but its resource arithmetic, the order of
//! agents and how lots are drawn. What both say is right, or wrong for the same reason.

#![allow(dead_code, reason = "each test file uses its part")]

mod cycle;
mod events;
mod order;
mod permitted;
pub(crate) mod scripts;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use api::resources::{Limits, Quantities, Resources};
use api::v1::{AgentInfo, FrameworkInfo, agent_info};
use libprocess::Time;

pub(crate) use cycle::{Asked, Offers};
pub(crate) use permitted::roles_of;

/// What the operator set.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) interval: Duration,
    pub(crate) minimums: Vec<Quantities>,
    pub(crate) excluded: BTreeSet<String>,
    pub(crate) filter_gpus: bool,
    pub(crate) region: Option<String>,
    pub(crate) headroom_scraps: bool,
    /// Turns are drawn by lot.
    pub(crate) by_lot: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Agent {
    /// The number of agents that joined before it.
    pub(crate) joined: u64,
    pub(crate) info: AgentInfo,
    pub(crate) capabilities: Vec<agent_info::Capability>,
    pub(crate) active: bool,
    pub(crate) total: Resources,
}

#[derive(Clone, Debug)]
pub(crate) struct Framework {
    pub(crate) info: FrameworkInfo,
    pub(crate) active: bool,
    pub(crate) suppressed: BTreeSet<String>,
    /// By role, what the text of the agents' attribute has to be, or with `!` before it must not be.
    pub(crate) wanted: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Quota {
    pub(crate) guarantees: Quantities,
    pub(crate) limits: Limits,
}

/// "Not this, nor any part of it, until then."
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    framework: String,
    role: String,
    agent: String,
    resources: Resources,
    until: Time,
}

/// A framework in one of its roles, by role and id.
pub(crate) type Client = (String, String);

pub(crate) struct Naive {
    pub(crate) rules: Rules,
    pub(crate) now: Time,
    pub(crate) agents: BTreeMap<String, Agent>,
    pub(crate) frameworks: BTreeMap<String, Framework>,
    /// By framework and agent, each entry allocated to its role. The framework may be one nobody told of yet.
    pub(crate) held: BTreeMap<(String, String), Resources>,
    pub(crate) refusals: Vec<Refusal>,
    pub(crate) weights: BTreeMap<String, f64>,
    /// Of top-level roles.
    pub(crate) quotas: BTreeMap<String, Quota>,
    pub(crate) whitelist: Option<BTreeSet<String>>,
    paused: bool,
    /// After a failover: the number of agents to wait for.
    pub(crate) recovering: Option<usize>,
    /// Agents that are going to be unavailable.
    maintained: BTreeSet<String>,
    /// Inverse offers nobody answered yet, by framework and agent.
    asked: Asked,
    inverse_refusals: Vec<((String, String), Time)>,
    all_are_candidates: bool,
    candidates: BTreeSet<String>,
    n_joined: u64,
    /// How often something was allocated at a node of the tree of roles or below. A virtual leaf is `role/.`.
    role_counts: BTreeMap<String, u64>,
    client_counts: BTreeMap<Client, u64>,
}

/// Whether the event was one to follow: the allocator has to say the same.
pub(crate) type Followed = bool;

impl Naive {
    pub(crate) fn new(rules: Rules) -> Naive {
        Naive {
            rules,
            now: Time::EPOCH,
            agents: BTreeMap::new(),
            frameworks: BTreeMap::new(),
            held: BTreeMap::new(),
            refusals: Vec::new(),
            weights: BTreeMap::new(),
            quotas: BTreeMap::new(),
            whitelist: None,
            paused: false,
            recovering: None,
            maintained: BTreeSet::new(),
            asked: Asked::new(),
            inverse_refusals: Vec::new(),
            all_are_candidates: false,
            candidates: BTreeSet::new(),
            n_joined: 0,
            role_counts: BTreeMap::new(),
            client_counts: BTreeMap::new(),
        }
    }

    // --- What follows from it --------------------------------------------------------------------------

    /// "Total without what is held, and all shared resources of the total."
    pub(crate) fn available(&self, agent: &str) -> Resources {
        let total = &self.agents[agent].total;
        let mut available = total.non_shared();
        for ((_, on), held) in &self.held {
            if on == agent {
                available -= &held.non_shared().unallocated();
            }
        }
        available + &total.shared()
    }

    /// What a known framework holds of an agent in a role.
    pub(crate) fn held_in(&self, framework: &str, agent: &str, role: &str) -> Resources {
        let held = self.held.get(&(framework.to_owned(), agent.to_owned()));
        let held = held.filter(|_| self.frameworks.contains_key(framework)).cloned().unwrap_or_default();
        held.filter(|entry| entry.allocated_to() == Some(role)).unallocated()
    }

    /// Active, subscribed and not suppressed.
    pub(crate) fn wants_offers(&self, framework: &str, role: &str) -> bool {
        self.frameworks
            .get(framework)
            .is_some_and(|it| it.active && roles_of(&it.info).contains(role) && !it.suppressed.contains(role))
    }

    /// "A framework is tracked under a role if subscribed or still holding resources there."
    pub(crate) fn clients(&self) -> BTreeSet<Client> {
        let mut clients = BTreeSet::new();
        for (id, framework) in &self.frameworks {
            let held = self.held.iter().filter(|((holder, _), _)| holder == id);
            let roles = held.flat_map(|(_, held)| held.allocations().into_keys());
            clients.extend(roles.chain(roles_of(&framework.info)).map(|role| (role, id.clone())));
        }
        clients
    }

    /// What a role and all below it have, as quotas count it: "offered or allocated, unreserved and not
    /// revocable, and all reservations, allocated or not". Scalars only.
    pub(crate) fn consumed(&self, above: &str) -> Quantities {
        let below = |role: &str| order::is_within(role, above);
        let mut consumed = Quantities::new();
        for ((framework, _), held) in &self.held {
            if self.frameworks.contains_key(framework) {
                let counted = held.unreserved().non_revocable();
                consumed +=
                    &counted.filter(|entry| entry.allocated_to().is_some_and(below)).scalar_quantities();
            }
        }
        for agent in self.agents.values() {
            let reserved = agent.total.filter(|entry| entry.reservation_role().is_some_and(below));
            consumed += &reserved.scalar_quantities();
        }
        consumed
    }
}
