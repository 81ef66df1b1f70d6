//! Which agents offer constraints exclude.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Page;
use crate::Allocator;
use crate::keys::FrameworkKey;

/// Constraints are checked for so many pairs of role and agent for one answer; at least one role is.
const CHECKS_MAX: usize = 200_000;

/// A page of frameworks, by id.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ConstraintsDebug {
    /// Framework by framework.
    pub frameworks: BTreeMap<String, ExcludedAgents>,
    /// All frameworks.
    pub n_frameworks: usize,
    /// How many frameworks to leave out to get those that follow; absent if none do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_offset: Option<usize>,
}

/// What a framework does not want to be offered.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExcludedAgents {
    /// Roles in which it wants nothing.
    pub suppressed_roles: Vec<String>,
    /// The agents its constraints exclude, by role; no role without constraints.
    pub excluded_by_attribute_constraints: BTreeMap<String, Vec<String>>,
    /// Roles with constraints that were too many for one answer; absent if none were.
    #[serde(skip_serializing_if = "is_zero")]
    pub n_roles_left_out: usize,
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

impl Allocator {
    /// Which agents the offer constraints of frameworks exclude.
    pub fn constraints_debug(&self, page: Page) -> ConstraintsDebug {
        let mut frameworks: Vec<FrameworkKey> = self.framework_keys.values().copied().collect();
        let id = |key: &FrameworkKey| &self.frameworks[key.0].id.value;
        frameworks.sort_unstable_by(|left, right| id(left).cmp(id(right)));
        let mut told = BTreeMap::new();
        let mut checks_left = CHECKS_MAX;
        for key in frameworks.iter().skip(page.offset).take(page.limit()) {
            let state = &self.frameworks[key.0];
            let n_constrained = state.clients.keys().filter(|role| state.constraints.is_for(role)).count();
            let checks = n_constrained * self.agents.len();
            if checks > checks_left && !told.is_empty() {
                break;
            }
            checks_left = checks_left.saturating_sub(checks);
            told.insert(state.id.to_string(), self.excluded_agents(*key));
        }
        let next = page.offset.saturating_add(told.len());
        ConstraintsDebug {
            n_frameworks: frameworks.len(),
            next_offset: (next < frameworks.len()).then_some(next),
            frameworks: told,
        }
    }

    fn excluded_agents(&self, framework: FrameworkKey) -> ExcludedAgents {
        let state = &self.frameworks[framework.0];
        let suppressed = state.clients.iter().filter(|(_, client)| {
            let client = &self.clients[client.0];
            client.subscribed && client.suppressed
        });
        let constrained = || state.clients.keys().filter(|role| state.constraints.is_for(role));
        let n_roles_max = (CHECKS_MAX / self.agents.len().max(1)).max(1);
        let mut excluded = BTreeMap::new();
        for role in constrained().take(n_roles_max) {
            let agents = self.agents.iter().map(|(_, agent)| agent);
            let agents = agents.filter(|agent| !state.constraints.allow(role, agent.view()));
            let mut ids: Vec<String> = agents.map(|agent| agent.id.to_string()).collect();
            ids.sort_unstable();
            excluded.insert(role.to_string(), ids);
        }
        ExcludedAgents {
            suppressed_roles: suppressed.map(|(role, _)| role.to_string()).collect(),
            n_roles_left_out: constrained().count() - excluded.len(),
            excluded_by_attribute_constraints: excluded,
        }
    }
}
