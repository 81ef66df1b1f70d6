//! Changes of the group, and of who leads it.

use std::sync::Arc;

use protobuf::Message as _;
use raft::eraftpb::{ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2, Entry};

use super::super::disk::Write;
use super::super::members::Members;
use super::state::Role;
use super::{Member, MemberError};

/// One change of the group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupChange {
    /// A new member gets the log, without a vote.
    AddLearner {
        /// Its number.
        id: u64,
        /// Where its master is.
        host_port: String,
    },
    /// A member without a vote gets one, perhaps that of another, which leaves.
    GiveVote {
        /// Who gets it.
        id: u64,
        /// Who leaves.
        instead_of: Option<u64>,
    },
    /// A member leaves.
    Remove {
        /// Who leaves.
        id: u64,
    },
}

impl Member {
    /// Proposes a change of the group, as leader; whether it could be proposed. Whoever wants it looks at the group
    /// later: another leader may have other plans.
    ///
    /// Whatever concerns votes goes through a joint configuration, in which both the old and the new voters have to
    /// agree. The leader leaves it by itself.
    pub fn change(&mut self, change: &GroupChange) -> bool {
        if !self.has_begun() || !self.is_settled() {
            return false;
        }
        let single = |kind, node_id| ConfChangeSingle { change_type: kind, node_id, ..Default::default() };
        let mut conf_change = ConfChangeV2::default();
        match change {
            GroupChange::AddLearner { id, host_port } => {
                let joined = Members { group: 0, by_id: [(*id, host_port.clone())].into() };
                conf_change.context = joined.encode().into();
                conf_change.changes = vec![single(ConfChangeType::AddLearnerNode, *id)].into();
            }
            GroupChange::GiveVote { id, instead_of } => {
                let mut changes = vec![single(ConfChangeType::AddNode, *id)];
                changes.extend(instead_of.map(|id| single(ConfChangeType::RemoveNode, id)));
                conf_change.changes = changes.into();
                conf_change.set_transition(ConfChangeTransition::Explicit);
            }
            GroupChange::Remove { id } => {
                conf_change.changes = vec![single(ConfChangeType::RemoveNode, *id)].into();
                if self.role(*id) == Role::Voter {
                    conf_change.set_transition(ConfChangeTransition::Explicit);
                }
            }
        }
        self.node.propose_conf_change(Vec::new(), conf_change).is_ok()
    }

    /// Whether it is time to say where this master is.
    pub fn may_announce(&self) -> bool {
        self.has_begun() && self.announced != self.term()
    }

    /// Says in the log where this master is, if that says otherwise; as leader, once in a term.
    pub fn announce(&mut self, host_port: &str) {
        let known = self.machine.members().by_id.get(&self.id()).is_some_and(|at| at == host_port);
        if known {
            self.announced = self.term();
        }
        if !self.may_announce() {
            return;
        }
        let moved = Members { group: 0, by_id: [(self.id(), host_port.to_owned())].into() };
        if self.node.propose(moved.encode(), Vec::new()).is_ok() {
            self.announced = self.term();
        }
    }

    /// Offers the lead to another voter, as leader; whether it could be offered. When that has the whole log, it is
    /// told to stand for election at once, and this member never acts in this term again.
    pub fn transfer(&mut self, to: u64) -> bool {
        let can = self.has_begun() && to != self.id() && self.voters().contains(&to);
        if can {
            self.node.transfer_leader(to);
        }
        can
    }

    /// Whether the lead is being offered to another.
    pub fn is_offering(&self) -> bool {
        self.node.raft.lead_transferee.is_some()
    }

    /// Whether the group is between two configurations.
    pub(super) fn is_joint(&self) -> bool {
        !self.node.raft.prs().conf().to_conf_state().voters_outgoing.is_empty()
    }

    /// Ends the joint configuration, as leader, whoever began it; whether that is proposed now.
    pub(super) fn leave_joint(&mut self) -> bool {
        self.has_begun()
            && self.is_joint()
            && !self.node.raft.has_pending_conf()
            && self.node.propose_conf_change(Vec::new(), ConfChangeV2::default()).is_ok()
    }

    /// No longer leads, in the same term.
    pub(super) fn step_down(&mut self) {
        let term = self.node.raft.term;
        self.node.raft.become_follower(term, raft::INVALID_ID);
    }

    /// A change of the group takes effect.
    pub(super) fn change_group(&mut self, entry: &Entry) -> Result<(), MemberError> {
        let unreadable = |what: String| {
            MemberError::Unreadable(format!("entry {} changes the group, but {what}", entry.index))
        };
        let change = ConfChangeV2::parse_from_bytes(&entry.data)
            .map_err(|error| unreadable(format!("cannot be read ({error})")))?;
        let joined = Members::decode(&change.context).map_err(unreadable)?;
        let conf = match self.node.apply_conf_change(&change) {
            Ok(conf) => conf,
            // All members see the same, and leave the group as it is.
            Err(error) => {
                tracing::warn!(%error, index = entry.index, "a change of the group is impossible");
                return Ok(());
            }
        };
        let all = [&conf.voters, &conf.voters_outgoing, &conf.learners, &conf.learners_next];
        let stays = |id| all.iter().any(|ids| ids.contains(&id));
        Arc::make_mut(&mut self.machine).change_members(joined, stays);
        self.n_changes += 1;
        self.changed_at = entry.index;
        // That it is in effect is written, before anybody hears that this member knows.
        let hard_state = self.node.store().hard_state.clone();
        let write = Write { hard_state: Some(hard_state), ..Write::default() };
        self.unwritten.get_or_insert_default().write.append(write);
        if self.is_raft_leader() && self.role(self.id()) != Role::Voter {
            // Removed by an entry of the leader before: it may not count itself to any majority.
            self.step_down();
        }
        self.draw_patience();
        // Whom the lease depends on has changed.
        self.extend_lease();
        Ok(())
    }

    /// A member has said where it is.
    pub(super) fn member_moved(&mut self, entry: &Entry) -> Result<(), MemberError> {
        let moved = Members::decode(&entry.context).map_err(MemberError::Unreadable)?;
        Arc::make_mut(&mut self.machine).change_members(moved, |_| true);
        self.n_changes += 1;
        Ok(())
    }
}
