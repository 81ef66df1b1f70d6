//! Quota, reservations and the resources that are not for everyone, told as histories.

#![allow(clippy::unwrap_used, reason = "a test says what is wrong by failing")]

mod common;

use allocator::Options;
use common::{check, check_with};
use expect_test::expect;

/// As upstream: what the headroom leaves is offered, be it without cpus.
fn scraps() -> Options {
    Options { headroom_scraps: true, ..Options::default() }
}

#[test]
fn an_agent_is_cut_at_the_limit_and_at_the_headroom() {
    check(
        "framework fq role=q | framework fd role=d | quota q g=cpus:10 l=cpus:12
         agent a cpus:15;mem:15000;ports:[1-9] | run",
        expect![[r#"
            fd <- a cpus:3
            fq <- a ports:[1-9]; cpus:12; mem:15000
        "#]],
    );
}

#[test]
fn what_a_role_without_frameworks_is_guaranteed_is_held_back() {
    let script = "framework fd role=d | quota q g=cpus:10
         agent a1 cpus:10;mem:1000 | agent a2 cpus:10;mem:1000 | run";
    check_with(
        scraps(),
        script,
        expect![[r#"
            fd <- a1 mem:1000
            fd <- a2 cpus:10; mem:1000
        "#]],
    );
    check(
        script,
        expect![[r#"
            fd <- a2 cpus:10; mem:1000
        "#]],
    );
}

#[test]
fn a_framework_that_named_its_minimum_takes_scraps() {
    check(
        "framework fd role=d min=mem:32 | quota q g=cpus:10 | agent a1 cpus:10;mem:1000 | run",
        expect![[r#"
            fd <- a1 mem:1000
        "#]],
    );
}

#[test]
fn reservations_count_towards_the_guarantee() {
    check(
        "framework fd role=d | quota q g=cpus:10
         agent a1 cpus(q):10;mem:1000 | agent a2 cpus:10;mem:1000 | run",
        expect![[r#"
            fd <- a1 mem:1000
            fd <- a2 cpus:10; mem:1000
        "#]],
    );
}

#[test]
fn a_limit_of_a_role_binds_the_roles_below_it() {
    check(
        "framework f1 role=q/x | framework f2 role=q/y | quota q l=cpus:4;mem:1000
         agent a1 cpus:3;mem:600 | agent a2 cpus:3;mem:600 | agent a3 cpus:3;mem:600 | cycle
         cycle | recover f2 a2 | cycle",
        expect![[r#"
            f2 <- a2 cpus:1; mem:400
            f1 <- a3 cpus:3; mem:600
            nothing
            f2 <- a1 cpus:1; mem:400
        "#]],
    );
}

#[test]
fn what_is_reserved_to_a_role_is_offered_though_the_rest_would_be_a_scrap() {
    check(
        "framework d role=d | quota q g=cpus:4 | agent a cpus:4;mem:64;mem(d):96;ports:[1-2] | cycle | cycle
         quota q | cycle",
        expect![[r#"
            d <- a mem(reservations: [(STATIC,d)]):96
            nothing
            d <- a cpus:4; mem:64; ports:[1-2]
        "#]],
    );
}
