//! A task arrives: its executor is found or started, and it waits there or goes on at once.

use api::internal::{ResourceVersionUuid, RunTaskGroupMessage};
use api::v1::framework_info::capability;
use api::v1::task_status::{Reason, Source};
use api::v1::{
    ExecutorId, ExecutorInfo, FrameworkId, FrameworkInfo, Resource, Task, TaskInfo, TaskState, resource,
};
use tracing::{info, warn};

use super::framework::dropped;
use super::{
    Effect, Executor, ExecutorEvent, ExecutorState, Framework, FrameworkState, Launch, Timeout, Turn,
    Workload,
};
use crate::checkpoint::Write;
use crate::command_task;
use crate::environment;
use crate::layout::ExecutorPath;

/// A task as the master sends it.
#[derive(Debug, Clone, PartialEq)]
pub struct RunTask {
    /// The framework, with its id.
    pub framework: FrameworkInfo,
    /// Where a driver-based framework receives messages.
    pub framework_pid: Option<String>,
    /// The task.
    pub task: TaskInfo,
    /// The state of the resources that the master decided on.
    pub resource_versions: Vec<ResourceVersionUuid>,
    /// Whether the master believes that the executor is still to be started.
    pub launch_executor: Option<bool>,
}

impl Workload {
    /// The master asks for a task.
    pub fn run_task(&mut self, mut run: RunTask, turn: &mut Turn<'_>) {
        let Some(framework_id) = self.admit(&run.framework, &[&run.task], turn) else { return };
        allocate(&mut run.task, &run.framework);
        let generated = command_task::executor_info(&run.task, &self.settings.flags.launcher);
        let for_command_task = generated.is_some();
        let Some(mut executor_info) = generated.or_else(|| run.task.executor.clone()) else {
            let reason = "the task has neither a command nor an executor";
            return self.refuse(&run, TaskState::TaskError, Reason::TaskInvalid, reason, turn);
        };
        executor_info.framework_id = Some(framework_id.clone());
        if let Err(error) = executor_info.executor_id.validate() {
            let reason = format!("the executor's id is invalid: {error}");
            return self.refuse(&run, TaskState::TaskError, Reason::TaskInvalid, &reason, turn);
        }
        if let Some((reason, message)) =
            self.refusal(&framework_id, &run, &executor_info, for_command_task, turn)
        {
            return self.refuse(&run, dropped(&run.framework), reason, &message, turn);
        }
        self.ensure_framework(&run, turn);
        let launch = self.start_executor(&framework_id, &executor_info, &run.task, for_command_task, turn);
        self.queue(&framework_id, &executor_info, run.task, turn);
        if let Some(launch) = launch {
            let (container_id, delay) =
                (launch.container_id.clone(), self.settings.flags.executor_registration_timeout);
            turn.push(Effect::Launch(Box::new(launch)));
            turn.push(Effect::After { delay, container_id, timeout: Timeout::Registration });
        }
    }

    /// The master asks for a group. Groups need containers within containers, which this agent cannot make.
    pub fn run_task_group(&mut self, group: RunTaskGroupMessage, turn: &mut Turn<'_>) {
        let tasks: Vec<&TaskInfo> = group.task_group.tasks.iter().collect();
        if self.admit(&group.framework, &tasks, turn).is_none() {
            return;
        }
        for task in &group.task_group.tasks {
            let run = RunTask {
                framework: group.framework.clone(),
                framework_pid: None,
                task: task.clone(),
                resource_versions: Vec::new(),
                launch_executor: None,
            };
            let reason = "this agent runs no task groups; launch the tasks one by one";
            self.refuse(&run, TaskState::TaskError, Reason::TaskGroupInvalid, reason, turn);
        }
        if let (Some(framework_id), Some(true)) = (&group.framework.id, group.launch_executor) {
            self.executor_not_launched(framework_id, &group.executor.executor_id, turn);
        }
    }

    /// Whether tasks of this framework may be looked at: their ids are sound and they are meant for here.
    fn admit(&self, framework: &FrameworkInfo, tasks: &[&TaskInfo], turn: &Turn<'_>) -> Option<FrameworkId> {
        debug_assert!(turn.effects.is_empty(), "an event begins with nothing done");
        let Some(framework_id) = framework.id.clone() else {
            warn!("dropping tasks of a framework without an id");
            return None;
        };
        let ids = std::iter::once(&framework_id.value).chain(tasks.iter().map(|task| &task.task_id.value));
        if let Some(error) = ids.filter_map(|id| api::ids::validate(id).err()).next() {
            // An id that cannot be written down cannot be reported on either.
            warn!(%error, "dropping tasks");
            return None;
        }
        let agent_id = self.agent_id();
        if let Some(task) = tasks.iter().find(|task| task.agent_id != agent_id) {
            warn!(
                task = task.task_id.as_str(),
                agent = task.agent_id.as_str(),
                "dropping a task meant for another agent"
            );
            return None;
        }
        if let Some(framework) = self.frameworks.get(&framework_id)
            && framework.state == FrameworkState::Terminating
        {
            warn!(framework = framework_id.as_str(), "dropping tasks of a framework that is being shut down");
            return None;
        }
        (!self.terminating).then_some(framework_id)
    }

    /// Why the task cannot run, if so. May shut an executor down that should not be there.
    fn refusal(
        &mut self,
        framework_id: &FrameworkId,
        run: &RunTask,
        executor: &ExecutorInfo,
        for_command_task: bool,
        turn: &mut Turn<'_>,
    ) -> Option<(Reason, String)> {
        if let Some(name) = run.task.limits.keys().min() {
            let message =
                format!("a limit of {name} needs an isolator that enforces it, and this agent has none");
            return Some((Reason::GcError, message));
        }
        let ours = |version: &&ResourceVersionUuid| version.resource_provider_id.is_none();
        if let Some(version) = run.resource_versions.iter().find(ours)
            && version.uuid.value != self.settings.resource_version
        {
            return Some((
                Reason::InvalidOffers,
                "the agent's resources have changed since they were offered".to_owned(),
            ));
        }
        let resources = run.task.resources.iter().chain(&executor.resources);
        if let Some(unknown) = resources.filter(|r| needs_checkpoint(r)).find(|r| !self.is_checkpointed(r)) {
            let message = format!("the agent does not know the reservation or volume of `{}`", unknown.name);
            return Some((Reason::ResourcesUnknown, message));
        }
        let known = self.frameworks.get(framework_id).and_then(|f| f.executors.get(&executor.executor_id));
        match known {
            Some(_) if for_command_task => Some((
                Reason::TaskInvalid,
                format!("a task with the id `{}` is still known here", run.task.task_id.value),
            )),
            Some(known) if run.launch_executor == Some(true) => {
                let container_id = known.container_id.clone();
                self.shut_down(&container_id, turn);
                let message = "the master asked for a new executor, but one of that id is still running";
                Some((Reason::ExecutorTerminated, message.to_owned()))
            }
            None if run.launch_executor == Some(false) => {
                Some((Reason::ExecutorTerminated, "the task's executor has ended".to_owned()))
            }
            Some(known) if matches!(known.state, ExecutorState::Terminating | ExecutorState::Terminated) => {
                Some((Reason::ExecutorTerminated, "the task's executor is ending".to_owned()))
            }
            _ => None,
        }
    }

    /// Tells the framework that a task will not run here.
    fn refuse(
        &mut self,
        run: &RunTask,
        state: TaskState,
        reason: Reason,
        message: &str,
        turn: &mut Turn<'_>,
    ) {
        warn!(task = run.task.task_id.as_str(), ?reason, message, "not running a task");
        let Some(framework_id) = &run.framework.id else { return };
        let executor_id = run.task.executor.as_ref().map(|executor| executor.executor_id.clone());
        let update = self.agent_update(
            framework_id,
            &run.task.task_id,
            executor_id,
            state,
            Some(reason),
            message,
            turn,
        );
        turn.push(Effect::Store { update: Box::new(update), file: None, then: None });
        if let (Some(executor), Some(true)) = (&run.task.executor, run.launch_executor) {
            self.executor_not_launched(framework_id, &executor.executor_id, turn);
        }
        self.leave_if_idle(framework_id, turn);
    }

    /// The master has entered a new executor with this launch, and keeps resources for it until it hears of
    /// its end. Of one that runs here it will hear anyway.
    fn executor_not_launched(
        &self,
        framework_id: &FrameworkId,
        executor_id: &ExecutorId,
        turn: &mut Turn<'_>,
    ) {
        let known = self.frameworks.get(framework_id).and_then(|f| f.executors.get(executor_id));
        if known.is_none_or(|executor| executor.state == ExecutorState::Terminated) {
            let (framework_id, executor_id) = (framework_id.clone(), executor_id.clone());
            turn.push(Effect::ExitedExecutor { framework_id, executor_id, status: -1 });
        }
    }

    fn ensure_framework(&mut self, run: &RunTask, turn: &mut Turn<'_>) {
        let Some(id) = &run.framework.id else { return };
        if self.frameworks.contains_key(id) {
            return;
        }
        let framework = Framework {
            id: id.clone(),
            info: run.framework.clone(),
            pid: run.framework_pid.clone().filter(|pid| !pid.is_empty()),
            state: FrameworkState::Running,
            executors: Default::default(),
            completed_executors: Default::default(),
        };
        let agent_id = self.agent_id();
        let layout = &self.settings.layout;
        self.keep(vec![layout.framework(&agent_id, id), layout.framework_meta(&agent_id, id)], turn);
        if framework.checkpoint() {
            self.checkpoint_framework(&framework, turn);
        }
        self.frameworks.insert(id.clone(), framework);
    }

    pub(super) fn checkpoint_framework(&self, framework: &Framework, turn: &mut Turn<'_>) {
        let meta = self.settings.layout.framework_meta(&self.agent_id(), &framework.id);
        turn.push(Effect::Write(Write::message(meta.join("framework.info"), &framework.info)));
        let pid = framework.pid.as_deref().unwrap_or("@0.0.0.0:0");
        turn.push(Effect::Write(Write::text(meta.join("framework.pid"), pid)));
    }

    /// Enters the executor and answers how to launch it, unless it is there already.
    fn start_executor(
        &mut self,
        framework_id: &FrameworkId,
        info: &ExecutorInfo,
        first: &TaskInfo,
        for_command_task: bool,
        turn: &mut Turn<'_>,
    ) -> Option<Launch> {
        let agent_id = self.agent_id();
        let framework = self.frameworks.get_mut(framework_id)?;
        if framework.executors.contains_key(&info.executor_id) {
            return None;
        }
        let checkpoint = framework.checkpoint();
        let container_id = (turn.uuids)().to_string();
        let layout = &self.settings.layout;
        let path = ExecutorPath { agent: &agent_id, framework: framework_id, executor: &info.executor_id };
        let sandbox = layout.sandbox(path, &container_id);
        let command = info.command.clone().unwrap_or_default();
        let user = (self.settings.flags.switch_user)
            .then(|| command.user.clone().unwrap_or_else(|| framework.info.user.clone()))
            .filter(|user| !user.is_empty());
        let environment = environment::of_executor(
            environment::Agent {
                id: &agent_id.value,
                upid: &self.settings.upid,
                endpoint: &self.settings.endpoint,
                flags: &self.settings.flags,
                libprocess_ip: self.settings.libprocess_ip.as_deref(),
            },
            info,
            framework_id,
            checkpoint,
            &sandbox,
        );
        let forked_pid = checkpoint.then(|| layout.forked_pid(path, &container_id));
        let given_up = vec![layout.executor(path), layout.executor_meta(path)];
        if checkpoint {
            let meta = layout.executor_meta(path);
            turn.push(Effect::Write(Write::message(meta.join("executor.info"), info)));
            let generated = if for_command_task { "1" } else { "0" };
            turn.push(Effect::Write(Write::text(
                meta.join("executor_generated_for_command_task"),
                generated,
            )));
            let latest =
                Write::Link { path: meta.join("runs").join("latest"), target: container_id.clone().into() };
            turn.push(Effect::Write(latest));
        }
        info!(
            framework = framework_id.as_str(),
            executor = info.executor_id.as_str(),
            container_id,
            "launching an executor"
        );
        framework.executors.insert(
            info.executor_id.clone(),
            Executor {
                info: info.clone(),
                framework_id: framework_id.clone(),
                container_id: container_id.clone(),
                sandbox: sandbox.clone(),
                user: user.clone(),
                state: ExecutorState::Registering,
                link: None,
                pid: None,
                for_command_task,
                checkpoint,
                queued: Default::default(),
                launched: Default::default(),
                terminated: Default::default(),
                completed: Default::default(),
                was_sent: false,
                pending_termination: None,
            },
        );
        self.containers.insert(container_id.clone(), (framework_id.clone(), info.executor_id.clone()));
        self.keep(given_up, turn);
        let resources = info.resources.iter().chain(&first.resources).cloned().collect();
        Some(Launch {
            container_id,
            framework_id: framework_id.clone(),
            executor: info.clone(),
            command,
            environment,
            sandbox,
            user,
            resources,
            forked_pid,
        })
    }

    /// Puts a task into its executor's queue; a running executor gets it at once.
    fn queue(
        &mut self,
        framework_id: &FrameworkId,
        info: &ExecutorInfo,
        task: TaskInfo,
        turn: &mut Turn<'_>,
    ) {
        let agent_id = self.agent_id();
        self.begin_anew(framework_id, info, &task.task_id, turn);
        let Some(framework) = self.frameworks.get_mut(framework_id) else { return };
        let Some(executor) = framework.executors.get_mut(&info.executor_id) else { return };
        if executor.has(&task.task_id) {
            warn!(task = task.task_id.as_str(), "dropping a task that its executor already has");
            return;
        }
        if executor.checkpoint {
            let path =
                ExecutorPath { agent: &agent_id, framework: framework_id, executor: &info.executor_id };
            let file = self.settings.layout.task_info(path, &executor.container_id, &task.task_id);
            let staging = staging(task.clone(), framework_id, executor.for_command_task);
            turn.push(Effect::Write(Write::message(file, &staging)));
        }
        executor.queued.insert(task.task_id.clone(), task);
        // One whose stream broke gets it when it subscribes again.
        if executor.state == ExecutorState::Running && executor.link.is_some() {
            self.send_queued(framework_id, info, turn);
        }
    }

    /// A task may have the id of one that its executor had before, whose end is acknowledged. What is
    /// checkpointed of that one must neither be taken for the new one's nor be removed from under it.
    fn begin_anew(
        &mut self,
        framework_id: &FrameworkId,
        info: &ExecutorInfo,
        task_id: &api::v1::TaskId,
        turn: &mut Turn<'_>,
    ) {
        let agent_id = self.agent_id();
        let framework = self.frameworks.get(framework_id);
        let Some(executor) = framework.and_then(|framework| framework.executors.get(&info.executor_id))
        else {
            return;
        };
        let path = ExecutorPath { agent: &agent_id, framework: framework_id, executor: &info.executor_id };
        let layout = &self.settings.layout;
        let meta = layout.task_meta(path, &executor.container_id, task_id);
        let updates = layout.task_updates(path, &executor.container_id, task_id);
        if self.given_up.contains(&meta) {
            self.keep(vec![meta], turn);
            turn.push(Effect::Write(Write::marker(updates)));
        }
    }

    /// Sends an executor everything that waits for it.
    pub(super) fn send_queued(
        &mut self,
        framework_id: &FrameworkId,
        info: &ExecutorInfo,
        turn: &mut Turn<'_>,
    ) {
        let Some(framework) = self.frameworks.get_mut(framework_id) else { return };
        let (framework_info, framework_pid) = (framework.info.clone(), framework.pid.clone());
        let Some(executor) = framework.executors.get_mut(&info.executor_id) else { return };
        for (id, task) in std::mem::take(&mut executor.queued) {
            let event = ExecutorEvent::Launch {
                framework: Box::new(framework_info.clone()),
                framework_pid: framework_pid.clone(),
                task: Box::new(task.clone()),
            };
            executor.launched.insert(id, staging(task, framework_id, executor.for_command_task));
            executor.was_sent = true;
            turn.effects.extend(executor.tell(event).map(|tell| Effect::Tell(Box::new(tell))));
        }
    }

    /// Makes sure that nobody removes directories which are used again.
    fn keep(&mut self, paths: Vec<std::path::PathBuf>, turn: &mut Turn<'_>) {
        let paths: Vec<_> = paths.into_iter().filter(|path| self.given_up.remove(path)).collect();
        if !paths.is_empty() {
            turn.push(Effect::Keep { paths });
        }
    }

    fn is_checkpointed(&self, resource: &Resource) -> bool {
        // What a task uses is allocated to a role, what is checkpointed is not.
        let bare = Resource { allocation_info: None, ..resource.clone() };
        let amount = |r: &Resource| r.scalar.as_ref().map_or(0.0, |scalar| scalar.value);
        self.checkpointed_resources.iter().any(|known| {
            let same = Resource {
                scalar: bare.scalar,
                ranges: bare.ranges.clone(),
                set: bare.set.clone(),
                ..known.clone()
            };
            same == bare && amount(known) + 0.0005 >= amount(&bare)
        })
    }

    /// An update that the agent itself makes, about a task that it need not know.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn agent_update(
        &self,
        framework_id: &FrameworkId,
        task_id: &api::v1::TaskId,
        executor_id: Option<api::v1::ExecutorId>,
        state: TaskState,
        reason: Option<Reason>,
        message: &str,
        turn: &mut Turn<'_>,
    ) -> api::internal::StatusUpdate {
        let uuid = turn.uuid_bytes();
        api::internal::StatusUpdate {
            framework_id: framework_id.clone(),
            executor_id: executor_id.clone(),
            slave_id: Some(self.agent_id()),
            status: api::v1::TaskStatus {
                task_id: task_id.clone(),
                state: state as i32,
                message: Some(message.to_owned()),
                source: Some(Source::Agent as i32),
                reason: reason.map(|reason| reason as i32),
                agent_id: Some(self.agent_id()),
                executor_id,
                timestamp: Some(turn.now),
                uuid: Some(uuid.clone()),
                ..Default::default()
            },
            timestamp: turn.now,
            uuid: Some(uuid),
            latest_state: Some(state as i32),
        }
    }
}

/// Masters older than roles per offer do not say which role a task's resources are allocated to; it can
/// only be the framework's one.
#[allow(deprecated)] // Such frameworks say `role`.
fn allocate(task: &mut TaskInfo, framework: &FrameworkInfo) {
    if super::framework::is_capable_of(framework, capability::Type::MultiRole) {
        return;
    }
    let role = framework.role.clone().unwrap_or_else(|| "*".to_owned());
    let executor = task.executor.iter_mut().flat_map(|executor| &mut executor.resources);
    for resource in task.resources.iter_mut().chain(executor) {
        resource.allocation_info.get_or_insert_with(|| resource::AllocationInfo { role: Some(role.clone()) });
    }
}

/// Whether a resource exists only because it was reserved or made into a volume.
fn needs_checkpoint(resource: &Resource) -> bool {
    use resource::reservation_info::Type;
    resource.provider_id.is_none()
        && (resource.disk.as_ref().is_some_and(|disk| disk.persistence.is_some())
            || resource.reservation.is_some()
            || resource
                .reservations
                .iter()
                .any(|reservation| reservation.r#type == Some(Type::Dynamic as i32)))
}

/// A task as it is kept, told to its executor but not yet heard of.
pub(super) fn staging(task: TaskInfo, framework_id: &FrameworkId, of_command_executor: bool) -> Task {
    let executor_command = task.executor.as_ref().and_then(|executor| executor.command.as_ref());
    let user = task.command.as_ref().or(executor_command).and_then(|command| command.user.clone());
    Task {
        executor_id: task.executor.map(|executor| executor.executor_id).filter(|_| !of_command_executor),
        framework_id: framework_id.clone(),
        state: TaskState::TaskStaging as i32,
        name: task.name,
        task_id: task.task_id,
        agent_id: task.agent_id,
        resources: task.resources,
        labels: task.labels,
        discovery: task.discovery.map(Box::new),
        container: task.container.map(Box::new),
        health_check: task.health_check.map(Box::new),
        kill_policy: task.kill_policy,
        limits: task.limits,
        user,
        ..Default::default()
    }
}
