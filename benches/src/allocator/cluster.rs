//! An allocator with a cluster around it that exists in name only: who was offered what is all it remembers.

use std::time::Duration;

use allocator::{Allocation, Allocator, FrameworkOptions, Options};
use api::resources::{Entry, Ranges, Resources, Value};
use api::v1::{AgentId, AgentInfo, Filters, FrameworkId, FrameworkInfo, agent_info, framework_info};
use libprocess::Time;
use rand::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;

use super::figures::timed;

/// What may go wrong in a workload: something in it is not as the allocator wants it.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// What all agents here have.
pub const AGENT: &str = "cpus:24;mem:4096;disk:4096;ports:[31000-32000]";

/// An allocator, its time, and the offers that are out.
pub struct Cluster {
    /// What is measured.
    pub allocator: Allocator,
    /// Offers nobody has answered.
    pub offers: Vec<Offer>,
    /// In the order they were added.
    pub frameworks: Vec<FrameworkId>,
    agents: usize,
    now: Time,
    interval: Duration,
    rng: Xoshiro256PlusPlus,
}

/// One offer.
pub struct Offer {
    /// Whose it is.
    pub framework: FrameworkId,
    /// Where.
    pub agent: AgentId,
    /// What, allocated to a role.
    pub resources: Resources,
}

/// An agent that is about to be added: all that would have been read from its message.
pub struct NewAgent {
    /// Its id.
    pub id: AgentId,
    /// Its hostname.
    pub info: AgentInfo,
    /// What it has.
    pub total: Resources,
    /// What frameworks hold of that.
    pub used: Vec<(FrameworkId, Resources)>,
}

impl Cluster {
    /// Nothing yet.
    pub fn new() -> Cluster {
        Cluster::with(Options::default())
    }

    /// Nothing yet.
    pub fn with(options: Options) -> Cluster {
        Cluster {
            interval: options.allocation_interval,
            allocator: Allocator::new(options),
            offers: Vec::new(),
            frameworks: Vec::new(),
            agents: 0,
            now: Time::from_secs_f64(1.7e9),
            rng: Xoshiro256PlusPlus::seed_from_u64(7),
        }
    }

    /// Adds `n` frameworks, each in the role it is given; the time of all of them.
    pub fn add_frameworks(
        &mut self,
        n: usize,
        capabilities: &[framework_info::capability::Type],
        role: impl Fn(usize) -> String,
    ) -> Result<Duration> {
        let infos: Vec<FrameworkInfo> = (0..n).map(|n| framework_info(role(n), capabilities)).collect();
        let ids = infos.iter().enumerate().map(|(n, _)| FrameworkId::from(format!("framework{n}")));
        self.frameworks = ids.collect();
        let options = FrameworkOptions::default();
        let (took, done) = timed(|| {
            self.frameworks
                .iter()
                .zip(&infos)
                .try_for_each(|(id, info)| self.allocator.add_framework(id, info, &[], true, &options))
        });
        done?;
        Ok(took)
    }

    /// The next agent, named and not added yet.
    pub fn new_agent(&mut self, total: Resources, used: Vec<(FrameworkId, Resources)>) -> NewAgent {
        let n = self.agents;
        self.agents += 1;
        let info = AgentInfo { hostname: format!("agent{n}"), ..AgentInfo::default() };
        NewAgent { id: AgentId::from(format!("agent{n}")), info, total, used }
    }

    /// `n` agents, all of them with `total`, of which the frameworks in turn have `used` of one.
    pub fn new_agents(&mut self, n: usize, total: &Resources, used: &Resources) -> Vec<NewAgent> {
        (0..n)
            .map(|n| {
                let used = match used.is_empty() {
                    true => Vec::new(),
                    false => vec![(self.in_turn(n), used.clone())],
                };
                self.new_agent(total.clone(), used)
            })
            .collect()
    }

    /// The framework whose turn it is at `n`.
    pub fn in_turn(&self, n: usize) -> FrameworkId {
        self.frameworks[n % self.frameworks.len()].clone()
    }

    /// Adds agents, with a cycle for them at the end, as they come when they come at once; the time of it all.
    pub fn add_agents(&mut self, agents: Vec<NewAgent>) -> Result<Duration> {
        let capabilities = agent_capabilities();
        let (added, done) = timed(|| {
            agents.into_iter().try_for_each(|it| {
                self.allocator.add_agent(&it.id, &it.info, &capabilities, None, it.total, &it.used)
            })
        });
        done?;
        Ok(added + self.cycle())
    }

    /// A cycle for those agents that are candidates; its time.
    pub fn cycle(&mut self) -> Duration {
        let (took, allocation) = timed(|| self.allocator.cycle(self.now, &mut self.rng));
        self.take_offers(allocation);
        took
    }

    /// A cycle for all agents, an interval after whatever was before; its time.
    pub fn next_interval(&mut self) -> Duration {
        self.now += self.interval;
        let (took, allocation) = timed(|| {
            self.allocator.consider_all_agents();
            self.allocator.cycle(self.now, &mut self.rng)
        });
        self.take_offers(allocation);
        took
    }

    fn take_offers(&mut self, allocation: Allocation) {
        for framework in allocation.frameworks {
            let id = framework.framework_id;
            self.offers.extend(framework.offers.into_iter().map(|offer| Offer {
                framework: id.clone(),
                agent: offer.agent_id,
                resources: offer.resources,
            }));
        }
    }

    /// Everybody gives back all that is offered to them; the time of it.
    pub fn give_back(&mut self, filters: Option<&Filters>) -> Result<Duration> {
        let offers = std::mem::take(&mut self.offers);
        let (took, done) = timed(|| {
            offers.iter().try_for_each(|it| {
                let (now, Offer { framework, agent, resources }) = (self.now, it);
                self.allocator.recover_resources(now, framework, agent, resources, filters, false)
            })
        });
        done?;
        Ok(took)
    }

    /// A framework gives back what it was offered and does not need now.
    pub fn recover(&mut self, framework: &FrameworkId, agent: &AgentId, resources: &Resources) -> Result<()> {
        Ok(self.allocator.recover_resources(self.now, framework, agent, resources, None, false)?)
    }

    /// Everybody refuses all that is offered to them, for as long as can be.
    pub fn decline(&mut self) -> Result<Duration> {
        self.give_back(Some(&Filters { refuse_seconds: Some(f64::from(i32::MAX)) }))
    }

    /// How many pairs of framework and agent have a refusal in force.
    pub fn n_filtered(&self) -> usize {
        self.allocator.roles().filter_map(|role| self.allocator.n_refusals(role)).sum()
    }

    /// # Errors
    /// If the allocator does not add up any more: then nothing it took was worth measuring.
    pub fn check(&self) -> Result<()> {
        Ok(self.allocator.check_invariants()?)
    }
}

fn framework_info(role: String, capabilities: &[framework_info::capability::Type]) -> FrameworkInfo {
    let capabilities = std::iter::once(&framework_info::capability::Type::MultiRole).chain(capabilities);
    FrameworkInfo {
        roles: vec![role],
        capabilities: capabilities
            .map(|it| framework_info::Capability { r#type: Some((*it).into()) })
            .collect(),
        ..FrameworkInfo::default()
    }
}

fn agent_capabilities() -> Vec<agent_info::Capability> {
    use agent_info::capability::Type;
    [Type::MultiRole, Type::HierarchicalRole, Type::ReservationRefinement]
        .map(|it| agent_info::Capability { r#type: Some(it.into()) })
        .into()
}

/// # Errors
/// If the text is none of resources.
pub fn resources(text: &str) -> Result<Resources> {
    Ok(Resources::parse(text, "*")?)
}

/// The ports from 31000 to 32000 in `n` pieces: single ones with gaps between them, and all the rest.
///
/// # Errors
/// If that is too many.
pub fn fragmented_ports(n: u64) -> Result<Entry> {
    let last = 31_000 + 2 * (n - 1);
    let single = (31_000..last).step_by(2).map(|port| (port, port));
    let ranges = Ranges::disjoint(single.chain([(last, 32_000)]))?;
    Ok(Entry::new("ports", Value::Ranges(ranges)))
}

/// `text` and the ports in pieces, allocated to `role`.
///
/// # Errors
/// If the text is none of resources.
pub fn used(text: &str, n_ports: u64, role: &str) -> Result<Resources> {
    let mut used = resources(text)?;
    used.push(fragmented_ports(n_ports)?);
    Ok(used.allocated(role))
}

/// # Errors
/// Says what was expected, if that is not so: a plan that failed is not worth its time.
pub fn expect(what: &str, measured: usize, expected: usize) -> Result<()> {
    match measured == expected {
        true => Ok(()),
        false => Err(format!("{what}: {measured} instead of {expected}").into()),
    }
}

impl Default for Cluster {
    fn default() -> Cluster {
        Cluster::new()
    }
}
