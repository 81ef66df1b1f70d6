use std::collections::BTreeMap;

use raft::eraftpb::{Entry, HardState};

use super::*;

/// Member 2 of three: entries 1 to 3 of term 1, of which two are committed.
fn member() -> Member {
    let seat = Seat { id: 2, members: BTreeMap::from([(1, None), (2, None), (3, None)]) };
    let entries = (1..=3).map(|index| Entry { index, term: 1, ..Default::default() }).collect();
    let hard_state = HardState { term: 1, commit: 2, ..Default::default() };
    let stored = Stored { hard_state, entries, ..Default::default() };
    Member::new(&seat, stored, 7, 1 << 20, Time::default()).unwrap()
}

fn message(kind: MessageType, term: u64, change: impl FnOnce(&mut Message)) -> Message {
    let mut message = Message { from: 1, to: 2, term, ..Default::default() };
    message.set_msg_type(kind);
    change(&mut message);
    message
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
        member.receive(vote(term), Time::default()).unwrap();
        assert_eq!(answers(&mut member), []);
        member.tick(Time::default());
    }
    member.receive(vote(50), Time::default()).unwrap();
    assert!(answers(&mut member).contains(&(MessageType::MsgRequestVoteResponse, false)));
}

/// Members 1 and 3 answer that they have the log up to there.
fn followed(member: &mut Member, term: u64, index: u64) {
    for from in [1, 3] {
        let answer = message(MessageType::MsgAppendResponse, term, |message| message.index = index);
        member.receive(Message { from, ..answer }, Time::default()).unwrap();
        answers(member);
    }
}

#[test]
fn a_lead_that_is_handed_back_is_kept() {
    let mut member = member();
    member.stand().unwrap();
    for kind in [MessageType::MsgRequestPreVoteResponse, MessageType::MsgRequestVoteResponse] {
        answers(&mut member);
        member.receive(message(kind, 2, |_| {}), Time::default()).unwrap();
    }
    answers(&mut member);
    followed(&mut member, 2, 4);
    assert!(member.has_begun());
    assert!(member.transfer(1));
    assert!(answers(&mut member).contains(&(MessageType::MsgTimeoutNow, false)));

    // Member 1 leads, and hands it back.
    let append = message(MessageType::MsgAppend, 3, |message| {
        (message.index, message.log_term, message.commit) = (4, 2, 4);
        message.entries.push(Entry { index: 5, term: 3, ..Default::default() });
    });
    member.receive(append, Time::default()).unwrap();
    answers(&mut member);
    assert!(!member.is_raft_leader());
    member.receive(message(MessageType::MsgTimeoutNow, 3, |_| {}), Time::default()).unwrap();
    answers(&mut member);
    member.receive(message(MessageType::MsgRequestVoteResponse, 4, |_| {}), Time::default()).unwrap();
    answers(&mut member);
    assert!(member.is_raft_leader() && !member.has_begun());
    // Time goes on before its first entry takes effect.
    member.tick(Time::default());
    answers(&mut member);
    assert!(member.is_raft_leader());
    followed(&mut member, 4, 6);
    assert!(member.has_begun());
}

#[test]
fn an_answer_waits_for_the_disk() {
    let mut member = member();
    let append = message(MessageType::MsgAppend, 1, |message| {
        (message.index, message.log_term, message.commit) = (3, 1, 4);
        message.entries.push(Entry { index: 4, term: 1, ..Default::default() });
    });
    member.receive(append, Time::default()).unwrap();
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
    let error = member().receive(heartbeat, Time::default()).unwrap_err().to_string();
    assert!(error.contains("reached entry 9, but it ends at entry 3"), "{error}");

    let append = message(MessageType::MsgAppend, 2, |message| {
        (message.index, message.log_term) = (1, 1);
        message.entries.push(Entry { index: 2, term: 2, ..Default::default() });
    });
    let error = member().receive(append, Time::default()).unwrap_err().to_string();
    assert!(error.contains("something else at entry 2"), "{error}");
}

#[test]
fn what_no_member_sends_is_ignored() {
    let mut member = member();
    let from_3 = message(MessageType::MsgHeartbeat, 1, |message| message.from = 3);
    let from_3 = Message { to: 3, ..from_3 };
    let proposal = message(MessageType::MsgPropose, 1, |message| message.entries.push(Entry::default()));
    let hole = message(MessageType::MsgAppend, 1, |message| {
        (message.index, message.log_term) = (3, 1);
        message.entries.push(Entry { index: 5, term: 1, ..Default::default() });
    });
    let snapshot = message(MessageType::MsgSnapshot, 1, |message| {
        let metadata = message.mut_snapshot().mut_metadata();
        (metadata.index, metadata.term) = (9, 1);
        metadata.mut_conf_state().voters = vec![1, 2, 2];
    });
    let endless = message(MessageType::MsgRequestVote, u64::MAX, |_| {});
    for message in [from_3, proposal, hole, snapshot, endless] {
        member.receive(message, Time::default()).unwrap();
    }
    assert_eq!(answers(&mut member), []);
}
