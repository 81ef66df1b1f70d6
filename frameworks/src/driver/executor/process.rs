//! The actor that speaks with the agent for an executor.

use api::internal::{
    ExecutorRegisteredMessage, ExecutorReregisteredMessage, FrameworkToExecutorMessage, KillTaskMessage,
    ReconnectExecutorMessage, RegisterExecutorMessage, ReregisterExecutorMessage, RunTaskMessage,
    ShutdownExecutorMessage, StatusUpdateAcknowledgementMessage,
};
use libprocess::{Context, Future, Process, Promise, Timer, Upid};

use super::unacknowledged::Unacknowledged;
use super::{Executor, ExecutorCalls, ExecutorEnvironment};
use crate::driver::Outcome;

/// The actor behind an [`ExecutorDriver`](super::ExecutorDriver). Spawn it oneself only where there is no
/// [`Node`](libprocess::Node), as in a simulation.
pub struct ExecutorProcess<E: Executor> {
    executor: E,
    pub(super) link: AgentLink,
    /// Runs while a checkpointing executor waits for its agent to come back.
    patience: Option<Timer>,
    ended: Option<Promise<Outcome>>,
}

/// The executor's side of its connection with the agent.
pub(super) struct AgentLink {
    pub(super) environment: ExecutorEnvironment,
    pub(super) connected: bool,
    pub(super) unacknowledged: Unacknowledged,
    pub(super) stopped: bool,
}

impl<E: Executor> Process for ExecutorProcess<E> {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.install(Self::executor_registered);
        ctx.install(Self::executor_reregistered);
        ctx.install(Self::reconnect_executor);
        ctx.install(Self::run_task);
        ctx.install(Self::kill_task);
        ctx.install(Self::acknowledgement);
        ctx.install(Self::framework_message);
        ctx.install(Self::shutdown_executor);
        let environment = &self.link.environment;
        // Once: an agent takes a second registration for an executor that lost its mind, and shuts it down.
        let register = RegisterExecutorMessage {
            framework_id: environment.framework_id.clone(),
            executor_id: environment.executor_id.clone(),
        };
        let agent = environment.agent.clone();
        ctx.link(&agent);
        ctx.send(&agent, register);
    }

    fn exited(&mut self, pid: &Upid, ctx: &mut Context<Self>) {
        if *pid != self.link.environment.agent || self.link.stopped {
            return;
        }
        let was_connected = std::mem::replace(&mut self.link.connected, false);
        if !was_connected && self.patience.is_some() {
            // The agent came back and went again before it was done. Its time runs on.
            return;
        }
        self.with(ctx, |executor, calls| executor.disconnected(calls));
        if was_connected && self.link.environment.checkpoint {
            let wait = self.link.environment.recovery_timeout;
            tracing::info!(?wait, "the agent is gone; waiting for it to come back");
            self.patience = Some(ctx.delay(wait, |process, ctx| {
                if !process.link.connected {
                    process.shut_down("the agent did not come back in time", ctx);
                }
            }));
        } else {
            self.shut_down("the agent is gone", ctx);
        }
    }
}

impl<E: Executor> ExecutorProcess<E> {
    /// The actor, and how it will have ended.
    pub fn new(executor: E, environment: ExecutorEnvironment) -> (ExecutorProcess<E>, Future<Outcome>) {
        let (promise, future) = Promise::new();
        let link = AgentLink {
            environment,
            connected: false,
            unacknowledged: Unacknowledged::default(),
            stopped: false,
        };
        (ExecutorProcess { executor, link, patience: None, ended: Some(promise) }, future)
    }

    /// Runs `f` with the executor and its calls.
    pub fn with<R>(
        &mut self,
        ctx: &mut Context<Self>,
        f: impl FnOnce(&mut E, &mut ExecutorCalls<'_, E>) -> R,
    ) -> R {
        let mut calls = ExecutorCalls::new(&mut self.link, ctx);
        f(&mut self.executor, &mut calls)
    }

    fn executor_registered(&mut self, message: ExecutorRegisteredMessage, ctx: &mut Context<Self>) {
        if self.link.connected || self.link.stopped {
            return;
        }
        self.link.connected = true;
        self.link.environment.agent_id = message.slave_id;
        self.with(ctx, |executor, calls| {
            executor.registered(calls, &message.executor_info, &message.framework_info, &message.slave_info);
        });
    }

    /// A restarted agent looks for its executors.
    fn reconnect_executor(
        &mut self,
        from: &Upid,
        message: ReconnectExecutorMessage,
        ctx: &mut Context<Self>,
    ) {
        if self.link.stopped {
            return;
        }
        self.link.environment.agent = from.clone();
        self.link.environment.agent_id = message.slave_id;
        ctx.link(from);
        ctx.send(
            from,
            ReregisterExecutorMessage {
                executor_id: self.link.environment.executor_id.clone(),
                framework_id: self.link.environment.framework_id.clone(),
                tasks: self.link.unacknowledged.tasks(),
                updates: self.link.unacknowledged.updates(),
            },
        );
    }

    fn executor_reregistered(&mut self, message: ExecutorReregisteredMessage, ctx: &mut Context<Self>) {
        if self.link.stopped {
            return;
        }
        self.link.connected = true;
        self.link.environment.agent_id = message.slave_id;
        if let Some(patience) = self.patience.take() {
            patience.cancel();
        }
        self.with(ctx, |executor, calls| executor.reregistered(calls, &message.slave_info));
    }

    fn run_task(&mut self, message: RunTaskMessage, ctx: &mut Context<Self>) {
        if self.link.stopped {
            return;
        }
        self.link.unacknowledged.launched(message.task.clone());
        self.with(ctx, |executor, calls| executor.launch_task(calls, message.task));
    }

    fn kill_task(&mut self, message: KillTaskMessage, ctx: &mut Context<Self>) {
        if !self.link.stopped {
            self.with(ctx, |executor, calls| executor.kill_task(calls, &message.task_id));
        }
    }

    fn acknowledgement(&mut self, message: StatusUpdateAcknowledgementMessage, _: &mut Context<Self>) {
        self.link.unacknowledged.acknowledged(&message.task_id, &message.uuid);
    }

    fn framework_message(&mut self, message: FrameworkToExecutorMessage, ctx: &mut Context<Self>) {
        if !self.link.stopped {
            self.with(ctx, |executor, calls| executor.framework_message(calls, &message.data));
        }
    }

    fn shutdown_executor(&mut self, _: ShutdownExecutorMessage, ctx: &mut Context<Self>) {
        self.shut_down("the agent asks for it", ctx);
    }

    fn shut_down(&mut self, reason: &str, ctx: &mut Context<Self>) {
        if !self.link.stopped {
            tracing::info!(reason, "shutting down");
            self.with(ctx, |executor, calls| executor.shutdown(calls));
            self.stop(ctx);
        }
    }

    /// Ends this driver.
    pub(super) fn stop(&mut self, ctx: &mut Context<Self>) {
        self.finish(Outcome::Stopped);
        ctx.terminate_self();
    }

    pub(super) fn abort(&mut self, reason: Option<String>) {
        self.finish(Outcome::Aborted(reason));
    }

    fn finish(&mut self, outcome: Outcome) {
        self.link.stopped = true;
        if let Some(ended) = self.ended.take() {
            ended.set(outcome);
        }
    }
}
