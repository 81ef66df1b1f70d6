//! A task as the master knows it, and how its state moves.

use std::sync::{Arc, OnceLock};

use api::internal::StatusUpdate;
use api::resources::Resources;
use api::v1::{AgentId, ExecutorId, FrameworkId, Task, TaskId, TaskInfo, TaskState, TaskStatus};

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

/// A task. Readers share it with the master, so it changes only by becoming another one.
#[derive(Debug)]
pub struct TaskRecord {
    task: Task,
    /// The form `/state` shows, made when it is first asked for.
    json: OnceLock<Box<[u8]>>,
}

impl Clone for TaskRecord {
    fn clone(&self) -> Self {
        TaskRecord::from(self.task.clone())
    }
}

impl PartialEq for TaskRecord {
    fn eq(&self, other: &Self) -> bool {
        self.task == other.task
    }
}

impl From<Task> for TaskRecord {
    fn from(mut task: Task) -> Self {
        // Decoding leaves room to grow, and there may be hundreds of thousands of records that never do.
        task.resources.shrink_to_fit();
        task.statuses.shrink_to_fit();
        TaskRecord { task, json: OnceLock::new() }
    }
}

impl std::ops::Deref for TaskRecord {
    type Target = Task;

    fn deref(&self) -> &Task {
        &self.task
    }
}

/// What a status update did to a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Transition {
    /// The task's state changed.
    pub changed: bool,
    /// It holds no resources from now on: it ended, or its agent was lost.
    pub released: bool,
}

impl TaskRecord {
    /// A task on its way to the agent.
    pub fn staged(framework_id: &FrameworkId, info: &TaskInfo) -> Self {
        let user = match (&info.command, &info.executor) {
            (Some(command), _) => command.user.clone(),
            (None, Some(executor)) => executor.command.as_ref().and_then(|command| command.user.clone()),
            (None, None) => None,
        };
        TaskRecord::from(Task {
            name: info.name.clone(),
            task_id: info.task_id.clone(),
            framework_id: framework_id.clone(),
            executor_id: info.executor.as_ref().map(|executor| executor.executor_id.clone()),
            agent_id: info.agent_id.clone(),
            state: TaskState::TaskStaging.into(),
            resources: info.resources.clone(),
            labels: info.labels.clone(),
            discovery: info.discovery.clone().map(Box::new),
            container: info.container.clone().map(Box::new),
            health_check: info.health_check.clone().map(Box::new),
            kill_policy: info.kill_policy,
            user,
            limits: info.limits.clone(),
            ..Task::default()
        })
    }

    /// The form `/state` shows, rendered by `render` the first time.
    pub fn json(&self, render: impl FnOnce(&Task) -> Vec<u8>) -> &[u8] {
        self.json.get_or_init(|| render(&self.task).into_boxed_slice())
    }

    /// What it holds, while it holds it.
    pub fn resources(&self) -> Resources {
        Resources::from_checked(&self.task.resources)
    }

    /// Whether its resources count as used.
    pub fn holds_resources(&self) -> bool {
        !is_terminal(self.state()) && self.state() != TaskState::TaskUnreachable
    }

    /// Takes over a status update: the latest state the agent knows moves the task, the update's own state
    /// goes into the history. A terminal state is final.
    pub fn update(record: &mut Arc<Self>, update: &StatusUpdate) -> Transition {
        let status = &update.status;
        let latest = match update.latest_state {
            Some(_) => update.latest_state(),
            None => status.state(),
        };
        let before = record.state();
        let held = record.holds_resources();
        let this = Self::change(record);

        if !is_terminal(before) {
            this.task.state = latest.into();
        }
        // The history is for people: one entry per state, and without data, of which only the framework
        // knows the use.
        let mut entry: TaskStatus = status.clone();
        entry.data = None;
        let statuses = &mut this.task.statuses;
        match statuses.last_mut() {
            Some(last) if last.state == entry.state => *last = entry,
            _ => {
                statuses.reserve_exact(1);
                statuses.push(entry);
            }
        }
        // Only what agents and executors report is ever acknowledged, so only that counts as forwarded.
        if let Some(uuid) = &update.uuid {
            this.task.status_update_state = Some(status.state);
            this.task.status_update_uuid = Some(uuid.clone());
        }
        Transition { changed: this.state() != before, released: held && !this.holds_resources() }
    }

    /// The state that reconciliation reports: the last one forwarded, as an acknowledgement of a newer one
    /// would otherwise come before the framework heard of it.
    pub fn forwarded_state(&self) -> TaskState {
        match self.task.status_update_state {
            Some(_) => self.task.status_update_state(),
            None => self.task.state(),
        }
    }

    /// Adds what a framework without allocation roles left out.
    pub fn set_resources(record: &mut Arc<Self>, resources: Vec<api::v1::Resource>) {
        Self::change(record).task.resources = resources;
    }

    fn change(record: &mut Arc<Self>) -> &mut Self {
        let this = Arc::make_mut(record);
        this.json = OnceLock::new();
        this
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use TaskState::*;

    fn record(state: TaskState) -> Arc<TaskRecord> {
        Arc::new(TaskRecord::from(Task { state: state.into(), ..Task::default() }))
    }

    fn update(state: TaskState, latest: Option<TaskState>, uuid: bool) -> StatusUpdate {
        StatusUpdate {
            status: TaskStatus { state: state.into(), data: Some(vec![1]), ..TaskStatus::default() },
            uuid: uuid.then(|| vec![7; 16]),
            latest_state: latest.map(Into::into),
            ..StatusUpdate::default()
        }
    }

    #[test]
    fn the_latest_state_moves_the_task_and_the_own_state_the_history() {
        let mut task = record(TaskStaging);
        let transition = TaskRecord::update(&mut task, &update(TaskRunning, Some(TaskFinished), true));
        assert_eq!(transition, Transition { changed: true, released: true });
        assert_eq!(task.state(), TaskFinished);
        assert_eq!(task.forwarded_state(), TaskRunning);
        assert_eq!(task.statuses.iter().map(|s| s.state()).collect::<Vec<_>>(), [TaskRunning]);
        assert_eq!(task.statuses[0].data, None);
    }

    #[test]
    fn terminal_is_final_and_releases_once() {
        let mut task = record(TaskRunning);
        assert!(TaskRecord::update(&mut task, &update(TaskKilled, None, true)).released);
        let again = TaskRecord::update(&mut task, &update(TaskRunning, None, true));
        assert_eq!(again, Transition::default());
        assert_eq!(task.state(), TaskKilled);
    }

    #[test]
    fn a_repeated_state_replaces_the_last_entry() {
        let mut task = record(TaskStaging);
        for state in [TaskStarting, TaskRunning, TaskRunning, TaskFinished] {
            TaskRecord::update(&mut task, &update(state, None, false));
        }
        assert_eq!(
            task.statuses.iter().map(|s| s.state()).collect::<Vec<_>>(),
            [TaskStarting, TaskRunning, TaskFinished]
        );
    }

    #[test]
    fn an_unreachable_task_may_return_and_holds_nothing_meanwhile() {
        let mut task = record(TaskRunning);
        assert!(TaskRecord::update(&mut task, &update(TaskUnreachable, None, false)).released);
        assert!(!task.holds_resources());
        assert!(!TaskRecord::update(&mut task, &update(TaskRunning, None, true)).released);
        assert!(task.holds_resources());
    }

    #[test]
    fn a_record_takes_no_more_room_than_it_needs() {
        let mut task = Task { resources: Vec::with_capacity(8), ..Task::default() };
        task.resources.push(api::v1::Resource::default());
        task.statuses = Vec::with_capacity(8);
        task.statuses.push(TaskStatus { state: TaskStaging.into(), ..TaskStatus::default() });
        let mut task = Arc::new(TaskRecord::from(task));
        assert_eq!((task.resources.capacity(), task.statuses.capacity()), (1, 1));
        TaskRecord::update(&mut task, &update(TaskRunning, None, true));
        assert_eq!(task.statuses.capacity(), 2);
        // Of which a record has one, a few, and a few.
        assert!(size_of::<TaskRecord>() <= 400, "{}", size_of::<TaskRecord>());
        assert!(size_of::<api::v1::Resource>() <= 300, "{}", size_of::<api::v1::Resource>());
        assert!(size_of::<TaskStatus>() <= 360, "{}", size_of::<TaskStatus>());
    }

    #[test]
    fn readers_keep_what_they_saw() {
        let mut task = record(TaskStaging);
        assert_eq!(task.json(|_| b"old".to_vec()), b"old");
        let seen = task.clone();
        TaskRecord::update(&mut task, &update(TaskRunning, None, true));
        assert_eq!(seen.state(), TaskStaging);
        assert_eq!(task.json(|_| b"new".to_vec()), b"new");
        assert_eq!(seen.json(|_| b"newer".to_vec()), b"old");
    }
}
