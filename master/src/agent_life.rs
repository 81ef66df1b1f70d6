//! Agents register, come back, fall silent, and leave.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::internal::{
    KillTaskMessage, LostSlaveMessage, MasterSlaveConnection, ReconcileTasksMessage, RegisterSlaveMessage,
    ReregisterSlaveMessage, ShutdownFrameworkMessage, ShutdownMessage, SlaveRegisteredMessage,
    SlaveReregisteredMessage, UpdateSlaveMessage,
};
use api::resources::{Resources, upgrade_all};
use api::v1::task_status::Reason;
use api::v1::{AgentId, AgentInfo, ExecutorInfo, FrameworkId, Task, TaskState, TaskStatus};
use imbl::{OrdMap, OrdSet};
use libprocess::Upid;

use crate::agents::{Agent, Joining, Returning};
use crate::capabilities::AgentCapabilities;
use crate::cluster::Cluster;
use crate::effect::{AgentMessage, AllocatorCall, Continuation, Effect, FrameworkEvent, Timeout};
use crate::registry::{Kind, Refused};
use crate::tasks::{TaskRecord, is_terminal};
use crate::validation;

/// Why an agent is removed whose address another one uses.
const SUCCEEDED: &str = "a new agent registered at the same address";

impl Cluster {
    /// An agent without id asks to join. Agents repeat themselves until they hear back.
    pub fn register_agent(&mut self, from: &Upid, mut message: RegisterSlaveMessage) {
        self.count("master/messages_register_slave");
        if self.agents.registering.contains(from) {
            return;
        }
        let checked = validation::agent::register(&message).and_then(|()| {
            upgrade_all(&mut message.slave.resources).map_err(|error| error.to_string())?;
            upgrade_all(&mut message.checkpointed_resources).map_err(|error| error.to_string())?;
            self.admissible(&message.slave, message.version.as_deref())
        });
        if let Err(why) = checked {
            tracing::warn!(%from, why, "ignoring the registration of an agent");
            return;
        }
        if let Some(id) = self.agents.at(from).cloned() {
            if self.agents.get(&id).is_some_and(|agent| agent.connected) {
                let message = self.registered_message(&id);
                return self.send(from, message);
            }
            self.remove_agent(&id, SUCCEEDED, "master/slave_removals/reason_registered");
        }
        // The reply waits for the registry: an agent told "registered" by a master that then fails would be a
        // stranger to the next one, and its tasks orphans.
        let id = self.ids.next_agent();
        message.slave.id = Some(id.clone());
        self.agents.registering.insert(from.clone());
        let operation = Kind::AdmitAgent(message.slave.clone()).into();
        let then = Continuation::Admitted(Box::new(Joining { pid: from.clone(), id, message }));
        self.push(Effect::Registry { operation, then });
    }

    /// Whoever else was at an address must be gone, as the address is in use.
    fn clear_address(&mut self, pid: &Upid, newcomer: &AgentId) {
        if let Some(id) = self.agents.at(pid).filter(|id| *id != newcomer).cloned() {
            self.remove_agent(&id, SUCCEEDED, "master/slave_removals/reason_registered");
        }
    }

    fn admissible(&self, info: &AgentInfo, version: Option<&str>) -> Result<(), String> {
        validation::agent::version(version.unwrap_or_default())?;
        if info.domain.is_some() && self.info.domain.is_none() {
            return Err(
                "the agent has a domain but the master has none; start the master with --domain".into()
            );
        }
        if info.domain.is_none() && self.rules.require_agent_domain {
            return Err("the agent has no domain, which this master requires".into());
        }
        Ok(())
    }

    fn registered_message(&self, id: &AgentId) -> AgentMessage {
        AgentMessage::Registered(SlaveRegisteredMessage {
            slave_id: id.clone(),
            connection: Some(self.connection()),
        })
    }

    /// Agents watch for pings as the master watches for pongs.
    fn connection(&self) -> MasterSlaveConnection {
        MasterSlaveConnection {
            total_ping_timeout_seconds: Some(self.rules.total_ping_timeout.as_secs_f64()),
        }
    }

    /// The registry holds, or refused, what an event waited for.
    pub fn registry_done(&mut self, then: Continuation, result: Result<(), Refused>) {
        match then {
            Continuation::Admitted(joining) => self.agent_admitted(*joining, result),
            Continuation::Readmitted(returning) => self.agent_readmitted(*returning, result),
            Continuation::MarkedUnreachable { id, at, cause } => {
                self.agents.marking_unreachable.remove(&id);
                match result {
                    Ok(()) => self.agent_unreachable(&id, at, cause),
                    Err(refused) => tracing::error!(agent = %id, %refused, "could not be marked unreachable"),
                }
            }
            Continuation::Removed { id, cause, counter } => {
                self.agents.removing.remove(&id);
                match result {
                    Ok(()) => self.agent_removed(&id, cause, counter),
                    Err(refused) => tracing::error!(agent = %id, %refused, "could not be removed"),
                }
            }
            Continuation::Pruned { unreachable, gone } => {
                for id in unreachable {
                    self.agents.unreachable.shift_remove(&id);
                    for (framework_id, task_id) in
                        self.agents.unreachable_tasks.remove(&id).unwrap_or_default()
                    {
                        if let Some(framework) = self.frameworks.get_mut(&framework_id) {
                            framework.unreachable_tasks.remove(&task_id);
                        }
                    }
                }
                for id in gone {
                    self.agents.gone.shift_remove(&id);
                }
            }
        }
    }

    fn agent_admitted(&mut self, joining: Joining, result: Result<(), Refused>) {
        let Joining { pid, id, message } = joining;
        self.agents.registering.remove(&pid);
        if let Err(refused) = result {
            tracing::error!(agent = %id, %refused, "could not be admitted");
            return;
        }
        tracing::info!(agent = %id, %pid, hostname = message.slave.hostname, "agent registered");
        self.count("master/slave_registrations");
        let total = total(&message.slave, &message.checkpointed_resources);
        let agent = self.new_agent(
            pid.clone(),
            message.slave,
            message.version,
            message.agent_capabilities,
            total,
            message.resource_version_uuid,
        );
        self.add_agent(agent, Vec::new(), Vec::new());
        let message = self.registered_message(&id);
        self.send(&pid, message);
    }

    fn new_agent(
        &self,
        pid: Upid,
        info: AgentInfo,
        version: Option<String>,
        capabilities: Vec<api::v1::agent_info::Capability>,
        total: Resources,
        resource_version: Option<api::v1::Uuid>,
    ) -> Agent {
        Agent {
            id: info.id.clone().unwrap_or_default(),
            info: Arc::new(info),
            pid,
            version: version.unwrap_or_default(),
            capabilities: AgentCapabilities::of(&capabilities),
            capability_list: capabilities,
            connected: true,
            active: true,
            connection: 1,
            registered: self.now,
            reregistered: None,
            total,
            used: OrdMap::new(),
            executors: OrdMap::new(),
            tasks: OrdSet::new(),
            offers: OrdSet::new(),
            killed: OrdSet::new(),
            resource_version,
        }
    }

    /// Adds an agent with what runs on it. Its frameworks must be known.
    fn add_agent(&mut self, agent: Agent, executors: Vec<ExecutorInfo>, tasks: Vec<Task>) {
        let (id, pid) = (agent.id.clone(), agent.pid.clone());
        let (info, total) = (Box::new((*agent.info).clone()), agent.total.clone());
        let capabilities = agent.capability_list.clone();
        self.agents.insert(agent);
        self.push(Effect::Link(pid.clone()));
        self.push(Effect::Observe { agent_id: id.clone(), pid });
        for executor in executors {
            if let Some(framework_id) = executor.framework_id.clone() {
                self.add_executor(&framework_id, &id, executor);
            }
        }
        for task in tasks {
            self.add_task(TaskRecord::from(task));
        }
        let used = self.agents.get(&id).map(|agent| agent.used.clone()).unwrap_or_default();
        let used = used.into_iter().collect();
        self.allocator(AllocatorCall::AddAgent { id, info, capabilities, total, used });
    }

    pub(crate) fn add_executor(
        &mut self,
        framework_id: &FrameworkId,
        agent_id: &AgentId,
        executor: ExecutorInfo,
    ) {
        let resources = Resources::from_checked(&executor.resources);
        let executor_id = executor.executor_id.clone();
        let executor = Arc::new(executor);
        let (Some(framework), Some(agent)) =
            (self.frameworks.get_mut(framework_id), self.agents.get_mut(agent_id))
        else {
            return;
        };
        framework.executors.insert((agent_id.clone(), executor_id.clone()), executor.clone());
        agent.executors.entry(framework_id.clone()).or_default().insert(executor_id, executor);
        self.charge(framework_id, agent_id, &resources);
    }

    pub(crate) fn remove_executor(
        &mut self,
        framework_id: &FrameworkId,
        agent_id: &AgentId,
        executor_id: &api::v1::ExecutorId,
    ) -> bool {
        if let Some(agent) = self.agents.get_mut(agent_id)
            && let Some(executors) = agent.executors.get_mut(framework_id)
        {
            executors.remove(executor_id);
            if executors.is_empty() {
                agent.executors.remove(framework_id);
            }
        }
        let Some(framework) = self.frameworks.get_mut(framework_id) else { return false };
        let Some(executor) = framework.executors.remove(&(agent_id.clone(), executor_id.clone())) else {
            return false;
        };
        self.discharge(framework_id, agent_id, &Resources::from_checked(&executor.resources));
        true
    }

    pub(crate) fn add_task(&mut self, task: TaskRecord) {
        let (framework_id, agent_id, task_id) =
            (task.framework_id.clone(), task.agent_id.clone(), task.task_id.clone());
        let resources = if task.holds_resources() { task.resources() } else { Resources::new() };
        let (Some(framework), Some(agent)) =
            (self.frameworks.get_mut(&framework_id), self.agents.get_mut(&agent_id))
        else {
            return;
        };
        let state = task.state();
        framework.tasks.insert(task_id.clone(), Arc::new(task));
        agent.tasks.insert((framework_id.clone(), task_id));
        self.note_state(&framework_id, None, Some(state));
        self.charge(&framework_id, &agent_id, &resources);
    }

    /// An agent that has an id comes back, to the same master or to a new one.
    pub fn reregister_agent(&mut self, from: &Upid, mut message: ReregisterSlaveMessage) {
        self.count("master/messages_reregister_slave");
        let Some(id) = message.slave.id.clone() else {
            tracing::warn!(%from, "ignoring an agent that comes back without an id");
            return;
        };
        if self.agents.reregistering.contains(&id) || self.agents.marking_unreachable.contains(&id) {
            return;
        }
        if self.agents.gone.contains_key(&id) {
            return self.shut_down(from, "Agent has been marked gone");
        }
        let checked = validation::agent::reregister(&message)
            .and_then(|()| upgrade_message(&mut message).map_err(|error| error.to_string()))
            .and_then(|()| self.admissible(&message.slave, message.version.as_deref()));
        if let Err(why) = checked {
            tracing::warn!(%from, agent = %id, why, "ignoring an agent that comes back");
            return;
        }
        let operation = if let Some(agent) = self.agents.get(&id) {
            if agent.pid.address().ip() != from.address().ip()
                || agent.info.hostname != message.slave.hostname
            {
                return self.shut_down(from, "Agent attempted to reregister with different IP / hostname");
            }
            (*agent.info != message.slave).then(|| Kind::UpdateAgent(message.slave.clone()))
        } else if let Some(info) = self.agents.recovered.get(&id) {
            (**info != message.slave).then(|| Kind::UpdateAgent(message.slave.clone()))
        } else {
            Some(Kind::MarkReachable(message.slave.clone()))
        };
        let returning = Returning { pid: from.clone(), id: id.clone(), message };
        match operation {
            None => self.agent_readmitted(returning, Ok(())),
            Some(kind) => {
                self.agents.reregistering.insert(id);
                self.push(Effect::Registry {
                    operation: kind.into(),
                    then: Continuation::Readmitted(Box::new(returning)),
                });
            }
        }
    }

    fn shut_down(&mut self, agent: &Upid, why: &str) {
        tracing::warn!(%agent, why, "shutting down an agent");
        self.send(agent, AgentMessage::Shutdown(ShutdownMessage { message: Some(why.to_owned()) }));
    }

    fn agent_readmitted(&mut self, returning: Returning, result: Result<(), Refused>) {
        self.agents.reregistering.remove(&returning.id);
        if let Err(refused) = result {
            tracing::error!(agent = %returning.id, %refused, "could not be readmitted");
            return;
        }
        if self.agents.gone.contains_key(&returning.id) {
            return self.shut_down(&returning.pid, "Agent has been marked gone");
        }
        self.count("master/slave_reregistrations");
        if self.agents.get(&returning.id).is_some() {
            self.agent_still_here(returning);
        } else {
            self.agent_reappears(returning);
        }
    }

    /// An agent the master has not had, or had given up: everything on it is news.
    fn agent_reappears(&mut self, returning: Returning) {
        let Returning { pid, id, message } = returning;
        tracing::info!(agent = %id, %pid, tasks = message.tasks.len(), "agent is back");
        self.clear_address(&pid, &id);
        let expected = self.agents.recovered.contains_key(&id);
        for info in &message.frameworks {
            let Some(framework_id) = &info.id else { continue };
            if self.frameworks.get(framework_id).is_none() && !self.frameworks.is_completed(framework_id) {
                self.recover_framework(framework_id, info.clone());
            }
        }
        let mut tasks = Vec::new();
        for mut task in message.tasks {
            let Some(framework) = self.frameworks.get_mut(&task.framework_id) else { continue };
            if framework.tasks.contains_key(&task.task_id) {
                // While this one was given up, its id was used again.
                tracing::warn!(task = %task.task_id, agent = %id, "ending a task: another one of its id runs elsewhere");
                let (framework_id, task_id) = (task.framework_id, task.task_id);
                let kill = KillTaskMessage { framework_id, task_id, kill_policy: None };
                self.send(&pid, AgentMessage::KillTask(kill));
                continue;
            }
            fill_role(&mut task.resources, framework);
            if !expected {
                // It may have been given up with its agent.
                framework.unreachable_tasks.remove(&task.task_id);
                framework.completed_tasks.retain(|it| it.task_id != task.task_id);
                let (framework_id, record) = (task.framework_id.clone(), TaskRecord::from(task.clone()));
                let update = self.master_update(
                    &framework_id,
                    &record,
                    task.state(),
                    Reason::AgentReregistered,
                    "Agent reregistered",
                );
                self.forward(update);
            }
            tasks.push(task);
        }
        // What it does not report any more is not unreachable but unknown.
        for (framework_id, task_id) in self.agents.unreachable_tasks.remove(&id).unwrap_or_default() {
            if let Some(framework) = self.frameworks.get_mut(&framework_id) {
                framework.unreachable_tasks.remove(&task_id);
            }
        }
        let executors = message
            .executor_infos
            .into_iter()
            .filter_map(|mut executor| {
                let framework = self.frameworks.get(executor.framework_id.as_ref()?)?;
                fill_role(&mut executor.resources, framework);
                Some(executor)
            })
            .collect();
        let total = total(&message.slave, &message.checkpointed_resources);
        let mut agent = self.new_agent(
            pid.clone(),
            message.slave,
            message.version,
            message.agent_capabilities,
            total,
            message.resource_version_uuid,
        );
        agent.reregistered = Some(self.now);
        self.add_agent(agent, executors, tasks);

        let connection = Some(self.connection());
        self.send(
            &pid,
            AgentMessage::Reregistered(SlaveReregisteredMessage {
                slave_id: id.clone(),
                connection,
                ..Default::default()
            }),
        );
        for completed in message.completed_frameworks {
            if let Some(framework_id) = completed.framework_info.id {
                self.send(&pid, AgentMessage::ShutdownFramework(ShutdownFrameworkMessage { framework_id }));
            }
        }
        self.settle_frameworks(&pid, &message.frameworks);
    }

    /// Each framework on an agent is brought up to date there, or ended.
    fn settle_frameworks(&mut self, pid: &Upid, frameworks: &[api::v1::FrameworkInfo]) {
        for info in frameworks {
            let Some(framework_id) = &info.id else { continue };
            if self.frameworks.get(framework_id).is_some() {
                self.send_framework(framework_id, pid);
            } else {
                let message = ShutdownFrameworkMessage { framework_id: framework_id.clone() };
                self.send(pid, AgentMessage::ShutdownFramework(message));
            }
        }
    }

    /// An agent the master never lost sight of: what differs is settled.
    fn agent_still_here(&mut self, returning: Returning) {
        let Returning { pid, id, message } = returning;
        tracing::info!(agent = %id, %pid, "agent reregistered");
        if self.agents.get(&id).is_some_and(|agent| agent.pid != pid) {
            self.clear_address(&pid, &id);
            self.agents.moved(&id, pid.clone());
        }
        self.push(Effect::Link(pid.clone()));
        let total = total(&message.slave, &message.checkpointed_resources);
        let (now, capabilities) = (self.now, message.agent_capabilities.clone());
        let info = Box::new(message.slave.clone());
        let Some(agent) = self.agents.get_mut(&id) else { return };
        let was_connected = std::mem::replace(&mut agent.connected, true);
        agent.reregistered = Some(now);
        agent.version = message.version.unwrap_or_default();
        agent.capabilities = AgentCapabilities::of(&capabilities);
        agent.capability_list.clone_from(&capabilities);
        agent.info = Arc::new(message.slave);
        agent.total = total.clone();
        agent.resource_version = message.resource_version_uuid;
        if !was_connected {
            agent.connection += 1;
            agent.active = true;
        }
        self.allocator(AllocatorCall::UpdateAgent { id: id.clone(), info, total, capabilities });

        let reconciliations = self.missing_tasks(&id, &message.tasks);
        let connection = Some(self.connection());
        self.send(
            &pid,
            AgentMessage::Reregistered(SlaveReregisteredMessage {
                slave_id: id.clone(),
                reconciliations,
                connection,
            }),
        );
        self.settle_executors(&id, &message.executor_infos);
        self.repeat_kills(&id, &pid);
        self.push(Effect::ObserveConnection { agent_id: id.clone(), pid: Some(pid.clone()) });
        if !was_connected {
            self.allocator(AllocatorCall::ActivateAgent(id));
        }
        self.settle_frameworks(&pid, &message.frameworks);
    }

    /// Tasks the master launched that the agent did not list, by framework. The agent says what became of them.
    fn missing_tasks(&self, id: &AgentId, reported: &[Task]) -> Vec<ReconcileTasksMessage> {
        let reported: std::collections::BTreeSet<_> =
            reported.iter().map(|task| (&task.framework_id, &task.task_id)).collect();
        let mut missing: BTreeMap<&FrameworkId, ReconcileTasksMessage> = BTreeMap::new();
        let Some(agent) = self.agents.get(id) else { return Vec::new() };
        for (framework_id, task_id) in &agent.tasks {
            if reported.contains(&(framework_id, task_id)) {
                continue;
            }
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

    fn settle_executors(&mut self, id: &AgentId, reported: &[ExecutorInfo]) {
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

    fn repeat_kills(&mut self, id: &AgentId, pid: &Upid) {
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

    /// An agent's process or node is gone.
    pub fn agent_exited(&mut self, pid: &Upid) {
        let Some(id) = self.agents.at(pid).cloned() else { return };
        let Some(agent) = self.agents.get_mut(&id) else { return };
        if !std::mem::replace(&mut agent.connected, false) {
            return;
        }
        tracing::info!(agent = %id, %pid, "agent disconnected");
        let connection = agent.connection;
        agent.active = false;
        self.allocator(AllocatorCall::DeactivateAgent(id.clone()));
        self.rescind_offers_of_agent(&id);
        self.push(Effect::ObserveConnection { agent_id: id.clone(), pid: None });
        self.lose_unchecked_tasks(&id);
        let then = Timeout::AgentReregistration { id, connection };
        self.push(Effect::Delay { after: self.rules.agent_reregister_timeout, then });
    }

    /// The executors of frameworks without checkpointing die with their agent's process.
    fn lose_unchecked_tasks(&mut self, id: &AgentId) {
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
    fn finish_task(
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

    /// A disconnected agent did not come back in time.
    pub fn agent_reregistration_timed_out(&mut self, id: &AgentId, connection: u64) {
        if self.agents.get(id).is_some_and(|agent| !agent.connected && agent.connection == connection) {
            self.mark_unreachable(id, "the agent did not reregister in time");
        }
    }

    /// Gives up an agent. Returns whether that has begun; it is not when something else happens to it.
    pub fn mark_unreachable(&mut self, id: &AgentId, cause: &'static str) -> bool {
        let known = self.agents.get(id).is_some() || self.agents.recovered.contains_key(id);
        if !known || self.agents.is_changing(id) || self.agents.gone.contains_key(id) {
            return false;
        }
        tracing::info!(agent = %id, cause, "marking agent unreachable");
        self.agents.marking_unreachable.insert(id.clone());
        let time = api::v1::TimeInfo { nanoseconds: i64::try_from(self.now.as_nanos()).unwrap_or(i64::MAX) };
        let operation = Kind::MarkUnreachable(crate::registry::Marked { agent_id: id.clone(), time }).into();
        let then = Continuation::MarkedUnreachable { id: id.clone(), at: self.now, cause };
        self.push(Effect::Registry { operation, then });
        true
    }

    fn agent_unreachable(&mut self, id: &AgentId, at: libprocess::Time, cause: &str) {
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
        let unreachable_time =
            api::v1::TimeInfo { nanoseconds: i64::try_from(at.as_nanos()).unwrap_or(i64::MAX) };
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
    fn drop_agent(&mut self, id: &AgentId, pid: &Upid) {
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
        self.allocator(AllocatorCall::RemoveAgent(id.clone()));
        self.push(Effect::StopObserving(id.clone()));
        self.agents.remove(id);
        tracing::info!(agent = %id, %pid, "agent removed");
    }

    fn tell_lost(&mut self, id: &AgentId) {
        let connected: Vec<_> = self
            .frameworks
            .registered
            .values()
            .filter(|it| it.is_connected())
            .map(|it| it.id.clone())
            .collect();
        for framework_id in connected {
            self.tell(&framework_id, FrameworkEvent::LostAgent(LostSlaveMessage { slave_id: id.clone() }));
        }
    }

    /// An agent says that it leaves for good.
    pub fn unregister_agent(&mut self, from: &Upid, id: &AgentId) {
        self.count("master/messages_unregister_slave");
        if self.agent_of(id, from).is_some() {
            self.remove_agent(id, "the agent unregistered", "master/slave_removals/reason_unregistered");
        }
    }

    fn remove_agent(&mut self, id: &AgentId, cause: &'static str, counter: &'static str) {
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

    fn agent_removed(&mut self, id: &AgentId, cause: &str, counter: &'static str) {
        let Some(agent) = self.agents.get(id) else { return };
        let (agent_pid, tasks) = (agent.pid.clone(), agent.tasks.clone());
        self.count("master/slave_removals");
        self.count(counter);
        for (framework_id, task_id) in &tasks {
            let message = format!("Agent {id} removed: {cause}");
            self.finish_task(framework_id, task_id, TaskState::TaskLost, Reason::AgentRemoved, &message);
        }
        self.drop_agent(id, &agent_pid);
        self.tell_lost(id);
    }

    /// An agent reports changed resources.
    pub fn update_agent(&mut self, from: &Upid, message: UpdateSlaveMessage) {
        self.count("master/messages_update_slave");
        let id = &message.slave_id;
        let Some(agent) = self.agent_of(id, from) else { return };
        let mut oversubscribed = message.oversubscribed_resources.clone();
        if let Err(error) = upgrade_all(&mut oversubscribed) {
            tracing::warn!(agent = %id, %error, "ignoring an agent's update of its resources");
            return;
        }
        let revocable = if message.update_oversubscribed_resources.unwrap_or(true) {
            match Resources::try_from(&oversubscribed) {
                Ok(resources) => resources.revocable(),
                Err(error) => {
                    tracing::warn!(agent = %id, %error, "ignoring an agent's update of its resources");
                    return;
                }
            }
        } else {
            agent.total.revocable()
        };
        let total = agent.total.non_revocable() + &revocable;
        let changed = total != agent.total;
        let (info, capabilities, offers) =
            (Box::new((*agent.info).clone()), agent.capability_list.clone(), agent.offers.clone());
        if let Some(agent) = self.agents.get_mut(id) {
            agent.total = total.clone();
            agent.resource_version = message.resource_version_uuid.or(agent.resource_version.take());
        }
        if changed {
            self.allocator(AllocatorCall::UpdateAgent { id: id.clone(), info, total, capabilities });
            for offer_id in &offers {
                if self.offers.get(offer_id).is_some_and(|offer| !offer.resources.revocable().is_empty()) {
                    self.rescind_offer(offer_id);
                }
            }
        }
    }

    /// The agents of the registry had their time: those still missing are given up, unless they are so many
    /// that the fault is more likely here.
    pub fn recovery_timed_out(&mut self) {
        let missing: Vec<AgentId> = self.agents.recovered.keys().cloned().collect();
        if missing.is_empty() {
            return;
        }
        let share = missing.len() as f64 / self.admitted_at_recovery.max(1) as f64;
        let limit = self.rules.recovery_agent_removal_limit;
        if share > limit {
            self.fatal = Some(format!(
                "{} of the {} agents in the registry have not come back; that is more than --recovery_agent_removal_limit ({:.0}%) allows to give up",
                missing.len(),
                self.admitted_at_recovery,
                limit * 100.0
            ));
            return;
        }
        for id in missing {
            self.mark_unreachable(&id, "the agent did not reregister after a failover of the master");
        }
    }

    /// Forgets agents that were lost long ago, or before too many others.
    pub fn collect_registry_garbage(&mut self) {
        let expired = |lost: &indexmap::IndexMap<AgentId, libprocess::Time>| -> Vec<AgentId> {
            let excess = lost.len().saturating_sub(self.rules.registry_max_agent_count);
            let old = |at: &libprocess::Time| self.now - *at > self.rules.registry_max_agent_age;
            lost.iter()
                .enumerate()
                .filter(|(nth, (_, at))| *nth < excess || old(at))
                .map(|(_, (id, _))| id.clone())
                .collect()
        };
        let (unreachable, gone) = (expired(&self.agents.unreachable), expired(&self.agents.gone));
        if unreachable.is_empty() && gone.is_empty() {
            return;
        }
        let prune = crate::registry::Prune { unreachable: unreachable.clone(), gone: gone.clone() };
        self.push(Effect::Registry {
            operation: Kind::Prune(prune).into(),
            then: Continuation::Pruned { unreachable, gone },
        });
    }

    /// Takes over what the registry holds.
    pub fn recover(&mut self, registry: &crate::registry::Registry) {
        let time = |time: &api::v1::TimeInfo| {
            libprocess::Time::from_nanos(u64::try_from(time.nanoseconds).unwrap_or(0))
        };
        self.agents.recovered =
            registry.admitted().map(|(id, info)| (id.clone(), Arc::new(info.clone()))).collect();
        self.agents.unreachable = registry.unreachable().map(|(id, at)| (id.clone(), time(at))).collect();
        self.agents.gone = registry.gone().map(|(id, at)| (id.clone(), time(at))).collect();
        self.admitted_at_recovery = self.agents.recovered.len();
        tracing::info!(
            admitted = self.admitted_at_recovery,
            unreachable = self.agents.unreachable.len(),
            gone = self.agents.gone.len(),
            "recovered the registry"
        );
        if self.admitted_at_recovery > 0 {
            self.push(Effect::Delay { after: self.rules.agent_reregister_timeout, then: Timeout::Recovery });
        }
    }
}

/// What an agent has: what its flags say, with the reservations made since.
fn total(info: &AgentInfo, checkpointed: &[api::v1::Resource]) -> Resources {
    let mut total = Resources::from_checked(&info.resources);
    for entry in Resources::from_checked(checkpointed).iter() {
        // What was reserved since is part of what the flags say is there.
        let plain: Resources = std::iter::once(entry.clone().flattened()).collect();
        if total.contains(&plain) {
            total -= &plain;
            total.push(entry.clone());
        }
    }
    total
}

/// Frameworks with one role do not say for which role their resources are allocated.
fn fill_role(resources: &mut [api::v1::Resource], framework: &crate::frameworks::Framework) {
    if framework.capabilities.multi_role {
        return;
    }
    let role = framework.roles().pop();
    for resource in resources {
        if resource.allocation_info.is_none() {
            resource.allocation_info = Some(api::v1::resource::AllocationInfo { role: role.clone() });
        }
    }
}

fn upgrade_message(message: &mut ReregisterSlaveMessage) -> Result<(), api::resources::ResourceError> {
    upgrade_all(&mut message.slave.resources)?;
    upgrade_all(&mut message.checkpointed_resources)?;
    for executor in &mut message.executor_infos {
        upgrade_all(&mut executor.resources)?;
    }
    for task in &mut message.tasks {
        upgrade_all(&mut task.resources)?;
    }
    Ok(())
}
