//! What an agent that comes back brought, made ready to be taken in. All of it can be done without knowing the
//! cluster, so it is done beside the master, for many agents at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::internal::ReregisterSlaveMessage;
use api::resources::{ResourceError, Resources, upgrade_all};
use api::v1::resource::AllocationInfo;
use api::v1::{FrameworkId, Resource};

use crate::frameworks::single_role;
use crate::tasks::TaskRecord;
use crate::validation;

/// What an agent that comes back sent.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Brought {
    /// All but its tasks.
    pub(crate) message: Box<ReregisterSlaveMessage>,
    /// Its tasks; none when it is not valid.
    pub(crate) tasks: Vec<TaskRecord>,
    /// All it has; nothing when it is not valid.
    pub(crate) total: Resources,
    /// Whether it is valid by itself, and if not, why.
    pub(crate) valid: Result<(), String>,
    /// How large the message was that it came in.
    pub(crate) n_bytes: usize,
}

impl Brought {
    /// Checks a message, brings what it has into the form of today, and its tasks into the form that is kept.
    pub(crate) fn unpack(mut message: ReregisterSlaveMessage, n_bytes: usize) -> Self {
        let valid = validation::agent::reregister(&message)
            .and_then(|()| upgrade(&mut message).map_err(|error| error.to_string()));
        let (mut tasks, mut total) = (Vec::new(), Resources::new());
        if valid.is_ok() {
            fill_roles(&mut message);
            tasks = records(&mut message);
            total = super::join::total(&message.slave, &message.checkpointed_resources);
        }
        message.tasks = Vec::new();
        Brought { message: Box::new(message), tasks, total, valid, n_bytes }
    }
}

fn upgrade(message: &mut ReregisterSlaveMessage) -> Result<(), ResourceError> {
    upgrade_all(&mut message.slave.resources)?;
    upgrade_all(&mut message.checkpointed_resources)?;
    for executor in &mut message.executor_infos {
        upgrade_all(&mut executor.resources)?;
    }
    message.tasks.iter_mut().try_for_each(|task| upgrade_all(&mut task.resources))
}

/// Agents of old do not say for which role the resources of a framework with a single one are allocated.
fn fill_roles(message: &mut ReregisterSlaveMessage) {
    let roles: BTreeMap<&FrameworkId, String> =
        message.frameworks.iter().filter_map(|info| Some((info.id.as_ref()?, single_role(info)?))).collect();
    let fill = |id: &FrameworkId, resources: &mut [Resource]| {
        let Some(role) = roles.get(id) else { return };
        for resource in resources {
            resource.allocation_info.get_or_insert_with(|| AllocationInfo { role: Some(role.clone()) });
        }
    };
    for task in &mut message.tasks {
        fill(&task.framework_id, &mut task.resources);
    }
    for executor in &mut message.executor_infos {
        if let Some(id) = &executor.framework_id {
            fill(id, &mut executor.resources);
        }
    }
}

/// The tasks. What they have in common they share: the ids of their agent and framework, and, as the tasks of one
/// agent are often alike, what they hold.
fn records(message: &mut ReregisterSlaveMessage) -> Vec<TaskRecord> {
    let tasks = std::mem::take(&mut message.tasks);
    let agent_id = message.slave.id.clone().unwrap_or_default();
    let mut framework_id = FrameworkId::default();
    let mut like: Option<(Vec<Resource>, Arc<Resources>)> = None;
    let record = |mut task: api::v1::Task| {
        if task.framework_id != framework_id {
            framework_id.clone_from(&task.framework_id);
        }
        task.framework_id.clone_from(&framework_id);
        task.agent_id.clone_from(&agent_id);
        let held = match &like {
            Some((resources, held)) if *resources == task.resources => held.clone(),
            _ => {
                let held = Arc::new(Resources::from_checked(&task.resources));
                like = Some((task.resources.clone(), held.clone()));
                held
            }
        };
        TaskRecord::holding(task, held)
    };
    tasks.into_iter().map(record).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::v1::framework_info::{Capability, capability};
    use api::v1::{AgentInfo, FrameworkInfo, Task, TaskState};

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

    #[test]
    fn tasks_get_the_only_role_of_their_framework_and_share_what_is_alike() {
        let brought = Brought::unpack(
            message(vec![
                task("t1", "one-role", "cpus:1"),
                task("t2", "one-role", "cpus:1"),
                task("t3", "one-role", "cpus:2"),
                task("t4", "many-roles", "cpus:1"),
            ]),
            1,
        );
        assert_eq!(brought.valid, Ok(()));
        assert!(brought.message.tasks.is_empty());
        assert_eq!(brought.total, Resources::parse("cpus:8;mem:1024", "*").unwrap());
        let held = |n: usize| brought.tasks[n].resources();
        let roles: Vec<_> = (0..4).map(|n| held(n).allocation_role()).collect();
        assert_eq!(roles, [Some("prod"), Some("prod"), Some("prod"), None]);
        assert!(std::ptr::eq(held(0), held(1)));
        assert_ne!(held(1), held(2));
        let same = |n: usize| brought.tasks[n].agent_id.as_str().as_ptr();
        assert_eq!(same(0), same(3));
    }

    #[test]
    fn of_what_is_not_valid_nothing_is_taken() {
        let brought = Brought::unpack(message(vec![task("t1", "unheard-of", "cpus:1")]), 1);
        let why = brought.valid.unwrap_err();
        assert!(why.contains("unheard-of, which is not listed"), "{why}");
        assert!(brought.tasks.is_empty() && brought.message.tasks.is_empty());
    }
}
