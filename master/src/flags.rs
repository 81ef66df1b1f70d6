//! What the operator can set: Apache's names and defaults, for what exists. Plain data; reading a command line
//! is the business of the binary.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use allocator::constraints::RegexLimits;
use allocator::sorter::SorterKind;
use api::v1::{DomainInfo, WeightInfo};
use detector::HostPort;

use crate::start::StartError;

/// The flags of a master.
#[derive(Debug, Clone)]
pub struct Flags {
    /// `--work_dir`: where the registry is kept.
    pub work_dir: Option<PathBuf>,
    /// `--masters`: all masters of the cluster, this one included and the same on each; none when it is alone.
    pub masters: Vec<HostPort>,
    /// `--registry`: `replicated_log`, or `in_memory` to keep nothing.
    pub registry_in_memory: bool,
    /// `--registry_fetch_timeout`.
    pub registry_fetch_timeout: Duration,
    /// `--registry_store_timeout`.
    pub registry_store_timeout: Duration,
    /// `--registry_gc_interval`.
    pub registry_gc_interval: Duration,
    /// `--registry_max_agent_age`.
    pub registry_max_agent_age: Duration,
    /// `--registry_max_agent_count`.
    pub registry_max_agent_count: usize,
    /// `--cluster`: a name to show.
    pub cluster: Option<String>,
    /// `--hostname`: as announced. Without it the IP address is.
    pub hostname: Option<String>,
    /// `--domain`.
    pub domain: Option<DomainInfo>,
    /// `--roles`: the only roles allowed.
    pub roles: Option<Vec<String>>,
    /// `--allocator`: `hierarchical`, also called `HierarchicalDRF`.
    pub allocator: String,
    /// `--role_sorter`: `drf` or `random`.
    pub role_sorter: String,
    /// `--framework_sorter`: the same as `role_sorter`.
    pub framework_sorter: String,
    /// `--allocator_recovery_timeout`.
    pub allocator_recovery_timeout: Duration,
    /// `--allocator_agent_recovery_factor`: 0 to 1.
    pub allocator_agent_recovery_factor: f64,
    /// `--whitelist`: a file of host names, or `*` for all hosts.
    pub whitelist: Option<PathBuf>,
    /// `--offer_constraints_re2_max_mem`: bytes.
    pub offer_constraints_re2_max_mem: u64,
    /// `--offer_constraints_re2_max_program_size`.
    pub offer_constraints_re2_max_program_size: u32,
    /// `--allocation_interval`.
    pub allocation_interval: Duration,
    /// `--min_allocatable_resources`.
    pub min_allocatable_resources: String,
    /// `--headroom_scraps`, which Mesos does not have: see [`allocator::Options::headroom_scraps`].
    pub headroom_scraps: bool,
    /// `--fair_sharing_excluded_resource_names`.
    pub fair_sharing_excluded_resource_names: Vec<String>,
    /// `--filter_gpu_resources`.
    pub filter_gpu_resources: bool,
    /// `--offer_timeout`.
    pub offer_timeout: Option<Duration>,
    /// `--root_submissions`.
    pub root_submissions: bool,
    /// `--agent_ping_timeout`: 1 s to 15 min.
    pub agent_ping_timeout: Duration,
    /// `--max_agent_ping_timeouts`: at least 1.
    pub max_agent_ping_timeouts: u32,
    /// `--agent_reregister_timeout`: at least 10 min.
    pub agent_reregister_timeout: Duration,
    /// `--recovery_agent_removal_limit`: a percentage such as `50%`.
    pub recovery_agent_removal_limit: String,
    /// `--agent_removal_rate_limit`: so many agents per time, such as `10/1mins`.
    pub agent_removal_rate_limit: Option<String>,
    /// `--weights`: of roles, to begin with, such as `a=2,b=0.5`.
    pub weights: Option<String>,
    /// `--require_agent_domain`.
    pub require_agent_domain: bool,
    /// `--max_completed_frameworks`.
    pub max_completed_frameworks: usize,
    /// `--max_completed_tasks_per_framework`.
    pub max_completed_tasks_per_framework: usize,
    /// `--max_unreachable_tasks_per_framework`.
    pub max_unreachable_tasks_per_framework: usize,
    /// Further flags of the process, to be shown with these.
    pub shown: BTreeMap<String, String>,
}

impl Default for Flags {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(86_400);
        Flags {
            work_dir: None,
            masters: Vec::new(),
            registry_in_memory: false,
            registry_fetch_timeout: Duration::from_secs(60),
            registry_store_timeout: Duration::from_secs(20),
            registry_gc_interval: Duration::from_secs(15 * 60),
            registry_max_agent_age: 14 * DAY,
            registry_max_agent_count: 100 * 1024,
            cluster: None,
            hostname: None,
            domain: None,
            roles: None,
            allocator: "hierarchical".into(),
            role_sorter: "drf".into(),
            framework_sorter: "drf".into(),
            allocator_recovery_timeout: Duration::from_secs(600),
            allocator_agent_recovery_factor: 0.8,
            whitelist: None,
            offer_constraints_re2_max_mem: 4096,
            offer_constraints_re2_max_program_size: 100,
            allocation_interval: Duration::from_secs(1),
            min_allocatable_resources: "cpus:0.01|mem:32".into(),
            headroom_scraps: false,
            fair_sharing_excluded_resource_names: Vec::new(),
            filter_gpu_resources: true,
            offer_timeout: None,
            root_submissions: true,
            agent_ping_timeout: Duration::from_secs(15),
            max_agent_ping_timeouts: 5,
            agent_reregister_timeout: Duration::from_secs(600),
            recovery_agent_removal_limit: "100%".into(),
            agent_removal_rate_limit: None,
            weights: None,
            require_agent_domain: false,
            max_completed_frameworks: 50,
            max_completed_tasks_per_framework: 1000,
            max_unreachable_tasks_per_framework: 1000,
            shown: BTreeMap::new(),
        }
    }
}

/// A flag whose value cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`--{flag}` is {}; {expected}", if value.is_empty() { "missing".to_owned() } else { format!("`{value}`") })]
pub struct InvalidFlag {
    /// Its name.
    pub flag: &'static str,
    /// What was given.
    pub value: String,
    /// What may be given.
    pub expected: String,
}

impl Flags {
    /// Checks the values, and puts them in the form the state works with.
    pub(crate) fn rules(&self) -> Result<crate::cluster::Rules, InvalidFlag> {
        let text = api::duration::format;
        let invalid =
            |flag, value: String, expected: &str| Err(InvalidFlag { flag, value, expected: expected.into() });
        if self.work_dir.is_none() && !self.registry_in_memory {
            return invalid(
                "work_dir",
                String::new(),
                "the registry needs a directory, or `--registry=in_memory`",
            );
        }
        let ping = self.agent_ping_timeout;
        if !(Duration::from_secs(1)..=Duration::from_secs(15 * 60)).contains(&ping) {
            return invalid("agent_ping_timeout", text(ping), "it is from 1secs to 15mins");
        }
        if self.max_agent_ping_timeouts == 0 {
            return invalid("max_agent_ping_timeouts", "0".into(), "it is at least 1");
        }
        if self.agent_reregister_timeout < Duration::from_secs(600) {
            return invalid(
                "agent_reregister_timeout",
                text(self.agent_reregister_timeout),
                "it is at least 10mins",
            );
        }
        if self.offer_timeout == Some(Duration::ZERO) {
            return invalid("offer_timeout", "0ns".into(), "it is longer than nothing");
        }
        for role in self.roles.iter().flatten() {
            if let Err(error) = api::roles::validate(role) {
                return invalid("roles", role.clone(), &error.to_string());
            }
        }
        let limit = &self.recovery_agent_removal_limit;
        let percentage = limit.strip_suffix('%').and_then(|number| number.parse::<f64>().ok());
        let Some(percentage) = percentage.filter(|it| (0.0..=100.0).contains(it)) else {
            return invalid(
                "recovery_agent_removal_limit",
                limit.clone(),
                "it is a percentage from 0% to 100%",
            );
        };
        let rate = |text: &str| {
            let (agents, per) = text.split_once('/')?;
            let agents = agents.trim().parse().ok().filter(|agents: &u32| *agents > 0)?;
            let per = api::duration::parse(per.trim()).ok().filter(|per| !per.is_zero())?;
            Some((agents, per))
        };
        let agent_removal_limit = match &self.agent_removal_rate_limit {
            None => None,
            Some(text) => match rate(text) {
                Some(limit) => Some(limit),
                None => {
                    let expected = "it is a number of agents per time, such as `10/1mins`";
                    return invalid("agent_removal_rate_limit", text.clone(), expected);
                }
            },
        };
        let weights = match self.weights.as_deref().map(|text| weights(text, self.roles.as_deref())) {
            None => Vec::new(),
            Some(Ok(weights)) => weights,
            Some(Err(expected)) => {
                return invalid("weights", self.weights.clone().unwrap_or_default(), &expected);
            }
        };
        Ok(crate::cluster::Rules {
            agent_removal_limit,
            weights,
            roles: self.roles.clone(),
            root_submissions: self.root_submissions,
            offer_timeout: self.offer_timeout,
            agent_reregister_timeout: self.agent_reregister_timeout,
            total_ping_timeout: ping * self.max_agent_ping_timeouts,
            max_completed_frameworks: self.max_completed_frameworks,
            max_completed_tasks: self.max_completed_tasks_per_framework,
            max_unreachable_tasks: self.max_unreachable_tasks_per_framework,
            require_agent_domain: self.require_agent_domain,
            registry_max_agent_age: self.registry_max_agent_age,
            registry_max_agent_count: self.registry_max_agent_count,
            recovery_agent_removal_limit: percentage / 100.0,
            regex: RegexLimits {
                bytes: usize::try_from(self.offer_constraints_re2_max_mem).unwrap_or(usize::MAX),
                instructions: usize::try_from(self.offer_constraints_re2_max_program_size)
                    .unwrap_or(usize::MAX),
            },
        })
    }

    /// Checks the values that concern the allocator, and puts them in its words.
    pub(crate) fn allocator(&self) -> Result<allocator::Options, StartError> {
        let invalid = |flag, value: &str, expected: &str| {
            InvalidFlag { flag, value: value.to_owned(), expected: expected.to_owned() }.into()
        };
        if !matches!(self.allocator.as_str(), "hierarchical" | "HierarchicalDRF") {
            let expected = "the allocator here is `hierarchical`, also called `HierarchicalDRF`";
            return Err(invalid("allocator", &self.allocator, expected));
        }
        let sorter = |flag, value: &str| match value {
            "drf" => Ok(SorterKind::Drf),
            "random" => Ok(SorterKind::Random),
            _ => Err(invalid(flag, value, "it is `drf` or `random`")),
        };
        let roles = sorter("role_sorter", &self.role_sorter)?;
        if sorter("framework_sorter", &self.framework_sorter)? != roles {
            let expected = format!("it has to be that of `--role_sorter`, `{}`", self.role_sorter);
            return Err(invalid("framework_sorter", &self.framework_sorter, &expected));
        }
        let factor = self.allocator_agent_recovery_factor;
        if !(0.0..=1.0).contains(&factor) {
            let expected = "it is a part of all agents, from 0 to 1";
            return Err(invalid("allocator_agent_recovery_factor", &factor.to_string(), expected));
        }
        let fault_domain = self.domain.as_ref().and_then(|domain| domain.fault_domain.as_ref());
        Ok(allocator::Options {
            allocation_interval: self.allocation_interval,
            min_allocatable_resources: allocator::parse_min_allocatable_resources(
                &self.min_allocatable_resources,
            )?,
            fair_sharing_excluded_resource_names: self
                .fair_sharing_excluded_resource_names
                .iter()
                .cloned()
                .collect(),
            filter_gpu_resources: self.filter_gpu_resources,
            headroom_scraps: self.headroom_scraps,
            sorter: roles,
            region: fault_domain.map(|domain| domain.region.name.clone()),
            recovery_timeout: self.allocator_recovery_timeout,
            agent_recovery_factor: factor,
        })
    }

    /// Those that have a value, as `/flags` shows them.
    pub(crate) fn shown(&self) -> BTreeMap<String, String> {
        let text = api::duration::format;
        let mut shown = self.shown.clone();
        let mut show = |name: &str, value: String| {
            shown.insert(name.to_owned(), value);
        };
        if let Some(path) = &self.work_dir {
            show("work_dir", path.display().to_string());
        }
        if !self.masters.is_empty() {
            show("masters", crate::founding::listed(&self.masters));
        }
        show("registry", if self.registry_in_memory { "in_memory" } else { "replicated_log" }.into());
        show("registry_fetch_timeout", text(self.registry_fetch_timeout));
        show("registry_store_timeout", text(self.registry_store_timeout));
        show("registry_gc_interval", text(self.registry_gc_interval));
        show("registry_max_agent_age", text(self.registry_max_agent_age));
        show("registry_max_agent_count", self.registry_max_agent_count.to_string());
        show("allocator", self.allocator.clone());
        show("role_sorter", self.role_sorter.clone());
        show("framework_sorter", self.framework_sorter.clone());
        show("allocator_recovery_timeout", text(self.allocator_recovery_timeout));
        show("allocator_agent_recovery_factor", self.allocator_agent_recovery_factor.to_string());
        show("offer_constraints_re2_max_mem", api::byte_size::format(self.offer_constraints_re2_max_mem));
        show(
            "offer_constraints_re2_max_program_size",
            self.offer_constraints_re2_max_program_size.to_string(),
        );
        if let Some(path) = &self.whitelist {
            show("whitelist", path.display().to_string());
        }
        show("allocation_interval", text(self.allocation_interval));
        show("min_allocatable_resources", self.min_allocatable_resources.clone());
        show("headroom_scraps", self.headroom_scraps.to_string());
        show("filter_gpu_resources", self.filter_gpu_resources.to_string());
        show("root_submissions", self.root_submissions.to_string());
        show("agent_ping_timeout", text(self.agent_ping_timeout));
        show("max_agent_ping_timeouts", self.max_agent_ping_timeouts.to_string());
        show("agent_reregister_timeout", text(self.agent_reregister_timeout));
        show("recovery_agent_removal_limit", self.recovery_agent_removal_limit.clone());
        show("require_agent_domain", self.require_agent_domain.to_string());
        show("max_completed_frameworks", self.max_completed_frameworks.to_string());
        show("max_completed_tasks_per_framework", self.max_completed_tasks_per_framework.to_string());
        show("max_unreachable_tasks_per_framework", self.max_unreachable_tasks_per_framework.to_string());
        if let Some(limit) = &self.agent_removal_rate_limit {
            show("agent_removal_rate_limit", limit.clone());
        }
        if let Some(weights) = &self.weights {
            show("weights", weights.clone());
        }
        if let Some(cluster) = &self.cluster {
            show("cluster", cluster.clone());
        }
        if let Some(hostname) = &self.hostname {
            show("hostname", hostname.clone());
        }
        if let Some(domain) = &self.domain {
            show("domain", api::json::to_string(domain));
        }
        if let Some(roles) = &self.roles {
            show("roles", roles.join(","));
        }
        if let Some(timeout) = self.offer_timeout {
            show("offer_timeout", text(timeout));
        }
        if !self.fair_sharing_excluded_resource_names.is_empty() {
            show("fair_sharing_excluded_resource_names", self.fair_sharing_excluded_resource_names.join(","));
        }
        shown
    }
}

/// Reads `role=weight,role=weight`; the error says what would be right.
fn weights(text: &str, allowed: Option<&[String]>) -> Result<Vec<WeightInfo>, String> {
    let mut weights: Vec<WeightInfo> = Vec::new();
    for one in text.split(',').map(str::trim).filter(|one| !one.is_empty()) {
        let (role, weight) =
            one.split_once('=').ok_or("it is a list of roles with their weights, such as `a=2,b=0.5`")?;
        let role = role.trim();
        api::roles::validate(role).map_err(|error| error.to_string())?;
        if allowed.is_some_and(|allowed| role != "*" && !allowed.iter().any(|it| it == role)) {
            return Err(format!("role `{role}` is not among `--roles`"));
        }
        let weight = weight.trim().parse().ok().filter(|weight: &f64| weight.is_finite() && *weight > 0.0);
        let weight = weight.ok_or_else(|| format!("the weight of `{role}` is a number above zero"))?;
        if weights.iter().any(|other| other.role() == role) {
            return Err(format!("role `{role}` has one weight, not two"));
        }
        weights.push(WeightInfo { role: Some(role.to_owned()), weight });
    }
    Ok(weights)
}

#[cfg(test)]
mod tests;
