//! An agent, and masters of which now this one leads and now that.

#![allow(clippy::unwrap_used, reason = "a test says what is wrong by failing")]
#![allow(clippy::disallowed_methods, reason = "a test waits with a deadline")]

mod common;
#[path = "../../detector/tests/common/mod.rs"]
mod contenders;

use std::time::{Duration, Instant};

use ::agent::Flags;
use api::internal::*;
use common::FakeMaster;
use contenders::{FakeContender, leader};
use detector::ComeBack;
use libprocess::{Node, Pid};

const DEADLINE: Duration = Duration::from_secs(30);

struct Master {
    node: Node,
    master: Pid<FakeMaster>,
    contender: Pid<FakeContender>,
}

impl Master {
    fn new() -> Master {
        let (node, master) = common::master();
        let contender = node.spawn("contender", FakeContender::saying(0, None)).unwrap();
        Master { node, master, contender }
    }

    /// Says that `other` leads.
    fn names(&self, term: u64, other: Option<&Master>) {
        let leader = other.and_then(|other| leader(other.node.address(), &format!("reign-{term}")));
        self.contender.call(move |it, ctx| it.says(term, leader, ctx));
    }

    fn get<R: Send + 'static>(&self, f: impl FnOnce(&mut FakeMaster) -> R + Send + 'static) -> R {
        self.master.dispatch(|master, _| f(master)).wait(DEADLINE).unwrap()
    }

    fn attempts(&self) -> usize {
        self.get(|it| it.registrations + it.reregistrations.len())
    }

    #[track_caller]
    fn until(&self, what: &str, state: fn(&FakeMaster) -> bool) {
        let begin = Instant::now();
        while !self.get(move |it| state(it)) {
            assert!(begin.elapsed() < DEADLINE, "waited for: {what}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn tells(&self, message: impl libprocess::Message) {
        let tell = move |master: &mut FakeMaster, ctx: &mut libprocess::Context<_>| {
            ctx.send(master.agent.clone().unwrap(), message);
        };
        self.master.dispatch(tell).wait(DEADLINE).unwrap();
    }
}

struct Stage {
    masters: [Master; 2],
    node: Node,
    agent: ::agent::Handle,
    _work_dir: tempfile::TempDir,
}

impl Stage {
    fn new(backoff: Duration) -> Stage {
        let masters = [Master::new(), Master::new()];
        let node = Node::builder().listen("127.0.0.1:0").delegate("slave(1)").start().unwrap();
        let work_dir = tempfile::tempdir().unwrap();
        let list = format!("{},{}", masters[0].node.address(), masters[1].node.address());
        let mut flags = Flags::new(list, work_dir.path());
        flags.launcher = env!("CARGO_BIN_EXE_agent-test-helper").into();
        flags.resources = Some("cpus:1;mem:64".into());
        flags.registration_backoff_factor = backoff;
        let agent = ::agent::start(&node, flags).unwrap();
        Stage { masters, node, agent, _work_dir: work_dir }
    }

    /// Waits until the agent is registered with somebody, or with nobody.
    #[track_caller]
    fn until_registered(&self, registered: bool) {
        let begin = Instant::now();
        let gauge = || self.node.metrics().snapshot(None).wait(DEADLINE).unwrap().get("slave/registered");
        while gauge() != Some(f64::from(registered)) {
            assert!(begin.elapsed() < DEADLINE, "waited for: registered = {registered}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Time for something that must not happen.
    fn settled(&self) {
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// So long that no attempt which is not made at once is made in time.
const LONG: Duration = Duration::from_secs(60);

#[test]
fn it_waits_for_a_leader_and_registers_with_the_next_one_at_once() {
    let stage = Stage::new(LONG);
    let [one, two] = &stage.masters;
    stage.settled();
    assert_eq!((one.attempts(), two.attempts()), (0, 0));
    one.names(1, Some(one));
    one.until("the first registration", |it| it.registrations == 1);
    assert_eq!(two.attempts(), 0);
    two.names(2, Some(two));
    two.until("it registers again with the next one", |it| it.reregistrations.len() == 1);
    assert_eq!(one.attempts(), 1);
    // What the former one says counts no more, nor what it says of itself.
    one.tells(ShutdownMessage { message: Some("no".to_owned()) });
    one.names(1, Some(one));
    stage.settled();
    assert!(stage.agent.failure().is_none());
    assert_eq!((one.attempts(), two.attempts()), (1, 1));
    two.tells(PingSlaveMessage { connected: true });
    two.until("it is still there", |it| it.pongs == 1);
}

#[test]
fn without_a_leader_it_is_nobodys() {
    let stage = Stage::new(LONG);
    let [one, two] = &stage.masters;
    one.names(1, Some(one));
    one.until("the first registration", |it| it.registrations == 1);
    stage.until_registered(true);
    two.names(2, None);
    stage.until_registered(false);
    assert_eq!((one.attempts(), two.attempts()), (1, 0));
    // The same one again, in another reign.
    one.names(3, Some(one));
    one.until("it is back", |it| it.reregistrations.len() == 1);
}

#[test]
fn a_leader_whose_node_dies_is_left_for_the_next() {
    let stage = Stage::new(LONG);
    let [one, two] = &stage.masters;
    one.names(1, Some(one));
    two.names(1, Some(one));
    one.until("the first registration", |it| it.registrations == 1);
    one.node.shutdown().wait(DEADLINE).unwrap();
    two.names(2, Some(two));
    two.until("it registers again with the next one", |it| it.reregistrations.len() == 1);
}

#[test]
fn a_master_that_is_busy_says_when_to_come_back() {
    let stage = Stage::new(LONG);
    let [one, _] = &stage.masters;
    one.get(|it| it.silent = true);
    one.names(1, Some(one));
    one.until("an attempt", |it| it.registrations == 1);
    one.tells(ComeBack { after_ms: 20 });
    one.until("another one, long before its time", |it| it.registrations == 2);
    one.get(|it| it.silent = false);
    one.tells(ComeBack { after_ms: 20 });
    one.until("the last one", |it| it.registrations == 3);
    // Once it is registered this means nothing.
    stage.settled();
    one.tells(ComeBack { after_ms: 1 });
    stage.settled();
    assert_eq!(one.attempts(), 3);
}
