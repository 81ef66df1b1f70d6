//! Status updates: from agents to frameworks, and those the master makes itself.

use api::internal::{StatusUpdate, StatusUpdateMessage};
use api::v1::task_status::Reason;
use api::v1::{AgentId, FrameworkId, TaskId, TaskState};
use libprocess::Upid;

use crate::cluster::Cluster;
use crate::effect::FrameworkEvent;
use crate::tasks::{MasterStatus, TaskRecord, Transition, is_terminal};

impl Cluster {
    /// An agent reports what became of a task.
    pub fn status_update(&mut self, from: &Upid, message: StatusUpdateMessage) {
        self.count("master/messages_status_update");
        if let Err(why) = self.try_status_update(from, message) {
            tracing::warn!(%from, why, "ignoring a status update");
            self.count("master/invalid_status_updates");
        } else {
            self.count("master/valid_status_updates");
        }
    }

    fn try_status_update(&mut self, from: &Upid, message: StatusUpdateMessage) -> Result<(), &'static str> {
        let update = &message.update;
        // A removed agent learns from the missing pings that it has to register again; shutting it down here
        // would kill tasks that the framework was told may return.
        let agent_id = update.slave_id.clone().ok_or("it names no agent")?;
        if self.agents.is_removed(&agent_id) {
            return Err("its agent was removed");
        }
        if self.agents.get(&agent_id).is_none() {
            return Err("its agent is unknown");
        }
        if self.agents.get(&agent_id).is_some_and(|agent| agent.pid != *from) {
            return Err("it does not come from its agent");
        }
        if update.uuid.as_ref().is_some_and(|uuid| uuid.len() != 16) {
            return Err("its uuid is not 16 bytes long");
        }
        let framework_id = update.framework_id.clone();
        if self.frameworks.get(&framework_id).is_none() {
            return Err("its framework is unknown");
        }
        let task_id = update.status.task_id.clone();
        let update = update.clone();
        self.tell(&framework_id, FrameworkEvent::Status(Box::new(message)));
        if self.task(&framework_id, &task_id).is_none() {
            return Err("its task is unknown");
        }
        self.update_task(&framework_id, &task_id, &update);
        // Nobody will acknowledge an update without uuid.
        if update.uuid.is_none()
            && self.task(&framework_id, &task_id).is_some_and(|task| is_terminal(task.state()))
        {
            self.remove_task(&framework_id, &task_id);
            self.check_drained(&agent_id);
        }
        Ok(())
    }

    /// Moves a task; what it no longer holds goes back.
    pub(crate) fn update_task(
        &mut self,
        framework_id: &FrameworkId,
        task_id: &TaskId,
        update: &StatusUpdate,
    ) -> Transition {
        let Some(task) =
            self.frameworks.get_mut(framework_id).and_then(|framework| framework.tasks.get_mut(task_id))
        else {
            return Transition::default();
        };
        let before = task.state();
        let transition = TaskRecord::update(task, update);
        let task = task.clone();
        self.note_state(framework_id, Some(before), Some(task.state()));
        if transition.released {
            self.discharge(framework_id, &task.agent_id, task.resources());
            let status = &update.status;
            let source = status.source.map(|_| status.source());
            let reason = status.reason.map(|_| status.reason());
            self.count_task(status.state(), source, reason);
        }
        transition
    }

    /// Takes a task off its agent and into its framework's completed ones.
    pub(crate) fn remove_task(&mut self, framework_id: &FrameworkId, task_id: &TaskId) {
        let Some(task) = self.detach_task(framework_id, task_id) else { return };
        let bound = self.rules.max_completed_tasks;
        if let Some(framework) = self.frameworks.get_mut(framework_id) {
            framework.complete(task, bound);
        }
    }

    /// Takes a task off its agent and its framework.
    pub(crate) fn detach_task(
        &mut self,
        framework_id: &FrameworkId,
        task_id: &TaskId,
    ) -> Option<std::sync::Arc<TaskRecord>> {
        let task = self.frameworks.get_mut(framework_id)?.tasks.remove(task_id)?;
        self.note_state(framework_id, Some(task.state()), None);
        if task.holds_resources() {
            self.discharge(framework_id, &task.agent_id, task.resources());
        }
        if let Some(agent) = self.agents.get_mut(&task.agent_id) {
            let key = (framework_id.clone(), task_id.clone());
            agent.tasks.remove(&key);
            agent.killed.remove(&key);
        }
        Some(task)
    }

    /// An update the master makes about a task it knows.
    pub(crate) fn master_update(
        &self,
        framework_id: &FrameworkId,
        task: &TaskRecord,
        state: TaskState,
        reason: Reason,
        message: impl Into<String>,
    ) -> StatusUpdate {
        MasterStatus {
            task_id: &task.task_id,
            agent_id: Some(&task.agent_id),
            executor_id: task.executor_id.as_ref(),
            state,
            reason,
            message: message.into(),
            at: self.now,
        }
        .into_update(framework_id)
    }

    /// Tells a framework of an update the master made.
    pub(crate) fn forward(&mut self, update: StatusUpdate) {
        let framework_id = update.framework_id.clone();
        self.tell(&framework_id, FrameworkEvent::Status(Box::new(StatusUpdateMessage { update, pid: None })));
    }

    /// Tells a framework that a task it wanted launched will not run.
    pub(crate) fn reject_task(
        &mut self,
        framework_id: &FrameworkId,
        task: &api::v1::TaskInfo,
        agent_id: Option<&AgentId>,
        state: TaskState,
        reason: Reason,
        message: impl Into<String>,
    ) {
        let message = message.into();
        tracing::info!(framework = %framework_id, task = %task.task_id, %message, "task not launched");
        let update = MasterStatus {
            task_id: &task.task_id,
            agent_id,
            executor_id: task.executor.as_ref().map(|executor| &executor.executor_id),
            state,
            reason,
            message,
            at: self.now,
        }
        .into_update(framework_id);
        self.count_task(state, Some(api::v1::task_status::Source::Master), Some(reason));
        self.forward(update);
    }
}
