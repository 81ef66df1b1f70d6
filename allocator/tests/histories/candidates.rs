//! What makes agents candidates, and when these are looked at.

use expect_test::expect;

use crate::common::check;

#[test]
fn many_events_are_answered_by_one_cycle_and_none_by_none() {
    check(
        "run | framework f role=r
         agent a1 cpus:1;mem:100 | agent a2 cpus:2;mem:200 | run | run",
        expect![[r#"
            not due
            f <- a1 cpus:1; mem:100
            f <- a2 cpus:2; mem:200
            not due
        "#]],
    );
}

#[test]
fn recovered_resources_wait_for_the_interval() {
    check(
        "framework f role=r | agent a1 cpus:4;mem:400 | run
         recover f a1 cpus:1 | recover f a1 cpus:1;mem:100 | run | cycle",
        expect![[r#"
            f <- a1 cpus:4; mem:400
            not due
            f <- a1 cpus:2; mem:100
        "#]],
    );
}

#[test]
fn suppressing_weights_quotas_and_removals_trigger_nothing() {
    check(
        "framework f role=r | agent a cpus:1 | run
         suppress f | run | weight r 2 | run | quota q g=cpus:1 | run | remove_framework f | run",
        expect![[r#"
            f <- a cpus:1
            not due
            not due
            not due
            not due
        "#]],
    );
}

#[test]
fn what_happens_during_a_pause_is_answered_after_it() {
    check(
        "framework f role=r | pause | pause | agent a1 cpus:1;mem:100 | run | cycle
         resume | run",
        expect![[r#"
            not due
            nothing
            f <- a1 cpus:1; mem:100
        "#]],
    );
}

#[test]
fn an_update_that_changes_nothing_makes_no_candidate() {
    check(
        "agent a1 cpus:8;mem:800 | cycle | total a1 mem:800;cpus:8 | run",
        expect![[r#"
            nothing
            not due
        "#]],
    );
}
