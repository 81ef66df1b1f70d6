//! What a log holds when it is opened, and whether that is all it should.

use std::io;
use std::path::Path;
use std::sync::Arc;

use prost::Message as _;
use protobuf::Message as _;
use raft::eraftpb::HardState;
use raft_engine::Engine;
use raft_engine::env::{FileSystem, Permission};

use super::super::files::Guard;
use super::super::group::{Stored, StoredSnapshot};
use super::super::watermark::{self, Mark};
use super::{
    EntryExt, GROUP, HARD_STATE, HEAD, Head, LogError, SNAPSHOT, Sizes, contained, corrupt, open_engine,
    refused,
};

/// What a log holds that was there before.
pub(super) struct Found {
    pub(super) head: Head,
    /// Whether it counts its writes. One of before there were heads does not; then `head` is made up.
    pub(super) counted: bool,
    pub(super) region: u64,
    pub(super) stored: Stored,
}

impl Found {
    /// Reads the log without changing it, and checks it; `None` when nothing was ever acknowledged from it.
    pub(super) fn look<F: FileSystem>(
        guard: &Guard<F>,
        path: &Path,
        sizes: Sizes,
    ) -> Result<Option<Found>, LogError> {
        let file = path.join("acknowledged");
        let mark = match std::fs::exists(&file) {
            Ok(true) => Self::mark(guard, &file).map_err(|source| refused(guard, &file, source))?,
            Ok(false) => None,
            Err(source) => return Err(refused(guard, &file, source)),
        };
        let found = match path.join("log").is_dir() {
            true => {
                let engine = open_engine(guard, path, sizes)?;
                contained(path, || Self::read(&engine, path))?
            }
            false => None,
        };
        let Some(mut found) = found else {
            return match mark {
                None => Ok(None),
                Some(_) => Err(corrupt(path, "`log` is empty, but writes to it had been acknowledged")),
            };
        };
        found.check(mark).map_err(|what| corrupt(path, what))?;
        if !found.counted {
            found.head.write = mark.map_or(0, |mark| mark.write);
        }
        Ok(Some(found))
    }

    fn mark<F: FileSystem>(guard: &Guard<F>, file: &Path) -> io::Result<Option<Mark>> {
        let handle = guard.open(file, Permission::ReadOnly)?;
        watermark::newest(&mut guard.new_reader(Arc::new(handle))?)
    }

    fn read<F: FileSystem>(engine: &Engine<Guard<F>>, path: &Path) -> Result<Option<Found>, LogError> {
        let head = engine.get(GROUP, HEAD).map(|bytes| Head::decode(bytes.as_slice()));
        let head =
            head.transpose().map_err(|error| corrupt(path, format!("its head is unreadable ({error})")))?;
        let Some(snapshot) = engine.get(GROUP, SNAPSHOT) else {
            return match head.is_none() && engine.raft_groups().is_empty() {
                true => Ok(None),
                false => Err(corrupt(path, "its snapshot is missing")),
            };
        };
        let snapshot = StoredSnapshot::decode(snapshot.as_slice())
            .map_err(|error| corrupt(path, format!("its snapshot is unreadable ({error})")))?;
        let region = snapshot.region.max(GROUP);
        let last_index = engine.last_index(region).unwrap_or(0).max(snapshot.index);
        let hard_state = match &head {
            Some(head) => Some(head.hard_state.clone()),
            None => engine.get(GROUP, HARD_STATE),
        };
        let bytes = hard_state.unwrap_or_default();
        let hard_state = HardState::parse_from_bytes(&bytes)
            .map_err(|error| corrupt(path, format!("its hard state is unreadable ({error})")))?;
        let mut entries = Vec::new();
        for index in snapshot.index + 1..=last_index {
            match engine.get_entry::<EntryExt>(region, index) {
                Ok(Some(entry)) if entry.index == index => entries.push(entry),
                Ok(_) => return Err(corrupt(path, format!("entry {index} of {last_index} is missing"))),
                Err(error) => return Err(corrupt(path, format!("entry {index} cannot be read ({error})"))),
            }
        }
        let found = Head { write: 0, last_index, snapshot: snapshot.index, hard_state: bytes };
        if let Some(head) = &head
            && (Head { write: head.write, ..found.clone() }) != *head
        {
            return Err(corrupt(
                path,
                format!(
                    "it holds entries {} to {last_index}, but its last write left entries {} to {}",
                    snapshot.index + 1,
                    head.snapshot + 1,
                    head.last_index
                ),
            ));
        }
        let stored = Stored { hard_state, snapshot, entries };
        let counted = head.is_some();
        Ok(Some(Found { head: head.unwrap_or(found), counted, region, stored }))
    }

    /// Nothing is missing of what was acknowledged. A crash loses at most the last of the log's writes, or the mark
    /// for it.
    fn check(&self, mark: Option<Mark>) -> Result<(), String> {
        let Head { write, last_index, .. } = self.head;
        let commit = self.stored.hard_state.commit;
        let lost =
            |index: u64| format!("it ends at entry {last_index}, but entry {index} had been acknowledged");
        match mark {
            Some(mark) if mark.index > last_index && (!mark.counted || mark.write > write) => {
                return Err(lost(mark.index));
            }
            Some(mark) if mark.counted && mark.write > write => {
                return Err(format!(
                    "it ends with write {write}, but write {} had been acknowledged",
                    mark.write
                ));
            }
            Some(mark) if mark.counted && mark.write + 1 < write => {
                return Err(format!(
                    "`acknowledged` knows of {} writes to it, but there were {write}: that file is damaged or another log's",
                    mark.write
                ));
            }
            None if write > 1 => {
                return Err(
                    "`acknowledged` is missing or damaged, which says up to where the log must be there"
                        .into(),
                );
            }
            _ => {}
        }
        if commit > last_index {
            return Err(lost(commit));
        }
        if last_index > self.stored.snapshot.index && self.stored.hard_state.term == 0 {
            return Err("it has entries but no hard state".into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt as _;

    use raft::eraftpb::Entry;
    use raft_engine::LogBatch;

    use super::super::super::files::System;
    use super::super::super::group::{Disk as _, Write};
    use super::super::Log;
    use super::*;

    /// As it was written before writes were counted: neither head nor numbers.
    fn of_before(path: &Path, marked: u64) {
        std::fs::create_dir(path.join("log")).unwrap();
        let engine = open_engine(&Guard::writing(Arc::new(System)), path, Sizes::USUAL).unwrap();
        let mut batch = LogBatch::default();
        let snapshot = StoredSnapshot { voters: vec![1], region: 1, ..Default::default() };
        batch.put(GROUP, SNAPSHOT.to_vec(), snapshot.encode_to_vec()).unwrap();
        let entries: Vec<_> = (1..=5).map(|index| Entry { index, term: 1, ..Default::default() }).collect();
        batch.add_entries::<EntryExt>(GROUP, &entries).unwrap();
        let hard_state = HardState { term: 1, commit: 4, ..Default::default() };
        batch.put_message(GROUP, HARD_STATE.to_vec(), &hard_state).unwrap();
        engine.write(&mut batch, true).unwrap();
        let words = [0x6d65_736f_7377_6d31, 9, marked].map(u64::to_le_bytes).concat();
        let sum = words.iter().fold(0xcbf2_9ce4_8422_2325, |sum: u64, byte| {
            (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        let file = std::fs::File::create(path.join("acknowledged")).unwrap();
        file.write_all_at(&words, 32).unwrap();
        file.write_all_at(&sum.to_le_bytes(), 56).unwrap();
    }

    #[test]
    fn a_log_of_before_writes_were_counted_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        of_before(dir.path(), 5);
        for entries in 5..8 {
            let (mut log, stored) = Log::open(dir.path(), &[1]).unwrap();
            assert_eq!((stored.entries.len(), stored.hard_state.commit), (entries, 4));
            let next = Entry { index: entries as u64 + 1, term: 1, ..Default::default() };
            log.submit(Write { entries: vec![next], ..Default::default() })().unwrap();
        }
        let dir = tempfile::tempdir().unwrap();
        of_before(dir.path(), 6);
        let error = Log::open(dir.path(), &[1]).err().expect("entry 6 is lost").to_string();
        assert!(error.contains("ends at entry 5, but entry 6 had been acknowledged"), "{error}");
    }
}
