//! MESSAGE: a scheduler has data for one of its executors. It may be lost.

use api::internal::FrameworkToExecutorMessage;
use api::v1::FrameworkId;
use api::v1::scheduler::call::Message;

use crate::cluster::Cluster;
use crate::effect::AgentMessage;

impl Cluster {
    pub(crate) fn message(&mut self, framework_id: &FrameworkId, message: Message) {
        self.count("master/messages_framework_to_executor");
        let Message { agent_id, executor_id, data } = message;
        let Some(pid) =
            self.agents.get(&agent_id).filter(|agent| agent.connected).map(|agent| agent.pid.clone())
        else {
            self.count("master/invalid_framework_to_executor_messages");
            return;
        };
        self.count("master/valid_framework_to_executor_messages");
        let framework_id = framework_id.clone();
        let message = FrameworkToExecutorMessage { slave_id: agent_id, framework_id, executor_id, data };
        self.send(&pid, AgentMessage::ToExecutor(message));
    }
}
