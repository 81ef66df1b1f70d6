//! Resources, agents and times that are not like any other, told as histories.

#![allow(clippy::unwrap_used, reason = "a test says what is wrong by failing")]

mod common;

use allocator::Options;
use allocator::sorter::SorterKind;
use common::{check, check_with};
use expect_test::expect;

// --- Resources that are not for everyone -------------------------------------------------------------------

#[test]
fn revocable_resources_are_stripped_for_those_who_do_not_know_them() {
    check(
        "framework f role=r/x | agent a cpus:1;mem:64;cpus~:2;disk(r):5 | cycle | recover f a
         update_framework f role=r/x caps=revocable | cycle",
        expect![[r#"
            f <- a cpus:1; mem:64; disk(reservations: [(STATIC,r)]):5
            f <- a cpus{REV}:2; cpus:1; mem:64; disk(reservations: [(STATIC,r)]):5
        "#]],
    );
}

#[test]
fn refined_reservations_are_stripped_for_those_who_do_not_know_them() {
    check(
        "framework f role=r/x | agent a cpus:1;mem:64;cpus^r/x(r):2 | cycle | recover f a
         update_framework f role=r/x caps=refined | cycle",
        expect![[r#"
            f <- a cpus:1; mem:64
            f <- a cpus(reservations: [(STATIC,r),(DYNAMIC,r/x)]):2; cpus:1; mem:64
        "#]],
    );
}

#[test]
fn what_is_reserved_dynamically_goes_to_its_role_only() {
    check(
        "framework f role=r | framework g role=s | agent a cpus:1;mem:64 | run
         convert f a r cpus:1 -> cpus^r:1 | recover f a | suppress f | cycle | revive f | cycle",
        expect![[r#"
            f <- a cpus:1; mem:64
            g <- a mem:64
            f <- a cpus(reservations: [(DYNAMIC,r)]):1
        "#]],
    );
}

#[test]
fn a_shared_volume_is_offered_once_a_cycle_and_to_everyone() {
    check(
        "framework f1 role=r caps=shared min=disk:1 | framework f2 role=r caps=shared min=disk:1
         framework f3 role=r | agent a cpus:1;mem:64;disk%v(r):10 | cycle | cycle | cycle",
        expect![[r#"
            f1 <- a cpus:1; mem:64; disk(reservations: [(STATIC,r)])[v:v]<SHARED>:10
            f2 <- a disk(reservations: [(STATIC,r)])[v:v]<SHARED>:10
            f1 <- a disk(reservations: [(STATIC,r)])[v:v]<SHARED>:10
        "#]],
    );
}

#[test]
fn copies_of_a_shared_volume_count_once_towards_a_share() {
    check(
        "framework f role=r caps=shared min=disk:1 | agent a disk%v(r):10;disk:10 | cycle | share r
         cycle | share r | recover f a disk%v(r):10 | share r | cycle | share r",
        expect![[r#"
            f <- a disk(reservations: [(STATIC,r)])[v:v]<SHARED>:10; disk:10
            r 1.0000
            f <- a disk(reservations: [(STATIC,r)])[v:v]<SHARED>:10
            r 1.0000
            r 1.0000
            f <- a disk(reservations: [(STATIC,r)])[v:v]<SHARED>:10
            r 1.0000
        "#]],
    );
}

#[test]
fn reserved_resources_of_a_parent_are_for_the_second_stage() {
    check(
        "framework f role=q/x | quota q g=cpus:4 | agent a cpus:2;mem:64;cpus(q):1;cpus(q/x):1 | run",
        expect![[r#"
            f <- a cpus(reservations: [(STATIC,q/x)]):1; cpus:2; mem:64; cpus(reservations: [(STATIC,q)]):1
        "#]],
    );
}

#[test]
fn a_role_s_own_reservations_alone_do_not_make_an_offer_of_the_first_stage() {
    check(
        "framework f role=q | framework d role=d | quota q g=gpus:1 | agent a cpus(q):2;mem(q):64 | run",
        expect![[r#"
            f <- a cpus(reservations: [(STATIC,q)]):2; mem(reservations: [(STATIC,q)]):64
        "#]],
    );
}

// --- Agents that are not for everyone ----------------------------------------------------------------------

#[test]
fn agents_of_another_region_are_for_those_who_know_about_regions() {
    check_with(
        Options { region: Some("home".to_owned()), ..Options::default() },
        "framework f role=r | agent a1 cpus:1 region=home | agent a2 cpus:1 region=away | agent a3 cpus:1 | cycle
         update_framework f role=r caps=region | cycle",
        expect![[r#"
            f <- a1 cpus:1
            f <- a3 cpus:1
            f <- a2 cpus:1
        "#]],
    );
}

#[test]
fn without_a_region_of_the_master_all_agents_are_near() {
    check(
        "framework f role=r | agent a cpus:1 region=away | run",
        expect![[r#"
            f <- a cpus:1
        "#]],
    );
}

#[test]
fn offer_constraints_leave_agents_to_others_and_can_change() {
    check(
        "framework f role=r where=ssd | framework g role=s
         agent a1 cpus:1 attribute=ssd | agent a2 cpus:1 attribute=disk | agent a3 cpus:1 | cycle
         recover g a2 | suppress g | update_framework f role=r where=disk | cycle",
        expect![[r#"
            f <- a1 cpus:1
            g <- a2 cpus:1
            g <- a3 cpus:1
            f <- a2 cpus:1
        "#]],
    );
}

#[test]
fn an_empty_list_of_minimums_accepts_everything() {
    check(
        "framework f role=r | agent a mem:1 | cycle | update_framework f role=r min= | cycle",
        expect![[r#"
            nothing
            f <- a mem:1
        "#]],
    );
}

#[test]
fn what_a_resource_provider_brings_is_the_agent_s() {
    check(
        "framework f role=r | agent a cpus:1;mem:64 | cycle | provider a disk:10;mem:100 | cycle | share r",
        expect![[r#"
            f <- a cpus:1; mem:64
            f <- a mem:100; disk:10
            r 1.0000
        "#]],
    );
}

// --- Operations --------------------------------------------------------------------------------------------

#[test]
fn what_a_framework_reserves_stays_its_own_and_goes_to_its_role_only() {
    check(
        "framework f role=r | framework g role=s | agent a cpus:4;mem:64 | run
         convert f a r cpus:2 -> cpus(r):2 | recover f a cpus(r):2 | cycle | recover f a | cycle",
        expect![[r#"
            f <- a cpus:4; mem:64
            f <- a cpus(reservations: [(STATIC,r)]):2
            f <- a cpus(reservations: [(STATIC,r)]):2
            g <- a cpus:2; mem:64
        "#]],
    );
}

#[test]
fn operations_that_cannot_be_applied_change_nothing() {
    check(
        "framework f role=r | agent a cpus:4;mem:64 | run
         convert f a r cpus:5 -> cpus(r):5 | convert_free a cpus:1 -> cpus(r):1
         recover f a | cycle",
        expect![[r#"
            f <- a cpus:4; mem:64
            error: framework f does not hold `cpus:5` in role `r` on agent a
            error: agent a has only `{}` of which to take `cpus:1`
            f <- a cpus:4; mem:64
        "#]],
    );
}

#[test]
fn an_operator_reserves_what_is_free() {
    check(
        "framework f role=r | agent a cpus:4;mem:64 | convert_free a cpus:3 -> cpus(s):3 | cycle
         framework g role=s/t | cycle",
        expect![[r#"
            f <- a cpus:1; mem:64
            g <- a cpus(reservations: [(STATIC,s)]):3
        "#]],
    );
}

// --- Quota changes with what happens -----------------------------------------------------------------------

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

// --- After a failover --------------------------------------------------------------------------------------

#[test]
fn offers_wait_for_most_agents_when_there_are_quotas() {
    check(
        "framework f role=r | recover_cluster 3 q g=cpus:1
         agent a1 cpus:4;mem:64 | run | pause | resume | run | agent a2 cpus:4;mem:64 | run",
        expect![[r#"
            not due
            not due
            f <- a1 cpus:3; mem:64
            f <- a2 cpus:4; mem:64
        "#]],
    );
}

#[test]
fn offers_wait_no_longer_than_the_timeout() {
    check(
        "framework f role=r | recover_cluster 9 q l=cpus:1
         agent a1 cpus:4;mem:64 | run | recovery_timeout | run",
        expect![[r#"
            not due
            f <- a1 cpus:4; mem:64
        "#]],
    );
}

#[test]
fn nothing_waits_without_quotas() {
    check(
        "framework f role=r | recover_cluster 9 q | agent a1 cpus:4;mem:64 | run",
        expect![[r#"
            f <- a1 cpus:4; mem:64
        "#]],
    );
}

#[test]
fn nothing_waits_when_too_few_agents_were_known() {
    check(
        "framework f role=r | recover_cluster 1 q l=cpus:1 | agent a1 cpus:4;mem:64 | run",
        expect![[r#"
            f <- a1 cpus:4; mem:64
        "#]],
    );
}

// --- Maintenance -------------------------------------------------------------------------------------------

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
fn operations_are_on_resources_of_one_role() {
    use allocator::Conversion;
    use common::{agent_id, framework_id, resources};
    let mut cluster = common::Cluster::default();
    cluster.run("framework f role=r,s | agent a cpus:4;mem:64 | run");
    let conversion = |role: &str| Conversion {
        consumed: resources("cpus:1").allocated(role),
        converted: resources(&format!("cpus({role}):1")).allocated(role),
    };
    let both = [conversion("r"), conversion("s")];
    let error = cluster.allocator.update_allocation(&framework_id("f"), &agent_id("a"), &both).unwrap_err();
    assert_eq!(error.to_string(), "operations on agent a have to be on resources allocated to one role");
    let nobodys = Conversion { consumed: resources("cpus:1"), converted: resources("cpus(r):1") };
    let nobodys = [nobodys];
    let error =
        cluster.allocator.update_allocation(&framework_id("f"), &agent_id("a"), &nobodys).unwrap_err();
    assert!(error.to_string().contains("has to be allocated to a role"), "{error}");
    cluster.allocator.check_invariants().unwrap();
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

// --- What makes candidates ---------------------------------------------------------------------------------

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

// --- What counts -------------------------------------------------------------------------------------------

#[test]
fn shares_are_of_all_there_is_revocable_and_reserved_too() {
    check(
        "framework f role=r | agent a cpus:1 | agent b cpus~:1 | agent c cpus(s):2 | cycle | share r",
        expect![[r#"
            f <- a cpus:1
            r 0.2500
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

#[test]
fn members_of_a_set_count_towards_a_minimum() {
    check(
        "framework f role=r min=zones:2 | agent a zones:{x} | agent b zones:{x,y} | run",
        expect![[r#"
            f <- b zones:{x, y}
        "#]],
    );
}

#[test]
fn agents_with_gpus_are_for_all_if_the_operator_says_so() {
    check_with(
        Options { filter_gpu_resources: false, ..Options::default() },
        "framework f role=r | agent a cpus:1;gpus:1 | run",
        expect![[r#"
            f <- a cpus:1; gpus:1
        "#]],
    );
}

#[test]
fn roles_too_long_or_too_deep_are_refused() {
    let deep = "a/".repeat(100) + "a";
    let long = "a".repeat(2000);
    check(
        &format!("framework f role={deep} | framework g role={long} | quota {long} g=cpus:1 | roles"),
        expect![[r#"
            error: `a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/` is not a role: components between `/` must not be empty or `.`, and it must not be too long
            error: `aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa` is not a role: components between `/` must not be empty or `.`, and it must not be too long
            error: `aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa` is not a role: components between `/` must not be empty or `.`, and it must not be too long
        "#]],
    );
}

// --- The random sorter -------------------------------------------------------------------------------------

#[test]
fn lots_are_drawn_without_regard_to_shares() {
    check_with(
        Options { sorter: SorterKind::Random, ..Options::default() },
        "framework f role=r | framework g role=s | quota s l=cpus:2;mem:128
         agent a1 cpus:1;mem:64 | agent a2 cpus:1;mem:64 | agent a3 cpus:1;mem:64 | agent a4 cpus:1;mem:64
         agent a5 cpus:1;mem:64 | agent a6 cpus:1;mem:64 | agent a7 cpus:1;mem:64 | agent a8 cpus:1;mem:64 | run",
        expect![[r#"
            f <- a1 cpus:1; mem:64
            f <- a2 cpus:1; mem:64
            f <- a3 cpus:1; mem:64
            g <- a4 cpus:1; mem:64
            f <- a5 cpus:1; mem:64
            f <- a6 cpus:1; mem:64
            g <- a7 cpus:1; mem:64
            f <- a8 cpus:1; mem:64
        "#]],
    );
}
