//! Agents are going to be unavailable, and frameworks answer whether they can do without.

use std::collections::BTreeMap;
use std::time::Duration;

use api::v1::allocator::InverseOfferStatus;
use api::v1::{AgentId, Filters, FrameworkId, Unavailability};

use super::Result;
use crate::filters::refusal_duration;
use crate::keys::{AgentKey, FrameworkKey};
use crate::maintenance::Maintenance;
use crate::{Allocator, Time};

impl Allocator {
    /// When the agent is going to be unavailable; `None` is not at all. Everything known of earlier plans is
    /// forgotten, and the agent becomes a candidate.
    pub fn update_unavailability(
        &mut self,
        agent_id: &AgentId,
        unavailability: Option<&Unavailability>,
    ) -> Result<()> {
        let agent = self.agent(agent_id)?;
        self.set_unavailability(agent, unavailability);
        // A candidate is shown to everybody, also to those who wait for the next interval.
        self.unsettled.insert(agent.0);
        self.consider(agent);
        Ok(())
    }

    /// A framework answered an inverse offer, or, without a status, has it no more. With `filters` it is not
    /// asked again for the time these say. An agent for which nothing is planned any more is no error.
    pub fn update_inverse_offer(
        &mut self,
        now: Time,
        agent_id: &AgentId,
        framework_id: &FrameworkId,
        status: Option<&InverseOfferStatus>,
        filters: Option<&Filters>,
    ) -> Result<()> {
        let (agent, framework) = (self.agent(agent_id)?, self.framework(framework_id)?);
        if let Some(maintenance) = &mut self.agents[agent.0].maintenance {
            maintenance.asked.remove(&framework);
            if let Some(status) = status {
                maintenance.statuses.insert(framework_id.clone(), status.clone());
            }
        }
        let duration = filters.and_then(|it| refusal_duration(it.refuse_seconds(), Duration::ZERO));
        if let Some(duration) = duration {
            self.inverse_filters.refuse(framework, agent, now + duration);
        }
        Ok(())
    }

    /// What frameworks answered last, by agent.
    pub fn inverse_offer_statuses(&self) -> BTreeMap<AgentId, BTreeMap<FrameworkId, InverseOfferStatus>> {
        let planned = self.maintained.iter().map(|agent| &self.agents[agent]);
        let statuses = planned.filter_map(|agent| {
            let maintenance = agent.maintenance.as_ref()?;
            Some((agent.id.clone(), maintenance.statuses.clone()))
        });
        statuses.collect()
    }

    pub(crate) fn set_unavailability(&mut self, agent: AgentKey, unavailability: Option<&Unavailability>) {
        self.inverse_filters.drop_agent(agent);
        let maintenance = unavailability.map(|it| Box::new(Maintenance::new(*it)));
        if maintenance.is_some() {
            self.maintained.insert(agent.0)
        } else {
            self.maintained.remove(agent.0)
        }
        self.agents[agent.0].maintenance = maintenance;
    }

    pub(crate) fn forget_inverse_offers(&mut self, framework: FrameworkKey, id: &FrameworkId) {
        self.inverse_filters.drop_framework(framework);
        for agent in self.maintained.iter() {
            if let Some(maintenance) = &mut self.agents[agent].maintenance {
                maintenance.asked.remove(&framework);
                maintenance.statuses.remove(id);
            }
        }
    }
}
