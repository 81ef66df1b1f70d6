//! What the master is told of the workload, and what it says about frameworks.

use api::internal::{ReconcileTasksMessage, ReregisterSlaveMessage};
use api::v1::task_status::Reason;
use api::v1::{ExecutorId, FrameworkId, FrameworkInfo};
use tracing::warn;

use super::framework::dropped;
use super::{Effect, ExecutorEvent, ExecutorState, FrameworkState, Turn, Workload, archive, launch};

impl Workload {
    /// Everything that a master which may know nothing needs: who runs what here. The agent's own
    /// description is left to the caller.
    pub fn reregistration(&self) -> ReregisterSlaveMessage {
        let running = || self.executors();
        let executor_infos = running()
            .filter(|(_, e)| !e.for_command_task && e.state != ExecutorState::Terminated)
            .map(|(framework, executor)| {
                let mut info = executor.info.clone();
                info.framework_id = Some(framework.id.clone());
                info
            })
            .collect();
        let tasks = running().flat_map(|(framework, executor)| {
            let queued = executor.queued.values();
            queued
                .map(|task| launch::staging(task.clone(), &framework.id, executor.for_command_task))
                .chain(executor.launched.values().cloned())
                .chain(executor.terminated.values().cloned())
        });
        ReregisterSlaveMessage {
            slave: self.info.clone(),
            checkpointed_resources: self.checkpointed_resources.clone(),
            executor_infos,
            tasks: tasks.collect(),
            frameworks: self.frameworks.values().map(|framework| framework.info.clone()).collect(),
            completed_frameworks: archive::of(self.completed.iter(), archive::ARCHIVE_BYTES_MAX),
            ..Default::default()
        }
    }

    /// The master believes that these tasks run here; those that do not never arrived.
    pub fn reconcile(&mut self, reconciliation: &ReconcileTasksMessage, turn: &mut Turn<'_>) {
        let framework_id = &reconciliation.framework_id;
        let framework = self.frameworks.get(framework_id);
        if framework.is_some_and(|framework| framework.state == FrameworkState::Terminating) {
            return;
        }
        let info = framework.map(|framework| &framework.info).or(reconciliation.framework.as_ref());
        let state = dropped(info.unwrap_or(&FrameworkInfo::default()));
        for status in &reconciliation.statuses {
            let known =
                self.frameworks.get(framework_id).is_some_and(|f| f.executor_with(&status.task_id).is_some());
            if known {
                continue;
            }
            let message = "the task never reached this agent, or is long over";
            let (executor_id, reason) = (status.executor_id.clone(), Some(Reason::Reconciliation));
            let update =
                self.agent_update(framework_id, &status.task_id, executor_id, state, reason, message, turn);
            turn.push(Effect::Store { update: Box::new(update), file: None, then: None });
        }
    }

    /// A framework is described anew, and perhaps reached elsewhere.
    pub fn update_framework(
        &mut self,
        framework_id: &FrameworkId,
        pid: Option<String>,
        info: Option<FrameworkInfo>,
        turn: &mut Turn<'_>,
    ) {
        let Some(framework) = self.frameworks.get_mut(framework_id) else { return };
        if framework.state == FrameworkState::Terminating {
            return;
        }
        if let Some(mut info) = info {
            info.id = Some(framework_id.clone());
            framework.info = info;
        }
        framework.pid = pid.filter(|pid| !pid.is_empty());
        if framework.checkpoint() {
            let framework = framework.clone();
            self.checkpoint_framework(&framework, turn);
        }
    }

    /// Bytes for an executor; whether there is one to take them.
    pub fn message_to_executor(
        &self,
        framework_id: &FrameworkId,
        executor_id: &ExecutorId,
        data: Vec<u8>,
        turn: &mut Turn<'_>,
    ) -> bool {
        let executor = self
            .frameworks
            .get(framework_id)
            .filter(|framework| framework.state == FrameworkState::Running)
            .and_then(|framework| framework.executors.get(executor_id))
            .filter(|executor| executor.state == ExecutorState::Running);
        let tell = executor.and_then(|executor| executor.tell(ExecutorEvent::Message { data }));
        if tell.is_none() {
            let (framework, executor) = (framework_id.as_str(), executor_id.as_str());
            warn!(framework, executor, "dropping a message for an executor that is not running");
        }
        let reached = tell.is_some();
        turn.effects.extend(tell.map(|tell| Effect::Tell(Box::new(tell))));
        reached
    }
}
