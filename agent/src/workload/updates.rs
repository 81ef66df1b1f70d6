//! Status updates on their way through the table, and the acknowledgements that come back.

use api::internal::StatusUpdate;
use api::v1::task_status::Source;
use api::v1::{ContainerId, ContainerStatus, FrameworkId, NetworkInfo, TaskId, TaskState, network_info};
use tracing::warn;

use super::{Effect, ExecutorEvent, FrameworkState, Link, Tell, Turn, Workload, launch};
use crate::layout::ExecutorPath;
use crate::task_state::{self, is_terminal};

/// Why an executor's update goes no further.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Ignored {
    /// It could not be acknowledged.
    #[error("the update of task `{0}` has no uuid of 16 bytes")]
    Uuid(String),
    /// It is not about this agent.
    #[error("the update of task `{0}` is from agent `{1}`")]
    Agent(String, String),
    /// Nobody waits for it.
    #[error("framework `{0}` is not known here, or is being shut down")]
    Framework(String),
    /// No executor has this state to report.
    #[error("an executor reports TASK_STAGING for task `{0}`, which only masters and agents may")]
    Staging(String),
    /// The id cannot be a task's.
    #[error("the update names no task: {0}")]
    Task(#[from] api::ids::IdError),
}

impl Workload {
    /// An executor reports. `link` is where it expects the confirmation.
    pub fn status_update(
        &mut self,
        mut update: StatusUpdate,
        link: Link,
        turn: &mut Turn<'_>,
    ) -> Result<(), Ignored> {
        let task_id = update.status.task_id.clone();
        task_id.validate()?;
        match &update.uuid {
            Some(uuid) if uuid.len() == 16 => update.status.uuid = Some(uuid.clone()),
            _ => return Err(Ignored::Uuid(task_id.to_string())),
        }
        let agent_id = self.agent_id();
        if let Some(claimed) = update.slave_id.as_ref().filter(|claimed| **claimed != agent_id) {
            return Err(Ignored::Agent(task_id.to_string(), claimed.to_string()));
        }
        let framework_id = update.framework_id.clone();
        let framework = match self.frameworks.get(&framework_id) {
            Some(framework) if framework.state == FrameworkState::Running => framework,
            _ => return Err(Ignored::Framework(framework_id.to_string())),
        };
        let executor_id = update.executor_id.clone();
        let executor = framework
            .executor_with(&task_id)
            .or_else(|| executor_id.as_ref().and_then(|id| framework.executors.get(id)));
        if task_state::of(&update.status) == TaskState::TaskStaging {
            if let Some(container_id) = executor.map(|executor| executor.container_id.clone()) {
                self.shut_down(&container_id, turn);
            }
            return Err(Ignored::Staging(task_id.to_string()));
        }
        if let Some(executor) = executor {
            update.executor_id.get_or_insert_with(|| executor.id().clone());
        }
        update.slave_id = Some(agent_id.clone());
        let status = &mut update.status;
        status.source = Some(Source::Executor as i32);
        status.agent_id = Some(agent_id);
        status.executor_id = update.executor_id.clone();
        let timestamp = if update.timestamp > 0.0 { update.timestamp } else { turn.now };
        status.timestamp.get_or_insert(timestamp);
        self.store(update, Some(link), turn);
        Ok(())
    }

    /// Enters an update and passes it on. `from` is the executor that sent it, if one did.
    pub(super) fn store(&mut self, mut update: StatusUpdate, from: Option<Link>, turn: &mut Turn<'_>) {
        let agent_id = self.agent_id();
        let (framework_id, task_id) = (update.framework_id.clone(), update.status.task_id.clone());
        let uuid = update.uuid.clone().unwrap_or_default();
        let (layout, ip) = (&self.settings.layout, &self.settings.ip);
        let confirm = |executor_id: Option<api::v1::ExecutorId>, link: Option<Link>| {
            let event = ExecutorEvent::Acknowledged { task_id: task_id.clone(), uuid: uuid.clone() };
            let executor_id = executor_id.unwrap_or_default();
            link.map(|link| Box::new(Tell { link, framework_id: framework_id.clone(), executor_id, event }))
        };
        let by_task = self
            .frameworks
            .get_mut(&framework_id)
            .and_then(|framework| framework.executors.values_mut().find(|executor| executor.has(&task_id)));
        let Some(executor) = by_task else {
            // A task that is unknown, or long over: the framework is told all the same.
            let then = confirm(update.executor_id.clone(), from);
            return turn.push(Effect::Store { update: Box::new(update), file: None, then });
        };
        let executor_id = executor.id().clone();
        let of_command_executor = executor.for_command_task;
        // Of a task that ends while it waits, or that never was, no container has anything to say.
        let state = task_state::of(&update.status);
        let in_container = executor.launched.contains_key(&task_id)
            && !matches!(state, TaskState::TaskDropped | TaskState::TaskLost);
        if from.is_some() || in_container {
            let container_status = update.status.container_status.get_or_insert_default();
            describe(container_status, &executor.container_id, executor.pid, ip);
        }
        let news =
            executor.note(&update.status, |task| launch::staging(task, &framework_id, of_command_executor));
        let then = confirm(Some(executor_id.clone()), from);
        if !news {
            // The first end of a task is its end; the executor only needs to stop repeating this one.
            warn!(task = task_id.as_str(), "ignoring a second terminal update");
            turn.effects.extend(then.map(Effect::Tell));
            return;
        }
        let path = ExecutorPath { agent: &agent_id, framework: &framework_id, executor: &executor_id };
        let file = executor.checkpoint.then(|| layout.task_updates(path, &executor.container_id, &task_id));
        update.latest_state = executor.task_state(&task_id).map(|state| state as i32);
        turn.push(Effect::Store { update: Box::new(update), file, then });
    }

    /// What an update that goes to the master now should add: where its task stands meanwhile.
    pub fn latest_state(&mut self, update: &StatusUpdate) -> Option<TaskState> {
        let framework = self.frameworks.get_mut(&update.framework_id)?;
        let task_id = &update.status.task_id;
        for executor in framework.executors.values_mut() {
            let Some(task) =
                executor.launched.get_mut(task_id).or_else(|| executor.terminated.get_mut(task_id))
            else {
                continue;
            };
            task.status_update_state = Some(update.status.state);
            task.status_update_uuid = update.uuid.clone();
            return Some(task_state::of_task(task));
        }
        None
    }

    /// The framework has seen the end of a task.
    pub fn end_acknowledged(&mut self, framework_id: &FrameworkId, task_id: &TaskId, turn: &mut Turn<'_>) {
        let agent_id = self.agent_id();
        let Some(framework) = self.frameworks.get_mut(framework_id) else { return };
        let Some(executor) = framework.executors.values_mut().find(|e| e.terminated.contains_key(task_id))
        else {
            return;
        };
        executor.complete(task_id);
        let container_id = executor.container_id.clone();
        if executor.checkpoint {
            let executor_id = executor.id().clone();
            let path = ExecutorPath { agent: &agent_id, framework: framework_id, executor: &executor_id };
            let meta = self.settings.layout.task_meta(path, &container_id, task_id);
            self.give_up(vec![meta], turn);
        }
        self.leave_if_settled(&container_id, turn);
    }

    /// Whether a status reports an end.
    pub fn is_end(update: &StatusUpdate) -> bool {
        is_terminal(task_state::of(&update.status))
    }
}

/// Fills in what the agent knows of a container and its executor did not say.
pub(crate) fn describe(status: &mut ContainerStatus, container_id: &str, pid: Option<u32>, agent_ip: &str) {
    status.container_id.get_or_insert_with(|| ContainerId { value: container_id.to_owned(), parent: None });
    status.executor_pid = status.executor_pid.or(pid);
    if status.network_infos.is_empty() {
        status.network_infos.push(NetworkInfo {
            ip_addresses: vec![network_info::IpAddress {
                protocol: Some(network_info::Protocol::IPv4 as i32),
                ip_address: Some(agent_ip.to_owned()),
            }],
            ..Default::default()
        });
    }
}
