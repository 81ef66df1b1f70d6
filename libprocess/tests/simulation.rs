//! What the simulation host promises.

#![allow(clippy::unwrap_used, reason = "a test says what is wrong by failing")]

use std::sync::Arc;
use std::time::Duration;

use libprocess::http::{self, Method, StatusCode};
use libprocess::sim::{Seed, SimNode, Simulation};
use libprocess::{Context, Future, Message, Pid, Process, Upid};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize, Message)]
struct Ping(u64);

#[derive(Debug, Serialize, Deserialize, Message)]
struct Pong(u64);

/// Answers pings.
struct Ponger;

impl Ponger {
    fn ping(&mut self, from: &Upid, ping: Ping, ctx: &mut Context<Self>) {
        ctx.send(from, Pong(ping.0));
    }
}

impl Process for Ponger {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.install(Self::ping);
    }
}

/// Pings its peer, repeating what is not answered, until `goal` answers are in.
struct Pinger {
    peer: Upid,
    goal: u64,
    answered: u64,
    attempts: u64,
    exits: Vec<Upid>,
    link: bool,
    drawn: Vec<String>,
}

impl Pinger {
    fn attempt(&mut self, ctx: &mut Context<Self>) {
        if self.answered < self.goal {
            self.attempts += 1;
            ctx.send(&self.peer, Ping(self.answered));
            let asked = self.answered;
            ctx.delay(Duration::from_secs(1), move |pinger: &mut Pinger, ctx| {
                if pinger.answered == asked {
                    pinger.attempt(ctx);
                }
            });
        }
    }

    fn pong(&mut self, pong: Pong, ctx: &mut Context<Self>) {
        if pong.0 == self.answered {
            self.answered += 1;
            self.drawn.push(ctx.uuid().to_string());
            self.attempt(ctx);
        }
    }
}

impl Process for Pinger {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.install(Self::pong);
        if self.link {
            ctx.link(&self.peer);
        }
        self.attempt(ctx);
    }

    fn exited(&mut self, pid: &Upid, _: &mut Context<Self>) {
        self.exits.push(pid.clone());
    }
}

fn pair(sim: &mut Simulation, goal: u64) -> (SimNode, SimNode, Pid<Pinger>) {
    let a = sim.node("10.0.0.1:5050".parse().unwrap());
    let b = sim.node("10.0.0.2:5050".parse().unwrap());
    let ponger = sim.spawn(b, "ponger", Ponger).unwrap();
    let pinger = Pinger {
        peer: ponger.upid().clone(),
        goal,
        answered: 0,
        attempts: 0,
        exits: vec![],
        link: true,
        drawn: vec![],
    };
    let pinger = sim.spawn(a, "pinger", pinger).unwrap();
    (a, b, pinger)
}

fn answered(sim: &mut Simulation, pinger: &Pid<Pinger>) -> u64 {
    sim.with(pinger, |pinger| pinger.answered).unwrap()
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

#[test]
fn actors_talk_across_nodes_in_virtual_time() {
    let mut sim = Simulation::new(Seed(1));
    let (_, _, pinger) = pair(&mut sim, 100);
    sim.run_until(secs(10), |sim| answered(sim, &pinger) == 100).unwrap();
    assert_eq!(sim.with(&pinger, |pinger| pinger.attempts), Some(100));
}

#[test]
fn an_end_that_is_injected_is_told_in_a_simulation_too() {
    let mut sim = Simulation::new(Seed(1));
    let (_, b, pinger) = pair(&mut sim, 1);
    let ponger = sim.find(b, "ponger").unwrap();
    assert!(sim.inject_exited(&ponger, &pinger));
    sim.settle();
    assert_eq!(sim.with(&pinger, |pinger| pinger.exits.clone()), Some(vec![ponger.clone()]));
    assert_eq!(sim.find(b, "ponger"), Some(ponger.clone()), "still there");
    sim.crash(b);
    assert!(!sim.inject_exited(&pinger, &ponger));
}

#[test]
fn a_dead_process_keeps_no_timers_in_a_simulation_either() {
    let mut sim = Simulation::new(Seed(1));
    let node = sim.node("10.0.0.1:5050".parse().unwrap());
    let held = Arc::new(());
    let start = |sim: &mut Simulation, id: &str| {
        let pid = sim.spawn(node, id, Ponger).unwrap();
        let held = held.clone();
        pid.call(move |_, ctx| {
            for n in 1..=3 {
                let held = held.clone();
                ctx.delay(secs(n), move |_: &mut Ponger, _| drop(held));
            }
        });
        pid
    };
    let a = start(&mut sim, "a");
    start(&mut sim, "b");
    sim.run_for(secs(1));
    assert_eq!(Arc::strong_count(&held), 5, "two of each are left");
    sim.terminate(&a);
    sim.settle();
    assert_eq!(Arc::strong_count(&held), 3);
    sim.crash(node);
    assert_eq!(Arc::strong_count(&held), 1);
}

fn troubled_run(seed: u64) -> (String, Vec<String>) {
    let mut sim = Simulation::new(Seed(seed));
    let (a, b, pinger) = pair(&mut sim, 50);
    sim.network().loss(0.2).duplication(0.1);
    sim.run_for(secs(5));
    sim.network().partition(&[a], &[b]);
    sim.run_for(secs(10));
    sim.network().heal();
    sim.crash(b);
    sim.run_for(secs(3));
    sim.restart(b);
    sim.spawn(b, "ponger", Ponger).unwrap();
    sim.run_until(secs(600), |sim| answered(sim, &pinger) == 50).unwrap();
    let drawn = sim.with(&pinger, |pinger| pinger.drawn.clone()).unwrap();
    (sim.log(), drawn)
}

#[test]
fn the_same_seed_gives_the_same_log_byte_for_byte() {
    for seed in 0..20 {
        let (first, second) = (troubled_run(seed), troubled_run(seed));
        assert_eq!(first.0.as_bytes(), second.0.as_bytes(), "seed {seed}");
        assert_eq!(first.1, second.1, "seed {seed}: random numbers");
    }
    assert_ne!(troubled_run(1).0, troubled_run(2).0);
}

#[test]
fn a_lost_message_is_repaired_by_the_retry() {
    let mut sim = Simulation::new(Seed(3));
    let (_, _, pinger) = pair(&mut sim, 3);
    sim.network().drop_next::<Pong>();
    sim.run_for(Duration::from_millis(900));
    assert_eq!(answered(&mut sim, &pinger), 0);
    sim.run_for(secs(1));
    assert_eq!(answered(&mut sim, &pinger), 3);
    assert_eq!(sim.with(&pinger, |pinger| pinger.attempts), Some(4));
}

#[test]
fn a_cut_cable_is_noticed_by_the_linker_within_seconds() {
    let mut sim = Simulation::new(Seed(4));
    let (a, b, pinger) = pair(&mut sim, u64::MAX);
    sim.run_for(secs(1));
    sim.network().cut(b, a);
    sim.run_until(secs(6), |sim| sim.with(&pinger, |p| p.exits.len()) == Some(1)).unwrap();
    assert_eq!(sim.with(&pinger, |p| p.exits[0].id().to_owned()).as_deref(), Some("ponger"));
}

#[test]
fn a_crash_is_told_at_once_and_a_process_that_ends_too() {
    let mut sim = Simulation::new(Seed(5));
    let (_, b, pinger) = pair(&mut sim, u64::MAX);
    sim.run_for(secs(1));
    sim.crash(b);
    sim.run_for(Duration::from_millis(10));
    assert_eq!(sim.with(&pinger, |pinger| pinger.exits.len()), Some(1));

    sim.restart(b);
    let again = sim.spawn(b, "ponger", Ponger).unwrap();
    let peer = again.upid().clone();
    pinger.call(move |_, ctx| ctx.link(&peer));
    sim.run_for(secs(1));
    sim.terminate(&again);
    sim.run_for(Duration::from_millis(20));
    assert_eq!(sim.with(&pinger, |pinger| pinger.exits.len()), Some(2));
}

#[test]
fn what_a_crashed_node_had_under_way_is_never_done() {
    struct Worker {
        done: bool,
    }
    impl Process for Worker {
        fn initialize(&mut self, ctx: &mut Context<Self>) {
            let work = ctx.blocking(|| ());
            ctx.then(work, |worker: &mut Worker, _, _| worker.done = true);
        }
    }
    let mut sim = Simulation::new(Seed(6));
    let node = sim.node("10.0.0.1:1".parse().unwrap());
    let first = sim.spawn(node, "worker", Worker { done: false }).unwrap();
    sim.settle();
    sim.crash(node);
    sim.restart(node);
    sim.run_for(secs(1));
    assert_eq!(sim.with(&first, |worker| worker.done), None);
    let second = sim.spawn(node, "worker", Worker { done: false }).unwrap();
    sim.run_for(secs(1));
    assert_eq!(sim.with(&second, |worker| worker.done), Some(true));
}

#[test]
fn a_panic_ends_one_process_and_its_linkers_hear_of_it() {
    let mut sim = Simulation::new(Seed(8));
    let (_, b, pinger) = pair(&mut sim, u64::MAX);
    struct Bomb;
    impl Process for Bomb {}
    let bomb = sim.spawn(b, "bomb", Bomb).unwrap();
    let to = bomb.upid().clone();
    pinger.call(move |_, ctx| ctx.link(&to));
    sim.run_for(secs(1));
    bomb.call(|_, _| panic!("as asked"));
    sim.run_for(secs(1));
    assert_eq!(sim.with(&pinger, |p| p.exits[0].id().to_owned()).as_deref(), Some("bomb"));
    assert!(sim.log().contains("panicked: as asked"));
    let before = answered(&mut sim, &pinger);
    sim.run_for(secs(1));
    assert!(answered(&mut sim, &pinger) > before, "the others go on");
}

/// Links to a peer again whenever it hears of its end, and counts what it hears.
struct Watcher {
    peer: Upid,
    relink: bool,
    exits: u64,
}

impl Process for Watcher {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.link(&self.peer);
    }
    fn exited(&mut self, _: &Upid, ctx: &mut Context<Self>) {
        self.exits += 1;
        if self.relink {
            ctx.link(&self.peer);
        }
    }
}

fn watched(sim: &mut Simulation, relink: bool) -> (SimNode, SimNode, Pid<Watcher>, Pid<Ponger>) {
    let a = sim.node("10.0.0.1:5050".parse().unwrap());
    let b = sim.node("10.0.0.2:5050".parse().unwrap());
    let ponger = sim.spawn(b, "ponger", Ponger).unwrap();
    let watcher = Watcher { peer: ponger.upid().clone(), relink, exits: 0 };
    (a, b, sim.spawn(a, "watcher", watcher).unwrap(), ponger)
}

fn exits(sim: &mut Simulation, watcher: &Pid<Watcher>) -> u64 {
    sim.with(watcher, |watcher| watcher.exits).unwrap()
}

#[test]
fn a_short_cut_hides_neither_a_link_nor_an_end() {
    let mut sim = Simulation::new(Seed(9));
    let (a, b, watcher, ponger) = watched(&mut sim, false);
    sim.network().partition(&[a], &[b]);
    sim.run_for(secs(1));
    sim.network().heal();
    sim.run_for(secs(1));
    sim.network().partition(&[a], &[b]);
    sim.terminate(&ponger);
    sim.run_for(secs(1));
    assert_eq!(exits(&mut sim, &watcher), 0);
    sim.network().heal();
    sim.run_for(secs(1));
    assert_eq!(exits(&mut sim, &watcher), 1);
}

#[test]
fn a_new_connection_is_not_judged_by_the_one_before() {
    let mut sim = Simulation::new(Seed(10));
    let (_, b, watcher, _) = watched(&mut sim, true);
    sim.run_for(Duration::from_millis(500));
    sim.crash(b);
    sim.restart(b);
    sim.spawn(b, "ponger", Ponger).unwrap();
    sim.run_for(secs(30));
    assert_eq!(exits(&mut sim, &watcher), 1, "the end of the first, and nothing of the second");
}

#[test]
fn a_node_that_is_down_refuses_a_link_at_once() {
    let mut sim = Simulation::new(Seed(11));
    let (_, b, watcher, ponger) = watched(&mut sim, false);
    sim.run_for(secs(1));
    sim.crash(b);
    sim.run_for(secs(1));
    let to = ponger.upid().clone();
    watcher.call(move |_, ctx| ctx.link(&to));
    sim.run_for(Duration::from_millis(10));
    assert_eq!(exits(&mut sim, &watcher), 2);
}

#[test]
fn reconnecting_tells_nobody_of_an_end_and_the_new_connection_is_watched() {
    let mut sim = Simulation::new(Seed(12));
    let (_, b, watcher, ponger) = watched(&mut sim, false);
    sim.run_for(secs(1));
    let to = ponger.upid().clone();
    watcher.call(move |_, ctx| ctx.link_reconnect(&to));
    sim.run_for(secs(10));
    assert_eq!(exits(&mut sim, &watcher), 0);
    sim.crash(b);
    sim.run_for(secs(10));
    assert_eq!(exits(&mut sim, &watcher), 1);
}

#[test]
fn what_a_look_into_a_process_posts_to_it_is_served() {
    let mut sim = Simulation::new(Seed(13));
    let (_, _, watcher, _) = watched(&mut sim, false);
    let itself = watcher.clone();
    sim.settle();
    sim.with(&watcher, |_| itself.call(|watcher, _| watcher.exits = 7)).unwrap();
    sim.settle();
    assert_eq!(exits(&mut sim, &watcher), 7);
}

/// Answers at once, later, and never.
struct Desk {
    kept: Vec<libprocess::Promise<http::Response>>,
}

impl Process for Desk {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.route("/now", |_, request, _| http::Response::text(StatusCode::OK, request.query["q"].clone()));
        ctx.route("/later", |_, request, ctx| {
            let (promise, future) = libprocess::Promise::new();
            ctx.delay(secs(2), move |_: &mut Desk, _| {
                promise.set(http::Response::ok().body(request.body));
            });
            future
        });
        ctx.route("/never", |desk, _, _| -> Future<http::Response> {
            let (promise, future) = libprocess::Promise::new();
            desk.kept.push(promise);
            future
        });
    }
}

fn text(response: http::Response) -> String {
    match response.body {
        http::Body::Bytes(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_simulated_node_is_asked_over_http() {
    let mut sim = Simulation::new(Seed(14));
    let node = sim.node_with_delegate("10.0.0.1:5050".parse().unwrap(), "desk");
    sim.spawn(node, "desk", Desk { kept: vec![] }).unwrap();
    let now = sim.request(node, Method::GET, "/desk/now?q=a%20b", "");
    let delegated = sim.request(node, Method::GET, "/now?q=c", "");
    let later = sim.request(node, Method::POST, "/desk/later", "body");
    let nowhere = sim.request(node, Method::GET, "/desk/elsewhere", "");
    let outside = sim.request(node, Method::GET, "now", "");
    sim.run_for(secs(3));
    let at_once = Duration::ZERO;
    assert_eq!(text(now.wait(at_once).unwrap()), "a b");
    assert_eq!(text(delegated.wait(at_once).unwrap()), "c");
    assert_eq!(text(later.wait(at_once).unwrap()), "body");
    assert_eq!(nowhere.wait(at_once).unwrap().status, StatusCode::NOT_FOUND);
    assert_eq!(outside.wait(at_once).unwrap().status, StatusCode::BAD_REQUEST);

    let never = sim.request(node, Method::GET, "/desk/never", "");
    sim.run_for(secs(1));
    sim.crash(node);
    let down = sim.request(node, Method::GET, "/desk/now?q=d", "");
    sim.run_for(secs(1));
    assert!(matches!(never.wait(at_once), Err(libprocess::WaitError::Abandoned)));
    assert!(matches!(down.wait(at_once), Err(libprocess::WaitError::Abandoned)));
}

/// Not a test of its own: what each of the two processes below runs.
#[test]
fn say_the_digest_of_a_troubled_run() {
    let digest = troubled_run(7)
        .0
        .bytes()
        .fold(0_u64, |digest, byte| digest.wrapping_mul(0x0000_0100_0000_01b3) ^ u64::from(byte));
    println!("digest={digest}.");
}

/// Hash tables are seeded anew in each process, and memory lies elsewhere.
#[test]
fn two_programs_with_the_same_seed_write_the_same_log() {
    let digest = || {
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "say_the_digest_of_a_troubled_run", "--nocapture"])
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let digest = text.split("digest=").nth(1).and_then(|rest| rest.split('.').next());
        digest.unwrap_or_else(|| panic!("no digest in {text}")).to_owned()
    };
    assert_eq!(digest(), digest());
}
