//! The replicated state machine: the registry, and the operations it has seen lately, so that one that is asked
//! for again is answered again and not done again.

use std::collections::{BTreeMap, VecDeque};

use api::internal::Registry as RegistryProto;
use prost::Message as _;

use super::super::operation::{Batch, Kind, Operation, Ticket};
use super::super::state::{Refused, Registry};
use super::members::Members;

/// So many operations are remembered. One that comes again after so many others is refused unseen.
const REMEMBERED: usize = 16_384;

/// The outcome of each operation of a batch, in order.
pub type Outcomes = Vec<Result<(), Refused>>;

/// A state machine as bytes.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Image {
    /// The registry, as Mesos stores it.
    #[prost(bytes = "vec", tag = "4")]
    pub registry: Vec<u8>,
    /// What was applied lately.
    #[prost(bytes = "vec", tag = "5")]
    pub recent: Vec<u8>,
    /// The members of the group.
    #[prost(bytes = "vec", tag = "7")]
    pub members: Vec<u8>,
}

/// What was applied lately, as it is stored.
#[derive(Clone, PartialEq, prost::Message)]
struct RecentProto {
    /// Everything up to that index may have been forgotten.
    #[prost(uint64, tag = "1")]
    floor: u64,
    /// The oldest first.
    #[prost(message, repeated, tag = "2")]
    done: Vec<DoneProto>,
    /// See [`Machine::recovered_in`].
    #[prost(uint64, tag = "3")]
    recovered_in: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct DoneProto {
    #[prost(bytes = "vec", tag = "1")]
    id: Vec<u8>,
    #[prost(uint64, tag = "2")]
    index: u64,
    /// Absent when it was done; else why not.
    #[prost(uint32, optional, tag = "3")]
    refusal: Option<u32>,
    #[prost(string, tag = "4")]
    agent: String,
}

/// Which operations were applied lately, and what came of them.
#[derive(Debug, Clone, Default, PartialEq)]
struct Recent {
    floor: u64,
    outcomes: BTreeMap<Vec<u8>, Result<(), Refused>>,
    /// In the order they were applied, with their index.
    order: VecDeque<(Vec<u8>, u64)>,
}

impl Recent {
    fn remember(&mut self, id: Vec<u8>, index: u64, outcome: Result<(), Refused>) {
        self.order.push_back((id.clone(), index));
        self.outcomes.insert(id, outcome);
        while self.order.len() > REMEMBERED {
            if let Some((id, index)) = self.order.pop_front() {
                self.outcomes.remove(&id);
                self.floor = index;
            }
        }
    }

    fn to_proto(&self, recovered_in: u64) -> RecentProto {
        let done = |(id, index): &(Vec<u8>, u64)| {
            let outcome = self.outcomes.get(id).cloned().unwrap_or(Ok(()));
            let (refusal, agent) = match outcome {
                Ok(()) => (None, String::new()),
                Err(refused) => {
                    let (code, agent) = refused.to_code();
                    (Some(code), agent)
                }
            };
            DoneProto { id: id.clone(), index: *index, refusal, agent }
        };
        RecentProto { floor: self.floor, done: self.order.iter().map(done).collect(), recovered_in }
    }

    fn from_proto(floor: u64, all_done: Vec<DoneProto>) -> Recent {
        let mut recent = Recent { floor, ..Recent::default() };
        for done in all_done {
            let outcome = done.refusal.map_or(Ok(()), |code| Err(Refused::from_code(code, done.agent)));
            recent.order.push_back((done.id.clone(), done.index));
            recent.outcomes.insert(done.id, outcome);
        }
        recent
    }
}

/// The registry, and what makes repeating an operation harmless.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Machine {
    registry: Registry,
    recent: Recent,
    recovered_in: u64,
    members: Members,
}

impl Machine {
    /// What the cluster is.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The machine of a group that begins.
    pub(super) fn founded(members: Members) -> Machine {
        Machine { members, ..Machine::default() }
    }

    /// The group.
    pub fn members(&self) -> &Members {
        &self.members
    }

    /// Those members have joined, or moved; of all, only those of whom `stays` is true are members now.
    pub(super) fn change_members(&mut self, joined: Members, stays: impl Fn(u64) -> bool) {
        self.members.by_id.extend(joined.by_id);
        self.members.by_id.retain(|id, _| stays(*id));
    }

    /// The term of the leader whom [`Registry::master`] names; 0 when there was none yet.
    pub fn recovered_in(&self) -> u64 {
        self.recovered_in
    }

    /// Applies the batch that a leader of `term` put at `index` of the log. The same batches give the same machine.
    pub fn apply(&mut self, batch: &Batch, index: u64, term: u64) -> Outcomes {
        batch.operations.iter().map(|operation| self.apply_one(operation, index, term)).collect()
    }

    fn apply_one(&mut self, operation: &Operation, index: u64, term: u64) -> Result<(), Refused> {
        let Some(Ticket { id, since }) = &operation.ticket else { return self.change(operation, term) };
        if let Some(outcome) = self.recent.outcomes.get(id) {
            return outcome.clone();
        }
        // It may have been done so long ago that this is forgotten. Doing it twice is worse than not at all.
        if *since < self.recent.floor {
            return Err(Refused::TooLate);
        }
        let outcome = self.change(operation, term);
        self.recent.remember(id.clone(), index, outcome.clone());
        outcome
    }

    fn change(&mut self, operation: &Operation, term: u64) -> Result<(), Refused> {
        self.registry.apply(operation)?;
        if matches!(operation.kind, Some(Kind::Recover(_))) {
            self.recovered_in = term;
        }
        Ok(())
    }

    /// As it is stored, and sent to members that are far behind.
    pub fn to_image(&self) -> Image {
        Image {
            registry: self.registry.to_proto().encode_to_vec(),
            recent: self.recent.to_proto(self.recovered_in).encode_to_vec(),
            members: self.members.encode(),
        }
    }

    /// The inverse of [`Machine::to_image`]; the error says what is wrong with it.
    pub fn from_image(image: &Image) -> Result<Machine, String> {
        let registry = RegistryProto::decode(image.registry.as_slice())
            .map_err(|error| format!("the registry in the snapshot cannot be read ({error})"))?;
        let registry = Registry::from_proto(registry)
            .map_err(|error| format!("the registry in the snapshot cannot be used: {error}"))?;
        let recent = RecentProto::decode(image.recent.as_slice())
            .map_err(|error| format!("the recent operations in the snapshot cannot be read ({error})"))?;
        Ok(Machine {
            registry,
            recent: Recent::from_proto(recent.floor, recent.done),
            recovered_in: recent.recovered_in,
            members: Members::decode(&image.members)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use api::v1::{AgentId, AgentInfo};

    use super::*;

    fn admit(agent: &str, id: u32, since: u64) -> Operation {
        let id = id.to_be_bytes().to_vec();
        let info = AgentInfo { id: Some(AgentId::from(agent)), ..Default::default() };
        Operation { ticket: Some(Ticket { id, since }), ..Kind::AdmitAgent(info).into() }
    }

    fn apply(machine: &mut Machine, index: u64, operation: Operation) -> Result<(), Refused> {
        machine.apply(&Batch { operations: vec![operation] }, index, 1).remove(0)
    }

    #[test]
    fn what_is_asked_again_is_answered_again_and_not_done_again() {
        let mut machine = Machine::default();
        assert_eq!(apply(&mut machine, 1, admit("a", 1, 0)), Ok(()));
        assert_eq!(apply(&mut machine, 2, admit("a", 2, 0)), Err(Refused::AlreadyAdmitted("a".into())));
        let mut machine = Machine::from_image(&machine.to_image()).unwrap();
        assert_eq!(apply(&mut machine, 3, admit("a", 1, 0)), Ok(()));
        assert_eq!(apply(&mut machine, 4, admit("a", 2, 0)), Err(Refused::AlreadyAdmitted("a".into())));
        assert_eq!(Machine::from_image(&machine.to_image()), Ok(machine));
    }

    #[test]
    fn what_may_have_been_forgotten_is_refused() {
        let mut machine = Machine::default();
        for n in 0..REMEMBERED as u32 + 1 {
            assert_eq!(apply(&mut machine, 10 + u64::from(n), admit(&n.to_string(), n, 0)), Ok(()));
        }
        assert_eq!(apply(&mut machine, 99_999, admit("0", 0, 9)), Err(Refused::TooLate));
        assert_eq!(apply(&mut machine, 99_999, admit("x", 1 << 20, 9)), Err(Refused::TooLate));
        assert_eq!(apply(&mut machine, 99_999, admit("x", 1 << 20, 10)), Ok(()));
    }
}
