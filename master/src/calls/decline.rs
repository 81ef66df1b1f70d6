//! DECLINE: offers go back, and stay away for a while.

use api::v1::FrameworkId;
use api::v1::scheduler::call::Decline;

use crate::cluster::Cluster;

impl Cluster {
    pub(crate) fn decline(&mut self, framework_id: &FrameworkId, decline: Decline) {
        self.count("master/messages_decline_offers");
        let filters = decline.filters.unwrap_or_default();
        for id in &decline.offer_ids {
            // An offer that was rescinded meanwhile is no concern of anybody; another's offer is not its own.
            if self.offers.get(id).is_some_and(|offer| offer.framework_id() == framework_id) {
                self.count_of(framework_id, "offers/declined");
                self.discard_offer(id, Some(filters));
            }
        }
    }
}
