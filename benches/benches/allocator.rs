//! `cargo bench -p mesos-benches --bench allocator [-- FILTER]`: what the allocator decides, and what that
//! costs, under the workloads that Mesos measures its own with. A filter is a part of a workload's name.
//!
//! Events are called, and cycles asked for, on the state machine itself, in this one thread. What the events
//! carry was read from messages before, and what the cycles decide is kept for later: neither is timed. Where
//! events come in a burst one cycle follows the last of them, as behind the actor, and is in the time.
//!
//! - The clients of a sorter are active here. In Mesos's own measurement none is, so that its sort is of nothing.
//! - ResourceLabels uses reservations that its agents do not have, in Mesos's measurement; here also such as
//!   they have.
//! - MultiFrameworkAllocations hardly gets on in Mesos's measurement, as frameworks that have launched all they
//!   want go on being offered what others wait for. Here these suppress offers, and all tasks get launched.
//! - Metrics reads what gauges show; it does not render the answer to a request.

use std::process::ExitCode;

use benches::allocator::cluster::Result;
use benches::allocator::figures::{self, Figures};
use benches::allocator::{WORKLOADS, heap};
use benches::print_load;

#[global_allocator]
static HEAP: heap::Counting = heap::Counting;

const LEGEND: &str = "
ms        processor time of the one thread there is, the best of several runs
offers    how many were made in that time
filtered  pairs of framework and agent with a refusal in force
peak MB   the most memory in use up to then, the workload's own lists included
upstream  ms that Mesos itself takes for the same: C++, -O2, on two cores like those of the reach
reach     the most ms that it should take on two cores";

fn main() -> ExitCode {
    // `cargo bench` itself adds `--bench`.
    let filters: Vec<String> = std::env::args().skip(1).filter(|it| !it.starts_with("--")).collect();
    let wanted = |name: &str, filter: &String| name.to_lowercase().contains(&filter.to_lowercase());
    for filter in &filters {
        if !WORKLOADS.iter().any(|it| wanted(it.name, filter)) {
            let names: Vec<&str> = WORKLOADS.iter().map(|it| it.name).collect();
            eprintln!("no workload has `{filter}` in its name; there are: {}", names.join(", "));
            return ExitCode::FAILURE;
        }
    }
    print_load();
    figures::print_head();
    for workload in WORKLOADS {
        if filters.is_empty() || filters.iter().any(|filter| wanted(workload.name, filter)) {
            let mut best = Figures::default();
            for _ in 0..workload.n_runs {
                match measure(workload.run) {
                    Ok(figures) => best.keep_best(figures),
                    Err(error) => {
                        eprintln!("{} is not as it should be: {error}", workload.name);
                        return ExitCode::FAILURE;
                    }
                }
            }
            best.print();
        }
    }
    println!("{LEGEND}");
    ExitCode::SUCCESS
}

fn measure(run: fn(&mut Figures) -> Result<()>) -> Result<Figures> {
    heap::restart_peak();
    let mut figures = Figures::default();
    run(&mut figures)?;
    Ok(figures)
}
