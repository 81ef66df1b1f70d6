//! What the operator can set: Apache's names and defaults, for what exists. Plain data; reading a command line
//! is the business of the binary.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use api::v1::DomainInfo;

/// The flags of a master.
#[derive(Debug, Clone)]
pub struct Flags {
    /// `--work_dir`: where the registry is kept.
    pub work_dir: Option<PathBuf>,
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
    /// `--allocation_interval`.
    pub allocation_interval: Duration,
    /// `--min_allocatable_resources`.
    pub min_allocatable_resources: String,
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
            allocation_interval: Duration::from_secs(1),
            min_allocatable_resources: "cpus:0.01|mem:32".into(),
            fair_sharing_excluded_resource_names: Vec::new(),
            filter_gpu_resources: true,
            offer_timeout: None,
            root_submissions: true,
            agent_ping_timeout: Duration::from_secs(15),
            max_agent_ping_timeouts: 5,
            agent_reregister_timeout: Duration::from_secs(600),
            recovery_agent_removal_limit: "100%".into(),
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
        Ok(crate::cluster::Rules {
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
        show("registry", if self.registry_in_memory { "in_memory" } else { "replicated_log" }.into());
        show("registry_fetch_timeout", text(self.registry_fetch_timeout));
        show("registry_store_timeout", text(self.registry_store_timeout));
        show("registry_gc_interval", text(self.registry_gc_interval));
        show("registry_max_agent_age", text(self.registry_max_agent_age));
        show("registry_max_agent_count", self.registry_max_agent_count.to_string());
        show("allocation_interval", text(self.allocation_interval));
        show("min_allocatable_resources", self.min_allocatable_resources.clone());
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
