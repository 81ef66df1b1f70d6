//! A fixed history of what a member writes.

use std::sync::Arc;

use api::v1::{AgentId, AgentInfo};
use libprocess::Time;
use raft::eraftpb::{Entry, HardState};
use raft_engine::env::FileSystem;
use tempfile::TempDir;

use super::super::group::{Disk as _, Member, MemoryDisk, Seat, Stored, StoredSnapshot, Write};
use super::super::log::{Log, LogError, Sizes};
use super::super::operation::{Batch, Kind};
use super::recorder::{Journal, Recorder, in_memory};

/// Small files, so that there are many, and old ones are rewritten and deleted.
const SIZES: Sizes = Sizes { file: 2 << 10, all: 8 << 10 };

pub(super) const VOTERS: [u64; 1] = [1];

/// Opens a log with small files.
pub(super) fn open<F: FileSystem>(files: F, dir: &TempDir) -> Result<(Log<F>, Stored), LogError> {
    let (log, mut stored) = Log::open_on(Arc::new(files), dir.path(), &VOTERS, SIZES)?;
    // How the log keeps it says nothing about what it holds.
    stored.snapshot.region = 0;
    Ok((log, stored))
}

/// What a member writes that leads a group of one: it admits agents and removes some, with a snapshot now and then.
fn led() -> Vec<Write> {
    let mut disk = MemoryDisk::default();
    let mut member = Member::new(&Seat::alone(), disk.load(), 7, 400, Time::default()).unwrap();
    let mut writes = Vec::new();
    for n in 0..24 {
        let id = |n: usize| AgentId::from(format!("agent-{n}"));
        let info = AgentInfo { id: Some(id(n)), hostname: "h".repeat(n * 9), ..Default::default() };
        let mut operations = vec![Kind::AdmitAgent(info).into()];
        if n % 3 == 2 {
            operations.push(Kind::RemoveAgent(id(n - 1)).into());
        }
        loop {
            let Some(write) = member.output().unwrap().write else { break };
            writes.push(write.clone());
            disk.submit(write)().unwrap();
            member.persisted();
            if let Some(job) = member.snapshot_due() {
                member.snapshot_made(job.make());
            }
        }
        member.propose(&Batch { operations }).unwrap();
    }
    writes
}

/// What one writes that follows: votes alone, entries that give way to others and to fewer, and snapshots of a leader,
/// behind, within and beyond its log.
fn followed(from: &Stored) -> Vec<Write> {
    let mut writes = Vec::new();
    let first = from.entries.last().map_or(from.snapshot.index, |entry| entry.index);
    let entries = |term, from: u64, to: u64| -> Vec<Entry> {
        let data = vec![7; 120];
        (from..=to)
            .map(|index| Entry { index, term, data: data.clone().into(), ..Default::default() })
            .collect()
    };
    let hard_state = |term, commit| Some(HardState { term, vote: term % 3, commit, ..Default::default() });
    let mut index = first;
    for term in 5..11 {
        writes.push(Write { hard_state: hard_state(term, index), ..Default::default() });
        let write = Write { entries: entries(term, index + 1, index + 6), ..Default::default() };
        writes.push(Write { hard_state: hard_state(term, index + 2), ..write });
        // Another leader knows better.
        writes.push(Write { entries: entries(term + 1, index + 4, index + 4), ..Default::default() });
        let at = index + [3, 4, 20][term as usize % 3];
        let registry = vec![9; 500];
        let snapshot =
            StoredSnapshot { index: at, term, voters: VOTERS.to_vec(), registry, ..Default::default() };
        writes.push(Write {
            install: Some(snapshot),
            entries: entries(term + 1, at + 1, at + term % 3),
            hard_state: hard_state(term + 1, at),
            ..Default::default()
        });
        index = at + term % 3;
    }
    writes
}

/// A history that was carried out.
pub(super) struct History {
    pub(super) writes: Vec<Write>,
    /// What is there after so many writes; the first is an empty log.
    pub(super) states: Vec<Stored>,
    pub(super) journal: Journal,
    /// How long the journal was when so many writes, and the opening before them, had been acknowledged.
    pub(super) acknowledged: Vec<usize>,
    /// The files at the end, after the log was closed.
    pub(super) dir: TempDir,
}

impl History {
    pub(super) fn new() -> History {
        let dir = in_memory();
        let recorder = Recorder::new(dir.path());
        let (mut log, empty) = open(recorder.clone(), &dir).unwrap();
        let mut acknowledged = vec![recorder.n_ops()];
        let mut states = vec![empty.clone()];
        let mut writes = led();
        let end = writes.iter().fold(empty, |mut stored, write| {
            stored.apply(write.clone());
            stored
        });
        writes.extend(followed(&end));
        for write in &writes {
            log.submit(write.clone())().unwrap();
            acknowledged.push(recorder.n_ops());
            let mut next = states.last().unwrap().clone();
            next.apply(write.clone());
            states.push(next);
        }
        drop(log);
        let journal = recorder.journal();
        History { writes, states, journal, acknowledged, dir }
    }

    /// How many writes had been acknowledged when the journal was that long; `None` before the log was open.
    pub(super) fn n_acknowledged(&self, n_ops: usize) -> Option<usize> {
        self.acknowledged.partition_point(|at| *at <= n_ops).checked_sub(1)
    }

    /// That the log holds what was acknowledged, and at most the write that followed.
    pub(super) fn check(&self, found: &Stored, acknowledged: Option<usize>, what: &dyn std::fmt::Debug) {
        let least = acknowledged.unwrap_or(0);
        let most = acknowledged.map_or(0, |n| n + 1).min(self.states.len() - 1);
        if !self.states[least..=most].contains(found) {
            let shape =
                |stored: &Stored| (stored.snapshot.index, stored.entries.len(), stored.hard_state.clone());
            let expected: Vec<_> = self.states[least..=most].iter().map(shape).collect();
            panic!("{what:?}: found {:?}, not one of {expected:?}", shape(found));
        }
    }
}
