//! Tasks as an agent that comes back lists them: taken from the wire as they are kept, without becoming messages in
//! between. There may be hundreds of thousands at once.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use api::resources::{Resources, upgrade_all};
use api::v1::resource::AllocationInfo;
use api::v1::{AgentId, ExecutorId, FrameworkId, Resource, TaskId, TaskState};
use api::wire::{self, WireValue};
use prost::Message;

use super::TaskRecord;
use crate::validation::Invalid;

/// The fields of a `Task`, and of a `TaskStatus`, that are looked at.
mod field {
    pub(super) const TASK_ID: u32 = 2;
    pub(super) const FRAMEWORK_ID: u32 = 3;
    pub(super) const EXECUTOR_ID: u32 = 4;
    pub(super) const AGENT_ID: u32 = 5;
    pub(super) const STATE: u32 = 6;
    pub(super) const RESOURCES: u32 = 7;
    pub(super) const STATUSES: u32 = 8;
    pub(super) const STATUS_UPDATE_STATE: u32 = 9;

    pub(super) const TIMESTAMP: u32 = 6;
}

/// Reads the tasks of one agent, one after the other. What they have in common they share: the ids of their agent and
/// framework, and, as the tasks of one agent are often alike, what they hold.
pub(crate) struct ListedTasks<'a> {
    /// For which role the resources of a framework's tasks are allocated that do not say it themselves.
    roles: &'a BTreeMap<FrameworkId, String>,
    agent_id: Shared<AgentId>,
    framework_id: Shared<FrameworkId>,
    held: Option<Held>,
    /// Of the task that is being read: its resources, and all but them and its ids.
    resources: Vec<u8>,
    rest: Vec<u8>,
}

/// What a message became that is often there.
#[derive(Default)]
struct Shared<M> {
    wire: Vec<u8>,
    message: M,
}

impl<M: Message + Default + Clone> Shared<M> {
    fn read(&mut self, wire: &[u8]) -> M {
        if self.wire != wire {
            self.message = read(wire);
            self.wire = wire.to_vec();
        }
        self.message.clone()
    }
}

/// What a task held that was read before.
struct Held {
    framework_id: FrameworkId,
    /// As it came.
    wire: Vec<u8>,
    /// In the form of today.
    kept: Vec<u8>,
    resources: Arc<Resources>,
}

/// Of a [`Task`](api::v1::Task) its resources alone.
#[derive(Clone, PartialEq, prost::Message)]
struct Holding {
    #[prost(message, repeated, tag = "7")]
    resources: Vec<Resource>,
}

impl<'a> ListedTasks<'a> {
    /// Those of any agent. Of a framework that has a single role, `roles` says which.
    pub(crate) fn new(roles: &'a BTreeMap<FrameworkId, String>) -> Self {
        ListedTasks {
            roles,
            agent_id: Shared::default(),
            framework_id: Shared::default(),
            held: None,
            resources: Vec::new(),
            rest: Vec::new(),
        }
    }

    /// A task of which the bytes have been [checked](wire::check).
    ///
    /// # Errors
    /// When its resources are not valid.
    pub(crate) fn read(&mut self, task: &[u8]) -> Result<TaskRecord, Invalid> {
        self.resources.clear();
        self.rest.clear();
        let (mut task_id, mut framework_id, mut agent_id) = Default::default();
        let (mut executor_id, mut state) = (None::<ExecutorId>, TaskState::default());
        let (mut forwarded, mut first_heard) = (None, None);
        for it in wire::fields(task) {
            // Of an id that is there twice the last one counts, as with any message.
            match (it.number, it.value) {
                (field::TASK_ID, WireValue::Bytes(id)) => task_id = read::<TaskId>(id),
                (field::FRAMEWORK_ID, WireValue::Bytes(id)) => framework_id = self.framework_id.read(id),
                (field::AGENT_ID, WireValue::Bytes(id)) => agent_id = self.agent_id.read(id),
                (field::EXECUTOR_ID, WireValue::Bytes(id)) => executor_id = Some(read(id)),
                (field::RESOURCES, _) => self.resources.extend_from_slice(it.whole),
                (number, value) => {
                    self.rest.extend_from_slice(it.whole);
                    match (number, value) {
                        (field::STATE, WireValue::Varint(number)) => state = state_of(number),
                        (field::STATUS_UPDATE_STATE, WireValue::Varint(number)) => {
                            forwarded = Some(state_of(number));
                        }
                        (field::STATUSES, WireValue::Bytes(status)) => {
                            first_heard = first_heard.or_else(|| Some(timestamp(status)));
                        }
                        _ => {}
                    }
                }
            }
        }
        let held = Held::of(&mut self.held, &self.resources, &framework_id, self.roles)?;
        let rest = [&*self.rest, &held.kept].concat().into_boxed_slice();
        let held = held.resources.clone();
        let json = OnceLock::new();
        Ok(TaskRecord {
            task_id,
            framework_id,
            agent_id,
            executor_id,
            state,
            forwarded,
            first_heard,
            held,
            rest,
            json,
        })
    }
}

impl Held {
    /// What a task of that framework holds: what another one held, if they are alike.
    fn of<'a>(
        before: &'a mut Option<Held>,
        wire: &[u8],
        framework_id: &FrameworkId,
        roles: &BTreeMap<FrameworkId, String>,
    ) -> Result<&'a Held, Invalid> {
        let alike = |it: &Held| it.wire == wire && it.framework_id == *framework_id;
        let held = match before.take().filter(alike) {
            Some(held) => held,
            None => Held::read(wire, framework_id, roles.get(framework_id))?,
        };
        Ok(before.insert(held))
    }

    fn read(wire: &[u8], framework_id: &FrameworkId, role: Option<&String>) -> Result<Held, Invalid> {
        let invalid = |why: &dyn std::fmt::Display| format!("Invalid resources: {why}");
        let mut holding = Holding::decode(wire).map_err(|error| invalid(&error))?;
        upgrade_all(&mut holding.resources).map_err(|error| invalid(&error))?;
        if let Some(role) = role {
            for it in &mut holding.resources {
                it.allocation_info.get_or_insert_with(|| AllocationInfo { role: Some(role.clone()) });
            }
        }
        let resources = Resources::try_from(&holding.resources).map_err(|error| invalid(&error))?;
        Ok(Held {
            framework_id: framework_id.clone(),
            wire: wire.to_vec(),
            kept: holding.encode_to_vec(),
            resources: Arc::new(resources),
        })
    }
}

/// A message of which the bytes have been checked.
fn read<M: Message + Default>(wire: &[u8]) -> M {
    M::decode(wire).unwrap_or_default()
}

/// As prost has it: a number that is none of the states is the first one.
fn state_of(number: u64) -> TaskState {
    // Negative numbers travel as 64 bits, of which the lower half counts.
    TaskState::try_from((number as u32).cast_signed()).unwrap_or_default()
}

/// When a status was, in seconds since 1970.
fn timestamp(status: &[u8]) -> f64 {
    let at = |it: wire::WireField<'_>| match (it.number, it.value) {
        (field::TIMESTAMP, WireValue::Fixed64(bits)) => Some(f64::from_bits(bits)),
        _ => None,
    };
    wire::fields(status).filter_map(at).last().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::v1::resource::ReservationInfo;
    use api::v1::{Label, Labels, Task, TaskStatus};

    fn statuses(states: &[TaskState]) -> Vec<TaskStatus> {
        let status = |(n, state): (usize, &TaskState)| TaskStatus {
            task_id: "t".into(),
            state: (*state).into(),
            timestamp: Some(n as f64 + 0.5),
            ..TaskStatus::default()
        };
        states.iter().enumerate().map(status).collect()
    }

    fn task(id: &str) -> Task {
        Task {
            name: "a task".into(),
            task_id: id.into(),
            framework_id: "a-framework-with-a-long-id".into(),
            agent_id: "an-agent-with-a-long-id".into(),
            executor_id: Some("e".into()),
            state: TaskState::TaskRunning.into(),
            resources: Resources::parse("cpus:1;mem:32", "*").unwrap().to_messages(),
            statuses: statuses(&[TaskState::TaskStarting, TaskState::TaskRunning]),
            status_update_state: Some(TaskState::TaskStarting.into()),
            status_update_uuid: Some(vec![7; 16]),
            labels: Some(Labels { labels: vec![Label { key: "k".into(), value: Some("v".into()) }] }),
            limits: [("mem".to_owned(), api::v1::value::Scalar { value: 64.0 })].into(),
            ..Task::default()
        }
    }

    #[test]
    fn what_is_read_is_what_the_message_would_have_become() {
        let roles = BTreeMap::new();
        let mut listed = ListedTasks::new(&roles);
        let bare = Task { state: TaskState::TaskStaging.into(), ..Task::default() };
        let undated = Task { statuses: vec![TaskStatus::default()], ..task("undated") };
        for task in [task("one"), bare, undated, task("two")] {
            let read = listed.read(&task.encode_to_vec()).unwrap();
            let made = TaskRecord::from(task.clone());
            assert_eq!((&read, read.to_task()), (&made, task));
            assert_eq!((read.state(), read.forwarded_state()), (made.state(), made.forwarded_state()));
            assert_eq!((read.first_heard(), read.resources()), (made.first_heard(), made.resources()));
            assert_eq!(
                (read.forwarded_uuid(), read.last_status()),
                (made.forwarded_uuid(), made.last_status())
            );
        }
    }

    #[test]
    fn fields_in_any_order_or_twice_or_unknown_are_as_in_the_message() {
        let roles = BTreeMap::new();
        let (first, last) = (task("first"), Task { statuses: Vec::new(), ..task("last") });
        let mut backwards: Vec<_> = Vec::new();
        let wire = first.encode_to_vec();
        wire::fields(&wire).for_each(|it| backwards.insert(0, it.whole));
        let unknown = [0xfa, 0x3f, 1, 9];
        for wire in [
            backwards.concat(),
            [wire.clone(), last.encode_to_vec()].concat(),
            [&wire, &unknown[..]].concat(),
        ] {
            wire::check::<Task>(&wire).unwrap();
            let read = ListedTasks::new(&roles).read(&wire).unwrap();
            assert_eq!(read.to_task(), Task::decode(&*wire).unwrap());
            assert_eq!(read, TaskRecord::from(Task::decode(&*wire).unwrap()));
        }
    }

    #[test]
    fn tasks_share_what_they_have_in_common() {
        let roles = BTreeMap::from([("one-role".into(), "prod".to_owned())]);
        let mut listed = ListedTasks::new(&roles);
        let mut read = |id: &str, framework: &str, resources: &str| {
            let resources = Resources::parse(resources, "*").unwrap().to_messages();
            let task = Task { framework_id: framework.into(), resources, ..task(id) };
            listed.read(&task.encode_to_vec()).unwrap()
        };
        let (first, second) = (read("t1", "one-role", "cpus:1"), read("t2", "one-role", "cpus:1"));
        let (third, fourth) = (read("t3", "one-role", "cpus:2"), read("t4", "many-roles", "cpus:2"));
        assert!(std::ptr::eq(first.resources(), second.resources()));
        assert_ne!(second.resources(), third.resources());
        let roles =
            [&first, &second, &third, &fourth].map(|it| it.resources().allocation_role().map(str::to_owned));
        assert_eq!(roles, [Some("prod".to_owned()), Some("prod".to_owned()), Some("prod".to_owned()), None]);
        let text = |it: &TaskRecord| it.agent_id.as_str().as_ptr();
        assert_eq!(text(&first), text(&fourth));
        assert_eq!(first.to_task().resources[0].allocation_info.as_ref().unwrap().role(), "prod");
    }

    #[test]
    fn resources_of_old_come_in_the_form_of_today_and_wrong_ones_are_refused() {
        let roles = BTreeMap::new();
        let mut listed = ListedTasks::new(&roles);
        let mut old = task("t");
        #[allow(deprecated)]
        for resource in &mut old.resources {
            resource.role = Some("prod".into());
            resource.reservation =
                Some(ReservationInfo { principal: Some("p".into()), ..Default::default() });
        }
        let read = listed.read(&old.encode_to_vec()).unwrap();
        assert_eq!(read.to_task().resources[0].reservations[0].role(), "prod");
        assert!(read.resources().iter().all(|it| it.reservation_role() == Some("prod")));

        let mut wrong = task("t");
        wrong.resources[0].scalar = Some(api::v1::value::Scalar { value: -1.0 });
        let why = listed.read(&wrong.encode_to_vec()).unwrap_err();
        assert!(why.starts_with("Invalid resources: "), "{why}");
        assert_eq!(listed.read(&old.encode_to_vec()).unwrap(), read);
    }
}
