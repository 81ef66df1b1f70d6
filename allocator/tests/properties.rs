//! Random histories: whatever happens, the invariants hold, nobody is offered what he refused or should not
//! see, and in the end everything is free again.

#![allow(clippy::unwrap_used, reason = "a test says what is wrong by failing")]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use allocator::Options;
use api::resources::Resources;
use common::{Cluster, resources};
use libprocess::Time;
use proptest::prelude::*;

const ROLES: [&str; 4] = ["r", "r/x", "r/x/y", "s"];

/// A statement of the histories' language.
fn statement() -> impl Strategy<Value = String> {
    let agent = 0..4u8;
    let framework = 0..4u8;
    let total = (1..6u8, 0..4u8, 0..3u8).prop_map(|(cpus, mem, reserved)| {
        let reserved = if reserved == 0 { String::new() } else { format!("cpus(r):{reserved};") };
        format!("{reserved}cpus:{cpus};mem:{};ports:[1-{cpus}]", u32::from(mem) * 100)
    });
    let roles = prop::sample::subsequence(ROLES.to_vec(), 1..3).prop_map(|roles| roles.join(","));
    let role = prop::sample::select(ROLES.to_vec());
    let seconds = prop::sample::select(vec!["-1", "0", "0.5", "3", "7", "100"]);
    let pair = (framework.clone(), agent.clone());
    prop_oneof![
        4 => (agent.clone(), total.clone()).prop_map(|(a, total)| format!("agent a{a} {total}")),
        1 => agent.clone().prop_map(|a| format!("agent a{a} cpus:3;mem:300 used=f1,r,cpus:1;mem:50")),
        1 => agent.clone().prop_map(|a| format!("remove_agent a{a}")),
        1 => agent.clone().prop_map(|a| format!("deactivate_agent a{a}")),
        2 => agent.clone().prop_map(|a| format!("activate_agent a{a}")),
        1 => (agent.clone(), total).prop_map(|(a, total)| format!("total a{a} {total}")),
        1 => (agent, 0..3u8).prop_map(|(a, value)| format!("attribute a{a} {value}")),
        4 => (framework.clone(), roles.clone()).prop_map(|(f, roles)| format!("framework f{f} role={roles}")),
        1 => framework.clone().prop_map(|f| format!("remove_framework f{f}")),
        1 => framework.clone().prop_map(|f| format!("deactivate f{f}")),
        2 => framework.clone().prop_map(|f| format!("activate f{f}")),
        2 => (framework.clone(), roles.clone(), role.clone())
            .prop_map(|(f, roles, role)| format!("update_framework f{f} role={roles} suppressed={role}")),
        1 => (framework.clone(), role.clone()).prop_map(|(f, role)| format!("suppress f{f} {role}")),
        1 => (framework, role.clone()).prop_map(|(f, role)| format!("revive f{f} {role}")),
        1 => (role, 1..4u8).prop_map(|(role, weight)| format!("weight {role} {weight}")),
        6 => (pair.clone(), seconds.clone()).prop_map(|((f, a), it)| format!("decline f{f} a{a} {it}")),
        4 => (pair.clone(), seconds).prop_map(|((f, a), it)| format!("decline f{f} a{a} {it} first")),
        3 => pair.prop_map(|(f, a)| format!("recover f{f} a{a}")),
        1 => Just("pause".to_owned()),
        3 => Just("resume".to_owned()),
        4 => (1..6000u16).prop_map(|millis| format!("advance {millis}")),
        6 => Just("run".to_owned()),
        6 => Just("cycle".to_owned()),
    ]
}

/// What a framework asked for, remembered apart from the allocator.
#[derive(Default)]
struct Model {
    subscribed: BTreeMap<String, BTreeSet<String>>,
    suppressed: BTreeMap<String, BTreeSet<String>>,
    inactive: BTreeSet<String>,
    inactive_agents: BTreeSet<String>,
    refusals: Vec<(String, String, String, Resources, Time)>,
}

impl Model {
    /// Runs one statement on the cluster and notes what it means for offers to come.
    fn run(&mut self, cluster: &mut Cluster, statement: &str) {
        let words: Vec<&str> = statement.split(' ').collect();
        let id = words.get(1).copied().unwrap_or_default().to_owned();
        let option = |name: &str| {
            let list = words.iter().find_map(|it| it.strip_prefix(name)).unwrap_or_default();
            list.split(',').filter(|it| !it.is_empty()).map(str::to_owned).collect::<BTreeSet<String>>()
        };
        let before = cluster.held.clone();
        let output = cluster.run(statement);
        if output.starts_with("error") {
            return;
        }
        match words[0] {
            "framework" | "update_framework" => {
                let (roles, suppressed) = (option("role="), option("suppressed="));
                let unsuppressed = |role: &String| {
                    self.suppressed.get(&id).is_some_and(|old| old.contains(role))
                        && !suppressed.contains(role)
                };
                self.refusals.retain(|it| it.0 != id || (roles.contains(&it.1) && !unsuppressed(&it.1)));
                self.subscribed.insert(id.clone(), roles);
                self.suppressed.insert(id, suppressed);
            }
            "remove_framework" => {
                self.refusals.retain(|it| it.0 != id);
                self.subscribed.remove(&id);
                self.inactive.remove(&id);
            }
            "deactivate" => {
                self.refusals.retain(|it| it.0 != id);
                self.inactive.insert(id);
            }
            "activate" => drop(self.inactive.remove(&id)),
            "suppress" if self.subscribed[&id].contains(words[2]) => {
                self.suppressed.entry(id).or_default().insert(words[2].to_owned());
            }
            "revive" if self.subscribed[&id].contains(words[2]) => {
                self.refusals.retain(|it| it.0 != id || it.1 != words[2]);
                self.suppressed.entry(id).or_default().remove(words[2]);
            }
            "remove_agent" => {
                self.refusals.retain(|it| it.2 != id);
                self.inactive_agents.remove(&id);
            }
            "attribute" => self.refusals.retain(|it| it.2 != id),
            "deactivate_agent" => drop(self.inactive_agents.insert(id)),
            "activate_agent" => drop(self.inactive_agents.remove(&id)),
            "decline" => {
                let pair = (id.clone(), words[2].to_owned());
                let now_held = cluster.held.get(&pair).cloned().unwrap_or_default();
                let returned = before.get(&pair).cloned().unwrap_or_default() - &now_held;
                let seconds = match words[3].parse::<f64>().unwrap() {
                    it if it < 0.0 => 5.0,
                    0.0 => return,
                    it => it.max(1.0),
                };
                let until = cluster.now + std::time::Duration::from_secs_f64(seconds);
                for (role, part) in returned.allocations() {
                    let active = !self.inactive.contains(&id)
                        && self.subscribed.get(&id).is_some_and(|roles| roles.contains(&role))
                        && !self.suppressed.get(&id).is_some_and(|roles| roles.contains(&role));
                    if active {
                        self.refusals.push((id.clone(), role, pair.1.clone(), part.unallocated(), until));
                    }
                }
            }
            "run" | "cycle" => self.check_offers(cluster, &before),
            _ => {}
        }
    }

    fn check_offers(&self, cluster: &Cluster, before: &BTreeMap<(String, String), Resources>) {
        for ((framework, agent), held) in &cluster.held {
            let pair = (framework.clone(), agent.clone());
            let offered = held.clone() - before.get(&pair).unwrap_or(&Resources::new());
            for (role, offer) in offered.allocations() {
                let offer = offer.unallocated();
                let told = format!("{framework} as {role} <- {agent} {offer}");
                assert!(self.subscribed[framework].contains(&role), "{told}: not subscribed");
                assert!(!self.suppressed[framework].contains(&role), "{told}: suppressed");
                assert!(!self.inactive.contains(framework), "{told}: framework inactive");
                assert!(!self.inactive_agents.contains(agent), "{told}: agent inactive");
                assert!(offer.iter().all(|entry| entry.is_allocatable_to(&role)), "{told}: not its role");
                for (_, _, _, refused, until) in self
                    .refusals
                    .iter()
                    .filter(|it| it.0 == *framework && it.1 == role && it.2 == *agent && it.4 >= cluster.now)
                {
                    assert!(!refused.contains(&offer), "{told}: refused until {until:?}");
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn nobody_sees_what_he_should_not_and_in_the_end_all_is_free(
        history in prop::collection::vec(statement(), 1..80),
        seed in any::<u64>(),
    ) {
        let mut cluster = Cluster::new(Options::default(), seed);
        let mut model = Model::default();
        for statement in &history {
            model.run(&mut cluster, statement);
        }
        // A cycle leaves nothing for a second one.
        cluster.run("resume | cycle");
        prop_assert_eq!(cluster.run("cycle"), "nothing\n");
        // Everything comes back, and one framework that wants it all gets it all.
        for n in 0..4 {
            cluster.run(&format!("remove_framework f{n}"));
            cluster.run(&format!("remove_agent a{n}"));
        }
        let whole = "cpus:5;mem:500;ports:[1-9]";
        cluster.run(&format!("framework last role=r | agent a {whole} | agent b {whole} | cycle"));
        for agent in ["a", "b"] {
            let held = &cluster.held[&("last".to_owned(), agent.to_owned())];
            prop_assert_eq!(held.clone().unallocated(), resources(whole));
        }
    }

    /// A history that is replayed with the same seed gives the same offers.
    #[test]
    fn histories_replay(history in prop::collection::vec(statement(), 1..60), seed in any::<u64>()) {
        let play = || {
            let mut cluster = Cluster::new(Options::default(), seed);
            history.iter().map(|statement| cluster.run(statement)).collect::<String>()
        };
        prop_assert_eq!(play(), play());
    }
}
