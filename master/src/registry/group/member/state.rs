//! What a member knows of itself and its group.

use std::sync::Arc;

use libprocess::Time;
use raft::StateRole;
use raft::eraftpb::Entry;

use super::super::ELECTION_TICKS;
use super::super::machine::Machine;
use super::Member;

/// What part a member has in its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It has a vote; also while it is about to lose it.
    Voter,
    /// It gets the log and has no vote.
    Learner,
    /// It is none.
    Stranger,
}

impl Member {
    /// Its number.
    pub fn id(&self) -> u64 {
        self.node.raft.id
    }

    /// Whether it is the only one with a vote.
    pub fn is_alone(&self) -> bool {
        let prs = self.node.raft.prs();
        prs.is_singleton() && prs.conf().voters().contains(self.id())
    }

    /// Whether time has to move on for it: for a leader that is the only member it need not.
    pub fn needs_ticks(&self) -> bool {
        !(self.is_raft_leader() && self.is_alone() && self.node.raft.prs().iter().len() == 1)
    }

    /// Whether it waits to be told of a group.
    pub fn is_waiting(&self) -> bool {
        self.node.raft.prs().conf().voters().ids().iter().next().is_none()
    }

    /// Whether it waits, and has done nothing yet for any group.
    pub fn is_fresh(&self) -> bool {
        self.is_waiting() && self.term() == 0
    }

    /// What part another has, or itself.
    pub fn role(&self, id: u64) -> Role {
        let conf = self.node.raft.prs().conf();
        match () {
            () if conf.voters().contains(id) => Role::Voter,
            () if conf.learners().contains(&id) => Role::Learner,
            () => Role::Stranger,
        }
    }

    /// The members with a vote, in order; while the group changes, those that will have one.
    pub fn voters(&self) -> Vec<u64> {
        let mut voters = self.node.raft.prs().conf().to_conf_state().voters;
        voters.sort_unstable();
        voters
    }

    /// All members, in order.
    pub fn ids(&self) -> Vec<u64> {
        let mut ids: Vec<_> = self.node.raft.prs().iter().map(|(id, _)| *id).collect();
        ids.sort_unstable();
        ids
    }

    /// Whether a change of the group is under way.
    pub fn is_changing(&self) -> bool {
        self.is_joint() || self.node.raft.has_pending_conf()
    }

    /// Whether the last change of the group is over: in effect, and so many know that it is that the group goes on
    /// without any of the others. Members act by a change when they know it to be committed, and not before: until
    /// then those who do not know it need the votes of members that have left. Only a leader knows.
    pub fn is_settled(&self) -> bool {
        let voters = self.voters();
        let knows = |id: &&u64| {
            let progress = self.node.raft.prs().get(**id);
            **id == self.id() || progress.is_some_and(|it| it.committed_index >= self.changed_at)
        };
        !self.is_changing() && 2 * voters.iter().filter(knows).count() > voters.len()
    }

    /// Grows whenever the group changes, or where a member is, or whom the registry names as leader.
    pub fn n_changes(&self) -> u64 {
        self.n_changes
    }

    /// Whether there is a snapshot for those who join.
    pub fn has_snapshot(&self) -> bool {
        self.node.store().snapshot.index > 0
    }

    /// The end of its log.
    pub fn last_index(&self) -> u64 {
        self.node.raft.raft_log.last_index()
    }

    /// For people: where another member is, or else its number.
    pub(super) fn name(&self, id: u64) -> String {
        self.machine.members().by_id.get(&id).cloned().unwrap_or_else(|| format!("number {id}"))
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
            () if self.is_alone() => Some(Time::from_nanos(u64::MAX)),
            () => self.rounds.until(),
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
        // One that has no vote, or none any more, never doubts its leader by itself.
        let heard = self.is_raft_leader() || self.ticks_since_leader < 2 * ELECTION_TICKS;
        Some(self.node.raft.leader_id).filter(|id| *id != 0 && heard)
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
}
