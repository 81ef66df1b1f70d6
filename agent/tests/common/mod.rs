//! An agent of flesh and blood, and a master that only listens and says what it is told to say.
#![allow(dead_code, missing_docs, unreachable_pub, clippy::unwrap_used)] // Each test file uses its part.
#![allow(clippy::disallowed_methods, reason = "a test waits with a deadline")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ::agent::Flags;
use api::internal::*;
use api::v1::*;
use libprocess::{Context, Node, Pid, Process, Upid};

/// No state takes longer to come about than this.
const DEADLINE: Duration = Duration::from_secs(30);

#[derive(Default)]
pub struct FakeMaster {
    pub agent: Option<Upid>,
    pub updates: Vec<StatusUpdate>,
    pub exited: Vec<ExitedExecutorMessage>,
    pub registrations: usize,
    pub reregistrations: Vec<ReregisterSlaveMessage>,
    pub unregistered: bool,
    pub pongs: usize,
    pub acknowledge: bool,
    /// Registers nobody.
    pub silent: bool,
}

impl Process for FakeMaster {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        self.acknowledge = true;
        ctx.install(|master: &mut FakeMaster, from: &Upid, _: RegisterSlaveMessage, ctx: &mut Context<_>| {
            master.agent = Some(from.clone());
            master.registrations += 1;
            if !master.silent {
                ctx.reply(SlaveRegisteredMessage { slave_id: "S0".into(), connection: None });
            }
        });
        ctx.install(
            |master: &mut FakeMaster, from: &Upid, m: ReregisterSlaveMessage, ctx: &mut Context<_>| {
                master.agent = Some(from.clone());
                master.reregistrations.push(m);
                ctx.reply(SlaveReregisteredMessage { slave_id: "S0".into(), ..Default::default() });
            },
        );
        ctx.install(|master: &mut FakeMaster, _: UnregisterSlaveMessage, _: &mut Context<_>| {
            master.unregistered = true;
        });
        ctx.install(|master: &mut FakeMaster, _: PongSlaveMessage, _: &mut Context<_>| master.pongs += 1);
        ctx.install(|master: &mut FakeMaster, m: ExitedExecutorMessage, _: &mut Context<_>| {
            master.exited.push(m)
        });
        ctx.install(|master: &mut FakeMaster, m: StatusUpdateMessage, ctx: &mut Context<_>| {
            if master.acknowledge {
                ctx.reply(acknowledgement(&m.update));
            }
            master.updates.push(m.update);
        });
    }
}

pub fn acknowledgement(update: &StatusUpdate) -> StatusUpdateAcknowledgementMessage {
    StatusUpdateAcknowledgementMessage {
        slave_id: "S0".into(),
        framework_id: update.framework_id.clone(),
        task_id: update.status.task_id.clone(),
        uuid: update.uuid.clone().unwrap(),
    }
}

/// A master on a node of its own, for agents that the test starts itself.
pub fn master() -> (Node, Pid<FakeMaster>) {
    let node = Node::builder().listen("127.0.0.1:0").delegate("master").start().unwrap();
    let master = node.spawn("master", FakeMaster::default()).unwrap();
    (node, master)
}

pub struct Cluster {
    pub master_node: Node,
    pub master: Pid<FakeMaster>,
    pub agent_node: Node,
    pub agent: ::agent::Handle,
    pub work_dir: tempfile::TempDir,
}

impl Cluster {
    pub fn start() -> Cluster {
        Cluster::start_with(|_| {})
    }

    pub fn start_with(change: impl FnOnce(&mut Flags)) -> Cluster {
        let (master_node, master) = master();
        let agent_node = Node::builder().listen("127.0.0.1:0").delegate("slave(1)").start().unwrap();
        let work_dir = tempfile::tempdir().unwrap();
        let mut flags = Flags::new(master_node.address().to_string(), work_dir.path());
        flags.launcher = env!("CARGO_BIN_EXE_agent-test-helper").into();
        flags.registration_backoff_factor = Duration::from_millis(20);
        flags.resources = Some("cpus:64;mem:65536".into());
        change(&mut flags);
        let agent = ::agent::start(&agent_node, flags).unwrap();
        let cluster = Cluster { master_node, master, agent_node, agent, work_dir };
        cluster.until("the agent registers", |master| master.agent.is_some());
        cluster
    }

    pub fn with<R: Send + 'static>(&self, f: impl FnOnce(&mut FakeMaster) -> R + Send + 'static) -> R {
        self.master.dispatch(|master, _| f(master)).wait(DEADLINE).unwrap()
    }

    /// Waits for a state of the master.
    #[track_caller]
    pub fn until(&self, what: &str, state: impl Fn(&FakeMaster) -> bool + Send + Clone + 'static) {
        let deadline = Instant::now() + DEADLINE;
        while !self.with({
            let state = state.clone();
            move |master| state(master)
        }) {
            assert!(Instant::now() < deadline, "waited for: {what}; updates: {:?}", self.history());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    pub fn send(&self, message: impl libprocess::Message) {
        self.master
            .dispatch(move |master, ctx| {
                let agent = master.agent.clone().unwrap();
                ctx.send(&agent, message);
            })
            .wait(DEADLINE)
            .unwrap();
    }

    pub fn run(&self, framework: &FrameworkInfo, task: TaskInfo) {
        self.send(RunTaskMessage {
            framework_id: framework.id.clone(),
            framework: framework.clone(),
            task,
            ..Default::default()
        });
    }

    /// What the master heard of each task, in order, each update once.
    pub fn history(&self) -> BTreeMap<String, Vec<String>> {
        self.with(|master| {
            let mut seen = std::collections::BTreeSet::new();
            let mut history: BTreeMap<String, Vec<String>> = BTreeMap::new();
            for update in &master.updates {
                if seen.insert(update.uuid.clone()) {
                    let status = &update.status;
                    let mut text = status.state().as_str_name().to_owned();
                    if status.reason.is_some() {
                        text += &format!(" {}", status.reason().as_str_name());
                    }
                    if let Some(message) = &status.message {
                        text += &format!(": {message}");
                    }
                    history.entry(status.task_id.to_string()).or_default().push(text);
                }
            }
            history
        })
    }

    #[track_caller]
    pub fn until_state(&self, task: &str, state: TaskState) {
        let task = task.to_owned();
        self.until(&format!("{task} {}", state.as_str_name()), move |master| {
            master.updates.iter().any(|u| u.status.task_id.value == task && u.status.state() == state)
        });
    }

    pub fn sandbox(&self, executor: &str) -> PathBuf {
        let path = format!("slaves/S0/frameworks/F/executors/{executor}/runs/latest");
        self.work_dir.path().join(path)
    }

    pub fn stop(self) {
        self.agent.shut_down("the test is over");
        self.agent.ended().wait(DEADLINE).unwrap();
        self.agent_node.shutdown().wait(DEADLINE).unwrap();
        self.master_node.shutdown().wait(DEADLINE).unwrap();
    }
}

/// A test that fails leaves no process behind either.
impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = self.agent_node.shutdown().wait(DEADLINE);
        }
    }
}

pub fn framework() -> FrameworkInfo {
    FrameworkInfo { id: Some("F".into()), user: String::new(), name: "tests".into(), ..Default::default() }
}

pub fn shell(id: &str, command: &str) -> TaskInfo {
    TaskInfo {
        name: id.into(),
        task_id: id.into(),
        agent_id: "S0".into(),
        command: Some(CommandInfo { value: Some(command.into()), ..Default::default() }),
        ..Default::default()
    }
}

/// Processes whose command line begins with `marker`.
pub fn processes(marker: &str) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        String::from_utf8_lossy(&line).replace('\0', " ").starts_with(marker) && !stat.contains(") Z ")
    })
    .collect()
}

#[track_caller]
pub fn until(what: &str, state: impl Fn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !state() {
        assert!(Instant::now() < deadline, "waited for: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
