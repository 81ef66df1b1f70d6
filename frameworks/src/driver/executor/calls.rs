//! What an executor can ask for.

use std::time::Duration;

use api::internal::{ExecutorToFrameworkMessage, StatusUpdate, StatusUpdateMessage};
use api::v1::{TaskId, TaskState, TaskStatus, task_status};
use libprocess::{Context, Time};

use super::process::{AgentLink, ExecutorProcess};
use super::{Executor, ExecutorEnvironment};

/// A status update that is not an executor's to make.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an executor cannot report `{task}` as {state}: tasks are staging before they reach it")]
pub struct InvalidUpdate {
    /// The task.
    pub task: String,
    /// The state.
    pub state: &'static str,
}

/// The calls of an executor, as handed to each of its methods.
pub struct ExecutorCalls<'a, E: Executor> {
    link: &'a mut AgentLink,
    ctx: &'a mut Context<ExecutorProcess<E>>,
}

impl<'a, E: Executor> ExecutorCalls<'a, E> {
    pub(super) fn new(link: &'a mut AgentLink, ctx: &'a mut Context<ExecutorProcess<E>>) -> Self {
        ExecutorCalls { link, ctx }
    }

    /// Reports the state of a task. The update gets its identity, source and time here, and is kept until
    /// the agent has stored it.
    ///
    /// # Errors
    /// For `TASK_STAGING`.
    pub fn send_status_update(&mut self, mut status: TaskStatus) -> Result<(), InvalidUpdate> {
        if status.state() == TaskState::TaskStaging {
            let state = TaskState::TaskStaging.as_str_name();
            return Err(InvalidUpdate { task: status.task_id.to_string(), state });
        }
        let environment = &self.link.environment;
        let uuid = self.ctx.uuid().as_bytes().to_vec();
        let timestamp = status.timestamp.unwrap_or(self.ctx.now().as_secs_f64());
        status.timestamp = Some(timestamp);
        status.source = Some(task_status::Source::Executor as i32);
        status.agent_id = Some(environment.agent_id.clone());
        status.executor_id = Some(environment.executor_id.clone());
        status.uuid = Some(uuid.clone());
        let update = StatusUpdate {
            framework_id: environment.framework_id.clone(),
            executor_id: Some(environment.executor_id.clone()),
            slave_id: Some(environment.agent_id.clone()),
            status,
            timestamp,
            uuid: Some(uuid.clone()),
            latest_state: None,
        };
        self.link.unacknowledged.sent(uuid, update.clone());
        let pid = Some(self.ctx.upid().to_string());
        let agent = self.link.environment.agent.clone();
        // Also while the agent is away: if that is not noticed yet, it asks for what it lacks on its return.
        self.ctx.send(agent, StatusUpdateMessage { update, pid });
        Ok(())
    }

    /// Reports the state of a task, with a text for those who read it.
    ///
    /// # Errors
    /// As [`send_status_update`](Self::send_status_update).
    pub fn report(
        &mut self,
        task_id: TaskId,
        state: TaskState,
        message: Option<String>,
    ) -> Result<(), InvalidUpdate> {
        self.send_status_update(TaskStatus { task_id, state: state as i32, message, ..Default::default() })
    }

    /// Tells the framework's scheduler something. It may be lost.
    pub fn send_framework_message(&mut self, data: Vec<u8>) {
        if !self.link.connected {
            return;
        }
        let environment = &self.link.environment;
        let message = ExecutorToFrameworkMessage {
            slave_id: environment.agent_id.clone(),
            framework_id: environment.framework_id.clone(),
            executor_id: environment.executor_id.clone(),
            data,
        };
        self.ctx.send(environment.agent.clone(), message);
    }

    /// Does `work`, which may block or compute for long, somewhere else, and hands what it returns to `f`.
    pub fn blocking<T: Send + 'static>(
        &mut self,
        work: impl FnOnce() -> T + Send + 'static,
        f: impl FnOnce(&mut E, T, &mut ExecutorCalls<'_, E>) + Send + 'static,
    ) {
        let done = self.ctx.blocking(work);
        self.ctx.then(done, move |process, result, ctx| {
            if let (Ok(result), false) = (result, process.link.stopped) {
                process.with(ctx, |executor, calls| f(executor, result, calls));
            }
        });
    }

    /// Calls `f` after that time, unless the driver has ended.
    pub fn after(
        &mut self,
        wait: Duration,
        f: impl FnOnce(&mut E, &mut ExecutorCalls<'_, E>) + Send + 'static,
    ) {
        self.ctx.delay(wait, move |process, ctx| {
            if !process.link.stopped {
                process.with(ctx, f);
            }
        });
    }

    /// Ends the driver once this method returns.
    pub fn stop(&mut self) {
        self.ctx.pid().call(|process, ctx| process.stop(ctx));
    }

    /// Ends the driver's calls of the executor, for a reason.
    pub fn abort(&mut self, reason: Option<String>) {
        self.ctx.pid().call(move |process, _| process.abort(reason));
    }

    /// The time, by the node's clock.
    pub fn now(&self) -> Time {
        self.ctx.now()
    }

    /// What the agent told this executor.
    pub fn environment(&self) -> &ExecutorEnvironment {
        &self.link.environment
    }
}
