//! The allocator against the naive one of `naive/`: same history, same offers; and whatever the allocator
//! remembers is, after every event, what follows from the history.
//!
//! A failure prints a script in the words of `common`, ready to become a test in `histories/`.

#![allow(clippy::unwrap_used, reason = "a test says what is wrong by failing")]

mod common;
mod naive;

use std::collections::BTreeMap;

use allocator::Options;
use allocator::explain::{Kind, Page, Question, Standing};
use allocator::sorter::SorterKind;
use api::resources::{Quantities, Resources};
use common::{Cluster, agent_capabilities, agent_info, framework_info, names, resources};
use naive::scripts::{Settings, Statement, history, settings};
use naive::{Asked, Framework, Naive, Offers, Rules};
use proptest::prelude::*;
use rand_xoshiro::Xoshiro256PlusPlus;

fn rules(options: &Options) -> Rules {
    Rules {
        interval: options.allocation_interval,
        minimums: options.min_allocatable_resources.clone(),
        excluded: options.fair_sharing_excluded_resource_names.clone(),
        filter_gpus: options.filter_gpu_resources,
        region: options.region.clone(),
        headroom_scraps: options.headroom_scraps,
        by_lot: options.sorter == SorterKind::Random,
    }
}

/// Both allocators, hearing the same.
struct Twins {
    cluster: Cluster,
    naive: Naive,
}

impl Twins {
    fn new(options: Options, seed: u64) -> Twins {
        Twins { naive: Naive::new(rules(&options)), cluster: Cluster::new(options, seed) }
    }

    /// Runs a script on both; `Err` says where they part.
    fn run(&mut self, script: &[Statement]) -> Result<(), String> {
        for (at, Statement(statement)) in script.iter().enumerate() {
            self.step(statement)
                .map_err(|why| format!("statement {} of {}, `{statement}`: {why}", at + 1, script.len()))?;
        }
        Ok(())
    }

    fn step(&mut self, statement: &str) -> Result<(), String> {
        self.follow(statement)?;
        self.compare_books()?;
        self.compare_explanations()
    }

    fn follow(&mut self, statement: &str) -> Result<(), String> {
        let held_before = self.cluster.held.clone();
        let rng_before = self.cluster.rng.clone();
        let output = self.cluster.run(statement);
        self.naive.now = self.cluster.now;
        let words: Vec<&str> = statement.split(' ').collect();
        if matches!(words[0], "run" | "cycle") {
            return self.compare_offers(words[0], &output, &held_before, rng_before);
        }
        let followed = !output.starts_with("error");
        let naive_followed = self.tell_naive(&words, &held_before, followed);
        match followed == naive_followed {
            true => Ok(()),
            false => Err(format!("the allocator said `{output}`, the naive one followed: {naive_followed}")),
        }
    }

    fn compare_offers(
        &mut self,
        word: &str,
        output: &str,
        held_before: &BTreeMap<(String, String), Resources>,
        mut rng: Xoshiro256PlusPlus,
    ) -> Result<(), String> {
        if word == "cycle" {
            self.naive.consider_all_agents();
        }
        let due = word == "cycle" || output != "not due\n";
        if word == "run" && self.naive.is_due() != due {
            return Err(format!("a run is due: {due}"));
        }
        let mut offers = Offers::new();
        for ((framework, agent), held) in &self.cluster.held {
            let before = held_before.get(&(framework.clone(), agent.clone()));
            let offered = held.clone() - before.unwrap_or(&Resources::new());
            for (role, offer) in offered.allocations() {
                offers.insert((agent.clone(), framework.clone(), role), offer);
            }
        }
        self.check_offers(&offers)?;
        let asked: Asked = output
            .lines()
            .filter_map(|line| line.split_once(" is asked to leave "))
            .map(|(framework, agent)| (framework.to_owned(), agent.to_owned()))
            .collect();
        let (expected, expected_asked) = if due { self.naive.cycle(&mut rng) } else { Default::default() };
        if offers != expected {
            return Err(format!(
                "the allocator offered\n{}the naive one\n{}",
                told(&offers),
                told(&expected)
            ));
        }
        if asked != expected_asked {
            return Err(format!("the allocator asked to leave {asked:?}, the naive one {expected_asked:?}"));
        }
        if rng == self.cluster.rng {
            Ok(())
        } else {
            Err("the allocator drew from its generator more or less often".to_owned())
        }
    }

    /// What is said of roles: who has which share and has consumed what, and what is missing to guarantees.
    fn compare_books(&self) -> Result<(), String> {
        for role in self.cluster.allocator.describe_roles(Page::default()).roles {
            let name = &role.name;
            let expected = self.naive.weighted_share(name);
            if role.weighted_share != expected {
                return Err(format!("{name} has share {}, not {expected}", role.weighted_share));
            }
            let expected = numbers(&self.naive.consumed(name));
            if role.offered_or_consumed != expected {
                return Err(format!("{name} has consumed {:?}, not {expected:?}", role.offered_or_consumed));
            }
            let missing = role.quota.map(|quota| quota.missing).unwrap_or_default();
            let expected = numbers(&self.naive.unsatisfied(name));
            if missing != expected {
                return Err(format!("{name} is said to miss {missing:?}, not {expected:?}"));
            }
        }
        Ok(())
    }

    /// What frameworks are told they would be offered.
    fn compare_explanations(&self) -> Result<(), String> {
        let Twins { cluster, naive } = self;
        for framework in naive.frameworks.keys() {
            let id = common::framework_id(framework);
            let explained = cluster.allocator.explain(cluster.now, &id, &Question::default());
            for role in explained.map_err(|error| error.to_string())?.roles {
                if role.standing == Standing::NotSubscribed {
                    continue;
                }
                for group in role.agents.unwrap_or_default() {
                    let would = matches!(group.reason, Kind::WouldBeOffered | Kind::NotTakingTurns);
                    for agent in group.agents {
                        let offer = naive.alone(framework, &role.role, &agent.agent_id);
                        if would != offer.is_some() {
                            let (role, text) = (role.role, agent.text);
                            let offer = offer.map(|it| it.to_string());
                            return Err(format!("{framework} as {role} <- {offer:?}: told `{text}`"));
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// What has to hold of every offer, whoever made it; `naive` still is as before the cycle.
    fn check_offers(&self, offers: &Offers) -> Result<(), String> {
        for ((agent, framework, role), offer) in offers {
            let wrong = |what: &str| Err(format!("{framework} as {role} <- {agent} {offer}: {what}"));
            let offer = offer.clone().unallocated();
            if !self.naive.wants_offers(framework, role) {
                return wrong("inactive, suppressed or not subscribed");
            }
            if !offer.iter().all(|entry| entry.is_allocatable_to(role)) {
                return wrong("reserved to somebody else");
            }
            if self.naive.understood(framework, &offer) != offer
                || !self.naive.is_capable(framework, role, agent)
            {
                return wrong("lacks a capability");
            }
            let refused = self.naive.refused_until(framework, role, agent, &offer);
            if refused.is_some_and(|until| until >= self.cluster.now) {
                return wrong("refused");
            }
            if !self.naive.agents[agent].active {
                return wrong("the agent is not active");
            }
        }
        for agent in self.naive.agents.keys() {
            let of_agent = offers.iter().filter(|((on, _, _), _)| on == agent);
            let offered = of_agent.fold(Resources::new(), |sum, (_, offer)| sum + &offer.non_shared());
            if !self.naive.available(agent).contains(&offered.clone().unallocated()) {
                return Err(format!("{offered} of {agent} was offered, but not available"));
            }
        }
        for (role, quota) in &self.naive.quotas {
            let mut consumed = self.naive.consumed(role);
            for ((_, _, offered_to), offer) in offers {
                if offered_to.split('/').next() == Some(role) {
                    let counted = offer.unreserved().non_revocable().scalar_quantities();
                    consumed += &counted;
                    for (name, amount) in counted.iter() {
                        if quota.limits.get(name).is_some_and(|limit| consumed.get(name) > limit) {
                            return Err(format!("{role} is over its limit of {name} by {amount}"));
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether the naive one follows.
    fn tell_naive(
        &mut self,
        words: &[&str],
        held_before: &BTreeMap<(String, String), Resources>,
        followed: bool,
    ) -> bool {
        let Twins { cluster, naive } = self;
        let word = |at: usize| words.get(at).copied().unwrap_or_default();
        let option = |name: &str| words.iter().find_map(|it| it.strip_prefix(name)?.strip_prefix('='));
        let id = word(1);
        match word(0) {
            "agent" => {
                let used = option("used").map(common::used);
                let mut info = agent_info(option("host").unwrap_or(id), option("attribute"));
                info.domain = option("region").map(common::domain);
                let capabilities = agent_capabilities(words.contains(&"old"));
                naive.add_agent(id, info, &capabilities, resources(word(2)), used.as_slice())
            }
            "remove_agent" => naive.remove_agent(id),
            "activate_agent" => naive.set_agent_active(id, true),
            "deactivate_agent" => naive.set_agent_active(id, false),
            "total" => {
                let info = cluster.agents.get(id).cloned().unwrap_or_default();
                naive.update_agent(id, info, Some(resources(word(2))), None)
            }
            "attribute" => naive.update_agent(id, cluster.agents[id].clone(), None, None),
            "upgrade_agent" => {
                let info = cluster.agents.get(id).cloned().unwrap_or_default();
                naive.update_agent(id, info, None, Some(&agent_capabilities(false)))
            }
            "framework" | "update_framework" | "failover" => {
                let info = framework_info(words);
                let first = info.roles.first().cloned().unwrap_or_else(|| info.role().to_owned());
                let framework = Framework {
                    info,
                    active: !words.contains(&"inactive"),
                    suppressed: names(option("suppressed").unwrap_or_default()),
                    wanted: option("where").map(|text| (first, text.to_owned())).into_iter().collect(),
                };
                if word(0) == "update_framework" {
                    return naive.update_framework(id, framework);
                }
                if word(0) == "failover" && !naive.remove_framework(id) {
                    return false;
                }
                let held = cluster.held.iter().filter(|((framework, _), _)| framework == id);
                let used: Vec<_> = held.map(|((_, agent), held)| (agent.clone(), held.clone())).collect();
                naive.add_framework(id, framework, &used)
            }
            "remove_framework" => naive.remove_framework(id),
            "activate" => naive.activate_framework(id),
            "deactivate" => naive.deactivate_framework(id),
            "suppress" => naive.suppress(id, &names(word(2))),
            "revive" => naive.revive(id, &names(word(2))),
            "weight" => {
                naive.weights.insert(id.to_owned(), word(2).parse().unwrap());
                true
            }
            "whitelist" => {
                naive.whitelist = (id != "all").then(|| names(id));
                true
            }
            "decline" | "recover" => {
                let pair = (id.to_owned(), word(2).to_owned());
                let before = held_before.get(&pair).cloned().unwrap_or_default();
                if !followed {
                    // The cluster's record has to be what is wrong.
                    return naive.held.get(&pair).is_some_and(|held| *held == before);
                }
                let returned = before - &cluster.held.get(&pair).cloned().unwrap_or_default();
                let seconds = (word(0) == "decline").then(|| word(3).parse().unwrap());
                naive.recover(id, word(2), &returned, seconds)
            }
            "quota" => naive.update_quota(id, quota(words)),
            "recover_cluster" => naive.recover_cluster(id.parse().unwrap(), word(2), quota(words)),
            "recovery_timeout" => {
                naive.recovering = None;
                true
            }
            "convert" => {
                let convert = |text: &str| resources(text).allocated(word(3));
                naive.convert_held(id, word(2), &[(convert(word(4)), convert(word(6)))])
            }
            "convert_free" => naive.convert_available(id, &[(resources(word(2)), resources(word(4)))]),
            "use" => naive.frameworks.contains_key(id) && naive.agents.contains_key(word(2)),
            "provider" => {
                let used = option("used").map(common::used);
                naive.add_resource_provider(id, &resources(word(2)), used.as_slice())
            }
            "unavailable" | "available" => naive.update_unavailability(id, word(0) == "unavailable"),
            "answer" => naive.answer_inverse_offer(id, word(2), word(3).parse().ok()),
            "pause" | "resume" => {
                naive.pause(word(0) == "pause");
                true
            }
            "advance" => true,
            other => panic!("the naive allocator does not know `{other}`"),
        }
    }
}

fn quota(words: &[&str]) -> naive::Quota {
    let allocator::Quota { guarantees, limits } = common::quota(words);
    naive::Quota { guarantees, limits }
}

fn numbers(quantities: &Quantities) -> BTreeMap<String, f64> {
    quantities.iter().map(|(name, amount)| (name.to_string(), amount.to_f64())).collect()
}

/// Offers as lines.
fn told(offers: &Offers) -> String {
    let line = |((agent, framework, role), offer): (&(String, String, String), &Resources)| {
        format!("    {framework} as {role} <- {agent} {}\n", offer.clone().unallocated())
    };
    if offers.is_empty() { "    nothing\n".to_owned() } else { offers.iter().map(line).collect() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_same_history_brings_the_same_offers(
        settings in settings(),
        history in history(),
        seed in any::<u64>(),
    ) {
        let mut twins = Twins::new(settings.options(), seed);
        if let Err(difference) = twins.run(&history) {
            return Err(TestCaseError::fail(difference));
        }
    }
}

/// Scripts on which the two once parted, or the allocator's own state did not add up.
const ONCE_PARTED: [(&str, &str); 12] = [
    ("", "framework f role=r | quota s g=cpus:2 | agent a cpus(r):1;cpus:1;ports:[1-1] | cycle"),
    (
        "",
        "quota s g=cpus:1 | framework f role=r | agent a cpus:3;mem:300 used=g,s,cpus:1;mem:50 | cycle
         agent b cpus:1;ports:[1-1] | cycle | framework g role=r | cycle",
    ),
    (
        "",
        "framework f role=r suppressed=r | agent a cpus:1 used=f,r,cpus:1 | unavailable a | cycle
         answer f a 100 | update_framework f role=r | cycle",
    ),
    (
        "",
        "framework f role=s suppressed=s | agent a cpus:3;mem:300 | cycle | update_framework f role=s
         unavailable a | run",
    ),
    (
        "",
        "quota s g=cpus:1 | framework f role=r | agent a cpus:1;mem:100 | cycle
         agent a cpus:1 used=g,r,cpus:1;mem:50 | framework g role=r/x | cycle",
    ),
    (
        "",
        "quota q g=cpus:2 l=cpus:2;mem:50 | framework d role=d | agent a cpus:2;mem:300 | cycle
         framework f role=q | cycle | cycle",
    ),
    (
        "min=",
        "framework f role=r caps=shared | framework g role=r caps=shared | agent a cpus:1;disk%v(r):20 | cycle | cycle",
    ),
    (
        "min=cpus:1;mem:50",
        "framework f role=s | agent a cpus:1;mem:100 | cycle | quota s l=cpus:0 | decline f a 9 | quota s | cycle",
    ),
    (
        "min=",
        "framework f1 role=s | quota s g=disk:45 | quota * g=disk:20 | framework f0 role=*
         agent a0 cpus:1;mem:0;ports:[1-1];disk:25;disk@m:20;disk@n:30
         decline f1 a0 -1 | resume | cycle | decline f0 a0 -1 | resume | cycle",
    ),
    (
        "min=",
        "agent a cpus:1;disk%v(r):20 | framework f role=r caps=shared | quota r g=cpus:1 | cycle | cycle",
    ),
    (
        "",
        "framework f role=r | agent a cpus:1;mem:64;disk(r):30 | cycle | convert f a r disk(r):10 -> disk%x(r):10
         convert f a r disk(r):10 -> disk%x(r):10 | recover f a | cycle",
    ),
    (
        "",
        "framework f role=r | agent a cpus:1;mem:64;disk(r):30 | convert_free a disk(r):10 -> disk%x(r):10
         convert_free a disk(r):10 -> disk%x(r):10 | cycle",
    ),
];

#[test]
fn what_once_parted_them_does_no_more() {
    for (settings, script) in ONCE_PARTED {
        let mut twins = Twins::new(Settings(settings.to_owned()).options(), 1);
        let lines = script.lines().flat_map(|line| line.split(" | ")).map(str::trim);
        let lines: Vec<Statement> = lines.map(|it| Statement(it.to_owned())).collect();
        twins.run(&lines).unwrap_or_else(|why| panic!("{why}"));
    }
}
