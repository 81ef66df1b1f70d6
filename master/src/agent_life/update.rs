//! An agent's resources change while it runs.

use api::internal::UpdateSlaveMessage;
use api::resources::{Resources, upgrade_all};
use libprocess::Upid;

use crate::cluster::Cluster;
use crate::effect::AllocatorCall;

impl Cluster {
    /// An agent reports changed resources.
    pub fn update_agent(&mut self, from: &Upid, message: UpdateSlaveMessage) {
        self.count("master/messages_update_slave");
        let id = &message.slave_id;
        let Some(agent) = self.agent_of(id, from) else { return };
        let mut oversubscribed = message.oversubscribed_resources.clone();
        if let Err(error) = upgrade_all(&mut oversubscribed) {
            tracing::warn!(agent = %id, %error, "ignoring an agent's update of its resources");
            return;
        }
        let revocable = if message.update_oversubscribed_resources.unwrap_or(true) {
            match Resources::try_from(&oversubscribed) {
                Ok(resources) => resources.revocable(),
                Err(error) => {
                    tracing::warn!(agent = %id, %error, "ignoring an agent's update of its resources");
                    return;
                }
            }
        } else {
            agent.total.revocable()
        };
        let total = agent.total.non_revocable() + &revocable;
        let changed = total != agent.total;
        let (info, capabilities, offers) =
            (agent.info.clone(), agent.capability_list.clone(), agent.offers.clone());
        if let Some(agent) = self.agents.get_mut(id) {
            agent.total = total.clone();
            agent.resource_version = message.resource_version_uuid.or(agent.resource_version.take());
        }
        if changed {
            self.allocator(AllocatorCall::UpdateAgent { id: id.clone(), info, total, capabilities });
            for offer_id in &offers {
                if self.offers.get(offer_id).is_some_and(|offer| !offer.resources.revocable().is_empty()) {
                    self.rescind_offer(offer_id);
                }
            }
        }
    }
}
