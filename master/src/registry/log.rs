//! The Raft log on disk: raft-engine below, [`Disk`] above.
//!
//! Each write is one batch of the engine, so it is there whole or not at all, and says what the log holds after it:
//! the [`Head`]. Its number is kept beside the log, too, before anybody is told of it. What is found at the start has
//! to agree with both.

mod found;

use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use prost::Message as _;
use protobuf::Message as _;
use raft::eraftpb::Entry;
use raft_engine::env::FileSystem;
use raft_engine::{Command, Config, Engine, LogBatch, MessageExt, ReadableSize, RecoveryMode};

use super::files::{Guard, System};
use super::group::{Disk, Job, Stored, StoredSnapshot, Write};
use super::watermark::{Mark, Watermark};
use found::Found;

/// Where the engine keeps head and snapshot.
const GROUP: u64 = 1;
const HEAD: &[u8] = b"head";
const SNAPSHOT: &[u8] = b"snapshot";
/// Where it was before there was a head.
const HARD_STATE: &[u8] = b"hard state";

/// What can go wrong with the log on disk. None of it is repaired on its own: a registry that silently
/// forgot an agent would let its tasks run on unaccounted for.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The engine could not be opened, with nothing wrong in the log: another process has it.
    #[error(
        "the registry's log in `{path}` cannot be opened: {what}. If another master uses it, end that one first"
    )]
    Open {
        /// The directory.
        path: PathBuf,
        /// The engine's word.
        what: String,
    },
    /// The disk refused something.
    #[error(
        "could not {doing} `{file}`: {source}. Nothing that was acknowledged is lost by that: see to the disk, then start this master again"
    )]
    Disk {
        /// The file.
        file: PathBuf,
        /// What was to be done to it.
        doing: &'static str,
        /// The system's word.
        source: Arc<io::Error>,
    },
    /// What is in the log contradicts itself, or what was acknowledged from it.
    #[error(
        "the registry's log in `{path}` is corrupt: {what}. It is left as it was found. If other masters of its group are up, remove the directory and add this master to the group anew; if there are none, restore the directory from a copy"
    )]
    Corrupt {
        /// The directory.
        path: PathBuf,
        /// The contradiction.
        what: String,
    },
}

/// What the log holds after a write.
#[derive(Clone, PartialEq, prost::Message)]
struct Head {
    /// Counts the writes, from 1.
    #[prost(uint64, tag = "1")]
    write: u64,
    /// The last entry.
    #[prost(uint64, tag = "2")]
    last_index: u64,
    /// The last entry in the snapshot.
    #[prost(uint64, tag = "3")]
    snapshot: u64,
    /// Term, vote and commit index, as Raft encodes them.
    #[prost(bytes = "vec", tag = "4")]
    hard_state: Vec<u8>,
}

/// How raft-engine finds an entry's index.
struct EntryExt;

impl MessageExt for EntryExt {
    type Entry = Entry;

    fn index(entry: &Entry) -> u64 {
        entry.index
    }
}

/// How large the engine's files are, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    /// A file that is larger is followed by the next.
    pub(super) file: u64,
    /// When all are larger than that, what is still needed of the oldest is written anew, and they are deleted.
    pub(super) all: u64,
}

impl Sizes {
    /// A registry is small: a snapshot of 10,000 agents is some MB.
    const USUAL: Sizes = Sizes { file: 8 << 20, all: 64 << 20 };
}

/// The log of one master.
pub(super) struct Log<F: FileSystem = System> {
    open: Arc<Mutex<Open<F>>>,
}

impl Log {
    /// Opens the log in `path`, or creates one for a group of `voters`, and checks it against what was
    /// acknowledged. What is refused stays as it was found.
    pub(super) fn open(path: &Path, voters: &[u64]) -> Result<(Self, Stored), LogError> {
        Self::open_on(Arc::new(System), path, voters, Sizes::USUAL)
    }

    /// What the log in `path` holds, checked as [`Log::open`] does, and left as it is; `None` when there is none.
    pub(super) fn look(path: &Path) -> Result<Option<Stored>, LogError> {
        let found = Found::look(&Guard::looking(Arc::new(System)), path, Sizes::USUAL)?;
        Ok(found.map(|found| found.stored))
    }
}

impl<F: FileSystem> Log<F> {
    /// [`Log::open`] on these files.
    pub(super) fn open_on(
        files: Arc<F>,
        path: &Path,
        voters: &[u64],
        sizes: Sizes,
    ) -> Result<(Self, Stored), LogError> {
        let found = Found::look(&Guard::looking(Arc::clone(&files)), path, sizes)?;
        let guard = Guard::writing(files);
        let directory = path.join("log");
        create_directory(&directory)?;
        let engine = open_engine(&guard, path, sizes)?;
        let file = path.join("acknowledged");
        let (watermark, _) =
            Watermark::open(&guard, &file).map_err(|source| refused(&guard, &file, source))?;
        // A file is there after a crash when the directory is synced that names it.
        for directory in [Some(&*directory), Some(path), path.parent()].into_iter().flatten() {
            sync_directory(directory)?;
        }
        let mut open =
            Open { path: path.into(), guard, engine, watermark, head: Head::default(), region: GROUP };
        let stored = match found {
            Some(found) => open.go_on(found)?,
            None => open.begin(voters)?,
        };
        open.drop_other_regions()?;
        Ok((Log { open: Arc::new(Mutex::new(open)) }, stored))
    }
}

impl<F: FileSystem + 'static> Disk for Log<F> {
    fn submit(&mut self, write: Write) -> Job {
        let open = Arc::clone(&self.open);
        Box::new(move || open.lock().write(write))
    }
}

fn corrupt(path: &Path, what: impl Into<String>) -> LogError {
    LogError::Corrupt { path: path.into(), what: what.into() }
}

/// What the guard says, or else what the one says who was refused.
fn refused<F>(guard: &Guard<F>, file: &Path, source: io::Error) -> LogError {
    let other = || LogError::Disk { file: file.into(), doing: "use", source: Arc::new(source) };
    guard.check().err().unwrap_or_else(other)
}

fn create_directory(path: &Path) -> Result<(), LogError> {
    std::fs::create_dir_all(path).map_err(|source| LogError::Disk {
        file: path.into(),
        doing: "create",
        source: Arc::new(source),
    })
}

pub(super) fn sync_directory(path: &Path) -> Result<(), LogError> {
    // A relative path of one name has an empty parent.
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    File::open(path).and_then(|directory| directory.sync_all()).map_err(|source| LogError::Disk {
        file: path.into(),
        doing: "sync",
        source: Arc::new(source),
    })
}

/// Runs what uses the engine, which panics where it finds what it does not expect.
fn contained<T>(path: &Path, f: impl FnOnce() -> Result<T, LogError>) -> Result<T, LogError> {
    catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no word of it");
        Err(corrupt(path, format!("it made the engine panic ({text})")))
    })
}

fn open_engine<F: FileSystem>(
    guard: &Guard<F>,
    path: &Path,
    sizes: Sizes,
) -> Result<Engine<Guard<F>>, LogError> {
    let config = Config {
        dir: path.join("log").to_string_lossy().into_owned(),
        // A torn tail is what a crash leaves. Whether more than that is missing, head and watermark tell.
        recovery_mode: RecoveryMode::TolerateTailCorruption,
        recovery_threads: 1,
        target_file_size: ReadableSize(sizes.file),
        purge_threshold: ReadableSize(sizes.all),
        // What is in a file that is used again would only be something more to mistake for the log.
        enable_log_recycle: false,
        ..Config::default()
    };
    contained(path, || {
        let engine = Engine::open_with_file_system(config, Arc::new(guard.clone()));
        guard.check()?;
        engine.map_err(|error| match error {
            raft_engine::Error::Other(what) => LogError::Open { path: path.into(), what: what.to_string() },
            raft_engine::Error::Io(source) => {
                LogError::Disk { file: path.join("log"), doing: "open", source: Arc::new(source) }
            }
            damaged => corrupt(path, damaged.to_string()),
        })
    })
}

struct Open<F: FileSystem> {
    path: PathBuf,
    guard: Guard<F>,
    engine: Engine<Guard<F>>,
    watermark: Watermark<Guard<F>>,
    /// What the log holds.
    head: Head,
    /// Where the engine keeps the entries. A snapshot that replaces the log begins another region, so that one
    /// write does both; what is left of the earlier one is garbage.
    region: u64,
}

impl<F: FileSystem> Open<F> {
    /// Whose log it is stands in it from the first moment on.
    fn begin(&mut self, voters: &[u64]) -> Result<Stored, LogError> {
        let snapshot = StoredSnapshot { voters: voters.to_vec(), region: GROUP, ..Default::default() };
        let mut batch = LogBatch::default();
        self.put_snapshot(&mut batch, &snapshot)?;
        self.commit(batch, Head { write: 1, ..Head::default() })?;
        Ok(Stored { snapshot, ..Stored::default() })
    }

    /// A write of its own shows at once whether the disk can be written, and brings logs of before up to date.
    fn go_on(&mut self, found: Found) -> Result<Stored, LogError> {
        (self.head, self.region) = (found.head, found.region);
        // What the last write left may be known to the system only, and not yet to the disk: it is written again, under
        // the same number, before that is marked.
        let write = self.head.write + u64::from(!found.counted);
        self.commit(LogBatch::default(), Head { write, ..self.head.clone() })?;
        Ok(found.stored)
    }

    /// One synced write.
    fn write(&mut self, write: Write) -> Result<(), LogError> {
        let mut batch = LogBatch::default();
        let (mut region, mut head) = (self.region, self.head.clone());
        head.write += 1;
        let compacted = write.compact.as_ref().map(|snapshot| snapshot.index);
        if let Some(snapshot) = write.install {
            region += 1;
            (head.last_index, head.snapshot) = (snapshot.index, snapshot.index);
            self.put_snapshot(&mut batch, &StoredSnapshot { region, ..snapshot })?;
        }
        batch.add_entries::<EntryExt>(region, &write.entries).map_err(|error| self.failed(error))?;
        if let Some(last) = write.entries.last() {
            head.last_index = last.index;
        }
        if let Some(hard_state) = &write.hard_state {
            head.hard_state = hard_state
                .write_to_bytes()
                .map_err(|error| self.failed(raft_engine::Error::Protobuf(error)))?;
        }
        if let Some(snapshot) = write.compact {
            head.snapshot = snapshot.index;
            self.put_snapshot(&mut batch, &StoredSnapshot { region, ..snapshot })?;
        }
        self.commit(batch, head)?;
        let replaced = region != self.region;
        self.region = region;

        if let Some(index) = compacted {
            self.contained(|open| Ok(open.engine.compact_to(region, index + 1)))?;
        }
        if replaced {
            self.drop_other_regions()?;
        }
        if replaced || compacted.is_some() {
            self.contained(|open| open.engine.purge_expired_files().map_err(|error| open.failed(error)))?;
        }
        Ok(())
    }

    /// Writes a batch, and what the log holds after it; then marks it.
    fn commit(&mut self, mut batch: LogBatch, head: Head) -> Result<(), LogError> {
        self.guard.check()?;
        batch.put(GROUP, HEAD.to_vec(), head.encode_to_vec()).map_err(|error| self.failed(error))?;
        self.contained(|open| open.engine.write(&mut batch, true).map_err(|error| open.failed(error)))?;
        self.head = head;
        self.mark()
    }

    fn mark(&mut self) -> Result<(), LogError> {
        let mark = Mark { write: self.head.write, index: self.head.last_index, counted: true };
        let set = self.watermark.set(mark);
        self.guard.check()?;
        set.map_err(|source| refused(&self.guard, &self.path.join("acknowledged"), source))
    }

    /// Runs what uses the engine; after that, what the disk refused counts first.
    fn contained<T>(&mut self, f: impl FnOnce(&mut Self) -> Result<T, LogError>) -> Result<T, LogError> {
        let path = self.path.clone();
        let result = contained(&path, || f(self));
        self.guard.check()?;
        result
    }

    fn failed(&self, error: raft_engine::Error) -> LogError {
        let source = Arc::new(io::Error::other(error));
        LogError::Disk { file: self.path.join("log"), doing: "write", source }
    }

    fn put_snapshot(&self, batch: &mut LogBatch, snapshot: &StoredSnapshot) -> Result<(), LogError> {
        batch.put(GROUP, SNAPSHOT.to_vec(), snapshot.encode_to_vec()).map_err(|error| self.failed(error))
    }

    fn drop_other_regions(&mut self) -> Result<(), LogError> {
        self.contained(|open| {
            let mut batch = LogBatch::default();
            for region in open.engine.raft_groups() {
                if region == open.region {
                    continue;
                }
                if region == GROUP {
                    // Head and snapshot are kept under the same name.
                    if let Some(last) = open.engine.last_index(GROUP) {
                        open.engine.compact_to(GROUP, last + 1);
                    }
                } else {
                    batch.add_command(region, Command::Clean);
                }
            }
            open.engine.write(&mut batch, false).map_err(|error| open.failed(error))?;
            Ok(())
        })
    }
}
