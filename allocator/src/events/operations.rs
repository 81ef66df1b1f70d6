//! Resources change what they are: reserved, unreserved, made into volumes and back.

use api::resources::Resources;
use api::v1::{AgentId, FrameworkId};

use super::{Result, check_allocated};
use crate::candidate::plain_amounts;
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
    /// allocated to one and the same role. Nothing changes if one of them cannot be applied, or would make a shared
    /// volume that is there already.
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
                    return Err(AllocatorError::SeveralRoles(agent_id.to_string()));
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
                framework_id: framework_id.to_string(),
                agent_id: agent_id.to_string(),
                role: role.to_owned(),
                resources,
            });
        };
        let mut after = held.resources.clone();
        for conversion in &conversions {
            conversion.apply(&mut after).map_err(|resources| AllocatorError::NotHeld {
                framework_id: framework_id.to_string(),
                agent_id: agent_id.to_string(),
                role: role.to_owned(),
                resources,
            })?;
        }
        self.forget_unused_names();
        let total = self.converted_total(agent, agent_id, &conversions)?;
        let role = self.clients[client.0].role;
        for Conversion { consumed, converted } in &conversions {
            // It is not another allocation, though shares may count differently what became of it.
            let (old, new) = (self.amounts(consumed), self.amounts(converted));
            if old != new {
                self.roles[role.0].sorter.update(client, &old, &new);
                self.role_sorter.update(role, &old, &new);
            }
            let (old, new) = (plain_amounts(consumed, &self.pool), plain_amounts(converted, &self.pool));
            if old != new {
                self.roles[role.0].held.subtract(&old);
                self.roles[role.0].held.add(&new);
                self.unconsume(role, &old);
                self.consume(role, &new);
            }
        }
        let state = &mut self.agents[agent.0];
        if let Some(held) = state.held.get_mut(&client) {
            held.resources = after;
            if held.resources.is_empty() {
                let allocated = std::mem::take(&mut held.allocated);
                self.roles[role.0].allocated.subtract(&allocated);
                state.held.remove(&client);
                self.clients[client.0].agents.remove(&agent);
            }
        }
        // What nobody holds is the same as before, but for what is shared, which is always there.
        let shared: Vec<Conversion> = conversions.iter().map(Conversion::shared).collect();
        self.convert_total(agent, total, &conversions, &shared);
        self.untrack_if_idle(client);
        Ok(())
    }

    /// Applies operations of an operator to what an agent has and nobody holds. Nothing changes if one of them
    /// cannot be applied, or would make a shared volume that is there already.
    pub fn update_available(&mut self, agent_id: &AgentId, conversions: &[Conversion]) -> Result<()> {
        let agent = self.agent(agent_id)?;
        let mut available = self.agents[agent.0].available.clone();
        for conversion in conversions {
            conversion.apply(&mut available).map_err(|resources| AllocatorError::NotAvailable {
                agent_id: agent_id.to_string(),
                resources,
                available: available.clone(),
            })?;
        }
        self.forget_unused_names();
        let total = self.converted_total(agent, agent_id, conversions)?;
        self.convert_total(agent, total, conversions, conversions);
        Ok(())
    }

    /// Replaces an agent's total by one which operations made of it, applying `to_available` to what is available.
    ///
    /// Counts no more than what changed: an agent may have thousands of reservations.
    fn convert_total(
        &mut self,
        agent: AgentKey,
        total: Resources,
        conversions: &[Conversion],
        to_available: &[Conversion],
    ) {
        for Conversion { consumed, converted } in conversions {
            let (old, new) = (self.amounts(consumed), self.amounts(converted));
            if old != new {
                self.pool.shrink(&old);
                self.pool.grow(&new);
                let amounts = &mut self.agents[agent.0].amounts;
                amounts.subtract(&old);
                amounts.add(&new);
            }
            self.change_reservations(consumed, converted);
        }
        self.agents[agent.0].convert(total, |available| {
            // What is available contains what is shared and consumed, or all of it was checked.
            to_available.iter().for_each(|conversion| {
                *available -= &conversion.consumed;
                *available += &conversion.converted;
            });
        });
        self.refresh_free(agent);
        self.reconsider(agent);
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
            // To add it again would be to share it once more: what it was to be made of would just be gone.
            let shared = conversion.converted.shared();
            if !shared.is_empty() && (total.clone() - &conversion.consumed).intersects(&shared) {
                return Err(AllocatorError::AlreadyShared {
                    agent_id: agent_id.to_string(),
                    resources: shared,
                });
            }
            conversion.apply(&mut total).map_err(|resources| AllocatorError::NotAvailable {
                agent_id: agent_id.to_string(),
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

    fn shared(&self) -> Conversion {
        Conversion { consumed: self.consumed.shared(), converted: self.converted.shared() }
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
