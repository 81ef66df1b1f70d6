//! Who belongs to a group, by number and address: part of what the group agrees on.

use std::collections::BTreeMap;

use prost::Message as _;
use raft::eraftpb::HardState;

use super::super::log::LogError;
use super::disk::{Disk, Stored, StoredSnapshot, Write};
use super::machine::Machine;

/// The members of a group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Members {
    /// Drawn when the group was founded; 0 for a group of before there were such numbers.
    pub group: u64,
    /// Where the master of each member is, as `host:port`.
    pub by_id: BTreeMap<u64, String>,
}

/// As they are stored, and as a change of the group brings new ones.
#[derive(Clone, PartialEq, prost::Message)]
struct MembersProto {
    #[prost(uint64, tag = "1")]
    group: u64,
    #[prost(message, repeated, tag = "2")]
    members: Vec<MemberProto>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct MemberProto {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(string, tag = "2")]
    host_port: String,
}

impl Members {
    /// As bytes.
    pub(super) fn encode(&self) -> Vec<u8> {
        let members = self.by_id.iter();
        let members = members.map(|(id, at)| MemberProto { id: *id, host_port: at.clone() }).collect();
        MembersProto { group: self.group, members }.encode_to_vec()
    }

    /// The inverse of [`Members::encode`].
    pub(super) fn decode(bytes: &[u8]) -> Result<Members, String> {
        let proto = MembersProto::decode(bytes)
            .map_err(|error| format!("the members of the group cannot be read ({error})"))?;
        let by_id = proto.members.into_iter().map(|member| (member.id, member.host_port)).collect();
        Ok(Members { group: proto.group, by_id })
    }

    /// Which member is there.
    pub fn at(&self, host_port: &str) -> Option<u64> {
        self.by_id.iter().find(|(_, at)| *at == host_port).map(|(id, _)| *id)
    }

    /// What makes the group begin: its members, at the first entry of the first term. Whoever joins later has less, so
    /// the members always come to it with a snapshot.
    fn founding(&self, own: u64) -> Write {
        let image = Machine::founded(self.clone()).to_image();
        let snapshot = StoredSnapshot {
            index: 1,
            term: 1,
            voters: self.by_id.keys().copied().collect(),
            own,
            ..StoredSnapshot::of(image)
        };
        let hard_state = HardState { term: 1, commit: 1, ..Default::default() };
        Write { install: Some(snapshot), hard_state: Some(hard_state), ..Write::default() }
    }
}

impl Members {
    /// Founds the group on the disk of its member `own`. May block.
    pub fn found(&self, own: u64, disk: &mut dyn Disk) -> Result<Stored, LogError> {
        let write = self.founding(own);
        let snapshot = write.install.clone().unwrap_or_default();
        let hard_state = write.hard_state.clone().unwrap_or_default();
        disk.submit(write)()?;
        Ok(Stored { hard_state, snapshot, entries: Vec::new() })
    }
}

impl Stored {
    /// The number of the member whose disk this is, if it says so. A disk that was never used holds one that was drawn
    /// for it, as if it were alone.
    pub fn own(&self) -> Option<u64> {
        match (self.snapshot.own, &self.snapshot.voters[..]) {
            (0, [own]) => Some(*own),
            (0, _) => None,
            (own, _) => Some(own),
        }
    }

    /// Whether it belongs to no group yet. The groups of one that were founded with the number 1 have no more to say
    /// so than that.
    pub fn is_unfounded(&self) -> bool {
        self.snapshot.index == 0
            && self.snapshot.own == 0
            && matches!(self.snapshot.voters[..], [own] if own != 1)
    }
}
