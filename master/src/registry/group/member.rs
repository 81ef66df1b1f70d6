//! One member of the group: Raft over the log in memory, and the state machine. No I/O, no clock, no threads:
//! events come in, and [`Output`] says what is to be done about them.

mod change;
mod ready;
mod state;

use std::sync::Arc;

use libprocess::Time;
use prost::Message as _;
use raft::eraftpb::{ConfState, Message, MessageType};
use raft::{CAMPAIGN_TRANSFER, Config, RawNode, SnapshotStatus};

use super::disk::{Stored, Write};
use super::machine::{Image, Machine, Outcomes};
use super::plausible::is_plausible;
use super::rounds::Rounds;
use super::view::View;
use super::{ELECTION_TICKS, HEARTBEAT_TICKS, Seat};
use crate::registry::operation::Batch;

pub use change::GroupChange;
pub use state::Role;

/// Why a member cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum MemberError {
    /// The protocol.
    #[error("the registry's Raft group refused: {0}")]
    Raft(#[from] raft::Error),
    /// A committed entry, or a snapshot.
    #[error("the registry's log cannot be used: {0}")]
    Unreadable(String),
    /// This member once had more than it has now.
    #[error(
        "master {leader} says that this master's log reached entry {promised}, but it ends at entry {last} now: its disk lost what it had acknowledged. Remove its directory and add it to the group anew"
    )]
    Forgot {
        /// Who says so.
        leader: String,
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
        leader: String,
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
    /// Who votes at that entry.
    pub conf_state: ConfState,
    /// The machine at that entry.
    pub machine: Arc<Machine>,
}

impl SnapshotJob {
    /// Makes it. What takes long is done here.
    pub fn make(self) -> SnapshotMade {
        let SnapshotJob { index, term, conf_state, machine } = self;
        SnapshotMade { index, term, conf_state, image: machine.to_image() }
    }
}

/// A snapshot that was made.
pub struct SnapshotMade {
    index: u64,
    term: u64,
    conf_state: ConfState,
    image: Image,
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

/// One master's part in the group.
pub struct Member {
    node: RawNode<View>,
    machine: Arc<Machine>,
    seed: u64,
    now: Time,
    n_ticks: usize,
    /// Ticks since this member began or last heard from a leader. Its vote is promised for a while.
    ticks_since_leader: usize,
    /// The term in which an entry of its own, as leader, was applied.
    led: Option<u64>,
    rounds: Rounds,
    unwritten: Option<Unwritten>,
    writing: Option<Unwritten>,
    outbox: Vec<Message>,
    /// Bytes of log entries since the last snapshot.
    logged: usize,
    snapshot_after: usize,
    making_snapshot: bool,
    /// See [`Member::n_changes`].
    n_changes: u64,
    /// The entry that changed it last.
    changed_at: u64,
    /// The term in which it said where it is.
    announced: u64,
}

impl Member {
    /// A member with what its disk holds; if that says nothing of a group, `seat` does. A group of one elects itself
    /// at once. A disk that was never used makes a member that waits for a leader to send it the group.
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
        let id = stored.own().unwrap_or(seat.id);
        if stored.snapshot.voters.is_empty() {
            stored.snapshot.voters = seat.voters();
        }
        let machine = Machine::from_image(&stored.snapshot.image()).map_err(MemberError::Unreadable)?;
        let config = Config {
            id,
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
        // Whoever promised something to a leader had a term first.
        let ticks_since_leader = if stored.hard_state.term == 0 { ELECTION_TICKS } else { 0 };
        let logged = stored.entries.iter().map(|entry| entry.data.len()).sum();
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let mut member = Member {
            node: RawNode::new(&config, View::new(stored), &logger)?,
            machine: Arc::new(machine),
            seed,
            now,
            n_ticks: 0,
            ticks_since_leader,
            led: None,
            rounds: Rounds::default(),
            unwritten: None,
            writing: None,
            outbox: Vec::new(),
            logged,
            snapshot_after,
            making_snapshot: false,
            n_changes: 0,
            changed_at: 0,
            announced: 0,
        };
        member.draw_patience();
        if member.is_alone() {
            member.node.campaign()?;
        }
        Ok(member)
    }

    /// Stands for election now, instead of when its patience is over.
    pub fn stand(&mut self) -> Result<(), MemberError> {
        self.node.campaign()?;
        self.draw_patience();
        Ok(())
    }

    /// Time has moved on by a [`TICK`](super::TICK), or more.
    pub fn tick(&mut self, now: Time) {
        self.now = now;
        self.n_ticks += 1;
        self.ticks_since_leader = self.ticks_since_leader.saturating_add(1);
        self.node.tick();
        let yielded = self.rounds.has_yielded(self.term());
        if self.is_raft_leader() && yielded && self.node.raft.lead_transferee.is_none() {
            // The lead was offered and not taken. Whether it still will be is not known.
            self.step_down();
        }
        self.draw_patience();
        if self.n_ticks.is_multiple_of(HEARTBEAT_TICKS) {
            self.extend_lease();
        }
    }

    /// A message of another member, as [`Output::messages`] gave it there. What no member sends is ignored.
    pub fn receive(&mut self, message: Message, now: Time) -> Result<(), MemberError> {
        let (from, own) = (message.from, self.id());
        if message.to == own && from != own && from != 0 { self.step(message, now) } else { Ok(()) }
    }

    fn step(&mut self, message: Message, now: Time) -> Result<(), MemberError> {
        self.now = now;
        let (from, term, commit) = (message.from, message.term, message.commit);
        let last = self.node.raft.raft_log.last_index();
        if !is_plausible(&message, last, self.is_raft_leader()) {
            return Ok(());
        }
        let of_leader = match message.get_msg_type() {
            MessageType::MsgRequestVote | MessageType::MsgRequestPreVote => {
                // Raft keeps this promise only while it remembers the leader. It forgets it by a restart, and by
                // the news of a higher term, while the leader's lease goes on.
                // A candidate that a leader has offered its lead to is another matter: that leader gave up acting for
                // the rest of its term first.
                if self.ticks_since_leader < ELECTION_TICKS && message.context != CAMPAIGN_TRANSFER {
                    return Ok(());
                }
                false
            }
            MessageType::MsgHeartbeat => {
                if term >= self.node.raft.term && commit > last {
                    let leader = self.name(from);
                    return Err(MemberError::Forgot { leader, promised: commit, last });
                }
                true
            }
            MessageType::MsgAppend => {
                if term >= self.node.raft.term
                    && let Some(index) = self.contradiction(&message)
                {
                    return Err(MemberError::Diverged { leader: self.name(from), index });
                }
                true
            }
            MessageType::MsgSnapshot => true,
            MessageType::MsgTimeoutNow
            | MessageType::MsgAppendResponse
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

    /// raft-rs draws from the thread's generator; a simulation has to replay.
    fn draw_patience(&mut self) {
        let mut hash = self.seed ^ self.node.raft.term.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let more = (hash >> 31) as usize % ELECTION_TICKS;
        self.node.raft.set_randomized_election_timeout(ELECTION_TICKS + more);
    }
}

#[cfg(test)]
mod tests;
