//! A cluster told in words: the one place where tests know the allocator's API.

#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use allocator::constraints::Constraints;
use allocator::{
    Allocation, Allocator, Conversion, FrameworkOptions, Options, Quota, parse_min_allocatable_resources,
};
use api::resources::{Entry, Resources, Scalar};
use api::v1::allocator::InverseOfferStatus;
use api::v1::scheduler::OfferConstraints;
use api::v1::{
    AgentId, AgentInfo, Attribute, DomainInfo, Filters, FrameworkId, FrameworkInfo, OfferFilters,
    Unavailability, Volume, agent_info, domain_info, framework_info, offer_filters, resource, value,
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
    FrameworkId::from(id)
}

pub(crate) fn agent_id(id: &str) -> AgentId {
    AgentId::from(id)
}

/// As Mesos writes them, and beyond that: `cpus~:1` is revocable, `disk#v(r):5` the persistent volume `v`,
/// `disk%v(r):5` a shared one, and `disk@v:5` a whole disk mounted at `v`.
pub(crate) fn resources(text: &str) -> Resources {
    let items = text.split(';').map(str::trim).filter(|item| !item.is_empty());
    items.map(item).fold(Resources::new(), |sum, item| sum + &item)
}

fn item(text: &str) -> Resources {
    let at = text.find(['~', '#', '%', '@', '^']);
    let (plain, marker, id) = match at {
        None => (text.to_owned(), ' ', ""),
        Some(at) => {
            let end = text[at + 1..].find(['(', ':']).map_or(text.len(), |end| at + 1 + end);
            let marker = text.as_bytes()[at] as char;
            (format!("{}{}", &text[..at], &text[end..]), marker, &text[at + 1..end])
        }
    };
    let parsed = Resources::parse(&plain, "*").unwrap_or_else(|error| panic!("`{text}`: {error}"));
    if marker == ' ' {
        return parsed;
    }
    let mut messages = parsed.to_messages();
    for message in &mut messages {
        if marker == '~' {
            message.revocable = Some(resource::RevocableInfo::default());
            continue;
        }
        if marker == '^' {
            message.reservations.push(resource::ReservationInfo {
                r#type: Some(resource::reservation_info::Type::Dynamic as i32),
                role: Some(id.to_owned()),
                ..Default::default()
            });
            continue;
        }
        if marker == '@' {
            let mount = resource::disk_info::source::Mount { root: Some(id.to_owned()) };
            let source = resource::disk_info::Source {
                r#type: resource::disk_info::source::Type::Mount as i32,
                mount: Some(mount),
                ..Default::default()
            };
            message.disk = Some(Box::new(resource::DiskInfo { source: Some(source), ..Default::default() }));
            continue;
        }
        message.disk = Some(Box::new(resource::DiskInfo {
            persistence: Some(resource::disk_info::Persistence { id: id.to_owned(), principal: None }),
            volume: Some(Volume { container_path: id.to_owned(), ..Volume::default() }),
            ..resource::DiskInfo::default()
        }));
        message.shared = (marker == '%').then(resource::SharedInfo::default);
    }
    Resources::from_checked(&messages)
}

/// `g=cpus:1;mem:2` and `l=cpus:1`; neither is no quota.
pub(crate) fn quota(words: &[&str]) -> Quota {
    let amounts = |name: &str| {
        let text = words.iter().find_map(|it| it.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default();
        let sets = parse_min_allocatable_resources(text).unwrap();
        sets.into_iter().next().unwrap_or_default()
    };
    let limits = words.iter().find_map(|it| it.strip_prefix("l=")).unwrap_or_default();
    let limits = limits.split(';').filter(|it| !it.is_empty()).map(|it| {
        let (name, limit) = it.split_once(':').unwrap();
        (name, limit.parse::<Scalar>().unwrap())
    });
    Quota { guarantees: amounts("g"), limits: limits.collect() }
}

/// `FRAMEWORK,ROLE,RESOURCES`: what a framework has, allocated to the role.
pub(crate) fn used(text: &str) -> (String, Resources) {
    let (framework, rest) = text.split_once(',').unwrap();
    let (role, held) = rest.split_once(',').unwrap();
    (framework.to_owned(), resources(held).allocated(role))
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
            // agent ID TOTAL [host=H] [old] [attribute=TEXT] [region=R] [used=FRAMEWORK,ROLE,RESOURCES]
            "agent" => {
                let used = option("used").map(|it| {
                    let (framework, held) = used(it);
                    self.held.insert((framework.clone(), id.to_owned()), held.clone());
                    (framework_id(&framework), held)
                });
                let mut info = agent_info(option("host").unwrap_or(id), option("attribute"));
                info.domain = option("region").map(domain);
                let capabilities = agent_capabilities(words.contains(&"old"));
                if !self.agents.contains_key(id) {
                    self.agents.insert(id.to_owned(), info.clone());
                }
                let total = resources(word(2));
                self.allocator.add_agent(&aid, &info, &capabilities, None, total, used.as_slice())
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
            // [where=TEXT], which the attribute of agents for its first role has to be, or not if it is !TEXT
            "framework" | "update_framework" => {
                let info = framework_info(&words);
                self.frameworks.insert(id.to_owned(), info.clone());
                let options = framework_options(&words, &info);
                if word(0) == "framework" {
                    let used: Vec<_> = self.held_by(id);
                    let active = !words.contains(&"inactive");
                    self.allocator.add_framework(&fid, &info, &used, active, &options)
                } else {
                    self.allocator.update_framework(&fid, &info, &options)
                }
            }
            // As after a failover of the master: it is new, and holds what it held.
            "failover" => self.allocator.remove_framework(&fid).and_then(|()| {
                let info = framework_info(&words);
                self.frameworks.insert(id.to_owned(), info.clone());
                let options = framework_options(&words, &info);
                let active = !words.contains(&"inactive");
                self.allocator.add_framework(&fid, &info, &self.held_by(id), active, &options)
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
            // quota ROLE [g=AMOUNTS] [l=AMOUNTS]
            "quota" => self.allocator.update_quota(id, quota(&words)),
            // convert FRAMEWORK AGENT ROLE FROM -> TO, or convert_free AGENT FROM -> TO
            "convert" => {
                let convert = |text: &str| resources(text).allocated(word(3));
                let (consumed, converted) = (convert(word(4)), convert(word(6)));
                let conversion = Conversion { consumed, converted };
                let aid = agent_id(word(2));
                let done = self.allocator.update_allocation(&fid, &aid, std::slice::from_ref(&conversion));
                if done.is_ok() {
                    let held = self.held.entry((id.to_owned(), word(2).to_owned())).or_default();
                    *held -= &conversion.consumed;
                    *held += &conversion.converted;
                }
                done
            }
            "convert_free" => {
                let conversion = Conversion { consumed: resources(word(2)), converted: resources(word(4)) };
                self.allocator.update_available(&aid, &[conversion])
            }
            // provider AGENT TOTAL [used=FRAMEWORK,ROLE,RESOURCES]: a resource provider of the agent
            "provider" => {
                let used = option("used").map(used);
                let known = used.iter().map(|(framework, held)| (framework_id(framework), held.clone()));
                let known: Vec<_> = known.collect();
                let done = self.allocator.add_resource_provider(&aid, &resources(word(2)), &known);
                if let Some((framework, held)) = used.filter(|_| done.is_ok()) {
                    *self.held.entry((framework, id.to_owned())).or_default() += &held;
                }
                done
            }
            "consumed" => {
                let name = word(2).into();
                let (held, used) =
                    (self.allocator.held_by_role(id, &name), self.allocator.consumed_quota(id, &name));
                out.push_str(&format!("{id} {name}: {held} held, {used} consumed\n"));
                Ok(())
            }
            "use" => {
                let held = self.held.get(&(id.to_owned(), word(2).to_owned())).cloned().unwrap_or_default();
                self.allocator.transition_offered_to_allocated(&fid, &agent_id(word(2)), &held)
            }
            // recover_cluster N_AGENTS ROLE [g=AMOUNTS] [l=AMOUNTS]
            "recover_cluster" => {
                let quotas = BTreeMap::from([(word(2).to_owned(), quota(&words))]);
                self.allocator.recover(id.parse().unwrap(), quotas).map(drop)
            }
            "recovery_timeout" => {
                self.allocator.end_recovery();
                Ok(())
            }
            "unavailable" => self.allocator.update_unavailability(&aid, Some(&Unavailability::default())),
            // What frameworks answered to inverse offers.
            "statuses" => {
                for (agent, statuses) in self.allocator.inverse_offer_statuses() {
                    let frameworks: Vec<&str> = statuses.keys().map(|it| it.value.as_str()).collect();
                    out.push_str(&format!("{}: answers of {frameworks:?}\n", agent.value));
                }
                Ok(())
            }
            "available" => self.allocator.update_unavailability(&aid, None),
            // answer FRAMEWORK AGENT [SECONDS]
            "answer" => {
                let filters = word(3).parse().ok().map(|seconds| Filters { refuse_seconds: Some(seconds) });
                let status = InverseOfferStatus { framework_id: fid.clone(), ..Default::default() };
                let aid = agent_id(word(2));
                self.allocator.update_inverse_offer(self.now, &aid, &fid, Some(&status), filters.as_ref())
            }
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
        let done = self.allocator.recover_resources(self.now, &fid, &aid, &part, filters.as_ref(), false);
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
            let id = framework.framework_id.as_str();
            for offer in &framework.offers {
                let several = self.frameworks[id].roles.len() > 1;
                let role = if several { format!(" as {}", offer.role) } else { String::new() };
                let what = offer.resources.clone().unallocated();
                lines.push((
                    offer.agent_id.to_string(),
                    format!("{id}{role} <- {} {what}\n", offer.agent_id.value),
                ));
            }
        }
        for asked in &allocation.inverse_offers {
            let (framework, agent) = (&asked.framework_id, &asked.agent_id);
            lines.push((agent.to_string(), format!("{framework} is asked to leave {agent}\n")));
        }
        lines.sort();
        if lines.is_empty() {
            "nothing\n".to_owned()
        } else {
            lines.into_iter().map(|(_, line)| line).collect()
        }
    }

    pub(crate) fn remember(&mut self, allocation: &Allocation) {
        for framework in &allocation.frameworks {
            for offer in &framework.offers {
                assert_eq!(offer.resources.allocation_role(), Some(&*offer.role));
                let key = (framework.framework_id.to_string(), offer.agent_id.to_string());
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

pub(crate) fn domain(region: &str) -> DomainInfo {
    let region = domain_info::fault_domain::RegionInfo { name: region.to_owned() };
    let zone = domain_info::fault_domain::ZoneInfo { name: "z".to_owned() };
    DomainInfo { fault_domain: Some(domain_info::FaultDomain { region, zone }) }
}

pub(crate) fn agent_capabilities(old: bool) -> Vec<agent_info::Capability> {
    use agent_info::capability::Type;
    let types = if old { &[][..] } else { &[Type::MultiRole, Type::HierarchicalRole] };
    types.iter().map(|it| agent_info::Capability { r#type: Some(*it as i32) }).collect()
}

/// How a framework of [`framework_info`] wants to be served.
fn framework_options(words: &[&str], info: &FrameworkInfo) -> FrameworkOptions {
    let option = |name: &str| words.iter().find_map(|it| it.strip_prefix(name)?.strip_prefix('='));
    let suppressed_roles = names(option("suppressed").unwrap_or_default());
    let Some(wanted) = option("where") else {
        return FrameworkOptions { suppressed_roles, ..FrameworkOptions::default() };
    };
    let roles = match &info.roles[..] {
        [] => vec![info.role().to_owned()],
        roles => roles.to_vec(),
    };
    let (kind, text) = match wanted.strip_prefix('!') {
        Some(text) => ("text_not_equals", text),
        None => ("text_equals", wanted),
    };
    let constraint = format!(
        r#"{{"selector": {{"attribute_name": "attribute"}}, "predicate": {{"{kind}": {{"value": "{text}"}}}}}}"#
    );
    let groups = format!(r#"{{"groups": [{{"attribute_constraints": [{constraint}]}}]}}"#);
    let constraints = format!(r#"{{"role_constraints": {{"{}": {groups}}}}}"#, roles[0]);
    let constraints: OfferConstraints = api::json::from_slice(constraints.as_bytes()).unwrap();
    let constraints = Constraints::compile(&constraints, &roles).unwrap().into();
    FrameworkOptions { suppressed_roles, constraints }
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
            "shared" => Type::SharedResources,
            "region" => Type::RegionAware,
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
