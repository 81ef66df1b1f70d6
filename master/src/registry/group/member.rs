//! One member of the group: Raft over the log in memory, and the state machine. No I/O, no clock, no threads:
//! events come in, and [`Output`] says what is to be done about them.

use std::collections::VecDeque;
use std::sync::Arc;

use libprocess::Time;
use prost::Message as _;
use protobuf::Message as _;
use raft::eraftpb::{Entry, EntryType, Message, MessageType};
use raft::{Config, RawNode, SnapshotStatus, StateRole};

use super::disk::{Stored, StoredSnapshot, Write};
use super::machine::{Image, Machine, Outcomes};
use super::view::View;
use super::{ELECTION_TICKS, HEARTBEAT_TICKS, LEASE, Seat};
use crate::registry::operation::Batch;

/// Why a member cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum MemberError {
    /// The protocol.
    #[error("the registry's Raft group refused: {0}")]
    Raft(#[from] raft::Error),
    /// The log is another group's.
    #[error(
        "the registry's log belongs to a group of masters {stored:?}, not {given:?}. Start this master as a member of that group, or with an empty directory"
    )]
    OtherGroup {
        /// The members by the log.
        stored: Vec<u64>,
        /// The members as configured.
        given: Vec<u64>,
    },
    /// A committed entry, or a snapshot.
    #[error("the registry's log cannot be used: {0}")]
    Unreadable(String),
    /// This member once had more than it has now.
    #[error(
        "master {leader} says that this master's log reached entry {promised}, but it ends at entry {last} now: its disk lost what it had acknowledged. Remove its directory and add it to the group anew"
    )]
    Forgot {
        /// Who says so.
        leader: u64,
        /// What this member had acknowledged.
        promised: u64,
        /// Where its log ends.
        last: u64,
    },
    /// Two groups, or two lives of one group, met.
    #[error(
        "master {leader} has something else at entry {index} of its log than what this master knows to be committed there: they are not of one group. Remove the directory of the one that does not belong, and add it to the group anew"
    )]
    Diverged {
        /// Whose log differs.
        leader: u64,
        /// Where.
        index: u64,
    },
}

/// A batch that took effect.
#[derive(Debug)]
pub struct Applied {
    /// Its place in the log.
    pub index: u64,
    /// The term of the leader that put it there.
    pub term: u64,
    /// What came of each operation.
    pub outcomes: Outcomes,
}

/// What is to be done, all of it at once.
#[derive(Debug, Default)]
pub struct Output {
    /// To be sent now.
    pub messages: Vec<Message>,
    /// To be made durable; then [`Member::persisted`] is to be called. Only one is under way at a time.
    pub write: Option<Write>,
    /// In the order of the log.
    pub applied: Vec<Applied>,
}

/// A snapshot to be made off the actor; then [`Member::snapshot_made`] is to be called.
pub struct SnapshotJob {
    /// The last entry in it.
    pub index: u64,
    /// The term of that entry.
    pub term: u64,
    /// The machine at that entry.
    pub machine: Arc<Machine>,
}

/// What waits to be durable, and what follows then.
#[derive(Default)]
struct Unwritten {
    /// The newest of Raft's readies in it.
    ready: u64,
    write: Write,
    messages: Vec<Message>,
    /// The index of a snapshot in it.
    installed: Option<u64>,
}

/// Until when the leader may act, by the heartbeats a majority has answered.
#[derive(Default)]
struct Lease {
    term: u64,
    /// Heartbeats under way: number, and when they were sent.
    rounds: VecDeque<(u64, Time)>,
    n_rounds: u64,
    until: Option<Time>,
}

/// One master's part in the group.
pub struct Member {
    node: RawNode<View>,
    alone: bool,
    machine: Arc<Machine>,
    seed: u64,
    now: Time,
    n_ticks: usize,
    /// Ticks since this member began or last heard from a leader. Its vote is promised for a while.
    ticks_since_leader: usize,
    /// The term in which an entry of its own, as leader, was applied.
    led: Option<u64>,
    lease: Lease,
    unwritten: Option<Unwritten>,
    writing: Option<Unwritten>,
    outbox: Vec<Message>,
    /// Bytes of log entries since the last snapshot.
    logged: usize,
    snapshot_after: usize,
    making_snapshot: bool,
}

impl Member {
    /// A member with what its disk holds. A group of one elects itself at once.
    ///
    /// `seed` decides how its patience differs from that of others; at least `snapshot_after` bytes of log are
    /// kept before a snapshot replaces them.
    pub fn new(
        seat: &Seat,
        mut stored: Stored,
        seed: u64,
        snapshot_after: usize,
        now: Time,
    ) -> Result<Member, MemberError> {
        let voters = seat.voters();
        if stored.snapshot.voters.is_empty() {
            stored.snapshot.voters = voters;
        } else if stored.snapshot.voters != voters {
            return Err(MemberError::OtherGroup { stored: stored.snapshot.voters, given: voters });
        }
        let machine = Machine::from_image(&stored.snapshot.image()).map_err(MemberError::Unreadable)?;
        let config = Config {
            id: seat.id,
            applied: stored.snapshot.index,
            election_tick: ELECTION_TICKS,
            heartbeat_tick: HEARTBEAT_TICKS,
            pre_vote: true,
            check_quorum: true,
            // What is under way to one member stays below what a connection holds for a peer that is slow.
            max_size_per_msg: 512 << 10,
            max_inflight_msgs: 64,
            max_uncommitted_size: 64 << 20,
            ..Config::default()
        };
        let logged = stored.entries.iter().map(|entry| entry.data.len()).sum();
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let mut member = Member {
            node: RawNode::new(&config, View::new(stored), &logger)?,
            alone: seat.is_alone(),
            machine: Arc::new(machine),
            seed,
            now,
            n_ticks: 0,
            ticks_since_leader: 0,
            led: None,
            lease: Lease::default(),
            unwritten: None,
            writing: None,
            outbox: Vec::new(),
            logged,
            snapshot_after,
            making_snapshot: false,
        };
        member.draw_patience();
        if member.alone {
            member.node.campaign()?;
        }
        Ok(member)
    }

    /// Time has moved on by a [`TICK`](super::TICK), or more.
    pub fn tick(&mut self, now: Time) {
        self.now = now;
        self.n_ticks += 1;
        self.ticks_since_leader = self.ticks_since_leader.saturating_add(1);
        self.node.tick();
        self.draw_patience();
        if self.n_ticks.is_multiple_of(HEARTBEAT_TICKS) {
            self.extend_lease();
        }
    }

    /// A message of another member, as [`Output::messages`] gave it there. What no member sends is ignored.
    pub fn receive(&mut self, from: u64, bytes: &[u8], now: Time) -> Result<(), MemberError> {
        match Message::parse_from_bytes(bytes) {
            Ok(message) if message.from == from && message.to == self.node.raft.id => self.step(message, now),
            _ => Ok(()),
        }
    }

    fn step(&mut self, message: Message, now: Time) -> Result<(), MemberError> {
        self.now = now;
        let (leader, term, commit) = (message.from, message.term, message.commit);
        let last = self.node.raft.raft_log.last_index();
        let of_leader = match message.get_msg_type() {
            MessageType::MsgRequestVote | MessageType::MsgRequestPreVote => {
                // Raft keeps this promise only while it remembers the leader. It forgets it by a restart, and by
                // the news of a higher term, while the leader's lease goes on.
                if self.ticks_since_leader < ELECTION_TICKS {
                    return Ok(());
                }
                false
            }
            MessageType::MsgHeartbeat => {
                if term >= self.node.raft.term && commit > last {
                    return Err(MemberError::Forgot { leader, promised: commit, last });
                }
                true
            }
            MessageType::MsgAppend => {
                if term >= self.node.raft.term
                    && let Some(index) = self.contradiction(&message)
                {
                    return Err(MemberError::Diverged { leader, index });
                }
                true
            }
            MessageType::MsgSnapshot => true,
            MessageType::MsgAppendResponse
            | MessageType::MsgHeartbeatResponse
            | MessageType::MsgRequestVoteResponse
            | MessageType::MsgRequestPreVoteResponse => false,
            _ => return Ok(()),
        };
        match self.node.step(message) {
            Ok(()) | Err(raft::Error::StepPeerNotFound) => {}
            Err(error) => return Err(error.into()),
        }
        if of_leader && term >= self.node.raft.term {
            self.ticks_since_leader = 0;
        }
        self.draw_patience();
        Ok(())
    }

    /// The first committed entry that the message wants to be another one.
    fn contradiction(&self, message: &Message) -> Option<u64> {
        let log = &self.node.raft.raft_log;
        let known = message.entries.iter().take_while(|entry| entry.index <= log.committed);
        // What is in a snapshot cannot be compared any more.
        let mut known = known.filter(|entry| entry.index >= log.first_index());
        known.find(|entry| !log.match_term(entry.index, entry.term)).map(|entry| entry.index)
    }

    /// Appends a batch to the log, as leader; gives its index and term. `None` when it cannot be appended now,
    /// for this member does not lead, or too much waits for a majority.
    pub fn propose(&mut self, batch: &Batch) -> Option<(u64, u64)> {
        self.node.propose(Vec::new(), batch.encode_to_vec()).ok()?;
        Some((self.node.raft.raft_log.last_index(), self.node.raft.term))
    }

    /// The write of the last [`Output`] is durable.
    pub fn persisted(&mut self) {
        if let Some(written) = self.writing.take() {
            self.follow_up(written);
        }
    }

    /// A snapshot message that [`Output::messages`] gave has arrived, or was given up.
    pub fn snapshot_sent(&mut self, to: u64, arrived: bool) {
        let status = if arrived { SnapshotStatus::Finish } else { SnapshotStatus::Failure };
        self.node.report_snapshot(to, status);
    }

    /// The connection to a member is lost.
    pub fn unreachable(&mut self, id: u64) {
        self.node.report_unreachable(id);
    }

    /// What is to be done now. To be asked for after every event.
    pub fn output(&mut self) -> Result<Output, MemberError> {
        let mut output = Output::default();
        loop {
            while self.node.has_ready() {
                self.take_ready(&mut output)?;
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
        output.messages.extend(ready.take_messages());
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
                voters: metadata.get_conf_state().voters.clone(),
                registry: image.registry,
                recent: image.recent,
                region: 0,
            };
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
            self.majority_answered(&read.request_ctx);
        }
        if let Some(last) = committed.last().map(|entry| entry.index) {
            self.apply(committed, output)?;
            self.node.advance_apply_to(last);
        }
        Ok(())
    }

    fn follow_up(&mut self, written: Unwritten) {
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
                self.lease = Lease { term, ..Lease::default() };
                self.extend_lease();
            }
            if entry.get_entry_type() != EntryType::EntryNormal {
                let why = format!("entry {index} changes the group, which this master cannot do");
                return Err(MemberError::Unreadable(why));
            }
            // A new term begins with an empty entry.
            if entry.data.is_empty() {
                continue;
            }
            let batch = Batch::decode(entry.data.as_ref()).map_err(|error| {
                MemberError::Unreadable(format!("entry {index} is not a batch of operations ({error})"))
            })?;
            let outcomes = Arc::make_mut(&mut self.machine).apply(&batch, index, term);
            output.applied.push(Applied { index, term, outcomes });
        }
        Ok(())
    }

    /// Sends a heartbeat whose answers will tell that a majority was with this leader now.
    fn extend_lease(&mut self) {
        let term = self.node.raft.term;
        if self.alone || self.node.raft.state != StateRole::Leader || self.led != Some(term) {
            return;
        }
        self.lease.n_rounds += 1;
        self.lease.rounds.push_back((self.lease.n_rounds, self.now));
        self.node.read_index(self.lease.n_rounds.to_be_bytes().to_vec());
    }

    fn majority_answered(&mut self, round: &[u8]) {
        let Ok(round) = round.try_into().map(u64::from_be_bytes) else { return };
        if self.lease.term != self.node.raft.term {
            return;
        }
        while let Some(&(number, sent)) = self.lease.rounds.front()
            && number <= round
        {
            self.lease.rounds.pop_front();
            if number == round {
                self.lease.until = Some(sent + LEASE);
            }
        }
    }

    /// raft-rs draws from the thread's generator; a simulation has to replay.
    fn draw_patience(&mut self) {
        let mut hash = self.seed ^ self.node.raft.term.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let more = (hash >> 31) as usize % ELECTION_TICKS;
        self.node.raft.set_randomized_election_timeout(ELECTION_TICKS + more);
    }

    /// Whether this member leads, and may act as leader at that moment: its own term has begun in the registry,
    /// and no other member can have been elected yet.
    pub fn leads(&self, now: Time) -> bool {
        self.lease_until().is_some_and(|until| now < until)
    }

    /// Until when this member may act as leader; `None` when it does not lead, or not yet.
    pub fn lease_until(&self) -> Option<Time> {
        match () {
            () if !self.has_begun() => None,
            () if self.alone => Some(Time::from_nanos(u64::MAX)),
            () => self.lease.until,
        }
    }

    /// Whether it leads, and its own term has begun in the registry.
    pub fn has_begun(&self) -> bool {
        self.is_raft_leader() && self.led == Some(self.node.raft.term)
    }

    /// How far that member's log is known to be like this one's; only a leader knows.
    pub fn matched(&self, id: u64) -> Option<u64> {
        let progress = self.node.raft.prs().get(id).filter(|_| self.is_raft_leader())?;
        Some(progress.matched)
    }

    /// Whether Raft has made it leader, in whatever state.
    pub fn is_raft_leader(&self) -> bool {
        self.node.raft.state == StateRole::Leader
    }

    /// Who leads, as far as this member knows; possibly itself.
    pub fn leader(&self) -> Option<u64> {
        Some(self.node.raft.leader_id).filter(|id| *id != 0)
    }

    /// The newest term it knows.
    pub fn term(&self) -> u64 {
        self.node.raft.term
    }

    /// Up to where the log has taken effect here.
    pub fn applied(&self) -> u64 {
        self.node.raft.raft_log.applied
    }

    /// Whether a write is under way.
    pub fn is_writing(&self) -> bool {
        self.writing.is_some()
    }

    /// The registry and what belongs to it.
    pub fn machine(&self) -> &Arc<Machine> {
        &self.machine
    }

    /// The entries of the log that are still in memory.
    pub fn entries(&self) -> &[Entry] {
        self.node.store().entries()
    }

    /// A snapshot to be made, if it is time: when the log is half as long as one, so that disk and restart stay
    /// proportional to the registry, and writing snapshots to the operations.
    pub fn snapshot_due(&mut self) -> Option<SnapshotJob> {
        let index = self.applied();
        let snapshot = &self.node.store().snapshot;
        let size = snapshot.registry.len() + snapshot.recent.len();
        if self.making_snapshot
            || self.logged < self.snapshot_after
            || 2 * self.logged < size
            || index <= snapshot.index
        {
            return None;
        }
        let term = self.node.raft.raft_log.term(index).ok()?;
        self.making_snapshot = true;
        self.logged = 0;
        Some(SnapshotJob { index, term, machine: Arc::clone(&self.machine) })
    }

    /// The snapshot asked for is made; it is written with what is written next.
    pub fn snapshot_made(&mut self, index: u64, term: u64, image: Image) {
        self.making_snapshot = false;
        let store = self.node.mut_store();
        // One may have come from the leader meanwhile.
        if index <= store.snapshot.index {
            return;
        }
        let snapshot = StoredSnapshot {
            index,
            term,
            voters: store.snapshot.voters.clone(),
            registry: image.registry,
            recent: image.recent,
            region: 0,
        };
        store.compact(snapshot.clone());
        let unwritten = self.unwritten.get_or_insert_default();
        unwritten.write.append(Write { compact: Some(snapshot), ..Write::default() });
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use raft::eraftpb::HardState;

    use super::*;

    /// Member 2 of three: entries 1 to 3 of term 1, of which two are committed.
    fn member() -> Member {
        let seat = Seat { id: 2, members: BTreeMap::from([(1, None), (2, None), (3, None)]) };
        let entries = (1..=3).map(|index| Entry { index, term: 1, ..Default::default() }).collect();
        let hard_state = HardState { term: 1, commit: 2, ..Default::default() };
        let stored = Stored { hard_state, entries, ..Default::default() };
        Member::new(&seat, stored, 7, 1 << 20, Time::default()).unwrap()
    }

    fn message(kind: MessageType, term: u64, change: impl FnOnce(&mut Message)) -> Vec<u8> {
        let mut message = Message { from: 1, to: 2, term, ..Default::default() };
        message.set_msg_type(kind);
        change(&mut message);
        message.write_to_bytes().unwrap()
    }

    fn answers(member: &mut Member) -> Vec<(MessageType, bool)> {
        let mut answers = Vec::new();
        loop {
            let output = member.output().unwrap();
            answers.extend(output.messages.iter().map(|message| (message.get_msg_type(), message.reject)));
            if output.write.is_none() {
                return answers;
            }
            member.persisted();
        }
    }

    #[test]
    fn a_vote_is_not_given_before_a_promise_of_the_life_before_has_ended() {
        let mut member = member();
        let vote = |term| {
            message(MessageType::MsgRequestVote, term, |message| {
                message.index = 3;
                message.log_term = 1;
            })
        };
        for term in 2..2 + ELECTION_TICKS as u64 {
            member.receive(1, &vote(term), Time::default()).unwrap();
            assert_eq!(answers(&mut member), []);
            member.tick(Time::default());
        }
        member.receive(1, &vote(50), Time::default()).unwrap();
        assert!(answers(&mut member).contains(&(MessageType::MsgRequestVoteResponse, false)));
    }

    #[test]
    fn an_answer_waits_for_the_disk() {
        let mut member = member();
        let append = message(MessageType::MsgAppend, 1, |message| {
            (message.index, message.log_term, message.commit) = (3, 1, 4);
            message.entries.push(Entry { index: 4, term: 1, ..Default::default() });
        });
        member.receive(1, &append, Time::default()).unwrap();
        let output = member.output().unwrap();
        assert_eq!(output.messages, []);
        assert_eq!(output.write.map(|write| write.entries.len()), Some(1));
        assert_eq!(member.applied(), 3, "what is durable here and committed there takes effect");
        member.persisted();
        assert!(answers(&mut member).contains(&(MessageType::MsgAppendResponse, false)));
        assert_eq!(member.applied(), 4);
    }

    #[test]
    fn a_disk_that_forgot_and_a_leader_of_another_group_are_told() {
        let heartbeat = message(MessageType::MsgHeartbeat, 1, |message| message.commit = 9);
        let error = member().receive(1, &heartbeat, Time::default()).unwrap_err().to_string();
        assert!(error.contains("reached entry 9, but it ends at entry 3"), "{error}");

        let append = message(MessageType::MsgAppend, 2, |message| {
            (message.index, message.log_term) = (1, 1);
            message.entries.push(Entry { index: 2, term: 2, ..Default::default() });
        });
        let error = member().receive(1, &append, Time::default()).unwrap_err().to_string();
        assert!(error.contains("something else at entry 2"), "{error}");
    }

    #[test]
    fn what_no_member_sends_is_ignored() {
        let mut member = member();
        let from_3 = message(MessageType::MsgHeartbeat, 1, |message| message.from = 3);
        let proposal = message(MessageType::MsgPropose, 0, |message| message.entries.push(Entry::default()));
        for bytes in [&from_3[..], &proposal, &[7; 40], &[]] {
            member.receive(1, bytes, Time::default()).unwrap();
        }
        assert_eq!(answers(&mut member), []);
    }
}
