//! A scheduler's driver against a master that does what the test says.

#![allow(clippy::unwrap_used)] // A test that cannot go on ends.

mod common;

use std::time::Duration;

use api::internal::*;
use api::v0::scheduler::call::Type;
use api::v1::{
    AgentId, ExecutorId, FrameworkId, FrameworkInfo, MasterInfo, Offer, OfferId, TaskInfo, TaskState,
    TaskStatus,
};
use common::{FakeMaster, ask, eventually, offer, update};
use frameworks::driver::{Outcome, Scheduler, SchedulerCalls, SchedulerDriver, SchedulerOptions};
use libprocess::{Node, Pid, Upid};

/// Writes down what it is told.
#[derive(Default)]
struct Diary(Vec<String>);

type Calls<'a> = SchedulerCalls<'a, Diary>;

impl Scheduler for Diary {
    fn registered(&mut self, _: &mut Calls<'_>, id: &FrameworkId, master: &MasterInfo) {
        self.0.push(format!("registered {id} with {}", master.id));
    }
    fn reregistered(&mut self, _: &mut Calls<'_>, master: &MasterInfo) {
        self.0.push(format!("reregistered with {}", master.id));
    }
    fn disconnected(&mut self, _: &mut Calls<'_>) {
        self.0.push("disconnected".to_owned());
    }
    fn resource_offers(&mut self, _: &mut Calls<'_>, offers: Vec<Offer>) {
        self.0.extend(offers.iter().map(|offer| format!("offered {}", offer.id.value)));
    }
    fn offer_rescinded(&mut self, _: &mut Calls<'_>, offer: &OfferId) {
        self.0.push(format!("rescinded {}", offer.value));
    }
    fn status_update(&mut self, _: &mut Calls<'_>, status: TaskStatus) {
        self.0.push(format!("{} {}", status.task_id, status.state().as_str_name()));
    }
    fn framework_message(&mut self, _: &mut Calls<'_>, executor: &ExecutorId, _: &AgentId, data: &[u8]) {
        self.0.push(format!("{executor} says {}", String::from_utf8_lossy(data)));
    }
    fn agent_lost(&mut self, _: &mut Calls<'_>, agent: &AgentId) {
        self.0.push(format!("agent {agent} lost"));
    }
    fn executor_lost(&mut self, _: &mut Calls<'_>, executor: &ExecutorId, _: &AgentId, status: i32) {
        self.0.push(format!("executor {executor} lost with {status}"));
    }
    fn error(&mut self, _: &mut Calls<'_>, message: &str) {
        self.0.push(format!("error {message}"));
    }
}

struct Stage {
    node: Node,
    master: Pid<FakeMaster>,
    driver: SchedulerDriver<Diary>,
}

impl Stage {
    fn new(master: FakeMaster) -> Stage {
        Stage::with(
            master,
            SchedulerOptions { registration_backoff: Duration::from_millis(20), ..Default::default() },
        )
    }

    fn with(master: FakeMaster, options: SchedulerOptions) -> Stage {
        let node = Node::local().unwrap();
        let master = node.spawn("master", master).unwrap();
        let driver = SchedulerDriver::start_with(
            &node,
            Diary::default(),
            FrameworkInfo::default(),
            master.upid().clone(),
            options,
        );
        Stage { driver: driver.unwrap(), master, node }
    }

    fn registered() -> Stage {
        let stage = Stage::new(FakeMaster::admitting());
        stage.hears("registered f-0000 with m");
        stage
    }

    fn diary(&self) -> Vec<String> {
        self.driver.with(|diary, _| diary.0.clone()).wait(Duration::from_secs(10)).unwrap()
    }

    fn hears(&self, entry: &str) {
        eventually(entry, || self.diary().iter().any(|it| it == entry).then_some(()));
    }

    fn does(&self, f: impl FnOnce(&mut Calls<'_>) + Send + 'static) {
        self.driver.with(|_, calls| f(calls)).wait(Duration::from_secs(10)).unwrap();
    }

    fn tells(&self, message: impl libprocess::Message) {
        ask(&self.master, |master, ctx| master.tell(message, ctx));
    }

    fn call(&self, kind: Type) -> api::v0::scheduler::Call {
        eventually(kind.as_str_name(), || ask(&self.master, move |it, _| it.calls_of(kind).pop()))
    }
}

#[test]
fn it_asks_until_it_is_registered() {
    let stage = Stage::new(FakeMaster::default());
    eventually("three attempts", || {
        ask(&stage.master, |it, _| (it.calls_of(Type::Subscribe).len() >= 3).then_some(()))
    });
    assert_eq!(stage.diary(), Vec::<String>::new());
    ask(&stage.master, |it, _| it.admits = true);
    stage.hears("registered f-0000 with m");
}

#[test]
fn what_the_master_says_reaches_the_scheduler() {
    let stage = Stage::registered();
    stage.tells(ResourceOffersMessage { offers: vec![offer("o1", "a", "cpus:1")], pids: vec![] });
    stage.tells(RescindResourceOfferMessage { offer_id: "o1".into() });
    stage.tells(LostSlaveMessage { slave_id: "a".into() });
    stage.tells(ExitedExecutorMessage {
        slave_id: "a".into(),
        framework_id: "f-0000".into(),
        executor_id: "e".into(),
        status: 9,
    });
    stage.tells(ExecutorToFrameworkMessage {
        slave_id: "a".into(),
        framework_id: "f-0000".into(),
        executor_id: "e".into(),
        data: b"hi".to_vec(),
    });
    stage.hears("e says hi");
    let expected = [
        "registered f-0000 with m",
        "offered o1",
        "rescinded o1",
        "agent a lost",
        "executor e lost with 9",
        "e says hi",
    ];
    assert_eq!(stage.diary(), expected);
}

#[test]
fn a_master_that_took_the_driver_for_lost_is_asked_again() {
    let stage = Stage::registered();
    stage.tells(FrameworkErrorMessage { message: "Framework disconnected".to_owned() });
    stage.hears("reregistered with m");
    let diary = stage.diary();
    assert!(!diary.iter().any(|it| it.starts_with("error")), "{diary:?}");
    assert_eq!(ask(&stage.master, |it, _| it.calls_of(Type::Subscribe).len()), 2);
}

#[test]
fn strangers_are_not_believed() {
    let stage = Stage::registered();
    stage.node.send(
        stage.driver.upid(),
        ResourceOffersMessage { offers: vec![offer("o1", "a", "cpus:1")], pids: vec![] },
    );
    stage.node.send(stage.driver.upid(), FrameworkErrorMessage { message: "no".to_owned() });
    stage.tells(RescindResourceOfferMessage { offer_id: "o1".into() });
    stage.hears("rescinded o1");
    assert_eq!(stage.diary(), ["registered f-0000 with m", "rescinded o1"]);
}

#[test]
fn calls_become_messages_in_the_frameworks_name() {
    let stage = Stage::registered();
    stage.does(|calls| {
        calls.launch(vec!["o1".into()], vec![TaskInfo { task_id: "t".into(), ..Default::default() }], None);
        calls.decline(vec!["o2".into()], Some(frameworks::driver::refuse_for(Duration::from_secs(2))));
        calls.kill("t".into(), None, None);
        calls.revive(vec![]);
        calls.suppress(vec![]);
        calls.reconcile(vec![("t".into(), Some("a".into()))]);
        calls.shutdown_executor("e".into(), "a".into());
        calls.send_framework_message("e".into(), "a".into(), b"hi".to_vec());
    });
    let accept = stage.call(Type::Accept);
    assert_eq!(accept.framework_id, Some("f-0000".into()));
    assert_eq!(
        accept.accept.unwrap().operations[0].launch.as_ref().unwrap().task_infos[0].task_id,
        "t".into()
    );
    assert_eq!(stage.call(Type::Decline).decline.unwrap().filters.unwrap().refuse_seconds, Some(2.0));
    assert_eq!(stage.call(Type::Kill).kill.unwrap().task_id, "t".into());
    assert_eq!(stage.call(Type::Reconcile).reconcile.unwrap().tasks.len(), 1);
    assert_eq!(stage.call(Type::Shutdown).shutdown.unwrap().executor_id, "e".into());
    // The agent's address is not known, so the master passes it on.
    assert_eq!(stage.call(Type::Message).message.unwrap().data, b"hi");
    stage.call(Type::Revive);
    stage.call(Type::Suppress);
}

#[test]
fn a_message_goes_straight_to_an_agent_that_made_an_offer() {
    struct Agent(Vec<FrameworkToExecutorMessage>);
    impl libprocess::Process for Agent {
        fn initialize(&mut self, ctx: &mut libprocess::Context<Self>) {
            ctx.install(
                |agent: &mut Agent,
                 message: FrameworkToExecutorMessage,
                 _: &mut libprocess::Context<Agent>| agent.0.push(message),
            );
        }
    }
    let stage = Stage::registered();
    let agent = stage.node.spawn("slave(1)", Agent(Vec::new())).unwrap();
    let pids = vec![agent.upid().to_string()];
    stage.tells(ResourceOffersMessage { offers: vec![offer("o1", "a", "cpus:1")], pids });
    stage.hears("offered o1");
    stage.does(|calls| calls.send_framework_message("e".into(), "a".into(), b"hi".to_vec()));
    let message = eventually("the message", || ask(&agent, |agent, _| agent.0.pop()));
    assert_eq!(
        (message.framework_id, message.executor_id, message.data),
        ("f-0000".into(), "e".into(), b"hi".to_vec())
    );
}

#[test]
fn updates_are_acknowledged_if_they_want_it() {
    let stage = Stage::registered();
    stage.tells(update("t", "a", TaskState::TaskRunning, None, None));
    stage.tells(update("t", "a", TaskState::TaskFinished, Some(&[7; 16]), None));
    let acknowledge = stage.call(Type::Acknowledge).acknowledge.unwrap();
    assert_eq!(
        (acknowledge.task_id, acknowledge.agent_id, acknowledge.uuid),
        ("t".into(), "a".into(), vec![7; 16])
    );
    assert_eq!(ask(&stage.master, |it, _| it.calls_of(Type::Acknowledge).len()), 1);
    assert_eq!(stage.diary()[1..], ["t TASK_RUNNING", "t TASK_FINISHED"]);
}

#[test]
fn explicit_acknowledgement_is_left_to_the_scheduler() {
    let options = SchedulerOptions { implicit_acknowledgements: false, ..Default::default() };
    let stage = Stage::with(FakeMaster::admitting(), options);
    stage.hears("registered f-0000 with m");
    stage.tells(update("t", "a", TaskState::TaskFinished, Some(&[7; 16]), None));
    stage.hears("t TASK_FINISHED");
    stage.does(|calls| calls.revive(vec![]));
    stage.call(Type::Revive);
    assert_eq!(ask(&stage.master, |it, _| it.calls_of(Type::Acknowledge).len()), 0);
    stage.does(|calls| {
        let status = TaskStatus {
            task_id: "t".into(),
            agent_id: Some("a".into()),
            uuid: Some(vec![7; 16]),
            ..Default::default()
        };
        calls.acknowledge(&status);
    });
    stage.call(Type::Acknowledge);
}

#[test]
fn a_lost_master_is_found_again() {
    let stage = Stage::registered();
    stage.node.terminate(&stage.master);
    stage.hears("disconnected");
    // Meanwhile nothing can be launched, and the scheduler is told so.
    stage.does(|calls| {
        calls.launch(vec!["o1".into()], vec![TaskInfo { task_id: "t".into(), ..Default::default() }], None);
    });
    stage.hears("t TASK_LOST");
    let master = eventually("the id is free", || stage.node.spawn("master", FakeMaster::admitting()).ok());
    stage.hears("reregistered with m");
    let subscribe = ask(&master, |it, _| it.calls_of(Type::Subscribe).remove(0));
    assert_eq!(subscribe.framework_id, Some("f-0000".into()));
    assert_eq!(subscribe.subscribe.unwrap().force, Some(false));
}

#[test]
fn another_master_is_followed() {
    let stage = Stage::registered();
    let other = stage.node.spawn("master(2)", FakeMaster::admitting()).unwrap();
    stage.driver.detected(other.upid().clone());
    stage.hears("reregistered with m");
    assert_eq!(ask(&other, |it, _| it.calls.len()), 1);
}

#[test]
fn another_master_is_asked_soon_however_long_the_one_before_was_silent() {
    let stage = Stage::new(FakeMaster::default());
    let clock = stage.node.clock();
    clock.pause();
    for _ in 0..20 {
        clock.advance(Duration::from_secs(60));
        clock.settle();
    }
    let other = stage.node.spawn("master(2)", FakeMaster::admitting()).unwrap();
    stage.driver.detected(other.upid().clone());
    clock.settle();
    clock.advance(Duration::from_millis(20));
    stage.hears("registered f-0000 with m");
    clock.resume();
}

#[test]
fn stopping_tears_down_and_failing_over_does_not() {
    let stage = Stage::registered();
    stage.driver.stop(false);
    assert_eq!(stage.driver.join_for(Duration::from_secs(10)), Some(Outcome::Stopped));
    stage.call(Type::Teardown);

    let stage = Stage::registered();
    stage.driver.stop(true);
    assert_eq!(stage.driver.join(), Outcome::Stopped);
    stage.driver.gone().wait(Duration::from_secs(10)).unwrap();
    assert_eq!(ask(&stage.master, |it, _| it.calls_of(Type::Teardown).len()), 0);
}

#[test]
fn aborting_silences_the_scheduler() {
    let stage = Stage::registered();
    stage.driver.abort();
    assert_eq!(stage.driver.join(), Outcome::Aborted(None));
    stage.tells(ResourceOffersMessage { offers: vec![offer("o1", "a", "cpus:1")], pids: vec![] });
    eventually("deactivated", || ask(&stage.master, |it, _| (it.deactivated == 1).then_some(())));
    // Nor does a call that comes too late.
    stage.does(|calls| {
        calls.launch(vec!["o1".into()], vec![TaskInfo { task_id: "t".into(), ..Default::default() }], None);
    });
    assert_eq!(stage.diary(), ["registered f-0000 with m"]);
}

#[test]
fn a_refusal_ends_the_driver_with_its_reason() {
    let stage = Stage::new(FakeMaster::default());
    let driver: Upid = stage.driver.upid().clone();
    ask(&stage.master, |_, ctx| {
        ctx.send(driver, FrameworkErrorMessage { message: "Framework has been removed".to_owned() })
    });
    assert_eq!(stage.driver.join(), Outcome::Aborted(Some("Framework has been removed".to_owned())));
    assert_eq!(stage.diary(), ["error Framework has been removed"]);
}
