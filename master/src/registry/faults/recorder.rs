//! Files that keep a journal of what is done to them, or refuse it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use raft_engine::env::{FileSystem, Handle, Permission, WriteExt};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tempfile::TempDir;

use super::super::files::System;

/// What was done to a file.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Op {
    Create,
    Write {
        offset: u64,
        bytes: Vec<u8>,
    },
    /// Shortened, or made longer with zeros.
    Length(u64),
    Sync,
    Delete,
}

impl Op {
    /// Whether it changes what files there are, not what is in them.
    fn is_name(&self) -> bool {
        matches!(self, Op::Create | Op::Delete)
    }
}

/// What was done, and to which file, as seen from the root.
pub(super) type Journal = Vec<(PathBuf, Op)>;

#[derive(Default)]
struct State {
    journal: Journal,
    /// From that many operations on, or for one of them only, the system says this.
    refuse: Option<(usize, i32, bool)>,
}

/// Real files below a root, and what was done to them.
#[derive(Clone)]
pub(super) struct Recorder {
    root: PathBuf,
    state: Arc<Mutex<State>>,
}

impl Recorder {
    pub(super) fn new(root: &Path) -> Recorder {
        Recorder { root: root.into(), state: Arc::default() }
    }

    /// The operation after so many others fails with that error, a write half-way; and so do all others after it, if
    /// it is `lasting`.
    pub(super) fn refuse(&self, after: usize, errno: i32, lasting: bool) {
        self.state.lock().refuse = Some((after, errno, lasting));
    }

    pub(super) fn journal(&self) -> Journal {
        self.state.lock().journal.clone()
    }

    pub(super) fn n_ops(&self) -> usize {
        self.state.lock().journal.len()
    }

    fn relative(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.root).expect("below the root").into()
    }

    /// Does it, unless it is to be refused.
    fn op(&self, path: &Path, op: Op, f: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let mut state = self.state.lock();
        if let Some((after, errno, lasting)) = state.refuse
            && (state.journal.len() == after || lasting && state.journal.len() > after)
        {
            // What is refused counts as well, so that the next is another one.
            state.journal.push((path.into(), Op::Sync));
            return Err(io::Error::from_raw_os_error(errno));
        }
        state.journal.push((path.into(), op));
        drop(state);
        f()
    }
}

pub(super) struct Recorded {
    recorder: Recorder,
    path: PathBuf,
    inner: Arc<<System as FileSystem>::Handle>,
}

pub(super) struct Place {
    file: Arc<Recorded>,
    inner: <System as FileSystem>::Writer,
}

impl FileSystem for Recorder {
    type Handle = Recorded;
    type Reader = Place;
    type Writer = Place;

    fn create<P: AsRef<Path>>(&self, path: P) -> io::Result<Recorded> {
        let relative = self.relative(path.as_ref());
        if !path.as_ref().exists() {
            self.op(&relative, Op::Create, || Ok(()))?;
        }
        let inner = Arc::new(System.create(path)?);
        Ok(Recorded { recorder: self.clone(), path: relative, inner })
    }

    fn open<P: AsRef<Path>>(&self, path: P, permission: Permission) -> io::Result<Recorded> {
        let relative = self.relative(path.as_ref());
        let inner = Arc::new(System.open(path, permission)?);
        Ok(Recorded { recorder: self.clone(), path: relative, inner })
    }

    fn delete<P: AsRef<Path>>(&self, path: P) -> io::Result<()> {
        self.op(&self.relative(path.as_ref()), Op::Delete, || System.delete(&path))
    }

    fn rename<P: AsRef<Path>>(&self, _: P, _: P) -> io::Result<()> {
        unreachable!("files are not used again")
    }

    fn new_reader(&self, file: Arc<Recorded>) -> io::Result<Place> {
        let inner = System.new_reader(Arc::clone(&file.inner))?;
        Ok(Place { file, inner })
    }

    fn new_writer(&self, file: Arc<Recorded>) -> io::Result<Place> {
        let inner = System.new_writer(Arc::clone(&file.inner))?;
        Ok(Place { file, inner })
    }
}

impl Handle for Recorded {
    fn truncate(&self, length: usize) -> io::Result<()> {
        self.recorder.op(&self.path, Op::Length(length as u64), || self.inner.truncate(length))
    }

    fn file_size(&self) -> io::Result<usize> {
        self.inner.file_size()
    }

    /// What it means for a disk the journal knows; a test need not wait for one.
    fn sync(&self) -> io::Result<()> {
        self.recorder.op(&self.path, Op::Sync, || Ok(()))
    }
}

impl Read for Place {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.inner.read(bytes)
    }
}

impl Write for Place {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let offset = self.inner.stream_position()?;
        let op = Op::Write { offset, bytes: bytes.to_vec() };
        let (recorder, path) = (self.file.recorder.clone(), self.file.path.clone());
        let written = recorder.op(&path, op, || self.inner.write_all(bytes));
        if written.is_err() {
            self.inner.write_all(&bytes[..bytes.len() / 2])?;
        }
        written.map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Place {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}

impl WriteExt for Place {
    fn truncate(&mut self, length: usize) -> io::Result<()> {
        let (recorder, path) = (self.file.recorder.clone(), self.file.path.clone());
        recorder.op(&path, Op::Length(length as u64), || self.inner.truncate(length))
    }

    fn allocate(&mut self, offset: usize, length: usize) -> io::Result<()> {
        let (recorder, path) = (self.file.recorder.clone(), self.file.path.clone());
        let end = offset + length;
        recorder.op(&path, Op::Length(end as u64), || self.inner.allocate(offset, length))
    }
}

/// What becomes of that which was not synced when the power failed.
///
/// Names of files are kept as a journaling file system does: in order, and up to the last sync at least.
#[derive(Debug, Clone, Copy)]
pub(super) enum Unsynced {
    Lost,
    /// As after the end of the process alone.
    Kept,
    /// The last write of each file is half there.
    Torn,
    /// Any of it may be there, and any write half.
    Scattered(u64),
}

/// The files as a crash after `journal` would leave them, in a directory of its own.
pub(super) fn crashed(journal: &[(PathBuf, Op)], unsynced: Unsynced) -> TempDir {
    let mut rng = StdRng::seed_from_u64(match unsynced {
        Unsynced::Scattered(seed) => seed,
        _ => 0,
    });
    let last_sync = journal.iter().rposition(|(_, op)| *op == Op::Sync);
    let synced_until: BTreeMap<&Path, usize> = journal
        .iter()
        .enumerate()
        .filter(|(_, (_, op))| *op == Op::Sync)
        .map(|(at, (path, _))| (path.as_path(), at))
        .collect();
    let mut last_writes = BTreeMap::new();
    for (at, (path, op)) in journal.iter().enumerate() {
        if matches!(op, Op::Write { .. }) {
            last_writes.insert(path.as_path(), at);
        }
    }
    let last_writes: BTreeSet<usize> = last_writes.into_values().collect();
    let mut names_lost = false;
    let mut files: BTreeMap<&Path, Vec<u8>> = BTreeMap::new();
    for (at, (path, op)) in journal.iter().enumerate() {
        let safe = match op.is_name() {
            true => last_sync.is_some_and(|sync| at < sync),
            false => synced_until.get(path.as_path()).is_some_and(|sync| at < *sync),
        };
        let (mut keep, mut whole) = (true, true);
        if !safe {
            match unsynced {
                Unsynced::Lost => keep = false,
                Unsynced::Kept => {}
                Unsynced::Torn => whole = !last_writes.contains(&at),
                Unsynced::Scattered(_) => (keep, whole) = (rng.random_bool(0.6), rng.random_bool(0.6)),
            }
        }
        if op.is_name() {
            names_lost |= !keep;
            keep = !names_lost;
        }
        if !keep {
            continue;
        }
        match op {
            Op::Create => drop(files.entry(path).or_default()),
            Op::Delete => drop(files.remove(path.as_path())),
            Op::Sync => {}
            Op::Length(length) => {
                if let Some(file) = files.get_mut(path.as_path()) {
                    file.resize(*length as usize, 0);
                }
            }
            Op::Write { offset, bytes } => {
                let bytes = if whole { &bytes[..] } else { &bytes[..bytes.len() / 2] };
                if let Some(file) = files.get_mut(path.as_path()) {
                    let (from, to) = (*offset as usize, *offset as usize + bytes.len());
                    file.resize(file.len().max(to), 0);
                    file[from..to].copy_from_slice(bytes);
                }
            }
        }
    }
    let dir = in_memory();
    fs::create_dir(dir.path().join("log")).unwrap();
    for (path, bytes) in files {
        fs::write(dir.path().join(path), bytes).unwrap();
    }
    dir
}

/// A directory that need not be on a disk.
pub(super) fn in_memory() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// Every file below a directory, except the engine's lock.
pub(super) fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            files.extend(contents(&entry.path()));
        } else if entry.file_name() != "LOCK" {
            files.insert(entry.path(), fs::read(entry.path()).unwrap());
        }
    }
    files
}
