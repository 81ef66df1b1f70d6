//! `mesos local`: a whole cluster in this process.

use std::process::ExitCode;

use super::cluster::{Cluster, Plan};
use super::{first, interrupted, wait_for};
use crate::cli::LocalFlags;
use crate::logging;

pub(crate) fn run(flags: LocalFlags) -> anyhow::Result<ExitCode> {
    logging::start(&flags.log.logging_level, flags.log.quiet);
    let interrupted = interrupted()?;
    let mut cluster = Cluster::start(Plan {
        ip: flags.ip,
        port: flags.port,
        agents: flags.agents,
        work_dir: flags.work_dir,
        resources: flags.resources,
        attributes: flags.attributes,
    })?;
    println!("a cluster with {} agent(s) at http://{}", flags.agents, cluster.master().address());
    let fatal = cluster.fatal().map(|fatal| fatal.map(Some));
    let end = first(fatal.into_iter().chain([interrupted.map(|()| None)]));
    match wait_for(end).flatten() {
        Some(reason) => Err(anyhow::anyhow!(reason).context("the master gave up")),
        None => Ok(ExitCode::SUCCESS),
    }
}
