//! Guarantees, limits, and what is held back.

use allocator::Options;
use expect_test::expect;

use crate::common::{check, check_with};

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

#[test]
fn what_a_limit_kept_is_offered_when_the_limit_is_raised_or_something_comes_back() {
    check(
        "framework f role=q | quota q l=cpus:2;mem:100
         agent a1 cpus:4;mem:64 | agent a2 cpus:4;mem:64 | cycle | cycle
         recover f a1 | cycle | quota q l=cpus:3;mem:1000 | cycle | quota q | cycle",
        expect![[r#"
            f <- a1 mem:36
            f <- a2 cpus:2; mem:64
            nothing
            f <- a1 mem:36
            f <- a2 cpus:1
            f <- a1 cpus:4; mem:28
            f <- a2 cpus:1
        "#]],
    );
}

#[test]
fn what_the_headroom_kept_is_offered_when_the_guarantee_is_met_or_dropped() {
    check(
        "framework d role=d | quota q g=cpus:4 | agent a1 cpus:4;mem:64 | cycle
         agent a2 cpus:4;mem:64 | cycle | quota q g=cpus:8 | recover d a1 | recover d a2 | cycle
         quota q g=cpus:2 | cycle | quota q | cycle",
        expect![[r#"
            nothing
            d <- a2 cpus:4; mem:64
            nothing
            d <- a1 cpus:2; mem:64
            d <- a2 cpus:4; mem:64
            d <- a1 cpus:2
        "#]],
    );
}

#[test]
fn a_refusal_holds_for_what_quota_cuts_off_again() {
    check(
        "framework f role=q | quota q l=cpus:2;mem:1000 | agent a cpus:4;mem:64 | cycle
         decline f a 60 | cycle | total a cpus:8;mem:64 | cycle | quota q l=cpus:3;mem:1000 | cycle",
        expect![[r#"
            f <- a cpus:2; mem:64
            nothing
            nothing
            f <- a cpus:3; mem:64
        "#]],
    );
}

#[test]
fn a_guarantee_is_served_before_smaller_shares() {
    check(
        "framework d role=d | framework q role=q | agent a1 cpus:4;mem:64 used=q,q,cpus:3 | cycle | recover d a1
         quota q g=cpus:4 | cycle",
        expect![[r#"
            d <- a1 cpus:1; mem:64
            q <- a1 cpus:1; mem:64
        "#]],
    );
}

#[test]
fn quota_is_for_top_level_roles_and_a_guarantee_is_within_the_limit() {
    check(
        "quota q/x g=cpus:1 | quota q g=cpus:2 l=cpus:1 | quota /x g=cpus:1",
        expect![[r#"
            error: `q/x` is below another role; quota is set for the top-level role, and counts for all below it
            error: role `q` cannot be guaranteed cpus:2, as its limit is 1
            error: `/x` is not a role: components between `/` must not be empty or `.`, and it must not be too long
        "#]],
    );
}

#[test]
fn what_is_offered_counts_as_consumed_once_it_is_used() {
    check(
        "framework f role=q/x | quota q g=cpus:9 | agent a1 cpus:4;mem:64 | agent a2 cpus:2;mem:64;cpus(q):1 | cycle
         consumed q cpus | use f a1 | consumed q cpus | recover f a2 | consumed q cpus
         remove_framework f | consumed q cpus",
        expect![[r#"
            f <- a1 cpus:4; mem:64
            f <- a2 cpus:2; mem:64; cpus(reservations: [(STATIC,q)]):1
            q cpus: 7 held, 1 consumed
            q cpus: 7 held, 5 consumed
            q cpus: 4 held, 5 consumed
            q cpus: 0 held, 1 consumed
        "#]],
    );
}

#[test]
fn a_guarantee_is_given_though_the_headroom_is_in_deficit() {
    check(
        "framework f role=q | quota q g=cpus:4 | quota p g=cpus:8 | agent a cpus:4;mem:64 | run",
        expect![[r#"
            f <- a cpus:4; mem:64
        "#]],
    );
}

#[test]
fn a_whole_disk_is_dropped_unless_it_fits() {
    check(
        "framework d role=d | quota q g=disk:15 | agent a cpus:1;mem:64;disk:10;disk@m:20 | run",
        expect![[r#"
            d <- a mem:64; disk:10; cpus:1
        "#]],
    );
}

#[test]
fn only_missing_cpus_or_mem_make_a_scrap() {
    check(
        "framework d role=d | quota q g=disk:10 | agent a cpus:4;mem:64;disk:10 | run",
        expect![[r#"
            d <- a cpus:4; mem:64
        "#]],
    );
}
