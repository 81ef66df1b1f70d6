//! The documents in Mesos's classic shapes.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::resources::{Classic, Resources, to_endpoint};
use api::v1::value::Type;
use api::v1::{
    AgentId, AgentInfo, Attribute, CommandInfo, ExecutorInfo, FrameworkInfo, Resource, Task, TaskState,
};

use super::json::{Array, Object};
use super::reads::Document;
use super::snapshot::Snapshot;
use super::standby::write_leader;
use super::write_version;
use crate::agents::Agent;
use crate::effect::Connection;
use crate::frameworks::{Framework, sum};
use crate::offers::OfferRecord;
use crate::tasks::TaskRecord;

pub(crate) fn write(document: Document, snapshot: &Snapshot, out: &mut Vec<u8>) {
    match document {
        Document::State => state(snapshot, out),
        Document::Summary => summary(snapshot, out),
        Document::Slaves => out.extend(slaves(snapshot, None)),
        Document::Frameworks => out.extend(frameworks(snapshot, None)),
    }
}

fn state(snapshot: &Snapshot, out: &mut Vec<u8>) {
    let info = &snapshot.info;
    let mut object = Object::new(out);
    write_version(&mut object);
    object.serialize("start_time", &snapshot.started.as_secs_f64());
    object.optional("elected_time", snapshot.elected.map(|at| at.as_secs_f64()).as_ref());
    object.field("id", &info.id);
    object.field("pid", info.pid());
    object.field("hostname", info.hostname());
    let mut capabilities = object.array("capabilities");
    for capability in &info.capabilities {
        capabilities.serialize(capability.r#type().as_str_name());
    }
    capabilities.end();
    let active = snapshot.agents.values().filter(|agent| agent.active).count();
    object.serialize("activated_slaves", &active);
    object.serialize("deactivated_slaves", &(snapshot.agents.len() - active));
    object.serialize("unreachable_slaves", &snapshot.n_unreachable);
    object.optional("domain", info.domain.as_ref());
    object.field("leader", info.pid());
    write_leader(&mut object, info);
    object.optional("cluster", snapshot.cluster_name.as_ref());
    object.serialize("flags", &*snapshot.flags);
    let mut slaves = object.array("slaves");
    for agent in snapshot.agents.values() {
        let mut slave = slaves.object();
        agent_fields(&mut slave, agent, snapshot);
        slave.end();
    }
    slaves.end();
    recovered(&mut object, snapshot, None);
    framework_lists(&mut object, snapshot, None);
    object.array("orphan_tasks").end();
    object.array("unregistered_frameworks").end();
    object.end();
}

/// `/slaves`: agents with their resources in full; one of them, or all.
pub(crate) fn slaves(snapshot: &Snapshot, only: Option<&str>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut object = Object::new(&mut out);
    let mut slaves = object.array("slaves");
    for agent in snapshot.agents.values().filter(|agent| only.is_none_or(|id| agent.id.value == id)) {
        let mut slave = slaves.object();
        agent_fields(&mut slave, agent, snapshot);
        let mut full = slave.object("reserved_resources_full");
        for (role, resources) in agent.total.reservations() {
            full.serialize(&role, &messages(&resources));
        }
        full.end();
        slave.serialize("unreserved_resources_full", &messages(&agent.total.unreserved()));
        slave.serialize("used_resources_full", &messages(&agent.total_used()));
        slave.serialize("offered_resources_full", &messages(&offered(agent.offers.iter(), snapshot)));
        slave.end();
    }
    slaves.end();
    recovered(&mut object, snapshot, only);
    object.end();
    out
}

/// With their reservations in both formats, for tools that know only one.
fn messages(resources: &Resources) -> Vec<Resource> {
    let mut messages = resources.to_messages();
    messages.iter_mut().for_each(to_endpoint);
    messages
}

/// `/frameworks`: one of them, or all.
pub(crate) fn frameworks(snapshot: &Snapshot, only: Option<&str>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut object = Object::new(&mut out);
    framework_lists(&mut object, snapshot, only);
    object.array("unregistered_frameworks").end();
    object.end();
    out
}

fn framework_lists(object: &mut Object<'_>, snapshot: &Snapshot, only: Option<&str>) {
    let wanted = |framework: &&Arc<Framework>| only.is_none_or(|id| framework.id.value == id);
    let mut list = object.array("frameworks");
    for framework in snapshot.frameworks.values().filter(wanted) {
        framework_fields(list.object(), framework, snapshot);
    }
    list.end();
    let mut list = object.array("completed_frameworks");
    for framework in snapshot.completed.iter().filter(wanted) {
        framework_fields(list.object(), framework, snapshot);
    }
    list.end();
}

fn recovered(object: &mut Object<'_>, snapshot: &Snapshot, only: Option<&str>) {
    let mut list = object.array("recovered_slaves");
    for (id, info) in snapshot.recovered.iter().filter(|(id, _)| only.is_none_or(|only| id.value == only)) {
        let mut slave = list.object();
        identity(&mut slave, id, info);
        slave.end();
    }
    list.end();
}

fn identity(slave: &mut Object<'_>, id: &AgentId, info: &AgentInfo) {
    slave.field("id", &id.value);
    slave.field("hostname", &info.hostname);
    slave.serialize("port", &info.port());
    attributes(slave.object("attributes"), &info.attributes);
    slave.optional("domain", info.domain.as_ref());
}

fn attributes(mut object: Object<'_>, attributes: &[Attribute]) {
    for attribute in attributes {
        let name = attribute.name.as_str();
        match attribute.r#type() {
            Type::Scalar => {
                object.serialize(name, &attribute.scalar.as_ref().map_or(0.0, |scalar| scalar.value))
            }
            Type::Text => object.field(name, attribute.text.as_ref().map_or("", |text| text.value.as_str())),
            Type::Ranges => {
                let ranges = attribute.ranges.iter().flat_map(|it| &it.range);
                let text: Vec<_> = ranges.map(|range| format!("{}-{}", range.begin, range.end)).collect();
                object.field(name, &format!("[{}]", text.join(", ")));
            }
            Type::Set => {
                let items = attribute.set.as_ref().map(|set| set.item.join(", ")).unwrap_or_default();
                object.field(name, &format!("{{{items}}}"));
            }
        }
    }
    object.end();
}

fn agent_fields(slave: &mut Object<'_>, agent: &Agent, snapshot: &Snapshot) {
    identity(slave, &agent.id, &agent.info);
    slave.field("pid", &agent.pid.to_string());
    slave.serialize("registered_time", &agent.registered.as_secs_f64());
    slave.optional("reregistered_time", agent.reregistered.map(|at| at.as_secs_f64()).as_ref());
    slave.serialize("resources", &Classic(&agent.total));
    slave.serialize("used_resources", &Classic(&agent.total_used()));
    slave.serialize("offered_resources", &Classic(&offered(agent.offers.iter(), snapshot)));
    let mut reserved = slave.object("reserved_resources");
    for (role, resources) in agent.total.reservations() {
        reserved.serialize(&role, &Classic(&resources));
    }
    reserved.end();
    slave.serialize("unreserved_resources", &Classic(&agent.total.unreserved()));
    slave.serialize("active", &agent.active);
    let orders = snapshot.orders.get(&agent.id).copied().unwrap_or_default();
    slave.serialize("deactivated", &orders.deactivated);
    slave.optional("drain_info", orders.drain.as_ref());
    slave.field("version", &agent.version);
    let mut capabilities = slave.array("capabilities");
    for capability in &agent.capability_list {
        capabilities.serialize(capability.r#type().as_str_name());
    }
    capabilities.end();
}

fn offered<'a>(ids: impl Iterator<Item = &'a api::v1::OfferId>, snapshot: &Snapshot) -> Resources {
    sum(ids.filter_map(|id| snapshot.offers.get(id)).map(|offer| &offer.resources))
}

/// What `/state-summary` shows of a framework too.
fn framework_identity(object: &mut Object<'_>, framework: &Framework, used: &Resources, offered: &Resources) {
    let info = &framework.info;
    object.field("id", &framework.id.value);
    object.field("name", &info.name);
    if let Some(Connection::Driver(pid)) = &framework.connection {
        object.field("pid", &pid.to_string());
    }
    object.serialize("used_resources", &Classic(used));
    object.serialize("offered_resources", &Classic(offered));
    let mut capabilities = object.array("capabilities");
    for capability in &info.capabilities {
        capabilities.serialize(capability.r#type().as_str_name());
    }
    capabilities.end();
    object.field("hostname", info.hostname());
    object.field("webui_url", info.webui_url());
    object.serialize("active", &framework.active);
    object.serialize("connected", &framework.is_connected());
    object.serialize("recovered", &framework.recovered);
}

fn framework_fields(mut object: Object<'_>, framework: &Framework, snapshot: &Snapshot) {
    let info: &FrameworkInfo = &framework.info;
    let used = framework.total_used();
    let offered = offered(framework.offers.iter(), snapshot);
    framework_identity(&mut object, framework, &used, &offered);
    object.field("user", &info.user);
    object.serialize("failover_timeout", &info.failover_timeout());
    object.serialize("checkpoint", &info.checkpoint());
    object.serialize("registered_time", &framework.registered.as_secs_f64());
    object.serialize("unregistered_time", &framework.unregistered.map_or(0.0, |at| at.as_secs_f64()));
    object.optional("principal", info.principal.as_ref());
    object.serialize("resources", &Classic(&(used + &offered)));
    object.optional("reregistered_time", framework.reregistered.map(|at| at.as_secs_f64()).as_ref());
    if framework.capabilities.multi_role {
        object.serialize("roles", &info.roles);
    } else {
        #[allow(deprecated)]
        object.field("role", info.role());
    }
    tasks_field(object.array("tasks"), framework.tasks.values());
    tasks_field(object.array("unreachable_tasks"), framework.unreachable_tasks.iter());
    tasks_field(object.array("completed_tasks"), framework.completed_tasks.iter());
    let mut offers = object.array("offers");
    for offer in framework.offers.iter().filter_map(|id| snapshot.offers.get(id)) {
        offer_fields(offers.object(), offer);
    }
    offers.end();
    let mut executors = object.array("executors");
    for ((agent_id, _), executor) in &framework.executors {
        executor_fields(executors.object(), framework, agent_id, executor);
    }
    executors.end();
    object.optional("labels", info.labels.as_ref().map(|labels| &labels.labels));
    match &framework.options.constraints {
        Some(constraints) => object.serialize("offer_constraints", constraints),
        None => object.object("offer_constraints").end(),
    }
    object.end();
}

fn tasks_field<'a>(mut array: Array<'_>, tasks: impl Iterator<Item = &'a Arc<TaskRecord>>) {
    for task in tasks {
        array.raw(task.json(task_fragment));
    }
    array.end();
}

/// A task as it stands in every list; made once for each state of the task.
fn task_fragment(task: &Task) -> Vec<u8> {
    let mut out = Vec::with_capacity(768);
    let mut object = Object::new(&mut out);
    object.field("id", &task.task_id.value);
    object.field("name", &task.name);
    object.field("framework_id", &task.framework_id.value);
    object.field("executor_id", task.executor_id.as_ref().map_or("", |id| id.value.as_str()));
    object.field("slave_id", &task.agent_id.value);
    object.field("state", task.state().as_str_name());
    let resources = Resources::from_checked(&task.resources);
    object.serialize("resources", &Classic(&resources));
    if !task.limits.is_empty() {
        let limits: BTreeMap<_, _> = task.limits.iter().collect();
        let mut shown = object.object("limits");
        for (name, limit) in limits {
            // JSON has no number for it.
            if limit.value.is_finite() {
                shown.serialize(name, &limit.value);
            } else {
                shown.field(name, "Infinity");
            }
        }
        shown.end();
    }
    object.field("role", resources.allocation_role().unwrap_or("*"));
    let mut statuses = object.array("statuses");
    for status in &task.statuses {
        let mut shown = statuses.object();
        shown.field("state", status.state().as_str_name());
        shown.serialize("timestamp", &status.timestamp());
        shown.optional("labels", status.labels.as_ref().map(|labels| &labels.labels));
        shown.optional("container_status", status.container_status.as_ref());
        shown.optional("healthy", status.healthy.as_ref());
        shown.end();
    }
    statuses.end();
    object.optional("user", task.user.as_ref());
    object.optional("labels", task.labels.as_ref().map(|labels| &labels.labels));
    object.optional("discovery", task.discovery.as_ref());
    object.optional("container", task.container.as_ref());
    object.optional("health_check", task.health_check.as_ref());
    object.end();
    out.shrink_to_fit();
    out
}

fn offer_fields(mut object: Object<'_>, offer: &OfferRecord) {
    object.field("id", &offer.id().value);
    object.field("framework_id", &offer.framework_id().value);
    object.optional("allocation_info", offer.offer.allocation_info.as_ref());
    object.field("slave_id", &offer.agent_id().value);
    object.serialize("resources", &Classic(&offer.resources));
    object.end();
}

fn executor_fields(
    mut object: Object<'_>,
    framework: &Framework,
    agent_id: &AgentId,
    executor: &ExecutorInfo,
) {
    object.field("executor_id", &executor.executor_id.value);
    object.field("name", executor.name());
    object.field("framework_id", &framework.id.value);
    command(object.object("command"), executor.command.as_ref());
    let resources = Resources::from_checked(&executor.resources);
    object.serialize("resources", &Classic(&resources));
    object.optional("role", resources.allocation_role());
    object.optional("labels", executor.labels.as_ref().map(|labels| &labels.labels));
    object.optional("type", executor.r#type.map(|_| executor.r#type().as_str_name()));
    object.field("slave_id", &agent_id.value);
    object.end();
}

fn command(mut object: Object<'_>, command: Option<&CommandInfo>) {
    if let Some(command) = command {
        object.optional("shell", command.shell.as_ref());
        object.optional("value", command.value.as_ref());
        object.serialize("argv", &command.arguments);
        object.optional("environment", command.environment.as_ref());
        let mut uris = object.array("uris");
        for uri in &command.uris {
            let mut shown = uris.object();
            shown.field("value", &uri.value);
            shown.serialize("executable", &uri.executable());
            shown.end();
        }
        uris.end();
    }
    object.end();
}

/// The counts of tasks by state that `/state-summary` shows.
const COUNTED: [TaskState; 10] = [
    TaskState::TaskStaging,
    TaskState::TaskStarting,
    TaskState::TaskRunning,
    TaskState::TaskKilling,
    TaskState::TaskFinished,
    TaskState::TaskKilled,
    TaskState::TaskFailed,
    TaskState::TaskLost,
    TaskState::TaskError,
    TaskState::TaskUnreachable,
];

#[derive(Default, Clone)]
struct Counts<'a> {
    by_state: BTreeMap<i32, u64>,
    others: std::collections::BTreeSet<&'a str>,
}

impl Counts<'_> {
    fn write(&self, object: &mut Object<'_>, others: &str) {
        for state in COUNTED {
            let count = self.by_state.get(&i32::from(state)).copied().unwrap_or(0);
            object.serialize(state.as_str_name(), &count);
        }
        object.serialize(others, &self.others);
    }
}

fn summary(snapshot: &Snapshot, out: &mut Vec<u8>) {
    let mut by_agent: BTreeMap<&AgentId, Counts<'_>> = BTreeMap::new();
    let mut by_framework: BTreeMap<&str, Counts<'_>> = BTreeMap::new();
    for framework in snapshot.frameworks.values() {
        let own = by_framework.entry(&framework.id.value).or_default();
        let tasks = framework.tasks.values();
        for task in tasks.chain(framework.unreachable_tasks.iter()).chain(&framework.completed_tasks) {
            *own.by_state.entry(task.state().into()).or_default() += 1;
            own.others.insert(&task.agent_id.value);
            let agent = by_agent.entry(&task.agent_id).or_default();
            *agent.by_state.entry(task.state().into()).or_default() += 1;
            agent.others.insert(&framework.id.value);
        }
    }
    let mut object = Object::new(out);
    object.field("hostname", snapshot.info.hostname());
    object.optional("cluster", snapshot.cluster_name.as_ref());
    let mut slaves = object.array("slaves");
    for agent in snapshot.agents.values() {
        let mut slave = slaves.object();
        agent_fields(&mut slave, agent, snapshot);
        by_agent.remove(&agent.id).unwrap_or_default().write(&mut slave, "framework_ids");
        slave.end();
    }
    slaves.end();
    let mut frameworks = object.array("frameworks");
    for framework in snapshot.frameworks.values() {
        let mut shown = frameworks.object();
        let offered = offered(framework.offers.iter(), snapshot);
        framework_identity(&mut shown, framework, &framework.total_used(), &offered);
        by_framework.remove(framework.id.as_str()).unwrap_or_default().write(&mut shown, "slave_ids");
        shown.end();
    }
    frameworks.end();
    object.end();
}

/// Which tasks `/tasks` shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Page {
    limit: usize,
    offset: usize,
    ascending: bool,
    framework_id: Option<String>,
    task_id: Option<String>,
}

impl Page {
    /// From the query; what is no number counts as not given.
    pub(crate) fn of(query: &BTreeMap<String, String>) -> Self {
        let number =
            |name: &str, default| query.get(name).and_then(|text| text.parse().ok()).unwrap_or(default);
        Page {
            limit: number("limit", 100),
            offset: number("offset", 0),
            ascending: query.get("order").is_some_and(|order| order == "asc"),
            framework_id: query.get("framework_id").cloned(),
            task_id: query.get("task_id").cloned(),
        }
    }
}

/// `/tasks`: by the time of their first status, a page of them.
pub(crate) fn tasks(snapshot: &Snapshot, page: &Page) -> Vec<u8> {
    let mut tasks: Vec<&Arc<TaskRecord>> = Vec::new();
    for framework in snapshot.frameworks.values().chain(&snapshot.completed) {
        if page.framework_id.as_ref().is_some_and(|id| framework.id.value != *id) {
            continue;
        }
        let all = framework.tasks.values();
        let all = all.chain(framework.unreachable_tasks.iter()).chain(&framework.completed_tasks);
        tasks.extend(all.filter(|task| page.task_id.as_ref().is_none_or(|id| task.task_id.value == *id)));
    }
    // A task nobody has heard of yet is the youngest when ascending, and last when descending.
    if page.ascending {
        tasks.sort_by(|a, b| {
            a.first_heard().unwrap_or(f64::INFINITY).total_cmp(&b.first_heard().unwrap_or(f64::INFINITY))
        });
    } else {
        tasks.sort_by(|a, b| {
            b.first_heard()
                .unwrap_or(f64::NEG_INFINITY)
                .total_cmp(&a.first_heard().unwrap_or(f64::NEG_INFINITY))
        });
    }
    let mut out = Vec::new();
    let mut object = Object::new(&mut out);
    tasks_field(object.array("tasks"), tasks.into_iter().skip(page.offset).take(page.limit));
    object.end();
    out
}

#[cfg(test)]
mod tests;
