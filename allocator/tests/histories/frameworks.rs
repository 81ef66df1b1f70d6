//! Frameworks come, change and go.

use expect_test::expect;

use crate::common::check;

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
