//! Agents come, are lost, come back and go.

use super::*;

#[test]
fn an_unreachable_agent_may_return_with_its_tasks() {
    for aware in [false, true] {
        let capabilities = aware.then(|| capability(framework_info::capability::Type::PartitionAware));
        let mut world =
            World::running(FrameworkInfo { capabilities: capabilities.into_iter().collect(), ..framework() });
        world.offer("S0", "cpus:1");
        assert!(world.cluster.mark_unreachable(&id("S0").into(), "health check timed out"));
        world.settle();
        world.reconcile(&[("t1", Some("S0")), ("t1", None)]);
        world.status(1, "t1", TaskState::TaskRunning);
        world.reregister(1, vec![reported(TaskState::TaskRunning)]);
        world.reconcile(&[]);
        if aware {
            world.expect(expect![[r#"
                -> framework offers O1 cpus:1
                  recovered used cpus:1; mem:64
                -> framework t1 TASK_UNREACHABLE REASON_AGENT_REMOVED: Agent 00000000-0000-0000-0000-000000000000-S0 is unreachable: health check timed out
                -> framework rescind O1
                  recovered offered cpus:1
                -> framework lost S0
                RECONCILE
                -> framework t1 TASK_UNREACHABLE REASON_RECONCILIATION: Reconciliation: Task is unreachable
                -> framework t1 TASK_UNKNOWN REASON_RECONCILIATION: Reconciliation: Task is unknown
                agent reports t1 TASK_RUNNING
                agent comes back
                -> framework t1 TASK_RUNNING REASON_AGENT_REREGISTERED: Agent reregistered
                -> agent reregistered S0 missing=
                -> agent framework 0000 is f
                RECONCILE
                -> framework t1 TASK_RUNNING REASON_RECONCILIATION: Reconciliation: Latest task state
            "#]]);
        } else {
            world.expect(expect![[r#"
                -> framework offers O1 cpus:1
                  recovered used cpus:1; mem:64
                -> framework t1 TASK_LOST REASON_AGENT_REMOVED: Agent 00000000-0000-0000-0000-000000000000-S0 is unreachable: health check timed out
                -> framework rescind O1
                  recovered offered cpus:1
                -> framework lost S0
                RECONCILE
                -> framework t1 TASK_LOST REASON_RECONCILIATION: Reconciliation: Task is unreachable
                -> framework t1 TASK_LOST REASON_RECONCILIATION: Reconciliation: Task is unknown
                agent reports t1 TASK_RUNNING
                agent comes back
                -> framework t1 TASK_RUNNING REASON_AGENT_REREGISTERED: Agent reregistered
                -> agent reregistered S0 missing=
                -> agent framework 0000 is f
                RECONCILE
                -> framework t1 TASK_RUNNING REASON_RECONCILIATION: Reconciliation: Latest task state
            "#]]);
        }
    }
}

#[test]
fn an_agent_that_stayed_says_what_became_of_missing_tasks() {
    let mut world = World::running(framework());
    world.cluster.agent_exited(&pid(1));
    world.settle();
    let kill = call::Kill { task_id: "t1".into(), ..Default::default() };
    world.call(Call { r#type: Some(call::Type::Kill.into()), kill: Some(kill), ..Call::default() });
    world.reregister(2, vec![]);
    let (agent_id, connection) = match world.waits.pop() {
        Some(Timeout::AgentReregistration { id, connection }) => (id, connection),
        other => panic!("{other:?}"),
    };
    world.cluster.agent_reregistration_timed_out(&agent_id, connection);
    world.settle();
    world.expect(expect![[r#"
          deactivated S0
        KILL
        agent comes back
        -> agent reregistered S0 missing=t1
        -> agent kill t1
          activated S0
        -> agent framework 0000 is f
    "#]]);
}

#[test]
fn without_checkpointing_tasks_are_lost_with_the_connection() {
    let mut world = World::running(FrameworkInfo { checkpoint: None, ..framework() });
    world.cluster.agent_exited(&pid(1));
    world.settle();
    world.expect(expect![[r#"
          deactivated S0
          recovered used cpus:1; mem:64
        -> framework t1 TASK_LOST REASON_AGENT_DISCONNECTED: Agent disconnected
    "#]]);
}

#[test]
fn agents_repeat_themselves_and_leave() {
    let mut world = World::running(framework());
    world.agent(1, "cpus:4;mem:1024");
    world.cluster.unregister_agent(&pid(1), &id("S0").into());
    world.settle();
    world.agent(1, "cpus:4;mem:1024");
    world.expect(expect![[r#"
        agent at 1
        -> agent registered S0
          recovered used cpus:1; mem:64
        -> framework t1 TASK_LOST REASON_AGENT_REMOVED: Agent 00000000-0000-0000-0000-000000000000-S0 removed: the agent unregistered
        -> framework lost S0
        agent at 1
        -> agent registered S1
    "#]]);
}
