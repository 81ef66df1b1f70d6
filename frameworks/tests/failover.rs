//! A scheduler's driver, and masters of which now this one leads and now that.

#![allow(clippy::unwrap_used)] // A test that cannot go on ends.

mod common;
#[path = "../../detector/tests/common/mod.rs"]
mod contenders;

use std::time::Duration;

use api::v0::scheduler::call::Type;
use api::v1::{FrameworkId, FrameworkInfo, MasterInfo};
use common::{FakeMaster, ask, eventually};
use contenders::{FakeContender, leader};
use detector::{ComeBack, Masters};
use frameworks::driver::{Scheduler, SchedulerCalls, SchedulerDriver, SchedulerOptions};
use libprocess::{Node, Pid};

/// Writes down with whom it is.
#[derive(Default)]
struct Diary(Vec<&'static str>);

type Calls<'a> = SchedulerCalls<'a, Diary>;

impl Scheduler for Diary {
    fn registered(&mut self, _: &mut Calls<'_>, _: &FrameworkId, _: &MasterInfo) {
        self.0.push("registered");
    }
    fn reregistered(&mut self, _: &mut Calls<'_>, _: &MasterInfo) {
        self.0.push("reregistered");
    }
    fn disconnected(&mut self, _: &mut Calls<'_>) {
        self.0.push("disconnected");
    }
}

struct Master {
    node: Node,
    master: Pid<FakeMaster>,
    contender: Pid<FakeContender>,
}

impl Master {
    fn new() -> Master {
        let node = Node::builder().listen("127.0.0.1:0").start().unwrap();
        let master = node.spawn("master", FakeMaster::admitting()).unwrap();
        let contender = node.spawn("contender", FakeContender::saying(0, None)).unwrap();
        Master { node, master, contender }
    }

    /// Says that `other` leads.
    fn names(&self, term: u64, other: Option<&Master>) {
        let leader = other.and_then(|other| leader(other.node.address(), &format!("reign-{term}")));
        self.contender.call(move |it, ctx| it.says(term, leader, ctx));
    }

    fn attempts(&self) -> usize {
        ask(&self.master, |it, _| it.calls_of(Type::Subscribe).len())
    }
}

struct Stage {
    masters: [Master; 2],
    driver: SchedulerDriver<Diary>,
    _node: Node,
}

impl Stage {
    /// The driver tries at once or not in the time of a test.
    fn new() -> Stage {
        let masters = [Master::new(), Master::new()];
        let list = format!("{},{}", masters[0].node.address(), masters[1].node.address());
        let list: Masters = list.parse().unwrap();
        let node = Node::builder().listen("127.0.0.1:0").start().unwrap();
        let options =
            SchedulerOptions { registration_backoff: Duration::from_secs(60), ..Default::default() };
        let (diary, framework) = (Diary::default(), FrameworkInfo::default());
        let driver = SchedulerDriver::start_with(&node, diary, framework, list, options).unwrap();
        Stage { masters, driver, _node: node }
    }

    fn diary(&self) -> Vec<&'static str> {
        self.driver.with(|diary, _| diary.0.clone()).wait(Duration::from_secs(10)).unwrap()
    }

    fn wrote(&self, diary: &[&'static str]) {
        eventually(&diary.join(", "), || (self.diary() == diary).then_some(()));
    }
}

#[test]
fn the_leader_is_followed_at_once() {
    let stage = Stage::new();
    let [one, two] = &stage.masters;
    one.names(1, Some(one));
    stage.wrote(&["registered"]);
    two.names(2, None);
    stage.wrote(&["registered", "disconnected"]);
    two.names(2, Some(two));
    stage.wrote(&["registered", "disconnected", "reregistered"]);
    // The former one does not know yet.
    one.names(1, Some(one));
    two.names(3, Some(two));
    stage.wrote(&["registered", "disconnected", "reregistered", "disconnected", "reregistered"]);
    assert_eq!((one.attempts(), two.attempts()), (1, 2));
    let last = ask(&two.master, |it, _| it.calls_of(Type::Subscribe).pop()).unwrap();
    assert_eq!(last.framework_id, Some("f-0000".into()));
}

#[test]
fn a_leader_whose_node_dies_is_left_for_the_next() {
    let stage = Stage::new();
    let [one, two] = &stage.masters;
    one.names(1, Some(one));
    two.names(1, Some(one));
    stage.wrote(&["registered"]);
    one.node.shutdown().wait(Duration::from_secs(10)).unwrap();
    stage.wrote(&["registered", "disconnected"]);
    two.names(2, Some(two));
    stage.wrote(&["registered", "disconnected", "reregistered"]);
}

#[test]
fn a_master_that_is_busy_says_when_to_come_back() {
    let stage = Stage::new();
    let [one, _] = &stage.masters;
    ask(&one.master, |it, _| it.admits = false);
    one.names(1, Some(one));
    eventually("an attempt", || (one.attempts() == 1).then_some(()));
    let driver = stage.driver.upid().clone();
    ask(&one.master, move |it, ctx| {
        it.admits = true;
        ctx.send(driver, ComeBack { after_ms: 10 });
    });
    stage.wrote(&["registered"]);
    assert_eq!(one.attempts(), 2);
}

#[test]
fn a_driver_that_stops_takes_its_detector_along() {
    let stage = Stage::new();
    let [one, _] = &stage.masters;
    one.names(1, Some(one));
    stage.wrote(&["registered"]);
    stage.driver.stop(true);
    stage.driver.gone().wait(Duration::from_secs(10)).unwrap();
    let watched = || ask(&one.contender, |it, _| it.watchers.len());
    eventually("nobody asks any more", || (watched() == 0).then_some(()));
}
