//! The command executor: runs the one command of a task that brings no executor.
//!
//! It is a process of its own, started by the launcher, and talks to the agent in libprocess messages.

use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use api::internal::{
    ExecutorRegisteredMessage, ExecutorReregisteredMessage, KillTaskMessage, ReconnectExecutorMessage,
    RegisterExecutorMessage, ReregisterExecutorMessage, RunTaskMessage, ShutdownExecutorMessage,
    StatusUpdate, StatusUpdateAcknowledgementMessage, StatusUpdateMessage,
};
use api::v1::framework_info::capability;
use api::v1::task_status::{Reason, Source};
use api::v1::{
    AgentId, CheckStatusInfo, DurationInfo, ExecutorId, FrameworkId, TaskId, TaskInfo, TaskState, TaskStatus,
};
use indexmap::IndexMap;
use libprocess::{Context, Id, Node, Pid, Process, Runtime, Time, Timer, Upid};

use super::checker::Checker;
use super::checks::{self, Finding, Health, Verdict};
use super::running::{self, Ending, Start, verdict};
use crate::command_task::allocation_role;
use crate::task_state::is_terminal;

/// How long the agent may take to confirm the end of the task before the executor ends without that.
const CONFIRMATION_TIMEOUT: Duration = Duration::from_secs(60);
/// The same while the agent wants the executor gone: it does not confirm what nobody will hear.
const CONFIRMATION_TIMEOUT_AT_SHUTDOWN: Duration = Duration::from_secs(1);
/// What the executor keeps of its own grace to report the end of its task.
const SHUTDOWN_SLACK: Duration = Duration::from_secs(2);

/// Why the executor did not start.
#[derive(Debug, thiserror::Error)]
enum StartupError {
    #[error("the command executor is started by an agent: {name} is not set, or is not {what}")]
    Environment { name: &'static str, what: &'static str },
    #[error(transparent)]
    Runtime(#[from] libprocess::RuntimeError),
    #[error(transparent)]
    Node(#[from] libprocess::StartError),
    #[error(transparent)]
    Spawn(#[from] libprocess::SpawnError),
}

/// `mesos executor command`: runs until its task's end is confirmed.
pub fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let cause =
                std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            eprintln!("{error}{cause}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), StartupError> {
    let settings = Settings::from_environment(|name| std::env::var(name).ok())?;
    // The executor shares the agent's machine, so the agent's address is one it can listen on.
    let ip = std::env::var("LIBPROCESS_IP").ok().and_then(|ip| ip.parse::<IpAddr>().ok());
    let listen = SocketAddr::new(ip.unwrap_or(settings.agent.address().ip()), 0);
    let node = Node::builder().listen(listen.to_string()).runtime(Runtime::new(1)?).start()?;
    let executor = node.spawn("executor(1)", CommandExecutor::new(settings))?;
    // A wait without end: the executor ends itself.
    while node.wait(&executor).wait(Duration::from_secs(3600)).is_err() {}
    running::end();
    Ok(())
}

/// What the agent tells by the environment.
#[derive(Debug, Clone)]
struct Settings {
    agent: Upid,
    agent_id: AgentId,
    framework_id: FrameworkId,
    executor_id: ExecutorId,
    /// Whether to wait for an agent that is gone, and how long.
    recovery_timeout: Option<Duration>,
    shutdown_grace: Duration,
}

impl Settings {
    fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Result<Settings, StartupError> {
        let text = |name: &'static str, what: &'static str| {
            variable(name).filter(|value| !value.is_empty()).ok_or(StartupError::Environment { name, what })
        };
        let duration = |name: &'static str, default: Duration| match variable(name) {
            None => Ok(default),
            Some(value) => api::duration::parse(&value)
                .map_err(|_| StartupError::Environment { name, what: "a duration such as 5secs" }),
        };
        let agent = text("MESOS_SLAVE_PID", "the agent's address")?;
        let agent = Upid::parse_ip(&agent)
            .ok_or(StartupError::Environment { name: "MESOS_SLAVE_PID", what: "id@ip:port" })?;
        let recovery_timeout = duration("MESOS_RECOVERY_TIMEOUT", Duration::from_secs(15 * 60))?;
        Ok(Settings {
            agent,
            agent_id: text("MESOS_SLAVE_ID", "the agent's id")?.into(),
            framework_id: text("MESOS_FRAMEWORK_ID", "a framework's id")?.into(),
            executor_id: text("MESOS_EXECUTOR_ID", "an executor's id")?.into(),
            recovery_timeout: (variable("MESOS_CHECKPOINT").as_deref() == Some("1"))
                .then_some(recovery_timeout),
            shutdown_grace: duration("MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD", Duration::from_secs(5))?,
        })
    }
}

/// The one task.
struct Running {
    task: TaskInfo,
    /// Whether its framework wants to hear TASK_KILLING.
    hears_killing: bool,
    /// Once it runs.
    pid: Option<u32>,
    ending: Option<Ending>,
    /// When what is left of it is killed.
    deadline: Option<(Time, Timer)>,
    over: bool,
    health: Option<Health>,
    /// What the last word on its health was.
    healthy: Option<bool>,
    /// Where its check stands.
    check_status: Option<CheckStatusInfo>,
    checkers: Vec<Pid<Checker>>,
}

struct CommandExecutor {
    settings: Settings,
    task: Option<Running>,
    /// Updates that the agent has not confirmed, by uuid.
    unconfirmed: IndexMap<Vec<u8>, StatusUpdate>,
    /// The agent is known to be there.
    connected: bool,
    /// The agent wants the executor gone.
    shutting_down: bool,
    /// Counts disconnections, so that a timer knows whether it is about the current one.
    disconnections: u64,
}

impl CommandExecutor {
    fn new(settings: Settings) -> CommandExecutor {
        CommandExecutor {
            settings,
            task: None,
            unconfirmed: IndexMap::new(),
            connected: false,
            shutting_down: false,
            disconnections: 0,
        }
    }

    fn registered(&mut self, _message: ExecutorRegisteredMessage, _ctx: &mut Context<Self>) {
        self.connected = true;
    }

    fn reregistered(&mut self, _message: ExecutorReregisteredMessage, _ctx: &mut Context<Self>) {
        self.connected = true;
    }

    /// The agent is back, perhaps as another process.
    fn reconnect(&mut self, from: &Upid, _message: ReconnectExecutorMessage, ctx: &mut Context<Self>) {
        self.settings.agent = from.clone();
        ctx.link_reconnect(from);
        let updates: Vec<_> = self.unconfirmed.values().cloned().collect();
        let silent = self.task.iter().filter(|running| {
            // The agent may not even know that we got the task.
            updates.len() == 1 && updates[0].status.task_id == running.task.task_id
        });
        let message = ReregisterExecutorMessage {
            executor_id: self.settings.executor_id.clone(),
            framework_id: self.settings.framework_id.clone(),
            tasks: silent.map(|running| running.task.clone()).collect(),
            updates,
        };
        ctx.send(from, message);
    }

    fn run_task(&mut self, message: RunTaskMessage, ctx: &mut Context<Self>) {
        let task = message.task;
        if self.task.is_some() {
            let text = "a command executor runs one task only";
            return self.report(&task.task_id, TaskState::TaskFailed, None, text, ctx);
        }
        let (task_id, max_completion_time) = (task.task_id.clone(), task.max_completion_time);
        let start = Start {
            command: task.command.clone().unwrap_or_default(),
            role: allocation_role(&task.resources).map(str::to_owned),
        };
        let kills = |has: &api::v1::framework_info::Capability| {
            has.r#type == Some(capability::Type::TaskKillingState as i32)
        };
        self.task = Some(Running {
            health: None,
            healthy: None,
            check_status: task.check.as_ref().map(checks::empty_status),
            checkers: Vec::new(),
            task,
            hears_killing: message.framework.capabilities.iter().any(kills),
            pid: None,
            ending: None,
            deadline: None,
            over: false,
        });
        self.report(&task_id, TaskState::TaskStarting, None, "", ctx);
        let started = ctx.blocking(move || start.start());
        ctx.then(started, move |executor, started, ctx| match started {
            Ok(Ok(pid)) => executor.started(pid, max_completion_time, ctx),
            Ok(Err(error)) => executor.over(TaskState::TaskFailed, None, &error.to_string(), ctx),
            Err(_) => executor.over(TaskState::TaskFailed, None, "the executor is ending", ctx),
        });
    }

    fn started(&mut self, pid: u32, max_completion_time: Option<DurationInfo>, ctx: &mut Context<Self>) {
        let Some(running) = &mut self.task else { return };
        running.pid = Some(pid);
        let (task_id, ending) = (running.task.task_id.clone(), running.ending);
        let too_late = running.deadline.as_ref().is_some_and(|(at, _)| *at <= ctx.now());
        self.report(&task_id, TaskState::TaskRunning, None, "", ctx);
        let exit = ctx.reap(pid);
        ctx.then(exit, |executor, status, ctx| {
            let ending = executor.task.as_ref().and_then(|running| running.ending);
            let (state, reason, message) = verdict(status.ok().flatten(), ending);
            executor.over(state, reason, &message, ctx);
        });
        self.start_checks(ctx);
        if ending.is_some() {
            // The kill came while it was being started, and its grace may be over as well.
            drop(ctx.blocking(if too_late { running::end } else { running::ask_to_end }));
        }
        if let Some(limit) = max_completion_time.and_then(|time| u64::try_from(time.nanoseconds).ok()) {
            ctx.delay(Duration::from_nanos(limit), |executor, ctx| {
                executor.end_task(Ending::TooLong, Duration::ZERO, ctx);
            });
        }
    }

    /// The task has ended. Whatever it left behind ends with it.
    fn over(&mut self, state: TaskState, reason: Option<Reason>, message: &str, ctx: &mut Context<Self>) {
        let Some(running) = &mut self.task else { return };
        running.over = true;
        for checker in running.checkers.drain(..) {
            ctx.terminate(&checker);
        }
        if let Some((_, timer)) = running.deadline.take() {
            timer.cancel();
        }
        let task_id = running.task.task_id.clone();
        drop(ctx.blocking(running::end));
        self.report(&task_id, state, reason, message, ctx);
        let timeout =
            if self.shutting_down { CONFIRMATION_TIMEOUT_AT_SHUTDOWN } else { CONFIRMATION_TIMEOUT };
        ctx.delay(timeout, |_, ctx| ctx.terminate_self());
    }

    fn start_checks(&mut self, ctx: &mut Context<Self>) {
        let Some(running) = &mut self.task else { return };
        let health = running.task.health_check.as_ref();
        let mut plans = Vec::new();
        if let Some((check, plan)) = health.and_then(|check| Some((check, checks::plan_health(check)?))) {
            running.health = Some(Health::new(check, ctx.now()));
            plans.push((
                plan,
                ctx.defer(|executor: &mut Self, found, ctx| executor.found_health(&found, ctx)),
            ));
        }
        if let Some(plan) = running.task.check.as_ref().and_then(checks::plan_check) {
            plans
                .push((plan, ctx.defer(|executor: &mut Self, found, ctx| executor.found_check(&found, ctx))));
        }
        for (plan, found) in plans {
            match ctx.spawn(Id::prefix("checker"), Checker::new(plan, found)) {
                Ok(checker) => running.checkers.push(checker),
                Err(error) => eprintln!("the task is not checked: {error}"),
            }
        }
    }

    fn found_health(&mut self, finding: &Finding, ctx: &mut Context<Self>) {
        let Some(running) = self.task.as_mut().filter(|running| !running.over) else { return };
        let Some(health) = &mut running.health else { return };
        let verdict = health.judge(finding, ctx.now());
        let healthy = match verdict {
            Verdict::Silence => return,
            Verdict::Report { healthy } => healthy,
            Verdict::Kill => false,
        };
        running.healthy = Some(healthy);
        let grace = running::grace(None, running.task.kill_policy);
        self.report_checked(Reason::TaskHealthCheckStatusUpdated, ctx);
        if verdict == Verdict::Kill {
            self.end_task(Ending::Killed, grace, ctx);
        }
    }

    fn found_check(&mut self, finding: &Finding, ctx: &mut Context<Self>) {
        let Some(running) = self.task.as_mut().filter(|running| !running.over) else { return };
        let Some(check) = &running.task.check else { return };
        let status = Some(checks::status_of(check, finding));
        if running.check_status != status {
            running.check_status = status;
            self.report_checked(Reason::TaskCheckStatusUpdated, ctx);
        }
    }

    /// Tells what a check has changed; the task stands where it stood.
    fn report_checked(&mut self, reason: Reason, ctx: &mut Context<Self>) {
        let Some(running) = &self.task else { return };
        let killing = running.ending.is_some() && running.hears_killing;
        let state = if killing { TaskState::TaskKilling } else { TaskState::TaskRunning };
        let task_id = running.task.task_id.clone();
        self.report(&task_id, state, Some(reason), "", ctx);
    }

    fn kill_task(&mut self, message: KillTaskMessage, ctx: &mut Context<Self>) {
        let Some(running) = self.task.as_ref().filter(|running| running.task.task_id == message.task_id)
        else {
            return;
        };
        let grace = running::grace(message.kill_policy, running.task.kill_policy);
        self.end_task(Ending::Killed, grace, ctx);
    }

    /// Asks the task to end, and makes it end after `grace`. Asked again, it can only get less time.
    fn end_task(&mut self, why: Ending, grace: Duration, ctx: &mut Context<Self>) {
        let Some(running) = self.task.as_mut().filter(|running| !running.over) else { return };
        let deadline = ctx.now() + grace;
        if let Some((at, timer)) = &running.deadline {
            if *at <= deadline {
                return;
            }
            timer.cancel();
        }
        let timer = ctx.delay(grace, |_, ctx| drop(ctx.blocking(running::end)));
        running.deadline = Some((deadline, timer));
        if running.ending.is_some() {
            return;
        }
        running.ending = Some(why);
        let (task_id, hears_killing) = (running.task.task_id.clone(), running.hears_killing);
        if hears_killing && why == Ending::Killed {
            self.report(&task_id, TaskState::TaskKilling, None, "", ctx);
        }
        drop(ctx.blocking(running::ask_to_end));
    }

    fn shutdown(&mut self, _message: ShutdownExecutorMessage, ctx: &mut Context<Self>) {
        self.shut_down(ctx);
    }

    fn shut_down(&mut self, ctx: &mut Context<Self>) {
        self.shutting_down = true;
        match &self.task {
            Some(running) if !running.over => {
                let grace = self.settings.shutdown_grace.saturating_sub(SHUTDOWN_SLACK);
                self.end_task(Ending::Killed, grace, ctx);
            }
            // The end of the task is on its way; the agent may still confirm it.
            Some(_) if !self.unconfirmed.is_empty() => {
                ctx.delay(CONFIRMATION_TIMEOUT_AT_SHUTDOWN, |_, ctx| ctx.terminate_self());
            }
            _ => ctx.terminate_self(),
        }
    }

    fn confirmed(&mut self, message: StatusUpdateAcknowledgementMessage, ctx: &mut Context<Self>) {
        if let Some(update) = self.unconfirmed.shift_remove(&message.uuid) {
            let ours =
                self.task.as_ref().is_some_and(|running| running.task.task_id == update.status.task_id);
            if ours && is_terminal(crate::task_state::of(&update.status)) {
                ctx.terminate_self();
            }
        }
    }

    fn report(
        &mut self,
        task_id: &TaskId,
        state: TaskState,
        reason: Option<Reason>,
        message: &str,
        ctx: &mut Context<Self>,
    ) {
        let uuid = ctx.uuid().as_bytes().to_vec();
        let timestamp = ctx.now().as_secs_f64();
        let running = self.task.as_ref().filter(|running| running.task.task_id == *task_id);
        let status = TaskStatus {
            healthy: running.and_then(|running| running.healthy),
            check_status: running.and_then(|running| running.check_status),
            task_id: task_id.clone(),
            state: state as i32,
            message: (!message.is_empty()).then(|| message.to_owned()),
            source: Some(Source::Executor as i32),
            reason: reason.map(|reason| reason as i32),
            agent_id: Some(self.settings.agent_id.clone()),
            executor_id: Some(self.settings.executor_id.clone()),
            timestamp: Some(timestamp),
            uuid: Some(uuid.clone()),
            ..Default::default()
        };
        let update = StatusUpdate {
            framework_id: self.settings.framework_id.clone(),
            executor_id: Some(self.settings.executor_id.clone()),
            slave_id: Some(self.settings.agent_id.clone()),
            status,
            timestamp,
            uuid: Some(uuid.clone()),
            latest_state: None,
        };
        self.unconfirmed.insert(uuid, update.clone());
        let pid = Some(ctx.upid().to_string());
        ctx.send(self.settings.agent.clone(), StatusUpdateMessage { update, pid });
    }
}

impl Process for CommandExecutor {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.install(Self::registered);
        ctx.install(Self::reregistered);
        ctx.install(Self::reconnect);
        ctx.install(Self::run_task);
        ctx.install(Self::kill_task);
        ctx.install(Self::confirmed);
        ctx.install(Self::shutdown);
        let agent = self.settings.agent.clone();
        ctx.link(&agent);
        let message = RegisterExecutorMessage {
            framework_id: self.settings.framework_id.clone(),
            executor_id: self.settings.executor_id.clone(),
        };
        ctx.send(&agent, message);
    }

    /// The agent is gone. One that keeps checkpoints may come back; without them it will not know us.
    fn exited(&mut self, pid: &Upid, ctx: &mut Context<Self>) {
        if *pid != self.settings.agent {
            return;
        }
        self.connected = false;
        self.disconnections += 1;
        let current = self.disconnections;
        match self.settings.recovery_timeout {
            Some(timeout) => {
                ctx.delay(timeout, move |executor, ctx| {
                    if !executor.connected && executor.disconnections == current {
                        executor.lost(ctx);
                    }
                });
            }
            None => self.lost(ctx),
        }
    }
}

impl CommandExecutor {
    /// Nobody will hear how the task ends, so it ends, and the executor with it.
    fn lost(&mut self, ctx: &mut Context<Self>) {
        eprintln!("the agent at {} is gone; the task ends", self.settings.agent);
        self.shut_down(ctx);
        let grace = self.settings.shutdown_grace;
        ctx.delay(grace, |_, ctx| ctx.terminate_self());
    }
}
