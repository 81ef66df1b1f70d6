//! What is worth an offer.

use allocator::Options;
use expect_test::expect;

use crate::common::{check, check_with};

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
fn members_of_a_set_count_towards_a_minimum() {
    check(
        "framework f role=r min=zones:2 | agent a zones:{x} | agent b zones:{x,y} | run",
        expect![[r#"
            f <- b zones:{x, y}
        "#]],
    );
}
