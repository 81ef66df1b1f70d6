//! What the commands that bring a framework share: a node to run it on, and a cluster if they are given none.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use frameworks::driver::{Masters, node_facing};
use frameworks::work::Cancel;
use libprocess::Node;

use super::cluster::{Cluster, Plan};
use super::{SHUTDOWN_TIMEOUT, interrupted};

/// Where a framework runs. Dropping it ends the node, and the cluster if it is one of its own.
pub(super) struct Place {
    pub(super) node: Node,
    pub(super) masters: Masters,
    /// Set by Ctrl-C.
    pub(super) cancel: Cancel,
    // Ends after the framework's node: it is dropped last.
    _cluster: Option<Cluster>,
}

impl Place {
    /// On the cluster of these masters, or on one started in this process.
    pub(super) fn new(masters: Option<Masters>) -> anyhow::Result<Place> {
        let cancel = Cancel::new();
        let cancelled = cancel.clone();
        interrupted()?.settled(move |_| cancelled.cancel());
        let cluster = match masters {
            Some(_) => None,
            None => Some(Cluster::start(Plan {
                ip: IpAddr::from(Ipv4Addr::LOCALHOST),
                port: 0,
                masters: 1,
                agents: 1,
                work_dir: None::<PathBuf>,
                resources: None,
                attributes: None,
                restarts: false,
            })?),
        };
        let masters = match (masters, &cluster) {
            (Some(masters), _) => masters,
            (None, Some(cluster)) => cluster.masters()?,
            (None, None) => anyhow::bail!("there is no cluster to run on"),
        };
        let node = node_facing(&masters)?;
        Ok(Place { node, masters, cancel, _cluster: cluster })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = self.node.shutdown().wait(SHUTDOWN_TIMEOUT);
    }
}
