//! A cluster told in words: the one place where tests know the allocator's API.

#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use allocator::{Allocation, Allocator, Options, parse_min_allocatable_resources};
use api::resources::{Entry, Resources, Scalar};
use api::v1::{
    AgentId, AgentInfo, Attribute, Filters, FrameworkId, FrameworkInfo, OfferFilters, agent_info,
    framework_info, offer_filters, value,
};
use libprocess::Time;
use rand::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;

/// Runs a script and compares what its cycles offered and its questions answered.
#[track_caller]
pub(crate) fn check(script: &str, expected: expect_test::Expect) {
    expected.assert_eq(&Cluster::default().run(script));
}

/// [`check`] under other options.
#[track_caller]
pub(crate) fn check_with(options: Options, script: &str, expected: expect_test::Expect) {
    expected.assert_eq(&Cluster::new(options, 1).run(script));
}

/// An allocator, and what its caller would remember: who holds what since when it was offered.
pub(crate) struct Cluster {
    pub(crate) allocator: Allocator,
    pub(crate) now: Time,
    pub(crate) rng: Xoshiro256PlusPlus,
    pub(crate) frameworks: BTreeMap<String, FrameworkInfo>,
    pub(crate) agents: BTreeMap<String, AgentInfo>,
    /// By framework and agent, each entry allocated to its role.
    pub(crate) held: BTreeMap<(String, String), Resources>,
}

impl Default for Cluster {
    fn default() -> Cluster {
        Cluster::new(Options::default(), 1)
    }
}

pub(crate) fn framework_id(id: &str) -> FrameworkId {
    FrameworkId { value: id.to_owned() }
}

pub(crate) fn agent_id(id: &str) -> AgentId {
    AgentId { value: id.to_owned() }
}

pub(crate) fn resources(text: &str) -> Resources {
    Resources::parse(text, "*").unwrap_or_else(|error| panic!("`{text}`: {error}"))
}

pub(crate) fn names(list: &str) -> BTreeSet<String> {
    list.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

impl Cluster {
    pub(crate) fn new(options: Options, seed: u64) -> Cluster {
        Cluster {
            allocator: Allocator::new(options),
            now: Time::from_secs_f64(1000.0),
            rng: Xoshiro256PlusPlus::seed_from_u64(seed),
            frameworks: BTreeMap::new(),
            agents: BTreeMap::new(),
            held: BTreeMap::new(),
        }
    }

    /// Statements stand on lines of their own, or are separated by ` | `.
    pub(crate) fn run(&mut self, script: &str) -> String {
        let mut out = String::new();
        for statement in script.lines().flat_map(|line| line.split(" | ")).map(str::trim) {
            if !statement.is_empty() {
                self.statement(statement, &mut out);
                self.allocator.check_invariants().unwrap_or_else(|it| panic!("after `{statement}`: {it}"));
            }
        }
        out
    }

    fn statement(&mut self, statement: &str, out: &mut String) {
        let words: Vec<&str> = statement.split_whitespace().collect();
        let word = |at: usize| words.get(at).copied().unwrap_or_default();
        let option = |name: &str| words.iter().find_map(|it| it.strip_prefix(name)?.strip_prefix('='));
        let (id, fid, aid) = (word(1), framework_id(word(1)), agent_id(word(1)));
        let done = match word(0) {
            // agent ID TOTAL [host=H] [old] [attribute=TEXT] [used=FRAMEWORK,ROLE,RESOURCES]
            "agent" => {
                let used = option("used").map(|it| {
                    let (framework, rest) = it.split_once(',').unwrap();
                    let (role, held) = rest.split_once(',').unwrap();
                    let held = resources(held).allocated(role);
                    self.held.insert((framework.to_owned(), id.to_owned()), held.clone());
                    (framework_id(framework), held)
                });
                let info = agent_info(option("host").unwrap_or(id), option("attribute"));
                let capabilities = agent_capabilities(words.contains(&"old"));
                if !self.agents.contains_key(id) {
                    self.agents.insert(id.to_owned(), info.clone());
                }
                self.allocator.add_agent(&aid, &info, &capabilities, resources(word(2)), used.as_slice())
            }
            "remove_agent" => {
                self.held.retain(|(_, agent), _| agent != id);
                self.agents.remove(id);
                self.allocator.remove_agent(&aid)
            }
            "activate_agent" => self.allocator.activate_agent(&aid),
            "deactivate_agent" => self.allocator.deactivate_agent(&aid),
            "total" => {
                let info = self.agents.get(id).cloned().unwrap_or_default();
                self.allocator.update_agent(&aid, &info, Some(resources(word(2))), None)
            }
            "attribute" => {
                let info = self.agents.entry(id.to_owned()).or_default();
                *info = agent_info(&info.hostname, Some(word(2)));
                self.allocator.update_agent(&aid, info, None, None)
            }
            "upgrade_agent" => {
                let capabilities = agent_capabilities(false);
                let info = self.agents.get(id).cloned().unwrap_or_default();
                self.allocator.update_agent(&aid, &info, None, Some(&capabilities))
            }
            // framework ID role=R[,R] [inactive] [suppressed=R] [caps=gpu,revocable,refined] [min=SETS] [old]
            "framework" | "update_framework" => {
                let info = framework_info(&words);
                self.frameworks.insert(id.to_owned(), info.clone());
                let suppressed = names(option("suppressed").unwrap_or_default());
                if word(0) == "framework" {
                    let used: Vec<_> = self.held_by(id);
                    let active = !words.contains(&"inactive");
                    self.allocator.add_framework(&fid, &info, &used, active, &suppressed)
                } else {
                    self.allocator.update_framework(&fid, &info, &suppressed)
                }
            }
            // As after a failover of the master: it is new, and holds what it held.
            "failover" => self.allocator.remove_framework(&fid).and_then(|()| {
                let info = framework_info(&words);
                self.frameworks.insert(id.to_owned(), info.clone());
                let suppressed = names(option("suppressed").unwrap_or_default());
                let active = !words.contains(&"inactive");
                self.allocator.add_framework(&fid, &info, &self.held_by(id), active, &suppressed)
            }),
            "remove_framework" => {
                self.held.retain(|(framework, _), _| framework != id);
                self.allocator.remove_framework(&fid)
            }
            "activate" => self.allocator.activate_framework(&fid),
            "deactivate" => self.allocator.deactivate_framework(&fid),
            "suppress" => self.allocator.suppress_offers(&fid, &names(word(2))),
            "revive" => self.allocator.revive_offers(&fid, &names(word(2))),
            "weight" => self.allocator.update_weights([(id, word(2).parse().unwrap())]),
            "whitelist" => {
                self.allocator.update_whitelist((id != "all").then(|| names(id)));
                Ok(())
            }
            // decline FRAMEWORK AGENT SECONDS [RESOURCES], or recover FRAMEWORK AGENT [RESOURCES]
            "decline" => self.recover(id, word(2), word(4), Some(word(3).parse().unwrap())),
            "recover" => self.recover(id, word(2), word(3), None),
            "advance" => {
                self.now += Duration::from_millis(id.parse().unwrap());
                Ok(())
            }
            "pause" => {
                self.allocator.pause();
                Ok(())
            }
            "resume" => {
                self.allocator.resume();
                Ok(())
            }
            // As every allocation interval.
            "cycle" => {
                self.allocator.consider_all_agents();
                out.push_str(&self.cycle());
                Ok(())
            }
            // As after events: for the candidates only.
            "run" => {
                let due = self.allocator.is_due();
                out.push_str(&if due { self.cycle() } else { "not due\n".to_owned() });
                Ok(())
            }
            "share" => {
                let share = self.allocator.weighted_share(id).unwrap();
                out.push_str(&format!("{id} {share:.4}\n"));
                Ok(())
            }
            "roles" => {
                for role in self.allocator.roles() {
                    let n_refused = self.allocator.n_refusals(role).unwrap();
                    out.push_str(&format!("{role}: {n_refused} refused\n"));
                }
                Ok(())
            }
            other => panic!("unknown word `{other}`"),
        };
        if let Err(error) = done {
            out.push_str(&format!("error: {error}\n"));
        }
    }

    fn held_by(&self, framework: &str) -> Vec<(AgentId, Resources)> {
        let held = self.held.iter().filter(|((owner, _), _)| owner == framework);
        held.map(|((_, agent), held)| (agent_id(agent), held.clone())).collect()
    }

    /// Gives back everything, or `part` of it, which may be `first` for its first entry, or `half` for half of
    /// every amount.
    pub(crate) fn recover(
        &mut self,
        framework: &str,
        agent: &str,
        part: &str,
        refuse_seconds: Option<f64>,
    ) -> Result<(), allocator::AllocatorError> {
        let held = self.held.entry((framework.to_owned(), agent.to_owned())).or_default();
        let part = match (part, held.allocation_role().map(str::to_owned)) {
            ("", _) => held.clone(),
            ("first", _) => held.iter().take(1).cloned().collect(),
            ("half", _) => held.iter().filter_map(half).collect(),
            (part, Some(role)) => resources(part).allocated(role),
            (_, None) => panic!("`{held}` is not of one role"),
        };
        let (fid, aid) = (framework_id(framework), agent_id(agent));
        let filters = refuse_seconds.map(|it| Filters { refuse_seconds: Some(it) });
        let done = self.allocator.recover_resources(self.now, &fid, &aid, &part, filters.as_ref());
        if done.is_ok() {
            *held -= &part;
        }
        done
    }

    /// Runs a cycle, and says who got what.
    pub(crate) fn cycle(&mut self) -> String {
        let allocation = self.allocator.cycle(self.now, &mut self.rng);
        self.remember(&allocation);
        let mut lines = Vec::new();
        for framework in &allocation.frameworks {
            let id = &framework.framework_id.value;
            for offer in &framework.offers {
                let several = self.frameworks[id].roles.len() > 1;
                let role = if several { format!(" as {}", offer.role) } else { String::new() };
                let what = offer.resources.clone().unallocated();
                lines.push((
                    offer.agent_id.value.clone(),
                    format!("{id}{role} <- {} {what}\n", offer.agent_id.value),
                ));
            }
        }
        lines.sort();
        match lines.is_empty() {
            true => "nothing\n".to_owned(),
            false => lines.into_iter().map(|(_, line)| line).collect(),
        }
    }

    pub(crate) fn remember(&mut self, allocation: &Allocation) {
        for framework in &allocation.frameworks {
            for offer in &framework.offers {
                assert_eq!(offer.resources.allocation_role(), Some(&*offer.role));
                let key = (framework.framework_id.value.clone(), offer.agent_id.value.clone());
                *self.held.entry(key).or_default() += &offer.resources;
            }
        }
    }
}

/// Half of an amount, if it can be halved.
fn half(entry: &Entry) -> Option<Entry> {
    let mut entry = entry.clone();
    let half = Scalar::from_thousandths(entry.scalar()?.thousandths() / 2);
    entry.shrink(half).then_some(entry)
}

pub(crate) fn agent_info(hostname: &str, attribute: Option<&str>) -> AgentInfo {
    let attribute = attribute.map(|text| Attribute {
        name: "attribute".to_owned(),
        r#type: value::Type::Text as i32,
        text: Some(value::Text { value: text.to_owned() }),
        ..Attribute::default()
    });
    AgentInfo { hostname: hostname.to_owned(), attributes: Vec::from_iter(attribute), ..AgentInfo::default() }
}

pub(crate) fn agent_capabilities(old: bool) -> Vec<agent_info::Capability> {
    use agent_info::capability::Type;
    let types = if old { &[][..] } else { &[Type::MultiRole, Type::HierarchicalRole] };
    types.iter().map(|it| agent_info::Capability { r#type: Some(*it as i32) }).collect()
}

pub(crate) fn framework_info(words: &[&str]) -> FrameworkInfo {
    use framework_info::capability::Type;
    let option = |name: &str| words.iter().find_map(|it| it.strip_prefix(name)?.strip_prefix('='));
    let roles = option("role").unwrap_or("*");
    let mut types = Vec::new();
    for capability in option("caps").unwrap_or_default().split(',').filter(|it| !it.is_empty()) {
        types.push(match capability {
            "gpu" => Type::GpuResources,
            "revocable" => Type::RevocableResources,
            "refined" => Type::ReservationRefinement,
            other => panic!("unknown capability `{other}`"),
        });
    }
    let mut info = FrameworkInfo { name: words[1].to_owned(), ..FrameworkInfo::default() };
    if words.contains(&"old") {
        #[expect(deprecated, reason = "old frameworks use it")]
        {
            info.role = Some(roles.to_owned());
        }
    } else {
        types.push(Type::MultiRole);
        info.roles = roles.split(',').map(str::to_owned).collect();
    }
    let capability = |it: &Type| framework_info::Capability { r#type: Some(*it as i32) };
    info.capabilities = types.iter().map(capability).collect();
    if let Some(sets) = option("min") {
        let sets = parse_min_allocatable_resources(sets).unwrap();
        let scalar = |amount: f64| value::Scalar { value: amount };
        let quantities = |set: &api::resources::Quantities| offer_filters::ResourceQuantities {
            quantities: set.iter().map(|(name, it)| (name.to_string(), scalar(it.to_f64()))).collect(),
        };
        let filters = OfferFilters {
            min_allocatable_resources: Some(offer_filters::MinAllocatableResources {
                quantities: sets.iter().map(quantities).collect(),
            }),
        };
        info.offer_filters = roles.split(',').map(|role| (role.to_owned(), filters.clone())).collect();
    }
    info
}
