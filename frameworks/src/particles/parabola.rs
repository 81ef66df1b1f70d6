//! One particle: the parabola y = a·x² + b·x + c it flies along, and where it comes down.

/// The coefficients of y = a·x² + b·x + c, all finite.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Parabola {
    /// Of x².
    pub a: f64,
    /// Of x.
    pub b: f64,
    /// The height at the origin.
    pub c: f64,
}

/// Where a particle ends, seen from the origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Side {
    /// At a negative x.
    Left,
    /// At a positive x, or at the origin itself.
    Right,
    /// Nowhere: there is no real root.
    Never,
}

/// Why a line is not a parabola.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MalformedLine {
    /// Not UTF-8.
    #[error("not text")]
    NotText,
    /// More or fewer than three fields.
    #[error("{found} fields instead of the three of `a,b,c`")]
    Fields {
        /// How many there are.
        found: usize,
    },
    /// A field that is no number.
    #[error("`{field}` is not a number")]
    Number {
        /// The field, cut short when it is long.
        field: String,
    },
    /// Infinity, not-a-number, or a number too large for a double.
    #[error("`{field}` is not finite")]
    Infinite {
        /// The field, cut short when it is long.
        field: String,
    },
    /// Longer than any line of three numbers.
    #[error("longer than {limit} bytes")]
    TooLong {
        /// The longest a line may be.
        limit: usize,
    },
}

impl Parabola {
    /// Reads `a,b,c`. Blanks around the numbers are of no importance.
    pub fn parse(line: &[u8]) -> Result<Parabola, MalformedLine> {
        let line = std::str::from_utf8(line).map_err(|_| MalformedLine::NotText)?;
        let mut fields = line.split(',');
        match (fields.next(), fields.next(), fields.next(), fields.next()) {
            (Some(a), Some(b), Some(c), None) => Ok(Parabola { a: number(a)?, b: number(b)?, c: number(c)? }),
            _ => Err(MalformedLine::Fields { found: line.split(',').count() }),
        }
    }

    /// Which side of the origin the larger root is on. Exact for all finite coefficients: no rounding
    /// anywhere near the roots can turn one answer into another.
    pub fn side(&self) -> Side {
        let Parabola { a, b, c } = *self;
        if a == 0.0 {
            return match (b == 0.0, c == 0.0) {
                (true, _) => Side::Never,
                (false, true) => Side::Right,
                (false, false) => right_if((b < 0.0) == (c > 0.0)),
            };
        }
        // One root is zero, or the roots' product c/a is negative and they lie on either side: the larger
        // one is not left of the origin.
        if c == 0.0 || (a < 0.0) != (c < 0.0) {
            return Side::Right;
        }
        // Both roots, if there are any, are on the side of their sum −b/a.
        match b != 0.0 && square_reaches(b, a, c) {
            true => right_if((a < 0.0) != (b < 0.0)),
            false => Side::Never,
        }
    }

    /// The larger root, or the only one; `None` when there is none.
    ///
    /// Its sign agrees with [`side`](Self::side). It is infinite when it is too large for a double.
    pub fn landing(&self) -> Option<f64> {
        let root = match self.side() {
            Side::Never => return None,
            Side::Left => self.larger_root().min(-f64::MIN_POSITIVE),
            Side::Right => self.larger_root().max(0.0),
        };
        Some(root)
    }

    /// Both roots in order, the same twice when there is one; `None` when there is none.
    pub fn roots(&self) -> Option<(f64, f64)> {
        let landing = self.landing()?;
        let other = match self.a == 0.0 {
            true => landing,
            false => {
                let (one, two) = self.quadratic_roots();
                one.min(two)
            }
        };
        Some((other.min(landing), landing))
    }

    fn larger_root(&self) -> f64 {
        if self.a == 0.0 {
            return -self.c / self.b;
        }
        let (one, two) = self.quadratic_roots();
        one.max(two)
    }

    /// Adds b and the root of the discriminant with the same sign, where nothing cancels, and takes the
    /// other root from the product c/a.
    fn quadratic_roots(&self) -> (f64, f64) {
        // Multiplying the equation by a power of two changes no root and keeps the squares in range.
        let largest = self.a.abs().max(self.b.abs()).max(self.c.abs());
        let scale = power_of_two(-exponent(largest).clamp(-1000, 1000));
        let (a, b, c) = (self.a * scale, self.b * scale, self.c * scale);
        let q = -0.5 * (b + discriminant(a, b, c).max(0.0).sqrt().copysign(b));
        if q == 0.0 { (0.0, 0.0) } else { (q / a, c / q) }
    }
}

fn right_if(condition: bool) -> Side {
    if condition { Side::Right } else { Side::Left }
}

fn number(field: &str) -> Result<f64, MalformedLine> {
    let field = field.trim();
    let shortened = || field.chars().take(40).collect::<String>();
    match field.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value),
        Ok(_) => Err(MalformedLine::Infinite { field: shortened() }),
        Err(_) => Err(MalformedLine::Number { field: shortened() }),
    }
}

/// b² − 4ac with the rounding errors of both products put back (Kahan: On the Cost of Floating-Point
/// Computation Without Extra-Precise Arithmetic, 2004).
fn discriminant(a: f64, b: f64, c: f64) -> f64 {
    let (square, product) = (b * b, 4.0 * a * c);
    let difference = square - product;
    if 3.0 * difference.abs() >= square + product.abs() {
        return difference;
    }
    difference + (b.mul_add(b, -square) - (4.0 * a).mul_add(c, -product))
}

/// Whether b² ≥ 4ac, exactly, for non-zero numbers with ac > 0.
fn square_reaches(b: f64, a: f64, c: f64) -> bool {
    let ((b, b_exponent), (a, a_exponent), (c, c_exponent)) = (split(b), split(a), split(c));
    // The products of mantissas are in 1..4, so two powers of two between them decide.
    let ahead = 2 * b_exponent - (a_exponent + c_exponent + 2);
    if ahead.abs() >= 2 {
        return ahead > 0;
    }
    let square = b * b;
    let product = a * c;
    let square_error = b.mul_add(b, -square);
    let product_error = a.mul_add(c, -product);
    let scale = power_of_two(ahead);
    // Rounding keeps order, so different roundings decide; equal ones leave it to what was rounded away.
    match (square * scale).total_cmp(&product) {
        std::cmp::Ordering::Equal => square_error * scale >= product_error,
        order => order.is_gt(),
    }
}

/// |x| as a mantissa in 1..2 and a power of two.
fn split(x: f64) -> (f64, i32) {
    let exponent = exponent(x.abs());
    // In two steps: 2^1074, for the smallest numbers, is itself too large.
    let half = -exponent / 2;
    (x.abs() * power_of_two(half) * power_of_two(-exponent - half), exponent)
}

/// The e with 2^e ≤ x < 2^(e+1), for a positive finite x.
fn exponent(x: f64) -> i32 {
    let bits = x.to_bits();
    match (bits >> 52) as i32 {
        0 => -1011 - bits.leading_zeros() as i32,
        biased => biased - 1023,
    }
}

/// 2^e for e in −1022..=1023.
fn power_of_two(e: i32) -> f64 {
    f64::from_bits(((e + 1023) as u64) << 52)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parabola(a: f64, b: f64, c: f64) -> Parabola {
        Parabola { a, b, c }
    }

    #[test]
    fn the_larger_root_decides() {
        for (a, b, c, side, landing) in [
            (1.0, -3.0, 2.0, Side::Right, Some(2.0)),
            (-1.0, 3.0, -2.0, Side::Right, Some(2.0)),
            (1.0, 3.0, 2.0, Side::Left, Some(-1.0)),
            (1.0, 0.0, -4.0, Side::Right, Some(2.0)),
            (1.0, 0.0, 1.0, Side::Never, None),
            (1.0, 2.0, 1.0, Side::Left, Some(-1.0)),
            (1.0, 2.0, 0.0, Side::Right, Some(0.0)),
            (-2.0, 0.0, 0.0, Side::Right, Some(0.0)),
            (0.0, 2.0, -4.0, Side::Right, Some(2.0)),
            (0.0, 2.0, 4.0, Side::Left, Some(-2.0)),
            (0.0, -2.0, 0.0, Side::Right, Some(0.0)),
            (0.0, 0.0, 1.0, Side::Never, None),
            (0.0, 0.0, 0.0, Side::Never, None),
            (-0.0, 1.0, -0.0, Side::Right, Some(0.0)),
        ] {
            let it = parabola(a, b, c);
            assert_eq!(it.side(), side, "{it:?}");
            assert_eq!(it.landing(), landing, "{it:?}");
        }
    }

    #[test]
    fn nothing_cancels() {
        // Of the two roots near −1e8 and −1e−8 the textbook formula loses the second entirely.
        for it in [parabola(1.0, 1e8, 1.0), parabola(1e-8, 1.0, 1e-8)] {
            assert!((it.landing().unwrap() / -1e-8 - 1.0).abs() < 1e-15, "{it:?}");
        }
        // Kahan's example: the discriminant is 4, of products of 10^15 and more.
        let it = parabola(94906265.625, -2.0 * 94906267.0, 94906268.375);
        let (smaller, larger) = it.roots().unwrap();
        assert!(
            (larger - 1.000000028975958).abs() < 1e-15 && (smaller - 1.0).abs() < 1e-15,
            "{smaller} {larger}"
        );
    }

    #[test]
    fn one_unit_in_the_last_place_tells_a_root_from_none() {
        let b = 1.0 + f64::EPSILON;
        // b² exceeds 1 by 2ε + ε²; 4ac is 1 + 2ε, which is what b² rounds to.
        assert_eq!(parabola(0.25, b, 1.0 + 2.0 * f64::EPSILON).side(), Side::Left);
        assert_eq!(parabola(0.25, b, 1.0 + 3.0 * f64::EPSILON).side(), Side::Never);
        assert_eq!(parabola(1e300, 2e300, 1e300).side(), Side::Left);
        assert_eq!(parabola(5e-324, -1e-323, 5e-324).side(), Side::Right);
        assert_eq!(parabola(5e-324, 5e-324, 5e-324).side(), Side::Never);
    }

    #[test]
    fn the_largest_and_the_smallest_numbers_work() {
        let golden = parabola(1e308, 1e308, -1e308).landing().unwrap();
        assert!((golden - (5f64.sqrt() - 1.0) / 2.0).abs() < 1e-15, "{golden}");
        assert_eq!(parabola(5e-324, 0.0, -5e-324).landing(), Some(1.0));
        assert_eq!(parabola(5e-324, 1e308, 5e-324).side(), Side::Left);
        assert!(parabola(5e-324, 1e308, 5e-324).landing().unwrap() < 0.0);
    }

    #[test]
    fn malformed_lines_say_why() {
        for (line, why) in [
            ("", "1 fields instead of the three of `a,b,c`"),
            ("1,2", "2 fields instead of the three of `a,b,c`"),
            ("1,2,3,4", "4 fields instead of the three of `a,b,c`"),
            ("1,zwei,3", "`zwei` is not a number"),
            ("1,,3", "`` is not a number"),
            ("1,nan,3", "`nan` is not finite"),
            ("1,2,1e999", "`1e999` is not finite"),
        ] {
            assert_eq!(Parabola::parse(line.as_bytes()).unwrap_err().to_string(), why, "{line}");
        }
        assert_eq!(Parabola::parse(b"\xff,1,2"), Err(MalformedLine::NotText));
        assert_eq!(Parabola::parse(b" 1 ,\t-2.5e0, +3\r"), Ok(parabola(1.0, -2.5, 3.0)));
    }

    proptest! {
        #[test]
        fn built_from_its_roots_it_lands_on_the_larger(
            a in prop_oneof![-9i32..=-1, 1i32..=9], r in -1000i32..=1000, s in -1000i32..=1000
        ) {
            let (a, r, s) = (f64::from(a), f64::from(r), f64::from(s));
            let it = parabola(a, -a * (r + s), a * r * s);
            let larger = r.max(s);
            prop_assert_eq!(it.side(), if larger < 0.0 { Side::Left } else { Side::Right });
            let landing = it.landing().unwrap();
            prop_assert!((landing - larger).abs() <= 1e-12 * larger.abs().max(1.0), "{} {}", landing, larger);
        }

        #[test]
        fn integers_agree_with_integer_arithmetic(a in -50i64..=50, b in -200i64..=200, c in -50i64..=50) {
            let it = parabola(a as f64, b as f64, c as f64);
            let real = if a == 0 { b != 0 } else { b * b >= 4 * a * c };
            prop_assert_eq!(it.side() != Side::Never, real);
        }

        #[test]
        fn no_finite_numbers_break_it(a: f64, b: f64, c: f64) {
            prop_assume!(a.is_finite() && b.is_finite() && c.is_finite());
            let it = parabola(a, b, c);
            match (it.side(), it.landing()) {
                (Side::Left, Some(x)) => prop_assert!(x < 0.0),
                (Side::Right, Some(x)) => prop_assert!(x >= 0.0),
                (Side::Never, None) => {}
                other => prop_assert!(false, "{:?}", other),
            }
        }

        #[test]
        fn scaling_by_a_power_of_two_changes_nothing(a in -9.0f64..9.0, b in -9.0f64..9.0, c in -9.0f64..9.0, e in -900i32..900) {
            let (it, k) = (parabola(a, b, c), power_of_two(e));
            prop_assume!([a, b, c].iter().all(|x| x.abs() > 1e-9));
            let scaled = parabola(a * k, b * k, c * k);
            prop_assert_eq!(scaled.side(), it.side());
            prop_assert_eq!(scaled.landing(), it.landing());
        }
    }
}
