//! What the allocator tells of itself, under the names operators know.

use std::collections::BTreeSet;
use std::time::Duration;

use api::resources::Name;
use libprocess::Context;
use libprocess::metrics::{Counter, TimerMetric};

use crate::AllocatorProcess;

/// For how long timers keep what they measured.
const WINDOW: Duration = Duration::from_secs(60 * 60);

pub(crate) struct Metrics {
    pub(crate) runs: Counter,
    /// How long a cycle takes.
    pub(crate) run: TimerMetric,
    /// How long a cycle waits in the queue.
    pub(crate) run_latency: TimerMetric,
    roles: BTreeSet<String>,
    roles_version: u64,
}

impl Metrics {
    pub(crate) fn new(ctx: &mut Context<AllocatorProcess>) -> Metrics {
        for (name, text) in [(Name::CPUS, "cpus"), (Name::MEM, "mem"), (Name::DISK, "disk")] {
            let (total, held) = (name.clone(), name);
            let gauge = |what| format!("allocator/mesos/resources/{text}/{what}");
            ctx.pull_gauge(&gauge("total"), move |process| process.state().total(&total));
            ctx.pull_gauge(&gauge("offered_or_allocated"), move |process| {
                process.state().offered_or_allocated(&held)
            });
        }
        let metrics = ctx.metrics();
        Metrics {
            runs: metrics.counter("allocator/mesos/allocation_runs"),
            run: metrics.timer("allocator/mesos/allocation_run", WINDOW),
            run_latency: metrics.timer("allocator/mesos/allocation_run_latency", WINDOW),
            roles: BTreeSet::new(),
            roles_version: 0,
        }
    }

    /// Brings the gauges of roles in line with the roles there are. Done once per cycle: roles come and go
    /// with frameworks, and thousands of these may come at once after a failover.
    pub(crate) fn update_roles(&mut self, state: &crate::Allocator, ctx: &mut Context<AllocatorProcess>) {
        if self.roles_version == state.roles_version() {
            return;
        }
        self.roles_version = state.roles_version();
        let roles: BTreeSet<String> = state.roles().map(str::to_owned).collect();
        for gone in self.roles.difference(&roles) {
            ctx.metrics().remove(&refusals(gone));
            ctx.metrics().remove(&share(gone));
        }
        for new in roles.difference(&self.roles) {
            let role = new.clone();
            ctx.pull_gauge(&refusals(new), move |process| {
                process.state().n_refusals(&role).unwrap_or_default() as f64
            });
            let role = new.clone();
            ctx.pull_gauge(&share(new), move |process| {
                process.state().weighted_share(&role).unwrap_or_default()
            });
        }
        self.roles = roles;
    }
}

fn refusals(role: &str) -> String {
    format!("allocator/mesos/offer_filters/roles/{role}/active")
}

fn share(role: &str) -> String {
    format!("allocator/mesos/roles/{role}/shares/dominant")
}
