//! What the registry holds: taken over by a new master, waited for, tidied up, and the word that something is in it.

use std::sync::Arc;

use api::v1::AgentId;

use crate::cluster::Cluster;
use crate::effect::{AllocatorCall, Continuation, Effect, Timeout};
use crate::registry::{InvalidRegistry, Kind, Refused};

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
        }
        Ok(())
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
}
