//! What the commands that bring a framework share: a node to run it on, and a cluster if they are given none.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;

use anyhow::Context;
use frameworks::work::Cancel;
use libprocess::{Node, Upid};

use super::cluster::{Cluster, Plan};
use super::{SHUTDOWN_TIMEOUT, interrupted, master_at};

/// Where a framework runs. Dropping it ends the node, and the cluster if it is one of its own.
pub(super) struct Place {
    pub(super) node: Node,
    pub(super) master: Upid,
    /// Set by Ctrl-C.
    pub(super) cancel: Cancel,
    // Ends after the framework's node: it is dropped last.
    _cluster: Option<Cluster>,
}

impl Place {
    /// On the cluster at `host_port`, or on one started in this process.
    pub(super) fn new(host_port: Option<&str>) -> anyhow::Result<Place> {
        let cancel = Cancel::new();
        let cancelled = cancel.clone();
        interrupted()?.settled(move |_| cancelled.cancel());
        let cluster = match host_port {
            Some(_) => None,
            None => Some(Cluster::start(Plan {
                ip: IpAddr::from(Ipv4Addr::LOCALHOST),
                port: 0,
                agents: 1,
                work_dir: None::<PathBuf>,
                resources: None,
                attributes: None,
            })?),
        };
        let master = match (host_port, &cluster) {
            (Some(host_port), _) => master_at(host_port)?,
            (None, Some(cluster)) => cluster.master().clone(),
            (None, None) => anyhow::bail!("there is no cluster to run on"),
        };
        let ip = address_towards(master.address())
            .with_context(|| format!("there is no way from here to the master at {}", master.address()))?;
        let node = Node::builder().listen(SocketAddr::new(ip, 0).to_string()).start()?;
        Ok(Place { node, master, cancel, _cluster: cluster })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = self.node.shutdown().wait(SHUTDOWN_TIMEOUT);
    }
}

/// The address of this machine that others see on the way to `to`; `LIBPROCESS_IP` says it better.
fn address_towards(to: SocketAddr) -> std::io::Result<IpAddr> {
    if let Some(ip) = std::env::var("LIBPROCESS_IP").ok().and_then(|ip| ip.parse().ok()) {
        return Ok(ip);
    }
    // Connecting a datagram socket sends nothing; it only looks up the route.
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect(to)?;
    Ok(socket.local_addr()?.ip())
}
