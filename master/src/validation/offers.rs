//! The offers a framework wants to use.

use std::collections::BTreeSet;
use std::sync::Arc;

use api::v1::{FrameworkId, OfferId};

use super::Invalid;
use crate::offers::{OfferRecord, Offers};

/// Checks that the offers can be used together, and returns them: all there, of this framework, for one role,
/// on one agent.
pub fn usable(
    ids: &[OfferId],
    framework_id: &FrameworkId,
    offers: &Offers,
) -> Result<Vec<Arc<OfferRecord>>, Invalid> {
    if ids.is_empty() {
        return Err("No offers specified".into());
    }
    let mut seen = BTreeSet::new();
    if let Some(twice) = ids.iter().find(|id| !seen.insert(*id)) {
        return Err(format!("Duplicate offer {twice} in offer list"));
    }
    let mut usable = Vec::with_capacity(ids.len());
    for id in ids {
        let offer = offers.get(id).ok_or_else(|| format!("Offer {id} is no longer valid"))?;
        usable.push(offer.clone());
    }
    if let Some(foreign) = usable.iter().find(|offer| offer.framework_id() != framework_id) {
        return Err(format!(
            "Offer {} has invalid framework {} while framework {framework_id} is expected",
            foreign.id(),
            foreign.framework_id()
        ));
    }
    let first = &usable[0];
    if let Some(other) = usable.iter().find(|offer| offer.role != first.role) {
        return Err(format!(
            "Aggregated offers must be allocated to the same role. Offer {} uses role '{}' but another is using role '{}'",
            other.id(),
            other.role,
            first.role
        ));
    }
    if let Some(other) = usable.iter().find(|offer| offer.agent_id() != first.agent_id()) {
        return Err(format!(
            "Aggregated offers must belong to one single agent. Offer {} uses agent {} and agent {}",
            other.id(),
            other.agent_id(),
            first.agent_id()
        ));
    }
    Ok(usable)
}
