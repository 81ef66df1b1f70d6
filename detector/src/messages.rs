//! What the masters and those who look for one say to each other.

use libprocess::{Address, Message, Upid};
use serde::{Deserialize, Serialize};

/// To the contender of any master: who leads? It answers with [`LeaderIs`] at once, and with another whenever that
/// changes, until the link to the sender breaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Message)]
#[message(name = "mesos.WatchLeader")]
pub struct WatchLeader {}

/// Who leads, as far as the sender knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Message)]
#[message(name = "mesos.LeaderIs")]
pub struct LeaderIs {
    /// Whoever says so, as it calls itself: the same node may be reached by other addresses, too.
    pub contender: Upid,
    /// Terms only grow: of two answers the one of the higher term is newer. Within a term there is one leader.
    pub term: u64,
    /// `None` while nobody is known to lead.
    pub leader: Option<Leader>,
    /// All masters as of now, `host:port` each; more or others than one was started with, perhaps.
    pub masters: Vec<String>,
    /// Over how many milliseconds those who are to register with the leader should spread themselves.
    pub spread_ms: u64,
}

/// A master that leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leader {
    /// Its process.
    pub pid: Upid,
    /// New with each reign. Empty where nobody could be asked.
    pub id: String,
    /// For people, and for the `Location` of a redirect.
    pub hostname: String,
}

impl Leader {
    /// One that nobody has announced: it was appointed, or there is no other.
    pub(crate) fn unannounced(id: &str, address: Address) -> Leader {
        Leader { pid: Upid::new(id, address), id: String::new(), hostname: address.ip().to_string() }
    }

    /// Whether `other` may be the same reign, as far as is known.
    pub fn may_be(&self, other: &Leader) -> bool {
        self.pid == other.pid && (self.id == other.id || self.id.is_empty() || other.id.is_empty())
    }
}

/// From a master that has too much to do to whoever asked it for something: not now, ask again then.
///
/// Who asked waits that long, and a little longer drawn by chance, instead of as long as it would have by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Message)]
#[message(name = "mesos.ComeBack")]
pub struct ComeBack {
    /// Milliseconds from now.
    pub after_ms: u64,
}
