//! What a registrar is told about its group, and what it tells of it.

use api::v1::MasterInfo;
use detector::HostPort;

/// Which masters keep the registry together.
#[derive(Debug, Clone)]
pub enum Founding {
    /// This one, with nobody else.
    Alone,
    /// Several.
    Group {
        /// Which of them this one is.
        own: HostPort,
        /// All of them, the same on each.
        masters: Vec<HostPort>,
    },
}

impl Founding {
    /// The masters in order, each once; none for one that is alone.
    pub(super) fn masters(&self) -> Vec<HostPort> {
        let Founding::Group { own, masters } = self else { return Vec::new() };
        let mut masters: Vec<_> = masters.iter().chain([own]).cloned().collect();
        masters.sort();
        masters.dedup();
        masters
    }
}

/// Who leads, as far as this master knows.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// Terms only grow; in each at most one master leads.
    pub term: u64,
    /// Whether this master leads, and has all that was acknowledged before its term. Whether it may act at that
    /// moment, the [`Lease`](super::Lease) tells.
    pub leads: bool,
    /// The leader of the term, once it has written who it is.
    pub leader: Option<MasterInfo>,
    /// The masters of the group, `host:port` each, in order.
    pub masters: Vec<String>,
}

/// One member of the group, as the one that is asked knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberStatus {
    /// Where its master is.
    pub host_port: String,
    /// The number it has in the group.
    pub id: u64,
    /// Whether it votes. One that was added votes when it has caught up.
    pub voter: bool,
    /// Whether it leads.
    pub leader: bool,
    /// Up to which entry it has the log; only a leader knows that of others.
    pub matched: Option<u64>,
    /// How many milliseconds ago this master heard from it; `None` if it never did, and of itself.
    pub heard_ms_ago: Option<u64>,
}
