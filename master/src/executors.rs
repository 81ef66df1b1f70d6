//! Executors: their end, and what passes between them and their schedulers.

use api::internal::{ExecutorToFrameworkMessage, ExitedExecutorMessage};
use libprocess::Upid;

use crate::cluster::Cluster;
use crate::effect::FrameworkEvent;

impl Cluster {
    /// An agent reports that an executor ended. What became of its tasks comes separately.
    pub fn executor_exited(&mut self, from: &Upid, message: ExitedExecutorMessage) {
        self.count("master/messages_exited_executor");
        let ExitedExecutorMessage { slave_id, framework_id, executor_id, .. } = &message;
        if self.agent_of(slave_id, from).is_none() {
            tracing::warn!(%from, agent = %slave_id, executor = %executor_id, "ignoring the exit of an executor of an unknown agent");
            return;
        }
        // Command tasks have an executor of the agent's making that neither master nor framework know.
        if self.remove_executor(framework_id, slave_id, executor_id) {
            let framework_id = framework_id.clone();
            self.tell(&framework_id, FrameworkEvent::ExitedExecutor(message));
        }
    }

    /// An executor has data for its scheduler.
    pub fn executor_message(&mut self, from: &Upid, message: ExecutorToFrameworkMessage) {
        self.count("master/messages_executor_to_framework");
        let known = self.agent_of(&message.slave_id, from).is_some()
            && self.frameworks.get(&message.framework_id).is_some_and(|framework| framework.is_connected());
        if !known {
            self.count("master/invalid_executor_to_framework_messages");
            return;
        }
        self.count("master/valid_executor_to_framework_messages");
        let framework_id = message.framework_id.clone();
        self.tell(&framework_id, FrameworkEvent::FromExecutor(message));
    }
}
