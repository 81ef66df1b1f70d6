//! An executor's driver against an agent that does what the test says.

#![allow(clippy::unwrap_used)] // A test that cannot go on ends.

mod common;

use std::time::Duration;

use api::internal::*;
use api::v1::{AgentInfo, ExecutorInfo, FrameworkInfo, TaskId, TaskInfo, TaskState};
use common::{FakeAgent, ask, eventually};
use frameworks::driver::{Executor, ExecutorCalls, ExecutorDriver, ExecutorEnvironment, Outcome};
use libprocess::{Node, Pid};

/// Runs tasks until they are killed.
#[derive(Default)]
struct Waiter(Vec<String>);

type Calls<'a> = ExecutorCalls<'a, Waiter>;

impl Executor for Waiter {
    fn registered(&mut self, _: &mut Calls<'_>, executor: &ExecutorInfo, _: &FrameworkInfo, _: &AgentInfo) {
        self.0.push(format!("registered as {}", executor.executor_id));
    }
    fn reregistered(&mut self, _: &mut Calls<'_>, _: &AgentInfo) {
        self.0.push("reregistered".to_owned());
    }
    fn disconnected(&mut self, _: &mut Calls<'_>) {
        self.0.push("disconnected".to_owned());
    }
    fn launch_task(&mut self, calls: &mut Calls<'_>, task: TaskInfo) {
        self.0.push(format!("launch {}", task.task_id));
        assert!(calls.report(task.task_id.clone(), TaskState::TaskStaging, None).is_err());
        calls.report(task.task_id, TaskState::TaskRunning, None).unwrap();
    }
    fn kill_task(&mut self, calls: &mut Calls<'_>, task: &TaskId) {
        calls.report(task.clone(), TaskState::TaskKilled, None).unwrap();
    }
    fn framework_message(&mut self, calls: &mut Calls<'_>, data: &[u8]) {
        calls.send_framework_message(data.to_ascii_uppercase());
    }
    fn shutdown(&mut self, _: &mut Calls<'_>) {
        self.0.push("shutdown".to_owned());
    }
}

struct Stage {
    node: Node,
    agent: Pid<FakeAgent>,
    driver: ExecutorDriver<Waiter>,
}

impl Stage {
    fn new(checkpoint: bool) -> Stage {
        let node = Node::local().unwrap();
        let agent = node.spawn("slave(1)", FakeAgent::default()).unwrap();
        let environment = ExecutorEnvironment {
            framework_id: "f".into(),
            executor_id: "e".into(),
            agent_id: "a".into(),
            agent: agent.upid().clone(),
            directory: "/sandbox".into(),
            checkpoint,
            recovery_timeout: Duration::from_secs(60),
            shutdown_grace_period: Duration::from_secs(5),
            ip: None,
            port: 0,
        };
        let driver = ExecutorDriver::start(&node, Waiter::default(), environment).unwrap();
        let stage = Stage { node, agent, driver };
        stage.hears("registered as e");
        stage
    }

    fn diary(&self) -> Vec<String> {
        self.driver.with(|waiter, _| waiter.0.clone()).wait(Duration::from_secs(10)).unwrap()
    }

    fn hears(&self, entry: &str) {
        eventually(entry, || self.diary().iter().any(|it| it == entry).then_some(()));
    }

    fn runs(&self, task: &'static str) {
        ask(&self.agent, move |it, ctx| it.run(TaskInfo { task_id: task.into(), ..Default::default() }, ctx));
        self.reports(task, &[TaskState::TaskRunning]);
    }

    fn reports(&self, task: &'static str, states: &[TaskState]) {
        eventually(task, || (ask(&self.agent, move |it, _| it.states_of(task)) == states).then_some(()));
    }
}

#[test]
fn tasks_run_report_and_are_killed() {
    let stage = Stage::new(false);
    stage.runs("t");
    ask(&stage.agent, |it, ctx| {
        it.tell(KillTaskMessage { framework_id: "f".into(), task_id: "t".into(), kill_policy: None }, ctx);
    });
    stage.reports("t", &[TaskState::TaskRunning, TaskState::TaskKilled]);
    let update = ask(&stage.agent, |it, _| it.updates[0].clone());
    assert_eq!((update.executor_id, update.slave_id), (Some("e".into()), Some("a".into())));
    assert_eq!(update.uuid.map(|uuid| uuid.len()), Some(16));
    assert!(update.timestamp > 0.0);
}

#[test]
fn the_scheduler_and_the_executor_can_talk() {
    let stage = Stage::new(false);
    ask(&stage.agent, |it, ctx| {
        let message = FrameworkToExecutorMessage {
            slave_id: "a".into(),
            framework_id: "f".into(),
            executor_id: "e".into(),
            data: b"hi".to_vec(),
        };
        it.tell(message, ctx);
    });
    assert_eq!(eventually("an answer", || ask(&stage.agent, |it, _| it.messages.pop())), b"HI");
}

#[test]
fn an_agent_that_comes_back_is_told_what_it_had_not_stored() {
    let stage = Stage::new(true);
    stage.runs("stored");
    stage.runs("unknown");
    ask(&stage.agent, |it, ctx| {
        let update = it.updates[0].clone();
        it.acknowledge(&update, ctx);
        // Ordered behind the acknowledgement, and answered: so that has arrived, too.
        it.tell(FrameworkToExecutorMessage { data: b"x".to_vec(), ..Default::default() }, ctx);
    });
    eventually("an answer", || ask(&stage.agent, |it, _| it.messages.pop()));
    stage.node.terminate(&stage.agent);
    stage.hears("disconnected");

    // It may come and go again before it is done.
    let hasty = eventually("the id is free", || stage.node.spawn("slave(1)", FakeAgent::default()).ok());
    let executor = stage.driver.upid().clone();
    ask(&hasty, move |_, ctx| ctx.send(executor, ReconnectExecutorMessage { slave_id: "a".into() }));
    eventually("a reregistration", || ask(&hasty, |it, _| it.reregistration.take()));
    stage.node.terminate(&hasty);

    let agent = eventually("the id is free", || stage.node.spawn("slave(1)", FakeAgent::default()).ok());
    let executor = stage.driver.upid().clone();
    ask(&agent, move |_, ctx| ctx.send(executor, ReconnectExecutorMessage { slave_id: "a".into() }));
    let told = eventually("a reregistration", || ask(&agent, |it, _| it.reregistration.take()));
    assert_eq!(told.tasks.iter().map(|it| it.task_id.as_str()).collect::<Vec<_>>(), ["unknown"]);
    assert_eq!(told.updates.iter().map(|it| it.status.task_id.as_str()).collect::<Vec<_>>(), ["unknown"]);
    ask(&agent, |it, ctx| {
        it.tell(ExecutorReregisteredMessage { slave_id: "a".into(), slave_info: Default::default() }, ctx);
    });
    stage.hears("reregistered");
}

#[test]
fn without_checkpoints_it_goes_with_its_agent() {
    let stage = Stage::new(false);
    stage.node.terminate(&stage.agent);
    assert_eq!(stage.driver.join_for(Duration::from_secs(10)), Some(Outcome::Stopped));
}

#[test]
fn it_shuts_down_when_the_agent_asks() {
    let stage = Stage::new(false);
    ask(&stage.agent, |it, ctx| it.tell(ShutdownExecutorMessage::default(), ctx));
    assert_eq!(stage.driver.join_for(Duration::from_secs(10)), Some(Outcome::Stopped));
}
