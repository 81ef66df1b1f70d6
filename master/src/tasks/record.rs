//! What the master keeps of a task: little, for there may be hundreds of thousands.

mod listed;

use std::sync::{Arc, OnceLock};

use api::internal::StatusUpdate;
use api::resources::Resources;
use api::v1::{AgentId, ExecutorId, FrameworkId, Task, TaskId, TaskInfo, TaskState, TaskStatus};
use prost::Message as _;

use super::is_terminal;
pub(crate) use listed::ListedTasks;

/// A task. Readers share it with the master, so it changes only by becoming another one.
///
/// What decides anything is at hand; the rest of the [`Task`] stays in its wire form, which takes a tenth of the room,
/// and is read when somebody asks for it.
#[derive(Debug)]
pub struct TaskRecord {
    /// Its id.
    pub task_id: TaskId,
    /// Whose it is.
    pub framework_id: FrameworkId,
    /// Where it runs.
    pub agent_id: AgentId,
    /// Under which executor, if the framework brought one.
    pub executor_id: Option<ExecutorId>,
    state: TaskState,
    /// The last state forwarded to the framework.
    forwarded: Option<TaskState>,
    /// The time of the first status, in seconds since 1970.
    first_heard: Option<f64>,
    held: Arc<Resources>,
    /// A [`Task`] without the ids above.
    rest: Box<[u8]>,
    /// The form `/state` shows, made when it is first asked for.
    json: OnceLock<Box<[u8]>>,
}

/// Of a [`Task`] its history alone.
#[derive(Clone, PartialEq, prost::Message)]
struct History {
    #[prost(message, repeated, tag = "8")]
    statuses: Vec<TaskStatus>,
}

/// Of a [`Task`] the uuid of the last update alone.
#[derive(Clone, PartialEq, prost::Message)]
struct Forwarded {
    #[prost(bytes = "vec", optional, tag = "10")]
    status_update_uuid: Option<Vec<u8>>,
}

impl Clone for TaskRecord {
    fn clone(&self) -> Self {
        TaskRecord {
            task_id: self.task_id.clone(),
            framework_id: self.framework_id.clone(),
            agent_id: self.agent_id.clone(),
            executor_id: self.executor_id.clone(),
            held: self.held.clone(),
            rest: self.rest.clone(),
            json: OnceLock::new(),
            ..*self
        }
    }
}

impl PartialEq for TaskRecord {
    fn eq(&self, other: &Self) -> bool {
        self.to_task() == other.to_task()
    }
}

/// Of a task whose resources are valid and in the format of today.
impl From<Task> for TaskRecord {
    fn from(task: Task) -> Self {
        let held = Arc::new(Resources::from_checked(&task.resources));
        TaskRecord::holding(task, held)
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
    /// A task whose resources are `held`, which others may share.
    pub(crate) fn holding(mut task: Task, held: Arc<Resources>) -> Self {
        TaskRecord {
            state: task.state(),
            forwarded: task.status_update_state.map(|_| task.status_update_state()),
            first_heard: task.statuses.first().map(TaskStatus::timestamp),
            held,
            task_id: std::mem::take(&mut task.task_id),
            framework_id: std::mem::take(&mut task.framework_id),
            agent_id: std::mem::take(&mut task.agent_id),
            executor_id: task.executor_id.take(),
            rest: task.encode_to_vec().into_boxed_slice(),
            json: OnceLock::new(),
        }
    }

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

    /// All of it.
    pub fn to_task(&self) -> Task {
        Task {
            task_id: self.task_id.clone(),
            framework_id: self.framework_id.clone(),
            agent_id: self.agent_id.clone(),
            executor_id: self.executor_id.clone(),
            ..self.read()
        }
    }

    /// The form `/state` shows, rendered by `render` the first time.
    pub fn json(&self, render: impl FnOnce(&Task) -> Vec<u8>) -> &[u8] {
        self.json.get_or_init(|| render(&self.to_task()).into_boxed_slice())
    }

    /// Its state, the latest the agent knows.
    pub fn state(&self) -> TaskState {
        self.state
    }

    /// What it holds, while it holds it.
    pub fn resources(&self) -> &Resources {
        &self.held
    }

    /// Whether its resources count as used.
    pub fn holds_resources(&self) -> bool {
        !is_terminal(self.state) && self.state != TaskState::TaskUnreachable
    }

    /// The last status in its history.
    pub fn last_status(&self) -> Option<TaskStatus> {
        self.read::<History>().statuses.pop()
    }

    /// When it was first heard of, in seconds since 1970; none before its first status.
    pub fn first_heard(&self) -> Option<f64> {
        self.first_heard
    }

    /// Takes over a status update: the latest state the agent knows moves the task, the update's own state
    /// goes into the history. A terminal state is final.
    pub fn update(record: &mut Arc<Self>, update: &StatusUpdate) -> Transition {
        let status = &update.status;
        let latest = match update.latest_state {
            Some(_) => update.latest_state(),
            None => status.state(),
        };
        let (before, held) = (record.state, record.holds_resources());
        let mut task = record.to_task();
        if !is_terminal(before) {
            task.state = latest.into();
        }
        // The history is for people: one entry per state, and without data, of which only the framework
        // knows the use.
        let mut entry: TaskStatus = status.clone();
        entry.data = None;
        match task.statuses.last_mut() {
            Some(last) if last.state == entry.state => *last = entry,
            _ => task.statuses.push(entry),
        }
        // Only what agents and executors report is ever acknowledged, so only that counts as forwarded.
        if let Some(uuid) = &update.uuid {
            task.status_update_state = Some(status.state);
            task.status_update_uuid = Some(uuid.clone());
        }
        *record = Arc::new(TaskRecord::holding(task, record.held.clone()));
        Transition { changed: record.state != before, released: held && !record.holds_resources() }
    }

    /// The state that reconciliation reports: the last one forwarded, as an acknowledgement of a newer one
    /// would otherwise come before the framework heard of it.
    pub fn forwarded_state(&self) -> TaskState {
        self.forwarded.unwrap_or(self.state)
    }

    /// The uuid of the update that was forwarded last, which its acknowledgement has to name; none if nothing was
    /// forwarded that wants one.
    pub fn forwarded_uuid(&self) -> Option<Vec<u8>> {
        self.read::<Forwarded>().status_update_uuid
    }

    /// The rest as a message with all of a [`Task`]'s fields, or some.
    fn read<M: prost::Message + Default>(&self) -> M {
        // It was encoded here.
        M::decode(&*self.rest).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use TaskState::*;

    fn record(state: TaskState) -> Arc<TaskRecord> {
        Arc::new(TaskRecord::from(Task { state: state.into(), ..Task::default() }))
    }

    fn states(task: &TaskRecord) -> Vec<TaskState> {
        task.to_task().statuses.iter().map(TaskStatus::state).collect()
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
        assert_eq!(states(&task), [TaskRunning]);
        assert_eq!(task.last_status().unwrap().data, None);
        assert_eq!(task.forwarded_uuid(), Some(vec![7; 16]));
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
        assert_eq!(states(&task), [TaskStarting, TaskRunning, TaskFinished]);
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
    fn all_of_a_task_is_kept_in_little_room() {
        let id = "7e1c5d5c-0d3c-4a3a-9d58-1d9a3c8f0b11";
        let status = TaskStatus { state: TaskRunning.into(), timestamp: Some(3.5), ..TaskStatus::default() };
        let task = Task {
            name: "a task".into(),
            task_id: "t".into(),
            framework_id: format!("{id}-0000").into(),
            agent_id: format!("{id}-S0").into(),
            executor_id: Some("e".into()),
            state: TaskRunning.into(),
            resources: Resources::parse("cpus:1;mem:32;ports:[1-2]", "*").unwrap().to_messages(),
            statuses: vec![status],
            status_update_state: Some(TaskStarting.into()),
            user: Some("u".into()),
            limits: [("cpus".to_owned(), api::v1::value::Scalar { value: 2.0 })].into(),
            ..Task::default()
        };
        let record = TaskRecord::from(task.clone());
        assert_eq!(record.to_task(), task);
        assert_eq!(record.resources(), &Resources::parse("cpus:1;mem:32;ports:[1-2]", "*").unwrap());
        assert_eq!((record.first_heard(), record.forwarded_state()), (Some(3.5), TaskStarting));
        assert!(record.rest.len() <= 160, "{}", record.rest.len());
        assert!(size_of::<TaskRecord>() <= 200, "{}", size_of::<TaskRecord>());
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
