//! Resources come back.

use api::resources::Resources;
use api::v1::{AgentId, Filters, FrameworkId};

use super::{Result, check_allocated};
use crate::filters::refusal_duration;
use crate::keys::AgentKey;
use crate::{Allocator, AllocatorError, Time};

impl Allocator {
    /// Takes back what a framework held on an agent, each entry allocated to the role it was held in.
    ///
    /// `allocated` says that it used them; otherwise they were just offered to it.
    /// With `filters` they are kept away from it, in that role, for the time these say; without, they are
    /// not. No agent becomes a candidate: what comes back piecemeal is offered together at the next interval.
    /// A framework or agent that is gone took everything with it, so that is no error.
    pub fn recover_resources(
        &mut self,
        now: Time,
        framework_id: &FrameworkId,
        agent_id: &AgentId,
        resources: &Resources,
        filters: Option<&Filters>,
        allocated: bool,
    ) -> Result<()> {
        let Some(&agent) = self.agent_keys.get(agent_id) else { return Ok(()) };
        check_allocated(framework_id, agent_id, resources)?;
        let not_held = |role: &str| AllocatorError::NotHeld {
            framework_id: framework_id.to_string(),
            agent_id: agent_id.to_string(),
            role: role.to_owned(),
            resources: resources.clone(),
        };
        let Some(&framework) = self.framework_keys.get(framework_id) else {
            return self.recover_from_stranger(framework_id, agent, resources, not_held);
        };
        let mut parts = Vec::new();
        for (role, part) in resources.allocations() {
            let part = part.unallocated();
            let client = self.frameworks[framework.0].clients.get(role.as_str()).copied();
            let held = client.and_then(|client| self.agents[agent.0].held.get(&client));
            match client {
                Some(client) if held.is_some_and(|held| held.resources.contains(&part)) => {
                    parts.push((client, part))
                }
                _ => return Err(not_held(&role)),
            }
        }
        let refuse_seconds = filters.map(Filters::refuse_seconds);
        let refusal = refuse_seconds.and_then(|it| refusal_duration(it, self.options.allocation_interval));
        let mut refused = false;
        for (client, part) in parts {
            self.release(client, agent, &part, Some(allocated));
            // Whose role is at its limit may refuse as well: the limit may be raised.
            let may_refuse = self.active.contains(client.0) || self.clients[client.0].parked;
            if let Some(duration) = refusal
                && may_refuse
            {
                let part = self.filters.share(agent, part);
                let forgotten = self.filters.refuse(client, agent, part.clone(), now + duration);
                let state = &mut self.agents[agent.0];
                if forgotten {
                    state.declined.remove(client.0);
                    state.held_back.remove(client.0);
                }
                // It need not be asked again to know.
                state.remember_refusal(client, &part);
                refused = true;
            }
            self.untrack_if_idle(client);
        }
        // Whoever is the last to refuse spares the next cycle a look.
        if refused && self.fresh.is_empty() && self.agents[agent.0].has_nothing_for(&self.active) {
            self.unsettled.remove(agent.0);
        }
        Ok(())
    }

    fn recover_from_stranger(
        &mut self,
        framework_id: &FrameworkId,
        agent: AgentKey,
        resources: &Resources,
        not_held: impl Fn(&str) -> AllocatorError,
    ) -> Result<()> {
        let state = &mut self.agents[agent.0];
        let Some(held) = state.strangers.get_mut(framework_id) else { return Ok(()) };
        if !held.contains(resources) {
            return Err(not_held(resources.allocation_role().unwrap_or("*")));
        }
        *held -= resources;
        let nothing_left = held.is_empty();
        if nothing_left {
            state.strangers.remove(framework_id);
        }
        state.put_back(&resources.clone().unallocated());
        self.refresh_free(agent);
        self.unsettled.insert(agent.0);
        if nothing_left {
            self.forget_stranger(framework_id, agent);
        }
        Ok(())
    }

    pub(crate) fn forget_stranger(&mut self, framework_id: &FrameworkId, agent: AgentKey) {
        if let Some(agents) = self.stranger_agents.get_mut(framework_id) {
            agents.remove(&agent);
            if agents.is_empty() {
                self.stranger_agents.remove(framework_id);
            }
        }
    }
}
