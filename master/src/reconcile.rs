//! What a framework is told when it asks what became of its tasks.

use api::v1::task_status::Reason;
use api::v1::{AgentId, FrameworkId, TaskId, TaskState, TimeInfo};

use crate::cluster::Cluster;
use crate::tasks::{MasterStatus, TaskRecord};

impl Cluster {
    /// Answers for the tasks named, or for all live ones when none is.
    pub(crate) fn reconcile(&mut self, framework_id: &FrameworkId, tasks: &[(TaskId, Option<AgentId>)]) {
        self.count("master/messages_reconcile_tasks");
        if tasks.is_empty() {
            let all: Vec<_> = self
                .frameworks
                .get(framework_id)
                .map(|framework| framework.tasks.values().cloned().collect())
                .unwrap_or_default();
            for task in all {
                self.tell_latest(framework_id, &task);
            }
        }
        for (task_id, agent_id) in tasks {
            self.reconcile_task(framework_id, task_id, agent_id.as_ref());
        }
    }

    /// Answers for one task; for one that cannot be judged yet there is no answer, and the framework asks again.
    pub(crate) fn reconcile_task(
        &mut self,
        framework_id: &FrameworkId,
        task_id: &TaskId,
        agent_id: Option<&AgentId>,
    ) {
        if let Some(task) = self.task(framework_id, task_id).cloned() {
            return self.tell_latest(framework_id, &task);
        }
        let unheard_of = match agent_id {
            Some(id) => self.agents.recovered.contains_key(id),
            None => !self.agents.recovered.is_empty(),
        };
        if unheard_of || agent_id.is_some_and(|id| self.agents.reregistering.contains(id)) {
            return;
        }
        let mut unreachable_since = None;
        let (aware, message) = if agent_id.is_some_and(|id| self.agents.get(id).is_some()) {
            (TaskState::TaskGone, "Reconciliation: Task is gone")
        } else if let Some(at) = agent_id.and_then(|id| self.agents.unreachable.get(id)) {
            unreachable_since = Some(*at);
            (TaskState::TaskUnreachable, "Reconciliation: Task is unreachable")
        } else if agent_id.is_some_and(|id| self.agents.gone.contains_key(id)) {
            (TaskState::TaskGoneByOperator, "Reconciliation: Task is gone")
        } else {
            (TaskState::TaskUnknown, "Reconciliation: Task is unknown")
        };
        let Some(framework) = self.frameworks.get(framework_id) else { return };
        let state = if framework.capabilities.partition_aware { aware } else { TaskState::TaskLost };
        let mut update = MasterStatus {
            task_id,
            agent_id,
            executor_id: None,
            state,
            reason: Reason::Reconciliation,
            message: message.to_owned(),
            at: self.now,
        }
        .into_update(framework_id);
        update.status.unreachable_time = unreachable_since
            .map(|at| TimeInfo { nanoseconds: i64::try_from(at.as_nanos()).unwrap_or(i64::MAX) });
        self.forward(update);
    }

    fn tell_latest(&mut self, framework_id: &FrameworkId, task: &TaskRecord) {
        let state = task.forwarded_state();
        let mut update = self.master_update(
            framework_id,
            task,
            state,
            Reason::Reconciliation,
            "Reconciliation: Latest task state",
        );
        if let Some(last) = task.last_status() {
            update.status.healthy = last.healthy;
            update.status.check_status = last.check_status;
            update.status.container_status = last.container_status;
        }
        self.forward(update);
    }
}
