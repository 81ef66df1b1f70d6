//! One executor, and its tasks from arrival to acknowledged end.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::Duration;

use api::v1::{
    ExecutorId, ExecutorInfo, FrameworkId, Resource, Task, TaskId, TaskInfo, TaskState, TaskStatus,
};
use indexmap::IndexMap;

use super::{COMPLETED_TASKS_MAX, ExecutorEvent, Link, Tell, Termination};
use crate::task_state::{self, is_terminal};

/// Where an executor stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExecutorState {
    /// Launched, not heard of yet.
    Registering,
    /// It takes tasks.
    Running,
    /// It was told to end, or its container is being destroyed.
    Terminating,
    /// Its container has ended; it stays until its updates are acknowledged.
    Terminated,
}

/// One executor in its container.
#[derive(Debug, Clone)]
pub struct Executor {
    /// What it is.
    pub info: ExecutorInfo,
    /// Whose it is.
    pub framework_id: FrameworkId,
    /// The container it runs in.
    pub container_id: String,
    /// Its sandbox.
    pub sandbox: PathBuf,
    /// Whom it runs as.
    pub user: Option<String>,
    /// Where it stands.
    pub state: ExecutorState,
    /// How it is reached, once it has registered.
    pub link: Option<Link>,
    /// Its first process.
    pub pid: Option<u32>,
    /// Whether the agent made it for a command task; the master does not know of it then.
    pub for_command_task: bool,
    /// Whether it is to survive the agent.
    pub checkpoint: bool,
    /// Tasks that it has not been sent yet.
    pub queued: IndexMap<TaskId, TaskInfo>,
    /// Tasks that it was sent.
    pub launched: IndexMap<TaskId, Task>,
    /// Tasks that ended, and whose end is not acknowledged.
    pub terminated: IndexMap<TaskId, Task>,
    /// Tasks that ended, oldest first.
    pub completed: VecDeque<Task>,
    /// Whether it was ever sent a task: one that never was may be shut down when its queue is emptied.
    pub was_sent: bool,
    /// Why the agent is ending it, should its container have nothing better to say.
    pub pending_termination: Option<Termination>,
}

impl Executor {
    /// Its id.
    pub fn id(&self) -> &ExecutorId {
        &self.info.executor_id
    }

    /// The name people see.
    pub fn name(&self) -> &str {
        self.info.name.as_deref().unwrap_or_default()
    }

    /// Whether it has heard of the task, or will.
    pub fn has(&self, task: &TaskId) -> bool {
        self.queued.contains_key(task)
            || self.launched.contains_key(task)
            || self.terminated.contains_key(task)
    }

    /// Whether nothing of it waits for anything.
    pub fn is_idle(&self) -> bool {
        self.queued.is_empty() && self.launched.is_empty() && self.terminated.is_empty()
    }

    /// What it and its tasks hold.
    pub fn resources(&self) -> impl Iterator<Item = &Resource> {
        let queued = self.queued.values().flat_map(|task| &task.resources);
        let launched = self.launched.values().flat_map(|task| &task.resources);
        self.info.resources.iter().chain(queued).chain(launched)
    }

    /// How long it may take to end.
    pub fn shutdown_grace(&self, default: Duration) -> Duration {
        self.info
            .shutdown_grace_period
            .and_then(|grace| u64::try_from(grace.nanoseconds).ok())
            .map_or(default, Duration::from_nanos)
    }

    /// News for it, when there is a way to reach it.
    pub fn tell(&self, event: ExecutorEvent) -> Option<Tell> {
        Some(Tell {
            link: self.link.clone()?,
            framework_id: self.framework_id.clone(),
            executor_id: self.info.executor_id.clone(),
            event,
        })
    }

    /// Notes what a status says of a task; whether it is news. The first end of a task is its end.
    pub(super) fn note(&mut self, status: &TaskStatus, queued_as: impl FnOnce(TaskInfo) -> Task) -> bool {
        let id = &status.task_id;
        if self.terminated.contains_key(id) {
            return !is_terminal(task_state::of(status));
        }
        // Updates for a task that waits here can only come from the agent, which ends it.
        if let Some(task) = self.queued.shift_remove(id) {
            self.launched.insert(id.clone(), queued_as(task));
        }
        let Some(task) = self.launched.get_mut(id) else { return true };
        task_state::note(task, status);
        if is_terminal(task_state::of(status))
            && let Some(task) = self.launched.shift_remove(id)
        {
            self.terminated.insert(id.clone(), task);
        }
        true
    }

    /// The end of a task was acknowledged: it is history now.
    pub(super) fn complete(&mut self, task: &TaskId) {
        if let Some(task) = self.terminated.shift_remove(task) {
            self.remember(task);
        }
    }

    pub(super) fn remember(&mut self, task: Task) {
        if self.completed.len() == COMPLETED_TASKS_MAX {
            self.completed.pop_front();
        }
        self.completed.push_back(task);
    }

    /// Where a task stands.
    pub fn task_state(&self, task: &TaskId) -> Option<TaskState> {
        if self.queued.contains_key(task) {
            return Some(TaskState::TaskStaging);
        }
        self.launched.get(task).or_else(|| self.terminated.get(task)).map(task_state::of_task)
    }
}
