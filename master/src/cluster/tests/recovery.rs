//! What a new master makes of the registry, and of those who come back to it.

use super::*;

#[test]
fn a_new_master_learns_of_frameworks_from_their_agents() {
    let mut old = World::running(framework());
    let mut world = World::new();
    world.registry = std::mem::take(&mut old.registry);
    world.cluster.recover(&world.registry.clone()).unwrap();
    world.settle();
    world.reregister(1, vec![reported(TaskState::TaskRunning)]);
    let recovered = world.cluster.frameworks.get(&id("0000").into()).unwrap();
    assert!(recovered.recovered && !recovered.active);
    world.stream(FrameworkInfo { id: Some(id("0000").into()), ..framework() });
    world.reconcile(&[]);
    world.expect(expect![[r#"
        agent comes back
        -> agent reregistered S0 missing=
        SUBSCRIBE
        -> framework reregistered 0000
        -> agent framework 0000 is f
        RECONCILE
        -> framework t1 TASK_RUNNING REASON_RECONCILIATION: Reconciliation: Latest task state
    "#]]);
}

#[test]
fn the_allocator_hears_of_quotas_and_weights_before_any_agent() {
    let json = r#"{
        "slaves": {"slaves": [{"info": {"hostname": "h", "id": {"value": "a"}}}]},
        "quota_configs": [{"role": "r", "guarantees": {"cpus": {"value": 2}}}],
        "weights": [{"info": {"role": "r", "weight": 3}}]
    }"#;
    let proto: api::internal::Registry = api::json::from_slice(json.as_bytes()).unwrap();
    let mut cluster = World::new().cluster;
    cluster.recover(&Registry::from_proto(proto).unwrap()).unwrap();
    let calls: Vec<_> = cluster
        .take_effects()
        .into_iter()
        .filter_map(|effect| match effect {
            Effect::Allocator(call) => Some(call),
            _ => None,
        })
        .collect();
    let guarantees = Resources::parse("cpus:2", "*").unwrap().scalar_quantities();
    let quotas = [("r".to_owned(), Quota { guarantees, ..Quota::default() })].into();
    assert_eq!(
        calls,
        [
            AllocatorCall::RecoverQuotas { n_agents: 1, quotas },
            AllocatorCall::UpdateWeights(vec![WeightInfo { weight: 3.0, role: Some("r".into()) }]),
        ]
    );
}

#[test]
fn questions_about_agents_not_yet_back_are_not_answered() {
    let mut old = World::running(framework());
    let mut world = World::new();
    world.registry = std::mem::take(&mut old.registry);
    world.cluster.recover(&world.registry.clone()).unwrap();
    world.stream(FrameworkInfo { id: Some(id("0000").into()), ..framework() });
    world.reconcile(&[("t1", Some("S0")), ("t1", None), ("t1", Some("elsewhere"))]);
    assert_eq!(world.waits, [Timeout::Recovery]);
    world.cluster.recovery_timed_out();
    world.settle();
    world.reconcile(&[("t1", Some("S0")), ("t2", None)]);
    world.expect(expect![[r#"
        SUBSCRIBE
        -> framework reregistered 0000
        RECONCILE
        -> framework t1 TASK_LOST REASON_RECONCILIATION: Reconciliation: Task is unknown
        -> framework lost S0
        RECONCILE
        -> framework t1 TASK_LOST REASON_RECONCILIATION: Reconciliation: Task is unreachable
        -> framework t2 TASK_LOST REASON_RECONCILIATION: Reconciliation: Task is unknown
    "#]]);
}

#[test]
fn too_many_missing_agents_end_the_master() {
    let mut old = World::running(framework());
    let mut world = World::with(Rules { recovery_agent_removal_limit: 0.5, ..rules() });
    world.registry = std::mem::take(&mut old.registry);
    world.cluster.recover(&world.registry.clone()).unwrap();
    world.cluster.recovery_timed_out();
    assert!(world.cluster.fatal.as_deref().is_some_and(|it| it.contains("1 of the 1 agents")));
}

pub(super) fn known() -> FrameworkInfo {
    FrameworkInfo { id: Some(id("0000").into()), ..framework() }
}

/// A task of framework 0000 on an agent.
fn task(name: &str, agent: &str, state: TaskState) -> Task {
    Task { name: name.into(), task_id: name.into(), agent_id: id(agent).into(), ..reported(state) }
}

#[test]
fn a_framework_may_come_back_before_its_agents() {
    let mut world = World::running(framework()).failover();
    world.stream(known()).reregister(1, vec![reported(TaskState::TaskRunning)]).reconcile(&[]);
    world.expect(expect![[r#"
        SUBSCRIBE
        -> framework reregistered 0000
        agent comes back
        -> agent reregistered S0 missing=
        -> agent framework 0000 is f
        RECONCILE
        -> framework t1 TASK_RUNNING REASON_RECONCILIATION: Reconciliation: Latest task state
    "#]]);
}

#[test]
fn a_recovered_framework_has_no_time_limit_until_it_was_connected() {
    let mut world = World::running(framework()).failover();
    world.waits.clear();
    world.reregister(1, vec![reported(TaskState::TaskRunning)]);
    assert_eq!(world.waits, []);
    world.stream(known());
    world.cluster.stream_closed(&STREAM);
    world.settle();
    assert!(matches!(world.waits[..], [Timeout::FrameworkFailover { .. }]), "{:?}", world.waits);
}

#[test]
fn a_framework_that_nobody_knows_is_taken_at_its_word() {
    let mut world = World::new();
    world.stream(FrameworkInfo { id: Some("its own".into()), ..framework() });
    world.expect(expect![[r#"
        SUBSCRIBE
        -> framework reregistered its own
    "#]]);
}

#[test]
fn a_framework_that_was_removed_is_ended_on_agents_that_come_back() {
    let mut old = World::running(framework());
    old.agent(2, "cpus:4;mem:1024");
    let mut world = old.failover();
    world.reregister(1, vec![reported(TaskState::TaskRunning)]);
    world.cluster.remove_framework(&id("0000").into());
    world.settle();
    world.come_back(2, returning("S1", vec![task("t2", "S1", TaskState::TaskRunning)]));
    assert!(world.cluster.frameworks.get(&id("0000").into()).is_none());
    assert!(world.cluster.agents.get(&id("S1").into()).unwrap().tasks.is_empty());
    world.expect(expect![[r#"
        agent comes back
        -> agent reregistered S0 missing=
        -> agent shut down framework 0000
          recovered used cpus:1; mem:64
        agent comes back
        -> agent reregistered S1 missing=
        -> agent shut down framework 0000
    "#]]);
}

#[test]
fn what_was_over_on_an_agent_is_remembered_and_a_living_framework_is_not_ended_there() {
    let mut world = World::running(framework()).failover();
    world.stream(known());
    world.log.clear();
    let archived = |id: &str, tasks| archive::Framework {
        framework_info: FrameworkInfo { id: Some(id.into()), ..framework() },
        tasks,
        ..Default::default()
    };
    let mut elsewhere = task("t8", "S0", TaskState::TaskFinished);
    elsewhere.agent_id = id("S7").into();
    let tasks =
        vec![task("t9", "S0", TaskState::TaskFinished), task("t7", "S0", TaskState::TaskRunning), elsewhere];
    let completed_frameworks = vec![archived(&id("0000"), tasks), archived("unheard of", vec![])];
    world.come_back(1, ReregisterSlaveMessage { completed_frameworks, ..returning("S0", vec![]) });
    let framework = world.cluster.frameworks.get(&id("0000").into()).unwrap();
    let completed: Vec<_> =
        framework.completed_tasks.iter().map(|task| task.task_id.value.as_str()).collect();
    assert_eq!(completed, ["t9"]);
    world.expect(expect![[r#"
        agent comes back
        -> agent reregistered S0 missing=
        -> agent shut down framework unheard of
        -> agent framework 0000 is f
    "#]]);
}

#[test]
fn a_task_whose_id_is_taken_is_ended_and_what_others_hold_with_it_stays_held() {
    let mut world = World::running(framework()).failover();
    world.stream(known()).reregister(1, vec![reported(TaskState::TaskRunning)]);
    // They share ports, which nobody forbids them.
    let sharing =
        |name| Task { resources: resources("ports:[1-2]"), ..task(name, "S1", TaskState::TaskRunning) };
    let mut message = returning("S1", vec![sharing("t1"), sharing("t2")]);
    message.slave.resources = resources("cpus:4;mem:1024;ports:[1-9]");
    world.come_back(2, message);
    world.cluster.check_invariants().unwrap();
    let agent = world.cluster.agents.get(&id("S1").into()).unwrap();
    assert_eq!(agent.tasks.iter().map(|(_, task_id)| task_id.as_str()).collect::<Vec<_>>(), ["t2"]);
    assert!(agent.total_used().to_string().contains("[1-2]"), "{}", agent.total_used());
    let t1 = world.cluster.task(&id("0000").into(), &"t1".into()).unwrap();
    assert_eq!(t1.agent_id.as_str(), id("S0"));
    assert!(world.log.contains("-> agent kill t1"), "{}", world.log);
}

#[test]
fn an_agent_that_comes_back_late_brings_its_tasks_along() {
    let mut world = World::running(framework()).failover();
    world.stream(known());
    world.cluster.recovery_timed_out();
    world.settle();
    world.reconcile(&[("t1", Some("S0"))]);
    world.reregister(1, vec![reported(TaskState::TaskRunning)]).reconcile(&[]);
    assert_eq!((world.count("recovery_slave_removals"), world.count("slave_reregistrations")), (1, 1));
    world.expect(expect![[r#"
        SUBSCRIBE
        -> framework reregistered 0000
        -> framework lost S0
        RECONCILE
        -> framework t1 TASK_LOST REASON_RECONCILIATION: Reconciliation: Task is unreachable
        agent comes back
        -> framework t1 TASK_RUNNING REASON_AGENT_REREGISTERED: Agent reregistered
        -> agent reregistered S0 missing=
        -> agent framework 0000 is f
        RECONCILE
        -> framework t1 TASK_RUNNING REASON_RECONCILIATION: Reconciliation: Latest task state
    "#]]);
}

#[test]
fn an_agent_nobody_knows_is_let_in_with_what_it_runs() {
    let mut world = World::new();
    world.reregister(1, vec![reported(TaskState::TaskRunning)]);
    assert_eq!(world.registry.admitted().count(), 1);
    assert!(world.cluster.frameworks.get(&id("0000").into()).unwrap().recovered);
    world.stream(known()).reconcile(&[]);
    world.expect(expect![[r#"
        agent comes back
        -> agent reregistered S0 missing=
        SUBSCRIBE
        -> framework reregistered 0000
        -> agent framework 0000 is f
        RECONCILE
        -> framework t1 TASK_RUNNING REASON_RECONCILIATION: Reconciliation: Latest task state
    "#]]);
}

#[test]
fn an_agent_that_repeats_itself_comes_back_once() {
    let mut world = World::running(framework()).failover();
    world.stream(known());
    let mut message = returning("S0", vec![reported(TaskState::TaskRunning)]);
    message.slave.attributes.push(Default::default());
    // The registry has to be told of the attribute, and takes its time.
    for _ in 0..3 {
        world.cluster.reregister_agent(&pid(1), message.clone());
    }
    let written = |it: &Effect| matches!(it, Effect::Registry { .. });
    let effects = world.cluster.take_effects();
    assert_eq!(effects.iter().filter(|it| written(it)).count(), 1);
    world.reconcile(&[("t1", Some("S0")), ("t1", None)]);
    for effect in effects {
        if let Effect::Registry { operation, then } = effect {
            let outcome = world.registry.apply(&operation);
            world.cluster.registry_done(then, outcome);
        }
    }
    world.settle();
    world.come_back(1, message).reconcile(&[]);
    world.expect(expect![[r#"
        SUBSCRIBE
        -> framework reregistered 0000
        RECONCILE
        -> agent reregistered S0 missing=
        -> agent framework 0000 is f
        agent comes back
        -> agent reregistered S0 missing=
        -> agent framework 0000 is f
        RECONCILE
        -> framework t1 TASK_RUNNING REASON_RECONCILIATION: Reconciliation: Latest task state
    "#]]);
}

#[test]
fn of_two_masters_the_registry_is_the_judge() {
    // The first still believes that it leads, and gives up an agent that the second has.
    let mut first = World::running(framework());
    let mut second = first.failover();
    second.stream(known()).reregister(1, vec![reported(TaskState::TaskRunning)]);
    assert!(first.cluster.mark_unreachable(&id("S0").into(), "health check timed out"));
    let told = first.cluster.take_effects();
    assert!(
        matches!(told[..], [Effect::Registry { .. }]),
        "until the registry holds it, which it does not do for the first any more, nobody hears of it: {told:?}"
    );
    second.reconcile(&[]);
    second.expect(expect![[r#"
        SUBSCRIBE
        -> framework reregistered 0000
        agent comes back
        -> agent reregistered S0 missing=
        -> agent framework 0000 is f
        RECONCILE
        -> framework t1 TASK_RUNNING REASON_RECONCILIATION: Reconciliation: Latest task state
    "#]]);

    // It was written before the second took over: then it holds.
    let mut first = World::running(framework());
    first.cluster.mark_unreachable(&id("S0").into(), "health check timed out");
    first.settle();
    let mut second = first.failover();
    second.stream(known()).reconcile(&[("t1", Some("S0"))]);
    second.reregister(1, vec![reported(TaskState::TaskRunning)]);
    second.expect(expect![[r#"
        SUBSCRIBE
        -> framework reregistered 0000
        RECONCILE
        -> framework t1 TASK_LOST REASON_RECONCILIATION: Reconciliation: Task is unreachable
        agent comes back
        -> framework t1 TASK_RUNNING REASON_AGENT_REREGISTERED: Agent reregistered
        -> agent reregistered S0 missing=
        -> agent framework 0000 is f
    "#]]);
}

#[test]
fn orphans_are_ended() {
    // Its connection broke, so its tasks count as lost; but it lives, and so do they.
    let mut world = World::running(FrameworkInfo { checkpoint: None, ..framework() });
    world.cluster.agent_exited(&pid(1));
    world.settle();
    let executor = api::v1::ExecutorInfo {
        executor_id: "e".into(),
        framework_id: Some(id("0000").into()),
        ..Default::default()
    };
    let ended = task("t2", "S0", TaskState::TaskFinished);
    let message = ReregisterSlaveMessage {
        executor_infos: vec![executor],
        ..returning("S0", vec![reported(TaskState::TaskRunning), ended])
    };
    world.come_back(1, message);
    world.expect(expect![[r#"
          deactivated S0
          recovered used cpus:1; mem:64
        -> framework t1 TASK_LOST REASON_AGENT_DISCONNECTED: Agent disconnected
        agent comes back
        -> agent reregistered S0 missing=
        -> agent kill t1
        -> agent shut down executor e
          activated S0
        -> agent framework 0000 is f
    "#]]);
}

#[test]
fn lost_agents_are_forgotten_and_with_them_their_tasks() {
    let mut world = World::running(framework());
    world.cluster.mark_unreachable(&id("S0").into(), "test");
    world.settle();
    world.cluster.at(Time::from_secs_f64(1_099.0)).collect_registry_garbage();
    world.settle();
    assert_eq!(world.registry.unreachable().count(), 1);
    world.cluster.at(Time::from_secs_f64(1_101.0)).collect_registry_garbage();
    world.settle();
    assert_eq!((world.registry.unreachable().count(), world.cluster.agents.unreachable.len()), (0, 0));
    assert!(world.cluster.frameworks.get(&id("0000").into()).unwrap().unreachable_tasks.is_empty());
    world.log.clear();
    world.reconcile(&[("t1", Some("S0"))]);
    world.expect(expect![[r#"
        RECONCILE
        -> framework t1 TASK_LOST REASON_RECONCILIATION: Reconciliation: Task is unknown
    "#]]);
}

#[test]
fn of_too_many_lost_agents_the_oldest_are_forgotten() {
    let mut world = World::with(Rules { registry_max_agent_count: 1, ..rules() });
    for n in 1..=4 {
        world.agent(n, "cpus:1");
    }
    for agent in ["S2", "S0", "S1", "S3"] {
        if agent == "S1" || agent == "S3" {
            world.cluster.mark_gone(&id(agent).into()).unwrap();
        } else {
            world.cluster.mark_unreachable(&id(agent).into(), "test");
        }
        world.settle();
    }
    world.cluster.collect_registry_garbage();
    world.settle();
    let left: Vec<_> =
        world.registry.unreachable().chain(world.registry.gone()).map(|(id, _)| tail(&id.value)).collect();
    assert_eq!(left, ["S0", "S3"]);
    assert!(world.cluster.agents.gone.keys().eq(world.registry.gone().map(|(id, _)| id)));
}

#[test]
fn when_all_agents_are_back_questions_without_an_agent_are_answered() {
    let mut old = World::running(framework());
    old.agent(2, "cpus:4;mem:1024");
    let mut world = old.failover();
    world.stream(known()).reregister(1, vec![]).reconcile(&[("t1", Some("S0")), ("t2", None)]);
    world.come_back(2, returning("S1", vec![])).reconcile(&[("t2", None)]);
    world.expect(expect![[r#"
        SUBSCRIBE
        -> framework reregistered 0000
        agent comes back
        -> agent reregistered S0 missing=
        -> agent framework 0000 is f
        RECONCILE
        -> framework t1 TASK_LOST REASON_RECONCILIATION: Reconciliation: Task is gone
        agent comes back
        -> agent reregistered S1 missing=
        -> agent framework 0000 is f
        RECONCILE
        -> framework t2 TASK_LOST REASON_RECONCILIATION: Reconciliation: Task is unknown
    "#]]);
}

#[test]
fn an_address_is_its_latest_agents_however_long_the_registry_takes() {
    let mut world = World::new();
    world.agent(1, "cpus:1");
    world.cluster.mark_unreachable(&id("S0").into(), "test");
    world.settle();
    // It comes back, and ends at once; another one begins there.
    world.cluster.reregister_agent(&pid(1), returning("S0", vec![]));
    world.agent(1, "cpus:1");
    let left: Vec<_> = world.registry.admitted().map(|(id, _)| tail(&id.value).to_owned()).collect();
    assert_eq!(left, ["S1"]);
}
