//! One replica of the registry: the Raft state machine over the log on disk. Blocking, so it is only ever
//! used off the actors.

use std::path::Path;

use api::internal::Registry as RegistryProto;
use prost::Message as _;
use raft::eraftpb::{Entry, EntryType};
use raft::{Config, RawNode, StateRole};

use super::log::{Log, LogError};
use super::operation::{Batch, Operation};
use super::state::{Refused, Registry};

/// This master's number in its group.
const ID: u64 = 1;

/// Why a batch was not written. The registry's fate is then unknown, and the master must not go on.
#[derive(Debug, thiserror::Error)]
pub enum ReplicaError {
    /// The disk.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The protocol.
    #[error("the registry's Raft group refused: {0}")]
    Raft(#[from] raft::Error),
    /// Written, but not by a majority.
    #[error("entry {index} of the registry's log was written but not committed")]
    NotCommitted {
        /// The entry.
        index: u64,
    },
}

/// The outcome of each operation of a batch, in order.
pub type Outcomes = Vec<Result<(), Refused>>;

/// A registry and the log that makes it durable.
pub struct Replica {
    node: RawNode<Log>,
    registry: Registry,
    /// Bytes of log entries since the last snapshot.
    logged: usize,
    /// At least this many bytes of log before a snapshot replaces it.
    snapshot_after: usize,
}

impl Replica {
    /// Opens the registry in `path`, creates it when there is none, and brings it up to the end of its log.
    pub fn open(path: &Path) -> Result<Self, ReplicaError> {
        Self::open_with(path, 1 << 20)
    }

    fn open_with(path: &Path, snapshot_after: usize) -> Result<Self, ReplicaError> {
        let log = Log::open(path, &[ID])?;
        let snapshot = log.latest_snapshot();
        let applied = snapshot.index;
        let proto = RegistryProto::decode(snapshot.registry.as_slice())
            .map_err(|error| log.corrupt(format!("the registry in the snapshot cannot be read ({error})")))?;
        let registry = Registry::from_proto(proto)
            .map_err(|error| log.corrupt(format!("the registry in the snapshot cannot be used: {error}")))?;
        let config = Config {
            id: ID,
            applied,
            pre_vote: true,
            check_quorum: true,
            max_size_per_msg: 1 << 20,
            max_inflight_msgs: 256,
            max_uncommitted_size: 64 << 20,
            ..Config::default()
        };
        let node = RawNode::new(&config, log, &slog::Logger::root(slog::Discard, slog::o!()))?;
        let mut replica = Replica { node, registry, logged: 0, snapshot_after };
        // The only voter: the election is won at once, and the entry of the new term commits the old ones.
        replica.node.campaign()?;
        replica.drive(None)?;
        if replica.node.raft.state != StateRole::Leader {
            return Err(raft::Error::ProposalDropped.into());
        }
        Ok(replica)
    }

    /// The registry as of the last batch.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Writes `operations` as one log entry and applies them. When it returns they are on disk for good.
    pub fn commit(&mut self, operations: Vec<Operation>) -> Result<Outcomes, ReplicaError> {
        let batch = Batch { operations };
        self.node.propose(Vec::new(), batch.encode_to_vec())?;
        let index = self.node.raft.raft_log.last_index();
        let outcomes = self.drive(Some(index))?.ok_or(ReplicaError::NotCommitted { index })?;
        self.node.mut_store().acknowledge(index)?;
        self.snapshot_if_due()?;
        Ok(outcomes)
    }

    /// Carries out what Raft asks for: first the disk, then the state machine. There is nobody to send to.
    fn drive(&mut self, awaited: Option<u64>) -> Result<Option<Outcomes>, ReplicaError> {
        let mut outcomes = None;
        while self.node.has_ready() {
            let mut ready = self.node.ready();
            if !ready.entries().is_empty() || ready.hs().is_some() {
                self.logged += ready.entries().iter().map(|entry| entry.data.len()).sum::<usize>();
                let (entries, hard_state) = (ready.take_entries(), ready.hs().cloned());
                self.node.mut_store().persist(&entries, hard_state.as_ref())?;
            }
            self.apply(ready.take_committed_entries(), awaited, &mut outcomes)?;
            let mut light = self.node.advance(ready);
            if let Some(commit) = light.commit_index() {
                self.node.mut_store().set_commit(commit);
            }
            self.apply(light.take_committed_entries(), awaited, &mut outcomes)?;
            self.node.advance_apply();
        }
        Ok(outcomes)
    }

    fn apply(
        &mut self,
        entries: Vec<Entry>,
        awaited: Option<u64>,
        outcomes: &mut Option<Outcomes>,
    ) -> Result<(), ReplicaError> {
        for entry in entries {
            // A new term begins with an empty entry.
            if entry.get_entry_type() != EntryType::EntryNormal || entry.data.is_empty() {
                continue;
            }
            let batch = Batch::decode(entry.data.as_ref()).map_err(|error| {
                self.node
                    .store()
                    .corrupt(format!("entry {} is not a batch of operations ({error})", entry.index))
            })?;
            let results = batch.operations.iter().map(|operation| self.registry.apply(operation)).collect();
            if awaited == Some(entry.index) {
                *outcomes = Some(results);
            }
        }
        Ok(())
    }

    /// Replaces the log by a snapshot once it is half as long as one, so that disk and restart stay
    /// proportional to the registry, and writing snapshots to the operations.
    fn snapshot_if_due(&mut self) -> Result<(), ReplicaError> {
        if self.logged < self.snapshot_after {
            return Ok(());
        }
        let registry = self.registry.to_proto().encode_to_vec();
        if 2 * self.logged < registry.len() {
            return Ok(());
        }
        let index = self.node.raft.raft_log.applied;
        let term = self.node.raft.raft_log.term(index)?;
        self.node.mut_store().store_snapshot(index, term, registry)?;
        self.logged = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use api::v1::{AgentId, AgentInfo};

    use super::super::operation::Kind;
    use super::*;

    fn admit(n: usize) -> Operation {
        let id = Some(AgentId { value: format!("agent-{n:04}") });
        Kind::AdmitAgent(AgentInfo { hostname: "host".into(), id, ..Default::default() }).into()
    }

    fn names(replica: &Replica) -> Vec<String> {
        replica.registry().admitted().map(|(id, _)| id.value.clone()).collect()
    }

    #[test]
    fn what_was_acknowledged_is_there_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let mut expected = Vec::new();
        for n in 0..5 {
            let mut replica = Replica::open(dir.path()).unwrap();
            assert_eq!(names(&replica), expected);
            let outcomes = replica.commit(vec![admit(n), admit(n)]).unwrap();
            assert_eq!(outcomes[0], Ok(()));
            assert!(matches!(outcomes[1], Err(Refused::AlreadyAdmitted(_))));
            expected.push(format!("agent-{n:04}"));
        }
    }

    fn copy(from: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let target = to.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                copy(&entry.path(), &target);
            } else {
                fs::copy(entry.path(), target).unwrap();
            }
        }
    }

    #[test]
    fn a_crash_loses_nothing_that_was_acknowledged() {
        let dir = tempfile::tempdir().unwrap();
        let mut replica = Replica::open_with(dir.path(), 200).unwrap();
        for n in 0..60 {
            replica.commit(vec![admit(n)]).unwrap();
            if n % 7 == 0 {
                // The files as a crash would leave them: nothing was closed, flushed or shortened.
                let crashed = tempfile::tempdir().unwrap();
                copy(dir.path(), crashed.path());
                let restarted = Replica::open(crashed.path()).unwrap();
                assert_eq!(names(&restarted).len(), n + 1);
                assert_eq!(restarted.registry(), replica.registry());
            }
        }
    }

    #[test]
    fn snapshots_bound_the_log() {
        let dir = tempfile::tempdir().unwrap();
        let mut replica = Replica::open_with(dir.path(), 100).unwrap();
        for n in 0..200 {
            replica.commit(vec![admit(n)]).unwrap();
        }
        let log = replica.node.store();
        let kept = log.latest_snapshot().index;
        assert!(kept > 50, "the last snapshot is at {kept}");
        drop(replica);
        let replica = Replica::open_with(dir.path(), 100).unwrap();
        assert_eq!(names(&replica).len(), 200);
    }

    /// The files of the log proper, newest last.
    fn log_files(dir: &Path) -> Vec<std::path::PathBuf> {
        let mut files: Vec<_> = fs::read_dir(dir.join("log"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "raftlog"))
            .collect();
        files.sort();
        files
    }

    #[test]
    fn a_log_that_lost_its_end_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mut replica = Replica::open(dir.path()).unwrap();
        for n in 0..5 {
            replica.commit(vec![admit(n)]).unwrap();
        }
        drop(replica);
        let file = log_files(dir.path()).pop().unwrap();
        let length = fs::metadata(&file).unwrap().len();
        fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(length - 150).unwrap();
        let error = Replica::open(dir.path()).err().expect("a shortened log must not open").to_string();
        assert!(error.contains("had been acknowledged"), "{error}");
    }

    #[test]
    fn a_log_with_a_flipped_byte_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mut replica = Replica::open(dir.path()).unwrap();
        for n in 0..20 {
            replica.commit(vec![admit(n)]).unwrap();
        }
        drop(replica);
        let file = log_files(dir.path()).pop().unwrap();
        let mut bytes = fs::read(&file).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x10;
        fs::write(&file, bytes).unwrap();
        let error = Replica::open(dir.path()).err().expect("a corrupt log must not open").to_string();
        assert!(error.contains("corrupt"), "{error}");
    }

    #[test]
    fn a_torn_write_nobody_was_told_of_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let mut replica = Replica::open(dir.path()).unwrap();
        replica.commit(vec![admit(0)]).unwrap();
        drop(replica);
        let file = log_files(dir.path()).pop().unwrap();
        let mut bytes = fs::read(&file).unwrap();
        bytes.extend([7; 33]);
        fs::write(&file, bytes).unwrap();
        let replica = Replica::open(dir.path()).unwrap();
        assert_eq!(names(&replica), ["agent-0000"]);
    }
}
