//! What the allocator tells of itself, under the names operators know.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use api::resources::{Name, Scalar};
use libprocess::Context;
use libprocess::metrics::{Counter, Queued, TimerMetric};

use crate::{Allocator, AllocatorProcess, Quota};

/// For how long timers keep what they measured.
const WINDOW: Duration = Duration::from_secs(60 * 60);

/// Of so many scalar resources every role has a gauge of what it consumes: agents may have resources of any name,
/// and there may be thousands of roles.
const SCALARS_MAX: usize = 32;

pub(crate) struct Metrics {
    pub(crate) runs: Counter,
    /// How long a cycle takes.
    pub(crate) run: TimerMetric,
    /// How long a cycle waits in the queue.
    pub(crate) run_latency: TimerMetric,
    shown: Shown,
    roles_version: Option<(u64, u64)>,
}

/// The roles that have gauges.
#[derive(Default)]
struct Shown {
    tree: BTreeSet<Arc<str>>,
    with_frameworks: BTreeSet<Arc<str>>,
    quotas: BTreeMap<Arc<str>, Quota>,
    /// Resources of which each of the `tree` has a gauge.
    scalars: BTreeSet<Name>,
    /// There were more than [`SCALARS_MAX`].
    crowded: bool,
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
            shown: Shown::default(),
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
        self.shown.update(state, ctx);
    }
}

impl Shown {
    /// Thousands of roles may be there when one more comes: what stays is compared, and not touched.
    fn update(&mut self, state: &Allocator, ctx: &mut Context<AllocatorProcess>) {
        self.update_scalars(state, ctx);
        let of_tree = || {
            let consumed = self.scalars.iter().cloned().map(OfRole::Consumed);
            consumed.chain([OfRole::Refusals])
        };
        compare(&mut self.tree, &state.role_tree(), ctx, of_tree);
        compare(&mut self.with_frameworks, &state.roles().collect(), ctx, || [OfRole::Share]);

        let quotas: BTreeMap<Arc<str>, Quota> =
            state.quotas().map(|(role, quota)| (role.into(), quota.clone())).collect();
        for (role, quota) in &self.quotas {
            if quotas.get(role) != Some(quota) {
                of_quota(quota).into_iter().for_each(|gauge| gauge.hide(role, ctx));
            }
        }
        for (role, quota) in &quotas {
            if self.quotas.get(role) != Some(quota) {
                of_quota(quota).into_iter().for_each(|gauge| gauge.show(role, ctx));
            }
        }
        self.quotas = quotas;
    }

    /// Of more scalars than can be shown, the usual ones and those that quotas name come first.
    fn update_scalars(&mut self, state: &Allocator, ctx: &mut Context<AllocatorProcess>) {
        let there: BTreeSet<&Name> = state.scalars().collect();
        let usual = [Name::CPUS, Name::MEM, Name::DISK, Name::GPUS];
        let of_quotas = state.quotas().flat_map(|(_, quota)| {
            let guarantees = quota.guarantees.iter().map(|(name, _)| name);
            guarantees.chain(quota.limits.iter().map(|(name, _)| name))
        });
        let by_rank = usual.iter().chain(of_quotas).chain(&self.scalars).chain(state.scalars());
        let mut scalars = BTreeSet::new();
        for name in by_rank.filter(|name| there.contains(name)) {
            if scalars.len() == SCALARS_MAX {
                break;
            }
            scalars.insert(name.clone());
        }
        for role in &self.tree {
            self.scalars.difference(&scalars).for_each(|name| OfRole::Consumed(name.clone()).hide(role, ctx));
            scalars.difference(&self.scalars).for_each(|name| OfRole::Consumed(name.clone()).show(role, ctx));
        }
        self.scalars = scalars;
        let crowded = there.len() > SCALARS_MAX;
        if crowded && !self.crowded {
            tracing::warn!(
                n_names = there.len(),
                "agents have scalar resources of very many names; only {SCALARS_MAX} have gauges of what roles \
                 consume, `/allocator/roles` tells of all"
            );
        }
        self.crowded = crowded;
    }
}

/// Brings the gauges of a kind of roles in line with the roles there are.
fn compare<G: IntoIterator<Item = OfRole>>(
    shown: &mut BTreeSet<Arc<str>>,
    roles: &BTreeSet<&str>,
    ctx: &mut Context<AllocatorProcess>,
    gauges: impl Fn() -> G,
) {
    shown.retain(|role| {
        let stays = roles.contains(&**role);
        if !stays {
            gauges().into_iter().for_each(|gauge| gauge.hide(role, ctx));
        }
        stays
    });
    for role in roles {
        if !shown.contains(*role) {
            let role: Arc<str> = (*role).into();
            gauges().into_iter().for_each(|gauge| gauge.show(&role, ctx));
            shown.insert(role);
        }
    }
}

/// What is to be told of a quota. What is held counts for each resource it speaks of.
fn of_quota(quota: &Quota) -> BTreeSet<OfRole> {
    let guarantees = quota.guarantees.iter().map(|(name, _)| (name, OfRole::Guarantee(name.clone())));
    let limits = quota.limits.iter().map(|(name, _)| (name, OfRole::Limit(name.clone())));
    guarantees.chain(limits).flat_map(|(name, gauge)| [gauge, OfRole::Held(name.clone())]).collect()
}

impl OfRole {
    fn show(self, role: &Arc<str>, ctx: &mut Context<AllocatorProcess>) {
        let (path, role) = (self.path(role), role.clone());
        ctx.pull_gauge(&path, move |process| self.value(&role, process.state()));
    }

    fn hide(self, role: &str, ctx: &mut Context<AllocatorProcess>) {
        ctx.metrics().remove(&self.path(role));
    }

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
