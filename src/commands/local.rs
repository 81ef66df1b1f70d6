//! `mesos local`: a whole cluster in this process.

use std::process::ExitCode;

use super::cluster::{Cluster, Plan};
use super::{chaos, first, interrupted, wait_for};
use crate::cli::LocalFlags;
use crate::logging;

pub(crate) fn run(flags: LocalFlags) -> anyhow::Result<ExitCode> {
    logging::start(&flags.log.logging_level, flags.log.quiet);
    let interrupted = interrupted()?;
    let mut cluster = Cluster::start(Plan {
        ip: flags.ip,
        port: flags.port,
        masters: flags.masters,
        agents: flags.agents,
        work_dir: flags.work_dir,
        resources: flags.resources,
        attributes: flags.attributes,
        restarts: flags.chaos.is_some(),
    })?;
    println!("{}", describe(&cluster, flags.agents));
    if let Some(seed) = flags.chaos {
        return chaos::run(&mut cluster, seed, flags.chaos_for, interrupted);
    }
    let fatal = cluster.fatal().map(|fatal| fatal.map(Some));
    let end = first(fatal.into_iter().chain([interrupted.map(|()| None)]));
    match wait_for(end).flatten() {
        Some(reason) => Err(anyhow::anyhow!(reason).context("the master gave up")),
        None => Ok(ExitCode::SUCCESS),
    }
}

fn describe(cluster: &Cluster, n_agents: u16) -> String {
    let masters: Vec<_> = cluster.addresses().iter().map(|address| format!("http://{address}")).collect();
    match &masters[..] {
        [only] => format!("a cluster with {n_agents} agent(s) at {only}"),
        all => format!(
            "a cluster with {} masters and {n_agents} agent(s); any of these sends on to the leader:\n  {}",
            all.len(),
            all.join("\n  ")
        ),
    }
}
