//! An agent loses its connection, falls silent, or leaves for good.

use api::v1::task_status::Reason;
use api::v1::{AgentId, FrameworkId, TaskState};
use libprocess::Upid;

use crate::cluster::{Cluster, time_info};
use crate::effect::{AllocatorCall, Continuation, Effect, Timeout};
use crate::registry::Kind;
use crate::tasks::is_terminal;

impl Cluster {
    /// An agent's process or node is gone.
    pub fn agent_exited(&mut self, pid: &Upid) {
        let Some(id) = self.agents.at(pid).cloned() else { return };
        let Some(agent) = self.agents.get_mut(&id) else { return };
        if !std::mem::replace(&mut agent.connected, false) {
            return;
        }
        tracing::info!(agent = %id, %pid, "agent disconnected");
        let connection = agent.connection;
        let was_active = std::mem::replace(&mut agent.active, false);
        if was_active {
            self.allocator(AllocatorCall::DeactivateAgent(id.clone()));
        }
        self.rescind_offers_of_agent(&id);
        self.push(Effect::ObserveConnection { agent_id: id.clone(), pid: None });
        self.lose_unchecked_tasks(&id);
        let then = Timeout::AgentReregistration { id, connection };
        self.push(Effect::Delay { after: self.rules.agent_reregister_timeout, then });
    }

    /// The executors of frameworks without checkpointing die with their agent's process.
    pub(crate) fn lose_unchecked_tasks(&mut self, id: &AgentId) {
        let Some(agent) = self.agents.get(id) else { return };
        let unchecked = |framework_id: &FrameworkId| {
            self.frameworks.get(framework_id).is_some_and(|framework| !framework.info.checkpoint())
        };
        let tasks: Vec<_> =
            agent.tasks.iter().filter(|(framework_id, _)| unchecked(framework_id)).cloned().collect();
        let executors: Vec<_> = agent
            .executors
            .iter()
            .filter(|(framework_id, _)| unchecked(framework_id))
            .flat_map(|(framework_id, executors)| {
                executors.keys().map(|it| (framework_id.clone(), it.clone()))
            })
            .collect();
        for (framework_id, task_id) in tasks {
            self.finish_task(
                &framework_id,
                &task_id,
                TaskState::TaskLost,
                Reason::AgentDisconnected,
                "Agent disconnected",
            );
        }
        for (framework_id, executor_id) in executors {
            self.remove_executor(&framework_id, id, &executor_id);
        }
    }

    /// A task ended for a reason only the master knows.
    pub(crate) fn finish_task(
        &mut self,
        framework_id: &FrameworkId,
        task_id: &api::v1::TaskId,
        state: TaskState,
        reason: Reason,
        message: &str,
    ) {
        let Some(task) = self.task(framework_id, task_id).cloned() else { return };
        if is_terminal(task.state()) {
            // The framework has been told, or will be by the agent.
            return self.remove_task(framework_id, task_id);
        }
        let update = self.master_update(framework_id, &task, state, reason, message);
        self.update_task(framework_id, task_id, &update);
        self.remove_task(framework_id, task_id);
        self.forward(update);
    }

    /// Gives up an agent at once. Returns whether that has begun; it is not when something else happens to it.
    pub fn mark_unreachable(&mut self, id: &AgentId, cause: &'static str) -> bool {
        let known = self.agents.get(id).is_some() || self.agents.recovered.contains_key(id);
        if !known || self.agents.is_changing(id) || self.agents.gone.contains_key(id) {
            return false;
        }
        tracing::info!(agent = %id, cause, "marking agent unreachable");
        self.agents.marking_unreachable.insert(id.clone());
        let time = time_info(self.now);
        let operation = Kind::MarkUnreachable(crate::registry::Marked { agent_id: id.clone(), time }).into();
        let then = Continuation::MarkedUnreachable { id: id.clone(), at: self.now, cause };
        self.push(Effect::Registry { operation, then });
        true
    }

    pub(crate) fn agent_unreachable(&mut self, id: &AgentId, at: libprocess::Time, cause: &str) {
        self.count("master/slave_removals");
        self.count("master/slave_removals/reason_unhealthy");
        if self.agents.recovered.remove(id).is_some() {
            self.count("master/recovery_slave_removals");
            self.agents.unreachable.insert(id.clone(), at);
            self.agents.forget(id);
            return self.tell_lost(id);
        }
        let Some(agent) = self.agents.get(id) else { return };
        let (pid, tasks) = (agent.pid.clone(), agent.tasks.clone());
        let unreachable_time = time_info(at);
        for (framework_id, task_id) in &tasks {
            let Some(task) = self.task(framework_id, task_id).cloned() else { continue };
            if is_terminal(task.state()) {
                self.remove_task(framework_id, task_id);
                continue;
            }
            let aware = self.frameworks.get(framework_id).is_some_and(|it| it.capabilities.partition_aware);
            let state = if aware { TaskState::TaskUnreachable } else { TaskState::TaskLost };
            let message = format!("Agent {} is unreachable: {cause}", task.agent_id);
            let mut update = self.master_update(framework_id, &task, state, Reason::AgentRemoved, message);
            update.status.unreachable_time = Some(unreachable_time);
            self.update_task(framework_id, task_id, &update);
            // Lost or not: it may come back with its agent.
            if let Some(task) = self.detach_task(framework_id, task_id) {
                let bound = self.rules.max_unreachable_tasks;
                if let Some(framework) = self.frameworks.get_mut(framework_id) {
                    framework.unreachable_tasks.insert(task, bound);
                }
                let remembered = self.agents.unreachable_tasks.entry(id.clone()).or_default();
                remembered.insert((framework_id.clone(), task_id.clone()));
            }
            self.forward(update);
        }
        self.drop_agent(id, &pid);
        self.agents.unreachable.insert(id.clone(), at);
        self.tell_lost(id);
    }

    /// What is left of an agent once its tasks are dealt with.
    pub(crate) fn drop_agent(&mut self, id: &AgentId, pid: &Upid) {
        let executors: Vec<_> = self
            .agents
            .get(id)
            .into_iter()
            .flat_map(|agent| agent.executors.iter())
            .flat_map(|(framework_id, executors)| {
                executors.keys().map(|it| (framework_id.clone(), it.clone()))
            })
            .collect();
        for (framework_id, executor_id) in executors {
            self.remove_executor(&framework_id, id, &executor_id);
        }
        self.rescind_offers_of_agent(id);
        self.spare(id);
        self.allocator(AllocatorCall::RemoveAgent(id.clone()));
        self.push(Effect::StopObserving(id.clone()));
        self.agents.remove(id);
        tracing::info!(agent = %id, %pid, "agent removed");
    }

    /// An agent says that it leaves for good.
    pub fn unregister_agent(&mut self, from: &Upid, id: &AgentId) {
        self.count("master/messages_unregister_slave");
        if self.agent_of(id, from).is_some() {
            self.remove_agent(id, "the agent unregistered", "master/slave_removals/reason_unregistered");
        }
    }

    pub(crate) fn remove_agent(&mut self, id: &AgentId, cause: &'static str, counter: &'static str) {
        if self.agents.is_changing(id) {
            return;
        }
        self.agents.removing.insert(id.clone());
        let operation = Kind::RemoveAgent(id.clone()).into();
        self.push(Effect::Registry {
            operation,
            then: Continuation::Removed { id: id.clone(), cause, counter },
        });
    }

    pub(crate) fn agent_removed(&mut self, id: &AgentId, cause: &str, counter: &'static str) {
        let Some(agent) = self.agents.get(id) else { return };
        let (agent_pid, tasks) = (agent.pid.clone(), agent.tasks.clone());
        self.count("master/slave_removals");
        self.count(counter);
        for (framework_id, task_id) in &tasks {
            let message = format!("Agent {id} removed: {cause}");
            self.finish_task(framework_id, task_id, TaskState::TaskLost, Reason::AgentRemoved, &message);
        }
        self.drop_agent(id, &agent_pid);
        self.agents.orders.remove(id);
        self.tell_lost(id);
    }
}
