//! What the benches share: timing, and one way to print a figure beside its bound.

pub mod allocator;
pub mod daemons;
pub mod failover;
pub mod http;
pub mod scheduler;

use std::time::{Duration, Instant};

/// Runs `measure` a few times and gives the best: what disturbs a run only ever makes it slower.
pub fn best_of(n_runs: usize, mut measure: impl FnMut() -> Duration) -> Duration {
    (0..n_runs).map(|_| measure()).min().unwrap_or_default()
}

/// The time `work` takes.
pub fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

/// Events per second.
pub fn rate(n_events: u64, took: Duration) -> f64 {
    n_events as f64 / took.as_secs_f64()
}

/// Which side of its bound a figure has to be on.
#[derive(Clone, Copy)]
pub enum Reach {
    /// The more, the better.
    AtLeast(f64),
    /// The less, the better.
    AtMost(f64),
}

/// Prints one row: what was measured, the bound, and measured over bound so that 1.00 and more is reached.
pub fn row(what: &str, measured: f64, unit: &str, reach: Reach) {
    let (bound, ratio) = match reach {
        Reach::AtLeast(bound) => (bound, measured / bound),
        Reach::AtMost(bound) => (bound, bound / measured),
    };
    let verdict = if ratio >= 1.0 { "reached" } else { "not reached" };
    println!("{what:<64} {measured:>14.3} {unit:<12} bound {bound:>12.3}   {ratio:>5.2}x  {verdict}");
}

/// Prints a figure that has no bound: it says what the others are made of.
pub fn note(what: &str, measured: f64, unit: &str) {
    println!("{what:<64} {measured:>14.3} {unit:<12}");
}

/// The value at the part `p` of the sorted values: 0.5 is the median.
pub fn percentile(values: &mut [f64], p: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let index = (p * values.len().saturating_sub(1) as f64).round() as usize;
    values.get(index).copied().unwrap_or(f64::NAN)
}

/// How busy the machine is beside the bench, for whoever reads the figures later.
pub fn print_load() {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!("load of this machine: {} ({cores} cores)", load.trim());
}

/// The resident memory of this process in bytes, as the kernel counts it.
pub fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * 4096
}
