//! Following the leader over a network that fails.

#![allow(clippy::unwrap_used, reason = "a test says what is wrong by failing")]

mod common;

use std::time::Duration;

use common::{FakeContender, Owner, leader};
use detector::LeaderIs;
use libprocess::Pid;
use libprocess::sim::{Seed, SimNode, Simulation};

const SECOND: Duration = Duration::from_secs(1);

struct Stage {
    sim: Simulation,
    masters: Vec<SimNode>,
    contenders: Vec<Pid<FakeContender>>,
    home: SimNode,
    owner: Pid<Owner>,
}

impl Stage {
    /// Three masters; the first leads in term 1, as `one`.
    fn new(seed: u64) -> Stage {
        let mut sim = Simulation::new(Seed(seed));
        let masters: Vec<_> =
            (1..=3).map(|n| sim.node(format!("10.0.0.{n}:5050").parse().unwrap())).collect();
        let one = leader(sim.address(masters[0]), "one");
        let contender = || FakeContender::saying(1, one.clone());
        let contenders =
            masters.iter().map(|node| sim.spawn(*node, "contender", contender()).unwrap()).collect();
        let home = sim.node("10.0.1.1:5051".parse().unwrap());
        let owner = Owner::of("10.0.0.1:5050,10.0.0.2:5050,10.0.0.3:5050");
        let owner = sim.spawn(home, "owner", owner).unwrap();
        Stage { sim, masters, contenders, home, owner }
    }

    fn following(seed: u64) -> Stage {
        let mut stage = Stage::new(seed);
        stage.follows(Some("one"), SECOND / 10);
        stage
    }

    /// The n-th has won an election, or knows of one who has.
    fn says(&mut self, n: usize, term: u64, led_by: Option<(usize, &str)>) {
        let leader = led_by.and_then(|(n, id)| leader(self.sim.address(self.masters[n]), id));
        self.contenders[n].call(move |it, ctx| it.says(term, leader, ctx));
    }

    #[track_caller]
    fn follows(&mut self, id: Option<&str>, within: Duration) {
        let owner = self.owner.clone();
        let reached = self.sim.run_until(within, |sim| sim.with(&owner, |owner| owner.last() == id).unwrap());
        let told = self.told();
        assert!(reached.is_ok(), "wanted {id:?} within {within:?}, was told {told:?}");
    }

    fn told(&mut self) -> Vec<Option<String>> {
        self.sim.with(&self.owner, |owner| owner.told.clone()).unwrap()
    }

    fn crash(&mut self, n: usize) {
        self.sim.crash(self.masters[n]);
    }

    fn restart(&mut self, n: usize) {
        self.sim.restart(self.masters[n]);
        let contender = FakeContender::saying(0, None);
        self.contenders[n] = self.sim.spawn(self.masters[n], "contender", contender).unwrap();
    }
}

#[test]
fn news_of_another_leader_comes_at_once_and_from_whoever_has_it() {
    let mut stage = Stage::following(1);
    stage.crash(0);
    stage.sim.run_for(SECOND);
    // Nobody else has noticed yet.
    assert_eq!(stage.told(), [Some("one".to_owned())]);
    stage.says(2, 2, None);
    stage.follows(None, SECOND / 10);
    stage.says(2, 2, Some((2, "two")));
    stage.follows(Some("two"), SECOND / 10);
    stage.says(1, 2, Some((2, "two")));
    // The one that crashed is back and says so, too; it knows little at first.
    stage.restart(0);
    stage.sim.run_for(10 * SECOND);
    assert_eq!(stage.sim.with(&stage.contenders[0], |it| it.watchers.len()), Some(1));
    assert_eq!(stage.told().len(), 3);
}

#[test]
fn a_leader_that_nobody_else_knows_of_is_none_when_its_link_breaks() {
    let mut stage = Stage::following(2);
    for n in [1, 2] {
        stage.says(n, 1, None);
    }
    stage.sim.run_for(SECOND);
    assert_eq!(stage.told().len(), 1);
    stage.crash(0);
    stage.follows(None, SECOND / 10);
}

#[test]
fn an_owner_that_is_cut_off_hears_of_everything_when_the_network_heals() {
    let mut stage = Stage::following(3);
    let (home, masters) = (stage.home, stage.masters.clone());
    stage.sim.network().partition(&[home], &masters);
    stage.says(1, 2, Some((1, "two")));
    stage.says(2, 2, Some((1, "two")));
    stage.follows(None, 10 * SECOND);
    stage.sim.run_for(60 * SECOND);
    stage.sim.network().heal();
    // Not later than a lost link is tried again.
    stage.follows(Some("two"), 6 * SECOND);
}

#[test]
fn a_leader_cut_off_from_everybody_is_left_because_others_have_news() {
    let mut stage = Stage::following(4);
    let (home, first) = (stage.home, stage.masters[0]);
    // Not even the end of the connection arrives.
    stage.sim.network().partition(&[first], &[home]);
    stage.says(1, 2, Some((1, "two")));
    stage.follows(Some("two"), SECOND / 10);
    stage.sim.network().heal();
    // It does not know yet.
    stage.says(0, 1, Some((0, "one")));
    stage.sim.run_for(60 * SECOND);
    assert_eq!(stage.told().len(), 2);
}

#[test]
fn a_message_that_was_lost_is_made_up_for() {
    let mut stage = Stage::new(5);
    for _ in 0..3 {
        stage.sim.network().drop_next::<LeaderIs>();
    }
    stage.follows(Some("one"), 2 * SECOND);
    for n in 0..3 {
        stage.sim.network().drop_next::<LeaderIs>();
        stage.says(n, 2, Some((1, "two")));
        stage.sim.settle();
    }
    stage.sim.run_for(SECOND);
    assert_eq!(stage.told().len(), 1);
    stage.follows(Some("two"), 20 * SECOND);
}

#[test]
fn whatever_happens_the_newest_leader_is_followed_in_the_end() {
    for seed in 0..40 {
        let mut stage = Stage::new(100 + seed);
        stage.sim.keep_no_log();
        stage.sim.network().loss(0.1).duplication(0.05);
        // Terms go up and leaders come and go, while nodes crash and links are cut, by the seed.
        for round in 1..20u64 {
            let dice = (seed * 31 + round * 17) as usize;
            let n = dice % 3;
            match dice % 5 {
                0 => {
                    stage.crash(n);
                    stage.sim.run_for(SECOND / 4);
                    stage.restart(n);
                }
                1 => {
                    let (home, master) = (stage.home, stage.masters[n]);
                    stage.sim.network().cut(master, home);
                }
                2 => {
                    stage.sim.network().heal();
                }
                _ => {
                    for m in 0..3 {
                        stage.says(m, round + 1, Some((n, &format!("reign-{round}"))));
                    }
                }
            }
            stage.sim.run_for(Duration::from_millis(100 * (dice as u64 % 37)));
        }
        stage.sim.network().heal().loss(0.0).duplication(0.0);
        stage.says(1, 100, Some((1, "last")));
        stage.follows(Some("last"), 30 * SECOND);
        for n in [0, 2] {
            stage.says(n, 100, Some((1, "last")));
        }
        stage.sim.run_for(60 * SECOND);
        stage.follows(Some("last"), SECOND);
    }
}
