//! Agents that are going to be unavailable.

use expect_test::expect;

use crate::common::check;

#[test]
fn frameworks_on_an_agent_that_goes_are_asked_once_until_they_answer() {
    check(
        "framework f1 role=r | framework f2 role=r | framework f3 role=r
         agent a1 cpus:4;mem:64 used=f1,r,cpus:1 | agent a2 cpus:1;mem:64 | run
         unavailable a1 | run | cycle | answer f1 a1 | cycle | answer f1 a1 2 | cycle
         advance 2001 | cycle | available a1 | answer f1 a1 | cycle",
        expect![[r#"
            f3 <- a1 cpus:3; mem:64
            f2 <- a2 cpus:1; mem:64
            f1 is asked to leave a1
            f3 is asked to leave a1
            nothing
            f1 is asked to leave a1
            nothing
            f1 is asked to leave a1
            nothing
        "#]],
    );
}

#[test]
fn inactive_frameworks_are_not_asked_and_reviving_drops_inverse_filters() {
    check(
        "framework f role=r | agent a cpus:4;mem:64 | run | unavailable a | run | answer f a 60 | cycle
         revive f | run | answer f a | deactivate f | cycle | activate f | run",
        expect![[r#"
            f <- a cpus:4; mem:64
            f is asked to leave a
            nothing
            f is asked to leave a
            nothing
            f is asked to leave a
        "#]],
    );
}

#[test]
fn an_agent_that_offers_nothing_still_asks() {
    check(
        "framework f role=r | agent a cpus:4;mem:64 | run | deactivate_agent a | whitelist none
         unavailable a | run",
        expect![[r#"
            f <- a cpus:4; mem:64
            f is asked to leave a
        "#]],
    );
}

#[test]
fn whatever_changes_an_agent_drops_its_inverse_filters() {
    check(
        "framework f role=r | agent a cpus:4;mem:64 | run | unavailable a | run
         answer f a 60 | deactivate f | activate f | run
         answer f a 60 | attribute a x | run
         answer f a 60 | unavailable a | run",
        expect![[r#"
            f <- a cpus:4; mem:64
            f is asked to leave a
            f is asked to leave a
            f is asked to leave a
            f is asked to leave a
        "#]],
    );
}

#[test]
fn the_last_answers_are_kept_until_the_plan_changes() {
    check(
        "framework f role=r | framework g role=r | agent a cpus:4;mem:64 used=g,r,cpus:1 | run
         unavailable a | run | statuses | answer f a | answer g a | statuses | remove_framework g | statuses
         unavailable a | statuses | available a | statuses",
        expect![[r#"
            f <- a cpus:3; mem:64
            f is asked to leave a
            g is asked to leave a
            a: answers of []
            a: answers of ["f", "g"]
            a: answers of ["f"]
            a: answers of []
        "#]],
    );
}

#[test]
fn an_inverse_filter_lasts_as_long_as_asked_and_five_seconds_if_that_is_impossible() {
    check(
        "framework f role=r | agent a cpus:4;mem:64 | run | unavailable a | run
         answer f a 0.1 | advance 101 | cycle
         answer f a -1 | advance 5000 | cycle | advance 1 | cycle",
        expect![[r#"
            f <- a cpus:4; mem:64
            f is asked to leave a
            f is asked to leave a
            nothing
            f is asked to leave a
        "#]],
    );
}
