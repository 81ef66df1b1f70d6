//! What the master says about tasks, executors and frameworks.

use api::internal::{
    CheckpointResourcesMessage, FrameworkToExecutorMessage, KillTaskMessage, RunTaskGroupMessage,
    RunTaskMessage, ShutdownExecutorMessage, ShutdownFrameworkMessage, ShutdownMessage,
    StatusUpdateAcknowledgementMessage, UnregisterSlaveMessage, UpdateFrameworkMessage,
};
use libprocess::{Context, Upid};
use prost::Message as _;

use super::{Agent, AgentState};
use crate::checkpoint::Write;
use crate::journal;
use crate::status_updates::streams::TaskKey;
use crate::workload::RunTask;

impl Agent {
    pub(super) fn run_task(&mut self, from: &Upid, message: RunTaskMessage, ctx: &mut Context<Self>) {
        if !self.is_from_master(from, "run task", ctx) || self.state == AgentState::Terminating {
            return;
        }
        let mut framework = message.framework;
        framework.id = framework.id.or(message.framework_id);
        let run = RunTask {
            framework,
            framework_pid: message.pid,
            task: message.task,
            resource_versions: message.resource_version_uuids,
            launch_executor: message.launch_executor,
        };
        self.turn(ctx, |workload, turn| workload.run_task(run, turn));
    }

    pub(super) fn run_task_group(
        &mut self,
        from: &Upid,
        message: RunTaskGroupMessage,
        ctx: &mut Context<Self>,
    ) {
        if self.is_from_master(from, "run task group", ctx) && self.state != AgentState::Terminating {
            self.turn(ctx, |workload, turn| workload.run_task_group(message, turn));
        }
    }

    pub(super) fn kill_task(&mut self, from: &Upid, message: KillTaskMessage, ctx: &mut Context<Self>) {
        if self.is_from_master(from, "kill task", ctx) && self.state != AgentState::Terminating {
            self.turn(ctx, |workload, turn| {
                workload.kill_task(&message.framework_id, &message.task_id, message.kill_policy, turn);
            });
        }
    }

    pub(super) fn shutdown_executor(
        &mut self,
        from: &Upid,
        message: ShutdownExecutorMessage,
        ctx: &mut Context<Self>,
    ) {
        if !self.is_from_master(from, "shut down executor", ctx) || self.state != AgentState::Running {
            return;
        }
        if let (Some(framework_id), Some(executor_id)) = (message.framework_id, message.executor_id) {
            self.turn(ctx, |workload, turn| workload.shutdown_executor(&framework_id, &executor_id, turn));
        }
    }

    pub(super) fn shutdown_framework(
        &mut self,
        from: &Upid,
        message: ShutdownFrameworkMessage,
        ctx: &mut Context<Self>,
    ) {
        if self.is_from_master(from, "shut down framework", ctx) && self.state == AgentState::Running {
            self.turn(ctx, |workload, turn| workload.shutdown_framework(&message.framework_id, turn));
        }
    }

    pub(super) fn update_framework(
        &mut self,
        from: &Upid,
        message: UpdateFrameworkMessage,
        ctx: &mut Context<Self>,
    ) {
        if !self.is_from_master(from, "update framework", ctx) || self.state != AgentState::Running {
            return;
        }
        self.turn(ctx, |workload, turn| {
            workload.update_framework(&message.framework_id, message.pid, message.framework_info, turn);
        });
        // Its scheduler may be a new one, that has heard nothing yet.
        self.resume_updates();
    }

    pub(super) fn checkpoint_resources(
        &mut self,
        from: &Upid,
        message: CheckpointResourcesMessage,
        ctx: &mut Context<Self>,
    ) {
        if !self.is_from_master(from, "checkpoint resources", ctx) {
            return;
        }
        let path = self.workload.settings.layout.resources_info();
        let mut bytes = Vec::new();
        for resource in &message.resources {
            bytes.extend_from_slice(&(resource.encoded_len() as u32).to_ne_bytes());
            resource.encode_raw(&mut bytes);
        }
        self.workload.checkpointed_resources = message.resources;
        journal::write(self, Write::Replace { path, bytes });
        journal::run(self, ctx);
    }

    pub(super) fn acknowledge(
        &mut self,
        from: &Upid,
        message: StatusUpdateAcknowledgementMessage,
        ctx: &mut Context<Self>,
    ) {
        // Drivers acknowledge straight to the agent; only a master must be the current one.
        if from.id().starts_with("master") && !self.is_from_master(from, "acknowledgement", ctx) {
            return;
        }
        if message.slave_id == self.workload.agent_id() {
            let key = TaskKey { framework_id: message.framework_id, task_id: message.task_id };
            self.acknowledged(key, message.uuid, ctx);
        }
    }

    pub(super) fn shutdown(&mut self, from: &Upid, message: ShutdownMessage, ctx: &mut Context<Self>) {
        if from.is_nobody() {
            // The operator ends this agent for good: the master need not wait for it.
            if let Some(master) = self.registration.registered_with() {
                ctx.send(master, UnregisterSlaveMessage { slave_id: self.workload.agent_id() });
            }
        } else if !self.is_from_master(from, "shutdown", ctx) {
            return;
        }
        let reason = message.message.unwrap_or_else(|| "asked to".to_owned());
        self.shut_down(&reason, ctx);
    }

    /// Bytes for an executor, from whoever has them: masters pass them on, drivers send them straight.
    pub(super) fn framework_to_executor(
        &mut self,
        message: FrameworkToExecutorMessage,
        ctx: &mut Context<Self>,
    ) {
        let reached = self.state == AgentState::Running
            && self.turn(ctx, |workload, turn| {
                workload.message_to_executor(&message.framework_id, &message.executor_id, message.data, turn)
            });
        self.count(if reached { "valid_framework_messages" } else { "invalid_framework_messages" }, ctx);
    }
}
