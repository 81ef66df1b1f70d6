//! Starting an agent on a node.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use api::v1::{AgentInfo, DomainInfo};
use detector::{InvalidMasters, Masters};
use libprocess::{Future, Id, Node, Pid, Upid};

use crate::actor::{Agent, Setup};
use crate::containers::isolators::{self, IsolationError};
use crate::detect::{self, Machine};
use crate::flags::Flags;

/// The longest span that first registrations may be spread over.
const BACKOFF_FACTOR_MAX: Duration = Duration::from_secs(60);

/// Why an agent did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The flag names no masters.
    #[error("--master")]
    Master(#[from] InvalidMasters),
    /// The flag's value is not allowed.
    #[error("--{flag}: {reason}")]
    Flag {
        /// Which.
        flag: &'static str,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// The resources are not what they should be.
    #[error("--resources")]
    Resources(#[from] api::resources::ParseError),
    /// The attributes are not what they should be.
    #[error("--attributes")]
    Attributes(#[from] api::attributes::AttributeError),
    /// An isolator is not there.
    #[error(transparent)]
    Isolation(#[from] IsolationError),
    /// The work directory cannot be used.
    #[error("--work_dir: cannot use `{path}`")]
    WorkDir {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The node does not take it.
    #[error(transparent)]
    Spawn(#[from] libprocess::SpawnError),
}

/// An agent that runs.
#[derive(Clone)]
pub struct Handle {
    pid: Pid<Agent>,
    failure: Arc<OnceLock<String>>,
    ended: Arc<dyn Fn() -> Future<()> + Send + Sync>,
}

impl Handle {
    /// The agent as a process, for example `slave(1)@127.0.0.1:5051`.
    pub fn upid(&self) -> &Upid {
        self.pid.upid()
    }

    /// Ends everything that runs on the agent, then the agent. [`Handle::ended`] says when that is done.
    pub fn shut_down(&self, reason: &str) {
        let reason = reason.to_owned();
        self.pid.call(move |agent, ctx| agent.shut_down(&reason, ctx));
    }

    /// Why the agent ended, if it could not go on: a disk that refuses, or a master that takes it for another
    /// one.
    pub fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    /// Settled once the agent is no more, whyever.
    pub fn ended(&self) -> Future<()> {
        (self.ended)()
    }
}

/// Starts an agent on `node`. It answers HTTP below its id, `slave(1)`; make that the node's delegate.
///
/// Blocks for as long as it takes to look at the machine.
///
/// The process that calls this adopts orphans from then on, and whenever a container ends, every child of the
/// process which leads or is in another session, and which no agent started, is taken for what that container
/// left behind, and killed with all its descendants. A program that starts children of its own beside an agent
/// must leave them in its own session.
///
/// # Errors
/// Names the flag that is wrong. The node stays as it was.
pub fn start(node: &Node, flags: Flags) -> Result<Handle, StartError> {
    let setup = prepare(node.address(), flags)?;
    let failure = setup.failure.clone();
    let pid = node.spawn(Id::prefix("slave"), Agent::new(setup))?;
    let (waiting, upid) = (node.clone(), pid.upid().clone());
    Ok(Handle { pid, failure, ended: Arc::new(move || waiting.wait(&upid)) })
}

fn prepare(address: SocketAddr, flags: Flags) -> Result<Setup, StartError> {
    let refused = |flag, reason: &str| Err(StartError::Flag { flag, reason: reason.to_owned() });
    if !(0.0..=1.0).contains(&flags.gc_disk_headroom) {
        return refused("gc_disk_headroom", "it is a part of the disk, from 0 to 1");
    }
    if flags.registration_backoff_factor > BACKOFF_FACTOR_MAX {
        return refused("registration_backoff_factor", "it is at most 1mins");
    }
    let masters: Masters = flags.master.parse()?;
    let mut flags = flags;
    // Executors are told absolute paths: they do not start where the agent did.
    let work_dir = |source| StartError::WorkDir { path: flags.work_dir.clone(), source };
    fs::create_dir_all(&flags.work_dir).map_err(work_dir)?;
    let absolute = fs::canonicalize(&flags.work_dir).map_err(work_dir)?;
    flags.work_dir = absolute;
    let machine = Machine::detect(&flags.work_dir);
    let resources = detect::resources(flags.resources.as_deref(), &flags.default_role, machine)?;
    let attributes = match flags.attributes.as_deref().map(str::trim) {
        None | Some("") => Vec::new(),
        Some(text) => api::attributes::parse(text)?,
    };
    let domain: Option<DomainInfo> = match &flags.domain {
        None => None,
        Some(text) => match api::json::from_slice(text.as_bytes()) {
            Ok(domain) => Some(domain),
            Err(error) => return refused("domain", &error.to_string()),
        },
    };
    let hostname = match &flags.hostname {
        Some(hostname) => hostname.clone(),
        None if flags.hostname_lookup && !address.ip().is_loopback() => nix::unistd::gethostname()
            .ok()
            .and_then(|name| name.into_string().ok())
            .unwrap_or_else(|| address.ip().to_string()),
        None if flags.hostname_lookup => "localhost".to_owned(),
        None => address.ip().to_string(),
    };
    let isolators = isolators::named(&flags.isolation)?;
    let info = AgentInfo {
        hostname,
        port: Some(i32::from(address.port())),
        resources: resources.to_messages(),
        attributes,
        id: None,
        domain,
    };
    Ok(Setup { flags: Arc::new(flags), masters, info, isolators, failure: Arc::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_flag_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let address: SocketAddr = "127.0.0.1:5051".parse().unwrap();
        let told = |change: fn(&mut Flags)| {
            let mut flags = Flags::new("127.0.0.1:5050", directory.path());
            change(&mut flags);
            crate::actor::chain(&prepare(address, flags).err().unwrap())
        };
        assert!(told(|flags| flags.master = " , ".into()).starts_with("--master: no master is named"));
        assert!(told(|flags| flags.gc_disk_headroom = 2.0).starts_with("--gc_disk_headroom"));
        assert!(told(|flags| flags.resources = Some("cpus".into())).starts_with("--resources"));
        assert!(told(|flags| flags.isolation = "x".into()).starts_with("--isolation"));
        assert!(told(|flags| flags.domain = Some("{".into())).starts_with("--domain"));
        assert!(told(|flags| flags.work_dir = "/dev/null/x".into()).starts_with("--work_dir"));
    }
}
