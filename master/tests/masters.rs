//! Three masters on one thread, in virtual time: who leads, who stands by, and what the one leaves to the next.
#![allow(clippy::unwrap_used)] // A test.

use std::time::Duration;

use api::internal::*;
use api::resources::Resources;
use api::v1::{AgentId, AgentInfo, FrameworkInfo};
use detector::{Detector, HostPort, Leader, LeaderIs, WatchLeader};
use libprocess::http::{Body, Method, Response, StatusCode};
use libprocess::sim::{Seed, SimNode, Simulation};
use libprocess::{Context, Pid, Process, Upid};
use master::registry::Storage;
use master::registry::group::MemoryDisk;
use master::{Bounds, Contender, Flags, Master};
use uuid::Uuid;

const N_MASTERS: usize = 3;

/// An agent without tasks, which registers with whoever leads.
struct Agent {
    masters: String,
    leader: Option<Upid>,
    id: Option<AgentId>,
    /// With whom.
    registered: Option<Upid>,
    shut_down: bool,
}

impl Agent {
    fn led_by(&mut self, leader: Option<Leader>, ctx: &mut Context<Self>) {
        self.leader = leader.map(|leader| leader.pid);
        self.registered = None;
        self.ask(ctx);
    }

    fn ask(&mut self, ctx: &mut Context<Self>) {
        let Some(leader) = self.leader.clone().filter(|_| self.registered.is_none()) else { return };
        let resources = Resources::parse("cpus:4;mem:1024", "*").unwrap().to_messages();
        let slave = AgentInfo { hostname: "h".into(), resources, id: self.id.clone(), ..Default::default() };
        let version = Some("1.11.0".to_owned());
        if self.id.is_some() {
            ctx.send(&leader, ReregisterSlaveMessage { slave, version, ..Default::default() });
        } else {
            ctx.send(&leader, RegisterSlaveMessage { slave, version, ..Default::default() });
        }
        ctx.delay(Duration::from_secs(1), Self::ask);
    }

    fn welcome(&mut self, from: &Upid, id: AgentId) {
        assert!(self.id.is_none() || self.id == Some(id.clone()), "an agent keeps its id");
        self.id = Some(id);
        if self.leader.as_ref() == Some(from) {
            self.registered = Some(from.clone());
        }
    }
}

impl Process for Agent {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.install(
            |agent: &mut Agent, from: &Upid, message: SlaveRegisteredMessage, _: &mut Context<Self>| {
                agent.welcome(from, message.slave_id);
            },
        );
        ctx.install(
            |agent: &mut Agent, from: &Upid, message: SlaveReregisteredMessage, _: &mut Context<Self>| {
                agent.welcome(from, message.slave_id);
            },
        );
        ctx.install(|_: &mut Agent, _: PingSlaveMessage, ctx: &mut Context<Self>| {
            ctx.reply(PongSlaveMessage {});
        });
        ctx.install(|agent: &mut Agent, _: ShutdownMessage, _: &mut Context<Self>| agent.shut_down = true);
        let told = ctx.defer(|agent: &mut Agent, leader, ctx| agent.led_by(leader, ctx));
        let masters: detector::Masters = self.masters.parse().unwrap();
        let detector = Detector::new(masters, move |leader, _| {
            told.call(leader);
        });
        ctx.spawn("detector", detector).unwrap();
    }
}

/// Asks one master who leads, and keeps what it hears.
struct Watcher {
    contender: Upid,
    heard: Vec<LeaderIs>,
}

impl Process for Watcher {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.install(|watcher: &mut Watcher, message: LeaderIs, _: &mut Context<Self>| {
            watcher.heard.push(message)
        });
        ctx.send(&self.contender, WatchLeader {});
    }
}

/// Sends a leader what agents and drivers send, once, and counts what is answered.
struct Hasty {
    leader: Upid,
    answered: Vec<&'static str>,
}

impl Process for Hasty {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.install(|it: &mut Hasty, _: FrameworkRegisteredMessage, _: &mut Context<Self>| {
            it.answered.push("driver");
        });
        ctx.install(|it: &mut Hasty, _: SlaveReregisteredMessage, _: &mut Context<Self>| {
            it.answered.push("agent");
        });
        let framework = FrameworkInfo { user: "u".into(), name: "f".into(), ..Default::default() };
        ctx.send(&self.leader, RegisterFrameworkMessage { framework });
        let slave = AgentInfo { hostname: "h".into(), id: Some("an-agent".into()), ..Default::default() };
        let version = Some("1.11.0".to_owned());
        ctx.send(&self.leader, ReregisterSlaveMessage { slave, version, ..Default::default() });
    }
}

struct World {
    sim: Simulation,
    nodes: Vec<SimNode>,
    disks: Vec<MemoryDisk>,
    contenders: Vec<Pid<Contender>>,
    agents: Vec<(SimNode, Pid<Agent>)>,
    lives: u128,
    bounds: Bounds,
}

fn address(n: usize) -> libprocess::Address {
    ([10, 0, 0, n as u8 + 1], 5050).into()
}

impl World {
    fn new(seed: u64, n_agents: u8) -> World {
        World::bounded(seed, n_agents, Bounds::default())
    }

    fn bounded(seed: u64, n_agents: u8, bounds: Bounds) -> World {
        let mut sim = Simulation::new(Seed(seed));
        let nodes: Vec<_> =
            (0..N_MASTERS).map(|n| sim.node_with_delegate(address(n), master::PROCESS_ID)).collect();
        let disks = (0..N_MASTERS).map(|_| MemoryDisk::default()).collect();
        let lives = u128::from(seed) << 32;
        let mut world =
            World { sim, nodes, disks, contenders: Vec::new(), agents: Vec::new(), lives, bounds };
        for n in 0..N_MASTERS {
            let contender = world.start(n);
            world.contenders.push(contender);
        }
        let masters: Vec<_> = (0..N_MASTERS).map(|n| address(n).to_string()).collect();
        for n in 0..n_agents {
            let node = world.sim.node(([10, 0, 1, n + 1], 5051).into());
            let masters = masters.join(",");
            let agent = Agent { masters, leader: None, id: None, registered: None, shut_down: false };
            world.agents.push((node, world.sim.spawn(node, "slave(1)", agent).unwrap()));
        }
        world
    }

    fn start(&mut self, n: usize) -> Pid<Contender> {
        self.lives += 1;
        let masters: Vec<HostPort> = (0..N_MASTERS).map(|n| address(n).into()).collect();
        let flags = Flags { masters, registry_in_memory: true, ..Flags::default() };
        let storage = Storage::Kept(self.disks[n].clone());
        let prepared = master::prepare_with(address(n), Uuid::from_u128(self.lives), flags, storage).unwrap();
        let contender = prepared.contender.bounded(self.bounds);
        let contender = self.sim.spawn(self.nodes[n], detector::CONTENDER, contender).unwrap();
        self.sim.settle();
        contender
    }

    fn restart(&mut self, n: usize) {
        self.disks[n].crash(false);
        self.sim.restart(self.nodes[n]);
        self.contenders[n] = self.start(n);
    }

    fn master(&mut self, n: usize) -> Option<Pid<Master>> {
        self.sim.with(&self.contenders[n], |contender| contender.master()).flatten()
    }

    /// What `GET path` gives on a master.
    fn get(&mut self, n: usize, path: &str) -> Option<Response> {
        let (tell, told) = std::sync::mpsc::channel();
        self.sim.request(self.nodes[n], Method::GET, path, "").settled(move |response| {
            let _ = tell.send(response);
        });
        // What is made off the actor takes its time.
        for _ in 0..100 {
            self.sim.run_for(Duration::from_micros(200));
            if let Ok(response) = told.try_recv() {
                return response.ok();
            }
        }
        None
    }

    fn status(&mut self, n: usize, path: &str) -> Option<StatusCode> {
        self.get(n, path).map(|response| response.status)
    }

    /// The masters that answer as a leader does.
    fn serving(&mut self) -> Vec<usize> {
        (0..N_MASTERS).filter(|n| self.status(*n, "/state") == Some(StatusCode::OK)).collect()
    }

    /// Lets virtual time pass until exactly one master serves, and says which.
    fn leader(&mut self) -> usize {
        let mut serving = Vec::new();
        self.until("one master serves", |world| {
            serving = world.serving();
            serving.len() == 1
        });
        serving[0]
    }

    fn until(&mut self, what: &str, mut done: impl FnMut(&mut World) -> bool) {
        let mut left = 2_000;
        while !done(self) {
            assert!(left > 0, "{what}: not in time (seed {:?})", self.sim.seed());
            left -= 1;
            self.sim.run_for(Duration::from_millis(20));
        }
    }

    fn all_registered_with(&mut self, n: usize) -> bool {
        let World { sim, agents, .. } = self;
        agents.iter().all(|(_, agent)| {
            let with = sim.with(agent, |agent| agent.registered.clone()).unwrap();
            with.is_some_and(|master| master.address() == address(n))
        })
    }

    fn n_agents(&mut self, n: usize) -> Option<usize> {
        let master = self.master(n)?;
        self.sim.with(&master, |master| master.n_agents())
    }

    fn n_watchers(&mut self, n: usize) -> usize {
        self.sim.with(&self.contenders[n], |contender| contender.n_watchers()).unwrap()
    }

    fn id(&mut self, n: usize) -> String {
        body(&self.get(n, "/state").unwrap())["id"].as_str().unwrap().to_owned()
    }
}

fn body(response: &Response) -> serde_json::Value {
    match &response.body {
        Body::Bytes(bytes) => serde_json::from_slice(bytes).unwrap(),
        _ => serde_json::Value::Null,
    }
}

fn text(response: &Response) -> &str {
    match &response.body {
        Body::Bytes(bytes) => std::str::from_utf8(bytes).unwrap(),
        _ => "",
    }
}

fn location(response: &Response) -> &str {
    response.headers.get("Location").map_or("", |value| value.to_str().unwrap())
}

#[test]
fn the_next_master_serves_with_the_registry_of_the_last_and_that_one_comes_back_to_stand_by() {
    for seed in 0..5 {
        let mut world = World::new(seed, 4);
        let first = world.leader();
        world.until("joining", |world| world.all_registered_with(first));
        let ids: Vec<_> =
            world.agents.clone().iter().map(|(_, it)| world.sim.with(it, |it| it.id.clone())).collect();

        world.sim.crash(world.nodes[first]);
        let second = world.leader();
        assert_ne!(first, second);
        world.until("coming back", |world| world.all_registered_with(second));
        let after: Vec<_> =
            world.agents.clone().iter().map(|(_, it)| world.sim.with(it, |it| it.id.clone())).collect();
        assert_eq!(ids, after, "known to the next master under the same ids");
        assert_eq!(world.n_agents(second), Some(4));

        world.restart(first);
        world.until("it knows who leads", |world| {
            world.status(first, "/state") == Some(StatusCode::TEMPORARY_REDIRECT)
        });
        let response = world.get(first, "/state").unwrap();
        assert_eq!(location(&response), format!("//10.0.0.{}:5050/master/state", second + 1));
        world.sim.run_for(Duration::from_secs(30));
        assert_eq!(world.serving(), [second], "who comes back does not disturb the leader");
        let shut_down = |world: &mut World| {
            let World { sim, agents, .. } = world;
            agents.iter().filter(|(_, agent)| sim.with(agent, |agent| agent.shut_down).unwrap()).count()
        };
        assert_eq!(shut_down(&mut world), 0);
    }
}

#[test]
fn a_leader_cut_off_from_its_group_stops_before_another_acts_and_is_another_afterwards() {
    for seed in 0..5 {
        let mut world = World::new(seed, 2);
        let first = world.leader();
        world.until("joining", |world| world.all_registered_with(first));
        let id = world.id(first);
        let (cut, others): (Vec<_>, Vec<_>) =
            world.nodes.clone().into_iter().partition(|node| *node == world.nodes[first]);
        world.sim.network().partition(&cut, &others);
        // Agents still reach it; but its lease runs out before anybody else can be elected.
        let mut second = None;
        world.until("another serves", |world| {
            let serving = world.serving();
            assert!(serving.len() <= 1, "two masters act at once (seed {seed})");
            second = serving.into_iter().find(|n| *n != first);
            second.is_some()
        });
        let second = second.unwrap();
        assert_ne!(world.status(first, "/state"), Some(StatusCode::OK));
        world.until("moving on", |world| world.all_registered_with(second));

        world.sim.network().heal();
        world.until("it knows who leads", |world| {
            world.status(first, "/state") == Some(StatusCode::TEMPORARY_REDIRECT)
        });
        assert_eq!(world.n_agents(first), Some(0), "nothing of its reign is left");
        assert_eq!(world.serving(), [second]);

        // It may lead again, as another.
        world.sim.crash(world.nodes[second]);
        let third = world.leader();
        world.until("coming back", |world| world.all_registered_with(third));
        if third == first {
            assert_ne!(world.id(first), id);
        }
    }
}

/// Says once that it is an agent, and never again.
struct Once(Upid);

impl Process for Once {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        let resources = api::resources::Resources::parse("cpus:1;mem:128", "*").unwrap().to_messages();
        let slave = AgentInfo { hostname: "once".into(), resources, ..Default::default() };
        let version = Some("1.11.0".to_owned());
        ctx.send(&self.0, RegisterSlaveMessage { slave, version, ..Default::default() });
    }
}

#[test]
fn what_reaches_a_leader_while_its_lease_lapses_waits_for_it() {
    let mut world = World::new(3, 2);
    let leader = world.leader();
    world.until("joining", |world| world.all_registered_with(leader));
    let (node, nodes) = (world.nodes[leader], world.nodes.clone());
    let others: Vec<_> = nodes.into_iter().filter(|it| *it != node).collect();
    world.sim.network().partition(&[node], &others);
    let may_act = |world: &mut World| {
        let (master, now) = (world.master(leader).unwrap(), world.sim.now_at(node));
        world.sim.with(&master, |master| master.acts_as(now).is_some()).unwrap()
    };
    // Past the lease, and before anybody's patience ends.
    while may_act(&mut world) {
        world.sim.run_for(Duration::from_millis(5));
    }
    let asking = world.sim.node(([10, 0, 3, 1], 5052).into());
    world.sim.spawn(asking, "once", Once(Upid::new(master::PROCESS_ID, address(leader)))).unwrap();
    let call = r#"{"type":"SUBSCRIBE","subscribe":{"framework_info":{"user":"u","name":"f"}}}"#;
    let mut headers = libprocess::http::HeaderMap::new();
    headers.insert(
        "content-type".parse::<libprocess::http::HeaderName>().unwrap(),
        "application/json".parse().unwrap(),
    );
    headers.insert(
        "accept".parse::<libprocess::http::HeaderName>().unwrap(),
        "application/json".parse().unwrap(),
    );
    let (tell, told) = std::sync::mpsc::channel();
    let answer = world.sim.request_with(node, Method::POST, "/api/v1/scheduler", headers, call);
    answer.settled(move |response| drop(tell.send(response)));
    world.sim.run_for(Duration::from_millis(50));
    assert!(!may_act(&mut world) && told.try_recv().is_err(), "it waits");

    world.sim.network().heal();
    world.until("it may act again", may_act);
    world.sim.run_for(Duration::from_millis(100));
    assert_eq!(told.try_recv().unwrap().unwrap().status, StatusCode::OK);
    assert_eq!(world.n_agents(leader), Some(3));
}

#[test]
fn a_leader_that_was_stopped_does_nothing_before_it_has_heard_how_things_stand() {
    for seed in 0..5 {
        let mut world = World::new(seed, 2);
        let first = world.leader();
        world.until("joining", |world| world.all_registered_with(first));
        let node = world.nodes[first];
        world.sim.stop(node);
        let mut second = None;
        world.until("another serves", |world| {
            second =
                (0..N_MASTERS).find(|n| *n != first && world.status(*n, "/state") == Some(StatusCode::OK));
            second.is_some()
        });
        let second = second.unwrap();
        world.until("moving on", |world| world.all_registered_with(second));
        world.sim.go_on(node);
        let asking = world.sim.node(([10, 0, 2, 1], 5052).into());
        let contender = Upid::new(detector::CONTENDER, address(first));
        let watcher = world.sim.spawn(asking, "watcher", Watcher { contender, heard: Vec::new() }).unwrap();
        // From its first moment on; with everything that came while it was stopped still before it.
        for _ in 0..200 {
            assert_eq!(world.serving(), [second], "seed {seed}");
            let told = world.get(first, "/redirect").unwrap();
            assert_ne!(location(&told), format!("//10.0.0.{}:5050", first + 1), "it names itself");
        }
        world.until("it knows who leads", |world| {
            world.status(first, "/state") == Some(StatusCode::TEMPORARY_REDIRECT)
        });
        assert!(world.all_registered_with(second), "nobody was told anything by the one that slept");
        let leads = |said: &LeaderIs| said.leader.as_ref().map(|leader| leader.pid.address());
        let heard = world.sim.with(&watcher, |watcher| watcher.heard.clone()).unwrap();
        assert!(heard.iter().all(|said| leads(said) != Some(address(first))), "{heard:?}");
        assert_eq!(heard.last().and_then(leads), Some(address(second)));
        assert_eq!(world.n_agents(second), Some(2));
    }
}

#[test]
fn a_leader_whose_lease_has_run_out_waits_and_goes_on_as_the_same() {
    let mut tried = 0;
    for seed in 0..10 {
        let mut world = World::new(seed, 2);
        let first = world.leader();
        world.until("joining", |world| world.all_registered_with(first));
        let id = world.id(first);
        let (cut, others): (Vec<_>, Vec<_>) =
            world.nodes.clone().into_iter().partition(|node| *node == world.nodes[first]);
        world.sim.network().partition(&cut, &others);
        let master = world.master(first).unwrap();
        world.until("the lease runs out", |world| world.status(first, "/state") != Some(StatusCode::OK));
        let response = world.get(first, "/state").unwrap();
        assert_eq!(response.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(text(&response), "No leader elected");
        for path in ["/redirect", "/leader"] {
            assert_eq!(world.status(first, path), Some(StatusCode::SERVICE_UNAVAILABLE), "{path}");
        }
        // An agent that ends meanwhile is not given up by a master that may not act.
        let gone = world.agents[0].1.clone();
        world.sim.inject_exited(gone.upid(), &master);
        world.sim.run_for(Duration::from_millis(5));
        let connected = |response: &Response| {
            body(response)["slaves"]
                .as_array()
                .map(|all| all.iter().filter(|it| it["active"] == true).count())
        };
        world.sim.network().heal();
        world.sim.run_for(Duration::from_millis(400));
        if world.serving() != [first] {
            // Somebody else's patience was shorter.
            continue;
        }
        tried += 1;
        assert_eq!(world.id(first), id);
        let state = world.get(first, "/state").unwrap();
        assert_eq!(connected(&state), Some(1), "what had to wait has happened");
    }
    assert!(tried > 0, "no leader ever got its lease back");
}

#[test]
fn a_standby_sends_on_what_is_for_the_leader_and_answers_the_rest() {
    let mut world = World::new(3, 0);
    let response = world.get(0, "/state").unwrap();
    assert_eq!(response.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(text(&response), "No leader elected");
    for path in ["/redirect", "/master/redirect", "/leader"] {
        assert_eq!(world.status(0, path), Some(StatusCode::SERVICE_UNAVAILABLE), "{path}");
    }
    assert_eq!(world.status(0, "/health"), Some(StatusCode::OK));

    let leader = world.leader();
    let standby = (leader + 1) % N_MASTERS;
    world.until("it knows who leads", |world| {
        world.status(standby, "/state") == Some(StatusCode::TEMPORARY_REDIRECT)
    });
    let base = format!("//10.0.0.{}:5050", leader + 1);
    for (path, expected) in [
        ("/api/v1/scheduler", "/master/api/v1/scheduler"),
        ("/master/api/v1/scheduler?a=b%20c", "/master/api/v1/scheduler?a=b%20c"),
        ("/state?jsonp=f", "/master/state?jsonp=f"),
        ("/state-summary", "/master/state-summary"),
        ("/master/slaves?slave_id=x", "/master/slaves?slave_id=x"),
        ("/frameworks", "/master/frameworks"),
        ("/tasks?limit=5&order=asc", "/master/tasks?limit=5&order=asc"),
        ("/redirect", ""),
        ("/master/redirect", ""),
    ] {
        let response = world.get(standby, path).unwrap();
        assert_eq!(response.status, StatusCode::TEMPORARY_REDIRECT, "{path}");
        assert_eq!(location(&response), format!("{base}{expected}"), "{path}");
        assert_eq!(text(&response), "", "{path}");
    }
    for path in ["/health", "/flags", "/version", "/leader", "/master/leader", "/registrar(1)/registry"] {
        assert_eq!(world.status(standby, path), Some(StatusCode::OK), "{path}");
    }
    assert_eq!(world.status(standby, "/redirect/x"), Some(StatusCode::NOT_FOUND));

    let response = world.get(leader, "/redirect").unwrap();
    assert_eq!(location(&response), base, "the leader names itself");
    let [here, there] = [standby, leader].map(|n| body(&world.get(n, "/leader").unwrap()));
    assert_eq!(here, there);
    assert_eq!(here["leader"], format!("master@10.0.0.{}:5050", leader + 1));
    assert_eq!(here["masters"].as_array().unwrap().len(), N_MASTERS);
    let flags = body(&world.get(standby, "/flags").unwrap());
    assert_eq!(flags["flags"]["masters"], "10.0.0.1:5050,10.0.0.2:5050,10.0.0.3:5050");
}

#[test]
fn whoever_watches_hears_of_each_leader_and_is_forgotten_when_it_is_gone() {
    let mut world = World::new(5, 0);
    let first = world.leader();
    let watched = (first + 1) % N_MASTERS;
    world.until("it knows who leads", |world| {
        world.status(watched, "/state") == Some(StatusCode::TEMPORARY_REDIRECT)
    });
    let node = world.sim.node(([10, 0, 2, 1], 5052).into());
    let contender = Upid::new(detector::CONTENDER, address(watched));
    let watcher = world.sim.spawn(node, "watcher", Watcher { contender, heard: Vec::new() }).unwrap();
    let heard = |world: &mut World| world.sim.with(&watcher, |watcher| watcher.heard.clone()).unwrap();
    world.until("an answer", |world| !heard(world).is_empty());
    let leads = |said: &LeaderIs| said.leader.as_ref().map(|leader| leader.pid.address());
    let answer = heard(&mut world).remove(0);
    assert_eq!(leads(&answer), Some(address(first)));
    assert_eq!((answer.masters.len(), answer.spread_ms), (N_MASTERS, 0));
    assert_eq!(world.n_watchers(watched), 1);

    world.sim.crash(world.nodes[first]);
    let second = world.leader();
    world.until("news", |world| heard(world).last().is_some_and(|said| leads(said) == Some(address(second))));
    let all = heard(&mut world);
    assert!(all.windows(2).all(|pair| pair[0].term <= pair[1].term && pair[0] != pair[1]), "{all:?}");
    assert!(all.last().unwrap().term > answer.term);

    world.sim.crash(node);
    world.until("it is forgotten", |world| world.n_watchers(watched) == 0);
}

#[test]
fn what_comes_to_a_leader_that_has_yet_to_read_its_registry_waits_until_it_has() {
    for seed in 0..5 {
        let mut world = World::new(seed, 0);
        let first = world.leader();
        world.sim.crash(world.nodes[first]);
        let mut next = None;
        for _ in 0..200_000 {
            world.sim.run_for(Duration::from_micros(50));
            let leads = |n: &usize| {
                *n != first && world.sim.with(&world.contenders[*n], |it| it.leads()) == Some(true)
            };
            next = (0..N_MASTERS).find(leads);
            if next.is_some() {
                break;
            }
        }
        let next = next.expect("another leads");
        let master = world.master(next).unwrap();
        let now = world.sim.now_at(world.nodes[next]);
        assert_eq!(world.sim.with(&master, |it| it.acts_as(now).map(str::to_owned)), Some(None));
        let leader = Upid::new(master::PROCESS_ID, address(next));
        let hasty = Hasty { leader, answered: Vec::new() };
        // On its node, so as not to need longer than the registry does.
        let hasty = world.sim.spawn(world.nodes[next], "hasty", hasty).unwrap();
        world.until("both are answered", |world| {
            let mut answered = world.sim.with(&hasty, |it| it.answered.clone()).unwrap();
            answered.sort_unstable();
            answered == ["agent", "driver"]
        });
    }
}

#[test]
fn of_more_watchers_than_there_is_room_for_the_first_are_told_and_the_next_when_one_has_left() {
    const ROOM: usize = 3;
    let mut world = World::bounded(6, 0, Bounds { watchers: ROOM, ..Bounds::default() });
    let first = world.leader();
    let watched = (first + 1) % N_MASTERS;
    world.until("it knows who leads", |world| {
        world.status(watched, "/state") == Some(StatusCode::TEMPORARY_REDIRECT)
    });
    let contender = Upid::new(detector::CONTENDER, address(watched));
    let mut watchers = Vec::new();
    for n in 0..=ROOM {
        let node = world.sim.node(([10, 0, 2, n as u8 + 1], 5052).into());
        let watcher = Watcher { contender: contender.clone(), heard: Vec::new() };
        watchers.push((node, world.sim.spawn(node, "watcher", watcher).unwrap()));
        if n < ROOM {
            world.until("it watches", |world| world.n_watchers(watched) == n + 1);
        }
    }
    let leads = |said: &LeaderIs| said.leader.as_ref().map(|leader| leader.pid.address());
    let told = |world: &mut World, n: usize| -> Vec<_> {
        world.sim.with(&watchers[n].1, |watcher| watcher.heard.iter().map(leads).collect()).unwrap()
    };
    let ask = |world: &mut World, n: usize| {
        let contender = contender.clone();
        drop(world.sim.dispatch(&watchers[n].1, move |_, ctx| ctx.send(&contender, WatchLeader {})));
    };
    // Between two nodes order is kept: when one is answered, the other has been heard, too.
    let settled = |world: &mut World, n: usize| {
        let before = told(world, 0).len();
        ask(world, n);
        world.sim.run_for(Duration::from_millis(20));
        ask(world, 0);
        world.until("the first is answered again", |world| told(world, 0).len() > before);
    };
    settled(&mut world, ROOM);
    assert_eq!(world.n_watchers(watched), ROOM);
    for n in 0..ROOM {
        assert_eq!(told(&mut world, n)[0], Some(address(first)));
    }
    assert_eq!(told(&mut world, ROOM), [], "there is no room for it");

    world.sim.crash(world.nodes[first]);
    let second = world.leader();
    for n in 0..ROOM {
        world.until("news", |world| told(world, n).last() == Some(&Some(address(second))));
    }
    settled(&mut world, ROOM);
    assert_eq!((told(&mut world, ROOM), world.n_watchers(watched)), (vec![], ROOM));

    world.sim.crash(watchers[1].0);
    world.until("it is forgotten", |world| world.n_watchers(watched) == ROOM - 1);
    ask(&mut world, ROOM);
    world.until("there is room for it", |world| told(world, ROOM) == [Some(address(second))]);
    assert_eq!(world.n_watchers(watched), ROOM);
    // And it is told as the others are. The one that is watched lives on, be it the leader.
    world.restart(first);
    let (cut, others): (Vec<_>, Vec<_>) =
        world.nodes.clone().into_iter().partition(|node| *node == world.nodes[second]);
    world.sim.network().partition(&cut, &others);
    world.until("another serves", |world| world.serving().iter().any(|n| *n != second));
    world.sim.network().heal();
    let third = world.leader();
    for n in [0, 2, ROOM] {
        world.until("news", |world| told(world, n).last() == Some(&Some(address(third))));
    }
}

#[test]
fn a_leader_stands_by_again_even_if_somebody_has_watched_in_the_name_of_its_master() {
    let mut world = World::new(7, 0);
    let first = world.leader();
    let (master, cut) = (world.master(first).unwrap(), world.nodes[first]);
    let contender = Upid::new(detector::CONTENDER, address(first));
    let node = world.sim.node(([10, 0, 2, 1], 5052).into());
    let watcher = Watcher { contender: contender.clone(), heard: Vec::new() };
    let watcher = world.sim.spawn(node, "watcher", watcher).unwrap();
    let name = master.upid().clone();
    drop(world.sim.dispatch(&watcher, move |_, ctx| ctx.send_as(&name, &contender, WatchLeader {})));
    world.until("both watch", |world| world.n_watchers(first) == 2);

    let others: Vec<_> = world.nodes.iter().copied().filter(|it| *it != cut).collect();
    world.sim.network().partition(&[cut], &others);
    world.until("another serves", |world| world.serving().iter().any(|n| *n != first));
    world.sim.network().heal();
    world
        .until("it stands by", |world| world.status(first, "/state") == Some(StatusCode::TEMPORARY_REDIRECT));
}
