//! Three masters, some agents and a framework on one thread; what may happen to them, and what must hold meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use api::v1::{AgentId, FrameworkInfo};
use detector::Masters;
use frameworks::driver::{SchedulerOptions, SchedulerProcess};
use libprocess::sim::{Seed, SimNode, Simulation};
use libprocess::{Address, Pid, Time};
use master::registry::Storage;
use master::registry::group::MemoryDisk;
use master::{Contender, Flags, Master};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use uuid::Uuid;

use crate::agent::{Agent, Disk};
use crate::framework::Framework;

pub const N_MASTERS: usize = 3;
pub const N_AGENTS: usize = 4;

/// An agent is given up when it is silent for so long.
const PING_TIMEOUT: Duration = Duration::from_secs(1);
const MAX_PINGS: u32 = 5;

/// What happened in a run, for the line it prints.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    pub leaders: usize,
    pub launched: usize,
    pub ended: usize,
    pub digest: u64,
}

struct MasterNode {
    node: SimNode,
    disk: MemoryDisk,
    contender: Option<Pid<Contender>>,
}

struct AgentNode {
    node: SimNode,
    disk: Arc<Mutex<Disk>>,
    up: Option<Pid<Agent>>,
}

pub struct World {
    pub sim: Simulation,
    rng: StdRng,
    masters: Vec<MasterNode>,
    agents: Vec<AgentNode>,
    framework_node: SimNode,
    framework: Pid<SchedulerProcess<Framework>>,
    /// Agents that the operator wants gone.
    asked_gone: Vec<AgentId>,
    /// Agents that some leader called gone.
    gone: BTreeSet<AgentId>,
    last_leader: Option<(usize, String)>,
    n_leaders: usize,
    n_lives: u64,
}

fn masters() -> Masters {
    let list: Vec<String> = (1..=N_MASTERS).map(|n| format!("10.0.0.{n}:5050")).collect();
    list.join(",").parse().expect("a good list")
}

fn flags() -> Flags {
    Flags {
        masters: (1..=N_MASTERS).map(|n| Address::from(([10, 0, 0, n as u8], 5050)).into()).collect(),
        agent_ping_timeout: PING_TIMEOUT,
        max_agent_ping_timeouts: MAX_PINGS,
        agent_reregister_timeout: Duration::from_secs(600),
        registry_in_memory: true,
        // An offer may be lost on its way, which only a simulated network does while the connection lasts.
        offer_timeout: Some(Duration::from_secs(10)),
        ..Flags::default()
    }
}

impl World {
    pub fn new(seed: u64) -> World {
        let mut sim = Simulation::new(Seed(seed));
        sim.keep_no_log();
        let masters = (1..=N_MASTERS)
            .map(|n| {
                let node = sim.node_with_delegate(([10, 0, 0, n as u8], 5050).into(), master::PROCESS_ID);
                MasterNode { node, disk: MemoryDisk::default(), contender: None }
            })
            .collect();
        let agents = (1..=N_AGENTS)
            .map(|n| {
                let node = sim.node(([10, 0, 1, n as u8], 5051).into());
                AgentNode { node, disk: Arc::default(), up: None }
            })
            .collect();
        let framework_node = sim.node(([10, 0, 2, 1], 9000).into());
        let info = FrameworkInfo {
            user: "root".into(),
            name: "simulated".into(),
            failover_timeout: Some(1e6),
            checkpoint: Some(true),
            ..Default::default()
        };
        let (process, _) =
            SchedulerProcess::new(Framework::new(10), info, self::masters(), SchedulerOptions::default());
        let framework = sim.spawn(framework_node, "scheduler", process).expect("a scheduler");
        let mut world = World {
            sim,
            rng: StdRng::seed_from_u64(seed),
            masters,
            agents,
            framework_node,
            framework,
            asked_gone: Vec::new(),
            gone: BTreeSet::new(),
            last_leader: None,
            n_leaders: 0,
            n_lives: 0,
        };
        for n in 0..N_MASTERS {
            // No two clocks run alike; the lease allows for a tenth.
            let rate = world.rng.random_range(0.96..1.04);
            world.sim.clock(world.masters[n].node).rate(rate);
            world.start_master(n);
        }
        (0..N_AGENTS).for_each(|n| world.start_agent(n));
        world
    }

    fn start_master(&mut self, n: usize) {
        self.n_lives += 1;
        let MasterNode { node, disk, contender } = &mut self.masters[n];
        self.sim.restart(*node);
        let address = self.sim.address(*node);
        let id = Uuid::from_u128((u128::from(self.sim.seed().0) << 64) | u128::from(self.n_lives));
        let storage = Storage::Kept(disk.clone());
        let prepared = master::prepare_with(address, id, flags(), storage).expect("good flags");
        *contender = self.sim.spawn(*node, detector::CONTENDER, prepared.contender).ok();
    }

    fn start_agent(&mut self, n: usize) {
        let AgentNode { node, disk, up } = &mut self.agents[n];
        if disk.lock().gone {
            return;
        }
        self.sim.restart(*node);
        let agent = Agent::new(masters(), format!("host-{n}"), Arc::clone(disk));
        *up = self.sim.spawn(*node, "slave(1)", agent).ok();
    }

    fn crash_master(&mut self, n: usize) {
        if self.masters[n].contender.take().is_some() {
            self.sim.crash(self.masters[n].node);
            let keep = self.rng.random_bool(0.5);
            self.masters[n].disk.crash(keep);
        }
    }

    fn crash_agent(&mut self, n: usize) {
        if self.agents[n].up.take().is_some() {
            self.sim.crash(self.agents[n].node);
        }
    }

    /// Both at once: the next leader knows the agent from the registry only.
    pub fn crash_leader_and_an_agent(&mut self) {
        let leader = self.acting().pop();
        self.crash_agent(0);
        if let Some((leader, _)) = leader {
            self.crash_master(leader);
        }
    }

    fn master(&mut self, n: usize) -> Option<Pid<Master>> {
        let contender = self.masters[n].contender.clone()?;
        self.sim.with(&contender, |contender| contender.master()).flatten()
    }

    /// The masters that act as leaders, by number, and the id of the reign.
    fn acting(&mut self) -> Vec<(usize, String)> {
        (0..N_MASTERS)
            .filter_map(|n| {
                // Who is stopped does nothing, whatever it would like to.
                let master = self.master(n).filter(|_| !self.sim.is_stopped(self.masters[n].node))?;
                let now = self.sim.now_at(self.masters[n].node);
                let acts_as = |master: &mut Master| master.acts_as(now).map(str::to_owned);
                let id = self.sim.with(&master, acts_as).flatten()?;
                Some((n, id))
            })
            .collect()
    }

    /// What must hold at any moment.
    fn check(&mut self) {
        let acting = self.acting();
        assert!(acting.len() <= 1, "{acting:?} act as leaders at the same time");
        if let [leader] = &acting[..]
            && self.last_leader.as_ref() != Some(leader)
        {
            self.last_leader = Some(leader.clone());
            self.n_leaders += 1;
        }
        for n in 0..N_AGENTS {
            let disk = self.agents[n].disk.lock();
            assert!(disk.broken.is_empty(), "agent {n}: {:?}", disk.broken);
        }
    }

    /// What must hold at any moment, and takes longer to look at.
    fn check_closely(&mut self) {
        let Some((n, _)) = self.acting().pop() else { return };
        let Some(master) = self.master(n) else { return };
        let World { sim, gone, asked_gone, .. } = self;
        let checked = sim.with(&master, |master| {
            // It may still have to read its registry.
            if master.is_behind() {
                return Ok(());
            }
            let back: Vec<_> = gone.iter().filter(|id| master.has_agent(id) || !master.is_gone(id)).collect();
            assert!(back.is_empty(), "{back:?} were gone and are so no more");
            gone.extend(asked_gone.iter().filter(|id| master.is_gone(id)).cloned());
            master.check_invariants()
        });
        if let Some(Err(broken)) = checked {
            panic!("master {n}: {broken}");
        }
    }

    fn step(&mut self, end: Time) {
        let mut first = true;
        let left = end - self.sim.now();
        let _ = self.sim.run_until(left, |_| !std::mem::take(&mut first));
        self.check();
    }

    pub fn run_for(&mut self, span: Duration) {
        let end = self.sim.now() + span;
        while self.sim.now() < end {
            self.step(end);
        }
        self.check_closely();
    }

    pub fn draw(&mut self, range: std::ops::Range<u64>) -> u64 {
        self.rng.random_range(range)
    }

    fn nodes(&self) -> Vec<SimNode> {
        let masters = self.masters.iter().map(|it| it.node);
        masters.chain(self.agents.iter().map(|it| it.node)).chain([self.framework_node]).collect()
    }

    /// Something goes wrong, or some of it right again.
    pub fn trouble(&mut self) {
        let (m, a) = (self.rng.random_range(0..N_MASTERS), self.rng.random_range(0..N_AGENTS));
        match self.rng.random_range(0..20) {
            0 => self.crash_master(m),
            1 => {
                if let Some((leader, _)) = self.acting().pop() {
                    self.crash_master(leader);
                }
            }
            2 | 3 => (0..N_MASTERS).for_each(|n| {
                if self.masters[n].contender.is_none() {
                    self.start_master(n);
                }
            }),
            4 => self.crash_agent(a),
            5 | 6 => (0..N_AGENTS).for_each(|n| {
                if self.agents[n].up.is_none() {
                    self.start_agent(n);
                }
            }),
            // The leader is cut from its peers alone, or from everybody else alone.
            7 | 8 => {
                if let Some((leader, _)) = self.acting().pop() {
                    let one = self.masters[leader].node;
                    let peers: Vec<_> =
                        self.masters.iter().map(|it| it.node).filter(|it| *it != one).collect();
                    let others: Vec<_> = self.nodes().split_off(N_MASTERS);
                    let from = if self.rng.random_bool(0.5) { peers } else { others };
                    self.sim.network().partition(&[one], &from);
                }
            }
            9 => {
                let nodes = self.nodes();
                let side: Vec<bool> = nodes.iter().map(|_| self.rng.random_bool(0.5)).collect();
                let of = |wanted: bool| -> Vec<SimNode> {
                    nodes
                        .iter()
                        .zip(&side)
                        .filter(|(_, side)| **side == wanted)
                        .map(|(node, _)| *node)
                        .collect()
                };
                self.sim.network().partition(&of(true), &of(false));
            }
            10 => {
                let nodes = self.nodes();
                let (from, to) =
                    (self.rng.random_range(0..nodes.len()), self.rng.random_range(0..nodes.len()));
                self.sim.network().cut(nodes[from], nodes[to]);
            }
            11 | 12 => {
                self.sim.network().heal();
            }
            13 => self.sim.stop(self.masters[m].node),
            14 => {
                if let Some((leader, _)) = self.acting().pop() {
                    self.sim.stop(self.masters[leader].node);
                }
            }
            15 => self.sim.stop(self.agents[a].node),
            16 => self.wake(),
            17 => {
                let (one, other) = (self.masters[m].node, self.agents[a].node);
                let of = |least: u64, most: u64| Duration::from_millis(least)..Duration::from_millis(most);
                self.sim.network().flap(one, other, of(10, 900), of(50, 2_000));
            }
            18 => {
                let slowest = [2, 20, 400][self.rng.random_range(0..3)];
                let takes = Duration::from_micros(50)..Duration::from_millis(slowest);
                self.sim.blocking_takes(self.masters[m].node, takes);
            }
            _ => {
                let loss = [0.0, 0.02, 0.15][self.rng.random_range(0..3)];
                let slowest = [200, 5_000, 30_000][self.rng.random_range(0..3)];
                let latency = Duration::from_micros(100)..Duration::from_micros(slowest);
                self.sim.network().loss(loss).duplication(loss / 2.0).latency(latency);
            }
        }
    }

    /// Those that were stopped go on.
    fn wake(&mut self) {
        for node in self.nodes() {
            if self.sim.is_stopped(node) {
                self.sim.go_on(node);
            }
        }
    }

    /// The operator gives up an agent for good; not more than half of them.
    pub fn mark_gone(&mut self) {
        let Some((leader, _)) = self.acting().pop() else { return };
        let Some(master) = self.master(leader) else { return };
        let a = self.rng.random_range(0..N_AGENTS);
        let n_gone = self.agents.iter().filter(|it| it.disk.lock().gone).count();
        let Some(id) = self.agents[a].disk.lock().id.clone().filter(|_| n_gone < N_AGENTS / 2) else {
            return;
        };
        let marked = id.clone();
        drop(self.sim.dispatch(&master, move |master, ctx| master.mark_gone(&marked, ctx)));
        self.asked_gone.push(id);
    }

    pub fn heal(&mut self) {
        let usual = Duration::from_micros(100)..Duration::from_millis(5);
        self.sim.network().heal().loss(0.0).duplication(0.0).latency(usual);
        self.wake();
        for n in 0..N_MASTERS {
            let takes = Duration::from_micros(50)..Duration::from_millis(2);
            self.sim.blocking_takes(self.masters[n].node, takes);
        }
        for n in 0..N_MASTERS {
            if self.masters[n].contender.is_none() {
                self.start_master(n);
            }
        }
        for n in 0..N_AGENTS {
            if self.agents[n].up.is_none() {
                self.start_agent(n);
            }
        }
    }

    pub fn with_framework<R>(&mut self, f: impl FnOnce(&mut Framework) -> R) -> R {
        self.sim.with(&self.framework, |process| f(process.scheduler())).expect("the framework lives")
    }

    /// What is still missing from a cluster at peace, if anything: every agent registered with the one leader, every
    /// update acknowledged, and the framework knows what runs.
    pub fn unrest(&mut self) -> Option<String> {
        let acting = self.acting();
        let [(leader, _)] = &acting[..] else { return Some(format!("leaders: {acting:?}")) };
        let master = self.master(*leader)?;
        let there: Vec<usize> = (0..N_AGENTS).filter(|n| !self.agents[*n].disk.lock().gone).collect();
        let n_agents = self.sim.with(&master, |master| master.n_agents()).unwrap_or_default();
        if n_agents != there.len() {
            return Some(format!("{n_agents} of {} agents are registered", there.len()));
        }
        let mut running = BTreeMap::new();
        for n in there {
            let Some(agent) = &self.agents[n].up else { return Some(format!("agent {n} is down")) };
            if self.sim.with(agent, |agent| agent.registered) != Some(true) {
                return Some(format!("agent {n} does not think it is registered"));
            }
            let disk = self.agents[n].disk.lock();
            for ((_, task_id), it) in &disk.tasks {
                if !it.unacknowledged.is_empty() {
                    return Some(format!("an update of {task_id} is not acknowledged"));
                }
                running.insert(task_id.clone(), disk.id.clone());
            }
        }
        let wants = self.with_framework(|framework| {
            framework.want = 0;
            if !framework.connected {
                return Some("the framework is not connected".to_owned());
            }
            let unknown = framework.tasks.iter().find(|(id, _)| !running.contains_key(id));
            unknown.map(|(id, belief)| format!("the framework believes {id} to be {:?}", belief.state))
        });
        if wants.is_some() {
            return wants;
        }
        self.with_framework(|framework| {
            running
                .keys()
                .find(|id| !framework.tasks.contains_key(*id))
                .map(|id| format!("{id} runs unknown"))
        })
    }

    pub fn account(&mut self) -> Account {
        let (launched, ended) = self.with_framework(|framework| (framework.n_launched, framework.n_ended));
        Account { leaders: self.n_leaders, launched, ended, digest: self.sim.digest() }
    }
}
