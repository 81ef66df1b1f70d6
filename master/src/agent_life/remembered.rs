//! What the registry holds: taken over by a new master, waited for, tidied up, and the word that something is in it.

use std::sync::Arc;

use api::v1::AgentId;

use crate::cluster::Cluster;
use crate::effect::{AllocatorCall, Continuation, Effect, Timeout};
use crate::registry::{ByAge, InvalidRegistry, Kind, Refused, Weights};

impl Cluster {
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
            Continuation::MarkedGone { id, at } => {
                self.agents.marking_gone.remove(&id);
                match result {
                    Ok(()) => self.agent_gone(&id, at),
                    Err(refused) => tracing::error!(agent = %id, %refused, "could not be marked gone"),
                }
            }
            Continuation::Ordered { id, kind } => {
                if matches!(*kind, Kind::MarkDrained(_)) {
                    self.agents.marking_drained.remove(&id);
                }
                match result {
                    Ok(()) => self.agent_ordered(&id, &kind),
                    Err(refused) => {
                        tracing::warn!(agent = %id, %refused, "what was decided about an agent is not done")
                    }
                }
            }
            Continuation::Decided(kind) => match result {
                Ok(()) => self.decided(*kind),
                Err(refused) => tracing::warn!(%refused, "what was decided is not done"),
            },
            Continuation::Pruned { unreachable, gone } => {
                for id in unreachable {
                    self.agents.unreachable.remove(&id);
                    self.agents.orders.remove(&id);
                    self.forget_unreachable_tasks(&id);
                }
                for id in gone {
                    self.agents.gone.remove(&id);
                }
            }
        }
    }

    /// What ran on a lost agent, and is not there any more, is not unreachable but unknown.
    pub(crate) fn forget_unreachable_tasks(&mut self, id: &AgentId) {
        for (framework_id, task_id) in self.agents.unreachable_tasks.remove(id).unwrap_or_default() {
            if let Some(framework) = self.frameworks.get_mut(&framework_id) {
                framework.unreachable_tasks.remove_on(&task_id, id);
            }
        }
    }

    /// Takes over what the registry holds.
    ///
    /// # Errors
    /// If the registry holds a quota or a weight that none can be; nothing is changed then.
    pub fn recover(&mut self, registry: &crate::registry::Registry) -> Result<(), InvalidRegistry> {
        let (quotas, weights) = (registry.quotas()?, registry.weights()?);
        let time = |time: &api::v1::TimeInfo| {
            libprocess::Time::from_nanos(u64::try_from(time.nanoseconds).unwrap_or(0))
        };
        self.agents.recovered =
            registry.admitted().map(|(id, info)| (id.clone(), Arc::new(info.clone()))).collect();
        self.agents.unreachable = registry.unreachable().map(|(id, at)| (id.clone(), time(at))).collect();
        self.agents.gone = registry.gone().map(|(id, at)| (id.clone(), time(at))).collect();
        self.agents.orders = registry.orders().map(|(id, orders)| (id.clone(), orders)).collect();
        self.will = registry.without_agents();
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
        let n_agents = self.admitted_at_recovery;
        self.allocator(AllocatorCall::RecoverQuotas { n_agents, quotas });
        if !weights.is_empty() {
            self.allocator(AllocatorCall::UpdateWeights(weights));
        } else if !self.rules.weights.is_empty() {
            // The flag only says how to begin; from now on the registry does.
            let weights = self.rules.weights.clone();
            self.decide(Kind::UpdateWeights(Weights { weights }));
        }
        Ok(())
    }

    /// Forgets agents that were lost long ago, or before too many others.
    pub fn collect_registry_garbage(&mut self) {
        let expired = |lost: &ByAge<libprocess::Time>| -> Vec<AgentId> {
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
}
