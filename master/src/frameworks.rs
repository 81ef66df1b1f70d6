//! The frameworks: registered, disconnected for a while, known only by their tasks, or completed.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::resources::Resources;
use api::v1::{AgentId, ExecutorId, ExecutorInfo, FrameworkId, FrameworkInfo, OfferId, TaskId};
use imbl::{OrdMap, OrdSet, Vector};
use libprocess::{Time, Upid};
use uuid::Uuid;

use crate::capabilities::FrameworkCapabilities;
use crate::effect::{Connection, OfferOptions};
use crate::tasks::TaskRecord;
use allocator::FrameworkOptions;
use allocator::constraints::{Constraints, RegexLimits};

/// A framework. Cloning one copies no tasks: its collections share their structure with the clone.
#[derive(Debug, Clone)]
pub struct Framework {
    /// Its id.
    pub id: FrameworkId,
    /// What it said of itself; `id` is set.
    pub info: Arc<FrameworkInfo>,
    /// Of `info`.
    pub capabilities: FrameworkCapabilities,
    /// Suppressed roles and offer constraints.
    pub options: Arc<OfferOptions>,
    /// How it is reached; none while it is disconnected or recovered.
    pub connection: Option<Connection>,
    /// Known only from agents, since this master took over.
    pub recovered: bool,
    /// Whether it gets offers.
    pub active: bool,
    /// How often it subscribed; tells whether a failover wait still means the present disconnection.
    pub subscription: u64,
    /// First seen by this master.
    pub registered: Time,
    /// Last subscribed, when more than once.
    pub reregistered: Option<Time>,
    /// Completed.
    pub unregistered: Option<Time>,
    /// Tasks that run, or ended without their end being acknowledged.
    pub tasks: OrdMap<TaskId, Arc<TaskRecord>>,
    /// Tasks on agents that were lost.
    pub unreachable_tasks: BoundedTasks,
    /// Tasks that ended; the oldest first.
    pub completed_tasks: Vector<Arc<TaskRecord>>,
    /// Its executors, by agent.
    pub executors: OrdMap<(AgentId, ExecutorId), Arc<ExecutorInfo>>,
    /// Its outstanding offers.
    pub offers: OrdSet<OfferId>,
    /// What it was asked to leave and has not answered.
    pub inverse_offers: OrdSet<OfferId>,
    /// What its tasks and executors hold on each agent.
    pub used: OrdMap<AgentId, Resources>,
}

/// A map of tasks that forgets the oldest beyond its bound.
#[derive(Debug, Clone, Default)]
pub struct BoundedTasks {
    by_id: OrdMap<TaskId, (u64, Arc<TaskRecord>)>,
    by_age: OrdMap<u64, TaskId>,
    next: u64,
}

impl BoundedTasks {
    /// Adds a task; with more than `bound` tasks the oldest is dropped.
    pub fn insert(&mut self, task: Arc<TaskRecord>, bound: usize) {
        let id = task.task_id.clone();
        self.remove(&id);
        self.by_age.insert(self.next, id.clone());
        self.by_id.insert(id, (self.next, task));
        self.next += 1;
        while self.by_id.len() > bound {
            let Some(oldest) = self.by_age.get_min().map(|(_, id)| id.clone()) else { break };
            self.remove(&oldest);
        }
    }

    /// Takes a task out.
    pub fn remove(&mut self, id: &TaskId) -> Option<Arc<TaskRecord>> {
        let (age, task) = self.by_id.remove(id)?;
        self.by_age.remove(&age);
        Some(task)
    }

    /// Takes a task out, if it was on that agent.
    pub fn remove_on(&mut self, id: &TaskId, agent_id: &AgentId) -> Option<Arc<TaskRecord>> {
        self.by_id.get(id).filter(|(_, task)| task.agent_id == *agent_id)?;
        self.remove(id)
    }

    /// Whether the task is here.
    pub fn contains(&self, id: &TaskId) -> bool {
        self.by_id.contains_key(id)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// The tasks, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<TaskRecord>> {
        self.by_id.values().map(|(_, task)| task)
    }
}

impl Framework {
    /// A framework nobody is connected for yet.
    pub fn new(id: FrameworkId, mut info: FrameworkInfo, options: OfferOptions, now: Time) -> Self {
        info.id = Some(id.clone());
        let capabilities = FrameworkCapabilities::of(&info.capabilities);
        Framework {
            capabilities,
            id,
            info: Arc::new(info),
            options: Arc::new(options),
            connection: None,
            recovered: false,
            active: false,
            subscription: 0,
            registered: now,
            reregistered: None,
            unregistered: None,
            tasks: OrdMap::new(),
            unreachable_tasks: BoundedTasks::default(),
            completed_tasks: Vector::new(),
            executors: OrdMap::new(),
            offers: OrdSet::new(),
            inverse_offers: OrdSet::new(),
            used: OrdMap::new(),
        }
    }

    /// Whether events reach it.
    pub fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    /// The roles it is subscribed to.
    pub fn roles(&self) -> Vec<String> {
        roles_of(&self.info, self.capabilities)
    }

    /// Its driver's address, when it has a driver.
    pub fn pid(&self) -> Option<&Upid> {
        match &self.connection {
            Some(Connection::Driver(pid)) => Some(pid),
            _ => None,
        }
    }

    /// All its tasks and executors hold.
    pub fn total_used(&self) -> Resources {
        sum(self.used.values())
    }

    /// Remembers a task that ended; with more than `bound` the oldest is dropped.
    pub fn complete(&mut self, task: Arc<TaskRecord>, bound: usize) {
        self.completed_tasks.push_back(task);
        while self.completed_tasks.len() > bound {
            self.completed_tasks.pop_front();
        }
    }
}

/// The options in the allocator's terms. Constraints were checked before, and are compiled here.
pub(crate) fn framework_options(
    info: &FrameworkInfo,
    options: OfferOptions,
    regex: RegexLimits,
) -> FrameworkOptions {
    let roles = roles_of(info, FrameworkCapabilities::of(&info.capabilities));
    let constraints =
        options.constraints.map(|constraints| Constraints::compile_within(&constraints, &roles, regex));
    FrameworkOptions {
        suppressed_roles: options.suppressed_roles.into_iter().collect(),
        constraints: Arc::new(constraints.and_then(Result::ok).unwrap_or_default()),
    }
}

/// The roles an info subscribes to.
pub fn roles_of(info: &FrameworkInfo, capabilities: FrameworkCapabilities) -> Vec<String> {
    #[allow(deprecated)]
    if capabilities.multi_role { info.roles.clone() } else { vec![info.role().to_owned()] }
}

/// The role of a framework that cannot have more than one.
pub(crate) fn single_role(info: &FrameworkInfo) -> Option<String> {
    let capabilities = FrameworkCapabilities::of(&info.capabilities);
    if capabilities.multi_role { None } else { roles_of(info, capabilities).pop() }
}

/// The sum of many resources.
pub fn sum<'a>(many: impl IntoIterator<Item = &'a Resources>) -> Resources {
    let mut total = Resources::new();
    for resources in many {
        total += resources;
    }
    total
}

/// All frameworks, and who speaks for them.
#[derive(Debug, Clone, Default)]
pub struct Frameworks {
    /// By id; not the completed ones.
    pub registered: OrdMap<FrameworkId, Arc<Framework>>,
    /// The oldest first.
    pub completed: Vector<Arc<Framework>>,
    by_driver: BTreeMap<Upid, FrameworkId>,
    by_stream: BTreeMap<Uuid, FrameworkId>,
}

impl Frameworks {
    /// A registered framework.
    pub fn get(&self, id: &FrameworkId) -> Option<&Framework> {
        self.registered.get(id).map(Arc::as_ref)
    }

    /// A registered framework, to change. Readers that hold it keep what they have.
    pub fn get_mut(&mut self, id: &FrameworkId) -> Option<&mut Framework> {
        self.registered.get_mut(id).map(Arc::make_mut)
    }

    /// Which framework that driver speaks for.
    pub fn of_driver(&self, pid: &Upid) -> Option<&FrameworkId> {
        self.by_driver.get(pid)
    }

    /// Which framework that stream belongs to.
    pub fn of_stream(&self, stream: &Uuid) -> Option<&FrameworkId> {
        self.by_stream.get(stream)
    }

    /// The principal of whoever speaks from that address.
    pub fn principal_at(&self, pid: &Upid) -> Option<&str> {
        self.get(self.of_driver(pid)?)?.info.principal.as_deref()
    }

    /// Whether a framework of that id was removed, as far as that is remembered.
    pub fn is_completed(&self, id: &FrameworkId) -> bool {
        self.completed.iter().any(|framework| framework.id == *id)
    }

    /// Adds a framework.
    pub fn insert(&mut self, framework: Framework) {
        self.registered.insert(framework.id.clone(), Arc::new(framework));
    }

    /// Gives a framework a new connection, or none. The old one no longer speaks for it.
    pub fn connect(&mut self, id: &FrameworkId, connection: Option<Connection>) {
        let Some(framework) = self.registered.get_mut(id).map(Arc::make_mut) else { return };
        match std::mem::replace(&mut framework.connection, connection.clone()) {
            Some(Connection::Driver(pid)) => drop(self.by_driver.remove(&pid)),
            Some(Connection::Stream(stream)) => drop(self.by_stream.remove(&stream)),
            None => {}
        }
        match connection {
            Some(Connection::Driver(pid)) => drop(self.by_driver.insert(pid, id.clone())),
            Some(Connection::Stream(stream)) => drop(self.by_stream.insert(stream, id.clone())),
            None => {}
        }
    }

    /// Moves a framework to the completed ones, of which `bound` are kept. Returns those that are forgotten.
    pub fn complete(&mut self, id: &FrameworkId, bound: usize) -> Vec<FrameworkId> {
        self.connect(id, None);
        let mut forgotten = Vec::new();
        let Some(framework) = self.registered.remove(id) else { return forgotten };
        self.completed.push_back(framework);
        while self.completed.len() > bound {
            forgotten.extend(self.completed.pop_front().map(|framework| framework.id.clone()));
        }
        forgotten
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::v1::Task;

    #[test]
    fn unreachable_tasks_are_bounded_oldest_out() {
        let mut tasks = BoundedTasks::default();
        let id = |n: usize| TaskId::from(format!("t{n}"));
        for n in [3, 1, 2, 1] {
            tasks.insert(Arc::new(TaskRecord::from(Task { task_id: id(n), ..Task::default() })), 2);
        }
        assert!(!tasks.contains(&id(3)));
        assert_eq!(tasks.iter().map(|task| task.task_id.clone()).collect::<Vec<_>>(), [id(1), id(2)]);
        assert!(tasks.remove(&id(2)).is_some());
        assert_eq!(tasks.len(), 1);
    }

    #[test]
    fn one_connection_at_a_time_speaks_for_a_framework() {
        let mut frameworks = Frameworks::default();
        let id = FrameworkId::from("f");
        frameworks.insert(Framework::new(
            id.clone(),
            FrameworkInfo::default(),
            OfferOptions::default(),
            Time::EPOCH,
        ));
        let (first, second) = (Uuid::from_u128(1), Uuid::from_u128(2));
        frameworks.connect(&id, Some(Connection::Stream(first)));
        frameworks.connect(&id, Some(Connection::Stream(second)));
        assert_eq!(frameworks.of_stream(&first), None);
        assert_eq!(frameworks.of_stream(&second), Some(&id));
        frameworks.complete(&id, 1);
        assert_eq!(frameworks.of_stream(&second), None);
        assert!(frameworks.is_completed(&id));
        assert!(frameworks.get(&id).is_none());
    }
}
