//! What a member's message cannot be. raft-rs panics on some of it: it trusts its peers, which may be damaged, of
//! another version, or no members at all.

use raft::eraftpb::{Entry, Message, MessageType, Snapshot};

use super::machine::{Image, Machine};

/// Terms grow by one with each election.
const LARGEST_TERM: u64 = 1 << 62;

/// Whether a member whose log ends at `last` may get such a message.
pub(super) fn is_plausible(message: &Message, last: u64, leads: bool) -> bool {
    if message.term == 0 || message.term > LARGEST_TERM {
        return false;
    }
    match message.get_msg_type() {
        MessageType::MsgAppend => {
            message.index <= LARGEST_TERM
                && message.log_term <= message.term
                && follow(message.index, message.log_term, message.term, &message.entries)
        }
        // An answer speaks of entries that the leader has sent.
        MessageType::MsgAppendResponse => !leads || (message.index <= last && message.request_snapshot == 0),
        MessageType::MsgSnapshot => is_usable(message.get_snapshot(), message.term),
        _ => true,
    }
}

/// Whether the entries come one after the other, in terms that do not fall.
fn follow(mut index: u64, mut term: u64, newest: u64, entries: &[Entry]) -> bool {
    entries.iter().all(|entry| {
        let follows = entry.index == index + 1 && entry.term >= term && entry.term <= newest;
        (index, term) = (entry.index, entry.term);
        follows
    })
}

fn is_usable(snapshot: &Snapshot, newest: u64) -> bool {
    let metadata = snapshot.get_metadata();
    let conf = metadata.get_conf_state();
    let (voters, outgoing) = (&conf.voters, &conf.voters_outgoing);
    let all = [voters, outgoing, &conf.learners, &conf.learners_next];
    let distinct = all.iter().all(|ids| {
        let mut sorted = ids.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        sorted.len() == ids.len() && !sorted.contains(&0)
    });
    let votes = |id: &u64| voters.contains(id) || outgoing.contains(id);
    let staged = conf.learners_next.iter().all(|id| outgoing.contains(id) && !voters.contains(id));
    metadata.index > 0
        && metadata.index <= LARGEST_TERM
        && metadata.term > 0
        && metadata.term <= newest
        && !voters.is_empty()
        && distinct
        && staged
        && !conf.auto_leave
        && !conf.learners.iter().any(votes)
        && <Image as prost::Message>::decode(snapshot.data.as_ref())
            .is_ok_and(|image| Machine::from_image(&image).is_ok())
}
