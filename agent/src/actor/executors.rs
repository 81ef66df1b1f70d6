//! What driver-based executors say. Those that speak HTTP come in by `http::executor`.

use api::internal::{
    ExecutorReregisteredMessage, ExecutorToFrameworkMessage, RegisterExecutorMessage,
    ReregisterExecutorMessage, StatusUpdate, StatusUpdateMessage,
};
use libprocess::{Context, Upid};

use super::{Agent, AgentState};
use crate::workload::Link;

impl Agent {
    pub(super) fn register_executor(
        &mut self,
        from: &Upid,
        message: RegisterExecutorMessage,
        ctx: &mut Context<Self>,
    ) {
        let from = from.clone();
        self.turn(ctx, |workload, turn| {
            workload.register_executor(&message.framework_id, &message.executor_id, from, turn);
        });
    }

    pub(super) fn reregister_executor(
        &mut self,
        from: &Upid,
        message: ReregisterExecutorMessage,
        ctx: &mut Context<Self>,
    ) {
        let at = from.clone();
        let known = self.turn(ctx, |workload, turn| {
            let (framework_id, executor_id) = (&message.framework_id, &message.executor_id);
            workload.reregister_executor(framework_id, executor_id, message.updates, at, turn)
        });
        if known {
            let slave_info = self.workload.info.clone();
            ctx.send(from, ExecutorReregisteredMessage { slave_id: self.workload.agent_id(), slave_info });
        }
    }

    pub(super) fn status_update(
        &mut self,
        from: &Upid,
        message: StatusUpdateMessage,
        ctx: &mut Context<Self>,
    ) {
        // The executor says where it wants the confirmation; one that does not gets it where it sent from.
        let to = message.pid.as_deref().and_then(Upid::parse_ip).unwrap_or_else(|| from.clone());
        self.take_update(message.update, Link::Process(to), ctx);
    }

    /// An update from an executor, whichever way it came.
    pub(crate) fn take_update(&mut self, update: StatusUpdate, link: Link, ctx: &mut Context<Self>) {
        let taken = self.turn(ctx, |workload, turn| workload.status_update(update, link, turn));
        match taken {
            Ok(()) => self.count("valid_status_updates", ctx),
            Err(error) => {
                tracing::warn!(%error, "ignoring a status update");
                self.count("invalid_status_updates", ctx);
            }
        }
    }

    pub(super) fn executor_to_framework(
        &mut self,
        message: ExecutorToFrameworkMessage,
        ctx: &mut Context<Self>,
    ) {
        self.pass_to_framework(message, ctx);
    }

    /// Bytes for a framework: straight to a driver, over the master to one that speaks HTTP.
    pub(crate) fn pass_to_framework(&mut self, message: ExecutorToFrameworkMessage, ctx: &mut Context<Self>) {
        let framework = self.workload.framework(&message.framework_id);
        let (AgentState::Running, Some(framework)) = (self.state, framework) else {
            return self.count("invalid_framework_messages", ctx);
        };
        let driver = framework.pid.as_deref().and_then(Upid::parse_ip);
        if let Some(to) = driver.as_ref().or(self.registration.registered_with()) {
            ctx.send(to, message);
        }
        self.count("valid_framework_messages", ctx);
    }

    pub(crate) fn count(&self, what: &str, ctx: &Context<Self>) {
        ctx.metrics().counter(&format!("slave/{what}")).inc();
    }
}
