//! The log as a member knows it, in memory: raft-rs reads it at any time, also while the disk is busy.

use std::cell::Cell;

use raft::eraftpb::{ConfState, Entry, HardState, Snapshot};
use raft::{GetEntriesContext, RaftState, Storage, StorageError};

use prost::Message as _;

use super::disk::{Stored, StoredSnapshot, append_entries};

/// So many entries stay readable behind a snapshot, for members that are only a little late.
const KEPT: u64 = 1024;

/// The log up to its end, durable or not yet.
pub(super) struct View {
    pub(super) hard_state: HardState,
    pub(super) snapshot: StoredSnapshot,
    /// Index and term of the last entry that is not there any more.
    anchor: (u64, u64),
    entries: Vec<Entry>,
    /// Nobody votes yet, as far as this member knows.
    unfounded: bool,
    /// A member needs a newer snapshot than there is.
    wanted: Cell<bool>,
}

impl View {
    pub(super) fn new(stored: Stored) -> View {
        let anchor = (stored.snapshot.index, stored.snapshot.term);
        let unfounded = stored.is_unfounded();
        let Stored { hard_state, snapshot, entries } = stored;
        View { hard_state, snapshot, anchor, entries, unfounded, wanted: Cell::new(false) }
    }

    /// Whether a member waits for a snapshot that has to be made.
    pub(super) fn wants_snapshot(&self) -> bool {
        self.wanted.get()
    }

    pub(super) fn append(&mut self, entries: Vec<Entry>) {
        append_entries(&mut self.entries, entries);
    }

    pub(super) fn install(&mut self, snapshot: StoredSnapshot) {
        self.anchor = (snapshot.index, snapshot.term);
        self.entries.clear();
        self.snapshot = snapshot;
        self.unfounded = false;
    }

    pub(super) fn compact(&mut self, snapshot: StoredSnapshot) {
        // Whoever begins with nothing needs a snapshot: only that says who the members are.
        let until = if self.anchor.0 == 0 { snapshot.index } else { snapshot.index.saturating_sub(KEPT) };
        self.snapshot = snapshot;
        self.wanted.set(false);
        let gone = self.entries.partition_point(|entry| entry.index <= until);
        if let Some(last) = gone.checked_sub(1).and_then(|last| self.entries.get(last)) {
            self.anchor = (last.index, last.term);
            self.entries.drain(..gone);
        }
    }

    pub(super) fn last(&self) -> u64 {
        self.entries.last().map_or(self.anchor.0, |entry| entry.index)
    }

    /// The entries that are there.
    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(super) fn get(&self, index: u64) -> Option<&Entry> {
        let offset = index.checked_sub(self.anchor.0 + 1)?;
        self.entries.get(usize::try_from(offset).ok()?)
    }
}

impl Storage for View {
    fn initial_state(&self) -> raft::Result<RaftState> {
        let conf_state = if self.unfounded { ConfState::default() } else { self.snapshot.conf_state() };
        Ok(RaftState::new(self.hard_state.clone(), conf_state))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low <= self.anchor.0 {
            return Err(StorageError::Compacted.into());
        }
        if high > self.last() + 1 {
            return Err(StorageError::Unavailable.into());
        }
        let at = |index: u64| usize::try_from(index - self.anchor.0 - 1).unwrap_or(usize::MAX);
        let mut entries = self.entries[at(low)..at(high)].to_vec();
        raft::util::limit_size(&mut entries, max_size.into());
        Ok(entries)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index == self.anchor.0 {
            return Ok(self.anchor.1);
        }
        if index < self.anchor.0 {
            return Err(StorageError::Compacted.into());
        }
        Ok(self.get(index).ok_or(StorageError::Unavailable)?.term)
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.anchor.0 + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last())
    }

    fn snapshot(&self, request_index: u64, to: u64) -> raft::Result<Snapshot> {
        let conf_state = self.snapshot.conf_state();
        // A member does not take one that does not know it.
        let known = [&conf_state.voters, &conf_state.learners, &conf_state.voters_outgoing];
        let known = known.into_iter().flatten().any(|id| *id == to);
        if self.snapshot.index < request_index || self.snapshot.index == 0 || !known {
            self.wanted.set(true);
            return Err(StorageError::SnapshotTemporarilyUnavailable.into());
        }
        let mut snapshot = Snapshot::default();
        let metadata = snapshot.mut_metadata();
        metadata.index = self.snapshot.index;
        metadata.term = self.snapshot.term;
        *metadata.mut_conf_state() = conf_state;
        snapshot.data = self.snapshot.image().encode_to_vec().into();
        Ok(snapshot)
    }
}
