//! Resources change what they are.

use expect_test::expect;

use crate::common::{Cluster, agent_id, check, framework_id};

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
fn a_shared_volume_is_made_once() {
    check(
        "framework f role=r | agent a cpus:4;mem:64;disk(r):30 | run
         convert f a r disk(r):10 -> disk%x(r):10 | convert f a r disk(r):10 -> disk%x(r):10
         recover f a | convert_free a disk(r):10 -> disk%x(r):10
         convert_free a disk%x(r):10 -> disk%x(r):10 | cycle",
        expect![[r#"
            f <- a cpus:4; mem:64; disk(reservations: [(STATIC,r)]):30
            error: agent a has `disk(reservations: [(STATIC,r)])[x:x]<SHARED>:10` already; what is shared has to be told apart by its id
            error: agent a has `disk(reservations: [(STATIC,r)])[x:x]<SHARED>:10` already; what is shared has to be told apart by its id
            f <- a cpus:4; mem:64; disk(reservations: [(STATIC,r)]):20
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

#[test]
fn operations_are_on_resources_of_one_role() {
    use crate::common::resources;
    use allocator::Conversion;
    let mut cluster = Cluster::default();
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
