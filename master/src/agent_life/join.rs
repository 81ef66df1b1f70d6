//! An agent without an id joins, and an agent is put into the tables with what runs on it.

use std::sync::Arc;

use api::internal::{MasterSlaveConnection, RegisterSlaveMessage, SlaveRegisteredMessage};
use api::resources::{Resources, upgrade_all};
use api::v1::{AgentId, AgentInfo, ExecutorInfo, FrameworkId, TaskState};
use imbl::{OrdMap, OrdSet};
use libprocess::Upid;

use crate::agents::{Agent, Joining};
use crate::capabilities::AgentCapabilities;
use crate::cluster::Cluster;
use crate::effect::{AgentMessage, AllocatorCall, Continuation, Effect};
use crate::frameworks::{Framework, sum};
use crate::registry::{Kind, Refused};
use crate::tasks::TaskRecord;
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
        if self.is_down(&message.slave, from) {
            return self.shut_down(from, "Machine is `DOWN`");
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
    pub(crate) fn clear_address(&mut self, pid: &Upid, newcomer: &AgentId) {
        if let Some(id) = self.agents.at(pid).filter(|id| *id != newcomer).cloned() {
            self.remove_agent(&id, SUCCEEDED, "master/slave_removals/reason_registered");
        }
    }

    pub(crate) fn admissible(&self, info: &AgentInfo, version: Option<&str>) -> Result<(), String> {
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

    pub(crate) fn registered_message(&self, id: &AgentId) -> AgentMessage {
        AgentMessage::Registered(SlaveRegisteredMessage {
            slave_id: id.clone(),
            connection: Some(self.connection()),
        })
    }

    /// Agents watch for pings as the master watches for pongs.
    pub(crate) fn connection(&self) -> MasterSlaveConnection {
        MasterSlaveConnection {
            total_ping_timeout_seconds: Some(self.rules.total_ping_timeout.as_secs_f64()),
        }
    }

    pub(crate) fn agent_admitted(&mut self, joining: Joining, result: Result<(), Refused>) {
        let Joining { pid, id, message } = joining;
        self.agents.registering.remove(&pid);
        if let Err(refused) = result {
            tracing::error!(agent = %id, %refused, "could not be admitted");
            return;
        }
        tracing::info!(agent = %id, %pid, hostname = message.slave.hostname, "agent registered");
        self.count("master/slave_registrations");
        // While the registry wrote, another agent may have come back to the address, and ended again.
        self.clear_address(&pid, &id);
        let total = total(&message.slave, &message.checkpointed_resources);
        let agent = self.new_agent(
            pid.clone(),
            Arc::new(message.slave),
            message.version,
            message.agent_capabilities,
            total,
            message.resource_version_uuid,
        );
        self.add_agent(agent, Vec::new(), Vec::new());
        let message = self.registered_message(&id);
        self.send(&pid, message);
        self.turn_away_if_down(&id);
    }

    pub(crate) fn new_agent(
        &self,
        pid: Upid,
        info: Arc<AgentInfo>,
        version: Option<String>,
        capabilities: Vec<api::v1::agent_info::Capability>,
        total: Resources,
        resource_version: Option<api::v1::Uuid>,
    ) -> Agent {
        Agent {
            id: info.id.clone().unwrap_or_default(),
            info,
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
            unavailability: None,
            inverse_offers: OrdSet::new(),
            killed: OrdSet::new(),
            resource_version,
        }
    }

    /// Adds an agent with what runs on it; it has the ids of its `tasks` and what they hold already. Says which of
    /// them were not taken over, as their frameworks have others of these ids.
    pub(crate) fn add_agent(
        &mut self,
        mut agent: Agent,
        executors: Vec<ExecutorInfo>,
        tasks: Vec<Arc<TaskRecord>>,
    ) -> Vec<Arc<TaskRecord>> {
        // Whatever operators decided before it came still holds.
        let deactivated = self.agents.orders(&agent.id).deactivated;
        let unavailability =
            self.machine_under(&agent.info, &agent.pid).and_then(|machine| machine.unavailability);
        (agent.active, agent.unavailability) = (!deactivated, unavailability);
        let (id, pid) = (agent.id.clone(), agent.pid.clone());
        let (info, total) = (agent.info.clone(), agent.total.clone());
        let capabilities = agent.capability_list.clone();
        self.push(Effect::Link(pid.clone()));
        self.push(Effect::Observe { agent_id: id.clone(), pid });
        let doubled = self.add_tasks(&mut agent, tasks);
        for executor in executors {
            let framework = executor.framework_id.as_ref().and_then(|id| self.frameworks.get_mut(id));
            if let Some(framework) = framework {
                place_executor(framework, &mut agent, executor);
            }
        }
        let used = agent.used.iter().map(|(id, used)| (id.clone(), used.clone())).collect();
        self.agents.insert(agent);
        let agent_id = id.clone();
        self.allocator(AllocatorCall::AddAgent { id, info, capabilities, total, used });
        if unavailability.is_some() {
            let agent_id = agent_id.clone();
            self.allocator(AllocatorCall::UpdateUnavailability { agent_id, unavailability });
        }
        if deactivated {
            self.allocator(AllocatorCall::DeactivateAgent(agent_id));
        }
        doubled
    }

    pub(crate) fn add_executor(
        &mut self,
        framework_id: &FrameworkId,
        agent_id: &AgentId,
        executor: ExecutorInfo,
    ) {
        if let (Some(framework), Some(agent)) =
            (self.frameworks.get_mut(framework_id), self.agents.get_mut(agent_id))
        {
            place_executor(framework, agent, executor);
        }
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
        let (framework_id, state) = (task.framework_id.clone(), task.state());
        if let (Some(framework), Some(agent)) =
            (self.frameworks.get_mut(&framework_id), self.agents.get_mut(&task.agent_id))
        {
            if task.holds_resources() {
                charge(framework, agent, task.resources());
            }
            agent.tasks.insert((framework_id.clone(), task.task_id.clone()));
            framework.tasks.insert(task.task_id.clone(), Arc::new(task));
            self.note_new(&framework_id, state, 1);
        }
    }

    /// The tasks of an agent that has their ids and what they hold already, those of one framework side by side. Each
    /// framework is looked up and charged once: after a failover this is most of what there is to do. The agent loses
    /// those that are not taken over: of frameworks nobody knows, and, which are returned, of ids that are taken.
    fn add_tasks(&mut self, agent: &mut Agent, tasks: Vec<Arc<TaskRecord>>) -> Vec<Arc<TaskRecord>> {
        let mut doubled = Vec::new();
        for tasks in tasks.chunk_by(|one, next| one.framework_id == next.framework_id) {
            let Some(framework_id) = tasks.first().map(|task| &task.framework_id) else { continue };
            let Some(framework) = self.frameworks.get_mut(framework_id) else {
                lose(agent, framework_id, tasks, Resources::new());
                continue;
            };
            let mut entered: Vec<(TaskState, usize)> = Vec::new();
            let n_doubled = doubled.len();
            for task in tasks {
                if let Some(other) = framework.tasks.insert(task.task_id.clone(), task.clone()) {
                    framework.tasks.insert(other.task_id.clone(), other);
                    doubled.push(task.clone());
                    continue;
                }
                match entered.iter_mut().find(|(state, _)| *state == task.state()) {
                    Some((_, n)) => *n += 1,
                    None => entered.push((task.state(), 1)),
                }
            }
            let lost = &doubled[n_doubled..];
            if !lost.is_empty() {
                // Anew: of ranges that two tasks hold, one cannot be taken away again.
                let kept = tasks.iter().filter(|task| !lost.iter().any(|it| Arc::ptr_eq(it, task)));
                let used = sum(kept.filter(|task| task.holds_resources()).map(|task| task.resources()));
                lose(agent, framework_id, lost, used);
            }
            if let Some(used) = agent.used.get(framework_id).cloned()
                && let Some(before) = framework.used.insert(agent.id.clone(), used)
                && let Some(used) = framework.used.get_mut(&agent.id)
            {
                *used += &before;
            }
            for (state, n) in entered {
                self.note_new(framework_id, state, n);
            }
        }
        doubled
    }
}

/// The agent does not have these tasks of a framework after all; the others hold `used`.
fn lose(agent: &mut Agent, framework_id: &FrameworkId, tasks: &[Arc<TaskRecord>], used: Resources) {
    for task in tasks {
        agent.tasks.remove(&(framework_id.clone(), task.task_id.clone()));
    }
    if used.is_empty() {
        agent.used.remove(framework_id);
    } else {
        agent.used.insert(framework_id.clone(), used);
    }
}

fn place_executor(framework: &mut Framework, agent: &mut Agent, executor: ExecutorInfo) {
    let resources = Resources::from_checked(&executor.resources);
    let executor_id = executor.executor_id.clone();
    let executor = Arc::new(executor);
    framework.executors.insert((agent.id.clone(), executor_id.clone()), executor.clone());
    agent.executors.entry(framework.id.clone()).or_default().insert(executor_id, executor);
    charge(framework, agent, &resources);
}

/// A framework holds something of an agent; the inverse of [`Cluster::discharge`].
fn charge(framework: &mut Framework, agent: &mut Agent, resources: &Resources) {
    if resources.is_empty() {
        return;
    }
    *framework.used.entry(agent.id.clone()).or_default() += resources;
    *agent.used.entry(framework.id.clone()).or_default() += resources;
}

/// What an agent has: what its flags say, with the reservations made since.
pub(super) fn total(info: &AgentInfo, checkpointed: &[api::v1::Resource]) -> Resources {
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
