//! Agents that are going to be unavailable, and who was asked to leave them.

use std::collections::{BTreeMap, BTreeSet};

use api::v1::allocator::InverseOfferStatus;
use api::v1::{FrameworkId, Unavailability};

use crate::Allocator;
use crate::Time;
use crate::allocation::InverseAllocation;
use crate::bits::Bits;
use crate::keys::{AgentKey, FrameworkKey};

/// What is planned for an agent.
#[derive(Clone, Debug)]
pub(crate) struct Maintenance {
    pub(crate) unavailability: Unavailability,
    /// What frameworks answered last.
    pub(crate) statuses: BTreeMap<FrameworkId, InverseOfferStatus>,
    /// Frameworks that were asked and have not answered.
    pub(crate) asked: BTreeSet<FrameworkKey>,
}

impl Maintenance {
    pub(crate) fn new(unavailability: Unavailability) -> Maintenance {
        Maintenance { unavailability, statuses: BTreeMap::new(), asked: BTreeSet::new() }
    }
}

/// Until when a framework does not want to be asked about an agent.
#[derive(Clone, Debug, Default)]
pub(crate) struct InverseFilters {
    until: BTreeMap<(FrameworkKey, AgentKey), Time>,
    by_agent: BTreeSet<(AgentKey, FrameworkKey)>,
    ends: BTreeSet<(Time, FrameworkKey, AgentKey)>,
}

impl InverseFilters {
    /// The longer of two filters of one pair holds.
    pub(crate) fn refuse(&mut self, framework: FrameworkKey, agent: AgentKey, until: Time) {
        if self.until.get(&(framework, agent)).is_some_and(|longer| *longer >= until) {
            return;
        }
        self.drop_pair(framework, agent);
        self.until.insert((framework, agent), until);
        self.by_agent.insert((agent, framework));
        self.ends.insert((until, framework, agent));
    }

    fn hide(&self, framework: FrameworkKey, agent: AgentKey) -> bool {
        self.until.contains_key(&(framework, agent))
    }

    /// One that ends at `now` still holds, as a refusal of an offer does.
    fn expire(&mut self, now: Time) {
        while let Some(&(until, framework, agent)) = self.ends.first()
            && until < now
        {
            self.drop_pair(framework, agent);
        }
    }

    pub(crate) fn drop_framework(&mut self, framework: FrameworkKey) {
        let all = (framework, AgentKey(0))..=(framework, AgentKey(usize::MAX));
        let agents: Vec<AgentKey> = self.until.range(all).map(|((_, agent), _)| *agent).collect();
        agents.into_iter().for_each(|agent| self.drop_pair(framework, agent));
    }

    pub(crate) fn drop_agent(&mut self, agent: AgentKey) {
        let all = (agent, FrameworkKey(0))..=(agent, FrameworkKey(usize::MAX));
        let frameworks: Vec<FrameworkKey> = self.by_agent.range(all).map(|(_, it)| *it).collect();
        frameworks.into_iter().for_each(|framework| self.drop_pair(framework, agent));
    }

    fn drop_pair(&mut self, framework: FrameworkKey, agent: AgentKey) {
        if let Some(until) = self.until.remove(&(framework, agent)) {
            self.by_agent.remove(&(agent, framework));
            self.ends.remove(&(until, framework, agent));
        }
    }

    pub(crate) fn check_invariants(&self) -> Result<(), String> {
        let indexed = self.until.iter().all(|(&(framework, agent), until)| {
            self.by_agent.contains(&(agent, framework)) && self.ends.contains(&(*until, framework, agent))
        });
        if indexed && self.by_agent.len() == self.until.len() && self.ends.len() == self.until.len() {
            Ok(())
        } else {
            Err("the indices of inverse filters disagree".to_owned())
        }
    }
}

impl Allocator {
    /// Asks every active framework that holds something on one of `agents` to leave, unless it was asked and has
    /// not answered, or does not want to be asked yet.
    pub(crate) fn ask_to_leave(&mut self, agents: &Bits, now: Time) -> Vec<InverseAllocation> {
        self.inverse_filters.expire(now);
        let mut inverse_offers = Vec::new();
        for agent in agents.iter().map(AgentKey) {
            let state = &mut self.agents[agent.0];
            let Some(maintenance) = &mut state.maintenance else { continue };
            let holders: BTreeSet<FrameworkKey> =
                state.held.keys().map(|client| self.clients[client.0].framework).collect();
            for framework in holders {
                let known = &self.frameworks[framework.0];
                if known.active
                    && !self.inverse_filters.hide(framework, agent)
                    && maintenance.asked.insert(framework)
                {
                    inverse_offers.push(InverseAllocation {
                        framework_id: known.id.clone(),
                        agent_id: state.id.clone(),
                        unavailability: maintenance.unavailability,
                    });
                }
            }
        }
        inverse_offers
    }
}
