//! An agent that has an id comes back: to a master that still has it, or gave it up, or never knew it.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::internal::{
    KillTaskMessage, ReconcileTasksMessage, ReregisterSlaveMessage, ShutdownExecutorMessage,
    ShutdownFrameworkMessage, ShutdownMessage, SlaveReregisteredMessage,
};
use api::resources::{Resources, upgrade_all};
use api::v1::task_status::Reason;
use api::v1::{AgentId, ExecutorInfo, FrameworkId, Task, TaskId, TaskStatus};
use imbl::OrdSet;
use libprocess::Upid;

use crate::agent_life::Brought;
use crate::agents::Returning;
use crate::capabilities::AgentCapabilities;
use crate::cluster::Cluster;
use crate::effect::{AgentMessage, AllocatorCall, Continuation, Effect};
use crate::registry::{Kind, Refused};
use crate::tasks::{TaskRecord, is_terminal};

/// What an agent is told that must not come back.
const GONE: &str = "Agent has been marked gone";

impl Cluster {
    /// An agent that has an id comes back, to the same master or to a new one.
    pub fn reregister_agent(&mut self, from: &Upid, message: ReregisterSlaveMessage) {
        match Brought::read(&prost::Message::encode_to_vec(&message)) {
            Ok(brought) => self.agent_returns(from, brought),
            Err(error) => tracing::error!(%from, %error, "ignoring an agent that comes back"),
        }
    }

    /// The same, as it was read.
    pub(crate) fn agent_returns(&mut self, from: &Upid, brought: Brought) {
        let (message, info) = (&brought.message, &brought.info);
        self.count("master/messages_reregister_slave");
        let Some(id) = info.id.clone() else {
            tracing::warn!(%from, "ignoring an agent that comes back without an id");
            return;
        };
        // It repeats itself until it is answered, and by then it is clear what holds.
        if self.agents.is_changing(&id) {
            return;
        }
        if self.agents.gone.contains_key(&id) {
            return self.shut_down(from, GONE);
        }
        let valid = brought.valid.clone().and_then(|()| self.admissible(info, message.version.as_deref()));
        if let Err(why) = valid {
            tracing::warn!(%from, agent = %id, why, "ignoring an agent that comes back");
            return;
        }
        if self.is_down(info, from) {
            return self.shut_down(from, "Machine is `DOWN`");
        }
        let operation = if let Some(agent) = self.agents.get(&id) {
            if agent.pid.address().ip() != from.address().ip() || agent.info.hostname != info.hostname {
                return self.shut_down(from, "Agent attempted to reregister with different IP / hostname");
            }
            (agent.info != *info).then(|| Kind::UpdateAgent((**info).clone()))
        } else if let Some(recovered) = self.agents.recovered.get(&id) {
            (recovered != info).then(|| Kind::UpdateAgent((**info).clone()))
        } else {
            Some(Kind::MarkReachable((**info).clone()))
        };
        let returning = Returning { pid: from.clone(), id: id.clone(), brought };
        match operation {
            None => self.agent_readmitted(returning, Ok(())),
            Some(kind) => {
                self.agents.reregistering.insert(id, returning.brought.n_bytes);
                self.push(Effect::Registry {
                    operation: kind.into(),
                    then: Continuation::Readmitted(Box::new(returning)),
                });
            }
        }
    }

    pub(crate) fn shut_down(&mut self, agent: &Upid, why: &str) {
        tracing::warn!(%agent, why, "shutting down an agent");
        self.send(agent, AgentMessage::Shutdown(ShutdownMessage { message: Some(why.to_owned()) }));
    }

    pub(crate) fn agent_readmitted(&mut self, returning: Returning, result: Result<(), Refused>) {
        self.agents.reregistering.remove(&returning.id);
        if let Err(refused) = result {
            tracing::error!(agent = %returning.id, %refused, "could not be readmitted");
            if matches!(refused, Refused::AlreadyGone(_)) {
                self.shut_down(&returning.pid, GONE);
            }
            return;
        }
        if self.agents.gone.contains_key(&returning.id) {
            return self.shut_down(&returning.pid, GONE);
        }
        self.count("master/slave_reregistrations");
        let id = returning.id.clone();
        if self.agents.get(&id).is_some() {
            self.agent_still_here(returning);
        } else {
            self.agent_reappears(returning);
        }
        self.turn_away_if_down(&id);
    }

    /// An agent the master has not had, or had given up: everything on it is news.
    pub(crate) fn agent_reappears(&mut self, returning: Returning) {
        let Returning { pid, id, brought: Brought { message, info, tasks, task_ids, used, total, .. } } =
            returning;
        tracing::info!(agent = %id, %pid, tasks = tasks.len(), "agent is back");
        self.clear_address(&pid, &id);
        self.spare(&id);
        let expected = self.agents.recovered.remove(&id).is_some();
        for info in &message.frameworks {
            let Some(framework_id) = &info.id else { continue };
            if self.frameworks.get(framework_id).is_none() && !self.frameworks.is_completed(framework_id) {
                self.recover_framework(framework_id, info.clone());
            }
        }
        if !expected {
            self.tasks_reappear(&id, &tasks);
        }
        self.forget_unreachable_tasks(&id);
        let executors = message
            .executor_infos
            .into_iter()
            .filter(|it| it.framework_id.as_ref().is_some_and(|id| self.frameworks.get(id).is_some()))
            .collect();
        let mut agent = self.new_agent(
            pid.clone(),
            info,
            message.version,
            message.agent_capabilities,
            total,
            message.resource_version_uuid,
        );
        agent.reregistered = Some(self.now);
        (agent.tasks, agent.used) = (task_ids, used);
        let doubled = self.add_agent(agent, executors, tasks);

        let connection = Some(self.connection());
        self.send(
            &pid,
            AgentMessage::Reregistered(SlaveReregisteredMessage {
                slave_id: id.clone(),
                connection,
                ..Default::default()
            }),
        );
        for task in doubled {
            // While this one was given up, its id was used again.
            tracing::warn!(task = %task.task_id, agent = %id, "ending a task: another one of its id runs elsewhere");
            let (framework_id, task_id) = (task.framework_id.clone(), task.task_id.clone());
            let kill = KillTaskMessage { framework_id, task_id, kill_policy: None };
            self.send(&pid, AgentMessage::KillTask(kill));
        }
        for completed in message.completed_frameworks {
            let Some(framework_id) = completed.framework_info.id.clone() else { continue };
            if self.frameworks.get(&framework_id).is_none() {
                self.send(&pid, AgentMessage::ShutdownFramework(ShutdownFrameworkMessage { framework_id }));
            } else if expected {
                // Over on that agent, but not here. A master that had the agent before knows these tasks.
                self.remember_completed(&framework_id, &id, completed.tasks);
            }
        }
        self.settle_frameworks(&pid, &message.frameworks);
        self.repeat_drain(&id);
    }

    /// Tasks on an agent of which nothing was expected any more: they may have been given up with it.
    fn tasks_reappear(&mut self, id: &AgentId, tasks: &[Arc<TaskRecord>]) {
        for task in tasks {
            let Some(framework) = self.frameworks.get_mut(&task.framework_id) else { continue };
            if framework.tasks.contains_key(&task.task_id) {
                continue;
            }
            framework.unreachable_tasks.remove_on(&task.task_id, id);
            framework.completed_tasks.retain(|it| it.task_id != task.task_id);
            let update = self.master_update(
                &task.framework_id,
                task,
                task.state(),
                Reason::AgentReregistered,
                "Agent reregistered",
            );
            self.forward(update);
        }
    }

    /// Tasks that ended before this master took over.
    fn remember_completed(&mut self, framework_id: &FrameworkId, id: &AgentId, tasks: Vec<Task>) {
        let bound = self.rules.max_completed_tasks;
        let Some(framework) = self.frameworks.get_mut(framework_id) else { return };
        for mut task in tasks {
            let sound =
                upgrade_all(&mut task.resources).is_ok() && Resources::try_from(&task.resources).is_ok();
            if sound
                && task.framework_id == *framework_id
                && task.agent_id == *id
                && is_terminal(task.state())
            {
                framework.complete(Arc::new(TaskRecord::from(task)), bound);
            }
        }
    }

    /// Each framework on an agent is brought up to date there, or ended.
    pub(crate) fn settle_frameworks(&mut self, pid: &Upid, frameworks: &[api::v1::FrameworkInfo]) {
        for info in frameworks {
            let Some(framework_id) = &info.id else { continue };
            if let Some(framework) = self.frameworks.get(framework_id) {
                // Of one that has not come back itself, the agent knows as much as this master.
                if !framework.recovered {
                    self.send_framework(framework_id, pid);
                }
            } else {
                let message = ShutdownFrameworkMessage { framework_id: framework_id.clone() };
                self.send(pid, AgentMessage::ShutdownFramework(message));
            }
        }
    }

    /// An agent the master never lost sight of: what differs is settled.
    pub(crate) fn agent_still_here(&mut self, returning: Returning) {
        let Returning { pid, id, brought: Brought { message, info, tasks, task_ids, total, .. } } = returning;
        tracing::info!(agent = %id, %pid, "agent reregistered");
        self.spare(&id);
        if self.agents.get(&id).is_some_and(|agent| agent.pid != pid) {
            self.clear_address(&pid, &id);
            self.agents.moved(&id, pid.clone());
        }
        self.push(Effect::Link(pid.clone()));
        let (now, capabilities) = (self.now, message.agent_capabilities.clone());
        let deactivated = self.agents.orders(&id).deactivated;
        if self.agents.get(&id).is_some_and(|agent| agent.total != total) {
            // Offers were made of what it had.
            self.rescind_offers_of_agent(&id);
        }
        let Some(agent) = self.agents.get_mut(&id) else { return };
        let was_connected = std::mem::replace(&mut agent.connected, true);
        agent.reregistered = Some(now);
        agent.version = message.version.unwrap_or_default();
        agent.capabilities = AgentCapabilities::of(&capabilities);
        agent.capability_list.clone_from(&capabilities);
        agent.info = info.clone();
        agent.total = total.clone();
        agent.resource_version = message.resource_version_uuid;
        if !was_connected {
            agent.connection += 1;
            agent.active = !deactivated;
        }
        self.allocator(AllocatorCall::UpdateAgent { id: id.clone(), info, total, capabilities });

        let reconciliations = self.missing_tasks(&id, &task_ids);
        let connection = Some(self.connection());
        self.send(
            &pid,
            AgentMessage::Reregistered(SlaveReregisteredMessage {
                slave_id: id.clone(),
                reconciliations,
                connection,
            }),
        );
        self.end_orphans(&id, &pid, &tasks, &message.executor_infos);
        self.settle_executors(&id, &message.executor_infos);
        self.repeat_kills(&id, &pid);
        self.push(Effect::ObserveConnection { agent_id: id.clone(), pid: Some(pid.clone()) });
        if !was_connected && !deactivated {
            self.allocator(AllocatorCall::ActivateAgent(id.clone()));
        }
        self.settle_frameworks(&pid, &message.frameworks);
        self.repeat_drain(&id);
    }

    /// Ends what still runs although its framework was told that it is over: tasks without checkpointing count as
    /// lost when their agent's connection breaks, whether the agent itself lives on or not.
    fn end_orphans(
        &mut self,
        id: &AgentId,
        pid: &Upid,
        tasks: &[Arc<TaskRecord>],
        executors: &[ExecutorInfo],
    ) {
        for task in tasks.iter().filter(|task| !is_terminal(task.state())) {
            let (framework_id, task_id) = (task.framework_id.clone(), task.task_id.clone());
            let known = self.task(&framework_id, &task_id).is_some_and(|it| it.agent_id == *id);
            if !known && self.frameworks.get(&framework_id).is_some() {
                tracing::warn!(agent = %id, task = %task_id, "ending a task of which its framework was told that it is lost");
                let kill = KillTaskMessage { framework_id, task_id, kill_policy: None };
                self.send(pid, AgentMessage::KillTask(kill));
            }
        }
        for executor in executors {
            let Some(framework_id) = executor.framework_id.clone() else { continue };
            let known =
                self.agents.get(id).is_some_and(|it| it.has_executor(&framework_id, &executor.executor_id));
            if !known && self.frameworks.get(&framework_id).is_some() {
                let message = ShutdownExecutorMessage {
                    framework_id: Some(framework_id),
                    executor_id: Some(executor.executor_id.clone()),
                };
                self.send(pid, AgentMessage::ShutdownExecutor(message));
            }
        }
    }

    /// Tasks the master launched that the agent did not list, by framework. The agent says what became of them.
    pub(crate) fn missing_tasks(
        &self,
        id: &AgentId,
        reported: &OrdSet<(FrameworkId, TaskId)>,
    ) -> Vec<ReconcileTasksMessage> {
        let mut missing: BTreeMap<&FrameworkId, ReconcileTasksMessage> = BTreeMap::new();
        let Some(agent) = self.agents.get(id) else { return Vec::new() };
        for task in agent.tasks.iter().filter(|task| !reported.contains(*task)) {
            let (framework_id, task_id) = task;
            let Some(framework) = self.frameworks.get(framework_id) else { continue };
            let Some(task) = framework.tasks.get(task_id) else { continue };
            let entry = missing.entry(framework_id).or_insert_with(|| ReconcileTasksMessage {
                framework_id: framework_id.clone(),
                statuses: Vec::new(),
                framework: Some((*framework.info).clone()),
            });
            entry.statuses.push(TaskStatus {
                task_id: task_id.clone(),
                state: task.forwarded_state().into(),
                agent_id: Some(id.clone()),
                executor_id: task.executor_id.clone(),
                ..TaskStatus::default()
            });
        }
        missing.into_values().collect()
    }

    pub(crate) fn settle_executors(&mut self, id: &AgentId, reported: &[ExecutorInfo]) {
        let known: Vec<_> = self
            .agents
            .get(id)
            .into_iter()
            .flat_map(|agent| agent.executors.iter())
            .flat_map(|(framework_id, executors)| {
                executors.keys().map(|it| (framework_id.clone(), it.clone()))
            })
            .collect();
        for (framework_id, executor_id) in known {
            let there = |it: &ExecutorInfo| {
                it.executor_id == executor_id && it.framework_id.as_ref() == Some(&framework_id)
            };
            if !reported.iter().any(there) {
                tracing::warn!(agent = %id, executor = %executor_id, "the agent does not know an executor; removing it");
                self.remove_executor(&framework_id, id, &executor_id);
            }
        }
    }

    pub(crate) fn repeat_kills(&mut self, id: &AgentId, pid: &Upid) {
        let killed = self.agents.get(id).map(|agent| agent.killed.clone()).unwrap_or_default();
        for (framework_id, task_id) in killed {
            if self.task(&framework_id, &task_id).is_some_and(|task| !is_terminal(task.state())) {
                let kill_policy = None;
                self.send(
                    pid,
                    AgentMessage::KillTask(KillTaskMessage { framework_id, task_id, kill_policy }),
                );
            }
        }
    }
}
