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
        -> agent framework 0000 is reported
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
