//! KILL: a task is to end. The agent does it; the outcome comes as a status update.

use api::internal::KillTaskMessage;
use api::v1::FrameworkId;
use api::v1::scheduler::call::Kill;

use crate::cluster::Cluster;
use crate::effect::AgentMessage;

impl Cluster {
    pub(crate) fn kill(&mut self, framework_id: &FrameworkId, kill: Kill) {
        self.count("master/messages_kill_task");
        let Kill { task_id, agent_id, kill_policy } = kill;
        let Some(task) = self.task(framework_id, &task_id) else {
            // The framework believes in a task that is not there: it is told what is known of it.
            return self.reconcile_task(framework_id, &task_id, agent_id.as_ref());
        };
        if agent_id.as_ref().is_some_and(|id| *id != task.agent_id) {
            tracing::warn!(framework = %framework_id, task = %task_id, "ignoring a KILL: the task is on another agent");
            return;
        }
        let agent_id = task.agent_id.clone();
        let Some(agent) = self.agents.get_mut(&agent_id) else { return };
        // Repeated when the agent comes back, as it may not hear it now.
        agent.killed.insert((framework_id.clone(), task_id.clone()));
        if agent.connected {
            let pid = agent.pid.clone();
            let framework_id = framework_id.clone();
            self.send(&pid, AgentMessage::KillTask(KillTaskMessage { framework_id, task_id, kill_policy }));
        }
    }
}
