//! ACCEPT_INVERSE_OFFERS, DECLINE_INVERSE_OFFERS: answers to a planned maintenance.

use api::v1::FrameworkId;
use api::v1::allocator::inverse_offer_status::Status;
use api::v1::scheduler::call::{AcceptInverseOffers, DeclineInverseOffers};

use crate::cluster::Cluster;

impl Cluster {
    pub(crate) fn accept_inverse_offers(&mut self, framework_id: &FrameworkId, accept: AcceptInverseOffers) {
        let filters = accept.filters.unwrap_or_default();
        for id in &accept.inverse_offer_ids {
            self.answer_inverse_offer(framework_id, id, Status::Accept, filters);
        }
    }

    pub(crate) fn decline_inverse_offers(
        &mut self,
        framework_id: &FrameworkId,
        decline: DeclineInverseOffers,
    ) {
        let filters = decline.filters.unwrap_or_default();
        for id in &decline.inverse_offer_ids {
            self.answer_inverse_offer(framework_id, id, Status::Decline, filters);
        }
    }
}
