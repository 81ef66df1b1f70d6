//! What a machine has to offer: from the flags, and for what they leave out, from the machine.

use std::path::Path;

use api::resources::{ParseError, Resources};

/// What is assumed of a machine that does not tell.
const FALLBACK_CPUS: f64 = 1.0;
const FALLBACK_MEM_MB: f64 = 1024.0;
const FALLBACK_DISK_MB: f64 = 10.0 * 1024.0;
/// The ports offered when none are named: above those that services use, below those the kernel hands out.
const DEFAULT_PORTS: &str = "[31000-32000]";

/// What was found on the machine.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Machine {
    /// Processors online.
    pub cpus: Option<f64>,
    /// Memory in megabytes.
    pub mem_mb: Option<f64>,
    /// The size of the file system of the work directory, in megabytes.
    pub disk_mb: Option<f64>,
}

impl Machine {
    /// Looks at the machine this runs on.
    pub fn detect(work_dir: &Path) -> Machine {
        let cpus = std::thread::available_parallelism().ok().map(|cpus| cpus.get() as f64);
        let mem_mb = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
            let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
            let kilobytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
            Some((kilobytes / 1024.0).floor())
        });
        let disk_mb = nix::sys::statvfs::statvfs(work_dir)
            .ok()
            .map(|stat| (stat.blocks() as f64 * stat.fragment_size() as f64 / (1024.0 * 1024.0)).floor());
        Machine { cpus, mem_mb, disk_mb }
    }
}

/// The resources of an agent: those named, and of `cpus`, `mem`, `disk` and `ports` those not named as the
/// machine has them, less what the system needs itself. A resource named with an amount of zero is neither
/// offered nor detected.
///
/// # Errors
/// Names the item that is wrong, and what is wrong with it.
pub fn resources(named: Option<&str>, default_role: &str, machine: Machine) -> Result<Resources, ParseError> {
    let text = named.unwrap_or_default().trim();
    let mut resources =
        if text.is_empty() { Resources::default() } else { Resources::parse(text, default_role)? };
    let is_named = |name: &str| {
        api::resources::parse_list(text, default_role)
            .is_ok_and(|entries| entries.iter().any(|entry| entry.name().as_str() == name))
            || mentions(text, name)
    };
    let mem = machine.mem_mb.map_or(FALLBACK_MEM_MB, |total| less(total, 2.0 * 1024.0, 1024.0));
    let disk = machine.disk_mb.map_or(FALLBACK_DISK_MB, |total| less(total, 10.0 * 1024.0, 5.0 * 1024.0));
    let detected = [
        ("cpus", machine.cpus.unwrap_or(FALLBACK_CPUS).to_string()),
        ("mem", mem.to_string()),
        ("disk", disk.to_string()),
        ("ports", DEFAULT_PORTS.to_owned()),
    ];
    for (name, value) in detected {
        if !is_named(name) {
            for entry in Resources::parse(&format!("{name}:{value}"), default_role)?.iter() {
                resources.push(entry.clone());
            }
        }
    }
    Ok(resources)
}

/// Whether the text names a resource, be its amount zero.
fn mentions(text: &str, name: &str) -> bool {
    text.split(';').filter_map(|item| item.split([':', '(']).next()).any(|item| item.trim() == name)
}

/// What is left of `total` when the system keeps `kept`, or half of it on a machine smaller than `small`.
fn less(total: f64, small: f64, kept: f64) -> f64 {
    if total >= small { total - kept } else { (total / 2.0).floor() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(named: Option<&str>, machine: Machine) -> String {
        let resources = resources(named, "*", machine).unwrap();
        format!("{} cpus, {} mem, {} disk, {} ports", resources.cpus(), resources.mem(), resources.disk(), {
            resources.ports().count()
        })
    }

    const MACHINE: Machine =
        Machine { cpus: Some(8.0), mem_mb: Some(16384.0), disk_mb: Some(100.0 * 1024.0) };

    #[test]
    fn what_is_not_named_is_detected_less_what_the_system_needs() {
        assert_eq!(told(None, MACHINE), "8 cpus, 15360 mem, 97280 disk, 1001 ports");
        assert_eq!(told(Some("cpus:2;ports:[1-3]"), MACHINE), "2 cpus, 15360 mem, 97280 disk, 3 ports");
        let small = Machine { cpus: Some(1.0), mem_mb: Some(1000.0), disk_mb: Some(8000.0) };
        assert_eq!(told(Some(""), small), "1 cpus, 500 mem, 4000 disk, 1001 ports");
        assert_eq!(told(None, Machine::default()), "1 cpus, 1024 mem, 10240 disk, 1001 ports");
    }

    #[test]
    fn a_resource_named_with_zero_is_not_offered_and_nonsense_is_refused() {
        assert_eq!(told(Some("mem:0"), MACHINE), "8 cpus, 0 mem, 97280 disk, 1001 ports");
        assert!(resources(Some("cpus"), "*", MACHINE).is_err());
    }

    #[test]
    fn this_machine_tells_what_it_has() {
        let machine = Machine::detect(Path::new("/"));
        assert!(machine.cpus.is_some_and(|cpus| cpus >= 1.0));
        assert!(machine.mem_mb.is_some() && machine.disk_mb.is_some());
    }
}
