//! Operations, over random histories: after each, what agents have, what is held and what is left add up.

#![allow(clippy::unwrap_used, reason = "a test says what is wrong by failing")]

mod common;

use common::Cluster;
use proptest::prelude::*;

/// What may become what, each line for itself.
const FORMS: [&[&str]; 4] = [
    &["cpus:1", "cpus(r):1", "cpus(s):1"],
    &["cpus:2.5", "cpus(r):2.5"],
    &["mem:32", "mem(r):32"],
    &["ports:[1-2]", "ports(r):[1-2]", "ports(s):[1-2]"],
];

fn statement() -> impl Strategy<Value = String> {
    let conversion = prop::sample::select(FORMS.to_vec())
        .prop_flat_map(|forms| (prop::sample::select(forms), prop::sample::select(forms)));
    let who = prop::sample::select(vec!["convert f a r", "convert g a s", "convert_free a"]);
    let convert = (who, conversion).prop_map(|(who, (from, to))| format!("{who} {from} -> {to}"));
    let others = [
        "cycle",
        "recover f a",
        "recover g a",
        "use f a",
        "use g a",
        "total a cpus:2;mem:64;ports:[1-2]",
        "total a cpus:6;mem:128;ports:[1-4]",
        "quota r g=cpus:2 l=cpus:4",
        "quota r",
        "quota s g=cpus:1",
        "revive f",
        "revive g",
    ];
    prop_oneof![
        2 => convert,
        1 => prop::sample::select(others.to_vec()).prop_map(str::to_owned),
    ]
}

proptest! {
    #[test]
    fn whatever_operations_make_of_resources_adds_up(
        statements in prop::collection::vec(statement(), 1..40),
    ) {
        let mut cluster = Cluster::default();
        cluster.run("framework f role=r | framework g role=s | agent a cpus:6;cpus(r):2;mem:128;ports:[1-4]");
        // Each statement is followed by a check of all invariants.
        for statement in statements {
            cluster.run(&statement);
        }
    }
}
