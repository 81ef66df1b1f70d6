//! What keeps a container within its resources, or at least measures what it uses.
//!
//! One file per isolator as they come; the two here only measure.

use std::sync::Arc;

use api::v1::ResourceStatistics;

use super::processes::Stat;
use crate::workload::Launch;

/// An isolator refused or failed.
#[derive(Debug, thiserror::Error)]
#[error("isolator `{isolator}` could not {what}")]
pub struct IsolatorError {
    /// Which.
    pub isolator: &'static str,
    /// What it was doing.
    pub what: String,
    /// What the system said.
    pub source: std::io::Error,
}

/// One way of isolating. Every call runs off the actors and may block.
pub trait Isolator: Send + Sync + 'static {
    /// Its name in `--isolation`.
    fn name(&self) -> &'static str;

    /// Before there is a process.
    fn prepare(&self, launch: &Launch) -> Result<(), IsolatorError> {
        let _ = launch;
        Ok(())
    }

    /// There is a process, which waits.
    fn isolate(&self, container_id: &str, pid: u32) -> Result<(), IsolatorError> {
        let _ = (container_id, pid);
        Ok(())
    }

    /// Adds what the container uses, by the processes in it.
    fn usage(&self, container_id: &str, processes: &[Stat], statistics: &mut ResourceStatistics);

    /// The container has ended.
    fn cleanup(&self, container_id: &str) -> Result<(), IsolatorError> {
        let _ = container_id;
        Ok(())
    }
}

/// `posix/cpu`: no limit; the processor time of the process tree.
#[derive(Debug)]
pub struct PosixCpu;

impl Isolator for PosixCpu {
    fn name(&self) -> &'static str {
        "posix/cpu"
    }

    fn usage(&self, _container_id: &str, processes: &[Stat], statistics: &mut ResourceStatistics) {
        let per_second = ticks_per_second();
        let seconds = |ticks: fn(&Stat) -> u64| processes.iter().map(ticks).sum::<u64>() as f64 / per_second;
        statistics.cpus_user_time_secs = Some(seconds(|stat| stat.user_ticks));
        statistics.cpus_system_time_secs = Some(seconds(|stat| stat.system_ticks));
        statistics.processes = Some(processes.len() as u32);
        statistics.threads = Some(processes.iter().map(|stat| stat.threads).sum());
    }
}

/// `posix/mem`: no limit; the resident memory of the process tree.
#[derive(Debug)]
pub struct PosixMem;

impl Isolator for PosixMem {
    fn name(&self) -> &'static str {
        "posix/mem"
    }

    fn usage(&self, _container_id: &str, processes: &[Stat], statistics: &mut ResourceStatistics) {
        let pages: u64 = processes.iter().map(|stat| stat.resident_pages).sum();
        let bytes = pages * page_bytes();
        statistics.mem_rss_bytes = Some(bytes);
        statistics.mem_total_bytes = Some(bytes);
    }
}

fn ticks_per_second() -> f64 {
    nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok().flatten().map_or(100.0, |ticks| ticks as f64)
}

fn page_bytes() -> u64 {
    let size = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten();
    size.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(4096)
}

/// A name in `--isolation` that cannot be served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IsolationError {
    /// No such isolator here.
    #[error("--isolation: there is no isolator `{0}`; this agent has posix/cpu and posix/mem")]
    Unknown(String),
    /// Named twice.
    #[error("--isolation: `{0}` is named twice")]
    Twice(String),
}

/// The isolators that `--isolation` names.
pub fn named(isolation: &str) -> Result<Vec<Arc<dyn Isolator>>, IsolationError> {
    // The old name of both.
    let isolation = if isolation == "process" { "posix/cpu,posix/mem" } else { isolation };
    let mut isolators: Vec<Arc<dyn Isolator>> = Vec::new();
    for name in isolation.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        if isolators.iter().any(|isolator| isolator.name() == name) {
            return Err(IsolationError::Twice(name.to_owned()));
        }
        isolators.push(match name {
            "posix/cpu" => Arc::new(PosixCpu),
            "posix/mem" => Arc::new(PosixMem),
            _ => return Err(IsolationError::Unknown(name.to_owned())),
        });
    }
    Ok(isolators)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn isolators_are_found_by_name_and_what_is_not_here_is_named() {
        assert_eq!(named("process").unwrap().len(), 2);
        assert_eq!(named("posix/mem").unwrap()[0].name(), "posix/mem");
        assert_eq!(named("posix/cpu,posix/cpu").err(), Some(IsolationError::Twice("posix/cpu".into())));
        assert_eq!(named("cgroups/cpu").err(), Some(IsolationError::Unknown("cgroups/cpu".into())));
    }

    #[test]
    fn usage_is_the_sum_over_the_processes() {
        let stat = Stat {
            parent: 1,
            session: 1,
            state: 'S',
            user_ticks: 100,
            system_ticks: 50,
            threads: 2,
            resident_pages: 10,
        };
        let mut statistics = ResourceStatistics::default();
        for isolator in named("posix/cpu,posix/mem").unwrap() {
            isolator.usage("c", &[stat, stat], &mut statistics);
        }
        assert_eq!(statistics.cpus_user_time_secs, Some(200.0 / ticks_per_second()));
        assert_eq!((statistics.processes, statistics.threads), (Some(2), Some(4)));
        assert_eq!(statistics.mem_rss_bytes, Some(20 * page_bytes()));
    }
}
