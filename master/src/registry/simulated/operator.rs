//! An operator, who wants one thing at a time and asks for it, at whatever master, until it is so. A disk that is lost
//! is replaced by an empty one, and the master on it taken in anew; only one at a time, as anybody would.

use std::sync::Arc;
use std::time::Duration;

use libprocess::Time;
use parking_lot::Mutex;
use rand::Rng as _;

use super::super::ChangeError;
use super::super::group::{MemoryDisk, Role};
use super::{Group, at};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Goal {
    Add(usize),
    /// Then it gets an empty disk.
    Remove(usize),
    Transfer(usize),
}

type Answer = Result<Result<(), ChangeError>, ()>;

#[derive(Debug, Default)]
pub(super) struct Operator {
    goal: Option<Goal>,
    n_asked: usize,
    answer: Arc<Mutex<Option<Answer>>>,
    asked: Option<Time>,
    /// How much came off: masters added, masters removed, leads passed on.
    pub(super) done: [usize; 3],
}

impl Operator {
    pub(super) fn is_idle(&self) -> bool {
        self.goal.is_none()
    }
}

impl Group {
    /// A master gets an empty disk.
    pub(super) fn wipe(&mut self, n: usize) {
        self.crash(n);
        self.disks[n] = MemoryDisk::default();
        self.start(n);
    }

    /// Wants something, if there is a group to want it of.
    pub(super) fn operate(&mut self) {
        if self.operator.goal.is_some() || self.n_leaders == 0 {
            return;
        }
        let n = self.rng.random_range(0..self.nodes.len());
        let is_member = self.is_member(n);
        // Of two members, none may be lost.
        let spare = is_member && self.members().len() > 2;
        let goal = match self.rng.random_range(0..4) {
            0 if spare => Goal::Remove(n),
            1 if spare => {
                self.wipe(n);
                Goal::Add(n)
            }
            _ if is_member => Goal::Transfer(n),
            _ => Goal::Add(n),
        };
        self.want(goal);
    }

    /// After everything is healed: wants all masters to be members.
    pub(super) fn complete(&mut self) {
        if self.operator.goal.is_some() || self.leader().is_none() {
            return;
        }
        if let Some(n) = (0..self.nodes.len()).find(|n| !self.is_member(*n)) {
            self.want(Goal::Add(n));
        }
    }

    fn want(&mut self, goal: Goal) {
        let done = self.operator.done;
        self.operator = Operator { goal: Some(goal), done, ..Operator::default() };
    }

    /// Whether the master that runs there has a vote, as the leader has it; if nobody leads, as it has it itself.
    fn is_member(&mut self, n: usize) -> bool {
        let Some(id) = self.look(n, |member| member.id()) else { return true };
        let judge = self.leader().unwrap_or(n);
        self.look(judge, |member| member.role(id)) == Some(Role::Voter)
    }

    /// Looks for the answer, and asks again where there is none.
    pub(super) fn attend_operator(&mut self) {
        let Some(goal) = self.operator.goal else { return };
        let now = self.sim.now();
        let answer = self.operator.answer.lock().take();
        let done = match (&answer, goal) {
            (Some(Ok(Ok(()))), _) => true,
            (Some(Ok(Err(ChangeError::AlreadyMember(_)))), Goal::Add(_)) => true,
            (Some(Ok(Err(ChangeError::NotMember { .. }))), Goal::Remove(_)) => true,
            (Some(Ok(Err(ChangeError::NotMember { .. } | ChangeError::NotTaken(_)))), Goal::Transfer(_)) => {
                true
            }
            // It was a member in an earlier life, and is none any more.
            (Some(Ok(Err(ChangeError::OtherGroup(_)))), Goal::Add(n)) => {
                self.wipe(n);
                false
            }
            // It may have led when it was removed, or the others are gone.
            (_, Goal::Remove(_)) => false,
            (_, Goal::Transfer(_)) => self.operator.n_asked > 5,
            _ => false,
        };
        if done {
            self.operator.goal = None;
            match goal {
                Goal::Add(_) => self.operator.done[0] += 1,
                Goal::Remove(n) => {
                    self.operator.done[1] += 1;
                    self.wipe(n);
                }
                Goal::Transfer(_) => self.operator.done[2] += usize::from(answer == Some(Ok(Ok(())))),
            }
            return;
        }
        let waiting =
            answer.is_none() && self.operator.asked.is_some_and(|asked| now - asked < Duration::from_secs(2));
        let n = self.rng.random_range(0..self.nodes.len());
        let n = self.leader().unwrap_or(n);
        let Some(pid) = self.pids[n].clone().filter(|_| !waiting) else { return };
        self.operator.asked = Some(now);
        self.operator.n_asked += 1;
        self.operator.answer = Arc::default();
        let answer = Arc::clone(&self.operator.answer);
        self.sim
            .dispatch(&pid, move |registrar, ctx| match goal {
                Goal::Add(n) => registrar.add(at(n), ctx),
                Goal::Remove(n) => registrar.remove(at(n), ctx),
                Goal::Transfer(n) => registrar.transfer(at(n), ctx),
            })
            .flatten()
            .settled(move |result| *answer.lock() = Some(result.map_err(|_| ())));
    }
}
