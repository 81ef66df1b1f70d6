//! A master and its agents on one thread, in virtual time, over a network that loses and delays.
#![allow(clippy::unwrap_used)] // A test.

use std::time::Duration;

use api::internal::*;
use api::resources::Resources;
use api::v1::{AgentId, AgentInfo, FrameworkInfo};
use detector::ComeBack;
use libprocess::sim::{Seed, SimNode, Simulation};
use libprocess::{Context, Pid, Process, Time, Timer, Upid};
use master::registry::Storage;
use master::registry::group::MemoryDisk;
use master::{Bounds, Flags, Master, Prepared};
use uuid::Uuid;

/// An agent without tasks, which asks until it is answered, and comes back when it is told that it was lost.
struct Agent {
    master: Upid,
    id: Option<AgentId>,
    registered: bool,
    /// When it asks again.
    asking: Option<Timer>,
    /// How often it was registered.
    welcomed: u32,
    /// When it was told to come back later, and after how long.
    put_off: Vec<(Time, Duration)>,
    /// The pings it has heard, to know that it has not been forgotten.
    pings: u32,
    /// When the last one came.
    pinged: Time,
}

impl Agent {
    fn new(master: &Upid) -> Agent {
        Agent {
            master: master.clone(),
            id: None,
            registered: false,
            asking: None,
            welcomed: 0,
            put_off: Vec::new(),
            pings: 0,
            pinged: Time::EPOCH,
        }
    }

    fn ask(&mut self, ctx: &mut Context<Self>) {
        self.asking = None;
        if self.registered {
            return;
        }
        let resources = Resources::parse("cpus:4;mem:1024", "*").unwrap().to_messages();
        let slave = AgentInfo { hostname: "h".into(), resources, id: self.id.clone(), ..Default::default() };
        let version = Some("1.11.0".to_owned());
        if self.id.is_some() {
            ctx.send(&self.master, ReregisterSlaveMessage { slave, version, ..Default::default() });
        } else {
            ctx.send(&self.master, RegisterSlaveMessage { slave, version, ..Default::default() });
        }
        self.ask_after(Duration::from_secs(1), ctx);
    }

    fn ask_after(&mut self, wait: Duration, ctx: &mut Context<Self>) {
        if let Some(other) = self.asking.replace(ctx.delay(wait, Self::ask)) {
            other.cancel();
        }
    }

    fn come_back(&mut self, message: ComeBack, ctx: &mut Context<Self>) {
        let wait = Duration::from_millis(message.after_ms);
        self.put_off.push((ctx.now(), wait));
        self.ask_after(wait, ctx);
    }

    fn welcome(&mut self, id: AgentId) {
        assert!(self.id.is_none() || self.id == Some(id.clone()), "an agent keeps its id");
        self.id = Some(id);
        self.registered = true;
        self.welcomed += 1;
        self.pings = 0;
    }

    fn registered(&mut self, message: SlaveRegisteredMessage, _: &mut Context<Self>) {
        self.welcome(message.slave_id);
    }

    fn reregistered(&mut self, message: SlaveReregisteredMessage, _: &mut Context<Self>) {
        self.welcome(message.slave_id);
    }

    fn ping(&mut self, message: PingSlaveMessage, ctx: &mut Context<Self>) {
        self.pings += 1;
        self.pinged = ctx.now();
        ctx.reply(PongSlaveMessage {});
        if !message.connected {
            self.lost(ctx);
        }
    }

    fn lost(&mut self, ctx: &mut Context<Self>) {
        self.registered = false;
        if self.asking.is_none() {
            self.ask(ctx);
        }
    }
}

impl Process for Agent {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.install(Self::registered);
        ctx.install(Self::reregistered);
        ctx.install(Self::ping);
        ctx.install(Self::come_back);
        ctx.link(self.master.clone());
        self.ask(ctx);
    }

    fn exited(&mut self, pid: &Upid, ctx: &mut Context<Self>) {
        ctx.link(pid);
        self.lost(ctx);
    }
}

struct World {
    sim: Simulation,
    master_node: SimNode,
    disk: MemoryDisk,
    master: Pid<Master>,
    agents: Vec<(SimNode, Pid<Agent>)>,
}

/// A driver that counts the offers it holds, and keeps them.
struct Driver {
    master: Upid,
    offers: usize,
}

impl Process for Driver {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.install(|driver: &mut Driver, message: ResourceOffersMessage, _: &mut Context<Driver>| {
            driver.offers += message.offers.len();
        });
        let framework = FrameworkInfo { user: "u".into(), name: "f".into(), ..Default::default() };
        ctx.send(&self.master, RegisterFrameworkMessage { framework });
    }
}

fn world(seed: u64, n_agents: u16) -> World {
    world_with(seed, n_agents, Flags::default())
}

fn world_with(seed: u64, n_agents: u16, flags: Flags) -> World {
    let mut sim = Simulation::new(Seed(seed));
    let address = ([10, 0, 0, 1], 5050).into();
    let master_node = sim.node_with_delegate(address, master::PROCESS_ID);
    let disk = MemoryDisk::default();
    let master = start(&mut sim, master_node, u128::from(seed), flags, &disk, Bounds::default());
    let agents = (0..n_agents)
        .map(|n| {
            let node = sim.node(([10, 0, 1 + (n / 250) as u8, 1 + (n % 250) as u8], 5051).into());
            (node, sim.spawn(node, "slave(1)", Agent::new(master.upid())).unwrap())
        })
        .collect();
    World { sim, master_node, disk, master, agents }
}

fn start(
    sim: &mut Simulation,
    node: SimNode,
    id: u128,
    flags: Flags,
    disk: &MemoryDisk,
    bounds: Bounds,
) -> Pid<Master> {
    let flags = Flags { registry_in_memory: true, ..flags };
    let (id, storage) = (Uuid::from_u128(id), Storage::Kept(disk.clone()));
    let Prepared { contender, .. } = master::prepare_with(sim.address(node), id, flags, storage).unwrap();
    let contender = sim.spawn(node, detector::CONTENDER, contender.bounded(bounds)).unwrap();
    sim.settle();
    sim.with(&contender, |contender| contender.master()).flatten().unwrap()
}

impl World {
    fn count(&mut self, which: fn(&Master) -> usize) -> usize {
        self.sim.with(&self.master, |master| which(master)).unwrap()
    }

    fn all_registered(&mut self) -> bool {
        let World { sim, agents, .. } = self;
        agents.iter().all(|(_, agent)| sim.with(agent, |agent| agent.registered).unwrap())
    }

    /// The master's machine crashes and comes back, with what was on its disk.
    fn restart_master(&mut self, bounds: Bounds) {
        self.disk.crash(false);
        self.sim.crash(self.master_node);
        self.sim.restart(self.master_node);
        let id = u128::from(self.sim.now().as_nanos());
        self.master = start(&mut self.sim, self.master_node, id, Flags::default(), &self.disk, bounds);
    }

    /// What the master has counted so far.
    fn counted(&mut self, name: &'static str) -> usize {
        let counted = self.sim.dispatch(&self.master, move |_, ctx| ctx.metrics().counter(name).get());
        self.sim.settle();
        usize::try_from(counted.wait(Duration::from_secs(5)).unwrap()).unwrap()
    }

    /// Lets virtual time pass until `done`, or for `limit` at most.
    fn until(&mut self, limit: Duration, what: &str, done: impl Fn(&mut World) -> bool) {
        let mut left = limit.as_secs();
        while !done(self) {
            assert!(left > 0, "{what}: not within {limit:?} (seed {:?})", self.sim.seed());
            left -= 1;
            self.sim.run_for(Duration::from_secs(1));
        }
    }
}

#[test]
fn agents_join_over_a_lossy_network_once_each() {
    for seed in 0..5 {
        let mut world = world(seed, 5);
        world.sim.network().loss(0.3).duplication(0.1);
        world.until(Duration::from_secs(120), "joining", World::all_registered);
        world.sim.network().loss(0.0).duplication(0.0);
        world.sim.run_for(Duration::from_secs(60));
        assert_eq!(world.count(Master::n_agents), 5, "no agent joined twice");
        assert_eq!(world.count(Master::n_unreachable_agents), 0);
        world.sim.with(&world.master, |master| master.check_invariants().unwrap()).unwrap();
    }
}

#[test]
fn a_partitioned_agent_is_given_up_after_75_seconds_and_returns() {
    for seed in 0..3 {
        let mut world = world(seed, 2);
        world.until(Duration::from_secs(10), "joining", World::all_registered);
        let (cut, other) = (world.agents[0].0, world.agents[1].0);
        world.sim.run_for(Duration::from_secs(1));
        let master_node = world.master_node;
        world.sim.network().partition(&[cut], &[master_node, other]);
        world.sim.run_for(Duration::from_secs(55));
        assert_eq!(world.count(Master::n_unreachable_agents), 0, "four pings may be missed");
        world.sim.run_for(Duration::from_secs(40));
        assert_eq!(world.count(Master::n_unreachable_agents), 1);
        assert_eq!(world.count(Master::n_agents), 1);
        world.sim.network().heal();
        // What an agent does that has not heard a ping for too long.
        let lost = world.agents[0].1.clone();
        drop(world.sim.dispatch(&lost, |agent, ctx| agent.lost(ctx)));
        world.until(Duration::from_secs(60), "returning", |world| {
            world.all_registered() && world.count(Master::n_agents) == 2
        });
        assert_eq!(world.count(Master::n_unreachable_agents), 0);
        world.sim.with(&world.master, |master| master.check_invariants().unwrap()).unwrap();
    }
}

#[test]
fn silent_agents_are_given_up_one_after_another_and_those_that_answer_are_spared() {
    for seed in 0..3 {
        let limit = Some("1/5mins".to_owned());
        let mut world = world_with(seed, 3, Flags { agent_removal_rate_limit: limit, ..Flags::default() });
        world.until(Duration::from_secs(10), "joining", World::all_registered);
        let agents: Vec<_> = world.agents.iter().map(|(node, _)| *node).collect();
        let master_node = world.master_node;
        world.sim.network().partition(&agents, &[master_node]);
        world.sim.run_for(Duration::from_secs(120));
        assert_eq!(world.count(Master::n_unreachable_agents), 1, "all are silent, but one may be given up");
        assert_eq!(world.count(Master::n_agents), 2);
        world.sim.network().heal();
        for _ in 0..20 {
            world.sim.run_for(Duration::from_secs(60));
            assert!(world.count(Master::n_agents) >= 2, "the others answered before it was their turn");
        }
        world.sim.with(&world.master, |master| master.check_invariants().unwrap()).unwrap();
    }
}

#[test]
fn no_agent_is_given_up_because_its_master_was_stopped() {
    for seed in 0..3 {
        let mut world = world(seed, 2);
        world.until(Duration::from_secs(10), "joining", World::all_registered);
        let (cut, master_node) = (world.agents[0].0, world.master_node);
        world.sim.network().partition(&[cut], &[master_node]);
        // Its connection is lost, and so are four of five pings.
        world.sim.run_for(Duration::from_secs(62));
        world.sim.stop(master_node);
        world.sim.run_for(Duration::from_secs(3600));
        world.sim.network().heal();
        world.sim.go_on(master_node);
        let lost = world.agents[0].1.clone();
        drop(world.sim.dispatch(&lost, |agent, ctx| agent.lost(ctx)));
        world.sim.run_for(Duration::from_secs(120));
        assert_eq!((world.count(Master::n_agents), world.count(Master::n_unreachable_agents)), (2, 0));
        assert!(world.all_registered());
        // Nor is one kept for ever that is really gone.
        world.sim.crash(cut);
        world.sim.run_for(Duration::from_secs(95));
        assert_eq!((world.count(Master::n_agents), world.count(Master::n_unreachable_agents)), (1, 1));
    }
}

#[test]
fn pings_are_spread_again_after_a_time_in_which_their_master_was_stopped() {
    for seed in 0..3 {
        let mut world = world(seed, 40);
        world.until(Duration::from_secs(10), "joining", World::all_registered);
        let master_node = world.master_node;
        world.sim.stop(master_node);
        // All are due before it goes on.
        world.sim.run_for(Duration::from_secs(20));
        world.sim.go_on(master_node);
        world.until(Duration::from_secs(30), "coming back", World::all_registered);
        world.sim.run_for(Duration::from_secs(45));
        let World { sim, agents, .. } = &mut world;
        let mut pinged: Vec<_> =
            agents.iter().map(|(_, agent)| sim.with(agent, |agent| agent.pinged).unwrap()).collect();
        pinged.sort_unstable();
        let together = |pinged: &[Time]| pinged[9] - pinged[0] < Duration::from_millis(500);
        assert!(!pinged.windows(10).any(together), "ten of forty within half a second: {pinged:?}");
        assert!(sim.now() - pinged[0] < Duration::from_secs(22), "every one is pinged: {pinged:?}");
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed| {
        let mut world = world(seed, 3);
        world.sim.network().loss(0.2);
        world.sim.run_for(Duration::from_secs(60));
        world.sim.digest()
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}

#[test]
fn hosts_are_offered_while_they_are_on_the_whitelist() {
    let dir = tempfile::tempdir().unwrap();
    let whitelist = dir.path().join("whitelist");
    std::fs::write(&whitelist, "another\n").unwrap();
    let mut world = world_with(1, 3, Flags { whitelist: Some(whitelist.clone()), ..Flags::default() });
    world.until(Duration::from_secs(60), "joining", World::all_registered);
    let driver = Driver { master: world.master.upid().clone(), offers: 0 };
    let driver = world.sim.spawn(world.master_node, "driver", driver).unwrap();
    world.sim.run_for(Duration::from_secs(20));
    assert_eq!(world.sim.with(&driver, |driver| driver.offers), Some(0));

    std::fs::write(&whitelist, "another\nh\n").unwrap();
    world.until(Duration::from_secs(7), "offers", |world| {
        world.sim.with(&driver, |driver| driver.offers) == Some(3)
    });
}

#[test]
fn agents_for_whom_there_is_no_room_are_told_to_come_back_one_after_another_and_do() {
    const N_AGENTS: usize = 1_200;
    const ROOM: usize = 1_000;
    let mut world = world(11, N_AGENTS as u16);
    let master_node = world.master_node;
    // One arrives after the other; answers take the same time for each.
    let same = |time| time..time + Duration::from_nanos(1);
    world.sim.network().latency(same(Duration::from_millis(1)));
    for (n, (node, _)) in world.agents.iter().enumerate() {
        let latency = Duration::from_millis(1) + Duration::from_micros(10) * n as u32;
        world.sim.network().latency_between(*node, master_node, same(latency));
    }
    world.until(Duration::from_secs(20), "joining", World::all_registered);
    for (_, agent) in &world.agents {
        world.sim.with(agent, |agent| agent.welcomed = 0);
    }

    world.restart_master(Bounds { returning_agents: ROOM, ..Bounds::default() });
    // Nobody whom it has called in is dealt with before the last has come.
    world.sim.blocking_takes(master_node, same(Duration::from_millis(20)));
    world.until(Duration::from_secs(20), "coming back", |world| {
        let World { sim, agents, .. } = world;
        agents.iter().all(|(_, agent)| sim.with(agent, |agent| agent.welcomed > 0).unwrap())
    });

    let World { sim, agents, .. } = &mut world;
    let put_off: Vec<_> =
        agents.iter().map(|(_, it)| sim.with(it, |agent| agent.put_off.clone()).unwrap()).collect();
    let (in_time, late) = put_off.split_at(ROOM);
    assert!(in_time.iter().all(Vec::is_empty), "who came while there was room is not put off: {in_time:?}");
    assert!(late.iter().all(|times| !times.is_empty()), "who came too late is: {late:?}");
    // How slow this master is was not known yet.
    assert!(late.iter().any(|times| times.len() > 1), "if there is no room then either, again: {late:?}");
    let mut all: Vec<_> = put_off.iter().flatten().copied().collect();
    all.sort();
    let waits: Vec<_> = all.iter().map(|(_, wait)| wait.as_millis()).collect();
    assert!(
        waits.iter().all(|wait| (50..1_000).contains(wait)),
        "about what half of the others take: {waits:?}"
    );
    let back: Vec<_> = all.iter().map(|(at, wait)| *at + *wait).collect();
    // Times are told in milliseconds.
    let tick = Duration::from_millis(1);
    assert!(
        back.windows(2).all(|pair| pair[0] < pair[1] + tick),
        "behind all who were told before: {waits:?}"
    );
    let spread = back[N_AGENTS - ROOM - 1] - back[0];
    assert!(spread > Duration::from_millis(15), "not all at the same time: {waits:?}");

    assert_eq!(world.counted("master/slave_reregistrations_put_off"), all.len());
    assert_eq!(world.counted("master/slave_reregistrations"), N_AGENTS, "each is taken back once");
    assert_eq!(world.count(Master::n_agents), N_AGENTS);
    assert_eq!(world.sim.with(&world.master, |master| master.recovered_agents()), Some(vec![]));
    for (_, agent) in &world.agents {
        assert_eq!(world.sim.with(agent, |agent| (agent.registered, agent.welcomed)), Some((true, 1)));
    }
    world.sim.with(&world.master, |master| master.check_invariants().unwrap()).unwrap();
}
