//! Where particles came down, kept small: a histogram whose size does not grow with the file.

use std::collections::BTreeMap;

/// Bins per doubling of the distance: one is at most 6 % wide.
const PER_OCTAVE_LOG2: u32 = 4;
/// Distances below 2^-20 or from 2^40 on share the bin at either end, which bounds the number of bins.
const OCTAVES: std::ops::Range<i32> = -20..40;

/// How many bins there are on either side of the origin.
pub const BINS_PER_SIDE: i32 = (OCTAVES.end - OCTAVES.start) << PER_OCTAVE_LOG2;

/// Counts by place, in bins whose width is proportional to their distance from the origin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Landings {
    /// By bin: 0 is the origin itself, ±1 the bins next to it.
    bins: BTreeMap<i32, u64>,
}

impl Landings {
    /// One particle came down at `x`.
    pub fn record(&mut self, x: f64) {
        *self.bins.entry(bin_of(x)).or_default() += 1;
    }

    /// Adds `count` to a bin, as told by somebody else; false when there is no such bin.
    pub fn add(&mut self, bin: i32, count: u64) -> bool {
        let exists = bin.unsigned_abs() <= BINS_PER_SIDE.unsigned_abs();
        if exists {
            let total = self.bins.entry(bin).or_default();
            *total = total.saturating_add(count);
        }
        exists
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Landings) {
        for (bin, count) in other.bins() {
            self.add(bin, count);
        }
    }

    /// Bins that are not empty, from left to right, with their counts.
    pub fn bins(&self) -> impl Iterator<Item = (i32, u64)> {
        self.bins.iter().map(|(bin, count)| (*bin, *count))
    }

    /// How many landings there are.
    pub fn total(&self) -> u64 {
        self.bins.values().sum()
    }

    /// A place which the share `q` of all landings are left of, as near as the bins tell; `None` when there
    /// are no landings.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let wanted = self.total() as f64 * q.clamp(0.0, 1.0);
        let mut seen = 0.0;
        for (bin, count) in self.bins() {
            let (left, right) = edges(bin);
            if seen + count as f64 >= wanted {
                return Some(left + (right - left) * ((wanted - seen) / count as f64).clamp(0.0, 1.0));
            }
            seen += count as f64;
        }
        None
    }

    /// Counts in `n_bins` bins of equal width between `from` and `to`. A bin of this histogram that lies
    /// across several of those is shared out by length, but never across the origin.
    pub fn resample(&self, from: f64, to: f64, n_bins: usize) -> Vec<f64> {
        let mut counts = vec![0.0; n_bins];
        let width = (to - from) / n_bins as f64;
        for (bin, count) in self.bins() {
            let (left, right) = edges(bin);
            let first = ((left - from) / width).floor().max(0.0) as usize;
            for (i, total) in counts.iter_mut().enumerate().skip(first) {
                let (bin_left, bin_right) = (from + i as f64 * width, from + (i + 1) as f64 * width);
                if bin_left > right {
                    break;
                }
                *total += match right > left {
                    true => {
                        count as f64 * (right.min(bin_right) - left.max(bin_left)).max(0.0) / (right - left)
                    }
                    false if bin_left <= left && left < bin_right => count as f64,
                    false => 0.0,
                };
            }
        }
        counts
    }
}

/// Sign, then position among the bins by the leading bits of the number: its exponent and four bits more.
fn bin_of(x: f64) -> i32 {
    if x == 0.0 {
        return 0;
    }
    let magnitude = (x.abs().to_bits() >> (52 - PER_OCTAVE_LOG2)) as i32 - first_bin();
    let bin = magnitude.clamp(0, BINS_PER_SIDE - 1) + 1;
    if x < 0.0 { -bin } else { bin }
}

fn edges(bin: i32) -> (f64, f64) {
    let edge = |n: i32| match n {
        0 => 0.0,
        n => f64::from_bits(((n + first_bin()) as u64) << (52 - PER_OCTAVE_LOG2)),
    };
    match bin {
        0 => (0.0, 0.0),
        bin if bin > 0 => (edge(bin - 1), edge(bin)),
        bin => (-edge(-bin), -edge(-bin - 1)),
    }
}

const fn first_bin() -> i32 {
    (1023 + OCTAVES.start) << PER_OCTAVE_LOG2
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quantiles_are_near_what_was_recorded() {
        let mut landings = Landings::default();
        for i in -1000..=1000 {
            landings.record(f64::from(i) / 10.0);
        }
        for (q, expected) in [(0.0, -100.0), (0.25, -50.0), (0.5, 0.0), (0.9, 80.0), (1.0, 100.0)] {
            let found = landings.quantile(q).unwrap();
            assert!((found - expected).abs() <= 0.07 * f64::abs(expected).max(2.0), "{q}: {found}");
        }
        assert_eq!(Landings::default().quantile(0.5), None);
    }

    #[test]
    fn only_bins_that_exist_are_taken_from_others() {
        let mut landings = Landings::default();
        assert!(
            landings.add(BINS_PER_SIDE, 1) && landings.add(-BINS_PER_SIDE, 1) && landings.add(0, u64::MAX)
        );
        assert!(!landings.add(BINS_PER_SIDE + 1, 1) && !landings.add(i32::MIN, 1));
        assert!(landings.add(0, 1), "sums stop at the largest number");
    }

    proptest! {
        #[test]
        fn a_place_lies_in_its_bin(x in -1e9f64..1e9) {
            let (left, right) = edges(bin_of(x));
            prop_assert!(left <= x && x <= right, "{} {} {}", left, x, right);
        }

        #[test]
        fn resampling_loses_nothing_inside(xs in proptest::collection::vec(-99.0f64..99.0, 1..50)) {
            let mut landings = Landings::default();
            xs.iter().for_each(|x| landings.record(*x));
            let sum: f64 = landings.resample(-128.0, 128.0, 37).iter().sum();
            prop_assert!((sum - xs.len() as f64).abs() < 1e-6);
        }

        #[test]
        fn any_number_has_a_bin(x: f64) {
            prop_assume!(!x.is_nan());
            prop_assert!(bin_of(x).abs() <= BINS_PER_SIDE);
        }
    }
}
