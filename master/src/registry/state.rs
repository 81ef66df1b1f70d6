//! The registry: which agents the cluster has, whoever leads it, and what the operators decided. A state machine
//! without any I/O; the replicated log below it decides in which order operations come.
//!
//! An operation costs what it touches, and a clone of the registry shares with it whatever does not change
//! afterwards: there may be many thousand agents, and a clone is made for every reader and every snapshot.

use std::sync::Arc;

use api::internal::Registry as RegistryProto;
use api::internal::registry::{
    GoneSlave, GoneSlaves, Machine, Machines, Master, MinimumCapability, Slave, Slaves, UnreachableSlave,
    UnreachableSlaves,
};
use api::v1::{AgentId, AgentInfo, DrainInfo, TimeInfo};
use imbl::OrdMap;

use super::ByAge;
use super::machines::MachineKey;
use super::operation::{Kind, Operation};

/// What a master must be capable of that is to respect which agents get no work.
pub const AGENT_DRAINING: &str = "AGENT_DRAINING";

/// What a master must be capable of that is to respect quotas with limits of their own.
pub const QUOTA_V2: &str = "QUOTA_V2";

/// Why an operation changed nothing. Whoever asked decides what that means; the log holds it either way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Admitting twice.
    #[error("agent {0} is already admitted")]
    AlreadyAdmitted(String),
    /// An operation on an agent that is not there.
    #[error("agent {0} is not admitted")]
    NotAdmitted(String),
    /// Gone is final.
    #[error("agent {0} is already marked gone")]
    AlreadyGone(String),
    /// The agent info carries no id.
    #[error("the agent information has no id")]
    NoId,
    /// Written by a newer master.
    #[error("this master does not know that kind of operation; it was written by a newer one")]
    UnknownKind,
    /// Asked for again, so long after the first time that nobody knows any more whether it was done.
    #[error("it was first asked for too long ago to know whether it was done")]
    TooLate,
    /// An operation on an agent that was never there, or was removed or forgotten.
    #[error("agent {0} is neither admitted nor unreachable")]
    Unknown(String),
    /// Only an agent that was to become empty can have become so.
    #[error("agent {0} is not draining")]
    NotDraining(String),
    /// Reactivating an active agent.
    #[error("agent {0} is not deactivated")]
    NotDeactivated(String),
    /// Reactivating an agent whose tasks are being killed.
    #[error("agent {0} is still draining; it can be reactivated when it is drained")]
    StillDraining(String),
    /// A quota, a weight, a plan or a machine that cannot be; says which and why.
    #[error("{0}")]
    Invalid(String),
}

impl Refused {
    /// As a number and an agent's id or, of [`Refused::Invalid`], the reason: the form in which it is stored. The
    /// numbers do not change.
    pub(super) fn to_code(&self) -> (u32, String) {
        match self {
            Refused::AlreadyAdmitted(id) => (1, id.clone()),
            Refused::NotAdmitted(id) => (2, id.clone()),
            Refused::AlreadyGone(id) => (3, id.clone()),
            Refused::NoId => (4, String::new()),
            Refused::UnknownKind => (5, String::new()),
            Refused::TooLate => (6, String::new()),
            Refused::Unknown(id) => (7, id.clone()),
            Refused::NotDraining(id) => (8, id.clone()),
            Refused::NotDeactivated(id) => (9, id.clone()),
            Refused::StillDraining(id) => (10, id.clone()),
            Refused::Invalid(why) => (11, why.clone()),
        }
    }

    /// The inverse of [`Refused::to_code`]; a number this master does not know was written by a newer one.
    pub(super) fn from_code(code: u32, what: String) -> Refused {
        match code {
            1 => Refused::AlreadyAdmitted(what),
            2 => Refused::NotAdmitted(what),
            3 => Refused::AlreadyGone(what),
            4 => Refused::NoId,
            6 => Refused::TooLate,
            7 => Refused::Unknown(what),
            8 => Refused::NotDraining(what),
            9 => Refused::NotDeactivated(what),
            10 => Refused::StillDraining(what),
            11 => Refused::Invalid(what),
            _ => Refused::UnknownKind,
        }
    }

    /// With a reason whose length is not an outsider's choice: refusals are remembered.
    pub(super) fn invalid(why: impl Into<String>) -> Refused {
        const LONGEST: usize = 500;
        let mut why = why.into();
        if why.len() > LONGEST {
            why.truncate((0..=LONGEST).rev().find(|at| why.is_char_boundary(*at)).unwrap_or(0));
            why.push_str("...");
        }
        Refused::Invalid(why)
    }
}

/// What the operators decided about an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Orders {
    /// It is to become empty, or has.
    pub drain: Option<DrainInfo>,
    /// It gets no new work.
    pub deactivated: bool,
}

impl Orders {
    /// Whether anything was decided.
    pub fn any(&self) -> bool {
        self.drain.is_some() || self.deactivated
    }
}

/// The agents the cluster knows, and what the operators decided.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Registry {
    pub(super) admitted: OrdMap<AgentId, Arc<Slave>>,
    /// In the order they were lost, the oldest first: that is the order they are forgotten in.
    pub(super) unreachable: ByAge<UnreachableSlave>,
    pub(super) gone: ByAge<TimeInfo>,
    /// How many agents, admitted or unreachable, have [`Orders`].
    pub(super) n_ordered: usize,
    /// The machines that are planned to be away, or are.
    pub(super) machines: OrdMap<MachineKey, Arc<Machine>>,
    /// Everything else: the master, quotas, weights, the plan, and what this master does not interpret but keeps.
    pub(super) rest: Arc<RegistryProto>,
}

impl Registry {
    /// Who led last.
    pub fn master(&self) -> Option<&api::v1::MasterInfo> {
        self.rest.master.as_ref().map(|master| &master.info)
    }

    /// The agents that belong to the cluster.
    pub fn admitted(&self) -> impl ExactSizeIterator<Item = (&AgentId, &AgentInfo)> {
        self.admitted.iter().map(|(id, slave)| (id, &slave.info))
    }

    /// The agents that stopped answering and when, the oldest first.
    pub fn unreachable(&self) -> impl Iterator<Item = (&AgentId, &TimeInfo)> {
        self.unreachable.iter().map(|(id, slave)| (id, &slave.timestamp))
    }

    /// The agents an operator declared gone and when, the oldest first.
    pub fn gone(&self) -> impl Iterator<Item = (&AgentId, &TimeInfo)> {
        self.gone.iter()
    }

    /// The names of capabilities a master must have to work with this registry.
    pub fn minimum_capabilities(&self) -> impl Iterator<Item = &str> {
        self.rest.minimum_capabilities.iter().map(|minimum| minimum.capability.as_str())
    }

    /// What the operators decided about roles and machines, without any agents.
    pub fn without_agents(&self) -> Registry {
        Registry { machines: self.machines.clone(), rest: self.rest.clone(), ..Registry::default() }
    }

    /// Applies one operation. Applying the same operations in the same order gives the same registry.
    pub fn apply(&mut self, operation: &Operation) -> Result<(), Refused> {
        match operation.kind.as_ref().ok_or(Refused::UnknownKind)? {
            Kind::Recover(info) => {
                Arc::make_mut(&mut self.rest).master = Some(Master { info: info.clone() });
                Ok(())
            }
            Kind::AdmitAgent(info) => {
                let id = self.not_gone(info)?;
                if self.admitted.contains_key(&id) {
                    return Err(Refused::AlreadyAdmitted(id.to_string()));
                }
                self.admit(id, info.clone(), Orders::default());
                Ok(())
            }
            Kind::UpdateAgent(info) => {
                let id = self.not_gone(info)?;
                let slave = self.admitted.get_mut(&id).ok_or_else(|| Refused::NotAdmitted(id.to_string()))?;
                Arc::make_mut(slave).info = info.clone();
                Ok(())
            }
            Kind::MarkUnreachable(marked) => {
                let slave = self.remove(&marked.agent_id)?;
                self.unreachable.insert(
                    marked.agent_id.clone(),
                    UnreachableSlave {
                        id: marked.agent_id.clone(),
                        timestamp: marked.time,
                        drain_info: slave.drain_info,
                        deactivated: slave.deactivated,
                    },
                );
                Ok(())
            }
            Kind::MarkReachable(info) => {
                let id = self.not_gone(info)?;
                if self.admitted.contains_key(&id) {
                    return Ok(());
                }
                // Whatever the operator had ordered for the agent still stands when it returns.
                let orders =
                    self.unreachable.remove(&id).map(|slave| orders_of(slave.drain_info, slave.deactivated));
                self.admit(id, info.clone(), orders.unwrap_or_default());
                Ok(())
            }
            Kind::RemoveAgent(id) => {
                let slave = self.remove(id)?;
                self.forget_orders(orders_of(slave.drain_info, slave.deactivated));
                Ok(())
            }
            Kind::MarkGone(marked) => {
                let id = &marked.agent_id;
                self.forget_orders(self.orders_for(id)?);
                self.admitted.remove(id);
                self.unreachable.remove(id);
                self.gone.insert(id.clone(), marked.time);
                Ok(())
            }
            Kind::Prune(prune) => {
                for id in &prune.unreachable {
                    if let Some(slave) = self.unreachable.remove(id) {
                        self.forget_orders(orders_of(slave.drain_info, slave.deactivated));
                    }
                }
                for id in &prune.gone {
                    self.gone.remove(id);
                }
                Ok(())
            }
            Kind::UpdateQuota(quotas) => self.update_quota(quotas),
            Kind::UpdateWeights(weights) => self.update_weights(weights),
            Kind::UpdateSchedule(schedule) => self.update_schedule(schedule),
            Kind::StartMaintenance(machines) => self.start_maintenance(machines),
            Kind::StopMaintenance(machines) => self.stop_maintenance(machines),
            Kind::DrainAgent(drain) => self.drain_agent(drain),
            Kind::MarkDrained(id) => self.mark_drained(id),
            Kind::DeactivateAgent(id) => self.deactivate_agent(id),
            Kind::ReactivateAgent(id) => self.reactivate_agent(id),
        }
    }

    fn admit(&mut self, id: AgentId, info: AgentInfo, orders: Orders) {
        let Orders { drain, deactivated } = orders;
        let slave = Slave { info, drain_info: drain, deactivated: deactivated.then_some(true) };
        self.admitted.insert(id, Arc::new(slave));
    }

    fn remove(&mut self, id: &AgentId) -> Result<Arc<Slave>, Refused> {
        self.admitted.remove(id).ok_or_else(|| Refused::NotAdmitted(id.to_string()))
    }

    /// The id of an agent that may be here.
    fn not_gone(&self, info: &AgentInfo) -> Result<AgentId, Refused> {
        let id = id_of(info)?;
        if self.gone.contains_key(&id) { Err(Refused::AlreadyGone(id.to_string())) } else { Ok(id) }
    }

    /// Has the registry ask for masters that have a capability, or not.
    pub(super) fn require(&mut self, capability: &str, required: bool) {
        if self.minimum_capabilities().any(|it| it == capability) == required {
            return;
        }
        let all = &mut Arc::make_mut(&mut self.rest).minimum_capabilities;
        if required {
            all.push(MinimumCapability { capability: capability.to_owned() });
        } else {
            all.retain(|it| it.capability != capability);
        }
    }

    /// As Mesos stores and shows it.
    pub fn to_proto(&self) -> RegistryProto {
        let machines: Vec<_> = self.machines.values().map(|machine| Machine::clone(machine)).collect();
        RegistryProto {
            slaves: Some(Slaves {
                slaves: self.admitted.values().map(|slave| Slave::clone(slave)).collect(),
            }),
            unreachable: Some(UnreachableSlaves { slaves: self.unreachable.values().cloned().collect() }),
            gone: Some(GoneSlaves {
                slaves: self
                    .gone
                    .iter()
                    .map(|(id, time)| GoneSlave { id: id.clone(), timestamp: *time })
                    .collect(),
            }),
            machines: (!machines.is_empty()).then_some(Machines { machines }),
            ..(*self.rest).clone()
        }
    }

    /// The inverse of [`Registry::to_proto`].
    pub fn from_proto(mut proto: RegistryProto) -> Result<Self, Refused> {
        let mut admitted = OrdMap::new();
        let mut n_ordered = 0;
        for slave in proto.slaves.take().unwrap_or_default().slaves {
            n_ordered += usize::from(orders_of(slave.drain_info, slave.deactivated).any());
            admitted.insert(id_of(&slave.info)?, Arc::new(slave));
        }
        let unreachable = proto.unreachable.take().unwrap_or_default().slaves;
        let of_unreachable = |slave: &&UnreachableSlave| orders_of(slave.drain_info, slave.deactivated).any();
        n_ordered += unreachable.iter().filter(of_unreachable).count();
        let gone = proto.gone.take().unwrap_or_default().slaves;
        let machines = proto.machines.take().unwrap_or_default().machines;
        Ok(Registry {
            admitted,
            unreachable: unreachable.into_iter().map(|slave| (slave.id.clone(), slave)).collect(),
            gone: gone.into_iter().map(|slave| (slave.id, slave.timestamp)).collect(),
            n_ordered,
            machines: machines.into_iter().map(|it| (MachineKey::of(&it.info.id), Arc::new(it))).collect(),
            rest: Arc::new(proto),
        })
    }
}

pub(super) fn orders_of(drain: Option<DrainInfo>, deactivated: Option<bool>) -> Orders {
    Orders { drain, deactivated: deactivated.unwrap_or(false) }
}

fn id_of(info: &AgentInfo) -> Result<AgentId, Refused> {
    info.id.clone().ok_or(Refused::NoId)
}

#[cfg(test)]
mod tests;
