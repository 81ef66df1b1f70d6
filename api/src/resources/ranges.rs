//! Sets of numbers kept as ranges, such as ports.

use std::fmt;
use std::sync::Arc;

use super::Scalar;

/// A non-empty, inclusive range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Range {
    /// The first number in it.
    pub begin: u64,
    /// The last number in it.
    pub end: u64,
}

impl Range {
    /// How many numbers it holds; saturates for the one range that holds 2⁶⁴.
    pub fn count(self) -> u64 {
        (self.end - self.begin).saturating_add(1)
    }
}

/// Numbers as ranges, sorted, neither overlapping nor adjacent. A copy shares the ranges until one changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ranges(Arc<Vec<Range>>);

/// Why pairs of numbers are no ranges.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RangesError {
    /// A range ends before it begins.
    #[error("range [{begin}-{end}] ends before it begins")]
    Inverted {
        /// Where it begins.
        begin: u64,
        /// Where it ends.
        end: u64,
    },
    /// Two ranges share numbers where they must not.
    #[error("ranges [{}-{}] and [{}-{}] overlap", .0.begin, .0.end, .1.begin, .1.end)]
    Overlapping(Range, Range),
    /// More ranges than [`Ranges::MAX`].
    #[error("{0} ranges; at most {max} are accepted", max = Ranges::MAX)]
    TooMany(usize),
}

impl Ranges {
    /// The largest number of ranges accepted from outside: as many as cut the ports of a machine into pieces.
    pub const MAX: usize = 32_768;

    /// Ranges in any order; those that overlap or touch become one.
    ///
    /// # Errors
    /// For an inverted range, or more than [`Ranges::MAX`] of them.
    pub fn coalesced(pairs: impl IntoIterator<Item = (u64, u64)>) -> Result<Ranges, RangesError> {
        Ok(Ranges::merge(sorted(pairs)?))
    }

    /// Like [`Ranges::coalesced`], but refuses ranges that overlap. Touching ones are fine.
    ///
    /// # Errors
    /// Also for ranges that share a number.
    pub fn disjoint(pairs: impl IntoIterator<Item = (u64, u64)>) -> Result<Ranges, RangesError> {
        let ranges = sorted(pairs)?;
        if let Some(pair) = ranges.windows(2).find(|pair| pair[1].begin <= pair[0].end) {
            return Err(RangesError::Overlapping(pair[0], pair[1]));
        }
        Ok(Ranges::merge(ranges))
    }

    /// `ranges` is sorted by begin.
    fn merge(ranges: Vec<Range>) -> Ranges {
        let mut merged: Vec<Range> = Vec::with_capacity(ranges.len());
        for range in ranges {
            match merged.last_mut() {
                Some(last) if range.begin <= last.end.saturating_add(1) => last.end = last.end.max(range.end),
                _ => merged.push(range),
            }
        }
        Ranges(Arc::new(merged))
    }

    /// The ranges in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Range> + '_ {
        self.0.iter().copied()
    }

    /// Whether there is no number in them.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many numbers there are; saturates.
    pub fn count(&self) -> u64 {
        self.iter().fold(0, |sum, range| sum.saturating_add(range.count()))
    }

    /// [`Ranges::count`] as an amount, for quantities.
    pub fn quantity(&self) -> Scalar {
        Scalar::from_units(self.count())
    }

    /// Whether `other`'s numbers are all among these.
    pub fn contains(&self, other: &Ranges) -> bool {
        if Arc::ptr_eq(&self.0, &other.0) {
            return true;
        }
        // Both are sorted, so each range of ours is looked at once.
        let mut ours = self.0.iter();
        let mut current = ours.next();
        other.0.iter().all(|range| {
            while current.is_some_and(|mine| mine.end < range.begin) {
                current = ours.next();
            }
            current.is_some_and(|mine| mine.begin <= range.begin && range.end <= mine.end)
        })
    }

    /// Whether the two share a number.
    pub fn intersects(&self, other: &Ranges) -> bool {
        let (mut a, mut b) = (self.0.iter().peekable(), other.0.iter().peekable());
        while let (Some(x), Some(y)) = (a.peek(), b.peek()) {
            if x.end < y.begin {
                a.next();
            } else if y.end < x.begin {
                b.next();
            } else {
                return true;
            }
        }
        false
    }

    /// Union.
    pub fn add(&mut self, other: &Ranges) {
        if other.is_empty() || Arc::ptr_eq(&self.0, &other.0) {
        } else if self.is_empty() {
            *self = other.clone();
        } else {
            let mut all = Vec::with_capacity(self.0.len() + other.0.len());
            let (mut a, mut b) = (self.0.iter().peekable(), other.0.iter().peekable());
            loop {
                let next = match (a.peek(), b.peek()) {
                    (Some(x), Some(y)) if x.begin <= y.begin => a.next(),
                    (_, Some(_)) => b.next(),
                    (_, None) => a.next(),
                };
                match next {
                    Some(range) => all.push(*range),
                    None => break,
                }
            }
            *self = Ranges::merge(all);
        }
    }

    /// Takes away `other`'s numbers, as far as they are here.
    pub fn subtract(&mut self, other: &Ranges) {
        if other.is_empty() || self.is_empty() {
            return;
        }
        if self == other {
            *self = Ranges::default();
            return;
        }
        let mut rest = Vec::with_capacity(self.0.len() + other.0.len());
        let mut cuts = other.0.iter().peekable();
        for range in self.0.iter() {
            let mut begin = range.begin;
            let mut left = true;
            while let Some(cut) = cuts.peek() {
                if cut.end < begin {
                    cuts.next();
                    continue;
                }
                if cut.begin > range.end {
                    break;
                }
                if cut.begin > begin {
                    rest.push(Range { begin, end: cut.begin - 1 });
                }
                if cut.end >= range.end {
                    // It may reach into the next range too, so it stays.
                    left = false;
                    break;
                }
                begin = cut.end + 1;
                cuts.next();
            }
            if left {
                rest.push(Range { begin, end: range.end });
            }
        }
        self.0 = Arc::new(rest);
    }
}

fn sorted(pairs: impl IntoIterator<Item = (u64, u64)>) -> Result<Vec<Range>, RangesError> {
    let mut ranges = Vec::new();
    for (begin, end) in pairs {
        if begin > end {
            return Err(RangesError::Inverted { begin, end });
        }
        ranges.push(Range { begin, end });
    }
    if ranges.len() > Ranges::MAX {
        return Err(RangesError::TooMany(ranges.len()));
    }
    ranges.sort_unstable();
    Ok(ranges)
}

/// `[1-2, 5-6]`
impl fmt::Display for Ranges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (i, range) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{}-{}", range.begin, range.end)?;
        }
        f.write_str("]")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn ranges(pairs: &[(u64, u64)]) -> Ranges {
        Ranges::coalesced(pairs.iter().copied()).unwrap()
    }

    #[test]
    fn overlapping_and_adjacent_ranges_become_one() {
        assert_eq!(ranges(&[(5, 9), (1, 2), (3, 4), (20, 30), (25, 26)]).to_string(), "[1-9, 20-30]");
        assert_eq!(ranges(&[(0, u64::MAX), (u64::MAX, u64::MAX)]).to_string(), format!("[0-{}]", u64::MAX));
    }

    #[test]
    fn bad_ranges_are_named() {
        assert_eq!(Ranges::coalesced([(2, 1)]), Err(RangesError::Inverted { begin: 2, end: 1 }));
        let error = Ranges::disjoint([(4, 6), (1, 4)]).unwrap_err();
        assert_eq!(error.to_string(), "ranges [1-4] and [4-6] overlap");
        assert!(Ranges::disjoint([(1, 4), (5, 6)]).is_ok());
        assert!(matches!(Ranges::coalesced((0..40_000).map(|i| (i, i))), Err(RangesError::TooMany(40_000))));
    }

    #[test]
    fn counts_to_the_end() {
        assert_eq!(ranges(&[(31000, 32000)]).count(), 1001);
        assert_eq!(ranges(&[(0, u64::MAX)]).count(), u64::MAX);
    }

    /// Small numbers, so that ranges meet, and the largest ones.
    fn some() -> impl Strategy<Value = Ranges> {
        let pair = (0..40u64, 0..6u64, any::<bool>()).prop_map(|(begin, length, high)| {
            let base = if high { u64::MAX - 45 } else { 0 };
            (base + begin, base + begin + length)
        });
        prop::collection::vec(pair, 0..8).prop_map(|pairs| Ranges::coalesced(pairs).unwrap())
    }

    fn numbers(ranges: &Ranges) -> BTreeSet<u64> {
        ranges.iter().flat_map(|range| range.begin..=range.end).collect()
    }

    proptest! {
        #[test]
        fn they_are_sets_of_numbers(a in some(), b in some()) {
            let (x, y) = (numbers(&a), numbers(&b));
            let mut sum = a.clone();
            sum.add(&b);
            prop_assert_eq!(numbers(&sum), &x | &y);
            let mut rest = a.clone();
            rest.subtract(&b);
            prop_assert_eq!(numbers(&rest), &x - &y);
            prop_assert_eq!(a.contains(&b), x.is_superset(&y));
            prop_assert_eq!(a.intersects(&b), !x.is_disjoint(&y));
            prop_assert_eq!(a.count(), x.len() as u64);
            for result in [sum, rest] {
                prop_assert!(result.0.windows(2).all(|w| w[0].end + 1 < w[1].begin), "{} is not coalesced", result);
            }
        }
    }
}
