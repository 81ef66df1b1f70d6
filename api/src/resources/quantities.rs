//! Amounts by name: what a cluster holds, a role consumes or is promised.

use std::fmt;
use std::ops::{Add, AddAssign, Sub, SubAssign};

use super::{Name, Scalar};
use crate::v1::value;

/// Amounts by name, sorted. A name that is absent has nothing, and nothing is never stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Quantities(Vec<(Name, Scalar)>);

impl Quantities {
    /// Nothing at all.
    pub const fn new() -> Quantities {
        Quantities(Vec::new())
    }

    /// The amount of `name`.
    pub fn get(&self, name: &Name) -> Scalar {
        find(&self.0, name).map_or(Scalar::ZERO, |i| self.0[i].1)
    }

    /// Sets the amount of `name`.
    pub fn set(&mut self, name: Name, amount: Scalar) {
        match (find(&self.0, &name), amount.is_zero()) {
            (Ok(i), true) => drop(self.0.remove(i)),
            (Ok(i), false) => self.0[i].1 = amount,
            (Err(_), true) => {}
            (Err(i), false) => self.0.insert(i, (name, amount)),
        }
    }

    /// Adds to the amount of `name`.
    pub fn increase(&mut self, name: &Name, amount: Scalar) {
        if amount.is_zero() {
            return;
        }
        match find(&self.0, name) {
            Ok(i) => self.0[i].1 += amount,
            Err(i) => self.0.insert(i, (name.clone(), amount)),
        }
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many names have an amount.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The amounts above zero, sorted by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Name, Scalar)> {
        self.0.iter().map(|(name, amount)| (name, *amount))
    }

    /// Whether there is at least as much here of everything in `other`.
    pub fn contains(&self, other: &Quantities) -> bool {
        other.0.len() <= self.0.len() && other.iter().all(|(name, amount)| self.get(name) >= amount)
    }
}

impl<N: Into<Name>> FromIterator<(N, Scalar)> for Quantities {
    fn from_iter<I: IntoIterator<Item = (N, Scalar)>>(amounts: I) -> Quantities {
        let mut quantities = Quantities::new();
        for (name, amount) in amounts {
            quantities.increase(&name.into(), amount);
        }
        quantities
    }
}

impl AddAssign<&Quantities> for Quantities {
    fn add_assign(&mut self, other: &Quantities) {
        for (i, (name, amount)) in other.0.iter().enumerate() {
            // The same names stand at the same places more often than not.
            match self.0.get_mut(i) {
                Some((mine, sum)) if mine == name => *sum += *amount,
                _ => self.increase(name, *amount),
            }
        }
    }
}

/// Clamps at zero.
impl SubAssign<&Quantities> for Quantities {
    fn sub_assign(&mut self, other: &Quantities) {
        let mut emptied = false;
        for (name, amount) in &other.0 {
            if let Ok(i) = find(&self.0, name) {
                self.0[i].1 -= *amount;
                emptied |= self.0[i].1.is_zero();
            }
        }
        if emptied {
            self.0.retain(|(_, amount)| !amount.is_zero());
        }
    }
}

impl Add<&Quantities> for Quantities {
    type Output = Quantities;
    fn add(mut self, other: &Quantities) -> Quantities {
        self += other;
        self
    }
}

/// Clamps at zero.
impl Sub<&Quantities> for Quantities {
    type Output = Quantities;
    fn sub(mut self, other: &Quantities) -> Quantities {
        self -= other;
        self
    }
}

/// `cpus:1.5; mem:512`, or `{}` for nothing.
impl fmt::Display for Quantities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print(&self.0, f)
    }
}

/// Upper bounds by name, sorted. A name that is absent has no bound; a bound of zero allows nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Limits(Vec<(Name, Scalar)>);

impl Limits {
    /// No bounds.
    pub const fn new() -> Limits {
        Limits(Vec::new())
    }

    /// The bound of `name`, if it has one.
    pub fn get(&self, name: &Name) -> Option<Scalar> {
        find(&self.0, name).ok().map(|i| self.0[i].1)
    }

    /// Bounds `name`.
    pub fn set(&mut self, name: Name, bound: Scalar) {
        match find(&self.0, &name) {
            Ok(i) => self.0[i].1 = bound,
            Err(i) => self.0.insert(i, (name, bound)),
        }
    }

    /// Whether nothing is bounded.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The bounds, sorted by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Name, Scalar)> {
        self.0.iter().map(|(name, bound)| (name, *bound))
    }

    /// Whether `quantities` are within the bounds.
    pub fn allow(&self, quantities: &Quantities) -> bool {
        self.iter().all(|(name, bound)| quantities.get(name) <= bound)
    }

    /// Whether these bounds are nowhere tighter than `other`'s.
    pub fn contains(&self, other: &Limits) -> bool {
        self.iter().all(|(name, bound)| other.get(name).is_some_and(|theirs| theirs <= bound))
    }
}

impl<N: Into<Name>> FromIterator<(N, Scalar)> for Limits {
    fn from_iter<I: IntoIterator<Item = (N, Scalar)>>(bounds: I) -> Limits {
        let mut limits = Limits::new();
        for (name, bound) in bounds {
            limits.set(name.into(), bound);
        }
        limits
    }
}

/// What the bounds still allow after `quantities`: at least zero, and a bound stays a bound.
impl SubAssign<&Quantities> for Limits {
    fn sub_assign(&mut self, quantities: &Quantities) {
        for (name, bound) in &mut self.0 {
            *bound -= quantities.get(name);
        }
    }
}

impl Sub<&Quantities> for Limits {
    type Output = Limits;
    fn sub(mut self, quantities: &Quantities) -> Limits {
        self -= quantities;
        self
    }
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print(&self.0, f)
    }
}

/// The amounts of a message's map, such as a quota's guarantees.
///
/// # Errors
/// Names the first entry whose value is no amount.
pub fn amounts<'a>(
    map: impl IntoIterator<Item = (&'a String, &'a value::Scalar)>,
) -> Result<Vec<(Name, Scalar)>, super::ResourceError> {
    map.into_iter()
        .map(|(name, scalar)| match Scalar::from_f64(scalar.value) {
            _ if name.is_empty() => Err(super::ResourceError::NoName),
            Ok(amount) => Ok((name.into(), amount)),
            Err(error) => Err(super::ResourceError::Scalar(name.clone(), error)),
        })
        .collect()
}

fn find(amounts: &[(Name, Scalar)], name: &Name) -> Result<usize, usize> {
    // A handful of entries: walking them beats bisecting.
    for (i, (other, _)) in amounts.iter().enumerate() {
        match other.cmp(name) {
            std::cmp::Ordering::Less => {}
            std::cmp::Ordering::Equal => return Ok(i),
            std::cmp::Ordering::Greater => return Err(i),
        }
    }
    Err(amounts.len())
}

fn print(amounts: &[(Name, Scalar)], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if amounts.is_empty() {
        return f.write_str("{}");
    }
    for (i, (name, amount)) in amounts.iter().enumerate() {
        let separator = if i == 0 { "" } else { "; " };
        write!(f, "{separator}{name}:{amount}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn quantities(amounts: &[(&str, u64)]) -> Quantities {
        amounts.iter().map(|&(name, amount)| (name, Scalar::from_thousandths(amount))).collect()
    }

    fn limits(amounts: &[(&str, u64)]) -> Limits {
        amounts.iter().map(|&(name, amount)| (name, Scalar::from_thousandths(amount))).collect()
    }

    #[test]
    fn zero_is_not_stored_and_subtraction_clamps() {
        let mut q = quantities(&[("mem", 512_000), ("cpus", 1500), ("gpus", 0)]);
        assert_eq!(q.to_string(), "cpus:1.5; mem:512");
        q -= &quantities(&[("cpus", 2000), ("disk", 1)]);
        assert_eq!(q, quantities(&[("mem", 512_000)]));
        q.set(Name::MEM, Scalar::ZERO);
        assert!(q.is_empty());
        assert_eq!(q.to_string(), "{}");
    }

    #[test]
    fn an_absent_limit_is_infinite_and_a_zero_limit_stays() {
        let limits = limits(&[("cpus", 1000), ("gpus", 0)]);
        assert!(limits.allow(&quantities(&[("cpus", 1000), ("mem", 9_000_000)])));
        assert!(!limits.allow(&quantities(&[("gpus", 1000)])));
        let left = limits - &quantities(&[("cpus", 3000), ("mem", 1)]);
        assert_eq!(left.get(&Name::CPUS), Some(Scalar::ZERO));
        assert_eq!(left.get(&Name::GPUS), Some(Scalar::ZERO));
        assert_eq!(left.get(&Name::MEM), None);
    }

    fn some() -> impl Strategy<Value = Quantities> {
        let amount = (prop::sample::select(vec!["cpus", "mem", "a", "nuts", "zoo"]), 0..5u64);
        prop::collection::vec(amount, 0..6).prop_map(|amounts| quantities(&amounts))
    }

    proptest! {
        #[test]
        fn they_add_up(a in some(), b in some(), c in some()) {
            prop_assert_eq!(a.clone() + &b, b.clone() + &a);
            prop_assert_eq!((a.clone() + &b) + &c, a.clone() + &(b.clone() + &c));
            prop_assert_eq!(a.clone() + &b - &b, a.clone());
            prop_assert!((a.clone() + &b).contains(&b));
            prop_assert_eq!(a.contains(&b), a.clone() - &b + &b == a);
            prop_assert!((a - &b).iter().all(|(_, amount)| !amount.is_zero()));
        }
    }
}
