//! `mesos agent`.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;

use super::{SHUTDOWN_TIMEOUT, first, interrupted, node, wait_for};
use crate::cli::AgentFlags;
use crate::logging;

/// How long executors get to end before the agent stops waiting for them.
pub(super) const EXECUTORS_TIMEOUT: Duration = Duration::from_secs(15);

pub(crate) fn run(flags: Box<AgentFlags>) -> anyhow::Result<ExitCode> {
    logging::start(&flags.log.logging_level, flags.log.quiet);
    let interrupted = interrupted()?;
    let agent_flags = agent_flags(&flags)?;
    let node = node(&flags.listen, flags.port, "slave(1)")?;
    let agent = agent::start(&node, agent_flags)?;
    tracing::info!(address = %node.address(), master = %flags.master, "agent up");
    // The agent ends by itself when its master tells it to.
    wait_for(first([interrupted, agent.ended()]));
    agent.shut_down("the agent was told to stop");
    let _ = agent.ended().wait(EXECUTORS_TIMEOUT);
    let _ = node.shutdown().wait(SHUTDOWN_TIMEOUT);
    match agent.failure() {
        Some(reason) => Err(anyhow::anyhow!(reason.to_owned()).context("the agent gave up")),
        None => Ok(ExitCode::SUCCESS),
    }
}

fn agent_flags(flags: &AgentFlags) -> anyhow::Result<agent::Flags> {
    let mut out = agent::Flags::new(flags.master.to_string(), flags.work_dir.clone());
    out.resources = flags.resources.clone();
    out.attributes = flags.attributes.clone();
    out.default_role = flags.default_role.clone();
    out.hostname = flags.listen.hostname.clone();
    out.domain = flags.domain.clone();
    out.registration_backoff_factor = flags.registration_backoff_factor;
    out.executor_registration_timeout = flags.executor_registration_timeout;
    out.executor_shutdown_grace_period = flags.executor_shutdown_grace_period;
    if let Some(json) = &flags.executor_environment_variables {
        out.executor_environment_variables = serde_json::from_str(json)
            .context("--executor_environment_variables is no JSON object of strings")?;
    }
    if let Some(switch_user) = flags.switch_user {
        out.switch_user = switch_user;
    }
    out.frameworks_home = flags.frameworks_home.clone();
    out.gc_delay = flags.gc_delay;
    out.gc_disk_headroom = flags.gc_disk_headroom;
    out.disk_watch_interval = flags.disk_watch_interval;
    out.max_completed_executors_per_framework = flags.max_completed_executors_per_framework;
    out.isolation = flags.isolation.clone();
    Ok(out)
}
