//! What becomes of tasks, from their launch to the end.

use super::*;

#[test]
fn a_task_from_offer_to_its_end() {
    let mut world = World::new();
    world.stream(framework()).agent(1, "cpus:4;mem:1024").offer("S0", "cpus:4;mem:1024");
    world.accept(&["O0"], vec![launch(vec![command("t1", "cpus:1;mem:64")])]);
    world.status(1, "t1", TaskState::TaskRunning).acknowledge("t1", TaskState::TaskRunning);
    world.status(1, "t1", TaskState::TaskFinished).acknowledge("t1", TaskState::TaskFinished);
    world.reconcile(&[]);
    world.expect(expect![[r#"
        SUBSCRIBE
        -> framework registered 0000
        agent at 1
        -> agent registered S0
        -> framework offers O0 cpus:4; mem:1024
        ACCEPT
        -> agent run t1 launch_executor=true
          recovered offered cpus:3; mem:960 filter=5
        agent reports t1 TASK_RUNNING
        -> framework t1 TASK_RUNNING (ack)
        ACKNOWLEDGE
        -> agent acknowledge t1
        agent reports t1 TASK_FINISHED
        -> framework t1 TASK_FINISHED (ack)
          recovered used cpus:1; mem:64
        ACKNOWLEDGE
        -> agent acknowledge t1
        RECONCILE
    "#]]);
}

#[test]
fn an_accept_with_invalid_offers_drops_its_tasks_and_returns_the_rest() {
    let mut world = World::new();
    world.stream(framework()).agent(1, "cpus:4;mem:1024").offer("S0", "cpus:2;mem:512");
    world.accept(&["O0", "O9"], vec![launch(vec![command("t1", "cpus:1")])]);
    world.accept(&[], vec![launch(vec![command("t2", "cpus:1")])]);
    world.expect(expect![[r#"
        SUBSCRIBE
        -> framework registered 0000
        agent at 1
        -> agent registered S0
        -> framework offers O0 cpus:2; mem:512
        ACCEPT
          recovered offered cpus:2; mem:512
        -> framework t1 TASK_LOST REASON_INVALID_OFFERS: Task launched with invalid offers: Offer 00000000-0000-0000-0000-000000000000-O9 is no longer valid
        ACCEPT
        -> framework t2 TASK_LOST REASON_INVALID_OFFERS: Task launched with invalid offers: No offers specified
    "#]]);
}

#[test]
fn each_task_is_judged_by_itself() {
    let mut world = World::new();
    world
        .stream(framework())
        .agent(1, "cpus:4;mem:1024;ports:[1-10]")
        .offer("S0", "cpus:4;mem:1024;ports:[1-10]");
    let mut elsewhere = command("t3", "cpus:1");
    elsewhere.agent_id = "other".into();
    let mut both = command("t6", "cpus:1");
    both.command = None;
    let mut operation = launch(vec![
        command("t1", "cpus:1;mem:64;ports:[1-2]"),
        command("t1", "cpus:1"),
        command("a/b", "cpus:1"),
        elsewhere,
        command("t4", "cpus:8"),
        command("t5", "ports:[2-3]"),
        both,
        TaskInfo { resources: vec![], ..command("t7", "cpus:1") },
    ]);
    world.accept(&["O0"], vec![operation.clone()]);
    operation.id = Some("op".into());
    world.offer("S0", "cpus:1");
    world.accept(&["O1"], vec![operation]);
    world.expect(expect![[r#"
        SUBSCRIBE
        -> framework registered 0000
        agent at 1
        -> agent registered S0
        -> framework offers O0 cpus:4; mem:1024; ports:[1-10]
        ACCEPT
        -> agent run t1 launch_executor=true
        -> framework t1 TASK_ERROR REASON_TASK_INVALID: Task has duplicate ID: t1
        -> framework a/b TASK_ERROR REASON_TASK_INVALID: TaskID is invalid: ID 'a/b' contains the invalid character '/'
        -> framework t3 TASK_ERROR REASON_TASK_INVALID: Task uses invalid agent other while agent 00000000-0000-0000-0000-000000000000-S0 is expected
        -> framework t4 TASK_ERROR REASON_TASK_INVALID: Total resources cpus(allocated: *):8 required by task is more than available cpus(allocated: *):3; mem(allocated: *):960; ports(allocated: *):[3-10]
        -> framework t5 TASK_ERROR REASON_TASK_INVALID: Total resources ports(allocated: *):[2-3] required by task is more than available cpus(allocated: *):3; mem(allocated: *):960; ports(allocated: *):[3-10]
        -> framework t6 TASK_ERROR REASON_TASK_INVALID: Task should have at least one (but not both) of CommandInfo or ExecutorInfo present
        -> framework t7 TASK_ERROR REASON_TASK_INVALID: Task uses no resources
          recovered offered cpus:3; mem:960; ports:[3-10] filter=5
        -> framework offers O1 cpus:1
        ACCEPT
        -> framework t1 TASK_ERROR REASON_TASK_INVALID: A LAUNCH operation must not have an id
        -> framework t1 TASK_ERROR REASON_TASK_INVALID: A LAUNCH operation must not have an id
        -> framework a/b TASK_ERROR REASON_TASK_INVALID: A LAUNCH operation must not have an id
        -> framework t3 TASK_ERROR REASON_TASK_INVALID: A LAUNCH operation must not have an id
        -> framework t4 TASK_ERROR REASON_TASK_INVALID: A LAUNCH operation must not have an id
        -> framework t5 TASK_ERROR REASON_TASK_INVALID: A LAUNCH operation must not have an id
        -> framework t6 TASK_ERROR REASON_TASK_INVALID: A LAUNCH operation must not have an id
        -> framework t7 TASK_ERROR REASON_TASK_INVALID: A LAUNCH operation must not have an id
          recovered offered cpus:1 filter=5
    "#]]);
}

#[test]
fn histories_are_bounded() {
    let mut world = World::new();
    world.stream(framework()).agent(1, "cpus:4;mem:1024");
    for n in 0..6 {
        world.offer("S0", "cpus:4;mem:1024");
        let task = format!("t{n}");
        world.accept(&[&format!("O{n}")], vec![launch(vec![command(&task, "cpus:1")])]);
        world.status(1, &task, TaskState::TaskFinished).acknowledge(&task, TaskState::TaskFinished);
    }
    let framework = world.cluster.frameworks.get(&id("0000").into()).unwrap();
    let kept: Vec<_> = framework.completed_tasks.iter().map(|task| task.task_id.value.as_str()).collect();
    assert_eq!(kept, ["t3", "t4", "t5"]);
    assert!(framework.tasks.is_empty() && framework.used.is_empty());
}

#[test]
fn operations_that_are_not_carried_out_say_so() {
    let mut world = World::new();
    world.stream(framework()).agent(1, "cpus:4;mem:1024").offer("S0", "cpus:4;mem:1024");
    let reserve = Operation {
        r#type: Some(operation::Type::Reserve.into()),
        id: Some("op".into()),
        ..Default::default()
    };
    world.accept(&["O0"], vec![reserve]);
    world.expect(expect![[r#"
        SUBSCRIBE
        -> framework registered 0000
        agent at 1
        -> agent registered S0
        -> framework offers O0 cpus:4; mem:1024
        ACCEPT
        -> framework operation Some("op") OPERATION_ERROR
          recovered offered cpus:4; mem:1024 filter=5
    "#]]);
}
