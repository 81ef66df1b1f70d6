//! The masters as one Raft group: each holds a [`Member`], which decides without doing; the registrar around it
//! does what it says, [`Disk`] first.
//!
//! | file | knows |
//! | --- | --- |
//! | `member` | the protocol: what to send, what to write before that, who leads, how the group changes |
//! | `members` | who belongs to the group, and how one begins |
//! | `refound` | how a group begins with what a disk of another one holds |
//! | `rounds` | until when a leader may act |
//! | `plausible` | what no member sends |
//! | `view` | the log as this member knows it, in memory |
//! | `disk` | what is to become durable, and a disk in memory |
//! | `machine` | the registry with what makes a repeated operation harmless |
//! | `pieces` | snapshots on their way between members |

mod disk;
mod machine;
mod member;
mod members;
mod pieces;
mod plausible;
mod refound;
mod rounds;
mod view;

use std::collections::BTreeMap;
use std::time::Duration;

use libprocess::Upid;

pub use disk::{Disk, Job, MemoryDisk, Stored, StoredSnapshot, Write};
pub use machine::{Image, Machine, Outcomes};
pub use member::{Applied, GroupChange, Member, MemberError, Output, Role, SnapshotJob, SnapshotMade};
pub use members::Members;
pub(super) use pieces::{Arrival, Incoming, Outgoing, Piece, PieceReceived};

/// How often a member's time moves on.
pub const TICK: Duration = Duration::from_millis(50);

/// A leader shows itself every so many ticks.
pub const HEARTBEAT_TICKS: usize = 2;

/// For so many ticks after it heard from a leader, a member neither stands for election nor gives its vote.
/// Each draws its own patience from here up to twice as many.
pub const ELECTION_TICKS: usize = 16;

/// How long a majority's answer to a heartbeat lets a leader act, counted from when the heartbeat was sent.
///
/// Those who answered keep their vote for `ELECTION_TICKS` of their own ticks; the first may come at once, so
/// `ELECTION_TICKS - 1` whole ticks pass at least. A tenth less allows for clocks that run apart.
pub const LEASE: Duration = Duration::from_millis((ELECTION_TICKS as u64 - 1) * 50 * 9 / 10);

/// Who a member is, and who the others are.
#[derive(Debug, Clone)]
pub struct Seat {
    /// Its number; never 0.
    pub id: u64,
    /// All members by number, itself included, and where their registrars are.
    pub members: BTreeMap<u64, Option<Upid>>,
}

impl Seat {
    /// The only member of its group.
    pub fn alone() -> Seat {
        Seat { id: 1, members: BTreeMap::from([(1, None)]) }
    }

    /// Whether there is nobody else.
    pub fn is_alone(&self) -> bool {
        self.members.len() == 1
    }

    /// The numbers of the members, in order.
    pub fn voters(&self) -> Vec<u64> {
        self.members.keys().copied().collect()
    }

    /// Where another member is.
    pub fn upid(&self, id: u64) -> Option<&Upid> {
        self.members.get(&id)?.as_ref()
    }

    /// Which member that is, if it is another one.
    pub fn member_at(&self, upid: &Upid) -> Option<u64> {
        self.members.iter().find(|(_, at)| at.as_ref() == Some(upid)).map(|(id, _)| *id)
    }
}
