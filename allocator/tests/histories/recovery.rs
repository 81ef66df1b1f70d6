//! After a failover.

use expect_test::expect;

use crate::common::check;

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
