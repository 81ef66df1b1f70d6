//! What an agent that comes back brought, made ready to be taken in. All of it can be done without knowing the
//! cluster, so it is done beside the master, for many agents at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::internal::ReregisterSlaveMessage;
use api::resources::{ResourceError, Resources, upgrade_all};
use api::v1::resource::AllocationInfo;
use api::v1::{AgentInfo, FrameworkId, TaskId};
use api::wire::{self, WireValue};
use imbl::{OrdMap, OrdSet};

use crate::frameworks::{single_role, sum};
use crate::tasks::{ListedTasks, TaskRecord};
use crate::validation::{self, Invalid};

/// The field of the tasks in a `ReregisterSlaveMessage`.
const TASKS: u32 = 3;

/// What an agent that comes back sent.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Brought {
    /// All but what is below.
    pub(crate) message: Box<ReregisterSlaveMessage>,
    /// What it says of itself.
    pub(crate) info: Arc<AgentInfo>,
    /// Its tasks, those of one framework side by side; none when it is not valid.
    pub(crate) tasks: Vec<Arc<TaskRecord>>,
    /// Which these are.
    pub(crate) task_ids: OrdSet<(FrameworkId, TaskId)>,
    /// What those of each framework hold.
    pub(crate) used: OrdMap<FrameworkId, Resources>,
    /// All it has; nothing when it is not valid.
    pub(crate) total: Resources,
    /// Whether it is valid by itself, and if not, why.
    pub(crate) valid: Result<(), Invalid>,
    /// How large the message was that it came in.
    pub(crate) n_bytes: usize,
}

impl Brought {
    /// Reads a `ReregisterSlaveMessage`, checks it, brings what it has into the form of today, and its tasks into the
    /// form that is kept.
    ///
    /// # Errors
    /// When it is no such message.
    pub(crate) fn read(body: &[u8]) -> Result<Self, wire::DecodeError> {
        wire::check::<ReregisterSlaveMessage>(body)?;
        // The tasks are most of it.
        let (mut listed, mut others) = (Vec::new(), Vec::new());
        for field in wire::fields(body) {
            match (field.number, field.value) {
                (TASKS, WireValue::Bytes(task)) => listed.push(task),
                _ => others.extend_from_slice(field.whole),
            }
        }
        let mut message = Box::new(wire::decode_checked::<ReregisterSlaveMessage>(&others)?);
        let (tasks, valid) = match prepare(&mut message, &listed) {
            Ok(tasks) => (tasks, Ok(())),
            Err(why) => (Vec::new(), Err(why)),
        };
        let total = match valid {
            Ok(()) => super::join::total(&message.slave, &message.checkpointed_resources),
            Err(_) => Resources::new(),
        };
        let task_ids = tasks.iter().map(|task| (task.framework_id.clone(), task.task_id.clone())).collect();
        let info = Arc::new(std::mem::take(&mut message.slave));
        let used = used(&tasks);
        Ok(Brought { message, info, tasks, task_ids, used, total, valid, n_bytes: body.len() })
    }
}

/// What the tasks of each framework hold; nothing of those that hold nothing.
fn used(tasks: &[Arc<TaskRecord>]) -> OrdMap<FrameworkId, Resources> {
    let of_one = |tasks: &[Arc<TaskRecord>]| {
        let framework_id = tasks.first()?.framework_id.clone();
        let used = sum(tasks.iter().filter(|task| task.holds_resources()).map(|task| task.resources()));
        (!used.is_empty()).then_some((framework_id, used))
    };
    tasks.chunk_by(|one, next| one.framework_id == next.framework_id).filter_map(of_one).collect()
}

/// Its tasks, of which the bytes are `listed`, and the rest in the form of today.
fn prepare(message: &mut ReregisterSlaveMessage, listed: &[&[u8]]) -> Result<Vec<Arc<TaskRecord>>, Invalid> {
    validation::agent::reregister(message)?;
    upgrade(message).map_err(|error| error.to_string())?;
    let roles = single_roles(message);
    fill_roles(message, &roles);
    let mut reader = ListedTasks::new(&roles);
    let tasks = listed.iter().map(|task| reader.read(task).map(Arc::new));
    let mut tasks: Vec<_> = tasks.collect::<Result<_, _>>()?;
    validation::agent::listed_tasks(message, &tasks)?;
    tasks.sort_by(|one, other| one.framework_id.cmp(&other.framework_id));
    Ok(tasks)
}

fn upgrade(message: &mut ReregisterSlaveMessage) -> Result<(), ResourceError> {
    upgrade_all(&mut message.slave.resources)?;
    upgrade_all(&mut message.checkpointed_resources)?;
    message.executor_infos.iter_mut().try_for_each(|executor| upgrade_all(&mut executor.resources))
}

/// Agents of old do not say for which role the resources of a framework with a single one are allocated.
fn single_roles(message: &ReregisterSlaveMessage) -> BTreeMap<FrameworkId, String> {
    message.frameworks.iter().filter_map(|info| Some((info.id.clone()?, single_role(info)?))).collect()
}

fn fill_roles(message: &mut ReregisterSlaveMessage, roles: &BTreeMap<FrameworkId, String>) {
    for executor in &mut message.executor_infos {
        let Some(role) = executor.framework_id.as_ref().and_then(|id| roles.get(id)) else { continue };
        for resource in &mut executor.resources {
            resource.allocation_info.get_or_insert_with(|| AllocationInfo { role: Some(role.clone()) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::v1::framework_info::{Capability, capability};
    use api::v1::value::Scalar;
    use api::v1::{ExecutorInfo, FrameworkInfo, Task, TaskState};
    use prost::Message as _;

    fn framework(id: &str, multi_role: bool) -> FrameworkInfo {
        let capabilities = if multi_role {
            vec![Capability { r#type: Some(capability::Type::MultiRole.into()) }]
        } else {
            Vec::new()
        };
        #[allow(deprecated)] // That is how a framework says that it has a single role.
        FrameworkInfo {
            id: Some(id.into()),
            role: (!multi_role).then(|| "prod".to_owned()),
            capabilities,
            ..FrameworkInfo::default()
        }
    }

    fn task(id: &str, framework: &str, resources: &str) -> Task {
        Task {
            task_id: id.into(),
            framework_id: framework.into(),
            agent_id: "an-agent-with-a-long-id".into(),
            state: TaskState::TaskRunning.into(),
            resources: Resources::parse(resources, "*").unwrap().to_messages(),
            ..Task::default()
        }
    }

    fn message(tasks: Vec<Task>) -> ReregisterSlaveMessage {
        ReregisterSlaveMessage {
            slave: AgentInfo {
                id: Some("an-agent-with-a-long-id".into()),
                hostname: "h".into(),
                resources: Resources::parse("cpus:8;mem:1024", "*").unwrap().to_messages(),
                ..AgentInfo::default()
            },
            frameworks: vec![framework("one-role", false), framework("many-roles", true)],
            tasks,
            ..ReregisterSlaveMessage::default()
        }
    }

    fn read(message: &ReregisterSlaveMessage) -> Brought {
        Brought::read(&message.encode_to_vec()).unwrap()
    }

    #[test]
    fn tasks_and_executors_get_the_only_role_of_their_framework() {
        let brought = read(&ReregisterSlaveMessage {
            executor_infos: vec![ExecutorInfo {
                executor_id: "e".into(),
                framework_id: Some("one-role".into()),
                resources: Resources::parse("mem:32", "*").unwrap().to_messages(),
                ..ExecutorInfo::default()
            }],
            ..message(vec![
                task("t1", "one-role", "cpus:1"),
                task("t2", "one-role", "cpus:2"),
                task("t3", "many-roles", "cpus:1"),
            ])
        });
        assert_eq!(brought.valid, Ok(()));
        assert!(brought.message.tasks.is_empty());
        assert_eq!(brought.total, Resources::parse("cpus:8;mem:1024", "*").unwrap());
        let roles = brought.tasks.iter().map(|it| (it.task_id.as_str(), it.resources().allocation_role()));
        assert_eq!(roles.collect::<Vec<_>>(), [("t3", None), ("t1", Some("prod")), ("t2", Some("prod"))]);
        let executor = &brought.message.executor_infos[0].resources[0];
        assert_eq!(executor.allocation_info.as_ref().unwrap().role(), "prod");
    }

    #[test]
    fn of_what_is_not_valid_nothing_is_taken() {
        let sound = || task("t1", "many-roles", "cpus:1");
        let mut wrong = sound();
        wrong.resources[0].scalar = Some(Scalar { value: -1.0 });
        let running = Task { executor_id: Some("e".into()), ..sound() };
        for (tasks, expected) in [
            (vec![sound(), task("t2", "unheard-of", "cpus:1")], "framework unheard-of, which is not listed"),
            (vec![Task { agent_id: "another".into(), ..sound() }], "said to be on agent another"),
            (
                vec![sound(), task("t2", "one-role", "cpus:1"), sound()],
                "t1 of framework many-roles is listed twice",
            ),
            (vec![running], "runs under executor e, which is not listed"),
            (vec![wrong], "Invalid resources: "),
        ] {
            let brought = read(&message(tasks));
            let why = brought.valid.unwrap_err();
            assert!(why.contains(expected), "{why}");
            assert!(brought.tasks.is_empty() && brought.task_ids.is_empty() && brought.used.is_empty());
        }
    }

    #[test]
    fn what_the_tasks_of_each_framework_hold_is_added_up() {
        let ended = Task { state: TaskState::TaskFinished.into(), ..task("t4", "many-roles", "cpus:1") };
        let brought = read(&message(vec![
            task("t1", "many-roles", "cpus:1"),
            task("t2", "one-role", "cpus:2"),
            task("t3", "many-roles", "cpus:0.5"),
            ended,
        ]));
        let used: Vec<_> = brought.used.iter().map(|(id, used)| (id.as_str(), used.to_string())).collect();
        assert_eq!(used.iter().map(|(id, _)| *id).collect::<Vec<_>>(), ["many-roles", "one-role"]);
        assert!(used[0].1.contains("1.5") && used[1].1.contains('2'), "{used:?}");
        let ids: Vec<_> = brought.task_ids.iter().map(|(_, task_id)| task_id.as_str()).collect();
        assert_eq!(ids, ["t1", "t3", "t4", "t2"]);
    }

    #[test]
    fn what_is_no_such_message_is_refused_with_its_place() {
        let mut wrong = message(vec![task("t1", "many-roles", "cpus:1"), task("t2", "many-roles", "cpus:1")]);
        wrong.tasks[1].state = 99;
        let error = Brought::read(&wrong.encode_to_vec()).unwrap_err().to_string();
        assert_eq!(error, "Missing required fields: tasks[1].state");
        let cut = message(vec![task("t1", "many-roles", "cpus:1")]).encode_to_vec();
        assert!(
            Brought::read(&cut[..cut.len() - 1]).unwrap_err().to_string().contains("the bytes end too early")
        );
    }
}
