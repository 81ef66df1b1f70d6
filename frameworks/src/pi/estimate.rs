//! From a count of points to π and its error.

use std::fmt;

/// π from the share of points inside the quarter circle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// Points inside.
    pub inside: u64,
    /// Points drawn.
    pub points: u64,
}

impl Estimate {
    /// Four times the share of points inside; not a number when none were drawn.
    pub fn pi(&self) -> f64 {
        4.0 * self.share()
    }

    /// The standard error of [`pi`](Self::pi): each point is a coin that shows "inside" with the share as
    /// its probability, so the share's variance is p(1 − p)/n.
    pub fn standard_error(&self) -> f64 {
        let share = self.share();
        4.0 * (share * (1.0 - share) / self.points as f64).sqrt()
    }

    fn share(&self) -> f64 {
        self.inside as f64 / self.points as f64
    }

    /// Decimals worth printing: two digits of the error, at least five.
    fn decimals(&self) -> usize {
        let error = self.standard_error();
        if error > 0.0 && error.is_finite() {
            (1.0 - error.log10().floor()).clamp(5.0, 12.0) as usize
        } else {
            5
        }
    }
}

/// `3.14159 ± 0.00026`
impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = self.decimals();
        write!(f, "{:.decimals$} ± {:.decimals$}", self.pi(), self.standard_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forty_million_points_give_three_decimals() {
        let estimate = Estimate { inside: 31_415_926, points: 40_000_000 };
        assert_eq!(estimate.to_string(), "3.14159 ± 0.00026");
    }

    #[test]
    fn more_points_more_decimals() {
        let estimate = Estimate { inside: 785_398_163_397, points: 1_000_000_000_000 };
        assert_eq!(estimate.to_string(), "3.1415927 ± 0.0000016");
    }

    #[test]
    fn all_or_none_inside_is_printed_all_the_same() {
        assert_eq!(Estimate { inside: 1, points: 1 }.to_string(), "4.00000 ± 0.00000");
        assert_eq!(Estimate { inside: 0, points: 7 }.to_string(), "0.00000 ± 0.00000");
    }
}
