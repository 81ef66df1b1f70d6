//! What the task states mean to the agent.

use api::v1::{Task, TaskState, TaskStatus};

/// Whether a task in this state has ended for good.
pub fn is_terminal(state: TaskState) -> bool {
    matches!(
        state,
        TaskState::TaskFinished
            | TaskState::TaskFailed
            | TaskState::TaskKilled
            | TaskState::TaskError
            | TaskState::TaskLost
            | TaskState::TaskDropped
            | TaskState::TaskGone
            | TaskState::TaskGoneByOperator
    )
}

/// The state a status reports. A number that this version does not know counts as `TASK_UNKNOWN`.
pub fn of(status: &TaskStatus) -> TaskState {
    TaskState::try_from(status.state).unwrap_or(TaskState::TaskUnknown)
}

/// Where a task stands.
pub fn of_task(task: &Task) -> TaskState {
    TaskState::try_from(task.state).unwrap_or(TaskState::TaskUnknown)
}

/// Notes a status in a task's history: one entry for each run of equal states, without the data, which may
/// be large and is the framework's own affair.
pub fn note(task: &mut Task, status: &TaskStatus) {
    let mut status = status.clone();
    status.data = None;
    if task.statuses.last().is_some_and(|last| last.state == status.state) {
        task.statuses.pop();
    }
    task.state = status.state;
    task.statuses.push(status);
}
