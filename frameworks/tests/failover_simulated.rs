//! A scheduler's driver and its masters over a network that fails.

#![allow(clippy::unwrap_used)] // A test that cannot go on ends.

mod common;
#[path = "../../detector/tests/common/mod.rs"]
mod contenders;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use api::v0::scheduler::call::Type;
use api::v1::{FrameworkId, FrameworkInfo, MasterInfo};
use common::FakeMaster;
use contenders::{FakeContender, leader};
use detector::Masters;
use frameworks::driver::{Scheduler, SchedulerCalls, SchedulerOptions, SchedulerProcess};
use libprocess::Pid;
use libprocess::sim::{Seed, SimNode, Simulation};

/// Shows whether it is with a master.
#[derive(Default)]
struct Lamp(Arc<AtomicBool>);

impl Scheduler for Lamp {
    fn registered(&mut self, _: &mut SchedulerCalls<'_, Self>, _: &FrameworkId, _: &MasterInfo) {
        self.0.store(true, Ordering::Relaxed);
    }
    fn reregistered(&mut self, _: &mut SchedulerCalls<'_, Self>, _: &MasterInfo) {
        self.0.store(true, Ordering::Relaxed);
    }
    fn disconnected(&mut self, _: &mut SchedulerCalls<'_, Self>) {
        self.0.store(false, Ordering::Relaxed);
    }
}

const SECOND: Duration = Duration::from_secs(1);

struct Stage {
    sim: Simulation,
    nodes: Vec<SimNode>,
    masters: Vec<Pid<FakeMaster>>,
    contenders: Vec<Pid<FakeContender>>,
    home: SimNode,
    lamp: Arc<AtomicBool>,
}

impl Stage {
    /// Three masters, of which the first leads, and a driver that is registered.
    fn new(seed: u64) -> Stage {
        let mut sim = Simulation::new(Seed(seed));
        let nodes: Vec<_> = (1..=3).map(|n| sim.node(format!("10.0.0.{n}:5050").parse().unwrap())).collect();
        let one = leader(sim.address(nodes[0]), "1");
        let masters =
            nodes.iter().map(|node| sim.spawn(*node, "master", FakeMaster::admitting()).unwrap()).collect();
        let contender = || FakeContender::saying(1, one.clone());
        let contenders =
            nodes.iter().map(|node| sim.spawn(*node, "contender", contender()).unwrap()).collect();
        let home = sim.node("10.0.1.1:6000".parse().unwrap());
        let list: Masters = "10.0.0.1:5050,10.0.0.2:5050,10.0.0.3:5050".parse().unwrap();
        let options = SchedulerOptions::default();
        let lamp = Lamp::default();
        let lit = lamp.0.clone();
        let (process, _) = SchedulerProcess::new(lamp, FrameworkInfo::default(), list, options);
        sim.spawn(home, "scheduler", process).unwrap();
        let mut stage = Stage { sim, nodes, masters, contenders, home, lamp: lit };
        stage.is_connected(true, SECOND / 10);
        stage
    }

    #[track_caller]
    fn is_connected(&mut self, connected: bool, within: Duration) {
        let reached = self.sim.run_until(within, |_| self.lamp.load(Ordering::Relaxed) == connected);
        assert!(reached.is_ok(), "not within {within:?}: connected = {connected}");
    }

    fn says(&mut self, n: usize, term: u64, led_by: usize) {
        let leader = leader(self.sim.address(self.nodes[led_by]), &term.to_string());
        self.contenders[n].call(move |it, ctx| it.says(term, leader, ctx));
    }

    fn attempts(&mut self, n: usize) -> usize {
        self.sim.with(&self.masters[n], |it| it.calls_of(Type::Subscribe).len()).unwrap()
    }
}

#[test]
fn the_next_leader_is_asked_when_the_last_one_is_gone_or_silent() {
    for seed in 0..20 {
        let mut stage = Stage::new(seed);
        // Gone.
        stage.sim.crash(stage.nodes[0]);
        stage.is_connected(false, SECOND / 10);
        stage.sim.run_for(SECOND);
        stage.says(1, 2, 1);
        stage.is_connected(true, SECOND / 2);
        assert_eq!(stage.attempts(1), 1);
        // Silent: no link breaks for seconds, but another one says that it leads.
        let (second, others) = (stage.nodes[1], [stage.home, stage.nodes[2]]);
        stage.sim.network().partition(&[second], &others);
        stage.sim.run_for(SECOND);
        stage.says(2, 3, 2);
        stage.sim.run_for(SECOND / 2);
        stage.is_connected(true, SECOND / 2);
        assert_eq!(stage.attempts(2), 1);
    }
}

#[test]
fn a_leader_that_was_out_of_reach_is_asked_as_soon_as_it_is_not() {
    let mut stage = Stage::new(1);
    let (first, home) = (stage.nodes[0], stage.home);
    stage.sim.network().partition(&[first], &[home]);
    stage.is_connected(false, 10 * SECOND);
    // By now the driver itself tries once in a minute.
    stage.sim.run_for(300 * SECOND);
    stage.sim.network().heal();
    stage.is_connected(true, 7 * SECOND);
}

#[test]
fn a_leader_that_comes_and_goes_is_not_asked_each_time() {
    let mut stage = Stage::new(1);
    let one = leader(stage.sim.address(stage.nodes[0]), "1");
    for n in 0..100u64 {
        let says = if n % 2 == 0 { None } else { one.clone() };
        for contender in &stage.contenders {
            let says = says.clone();
            contender.call(move |it, ctx| it.says(2 + n, says, ctx));
        }
        stage.sim.run_for(SECOND / 50);
    }
    stage.is_connected(true, SECOND);
    assert!(stage.attempts(0) <= 4, "{} attempts", stage.attempts(0));
}
