//! `mesos master`.

use std::process::ExitCode;

use anyhow::Context;

use super::{SHUTDOWN_TIMEOUT, first, interrupted, node, wait_for};
use crate::cli::MasterFlags;
use crate::logging;

pub(crate) fn run(flags: Box<MasterFlags>) -> anyhow::Result<ExitCode> {
    logging::start(&flags.log.logging_level, flags.log.quiet);
    let interrupted = interrupted()?;
    let master_flags = master_flags(&flags)?;
    let node = node(&flags.listen, flags.port, master::PROCESS_ID)?;
    let master = master::start(&node, master_flags)?;
    match &flags.masters {
        None => tracing::info!(address = %node.address(), id = master.info.id, "master up"),
        Some(all) => {
            let all = all.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
            tracing::info!(address = %node.address(), id = master.info.id, masters = all, "master up, one of several");
        }
    }
    // Without a word it ends only by a fault of its own.
    let fatal =
        master.fatal.outcome().map(|why| why.unwrap_or_else(|_| "its processes have ended".to_owned()));
    let end = first([interrupted.map(|()| None), fatal.map(Some)]);
    let fatal = wait_for(end).flatten();
    let _ = node.shutdown().wait(SHUTDOWN_TIMEOUT);
    match fatal {
        Some(reason) => Err(anyhow::anyhow!(reason).context("the master gave up")),
        None => Ok(ExitCode::SUCCESS),
    }
}

fn master_flags(flags: &MasterFlags) -> anyhow::Result<master::Flags> {
    let list = |text: &Option<String>| -> Option<Vec<String>> {
        let items = text.as_deref()?.split(',').map(str::trim).filter(|item| !item.is_empty());
        Some(items.map(str::to_owned).collect())
    };
    let domain = match &flags.domain {
        Some(json) => Some(api::json::from_slice(json.as_bytes()).context("--domain is no fault domain")?),
        None => None,
    };
    Ok(master::Flags {
        work_dir: flags.work_dir.clone(),
        masters: flags.masters.clone().unwrap_or_default(),
        registry_in_memory: flags.registry == "in_memory",
        registry_fetch_timeout: flags.registry_fetch_timeout,
        registry_store_timeout: flags.registry_store_timeout,
        registry_gc_interval: flags.registry_gc_interval,
        registry_max_agent_age: flags.registry_max_agent_age,
        registry_max_agent_count: flags.registry_max_agent_count,
        cluster: flags.cluster.clone(),
        hostname: flags.listen.hostname.clone(),
        domain,
        roles: list(&flags.roles),
        allocator: flags.allocator.clone(),
        role_sorter: flags.role_sorter.clone(),
        framework_sorter: flags.framework_sorter.clone(),
        allocator_recovery_timeout: flags.allocator_recovery_timeout,
        allocator_agent_recovery_factor: flags.allocator_agent_recovery_factor,
        whitelist: flags.whitelist.clone(),
        offer_constraints_re2_max_mem: flags.offer_constraints_re2_max_mem,
        offer_constraints_re2_max_program_size: flags.offer_constraints_re2_max_program_size,
        allocation_interval: flags.allocation_interval,
        min_allocatable_resources: flags.min_allocatable_resources.clone(),
        headroom_scraps: flags.headroom_scraps,
        fair_sharing_excluded_resource_names: list(&flags.fair_sharing_excluded_resource_names)
            .unwrap_or_default(),
        filter_gpu_resources: flags.filter_gpu_resources,
        offer_timeout: flags.offer_timeout,
        root_submissions: flags.root_submissions,
        agent_ping_timeout: flags.agent_ping_timeout,
        max_agent_ping_timeouts: flags.max_agent_ping_timeouts,
        agent_reregister_timeout: flags.agent_reregister_timeout,
        recovery_agent_removal_limit: flags.recovery_agent_removal_limit.clone(),
        agent_removal_rate_limit: flags.agent_removal_rate_limit.clone(),
        weights: flags.weights.clone(),
        require_agent_domain: flags.require_agent_domain,
        max_completed_frameworks: flags.max_completed_frameworks,
        max_completed_tasks_per_framework: flags.max_completed_tasks_per_framework,
        max_unreachable_tasks_per_framework: flags.max_unreachable_tasks_per_framework,
        shown: [
            ("port".to_owned(), flags.port.to_string()),
            ("logging_level".to_owned(), flags.log.logging_level.clone()),
            ("quiet".to_owned(), flags.log.quiet.to_string()),
        ]
        .into(),
    })
}
