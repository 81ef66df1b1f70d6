//! `/state` and `/flags`.

use api::resources::Resources;
use api::v1::{Attribute, CommandInfo, Label, Labels, Resource, Task, TaskInfo, TaskStatus, value};
use libprocess::Context;
use libprocess::http::{Request, Response};
use serde_json::{Map, Value, json};

use crate::actor::{Agent, capabilities};
use crate::command_task::allocation_role;
use crate::task_state;
use crate::workload::{Executor, Framework, is_capable_of};

pub(super) fn flags(agent: &mut Agent, request: Request, _ctx: &mut Context<Agent>) -> Response {
    super::json(&request, &json!({ "flags": agent.flags.shown() }))
}

pub(super) fn state(agent: &mut Agent, request: Request, ctx: &mut Context<Agent>) -> Response {
    super::json(&request, &document(agent, &ctx.upid().to_string()))
}

fn document(agent: &Agent, pid: &str) -> Value {
    let workload = &agent.workload;
    let total = Resources::from_checked(&workload.info.resources);
    let allocated: Vec<&Resource> =
        workload.executors().flat_map(|(_, executor)| executor.resources()).collect();
    let allocated = Resources::from_checked(allocated).unallocated();
    let by_role = |resources: &Resources| -> Map<String, Value> {
        resources
            .reservations()
            .into_iter()
            .map(|(role, of)| (role, resources_of(&of.to_messages())))
            .collect()
    };
    let by_role_full = |resources: &Resources| -> Map<String, Value> {
        let full =
            |of: Resources| Value::Array(of.to_endpoint_messages().iter().map(api::json::to_value).collect());
        resources.reservations().into_iter().map(|(role, of)| (role, full(of))).collect()
    };
    let mut state = json!({
        "version": crate::MESOS_VERSION,
        "build_date": "",
        "build_time": 0.0,
        "build_user": "",
        "start_time": agent.started.as_secs_f64(),
        "id": workload.agent_id().value,
        "pid": pid,
        "hostname": workload.info.hostname,
        "capabilities": capabilities().iter().map(|can| can.r#type().as_str_name()).collect::<Vec<_>>(),
        "resources": resources_of(&workload.info.resources),
        "reserved_resources": by_role(&total.reserved()),
        "unreserved_resources": resources_of(&total.unreserved().to_messages()),
        "reserved_resources_full": by_role_full(&total.reserved()),
        "unreserved_resources_full": total.unreserved().to_endpoint_messages().iter().map(api::json::to_value).collect::<Vec<_>>(),
        "reserved_resources_allocated": by_role(&allocated.reserved()),
        "unreserved_resources_allocated": resources_of(&allocated.unreserved().to_messages()),
        "resource_providers": [],
        "attributes": attributes(&workload.info.attributes),
        "flags": agent.flags.shown(),
        "frameworks": workload.frameworks().map(framework).collect::<Vec<_>>(),
        "completed_frameworks": workload.completed_frameworks().map(framework).collect::<Vec<_>>(),
    });
    if let Some(domain) = &workload.info.domain {
        state["domain"] = api::json::to_value(domain);
    }
    if let Some(master) = agent.registration.registered_with() {
        let hostname = agent.registration.master_hostname().map(str::to_owned);
        state["master_hostname"] = hostname.unwrap_or_else(|| master.address().ip().to_string()).into();
    }
    state
}

#[allow(deprecated)] // Frameworks without roles per offer have `role`.
fn framework(framework: &Framework) -> Value {
    let info = &framework.info;
    let mut shown = json!({
        "id": framework.id.value,
        "name": info.name,
        "user": info.user,
        "failover_timeout": info.failover_timeout.unwrap_or(0.0),
        "checkpoint": framework.checkpoint(),
        "hostname": info.hostname.clone().unwrap_or_default(),
        "executors": framework.executors.values().map(executor).collect::<Vec<_>>(),
        "completed_executors": framework.completed_executors.iter().map(executor).collect::<Vec<_>>(),
    });
    if let Some(principal) = &info.principal {
        shown["principal"] = principal.clone().into();
    }
    if is_capable_of(info, api::v1::framework_info::capability::Type::MultiRole) {
        shown["roles"] = info.roles.clone().into();
    } else {
        shown["role"] = info.role.clone().unwrap_or_else(|| "*".to_owned()).into();
    }
    shown
}

fn executor(executor: &Executor) -> Value {
    let resources: Vec<Resource> = executor.resources().cloned().collect();
    let completed = executor.completed.iter().chain(executor.terminated.values());
    let mut shown = json!({
        "id": executor.id().value,
        "name": executor.name(),
        "source": executor.info.source.clone().unwrap_or_default(),
        "container": executor.container_id,
        "directory": executor.sandbox.display().to_string(),
        "resources": resources_of(&resources),
        "tasks": executor.launched.values().map(task).collect::<Vec<_>>(),
        "queued_tasks": executor.queued.values().map(queued).collect::<Vec<_>>(),
        "completed_tasks": completed.map(task).collect::<Vec<_>>(),
    });
    if let Some(role) = allocation_role(&resources) {
        shown["role"] = role.into();
    }
    if let Some(labels) = &executor.info.labels {
        shown["labels"] = self::labels(labels);
    }
    if let Some(kind) =
        executor.info.r#type.and_then(|kind| api::v1::executor_info::Type::try_from(kind).ok())
    {
        shown["type"] = kind.as_str_name().into();
    }
    shown
}

fn task(task: &Task) -> Value {
    let mut shown = json!({
        "id": task.task_id.value,
        "name": task.name,
        "framework_id": task.framework_id.value,
        "executor_id": task.executor_id.as_ref().map(|id| id.value.clone()).unwrap_or_default(),
        "slave_id": task.agent_id.value,
        "state": task_state::of_task(task).as_str_name(),
        "resources": resources_of(&task.resources),
        "role": allocation_role(&task.resources).unwrap_or("*"),
        "statuses": task.statuses.iter().map(status).collect::<Vec<_>>(),
    });
    let optional = [
        ("user", task.user.clone().map(Value::from)),
        ("labels", task.labels.as_ref().map(labels)),
        ("discovery", task.discovery.as_ref().map(api::json::to_value)),
        ("container", task.container.as_ref().map(api::json::to_value)),
        ("health_check", task.health_check.as_ref().map(api::json::to_value)),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            shown[name] = value;
        }
    }
    shown
}

fn status(status: &TaskStatus) -> Value {
    let mut shown = json!({
        "state": task_state::of(status).as_str_name(),
        "timestamp": status.timestamp.unwrap_or(0.0),
    });
    if let Some(labels) = &status.labels {
        shown["labels"] = self::labels(labels);
    }
    if let Some(container) = &status.container_status {
        shown["container_status"] = api::json::to_value(container);
    }
    if let Some(healthy) = status.healthy {
        shown["healthy"] = healthy.into();
    }
    shown
}

fn queued(task: &TaskInfo) -> Value {
    let mut shown = json!({
        "id": task.task_id.value,
        "name": task.name,
        "slave_id": task.agent_id.value,
        "resources": resources_of(&task.resources),
        "role": allocation_role(&task.resources).unwrap_or("*"),
    });
    if let Some(executor) = &task.executor {
        shown["executor_id"] = executor.executor_id.as_str().into();
    }
    if let Some(command) = &task.command {
        shown["command"] = self::command(command);
    }
    if let Some(discovery) = &task.discovery {
        shown["discovery"] = api::json::to_value(discovery);
    }
    shown
}

fn command(command: &CommandInfo) -> Value {
    let uris = command
        .uris
        .iter()
        .map(|uri| json!({ "value": uri.value, "executable": uri.executable.unwrap_or(false) }));
    let mut shown = json!({
        "shell": command.shell.unwrap_or(true),
        "argv": command.arguments,
        "uris": uris.collect::<Vec<_>>(),
    });
    if let Some(value) = &command.value {
        shown["value"] = value.clone().into();
    }
    if let Some(environment) = &command.environment {
        shown["environment"] = api::json::to_value(environment);
    }
    shown
}

fn labels(labels: &Labels) -> Value {
    let shown = |label: &Label| match &label.value {
        Some(value) => json!({ "key": label.key, "value": value }),
        None => json!({ "key": label.key }),
    };
    Value::Array(labels.labels.iter().map(shown).collect())
}

/// Resources as the classic endpoints show them: an object of amounts, the four well-known ones always there.
fn resources_of(resources: &[Resource]) -> Value {
    let mut shown = Map::new();
    for name in ["cpus", "gpus", "mem", "disk"] {
        shown.insert(name.to_owned(), json!(0.0));
    }
    for entry in Resources::from_checked(resources).unallocated().to_unreserved().iter() {
        let suffix = if entry.is_revocable() { "_revocable" } else { "" };
        let name = format!("{}{suffix}", entry.name().as_str());
        let message = Resource::from(entry);
        if let Some(scalar) = &message.scalar {
            let before = shown.get(&name).and_then(Value::as_f64).unwrap_or(0.0);
            // Thousandths: sums of doubles would show their rounding.
            shown.insert(name, json!(((before + scalar.value) * 1000.0).round() / 1000.0));
        } else if let Some(ranges) = &message.ranges {
            let text: Vec<_> =
                ranges.range.iter().map(|range| format!("{}-{}", range.begin, range.end)).collect();
            shown.insert(name, json!(format!("[{}]", text.join(", "))));
        } else if let Some(set) = &message.set {
            shown.insert(name, json!(format!("{{{}}}", set.item.join(", "))));
        }
    }
    Value::Object(shown)
}

fn attributes(attributes: &[Attribute]) -> Value {
    let value = |attribute: &Attribute| match attribute.r#type() {
        value::Type::Scalar => json!(attribute.scalar.as_ref().map_or(0.0, |scalar| scalar.value)),
        value::Type::Text => {
            json!(attribute.text.as_ref().map(|text| text.value.clone()).unwrap_or_default())
        }
        value::Type::Set => {
            let items = attribute.set.as_ref().map(|set| set.item.join(", ")).unwrap_or_default();
            json!(format!("{{{items}}}"))
        }
        value::Type::Ranges => {
            let ranges = attribute.ranges.iter().flat_map(|ranges| &ranges.range);
            let text: Vec<_> = ranges.map(|range| format!("{}-{}", range.begin, range.end)).collect();
            json!(format!("[{}]", text.join(", ")))
        }
    };
    Value::Object(attributes.iter().map(|attribute| (attribute.name.clone(), value(attribute))).collect())
}
