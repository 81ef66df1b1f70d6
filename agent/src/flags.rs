//! What an agent can be told at its start. The command line fills this; names and defaults are Mesos's.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use api::duration;

/// An agent's configuration. Fields bear the names of the command line's flags.
#[derive(Debug, Clone)]
pub struct Flags {
    /// Who may be the master, as [`detector::Masters`] is written: `m1:5050,m2:5050,m3:5050`, any of which tells
    /// who leads; or a file that says so, `file:///etc/mesos/masters`.
    pub master: String,
    /// Where sandboxes and checkpoints lie. Nothing else may clean it.
    pub work_dir: PathBuf,
    /// The `mesos` command itself, which starts containers and is the built-in command executor.
    /// By default the program that is running.
    pub launcher: PathBuf,
    /// `cpus:4;mem:1024`, or a JSON array; what is missing is detected.
    pub resources: Option<String>,
    /// `rack:a1;os:linux`.
    pub attributes: Option<String>,
    /// The role of resources that name none.
    pub default_role: String,
    /// The name announced; by default the host's.
    pub hostname: Option<String>,
    /// Whether the name is looked up when none is given; otherwise the address is announced.
    pub hostname_lookup: bool,
    /// A fault domain as JSON.
    pub domain: Option<String>,
    /// The span from which the wait before the first attempt to register is drawn, unless the leader names a shorter
    /// one. Each further wait is from one that is twice as long, up to a minute.
    pub registration_backoff_factor: Duration,
    /// How long an executor may take from launch to registration.
    pub executor_registration_timeout: Duration,
    /// How long executors try to reach a restarted agent, at intervals no longer than this.
    pub executor_reregistration_timeout: Duration,
    /// How long an executor that was told to shut down may take, when it names no time itself.
    pub executor_shutdown_grace_period: Duration,
    /// How long executors wait for an agent that is gone.
    pub recovery_timeout: Duration,
    /// Variables for every executor.
    pub executor_environment_variables: BTreeMap<String, String>,
    /// Whether tasks run as the user they name; needs root.
    pub switch_user: bool,
    /// What relative URIs are relative to.
    pub frameworks_home: Option<PathBuf>,
    /// How long a finished executor's directories stay.
    pub gc_delay: Duration,
    /// The part of the disk to keep free: fuller, and directories go earlier.
    pub gc_disk_headroom: f64,
    /// How often the disk's usage is looked at.
    pub disk_watch_interval: Duration,
    /// How many finished executors of a framework are remembered.
    pub max_completed_executors_per_framework: usize,
    /// The isolators, separated by commas.
    pub isolation: String,
}

impl Flags {
    /// The defaults, for an agent of `master` that keeps its files in `work_dir`.
    pub fn new(master: impl Into<String>, work_dir: impl Into<PathBuf>) -> Flags {
        Flags {
            master: master.into(),
            work_dir: work_dir.into(),
            launcher: std::env::current_exe().unwrap_or_else(|_| PathBuf::from("mesos")),
            resources: None,
            attributes: None,
            default_role: "*".to_owned(),
            hostname: None,
            hostname_lookup: true,
            domain: None,
            registration_backoff_factor: Duration::from_secs(1),
            executor_registration_timeout: Duration::from_secs(60),
            executor_reregistration_timeout: Duration::from_secs(2),
            executor_shutdown_grace_period: Duration::from_secs(5),
            recovery_timeout: Duration::from_secs(15 * 60),
            executor_environment_variables: BTreeMap::new(),
            // Only root may become somebody else.
            switch_user: nix::unistd::geteuid().is_root(),
            frameworks_home: None,
            gc_delay: Duration::from_secs(7 * 24 * 3600),
            gc_disk_headroom: 0.1,
            disk_watch_interval: Duration::from_secs(60),
            max_completed_executors_per_framework: 150,
            isolation: "posix/cpu,posix/mem".to_owned(),
        }
    }

    /// What `/flags` and `/state` show: the flags that have a value, as text.
    pub fn shown(&self) -> BTreeMap<&'static str, String> {
        let path = |path: &PathBuf| path.display().to_string();
        let optional = [
            ("attributes", self.attributes.clone()),
            ("domain", self.domain.clone()),
            ("frameworks_home", self.frameworks_home.as_ref().map(path)),
            ("hostname", self.hostname.clone()),
            ("resources", self.resources.clone()),
            (
                "executor_environment_variables",
                (!self.executor_environment_variables.is_empty())
                    .then(|| serde_json::json!(self.executor_environment_variables).to_string()),
            ),
        ];
        let given = [
            ("default_role", self.default_role.clone()),
            ("disk_watch_interval", duration::format(self.disk_watch_interval)),
            ("executor_registration_timeout", duration::format(self.executor_registration_timeout)),
            ("executor_reregistration_timeout", duration::format(self.executor_reregistration_timeout)),
            ("executor_shutdown_grace_period", duration::format(self.executor_shutdown_grace_period)),
            ("gc_delay", duration::format(self.gc_delay)),
            ("gc_disk_headroom", self.gc_disk_headroom.to_string()),
            ("hostname_lookup", self.hostname_lookup.to_string()),
            ("isolation", self.isolation.clone()),
            ("launcher", "posix".to_owned()),
            ("master", self.master.clone()),
            ("max_completed_executors_per_framework", self.max_completed_executors_per_framework.to_string()),
            ("recovery_timeout", duration::format(self.recovery_timeout)),
            ("registration_backoff_factor", duration::format(self.registration_backoff_factor)),
            ("switch_user", self.switch_user.to_string()),
            ("work_dir", path(&self.work_dir)),
        ];
        let optional = optional.into_iter().filter_map(|(name, value)| Some((name, value?)));
        given.into_iter().chain(optional).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_shown_as_text_and_only_those_that_have_a_value() {
        let mut flags = Flags::new("10.0.0.1:5050", "/var/lib/mesos");
        flags.executor_registration_timeout = Duration::from_secs(60);
        let shown = flags.shown();
        assert_eq!(shown["executor_registration_timeout"], "1mins");
        assert_eq!(shown["gc_delay"], "1weeks");
        assert!(!shown.contains_key("resources"));
        flags.resources = Some("cpus:4".into());
        assert_eq!(flags.shown()["resources"], "cpus:4");
    }
}
