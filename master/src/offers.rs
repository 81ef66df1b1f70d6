//! Outstanding offers. An offer leaves this table once: accepted, declined or rescinded.

use std::sync::Arc;

use api::resources::Resources;
use api::v1::{AgentId, FrameworkId, Offer, OfferId};
use imbl::OrdMap;

/// An offer as the master keeps it: with the role it is allocated to, whatever the framework was shown.
#[derive(Debug)]
pub struct OfferRecord {
    /// The whole offer.
    pub offer: Offer,
    /// Of `offer`.
    pub resources: Resources,
    /// The role it is for.
    pub role: String,
}

impl OfferRecord {
    /// Its id.
    pub fn id(&self) -> &OfferId {
        &self.offer.id
    }

    /// Who may use it.
    pub fn framework_id(&self) -> &FrameworkId {
        &self.offer.framework_id
    }

    /// Whose resources it holds.
    pub fn agent_id(&self) -> &AgentId {
        &self.offer.agent_id
    }
}

/// Outstanding offers, by id.
pub type Offers = OrdMap<OfferId, Arc<OfferRecord>>;
