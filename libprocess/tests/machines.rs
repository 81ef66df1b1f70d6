//! What a simulation can do to nodes and links: clocks of their own, stops, slow work, links that come and go.

#![allow(clippy::unwrap_used, reason = "a test says what is wrong by failing")]

use std::time::Duration;

use libprocess::sim::{Seed, SimNode, Simulation};
use libprocess::{Context, Message, Pid, Process, Time, Upid};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize, Message)]
struct Beat(u64);

/// Counts the seconds of its clock, tells a peer each, and notes what it hears.
struct Beater {
    peer: Option<Upid>,
    beats: u64,
    heard: Vec<(u64, Time)>,
    exits: usize,
    worked: Option<Duration>,
}

impl Beater {
    fn beat(&mut self, ctx: &mut Context<Self>) {
        ctx.delay(secs(1), Self::beat);
        self.beats += 1;
        if let Some(peer) = &self.peer {
            ctx.send(peer, Beat(self.beats));
        }
    }

    fn heard(&mut self, beat: Beat, ctx: &mut Context<Self>) {
        self.heard.push((beat.0, ctx.now()));
    }

    fn work(&mut self, ctx: &mut Context<Self>) {
        let began = ctx.now();
        let work = ctx.blocking(|| ());
        ctx.then(work, move |beater, _, ctx| beater.worked = Some(ctx.now() - began));
    }
}

impl Process for Beater {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.install(Self::heard);
        if let Some(peer) = &self.peer {
            ctx.link(peer);
        }
        ctx.delay(secs(1), Self::beat);
    }

    fn exited(&mut self, _: &Upid, _: &mut Context<Self>) {
        self.exits += 1;
    }
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

struct Pair {
    sim: Simulation,
    nodes: [SimNode; 2],
    pids: [Pid<Beater>; 2],
}

impl Pair {
    fn new(seed: u64) -> Pair {
        let mut sim = Simulation::new(Seed(seed));
        let addresses = ["10.0.0.1:5050", "10.0.0.2:5050"];
        let nodes = addresses.map(|address| sim.node(address.parse().unwrap()));
        let pids = [0, 1].map(|n| {
            let peer = format!("beater@{}", addresses[1 - n]).parse().ok();
            let beater = Beater { peer, beats: 0, heard: vec![], exits: 0, worked: None };
            sim.spawn(nodes[n], "beater", beater).unwrap()
        });
        Pair { sim, nodes, pids }
    }

    fn look<R>(&mut self, n: usize, f: impl FnOnce(&mut Beater) -> R) -> R {
        self.sim.with(&self.pids[n], f).unwrap()
    }

    fn beats(&mut self) -> [u64; 2] {
        [0, 1].map(|n| self.look(n, |beater| beater.beats))
    }
}

#[test]
fn a_clock_runs_at_its_own_speed() {
    let mut pair = Pair::new(1);
    let [a, b] = pair.nodes;
    let began = pair.sim.now();
    pair.sim.clock(a).rate(1.1);
    pair.sim.clock(b).rate(0.5);
    pair.sim.run_for(millis(10_050));
    // The first timer was set when the processes began, at the clocks of then.
    assert_eq!(pair.beats(), [11, 5]);
    let passed = [a, b].map(|node| pair.sim.now_at(node) - began);
    assert_eq!(passed, [millis(11_055), millis(5_025)]);
    assert_eq!(pair.sim.now() - began, millis(10_050));

    // A process never sees less time pass than it waited for.
    pair.sim.clock(a).rate(1.037);
    let before = pair.sim.now_at(a);
    let waited = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let seen = waited.clone();
    pair.pids[0].call(move |_, ctx| {
        ctx.delay(Duration::from_nanos(777), move |_: &mut Beater, ctx| {
            let passed = (ctx.now() - before).as_nanos() as u64;
            seen.store(passed, std::sync::atomic::Ordering::Relaxed);
        });
    });
    pair.sim.run_for(millis(1));
    assert!(waited.load(std::sync::atomic::Ordering::Relaxed) >= 777);
}

#[test]
fn a_clock_can_be_set_and_does_not_run_backwards() {
    let mut pair = Pair::new(1);
    let [a, _] = pair.nodes;
    let began = pair.sim.now();
    pair.sim.clock(a).forward(secs(100));
    pair.sim.run_for(millis(1_500));
    assert_eq!(pair.sim.now_at(a) - began, millis(101_500));
    assert_eq!(pair.beats(), [1, 1], "timers wait for as long as they were told");
    pair.sim.clock(a).back(secs(10));
    for _ in 0..9 {
        pair.sim.run_for(secs(1));
        assert_eq!(pair.sim.now_at(a) - began, millis(101_500), "it waits");
    }
    pair.sim.run_for(secs(2));
    assert_eq!(pair.sim.now_at(a) - began, millis(102_500));
    pair.sim.crash(a);
    pair.sim.restart(a);
    assert_eq!(pair.sim.now_at(a) - began, millis(102_500), "it is the machine's");
}

#[test]
fn what_comes_to_a_stopped_node_waits_and_then_comes_at_once() {
    let mut pair = Pair::new(2);
    let [_, b] = pair.nodes;
    pair.sim.run_for(millis(1_500));
    pair.sim.stop(b);
    assert!(pair.sim.is_stopped(b));
    pair.sim.run_for(secs(3));
    assert_eq!(pair.beats(), [4, 1]);
    assert_eq!(pair.look(1, |beater| beater.heard.len()), 1);
    let now = pair.sim.now();
    pair.sim.go_on(b);
    pair.sim.run_for(millis(100));
    let heard = pair.look(1, |beater| beater.heard.clone());
    assert_eq!(heard.iter().map(|(beat, _)| *beat).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert!(heard[1..].iter().all(|(_, at)| *at == now), "{heard:?}");
    assert_eq!(pair.beats(), [4, 2], "a timer that was due ends once");
    assert_eq!(pair.look(0, |beater| beater.exits), 0, "three seconds are not enough to give it up");

    // Long enough, and those who are linked hear of it; a crash ends a stop.
    pair.sim.stop(b);
    pair.sim.run_for(secs(6));
    assert_eq!(pair.look(0, |beater| beater.exits), 1);
    pair.sim.crash(b);
    pair.sim.restart(b);
    assert!(!pair.sim.is_stopped(b));
}

#[test]
fn a_flapping_link_carries_now_and_then_until_it_is_healed() {
    let mut pair = Pair::new(3);
    let [a, b] = pair.nodes;
    pair.sim.network().flap(a, b, millis(500)..secs(3), millis(500)..secs(3));
    pair.sim.run_for(secs(100));
    let heard = pair.look(1, |beater| std::mem::take(&mut beater.heard).len());
    assert!((20..80).contains(&heard), "{heard} of 100");
    pair.sim.network().heal();
    pair.sim.run_for(secs(100));
    let heard = pair.look(1, |beater| beater.heard.len());
    assert!((99..=101).contains(&heard), "{heard} of 100");
}

#[test]
fn a_link_can_be_longer_than_others_and_work_slower() {
    let mut pair = Pair::new(4);
    let [a, b] = pair.nodes;
    let began = pair.sim.now();
    pair.sim.network().latency_between(a, b, millis(300)..millis(400));
    pair.sim.blocking_takes(b, secs(2)..secs(3));
    for n in 0..2 {
        let pid = pair.pids[n].clone();
        drop(pair.sim.dispatch(&pid, |beater, ctx| beater.work(ctx)));
    }
    pair.sim.run_for(secs(4));
    let first = [0, 1].map(|n| pair.look(n, |beater| beater.heard[0].1) - began);
    assert!(first[0] < millis(1_010), "{first:?}");
    assert!((millis(1_300)..millis(1_400)).contains(&first[1]), "{first:?}");
    let worked = [0, 1].map(|n| pair.look(n, |beater| beater.worked).unwrap());
    assert!(worked[0] < millis(2) && (secs(2)..secs(3)).contains(&worked[1]), "{worked:?}");
}

#[test]
fn the_same_seed_gives_the_same_log_with_all_of_it() {
    let live = |seed| {
        let mut pair = Pair::new(seed);
        let [a, b] = pair.nodes;
        pair.sim.clock(a).rate(1.05).forward(millis(77));
        pair.sim.clock(b).rate(0.95);
        pair.sim.blocking_takes(a, millis(5)..millis(500));
        pair.sim.network().flap(a, b, millis(10)..secs(1), millis(10)..secs(2)).loss(0.1);
        for second in 0..60 {
            if second % 7 == 3 {
                pair.sim.stop(pair.nodes[second % 2]);
            }
            if second % 7 == 6 {
                pair.nodes.iter().for_each(|node| pair.sim.go_on(*node));
            }
            let pid = pair.pids[0].clone();
            drop(pair.sim.dispatch(&pid, |beater, ctx| beater.work(ctx)));
            pair.sim.run_for(secs(1));
        }
        pair.sim.log()
    };
    for seed in 0..10 {
        assert_eq!(live(seed), live(seed), "seed {seed}");
    }
    assert_ne!(live(1), live(2));
}
