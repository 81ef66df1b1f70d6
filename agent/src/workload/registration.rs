//! An executor makes itself known: over libprocess, or over `/api/v1/executor`.

use api::internal::StatusUpdate;
use api::v1::task_status::Reason;
use api::v1::{ContainerId, ExecutorId, FrameworkId, TaskId, TaskInfo, TaskState};
use libprocess::Upid;
use tracing::{info, warn};

use super::framework::dropped;
use super::{Effect, Executor, ExecutorEvent, ExecutorState, FrameworkState, Link, Tell, Turn, Workload};
use crate::checkpoint::Write;
use crate::layout::ExecutorPath;

/// Why a call of `/api/v1/executor` cannot be taken. The status each is answered with stands in `http`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing of this framework runs here.
    #[error("Framework {0} cannot be found")]
    UnknownFramework(String),
    /// The framework has no such executor here.
    #[error("Executor {0} cannot be found")]
    UnknownExecutor(String),
    /// It must subscribe first.
    #[error("Executor {0} is not subscribed")]
    NotSubscribed(String),
}

/// What becomes of a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subscription {
    /// The executor is known from now on.
    Accepted {
        /// Its container, by which its stream is kept.
        container_id: String,
    },
    /// It is told to end, and its stream ends with that.
    Shutdown,
}

impl Workload {
    /// A driver-based executor registers.
    pub fn register_executor(
        &mut self,
        framework_id: &FrameworkId,
        executor_id: &ExecutorId,
        from: Upid,
        turn: &mut Turn<'_>,
    ) {
        let link = Link::Process(from.clone());
        let wanted = !self.terminating
            && self.frameworks.get(framework_id).is_some_and(|framework| {
                framework.state == FrameworkState::Running
                    && framework
                        .executors
                        .get(executor_id)
                        .is_some_and(|e| e.state == ExecutorState::Registering)
            });
        if !wanted {
            warn!(framework = framework_id.as_str(), executor = executor_id.as_str(), %from, "refusing an executor");
            let (framework_id, executor_id) = (framework_id.clone(), executor_id.clone());
            let event = ExecutorEvent::Shutdown;
            return turn.push(Effect::Tell(Box::new(Tell { link, framework_id, executor_id, event })));
        }
        let agent_id = self.agent_id();
        let path = ExecutorPath { agent: &agent_id, framework: framework_id, executor: executor_id };
        self.accept(
            path,
            link,
            |layout, container_id| Write::text(layout.libprocess_pid(path, container_id), from.to_string()),
            turn,
        );
    }

    /// A driver-based executor that has been here all the time registers again, as it does when it lost the
    /// agent from sight. It must be the one that is known; it may have moved to another address.
    pub fn reregister_executor(
        &mut self,
        framework_id: &FrameworkId,
        executor_id: &ExecutorId,
        updates: Vec<StatusUpdate>,
        from: Upid,
        turn: &mut Turn<'_>,
    ) -> bool {
        let executor = self
            .frameworks
            .get_mut(framework_id)
            .and_then(|framework| framework.executors.get_mut(executor_id));
        match executor {
            Some(executor) if executor.state == ExecutorState::Running => {
                executor.link = Some(Link::Process(from.clone()));
                for update in updates {
                    if let Err(error) = self.status_update(update, Link::Process(from.clone()), turn) {
                        warn!(%error, "ignoring an update of an executor that registers again");
                    }
                }
                true
            }
            _ => {
                let (framework_id, executor_id) = (framework_id.clone(), executor_id.clone());
                let (link, event) = (Link::Process(from), ExecutorEvent::Shutdown);
                turn.push(Effect::Tell(Box::new(Tell { link, framework_id, executor_id, event })));
                false
            }
        }
    }

    /// The executor that a call of `/api/v1/executor` comes from.
    pub fn caller(&self, framework_id: &FrameworkId, executor_id: &ExecutorId) -> Result<&Executor, Refusal> {
        let framework = self
            .frameworks
            .get(framework_id)
            .ok_or_else(|| Refusal::UnknownFramework(framework_id.to_string()))?;
        framework.executors.get(executor_id).ok_or_else(|| Refusal::UnknownExecutor(executor_id.to_string()))
    }

    /// The same, for calls that only a subscribed executor may make.
    pub fn subscribed_caller(
        &self,
        framework_id: &FrameworkId,
        executor_id: &ExecutorId,
    ) -> Result<&Executor, Refusal> {
        let executor = self.caller(framework_id, executor_id)?;
        match executor.state {
            ExecutorState::Registering => Err(Refusal::NotSubscribed(executor_id.to_string())),
            _ => Ok(executor),
        }
    }

    /// An executor subscribes over HTTP. `updates` it has had no confirmation for; `tasks` it has had no
    /// update confirmed of.
    pub fn subscribe(
        &mut self,
        framework_id: &FrameworkId,
        executor_id: &ExecutorId,
        tasks: &[TaskInfo],
        updates: Vec<StatusUpdate>,
        turn: &mut Turn<'_>,
    ) -> Result<Subscription, Refusal> {
        let executor = self.caller(framework_id, executor_id)?;
        let ending = self.terminating
            || matches!(executor.state, ExecutorState::Terminating | ExecutorState::Terminated)
            || self.frameworks.get(framework_id).is_some_and(|f| f.state == FrameworkState::Terminating);
        if ending {
            return Ok(Subscription::Shutdown);
        }
        let container_id = executor.container_id.clone();
        let link = Link::Stream { container_id: container_id.clone() };
        for update in updates {
            if let Err(error) = self.status_update(update, link.clone(), turn) {
                warn!(%error, "ignoring an update of an executor that subscribes");
            }
        }
        self.drop_tasks_never_received(framework_id, executor_id, tasks, turn);
        let agent_id = self.agent_id();
        let path = ExecutorPath { agent: &agent_id, framework: framework_id, executor: executor_id };
        self.accept(path, link, |layout, id| Write::marker(layout.http_marker(path, id)), turn);
        Ok(Subscription::Accepted { container_id })
    }

    /// Tasks that were sent over a stream which broke: the executor does not know them, and never will.
    fn drop_tasks_never_received(
        &mut self,
        framework_id: &FrameworkId,
        executor_id: &ExecutorId,
        known: &[TaskInfo],
        turn: &mut Turn<'_>,
    ) {
        let Some(framework) = self.frameworks.get(framework_id) else { return };
        let state = dropped(&framework.info);
        let Some(executor) = framework.executors.get(executor_id) else { return };
        let lost: Vec<TaskId> = executor
            .launched
            .iter()
            .filter(|(id, task)| {
                task.state == TaskState::TaskStaging as i32 && !known.iter().any(|task| task.task_id == **id)
            })
            .map(|(id, _)| id.clone())
            .collect();
        for task_id in lost {
            let message = "the task did not reach its executor before the executor subscribed again";
            let (executor_id, reason) = (Some(executor_id.clone()), Some(Reason::AgentRestarted));
            let update = self.agent_update(framework_id, &task_id, executor_id, state, reason, message, turn);
            self.store(update, None, turn);
        }
    }

    /// Enters the way to an executor, greets it, and sends it what waits.
    fn accept(
        &mut self,
        path: ExecutorPath<'_>,
        link: Link,
        noted: impl FnOnce(&crate::layout::Layout, &str) -> Write,
        turn: &mut Turn<'_>,
    ) {
        let agent = Box::new(self.info.clone());
        let Some(framework) = self.frameworks.get_mut(path.framework) else { return };
        let framework_info = Box::new(framework.info.clone());
        let Some(executor) = framework.executors.get_mut(path.executor) else { return };
        let unneeded = executor.queued.is_empty() && !executor.was_sent;
        info!(
            framework = path.framework.as_str(),
            executor = path.executor.as_str(),
            ?link,
            "an executor registers"
        );
        executor.link = Some(link);
        executor.state = ExecutorState::Running;
        let container_id = executor.container_id.clone();
        if executor.checkpoint {
            turn.push(Effect::Write(noted(&self.settings.layout, &container_id)));
        }
        if unneeded {
            // All that it was launched for has been killed meanwhile.
            return self.shut_down(&container_id, turn);
        }
        let event = ExecutorEvent::Registered {
            framework: framework_info,
            executor: Box::new(executor.info.clone()),
            agent,
            container_id: ContainerId { value: container_id, parent: None },
        };
        turn.effects.extend(executor.tell(event).map(|tell| Effect::Tell(Box::new(tell))));
        let info = executor.info.clone();
        self.send_queued(path.framework, &info, turn);
    }

    /// An executor's stream broke. It may subscribe again; its container's end is noticed by itself.
    pub fn stream_closed(&mut self, container_id: &str) {
        if let Some((framework, executor_id)) = self.executor_mut(container_id)
            && let Some(executor) = framework.executors.get_mut(&executor_id)
            && matches!(executor.link, Some(Link::Stream { .. }))
        {
            executor.link = None;
        }
    }
}
