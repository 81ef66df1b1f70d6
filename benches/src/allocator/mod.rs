//! The allocator's workloads: what each of them builds, times and checks.

pub mod cluster;
mod events;
pub mod figures;
pub mod heap;
mod rounds;
mod sorter;

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
    Workload { name: "DeclineOffers/5000", n_runs: 1, run: |to| rounds::decline(to, 5_000, 200, 106) },
    Workload { name: "SuppressOffers", n_runs: 3, run: |to| rounds::suppress(to, 10_000, 1_000) },
    Workload {
        name: "ExtremeSuppressOffers",
        n_runs: 3,
        run: |to| rounds::suppress_nearly_all(to, 10_000, 1_000),
    },
    Workload { name: "AllocatorBacklog", n_runs: 3, run: |to| events::backlog(to, 10_000, 1_000) },
    Workload { name: "ResourceLabels", n_runs: 3, run: |to| rounds::labels(to, 1_000, 50) },
    Workload { name: "PersistentVolumes", n_runs: 2, run: |to| rounds::volumes(to, 10_000, 200) },
    Workload { name: "Sorter/flat", n_runs: 5, run: |to| sorter::flat(to, 50_000, 1_000) },
    Workload { name: "Sorter/hierarchy", n_runs: 3, run: |to| sorter::hierarchies(to, 50_000) },
    Workload { name: "Full/20000", n_runs: 3, run: |to| rounds::full(to, 20_000, 2_000) },
    Workload { name: "Full/50000", n_runs: 2, run: |to| rounds::full(to, 50_000, 6_000) },
];
