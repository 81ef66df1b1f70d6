//! What follows from events: what to write, what to send, what takes effect.

use std::sync::Arc;

use prost::Message as _;
use raft::StateRole;
use raft::eraftpb::{Entry, EntryType, MessageType};

use super::super::disk::{StoredSnapshot, Write};
use super::super::machine::{Image, Machine};
use super::super::rounds::Rounds;
use super::{Applied, Member, MemberError, Output, SnapshotJob, SnapshotMade, Unwritten};
use crate::registry::operation::{Batch, Kind};

impl Member {
    /// What is to be done now. To be asked for after every event.
    pub fn output(&mut self) -> Result<Output, MemberError> {
        let mut output = Output::default();
        loop {
            while self.node.has_ready() {
                self.take_ready(&mut output)?;
            }
            if self.leave_joint() {
                continue;
            }
            if self.writing.is_some() {
                break;
            }
            let Some(mut next) = self.unwritten.take() else { break };
            if next.write.is_empty() {
                self.follow_up(next);
                continue;
            }
            // The commit index goes along with whatever is written.
            next.write.hard_state = Some(self.node.store().hard_state.clone());
            output.write = Some(std::mem::take(&mut next.write));
            self.writing = Some(next);
            break;
        }
        output.messages.append(&mut self.outbox);
        Ok(output)
    }

    fn take_ready(&mut self, output: &mut Output) -> Result<(), MemberError> {
        let mut ready = self.node.ready();
        let messages = ready.take_messages();
        if messages.iter().any(|message| message.get_msg_type() == MessageType::MsgTimeoutNow) {
            self.rounds.give_up();
        }
        output.messages.extend(messages);
        let unwritten = self.unwritten.get_or_insert_default();
        unwritten.ready = ready.number();
        unwritten.messages.extend(ready.take_persisted_messages());

        if !ready.snapshot().is_empty() {
            let metadata = ready.snapshot().get_metadata();
            let image = Image::decode(ready.snapshot().data.as_ref())
                .map_err(|error| MemberError::Unreadable(format!("a snapshot cannot be read ({error})")))?;
            self.machine = Arc::new(Machine::from_image(&image).map_err(MemberError::Unreadable)?);
            let snapshot = StoredSnapshot {
                index: metadata.index,
                term: metadata.term,
                own: self.node.raft.id,
                ..StoredSnapshot::of(image)
            }
            .with_conf_state(metadata.get_conf_state());
            self.n_changes += 1;
            unwritten.installed = Some(snapshot.index);
            unwritten.write.append(Write { install: Some(snapshot.clone()), ..Write::default() });
            self.node.mut_store().install(snapshot);
            self.logged = 0;
        }
        let entries = ready.take_entries();
        self.logged += entries.iter().map(|entry| entry.data.len()).sum::<usize>();
        let hard_state = ready.hs().cloned();
        let written = hard_state.clone().filter(|_| ready.must_sync());
        unwritten.write.append(Write { entries: entries.clone(), hard_state: written, ..Write::default() });
        let store = self.node.mut_store();
        store.append(entries);
        if let Some(hard_state) = hard_state {
            store.hard_state = hard_state;
        }

        let (committed, reads) = (ready.take_committed_entries(), ready.take_read_states());
        self.node.advance_append_async(ready);
        for read in reads {
            if self.rounds.term == self.node.raft.term {
                self.rounds.answered(&read.request_ctx);
            }
        }
        if let Some(last) = committed.last().map(|entry| entry.index) {
            self.apply(committed, output)?;
            self.node.advance_apply_to(last);
        }
        Ok(())
    }

    pub(super) fn follow_up(&mut self, written: Unwritten) {
        self.node.on_persist_ready(written.ready);
        if let Some(index) = written.installed {
            self.node.advance_apply_to(index);
        }
        self.outbox.extend(written.messages);
    }

    fn apply(&mut self, entries: Vec<Entry>, output: &mut Output) -> Result<(), MemberError> {
        for entry in entries {
            let (index, term) = (entry.index, entry.term);
            if self.node.raft.state == StateRole::Leader
                && term == self.node.raft.term
                && self.led != Some(term)
            {
                self.led = Some(term);
                self.rounds = Rounds::of(term);
                // Whether others know of the last change of the group, this leader has yet to hear.
                self.changed_at = self.changed_at.max(index);
                self.extend_lease();
            }
            match entry.get_entry_type() {
                EntryType::EntryNormal => {}
                EntryType::EntryConfChangeV2 => {
                    self.change_group(&entry)?;
                    continue;
                }
                EntryType::EntryConfChange => {
                    let why = format!("entry {index} changes the group in a way no master does");
                    return Err(MemberError::Unreadable(why));
                }
            }
            if !entry.context.is_empty() {
                self.member_moved(&entry)?;
            }
            // A new term begins with an empty entry.
            if entry.data.is_empty() {
                continue;
            }
            let batch = Batch::decode(entry.data.as_ref()).map_err(|error| {
                MemberError::Unreadable(format!("entry {index} is not a batch of operations ({error})"))
            })?;
            if batch.operations.iter().any(|operation| matches!(operation.kind, Some(Kind::Recover(_)))) {
                self.n_changes += 1;
            }
            let outcomes = Arc::make_mut(&mut self.machine).apply(&batch, index, term);
            output.applied.push(Applied { index, term, outcomes });
        }
        Ok(())
    }

    /// Sends a heartbeat whose answers will tell that a majority was with this leader now.
    pub(super) fn extend_lease(&mut self) {
        if self.is_alone() || !self.has_begun() {
            return;
        }
        if let Some(mark) = self.rounds.begin(self.now) {
            self.node.read_index(mark);
        }
    }

    /// A snapshot to be made, if it is time: when the log is half as long as one, so that disk and restart stay
    /// proportional to the registry, and writing snapshots to the operations.
    pub fn snapshot_due(&mut self) -> Option<SnapshotJob> {
        let index = self.applied();
        let snapshot = &self.node.store().snapshot;
        let size = snapshot.registry.len() + snapshot.recent.len();
        let long = self.logged >= self.snapshot_after && 2 * self.logged >= size;
        // The first one says who the members are; whoever joins begins with one.
        let first = snapshot.index == 0 && !self.machine.members().by_id.is_empty();
        let due = long || first || self.node.store().wants_snapshot();
        if self.making_snapshot || !due || index <= snapshot.index {
            return None;
        }
        let term = self.node.raft.raft_log.term(index).ok()?;
        self.making_snapshot = true;
        self.logged = 0;
        let conf_state = self.node.raft.prs().conf().to_conf_state();
        Some(SnapshotJob { index, term, conf_state, machine: Arc::clone(&self.machine) })
    }

    /// The snapshot asked for is made; it is written with what is written next.
    pub fn snapshot_made(&mut self, made: SnapshotMade) {
        self.making_snapshot = false;
        let SnapshotMade { index, term, conf_state, image } = made;
        let own = self.node.raft.id;
        let store = self.node.mut_store();
        // One may have come from the leader meanwhile.
        if index <= store.snapshot.index {
            return;
        }
        let snapshot =
            StoredSnapshot { index, term, own, ..StoredSnapshot::of(image) }.with_conf_state(&conf_state);
        store.compact(snapshot.clone());
        let unwritten = self.unwritten.get_or_insert_default();
        unwritten.write.append(Write { compact: Some(snapshot), ..Write::default() });
    }
}
