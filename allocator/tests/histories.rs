//! What the allocator does, told as histories: input in words, expected offers.

#![allow(clippy::unwrap_used, reason = "a test says what is wrong by failing")]

mod common;

use allocator::Options;
use common::{check, check_with};
use expect_test::expect;

#[test]
fn the_role_with_the_smaller_share_gets_the_new_agent() {
    check(
        "agent a1 cpus:4;mem:2048 | framework f1 role=ads | cycle
         framework f2 role=web | agent a2 cpus:2;mem:512 | cycle",
        expect![[r#"
            f1 <- a1 cpus:4; mem:2048
            f2 <- a2 cpus:2; mem:512
        "#]],
    );
}

#[test]
fn a_chain_of_arrivals_goes_to_whoever_has_the_smaller_dominant_share() {
    check(
        "framework b1 role=blue
         agent a1 cpus:4;mem:2000 | run | share blue
         framework r1 role=red
         agent a2 cpus:2;mem:6000 | run | share blue | share red
         agent a3 cpus:6;mem:2000 | run | share blue | share red
         framework r2 role=red
         agent a4 cpus:8;mem:10000 | run | share blue | share red
         agent a5 cpus:4;mem:4000 | run | share blue | share red
         weight blue 3
         agent a6 cpus:8;mem:8000 | run | share blue | share red
         agent a7 cpus:8;mem:8000 | run | share blue | share red",
        expect![[r#"
            b1 <- a1 cpus:4; mem:2000
            blue 1.0000
            r1 <- a2 cpus:2; mem:6000
            blue 0.6667
            red 0.7500
            b1 <- a3 cpus:6; mem:2000
            blue 0.8333
            red 0.6000
            r2 <- a4 cpus:8; mem:10000
            blue 0.5000
            red 0.8000
            b1 <- a5 cpus:4; mem:4000
            blue 0.5833
            red 0.6667
            b1 <- a6 cpus:8; mem:8000
            blue 0.2292
            red 0.5000
            b1 <- a7 cpus:8; mem:8000
            blue 0.2500
            red 0.4000
        "#]],
    );
}

#[test]
fn nested_roles_share_what_their_parent_gets() {
    check(
        "framework e role=eng | framework m role=eng/ml | framework o role=ops
         agent a1 cpus:10;mem:100 | run
         agent a2 cpus:10;mem:100 | run
         agent a3 cpus:10;mem:100 | run
         agent a4 cpus:10;mem:100 | run
         share eng | share eng/ml | share ops",
        expect![[r#"
            e <- a1 cpus:10; mem:100
            o <- a2 cpus:10; mem:100
            m <- a3 cpus:10; mem:100
            o <- a4 cpus:10; mem:100
            eng 0.5000
            eng/ml 0.2500
            ops 0.5000
        "#]],
    );
}

#[test]
fn a_framework_in_two_roles_competes_in_both() {
    check(
        "framework f role=a,b | framework g role=a
         agent a1 cpus:1;mem:100 | run | agent a2 cpus:1;mem:100 | run
         agent a3 cpus:1;mem:100 | run | agent a4 cpus:1;mem:100 | run",
        expect![[r#"
            f as a <- a1 cpus:1; mem:100
            f as b <- a2 cpus:1; mem:100
            g <- a3 cpus:1; mem:100
            f as b <- a4 cpus:1; mem:100
        "#]],
    );
}

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

// --- What is worth an offer ------------------------------------------------------------------------------

#[test]
fn scraps_below_the_minimum_are_kept_until_they_add_up() {
    check(
        "framework f role=r | agent a1 cpus:1;mem:100;disk:10 | run
         recover f a1 disk:10 | cycle
         recover f a1 mem:31 | cycle
         recover f a1 mem:1 | cycle
         recover f a1 cpus:0.009 | cycle
         recover f a1 cpus:0.001 | cycle",
        expect![[r#"
            f <- a1 cpus:1; mem:100; disk:10
            nothing
            nothing
            f <- a1 disk:10; mem:32
            nothing
            f <- a1 cpus:0.01
        "#]],
    );
}

#[test]
fn a_framework_may_set_its_own_minimum() {
    check(
        "framework f role=r min=cpus:2;mem:100 | agent a1 cpus:1;mem:1000 | run
         agent a2 cpus:2;mem:100 | run
         update_framework f role=r min= | cycle
         recover f a1 mem:1 | cycle",
        expect![[r#"
            nothing
            f <- a2 cpus:2; mem:100
            f <- a1 cpus:1; mem:1000
            f <- a1 mem:1
        "#]],
    );
}

#[test]
fn ports_count_their_numbers_towards_a_minimum() {
    check(
        "framework f role=r min=ports:5 | agent a1 cpus:9;ports:[1-4] | agent a2 ports:[1-2,7-9] | run",
        expect![[r#"
            f <- a2 ports:[1-2, 7-9]
        "#]],
    );
}

#[test]
fn without_any_minimum_every_scrap_is_offered() {
    check_with(
        Options { min_allocatable_resources: Vec::new(), ..Options::default() },
        "framework f role=r | agent a1 cpus:1;ports:[1-9] | run | recover f a1 cpus:0.001 | cycle",
        expect![[r#"
            f <- a1 cpus:1; ports:[1-9]
            f <- a1 cpus:0.001
        "#]],
    );
}

#[test]
fn excluded_names_do_not_count_towards_a_share() {
    let script = "framework f role=r | agent a1 cpus:1;mem:100;gpus:4 | framework g role=s caps=gpu | run
                  update_framework f role=r caps=gpu | agent a2 cpus:2;mem:200 | run
                  agent a3 cpus:2;mem:200 | run | agent a4 cpus:1;mem:100 | run";
    check(
        script,
        expect![[r#"
            g <- a1 cpus:1; mem:100; gpus:4
            f <- a2 cpus:2; mem:200
            f <- a3 cpus:2; mem:200
            f <- a4 cpus:1; mem:100
        "#]],
    );
    check_with(
        Options {
            fair_sharing_excluded_resource_names: std::collections::BTreeSet::from(["gpus".to_owned()]),
            ..Options::default()
        },
        script,
        expect![[r#"
            g <- a1 cpus:1; mem:100; gpus:4
            f <- a2 cpus:2; mem:200
            g <- a3 cpus:2; mem:200
            f <- a4 cpus:1; mem:100
        "#]],
    );
}

// --- Refusals --------------------------------------------------------------------------------------------

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

// --- Suppress and revive ---------------------------------------------------------------------------------

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

// --- Frameworks come, change and go ----------------------------------------------------------------------

#[test]
fn a_removed_framework_leaves_what_it_held() {
    check(
        "framework f role=r | agent a1 cpus:1;mem:100 | run
         remove_framework f | roles | framework g role=r | run
         remove_framework f",
        expect![[r#"
            f <- a1 cpus:1; mem:100
            g <- a1 cpus:1; mem:100
            error: framework f is not known to the allocator; add it first
        "#]],
    );
}

#[test]
fn an_inactive_framework_gets_nothing_and_its_role_takes_no_turn() {
    check(
        "framework f role=r inactive | framework g role=s | agent a1 cpus:1;mem:100 | run
         activate f | agent a2 cpus:1;mem:100 | run",
        expect![[r#"
            g <- a1 cpus:1; mem:100
            f <- a2 cpus:1; mem:100
        "#]],
    );
}

#[test]
fn a_role_a_framework_left_is_tracked_while_it_holds_something_there() {
    check(
        "framework f role=a | agent a1 cpus:1;mem:100 | run
         update_framework f role=b | roles | share a
         agent a2 cpus:1;mem:100 | run
         recover f a1 | roles",
        expect![[r#"
            f <- a1 cpus:1; mem:100
            a: 0 refused
            b: 0 refused
            a 1.0000
            f <- a2 cpus:1; mem:100
            b: 0 refused
        "#]],
    );
}

#[test]
fn resources_of_a_framework_not_yet_known_are_not_offered_and_count_once_it_is() {
    check(
        "agent a1 cpus:4;mem:400 used=f,r,cpus:3;mem:300 | framework g role=s | run
         framework f role=r | share r | share s
         recover f a1 cpus:1 | cycle",
        expect![[r#"
            g <- a1 cpus:1; mem:100
            r 0.7500
            s 0.2500
            g <- a1 cpus:1
        "#]],
    );
}

#[test]
fn resources_of_a_framework_that_never_came_back_can_be_recovered() {
    check(
        "agent a1 cpus:4;mem:400 used=f,r,cpus:3;mem:300 | framework g role=s | run
         recover f a1 cpus:2 | cycle | recover f a1 | cycle",
        expect![[r#"
            g <- a1 cpus:1; mem:100
            g <- a1 cpus:2
            g <- a1 cpus:1; mem:300
        "#]],
    );
}

// --- Agents come, change and go --------------------------------------------------------------------------

#[test]
fn a_removed_agent_takes_everything_with_it() {
    check(
        "framework f role=r | agent a1 cpus:1;mem:100 | agent a2 cpus:3;mem:300 | run
         decline f a1 60 | remove_agent a1 | remove_agent a2 | share r | roles
         recover f a2 | agent a1 cpus:1;mem:100 | run",
        expect![[r#"
            f <- a1 cpus:1; mem:100
            f <- a2 cpus:3; mem:300
            r 0.0000
            r: 0 refused
            f <- a1 cpus:1; mem:100
        "#]],
    );
}

#[test]
fn a_deactivated_agent_offers_nothing() {
    check(
        "framework f role=r | agent a1 cpus:1;mem:100 | deactivate_agent a1 | run | cycle
         activate_agent a1 | run | cycle",
        expect![[r#"
            nothing
            nothing
            not due
            f <- a1 cpus:1; mem:100
        "#]],
    );
}

#[test]
fn an_agent_that_shrank_below_what_is_held_keeps_what_comes_back() {
    check(
        "framework f role=r | agent a1 cpus:8;mem:800 | run
         total a1 cpus:2;mem:800 | run
         recover f a1 cpus:5 | cycle
         recover f a1 cpus:2 | cycle
         total a1 cpus:4;mem:800 | run",
        expect![[r#"
            f <- a1 cpus:8; mem:800
            nothing
            nothing
            f <- a1 cpus:1
            f <- a1 cpus:2
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

#[test]
fn the_whitelist_goes_by_hostname() {
    check(
        "framework f role=r | agent a1 cpus:1;mem:100 host=h1 | agent a2 cpus:1;mem:100 host=h2
         whitelist h2 | run | whitelist none | cycle | whitelist all | run | cycle",
        expect![[r#"
            f <- a2 cpus:1; mem:100
            nothing
            not due
            f <- a1 cpus:1; mem:100
        "#]],
    );
}

// --- Who understands whom --------------------------------------------------------------------------------

#[test]
fn agents_with_gpus_are_kept_for_those_who_know_about_them() {
    check(
        "framework f role=r | agent a1 cpus:1;mem:100;gpus:1 | run
         framework g role=s caps=gpu | run
         recover g a1 cpus:1;mem:100 | cycle
         suppress g | update_framework f role=r caps=gpu | recover g a1 | cycle",
        expect![[r#"
            nothing
            g <- a1 cpus:1; mem:100; gpus:1
            g <- a1 cpus:1; mem:100
            f <- a1 gpus:1; cpus:1; mem:100
        "#]],
    );
}

#[test]
fn old_agents_are_for_old_frameworks_in_plain_roles() {
    check(
        "agent a1 cpus:1;mem:100 old
         framework f role=r | framework g role=x/y old | run
         framework h role=x old | run
         recover h a1 | suppress h | upgrade_agent a1 | run",
        expect![[r#"
            nothing
            h <- a1 cpus:1; mem:100
            f <- a1 cpus:1; mem:100
        "#]],
    );
}

#[test]
fn reserved_resources_go_to_their_role_and_those_below_it() {
    check(
        "agent a1 cpus(x):4;cpus:1;mem:100 | framework f role=r | run
         recover f a1 | suppress f | framework g role=x/y | run",
        expect![[r#"
            f <- a1 cpus:1; mem:100
            g <- a1 cpus(reservations: [(STATIC,x)]):4; cpus:1; mem:100
        "#]],
    );
}

// --- Pausing ---------------------------------------------------------------------------------------------

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

// --- Calls that make no sense ----------------------------------------------------------------------------

#[test]
fn calls_that_make_no_sense_are_refused_and_change_nothing() {
    check(
        "framework f role=r | framework f role=r | framework x/y role=r | framework g role=a//b | agent a1 cpus:1;mem:100
         agent a1 cpus:1 | run | update_framework f role=. | remove_agent a2 | revive g
         weight r 0 | weight r -1 | weight r NaN | weight r/ 2
         decline f a1 5 cpus:2",
        expect![[r#"
            error: framework f was added already; update it instead
            error: `x/y` is not the id of a framework: it must not be empty or `.`, nor contain `/`
            error: `a//b` is not a role: components between `/` must not be empty or `.`, and it must not be too long
            error: agent a1 was added already; update it instead
            f <- a1 cpus:1; mem:100
            error: `.` is not a role: components between `/` must not be empty or `.`, and it must not be too long
            error: agent a2 is not known to the allocator; add it first
            error: framework g is not known to the allocator; add it first
            error: weight 0 of role `r` has to be a finite number above zero
            error: weight -1 of role `r` has to be a finite number above zero
            error: weight NaN of role `r` has to be a finite number above zero
            error: `r/` is not a role: components between `/` must not be empty or `.`, and it must not be too long
            error: framework f does not hold `cpus(allocated: r):2` in role `r` on agent a1
        "#]],
    );
}
