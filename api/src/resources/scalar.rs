//! Amounts in fixed point.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::str::FromStr;

/// An amount of a scalar resource in thousandths: 1500 is 1.5 cpus, or 1.5 MB of mem.
/// Fixed point, so that what is taken and given back adds up exactly.
///
/// `+` and `-` saturate at the ends of the range; [`Scalar::checked_add`] and [`Scalar::checked_sub`] tell.
/// What comes from outside is bounded by [`Scalar::LIMIT`], far enough from the upper end for the sums of a
/// whole cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Scalar(u64);

/// Why a number is no amount.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ScalarError {
    /// Below zero.
    #[error("{0} is negative; an amount is zero or more")]
    Negative(f64),
    /// NaN or infinite.
    #[error("{0} is no finite number")]
    NotFinite(f64),
    /// Beyond what fixed point with three decimals carries exactly in a double.
    #[error("{0} is too large; amounts end at {limit}", limit = Scalar::LIMIT)]
    TooLarge(f64),
    /// Not a number at all.
    #[error("'{0}' is no number")]
    Text(String),
}

impl Scalar {
    /// Nothing.
    pub const ZERO: Scalar = Scalar(0);
    /// The largest amount accepted from outside, 2⁵¹ thousandths: up to here the roundings of dividing by 1000
    /// and multiplying again stay below half a thousandth, so every amount survives the way through a message.
    pub const LIMIT: Scalar = Scalar(1 << 51);

    /// So many thousandths.
    pub const fn from_thousandths(thousandths: u64) -> Scalar {
        Scalar(thousandths)
    }

    /// So many whole units; saturates.
    pub const fn from_units(units: u64) -> Scalar {
        Scalar(units.saturating_mul(1000))
    }

    /// The amount nearest to `value`: `llround(value * 1000)` thousandths, halves away from zero.
    ///
    /// # Errors
    /// For a number that is negative, not finite, or above [`Scalar::LIMIT`].
    pub fn from_f64(value: f64) -> Result<Scalar, ScalarError> {
        if !value.is_finite() {
            return Err(ScalarError::NotFinite(value));
        }
        if value < 0.0 {
            return Err(ScalarError::Negative(value));
        }
        let thousandths = (value * 1000.0).round();
        if thousandths > Scalar::LIMIT.0 as f64 {
            return Err(ScalarError::TooLarge(value));
        }
        Ok(Scalar(thousandths as u64))
    }

    /// The amount as messages carry it.
    pub fn to_f64(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    /// The amount in thousandths.
    pub const fn thousandths(self) -> u64 {
        self.0
    }

    /// Whether there is nothing.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Whether the amount has no fraction, as that of `gpus` must.
    pub const fn is_whole(self) -> bool {
        self.0.is_multiple_of(1000)
    }

    /// `self + other`, or `None` past the end of the range.
    pub fn checked_add(self, other: Scalar) -> Option<Scalar> {
        self.0.checked_add(other.0).map(Scalar)
    }

    /// `self - other`, or `None` when `other` is larger: no amount is below zero.
    pub fn checked_sub(self, other: Scalar) -> Option<Scalar> {
        self.0.checked_sub(other.0).map(Scalar)
    }
}

impl Add for Scalar {
    type Output = Scalar;
    fn add(self, other: Scalar) -> Scalar {
        Scalar(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Scalar {
    fn add_assign(&mut self, other: Scalar) {
        *self = *self + other;
    }
}

/// Clamps at zero.
impl Sub for Scalar {
    type Output = Scalar;
    fn sub(self, other: Scalar) -> Scalar {
        Scalar(self.0.saturating_sub(other.0))
    }
}

impl SubAssign for Scalar {
    fn sub_assign(&mut self, other: Scalar) {
        *self = *self - other;
    }
}

impl Sum for Scalar {
    fn sum<I: Iterator<Item = Scalar>>(amounts: I) -> Scalar {
        amounts.fold(Scalar::ZERO, Scalar::add)
    }
}

/// Without a fraction where there is none, otherwise with as many of the three decimals as are needed.
impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (units, rest) = (self.0 / 1000, self.0 % 1000);
        match (rest % 10, rest % 100) {
            _ if rest == 0 => write!(f, "{units}"),
            (_, 0) => write!(f, "{units}.{}", rest / 100),
            (0, _) => write!(f, "{units}.{:02}", rest / 10),
            _ => write!(f, "{units}.{rest:03}"),
        }
    }
}

impl FromStr for Scalar {
    type Err = ScalarError;
    fn from_str(text: &str) -> Result<Scalar, ScalarError> {
        Scalar::from_f64(text.parse().map_err(|_| ScalarError::Text(text.to_owned()))?)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn three_decimals_halves_away_from_zero() {
        let thousandths = |value| Scalar::from_f64(value).unwrap().thousandths();
        assert_eq!(thousandths(0.1), 100);
        assert_eq!(thousandths(1.0005), 1001);
        assert_eq!(thousandths(0.0004), 0);
        assert_eq!(thousandths(2.9999), 3000);
    }

    #[test]
    fn ten_tenths_are_one() {
        let tenth: Scalar = "0.1".parse().unwrap();
        assert_eq!((0..10).map(|_| tenth).sum::<Scalar>(), Scalar::from_units(1));
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        assert_eq!("-1".parse::<Scalar>(), Err(ScalarError::Negative(-1.0)));
        assert!(matches!("inf".parse::<Scalar>(), Err(ScalarError::NotFinite(_))));
        assert!(matches!("nan".parse::<Scalar>(), Err(ScalarError::NotFinite(_))));
        assert!(matches!("1e16".parse::<Scalar>(), Err(ScalarError::TooLarge(_))));
        assert_eq!("four".parse::<Scalar>(), Err(ScalarError::Text("four".to_owned())));
        assert_eq!(Scalar::from_units(1).checked_sub(Scalar::from_units(2)), None);
        assert_eq!(Scalar::from_units(1) - Scalar::from_units(2), Scalar::ZERO);
    }

    #[test]
    fn prints_only_the_decimals_there_are() {
        let print = |thousandths| Scalar::from_thousandths(thousandths).to_string();
        assert_eq!(print(1_024_000), "1024");
        assert_eq!(print(1_500), "1.5");
        assert_eq!(print(1_050), "1.05");
        assert_eq!(print(10), "0.01");
        assert_eq!(print(1), "0.001");
    }

    fn amount() -> impl Strategy<Value = Scalar> {
        (0..=Scalar::LIMIT.thousandths()).prop_map(Scalar::from_thousandths)
    }

    proptest! {
        #[test]
        fn survives_double_and_text(a in amount()) {
            prop_assert_eq!(Scalar::from_f64(a.to_f64()), Ok(a));
            prop_assert_eq!(a.to_string().parse(), Ok(a));
        }

        #[test]
        fn addition_is_exact(a in amount(), b in amount()) {
            prop_assert_eq!(a + b - b, a);
            prop_assert_eq!(a + b, b + a);
            prop_assert_eq!((a + b).checked_sub(a), Some(b));
        }
    }
}
