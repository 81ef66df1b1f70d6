//! ACKNOWLEDGE: the framework has dealt with a status update. The agent may forget it, and send the next.

use api::internal::StatusUpdateAcknowledgementMessage;
use api::v1::FrameworkId;
use api::v1::scheduler::call::Acknowledge;

use crate::cluster::Cluster;
use crate::effect::AgentMessage;
use crate::tasks::is_terminal;

impl Cluster {
    pub(crate) fn acknowledge(&mut self, framework_id: &FrameworkId, acknowledge: Acknowledge) {
        self.count("master/messages_status_update_acknowledgement");
        let Acknowledge { agent_id, task_id, uuid } = acknowledge;
        let agent = self.agents.get(&agent_id).filter(|agent| agent.connected);
        let Some(pid) = agent.map(|agent| agent.pid.clone()) else {
            return self.count("master/invalid_status_update_acknowledgements");
        };
        if let Some(task) = self.task(framework_id, &task_id) {
            let Some(forwarded) = task.forwarded_uuid() else {
                // Nothing has been sent that could be acknowledged.
                return self.count("master/invalid_status_update_acknowledgements");
            };
            if is_terminal(task.forwarded_state()) && forwarded == uuid {
                self.remove_task(framework_id, &task_id);
                self.check_drained(&agent_id);
            }
        }
        self.count("master/valid_status_update_acknowledgements");
        let framework_id = framework_id.clone();
        let message = StatusUpdateAcknowledgementMessage { slave_id: agent_id, framework_id, task_id, uuid };
        self.send(&pid, AgentMessage::Acknowledge(message));
    }
}
