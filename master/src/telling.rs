//! What the master tells drivers, agents and its allocator, each in its own words.

use libprocess::{Context, Upid};

use crate::actor::Master;
use crate::effect::{AgentMessage, AllocatorCall, FrameworkEvent};
use crate::frameworks::framework_options;

impl Master {
    pub(crate) fn tell_allocator(&self, call: AllocatorCall) {
        let Some(allocator) = &self.allocator else { return };
        let regex = self.cluster.rules.regex;
        allocator.call(move |allocator, ctx| match call {
            AllocatorCall::AddFramework { id, info, used, active, options } => {
                let options = framework_options(&info, options, regex);
                allocator.add_framework(id, *info, used, active, options, ctx);
            }
            AllocatorCall::RemoveFramework(id) => allocator.remove_framework(id, ctx),
            AllocatorCall::ActivateFramework(id) => allocator.activate_framework(id, ctx),
            AllocatorCall::DeactivateFramework(id) => allocator.deactivate_framework(id, ctx),
            AllocatorCall::UpdateFramework { id, info, options } => {
                let options = framework_options(&info, options, regex);
                allocator.update_framework(id, *info, options, ctx);
            }
            AllocatorCall::AddAgent { id, info, capabilities, total, used } => {
                allocator.add_agent(id, &info, capabilities, total, used, ctx);
            }
            AllocatorCall::RemoveAgent(id) => allocator.remove_agent(id, ctx),
            AllocatorCall::UpdateAgent { id, info, total, capabilities } => {
                allocator.update_agent(id, &info, Some(total), Some(capabilities), ctx);
            }
            AllocatorCall::ActivateAgent(id) => allocator.activate_agent(id, ctx),
            AllocatorCall::DeactivateAgent(id) => allocator.deactivate_agent(id, ctx),
            AllocatorCall::Recover { framework_id, agent_id, resources, filters, allocated } => {
                allocator.recover_resources(framework_id, agent_id, resources, filters, allocated, ctx);
            }
            AllocatorCall::UpdateUnavailability { agent_id, unavailability } => {
                allocator.update_unavailability(agent_id, unavailability, ctx);
            }
            AllocatorCall::UpdateInverseOffer { framework_id, agent_id, status, filters } => {
                allocator.update_inverse_offer(agent_id, framework_id, status, filters, ctx);
            }
            AllocatorCall::Suppress { id, roles } => {
                allocator.suppress_offers(id, roles.into_iter().collect(), ctx)
            }
            AllocatorCall::Revive { id, roles } => {
                allocator.revive_offers(id, roles.into_iter().collect(), ctx)
            }
            AllocatorCall::RecoverQuotas { n_agents, quotas } => allocator.recover(n_agents, quotas, ctx),
            AllocatorCall::UpdateQuota { role, quota } => allocator.update_quota(role, quota, ctx),
            AllocatorCall::UpdateWeights(weights) => allocator.update_weights(weights, ctx),
            AllocatorCall::Allocated { framework_id, agent_id, resources } => {
                allocator.transition_offered_to_allocated(framework_id, agent_id, resources, ctx);
            }
            // The allocator answers no requests.
            AllocatorCall::Request { .. } => {}
        });
    }
}

pub(crate) fn tell_driver(to: &Upid, event: FrameworkEvent, ctx: &mut Context<Master>) {
    match event {
        FrameworkEvent::Registered(m) => ctx.send(to, m),
        FrameworkEvent::Reregistered(m) => ctx.send(to, m),
        FrameworkEvent::Offers(m) => ctx.send(to, m),
        FrameworkEvent::Rescind(m) => ctx.send(to, m),
        FrameworkEvent::InverseOffers(m) => ctx.send(to, m),
        FrameworkEvent::RescindInverse(m) => ctx.send(to, m),
        FrameworkEvent::Status(m) => ctx.send(to, *m),
        FrameworkEvent::LostAgent(m) => ctx.send(to, m),
        FrameworkEvent::ExitedExecutor(m) => ctx.send(to, m),
        FrameworkEvent::FromExecutor(m) => ctx.send(to, m),
        FrameworkEvent::Error(m) => ctx.send(to, m),
        // Drivers have no event for operations.
        FrameworkEvent::OperationStatus(_) => {}
    }
}

pub(crate) fn send_agent(to: &Upid, message: AgentMessage, ctx: &mut Context<Master>) {
    match message {
        AgentMessage::Registered(m) => ctx.send(to, m),
        AgentMessage::Reregistered(m) => ctx.send(to, m),
        AgentMessage::RunTask(m) => ctx.send(to, *m),
        AgentMessage::RunTaskGroup(m) => ctx.send(to, *m),
        AgentMessage::KillTask(m) => ctx.send(to, m),
        AgentMessage::ShutdownExecutor(m) => ctx.send(to, m),
        AgentMessage::ShutdownFramework(m) => ctx.send(to, m),
        AgentMessage::ToExecutor(m) => ctx.send(to, m),
        AgentMessage::UpdateFramework(m) => ctx.send(to, *m),
        AgentMessage::CheckpointResources(m) => ctx.send(to, m),
        AgentMessage::Acknowledge(m) => ctx.send(to, m),
        AgentMessage::Drain(m) => ctx.send(to, m),
        AgentMessage::Shutdown(m) => ctx.send(to, m),
    }
}
