//! What frameworks and agents hear, as text.

use super::*;

impl World {
    pub(super) fn tell(&mut self, event: FrameworkEvent) {
        let text = match event {
            FrameworkEvent::Registered(m) => format!("registered {}", tail(&m.framework_id.value)),
            FrameworkEvent::Reregistered(m) => format!("reregistered {}", tail(&m.framework_id.value)),
            FrameworkEvent::Offers(m) => {
                let one = |offer: &api::v1::Offer| {
                    format!(
                        "{} {}",
                        tail(&offer.id.value),
                        Resources::from_checked(&offer.resources).unallocated()
                    )
                };
                format!("offers {}", m.offers.iter().map(one).collect::<Vec<_>>().join(", "))
            }
            FrameworkEvent::Rescind(m) => format!("rescind {}", tail(&m.offer_id.value)),
            FrameworkEvent::InverseOffers(m) => {
                let one = |offer: &api::v1::InverseOffer| {
                    let (agent, start) = (offer.agent_id.as_ref().unwrap(), offer.unavailability.start);
                    format!("{} {} from {}", tail(&offer.id.value), tail(&agent.value), start.nanoseconds)
                };
                format!("leave {}", m.inverse_offers.iter().map(one).collect::<Vec<_>>().join(", "))
            }
            FrameworkEvent::RescindInverse(m) => format!("stay {}", tail(&m.inverse_offer_id.value)),
            FrameworkEvent::Status(m) => {
                let status = &m.update.status;
                let reason =
                    status.reason.map(|_| format!(" {}", status.reason().as_str_name())).unwrap_or_default();
                let ack = if m.update.uuid.is_some() { " (ack)" } else { "" };
                let why = status.message.as_deref().map(|it| format!(": {it}")).unwrap_or_default();
                format!("{} {}{reason}{ack}{why}", status.task_id, status.state().as_str_name())
            }
            FrameworkEvent::LostAgent(m) => format!("lost {}", tail(&m.slave_id.value)),
            FrameworkEvent::ExitedExecutor(m) => format!("executor {} exited", m.executor_id),
            FrameworkEvent::FromExecutor(m) => format!("data from {}", m.executor_id),
            FrameworkEvent::OperationStatus(m) => format!(
                "operation {:?} {}",
                m.status.operation_id.as_ref().map(|it| &it.value),
                m.status.state().as_str_name()
            ),
            FrameworkEvent::Error(m) => format!("error: {}", m.message),
        };
        self.log.push_str(&format!("-> framework {text}\n"));
    }

    pub(super) fn send(&mut self, message: AgentMessage) {
        let text = match message {
            AgentMessage::Registered(m) => format!("registered {}", tail(&m.slave_id.value)),
            AgentMessage::Reregistered(m) => {
                let missing: Vec<_> = m
                    .reconciliations
                    .iter()
                    .flat_map(|it| &it.statuses)
                    .map(|it| it.task_id.to_string())
                    .collect();
                format!("reregistered {} missing={}", tail(&m.slave_id.value), missing.join(","))
            }
            AgentMessage::RunTask(m) => {
                format!("run {} launch_executor={}", m.task.task_id, m.launch_executor())
            }
            AgentMessage::RunTaskGroup(m) => format!("run group of {}", m.task_group.tasks.len()),
            AgentMessage::KillTask(m) => format!("kill {}", m.task_id),
            AgentMessage::ShutdownExecutor(m) => {
                format!("shut down executor {}", m.executor_id.unwrap_or_default())
            }
            AgentMessage::ShutdownFramework(m) => {
                format!("shut down framework {}", tail(&m.framework_id.value))
            }
            AgentMessage::ToExecutor(m) => format!("data to {}", m.executor_id),
            AgentMessage::UpdateFramework(m) => format!(
                "framework {} is {}",
                tail(&m.framework_id.value),
                m.framework_info.unwrap_or_default().name
            ),
            AgentMessage::CheckpointResources(_) => "checkpoint".into(),
            AgentMessage::Drain(m) => format!("drain mark_gone={}", m.config.mark_gone()),
            AgentMessage::Acknowledge(m) => format!("acknowledge {}", m.task_id),
            AgentMessage::Shutdown(m) => format!("shut down: {}", m.message()),
        };
        self.log.push_str(&format!("-> agent {text}\n"));
    }
}
