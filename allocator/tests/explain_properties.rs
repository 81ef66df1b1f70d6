//! What is said of offers is what cycles do, after random histories.

#![allow(clippy::unwrap_used, reason = "a test says what is wrong by failing")]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use allocator::explain::{AgentExplanation, Kind, Question, Reason};
use allocator::{Allocation, Allocator};
use common::{Cluster, agent_id, framework_id};
use proptest::prelude::*;

/// A framework's role, and an agent.
type Pair = (String, String);

fn statement() -> impl Strategy<Value = String> {
    let (agent, framework) = (0..4u8, 0..4u8);
    let role = prop::sample::select(vec!["r", "r/x", "s"]);
    let roles = prop::sample::subsequence(vec!["r", "r/x", "s"], 1..3).prop_map(|roles| roles.join(","));
    let caps = prop::sample::select(vec!["", " caps=gpu", " caps=revocable", " caps=shared,refined", " old"]);
    let minimum = prop::sample::select(vec!["", "", " min=cpus:2", " min=mem:1"]);
    let total = prop::sample::select(vec![
        "cpus:4;mem:400",
        "cpus:2;mem:900;ports:[1-9]",
        "cpus(s):2;cpus:1;mem:200",
        "cpus:4;mem:100;gpus:1",
        "cpus:1;cpus~:3;mem:30;disk%v(r):9",
    ]);
    let pair = (framework.clone(), agent.clone());
    let quota =
        prop::sample::select(vec!["", "g=cpus:3", "g=mem:500 l=mem:900", "l=cpus:5", "g=cpus:8;mem:8"]);
    prop_oneof![
        4 => (agent.clone(), total).prop_map(|(a, total)| format!("agent a{a} {total}")),
        1 => agent.clone().prop_map(|a| format!("agent a{a} cpus:3;mem:300 used=f1,r,cpus:1;mem:50")),
        1 => agent.clone().prop_map(|a| format!("remove_agent a{a}")),
        1 => agent.clone().prop_map(|a| format!("deactivate_agent a{a}")),
        1 => agent.prop_map(|a| format!("activate_agent a{a}")),
        4 => (framework.clone(), roles, caps, minimum)
            .prop_map(|(f, roles, caps, minimum)| format!("framework f{f} role={roles}{caps}{minimum}")),
        1 => framework.clone().prop_map(|f| format!("remove_framework f{f}")),
        1 => framework.clone().prop_map(|f| format!("deactivate f{f}")),
        1 => framework.clone().prop_map(|f| format!("activate f{f}")),
        1 => (framework.clone(), role.clone()).prop_map(|(f, role)| format!("suppress f{f} {role}")),
        1 => (framework, role.clone()).prop_map(|(f, role)| format!("revive f{f} {role}")),
        1 => (role, 1..4u8).prop_map(|(role, weight)| format!("weight {role} {weight}")),
        2 => (prop::sample::select(vec!["r", "s"]), quota).prop_map(|(role, it)| format!("quota {role} {it}")),
        5 => pair.clone().prop_map(|(f, a)| format!("decline f{f} a{a} 7")),
        3 => pair.clone().prop_map(|(f, a)| format!("decline f{f} a{a} 100 first")),
        4 => pair.prop_map(|(f, a)| format!("recover f{f} a{a}")),
        6 => (1..6000u16).prop_map(|millis| format!("advance {millis}")),
        11 => Just("cycle".to_owned()),
    ]
}

/// Everything that is said to a framework, by role and agent.
fn said(cluster: &Cluster, framework: &str) -> BTreeMap<Pair, (Kind, AgentExplanation)> {
    let question = Question::default();
    let told = cluster.allocator.explain(cluster.now, &framework_id(framework), &question).unwrap();
    let mut said = BTreeMap::new();
    for role in told.roles {
        for group in role.agents.unwrap() {
            for agent in group.agents {
                said.insert((role.role.clone(), agent.agent_id.clone()), (group.reason, agent));
            }
        }
    }
    said
}

fn frameworks(cluster: &Cluster) -> Vec<String> {
    let ids = cluster.frameworks.keys();
    let known = |id: &&String| {
        cluster.allocator.explain(cluster.now, &framework_id(id), &Question::default()).is_ok()
    };
    ids.filter(known).cloned().collect()
}

fn cycle(allocator: &mut Allocator, cluster: &Cluster) -> Allocation {
    allocator.consider_all_agents();
    allocator.cycle(cluster.now, &mut cluster.rng.clone())
}

fn offered(allocation: &Allocation, framework: &str) -> BTreeSet<Pair> {
    let own = allocation.frameworks.iter().filter(|it| it.framework_id.value == framework);
    let offers = own.flat_map(|it| &it.offers);
    offers.map(|offer| (offer.role.clone(), offer.agent_id.to_string())).collect()
}

/// Alone, a framework is offered what it was told, and nothing else.
fn check_alone(cluster: &Cluster, framework: &str) -> Result<(), TestCaseError> {
    let mut allocator = cluster.allocator.clone();
    for other in frameworks(cluster).iter().filter(|other| *other != framework) {
        allocator.deactivate_framework(&framework_id(other)).unwrap();
    }
    let said = said(cluster, framework);
    let would: BTreeSet<&Pair> =
        said.iter().filter(|(_, (kind, _))| *kind == Kind::WouldBeOffered).map(|(pair, _)| pair).collect();
    let offered = offered(&cycle(&mut allocator, cluster), framework);
    for pair in &offered {
        // What another of its roles was given for a guarantee need not be held back any more.
        let released = said[pair].0 == Kind::HeldBack && offered.len() > 1;
        prop_assert!(
            would.contains(pair) || released,
            "{framework} got {pair:?}, but was told {:?}",
            said[pair]
        );
    }
    let quotas = cluster.allocator.quotas().next().is_some();
    for (_, agent) in &would {
        let some = offered.iter().any(|(_, other)| quotas || other == agent);
        prop_assert!(some, "{framework} was told of {agent}, but got {offered:?}");
    }
    Ok(())
}

/// Where an agent alone can be offered, who was said to come first does.
fn check_first(cluster: &Cluster, framework: &str) -> Result<(), TestCaseError> {
    for ((role, agent), (_, told)) in said(cluster, framework) {
        let Reason::WouldBeOffered { before, .. } = &told.reason else { continue };
        let (first, role) = match before {
            None => (framework, role),
            Some(claimant) => (claimant.framework_id.as_str(), claimant.role.clone()),
        };
        let mut allocator = cluster.allocator.clone();
        for other in cluster.agents.keys().filter(|other| **other != agent) {
            let _ = allocator.deactivate_agent(&agent_id(other));
        }
        let offered = offered(&cycle(&mut allocator, cluster), first);
        prop_assert!(offered.contains(&(role, agent)), "{framework} was told `{}`", told.text);
    }
    Ok(())
}

proptest! {
    #[test]
    fn what_is_said_is_what_a_cycle_does(
        history in prop::collection::vec(statement(), 1..60),
    ) {
        let mut cluster = Cluster::default();
        cluster.run(
            "framework f0 role=r | framework f1 role=r/x,s | framework f2 role=s
             agent a0 cpus:4;mem:400 | agent a1 cpus:9;mem:900 | agent a2 cpus(s):2;cpus:1;mem:200",
        );
        for statement in &history {
            cluster.run(statement);
        }
        for framework in frameworks(&cluster) {
            check_alone(&cluster, &framework)?;
            check_first(&cluster, &framework)?;
        }
    }
}
