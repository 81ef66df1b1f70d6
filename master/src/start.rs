//! Starting a master on a node.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use api::v1::{Address, MasterInfo, master_info};
use libprocess::{Future, Node, Pid, Promise, SpawnError, Upid};
use uuid::Uuid;

use crate::Ids;
use crate::actor::{Master, Setup};
use crate::cluster::Cluster;
use crate::flags::{Flags, InvalidFlag};
use crate::registry::{Founding, Registrar, Storage};

/// The id of the process; make it the delegate of its node.
pub const PROCESS_ID: &str = "master";

/// Why a master could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A flag has a value that cannot be.
    #[error(transparent)]
    Flag(#[from] InvalidFlag),
    /// Of `--min_allocatable_resources`.
    #[error("`--min_allocatable_resources`: {0}")]
    MinAllocatable(#[from] allocator::MinAllocatableError),
    /// The node has such a process already, or is ending.
    #[error("a process of the master could not be started: {0}")]
    Spawn(#[from] SpawnError),
}

/// A running master.
pub struct Handle {
    /// The process.
    pub pid: Pid<Master>,
    /// What it announces of itself.
    pub info: MasterInfo,
    /// Settled with the reason when the master gives up: its registry is unreadable, say. The program should
    /// then end, with an error.
    pub fatal: Future<String>,
}

/// A master that has not been started.
pub struct Prepared {
    /// To be spawned as [`PROCESS_ID`], on the node of that address.
    pub master: Master,
    /// See [`Handle::info`].
    pub info: MasterInfo,
    /// See [`Handle::fatal`].
    pub fatal: Future<String>,
}

/// Starts a master on `node`, whose delegate should be [`PROCESS_ID`]. It serves once it has read its registry;
/// until then schedulers are told to come back, and agents and drivers do so by themselves.
pub fn start(node: &Node, flags: Flags) -> Result<Handle, StartError> {
    // A new id for each start: what an earlier master handed out must not be handed out again.
    let Prepared { master, info, fatal } = prepare(node.address(), Uuid::new_v4(), flags)?;
    Ok(Handle { pid: node.spawn(PROCESS_ID, master)?, info, fatal })
}

/// Makes a master for a node of that address, to be spawned by the caller: on any host, a simulation included.
/// `id` must not have been another master's.
pub fn prepare(address: libprocess::Address, id: Uuid, flags: Flags) -> Result<Prepared, StartError> {
    let rules = flags.rules()?;
    let options = flags.allocator()?;
    let ids = Ids::new(id);
    let info = announce(address, &flags, &ids);
    let storage = match &flags.work_dir {
        Some(path) if !flags.registry_in_memory => Storage::Directory(path.join("registry")),
        _ => Storage::Memory,
    };
    let (fatal, failed) = Promise::new();
    let setup = Setup {
        allocator: options,
        registrar: Registrar::new(
            storage,
            Founding::Alone,
            flags.registry_fetch_timeout,
            flags.registry_store_timeout,
        ),
        ping_interval: flags.agent_ping_timeout,
        max_ping_timeouts: flags.max_agent_ping_timeouts,
        registry_gc_interval: flags.registry_gc_interval.max(Duration::from_secs(1)),
        flags: Arc::new(flags.shown()),
        cluster_name: flags.cluster.clone(),
        whitelist: flags.whitelist.clone(),
        fatal,
    };
    let master = Master::new(Cluster::new(info.clone(), ids, rules), setup);
    Ok(Prepared { master, info, fatal: failed })
}

fn announce(address: libprocess::Address, flags: &Flags, ids: &Ids) -> MasterInfo {
    use master_info::capability::Type;
    let hostname = flags.hostname.clone().unwrap_or_else(|| address.ip().to_string());
    let capability = |it: Type| master_info::Capability { r#type: Some(it.into()) };
    MasterInfo {
        id: ids.master().to_owned(),
        // The bytes of the address in the order of the network, read as a number of this machine.
        ip: match address.ip() {
            IpAddr::V4(ip) => u32::from_ne_bytes(ip.octets()),
            IpAddr::V6(_) => 0,
        },
        port: address.port().into(),
        pid: Some(Upid::new(PROCESS_ID, address).to_string()),
        hostname: Some(hostname.clone()),
        version: Some(crate::http::API_LEVEL.to_owned()),
        address: Some(Address {
            hostname: Some(hostname),
            ip: Some(address.ip().to_string()),
            port: address.port().into(),
        }),
        domain: flags.domain.clone(),
        capabilities: [Type::AgentUpdate, Type::AgentDraining, Type::QuotaV2].map(capability).to_vec(),
    }
}
