//! Resources that are not for everyone.

use expect_test::expect;

use crate::common::check;

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
