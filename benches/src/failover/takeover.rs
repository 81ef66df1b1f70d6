//! Three masters as processes of their own; agents and a driver, of this process, that follow whoever leads.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use api::internal::*;
use api::v1::{AgentId, Filters, FrameworkId, FrameworkInfo};
use detector::{Detector, HostPort, Leader, Masters};
use libprocess::{Context, Id, Node, Process, Runtime, Timer, Upid};
use rand::Rng as _;

use super::{Result, agents};
use crate::daemons::{Daemon, eventually, free_port};
use crate::http::Connection;

/// The longest a real agent spreads itself, and how long it waits for an answer.
const BACKOFF: Duration = Duration::from_secs(1);

/// Follows the leader and registers with it, as an agent or a driver.
struct Follower<R> {
    masters: Masters,
    leader: Option<Leader>,
    /// The leader that answered.
    known_by: Option<Upid>,
    attempt: Option<Timer>,
    role: R,
}

/// What it is that registers.
trait Role: Sized + Send + 'static {
    fn install(ctx: &mut Context<Follower<Self>>);
    fn register(&self, master: &Upid, ctx: &mut Context<Follower<Self>>);
    /// Whether it waits a little first, drawn by chance, so as not to come with all others.
    const SPREADS: bool;
}

impl<R: Role> Follower<R> {
    fn new(masters: &Masters, role: R) -> Self {
        Follower { masters: masters.clone(), leader: None, known_by: None, attempt: None, role }
    }

    fn heard(&mut self, leader: Option<Leader>, spread: Duration, ctx: &mut Context<Self>) {
        self.leader = leader;
        self.known_by = None;
        let wait = if R::SPREADS { BACKOFF.min(spread).mul_f64(ctx.rng().random()) } else { Duration::ZERO };
        self.try_after(wait, ctx);
    }

    fn try_after(&mut self, wait: Duration, ctx: &mut Context<Self>) {
        if let Some(attempt) = self.attempt.take() {
            attempt.cancel();
        }
        self.attempt = Some(ctx.delay(wait, |this, ctx| {
            if let (Some(leader), None) = (this.leader.clone(), &this.known_by) {
                ctx.link(&leader.pid);
                this.role.register(&leader.pid, ctx);
                this.try_after(BACKOFF, ctx);
            }
        }));
    }
}

impl<R: Role> Process for Follower<R> {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        R::install(ctx);
        let news = ctx.defer(|this: &mut Self, (leader, spread), ctx| this.heard(leader, spread, ctx));
        let told = move |leader, spread| {
            news.call((leader, spread));
        };
        if let Err(error) = ctx.spawn(Id::prefix("detector"), Detector::new(self.masters.clone(), told)) {
            eprintln!("no detector: {error}");
        }
    }
}

struct AnAgent {
    n: usize,
    id: Option<AgentId>,
    n_acknowledged: Arc<AtomicUsize>,
}

type Agent = Follower<AnAgent>;

impl Agent {
    fn registered(&mut self, from: &Upid, message: SlaveRegisteredMessage, _: &mut Context<Self>) {
        self.role.id = Some(message.slave_id);
        self.answered(from);
    }

    fn reregistered(&mut self, from: &Upid, _: SlaveReregisteredMessage, _: &mut Context<Self>) {
        self.answered(from);
    }

    fn answered(&mut self, from: &Upid) {
        if self.known_by.is_none() && self.leader.as_ref().is_some_and(|it| it.pid == *from) {
            self.known_by = Some(from.clone());
            self.role.n_acknowledged.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn ping(&mut self, _: PingSlaveMessage, ctx: &mut Context<Self>) {
        ctx.reply(PongSlaveMessage {});
    }
}

impl Role for AnAgent {
    const SPREADS: bool = true;

    fn install(ctx: &mut Context<Agent>) {
        ctx.install(Agent::registered);
        ctx.install(Agent::reregistered);
        ctx.install(Agent::ping);
    }

    fn register(&self, master: &Upid, ctx: &mut Context<Agent>) {
        let slave = api::v1::AgentInfo { id: self.id.clone(), ..agents::info(self.n) };
        let (version, agent_capabilities) = (Some("1.11.0".to_owned()), agents::capabilities());
        if slave.id.is_some() {
            let message = ReregisterSlaveMessage { slave, version, agent_capabilities, ..Default::default() };
            ctx.send(master, message);
        } else {
            ctx.send(
                master,
                RegisterSlaveMessage { slave, version, agent_capabilities, ..Default::default() },
            );
        }
    }
}

struct ADriver {
    id: Option<FrameworkId>,
    /// Told of each offer: from where, and when.
    offered: mpsc::Sender<(SocketAddr, Instant)>,
}

type Driver = Follower<ADriver>;

impl Driver {
    fn registered(&mut self, from: &Upid, message: FrameworkRegisteredMessage, _: &mut Context<Self>) {
        self.role.id = Some(message.framework_id);
        self.known_by = Some(from.clone());
    }

    fn reregistered(&mut self, from: &Upid, _: FrameworkReregisteredMessage, _: &mut Context<Self>) {
        self.known_by = Some(from.clone());
    }

    fn offers(&mut self, from: &Upid, message: ResourceOffersMessage, ctx: &mut Context<Self>) {
        let _ = self.role.offered.send((from.address(), Instant::now()));
        let decline = LaunchTasksMessage {
            framework_id: self.role.id.clone().unwrap_or_default(),
            filters: Filters { refuse_seconds: Some(1e6) },
            offer_ids: message.offers.into_iter().map(|offer| offer.id).collect(),
            ..Default::default()
        };
        ctx.send(from, decline);
    }
}

impl Role for ADriver {
    const SPREADS: bool = false;

    fn install(ctx: &mut Context<Driver>) {
        ctx.install(Driver::registered);
        ctx.install(Driver::reregistered);
        ctx.install(Driver::offers);
    }

    fn register(&self, master: &Upid, ctx: &mut Context<Driver>) {
        let framework = FrameworkInfo {
            id: self.id.clone(),
            user: "root".into(),
            name: "bench".into(),
            failover_timeout: Some(3600.0),
            ..FrameworkInfo::default()
        };
        if framework.id.is_some() {
            ctx.send(master, ReregisterFrameworkMessage { framework, failover: false });
        } else {
            ctx.send(master, RegisterFrameworkMessage { framework });
        }
    }
}

/// The masters, and who follows them.
pub struct Cluster {
    masters: Vec<Option<Daemon>>,
    list: String,
    work: PathBuf,
    ports: Vec<u16>,
    nodes: Vec<Node>,
    n_agents: usize,
    n_acknowledged: Arc<AtomicUsize>,
    offered: mpsc::Receiver<(SocketAddr, Instant)>,
    leader: SocketAddr,
}

impl Cluster {
    /// Starts them, and waits for the first offer.
    pub fn start(work: &Path, n_agents: usize) -> Result<Cluster> {
        let ports: io::Result<Vec<u16>> = (0..3).map(|_| free_port()).collect();
        let ports = ports?;
        let hosts: Vec<HostPort> =
            ports.iter().map(|port| SocketAddr::from(([127, 0, 0, 1], *port)).into()).collect();
        let list = hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let masters = Masters::Listed(hosts);
        let runtime = Runtime::new(2)?;
        let node = || Node::builder().listen("127.0.0.1:0").runtime(runtime.clone()).start();
        let (tell, offered) = mpsc::channel();
        let n_acknowledged = Arc::new(AtomicUsize::new(0));
        let mut nodes = Vec::new();
        for n in 0..n_agents {
            let role = AnAgent { n, id: None, n_acknowledged: n_acknowledged.clone() };
            nodes.push(node()?);
            nodes[n].spawn(Id::prefix("slave"), Agent::new(&masters, role))?;
        }
        let driver = node()?;
        driver.spawn("scheduler", Driver::new(&masters, ADriver { id: None, offered: tell }))?;
        nodes.push(driver);
        let mut cluster = Cluster {
            masters: vec![None, None, None],
            list,
            work: work.join("group"),
            ports,
            nodes,
            n_agents,
            n_acknowledged,
            offered,
            leader: SocketAddr::from(([127, 0, 0, 1], 0)),
        };
        (0..3).try_for_each(|n| cluster.start_master(n))?;
        cluster.next_leader()?;
        Ok(cluster)
    }

    fn start_master(&mut self, n: usize) -> io::Result<()> {
        let flags = [
            format!("--masters={}", self.list),
            format!("--work_dir={}", self.work.join(n.to_string()).display()),
        ];
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        self.masters[n] = Some(Daemon::one_of_several(&flags, self.ports[n])?);
        Ok(())
    }

    /// When another master than before offered something for the first time.
    fn next_leader(&mut self) -> Result<Instant> {
        loop {
            let (from, at) = self.offered.recv_timeout(Duration::from_secs(60))?;
            if from != self.leader {
                self.leader = from;
                return Ok(at);
            }
        }
    }

    /// Waits until all agents are with the leader, and the other masters have what it has.
    pub fn settle(&self) -> Result<()> {
        eventually("all agents are registered", || {
            self.n_acknowledged.load(Ordering::Relaxed) >= self.n_agents
        })?;
        eventually("the standbys have caught up", || {
            let group = crate::http::get_json(self.leader, "/master/masters").unwrap_or_default();
            let members = group["masters"].as_array().cloned().unwrap_or_default();
            let last = members.iter().filter_map(|it| it["matched"].as_u64()).max();
            members.len() == 3
                && members.iter().all(|it| {
                    let there =
                        it["leader"] == true || it["heard_ms_ago"].as_u64().is_some_and(|ms| ms < 500);
                    there && it["matched"].as_u64() == last
                })
        })?;
        Ok(())
    }

    /// Kills the leader; the seconds until the next one's first offer. The killed one is started again.
    pub fn kill_leader(&mut self) -> Result<f64> {
        self.n_acknowledged.store(0, Ordering::Relaxed);
        let n = self.ports.iter().position(|port| *port == self.leader.port()).unwrap_or_default();
        let Some(master) = self.masters[n].take() else { return Err("the leader is not there".into()) };
        let start = Instant::now();
        master.kill();
        let took = self.next_leader()?.saturating_duration_since(start);
        self.start_master(n)?;
        Ok(took.as_secs_f64())
    }

    /// Has the leader hand over to another master; the seconds until that one's first offer.
    pub fn transfer(&mut self) -> Result<f64> {
        self.n_acknowledged.store(0, Ordering::Relaxed);
        let to = self.ports.iter().find(|port| **port != self.leader.port()).copied().unwrap_or_default();
        let mut connection = Connection::open(self.leader)?;
        let start = Instant::now();
        connection.post(&format!("/master/masters/transfer?master=127.0.0.1:{to}"), &[], b"")?;
        Ok(self.next_leader()?.saturating_duration_since(start).as_secs_f64())
    }

    /// Ends them.
    pub fn end(self) {
        let ended: Vec<_> = self.nodes.iter().map(Node::shutdown).collect();
        for ended in ended {
            let _ = ended.wait(Duration::from_secs(10));
        }
        self.masters.into_iter().flatten().for_each(Daemon::end);
    }
}
