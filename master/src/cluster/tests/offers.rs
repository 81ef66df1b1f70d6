//! Offers, inverse offers, and how they end.

use super::*;

#[test]
fn quotas_and_weights_hold_when_the_registry_holds_them() {
    let mut world = World::new();
    world.stream(framework()).agent(1, "cpus:4;mem:1024").offer("S0", "cpus:4;mem:1024");
    world.log.clear();
    let quota = |json: &str| {
        let configs = vec![api::json::from_slice(json.as_bytes()).unwrap()];
        Kind::UpdateQuota(crate::registry::Quotas { configs })
    };
    let weight = |role: &str, weight| {
        Kind::UpdateWeights(Weights { weights: vec![WeightInfo { role: Some(role.into()), weight }] })
    };
    for kind in [
        quota(r#"{"role": "r", "guarantees": {"cpus": {"value": 1}}, "limits": {"cpus": {"value": 2}}}"#),
        quota(r#"{"role": "r", "guarantees": {"cpus": {"value": 3}}, "limits": {"cpus": {"value": 2}}}"#),
        quota(r#"{"role": "r"}"#),
        weight("unused", 2.0),
        weight("unused", -2.0),
        // What is offered was shared by the old weights.
        weight("*", 2.0),
    ] {
        world.log.push_str("decide\n");
        world.cluster.decide(kind);
        world.settle();
        assert_eq!(world.cluster.will, world.registry.without_agents());
    }
    world.expect(expect![[r#"
        decide
          quota of r: cpus:1 to cpus:2
        decide
        decide
          quota of r: {} to {}
        decide
          weights unused=2
        decide
        decide
          weights *=2
        -> framework rescind O0
          recovered offered cpus:4; mem:1024
    "#]]);
}

#[test]
fn declined_and_unused_resources_go_back_under_a_filter() {
    let mut world = World::new();
    world.stream(framework()).agent(1, "cpus:4;mem:1024").offer("S0", "cpus:4;mem:1024");
    let decline = |offer: &str| Call {
        r#type: Some(call::Type::Decline.into()),
        decline: Some(call::Decline { offer_ids: vec![id(offer).into()], filters: None }),
        ..Call::default()
    };
    world.call(decline("O0")).call(decline("O0"));
    world.expect(expect![[r#"
        SUBSCRIBE
        -> framework registered 0000
        agent at 1
        -> agent registered S0
        -> framework offers O0 cpus:4; mem:1024
        DECLINE
          recovered offered cpus:4; mem:1024 filter=5
        DECLINE
    "#]]);
}

#[test]
fn offers_time_out() {
    let mut world = World::with(Rules { offer_timeout: Some(Duration::from_secs(30)), ..rules() });
    world.stream(framework()).agent(1, "cpus:4;mem:1024").offer("S0", "cpus:4;mem:1024");
    let Some(Timeout::Offer(offer)) = world.waits.pop() else { panic!("no wait") };
    world.cluster.offer_timed_out(&offer);
    world.settle();
    world.expect(expect![[r#"
        SUBSCRIBE
        -> framework registered 0000
        agent at 1
        -> agent registered S0
        -> framework offers O0 cpus:4; mem:1024
        -> framework rescind O0
          recovered offered cpus:4; mem:1024
    "#]]);
}

#[test]
fn frameworks_are_asked_to_leave_and_answer() {
    let mut world = World::running(framework());
    world.offer("S0", "cpus:3;mem:960").plan(Some(7)).ask(7).ask(7);
    world.answer(false, "O2", None).answer(false, "O2", None);
    world.ask(7).answer(true, "O3", Some(Filters { refuse_seconds: Some(60.0) }));
    let offer = world.offer("S0", "cpus:3;mem:960").cluster.offers.get_max().unwrap().1.clone();
    assert_eq!(offer.offer.unavailability, Some(unavailability(7)));
    world.expect(expect![[r#"
        -> framework offers O1 cpus:3; mem:960
        plan Some(7)
        -> framework rescind O1
          recovered offered cpus:3; mem:960
          unavailable from Some(7)
        ask
        -> framework leave O2 S0 from 7
        ask
        DECLINE_INVERSE_OFFERS
          answered Some((Decline, 100)) filter=Some(5.0)
        DECLINE_INVERSE_OFFERS
        ask
        -> framework leave O3 S0 from 7
        ACCEPT_INVERSE_OFFERS
          answered Some((Accept, 100)) filter=Some(60.0)
        -> framework offers O4 cpus:3; mem:960
    "#]]);
}

#[test]
fn a_wish_that_does_not_hold_any_more_is_taken_back() {
    let mut world = World::with(Rules { offer_timeout: Some(Duration::from_secs(30)), ..rules() });
    world.stream(framework()).agent(1, "cpus:4;mem:1024").plan(Some(7)).ask(7);
    // Another plan, and one that was made meanwhile.
    world.plan(Some(8)).ask(7).ask(8).plan(Some(8));
    let Some(Timeout::Offer(last)) = world.waits.last().cloned() else { panic!("no wait") };
    world.cluster.offer_timed_out(&last);
    world.settle();
    // Whoever takes over knows nothing of what the one before it was asked, and is asked by itself.
    world.ask(8).subscribe(
        Connection::Stream(Uuid::from_u128(2)),
        FrameworkInfo { id: Some(id("0000").into()), ..framework() },
        false,
    );
    world.ask(8).plan(None);
    assert!(world.cluster.inverse_offers.is_empty());
    assert!(!world.cluster.set_unavailability(&id("S9").into(), None));
    world.plan(Some(9)).ask(9);
    world.log.push_str("agent gone\n");
    world.cluster.agent_exited(&pid(1));
    world.settle();
    world.expect(expect![[r#"
        SUBSCRIBE
        -> framework registered 0000
        agent at 1
        -> agent registered S0
        plan Some(7)
          unavailable from Some(7)
        ask
        -> framework leave O0 S0 from 7
        plan Some(8)
        -> framework stay O0
          answered None filter=None
          unavailable from Some(8)
        ask
        ask
        -> framework leave O1 S0 from 8
        plan Some(8)
        -> framework stay O1
          answered None filter=None
        ask
        -> framework leave O2 S0 from 8
        SUBSCRIBE
        -> framework error: Framework failed over
        hangup
          answered None filter=None
        -> framework registered 0000
        -> agent framework 0000 is f
        ask
        -> framework leave O3 S0 from 8
        plan None
        -> framework stay O3
          answered None filter=None
          unavailable from None
        plan Some(9)
          unavailable from Some(9)
        ask
        -> framework leave O4 S0 from 9
        agent gone
          deactivated S0
        -> framework stay O4
          answered None filter=None
    "#]]);
}
