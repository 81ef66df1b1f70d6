//! What was measured, and the table that shows it.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use super::heap;

/// The processor time `work` takes, in this thread. Unlike time on the clock it does not grow when others use
/// the machine, and a state machine in one thread waits for nobody.
pub fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let start = processor_time();
    let result = work();
    (processor_time() - start, result)
}

fn processor_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from).unwrap_or_default()
}

/// One figure.
#[derive(Debug)]
pub struct Figure {
    what: String,
    took: Duration,
    n_offers: usize,
    n_filtered: usize,
    peak_bytes: usize,
    upstream_ms: Option<f64>,
    reach_ms: Option<f64>,
}

impl Figure {
    /// What others take for the same, and what this should take at most; both in milliseconds.
    pub fn beside(&mut self, upstream_ms: f64, reach_ms: f64) {
        self.upstream_ms = Some(upstream_ms);
        self.reach_ms = Some(reach_ms);
    }

    /// What this should take at most, in milliseconds, where nobody else's time is known.
    pub fn within(&mut self, reach_ms: f64) {
        self.reach_ms = Some(reach_ms);
    }
}

/// The figures of one workload, in the order in which they were measured.
#[derive(Debug, Default)]
pub struct Figures(Vec<Figure>);

impl Figures {
    /// Notes a time; `n_offers` were made in it, and `n_filtered` pairs of framework and agent had a refusal in
    /// force. The memory is that of now and before.
    pub fn note(
        &mut self,
        what: impl Into<String>,
        took: Duration,
        n_offers: usize,
        n_filtered: usize,
    ) -> &mut Figure {
        let at = self.0.len();
        self.0.push(Figure {
            what: what.into(),
            took,
            n_offers,
            n_filtered,
            peak_bytes: heap::peak_bytes(),
            upstream_ms: None,
            reach_ms: None,
        });
        &mut self.0[at]
    }

    /// Keeps the better of two runs of the same workload, figure by figure.
    pub fn keep_best(&mut self, other: Figures) {
        if self.0.is_empty() {
            *self = other;
            return;
        }
        for (mine, other) in self.0.iter_mut().zip(other.0) {
            mine.took = mine.took.min(other.took);
            mine.peak_bytes = mine.peak_bytes.min(other.peak_bytes);
        }
    }

    /// Prints a row for each.
    pub fn print(&self) {
        for figure in &self.0 {
            let ms = figure.took.as_secs_f64() * 1e3;
            let or_dash = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value}"));
            let ratio = figure.reach_ms.map_or(String::new(), |reach| format!("{:.2}x", reach / ms));
            println!(
                "{:<80} {:>11} {:>7} {:>8} {:>7.1} {:>8} {:>6} {:>8}",
                figure.what,
                shown(ms),
                figure.n_offers,
                figure.n_filtered,
                figure.peak_bytes as f64 / 1e6,
                or_dash(figure.upstream_ms),
                or_dash(figure.reach_ms),
                ratio,
            );
        }
    }
}

/// Says what the columns are.
pub fn print_head() {
    println!(
        "{:<80} {:>11} {:>7} {:>8} {:>7} {:>8} {:>6} {:>8}",
        "workload: agents x frameworks: what is timed",
        "ms",
        "offers",
        "filtered",
        "peak MB",
        "upstream",
        "reach",
        "reach/ms",
    );
}

/// Four digits that count, down to nanoseconds.
fn shown(ms: f64) -> String {
    let decimals = if ms >= 100.0 {
        1
    } else if ms >= 1.0 {
        2
    } else {
        5
    };
    format!("{ms:.decimals$}")
}
