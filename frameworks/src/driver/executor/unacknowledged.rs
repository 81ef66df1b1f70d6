//! What an executor must not forget before its agent has it.

use api::internal::StatusUpdate;
use api::v1::{TaskId, TaskInfo};
use indexmap::IndexMap;

/// Updates the agent has not stored yet, and tasks it may not know to have arrived: told again to an agent
/// that was restarted.
#[derive(Default)]
pub(super) struct Unacknowledged {
    /// By their uuid, in the order they were made.
    updates: IndexMap<Vec<u8>, StatusUpdate>,
    tasks: IndexMap<TaskId, TaskInfo>,
}

impl Unacknowledged {
    /// A task has come. It is on record until the first of its updates is.
    pub(super) fn launched(&mut self, task: TaskInfo) {
        self.tasks.insert(task.task_id.clone(), task);
    }

    /// An update is on its way.
    pub(super) fn sent(&mut self, uuid: Vec<u8>, update: StatusUpdate) {
        self.updates.insert(uuid, update);
    }

    /// The agent has stored an update.
    pub(super) fn acknowledged(&mut self, task: &TaskId, uuid: &[u8]) {
        self.updates.shift_remove(uuid);
        self.tasks.shift_remove(task);
    }

    /// Updates not stored, oldest first.
    pub(super) fn updates(&self) -> Vec<StatusUpdate> {
        self.updates.values().cloned().collect()
    }

    /// Tasks without a stored update, oldest first.
    pub(super) fn tasks(&self) -> Vec<TaskInfo> {
        self.tasks.values().cloned().collect()
    }
}
