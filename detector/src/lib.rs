//! Which master leads. Whoever needs one (agents, drivers, commands) knows some of the masters; any of these tells
//! who leads, and tells it anew whenever that changes.
//!
//! Knows nothing of Mesos's messages: a leader is an address and a name.

mod contact;
mod detector;
mod host_port;
mod masters;
mod messages;
mod search;

pub use detector::Detector;
pub use host_port::{HostPort, InvalidHostPort};
pub use masters::{FileError, InvalidMasters, MAX_MASTERS, Masters, UnresolvedMasters};
pub use messages::{ComeBack, Leader, LeaderIs, WatchLeader};

/// The id of the process that answers [`WatchLeader`] on the node of each master.
pub const CONTENDER: &str = "contender";

/// The port of a master where none is said.
pub const DEFAULT_PORT: u16 = 5050;
