//! A whole cluster in this process.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use libprocess::{Future, Node, Upid};
use tempfile::TempDir;

use super::{SHUTDOWN_TIMEOUT, agent::EXECUTORS_TIMEOUT};
use crate::version;

/// What a cluster in this process is to be.
pub(super) struct Plan {
    pub(super) ip: IpAddr,
    /// The master's; 0 takes a free one.
    pub(super) port: u16,
    pub(super) agents: u16,
    /// Where everything is kept; a directory of its own that goes with the cluster when none is given.
    pub(super) work_dir: Option<PathBuf>,
    /// Of each agent; detected when not given.
    pub(super) resources: Option<String>,
    pub(super) attributes: Option<String>,
}

/// A running cluster. Dropping it ends it.
pub(super) struct Cluster {
    master_node: Node,
    master: Upid,
    agents: Vec<(Node, agent::Handle)>,
    fatal: Option<Future<String>>,
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
        let master_node = listen(plan.ip, plan.port, master::PROCESS_ID)?;
        let flags = master::Flags {
            work_dir: Some(work_dir.join("master")),
            // A cluster that goes with its directory has nothing to remember.
            registry_in_memory: scratch.is_some(),
            hostname: Some("localhost".to_owned()),
            ..master::Flags::default()
        };
        let master = master::start(&master_node, flags)?;
        let mut cluster = Cluster {
            master: master.pid.upid().clone(),
            master_node,
            agents: Vec::new(),
            fatal: Some(master.fatal),
            scratch,
        };
        for n in 1..=plan.agents {
            let mut flags =
                agent::Flags::new(cluster.master_node.address().to_string(), agent_dir(&work_dir, n));
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

    pub(super) fn master(&self) -> &Upid {
        &self.master
    }

    /// Settled when the master gives up; only the first caller gets it.
    pub(super) fn fatal(&mut self) -> Option<Future<String>> {
        self.fatal.take()
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
        let _ = self.master_node.shutdown().wait(SHUTDOWN_TIMEOUT);
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
