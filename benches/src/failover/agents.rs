//! Agents as far as a master can tell: each a process of its own on a node of its own or shared, that sends what
//! a real one sends and answers pings.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use api::internal::{
    PingSlaveMessage, PongSlaveMessage, ReregisterSlaveMessage, SlaveReregisteredMessage,
    SubmitSchedulerRequest, SubmitSchedulerResponse,
};
use api::resources::Resources;
use api::v1::{
    AgentId, AgentInfo, FrameworkId, FrameworkInfo, Resource, Task, TaskState, TaskStatus, agent_info,
};
use detector::ComeBack;
use libprocess::{Context, Id, Node, Pid, Process, Runtime, Time, Upid};

use super::Result;

const FRAMEWORK: &str = "7e1c5d5c-0d3c-4a3a-9d58-1d9a3c8f0b11-0000";

/// What all agents of a fleet count together.
#[derive(Debug, Default)]
pub struct Board {
    n_linked: AtomicUsize,
    /// How many have been told that they are registered again.
    pub n_acknowledged: AtomicUsize,
    /// How many pings came.
    pub n_pinged: AtomicUsize,
    /// The longest between two pings of one agent, in microseconds.
    pub longest_unpinged_us: AtomicU64,
    /// How often one was told to come back later.
    pub n_sent_back: AtomicUsize,
}

/// What the registry holds of the agent of that number, and what it says of itself.
pub fn info(n: usize) -> AgentInfo {
    AgentInfo {
        id: Some(id(n)),
        hostname: "localhost".into(),
        resources: resources("cpus:16;mem:65536;disk:500000;ports:[31000-32000]"),
        ..AgentInfo::default()
    }
}

fn id(n: usize) -> AgentId {
    format!("7e1c5d5c-0d3c-4a3a-9d58-1d9a3c8f0b11-S{n}").into()
}

fn resources(text: &str) -> Vec<Resource> {
    Resources::parse(text, "*").map(|resources| resources.to_messages()).unwrap_or_default()
}

fn framework() -> FrameworkInfo {
    let id = Some(FrameworkId::from(FRAMEWORK));
    FrameworkInfo { id, user: "root".into(), name: "bench".into(), ..FrameworkInfo::default() }
}

/// What every agent of today can do.
pub fn capabilities() -> Vec<agent_info::Capability> {
    use agent_info::capability::Type::*;
    [MultiRole, HierarchicalRole, ReservationRefinement]
        .map(|it| agent_info::Capability { r#type: Some(it.into()) })
        .to_vec()
}

/// What an agent with that many running tasks sends.
fn message(n: usize, n_tasks: usize) -> ReregisterSlaveMessage {
    let each = resources("cpus:0.1;mem:32");
    let task = |nth: usize| {
        let task_id = api::v1::TaskId::from(format!("task-{n}-{nth}"));
        let status = TaskStatus {
            task_id: task_id.clone(),
            state: TaskState::TaskRunning.into(),
            timestamp: Some(1_700_000_000.0),
            uuid: Some(vec![7; 16]),
            ..TaskStatus::default()
        };
        Task {
            name: format!("task {nth}"),
            task_id,
            framework_id: FRAMEWORK.into(),
            agent_id: id(n),
            state: TaskState::TaskRunning.into(),
            resources: each.clone(),
            statuses: vec![status],
            ..Task::default()
        }
    };
    ReregisterSlaveMessage {
        slave: info(n),
        tasks: (0..n_tasks).map(task).collect(),
        frameworks: vec![framework()],
        version: Some("1.11.0".into()),
        agent_capabilities: capabilities(),
        ..Default::default()
    }
}

/// One emulated agent.
struct Agent {
    n: usize,
    n_tasks: usize,
    master: Upid,
    board: Arc<Board>,
    /// What it sends first, made before the time runs: it is encoded in it.
    prepared: Option<Box<ReregisterSlaveMessage>>,
    acknowledged: bool,
    pinged: Option<Time>,
}

impl Agent {
    fn reregister(&mut self, ctx: &mut Context<Self>) {
        let message = self.prepared.take().map_or_else(|| message(self.n, self.n_tasks), |it| *it);
        ctx.send(&self.master, message);
    }

    fn reregistered(&mut self, _: SlaveReregisteredMessage, _: &mut Context<Self>) {
        if !std::mem::replace(&mut self.acknowledged, true) {
            self.board.n_acknowledged.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn ping(&mut self, _: PingSlaveMessage, ctx: &mut Context<Self>) {
        self.board.n_pinged.fetch_add(1, Ordering::Relaxed);
        let now = ctx.now();
        if let Some(before) = self.pinged.replace(now) {
            let us = u64::try_from((now - before).as_micros()).unwrap_or(u64::MAX);
            self.board.longest_unpinged_us.fetch_max(us, Ordering::Relaxed);
        }
        ctx.reply(PongSlaveMessage {});
    }

    fn come_back(&mut self, message: ComeBack, ctx: &mut Context<Self>) {
        self.board.n_sent_back.fetch_add(1, Ordering::Relaxed);
        ctx.delay(Duration::from_millis(message.after_ms), Self::reregister);
    }
}

impl Process for Agent {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.install(Self::reregistered);
        ctx.install(Self::ping);
        ctx.install(Self::come_back);
    }
}

/// One for each node: like what detects the leader there it is linked to the master before the agents need it.
struct Watch {
    master: Upid,
    board: Arc<Board>,
}

impl Watch {
    fn linked(&mut self, _: SubmitSchedulerResponse, _: &mut Context<Self>) {
        self.board.n_linked.fetch_add(1, Ordering::Relaxed);
    }
}

impl Process for Watch {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.install(Self::linked);
        ctx.link(&self.master);
        // For its answer.
        ctx.send(&self.master, SubmitSchedulerRequest { name: "watch".into() });
    }
}

/// Agents on nodes of this process, which have threads of their own.
pub struct Fleet {
    /// What they count.
    pub board: Arc<Board>,
    nodes: Vec<Node>,
    agents: Vec<Pid<Agent>>,
}

impl Fleet {
    /// The agents of these numbers with `n_tasks` running tasks each, evenly on `n_nodes` nodes that listen. They
    /// wait for [`Fleet::reregister`].
    pub fn start(master: &Upid, n_nodes: usize, numbers: Range<usize>, n_tasks: usize) -> Result<Fleet> {
        let board = Arc::new(Board::default());
        let runtime = Runtime::new(2)?;
        let mut nodes = Vec::new();
        for _ in 0..n_nodes {
            let node = Node::builder().listen("127.0.0.1:0").runtime(runtime.clone()).start()?;
            node.spawn("watch", Watch { master: master.clone(), board: board.clone() })?;
            nodes.push(node);
        }
        let mut agents = Vec::with_capacity(numbers.len());
        for n in numbers {
            let (master, board) = (master.clone(), board.clone());
            let prepared = Some(Box::new(message(n, n_tasks)));
            let agent = Agent { n, n_tasks, master, board, prepared, acknowledged: false, pinged: None };
            agents.push(nodes[n % n_nodes].spawn(Id::prefix("slave"), agent)?);
        }
        Ok(Fleet { board, nodes, agents })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.agents.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.agents.is_empty()
    }

    /// Whether all nodes have a connection to the master.
    pub fn is_linked(&self) -> bool {
        self.board.n_linked.load(Ordering::Relaxed) == self.nodes.len()
    }

    /// Has all of them send their re-registration, now.
    pub fn reregister(&self) {
        for agent in &self.agents {
            agent.call(Agent::reregister);
        }
    }

    /// How many have been acknowledged.
    pub fn n_acknowledged(&self) -> usize {
        self.board.n_acknowledged.load(Ordering::Relaxed)
    }

    /// Ends them.
    pub fn end(self) {
        let ended: Vec<_> = self.nodes.iter().map(Node::shutdown).collect();
        for ended in ended {
            let _ = ended.wait(Duration::from_secs(10));
        }
    }
}
