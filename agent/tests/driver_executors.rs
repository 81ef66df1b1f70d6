//! Executors that speak libprocess messages, played by the test; their containers only sleep.

#![allow(clippy::unwrap_used)] // Helpers of tests are tests.

mod common;

use std::time::Duration;

use api::internal::*;
use api::v1::*;
use common::*;
use libprocess::{Context, Node, Pid, Process, Upid};

/// An executor that notes what it hears.
struct FakeExecutor {
    agent: Upid,
    heard: Vec<String>,
    confirmed: Vec<Vec<u8>>,
}

impl Process for FakeExecutor {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.install(|e: &mut Self, m: ExecutorRegisteredMessage, _: &mut Context<_>| {
            e.heard.push(format!("registered {} with {}", m.executor_info.executor_id, m.slave_id));
        });
        ctx.install(|e: &mut Self, m: RunTaskMessage, _: &mut Context<_>| {
            e.heard.push(format!("run {}", m.task.task_id));
        });
        ctx.install(|e: &mut Self, m: KillTaskMessage, _: &mut Context<_>| {
            e.heard.push(format!("kill {}", m.task_id));
        });
        ctx.install(|e: &mut Self, m: FrameworkToExecutorMessage, _: &mut Context<_>| {
            e.heard.push(format!("message {}", String::from_utf8_lossy(&m.data)));
        });
        ctx.install(|e: &mut Self, _: ShutdownExecutorMessage, _: &mut Context<_>| {
            e.heard.push("shutdown".to_owned());
        });
        ctx.install(|e: &mut Self, m: ExecutorReregisteredMessage, _: &mut Context<_>| {
            e.heard.push(format!("reregistered with {}", m.slave_id));
        });
        ctx.install(|e: &mut Self, m: StatusUpdateAcknowledgementMessage, _: &mut Context<_>| {
            e.confirmed.push(m.uuid);
        });
    }
}

struct Executor {
    node: Node,
    pid: Pid<FakeExecutor>,
}

impl Executor {
    fn start(cluster: &Cluster) -> Executor {
        let node = Node::builder().listen("127.0.0.1:0").start().unwrap();
        let agent = cluster.agent.upid().clone();
        let pid =
            node.spawn("executor(1)", FakeExecutor { agent, heard: vec![], confirmed: vec![] }).unwrap();
        Executor { node, pid }
    }

    fn send(&self, message: impl libprocess::Message) {
        let sent = self.pid.dispatch(move |executor, ctx| ctx.send(executor.agent.clone(), message));
        sent.wait(Duration::from_secs(10)).unwrap();
    }

    fn register(&self) {
        self.send(RegisterExecutorMessage { framework_id: "F".into(), executor_id: "e".into() });
    }

    fn heard(&self) -> Vec<String> {
        self.pid.dispatch(|executor, _| executor.heard.clone()).wait(Duration::from_secs(10)).unwrap()
    }

    fn update(&self, task: &str, n: u8, state: TaskState) {
        let uuid = vec![n; 16];
        let status = TaskStatus { task_id: task.into(), state: state as i32, ..Default::default() };
        let update = StatusUpdate {
            framework_id: "F".into(),
            executor_id: Some("e".into()),
            slave_id: Some("S0".into()),
            status,
            timestamp: 1.0,
            uuid: Some(uuid.clone()),
            latest_state: None,
        };
        self.send(StatusUpdateMessage { update, pid: Some(self.pid.to_string()) });
        until("the confirmation", || {
            let uuid = uuid.clone();
            let confirmed = self.pid.dispatch(move |executor, _| executor.confirmed.contains(&uuid));
            confirmed.wait(Duration::from_secs(10)).unwrap()
        });
    }

    #[track_caller]
    fn until_heard(&self, what: &[&str]) {
        until(&format!("the executor to hear {what:?}, not {:?}", self.heard()), || self.heard() == what);
    }

    fn stop(self) {
        self.node.shutdown().wait(Duration::from_secs(10)).unwrap();
    }
}

fn task(id: &str, command: &str) -> TaskInfo {
    let executor = ExecutorInfo {
        executor_id: "e".into(),
        command: Some(CommandInfo { value: Some(command.into()), ..Default::default() }),
        ..Default::default()
    };
    TaskInfo { command: None, executor: Some(executor), ..shell(id, "") }
}

#[test]
fn an_executor_registers_gets_its_tasks_and_messages_and_is_shut_down() {
    let cluster =
        Cluster::start_with(|flags| flags.executor_shutdown_grace_period = Duration::from_millis(50));
    cluster.run(&framework(), task("t1", "sleep 98755.1"));
    cluster.run(&framework(), task("t2", "sleep 98755.1"));
    until("the container", || !processes("sleep 98755.").is_empty());
    let executor = Executor::start(&cluster);
    executor.register();
    executor.until_heard(&["registered e with S0", "run t1", "run t2"]);
    executor.update("t1", 1, TaskState::TaskRunning);
    executor.update("t1", 1, TaskState::TaskRunning);
    executor.update("t1", 2, TaskState::TaskFinished);
    cluster.until_state("t1", TaskState::TaskFinished);
    assert_eq!(cluster.history()["t1"], ["TASK_RUNNING", "TASK_FINISHED"]);
    cluster.send(FrameworkToExecutorMessage {
        slave_id: "S0".into(),
        framework_id: "F".into(),
        executor_id: "e".into(),
        data: b"hello".to_vec(),
    });
    cluster.send(KillTaskMessage { framework_id: "F".into(), task_id: "t2".into(), kill_policy: None });
    cluster.send(ShutdownExecutorMessage { executor_id: Some("e".into()), framework_id: Some("F".into()) });
    executor.until_heard(&[
        "registered e with S0",
        "run t1",
        "run t2",
        "message hello",
        "kill t2",
        "shutdown",
    ]);
    // It does not care; its container is destroyed when its time is up.
    cluster.until_state("t2", TaskState::TaskFailed);
    cluster.until("the executor's end", |master| master.exited.len() == 1);
    assert_eq!(cluster.with(|master| master.exited[0].status), 9);
    assert!(processes("sleep 98755.").is_empty());
    executor.stop();
    cluster.stop();
}

#[test]
fn an_executor_that_does_not_register_in_time_fails_its_tasks() {
    let cluster =
        Cluster::start_with(|flags| flags.executor_registration_timeout = Duration::from_millis(100));
    cluster.run(&framework(), task("t", "sleep 98754.1"));
    cluster.until_state("t", TaskState::TaskFailed);
    let told = &cluster.history()["t"][0];
    assert!(told.starts_with("TASK_FAILED REASON_EXECUTOR_REGISTRATION_TIMEOUT"), "{told}");
    assert!(processes("sleep 98754.").is_empty());
    let late = Executor::start(&cluster);
    late.register();
    late.until_heard(&["shutdown"]);
    late.stop();
    cluster.stop();
}

#[test]
fn a_framework_that_is_over_takes_its_executors_along_and_hears_nothing() {
    let cluster =
        Cluster::start_with(|flags| flags.executor_shutdown_grace_period = Duration::from_millis(50));
    cluster.run(&framework(), task("t", "sleep 98753.1"));
    let executor = Executor::start(&cluster);
    until("the container", || !processes("sleep 98753.").is_empty());
    executor.register();
    executor.until_heard(&["registered e with S0", "run t"]);
    cluster.send(ShutdownFrameworkMessage { framework_id: "F".into() });
    executor.until_heard(&["registered e with S0", "run t", "shutdown"]);
    until("nothing to be left", || processes("sleep 98753.").is_empty());
    assert!(cluster.history().is_empty());
    executor.stop();
    cluster.stop();
}

#[test]
fn a_master_that_comes_back_elsewhere_in_time_learns_what_runs() {
    let mut cluster =
        Cluster::start_with(|flags| flags.executor_shutdown_grace_period = Duration::from_millis(50));
    cluster.run(&framework(), task("t", "sleep 98752.1"));
    let executor = Executor::start(&cluster);
    until("the container", || !processes("sleep 98752.").is_empty());
    executor.register();
    executor.update("t", 1, TaskState::TaskRunning);
    cluster.until_state("t", TaskState::TaskRunning);
    // The master's process ends and another one takes its place.
    cluster.master_node.terminate(&cluster.master);
    cluster.master_node.wait(&cluster.master).wait(Duration::from_secs(10)).unwrap();
    let master = cluster.master_node.spawn("master", FakeMaster::default()).unwrap();
    cluster.master = master;
    cluster.until("it registers again", |master| master.reregistrations.len() == 1);
    let told = cluster.with(|master| master.reregistrations[0].clone());
    assert_eq!(told.slave.id, Some("S0".into()));
    assert_eq!(told.tasks[0].state(), TaskState::TaskRunning);
    assert_eq!(told.executor_infos[0].executor_id, "e".into());
    executor.send(ReregisterExecutorMessage {
        executor_id: "e".into(),
        framework_id: "F".into(),
        ..Default::default()
    });
    executor.until_heard(&["registered e with S0", "run t", "reregistered with S0"]);
    executor.stop();
    cluster.stop();
}

#[test]
fn the_operator_ends_an_agent_for_good() {
    let cluster = Cluster::start();
    cluster.agent_node.send(cluster.agent.upid(), ShutdownMessage { message: Some("maintenance".into()) });
    cluster.until("it leaves", |master| master.unregistered);
    cluster.agent.ended().wait(Duration::from_secs(10)).unwrap();
    cluster.stop();
}

#[test]
fn strangers_are_not_obeyed() {
    let cluster = Cluster::start();
    let stranger = Executor::start(&cluster);
    let run = RunTaskMessage {
        framework_id: Some("F".into()),
        framework: framework(),
        task: shell("t", "true"),
        ..Default::default()
    };
    stranger.send(run);
    stranger.send(ShutdownMessage { message: None });
    stranger.send(RegisterExecutorMessage { framework_id: "F".into(), executor_id: "x".into() });
    stranger.until_heard(&["shutdown"]);
    assert!(cluster.history().is_empty() && !cluster.with(|master| master.unregistered));
    stranger.stop();
    cluster.stop();
}
