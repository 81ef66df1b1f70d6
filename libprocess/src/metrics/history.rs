//! Values over a window of time, bounded in number.

use std::collections::VecDeque;
use std::time::Duration;

use crate::time::Time;

/// Values kept at most. Beyond it the older half is thinned out, so that a busy metric keeps its shape over
/// the whole window instead of only its last moments.
const CAPACITY: usize = 1000;

pub(super) struct History {
    window: Duration,
    values: VecDeque<(Time, f64)>,
    /// The next value of the older half to be thinned out.
    next: usize,
}

/// What a snapshot says about a history: the suffix of the key, and the value.
pub(super) type Statistic = (&'static str, f64);

const PERCENTILES: [(&str, f64); 6] =
    [("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99), ("p999", 0.999), ("p9999", 0.9999)];

impl History {
    pub(super) fn new(window: Duration) -> History {
        History { window, values: VecDeque::new(), next: 0 }
    }

    pub(super) fn push(&mut self, now: Time, value: f64) {
        self.values.push_back((now, value));
        self.expire(now);
        if self.values.len() > CAPACITY {
            if self.next >= CAPACITY / 2 {
                self.next = 0;
            }
            self.values.remove(self.next);
            // What followed has moved up: stepping over it removes every second one.
            self.next += 1;
        }
    }

    /// Forgets what is older than the window; the last value stays however old.
    fn expire(&mut self, now: Time) {
        while self.values.len() > 1 && self.values.front().is_some_and(|(time, _)| *time + self.window < now)
        {
            self.values.pop_front();
        }
    }

    pub(super) fn last(&self) -> Option<f64> {
        self.values.back().map(|(_, value)| *value)
    }

    /// Count, extremes and percentiles, in the order of their names; none of fewer than two values.
    pub(super) fn statistics(&mut self, now: Time) -> Option<Vec<Statistic>> {
        self.expire(now);
        if self.values.len() < 2 {
            return None;
        }
        let mut sorted: Vec<f64> = self.values.iter().map(|(_, value)| *value).collect();
        sorted.sort_by(f64::total_cmp);
        let mut all =
            vec![("count", sorted.len() as f64), ("max", sorted[sorted.len() - 1]), ("min", sorted[0])];
        all.extend(PERCENTILES.map(|(name, p)| (name, percentile(&sorted, p))));
        Some(all)
    }
}

/// The value at position `p * (n - 1)` of the sorted values, interpolated between its neighbours.
fn percentile(sorted: &[f64], p: f64) -> f64 {
    let position = p * (sorted.len() - 1) as f64;
    let below = position.floor() as usize;
    let fraction = position - position.floor();
    match (sorted.get(below), sorted.get(below + 1)) {
        (Some(low), Some(high)) => low + fraction * (high - low),
        (Some(last), None) => *last,
        (None, _) => f64::NAN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Time {
        Time::from_nanos(secs * 1_000_000_000)
    }

    #[test]
    fn percentiles_interpolate_between_neighbours() {
        assert_eq!(percentile(&[1.0, 2.0, 3.0, 4.0, 5.0], 0.5), 3.0);
        assert_eq!(percentile(&[0.0, 10.0], 0.9), 9.0);
        assert_eq!(percentile(&[7.0], 0.99), 7.0);
    }

    #[test]
    fn one_value_makes_no_statistics() {
        let mut history = History::new(Duration::from_secs(10));
        history.push(at(0), 1.0);
        assert_eq!(history.statistics(at(0)), None);
        history.push(at(1), 3.0);
        let all = history.statistics(at(1)).unwrap();
        assert_eq!(all[..4], [("count", 2.0), ("max", 3.0), ("min", 1.0), ("p50", 2.0)]);
        assert_eq!(all.len(), 9);
    }

    #[test]
    fn values_leave_with_the_window_but_for_the_last() {
        let mut history = History::new(Duration::from_secs(10));
        for n in 0..5 {
            history.push(at(n), n as f64);
        }
        assert_eq!(history.statistics(at(12)).unwrap()[0], ("count", 3.0));
        assert_eq!(history.statistics(at(100)), None);
        assert_eq!(history.last(), Some(4.0));
    }

    #[test]
    fn a_busy_history_is_bounded_and_keeps_old_values_too() {
        let mut history = History::new(Duration::from_secs(1_000_000));
        for n in 0..10_000 {
            history.push(at(n), n as f64);
        }
        assert_eq!(history.values.len(), CAPACITY);
        assert!(history.values[0].1 < 9000.0, "only the newest are left");
        assert!(history.values.iter().zip(history.values.iter().skip(1)).all(|(a, b)| a.0 < b.0));
    }
}
