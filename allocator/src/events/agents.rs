//! Agents come, change and go.

use std::collections::BTreeSet;

use api::resources::{Entry, Resources};
use api::v1::agent_info::Capability;
use api::v1::{AgentId, AgentInfo, FrameworkId, Unavailability};

use super::{Result, check_allocated};
use crate::agents::{Agent, Capabilities};
use crate::keys::AgentKey;
use crate::{Allocator, AllocatorError};

impl Allocator {
    /// Adds an agent, active. It becomes a candidate.
    ///
    /// `used` is what frameworks hold of it, each entry allocated to a role; frameworks may be added later.
    pub fn add_agent(
        &mut self,
        id: &AgentId,
        info: &AgentInfo,
        capabilities: &[Capability],
        unavailability: Option<&Unavailability>,
        total: Resources,
        used: &[(FrameworkId, Resources)],
    ) -> Result<()> {
        if self.agent_keys.contains_key(id) {
            return Err(AllocatorError::KnownAgent(id.to_string()));
        }
        for (framework_id, resources) in used {
            check_allocated(framework_id, id, resources)?;
        }
        self.forget_unused_names();
        let amounts = self.amounts(&total);
        self.pool.grow(&amounts);
        let state = Agent::new(id.clone(), self.n_joined, info, capabilities, total, amounts);
        self.n_joined += 1;
        let agent = AgentKey(self.agents.insert(state));
        self.agent_keys.insert(id.clone(), agent);
        self.set_unavailability(agent, unavailability);
        self.note_total(agent, &Resources::new());
        self.hold_used(agent, used);
        self.unsettled.insert(agent.0);
        self.consider(agent);
        self.agent_joined();
        Ok(())
    }

    /// Adds what a resource provider of an agent has, of which frameworks hold `used` already.
    pub fn add_resource_provider(
        &mut self,
        id: &AgentId,
        total: &Resources,
        used: &[(FrameworkId, Resources)],
    ) -> Result<()> {
        let agent = self.agent(id)?;
        for (framework_id, resources) in used {
            check_allocated(framework_id, id, resources)?;
        }
        self.forget_unused_names();
        let total = self.agents[agent.0].total.clone() + total;
        self.replace_total(agent, total);
        self.hold_used(agent, used);
        self.reconsider(agent);
        Ok(())
    }

    fn hold_used(&mut self, agent: AgentKey, used: &[(FrameworkId, Resources)]) {
        for (framework_id, resources) in used.iter().filter(|(_, resources)| !resources.is_empty()) {
            match self.framework_keys.get(framework_id) {
                Some(&framework) => self.hold_all(framework, agent, resources),
                None => {
                    let state = &mut self.agents[agent.0];
                    *state.strangers.entry(framework_id.clone()).or_default() += resources;
                    state.take(&resources.clone().unallocated());
                    self.stranger_agents.entry(framework_id.clone()).or_default().insert(agent);
                }
            }
        }
        self.refresh_free(agent);
    }

    /// Replaces what an agent has.
    pub(crate) fn replace_total(&mut self, agent: AgentKey, total: Resources) {
        let amounts = self.amounts(&total);
        let state = &mut self.agents[agent.0];
        self.pool.shrink(&state.amounts);
        self.pool.grow(&amounts);
        let before = state.set_total(total, amounts);
        self.note_total(agent, &before);
        self.refresh_free(agent);
    }

    /// Counts what is reserved on an agent, which had `before` and has another total now.
    fn note_total(&mut self, agent: AgentKey, before: &Resources) {
        let after = &self.agents[agent.0].total;
        let reserved = |total: &Resources| {
            if total.iter().any(Entry::is_reserved) { total.reserved() } else { Resources::new() }
        };
        let (before, after) = (reserved(before), reserved(after));
        if before != after {
            self.change_reservations(&before, &after);
        }
    }

    /// Forgets an agent, what frameworks hold of it, and what they refused of it.
    pub fn remove_agent(&mut self, id: &AgentId) -> Result<()> {
        let agent = self.agent(id)?;
        for (client, held) in self.agents[agent.0].held.clone() {
            self.release(client, agent, &held.resources, None);
            self.untrack_if_idle(client);
        }
        self.filters.drop_agent(agent);
        self.set_unavailability(agent, None);
        let before = std::mem::take(&mut self.agents[agent.0].total);
        self.note_total(agent, &before);
        let state = self.agents.remove(agent.0);
        self.forget_free(&state.free);
        self.forget_held_back(agent);
        for framework_id in state.strangers.keys() {
            self.forget_stranger(framework_id, agent);
        }
        self.pool.shrink(&state.amounts);
        self.agent_keys.remove(id);
        self.unsettled.remove(agent.0);
        self.candidates.some.remove(agent.0);
        Ok(())
    }

    /// Replaces what is known of an agent; `None` leaves a part as it is. It becomes a candidate if that
    /// changed anything. When its attributes change, everything that was refused of it is forgotten.
    pub fn update_agent(
        &mut self,
        id: &AgentId,
        info: &AgentInfo,
        total: Option<Resources>,
        capabilities: Option<&[Capability]>,
    ) -> Result<()> {
        self.forget_unused_names();
        let agent = self.agent(id)?;
        let state = &mut self.agents[agent.0];
        let mut changed = false;
        if state.attributes != info.attributes {
            state.attributes = info.attributes.clone();
            self.filters.drop_agent(agent);
            self.inverse_filters.drop_agent(agent);
            changed = true;
        }
        if state.domain != info.domain {
            state.domain = info.domain.clone();
            changed = true;
        }
        if state.hostname != info.hostname {
            state.hostname = info.hostname.clone();
            changed = true;
        }
        if let Some(capabilities) = capabilities.map(Capabilities::of)
            && capabilities != state.capabilities
        {
            state.capabilities = capabilities;
            changed = true;
        }
        if let Some(total) = total.filter(|total| *total != state.total) {
            self.replace_total(agent, total);
            changed = true;
        }
        if changed {
            self.reconsider(agent);
            self.consider(agent);
        }
        Ok(())
    }

    /// The agent's resources may be offered again, from the next cycle that looks at it.
    pub fn activate_agent(&mut self, id: &AgentId) -> Result<()> {
        let agent = self.agent(id)?;
        self.agents[agent.0].active = true;
        self.unsettled.insert(agent.0);
        Ok(())
    }

    /// Nothing of the agent is offered any more.
    pub fn deactivate_agent(&mut self, id: &AgentId) -> Result<()> {
        let agent = self.agent(id)?;
        self.agents[agent.0].active = false;
        Ok(())
    }

    /// Offers only agents of these hostnames; `None` is all of them, an empty set none.
    pub fn update_whitelist(&mut self, hostnames: Option<BTreeSet<String>>) {
        self.whitelist = hostnames;
        for (agent, _) in self.agents.iter() {
            self.unsettled.insert(agent);
        }
    }

    pub(crate) fn agent(&self, id: &AgentId) -> Result<AgentKey> {
        self.agent_keys.get(id).copied().ok_or_else(|| AllocatorError::UnknownAgent(id.to_string()))
    }
}
