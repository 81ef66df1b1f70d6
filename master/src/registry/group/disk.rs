//! What a member makes durable, and a disk in memory that can lose what was not synced.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use raft::eraftpb::{ConfState, Entry, HardState};

use super::super::log::LogError;
use super::machine::Image;

/// The state machine at one index of the log; the entries up to there are no longer needed.
#[derive(Clone, PartialEq, prost::Message)]
pub struct StoredSnapshot {
    /// The last entry it covers.
    #[prost(uint64, tag = "1")]
    pub index: u64,
    /// The term of that entry.
    #[prost(uint64, tag = "2")]
    pub term: u64,
    /// The members of the group at that index.
    #[prost(uint64, repeated, tag = "3")]
    pub voters: Vec<u64>,
    /// The registry, as Mesos stores it.
    #[prost(bytes = "vec", tag = "4")]
    pub registry: Vec<u8>,
    /// What was applied lately, as [`Machine`](super::Machine) keeps it.
    #[prost(bytes = "vec", tag = "5")]
    pub recent: Vec<u8>,
    /// Under which name the entries after it are kept; only the disk itself cares. 0 stands for 1.
    #[prost(uint64, tag = "6")]
    pub region: u64,
    /// Where the members are, as [`Machine`](super::Machine) keeps it.
    #[prost(bytes = "vec", tag = "7")]
    pub members: Vec<u8>,
    /// The members without a vote at that index.
    #[prost(uint64, repeated, tag = "8")]
    pub learners: Vec<u64>,
    /// While the group changes: who had a vote before.
    #[prost(uint64, repeated, tag = "9")]
    pub voters_outgoing: Vec<u64>,
    /// While the group changes: who will lose the vote.
    #[prost(uint64, repeated, tag = "10")]
    pub learners_next: Vec<u64>,
    /// The number of the member whose disk this is; 0 if it says nothing of it.
    #[prost(uint64, tag = "11")]
    pub own: u64,
}

impl StoredSnapshot {
    /// With that state machine, and nothing else.
    pub fn of(image: Image) -> StoredSnapshot {
        let Image { registry, recent, members } = image;
        StoredSnapshot { registry, recent, members, ..StoredSnapshot::default() }
    }

    /// The state machine in it.
    pub fn image(&self) -> Image {
        Image { registry: self.registry.clone(), recent: self.recent.clone(), members: self.members.clone() }
    }

    /// Who votes, as Raft has it.
    pub fn conf_state(&self) -> ConfState {
        ConfState {
            voters: self.voters.clone(),
            learners: self.learners.clone(),
            voters_outgoing: self.voters_outgoing.clone(),
            learners_next: self.learners_next.clone(),
            ..Default::default()
        }
    }

    /// The same, with who votes.
    pub fn with_conf_state(self, conf: &ConfState) -> StoredSnapshot {
        let sorted = |ids: &[u64]| {
            let mut ids = ids.to_vec();
            ids.sort_unstable();
            ids
        };
        StoredSnapshot {
            voters: sorted(&conf.voters),
            learners: sorted(&conf.learners),
            voters_outgoing: sorted(&conf.voters_outgoing),
            learners_next: sorted(&conf.learners_next),
            ..self
        }
    }
}

/// All a disk holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stored {
    /// Term, vote and commit index.
    pub hard_state: HardState,
    /// The newest snapshot; index 0 when there was none yet.
    pub snapshot: StoredSnapshot,
    /// The entries after the snapshot, without a hole.
    pub entries: Vec<Entry>,
}

impl Stored {
    /// What it is after a write.
    pub fn apply(&mut self, write: Write) {
        if let Some(snapshot) = write.install {
            self.entries.clear();
            self.snapshot = snapshot;
        }
        append_entries(&mut self.entries, write.entries);
        if let Some(hard_state) = write.hard_state {
            self.hard_state = hard_state;
        }
        if let Some(snapshot) = write.compact {
            self.entries.retain(|entry| entry.index > snapshot.index);
            self.snapshot = snapshot;
        }
    }
}

/// What is to become durable together, or not at all. In this order: `install`, `entries`, `compact`.
#[derive(Debug, Clone, Default)]
pub struct Write {
    /// A snapshot that came from the leader; it replaces the whole log.
    pub install: Option<StoredSnapshot>,
    /// They replace what the log holds from the first one's index on.
    pub entries: Vec<Entry>,
    /// The hard state, if it changed.
    pub hard_state: Option<HardState>,
    /// A snapshot of this member's own; it replaces the entries it covers.
    pub compact: Option<StoredSnapshot>,
}

impl Write {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.install.is_none()
            && self.entries.is_empty()
            && self.hard_state.is_none()
            && self.compact.is_none()
    }

    /// Adds what has to follow this; the result has the effect of both, one after the other.
    pub fn append(&mut self, later: Write) {
        if let Some(install) = later.install {
            // What it replaces need not be written any more.
            self.entries.clear();
            self.compact = None;
            self.install = Some(install);
        }
        append_entries(&mut self.entries, later.entries);
        self.hard_state = later.hard_state.or(self.hard_state.take());
        self.compact = later.compact.or(self.compact.take());
    }
}

/// Appends as a Raft log does: from the first new index on, what was there gives way.
pub(super) fn append_entries(log: &mut Vec<Entry>, new: Vec<Entry>) {
    if let Some(first) = new.first().map(|entry| entry.index) {
        log.truncate(log.partition_point(|entry| entry.index < first));
    }
    log.extend(new);
}

/// One write, to be carried out where it may block. When it returns, the write is durable.
pub type Job = Box<dyn FnOnce() -> Result<(), LogError> + Send>;

/// Where a member keeps what it must not forget.
pub trait Disk: Send {
    /// Makes a job of a write. There is one job at a time: the next is made when this one is done.
    fn submit(&mut self, write: Write) -> Job;
}

#[derive(Debug, Default)]
struct Platter {
    synced: Stored,
    /// Given to the disk, but not yet told to be durable.
    tail: Option<Write>,
    /// What it says instead of writing, as an `errno`.
    refuses: Option<i32>,
}

impl Platter {
    fn sync(&mut self) {
        if let Some(write) = self.tail.take() {
            self.synced.apply(write);
        }
    }
}

/// A disk in memory. Clones are the same disk: one may outlive the member that writes it, as a disk does. How long a
/// write takes is for whoever runs the [`Job`] to say; a simulation can say it for each node. A write is there whole
/// or not at all, as the log makes sure of on a real disk, whatever is torn.
#[derive(Debug, Clone, Default)]
pub struct MemoryDisk {
    platter: Arc<Mutex<Platter>>,
}

impl MemoryDisk {
    /// What is durable.
    pub fn load(&self) -> Stored {
        self.platter.lock().synced.clone()
    }

    /// The power fails. A write under way may have reached the platter, with nobody told, or not.
    pub fn crash(&self, keep_unsynced: bool) {
        let mut platter = self.platter.lock();
        if keep_unsynced {
            platter.sync();
        }
        platter.tail = None;
    }
}

impl MemoryDisk {
    /// From now on it refuses writes, as a disk does that is full or broken, with that `errno`; or takes them again. What
    /// it refused may be there after a crash.
    pub fn refuse(&self, errno: Option<i32>) {
        self.platter.lock().refuses = errno;
    }
}

impl Disk for MemoryDisk {
    fn submit(&mut self, write: Write) -> Job {
        self.platter.lock().tail = Some(write);
        let platter = Arc::clone(&self.platter);
        Box::new(move || {
            let mut platter = platter.lock();
            if let Some(errno) = platter.refuses {
                let source = Arc::new(io::Error::from_raw_os_error(errno));
                return Err(LogError::Disk { file: "memory".into(), doing: "write", source });
            }
            platter.sync();
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(term: u64, indexes: std::ops::RangeInclusive<u64>) -> Vec<Entry> {
        indexes.map(|index| Entry { index, term, ..Default::default() }).collect()
    }

    fn shape(disk: &MemoryDisk) -> (u64, Vec<(u64, u64)>) {
        let stored = disk.load();
        let entries = stored.entries.iter().map(|entry| (entry.index, entry.term)).collect();
        (stored.snapshot.index, entries)
    }

    #[test]
    fn a_crash_keeps_the_unsynced_tail_or_loses_it_whole() {
        let mut disk = MemoryDisk::default();
        disk.submit(Write { entries: entries(1, 1..=2), ..Default::default() })().unwrap();
        drop(disk.submit(Write { entries: entries(2, 2..=3), ..Default::default() }));
        disk.crash(false);
        assert_eq!(shape(&disk), (0, vec![(1, 1), (2, 1)]));
        drop(disk.submit(Write { entries: entries(2, 2..=3), ..Default::default() }));
        disk.crash(true);
        assert_eq!(shape(&disk), (0, vec![(1, 1), (2, 2), (3, 2)]));
    }

    #[test]
    fn what_a_full_disk_refuses_may_be_there_after_a_crash() {
        for keep_unsynced in [false, true] {
            let mut disk = MemoryDisk::default();
            disk.submit(Write { entries: entries(1, 1..=2), ..Default::default() })().unwrap();
            disk.refuse(Some(nix::libc::ENOSPC));
            let error =
                disk.submit(Write { entries: entries(1, 3..=3), ..Default::default() })().unwrap_err();
            assert!(error.to_string().contains("No space left on device"), "{error}");
            disk.crash(keep_unsynced);
            disk.refuse(None);
            assert_eq!(disk.load().entries.len(), 2 + usize::from(keep_unsynced));
            disk.submit(Write { entries: entries(1, 3..=4), ..Default::default() })().unwrap();
            assert_eq!(disk.load().entries.len(), 4);
        }
    }

    #[test]
    fn writes_put_together_have_the_effect_of_one_after_the_other() {
        let snapshot = |index| StoredSnapshot { index, term: 3, ..Default::default() };
        let writes = [
            Write { entries: entries(1, 1..=4), ..Default::default() },
            Write { entries: entries(2, 3..=3), compact: Some(snapshot(2)), ..Default::default() },
            Write { install: Some(snapshot(9)), entries: entries(3, 10..=11), ..Default::default() },
            Write { entries: entries(4, 11..=12), ..Default::default() },
            Write { compact: Some(snapshot(10)), ..Default::default() },
        ];
        for together in 1..=writes.len() {
            let (mut one_by_one, mut at_once) = (MemoryDisk::default(), MemoryDisk::default());
            let mut all = Write::default();
            for write in &writes[..together] {
                one_by_one.submit(write.clone())().unwrap();
                all.append(write.clone());
            }
            at_once.submit(all)().unwrap();
            assert_eq!(shape(&one_by_one), shape(&at_once), "{together} writes");
        }
    }
}
