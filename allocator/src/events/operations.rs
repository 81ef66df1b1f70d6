//! Resources change what they are: reserved, unreserved, made into volumes and back.

use api::resources::Resources;
use api::v1::{AgentId, FrameworkId};

use super::{Result, check_allocated};
use crate::keys::AgentKey;
use crate::{Allocator, AllocatorError};

/// What an operation makes of resources.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Conversion {
    /// Taken.
    pub consumed: Resources,
    /// Put in its place.
    pub converted: Resources,
}

impl Allocator {
    /// Applies operations of a framework to what it holds on an agent, and to what the agent has. Everything is
    /// allocated to one and the same role. Nothing changes if one of them cannot be applied.
    pub fn update_allocation(
        &mut self,
        framework_id: &FrameworkId,
        agent_id: &AgentId,
        conversions: &[Conversion],
    ) -> Result<()> {
        let agent = self.agent(agent_id)?;
        let framework = self.framework(framework_id)?;
        let mut role = None;
        for resources in conversions.iter().flat_map(|it| [&it.consumed, &it.converted]) {
            check_allocated(framework_id, agent_id, resources)?;
            for entry in resources {
                if *role.get_or_insert(entry.allocated_to()) != entry.allocated_to() {
                    return Err(AllocatorError::SeveralRoles(agent_id.value.clone()));
                }
            }
        }
        let Some(role) = role.flatten() else { return Ok(()) };
        let conversions: Vec<Conversion> = conversions.iter().map(Conversion::unallocated).collect();
        let client = self.frameworks[framework.0].clients.get(role).copied();
        let held = client.and_then(|client| self.agents[agent.0].held.get(&client));
        let (Some(client), Some(held)) = (client, held) else {
            let resources = conversions.first().map(|it| it.consumed.clone()).unwrap_or_default();
            return Err(AllocatorError::NotHeld {
                framework_id: framework_id.value.clone(),
                agent_id: agent_id.value.clone(),
                role: role.to_owned(),
                resources,
            });
        };
        let mut after = held.resources.clone();
        for conversion in &conversions {
            conversion.apply(&mut after).map_err(|resources| AllocatorError::NotHeld {
                framework_id: framework_id.value.clone(),
                agent_id: agent_id.value.clone(),
                role: role.to_owned(),
                resources,
            })?;
        }
        let total = self.converted_total(agent, agent_id, &conversions)?;
        let allocated = held.allocated.clone();
        let before = held.resources.clone();
        // Shares may count what is converted differently, but it is not another allocation.
        let old = self.amounts_held(&before);
        let new = self.amounts_held(&after);
        let role_key = self.clients[client.0].role;
        self.roles[role_key.0].sorter.update(client, &old, &new);
        self.role_sorter.update(role_key, &old, &new);
        let (old, new) = (self.plain_of(&before), self.plain_of(&after));
        self.roles[role_key.0].held.subtract(&old);
        self.roles[role_key.0].held.add(&new);
        self.unconsume(role_key, &old);
        self.consume(role_key, &new);
        if after.is_empty() {
            self.roles[role_key.0].allocated.subtract(&allocated);
            self.agents[agent.0].held.remove(&client);
            self.clients[client.0].agents.remove(&agent);
        } else if let Some(held) = self.agents[agent.0].held.get_mut(&client) {
            held.resources = after;
        }
        self.replace_total(agent, total);
        self.reconsider(agent);
        Ok(())
    }

    /// Applies operations of an operator to what an agent has and nobody holds. Nothing changes if one of them
    /// cannot be applied.
    pub fn update_available(&mut self, agent_id: &AgentId, conversions: &[Conversion]) -> Result<()> {
        let agent = self.agent(agent_id)?;
        let mut available = self.agents[agent.0].available.clone();
        for conversion in conversions {
            conversion.apply(&mut available).map_err(|resources| AllocatorError::NotAvailable {
                agent_id: agent_id.value.clone(),
                resources,
                available: available.clone(),
            })?;
        }
        let total = self.converted_total(agent, agent_id, conversions)?;
        self.replace_total(agent, total);
        self.reconsider(agent);
        Ok(())
    }

    /// Notes that a framework uses what it was offered on an agent, each entry allocated to a role.
    pub fn transition_offered_to_allocated(
        &mut self,
        framework_id: &FrameworkId,
        agent_id: &AgentId,
        resources: &Resources,
    ) -> Result<()> {
        let (agent, framework) = (self.agent(agent_id)?, self.framework(framework_id)?);
        for (role, part) in resources.allocations() {
            let client = self.frameworks[framework.0].clients.get(role.as_str()).copied();
            if let Some(client) = client {
                self.note_allocated(client, agent, &part.unallocated());
            }
        }
        Ok(())
    }

    fn converted_total(
        &self,
        agent: AgentKey,
        agent_id: &AgentId,
        conversions: &[Conversion],
    ) -> Result<Resources> {
        let mut total = self.agents[agent.0].total.clone();
        for conversion in conversions {
            conversion.apply(&mut total).map_err(|resources| AllocatorError::NotAvailable {
                agent_id: agent_id.value.clone(),
                resources,
                available: total.clone(),
            })?;
        }
        Ok(total)
    }
}

impl Conversion {
    fn unallocated(&self) -> Conversion {
        Conversion {
            consumed: self.consumed.clone().unallocated(),
            converted: self.converted.clone().unallocated(),
        }
    }

    /// `Err` is what there is not enough of.
    fn apply(&self, resources: &mut Resources) -> std::result::Result<(), Resources> {
        if !resources.contains(&self.consumed) {
            return Err(self.consumed.clone());
        }
        *resources -= &self.consumed;
        *resources += &self.converted;
        Ok(())
    }
}
