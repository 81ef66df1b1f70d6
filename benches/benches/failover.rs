//! `cargo bench -p mesos-benches --bench failover [-- registry | storm | process | group | takeover]`: what masters
//! that take over from each other have to bear. Needs the release binary: `cargo build --release` first.
//!
//! - `registry`: three registrars on nodes of this process, real connections between them, one disk below them,
//!   every write synced. One operation at a time, and 1,000 under way.
//! - `storm`: a master that has just read its registry, on a node of this process with two threads; its agents on 100
//!   other nodes of this process, with two threads for all of them. Each node has one connection to the
//!   master, made before. All send their re-registration at once; the time is from the first sent to the last
//!   acknowledged. Meanwhile a process on each of the master's threads wants its turn every 10 ms, like the
//!   registrar's heartbeats and the pings.
//! - `process`: the same with the master in a process of its own, whose memory it shows.
//! - `group`: the same on the leader of three masters, processes all of them, with 1,000 of the agents there before and
//!   pinged every 2 s. How long the leader had not heard from another master is what it says itself, asked every 2 ms;
//!   its lease lasts 675 ms from what it heard. That it stays the leader, and no agent is lost, is checked.
//! - `takeover`: three masters as processes of their own, 100 agents and a driver, each on a node of this process.
//!   The leader is killed; the time is until the driver has the next one's first offer. Fifty times. Then the lead
//!   is handed over, twenty times.

use std::error::Error;
use std::path::Path;

use benches::daemons::{self, scratch};
use benches::failover::group;
use benches::failover::registry::Group;
use benches::failover::storm::{self, Figures, Storm};
use benches::failover::takeover::Cluster;
use benches::{Reach, note, percentile, print_load, row};

/// As the `mesos` command has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const N_TAKEOVERS: usize = 50;
const N_TRANSFERS: usize = 20;

/// As in Mesos's own measurement of a failover.
const LARGE: Storm = Storm { n_agents: 20_000, n_tasks: 5, n_nodes: 100 };
const HUGE: Storm = Storm { n_agents: 40_000, n_tasks: 10, n_nodes: 100 };
/// Each agent over a connection of its own, as many as a process may have files.
const WIDE: Storm = Storm { n_agents: 8_000, n_tasks: 10, n_nodes: 8_000 };

fn main() {
    daemons::run(bench)
}

fn bench() -> Result<(), Box<dyn Error>> {
    // `cargo bench` itself adds `--bench`.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|it| !it.starts_with("--")).collect();
    let wants = |part: &str| wanted.is_empty() || wanted.iter().any(|it| it == part);
    print_load();
    let work = scratch()?;
    if wants("registry") {
        registry(&work)?;
    }
    if wants("storm") {
        for (name, storm, bound) in
            [("20,000 agents, 5 tasks each", LARGE, 0.6), ("40,000 agents, 10 tasks each", HUGE, 3.0)]
        {
            let mut best = storm::in_one_process(storm, &work)?;
            for _ in 0..2 {
                let figures = storm::in_one_process(storm, &work)?;
                if figures.seconds < best.seconds {
                    best = figures;
                }
            }
            row(&format!("{name}, all in one process, best of 3"), best.seconds, "s", Reach::AtMost(bound));
            note("  processor time, agents included", best.processor_seconds, "s");
            show(&best);
        }
    }
    if wants("process") {
        daemons::binary()?;
        let figures = storm::with_a_process(HUGE, &work)?;
        let what = "40,000 agents, 10 tasks each, the master alone";
        row(what, figures.seconds, "s", Reach::AtMost(3.0));
        let mb = figures.resident_bytes.unwrap_or_default() as f64 / 1e6;
        row("  its resident memory then", mb, "MB", Reach::AtMost(1000.0));
        show(&figures);
        let figures = storm::with_a_process(WIDE, &work)?;
        row("8,000 agents, each by a connection of its own", figures.seconds, "s", Reach::AtMost(0.6));
        show(&figures);
    }
    if wants("group") {
        daemons::binary()?;
        let figures = group::in_a_group(HUGE, &work)?;
        note("40,000 agents, 10 tasks each, a group of three masters", figures.seconds, "s");
        // The lease.
        let unheard = figures.longest_unheard_ms;
        row("  the longest its leader had not heard of a master", unheard, "ms", Reach::AtMost(675.0));
        let bound = Reach::AtMost(group::PING_EVERY.as_secs_f64() * 1.5);
        let unpinged = figures.longest_unpinged_seconds;
        row("  between two pings of an agent, due every 2 s, at most", unpinged, "s", bound);
        row("  the longest wait for an answer", figures.worst_gap_ms, "ms", Reach::AtMost(600.0));
    }
    if wants("takeover") {
        takeover(&work)?;
    }
    Ok(())
}

fn registry(work: &Path) -> Result<(), Box<dyn Error>> {
    let group = Group::start(&work.join("registry"))?;
    let mut took = group.one_at_a_time(200)?;
    row("registry operation, one at a time, median", percentile(&mut took, 0.5), "ms", Reach::AtMost(5.0));
    note("  the slowest of 200", percentile(&mut took, 1.0), "ms");
    let rate = group.concurrent(100_000, 1_000)?;
    row("registry operations, 1,000 under way", rate, "per second", Reach::AtLeast(20_000.0));
    group.end()
}

fn show(figures: &Figures) {
    // What the shortest wait for an election leaves to the heartbeat before it.
    row("  the longest wait for a turn", figures.worst_gap_ms, "ms", Reach::AtMost(600.0));
    note("  agents told to come back later", figures.n_sent_back as f64, "times");
}

fn takeover(work: &Path) -> Result<(), Box<dyn Error>> {
    daemons::binary()?;
    let mut cluster = Cluster::start(work, 100)?;
    let mut took = Vec::new();
    for _ in 0..N_TAKEOVERS {
        cluster.settle()?;
        took.push(cluster.kill_leader()?);
    }
    let (median, worst) = (percentile(&mut took, 0.5), percentile(&mut took, 1.0));
    row("the leader is killed, to the first offer, median of 50", median, "s", Reach::AtMost(2.0));
    row("  the worst", worst, "s", Reach::AtMost(3.0));
    let mut took = Vec::new();
    for _ in 0..N_TRANSFERS {
        cluster.settle()?;
        took.push(cluster.transfer()?);
    }
    let (median, worst) = (percentile(&mut took, 0.5), percentile(&mut took, 1.0));
    row("the lead is handed over, to the first offer, median of 20", median, "s", Reach::AtMost(0.3));
    note("  the worst", worst, "s");
    cluster.end();
    Ok(())
}
