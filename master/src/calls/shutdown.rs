//! SHUTDOWN: an executor is to end, with all its tasks.

use api::internal::ShutdownExecutorMessage;
use api::v1::FrameworkId;
use api::v1::scheduler::call::Shutdown;

use crate::cluster::Cluster;
use crate::effect::AgentMessage;

impl Cluster {
    pub(crate) fn shutdown_executor(&mut self, framework_id: &FrameworkId, shutdown: Shutdown) {
        let Shutdown { executor_id, agent_id } = shutdown;
        let Some(pid) = self.agents.get(&agent_id).map(|agent| agent.pid.clone()) else {
            tracing::warn!(framework = %framework_id, agent = %agent_id, "ignoring a SHUTDOWN: the agent is unknown");
            return;
        };
        let message = ShutdownExecutorMessage {
            executor_id: Some(executor_id),
            framework_id: Some(framework_id.clone()),
        };
        self.send(&pid, AgentMessage::ShutdownExecutor(message));
    }
}
