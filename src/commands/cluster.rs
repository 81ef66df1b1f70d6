//! A whole cluster in this process.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Context;
use detector::{HostPort, Masters};
use libprocess::{Future, Node, Promise};
use tempfile::TempDir;

use super::{SHUTDOWN_TIMEOUT, agent::EXECUTORS_TIMEOUT};
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
    /// Whether masters may be killed and started again: then also one that is alone has to remember its registry.
    pub(super) restarts: bool,
}

/// How long a port may take to be free again after its node has ended.
const PORT_TIMEOUT: Duration = Duration::from_secs(5);

/// A part of the cluster, which may be down.
struct Part<F, H> {
    address: SocketAddr,
    flags: F,
    running: Option<(Node, H)>,
}

type Fatal = Arc<Mutex<Option<Promise<String>>>>;

/// A running cluster. Dropping it ends it.
pub(super) struct Cluster {
    masters: Vec<Part<master::Flags, master::Handle>>,
    agents: Vec<Part<agent::Flags, agent::Handle>>,
    gave_up: Fatal,
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
        // All of them listen before the first is told of the others.
        let mut nodes = Vec::new();
        for n in 0..plan.masters {
            let port = match plan.port {
                0 => 0,
                first => first.checked_add(n).context("there are not that many ports above --port")?,
            };
            nodes.push(listen(SocketAddr::new(plan.ip, port), master::PROCESS_ID)?);
        }
        let alone = nodes.len() == 1;
        let all: Vec<HostPort> = nodes.iter().map(|node| node.address().into()).collect();
        let (promise, fatal) = Promise::new();
        let gave_up = Arc::new(Mutex::new(Some(promise)));
        let (masters, agents) = (Vec::new(), Vec::new());
        let mut cluster = Cluster { masters, agents, gave_up, fatal: Some(fatal), scratch };
        for (n, node) in nodes.into_iter().enumerate() {
            let dir = if alone { "master".to_owned() } else { format!("master-{}", n + 1) };
            let flags = master::Flags {
                work_dir: Some(work_dir.join(dir)),
                masters: if alone { Vec::new() } else { all.clone() },
                // A master that is alone and goes with its directory has nothing to remember.
                registry_in_memory: alone && cluster.scratch.is_some() && !plan.restarts,
                hostname: Some("localhost".to_owned()),
                ..master::Flags::default()
            };
            let master = cluster.run_master(&node, flags.clone())?;
            let address = node.address();
            cluster.masters.push(Part { address, flags, running: Some((node, master)) });
        }
        let all = all.iter().map(HostPort::to_string).collect::<Vec<_>>().join(",");
        for n in 1..=plan.agents {
            let mut flags = agent::Flags::new(all.clone(), agent_dir(&work_dir, n));
            flags.resources = plan.resources.clone();
            flags.attributes = plan.attributes.clone();
            flags.hostname = Some("localhost".to_owned());
            // Few agents and a master that is up in milliseconds: there is no crowd to be spread.
            flags.registration_backoff_factor = Duration::from_millis(10);
            let node = listen(SocketAddr::new(plan.ip, 0), "slave(1)")?;
            let agent = agent::start(&node, flags.clone())?;
            let address = node.address();
            cluster.agents.push(Part { address, flags, running: Some((node, agent)) });
        }
        Ok(cluster)
    }

    fn run_master(&self, node: &Node, flags: master::Flags) -> anyhow::Result<master::Handle> {
        let mut master = master::start(node, flags)?;
        let (_, taken) = Promise::new();
        let gave_up = self.gave_up.clone();
        std::mem::replace(&mut master.fatal, taken).settled(move |why| {
            // One that is ended from here says nothing.
            if let Ok(why) = why
                && let Some(promise) = gave_up.lock().ok().and_then(|mut promise| promise.take())
            {
                promise.set(why);
            }
        });
        Ok(master)
    }

    /// The masters, to be followed.
    pub(super) fn masters(&self) -> anyhow::Result<Masters> {
        match &self.masters[..] {
            [Part { running: Some((_, only)), .. }] => Ok(only.pid.upid().clone().into()),
            all => {
                let all = all.iter().map(|master| master.address.into()).collect::<Vec<HostPort>>();
                anyhow::ensure!(!all.is_empty(), "the cluster has no master");
                Ok(Masters::Listed(all))
            }
        }
    }

    /// Where the masters are, up or down.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.masters.iter().map(|master| master.address).collect()
    }

    /// Where the agents are, up or down.
    pub(super) fn agents(&self) -> Vec<SocketAddr> {
        self.agents.iter().map(|agent| agent.address).collect()
    }

    /// Settled when a master gives up; only the first caller hears of it.
    pub(super) fn fatal(&mut self) -> Option<Future<String>> {
        self.fatal.take()
    }

    /// Which master leads, if one does that is up.
    pub(super) fn leader(&self) -> Option<usize> {
        self.masters.iter().position(|master| {
            let Some((_, master)) = &master.running else { return false };
            let leads = master.contender.dispatch(|contender, _| contender.leads());
            leads.wait(SHUTDOWN_TIMEOUT).unwrap_or(false)
        })
    }

    /// Ends a master there and then.
    pub(super) fn kill_master(&mut self, n: usize) {
        kill(self.masters.get_mut(n).and_then(|master| master.running.take()));
    }

    /// Starts a master that is down.
    pub(super) fn start_master(&mut self, n: usize) -> anyhow::Result<()> {
        let Some(Part { address, flags, running: None }) = self.masters.get(n) else { return Ok(()) };
        let node = listen_again(*address, master::PROCESS_ID)?;
        let master = self.run_master(&node, flags.clone())?;
        self.masters[n].running = Some((node, master));
        Ok(())
    }

    /// Ends an agent there and then, and its tasks with it.
    pub(super) fn kill_agent(&mut self, n: usize) {
        kill(self.agents.get_mut(n).and_then(|agent| agent.running.take()));
    }

    /// Starts an agent that is down.
    pub(super) fn start_agent(&mut self, n: usize) -> anyhow::Result<()> {
        let Some(agent @ Part { running: None, .. }) = self.agents.get_mut(n) else { return Ok(()) };
        let node = listen_again(agent.address, "slave(1)")?;
        let handle = agent::start(&node, agent.flags.clone())?;
        agent.running = Some((node, handle));
        Ok(())
    }

    /// Ends everything that runs in the cluster, then the cluster.
    fn stop(&mut self) {
        for (_, agent) in self.agents.iter().filter_map(|agent| agent.running.as_ref()) {
            agent.shut_down("the cluster ends");
        }
        for (node, agent) in self.agents.drain(..).filter_map(|agent| agent.running) {
            let _ = agent.ended().wait(EXECUTORS_TIMEOUT);
            let _ = node.shutdown().wait(SHUTDOWN_TIMEOUT);
        }
        for (node, _) in self.masters.drain(..).filter_map(|master| master.running) {
            let _ = node.shutdown().wait(SHUTDOWN_TIMEOUT);
        }
    }
}

fn kill<H>(running: Option<(Node, H)>) {
    if let Some((node, _)) = running {
        let _ = node.shutdown().wait(SHUTDOWN_TIMEOUT);
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

fn listen(address: SocketAddr, delegate: &str) -> anyhow::Result<Node> {
    let node = Node::builder().listen(address.to_string()).delegate(delegate).start()?;
    version::serve(&node)?;
    Ok(node)
}

/// The node that had the address may have ended just now, and its last connections with it.
#[expect(clippy::disallowed_methods, reason = "no actor: it waits for the system")]
fn listen_again(address: SocketAddr, delegate: &str) -> anyhow::Result<Node> {
    let deadline = Instant::now() + PORT_TIMEOUT;
    loop {
        match listen(address, delegate) {
            Ok(node) => return Ok(node),
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

fn agent_dir(work_dir: &Path, n: u16) -> PathBuf {
    work_dir.join(format!("agent-{n}"))
}
