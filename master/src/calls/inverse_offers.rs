//! ACCEPT_INVERSE_OFFERS, DECLINE_INVERSE_OFFERS: answers to a planned maintenance. Without maintenance
//! schedules there are no inverse offers outstanding, and answers to unknown ones are ignored.

use api::v1::scheduler::call::{AcceptInverseOffers, DeclineInverseOffers};
use api::v1::{FrameworkId, OfferId};

use crate::cluster::Cluster;

impl Cluster {
    pub(crate) fn accept_inverse_offers(&mut self, framework_id: &FrameworkId, accept: AcceptInverseOffers) {
        ignore(framework_id, &accept.inverse_offer_ids);
    }

    pub(crate) fn decline_inverse_offers(
        &mut self,
        framework_id: &FrameworkId,
        decline: DeclineInverseOffers,
    ) {
        ignore(framework_id, &decline.inverse_offer_ids);
    }
}

fn ignore(framework_id: &FrameworkId, ids: &[OfferId]) {
    for id in ids {
        tracing::warn!(framework = %framework_id, inverse_offer = %id, "ignoring the answer to an unknown inverse offer");
    }
}
