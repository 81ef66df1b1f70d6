//! What registrars say to each other, beside the pieces of snapshots.

use serde::{Deserialize, Serialize};

/// What one member's Raft says to another's.
#[derive(Debug, Clone, Serialize, Deserialize, libprocess::Message)]
pub(super) struct RaftMessage {
    /// The number of the group; who says it to whom is in the message.
    pub(super) group: u64,
    /// Protobuf, as raft-rs encodes it.
    pub(super) bytes: Vec<u8>,
}

/// Why one asks another who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Purpose {
    /// To found a group.
    Founding,
    /// To take it into a group.
    TakingIn,
    /// To know why it hears of no leader itself.
    Knowing,
}

/// Who are you?
#[derive(Debug, Clone, Serialize, Deserialize, libprocess::Message)]
pub(super) struct Hello {
    /// Comes back with the answer.
    pub(super) nonce: u64,
    /// Where the one that asks is.
    pub(super) own: String,
    pub(super) purpose: Purpose,
    /// The group that the one that asks wants to found, or leads.
    pub(super) group: u64,
    /// The masters it was told of.
    pub(super) masters: Vec<String>,
}

/// The answer to [`Hello`].
#[derive(Debug, Clone, Serialize, Deserialize, libprocess::Message)]
pub(super) struct Introduction {
    pub(super) nonce: u64,
    /// The number of the member.
    pub(super) id: u64,
    pub(super) own: String,
    /// Whether it belongs to no group, and has done nothing for one. Then it will do nothing for another group than
    /// that of the one that asked, if that one is who may found it.
    pub(super) fresh: bool,
    /// The masters it was told of.
    pub(super) masters: Vec<String>,
    /// The group it belongs to.
    pub(super) group: u64,
    /// How much of that group's log has taken effect there.
    pub(super) applied: u64,
    /// The members of that group.
    pub(super) members: Vec<(u64, String)>,
}

/// So many members, and masters told of, are believed.
const MEMBERS: usize = 64;

/// So long is an address, in bytes.
const ADDRESS: usize = 300;

impl Hello {
    pub(super) fn is_plausible(&self) -> bool {
        self.own.len() <= ADDRESS && are_plausible(self.masters.iter())
    }
}

impl Introduction {
    pub(super) fn is_plausible(&self) -> bool {
        self.id != 0
            && self.own.len() <= ADDRESS
            && are_plausible(self.masters.iter())
            && are_plausible(self.members.iter().map(|(_, at)| at))
    }
}

fn are_plausible<'a>(addresses: impl ExactSizeIterator<Item = &'a String>) -> bool {
    addresses.len() <= MEMBERS && { addresses }.all(|address| address.len() <= ADDRESS)
}
