//! Sets of slots, one bit each.
//!
//! Slots come from slabs and are reused, so the sets stay as dense as the tables they speak of. They
//! iterate in slot order, which makes every decision taken from them repeatable.

/// A set of small integers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bits {
    words: Vec<u64>,
}

impl Bits {
    pub(crate) fn insert(&mut self, slot: usize) {
        let word = slot / 64;
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= 1 << (slot % 64);
    }

    pub(crate) fn remove(&mut self, slot: usize) {
        if let Some(word) = self.words.get_mut(slot / 64) {
            *word &= !(1 << (slot % 64));
        }
    }

    pub(crate) fn contains(&self, slot: usize) -> bool {
        self.words.get(slot / 64).is_some_and(|word| word & (1 << (slot % 64)) != 0)
    }

    pub(crate) fn clear(&mut self) {
        self.words.clear();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    /// The one member of a set of one.
    pub(crate) fn only(&self) -> Option<usize> {
        let mut members = self.iter();
        members.next().filter(|_| members.next().is_none())
    }

    /// Takes every member of `other` out of this set.
    pub(crate) fn subtract(&mut self, other: &Bits) {
        for (word, theirs) in self.words.iter_mut().zip(&other.words) {
            *word &= !theirs;
        }
    }

    /// Whether every member of this set is in one of two others.
    pub(crate) fn is_covered_by(&self, one: &Bits, other: &Bits) -> bool {
        let word = |set: &Bits, at: usize| set.words.get(at).copied().unwrap_or(0);
        let mut words = self.words.iter().enumerate();
        words.all(|(at, mine)| mine & !(word(one, at) | word(other, at)) == 0)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.words.iter().enumerate().flat_map(|(index, word)| {
            let mut rest = *word;
            std::iter::from_fn(move || {
                (rest != 0).then(|| {
                    let bit = rest.trailing_zeros() as usize;
                    rest &= rest - 1;
                    index * 64 + bit
                })
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bits(slots: &[usize]) -> Bits {
        let mut bits = Bits::default();
        slots.iter().for_each(|slot| bits.insert(*slot));
        bits
    }

    #[test]
    fn members_come_out_in_order() {
        let mut set = bits(&[200, 3, 64, 63]);
        assert_eq!(set.iter().collect::<Vec<_>>(), [3, 63, 64, 200]);
        set.remove(64);
        set.remove(9999);
        assert!(!set.contains(64) && set.contains(200) && !set.contains(9999));
        assert_eq!((set.only(), bits(&[99]).only(), bits(&[]).only()), (None, Some(99), None));
    }

    #[test]
    fn covering_sets_may_differ_in_length() {
        let none = Bits::default();
        assert!(bits(&[1]).is_covered_by(&bits(&[1, 500]), &none));
        assert!(!bits(&[1, 500]).is_covered_by(&bits(&[1]), &none));
        assert!(bits(&[1, 500]).is_covered_by(&bits(&[1]), &bits(&[500])));
        let mut set = bits(&[1, 500]);
        set.subtract(&bits(&[500, 900]));
        assert!(set.is_covered_by(&bits(&[1]), &none));
        set.remove(1);
        assert!(set.is_empty() && set.is_covered_by(&none, &none));
    }
}
