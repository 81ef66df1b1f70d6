//! Refusals, and what ends them.

use expect_test::expect;

use crate::common::check;

#[test]
fn a_declined_agent_stays_away_for_as_long_as_asked() {
    check(
        "agent a1 cpus:4;mem:4000 | framework f role=r | run
         decline f a1 60 | cycle
         advance 60000 | cycle
         advance 1 | cycle",
        expect![[r#"
            f <- a1 cpus:4; mem:4000
            nothing
            nothing
            f <- a1 cpus:4; mem:4000
        "#]],
    );
}

#[test]
fn more_than_was_declined_is_offered_at_once() {
    check(
        "agent a1 cpus:4;mem:4000 | framework f role=r | run
         decline f a1 60 | run | cycle
         total a1 cpus:5;mem:4000 | run",
        expect![[r#"
            f <- a1 cpus:4; mem:4000
            not due
            nothing
            f <- a1 cpus:5; mem:4000
        "#]],
    );
}

#[test]
fn less_than_was_declined_stays_declined() {
    check(
        "agent a1 cpus:4;mem:4000 | framework f role=r | run
         decline f a1 60
         framework g role=s | run
         recover g a1 cpus:2;mem:4000 | suppress g
         cycle
         recover g a1 | cycle
         advance 60001 | cycle",
        expect![[r#"
            f <- a1 cpus:4; mem:4000
            g <- a1 cpus:4; mem:4000
            nothing
            nothing
            f <- a1 cpus:4; mem:4000
        "#]],
    );
}

#[test]
fn a_refusal_lasts_at_least_the_interval_and_zero_is_none() {
    check(
        "agent a1 cpus:4;mem:4000 | framework f role=r | run
         decline f a1 0.1 | advance 999 | cycle | advance 2 | cycle
         decline f a1 0 | cycle",
        expect![[r#"
            f <- a1 cpus:4; mem:4000
            nothing
            f <- a1 cpus:4; mem:4000
            f <- a1 cpus:4; mem:4000
        "#]],
    );
}

#[test]
fn an_impossible_refusal_lasts_five_seconds_and_the_longest_a_year() {
    check(
        "agent a1 cpus:4;mem:4000 | framework f role=r | run
         decline f a1 -1 | advance 5000 | cycle | advance 1 | cycle
         decline f a1 NaN | advance 5000 | cycle | advance 1 | cycle
         decline f a1 1e300 | advance 31536000000 | cycle | advance 1 | cycle
         decline f a1 inf | advance 31536000000 | cycle | advance 1 | cycle",
        expect![[r#"
            f <- a1 cpus:4; mem:4000
            nothing
            f <- a1 cpus:4; mem:4000
            nothing
            f <- a1 cpus:4; mem:4000
            nothing
            f <- a1 cpus:4; mem:4000
            nothing
            f <- a1 cpus:4; mem:4000
        "#]],
    );
}

#[test]
fn several_refusals_of_one_agent_hold_side_by_side() {
    check(
        "agent a1 cpus:4;mem:4000 | framework f role=r | run
         decline f a1 10 cpus:4 | cycle
         decline f a1 100 mem:4000 | cycle
         recover f a1 cpus:4 | cycle
         advance 10001 | cycle
         recover f a1 mem:4000 | cycle",
        expect![[r#"
            f <- a1 cpus:4; mem:4000
            nothing
            f <- a1 cpus:4; mem:4000
            nothing
            f <- a1 cpus:4
            nothing
        "#]],
    );
}

#[test]
fn a_larger_but_shorter_refusal_does_not_end_a_longer_one() {
    check(
        "agent a1 cpus:4;mem:4000 | framework f role=r | run
         decline f a1 100 cpus:4 | recover f a1 | cycle
         decline f a1 3 | advance 3001 | cycle
         recover f a1 cpus:4 | cycle
         advance 97000 | cycle",
        expect![[r#"
            f <- a1 cpus:4; mem:4000
            f <- a1 cpus:4; mem:4000
            f <- a1 cpus:4; mem:4000
            nothing
            f <- a1 cpus:4
        "#]],
    );
}

#[test]
fn who_had_no_use_for_the_rest_of_an_agent_is_asked_again_about_the_whole() {
    check(
        "agent a1 cpus(z):2;cpus:3;mem:100
         framework s1 role=a | framework s2 role=a | framework z1 role=z | run
         decline s1 a1 60 | cycle",
        expect![[r#"
            s1 <- a1 cpus:3; mem:100
            z1 <- a1 cpus(reservations: [(STATIC,z)]):2
            s2 <- a1 cpus:3; mem:100
        "#]],
    );
}

#[test]
fn a_task_that_ends_leaves_no_refusal() {
    check(
        "agent a1 cpus:4;mem:4000 | framework f role=r | run | recover f a1 | cycle",
        expect![[r#"
            f <- a1 cpus:4; mem:4000
            f <- a1 cpus:4; mem:4000
        "#]],
    );
}

#[test]
fn a_refusal_is_one_framework_s_in_one_role() {
    check(
        "agent a1 cpus:4;mem:4000 | framework f role=a,b | run
         decline f a1 60 | cycle
         decline f a1 60 | framework g role=a | run | roles",
        expect![[r#"
            f as a <- a1 cpus:4; mem:4000
            f as b <- a1 cpus:4; mem:4000
            g <- a1 cpus:4; mem:4000
            a: 1 refused
            b: 1 refused
        "#]],
    );
}

#[test]
fn changed_attributes_drop_refusals_of_that_agent_only() {
    check(
        "framework f role=r | agent a1 cpus:1;mem:100 | agent a2 cpus:1;mem:100 | run
         decline f a1 60 | decline f a2 60 | cycle
         attribute a2 ssd | run | cycle",
        expect![[r#"
            f <- a1 cpus:1; mem:100
            f <- a2 cpus:1; mem:100
            nothing
            f <- a2 cpus:1; mem:100
            nothing
        "#]],
    );
}

#[test]
fn deactivating_a_framework_drops_its_refusals() {
    check(
        "framework f role=r | agent a1 cpus:1;mem:100 | run
         decline f a1 60 | deactivate f | cycle | activate f | run",
        expect![[r#"
            f <- a1 cpus:1; mem:100
            nothing
            f <- a1 cpus:1; mem:100
        "#]],
    );
}

#[test]
fn suppressed_roles_get_nothing_until_revived() {
    check(
        "framework f role=a,b suppressed=a | agent a1 cpus:1;mem:100 | run
         suppress f b | agent a2 cpus:1;mem:100 | run
         revive f a | run
         suppress f | agent a3 cpus:1;mem:100 | run | revive f | run",
        expect![[r#"
            f as b <- a1 cpus:1; mem:100
            nothing
            f as a <- a2 cpus:1; mem:100
            nothing
            f as a <- a3 cpus:1; mem:100
        "#]],
    );
}

#[test]
fn suppressing_keeps_refusals_and_reviving_drops_them() {
    check(
        "framework f role=r | agent a1 cpus:1;mem:100 | run
         decline f a1 60 | suppress f | roles | revive f | roles | run",
        expect![[r#"
            f <- a1 cpus:1; mem:100
            r: 1 refused
            r: 0 refused
            f <- a1 cpus:1; mem:100
        "#]],
    );
}

#[test]
fn reviving_one_role_keeps_the_refusals_of_another() {
    check(
        "framework f role=a,b | agent a1 cpus:1;mem:100 | run
         decline f a1 60 | cycle | decline f a1 60
         revive f b | run | roles",
        expect![[r#"
            f as a <- a1 cpus:1; mem:100
            f as b <- a1 cpus:1; mem:100
            f as b <- a1 cpus:1; mem:100
            a: 1 refused
            b: 0 refused
        "#]],
    );
}

#[test]
fn unsuppressing_by_an_update_drops_refusals_and_waits_for_the_interval() {
    check(
        "framework f role=r | agent a1 cpus:1;mem:100 | run
         decline f a1 60 | update_framework f role=r suppressed=r | cycle
         update_framework f role=r | run | cycle",
        expect![[r#"
            f <- a1 cpus:1; mem:100
            nothing
            not due
            f <- a1 cpus:1; mem:100
        "#]],
    );
}

#[test]
fn a_role_that_was_left_forgets_its_refusals() {
    check(
        "framework f role=a | agent a1 cpus:1;mem:100 | run | decline f a1 60 | cycle
         update_framework f role=b suppressed=b | update_framework f role=a | cycle",
        expect![[r#"
            f <- a1 cpus:1; mem:100
            nothing
            f <- a1 cpus:1; mem:100
        "#]],
    );
}
