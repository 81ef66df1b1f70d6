//! The allocator's workloads: what each of them builds, times and checks.

pub mod cluster;
mod events;
pub mod figures;
pub mod heap;
mod quota;
mod rounds;
mod sorter;
mod tasks;

use ::allocator::sorter::SorterKind::{Drf, Random};
use cluster::Result;
use figures::Figures;

/// Something to measure under a name of its own.
pub struct Workload {
    /// What filters compare.
    pub name: &'static str,
    /// How often it is run; the best counts.
    pub n_runs: usize,
    /// Builds it, and notes what it took.
    pub run: fn(&mut Figures) -> Result<()>,
}

/// All of them, in the order in which they are run.
pub const WORKLOADS: &[Workload] = &[
    Workload {
        name: "AddAndUpdateSlave/10000",
        n_runs: 5,
        run: |to| events::add_and_update(to, 10_000, 200),
    },
    Workload {
        name: "AddAndUpdateSlave/50000",
        n_runs: 3,
        run: |to| events::add_and_update(to, 50_000, 1_000),
    },
    Workload { name: "DeclineOffers/1000", n_runs: 3, run: |to| rounds::decline(to, 1_000, 200, 100) },
    Workload { name: "DeclineOffers/5000", n_runs: 2, run: |to| rounds::decline(to, 5_000, 200, 106) },
    Workload { name: "SuppressOffers", n_runs: 3, run: |to| rounds::suppress(to, 10_000, 1_000) },
    Workload {
        name: "ExtremeSuppressOffers",
        n_runs: 3,
        run: |to| rounds::suppress_nearly_all(to, 10_000, 1_000),
    },
    Workload { name: "AllocatorBacklog", n_runs: 3, run: |to| events::backlog(to, 10_000, 1_000) },
    Workload { name: "ResourceLabels", n_runs: 3, run: |to| rounds::labels(to, 1_000, 50) },
    Workload {
        name: "PersistentVolumes/regular",
        n_runs: 3,
        run: |to| rounds::volumes(to, 10_000, 200, rounds::Shared::No),
    },
    Workload {
        name: "PersistentVolumes/shared",
        n_runs: 2,
        run: |to| rounds::volumes(to, 10_000, 200, rounds::Shared::All),
    },
    Workload {
        name: "PersistentVolumes/mixed",
        n_runs: 2,
        run: |to| rounds::volumes(to, 10_000, 200, rounds::Shared::Half),
    },
    Workload { name: "UpdateAllocation/200", n_runs: 5, run: |to| tasks::update_allocation(to, 50) },
    Workload { name: "UpdateAllocation/400", n_runs: 5, run: |to| tasks::update_allocation(to, 100) },
    Workload { name: "UpdateAllocation/800", n_runs: 5, run: |to| tasks::update_allocation(to, 200) },
    Workload {
        name: "LargeAndSmallQuota/drf/30",
        n_runs: 3,
        run: |to| quota::large_and_small(to, Drf, 25, 5),
    },
    Workload {
        name: "LargeAndSmallQuota/drf/300",
        n_runs: 3,
        run: |to| quota::large_and_small(to, Drf, 250, 50),
    },
    Workload {
        name: "LargeAndSmallQuota/drf/3000",
        n_runs: 2,
        run: |to| quota::large_and_small(to, Drf, 2_500, 500),
    },
    Workload {
        name: "LargeAndSmallQuota/random/3000",
        n_runs: 2,
        run: |to| quota::large_and_small(to, Random, 2_500, 500),
    },
    Workload { name: "NonQuotaVsQuota/drf/100", n_runs: 3, run: |to| quota::quota_or_not(to, Drf, 100) },
    Workload { name: "NonQuotaVsQuota/drf/1000", n_runs: 3, run: |to| quota::quota_or_not(to, Drf, 1_000) },
    Workload {
        name: "NonQuotaVsQuota/random/1000",
        n_runs: 3,
        run: |to| quota::quota_or_not(to, Random, 1_000),
    },
    Workload { name: "MultiFrameworkAllocations", n_runs: 2, run: |to| tasks::multi_framework(to) },
    Workload { name: "Metrics", n_runs: 3, run: |to| quota::metrics(to, 10_000, 1_000) },
    Workload { name: "Sorter/flat", n_runs: 5, run: |to| sorter::flat(to, 50_000, 1_000) },
    Workload { name: "Sorter/hierarchy", n_runs: 3, run: |to| sorter::hierarchies(to, 50_000) },
    Workload { name: "Full/20000", n_runs: 3, run: |to| rounds::full(to, 20_000, 2_000) },
    Workload { name: "Full/50000", n_runs: 2, run: |to| rounds::full(to, 50_000, 6_000) },
];
