//! What an executor is told, in the words of whichever protocol it speaks.

use api::internal::{
    ExecutorRegisteredMessage, FrameworkToExecutorMessage, KillTaskMessage, RunTaskMessage,
    ShutdownExecutorMessage, StatusUpdateAcknowledgementMessage,
};
use api::v1::executor::{Event, event};
use api::v1::{AgentId, ExecutorId, FrameworkId};
use libprocess::{Context, Process, Upid};

use crate::workload::ExecutorEvent;

/// The event as an executor hears it over HTTP.
pub(crate) fn event_of(event: ExecutorEvent) -> Event {
    let of = |kind: event::Type| Event { r#type: Some(kind as i32), ..Default::default() };
    match event {
        ExecutorEvent::Registered { framework, executor, agent, container_id } => Event {
            subscribed: Some(event::Subscribed {
                executor_info: *executor,
                framework_info: *framework,
                agent_info: *agent,
                container_id: Some(container_id),
            }),
            ..of(event::Type::Subscribed)
        },
        ExecutorEvent::Launch { task, .. } => {
            Event { launch: Some(event::Launch { task: *task }), ..of(event::Type::Launch) }
        }
        ExecutorEvent::Kill { task_id, kill_policy } => {
            Event { kill: Some(event::Kill { task_id, kill_policy }), ..of(event::Type::Kill) }
        }
        ExecutorEvent::Acknowledged { task_id, uuid } => {
            let acknowledged = Some(event::Acknowledged { task_id, uuid });
            Event { acknowledged, ..of(event::Type::Acknowledged) }
        }
        ExecutorEvent::Message { data } => {
            Event { message: Some(event::Message { data }), ..of(event::Type::Message) }
        }
        ExecutorEvent::Shutdown => of(event::Type::Shutdown),
    }
}

/// Sends the event to a driver-based executor.
pub(crate) fn send<P: Process>(
    to: &Upid,
    agent_id: AgentId,
    framework_id: FrameworkId,
    executor_id: ExecutorId,
    event: ExecutorEvent,
    ctx: &mut Context<P>,
) {
    match event {
        ExecutorEvent::Registered { framework, executor, agent, .. } => ctx.send(
            to,
            ExecutorRegisteredMessage {
                executor_info: *executor,
                framework_id,
                framework_info: *framework,
                slave_id: agent_id,
                slave_info: *agent,
            },
        ),
        ExecutorEvent::Launch { framework, framework_pid, task } => ctx.send(
            to,
            RunTaskMessage {
                framework_id: Some(framework_id),
                framework: *framework,
                task: *task,
                pid: Some(framework_pid.unwrap_or_default()),
                ..Default::default()
            },
        ),
        ExecutorEvent::Kill { task_id, kill_policy } => {
            ctx.send(to, KillTaskMessage { framework_id, task_id, kill_policy });
        }
        ExecutorEvent::Acknowledged { task_id, uuid } => {
            ctx.send(
                to,
                StatusUpdateAcknowledgementMessage { slave_id: agent_id, framework_id, task_id, uuid },
            );
        }
        ExecutorEvent::Message { data } => {
            ctx.send(to, FrameworkToExecutorMessage { slave_id: agent_id, framework_id, executor_id, data });
        }
        ExecutorEvent::Shutdown => ctx.send(
            to,
            ShutdownExecutorMessage { executor_id: Some(executor_id), framework_id: Some(framework_id) },
        ),
    }
}
