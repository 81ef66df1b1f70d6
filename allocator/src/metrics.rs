//! What the allocator tells of itself, under the names operators know.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use api::resources::{Name, Scalar};
use libprocess::Context;
use libprocess::metrics::{Counter, Queued, TimerMetric};

use crate::{Allocator, AllocatorProcess};

/// For how long timers keep what they measured.
const WINDOW: Duration = Duration::from_secs(60 * 60);

pub(crate) struct Metrics {
    pub(crate) runs: Counter,
    /// How long a cycle takes.
    pub(crate) run: TimerMetric,
    /// How long a cycle waits in the queue.
    pub(crate) run_latency: TimerMetric,
    of_roles: BTreeSet<(Arc<str>, OfRole)>,
    roles_version: Option<(u64, usize)>,
}

/// What a gauge tells of a role.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum OfRole {
    Share,
    Refusals,
    Guarantee(Name),
    Limit(Name),
    Consumed(Name),
    /// Offered or allocated.
    Held(Name),
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
        // The second is its older name.
        for name in ["allocator/mesos/event_queue_dispatches", "allocator/event_queue_dispatches"] {
            ctx.queue_gauge(name, Queued::Dispatches);
        }
        let metrics = ctx.metrics();
        Metrics {
            runs: metrics.counter("allocator/mesos/allocation_runs"),
            run: metrics.timer("allocator/mesos/allocation_run", WINDOW),
            run_latency: metrics.timer("allocator/mesos/allocation_run_latency", WINDOW),
            of_roles: BTreeSet::new(),
            roles_version: None,
        }
    }

    /// Brings the gauges of roles in line with the roles there are. Done once per cycle: roles come and go
    /// with frameworks, and thousands of these may come at once after a failover.
    pub(crate) fn update_roles(&mut self, state: &Allocator, ctx: &mut Context<AllocatorProcess>) {
        if self.roles_version == Some(state.roles_version()) {
            return;
        }
        self.roles_version = Some(state.roles_version());
        let of_roles = of_roles(state);
        for (role, gauge) in self.of_roles.difference(&of_roles) {
            ctx.metrics().remove(&gauge.path(role));
        }
        for (role, gauge) in of_roles.difference(&self.of_roles) {
            let path = gauge.path(role);
            let (role, gauge) = (role.clone(), gauge.clone());
            ctx.pull_gauge(&path, move |process| gauge.value(&role, process.state()));
        }
        self.of_roles = of_roles;
    }
}

/// All there is to tell: of each role of the tree what it consumes, of one with a quota that, and of one with
/// frameworks its share.
fn of_roles(state: &Allocator) -> BTreeSet<(Arc<str>, OfRole)> {
    let mut all = BTreeSet::new();
    for role in state.role_tree() {
        let role: Arc<str> = role.into();
        all.insert((role.clone(), OfRole::Refusals));
        all.extend(state.scalars().map(|name| (role.clone(), OfRole::Consumed(name.clone()))));
    }
    all.extend(state.roles().map(|role| (role.into(), OfRole::Share)));
    for (role, quota) in state.quotas() {
        let role: Arc<str> = role.into();
        for (name, _) in quota.guarantees.iter() {
            all.insert((role.clone(), OfRole::Guarantee(name.clone())));
            all.insert((role.clone(), OfRole::Held(name.clone())));
        }
        for (name, _) in quota.limits.iter() {
            all.insert((role.clone(), OfRole::Limit(name.clone())));
            all.insert((role.clone(), OfRole::Held(name.clone())));
        }
    }
    all
}

impl OfRole {
    fn path(&self, role: &str) -> String {
        let quota = |name: &Name, what| format!("allocator/mesos/quota/roles/{role}/resources/{name}/{what}");
        match self {
            OfRole::Share => format!("allocator/mesos/roles/{role}/shares/dominant"),
            OfRole::Refusals => format!("allocator/mesos/offer_filters/roles/{role}/active"),
            OfRole::Guarantee(name) => quota(name, "guarantee"),
            OfRole::Limit(name) => quota(name, "limit"),
            OfRole::Consumed(name) => quota(name, "consumed"),
            OfRole::Held(name) => quota(name, "offered_or_allocated"),
        }
    }

    fn value(&self, role: &str, state: &Allocator) -> f64 {
        match self {
            OfRole::Share => state.weighted_share(role).unwrap_or_default(),
            OfRole::Refusals => state.n_refusals(role).unwrap_or_default() as f64,
            OfRole::Guarantee(name) => state.quota(role).map_or(0.0, |it| it.guarantees.get(name).to_f64()),
            OfRole::Limit(name) => {
                let limit = state.quota(role).and_then(|it| it.limits.get(name));
                limit.map_or(f64::INFINITY, Scalar::to_f64)
            }
            OfRole::Consumed(name) => state.consumed_quota(role, name),
            OfRole::Held(name) => state.held_by_role(role, name),
        }
    }
}
