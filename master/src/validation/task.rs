//! Tasks, task groups and their executors, before they are launched.

use std::collections::{BTreeMap, BTreeSet};

use api::resources::{Resources, Value};
use api::v1::{
    ContainerInfo, ExecutorInfo, Resource, TaskGroupInfo, TaskInfo, container_info, executor_info,
    health_check,
};

use super::{Invalid, container, health};
use crate::agents::Agent;
use crate::frameworks::Framework;

/// The least an executor of a group has.
const MIN_CPUS: f64 = 0.01;
const MIN_MEM_MB: f64 = 32.0;

/// Where a task is to be launched.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// For whom.
    pub framework: &'a Framework,
    /// On which agent.
    pub agent: &'a Agent,
    /// What is left of the offers.
    pub available: &'a Resources,
}

/// A task of a LAUNCH.
pub fn single(task: &TaskInfo, place: Place<'_>) -> Result<(), Invalid> {
    common(task, place)?;
    match (&task.executor, &task.command) {
        (Some(_), Some(_)) | (None, None) => {
            return Err(
                "Task should have at least one (but not both) of CommandInfo or ExecutorInfo present".into(),
            );
        }
        (Some(info), None) => {
            executor(info, place)?;
            match info.r#type() {
                executor_info::Type::Default => {
                    return Err("'ExecutorInfo.type' must be 'CUSTOM' in a LAUNCH; a DEFAULT executor runs task groups".into());
                }
                executor_info::Type::Custom | executor_info::Type::Unknown if info.command.is_none() => {
                    return Err("'ExecutorInfo.command' must be set for 'CUSTOM' executor".into());
                }
                _ => {}
            }
        }
        (None, Some(_)) => {}
    }
    fits(std::slice::from_ref(task), task.executor.as_ref(), place)?;
    let own = |container: &Option<ContainerInfo>| !shares_cgroups(container.as_ref());
    if own(&task.container) {
        return Err(
            "The field `share_cgroups` in `LinuxInfo` may only be set to `false` on tasks of a task group"
                .into(),
        );
    }
    Ok(())
}

/// The executor and tasks of a LAUNCH_GROUP; the first failure stands for all.
pub fn group(info: &ExecutorInfo, group: &TaskGroupInfo, place: Place<'_>) -> Result<(), Invalid> {
    if group.tasks.is_empty() {
        return Err("Task group cannot be empty".into());
    }
    let mut seen = BTreeSet::new();
    for task in &group.tasks {
        group_member(task, info, place)
            .map_err(|error| format!("Task '{}' is invalid: {error}", task.task_id))?;
        if !seen.insert(&task.task_id) {
            return Err(format!("Task '{}' is in the task group twice", task.task_id));
        }
    }
    executor(info, place)?;
    match info.r#type() {
        executor_info::Type::Unknown => {
            return Err("'ExecutorInfo.type' must be set to DEFAULT or CUSTOM".into());
        }
        executor_info::Type::Custom if info.command.is_none() => {
            return Err("'ExecutorInfo.command' must be set for 'CUSTOM' executor".into());
        }
        _ => {}
    }
    if info.container.as_ref().is_some_and(is_docker) {
        return Err("Docker ContainerInfo is not supported on the executor of a task group".into());
    }
    let resources = Resources::from_checked(&info.resources);
    if resources.cpus().to_f64() < MIN_CPUS {
        return Err(format!(
            "Executor '{}' uses less CPUs ({}) than the minimum required ({MIN_CPUS})",
            info.executor_id,
            resources.cpus()
        ));
    }
    if resources.mem().to_f64() < MIN_MEM_MB {
        return Err(format!(
            "Executor '{}' uses less memory ({} MB) than the minimum required ({MIN_MEM_MB} MB)",
            info.executor_id,
            resources.mem()
        ));
    }
    if resources.disk().to_f64() <= 0.0 {
        return Err(format!("Executor '{}' has no disk; it needs some for its sandbox", info.executor_id));
    }
    let shares = shares_cgroups(group.tasks[0].container.as_ref());
    if group.tasks.iter().any(|task| shares_cgroups(task.container.as_ref()) != shares) {
        return Err(
            "The field `share_cgroups` in `LinuxInfo` must be the same for all tasks under one executor"
                .into(),
        );
    }
    fits(&group.tasks, Some(info), place)
}

fn group_member(task: &TaskInfo, info: &ExecutorInfo, place: Place<'_>) -> Result<(), Invalid> {
    common(task, place)?;
    match &task.executor {
        None => return Err("'TaskInfo.executor' must be set".into()),
        Some(own) if own != info => {
            return Err("The `ExecutorInfo` of task and task group must be identical".into());
        }
        Some(_) => {}
    }
    let networked = task.container.as_ref().is_some_and(|container| !container.network_infos.is_empty());
    if let Some(check) = task.health_check.as_ref().filter(|_| networked)
        && matches!(check.r#type(), health_check::Type::Http | health_check::Type::Tcp)
    {
        return Err("HTTP and TCP health checks are not supported for nested containers not joining the network of their executor".into());
    }
    if task.container.as_ref().is_some_and(is_docker) {
        return Err("Docker ContainerInfo is not supported on the task".into());
    }
    if !task.limits.is_empty() && shares_cgroups(task.container.as_ref()) {
        return Err("Resource limits may only be set for tasks within a task group when the field `share_cgroups` is set to `false`".into());
    }
    Ok(())
}

/// What holds for every task.
fn common(task: &TaskInfo, place: Place<'_>) -> Result<(), Invalid> {
    task.task_id.validate().map_err(|error| format!("TaskID is invalid: {error}"))?;
    if place.framework.tasks.contains_key(&task.task_id) {
        return Err(format!("Task has duplicate ID: {}", task.task_id));
    }
    if place.framework.unreachable_tasks.contains(&task.task_id) {
        return Err(format!("Task reuses the ID {} of a task on an unreachable agent", task.task_id));
    }
    if task.agent_id != place.agent.id {
        return Err(format!(
            "Task uses invalid agent {} while agent {} is expected",
            task.agent_id, place.agent.id
        ));
    }
    if task.kill_policy.as_ref().and_then(|it| it.grace_period).is_some_and(|grace| grace.nanoseconds < 0) {
        return Err("Task's 'kill_policy.grace_period' must be non-negative".into());
    }
    if task.max_completion_time.is_some_and(|time| time.nanoseconds < 0) {
        return Err("Task's 'max_completion_time' must be non-negative".into());
    }
    if let Some(check) = &task.check {
        health::check(check).map_err(|error| format!("Task uses invalid check: {error}"))?;
    }
    if let Some(check) = &task.health_check {
        health::health_check(check).map_err(|error| format!("Task uses invalid health check: {error}"))?;
    }
    if task.resources.is_empty() {
        return Err("Task uses no resources".into());
    }
    resources(&task.resources).map_err(|error| format!("Task uses invalid resources: {error}"))?;
    if let Some(command) = &task.command {
        health::command(command).map_err(|error| format!("Task's `CommandInfo` is invalid: {error}"))?;
    }
    if let Some(info) = &task.container {
        container::container(info).map_err(|error| format!("Task's `ContainerInfo` is invalid: {error}"))?;
    }
    limits(task, place.agent)
}

fn executor(info: &ExecutorInfo, place: Place<'_>) -> Result<(), Invalid> {
    info.executor_id.validate().map_err(|error| format!("Executor ID is invalid: {error}"))?;
    if info.shutdown_grace_period.is_some_and(|grace| grace.nanoseconds < 0) {
        return Err("ExecutorInfo's 'shutdown_grace_period' must be non-negative".into());
    }
    if let Some(command) = &info.command {
        health::command(command).map_err(|error| format!("Executor's `CommandInfo` is invalid: {error}"))?;
    }
    if let Some(own) = &info.container {
        container::container(own)
            .map_err(|error| format!("Executor's `ContainerInfo` is invalid: {error}"))?;
    }
    if info.r#type() == executor_info::Type::Default {
        if info.command.is_some() {
            return Err("'ExecutorInfo.command' must not be set for 'DEFAULT' executor".into());
        }
        if let Some(own) = &info.container {
            if own.r#type() != container_info::Type::Mesos {
                return Err("'ExecutorInfo.container.type' must be 'MESOS' for 'DEFAULT' executor".into());
            }
            if own.mesos.as_ref().is_some_and(|mesos| mesos.image.is_some()) {
                return Err(
                    "'ExecutorInfo.container.mesos.image' must not be set for 'DEFAULT' executor".into()
                );
            }
        }
    }
    match &info.framework_id {
        None => return Err("'ExecutorInfo.framework_id' must be set".into()),
        Some(id) if *id != place.framework.id => {
            return Err(format!(
                "ExecutorInfo has an invalid FrameworkID (Actual: {id} vs Expected: {})",
                place.framework.id
            ));
        }
        Some(_) => {}
    }
    resources(&info.resources).map_err(|error| format!("Executor uses invalid resources: {error}"))?;
    let own = Resources::from_checked(&info.resources);
    if !own.shared().is_empty() {
        return Err("Executor uses shared resources, which only tasks may".into());
    }
    if let Some(there) = place.agent.executor(&place.framework.id, &info.executor_id)
        && !same_executor(there, info)
    {
        return Err(format!(
            "ExecutorInfo is not compatible with existing ExecutorInfo of the same ExecutorID '{}': they must be identical",
            info.executor_id
        ));
    }
    if info
        .container
        .as_ref()
        .and_then(|it| it.linux_info.as_ref())
        .is_some_and(|linux| linux.share_cgroups == Some(true))
    {
        return Err("The field `share_cgroups` in `LinuxInfo` may not be set to `true` on executors".into());
    }
    Ok(())
}

/// Identical but for the order of resources.
fn same_executor(one: &ExecutorInfo, other: &ExecutorInfo) -> bool {
    let bare = |info: &ExecutorInfo| ExecutorInfo { resources: Vec::new(), ..info.clone() };
    Resources::from_checked(&one.resources) == Resources::from_checked(&other.resources)
        && bare(one) == bare(other)
}

fn resources(list: &[Resource]) -> Result<(), Invalid> {
    let parsed = Resources::try_from(list).map_err(|error| error.to_string())?;
    let mut volumes = BTreeSet::new();
    for entry in parsed.iter() {
        let reservation = entry.reservation_role().unwrap_or("*");
        if let Some(persistence) = entry.persistence()
            && !volumes.insert((reservation.to_owned(), persistence.id.clone()))
        {
            return Err(format!("Persistence ID '{}' is not unique", persistence.id));
        }
        if entry.is_revocable() && entry.is_dynamically_reserved() {
            return Err(format!(
                "Dynamically reserved resource '{}' cannot be created from revocable resources",
                entry.name()
            ));
        }
    }
    if parsed
        .iter()
        .any(|entry| entry.allocated_to() != parsed.iter().next().and_then(|first| first.allocated_to()))
    {
        return Err("The resources have multiple allocation roles".into());
    }
    let mut revocable = BTreeMap::new();
    for entry in parsed.iter() {
        if *revocable.entry(entry.name().clone()).or_insert(entry.is_revocable()) != entry.is_revocable() {
            return Err(format!(
                "Cannot use both revocable and non-revocable '{}' at the same time",
                entry.name()
            ));
        }
    }
    // One number or item in two entries of the same kind would be used twice.
    for (nth, one) in list.iter().enumerate() {
        for other in &list[nth + 1..] {
            let pair = |it: &Resource| {
                Resources::from_checked(std::iter::once(it)).iter().next().map(|it| it.value().clone())
            };
            let overlap = one.name == other.name
                && match (pair(one), pair(other)) {
                    (Some(Value::Ranges(a)), Some(Value::Ranges(b))) => a.intersects(&b),
                    (Some(Value::Set(a)), Some(Value::Set(b))) => a.intersects(&b),
                    _ => false,
                };
            if overlap {
                return Err(format!("The resources contain '{}' with overlapping values", one.name));
            }
        }
    }
    Ok(())
}

fn limits(task: &TaskInfo, agent: &Agent) -> Result<(), Invalid> {
    if task.limits.is_empty() {
        return Ok(());
    }
    if !agent.capabilities.task_resource_limits {
        return Err(format!("Agent {} is not capable of task resource limits", agent.id));
    }
    let requests = Resources::from_checked(&task.resources);
    let mut limits: Vec<_> = task.limits.iter().collect();
    limits.sort_by_key(|(name, _)| name.as_str());
    for (name, limit) in limits {
        let request = match name.as_str() {
            "cpus" => requests.cpus(),
            "mem" => requests.mem(),
            _ => {
                return Err(format!(
                    "Setting a limit on '{name}' is not supported; there are limits on 'cpus' and 'mem'"
                ));
            }
        }
        .to_f64();
        if request <= 0.0 {
            return Err(format!("When '{name}' has a limit, a request for it must be set too"));
        }
        if limit.value.is_nan() || limit.value < request {
            return Err(format!(
                "The limit on '{name}' ({}) is less than the request ({request})",
                limit.value
            ));
        }
    }
    Ok(())
}

/// Tasks, and their executor if it is not there yet, are contained in what is left of the offers.
fn fits(tasks: &[TaskInfo], info: Option<&ExecutorInfo>, place: Place<'_>) -> Result<(), Invalid> {
    let mut total = Resources::new();
    for task in tasks {
        let resources = Resources::from_checked(&task.resources);
        if overlaps(&total, &resources) {
            return Err(format!(
                "Task '{}' uses the same ports or items as another of its group",
                task.task_id
            ));
        }
        total += &resources;
    }
    let mut what = "task";
    if let Some(info) = info.filter(|info| !place.agent.has_executor(&place.framework.id, &info.executor_id))
    {
        let resources = Resources::from_checked(&info.resources);
        if overlaps(&total, &resources) {
            return Err(format!("Executor '{}' uses the same ports or items as its task", info.executor_id));
        }
        total += &resources;
        what = "task and its executor";
    }
    if place.available.contains(&total) {
        Ok(())
    } else {
        Err(format!("Total resources {total} required by {what} is more than available {}", place.available))
    }
}

fn overlaps(one: &Resources, other: &Resources) -> bool {
    let discrete = |resources: &Resources| resources.filter(|entry| entry.scalar().is_none());
    discrete(one).intersects(&discrete(other))
}

fn shares_cgroups(container: Option<&ContainerInfo>) -> bool {
    container.and_then(|it| it.linux_info.as_ref()).is_none_or(|linux| linux.share_cgroups())
}

fn is_docker(container: &ContainerInfo) -> bool {
    container.r#type() == container_info::Type::Docker
}
