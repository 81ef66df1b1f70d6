//! Whose turn it is.

use allocator::Options;
use allocator::sorter::SorterKind;
use expect_test::expect;

use crate::common::{check, check_with};

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
