//! The Raft log on disk: raft-engine below, [`Disk`] above.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use prost::Message as _;
use raft::eraftpb::{Entry, HardState};
use raft_engine::{Command, Config, Engine, LogBatch, MessageExt, ReadableSize, RecoveryMode};

use super::group::{Disk, Job, Stored, StoredSnapshot, Write};
use super::watermark::Watermark;

/// Where the engine keeps hard state and snapshot.
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

/// The log of one master.
pub(super) struct Log {
    files: Arc<Mutex<Files>>,
}

struct Files {
    path: PathBuf,
    engine: Engine,
    /// Where the engine keeps the entries. A snapshot that replaces the log begins another region, so that one
    /// write does both; what is left of the earlier one is garbage.
    region: u64,
    last_index: u64,
    watermark: Watermark,
}

impl Log {
    /// Opens the log in `path`, or creates one for a group of `voters`, and checks it against what was
    /// acknowledged.
    pub(super) fn open(path: &Path, voters: &[u64]) -> Result<(Self, Stored), LogError> {
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
        let mut files = Files { path: path.into(), engine, region: GROUP, last_index: 0, watermark };
        let stored = files.load(voters)?;
        Ok((Log { files: Arc::new(Mutex::new(files)) }, stored))
    }
}

impl Disk for Log {
    fn submit(&mut self, write: Write) -> Job {
        let files = Arc::clone(&self.files);
        Box::new(move || files.lock().write(write))
    }
}

impl Files {
    fn load(&mut self, voters: &[u64]) -> Result<Stored, LogError> {
        let hard_state = self
            .engine
            .get_message::<HardState>(GROUP, HARD_STATE)
            .map_err(|error| self.corrupt(format!("the hard state cannot be read ({error})")))?
            .unwrap_or_default();
        let snapshot = match self.engine.get(GROUP, SNAPSHOT) {
            Some(bytes) => StoredSnapshot::decode(bytes.as_slice())
                .map_err(|error| self.corrupt(format!("the snapshot cannot be read ({error})")))?,
            None => {
                // Whose log it is stands in it from the first moment on.
                let snapshot =
                    StoredSnapshot { voters: voters.to_vec(), region: GROUP, ..Default::default() };
                let mut batch = LogBatch::default();
                self.put_snapshot(&mut batch, &snapshot)?;
                self.engine.write(&mut batch, true).map_err(|error| self.write_error(error))?;
                snapshot
            }
        };
        self.region = snapshot.region.max(GROUP);
        self.last_index = self.engine.last_index(self.region).unwrap_or(0).max(snapshot.index);
        self.check(&hard_state)?;
        let entries = self.entries(snapshot.index)?;
        self.drop_other_regions()?;
        Ok(Stored { hard_state, snapshot, entries })
    }

    /// The end is not before what was promised.
    fn check(&self, hard_state: &HardState) -> Result<(), LogError> {
        let promised = self.watermark.index().max(hard_state.commit);
        if promised > self.last_index {
            return Err(self.corrupt(format!(
                "it ends at entry {}, but entry {promised} had been acknowledged",
                self.last_index
            )));
        }
        if self.last_index > 0 && hard_state.term == 0 {
            return Err(self.corrupt("it has entries but no hard state".to_owned()));
        }
        Ok(())
    }

    /// Every entry between the snapshot and the end.
    fn entries(&self, snapshot: u64) -> Result<Vec<Entry>, LogError> {
        let mut entries = Vec::new();
        for index in snapshot + 1..=self.last_index {
            match self.engine.get_entry::<EntryExt>(self.region, index) {
                Ok(Some(entry)) => entries.push(entry),
                Ok(None) => {
                    return Err(self.corrupt(format!("entry {index} of {} is missing", self.last_index)));
                }
                Err(error) => return Err(self.corrupt(format!("entry {index} cannot be read ({error})"))),
            }
        }
        Ok(entries)
    }

    fn corrupt(&self, what: String) -> LogError {
        LogError::Corrupt { path: self.path.clone(), what }
    }

    fn write_error(&self, source: raft_engine::Error) -> LogError {
        LogError::Write { path: self.path.clone(), source: Box::new(source) }
    }

    fn mark(&mut self, index: u64) -> Result<(), LogError> {
        self.watermark
            .set(index)
            .map_err(|source| LogError::File { path: self.path.join("acknowledged"), source })
    }

    fn put_snapshot(&self, batch: &mut LogBatch, snapshot: &StoredSnapshot) -> Result<(), LogError> {
        batch.put(GROUP, SNAPSHOT.to_vec(), snapshot.encode_to_vec()).map_err(|error| self.write_error(error))
    }

    /// One synced write, before and after which the watermark is not past the end of the log.
    fn write(&mut self, write: Write) -> Result<(), LogError> {
        let mut batch = LogBatch::default();
        let (mut region, mut last_index) = (self.region, self.last_index);
        let compacted = write.compact.as_ref().map(|snapshot| snapshot.index);
        if let Some(snapshot) = write.install {
            region += 1;
            last_index = snapshot.index;
            self.put_snapshot(&mut batch, &StoredSnapshot { region, ..snapshot })?;
        }
        if let Some(first) = write.entries.first() {
            last_index = last_index.min(first.index - 1);
        }
        self.mark(self.watermark.index().min(last_index))?;
        batch.add_entries::<EntryExt>(region, &write.entries).map_err(|error| self.write_error(error))?;
        if let Some(last) = write.entries.last() {
            last_index = last.index;
        }
        if let Some(hard_state) = &write.hard_state {
            batch
                .put_message(GROUP, HARD_STATE.to_vec(), hard_state)
                .map_err(|error| self.write_error(error))?;
        }
        if let Some(snapshot) = write.compact {
            self.put_snapshot(&mut batch, &StoredSnapshot { region, ..snapshot })?;
        }
        self.engine.write(&mut batch, true).map_err(|error| self.write_error(error))?;
        let replaced = region != self.region;
        (self.region, self.last_index) = (region, last_index);
        self.mark(last_index)?;

        if let Some(index) = compacted {
            self.engine.compact_to(region, index + 1);
        }
        if replaced {
            self.drop_other_regions()?;
        }
        if replaced || compacted.is_some() {
            self.engine.purge_expired_files().map_err(|error| self.write_error(error))?;
        }
        Ok(())
    }

    fn drop_other_regions(&self) -> Result<(), LogError> {
        let mut batch = LogBatch::default();
        for region in self.engine.raft_groups() {
            if region == self.region {
                continue;
            }
            if region == GROUP {
                // Hard state and snapshot are kept under the same name.
                if let Some(last) = self.engine.last_index(GROUP) {
                    self.engine.compact_to(GROUP, last + 1);
                }
            } else {
                batch.add_command(region, Command::Clean);
            }
        }
        self.engine.write(&mut batch, false).map_err(|error| self.write_error(error))?;
        Ok(())
    }
}
