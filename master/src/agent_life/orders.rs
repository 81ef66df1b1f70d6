//! What operators decide about agents: one is lost for good, is to become empty, or gets no new work. Here is where
//! their calls come in. Each decision takes effect when the registry holds it.

use api::internal::{DrainSlaveMessage, LostSlaveMessage, ShutdownMessage};
use api::v1::task_status::Reason;
use api::v1::{AgentId, DrainConfig, DrainInfo, DrainState, FrameworkId, TaskId, TaskState};

use crate::cluster::{Cluster, time_info};
use crate::effect::{AgentMessage, AllocatorCall, Continuation, Effect, FrameworkEvent};
use crate::registry::{Drain, Kind, Marked, Orders};
use crate::tasks::TaskRecord;

/// Why nothing can be decided about an agent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// It was never here, or was removed or forgotten.
    #[error("agent {0} is neither registered, nor expected back, nor unreachable")]
    Unknown(String),
    /// Something else happens to it; trying again helps.
    #[error("agent {0} is about to be removed, marked or registered again; try again")]
    Changing(String),
    /// It was marked gone, which is final.
    #[error("agent {0} is gone")]
    Gone(String),
    /// It would not know what to do.
    #[error("agent {0} cannot be drained: it does not have the capability AGENT_DRAINING")]
    CannotDrain(String),
    /// Maintenance empties it already.
    #[error("agent {0} cannot be drained: its machine {1} is part of the maintenance schedule")]
    InMaintenance(String, String),
    /// It is becoming empty.
    #[error("agent {0} is still draining; it can be reactivated when it is drained")]
    StillDraining(String),
    /// There is nothing to take back.
    #[error("agent {0} is not deactivated")]
    NotDeactivated(String),
}

impl Cluster {
    /// An agent is lost for good: it will not be let in again. One that is gone already stays so.
    ///
    /// # Errors
    /// If there is no such agent, or something else is happening to it.
    pub fn mark_gone(&mut self, id: &AgentId) -> Result<(), OrderError> {
        if self.agents.gone.contains_key(id) {
            return Ok(());
        }
        self.may_order(id)?;
        if self.agents.is_changing(id) {
            return Err(OrderError::Changing(id.to_string()));
        }
        tracing::info!(agent = %id, "marking agent gone");
        self.agents.marking_gone.insert(id.clone());
        let marked = Marked { agent_id: id.clone(), time: time_info(self.now) };
        let then = Continuation::MarkedGone { id: id.clone(), at: self.now };
        self.push(Effect::Registry { operation: Kind::MarkGone(marked).into(), then });
        Ok(())
    }

    /// An agent is to become empty, and then perhaps to be marked gone.
    ///
    /// # Errors
    /// If there is no such agent, it is being marked gone, or it cannot be drained.
    pub fn drain_agent(&mut self, id: &AgentId, config: DrainConfig) -> Result<(), OrderError> {
        if let Some(agent) = self.agents.get(id) {
            let machine = agent.machine();
            if self.will.machine(&machine).is_some() {
                return Err(OrderError::InMaintenance(id.to_string(), machine.to_string()));
            }
            if !agent.capabilities.draining {
                return Err(OrderError::CannotDrain(id.to_string()));
            }
        }
        self.may_order(id)?;
        if self.agents.marking_gone.contains(id) {
            return Err(OrderError::Changing(id.to_string()));
        }
        self.order(id, Kind::DrainAgent(Drain { agent_id: id.clone(), config }));
        Ok(())
    }

    /// An agent gets no new work.
    ///
    /// # Errors
    /// If there is no such agent.
    pub fn deactivate_agent(&mut self, id: &AgentId) -> Result<(), OrderError> {
        self.may_order(id)?;
        self.order(id, Kind::DeactivateAgent(id.clone()));
        Ok(())
    }

    /// It does again.
    ///
    /// # Errors
    /// If there is no such agent, or it is not deactivated, or still becoming empty.
    pub fn reactivate_agent(&mut self, id: &AgentId) -> Result<(), OrderError> {
        self.may_order(id)?;
        let orders = self.agents.orders(id);
        if orders.drain.is_some_and(|drain| drain.state() == DrainState::Draining) {
            return Err(OrderError::StillDraining(id.to_string()));
        }
        if !orders.any() {
            return Err(OrderError::NotDeactivated(id.to_string()));
        }
        self.order(id, Kind::ReactivateAgent(id.clone()));
        Ok(())
    }

    fn may_order(&self, id: &AgentId) -> Result<(), OrderError> {
        let agents = &self.agents;
        if agents.gone.contains_key(id) {
            return Err(OrderError::Gone(id.to_string()));
        }
        let known = agents.get(id).is_some()
            || agents.recovered.contains_key(id)
            || agents.unreachable.contains_key(id);
        if known { Ok(()) } else { Err(OrderError::Unknown(id.to_string())) }
    }

    fn order(&mut self, id: &AgentId, kind: Kind) {
        let then = Continuation::Ordered { id: id.clone(), kind: Box::new(kind.clone()) };
        self.push(Effect::Registry { operation: kind.into(), then });
    }

    /// The registry holds what was decided about an agent.
    pub(crate) fn agent_ordered(&mut self, id: &AgentId, kind: &Kind) {
        let before = self.agents.orders(id);
        let drain = |state: DrainState, config| Some(DrainInfo { state: state.into(), config });
        let orders = match kind {
            Kind::DrainAgent(it) => {
                Orders { drain: drain(DrainState::Draining, it.config), deactivated: true }
            }
            Kind::MarkDrained(_) => {
                let config = before.drain.map(|drain| drain.config).unwrap_or_default();
                Orders { drain: drain(DrainState::Drained, config), ..before }
            }
            Kind::DeactivateAgent(_) => Orders { deactivated: true, ..before },
            _ => Orders::default(),
        };
        if orders.any() {
            self.agents.orders.insert(id.clone(), orders);
        } else {
            self.agents.orders.remove(id);
        }
        let Some(agent) = self.agents.get_mut(id) else { return };
        let active = agent.connected && !orders.deactivated;
        if std::mem::replace(&mut agent.active, active) != active {
            if active {
                self.allocator(AllocatorCall::ActivateAgent(id.clone()));
            } else {
                self.allocator(AllocatorCall::DeactivateAgent(id.clone()));
                self.rescind_offers_of_agent(id);
            }
        }
        self.repeat_drain(id);
    }

    /// Tells an agent that is to become empty that it is, as it may not have heard.
    pub(crate) fn repeat_drain(&mut self, id: &AgentId) {
        let drain = self.agents.orders(id).drain.filter(|drain| drain.state() == DrainState::Draining);
        let Some(drain) = drain else { return };
        if let Some(pid) = self.agents.get(id).filter(|it| it.connected).map(|it| it.pid.clone()) {
            self.send(&pid, AgentMessage::Drain(DrainSlaveMessage { config: drain.config }));
        }
        self.check_drained(id);
    }

    /// An agent that was to become empty may be: nothing runs there, and the end of everything is acknowledged.
    pub(crate) fn check_drained(&mut self, id: &AgentId) {
        let drain = self.agents.orders(id).drain.filter(|drain| drain.state() == DrainState::Draining);
        let Some(drain) = drain else { return };
        let empty = self.agents.get(id).is_some_and(|agent| agent.connected && agent.tasks.is_empty());
        if !empty || self.agents.is_changing(id) || self.agents.marking_drained.contains(id) {
            return;
        }
        if drain.config.mark_gone() {
            if let Err(error) = self.mark_gone(id) {
                tracing::warn!(agent = %id, %error, "the agent is empty, but is not marked gone");
            }
            return;
        }
        self.agents.marking_drained.insert(id.clone());
        self.order(id, Kind::MarkDrained(id.clone()));
    }

    /// The registry holds that an agent is gone.
    pub(crate) fn agent_gone(&mut self, id: &AgentId, at: libprocess::Time) {
        self.spare(id);
        self.agents.orders.remove(id);
        self.agents.recovered.remove(id);
        self.agents.unreachable.remove(id);
        self.agents.gone.insert(id.clone(), at);
        let running = self.agents.get(id).map(|agent| (agent.pid.clone(), agent.tasks.clone()));
        if let Some((pid, tasks)) = running {
            let message = Some("Agent has been marked gone".to_owned());
            self.send(&pid, AgentMessage::Shutdown(ShutdownMessage { message }));
            for (framework_id, task_id) in &tasks {
                let (state, reason) = self.gone_state(framework_id);
                self.finish_task(framework_id, task_id, state, reason, "Agent has been marked gone");
            }
            self.drop_agent(id, &pid);
        }
        for (framework_id, task_id) in self.agents.unreachable_tasks.remove(id).unwrap_or_default() {
            self.end_unreachable(id, &framework_id, &task_id);
        }
        self.tell_lost(id);
    }

    /// What a framework is told of tasks on an agent that is gone.
    fn gone_state(&self, id: &FrameworkId) -> (TaskState, Reason) {
        if self.frameworks.get(id).is_some_and(|it| it.capabilities.partition_aware) {
            (TaskState::TaskGoneByOperator, Reason::AgentRemovedByOperator)
        } else {
            (TaskState::TaskLost, Reason::AgentRemoved)
        }
    }

    /// A task that might have come back with its agent will not.
    fn end_unreachable(&mut self, agent_id: &AgentId, framework_id: &FrameworkId, task_id: &TaskId) {
        let (state, reason) = self.gone_state(framework_id);
        let bound = self.rules.max_completed_tasks;
        let Some(framework) = self.frameworks.get_mut(framework_id) else { return };
        let Some(mut task) = framework.unreachable_tasks.remove_on(task_id, agent_id) else { return };
        let update = self.master_update(framework_id, &task, state, reason, "Agent has been marked gone");
        TaskRecord::update(&mut task, &update);
        self.count_task(state, Some(api::v1::task_status::Source::Master), Some(reason));
        if let Some(framework) = self.frameworks.get_mut(framework_id) {
            framework.complete(task, bound);
        }
        self.forward(update);
    }

    /// Tells every connected framework that an agent is lost.
    pub(crate) fn tell_lost(&mut self, id: &AgentId) {
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
}
