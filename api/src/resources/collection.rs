//! Many resources, and what can be done with them.

use std::fmt;
use std::ops::{Add, AddAssign, Sub, SubAssign};

use super::metadata::Unit;
use super::{Entry, Name, Quantities, Ranges, Scalar, Set, Value};

/// Resources that differ in more than their amount, in the order they came. Nothing empty is kept.
///
/// Entries alike in all but their value add up to one. Persistent volumes and whole disks never do: they are
/// there or not. Shared resources are counted. Two `Resources` are equal when each contains the other.
#[derive(Clone, Debug, Default)]
pub struct Resources {
    pub(super) entries: Vec<Entry>,
}

impl Resources {
    /// Nothing.
    pub const fn new() -> Resources {
        Resources { entries: Vec::new() }
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// The entries.
    pub fn iter(&self) -> std::slice::Iter<'_, Entry> {
        self.entries.iter()
    }

    /// Adds one entry.
    pub fn push(&mut self, entry: Entry) {
        self.push_at(entry, 0);
    }

    /// `hint` is where its like is looked for first.
    fn push_at(&mut self, mut entry: Entry, hint: usize) {
        if entry.is_empty() {
            return;
        }
        let unit = entry.unit();
        let like = if unit == Unit::Whole { None } else { self.position(&entry, hint) };
        match like {
            Some(i) if unit == Unit::Shared => {
                let copies = &mut self.entries[i].copies;
                *copies = copies.saturating_add(entry.copies);
            }
            Some(i) => self.entries[i].value.add(&entry.value),
            None => {
                self.share_metadata(&mut entry);
                self.entries.push(entry);
            }
        }
    }

    /// Lets `entry` point at metadata already here, when it has the same.
    fn share_metadata(&self, entry: &mut Entry) {
        // How a volume is mounted is not compared, but has to be kept.
        if entry.metadata.is_none() || entry.disk().is_some() {
            return;
        }
        // What belongs together mostly comes together.
        let _ = self.entries.iter().rev().any(|known| entry.share_metadata(known));
    }

    /// Takes away one entry, or as much of it as there is.
    pub fn subtract(&mut self, entry: &Entry) {
        if let Some(gone) = self.subtract_at(entry, 0) {
            self.entries.remove(gone);
        }
    }

    /// `Some` is where an entry has become nothing. It stays there without copies, so that others do not move,
    /// and is to be removed.
    fn subtract_at(&mut self, entry: &Entry, hint: usize) -> Option<usize> {
        let i = self.position(entry, hint)?;
        let mine = &mut self.entries[i];
        let gone = match entry.unit() {
            Unit::Whole => true,
            Unit::Shared => {
                mine.copies = mine.copies.saturating_sub(entry.copies);
                mine.copies == 0
            }
            Unit::Divisible if mine.value == entry.value => true,
            Unit::Divisible => {
                mine.value.subtract(&entry.value);
                mine.is_empty()
            }
        };
        if gone {
            mine.copies = 0;
        }
        gone.then_some(i)
    }

    /// Where the like of `entry` is. Both sides list their entries in the same order more often than not, but
    /// for some that only one of them has: so it is looked for from `hint` outwards.
    fn position(&self, entry: &Entry, hint: usize) -> Option<usize> {
        let found = |i: usize| {
            let mine = self.entries.get(i)?;
            (mine.copies > 0 && mine.matches(entry)).then_some(i)
        };
        let hint = hint.min(self.entries.len());
        found(hint).or_else(|| {
            let further = hint.max(self.entries.len() - hint);
            (1..=further).find_map(|by| hint.checked_sub(by).and_then(found).or_else(|| found(hint + by)))
        })
    }

    /// Whether there is at least as much here as `entry`.
    pub fn contains_entry(&self, entry: &Entry) -> bool {
        self.contains_at(entry, 0)
    }

    fn contains_at(&self, entry: &Entry, hint: usize) -> bool {
        entry.is_empty()
            || self.position(entry, hint).is_some_and(|i| {
                let mine = &self.entries[i];
                match entry.unit() {
                    Unit::Whole => true,
                    Unit::Shared => mine.copies >= entry.copies,
                    Unit::Divisible => mine.value.contains(&entry.value),
                }
            })
    }

    /// Whether all of `other` can be taken from here.
    pub fn contains(&self, other: &Resources) -> bool {
        // Each entry of the other needs one of its own here.
        other.entries.len() <= self.entries.len()
            && other.entries.iter().enumerate().all(|(i, entry)| {
                self.contains_at(entry, i)
                    && (entry.unit() != Unit::Whole || self.count(entry) >= other.count(entry))
            })
    }

    fn count(&self, entry: &Entry) -> usize {
        self.entries.iter().filter(|mine| mine.matches(entry)).count()
    }

    /// Whether some of `other` is also here: amounts of one kind, numbers or items shared, the same volume.
    pub fn intersects(&self, other: &Resources) -> bool {
        other.entries.iter().enumerate().any(|(hint, entry)| self.intersects_at(entry, hint))
    }

    /// Whether some of `entry` is also here; see [`Resources::intersects`].
    pub fn intersects_entry(&self, entry: &Entry) -> bool {
        self.intersects_at(entry, 0)
    }

    fn intersects_at(&self, entry: &Entry, hint: usize) -> bool {
        self.position(entry, hint).is_some_and(|i| match (&self.entries[i].value, &entry.value) {
            (Value::Ranges(a), Value::Ranges(b)) => a.intersects(b),
            (Value::Set(a), Value::Set(b)) => a.intersects(b),
            _ => true,
        })
    }

    /// `self - other`, or `None` when `other` is not all here.
    pub fn checked_sub(&self, other: &Resources) -> Option<Resources> {
        self.contains(other).then(|| self.clone() - other)
    }

    /// The amount of a scalar resource over all entries, whoever they belong to.
    pub fn scalar(&self, name: &Name) -> Scalar {
        self.named(name).filter_map(Entry::scalar).sum()
    }

    /// The numbers of a ranges resource over all entries.
    pub fn ranges(&self, name: &Name) -> Ranges {
        self.named(name).fold(Ranges::default(), |mut all, entry| {
            if let Value::Ranges(ranges) = &entry.value {
                all.add(ranges);
            }
            all
        })
    }

    /// The items of a set resource over all entries.
    pub fn set(&self, name: &Name) -> Set {
        self.named(name).fold(Set::default(), |mut all, entry| {
            if let Value::Set(items) = &entry.value {
                all.add(items);
            }
            all
        })
    }

    fn named(&self, name: &Name) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| entry.name == *name)
    }

    /// Cores.
    pub fn cpus(&self) -> Scalar {
        self.scalar(&Name::CPUS)
    }

    /// Devices.
    pub fn gpus(&self) -> Scalar {
        self.scalar(&Name::GPUS)
    }

    /// Megabytes of memory.
    pub fn mem(&self) -> Scalar {
        self.scalar(&Name::MEM)
    }

    /// Megabytes of disk.
    pub fn disk(&self) -> Scalar {
        self.scalar(&Name::DISK)
    }

    /// Port numbers.
    pub fn ports(&self) -> Ranges {
        self.ranges(&Name::PORTS)
    }

    /// Whether there is at least this much of each name, counted as [`Resources::quantities`] does.
    pub fn reach(&self, least: &Quantities) -> bool {
        least.iter().all(|(name, least)| {
            self.named(name).map(|entry| entry.value.quantity()).sum::<Scalar>() >= least
        })
    }

    /// Amounts by name; ranges and sets count their elements. A shared resource counts once, however many
    /// copies there are.
    pub fn quantities(&self) -> Quantities {
        let mut quantities = Quantities::new();
        for entry in &self.entries {
            quantities.increase(&entry.name, entry.value.quantity());
        }
        quantities
    }

    /// Amounts by name of scalars alone, which is all that shares and quotas look at. A shared resource counts
    /// once.
    pub fn scalar_quantities(&self) -> Quantities {
        let mut quantities = Quantities::new();
        for entry in &self.entries {
            if let Value::Scalar(amount) = entry.value {
                quantities.increase(&entry.name, amount);
            }
        }
        quantities
    }
}

impl FromIterator<Entry> for Resources {
    fn from_iter<I: IntoIterator<Item = Entry>>(entries: I) -> Resources {
        let mut resources = Resources::new();
        resources.extend(entries);
        resources
    }
}

impl Extend<Entry> for Resources {
    fn extend<I: IntoIterator<Item = Entry>>(&mut self, entries: I) {
        for entry in entries {
            self.push(entry);
        }
    }
}

impl<'a> IntoIterator for &'a Resources {
    type Item = &'a Entry;
    type IntoIter = std::slice::Iter<'a, Entry>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl IntoIterator for Resources {
    type Item = Entry;
    type IntoIter = std::vec::IntoIter<Entry>;
    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter()
    }
}

impl AddAssign<&Resources> for Resources {
    fn add_assign(&mut self, other: &Resources) {
        if self.is_empty() {
            self.clone_from(other);
            return;
        }
        for (i, entry) in other.entries.iter().enumerate() {
            // An entry that finds its like is not copied.
            match (entry.unit(), self.position(entry, i)) {
                (Unit::Divisible, Some(at)) => self.entries[at].value.add(&entry.value),
                _ => self.push_at(entry.clone(), i),
            }
        }
    }
}

impl AddAssign for Resources {
    fn add_assign(&mut self, other: Resources) {
        if self.is_empty() {
            *self = other;
            return;
        }
        for (i, entry) in other.entries.into_iter().enumerate() {
            self.push_at(entry, i);
        }
    }
}

/// Takes away as much as there is; see [`Resources::checked_sub`] to know.
impl SubAssign<&Resources> for Resources {
    fn sub_assign(&mut self, other: &Resources) {
        if self.entries == other.entries {
            self.entries.clear();
            return;
        }
        let mut some_gone = false;
        for (i, entry) in other.entries.iter().enumerate() {
            some_gone |= self.subtract_at(entry, i).is_some();
        }
        if some_gone {
            self.entries.retain(|entry| entry.copies > 0);
        }
    }
}

impl Add<&Resources> for Resources {
    type Output = Resources;
    fn add(mut self, other: &Resources) -> Resources {
        self += other;
        self
    }
}

/// Takes away as much as there is; see [`Resources::checked_sub`] to know.
impl Sub<&Resources> for Resources {
    type Output = Resources;
    fn sub(mut self, other: &Resources) -> Resources {
        self -= other;
        self
    }
}

impl PartialEq for Resources {
    fn eq(&self, other: &Resources) -> bool {
        self.entries.len() == other.entries.len()
            && (self.entries == other.entries || (self.contains(other) && other.contains(self)))
    }
}

impl Eq for Resources {}

/// Entries joined by `; `, or `{}` for nothing.
impl fmt::Display for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("{}");
        }
        for (i, entry) in self.entries.iter().enumerate() {
            let separator = if i == 0 { "" } else { "; " };
            write!(f, "{separator}{entry}")?;
        }
        Ok(())
    }
}
