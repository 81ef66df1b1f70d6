//! What the master tells of itself in numbers, when asked.

use std::collections::BTreeMap;

use api::resources::{Entry, Resources};
use api::v1::TaskState;
use libprocess::Context;
use libprocess::metrics::Queued;

use crate::actor::Master;
use crate::cluster::Cluster;
use crate::frameworks::Framework;

/// The sums over all agents, kept until something changes.
#[derive(Debug, Default)]
pub(crate) struct Gauges {
    version: Option<u64>,
    values: BTreeMap<String, f64>,
}

const RESOURCES: [&str; 4] = ["cpus", "gpus", "mem", "disk"];

pub(crate) fn install(ctx: &mut Context<Master>) {
    let mut gauge = |name: &str, value: fn(&Cluster) -> f64| {
        ctx.pull_gauge(&format!("master/{name}"), move |master: &Master| value(&master.cluster));
    };
    gauge("slaves_connected", |it| agents(it, |agent| agent.connected));
    gauge("slaves_disconnected", |it| agents(it, |agent| !agent.connected));
    gauge("slaves_active", |it| agents(it, |agent| agent.active));
    gauge("slaves_inactive", |it| agents(it, |agent| !agent.active));
    gauge("slaves_unreachable", |it| it.agents.unreachable.len() as f64);
    gauge("frameworks_connected", |it| frameworks(it, Framework::is_connected));
    gauge("frameworks_disconnected", |it| frameworks(it, |framework| !framework.is_connected()));
    gauge("frameworks_active", |it| frameworks(it, |framework| framework.active));
    gauge("frameworks_inactive", |it| frameworks(it, |framework| !framework.active));
    gauge("outstanding_offers", |it| it.offers.len() as f64);
    gauge("tasks_staging", |it| it.n_tasks(TaskState::TaskStaging) as f64);
    gauge("tasks_starting", |it| it.n_tasks(TaskState::TaskStarting) as f64);
    gauge("tasks_running", |it| it.n_tasks(TaskState::TaskRunning) as f64);
    gauge("tasks_killing", |it| it.n_tasks(TaskState::TaskKilling) as f64);
    gauge("tasks_unreachable", |it| {
        it.frameworks.registered.values().map(|it| it.unreachable_tasks.len() as f64).sum()
    });
    ctx.queue_gauge("master/event_queue_messages", Queued::Messages);
    ctx.queue_gauge("master/event_queue_dispatches", Queued::Dispatches);
    ctx.queue_gauge("master/event_queue_http_requests", Queued::Requests);
    ctx.pull_gauge("master/elected", |master: &Master| f64::from(master.is_elected()));
    for name in RESOURCES {
        for revocable in ["", "_revocable"] {
            for what in ["total", "used", "percent"] {
                let key = format!("{name}{revocable}_{what}");
                ctx.pull_gauge(&format!("master/{key}"), move |master: &Master| total(master, &key));
            }
        }
    }
}

fn agents(cluster: &Cluster, which: impl Fn(&crate::agents::Agent) -> bool) -> f64 {
    cluster.agents.registered.values().filter(|agent| which(agent)).count() as f64
}

fn frameworks(cluster: &Cluster, which: impl Fn(&Framework) -> bool) -> f64 {
    cluster.frameworks.registered.values().filter(|framework| which(framework)).count() as f64
}

fn total(master: &Master, key: &str) -> f64 {
    let mut gauges = master.gauges.borrow_mut();
    if gauges.version != Some(master.version) {
        gauges.values = totals(&master.cluster);
        gauges.version = Some(master.version);
    }
    gauges.values.get(key).copied().unwrap_or(0.0)
}

fn totals(cluster: &Cluster) -> BTreeMap<String, f64> {
    let mut values = BTreeMap::new();
    let mut add = |resources: &Resources, what: &str| {
        for entry in resources.iter() {
            let Some(amount) = entry.scalar().filter(|_| RESOURCES.contains(&entry.name().as_str())) else {
                continue;
            };
            let revocable = if Entry::is_revocable(entry) { "_revocable" } else { "" };
            *values.entry(format!("{}{revocable}_{what}", entry.name())).or_insert(0.0) += amount.to_f64();
        }
    };
    for agent in cluster.agents.registered.values() {
        add(&agent.total, "total");
        for used in agent.used.values() {
            add(used, "used");
        }
    }
    for name in RESOURCES {
        for revocable in ["", "_revocable"] {
            let of = |what: &str| values.get(&format!("{name}{revocable}_{what}")).copied().unwrap_or(0.0);
            let percent = if of("total") > 0.0 { of("used") / of("total") } else { 0.0 };
            values.insert(format!("{name}{revocable}_percent"), percent);
        }
    }
    values
}
