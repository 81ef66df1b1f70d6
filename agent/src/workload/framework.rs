//! One framework, as far as this agent has to do with it.

use std::collections::{BTreeMap, VecDeque};

use api::v1::framework_info::capability;
use api::v1::{ExecutorId, FrameworkId, FrameworkInfo, TaskId, TaskState};

use super::Executor;

/// Where a framework stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameworkState {
    /// Its tasks run.
    Running,
    /// It was shut down: its executors end, and nobody hears of their tasks.
    Terminating,
}

/// One framework with its executors.
#[derive(Debug, Clone)]
pub struct Framework {
    /// Its id.
    pub id: FrameworkId,
    /// What it is; `info.id` is set.
    pub info: FrameworkInfo,
    /// Where a driver-based one receives messages; `None` for one that subscribed over HTTP.
    pub pid: Option<String>,
    /// Where it stands.
    pub state: FrameworkState,
    /// Its executors, each in one container.
    pub executors: BTreeMap<ExecutorId, Executor>,
    /// Those that ended, oldest first.
    pub completed_executors: VecDeque<Executor>,
}

impl Framework {
    /// Whether it said it can do something.
    pub fn is_capable_of(&self, capability: capability::Type) -> bool {
        is_capable_of(&self.info, capability)
    }

    /// Whether its executors are to survive the agent.
    pub fn checkpoint(&self) -> bool {
        self.info.checkpoint.unwrap_or(false)
    }

    /// The executor that has heard of a task, or will.
    pub fn executor_with(&self, task: &TaskId) -> Option<&Executor> {
        self.executors.values().find(|executor| executor.has(task))
    }

    pub(super) fn remember(&mut self, executor: Executor, at_most: usize) {
        while self.completed_executors.len() >= at_most.max(1) {
            self.completed_executors.pop_front();
        }
        if at_most > 0 {
            self.completed_executors.push_back(executor);
        }
    }
}

/// Whether a framework said it can do something.
pub(crate) fn is_capable_of(info: &FrameworkInfo, capability: capability::Type) -> bool {
    info.capabilities.iter().any(|has| has.r#type == Some(capability as i32))
}

/// How a framework is told that a task never ran: those that know partitions are told exactly.
pub(super) fn dropped(info: &FrameworkInfo) -> TaskState {
    aware(info, TaskState::TaskDropped)
}

fn aware(info: &FrameworkInfo, state: TaskState) -> TaskState {
    if is_capable_of(info, capability::Type::PartitionAware) { state } else { TaskState::TaskLost }
}
