//! An agent that runs nothing: what it would run it keeps in a table, which outlives it as a disk does. Towards the
//! masters it is a real one: it follows the leader by the real detector, keeps its id, owes its updates until they
//! are acknowledged, and believes nobody but the master that it is registered with.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use api::internal::*;
use api::resources::Resources;
use api::v1::{
    AgentId, AgentInfo, FrameworkId, FrameworkInfo, Task, TaskId, TaskInfo, TaskState, TaskStatus,
    task_status,
};
use detector::{ComeBack, Detector, Leader, Masters};
use libprocess::{Context, Process, Timer, Upid};
use parking_lot::Mutex;
use rand::Rng as _;

/// How long an acknowledgement is waited for.
const RETRY: Duration = Duration::from_secs(2);

/// Between two attempts to register.
const ATTEMPT: Duration = Duration::from_millis(500);

/// What every agent has.
pub const RESOURCES: &str = "cpus:4;mem:1024";

/// A task on the agent, until its last update is acknowledged.
pub struct Running {
    pub task: Task,
    /// What the framework has not acknowledged, the oldest first.
    pub unacknowledged: VecDeque<StatusUpdate>,
}

impl Running {
    pub fn has_ended(&self) -> bool {
        is_terminal(self.task.state())
    }
}

/// What the agent does not forget when it dies.
#[derive(Default)]
pub struct Disk {
    pub id: Option<AgentId>,
    pub tasks: BTreeMap<(FrameworkId, TaskId), Running>,
    frameworks: BTreeMap<FrameworkId, FrameworkInfo>,
    /// A master said that it is gone for good.
    pub gone: bool,
    /// What must not have happened.
    pub broken: Vec<String>,
}

pub struct Agent {
    masters: Masters,
    hostname: String,
    pub disk: Arc<Mutex<Disk>>,
    leader: Option<Upid>,
    pub registered: bool,
    attempt: Option<Timer>,
    ping: Option<Timer>,
    ping_timeout: Duration,
}

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

impl Agent {
    pub fn new(masters: Masters, hostname: String, disk: Arc<Mutex<Disk>>) -> Agent {
        Agent {
            masters,
            hostname,
            disk,
            leader: None,
            registered: false,
            attempt: None,
            ping: None,
            ping_timeout: Duration::from_secs(75),
        }
    }

    fn led_by(&mut self, leader: Option<Leader>, spread: Duration, ctx: &mut Context<Self>) {
        self.leader = leader.map(|leader| leader.pid);
        self.registered = false;
        let wait = spread.mul_f64(ctx.rng().random());
        self.register_in(wait, ctx);
    }

    fn register_in(&mut self, wait: Duration, ctx: &mut Context<Self>) {
        let timer = ctx.delay(wait, Self::register);
        if let Some(earlier) = self.attempt.replace(timer) {
            earlier.cancel();
        }
    }

    fn register(&mut self, ctx: &mut Context<Self>) {
        if self.registered {
            return;
        }
        let Some(master) = self.leader.clone() else { return };
        ctx.link(&master);
        let version = Some("1.11.0".to_owned());
        let disk = self.disk.lock();
        let slave = AgentInfo {
            hostname: self.hostname.clone(),
            resources: Resources::parse(RESOURCES, "*").expect("good resources").to_messages(),
            id: disk.id.clone(),
            ..Default::default()
        };
        if slave.id.is_none() {
            ctx.send(&master, RegisterSlaveMessage { slave, version, ..Default::default() });
        } else {
            let message = ReregisterSlaveMessage {
                slave,
                version,
                tasks: disk.tasks.values().map(|running| running.task.clone()).collect(),
                frameworks: disk.frameworks.values().cloned().collect(),
                ..Default::default()
            };
            ctx.send(&master, message);
        }
        drop(disk);
        let wait = ATTEMPT.mul_f64(1.0 + ctx.rng().random::<f64>());
        self.register_in(wait, ctx);
    }

    fn come_back(&mut self, from: &Upid, message: ComeBack, ctx: &mut Context<Self>) {
        if self.leader.as_ref() == Some(from) && !self.registered {
            self.register_in(Duration::from_millis(message.after_ms), ctx);
        }
    }

    fn is_master(&self, from: &Upid) -> bool {
        self.leader.as_ref() == Some(from)
    }

    fn registered(&mut self, from: &Upid, message: SlaveRegisteredMessage, ctx: &mut Context<Self>) {
        if self.is_master(from) {
            self.welcome(message.slave_id, message.connection, ctx);
        }
    }

    fn reregistered(&mut self, from: &Upid, message: SlaveReregisteredMessage, ctx: &mut Context<Self>) {
        if !self.is_master(from) {
            return;
        }
        self.welcome(message.slave_id, message.connection, ctx);
        for missing in message.reconciliations {
            for status in missing.statuses {
                let known = self
                    .disk
                    .lock()
                    .tasks
                    .contains_key(&(missing.framework_id.clone(), status.task_id.clone()));
                if !known {
                    self.never_arrived(&missing.framework_id, status.task_id, ctx);
                }
            }
        }
    }

    fn welcome(&mut self, id: AgentId, connection: Option<MasterSlaveConnection>, ctx: &mut Context<Self>) {
        let mut disk = self.disk.lock();
        if let Some(known) = disk.id.clone().filter(|known| *known != id) {
            disk.broken.push(format!("agent {known} was called {id}"));
        }
        disk.id = Some(id);
        drop(disk);
        self.registered = true;
        let timeout = connection.and_then(|connection| connection.total_ping_timeout_seconds);
        self.ping_timeout = Duration::from_secs_f64(timeout.unwrap_or(75.0));
        self.expect_ping(ctx);
        self.repeat(ctx);
    }

    fn expect_ping(&mut self, ctx: &mut Context<Self>) {
        let timer = ctx.delay(self.ping_timeout, |agent, ctx| {
            agent.registered = false;
            agent.register(ctx);
        });
        if let Some(earlier) = self.ping.replace(timer) {
            earlier.cancel();
        }
    }

    fn ping(&mut self, from: &Upid, message: PingSlaveMessage, ctx: &mut Context<Self>) {
        if self.leader.as_ref().is_none_or(|leader| leader.address() != from.address()) {
            return;
        }
        ctx.reply(PongSlaveMessage {});
        self.expect_ping(ctx);
        if !message.connected && self.registered {
            self.registered = false;
            self.register(ctx);
        }
    }

    fn run_task(&mut self, from: &Upid, message: RunTaskMessage, ctx: &mut Context<Self>) {
        if !self.is_master(from) || !self.registered {
            return;
        }
        let RunTaskMessage { framework, task, .. } = message;
        let Some(framework_id) = framework.id.clone() else { return };
        let key = (framework_id.clone(), task.task_id.clone());
        let mut disk = self.disk.lock();
        if disk.tasks.contains_key(&key) {
            return;
        }
        let amount = |resources: &[api::v1::Resource]| {
            resources
                .iter()
                .filter(|it| it.name == "cpus")
                .filter_map(|it| it.scalar.as_ref())
                .map(|it| it.value)
                .sum::<f64>()
        };
        let used: f64 =
            disk.tasks.values().filter(|it| !it.has_ended()).map(|it| amount(&it.task.resources)).sum();
        if used + amount(&task.resources) > 4.0 {
            let ids: Vec<_> = disk.tasks.keys().map(|(_, id)| id.to_string()).collect();
            disk.broken.push(format!("{} is one task too many beside {ids:?}", task.task_id));
        }
        let TaskInfo { name, task_id, agent_id, resources, .. } = task;
        let task = Task {
            name,
            task_id,
            framework_id: framework_id.clone(),
            agent_id,
            state: TaskState::TaskStaging.into(),
            resources,
            ..Default::default()
        };
        disk.frameworks.insert(framework_id, framework);
        disk.tasks.insert(key.clone(), Running { task, unacknowledged: VecDeque::new() });
        drop(disk);
        self.changes(&key, TaskState::TaskRunning, ctx);
        self.end_some_time(key, ctx);
    }

    fn end_some_time(&mut self, key: (FrameworkId, TaskId), ctx: &mut Context<Self>) {
        let life = Duration::from_millis(ctx.rng().random_range(500..15_000));
        ctx.delay(life, move |agent, ctx| agent.changes(&key, TaskState::TaskFinished, ctx));
    }

    /// A task changes its state, and its framework is owed the news.
    fn changes(&mut self, key: &(FrameworkId, TaskId), state: TaskState, ctx: &mut Context<Self>) {
        let mut disk = self.disk.lock();
        let agent_id = disk.id.clone();
        let Some(running) = disk.tasks.get_mut(key).filter(|running| !running.has_ended()) else { return };
        running.task.state = state.into();
        let uuid = ctx.uuid().into_bytes().to_vec();
        let update = update(key, agent_id, state, Some(uuid), ctx);
        running.unacknowledged.push_back(update);
        let is_first = running.unacknowledged.len() == 1;
        drop(disk);
        if is_first {
            self.forward(key, ctx);
        }
    }

    /// The oldest update of a task goes to the master, if there is one.
    fn forward(&mut self, key: &(FrameworkId, TaskId), ctx: &mut Context<Self>) {
        let Some(master) = self.leader.clone().filter(|_| self.registered) else { return };
        let mut disk = self.disk.lock();
        let Some(running) = disk.tasks.get_mut(key) else { return };
        let Some(mut update) = running.unacknowledged.front().cloned() else { return };
        update.latest_state = Some(running.task.state);
        running.task.status_update_state = Some(update.status.state);
        running.task.status_update_uuid.clone_from(&update.uuid);
        ctx.send(&master, StatusUpdateMessage { update, pid: Some(ctx.upid().to_string()) });
    }

    fn repeat(&mut self, ctx: &mut Context<Self>) {
        let keys: Vec<_> = self.disk.lock().tasks.keys().cloned().collect();
        keys.iter().for_each(|key| self.forward(key, ctx));
    }

    fn repeat_for_ever(&mut self, ctx: &mut Context<Self>) {
        self.repeat(ctx);
        ctx.delay(RETRY, Self::repeat_for_ever);
    }

    fn never_arrived(&mut self, framework_id: &FrameworkId, task_id: TaskId, ctx: &mut Context<Self>) {
        let Some(master) = self.leader.clone() else { return };
        let agent_id = self.disk.lock().id.clone();
        let update = update(&(framework_id.clone(), task_id), agent_id, TaskState::TaskLost, None, ctx);
        ctx.send(&master, StatusUpdateMessage { update, pid: None });
    }

    fn acknowledged(
        &mut self,
        from: &Upid,
        message: StatusUpdateAcknowledgementMessage,
        ctx: &mut Context<Self>,
    ) {
        if !self.is_master(from) {
            return;
        }
        let key = (message.framework_id, message.task_id);
        let mut disk = self.disk.lock();
        let Some(running) = disk.tasks.get_mut(&key) else { return };
        if running.unacknowledged.front().and_then(|update| update.uuid.as_ref()) != Some(&message.uuid) {
            return;
        }
        running.unacknowledged.pop_front();
        if running.unacknowledged.is_empty() && running.has_ended() {
            disk.tasks.remove(&key);
        }
        drop(disk);
        self.forward(&key, ctx);
    }

    fn kill(&mut self, from: &Upid, message: KillTaskMessage, ctx: &mut Context<Self>) {
        if !self.is_master(from) {
            return;
        }
        let key = (message.framework_id, message.task_id);
        if self.disk.lock().tasks.contains_key(&key) {
            self.changes(&key, TaskState::TaskKilled, ctx);
        } else {
            self.never_arrived(&key.0, key.1, ctx);
        }
    }

    fn shutdown(&mut self, from: &Upid, message: ShutdownMessage, ctx: &mut Context<Self>) {
        if !self.is_master(from) {
            return;
        }
        let mut disk = self.disk.lock();
        disk.tasks.clear();
        match message.message.as_deref() {
            Some("Agent has been marked gone") => disk.gone = true,
            other => disk.broken.push(format!("an agent was told to end: {other:?}")),
        }
        drop(disk);
        ctx.terminate_self();
    }

    fn shutdown_framework(&mut self, from: &Upid, message: ShutdownFrameworkMessage, _: &mut Context<Self>) {
        if self.is_master(from) {
            let why = format!("framework {} was ended by {from}", message.framework_id);
            self.disk.lock().broken.push(why);
        }
    }
}

fn update(
    key: &(FrameworkId, TaskId),
    agent_id: Option<AgentId>,
    state: TaskState,
    uuid: Option<Vec<u8>>,
    ctx: &Context<Agent>,
) -> StatusUpdate {
    let timestamp = ctx.now().as_secs_f64();
    let status = TaskStatus {
        task_id: key.1.clone(),
        state: state.into(),
        agent_id: agent_id.clone(),
        timestamp: Some(timestamp),
        uuid: uuid.clone(),
        source: Some(task_status::Source::Agent.into()),
        ..Default::default()
    };
    StatusUpdate {
        framework_id: key.0.clone(),
        slave_id: agent_id,
        status,
        timestamp,
        uuid,
        latest_state: Some(state.into()),
        ..Default::default()
    }
}

impl Process for Agent {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.install(Self::registered);
        ctx.install(Self::reregistered);
        ctx.install(Self::come_back);
        ctx.install(Self::ping);
        ctx.install(Self::run_task);
        ctx.install(Self::acknowledged);
        ctx.install(Self::kill);
        ctx.install(Self::shutdown);
        ctx.install(Self::shutdown_framework);
        let led_by = ctx.defer(|agent: &mut Agent, (leader, spread), ctx| agent.led_by(leader, spread, ctx));
        let detector = Detector::new(self.masters.clone(), move |leader, spread| {
            led_by.call((leader, spread));
        });
        ctx.spawn(libprocess::Id::prefix("detector"), detector).expect("a detector");
        // What ran goes on running while the agent is away.
        let running: Vec<_> = self
            .disk
            .lock()
            .tasks
            .iter()
            .filter(|(_, it)| !it.has_ended())
            .map(|(key, _)| key.clone())
            .collect();
        running.into_iter().for_each(|key| self.end_some_time(key, ctx));
        self.repeat_for_ever(ctx);
    }

    fn exited(&mut self, pid: &Upid, ctx: &mut Context<Self>) {
        if self.leader.as_ref() == Some(pid) {
            self.registered = false;
            self.register_in(ATTEMPT, ctx);
        }
    }
}
