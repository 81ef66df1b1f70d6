//! Single changes of a group, without other faults.

use std::sync::Arc;
use std::time::Duration;

use libprocess::{Context, Future};
use parking_lot::Mutex;

use super::super::group::Role;
use super::super::{ChangeError, Registrar};
use super::{Group, at};

type Settled = Result<(), ChangeError>;

impl Group {
    /// A group that has a leader, and others that may join; and who leads.
    fn begun(size: usize, n_others: usize) -> (Group, usize) {
        let mut group = Group::new(3, size, n_others);
        group.run_for(Duration::from_secs(3));
        let leader = group.leader().expect("a group without faults has a leader");
        (group, leader)
    }

    /// Asks a member for a change, and waits for the answer.
    fn ask_for(
        &mut self,
        n: usize,
        change: impl FnOnce(&mut Registrar, &mut Context<Registrar>) -> Future<Settled> + Send + 'static,
    ) -> Settled {
        let answer = Arc::new(Mutex::new(None));
        let answered = Arc::clone(&answer);
        let pid = self.pids[n].clone().unwrap();
        let asked = self.sim.dispatch(&pid, change).flatten();
        asked.settled(move |result| *answered.lock() = result.ok());
        let deadline = self.sim.now() + Duration::from_secs(60);
        while answer.lock().is_none() {
            assert!(self.sim.now() < deadline, "no answer: {}", self.describe());
            self.run_for(Duration::from_millis(5));
        }
        let answer = answer.lock().take();
        answer.unwrap()
    }

    fn waits(&mut self, n: usize) -> String {
        let pid = self.pids[n].clone().unwrap();
        self.sim.with(&pid, |it| it.waits().unwrap_or_default().to_owned()).unwrap()
    }
}

#[test]
fn the_lead_is_passed_on_at_once() {
    let (mut group, leader) = Group::begun(3, 0);
    let next = (leader + 1) % 3;
    let began = group.sim.now();
    assert_eq!(group.ask_for(leader, move |it, ctx| it.transfer(at(next), ctx)), Ok(()));
    while group.leader() != Some(next) {
        group.run_for(Duration::from_millis(5));
        assert!(group.sim.now() - began < Duration::from_millis(300), "{}", group.describe());
    }
}

#[test]
fn an_offer_that_is_not_taken_ends_the_term() {
    let (mut group, leader) = Group::begun(3, 0);
    let next = (leader + 1) % 3;
    let term = group.look(leader, |member| member.term());
    // It hears that it may lead, and nobody hears of it.
    for n in 0..3 {
        if n != next {
            let (from, to) = (group.nodes[next], group.nodes[n]);
            group.sim.network().cut(from, to);
        }
    }
    let answer = group.ask_for(leader, move |it, ctx| it.transfer(at(next), ctx));
    assert_eq!(answer, Err(ChangeError::NotTaken(at(next).to_string())));
    group.sim.network().heal();
    group.run_for(Duration::from_secs(4));
    let leader = group.leader().expect("somebody leads again");
    assert!(group.look(leader, |member| member.term()) > term);
}

#[test]
fn a_master_on_an_empty_disk_has_no_vote_until_it_is_added() {
    let (mut group, leader) = Group::begun(3, 0);
    let n = (leader + 1) % 3;
    group.wipe(n);
    group.run_for(Duration::from_secs(3));
    assert!(group.look(n, |member| member.is_waiting()).unwrap());
    let why = group.waits(n);
    assert!(why.contains("with another disk") && why.contains(&format!("masters add {}", at(n))), "{why}");
    assert_eq!(group.ask_for(leader, move |it, ctx| it.add(at(n), ctx)), Ok(()));
    assert_eq!(group.members(), [0, 1, 2].map(|n| at(n).to_string()));
    group.run_for(Duration::from_secs(1));
    assert_eq!(group.look(n, |member| member.role(member.id())), Some(Role::Voter));
    assert_eq!(group.waits(n), "");
    let again = group.ask_for(leader, move |it, ctx| it.add(at(n), ctx));
    assert_eq!(again, Err(ChangeError::AlreadyMember(at(n).to_string())));
}

#[test]
fn a_leader_that_is_removed_hands_over_and_says_that_it_is_gone() {
    let (mut group, first) = Group::begun(3, 0);
    let answer = group.ask_for(first, move |it, ctx| it.remove(at(first), ctx));
    let Err(ChangeError::NotLeading { leader: Some(leader) }) = answer else { panic!("{answer:?}") };
    group.run_for(Duration::from_millis(500));
    let next = group.leader().unwrap();
    assert!(leader.ends_with(&at(next).to_string()), "{leader}");
    assert_eq!(group.ask_for(next, move |it, ctx| it.remove(at(first), ctx)), Ok(()));
    group.run_for(Duration::from_secs(12));
    assert_eq!(group.leader(), Some(next), "whoever is gone disturbs nobody");
    let why = group.waits(first);
    assert!(why.contains("let this master go"), "{why}");
}

#[test]
fn what_cannot_be_is_refused_with_what_would_be_right() {
    let (mut group, leader) = Group::begun(3, 1);
    let other = (leader + 1) % 3;
    group.crash(3);
    let no_answer = group.ask_for(leader, |it, ctx| it.add(at(3), ctx));
    assert_eq!(no_answer, Err(ChangeError::NoAnswer(at(3).to_string())));
    let stranger = group.ask_for(leader, |it, ctx| it.remove(at(3), ctx));
    assert!(
        matches!(&stranger, Err(ChangeError::NotMember { members, .. }) if members.len() == 3),
        "{stranger:?}"
    );
    let elsewhere = group.ask_for(other, |it, ctx| it.add(at(3), ctx));
    assert!(matches!(elsewhere, Err(ChangeError::NotLeading { leader: Some(_) })), "{elsewhere:?}");
    group.crash(other);
    group.run_for(Duration::from_secs(2));
    let last = (leader + 2) % 3;
    let quorum = group.ask_for(leader, move |it, ctx| it.remove(at(last), ctx));
    let master = at(last).to_string();
    assert_eq!(quorum, Err(ChangeError::NoMajority { master, answering: 1, left: 2 }));
    let cannot = group.ask_for(leader, move |it, ctx| it.transfer(at(other), ctx));
    assert_eq!(cannot, Err(ChangeError::CannotLead(at(other).to_string())));
}

#[test]
fn a_group_of_one_grows_and_shrinks() {
    let (mut group, leader) = Group::begun(1, 2);
    for n in 1..3 {
        assert_eq!(group.ask_for(leader, move |it, ctx| it.add(at(n), ctx)), Ok(()), "{n}");
    }
    assert_eq!(group.members(), [0, 1, 2].map(|n| at(n).to_string()));
    assert_eq!(group.ask_for(leader, |it, ctx| it.transfer(at(2), ctx)), Ok(()));
    group.run_for(Duration::from_secs(1));
    for n in 0..2 {
        assert_eq!(group.ask_for(2, move |it, ctx| it.remove(at(n), ctx)), Ok(()), "{n}");
    }
    let last = group.ask_for(2, |it, ctx| it.remove(at(2), ctx));
    assert_eq!(last, Err(ChangeError::Last(at(2).to_string())));
    group.run_for(Duration::from_secs(5));
    assert_eq!(group.leader(), Some(2));
}
