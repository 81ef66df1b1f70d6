//! Agents that are going to be unavailable: the frameworks on them are asked to leave, by inverse offers, and
//! offers of them say so.

use std::collections::BTreeMap;
use std::sync::Arc;

use allocator::InverseAllocation;
use api::internal::{InverseOffersMessage, RescindInverseOfferMessage};
use api::v1::allocator::InverseOfferStatus;
use api::v1::allocator::inverse_offer_status::Status;
use api::v1::{AgentId, Filters, FrameworkId, InverseOffer, OfferId, Unavailability};
use imbl::OrdMap;

use crate::cluster::{Cluster, time_info};
use crate::effect::{AllocatorCall, Effect, FrameworkEvent, Timeout};

/// An inverse offer a framework has not answered.
#[derive(Debug, Clone, PartialEq)]
pub struct InverseOfferRecord {
    /// Who is asked.
    pub framework_id: FrameworkId,
    /// Where it should not be.
    pub agent_id: AgentId,
    /// When.
    pub unavailability: Unavailability,
}

/// Outstanding inverse offers, by id. Offers have their ids from the same sequence.
pub type InverseOffers = OrdMap<OfferId, Arc<InverseOfferRecord>>;

impl Cluster {
    /// Plans when a registered agent is going to be unavailable, or that it is not. Offers made without
    /// knowing are taken back. Returns false if there is no such agent.
    ///
    /// The plan is kept for as long as the agent is registered; whoever made it has to tell it again when an
    /// agent comes back that had been given up.
    pub fn set_unavailability(&mut self, agent_id: &AgentId, unavailability: Option<Unavailability>) -> bool {
        let Some(agent) = self.agents.get_mut(agent_id) else { return false };
        if std::mem::replace(&mut agent.unavailability, unavailability) == unavailability {
            return true;
        }
        self.rescind_offers_of_agent(agent_id);
        let agent_id = agent_id.clone();
        self.allocator(AllocatorCall::UpdateUnavailability { agent_id, unavailability });
        true
    }

    /// The allocator wants frameworks to leave agents.
    pub fn ask_to_leave(&mut self, allocations: Vec<InverseAllocation>) {
        let mut messages: BTreeMap<FrameworkId, InverseOffersMessage> = BTreeMap::new();
        for InverseAllocation { framework_id, agent_id, unavailability } in allocations {
            // The allocator decided on what it knew; meanwhile it was told of whatever does not hold any more.
            let Some(framework) = self.frameworks.get(&framework_id).filter(|framework| framework.active)
            else {
                continue;
            };
            let asked = framework.inverse_offers.clone();
            let Some(agent) = self.agents.get_mut(&agent_id) else { continue };
            // A plan that was changed and changed back is asked about twice.
            if agent.unavailability != Some(unavailability)
                || !asked.intersection(agent.inverse_offers.clone()).is_empty()
            {
                continue;
            }
            let id = self.ids.next_offer();
            agent.inverse_offers.insert(id.clone());
            let message = messages.entry(framework_id.clone()).or_default();
            message.pids.push(agent.pid.to_string());
            message.inverse_offers.push(InverseOffer {
                id: id.clone(),
                url: Some(agent.url()),
                framework_id: framework_id.clone(),
                agent_id: Some(agent_id.clone()),
                unavailability,
                // None is all of the agent.
                resources: Vec::new(),
            });
            if let Some(framework) = self.frameworks.get_mut(&framework_id) {
                framework.inverse_offers.insert(id.clone());
            }
            let record = InverseOfferRecord { framework_id, agent_id, unavailability };
            self.inverse_offers.insert(id.clone(), Arc::new(record));
            if let Some(after) = self.rules.offer_timeout {
                self.push(Effect::Delay { after, then: Timeout::Offer(id) });
            }
        }
        for (framework_id, message) in messages {
            self.tell(&framework_id, FrameworkEvent::InverseOffers(message));
        }
    }

    /// A framework answered an inverse offer. Nothing happens to what it has there; the operator decides.
    pub(crate) fn answer_inverse_offer(
        &mut self,
        framework_id: &FrameworkId,
        id: &OfferId,
        status: Status,
        filters: Filters,
    ) {
        if self.inverse_offers.get(id).is_none_or(|it| it.framework_id != *framework_id) {
            tracing::warn!(framework = %framework_id, inverse_offer = %id, "ignoring the answer to an unknown inverse offer");
            return;
        }
        let status = InverseOfferStatus {
            status: status.into(),
            framework_id: framework_id.clone(),
            timestamp: time_info(self.now),
        };
        self.end_inverse_offer(id, Some(status), Some(filters));
    }

    /// Takes an inverse offer back from its framework, which may be asked again.
    pub(crate) fn rescind_inverse_offer(&mut self, id: &OfferId) {
        let Some(offer) = self.inverse_offers.get(id).cloned() else { return };
        let message = RescindInverseOfferMessage { inverse_offer_id: id.clone() };
        self.tell(&offer.framework_id, FrameworkEvent::RescindInverse(message));
        self.discard_inverse_offer(id);
    }

    /// Forgets an inverse offer without telling the framework, which may be asked again.
    pub(crate) fn discard_inverse_offer(&mut self, id: &OfferId) {
        self.end_inverse_offer(id, None, None);
    }

    fn end_inverse_offer(
        &mut self,
        id: &OfferId,
        status: Option<InverseOfferStatus>,
        filters: Option<Filters>,
    ) {
        let Some(offer) = self.inverse_offers.remove(id) else { return };
        let InverseOfferRecord { framework_id, agent_id, .. } = Arc::unwrap_or_clone(offer);
        if let Some(framework) = self.frameworks.get_mut(&framework_id) {
            framework.inverse_offers.remove(id);
        }
        if let Some(agent) = self.agents.get_mut(&agent_id) {
            agent.inverse_offers.remove(id);
        }
        self.allocator(AllocatorCall::UpdateInverseOffer { framework_id, agent_id, status, filters });
    }
}
