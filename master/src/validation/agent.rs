//! What an agent sends when it registers or comes back.

use std::collections::BTreeSet;
use std::sync::Arc;

use api::internal::{RegisterSlaveMessage, ReregisterSlaveMessage};
use api::resources::Resources;
use api::v1::{AgentInfo, Resource, TaskState};

use super::Invalid;
use crate::tasks::TaskRecord;

/// The oldest agents this master works with.
const MINIMUM_VERSION: (u32, u32, u32) = (1, 0, 0);

fn info(info: &AgentInfo) -> Result<(), Invalid> {
    if let Some(id) = &info.id {
        id.validate().map_err(|error| format!("Not a valid agent id: {error}"))?;
    }
    resources(&info.resources)
}

fn resources(resources: &[Resource]) -> Result<(), Invalid> {
    Resources::try_from(resources).map(drop).map_err(|error| format!("Invalid resources: {error}"))
}

/// A first registration.
pub fn register(message: &RegisterSlaveMessage) -> Result<(), Invalid> {
    info(&message.slave)?;
    resources(&message.checkpointed_resources)
}

/// A registration of an agent that has an id, but for its tasks.
pub fn reregister(message: &ReregisterSlaveMessage) -> Result<(), Invalid> {
    info(&message.slave)?;
    message.slave.id.as_ref().ok_or("An agent that comes back must name its id")?;
    resources(&message.checkpointed_resources)?;

    let mut frameworks = BTreeSet::new();
    for framework in &message.frameworks {
        let id = framework.id.as_ref().ok_or("A framework in the message has no id")?;
        id.validate().map_err(|error| format!("Not a valid framework id: {error}"))?;
        if !frameworks.insert(id) {
            return Err(format!("Framework {id} is listed twice"));
        }
    }
    let mut executors = BTreeSet::new();
    for executor in &message.executor_infos {
        let framework_id =
            executor.framework_id.as_ref().ok_or("An executor in the message has no framework id")?;
        if !frameworks.contains(framework_id) {
            return Err(format!(
                "Executor {} belongs to framework {framework_id}, which is not listed",
                executor.executor_id
            ));
        }
        resources(&executor.resources)?;
        if !executors.insert((framework_id, &executor.executor_id)) {
            return Err(format!(
                "Executor {} of framework {framework_id} is listed twice",
                executor.executor_id
            ));
        }
    }
    Ok(())
}

/// The tasks of an agent that has an id, of which the registration is valid but for them. Their resources are.
pub(crate) fn listed_tasks(
    message: &ReregisterSlaveMessage,
    tasks: &[Arc<TaskRecord>],
) -> Result<(), Invalid> {
    let agent_id = message.slave.id.as_ref().ok_or("An agent that comes back must name its id")?;
    let frameworks: BTreeSet<_> = message.frameworks.iter().filter_map(|it| it.id.as_ref()).collect();
    let executors: BTreeSet<_> =
        message.executor_infos.iter().map(|it| (it.framework_id.as_ref(), &it.executor_id)).collect();
    for task in tasks {
        if task.agent_id != *agent_id {
            return Err(format!("Task {} is said to be on agent {}", task.task_id, task.agent_id));
        }
        if !frameworks.contains(&task.framework_id) {
            return Err(format!(
                "Task {} belongs to framework {}, which is not listed",
                task.task_id, task.framework_id
            ));
        }
        if let Some(executor_id) = &task.executor_id
            && task.state() == TaskState::TaskRunning
            && !executors.contains(&(Some(&task.framework_id), executor_id))
        {
            return Err(format!(
                "Task {} runs under executor {executor_id}, which is not listed",
                task.task_id
            ));
        }
    }
    let mut ids: Vec<_> = tasks.iter().map(|task| (&task.task_id, &task.framework_id)).collect();
    ids.sort_unstable();
    match ids.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => {
            let (task_id, framework_id) = pair[0];
            Err(format!("Task {task_id} of framework {framework_id} is listed twice"))
        }
        None => Ok(()),
    }
}

/// Whether an agent of that version can work with this master.
pub fn version(version: &str) -> Result<(), Invalid> {
    let core = version.split(['-', '+']).next().unwrap_or_default();
    let mut parts = core.split('.').map(str::parse::<u32>);
    let mut part = || parts.next().and_then(Result::ok);
    match (part(), part(), part()) {
        (Some(major), Some(minor), Some(patch)) if (major, minor, patch) >= MINIMUM_VERSION => Ok(()),
        (Some(_), Some(_), Some(_)) => Err(format!("Version '{version}' is older than the minimum, 1.0.0")),
        _ => Err(format!("Version '{version}' is not of the form major.minor.patch")),
    }
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn versions() {
        for good in ["1.0.0", "1.11.0", "1.12.0-dev", "2.0.0+build"] {
            assert_eq!(version(good), Ok(()), "{good}");
        }
        for bad in ["0.28.2", "", "1.2", "one.two.three"] {
            assert!(version(bad).is_err(), "{bad}");
        }
    }
}
