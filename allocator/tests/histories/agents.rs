//! Agents come, change and go, and are not for everyone.

use allocator::Options;
use expect_test::expect;

use crate::common::{check, check_with};

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
