//! What has been computed of a run, so that nothing is counted twice.
//!
//! A run's work is the numbers from 0 to its length: points, or bytes of a file. Results arrive for ranges
//! of it: partial results from a task at work, final ones when it ends, and, because messages are lost and
//! tasks are run again, some for a range that is already known. The ledger takes a result at most once.

use std::collections::BTreeMap;
use std::ops::Range;

/// Results by range of work.
///
/// A task's partial results all begin where its range begins, each containing the former, so that losing
/// one costs nothing and only one entry per task is kept.
#[derive(Clone, Debug)]
pub struct Ledger<T> {
    length: u64,
    /// Start of a range to its end and result. Ranges are disjoint and not empty.
    parts: BTreeMap<u64, (u64, T)>,
}

/// What became of a result given to [`Ledger::insert`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// It counts, in place of those it contains.
    Counted,
    /// Everything in it was known already.
    Known,
    /// It covers some known work in part, reaches past the run's end, or is empty. It does not count.
    Refused,
}

impl<T> Ledger<T> {
    /// A ledger for `length` units of work, nothing done yet.
    pub fn new(length: u64) -> Ledger<T> {
        Ledger { length, parts: BTreeMap::new() }
    }

    /// Takes note of the result for `range`.
    pub fn insert(&mut self, range: Range<u64>, result: T) -> Entry {
        if range.start >= range.end || range.end > self.length {
            return Entry::Refused;
        }
        if self.missing(range.clone()).is_empty() {
            return Entry::Known;
        }
        let first = self.parts.range(..=range.start).next_back().filter(|(_, (end, _))| *end > range.start);
        if first.is_some_and(|(start, _)| *start < range.start) {
            return Entry::Refused;
        }
        let inside: Vec<u64> = self.parts.range(range.clone()).map(|(start, _)| *start).collect();
        if inside.last().is_some_and(|last| self.parts[last].0 > range.end) {
            return Entry::Refused;
        }
        for start in inside {
            self.parts.remove(&start);
        }
        self.parts.insert(range.start, (range.end, result));
        Entry::Counted
    }

    /// What of `range` is not known yet, in order.
    pub fn missing(&self, range: Range<u64>) -> Vec<Range<u64>> {
        let mut gaps = Vec::new();
        if range.start >= range.end {
            return gaps;
        }
        let mut at = range.start;
        let before = self.parts.range(..range.start).next_back();
        for (start, (end, _)) in before.into_iter().chain(self.parts.range(range.clone())) {
            if *start > at {
                gaps.push(at..*start);
            }
            at = at.max(*end);
        }
        if at < range.end {
            gaps.push(at..range.end);
        }
        gaps
    }

    /// How much is known.
    pub fn covered(&self) -> u64 {
        self.parts.iter().map(|(start, (end, _))| end - start).sum()
    }

    /// How much there is to know.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Whether everything is known.
    pub fn is_complete(&self) -> bool {
        self.covered() == self.length
    }

    /// The ranges known and their results, in the order of the work.
    pub fn parts(&self) -> impl Iterator<Item = (Range<u64>, &T)> {
        self.parts.iter().map(|(start, (end, result))| (*start..*end, result))
    }
}

/// Cuts `length` units of work into `n_parts` ranges that differ by one unit at most.
///
/// There are fewer when there is not a unit for each, and none when there is no work.
pub fn split(length: u64, n_parts: u64) -> Vec<Range<u64>> {
    let n_parts = n_parts.min(length);
    // In 128 bits: the product of the two may not fit into 64.
    let cut = |i: u64| (u128::from(length) * u128::from(i) / u128::from(n_parts)) as u64;
    (0..n_parts).map(|i| cut(i)..cut(i + 1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_result_counts_once() {
        let mut ledger = Ledger::new(10);
        assert_eq!(ledger.insert(0..5, 'a'), Entry::Counted);
        assert_eq!(ledger.insert(0..5, 'b'), Entry::Known);
        assert_eq!(ledger.insert(2..4, 'b'), Entry::Known);
        assert_eq!(ledger.insert(5..10, 'c'), Entry::Counted);
        assert_eq!(ledger.insert(0..10, 'd'), Entry::Known);
        assert!(ledger.is_complete());
        assert_eq!(ledger.parts().map(|(_, c)| *c).collect::<String>(), "ac");
    }

    #[test]
    fn a_longer_result_replaces_the_partial_ones_inside_it() {
        let mut ledger = Ledger::new(10);
        assert_eq!(ledger.insert(0..3, 1), Entry::Counted);
        assert_eq!(ledger.insert(0..6, 2), Entry::Counted);
        assert_eq!(ledger.covered(), 6);
        assert_eq!(ledger.missing(0..10), vec![6..10]);
        // The task was lost at 6 and run again from there, and then its final result came after all.
        assert_eq!(ledger.insert(6..8, 3), Entry::Counted);
        assert_eq!(ledger.insert(0..10, 4), Entry::Counted);
        assert_eq!(ledger.parts().map(|(range, n)| (range, *n)).collect::<Vec<_>>(), vec![(0..10, 4)]);
    }

    #[test]
    fn what_overlaps_in_part_is_refused() {
        let mut ledger = Ledger::new(10);
        ledger.insert(3..6, ());
        for range in [2..5, 5..7, 4..8, 0..4, 8..11, 10..12, 7..7] {
            assert_eq!(ledger.insert(range.clone(), ()), Entry::Refused, "{range:?}");
        }
        assert_eq!(ledger.covered(), 3);
    }

    #[test]
    fn the_parts_of_a_split_tile_the_whole() {
        assert_eq!(split(10, 3), vec![0..3, 3..6, 6..10]);
        assert_eq!(split(2, 5), vec![0..1, 1..2]);
        assert_eq!(split(0, 5), vec![]);
        assert_eq!(split(7, 0), vec![]);
        assert_eq!(split(u64::MAX, 2)[1].end, u64::MAX);
    }

    proptest! {
        #[test]
        fn known_and_missing_make_up_the_whole(
            inserts in proptest::collection::vec((0u64..60, 0u64..60), 0..30), from in 0u64..50, len in 0u64..50
        ) {
            let mut ledger = Ledger::new(50);
            let mut counted = [false; 50];
            for (start, end) in inserts {
                let fresh = start < end && end <= 50 && (start..end).any(|i| !counted[i as usize]);
                if ledger.insert(start..end, end.saturating_sub(start)) == Entry::Counted {
                    prop_assert!(fresh);
                    counted[start as usize..end as usize].fill(true);
                }
                let n_counted = counted.iter().filter(|c| **c).count() as u64;
                prop_assert_eq!(ledger.covered(), n_counted);
                prop_assert_eq!(ledger.parts().map(|(_, n)| *n).sum::<u64>(), n_counted);
            }
            let to = (from + len).min(50);
            let missing: Vec<u64> = ledger.missing(from..to).into_iter().flatten().collect();
            let expected: Vec<u64> = (from..to).filter(|i| !counted[*i as usize]).collect();
            prop_assert_eq!(missing, expected);
        }
    }
}
