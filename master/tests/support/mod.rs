//! A node with a master, and the least that can pass for an agent and for a driver.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)] // Tests; each binary uses some of it.
#![allow(clippy::disallowed_methods, reason = "a test waits with a deadline")]

pub mod http;

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use api::internal::*;
use api::resources::Resources;
use api::v1::{
    AgentId, AgentInfo, CommandInfo, FrameworkId, FrameworkInfo, TaskInfo, TaskState, TaskStatus, agent_info,
};
use libprocess::{Context, Node, Pid, Process, Upid};

pub const PATIENCE: Duration = Duration::from_secs(20);

/// What a fake saw, one line for each message.
pub struct Seen(Receiver<String>);

impl Seen {
    /// Waits for the first line that begins with `prefix`, and returns what follows it.
    pub fn expect(&self, prefix: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut skipped = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.0.recv_timeout(left) {
                Ok(line) => match line.strip_prefix(prefix) {
                    Some(rest) => return rest.trim().to_owned(),
                    None => skipped.push(line),
                },
                Err(_) => panic!("no `{prefix}` came, only {skipped:?}"),
            }
        }
    }
}

pub fn node() -> Node {
    Node::builder().listen("127.0.0.1:0").delegate("master").start().unwrap()
}

pub fn in_memory() -> master::Flags {
    master::Flags {
        registry_in_memory: true,
        allocation_interval: Duration::from_millis(20),
        ..Default::default()
    }
}

pub fn in_directory(path: &std::path::Path) -> master::Flags {
    master::Flags { registry_in_memory: false, work_dir: Some(path.into()), ..in_memory() }
}

pub fn resources(text: &str) -> Vec<api::v1::Resource> {
    Resources::parse(text, "*").unwrap().to_messages()
}

/// An agent whose tasks run at once and end when they are killed.
pub struct Agent {
    pub master: Upid,
    pub id: Option<AgentId>,
    pub resources: String,
    pub answers_pings: bool,
    pub seen: Sender<String>,
}

impl Agent {
    pub fn spawn(node: &Node, name: &str, master: &Upid, id: Option<&str>) -> (Pid<Agent>, Seen) {
        Agent::spawn_with(node, name, master, id, true)
    }

    pub fn spawn_with(
        node: &Node,
        name: &str,
        master: &Upid,
        id: Option<&str>,
        answers_pings: bool,
    ) -> (Pid<Agent>, Seen) {
        let (seen, lines) = channel();
        let resources = "cpus:4;mem:1024".to_owned();
        let agent = Agent { master: master.clone(), id: id.map(Into::into), resources, answers_pings, seen };
        (node.spawn(name, agent).unwrap(), Seen(lines))
    }

    fn info(&self) -> AgentInfo {
        let id = self.id.clone();
        AgentInfo {
            hostname: "localhost".into(),
            resources: resources(&self.resources),
            id,
            ..Default::default()
        }
    }

    /// Agents repeat themselves until they hear back.
    fn hello(&mut self, ctx: &mut Context<Self>) {
        use agent_info::capability::Type::*;
        let agent_capabilities: Vec<_> = [MultiRole, HierarchicalRole, ReservationRefinement]
            .map(|it| agent_info::Capability { r#type: Some(it.into()) })
            .to_vec();
        let (slave, version) = (self.info(), Some("1.11.0".to_owned()));
        if self.id.is_some() {
            ctx.send(
                &self.master,
                ReregisterSlaveMessage { slave, version, agent_capabilities, ..Default::default() },
            );
        } else {
            ctx.send(
                &self.master,
                RegisterSlaveMessage { slave, version, agent_capabilities, ..Default::default() },
            );
        }
        ctx.delay(Duration::from_millis(50), |this, ctx| {
            if this.id.is_none() {
                this.hello(ctx);
            }
        });
    }

    fn say(&self, line: String) {
        let _ = self.seen.send(line);
    }

    fn registered(&mut self, message: SlaveRegisteredMessage, _: &mut Context<Self>) {
        self.say(format!("registered {}", message.slave_id));
        self.id = Some(message.slave_id);
    }

    fn reregistered(&mut self, message: SlaveReregisteredMessage, _: &mut Context<Self>) {
        self.say(format!("reregistered {}", message.slave_id));
    }

    fn ping(&mut self, _: PingSlaveMessage, ctx: &mut Context<Self>) {
        if self.answers_pings {
            ctx.reply(PongSlaveMessage {});
        }
    }

    fn run(&mut self, message: RunTaskMessage, ctx: &mut Context<Self>) {
        self.say(format!("run {}", message.task.task_id));
        let framework_id = message.framework.id.unwrap_or_default();
        self.report(&framework_id, &message.task.task_id.value, TaskState::TaskRunning, ctx);
    }

    fn kill(&mut self, message: KillTaskMessage, ctx: &mut Context<Self>) {
        self.say(format!("kill {}", message.task_id));
        self.report(&message.framework_id, &message.task_id.value, TaskState::TaskKilled, ctx);
    }

    fn report(&mut self, framework_id: &FrameworkId, task: &str, state: TaskState, ctx: &mut Context<Self>) {
        let uuid = Some(ctx.uuid().as_bytes().to_vec());
        let status = TaskStatus {
            task_id: task.into(),
            state: state.into(),
            uuid: uuid.clone(),
            ..Default::default()
        };
        let update = StatusUpdate {
            framework_id: framework_id.clone(),
            slave_id: self.id.clone(),
            status,
            uuid,
            latest_state: Some(state.into()),
            timestamp: ctx.now().as_secs_f64(),
            ..Default::default()
        };
        let pid = Some(ctx.upid().to_string());
        ctx.send(&self.master, StatusUpdateMessage { update, pid });
    }

    fn acknowledged(&mut self, message: StatusUpdateAcknowledgementMessage, _: &mut Context<Self>) {
        self.say(format!("acknowledged {}", message.task_id));
    }

    fn shutdown_framework(&mut self, message: ShutdownFrameworkMessage, _: &mut Context<Self>) {
        self.say(format!("shutdown framework {}", message.framework_id));
    }

    fn echo(&mut self, message: FrameworkToExecutorMessage, ctx: &mut Context<Self>) {
        let FrameworkToExecutorMessage { slave_id, framework_id, executor_id, data } = message;
        ctx.reply(ExecutorToFrameworkMessage { slave_id, framework_id, executor_id, data });
    }
}

impl Process for Agent {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.install(Self::registered);
        ctx.install(Self::reregistered);
        ctx.install(Self::ping);
        ctx.install(Self::run);
        ctx.install(Self::kill);
        ctx.install(Self::acknowledged);
        ctx.install(Self::shutdown_framework);
        ctx.install(Self::echo);
        self.hello(ctx);
    }
}

/// A driver that launches one task on its first offer, and acknowledges what it hears.
pub struct Driver {
    pub master: Upid,
    pub info: FrameworkInfo,
    pub launched: bool,
    pub seen: Sender<String>,
}

pub fn framework() -> FrameworkInfo {
    FrameworkInfo { user: "root".into(), name: "test".into(), checkpoint: Some(true), ..Default::default() }
}

pub fn command(agent_id: &AgentId, id: &str) -> TaskInfo {
    TaskInfo {
        name: id.into(),
        task_id: id.into(),
        agent_id: agent_id.clone(),
        resources: resources("cpus:1;mem:64"),
        command: Some(CommandInfo { value: Some("true".into()), ..Default::default() }),
        ..Default::default()
    }
}

impl Driver {
    pub fn spawn(node: &Node, name: &str, master: &Upid, info: FrameworkInfo) -> (Pid<Driver>, Seen) {
        let (seen, lines) = channel();
        let driver = Driver { master: master.clone(), info, launched: false, seen };
        (node.spawn(name, driver).unwrap(), Seen(lines))
    }

    fn say(&self, line: String) {
        let _ = self.seen.send(line);
    }

    fn hello(&mut self, ctx: &mut Context<Self>) {
        let framework = self.info.clone();
        if framework.id.is_some() {
            ctx.send(&self.master, ReregisterFrameworkMessage { framework, failover: true });
        } else {
            ctx.send(&self.master, RegisterFrameworkMessage { framework });
        }
        ctx.delay(Duration::from_millis(50), |this, ctx| {
            if this.info.id.is_none() {
                this.hello(ctx);
            }
        });
    }

    fn registered(&mut self, message: FrameworkRegisteredMessage, _: &mut Context<Self>) {
        self.say(format!("registered {}", message.framework_id));
        self.info.id = Some(message.framework_id);
    }

    fn offers(&mut self, message: ResourceOffersMessage, ctx: &mut Context<Self>) {
        for offer in message.offers {
            self.say(format!("offer {}", offer.id));
            let tasks = if self.launched { vec![] } else { vec![command(&offer.agent_id, "t1")] };
            self.launched = true;
            let framework_id = self.info.id.clone().unwrap_or_default();
            ctx.reply(LaunchTasksMessage {
                framework_id,
                tasks,
                filters: Default::default(),
                offer_ids: vec![offer.id],
            });
        }
    }

    fn status(&mut self, message: StatusUpdateMessage, ctx: &mut Context<Self>) {
        let status = &message.update.status;
        self.say(format!("status {} {}", status.task_id, status.state().as_str_name()));
        if let Some(uuid) = message.update.uuid.clone() {
            ctx.reply(StatusUpdateAcknowledgementMessage {
                slave_id: message.update.slave_id.clone().unwrap_or_default(),
                framework_id: message.update.framework_id.clone(),
                task_id: status.task_id.clone(),
                uuid,
            });
        }
    }

    fn lost(&mut self, message: LostSlaveMessage, _: &mut Context<Self>) {
        self.say(format!("lost {}", message.slave_id));
    }

    fn error(&mut self, message: FrameworkErrorMessage, _: &mut Context<Self>) {
        self.say(format!("error {}", message.message));
    }

    fn data(&mut self, message: ExecutorToFrameworkMessage, _: &mut Context<Self>) {
        self.say(format!("data {}", String::from_utf8_lossy(&message.data)));
    }

    fn submitted(&mut self, message: SubmitSchedulerResponse, _: &mut Context<Self>) {
        self.say(format!("submitted {}", message.okay));
    }

    fn unauthenticated(&mut self, message: AuthenticationErrorMessage, _: &mut Context<Self>) {
        self.say(format!("unauthenticated {}", message.error()));
    }

    /// Sends as this driver.
    pub fn send(pid: &Pid<Driver>, message: impl libprocess::Message) {
        pid.call(move |driver, ctx| ctx.send(driver.master.clone(), message));
    }
}

impl Process for Driver {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.install(Self::registered);
        ctx.install(Self::offers);
        ctx.install(Self::status);
        ctx.install(Self::lost);
        ctx.install(Self::error);
        ctx.install(Self::data);
        ctx.install(Self::submitted);
        ctx.install(Self::unauthenticated);
        self.hello(ctx);
    }
}
