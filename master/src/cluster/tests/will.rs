//! What operators decided, under this master and the next.

use super::recovery::known;
use super::*;

#[test]
fn what_operators_decided_holds_for_the_next_master() {
    let mut old = World::running(framework());
    old.agent(2, "cpus:4;mem:1024").agent(3, "cpus:4;mem:1024");
    let config = api::v1::DrainConfig::default();
    old.cluster.drain_agent(&id("S0").into(), config).unwrap();
    old.cluster.deactivate_agent(&id("S1").into()).unwrap();
    old.cluster.mark_gone(&id("S2").into()).unwrap();
    let weights = vec![WeightInfo { role: Some("r".into()), weight: 2.0 }];
    old.cluster.decide(Kind::UpdateWeights(Weights { weights }));
    old.settle();
    let mut world = old.failover();
    world.reregister(1, vec![reported(TaskState::TaskRunning)]);
    world.come_back(2, returning("S1", vec![])).come_back(3, returning("S2", vec![]));
    let active: Vec<_> = world.cluster.agents.registered.values().map(|agent| agent.active).collect();
    assert_eq!(active, [false, false]);
    assert_eq!(world.cluster.will.weights(), world.registry.weights());
    // A broken connection does not bring them back to work.
    world.cluster.agent_exited(&pid(2));
    world.settle();
    world.come_back(2, returning("S1", vec![]));
    world.stream(known()).status(1, "t1", TaskState::TaskKilled).acknowledge("t1", TaskState::TaskKilled);
    world.cluster.reactivate_agent(&id("S0").into()).unwrap();
    world.settle();
    assert_eq!(world.cluster.reactivate_agent(&id("S2").into()), Err(OrderError::Gone(id("S2"))));
    world.expect(expect![[r#"
        agent comes back
          deactivated S0
        -> agent reregistered S0 missing=
        -> agent drain mark_gone=false
        agent comes back
          deactivated S1
        -> agent reregistered S1 missing=
        agent comes back
        -> agent shut down: Agent has been marked gone
        agent comes back
        -> agent reregistered S1 missing=
        SUBSCRIBE
        -> framework reregistered 0000
        -> agent framework 0000 is f
        -> agent framework 0000 is f
        agent reports t1 TASK_KILLED
        -> framework t1 TASK_KILLED (ack)
          recovered used cpus:1; mem:64
        ACKNOWLEDGE
        -> agent acknowledge t1
          activated S0
    "#]]);
}

#[test]
fn weights_of_the_flag_hold_when_the_registry_has_none() {
    let weight = |role: &str, weight| WeightInfo { role: Some(role.into()), weight };
    let rules = Rules { weights: vec![weight("a", 2.0)], ..rules() };
    let first = World::new().failover_to(rules.clone());
    assert_eq!(first.registry.weights(), Ok(vec![weight("a", 2.0)]));
    assert_eq!(first.cluster.will.weights(), first.registry.weights());
    let second = first.failover_to(Rules { weights: vec![weight("b", 3.0)], ..rules });
    assert_eq!(second.registry.weights(), Ok(vec![weight("a", 2.0)]), "the registry's replace the flag's");
}

/// The machine of all agents, and that it is going to be away.
fn plan() -> (api::v1::MachineId, Kind) {
    let id = r#"{"hostname": "HOST", "ip": "10.0.0.1"}"#;
    let json = format!(
        r#"{{"windows": [{{"machine_ids": [{id}], "unavailability": {{"start": {{"nanoseconds": 7}}}}}}]}}"#
    );
    let schedule = api::json::from_slice(json.as_bytes()).unwrap();
    (api::json::from_slice(id.as_bytes()).unwrap(), Kind::UpdateSchedule(schedule))
}

#[test]
fn an_agent_that_is_let_in_while_its_machine_goes_down_ends() {
    let mut world = World::new();
    let (machine, schedule) = plan();
    world.cluster.decide(schedule);
    world.settle();
    world.cluster.decide(Kind::StartMaintenance(Machines { ids: vec![machine] }));
    world.agent(1, "cpus:1");
    assert_eq!((world.cluster.agents.registered.len(), world.registry.admitted().count()), (0, 0));
    world.expect(expect![[r#"
        agent at 1
          unavailable from Some(7)
        -> agent registered S0
        -> agent shut down: Operator initiated 'Machine DOWN'
    "#]]);
}

#[test]
fn machines_stay_down_and_planned() {
    let mut old = World::new();
    old.agent(1, "cpus:1");
    let (machine, schedule) = plan();
    old.cluster.decide(schedule);
    old.settle();
    assert_eq!(old.cluster.agents.get(&id("S0").into()).unwrap().unavailability, Some(unavailability(7)));
    let mut world = old.failover();
    world.reregister(1, vec![]);
    let machines = Machines { ids: vec![machine] };
    world.cluster.decide(Kind::StartMaintenance(machines.clone()));
    world.settle();
    world.agent(2, "cpus:1").reregister(1, vec![]);
    let mut world = World { log: std::mem::take(&mut world.log), ..world.failover() };
    world.agent(2, "cpus:1");
    world.cluster.decide(Kind::StopMaintenance(machines));
    world.settle();
    world.agent(2, "cpus:1");
    world.expect(expect![[r#"
        agent comes back
          unavailable from Some(7)
        -> agent reregistered S0 missing=
        -> agent shut down: Operator initiated 'Machine DOWN'
        agent at 2
        -> agent shut down: Machine is `DOWN`
        agent comes back
        -> agent shut down: Machine is `DOWN`
        agent at 2
        -> agent shut down: Machine is `DOWN`
        agent at 2
        -> agent registered S0
    "#]]);
}
