//! Sums of scalar resources, with names replaced by small numbers.
//!
//! Shares need only "how much of each scalar", for thousands of clients, many times a second. Neither
//! string comparison nor the reservations, volumes and labels of a full `Resources` belong there.

use std::collections::{BTreeMap, BTreeSet};

use api::resources::Name;
use slab::Slab;

/// The number standing for a resource name, valid within the [`Pool`] that gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NameId(u32);

/// Amounts by resource name, in thousandths. A name that is absent has the amount zero; zeros are not kept.
///
/// 128 bits, because one mistaken agent may report an amount near the largest number there is, and the sum
/// over all agents still has to come out even when that agent leaves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Amounts(Vec<(NameId, u128)>);

impl Amounts {
    /// The amount of one resource, in thousandths.
    pub fn get(&self, name: NameId) -> u128 {
        self.0.binary_search_by_key(&name, |entry| entry.0).map_or(0, |at| self.0[at].1)
    }

    /// Adds `amount` thousandths of one resource.
    pub fn add_one(&mut self, name: NameId, amount: u128) {
        if amount == 0 {
            return;
        }
        match self.0.binary_search_by_key(&name, |entry| entry.0) {
            Ok(at) => self.0[at].1 += amount,
            Err(at) => self.0.insert(at, (name, amount)),
        }
    }

    /// Adds every amount of `other`.
    pub fn add(&mut self, other: &Amounts) {
        for &(name, amount) in &other.0 {
            self.add_one(name, amount);
        }
    }

    /// Takes every amount of `other` away, stopping at zero.
    pub fn subtract(&mut self, other: &Amounts) {
        for &(name, amount) in &other.0 {
            if let Ok(at) = self.0.binary_search_by_key(&name, |entry| entry.0) {
                self.0[at].1 = self.0[at].1.saturating_sub(amount);
            }
        }
        self.0.retain(|entry| entry.1 != 0);
    }

    /// Whether no resource has an amount.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Names with their amounts, ascending by name number.
    pub fn iter(&self) -> impl Iterator<Item = (NameId, u128)> + '_ {
        self.0.iter().copied()
    }
}

/// The whole cluster's scalars: what every share is measured against.
///
/// Also the register of resource names. A name keeps its number until [`Pool::forget`] finds it unused.
#[derive(Clone, Debug, Default)]
pub struct Pool {
    ids: BTreeMap<Name, NameId>,
    names: Slab<Named>,
    version: u64,
    /// Changes when there comes to be some of a resource, or none any more.
    names_version: u64,
    /// How many names were left when the unused ones were last forgotten.
    n_left: usize,
}

#[derive(Clone, Debug)]
struct Named {
    name: Name,
    excluded: bool,
    total: u128,
    total_f64: f64,
}

/// So many names may always be known, and beyond that twice as many as were in use.
const NAMES_KEPT: usize = 64;

impl Pool {
    /// A pool of nothing, in which the names `excluded` never count towards a share.
    pub fn new(excluded: &BTreeSet<String>) -> Pool {
        let mut pool = Pool::default();
        for name in excluded {
            let NameId(id) = pool.name(&name.into());
            pool.names[id as usize].excluded = true;
            pool.n_left += 1;
        }
        pool
    }

    /// The number of a resource name.
    pub fn name(&mut self, name: &Name) -> NameId {
        if let Some(id) = self.ids.get(name) {
            return *id;
        }
        let named = Named { name: name.clone(), excluded: false, total: 0, total_f64: 0.0 };
        let id = NameId(self.names.insert(named) as u32);
        self.ids.insert(name.clone(), id);
        id
    }

    /// Whether so many names came in that it is worth the while to look which of them are unused.
    pub fn is_crowded(&self) -> bool {
        self.names.len() > NAMES_KEPT + 2 * self.n_left
    }

    /// Forgets the names that are neither `used`, nor excluded from shares, nor of something there is. Their numbers
    /// may come to mean other names.
    pub fn forget(&mut self, used: &BTreeSet<NameId>) {
        let ids = &mut self.ids;
        self.names.retain(|id, named| {
            let stays = named.excluded || named.total != 0 || used.contains(&NameId(id as u32));
            if !stays {
                ids.remove(&named.name);
            }
            stays
        });
        self.n_left = self.names.len();
    }

    /// The number of a resource name, if it has one.
    pub fn find(&self, name: &Name) -> Option<NameId> {
        self.ids.get(name).copied()
    }

    /// Whether the number stands for a name.
    pub(crate) fn is_known(&self, id: NameId) -> bool {
        self.names.contains(id.0 as usize)
    }

    /// The name behind a number.
    pub fn name_of(&self, id: NameId) -> &str {
        self.names.get(id.0 as usize).map_or("", |named| named.name.as_str())
    }

    /// The names of which there is something, by their numbers.
    pub fn names(&self) -> impl Iterator<Item = &Name> {
        self.names.iter().map(|(_, named)| named).filter(|named| named.total != 0).map(|named| &named.name)
    }

    /// Changes when one of [`Pool::names`] comes or goes.
    pub fn names_version(&self) -> u64 {
        self.names_version
    }

    /// How much of one resource there is, in thousandths.
    pub fn total(&self, id: NameId) -> u128 {
        self.names.get(id.0 as usize).map_or(0, |name| name.total)
    }

    /// Changes with every change of a total: shares computed under another version are out of date.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Enlarges the pool, as when an agent joins.
    pub fn grow(&mut self, amounts: &Amounts) {
        self.change(amounts, |total, amount| total + amount);
    }

    /// Shrinks the pool, as when an agent leaves.
    pub fn shrink(&mut self, amounts: &Amounts) {
        self.change(amounts, u128::saturating_sub);
    }

    fn change(&mut self, amounts: &Amounts, f: impl Fn(u128, u128) -> u128) {
        for (id, amount) in amounts.iter() {
            if let Some(name) = self.names.get_mut(id.0 as usize) {
                let was_there = name.total != 0;
                name.total = f(name.total, amount);
                self.names_version += u64::from(was_there != (name.total != 0));
                name.total_f64 = name.total as f64;
                self.version += 1;
            }
        }
    }

    /// The dominant share: the largest fraction of any one resource of the cluster that `amounts` is.
    pub fn share(&self, amounts: &Amounts) -> f64 {
        self.fractions(amounts).fold(0.0, |share, (_, fraction)| f64::max(share, fraction))
    }

    /// The resource that makes the dominant share, and that share. Of equals, the name with the smaller number.
    pub fn dominant(&self, amounts: &Amounts) -> Option<(NameId, f64)> {
        self.fractions(amounts).reduce(|best, other| if other.1 > best.1 { other } else { best })
    }

    /// What fraction of the cluster's total each amount that counts is.
    fn fractions(&self, amounts: &Amounts) -> impl Iterator<Item = (NameId, f64)> {
        amounts.iter().filter_map(|(id, amount)| {
            let name = self.names.get(id.0 as usize)?;
            let counts = name.total != 0 && !name.excluded;
            counts.then(|| (id, amount as f64 / name.total_f64))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_huge_amount_comes_and_goes_without_a_trace() {
        let mut pool = Pool::default();
        let (cpus, mem) = (pool.name(&Name::CPUS), pool.name(&Name::MEM));
        let mut small = Amounts::default();
        small.add_one(cpus, 4000);
        let mut huge = Amounts::default();
        huge.add_one(cpus, u128::from(u64::MAX));
        huge.add_one(mem, u128::from(u64::MAX));
        pool.grow(&small);
        pool.grow(&huge);
        pool.grow(&huge);
        pool.shrink(&huge);
        pool.shrink(&huge);
        assert_eq!((pool.total(cpus), pool.total(mem)), (4000, 0));
    }

    #[test]
    fn names_that_nobody_uses_are_forgotten() {
        let mut pool = Pool::new(&BTreeSet::from(["gpus".to_owned()]));
        let (cpus, mem) = (pool.name(&Name::CPUS), pool.name(&Name::MEM));
        let mut total = Amounts::default();
        total.add_one(cpus, 4000);
        pool.grow(&total);
        for n in 0..70 {
            assert!(!pool.is_crowded() || n >= 60, "{n}");
            pool.name(&format!("invented{n}").as_str().into());
        }
        assert!(pool.is_crowded());
        pool.forget(&BTreeSet::from([mem]));
        assert!(!pool.is_crowded());
        assert!(pool.find(&"invented7".into()).is_none());
        let kept = [(Name::CPUS, cpus), (Name::MEM, mem)];
        assert!(
            kept.iter().all(|(name, id)| pool.find(name) == Some(*id)) && pool.find(&Name::GPUS).is_some()
        );
        assert_eq!(pool.names().collect::<Vec<_>>(), [&Name::CPUS]);
        let version = pool.names_version();
        pool.shrink(&total);
        assert!(pool.names_version() != version && pool.names().next().is_none());
    }

    #[test]
    fn excluded_names_and_names_nobody_has_do_not_count() {
        let mut pool = Pool::new(&BTreeSet::from(["gpus".to_owned()]));
        let mut total = Amounts::default();
        let (cpus, gpus, mem) = (pool.name(&Name::CPUS), pool.name(&Name::GPUS), pool.name(&Name::MEM));
        total.add_one(cpus, 10_000);
        total.add_one(gpus, 1000);
        pool.grow(&total);
        let mut held = Amounts::default();
        held.add_one(cpus, 2000);
        held.add_one(gpus, 1000);
        held.add_one(mem, 5000);
        assert_eq!(pool.share(&held), 0.2);
        assert_eq!(pool.dominant(&held), Some((cpus, 0.2)));
        assert_eq!(pool.dominant(&Amounts::default()), None);
    }
}
