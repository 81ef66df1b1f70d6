//! The Raft log on disk: raft-engine below, the interface raft-rs wants above.

use std::io;
use std::path::{Path, PathBuf};

use prost::Message as _;
use raft::eraftpb::{ConfState, Entry, HardState, Snapshot, SnapshotMetadata};
use raft::{GetEntriesContext, RaftState, Storage, StorageError};
use raft_engine::{Config, Engine, LogBatch, MessageExt, ReadableSize, RecoveryMode};

use super::watermark::Watermark;

/// The one Raft group in this log.
const GROUP: u64 = 1;
const HARD_STATE: &[u8] = b"hard state";
const SNAPSHOT: &[u8] = b"snapshot";

/// What can go wrong with the log on disk. None of it is repaired on its own: a registry that silently
/// forgot an agent would let its tasks run on unaccounted for.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The engine could not be opened: unreadable, locked by another process, or corrupt.
    #[error("could not open the registry's log in `{path}`: {source}")]
    Open {
        /// The directory.
        path: PathBuf,
        /// The engine's word.
        source: Box<raft_engine::Error>,
    },
    /// A file beside the log.
    #[error("could not use `{path}`: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// What is in the log contradicts itself, or what was acknowledged from it.
    #[error(
        "the registry's log in `{path}` is corrupt: {what}. Restore the directory from a copy, or remove it to start with an empty registry"
    )]
    Corrupt {
        /// The directory.
        path: PathBuf,
        /// The contradiction.
        what: String,
    },
    /// The disk refused a write.
    #[error("could not write the registry's log in `{path}`: {source}")]
    Write {
        /// The directory.
        path: PathBuf,
        /// The engine's word.
        source: Box<raft_engine::Error>,
    },
}

/// How raft-engine finds an entry's index.
struct EntryExt;

impl MessageExt for EntryExt {
    type Entry = Entry;

    fn index(entry: &Entry) -> u64 {
        entry.index
    }
}

/// The state machine at one index of the log; the entries up to there are no longer needed.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct StoredSnapshot {
    #[prost(uint64, tag = "1")]
    pub(super) index: u64,
    #[prost(uint64, tag = "2")]
    pub(super) term: u64,
    #[prost(uint64, repeated, tag = "3")]
    pub(super) voters: Vec<u64>,
    #[prost(bytes = "vec", tag = "4")]
    pub(super) registry: Vec<u8>,
}

/// The log of one master.
pub(super) struct Log {
    path: PathBuf,
    engine: Engine,
    hard_state: HardState,
    snapshot: StoredSnapshot,
    last_index: u64,
    watermark: Watermark,
}

impl Log {
    /// Opens or creates the log in `path` for a group of `voters`, and checks it against what was
    /// acknowledged.
    pub(super) fn open(path: &Path, voters: &[u64]) -> Result<Self, LogError> {
        let directory = path.join("log");
        std::fs::create_dir_all(&directory)
            .map_err(|source| LogError::File { path: directory.clone(), source })?;
        let mark_path = path.join("acknowledged");
        let watermark =
            Watermark::open(&mark_path).map_err(|source| LogError::File { path: mark_path, source })?;
        let engine = Engine::open(Config {
            dir: directory.to_string_lossy().into_owned(),
            // A torn tail is what a crash leaves. Whether more than that is missing, the watermark tells.
            recovery_mode: RecoveryMode::TolerateTailCorruption,
            recovery_threads: 1,
            // A registry is small: a snapshot of 10,000 agents is some MB.
            target_file_size: ReadableSize::mb(8),
            purge_threshold: ReadableSize::mb(64),
            ..Config::default()
        })
        .map_err(|source| LogError::Open { path: path.into(), source: Box::new(source) })?;

        let corrupt = |what: String| LogError::Corrupt { path: path.into(), what };
        let hard_state = engine
            .get_message::<HardState>(GROUP, HARD_STATE)
            .map_err(|error| corrupt(format!("the hard state cannot be read ({error})")))?
            .unwrap_or_default();
        let snapshot = match engine.get(GROUP, SNAPSHOT) {
            Some(bytes) => StoredSnapshot::decode(bytes.as_slice())
                .map_err(|error| corrupt(format!("the snapshot cannot be read ({error})")))?,
            None => StoredSnapshot { voters: voters.to_vec(), ..Default::default() },
        };
        let last_index = engine.last_index(GROUP).unwrap_or(0).max(snapshot.index);
        let log = Log { path: path.into(), engine, hard_state, snapshot, last_index, watermark };
        log.check()?;
        Ok(log)
    }

    /// Every entry between the snapshot and the end is there, and the end is not before what was promised.
    fn check(&self) -> Result<(), LogError> {
        let promised = self.watermark.index().max(self.hard_state.commit);
        if promised > self.last_index {
            return Err(self.corrupt(format!(
                "it ends at entry {}, but entry {promised} had been acknowledged",
                self.last_index
            )));
        }
        if self.last_index > 0 && self.hard_state.term == 0 {
            return Err(self.corrupt("it has entries but no hard state".to_owned()));
        }
        for index in self.snapshot.index + 1..=self.last_index {
            match self.engine.get_entry::<EntryExt>(GROUP, index) {
                Ok(Some(_)) => {}
                Ok(None) => {
                    return Err(self.corrupt(format!("entry {index} of {} is missing", self.last_index)));
                }
                Err(error) => return Err(self.corrupt(format!("entry {index} cannot be read ({error})"))),
            }
        }
        Ok(())
    }

    pub(super) fn corrupt(&self, what: String) -> LogError {
        LogError::Corrupt { path: self.path.clone(), what }
    }

    fn write_error(&self, source: raft_engine::Error) -> LogError {
        LogError::Write { path: self.path.clone(), source: Box::new(source) }
    }

    /// The newest snapshot; its `registry` is empty when there has been none yet.
    pub(super) fn latest_snapshot(&self) -> &StoredSnapshot {
        &self.snapshot
    }

    /// Appends entries and the hard state, in one synced write.
    pub(super) fn persist(
        &mut self,
        entries: &[Entry],
        hard_state: Option<&HardState>,
    ) -> Result<(), LogError> {
        let mut batch = LogBatch::default();
        batch.add_entries::<EntryExt>(GROUP, entries).map_err(|error| self.write_error(error))?;
        if let Some(hard_state) = hard_state {
            batch
                .put_message(GROUP, HARD_STATE.to_vec(), hard_state)
                .map_err(|error| self.write_error(error))?;
        }
        self.engine.write(&mut batch, true).map_err(|error| self.write_error(error))?;
        if let Some(hard_state) = hard_state {
            self.hard_state = hard_state.clone();
        }
        if let Some(last) = entries.last() {
            self.last_index = last.index;
        }
        Ok(())
    }

    /// The commit index moved without anything else; it is stored with the next write.
    pub(super) fn set_commit(&mut self, commit: u64) {
        self.hard_state.commit = commit;
    }

    /// To be called before anybody is told that entry `index` took effect.
    pub(super) fn acknowledge(&mut self, index: u64) -> Result<(), LogError> {
        let path = self.path.join("acknowledged");
        self.watermark.raise(index).map_err(|source| LogError::File { path, source })
    }

    /// Stores a snapshot and drops the entries it covers.
    pub(super) fn store_snapshot(
        &mut self,
        index: u64,
        term: u64,
        registry: Vec<u8>,
    ) -> Result<(), LogError> {
        let snapshot = StoredSnapshot { index, term, voters: self.snapshot.voters.clone(), registry };
        let mut batch = LogBatch::default();
        batch
            .put(GROUP, SNAPSHOT.to_vec(), snapshot.encode_to_vec())
            .map_err(|error| self.write_error(error))?;
        // The commit index may not be behind the snapshot at the next start.
        batch
            .put_message(GROUP, HARD_STATE.to_vec(), &self.hard_state)
            .map_err(|error| self.write_error(error))?;
        self.engine.write(&mut batch, true).map_err(|error| self.write_error(error))?;
        self.snapshot = snapshot;
        self.engine.compact_to(GROUP, index + 1);
        self.engine.purge_expired_files().map_err(|error| self.write_error(error))?;
        Ok(())
    }
}

impl Storage for Log {
    fn initial_state(&self) -> raft::Result<RaftState> {
        let conf_state = ConfState { voters: self.snapshot.voters.clone(), ..Default::default() };
        Ok(RaftState::new(self.hard_state.clone(), conf_state))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low <= self.snapshot.index {
            return Err(StorageError::Compacted.into());
        }
        if high > self.last_index + 1 {
            return Err(StorageError::Unavailable.into());
        }
        let max_size = max_size.into().map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        let mut entries = Vec::new();
        self.engine
            .fetch_entries_to::<EntryExt>(GROUP, low, high, max_size, &mut entries)
            .map_err(|error| StorageError::Other(Box::new(error)))?;
        Ok(entries)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index == self.snapshot.index {
            return Ok(self.snapshot.term);
        }
        if index < self.snapshot.index {
            return Err(StorageError::Compacted.into());
        }
        match self.engine.get_entry::<EntryExt>(GROUP, index) {
            Ok(Some(entry)) => Ok(entry.term),
            Ok(None) => Err(StorageError::Unavailable.into()),
            Err(error) => Err(StorageError::Other(Box::new(error)).into()),
        }
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.snapshot.index + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last_index)
    }

    fn snapshot(&self, request_index: u64, _to: u64) -> raft::Result<Snapshot> {
        if self.snapshot.index < request_index {
            return Err(StorageError::SnapshotTemporarilyUnavailable.into());
        }
        let mut snapshot = Snapshot::default();
        let metadata: &mut SnapshotMetadata = snapshot.mut_metadata();
        metadata.index = self.snapshot.index;
        metadata.term = self.snapshot.term;
        metadata.mut_conf_state().voters = self.snapshot.voters.clone();
        snapshot.data = self.snapshot.registry.clone().into();
        Ok(snapshot)
    }
}
