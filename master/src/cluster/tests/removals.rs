//! Agents are given up one after another, and some for good.

use super::*;

fn limited() -> Rules {
    Rules { agent_removal_limit: Some((1, Duration::from_secs(60))), ..rules() }
}

/// Four agents at ports 1 to 4, one of which may be given up per minute.
fn four() -> World {
    let mut world = World::with(limited());
    for n in 1..=4 {
        world.agent(n, "cpus:4;mem:1024");
    }
    world.waits.clear();
    world.log.clear();
    world
}

impl World {
    fn silent(&mut self, agent: &str) -> &mut Self {
        self.cluster.agent_is_silent(&id(agent).into());
        self.settle();
        self
    }

    fn answers(&mut self, agent: &str) -> &mut Self {
        self.cluster.agent_answered(&id(agent).into());
        self.settle();
        self
    }

    fn permit(&mut self) -> &mut Self {
        assert_eq!(self.waits.pop(), Some(Timeout::Removal));
        self.cluster.removal_permitted();
        self.settle();
        self
    }

    /// Scheduled, completed, canceled, and who was given up.
    fn check(&self, counts: [usize; 3], lost: &[&str]) {
        let count = |what: &str| self.count(&format!("slave_unreachable_{what}"));
        assert_eq!([count("scheduled"), count("completed"), count("canceled")], counts);
        let unreachable: Vec<_> = self.cluster.agents.unreachable.keys().map(|id| tail(&id.value)).collect();
        assert_eq!(unreachable, lost);
    }
}

#[test]
fn without_a_limit_agents_are_given_up_at_once() {
    let mut world = World::new();
    world.agent(1, "cpus:1").agent(2, "cpus:1").silent("S0").silent("S1").silent("S1").silent("S9");
    world.check([2, 2, 0], &["S0", "S1"]);
    assert_eq!((world.count("slave_removals"), world.count("slave_removals/reason_unhealthy")), (2, 2));
}

#[test]
fn health_checks_and_waits_share_the_permits() {
    let mut world = four();
    world.cluster.agent_exited(&pid(2));
    world.settle();
    let Some(Timeout::AgentReregistration { id: away, connection }) = world.waits.pop() else { panic!() };
    world.silent("S0").silent("S2").silent("S2");
    world.cluster.agent_reregistration_timed_out(&away, connection);
    world.settle();
    world.check([3, 1, 0], &["S0"]);
    world.permit().check([3, 2, 0], &["S0", "S2"]);
    world.permit().check([3, 3, 0], &["S0", "S2", "S1"]);
    assert_eq!(world.waits, [], "nobody waits");
}

#[test]
fn an_answer_before_the_permit_spares_the_agent() {
    let mut world = four();
    world.silent("S0").silent("S1").silent("S2").answers("S1").answers("S1").answers("S3");
    world.check([3, 1, 1], &["S0"]);
    world.permit().check([3, 2, 1], &["S0", "S2"]);
    world.silent("S1").check([4, 2, 1], &["S0", "S2"]);
}

#[test]
fn a_disconnected_agent_has_to_come_back_not_only_to_answer() {
    let mut world = four();
    world.silent("S0").silent("S1");
    world.cluster.agent_exited(&pid(2));
    world.settle();
    let Some(Timeout::AgentReregistration { id: away, connection }) = world.waits.pop() else { panic!() };
    world.cluster.agent_reregistration_timed_out(&away, connection);
    world.answers("S1").check([2, 1, 0], &["S0"]);
    world.come_back(2, returning("S1", vec![])).check([2, 1, 1], &["S0"]);
    world.permit().check([2, 1, 1], &["S0"]);
}

#[test]
fn agents_missing_after_a_failover_are_given_up_no_faster_either() {
    let mut world = four().failover_to(limited());
    world.come_back(4, returning("S3", vec![]));
    world.waits.clear();
    world.cluster.recovery_timed_out();
    world.settle();
    world.check([3, 1, 0], &["S0"]);
    world.come_back(2, returning("S1", vec![])).check([3, 1, 1], &["S0"]);
    world.permit().check([3, 2, 1], &["S0", "S2"]);
    assert_eq!(world.waits, []);
    assert_eq!(world.count("recovery_slave_removals"), 2);
    // Whoever was given up may come back all the same.
    world.come_back(1, returning("S0", vec![])).check([3, 2, 1], &["S2"]);
}

#[test]
fn an_agent_that_leaves_or_is_gone_does_not_wait_any_longer() {
    let mut world = four();
    world.silent("S0").silent("S1").silent("S2").silent("S3");
    world.cluster.unregister_agent(&pid(2), &id("S1").into());
    world.cluster.mark_gone(&id("S2").into()).unwrap();
    world.settle();
    world.check([4, 1, 2], &["S0"]);
    world.permit().check([4, 2, 2], &["S0", "S3"]);
}

#[test]
fn an_agent_marked_gone_never_comes_back() {
    for aware in [false, true] {
        let kind = framework_info::capability::Type::PartitionAware;
        let capabilities = aware.then(|| capability(kind)).into_iter().collect();
        let mut world = World::running(FrameworkInfo { capabilities, ..framework() });
        world.offer("S0", "cpus:1");
        let gone = id("S0").into();
        world.cluster.mark_gone(&gone).unwrap();
        assert_eq!(world.cluster.mark_gone(&gone), Err(OrderError::Changing(id("S0"))));
        world.settle();
        assert_eq!(world.cluster.mark_gone(&gone), Ok(()), "it is");
        world.reregister(1, vec![reported(TaskState::TaskRunning)]);
        world.status(1, "t1", TaskState::TaskRunning).reconcile(&[("t1", Some("S0"))]);
        let mut next = world.failover();
        next.reregister(1, vec![reported(TaskState::TaskRunning)]);
        world.log.push_str("the next master\n");
        world.log.push_str(&next.log);
        if aware {
            world.expect(expect![[r#"
                -> framework offers O1 cpus:1
                -> agent shut down: Agent has been marked gone
                  recovered used cpus:1; mem:64
                -> framework t1 TASK_GONE_BY_OPERATOR REASON_AGENT_REMOVED_BY_OPERATOR: Agent has been marked gone
                -> framework rescind O1
                  recovered offered cpus:1
                -> framework lost S0
                agent comes back
                -> agent shut down: Agent has been marked gone
                agent reports t1 TASK_RUNNING
                RECONCILE
                -> framework t1 TASK_GONE_BY_OPERATOR REASON_RECONCILIATION: Reconciliation: Task is gone
                the next master
                agent comes back
                -> agent shut down: Agent has been marked gone
            "#]]);
        } else {
            world.expect(expect![[r#"
                -> framework offers O1 cpus:1
                -> agent shut down: Agent has been marked gone
                  recovered used cpus:1; mem:64
                -> framework t1 TASK_LOST REASON_AGENT_REMOVED: Agent has been marked gone
                -> framework rescind O1
                  recovered offered cpus:1
                -> framework lost S0
                agent comes back
                -> agent shut down: Agent has been marked gone
                agent reports t1 TASK_RUNNING
                RECONCILE
                -> framework t1 TASK_LOST REASON_RECONCILIATION: Reconciliation: Task is gone
                the next master
                agent comes back
                -> agent shut down: Agent has been marked gone
            "#]]);
        }
    }
}

#[test]
fn tasks_of_an_unreachable_agent_end_when_it_is_gone() {
    let kind = framework_info::capability::Type::PartitionAware;
    let mut world = World::running(FrameworkInfo { capabilities: vec![capability(kind)], ..framework() });
    world.cluster.mark_unreachable(&id("S0").into(), "test");
    world.settle();
    world.log.clear();
    world.cluster.mark_gone(&id("S0").into()).unwrap();
    world.settle();
    let framework = world.cluster.frameworks.get(&id("0000").into()).unwrap();
    assert!(framework.unreachable_tasks.is_empty());
    assert_eq!(framework.completed_tasks[0].state(), TaskState::TaskGoneByOperator);
    assert_eq!((world.registry.unreachable().count(), world.registry.gone().count()), (0, 1));
    world.expect(expect![[r#"
        -> framework t1 TASK_GONE_BY_OPERATOR REASON_AGENT_REMOVED_BY_OPERATOR: Agent has been marked gone
        -> framework lost S0
    "#]]);
}

#[test]
fn an_agent_expected_back_may_be_gone() {
    let mut world = World::running(framework()).failover();
    world.stream(FrameworkInfo { id: Some(id("0000").into()), ..framework() });
    world.cluster.mark_gone(&id("S0").into()).unwrap();
    world.settle();
    world.reconcile(&[("t1", Some("S0")), ("t1", None)]);
    world.cluster.recovery_timed_out();
    world.settle();
    assert_eq!(world.cluster.mark_gone(&id("S9").into()), Err(OrderError::Unknown(id("S9"))));
    world.expect(expect![[r#"
        SUBSCRIBE
        -> framework reregistered 0000
        -> framework lost S0
        RECONCILE
        -> framework t1 TASK_LOST REASON_RECONCILIATION: Reconciliation: Task is gone
        -> framework t1 TASK_LOST REASON_RECONCILIATION: Reconciliation: Task is unknown
    "#]]);
}

#[test]
fn the_registry_refuses_the_return_of_an_agent_that_is_gone() {
    // As when another master marked it, and this one has not heard.
    let mut world = World::running(framework());
    world.cluster.mark_unreachable(&id("S0").into(), "test");
    world.settle();
    let marked = Marked { agent_id: id("S0").into(), time: TimeInfo { nanoseconds: 1 } };
    world.registry.apply(&Kind::MarkGone(marked).into()).unwrap();
    world.log.clear();
    world.reregister(1, vec![reported(TaskState::TaskRunning)]);
    world.expect(expect![[r#"
        agent comes back
        -> agent shut down: Agent has been marked gone
    "#]]);
}

#[test]
fn a_drained_agent_is_marked_so_when_the_last_end_is_acknowledged() {
    for mark_gone in [false, true] {
        let mut world = World::running(framework());
        world.offer("S0", "cpus:1");
        let config = api::v1::DrainConfig { mark_gone: Some(mark_gone), ..Default::default() };
        world.cluster.drain_agent(&id("S0").into(), config).unwrap();
        world.settle();
        let still = world.cluster.reactivate_agent(&id("S0").into());
        assert_eq!(still, Err(OrderError::StillDraining(id("S0"))));
        world.status(1, "t1", TaskState::TaskKilled);
        assert!(world.registry.orders().all(|(_, it)| it.drain.unwrap().state() == DrainState::Draining));
        world.acknowledge("t1", TaskState::TaskKilled);
        if mark_gone {
            assert_eq!((world.registry.gone().count(), world.registry.orders().count()), (1, 0));
            world.expect(expect![[r#"
                -> framework offers O1 cpus:1
                  deactivated S0
                -> framework rescind O1
                  recovered offered cpus:1
                -> agent drain mark_gone=true
                agent reports t1 TASK_KILLED
                -> framework t1 TASK_KILLED (ack)
                  recovered used cpus:1; mem:64
                ACKNOWLEDGE
                -> agent acknowledge t1
                -> agent shut down: Agent has been marked gone
                -> framework lost S0
            "#]]);
        } else {
            assert!(world.registry.orders().all(|(_, it)| it.drain.unwrap().state() == DrainState::Drained));
            world.expect(expect![[r#"
                -> framework offers O1 cpus:1
                  deactivated S0
                -> framework rescind O1
                  recovered offered cpus:1
                -> agent drain mark_gone=false
                agent reports t1 TASK_KILLED
                -> framework t1 TASK_KILLED (ack)
                  recovered used cpus:1; mem:64
                ACKNOWLEDGE
                -> agent acknowledge t1
            "#]]);
        }
    }
}

#[test]
fn only_agents_that_can_are_drained() {
    let mut world = World::running(framework());
    let agent = id("S0");
    let drain = |world: &mut World| {
        world
            .cluster
            .drain_agent(&agent.as_str().into(), Default::default())
            .map_err(|error| error.to_string())
    };
    let mut message = returning("S0", vec![reported(TaskState::TaskRunning)]);
    message.agent_capabilities.retain(|it| it.r#type() != agent_info::capability::Type::AgentDraining);
    world.come_back(1, message);
    assert_eq!(
        drain(&mut world),
        Err(format!("agent {agent} cannot be drained: it does not have the capability AGENT_DRAINING"))
    );
    let plan = r#"{"windows": [{"machine_ids": [{"hostname": "host", "ip": "10.0.0.1"}], "unavailability": {"start": {"nanoseconds": 7}}}]}"#;
    world.cluster.decide(Kind::UpdateSchedule(api::json::from_slice(plan.as_bytes()).unwrap()));
    world.settle();
    assert_eq!(
        drain(&mut world),
        Err(format!(
            "agent {agent} cannot be drained: its machine host (10.0.0.1) is part of the maintenance schedule"
        ))
    );
    assert_eq!(
        world.cluster.deactivate_agent(&"x".into()).unwrap_err().to_string(),
        "agent x is neither registered, nor expected back, nor unreachable"
    );
    assert_eq!(
        world.cluster.reactivate_agent(&agent.as_str().into()).unwrap_err().to_string(),
        format!("agent {agent} is not deactivated")
    );
}
