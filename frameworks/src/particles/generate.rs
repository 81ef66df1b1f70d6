//! Making data: parabolas as of things thrown, some of which never come down.

use std::io::{self, BufWriter, Write};

use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

/// Writes `count` lines `a,b,c`. The same seed gives the same lines, and a smaller count the first of them.
///
/// Most open downwards and have their highest point somewhere near the origin; a sixth of those stay below
/// the ground. A few open upwards, and one in a hundred is a straight line.
pub fn generate(count: u64, seed: u64, out: impl Write) -> io::Result<()> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut out = BufWriter::with_capacity(1 << 16, out);
    for _ in 0..count {
        let [a, b, c] = coefficients(&mut rng);
        write_decimal(&mut out, a)?;
        out.write_all(b",")?;
        write_decimal(&mut out, b)?;
        out.write_all(b",")?;
        write_decimal(&mut out, c)?;
        out.write_all(b"\n")?;
    }
    out.flush()
}

/// In ten-thousandths. Integers only, so that every machine writes the same.
fn coefficients(rng: &mut Xoshiro256PlusPlus) -> [i64; 3] {
    let kind = rng.random_range(0..100);
    // The sum of three uniform numbers is near enough to a bell.
    let apex = (0..3).map(|_| rng.random_range(-40_000..=40_000i64)).sum::<i64>() - 12_000;
    let height = rng.random_range(-20_000..=100_000i64);
    let bend = rng.random_range(500..=9_000i64);
    match kind {
        0 => [0, bend.max(2_000), -apex],
        1..=4 => around(bend, apex, -height),
        _ => around(-bend, apex, height),
    }
}

/// y = a(x − apex)² + height, multiplied out.
fn around(a: i64, apex: i64, height: i64) -> [i64; 3] {
    const UNIT: i64 = 10_000;
    [a, -2 * a * apex / UNIT, a * apex / UNIT * apex / UNIT + height]
}

fn write_decimal(out: &mut impl Write, ten_thousandths: i64) -> io::Result<()> {
    let sign = if ten_thousandths < 0 { "-" } else { "" };
    let magnitude = ten_thousandths.unsigned_abs();
    write!(out, "{sign}{}.{:04}", magnitude / 10_000, magnitude % 10_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::particles::chunk::tally_data;

    fn generated(count: u64, seed: u64) -> Vec<u8> {
        let mut data = Vec::new();
        generate(count, seed, &mut data).unwrap();
        data
    }

    #[test]
    fn the_same_seed_gives_the_same_lines() {
        assert_eq!(generated(1000, 3), generated(1000, 3));
        assert_ne!(generated(1000, 3), generated(1000, 4));
        assert!(generated(1000, 3).starts_with(&generated(10, 3)));
    }

    #[test]
    fn every_line_is_a_parabola_and_every_outcome_occurs() {
        let tally = tally_data(&generated(10_000, 1), 0);
        assert_eq!((tally.lines, tally.malformed), (10_000, 0));
        assert!(tally.left > 2_000 && tally.right > 5_000 && tally.never > 1_000);
    }
}
