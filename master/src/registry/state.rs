//! The registry: which agents the cluster has, whoever leads it. A state machine without any I/O; the
//! replicated log below it decides in which order operations come.

use std::sync::Arc;

use api::internal::Registry as RegistryProto;
use api::internal::registry::{
    GoneSlave, GoneSlaves, Master, Slave, Slaves, UnreachableSlave, UnreachableSlaves,
};
use api::v1::{AgentId, AgentInfo, TimeInfo};
use imbl::OrdMap;
use indexmap::IndexMap;

use super::operation::{Kind, Operation};

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
}

impl Refused {
    /// As a number and an agent's id, the form in which it is stored. The numbers do not change.
    pub(super) fn to_code(&self) -> (u32, String) {
        match self {
            Refused::AlreadyAdmitted(id) => (1, id.clone()),
            Refused::NotAdmitted(id) => (2, id.clone()),
            Refused::AlreadyGone(id) => (3, id.clone()),
            Refused::NoId => (4, String::new()),
            Refused::UnknownKind => (5, String::new()),
            Refused::TooLate => (6, String::new()),
        }
    }

    /// The inverse of [`Refused::to_code`]; a number this master does not know was written by a newer one.
    pub(super) fn from_code(code: u32, id: String) -> Refused {
        match code {
            1 => Refused::AlreadyAdmitted(id),
            2 => Refused::NotAdmitted(id),
            3 => Refused::AlreadyGone(id),
            4 => Refused::NoId,
            6 => Refused::TooLate,
            _ => Refused::UnknownKind,
        }
    }
}

/// The agents the cluster knows, and what this master does not interpret but keeps.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Registry {
    /// Cloned for every snapshot and every reader: a clone shares what does not change afterwards.
    admitted: OrdMap<AgentId, Arc<Slave>>,
    /// In the order they were lost, the oldest first: that is the order they are forgotten in.
    unreachable: IndexMap<AgentId, UnreachableSlave>,
    gone: IndexMap<AgentId, TimeInfo>,
    /// Everything else (quotas, weights, machines), unchanged.
    pub(super) rest: RegistryProto,
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
    pub fn unreachable(&self) -> impl ExactSizeIterator<Item = (&AgentId, &TimeInfo)> {
        self.unreachable.iter().map(|(id, slave)| (id, &slave.timestamp))
    }

    /// The agents an operator declared gone and when, the oldest first.
    pub fn gone(&self) -> impl ExactSizeIterator<Item = (&AgentId, &TimeInfo)> {
        self.gone.iter()
    }

    /// The names of capabilities a master must have to work with this registry.
    pub fn minimum_capabilities(&self) -> impl Iterator<Item = &str> {
        self.rest.minimum_capabilities.iter().map(|minimum| minimum.capability.as_str())
    }

    /// Applies one operation. Applying the same operations in the same order gives the same registry.
    pub fn apply(&mut self, operation: &Operation) -> Result<(), Refused> {
        match operation.kind.as_ref().ok_or(Refused::UnknownKind)? {
            Kind::Recover(info) => {
                self.rest.master = Some(Master { info: info.clone() });
                Ok(())
            }
            Kind::AdmitAgent(info) => {
                let id = id_of(info)?;
                if self.admitted.contains_key(&id) {
                    return Err(Refused::AlreadyAdmitted(id.value));
                }
                let slave = Slave { info: info.clone(), drain_info: None, deactivated: None };
                self.admitted.insert(id, Arc::new(slave));
                Ok(())
            }
            Kind::UpdateAgent(info) => {
                let id = id_of(info)?;
                let slave = self.admitted.get_mut(&id).ok_or(Refused::NotAdmitted(id.value))?;
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
                let id = id_of(info)?;
                if self.admitted.contains_key(&id) {
                    return Ok(());
                }
                // Whatever the operator had ordered for the agent still stands when it returns.
                let (drain_info, deactivated) = self
                    .unreachable
                    .shift_remove(&id)
                    .map(|slave| (slave.drain_info, slave.deactivated))
                    .unwrap_or_default();
                self.admitted.insert(id, Arc::new(Slave { info: info.clone(), drain_info, deactivated }));
                Ok(())
            }
            Kind::RemoveAgent(id) => self.remove(id).map(drop),
            Kind::MarkGone(marked) => {
                let id = &marked.agent_id;
                if self.gone.contains_key(id) {
                    return Err(Refused::AlreadyGone(id.value.clone()));
                }
                if self.admitted.remove(id).is_none() && self.unreachable.shift_remove(id).is_none() {
                    return Err(Refused::NotAdmitted(id.value.clone()));
                }
                self.gone.insert(id.clone(), marked.time);
                Ok(())
            }
            Kind::Prune(prune) => {
                for id in &prune.unreachable {
                    self.unreachable.shift_remove(id);
                }
                for id in &prune.gone {
                    self.gone.shift_remove(id);
                }
                Ok(())
            }
        }
    }

    fn remove(&mut self, id: &AgentId) -> Result<Arc<Slave>, Refused> {
        self.admitted.remove(id).ok_or_else(|| Refused::NotAdmitted(id.value.clone()))
    }

    /// As Mesos stores and shows it.
    pub fn to_proto(&self) -> RegistryProto {
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
            ..self.rest.clone()
        }
    }

    /// The inverse of [`Registry::to_proto`].
    pub fn from_proto(mut proto: RegistryProto) -> Result<Self, Refused> {
        let mut admitted = OrdMap::new();
        for slave in proto.slaves.take().unwrap_or_default().slaves {
            admitted.insert(id_of(&slave.info)?, Arc::new(slave));
        }
        let unreachable = proto.unreachable.take().unwrap_or_default().slaves;
        let gone = proto.gone.take().unwrap_or_default().slaves;
        Ok(Registry {
            admitted,
            unreachable: unreachable.into_iter().map(|slave| (slave.id.clone(), slave)).collect(),
            gone: gone.into_iter().map(|slave| (slave.id, slave.timestamp)).collect(),
            rest: proto,
        })
    }
}

fn id_of(info: &AgentInfo) -> Result<AgentId, Refused> {
    info.id.clone().ok_or(Refused::NoId)
}

#[cfg(test)]
mod tests {
    use super::super::operation::{Marked, Prune};
    use super::*;

    fn agent(id: &str) -> AgentInfo {
        AgentInfo { hostname: "h".into(), id: Some(AgentId { value: id.into() }), ..Default::default() }
    }

    fn id(id: &str) -> AgentId {
        AgentId { value: id.into() }
    }

    fn marked(agent: &str, nanoseconds: i64) -> Marked {
        Marked { agent_id: id(agent), time: TimeInfo { nanoseconds } }
    }

    /// Each line an operation with its outcome, then the registry in short.
    fn check(operations: Vec<Kind>, expected: expect_test::Expect) {
        let mut registry = Registry::default();
        let mut out = String::new();
        for kind in operations {
            match registry.apply(&kind.into()) {
                Ok(()) => out.push_str("ok\n"),
                Err(refused) => out.push_str(&format!("{refused}\n")),
            }
        }
        let names = |ids: Vec<&AgentId>| ids.iter().map(|id| id.value.as_str()).collect::<Vec<_>>().join(",");
        out.push_str(&format!(
            "admitted={} unreachable={} gone={}\n",
            names(registry.admitted().map(|(id, _)| id).collect()),
            names(registry.unreachable().map(|(id, _)| id).collect()),
            names(registry.gone().map(|(id, _)| id).collect()),
        ));
        assert_eq!(Registry::from_proto(registry.to_proto()), Ok(registry), "proto round trip");
        expected.assert_eq(&out);
    }

    #[test]
    fn an_agent_is_admitted_once() {
        check(
            vec![Kind::AdmitAgent(agent("a")), Kind::AdmitAgent(agent("a"))],
            expect_test::expect![[r#"
                ok
                agent a is already admitted
                admitted=a unreachable= gone=
            "#]],
        );
    }

    #[test]
    fn only_admitted_agents_are_updated_removed_or_lost() {
        check(
            vec![
                Kind::UpdateAgent(agent("a")),
                Kind::RemoveAgent(id("a")),
                Kind::MarkUnreachable(marked("a", 1)),
                Kind::AdmitAgent(AgentInfo::default()),
            ],
            expect_test::expect![[r#"
                agent a is not admitted
                agent a is not admitted
                agent a is not admitted
                the agent information has no id
                admitted= unreachable= gone=
            "#]],
        );
    }

    #[test]
    fn a_lost_agent_comes_back() {
        check(
            vec![
                Kind::AdmitAgent(agent("a")),
                Kind::AdmitAgent(agent("b")),
                Kind::MarkUnreachable(marked("b", 1)),
                Kind::MarkUnreachable(marked("a", 2)),
                Kind::MarkReachable(agent("a")),
                Kind::MarkReachable(agent("a")),
                Kind::MarkReachable(agent("c")),
            ],
            expect_test::expect![[r#"
                ok
                ok
                ok
                ok
                ok
                ok
                ok
                admitted=a,c unreachable=b gone=
            "#]],
        );
    }

    #[test]
    fn gone_is_final_until_pruned() {
        check(
            vec![
                Kind::AdmitAgent(agent("a")),
                Kind::AdmitAgent(agent("b")),
                Kind::AdmitAgent(agent("c")),
                Kind::MarkUnreachable(marked("b", 1)),
                Kind::MarkUnreachable(marked("c", 1)),
                Kind::MarkGone(marked("a", 2)),
                Kind::MarkGone(marked("b", 3)),
                Kind::MarkGone(marked("a", 4)),
                Kind::MarkGone(marked("x", 4)),
                Kind::Prune(Prune { unreachable: vec![id("c")], gone: vec![id("a"), id("nobody")] }),
            ],
            expect_test::expect![[r#"
                ok
                ok
                ok
                ok
                ok
                ok
                ok
                agent a is already marked gone
                agent x is not admitted
                ok
                admitted= unreachable= gone=b
            "#]],
        );
    }

    #[test]
    fn an_operation_of_a_newer_master_is_refused_by_name() {
        assert_eq!(Registry::default().apply(&Operation::default()), Err(Refused::UnknownKind));
    }
}
