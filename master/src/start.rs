//! Starting a master on a node.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use api::v1::{Address, MasterInfo, master_info};
use libprocess::{Future, Node, Pid, Promise, SpawnError, Upid};
use uuid::Uuid;

use crate::Ids;
use crate::actor::{Master, Setup};
use crate::bounds::Bounds;
use crate::cluster::{Cluster, Rules};
use crate::contender::Contender;
use crate::flags::{Flags, InvalidFlag};
use crate::registry::{Lease, Registrar, Storage};

/// The id of the process; make it the delegate of its node.
pub const PROCESS_ID: &str = "master";

/// How long the processes of a master may take to be there.
const START_TIMEOUT: Duration = Duration::from_secs(30);

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
    /// It ended as soon as it began.
    #[error("the master did not start")]
    Ended,
}

/// A running master.
pub struct Handle {
    /// The process. When this master loses the lead another takes its place, under the same name; the contender
    /// knows it.
    pub pid: Pid<Master>,
    /// The process that knows whether this master leads.
    pub contender: Pid<Contender>,
    /// What it announces of itself; when it loses the lead it becomes another, with a new id.
    pub info: MasterInfo,
    /// Settled with the reason when the master gives up: its registry is unreadable, say. The program should
    /// then end, with an error.
    pub fatal: Future<String>,
}

/// A master that has not been started.
pub struct Prepared {
    /// To be spawned as [`detector::CONTENDER`], on the node of that address. It spawns the master, as
    /// [`PROCESS_ID`], and the registrar.
    pub contender: Contender,
    /// See [`Handle::info`].
    pub info: MasterInfo,
    /// See [`Handle::fatal`].
    pub fatal: Future<String>,
}

/// Starts a master on `node`, whose delegate should be [`PROCESS_ID`]. It serves once it leads its group and has
/// read the registry; a master alone leads at once. Until then schedulers are sent to the leader or told to come
/// back, and agents and drivers do so by themselves.
///
/// Asks for the addresses of the names in `--masters`, and so may block for seconds.
pub fn start(node: &Node, flags: Flags) -> Result<Handle, StartError> {
    // A new id for each start: what an earlier master handed out must not be handed out again.
    let Prepared { contender, info, fatal } = prepare(node.address(), Uuid::new_v4(), flags)?;
    let contender = node.spawn(detector::CONTENDER, contender)?;
    let pid = contender.dispatch(|contender, _| contender.master()).wait(START_TIMEOUT);
    let pid = pid.ok().flatten().ok_or(StartError::Ended)?;
    Ok(Handle { pid, contender, info, fatal })
}

/// Makes a master for a node of that address, to be spawned by the caller: on any host, a simulation included.
/// `id` must not have been another master's.
pub fn prepare(address: libprocess::Address, id: Uuid, flags: Flags) -> Result<Prepared, StartError> {
    let storage = match &flags.work_dir {
        Some(path) if !flags.registry_in_memory => Storage::Directory(path.join("registry")),
        _ => Storage::Memory,
    };
    prepare_with(address, id, flags, storage)
}

/// [`prepare`], with a place for the registry other than the flags name.
pub fn prepare_with(
    address: libprocess::Address,
    id: Uuid,
    flags: Flags,
    storage: Storage,
) -> Result<Prepared, StartError> {
    let rules = flags.rules()?;
    let founding = flags.founding(address)?;
    if matches!(storage, Storage::Memory) && flags.masters.len() > 1 {
        // It comes back as nobody, and so breaks no promise; but a majority that restarts has lost the registry.
        tracing::warn!(
            "with its registry in memory, a master that restarts has to be added to its group again"
        );
    }
    let registrar =
        Registrar::new(storage, founding, flags.registry_fetch_timeout, flags.registry_store_timeout);
    let template = Template {
        address,
        rules,
        setup: Setup {
            allocator: flags.allocator()?,
            ping_interval: flags.agent_ping_timeout,
            max_ping_timeouts: flags.max_agent_ping_timeouts,
            registry_gc_interval: flags.registry_gc_interval.max(Duration::from_secs(1)),
            flags: Arc::new(flags.shown()),
            cluster_name: flags.cluster.clone(),
            whitelist: flags.whitelist.clone(),
            bounds: Bounds::default(),
        },
        flags,
    };
    let (fatal, failed) = Promise::new();
    let info = template.announce(id);
    Ok(Prepared { contender: Contender::new(template, registrar, id, fatal), info, fatal: failed })
}

/// What each life of a node's master is made of.
pub(crate) struct Template {
    address: libprocess::Address,
    flags: Flags,
    rules: Rules,
    pub(crate) setup: Setup,
}

impl Template {
    /// What a master of that id announces of itself.
    pub(crate) fn announce(&self, id: Uuid) -> MasterInfo {
        use master_info::capability::Type;
        let address = self.address;
        let hostname = self.flags.hostname.clone().unwrap_or_else(|| address.ip().to_string());
        let capability = |it: Type| master_info::Capability { r#type: Some(it.into()) };
        MasterInfo {
            id: id.to_string(),
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
            domain: self.flags.domain.clone(),
            capabilities: [Type::AgentUpdate, Type::AgentDraining, Type::QuotaV2].map(capability).to_vec(),
        }
    }

    /// A master that stands by.
    pub(crate) fn master(
        &self,
        id: Uuid,
        contender: Pid<Contender>,
        registrar: Pid<Registrar>,
        lease: Lease,
    ) -> Master {
        let cluster = Cluster::new(self.announce(id), Ids::new(id), self.rules.clone());
        Master::new(cluster, self.setup.clone(), contender, registrar, lease)
    }
}
