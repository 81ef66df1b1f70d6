//! `cargo bench -p mesos-benches --bench state`: reading all of a large cluster's state. Needs the release
//! binary: `cargo build --release` first.
//!
//! The master is a process of its own. This one plays its agents and a driver, over libprocess messages: the
//! agents come back to the master with tasks that run, then half of these end, and the driver acknowledges it.
//! All clients are threads of this process and share the cores with the master.
//!
//! - 1,000 agents, 100,000 running and 100,000 completed tasks: five clients ask for `/state` without a pause,
//!   each on a kept connection, while a sixth asks for `/health` every 2 ms. Ten times a second a task's
//!   status is updated, so that no answer serves for long; then the same while nothing changes.
//! - 10,000 agents with as many tasks in all: one client asks for `/state` after a status update, 10 times,
//!   and the median counts; the document is made anew each time.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use api::internal::*;
use api::resources::Resources;
use api::v1::{
    AgentId, AgentInfo, Filters, FrameworkId, FrameworkInfo, Resource, Task, TaskId, TaskState, TaskStatus,
    agent_info,
};
use benches::daemons::{self, Daemon, eventually};
use benches::http::Connection;
use benches::{Reach, note, percentile, print_load, row};
use libprocess::{Context, Id, Node, Pid, Process, Upid};
use serde::Deserialize;
use serde::de::IgnoredAny;

/// Of each kind: running and completed.
const N_TASKS: usize = 100_000;
const FRAMEWORK: &str = "7e1c5d5c-0d3c-4a3a-9d58-1d9a3c8f0b11-0000";
/// How long clients poll.
const POLLING: Duration = Duration::from_secs(10);

fn main() {
    daemons::run(bench)
}

fn bench() -> Result<(), Box<dyn Error>> {
    daemons::binary()?;
    print_load();
    let cluster = Emulated::start(1_000)?;
    let mut health = poll_health(cluster.master.address, Duration::from_secs(2))?;
    note("/health while nobody asks for /state, p50", percentile(&mut health, 0.5), "ms");
    for (what, changing) in [("the state changing", true), ("nothing changing", false)] {
        let (mut health, n_documents) = cluster.polled(changing)?;
        let what = format!("/health while five poll /state, {what}");
        row(&format!("{what}, p50"), percentile(&mut health, 0.5), "ms", Reach::AtMost(2.0));
        note("  p99", percentile(&mut health, 0.99), "ms");
        note("  the slowest", percentile(&mut health, 1.0), "ms");
        note("  documents the five got", n_documents as f64 / POLLING.as_secs_f64(), "per second");
    }
    cluster.end();

    let cluster = Emulated::start(10_000)?;
    let mut connection = Connection::open(cluster.master.address)?;
    let (mut took, mut body) = (Vec::new(), Vec::new());
    for _ in 0..10 {
        cluster.change()?;
        let start = Instant::now();
        connection.get("/state", &mut body)?;
        took.push(start.elapsed().as_secs_f64());
    }
    row(
        "/state with 10,000 agents, one client, median",
        percentile(&mut took, 0.5),
        "s",
        Reach::AtMost(0.25),
    );
    note("  the slowest", percentile(&mut took, 1.0), "s");
    cluster.end();
    Ok(())
}

/// A master, and the agents it takes for real.
struct Emulated {
    master: Daemon,
    node: Node,
    agents: Vec<Pid<Agent>>,
    n_forwarded: Arc<AtomicUsize>,
}

impl Emulated {
    fn start(n_agents: usize) -> Result<Emulated, Box<dyn Error>> {
        let master = Daemon::master(&["--registry=in_memory", "--max_completed_tasks_per_framework=100000"])?;
        let to = Upid::new("master", master.address);
        let node = Node::builder().listen("127.0.0.1:0").start()?;
        let n_forwarded = Arc::new(AtomicUsize::new(0));
        let registered = Arc::new(AtomicBool::new(false));
        let driver =
            Driver { master: to.clone(), registered: registered.clone(), n_forwarded: n_forwarded.clone() };
        node.spawn("scheduler", driver)?;
        eventually("the driver is registered", || registered.load(Ordering::Relaxed))?;

        let start = Instant::now();
        let n_acknowledged = Arc::new(AtomicUsize::new(0));
        let mut agents = Vec::new();
        for n in 0..n_agents {
            let each = N_TASKS / n_agents;
            let agent = Agent { n, each, master: to.clone(), n_acknowledged: n_acknowledged.clone() };
            agents.push(node.spawn(Id::prefix("slave"), agent)?);
        }
        eventually("every ended task is acknowledged", || n_acknowledged.load(Ordering::Relaxed) == N_TASKS)?;
        let took = start.elapsed().as_secs_f64();
        println!(
            "{n_agents} agents, {N_TASKS} running and {N_TASKS} completed tasks: there after {took:.1} s"
        );

        let mut body = Vec::new();
        let start = Instant::now();
        Connection::open(master.address)?.get("/state", &mut body)?;
        note("  the first /state, nothing of it made before", start.elapsed().as_secs_f64(), "s");
        note("  its size", body.len() as f64 / 1e6, "MB");
        note("  resident memory of the master", master.resident_bytes()? as f64 / 1e6, "MB");
        check(&body, n_agents)?;
        Ok(Emulated { master, node, agents, n_forwarded })
    }

    /// Has something happen, and waits until the master has seen it.
    fn change(&self) -> io::Result<()> {
        let before = self.n_forwarded.load(Ordering::Relaxed);
        self.agents[0].call(Agent::report_again);
        eventually("a status update reaches the driver", || self.n_forwarded.load(Ordering::Relaxed) > before)
    }

    /// Milliseconds of each `/health` while five clients poll `/state`, and how many documents these got.
    fn polled(&self, changing: bool) -> io::Result<(Vec<f64>, usize)> {
        let done = AtomicBool::new(false);
        let n_documents = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            let readers: Vec<_> = (0..5)
                .map(|_| {
                    scope.spawn(|| -> io::Result<()> {
                        let mut connection = Connection::open(self.master.address)?;
                        let mut body = Vec::new();
                        while !done.load(Ordering::Relaxed) {
                            connection.get("/state", &mut body)?;
                            n_documents.fetch_add(1, Ordering::Relaxed);
                        }
                        Ok(())
                    })
                })
                .collect();
            let changes = scope.spawn(|| {
                while changing && !done.load(Ordering::Relaxed) {
                    self.agents[0].call(Agent::report_again);
                    std::thread::sleep(Duration::from_millis(100));
                }
            });
            let health = poll_health(self.master.address, POLLING);
            let counted = n_documents.load(Ordering::Relaxed);
            done.store(true, Ordering::Relaxed);
            for reader in readers {
                reader.join().unwrap_or_else(|_| Err(io::Error::other("a reader panicked")))?;
            }
            let _ = changes.join();
            Ok((health?, counted))
        })
    }

    fn end(self) {
        self.master.end();
        let _ = self.node.shutdown().wait(Duration::from_secs(10));
    }
}

/// Milliseconds of each `/health`, asked every 2 ms for that long.
fn poll_health(to: SocketAddr, during: Duration) -> io::Result<Vec<f64>> {
    let mut connection = Connection::open(to)?;
    let (mut took, mut body) = (Vec::new(), Vec::new());
    let begin = Instant::now();
    while begin.elapsed() < during {
        let start = Instant::now();
        connection.get("/health", &mut body)?;
        took.push(start.elapsed().as_secs_f64() * 1e3);
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(took)
}

/// What of `/state` says that all are there.
#[derive(Deserialize)]
struct State {
    activated_slaves: usize,
    slaves: Vec<IgnoredAny>,
    frameworks: Vec<Framework>,
}

#[derive(Deserialize)]
struct Framework {
    tasks: Vec<ShownTask>,
    completed_tasks: Vec<ShownTask>,
}

#[derive(Deserialize)]
struct ShownTask {
    state: String,
}

fn check(body: &[u8], n_agents: usize) -> Result<(), Box<dyn Error>> {
    let state: State = serde_json::from_slice(body)?;
    let framework = state.frameworks.first().ok_or("no framework in /state")?;
    let n_running = framework.tasks.iter().filter(|task| task.state == "TASK_RUNNING").count();
    let n_finished = framework.completed_tasks.iter().filter(|task| task.state == "TASK_FINISHED").count();
    let found = (state.activated_slaves, state.slaves.len(), n_running, n_finished);
    let expected = (n_agents, n_agents, N_TASKS, N_TASKS);
    if found != expected {
        return Err(format!("agents, their list, running and completed: {found:?}, not {expected:?}").into());
    }
    Ok(())
}

fn resources(text: &str) -> Vec<Resource> {
    Resources::parse(text, "*").map(|resources| resources.to_messages()).unwrap_or_default()
}

/// Acknowledges everything and wants nothing.
struct Driver {
    master: Upid,
    registered: Arc<AtomicBool>,
    n_forwarded: Arc<AtomicUsize>,
}

impl Driver {
    fn registered(&mut self, _: FrameworkRegisteredMessage, _: &mut Context<Self>) {
        self.registered.store(true, Ordering::Relaxed);
    }

    fn reregistered(&mut self, _: FrameworkReregisteredMessage, _: &mut Context<Self>) {
        self.registered.store(true, Ordering::Relaxed);
    }

    fn offers(&mut self, message: ResourceOffersMessage, ctx: &mut Context<Self>) {
        let decline = LaunchTasksMessage {
            framework_id: FRAMEWORK.into(),
            filters: Filters { refuse_seconds: Some(1e6) },
            offer_ids: message.offers.into_iter().map(|offer| offer.id).collect(),
            ..Default::default()
        };
        ctx.send(&self.master, decline);
    }

    fn status(&mut self, message: StatusUpdateMessage, ctx: &mut Context<Self>) {
        self.n_forwarded.fetch_add(1, Ordering::Relaxed);
        let update = message.update;
        if let (Some(uuid), Some(slave_id)) = (update.uuid, update.slave_id) {
            let (framework_id, task_id) = (update.framework_id, update.status.task_id);
            let acknowledgement =
                StatusUpdateAcknowledgementMessage { slave_id, framework_id, task_id, uuid };
            ctx.send(&self.master, acknowledgement);
        }
    }
}

impl Process for Driver {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.install(Self::registered);
        ctx.install(Self::reregistered);
        ctx.install(Self::offers);
        ctx.install(Self::status);
        let framework = framework();
        ctx.send(&self.master, ReregisterFrameworkMessage { framework, failover: true });
    }
}

fn framework() -> FrameworkInfo {
    let id = Some(FrameworkId::from(FRAMEWORK));
    FrameworkInfo { id, user: "root".into(), name: "bench".into(), ..FrameworkInfo::default() }
}

/// An agent with tasks of which half end at once.
struct Agent {
    n: usize,
    /// How many tasks of it run on, and how many end.
    each: usize,
    master: Upid,
    n_acknowledged: Arc<AtomicUsize>,
}

impl Agent {
    fn id(&self) -> AgentId {
        format!("7e1c5d5c-0d3c-4a3a-9d58-1d9a3c8f0b11-S{}", self.n).into()
    }

    fn task_id(&self, n: usize) -> TaskId {
        format!("task-{}-{n}", self.n).into()
    }

    fn hello(&mut self, ctx: &mut Context<Self>) {
        use agent_info::capability::Type::*;
        let each = resources("cpus:0.1;mem:32");
        let running = |at: f64| TaskStatus {
            state: TaskState::TaskRunning.into(),
            timestamp: Some(at),
            ..TaskStatus::default()
        };
        let now = ctx.now().as_secs_f64();
        let tasks = (0..2 * self.each)
            .map(|n| Task {
                name: format!("task {n}"),
                task_id: self.task_id(n),
                framework_id: FRAMEWORK.into(),
                agent_id: self.id(),
                state: TaskState::TaskRunning.into(),
                resources: each.clone(),
                statuses: vec![TaskStatus { task_id: self.task_id(n), ..running(now) }],
                ..Task::default()
            })
            .collect();
        // Room for just the tasks there are at first.
        let room = format!("cpus:{};mem:{}", self.each as f64 * 0.2, self.each * 64);
        let message = ReregisterSlaveMessage {
            slave: AgentInfo {
                id: Some(self.id()),
                hostname: "localhost".into(),
                resources: resources(&room),
                ..AgentInfo::default()
            },
            tasks,
            frameworks: vec![framework()],
            version: Some("1.11.0".into()),
            agent_capabilities: [MultiRole, HierarchicalRole, ReservationRefinement]
                .map(|it| agent_info::Capability { r#type: Some(it.into()) })
                .to_vec(),
            ..Default::default()
        };
        ctx.send(&self.master, message);
    }

    fn reregistered(&mut self, _: SlaveReregisteredMessage, ctx: &mut Context<Self>) {
        for n in self.each..2 * self.each {
            self.report(n, TaskState::TaskFinished, true, ctx);
        }
    }

    /// Repeats what a running task is.
    fn report_again(&mut self, ctx: &mut Context<Self>) {
        self.report(0, TaskState::TaskRunning, false, ctx);
    }

    fn report(&mut self, n: usize, state: TaskState, to_acknowledge: bool, ctx: &mut Context<Self>) {
        let uuid = to_acknowledge.then(|| ctx.uuid().as_bytes().to_vec());
        let timestamp = ctx.now().as_secs_f64();
        let status = TaskStatus {
            task_id: self.task_id(n),
            state: state.into(),
            uuid: uuid.clone(),
            timestamp: Some(timestamp),
            ..TaskStatus::default()
        };
        let update = StatusUpdate {
            framework_id: FRAMEWORK.into(),
            slave_id: Some(self.id()),
            status,
            timestamp,
            uuid,
            latest_state: Some(state.into()),
            ..StatusUpdate::default()
        };
        let pid = Some(ctx.upid().to_string());
        ctx.send(&self.master, StatusUpdateMessage { update, pid });
    }

    fn acknowledged(&mut self, _: StatusUpdateAcknowledgementMessage, _: &mut Context<Self>) {
        self.n_acknowledged.fetch_add(1, Ordering::Relaxed);
    }

    fn ping(&mut self, _: PingSlaveMessage, ctx: &mut Context<Self>) {
        ctx.reply(PongSlaveMessage {});
    }
}

impl Process for Agent {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.install(Self::reregistered);
        ctx.install(Self::acknowledged);
        ctx.install(Self::ping);
        self.hello(ctx);
    }
}
