//! The master's state: agents, frameworks, offers and tasks, and what each event does to them.
//!
//! No sockets and no clock in here. An event is a method call at a time the caller gives; what is to happen
//! outside comes out of [`Cluster::take_effects`], in order. The events are spread over the files beside
//! this one: `framework_life`, `agent_life`, `offering`, `status` and `calls/`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api::internal::FrameworkErrorMessage;
use api::resources::Resources;
use api::v1::task_status::{Reason, Source};
use api::v1::{AgentId, Filters, FrameworkId, MasterInfo, TaskId, TaskState, TimeInfo, WeightInfo};
use imbl::OrdMap;
use libprocess::{Time, Upid};

use crate::agent_life::Removals;
use crate::agents::{Agent, Agents};
use crate::effect::{AgentMessage, AllocatorCall, Connection, Effect, FrameworkEvent};
use crate::frameworks::{Framework, Frameworks};
use crate::ids::Ids;
use crate::maintenance::InverseOffers;
use crate::offers::Offers;
use crate::registry::Registry;
use crate::tasks::is_terminal;

/// What of the flags decides how the state behaves.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Roles that may be used; all when absent.
    pub roles: Option<Vec<String>>,
    /// Whether frameworks may run tasks as root.
    pub root_submissions: bool,
    /// How long an offer may stand; for ever when absent.
    pub offer_timeout: Option<Duration>,
    /// How long a disconnected agent may stay away.
    pub agent_reregister_timeout: Duration,
    /// How long an agent may be silent: ping interval times allowed misses. Agents are told.
    pub total_ping_timeout: Duration,
    /// Completed frameworks that are remembered.
    pub max_completed_frameworks: usize,
    /// Completed tasks that are remembered of each framework.
    pub max_completed_tasks: usize,
    /// Unreachable tasks that are remembered of each framework.
    pub max_unreachable_tasks: usize,
    /// Whether agents must say in which domain they are.
    pub require_agent_domain: bool,
    /// How old unreachable and gone agents get before they are forgotten.
    pub registry_max_agent_age: Duration,
    /// How many of each are remembered.
    pub registry_max_agent_count: usize,
    /// How much of the registry's agents may be lost in a failover before the master gives up, 0 to 1.
    pub recovery_agent_removal_limit: f64,
    /// How many agents may be given up per what time, at most; any number when absent.
    pub agent_removal_limit: Option<(u32, Duration)>,
    /// Weights to begin with, if the registry has none.
    pub weights: Vec<WeightInfo>,
    /// How large the regular expressions of offer constraints may be.
    pub regex: allocator::constraints::RegexLimits,
}

/// Everything a master knows.
#[derive(Debug)]
pub struct Cluster {
    /// How it behaves.
    pub rules: Rules,
    /// Who this master is.
    pub info: MasterInfo,
    pub(crate) ids: Ids,
    /// The frameworks.
    pub frameworks: Frameworks,
    /// The agents.
    pub agents: Agents,
    /// The outstanding offers.
    pub offers: Offers,
    /// The outstanding inverse offers.
    pub inverse_offers: InverseOffers,
    /// Agents that are to be given up when it is their turn.
    pub(crate) removals: Removals,
    /// What operators decided about roles and machines, as the registry has it.
    pub will: Registry,
    /// How many agents the registry had when this master took over.
    pub(crate) admitted_at_recovery: usize,
    /// A reason to end this master's service, found by an event.
    pub(crate) fatal: Option<String>,
    pub(crate) now: Time,
    /// How many live tasks are in each state.
    n_tasks: BTreeMap<TaskState, usize>,
    effects: Vec<Effect>,
}

impl Cluster {
    /// An empty cluster.
    pub fn new(info: MasterInfo, ids: Ids, rules: Rules) -> Self {
        Cluster {
            removals: Removals::new(rules.agent_removal_limit),
            will: Registry::default(),
            rules,
            info,
            ids,
            frameworks: Frameworks::default(),
            agents: Agents::default(),
            offers: OrdMap::new(),
            inverse_offers: OrdMap::new(),
            admitted_at_recovery: 0,
            fatal: None,
            now: Time::EPOCH,
            n_tasks: BTreeMap::new(),
            effects: Vec::new(),
        }
    }

    /// The events that follow happen at `now`.
    pub fn at(&mut self, now: Time) -> &mut Self {
        self.now = now;
        self
    }

    /// What is to be done outside, in order.
    pub fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// Exchanges what is to be done for an empty list, whose room is used again.
    pub(crate) fn swap_effects(&mut self, done: &mut Vec<Effect>) {
        std::mem::swap(&mut self.effects, done);
    }

    pub(crate) fn push(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    pub(crate) fn count(&mut self, name: &'static str) {
        self.push(Effect::Count(Cow::Borrowed(name)));
    }

    /// Counts something of a framework.
    pub(crate) fn count_of(&mut self, id: &FrameworkId, name: impl Into<String>) {
        self.push(Effect::CountOf(id.clone(), name.into()));
    }

    pub(crate) fn allocator(&mut self, call: AllocatorCall) {
        self.push(Effect::Allocator(call));
    }

    pub(crate) fn send(&mut self, to: &Upid, message: AgentMessage) {
        self.push(Effect::Send { to: to.clone(), message });
    }

    /// Tells a framework, if it is connected. Nothing is kept for one that is not: agents repeat what matters.
    pub(crate) fn tell(&mut self, id: &FrameworkId, event: FrameworkEvent) {
        if let Some(to) = self.frameworks.get(id).and_then(|framework| framework.connection.clone()) {
            self.push(Effect::Tell { to, framework_id: Some(id.clone()), event });
        }
    }

    /// Tells whoever is at the other end that it is not, or no longer, a framework here.
    pub(crate) fn refuse(&mut self, to: Connection, message: impl Into<String>) {
        let message = message.into();
        tracing::info!(?to, %message, "framework refused");
        let stream = match &to {
            Connection::Stream(stream) => Some(*stream),
            Connection::Driver(_) => None,
        };
        let event = FrameworkEvent::Error(FrameworkErrorMessage { message });
        self.push(Effect::Tell { to, framework_id: None, event });
        if let Some(stream) = stream {
            self.push(Effect::Hangup(stream));
        }
    }

    /// How many live tasks are in a state.
    pub fn n_tasks(&self, state: TaskState) -> usize {
        self.n_tasks.get(&state).copied().unwrap_or(0)
    }

    /// So many live tasks came in that state.
    pub(crate) fn note_new(&mut self, id: &FrameworkId, state: TaskState, n: usize) {
        if is_terminal(state) {
            let name = format!("tasks/terminal/{}", state.as_str_name().to_ascii_lowercase());
            (0..n).for_each(|_| self.count_of(id, name.clone()));
        } else {
            let name = format!("tasks/active/{}", state.as_str_name().to_ascii_lowercase());
            self.push(Effect::AddTo(id.clone(), name, n as f64));
        }
        *self.n_tasks.entry(state).or_default() += n;
    }

    /// A live task left one state for another, or went.
    pub(crate) fn note_state(
        &mut self,
        id: &FrameworkId,
        left: Option<TaskState>,
        entered: Option<TaskState>,
    ) {
        if left == entered {
            return;
        }
        for (state, change) in [(left, -1.0), (entered, 1.0)] {
            if let Some(state) = state.filter(|state| !is_terminal(*state)) {
                let name = format!("tasks/active/{}", state.as_str_name().to_ascii_lowercase());
                self.push(Effect::AddTo(id.clone(), name, change));
            }
        }
        if let Some(state) = entered.filter(|state| is_terminal(*state)) {
            self.count_of(id, format!("tasks/terminal/{}", state.as_str_name().to_ascii_lowercase()));
        }
        if let Some(n) = left.and_then(|state| self.n_tasks.get_mut(&state)) {
            *n = n.saturating_sub(1);
        }
        if let Some(state) = entered {
            *self.n_tasks.entry(state).or_default() += 1;
        }
    }

    /// Gives resources back to the allocator out of an offer.
    pub(crate) fn recover_offered(
        &mut self,
        framework_id: &FrameworkId,
        agent_id: &AgentId,
        resources: Resources,
        filters: Option<Filters>,
    ) {
        if resources.is_empty() {
            return;
        }
        let (framework_id, agent_id) = (framework_id.clone(), agent_id.clone());
        self.allocator(AllocatorCall::Recover {
            framework_id,
            agent_id,
            resources,
            filters,
            allocated: false,
        });
    }

    /// A framework holds something of an agent no longer; the allocator gets it back.
    pub(crate) fn discharge(
        &mut self,
        framework_id: &FrameworkId,
        agent_id: &AgentId,
        resources: &Resources,
    ) {
        if resources.is_empty() {
            return;
        }
        if let Some(framework) = self.frameworks.get_mut(framework_id) {
            take(&mut framework.used, agent_id, resources);
        }
        if let Some(agent) = self.agents.get_mut(agent_id) {
            take(&mut agent.used, framework_id, resources);
        }
        self.allocator(AllocatorCall::Recover {
            framework_id: framework_id.clone(),
            agent_id: agent_id.clone(),
            resources: resources.clone(),
            filters: None,
            allocated: true,
        });
    }

    /// Counts what became of a task: how it ended, and from whom and why.
    pub(crate) fn count_task(&mut self, state: TaskState, source: Option<Source>, reason: Option<Reason>) {
        use TaskState::*;
        let ended = match state {
            TaskFinished => Some("master/tasks_finished"),
            TaskFailed => Some("master/tasks_failed"),
            TaskKilled => Some("master/tasks_killed"),
            TaskLost => Some("master/tasks_lost"),
            TaskError => Some("master/tasks_error"),
            TaskDropped => Some("master/tasks_dropped"),
            TaskGone => Some("master/tasks_gone"),
            TaskGoneByOperator => Some("master/tasks_gone_by_operator"),
            _ => None,
        };
        if let Some(name) = ended {
            self.count(name);
        }
        if let (Some(source), Some(reason)) = (source, reason) {
            // The names in metrics are those from before agents were called agents.
            let old = |name: &str| name.to_ascii_lowercase().replace("agent", "slave");
            let name = format!(
                "master/{}/{}/{}",
                state.as_str_name().to_ascii_lowercase(),
                old(source.as_str_name()),
                old(reason.as_str_name())
            );
            self.push(Effect::Count(Cow::Owned(name)));
        }
    }

    /// Walks everything and compares what is told twice. Returns what does not agree.
    pub fn check_invariants(&self) -> Result<(), String> {
        let mut used: BTreeMap<(&FrameworkId, &AgentId), Resources> = BTreeMap::new();
        let mut n_tasks: BTreeMap<TaskState, usize> = BTreeMap::new();
        for (id, framework) in &self.frameworks.registered {
            if *id != framework.id || framework.info.id.as_ref() != Some(id) {
                return Err(format!("framework {id} is kept under another's id"));
            }
            if framework.active && !framework.is_connected() {
                return Err(format!("framework {id} is active but not connected"));
            }
            let owner = match &framework.connection {
                Some(Connection::Driver(pid)) => self.frameworks.of_driver(pid),
                Some(Connection::Stream(stream)) => self.frameworks.of_stream(stream),
                None => Some(id),
            };
            if owner != Some(id) {
                return Err(format!("the connection of framework {id} speaks for {owner:?}"));
            }
            for (task_id, task) in &framework.tasks {
                *n_tasks.entry(task.state()).or_default() += 1;
                let agent = self.agents.get(&task.agent_id);
                if !agent.is_some_and(|agent| agent.tasks.contains(&(id.clone(), task_id.clone()))) {
                    return Err(format!("task {task_id} of {id} is not on its agent {}", task.agent_id));
                }
                if task.holds_resources() {
                    *used.entry((id, &task.agent_id)).or_default() += task.resources();
                }
            }
            for ((agent_id, executor_id), executor) in &framework.executors {
                if !self.agents.get(agent_id).is_some_and(|agent| agent.has_executor(id, executor_id)) {
                    return Err(format!("executor {executor_id} of {id} is not on its agent {agent_id}"));
                }
                *used.entry((id, agent_id)).or_default() += &Resources::from_checked(&executor.resources);
            }
            for offer_id in &framework.offers {
                if self.offers.get(offer_id).is_none_or(|offer| offer.framework_id() != id) {
                    return Err(format!("framework {id} lists offer {offer_id}, which it does not have"));
                }
            }
        }
        if self.n_tasks.iter().any(|(state, n)| n_tasks.get(state).copied().unwrap_or(0) != *n) {
            return Err(format!("tasks by state are {n_tasks:?}, but counted as {:?}", self.n_tasks));
        }
        used.retain(|_, resources| !resources.is_empty());
        let mut booked = 0;
        for (id, framework) in &self.frameworks.registered {
            for (agent_id, resources) in &framework.used {
                booked += 1;
                if used.get(&(id, agent_id)) != Some(resources) {
                    let expected = used.get(&(id, agent_id)).cloned().unwrap_or_default();
                    return Err(format!(
                        "framework {id} is booked {resources} on {agent_id}, but uses {expected}"
                    ));
                }
                if self.agents.get(agent_id).and_then(|agent| agent.used.get(id)) != Some(resources) {
                    return Err(format!("agent {agent_id} and framework {id} disagree on what is used"));
                }
            }
        }
        if booked != used.len() {
            return Err(format!("{} uses of agents, {booked} booked", used.len()));
        }
        for (id, agent) in &self.agents.registered {
            // One that is on its way out may have lost its address to its successor.
            if self.agents.at(&agent.pid) != Some(id) && !self.agents.is_changing(id) {
                return Err(format!("agent {id} is not found at its address {}", agent.pid));
            }
            if agent.active && !agent.connected {
                return Err(format!("agent {id} is active but not connected"));
            }
            for (framework_id, task_id) in &agent.tasks {
                let task =
                    self.frameworks.get(framework_id).and_then(|framework| framework.tasks.get(task_id));
                if task.is_none_or(|task| task.agent_id != *id) {
                    return Err(format!(
                        "agent {id} lists task {task_id} of {framework_id}, which is not on it"
                    ));
                }
            }
            let mut taken = agent.total_used();
            for offer_id in &agent.offers {
                match self.offers.get(offer_id) {
                    Some(offer) if offer.agent_id() == id => taken += &offer.resources,
                    _ => return Err(format!("agent {id} lists offer {offer_id}, which is not of it")),
                }
            }
            if !agent.total.contains(&taken.unallocated()) {
                return Err(format!("agent {id} has {}, but more is used or offered", agent.total));
            }
        }
        for (id, offer) in &self.inverse_offers {
            let (framework, agent) =
                (self.frameworks.get(&offer.framework_id), self.agents.get(&offer.agent_id));
            let asked = framework.is_some_and(|it| it.active && it.inverse_offers.contains(id));
            let planned = agent.is_some_and(|it| {
                it.inverse_offers.contains(id) && it.unavailability == Some(offer.unavailability)
            });
            if !asked || !planned {
                return Err(format!("inverse offer {id} is not known to its framework or its agent"));
            }
        }
        let by_framework: usize = self.frameworks.registered.values().map(|it| it.inverse_offers.len()).sum();
        let by_agent: usize = self.agents.registered.values().map(|it| it.inverse_offers.len()).sum();
        if by_framework != self.inverse_offers.len() || by_agent != self.inverse_offers.len() {
            return Err("frameworks or agents list inverse offers that are not there".into());
        }
        for (id, offer) in &self.offers {
            let known = self.frameworks.get(offer.framework_id()).is_some_and(|it| it.offers.contains(id))
                && self.agents.get(offer.agent_id()).is_some_and(|it| it.offers.contains(id));
            if !known {
                return Err(format!("offer {id} is not known to its framework or its agent"));
            }
        }
        Ok(())
    }

    /// A task of a registered framework.
    pub(crate) fn task(
        &self,
        framework_id: &FrameworkId,
        task_id: &TaskId,
    ) -> Option<&Arc<crate::tasks::TaskRecord>> {
        self.frameworks.get(framework_id)?.tasks.get(task_id)
    }

    /// A framework, when the message comes from its present driver.
    pub(crate) fn framework_of(&self, id: &FrameworkId, from: &Upid) -> Option<&Framework> {
        self.frameworks.get(id).filter(|framework| framework.pid() == Some(from))
    }

    /// A registered agent, when the message comes from where it is.
    pub(crate) fn agent_of(&self, id: &AgentId, from: &Upid) -> Option<&Agent> {
        self.agents.get(id).filter(|agent| agent.pid == *from)
    }
}

/// A moment as messages and the registry have it.
pub(crate) fn time_info(time: Time) -> TimeInfo {
    TimeInfo { nanoseconds: i64::try_from(time.as_nanos()).unwrap_or(i64::MAX) }
}

/// Takes `resources` off the entry of `key`, and the entry away when nothing is left.
fn take<K: Ord + Clone>(map: &mut OrdMap<K, Resources>, key: &K, resources: &Resources) {
    if let Some(held) = map.get_mut(key) {
        *held -= resources;
        if held.is_empty() {
            map.remove(key);
        }
    }
}

#[cfg(test)]
mod histories;
#[cfg(test)]
mod tests;
