//! What operators decided about roles and machines: quotas, weights, and which machines are away when. The master
//! keeps it as the registry does, and changes it the same way, when the registry has.

use api::internal::ShutdownMessage;
use api::v1::machine_info::Mode;
use api::v1::{AgentId, AgentInfo, MachineInfo};
use libprocess::Upid;

use crate::agents::machine_of;
use crate::cluster::Cluster;
use crate::effect::{AgentMessage, AllocatorCall, Continuation, Effect};
use crate::registry::Kind;

/// Why an agent is removed whose machine is taken down.
const DOWN: &str = "Operator initiated 'Machine DOWN'";

impl Cluster {
    /// An operator decides about quotas, weights, the maintenance schedule, or machines. It takes effect when the
    /// registry holds it, which checks it.
    pub fn decide(&mut self, kind: Kind) {
        let then = Continuation::Decided(Box::new(kind.clone()));
        self.push(Effect::Registry { operation: kind.into(), then });
    }

    /// The registry holds what was decided.
    pub(crate) fn decided(&mut self, kind: Kind) {
        if let Err(refused) = self.will.apply(&kind.clone().into()) {
            // It accepted the same from the same state.
            tracing::error!(%refused, "the registry holds what it should have refused");
            return;
        }
        match kind {
            Kind::UpdateWeights(weights) => {
                let set = |role: &str| weights.weights.iter().any(|weight| weight.role() == role);
                let used =
                    self.frameworks.registered.values().any(|it| it.roles().iter().any(|role| set(role)));
                self.allocator(AllocatorCall::UpdateWeights(weights.weights.clone()));
                if used {
                    let offers: Vec<_> = self.offers.keys().cloned().collect();
                    for offer in offers {
                        self.rescind_offer(&offer);
                    }
                }
            }
            Kind::UpdateQuota(quotas) => {
                let Ok(all) = self.will.quotas() else { return };
                for config in quotas.configs {
                    let quota = all.get(&config.role).cloned().unwrap_or_default();
                    self.allocator(AllocatorCall::UpdateQuota { role: config.role, quota });
                }
            }
            Kind::StartMaintenance(_) => {
                for id in self.agents.registered.keys().cloned().collect::<Vec<_>>() {
                    self.turn_away_if_down(&id);
                }
            }
            Kind::UpdateSchedule(_) | Kind::StopMaintenance(_) => self.follow_schedule(),
            _ => {}
        }
    }

    /// Every agent is going to be unavailable when its machine is.
    fn follow_schedule(&mut self) {
        let changed = |agent: &crate::agents::Agent| {
            let planned =
                self.machine_under(&agent.info, &agent.pid).and_then(|machine| machine.unavailability);
            (agent.unavailability != planned).then(|| (agent.id.clone(), planned))
        };
        let changed: Vec<(AgentId, _)> =
            self.agents.registered.values().filter_map(|agent| changed(agent)).collect();
        for (id, planned) in changed {
            self.set_unavailability(&id, planned);
        }
    }

    /// An agent whose machine is down ends; also one that was let in while the registry wrote that it is.
    pub(crate) fn turn_away_if_down(&mut self, id: &AgentId) {
        let Some(agent) = self.agents.get(id).filter(|agent| self.is_down(&agent.info, &agent.pid)) else {
            return;
        };
        let pid = agent.pid.clone();
        let message = Some(DOWN.to_owned());
        self.send(&pid, AgentMessage::Shutdown(ShutdownMessage { message }));
        self.remove_agent(id, "its machine is down", "master/slave_removals/reason_unregistered");
    }

    /// What operators said of the machine an agent is on. Mostly they said nothing of any, and its key need not be made.
    pub(crate) fn machine_under(&self, info: &AgentInfo, pid: &Upid) -> Option<&MachineInfo> {
        if self.will.has_machines() { self.will.machine(&machine_of(info, pid)) } else { None }
    }

    /// Whether the machine an agent is on was taken down: its agents are not let in.
    pub(crate) fn is_down(&self, info: &AgentInfo, pid: &Upid) -> bool {
        self.machine_under(info, pid).is_some_and(|machine| machine.mode() == Mode::Down)
    }
}
