//! The master with agents and drivers that speak libprocess messages.
#![allow(clippy::disallowed_methods, reason = "a test waits with a deadline")]

mod support;

use std::time::Duration;

use api::internal::*;
use api::v1::TaskStatus;
use support::*;

#[test]
fn a_driver_runs_a_task() {
    let node = node();
    let master = master::start(&node, in_memory()).unwrap();
    let (_, agent) = Agent::spawn(&node, "slave(1)", master.pid.upid(), None);
    let (driver, scheduler) = Driver::spawn(&node, "scheduler", master.pid.upid(), framework());
    let agent_id = agent.expect("registered");
    let framework_id = scheduler.expect("registered");
    assert!(agent_id.ends_with("-S0") && framework_id.ends_with("-0000"), "{agent_id} {framework_id}");
    agent.expect("run t1");
    scheduler.expect("status t1 TASK_RUNNING");
    agent.expect("acknowledged t1");

    let id = || framework_id.as_str().into();
    let data = b"hello".to_vec();
    let slave_id = agent_id.as_str().into();
    Driver::send(
        &driver,
        FrameworkToExecutorMessage { slave_id, framework_id: id(), executor_id: "e".into(), data },
    );
    scheduler.expect("data hello");

    let statuses = vec![TaskStatus { task_id: "nothing".into(), ..Default::default() }];
    Driver::send(&driver, ReconcileTasksMessage { framework_id: id(), statuses, framework: None });
    scheduler.expect("status nothing TASK_LOST");
    Driver::send(&driver, ReconcileTasksMessage { framework_id: id(), statuses: vec![], framework: None });
    scheduler.expect("status t1 TASK_RUNNING");

    Driver::send(&driver, KillTaskMessage { framework_id: id(), task_id: "t1".into(), kill_policy: None });
    scheduler.expect("status t1 TASK_KILLED");
    agent.expect("acknowledged t1");

    Driver::send(&driver, SubmitSchedulerRequest { name: "x".into() });
    scheduler.expect("submitted false");
    Driver::send(&driver, AuthenticateMessage { pid: "x".into() });
    scheduler.expect("unauthenticated No authenticator loaded");

    Driver::send(&driver, UnregisterFrameworkMessage { framework_id: id() });
    agent.expect(&format!("shutdown framework {framework_id}"));
    node.shutdown().wait(PATIENCE).unwrap();
}

#[test]
fn a_silent_agent_is_given_up_and_may_return() {
    let node = node();
    let flags = master::Flags {
        agent_ping_timeout: Duration::from_secs(1),
        max_agent_ping_timeouts: 1,
        ..in_memory()
    };
    let master = master::start(&node, flags).unwrap();
    let (agent, sees) = Agent::spawn_with(&node, "slave(1)", master.pid.upid(), None, false);
    let (_, scheduler) = Driver::spawn(&node, "scheduler", master.pid.upid(), framework());
    let agent_id = sees.expect("registered");
    scheduler.expect("status t1 TASK_RUNNING");
    scheduler.expect("status t1 TASK_LOST");
    scheduler.expect(&format!("lost {agent_id}"));

    node.terminate(&agent);
    node.wait(&agent).wait(PATIENCE).unwrap();
    let (_, sees) = Agent::spawn(&node, "slave(1)", master.pid.upid(), Some(&agent_id));
    sees.expect(&format!("reregistered {agent_id}"));
    scheduler.expect("offer");
    node.shutdown().wait(PATIENCE).unwrap();
}

#[test]
fn a_restarted_master_finds_its_agents() {
    let dir = tempfile::tempdir().unwrap();
    let agent_id = {
        let node = node();
        let master = master::start(&node, in_directory(dir.path())).unwrap();
        let (_, agent) = Agent::spawn(&node, "slave(1)", master.pid.upid(), None);
        let id = agent.expect("registered");
        node.shutdown().wait(PATIENCE).unwrap();
        id
    };
    let node = node();
    let master = master::start(&node, in_directory(dir.path())).unwrap();
    let recovered =
        move || master.pid.dispatch(|master, _| master.recovered_agents()).wait(PATIENCE).unwrap();
    let deadline = std::time::Instant::now() + PATIENCE;
    while recovered().is_empty() {
        assert!(std::time::Instant::now() < deadline, "the registry was not recovered");
    }
    assert_eq!(recovered(), [agent_id.as_str().into()]);
    node.shutdown().wait(PATIENCE).unwrap();
}

#[test]
fn a_driver_that_is_gone_is_waited_for() {
    let node = node();
    let master = master::start(&node, in_memory()).unwrap();
    let (_, agent) = Agent::spawn(&node, "slave(1)", master.pid.upid(), None);
    let patient = api::v1::FrameworkInfo { failover_timeout: Some(1000.0), ..framework() };
    let (driver, scheduler) = Driver::spawn(&node, "scheduler", master.pid.upid(), patient.clone());
    let id = scheduler.expect("registered");
    scheduler.expect("status t1 TASK_RUNNING");
    node.terminate(&driver);
    node.wait(&driver).wait(PATIENCE).unwrap();

    let again = api::v1::FrameworkInfo { id: Some(id.as_str().into()), ..patient };
    let (other, scheduler) = Driver::spawn(&node, "another", master.pid.upid(), again);
    assert_eq!(scheduler.expect("registered"), id);
    Driver::send(&other, ReconcileTasksMessage { framework_id: id.as_str().into(), ..Default::default() });
    scheduler.expect("status t1 TASK_RUNNING");

    let hasty = Driver::spawn(&node, "hasty", master.pid.upid(), framework());
    let id = hasty.1.expect("registered");
    node.terminate(&hasty.0);
    agent.expect(&format!("shutdown framework {id}"));
    node.shutdown().wait(PATIENCE).unwrap();
}

#[test]
fn flags_that_cannot_be_are_refused() {
    let node = node();
    for (flags, name) in [
        (master::Flags::default(), "work_dir"),
        (
            master::Flags { agent_ping_timeout: Duration::from_millis(10), ..in_memory() },
            "agent_ping_timeout",
        ),
        (
            master::Flags { recovery_agent_removal_limit: "half".into(), ..in_memory() },
            "recovery_agent_removal_limit",
        ),
        (
            master::Flags { min_allocatable_resources: "cpus".into(), ..in_memory() },
            "min_allocatable_resources",
        ),
    ] {
        let error = master::start(&node, flags).err().expect(name).to_string();
        assert!(error.contains(name), "{error}");
    }
    node.shutdown().wait(PATIENCE).unwrap();
}

#[test]
fn an_unreadable_registry_ends_the_master() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("registry"), "a file where a directory should be").unwrap();
    let node = node();
    let master = master::start(&node, in_directory(dir.path())).unwrap();
    let why = master.fatal.wait(PATIENCE).unwrap();
    assert!(why.contains("registry"), "{why}");
    node.shutdown().wait(PATIENCE).unwrap();
}
