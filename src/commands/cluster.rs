//! A whole cluster in this process.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use detector::{HostPort, Masters};
use libprocess::{Future, Node, Promise};
use tempfile::TempDir;

use super::{SHUTDOWN_TIMEOUT, agent::EXECUTORS_TIMEOUT, first};
use crate::version;

/// What a cluster in this process is to be.
pub(super) struct Plan {
    pub(super) ip: IpAddr,
    /// The master's, or the first of several in a row; 0 takes free ones.
    pub(super) port: u16,
    pub(super) masters: u16,
    pub(super) agents: u16,
    /// Where everything is kept; a directory of its own that goes with the cluster when none is given.
    pub(super) work_dir: Option<PathBuf>,
    /// Of each agent; detected when not given.
    pub(super) resources: Option<String>,
    pub(super) attributes: Option<String>,
}

/// A running cluster. Dropping it ends it.
pub(super) struct Cluster {
    masters: Vec<(Node, master::Handle)>,
    agents: Vec<(Node, agent::Handle)>,
    // Last: the directory goes once nothing runs in it any more.
    scratch: Option<TempDir>,
}

impl Cluster {
    pub(super) fn start(plan: Plan) -> anyhow::Result<Cluster> {
        let (work_dir, scratch) = match plan.work_dir {
            Some(path) => (path, None),
            None => {
                let scratch = tempfile::Builder::new().prefix("mesos-").tempdir();
                let scratch = scratch.context("could not make a directory for the cluster")?;
                (scratch.path().to_owned(), Some(scratch))
            }
        };
        let mut cluster = Cluster { masters: Vec::new(), agents: Vec::new(), scratch };
        // All of them listen before the first is told of the others.
        let mut nodes = Vec::new();
        for n in 0..plan.masters {
            let port = match plan.port {
                0 => 0,
                first => first.checked_add(n).context("there are not that many ports above --port")?,
            };
            nodes.push(listen(plan.ip, port, master::PROCESS_ID)?);
        }
        let alone = nodes.len() == 1;
        let all: Vec<HostPort> = nodes.iter().map(|node| node.address().into()).collect();
        for (n, node) in nodes.into_iter().enumerate() {
            let dir = if alone { "master".to_owned() } else { format!("master-{}", n + 1) };
            let flags = master::Flags {
                work_dir: Some(work_dir.join(dir)),
                masters: if alone { Vec::new() } else { all.clone() },
                // A master that is alone and goes with its directory has nothing to remember.
                registry_in_memory: alone && cluster.scratch.is_some(),
                hostname: Some("localhost".to_owned()),
                ..master::Flags::default()
            };
            let master = master::start(&node, flags)?;
            cluster.masters.push((node, master));
        }
        let all = all.iter().map(HostPort::to_string).collect::<Vec<_>>().join(",");
        for n in 1..=plan.agents {
            let mut flags = agent::Flags::new(all.clone(), agent_dir(&work_dir, n));
            flags.resources = plan.resources.clone();
            flags.attributes = plan.attributes.clone();
            flags.hostname = Some("localhost".to_owned());
            // Few agents and a master that is up in milliseconds: there is no crowd to be spread.
            flags.registration_backoff_factor = Duration::from_millis(10);
            let node = listen(plan.ip, 0, "slave(1)")?;
            let agent = agent::start(&node, flags)?;
            cluster.agents.push((node, agent));
        }
        Ok(cluster)
    }

    /// The masters, to be followed.
    pub(super) fn masters(&self) -> anyhow::Result<Masters> {
        match &self.masters[..] {
            // Nobody else could lead.
            [(_, only)] => Ok(only.pid.upid().clone().into()),
            all => {
                let all = all.iter().map(|(node, _)| node.address().into()).collect::<Vec<HostPort>>();
                anyhow::ensure!(!all.is_empty(), "the cluster has no master");
                Ok(Masters::Listed(all))
            }
        }
    }

    /// Where the masters are.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.masters.iter().map(|(node, _)| node.address()).collect()
    }

    /// Settled when a master gives up; only the first caller hears of it.
    pub(super) fn fatal(&mut self) -> Future<String> {
        first(self.masters.iter_mut().map(|(_, master)| {
            let (_, nobody) = Promise::new();
            std::mem::replace(&mut master.fatal, nobody)
        }))
    }

    /// Ends everything that runs in the cluster, then the cluster.
    fn stop(&mut self) {
        for (_, agent) in &self.agents {
            agent.shut_down("the cluster ends");
        }
        for (node, agent) in self.agents.drain(..) {
            let _ = agent.ended().wait(EXECUTORS_TIMEOUT);
            let _ = node.shutdown().wait(SHUTDOWN_TIMEOUT);
        }
        for (node, _) in self.masters.drain(..) {
            let _ = node.shutdown().wait(SHUTDOWN_TIMEOUT);
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop();
        if let Some(scratch) = self.scratch.take()
            && let Err(error) = scratch.close()
        {
            tracing::warn!(%error, "could not remove the cluster's directory");
        }
    }
}

fn listen(ip: IpAddr, port: u16, delegate: &str) -> anyhow::Result<Node> {
    let node = Node::builder().listen(SocketAddr::new(ip, port).to_string()).delegate(delegate).start()?;
    version::serve(&node)?;
    Ok(node)
}

fn agent_dir(work_dir: &Path, n: u16) -> PathBuf {
    work_dir.join(format!("agent-{n}"))
}
