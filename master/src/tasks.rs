//! A task as the master knows it, and how its state moves.

mod record;

use api::internal::StatusUpdate;
use api::v1::{AgentId, ExecutorId, FrameworkId, TaskId, TaskState, TaskStatus};

pub(crate) use record::ListedTasks;
pub use record::{TaskRecord, Transition};

/// Whether a task in this state will never run again.
pub fn is_terminal(state: TaskState) -> bool {
    use TaskState::*;
    matches!(
        state,
        TaskFinished
            | TaskFailed
            | TaskKilled
            | TaskError
            | TaskLost
            | TaskDropped
            | TaskGone
            | TaskGoneByOperator
    )
}

/// The fields of a [`TaskStatus`] the master itself makes.
pub struct MasterStatus<'a> {
    /// Which task.
    pub task_id: &'a TaskId,
    /// On which agent, if known.
    pub agent_id: Option<&'a AgentId>,
    /// Under which executor, if known.
    pub executor_id: Option<&'a ExecutorId>,
    /// The state.
    pub state: TaskState,
    /// Why.
    pub reason: api::v1::task_status::Reason,
    /// Why, in words.
    pub message: String,
    /// When.
    pub at: libprocess::Time,
}

impl MasterStatus<'_> {
    /// The update that tells the framework. It has no uuid: nobody acknowledges the master.
    pub fn into_update(self, framework_id: &FrameworkId) -> StatusUpdate {
        let timestamp = self.at.as_secs_f64();
        StatusUpdate {
            framework_id: framework_id.clone(),
            executor_id: self.executor_id.cloned(),
            slave_id: self.agent_id.cloned(),
            status: TaskStatus {
                task_id: self.task_id.clone(),
                state: self.state.into(),
                message: Some(self.message),
                source: Some(api::v1::task_status::Source::Master.into()),
                reason: Some(self.reason.into()),
                agent_id: self.agent_id.cloned(),
                executor_id: self.executor_id.cloned(),
                timestamp: Some(timestamp),
                ..TaskStatus::default()
            },
            timestamp,
            uuid: None,
            latest_state: None,
        }
    }
}
