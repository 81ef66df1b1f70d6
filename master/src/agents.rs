//! The agents: registered, expected back, on their way in or out, lost, or gone.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use api::internal::RegisterSlaveMessage;
use api::resources::Resources;
use api::v1::{
    Address, AgentId, AgentInfo, ExecutorId, ExecutorInfo, FrameworkId, MachineId, OfferId, TaskId,
    Unavailability, Url, agent_info,
};
use imbl::{OrdMap, OrdSet};
use indexmap::IndexSet;
use libprocess::{Time, Upid};

use crate::agent_life::Brought;
use crate::capabilities::AgentCapabilities;
use crate::registry::{ByAge, MachineKey, Orders};
use crate::waiting_room::Load;

/// How many removed agents are remembered.
const REMOVED_MAX: usize = 100_000;

/// A registered agent. Cloning one is cheap: its collections share their structure with the clone.
#[derive(Debug, Clone)]
pub struct Agent {
    /// Its id.
    pub id: AgentId,
    /// What it said of itself; `id` is set.
    pub info: Arc<AgentInfo>,
    /// Where it is.
    pub pid: Upid,
    /// The version it said it is.
    pub version: String,
    /// As it said, for the allocator and the operator.
    pub capability_list: Vec<agent_info::Capability>,
    /// Of `capability_list`.
    pub capabilities: AgentCapabilities,
    /// Whether messages reach it, as far as is known.
    pub connected: bool,
    /// Whether its resources are offered: it is connected, and no operator deactivated it.
    pub active: bool,
    /// How often it connected; tells whether a wait still means the present disconnection.
    pub connection: u64,
    /// First seen by this master.
    pub registered: Time,
    /// Last time it came back.
    pub reregistered: Option<Time>,
    /// All it has.
    pub total: Resources,
    /// What each framework's tasks and executors hold here.
    pub used: OrdMap<FrameworkId, Resources>,
    /// The executors here.
    pub executors: OrdMap<FrameworkId, OrdMap<ExecutorId, Arc<ExecutorInfo>>>,
    /// The tasks here; the frameworks own them.
    pub tasks: OrdSet<(FrameworkId, TaskId)>,
    /// Offers of its resources.
    pub offers: OrdSet<OfferId>,
    /// When it is going to be unavailable.
    pub unavailability: Option<Unavailability>,
    /// Wishes that a framework leave it.
    pub inverse_offers: OrdSet<OfferId>,
    /// Tasks a framework wants killed. The order is repeated when the agent comes back, as it may not have
    /// heard it.
    pub killed: OrdSet<(FrameworkId, TaskId)>,
    /// The version of its resources that operations and launches refer to.
    pub resource_version: Option<api::v1::Uuid>,
}

impl Agent {
    /// Where it is reached over HTTP.
    pub fn url(&self) -> Url {
        Url {
            scheme: "http".into(),
            address: Address {
                hostname: Some(self.info.hostname.clone()),
                ip: Some(self.pid.address().ip().to_string()),
                port: self.pid.address().port().into(),
            },
            path: Some(format!("/{}", self.pid.id())),
            ..Url::default()
        }
    }

    /// The machine it is on.
    pub fn machine(&self) -> MachineKey {
        machine_of(&self.info, &self.pid)
    }

    /// All that is used here.
    pub fn total_used(&self) -> Resources {
        crate::frameworks::sum(self.used.values())
    }

    /// Whether an executor of that id is here.
    pub fn has_executor(&self, framework_id: &FrameworkId, executor_id: &ExecutorId) -> bool {
        self.executor(framework_id, executor_id).is_some()
    }

    /// An executor here.
    pub fn executor(
        &self,
        framework_id: &FrameworkId,
        executor_id: &ExecutorId,
    ) -> Option<&Arc<ExecutorInfo>> {
        self.executors.get(framework_id)?.get(executor_id)
    }
}

/// The machine an agent is on, as maintenance names it.
pub(crate) fn machine_of(info: &AgentInfo, pid: &Upid) -> MachineKey {
    let ip = Some(pid.address().ip().to_string());
    MachineKey::of(&MachineId { hostname: Some(info.hostname.clone()), ip })
}

/// An agent whose admission the registry is writing.
#[derive(Debug, Clone, PartialEq)]
pub struct Joining {
    /// Where it is.
    pub pid: Upid,
    /// The id it will have.
    pub id: AgentId,
    /// What it sent.
    pub message: RegisterSlaveMessage,
}

/// An agent whose return the registry is writing.
#[derive(Debug, Clone, PartialEq)]
pub struct Returning {
    /// Where it is now.
    pub pid: Upid,
    /// Its id.
    pub id: AgentId,
    /// What it sent.
    pub(crate) brought: Brought,
}

/// Agents that come back, of which the registry has to hear first.
#[derive(Debug, Clone, Default)]
pub struct Reregistering {
    /// And how large what each sent is.
    sizes: BTreeMap<AgentId, usize>,
    n_bytes: usize,
}

impl Reregistering {
    pub(crate) fn insert(&mut self, id: AgentId, n_bytes: usize) {
        self.remove(&id);
        self.sizes.insert(id, n_bytes);
        self.n_bytes += n_bytes;
    }

    pub(crate) fn remove(&mut self, id: &AgentId) {
        self.n_bytes -= self.sizes.remove(id).unwrap_or_default();
    }

    /// Whether it is one of them.
    pub fn contains(&self, id: &AgentId) -> bool {
        self.sizes.contains_key(id)
    }

    /// How many they are, and how large what they sent is.
    pub(crate) fn load(&self) -> Load {
        Load { n_agents: self.sizes.len(), n_bytes: self.n_bytes }
    }
}

/// All agents and where they stand.
#[derive(Debug, Clone, Default)]
pub struct Agents {
    /// By id.
    pub registered: OrdMap<AgentId, Arc<Agent>>,
    /// In the registry when this master took over, and not heard of since.
    pub recovered: OrdMap<AgentId, Arc<AgentInfo>>,
    /// It is only ever asked for one of them.
    by_pid: HashMap<Upid, AgentId>,
    /// Being admitted.
    pub registering: BTreeSet<Upid>,
    /// Coming back.
    pub reregistering: Reregistering,
    /// Being removed.
    pub removing: BTreeSet<AgentId>,
    /// Being marked unreachable.
    pub marking_unreachable: BTreeSet<AgentId>,
    /// Being marked gone.
    pub marking_gone: BTreeSet<AgentId>,
    /// Being marked drained.
    pub marking_drained: BTreeSet<AgentId>,
    /// Lost, and when; the oldest first.
    pub unreachable: ByAge<Time>,
    /// Declared gone, and when; the oldest first.
    pub gone: ByAge<Time>,
    /// What operators decided about agents, registered or not.
    pub orders: OrdMap<AgentId, Orders>,
    /// Which tasks were on a lost agent.
    pub unreachable_tasks: BTreeMap<AgentId, BTreeSet<(FrameworkId, TaskId)>>,
    removed: IndexSet<AgentId>,
}

impl Agents {
    /// A registered agent.
    pub fn get(&self, id: &AgentId) -> Option<&Agent> {
        self.registered.get(id).map(Arc::as_ref)
    }

    /// A registered agent, to change. Readers that hold it keep what they have.
    pub fn get_mut(&mut self, id: &AgentId) -> Option<&mut Agent> {
        self.registered.get_mut(id).map(Arc::make_mut)
    }

    /// Who is registered at that address.
    pub fn at(&self, pid: &Upid) -> Option<&AgentId> {
        self.by_pid.get(pid)
    }

    /// Adds an agent. It is not among the recovered ones any more.
    pub fn insert(&mut self, agent: Agent) {
        self.unreachable.remove(&agent.id);
        self.removed.shift_remove(&agent.id);
        self.by_pid.insert(agent.pid.clone(), agent.id.clone());
        self.registered.insert(agent.id.clone(), Arc::new(agent));
    }

    /// The agent is at another address now.
    pub fn moved(&mut self, id: &AgentId, pid: Upid) {
        if let Some(agent) = self.registered.get_mut(id).map(Arc::make_mut) {
            let old = std::mem::replace(&mut agent.pid, pid.clone());
            self.leave(&old, id);
            self.by_pid.insert(pid, id.clone());
        }
    }

    /// Takes an agent out, and remembers that it was removed.
    pub fn remove(&mut self, id: &AgentId) -> Option<Arc<Agent>> {
        let agent = self.registered.remove(id)?;
        self.leave(&agent.pid, id);
        self.forget(id);
        Some(agent)
    }

    /// The agent is no longer at that address; another one may be.
    fn leave(&mut self, pid: &Upid, id: &AgentId) {
        if self.by_pid.get(pid) == Some(id) {
            self.by_pid.remove(pid);
        }
    }

    /// Remembers that an agent was removed: what it still sends is ignored until it registers again.
    pub fn forget(&mut self, id: &AgentId) {
        self.removed.insert(id.clone());
        if self.removed.len() > REMOVED_MAX {
            self.removed.shift_remove_index(0);
        }
    }

    /// Whether an agent was removed, as far as that is remembered.
    pub fn is_removed(&self, id: &AgentId) -> bool {
        self.removed.contains(id)
    }

    /// Whether the registry is writing something about the agent.
    pub fn is_changing(&self, id: &AgentId) -> bool {
        self.reregistering.contains(id)
            || self.removing.contains(id)
            || self.marking_unreachable.contains(id)
            || self.marking_gone.contains(id)
    }

    /// What operators decided about an agent.
    pub fn orders(&self, id: &AgentId) -> Orders {
        self.orders.get(id).copied().unwrap_or_default()
    }
}
