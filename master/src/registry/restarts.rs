//! A group of one on a real disk: what a restart finds after a crash, a torn write, or worse.

use std::fs;
use std::path::Path;

use api::v1::{AgentId, AgentInfo};
use libprocess::Time;

use super::group::{Disk, Member, Outcomes, Seat};
use super::log::Log;
use super::operation::{Batch, Kind, Operation};
use super::state::{Refused, Registry};

/// A member with its log, driven to the end of what it has to do.
struct Replica {
    member: Member,
    log: Log,
}

type Failure = Box<dyn std::error::Error>;

impl Replica {
    fn open(path: &Path) -> Result<Self, Failure> {
        Self::open_with(path, 1 << 20)
    }

    fn open_with(path: &Path, snapshot_after: usize) -> Result<Self, Failure> {
        let seat = Seat::alone();
        let (log, stored) = Log::open(path, &seat.voters())?;
        let member = Member::new(&seat, stored, 7, snapshot_after, Time::default())?;
        let mut replica = Replica { member, log };
        replica.drive()?;
        assert!(replica.member.leads(Time::default()), "a group of one elects itself");
        Ok(replica)
    }

    fn drive(&mut self) -> Result<Vec<Outcomes>, Failure> {
        let mut outcomes = Vec::new();
        loop {
            let output = self.member.output()?;
            outcomes.extend(output.applied.into_iter().map(|applied| applied.outcomes));
            let written = output.write.is_some();
            if let Some(write) = output.write {
                self.log.submit(write)()?;
                self.member.persisted();
            }
            let job = self.member.snapshot_due();
            let none = job.is_none();
            if let Some(job) = job {
                self.member.snapshot_made(job.make());
            }
            if !written && none {
                return Ok(outcomes);
            }
        }
    }

    fn commit(&mut self, operations: Vec<Operation>) -> Result<Outcomes, Failure> {
        self.member.propose(&Batch { operations }).ok_or("not the leader")?;
        Ok(self.drive()?.pop().ok_or("not committed")?)
    }

    fn registry(&self) -> &Registry {
        self.member.machine().registry()
    }
}

fn admit(n: usize) -> Operation {
    let id = Some(AgentId::from(format!("agent-{n:04}")));
    Kind::AdmitAgent(AgentInfo { hostname: "host".into(), id, ..Default::default() }).into()
}

fn names(replica: &Replica) -> Vec<String> {
    replica.registry().admitted().map(|(id, _)| id.to_string()).collect()
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
    drop(replica);
    let (log, stored) = Log::open(dir.path(), &[1]).unwrap();
    let kept = stored.snapshot.index;
    assert!(kept > 50, "the last snapshot is at {kept}");
    drop(log);
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

#[test]
fn a_snapshot_of_the_leader_replaces_a_longer_log_at_once() {
    use super::group::{StoredSnapshot, Write};
    use raft::eraftpb::{Entry, HardState};

    let entries = |term, from: u64, to: u64| -> Vec<Entry> {
        (from..=to).map(|index| Entry { index, term, ..Default::default() }).collect()
    };
    let shape = |dir: &Path| {
        let (_, stored) = Log::open(dir, &[1, 2, 3]).unwrap();
        let entries: Vec<_> = stored.entries.iter().map(|entry| (entry.index, entry.term)).collect();
        (stored.snapshot.index, entries, stored.snapshot.voters)
    };
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = Log::open(dir.path(), &[1, 2, 3]).unwrap();
    let hard_state = Some(HardState { term: 1, ..Default::default() });
    log.submit(Write { entries: entries(1, 1, 9), hard_state, ..Default::default() })().unwrap();
    // Entries that never were committed give way, also to fewer.
    log.submit(Write { entries: entries(2, 8, 8), ..Default::default() })().unwrap();
    for index in [5, 20, 30] {
        let snapshot = StoredSnapshot { index, term: 3, voters: vec![1, 2, 3], ..Default::default() };
        let entries = entries(3, index + 1, index + 2);
        log.submit(Write { install: Some(snapshot), entries, ..Default::default() })().unwrap();
        let crashed = tempfile::tempdir().unwrap();
        copy(dir.path(), crashed.path());
        assert_eq!(shape(crashed.path()), (index, vec![(index + 1, 3), (index + 2, 3)], vec![1, 2, 3]));
    }
    drop(log);
    assert_eq!(shape(dir.path()), (30, vec![(31, 3), (32, 3)], vec![1, 2, 3]));
}

/// Three registrars on nodes and disks of their own: whoever leads has what was acknowledged by the one before.
#[test]
fn the_next_leader_has_what_the_last_one_acknowledged() {
    use libprocess::{Id, Node};
    use std::collections::BTreeMap;
    use std::sync::mpsc;
    use std::time::Duration;

    use super::{Founding, Registrar, RegistrarError, Storage};

    let deadline = Duration::from_secs(20);
    let dirs: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    let mut nodes: BTreeMap<usize, Node> =
        (0..3).map(|n| (n, Node::builder().listen("127.0.0.1:0").start().unwrap())).collect();
    let at = |node: &Node| format!("registrar(1)@{}", node.address()).parse().ok();
    let members: BTreeMap<_, _> = nodes.iter().map(|(n, node)| (*n as u64 + 1, at(node))).collect();
    let (elected, elections) = mpsc::channel();
    let pids: Vec<_> = (0..3)
        .map(|n| {
            let seat = Seat { id: n as u64 + 1, members: members.clone() };
            let storage = Storage::Directory(dirs[n].path().into());
            let registrar = Registrar::new(storage, Founding::Alone, deadline, deadline).in_group(seat);
            let pid = nodes[&n].spawn(Id::prefix("registrar"), registrar).unwrap();
            let elected = elected.clone();
            let recovered =
                pid.dispatch(|registrar, ctx| registrar.recover(Default::default(), ctx)).flatten();
            recovered.settled(move |registry| {
                if let Ok(Ok(registry)) = registry {
                    elected.send((n, registry)).ok();
                }
            });
            pid
        })
        .collect();

    let mut acknowledged = Vec::new();
    for round in 0..2 {
        let (leader, registry) = elections.recv_timeout(deadline).expect("somebody leads");
        let there: Vec<_> = registry.admitted().map(|(id, _)| id.to_string()).collect();
        let missing: Vec<_> = acknowledged.iter().filter(|id| !there.contains(*id)).collect();
        assert!(missing.is_empty(), "acknowledged and not there: {missing:?}");
        let answers: Vec<_> = (100 * round..100 * (round + 1))
            .map(|n| {
                let operation = admit(n);
                let answer =
                    pids[leader].dispatch(move |registrar, ctx| registrar.apply(operation, ctx)).flatten();
                (format!("agent-{n:04}"), answer)
            })
            .collect();
        for (id, answer) in answers {
            match answer.wait(deadline).unwrap() {
                Ok(outcome) => {
                    assert_eq!(outcome, Ok(()));
                    acknowledged.push(id);
                }
                // On a machine that is busy enough it may lose its place before it is taken.
                Err(error) => assert!(matches!(error, RegistrarError::NotLeading { .. }), "{error}"),
            }
        }
        nodes.remove(&leader).unwrap().shutdown().wait(deadline).unwrap();
    }
    assert!(!acknowledged.is_empty());
}

#[test]
fn a_copy_becomes_the_registry_of_a_new_group_of_one() {
    use super::restore::{RestoreError, restore_as};

    let dir = tempfile::tempdir().unwrap();
    // With a snapshot and entries after it, and once with entries alone.
    for (name, snapshot_after) in [("old", 400), ("older", 1 << 20)] {
        let (old, new) = (dir.path().join(name), dir.path().join(format!("new-{name}")));
        let mut replica = Replica::open_with(&old, snapshot_after).unwrap();
        for n in 0..20 {
            replica.commit(vec![admit(n)]).unwrap();
        }
        let registry = replica.registry().clone();
        drop(replica);
        // What an attempt before left, which did not come to its end.
        drop(Log::open(&dir.path().join(format!("new-{name}.restoring")), &[9]).unwrap());
        let restored = restore_as(&old, &new, "m1:5050", (77, 7)).unwrap();
        assert_eq!(restored, registry);
        for life in 0..2 {
            let mut replica = Replica::open(&new).unwrap();
            assert_eq!(names(&replica).len(), 20 + life);
            let members = replica.member.machine().members();
            assert_eq!((members.group, members.by_id.clone()), (77, [(7, "m1:5050".to_owned())].into()));
            replica.commit(vec![admit(20 + life)]).unwrap();
        }
        assert_eq!(names(&Replica::open(&old).unwrap()).len(), 20, "the copy is as it was");
        let again = restore_as(&old, &new, "m1:5050", (78, 8));
        assert!(matches!(again, Err(RestoreError::Occupied(_))), "{again:?}");
    }
    let (nothing, target) = (dir.path().join("nothing"), dir.path().join("target"));
    let empty = restore_as(&nothing, &target, "m1:5050", (1, 2));
    assert!(matches!(empty, Err(RestoreError::Empty(_))), "{empty:?}");
    assert!(!nothing.exists() && !target.exists());
}
