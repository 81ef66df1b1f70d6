//! From the allocator's decisions to offers, and how an offer ends.

use std::sync::Arc;

use allocator::AgentAllocation;
use api::internal::{RescindResourceOfferMessage, ResourceOffersMessage};
use api::resources::{Resources, downgrade_all};
use api::v1::resource::AllocationInfo;
use api::v1::{AgentId, Filters, FrameworkId, Offer, OfferId};

use crate::agents::Agent;
use crate::capabilities::FrameworkCapabilities;
use crate::cluster::Cluster;
use crate::effect::{Effect, FrameworkEvent, Timeout};
use crate::frameworks::Framework;
use crate::offers::OfferRecord;

impl Cluster {
    /// The allocator allocated to a framework. One offer for each agent and role.
    pub fn offer(&mut self, framework_id: &FrameworkId, allocations: Vec<AgentAllocation>) {
        let mut shown = ResourceOffersMessage::default();
        for AgentAllocation { agent_id, role, resources } in allocations {
            let framework = self.frameworks.get(framework_id).filter(|framework| framework.active);
            let agent = self.agents.get(&agent_id).filter(|agent| agent.active);
            // The allocator decided on what it knew; meanwhile either may have left.
            let (Some(framework), Some(agent)) = (framework, agent) else {
                self.recover_offered(framework_id, &agent_id, resources, None);
                continue;
            };
            let id = self.ids.next_offer();
            let offer = compose(id.clone(), framework, agent, &role, &resources);
            shown.pids.push(agent.pid.to_string());
            shown.offers.push(as_shown(&offer, framework.capabilities));
            self.offers.insert(id.clone(), Arc::new(OfferRecord { offer, resources, role }));
            self.count_of(framework_id, "offers/sent");
            if let Some(framework) = self.frameworks.get_mut(framework_id) {
                framework.offers.insert(id.clone());
            }
            if let Some(agent) = self.agents.get_mut(&agent_id) {
                agent.offers.insert(id.clone());
            }
            if let Some(after) = self.rules.offer_timeout {
                self.push(Effect::Delay { after, then: Timeout::Offer(id) });
            }
        }
        if !shown.offers.is_empty() {
            self.tell(framework_id, FrameworkEvent::Offers(shown));
        }
    }

    /// Takes an offer off the table. Its resources are the caller's to dispose of.
    pub(crate) fn take_offer(&mut self, id: &OfferId) -> Option<Arc<OfferRecord>> {
        let offer = self.offers.remove(id)?;
        if let Some(framework) = self.frameworks.get_mut(offer.framework_id()) {
            framework.offers.remove(id);
        }
        if let Some(agent) = self.agents.get_mut(offer.agent_id()) {
            agent.offers.remove(id);
        }
        Some(offer)
    }

    /// Takes an offer off the table, its resources going back, without telling the framework.
    pub(crate) fn discard_offer(&mut self, id: &OfferId, filters: Option<Filters>) {
        if let Some(offer) = self.take_offer(id) {
            self.recover_offered(offer.framework_id(), offer.agent_id(), offer.resources.clone(), filters);
        }
    }

    /// Takes an offer back from the framework.
    pub(crate) fn rescind_offer(&mut self, id: &OfferId) {
        let Some(offer) = self.offers.get(id).cloned() else { return };
        self.tell(
            offer.framework_id(),
            FrameworkEvent::Rescind(RescindResourceOfferMessage { offer_id: id.clone() }),
        );
        self.count_of(offer.framework_id(), "offers/rescinded");
        self.discard_offer(id, None);
    }

    /// Takes back all offers of an agent's resources, and the wishes that frameworks leave it.
    pub(crate) fn rescind_offers_of_agent(&mut self, agent_id: &AgentId) {
        let Some(agent) = self.agents.get(agent_id) else { return };
        let (offers, inverse_offers) = (agent.offers.clone(), agent.inverse_offers.clone());
        for id in &offers {
            self.rescind_offer(id);
        }
        for id in &inverse_offers {
            self.rescind_inverse_offer(id);
        }
    }

    /// Takes back a framework's offers and inverse offers, with or without telling it.
    pub(crate) fn withdraw_offers_of_framework(&mut self, framework_id: &FrameworkId, tell: bool) {
        let Some(framework) = self.frameworks.get(framework_id) else { return };
        let (offers, inverse_offers) = (framework.offers.clone(), framework.inverse_offers.clone());
        for id in &inverse_offers {
            if tell {
                self.rescind_inverse_offer(id);
            } else {
                self.discard_inverse_offer(id);
            }
        }
        for id in &offers {
            if tell {
                self.rescind_offer(id);
            } else {
                self.discard_offer(id, None);
            }
        }
    }

    /// An offer, or an inverse one, was not answered in time.
    pub fn offer_timed_out(&mut self, id: &OfferId) {
        self.rescind_inverse_offer(id);
        if self.offers.contains_key(id) {
            tracing::info!(offer = %id, "offer timed out");
            self.rescind_offer(id);
        }
    }
}

fn compose(id: OfferId, framework: &Framework, agent: &Agent, role: &str, resources: &Resources) -> Offer {
    let executors = agent.executors.get(&framework.id);
    Offer {
        id,
        framework_id: framework.id.clone(),
        agent_id: agent.id.clone(),
        hostname: agent.info.hostname.clone(),
        url: Some(agent.url()),
        domain: agent.info.domain.clone(),
        resources: resources.to_messages(),
        attributes: agent.info.attributes.clone(),
        executor_ids: executors.map(|executors| executors.keys().cloned().collect()).unwrap_or_default(),
        unavailability: agent.unavailability,
        allocation_info: Some(AllocationInfo { role: Some(role.to_owned()) }),
    }
}

/// The offer in the words the framework understands.
fn as_shown(offer: &Offer, capabilities: FrameworkCapabilities) -> Offer {
    let mut shown = offer.clone();
    // Agents use these for themselves.
    shown.resources.retain(|resource| resource.name != "ephemeral_ports");
    if !capabilities.multi_role {
        shown.allocation_info = None;
        for resource in &mut shown.resources {
            resource.allocation_info = None;
        }
    }
    if !capabilities.reservation_refinement
        && let Err(error) = downgrade_all(&mut shown.resources)
    {
        // The allocator keeps refined reservations from such frameworks.
        tracing::error!(offer = %offer.id, %error, "an offer cannot be put in the old format");
    }
    shown
}
