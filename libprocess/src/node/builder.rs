//! Starting a node on the real host.

use std::net::{IpAddr, SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use super::{Node, NodeInner};
use crate::clock::{ClockInner, Owner, Timer};
use crate::future::Promise;
use crate::host::runtime::{Runtime, RuntimeError};
use crate::host::{Arena, Environment, children};
use crate::time::Time;
use crate::transport::TcpTransport;
use crate::upid::{Address, Upid};

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// See [`RuntimeError`].
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The address cannot be listened on.
    #[error("could not listen on `{address}`")]
    Listen {
        /// As it was given.
        address: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Listening on every interface, a node has to be told which address others reach it at.
    #[error("could not find out the address others reach this node at; advertise one")]
    NoAddress(#[source] std::io::Error),
}

/// How a node is to be.
#[derive(Clone, Debug, Default)]
pub struct NodeBuilder {
    listen: Option<String>,
    pub(super) advertise_ip: Option<IpAddr>,
    pub(super) advertise_port: Option<u16>,
    delegate: Option<String>,
    runtime: Option<RuntimeChoice>,
    pub(super) require_ip_match: bool,
}

#[derive(Clone)]
struct RuntimeChoice(Runtime);

impl std::fmt::Debug for RuntimeChoice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Runtime({} workers)", self.0.n_workers())
    }
}

impl NodeBuilder {
    /// Listens at `host:port`, for other nodes and for HTTP; port 0 takes a free one. Without this a node has
    /// no network: its processes talk among themselves only.
    pub fn listen(mut self, address: impl Into<String>) -> NodeBuilder {
        self.listen = Some(address.into());
        self
    }

    /// The address others reach this node at, when it is not the one it listens on.
    pub fn advertise(mut self, address: Address) -> NodeBuilder {
        self.advertise_ip = Some(address.ip());
        self.advertise_port = Some(address.port());
        self
    }

    /// The process that gets HTTP requests whose path begins with no process's id.
    pub fn delegate(mut self, id: impl Into<String>) -> NodeBuilder {
        self.delegate = Some(id.into());
        self
    }

    /// Whether to refuse messages and links whose sender claims another IP address than it connects from.
    pub fn require_peer_address_ip_match(mut self, require: bool) -> NodeBuilder {
        self.require_ip_match = require;
        self
    }

    /// Runs on these arbiters instead of the program's [global](Runtime::global) ones.
    pub fn runtime(mut self, runtime: Runtime) -> NodeBuilder {
        self.runtime = Some(RuntimeChoice(runtime));
        self
    }

    /// Starts the node.
    pub fn start(self) -> Result<Node, StartError> {
        let runtime = match self.runtime {
            Some(RuntimeChoice(runtime)) => runtime,
            None => Runtime::global()?,
        };
        let listener = match &self.listen {
            Some(address) => Some(
                listen(address).map_err(|source| StartError::Listen { address: address.clone(), source })?,
            ),
            None => None,
        };
        let address = match (self.advertise_ip, self.advertise_port, &listener) {
            (Some(ip), Some(port), _) => SocketAddr::new(ip, port),
            (ip, port, Some(listener)) => reachable(listener, ip, port).map_err(StartError::NoAddress)?,
            // No two nodes of a program are at the same address, even without a network.
            (_, _, None) => nowhere_in_particular(),
        };
        let clock = ClockInner::new();
        let driven = Arc::downgrade(&clock);
        runtime.arbiter(0).spawn(ClockInner::drive(driven));
        let environment = Arc::new(RealEnvironment { clock: clock.clone(), runtime: runtime.clone() });
        let arenas = runtime.workers().iter().map(|worker| worker.clone() as Arc<dyn Arena>).collect();
        let inner = NodeInner::new(address, self.delegate, environment, arenas);
        if listener.is_some() {
            inner.set_transport(TcpTransport::new(&inner, runtime.clone(), self.require_ip_match));
        }
        let node = Node::new(inner, clock, runtime);
        if let Some(listener) = listener {
            node.serve(listener);
        }
        Ok(node)
    }
}

fn listen(address: &str) -> std::io::Result<TcpListener> {
    let addresses: Vec<SocketAddr> = address.to_socket_addrs()?.collect();
    let listener = TcpListener::bind(addresses.as_slice())?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// The address to put into references to this node's processes, as far as it is not given.
fn reachable(listener: &TcpListener, ip: Option<IpAddr>, port: Option<u16>) -> std::io::Result<Address> {
    let bound = listener.local_addr()?;
    let port = port.unwrap_or(bound.port());
    match ip {
        Some(ip) => return Ok(SocketAddr::new(ip, port)),
        None if !bound.ip().is_unspecified() => return Ok(SocketAddr::new(bound.ip(), port)),
        None => {}
    }
    let name = nix::unistd::gethostname()?;
    let found = (name.to_string_lossy().as_ref(), port).to_socket_addrs()?.find(SocketAddr::is_ipv4);
    found.ok_or_else(|| std::io::Error::other("this machine's name has no IPv4 address"))
}

fn nowhere_in_particular() -> Address {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    const PORTS: u32 = u16::MAX as u32;
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    let [_, _, high, low] = (1 + n / PORTS).to_be_bytes();
    // 0.0.0.0/8 is never routed.
    SocketAddr::new(IpAddr::from([0, 0, high, low]), (1 + n % PORTS) as u16)
}

struct RealEnvironment {
    clock: Arc<ClockInner>,
    runtime: Runtime,
}

impl Environment for RealEnvironment {
    fn now(&self) -> Time {
        self.clock.now()
    }

    fn schedule(&self, after: Duration, owner: Option<Owner>, thunk: Box<dyn FnOnce() + Send>) -> Timer {
        self.clock.schedule(after, owner, thunk)
    }

    #[allow(clippy::disallowed_methods)]
    fn seed(&self, _: &Upid) -> u64 {
        rand::random()
    }

    fn blocking(&self, work: Box<dyn FnOnce() + Send>) {
        self.runtime.blocking(work);
    }

    fn reap(&self, os_pid: u32, promise: Promise<Option<i32>>) {
        children::reap(os_pid, promise, |watch| {
            self.runtime.arbiter(0).spawn(watch.run());
        });
    }
}
