//! Frameworks come, come back, take over and go.

use super::*;

#[test]
fn the_newest_stream_takes_over() {
    let mut world = World::running(framework());
    world.offer("S0", "cpus:1");
    world.subscribe(
        Connection::Stream(Uuid::from_u128(2)),
        FrameworkInfo { id: Some(id("0000").into()), user: "other".into(), ..framework() },
        false,
    );
    world.cluster.stream_closed(&STREAM);
    world.settle();
    let taken_over = world.cluster.frameworks.get(&id("0000").into()).unwrap();
    assert!(taken_over.is_connected());
    assert_eq!(taken_over.info.user, "u", "the user stays");
    let principal = FrameworkInfo { id: Some(id("0000").into()), principal: Some("p".into()), ..framework() };
    world.subscribe(Connection::Stream(Uuid::from_u128(3)), principal, false);
    world.expect(expect![[r#"
        -> framework offers O1 cpus:1
        SUBSCRIBE
        -> framework error: Framework failed over
        hangup
          recovered offered cpus:1
        -> framework registered 0000
        -> agent framework 0000 is f
        SUBSCRIBE
        -> framework error: Changing framework's principal is not allowed.
        hangup
    "#]]);
}

#[test]
fn a_framework_that_does_not_come_back_is_removed() {
    let mut world = World::running(framework());
    world.cluster.stream_closed(&STREAM);
    world.settle();
    let Some(Timeout::FrameworkFailover { id: framework_id, subscription }) = world.waits.pop() else {
        panic!("no wait")
    };
    world.cluster.failover_timed_out(&framework_id, subscription - 1);
    assert!(world.cluster.frameworks.get(&framework_id).is_some(), "an old wait means nothing");
    world.cluster.failover_timed_out(&framework_id, subscription);
    world.settle();
    let completed = &world.cluster.frameworks.completed[0];
    assert_eq!(completed.completed_tasks[0].state(), TaskState::TaskKilled);
    world.stream(FrameworkInfo { id: Some(framework_id), ..framework() });
    world.expect(expect![[r#"
        -> agent shut down framework 0000
          recovered used cpus:1; mem:64
        SUBSCRIBE
        -> framework error: Framework has been removed
        hangup
    "#]]);
}

#[test]
fn an_invalid_framework_hears_why() {
    let mut world = World::new();
    let multi = vec![capability(framework_info::capability::Type::MultiRole)];
    #[allow(deprecated)]
    let infos = [
        FrameworkInfo { roles: vec!["a".into()], ..framework() },
        FrameworkInfo { role: Some("a".into()), capabilities: multi.clone(), ..framework() },
        FrameworkInfo { roles: vec!["a".into(), "a".into()], capabilities: multi.clone(), ..framework() },
        FrameworkInfo { roles: vec!["/a".into()], capabilities: multi, ..framework() },
        FrameworkInfo { failover_timeout: Some(1e30), ..framework() },
        FrameworkInfo { id: Some("a/b".into()), ..framework() },
    ];
    for info in infos {
        world.stream(info);
    }
    world.expect(expect![[r#"
        SUBSCRIBE
        -> framework error: 'FrameworkInfo.roles' must not be set when the framework is not MULTI_ROLE capable; use 'role'
        hangup
        SUBSCRIBE
        -> framework error: 'FrameworkInfo.role' must not be set when the framework is MULTI_ROLE capable; use 'roles'
        hangup
        SUBSCRIBE
        -> framework error: 'FrameworkInfo.roles' contains role 'a' twice
        hangup
        SUBSCRIBE
        -> framework error: 'FrameworkInfo.role' is not valid: Role '/a' must not start or end with a slash, nor contain two slashes in a row
        hangup
        SUBSCRIBE
        -> framework error: The framework's failover_timeout (1000000000000000000000000000000) is invalid: it is a number of seconds from 0 to 9223372036
        hangup
        SUBSCRIBE
        -> framework error: Not a valid framework id: ID 'a/b' contains the invalid character '/'
        hangup
    "#]]);
}

#[test]
fn expressions_are_as_large_as_the_operator_allows() {
    let constraints = r#"{"role_constraints": {"*": {"groups": [{"attribute_constraints": [{
        "selector": {"attribute_name": "rack"}, "predicate": {"text_matches": {"regex": "r[0-9]+"}}}]}]}}}"#;
    let constraints: OfferConstraints = api::json::from_slice(constraints.as_bytes()).unwrap();
    for (instructions, expected) in [
        (100, "-> framework registered 0000\n"),
        (
            3,
            "-> framework error: Offer constraints for role '*' are invalid: the regular expression 'r[0-9]+' cannot be used: its program has 6 instructions, more than 3\nhangup\n",
        ),
    ] {
        let regex = RegexLimits { instructions, ..RegexLimits::default() };
        let mut world = World::with(Rules { regex, ..rules() });
        let options = OfferOptions { constraints: Some(constraints.clone()), ..OfferOptions::default() };
        let (connection, info) = (Connection::Stream(STREAM), framework());
        world.cluster.subscribe(Subscription { connection, info, force: false, options });
        world.settle();
        assert_eq!(world.log, expected);
    }
}

#[test]
fn drivers_repeat_themselves_and_take_over_only_by_force() {
    let mut world = World::new();
    let driver = |n: u16| Connection::Driver(Upid::new("scheduler", ([10, 0, 0, 2], n).into()));
    world.subscribe(driver(1), framework(), false).subscribe(driver(1), framework(), false);
    let known = FrameworkInfo { id: Some(id("0000").into()), ..framework() };
    world.subscribe(driver(2), known.clone(), false);
    world.subscribe(driver(2), known.clone(), true);
    world.subscribe(driver(2), known, false);
    world.expect(expect![[r#"
        SUBSCRIBE
        -> framework registered 0000
        SUBSCRIBE
        -> framework registered 0000
        SUBSCRIBE
        -> framework error: Framework failed over
        SUBSCRIBE
        -> framework error: Framework failed over
        -> framework registered 0000
        SUBSCRIBE
        -> framework reregistered 0000
    "#]]);
}
