//! Counting random points inside the quarter circle, as fast as one core can.
//!
//! The points of a run are numbered from 0. They come in blocks of [`BLOCK`], each with random streams of
//! its own that follow from the run's seed and the block's number alone. What a point is therefore does not
//! depend on who computes it, and the count over a range is the sum over its parts, however it was split.
//!
//! Nothing but integers is involved: a point is a pair of 31-bit coordinates, and whether it lies outside
//! the circle is one bit of the sum of their squares. Every instruction set gives the same count.

use std::ops::Range;

/// Points per block. Large enough that setting up the streams is lost in the noise, small enough that
/// starting a range in the middle of a block costs microseconds.
pub const BLOCK: u64 = 10_000;

/// Independent streams per block: point `i` of a block is draw `i / LANES` of stream `i % LANES`. Two AVX-512
/// registers hold one word of all streams, and it divides [`BLOCK`].
const LANES: usize = 16;

/// Draws each stream gives in a full block.
const STEPS: u64 = BLOCK / LANES as u64;

/// The odd constant of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// How many of the points numbered `points` lie inside the quarter circle.
///
/// An empty or reversed range holds no point.
pub fn count_inside(seed: u64, points: Range<u64>) -> u64 {
    Kernel::detect().count_inside(seed, points)
}

/// A way to count that this machine can run. All give the same answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel(InstructionSet);

/// Private, so that a [`Kernel`] exists only for what the processor was asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum InstructionSet {
    /// What every machine of the target has; SSE2 on x86-64.
    Baseline,
    /// Four 64-bit lanes a register.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// Eight 64-bit lanes a register, and a rotate instruction.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Kernel {
    /// The fastest one this machine can run.
    pub fn detect() -> Kernel {
        Kernel::supported().pop().unwrap_or(Kernel(InstructionSet::Baseline))
    }

    /// All this machine can run, slowest first.
    pub fn supported() -> Vec<Kernel> {
        let mut kernels = vec![Kernel(InstructionSet::Baseline)];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") {
                kernels.push(Kernel(InstructionSet::Avx2));
            }
            if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512dq") {
                kernels.push(Kernel(InstructionSet::Avx512));
            }
        }
        kernels
    }

    /// Its name: `baseline`, `avx2`, `avx512`.
    pub fn name(self) -> &'static str {
        match self.0 {
            InstructionSet::Baseline => "baseline",
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512 => "avx512",
        }
    }

    /// As [`count_inside`], on this instruction set.
    pub fn count_inside(self, seed: u64, points: Range<u64>) -> u64 {
        let mut inside = 0;
        let mut at = points.start;
        while at < points.end {
            let block = at / BLOCK;
            let first = block * BLOCK;
            let end = points.end.min(first.saturating_add(BLOCK));
            inside += if end - at == BLOCK {
                BLOCK - self.outside_in_block(seed, block)
            } else {
                inside_part(seed, block, at - first..end - first)
            };
            at = end;
        }
        inside
    }

    fn outside_in_block(self, seed: u64, block: u64) -> u64 {
        match self.0 {
            InstructionSet::Baseline => outside::<2>(seed, block),
            // SAFETY: `supported` is the only place that makes these values, after asking the processor.
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx2 => unsafe { outside_avx2(seed, block) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512 => unsafe { outside_avx512(seed, block) },
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn outside_avx2(seed: u64, block: u64) -> u64 {
    outside::<8>(seed, block)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512dq")]
fn outside_avx512(seed: u64, block: u64) -> u64 {
    outside::<16>(seed, block)
}

/// One word of the state of `W` streams.
type Word<const W: usize> = [u64; W];

/// Points of a full block outside the circle, `W` streams at a time: as many as the registers hold the
/// state of.
#[inline(always)]
fn outside<const W: usize>(seed: u64, block: u64) -> u64 {
    let mut total = 0;
    for group in 0..LANES / W {
        let mut state: [Word<W>; 4] = [[0; W]; 4];
        for lane in 0..W {
            let words = stream(seed, block, group * W + lane);
            for (word, value) in state.iter_mut().zip(words) {
                word[lane] = value;
            }
        }
        let mut outside: Word<W> = [0; W];
        let [mut s0, mut s1, mut s2, mut s3] = state;
        for _ in 0..STEPS {
            let mut draw: Word<W> = [0; W];
            for l in 0..W {
                (draw[l], [s0[l], s1[l], s2[l], s3[l]]) = next([s0[l], s1[l], s2[l], s3[l]]);
            }
            for l in 0..W {
                outside[l] += is_outside(draw[l]);
            }
        }
        total += outside.iter().sum::<u64>();
    }
    total
}

/// Points with numbers `part` of a block inside the circle, one by one: the ends of a range.
fn inside_part(seed: u64, block: u64, part: Range<u64>) -> u64 {
    let mut inside = 0;
    for lane in 0..LANES {
        let mut state = stream(seed, block, lane);
        let mut point = lane as u64;
        while point < part.end {
            let draw;
            (draw, state) = next(state);
            if point >= part.start {
                inside += 1 - is_outside(draw);
            }
            point += LANES as u64;
        }
    }
    inside
}

/// The initial state of one stream: four consecutive words of the one SplitMix64 sequence the seed starts.
///
/// SplitMix64 never repeats within its period, so of four words at most one is zero, as xoshiro requires.
#[inline(always)]
fn stream(seed: u64, block: u64, lane: usize) -> [u64; 4] {
    // Mixed, so that neighbouring seeds start far from one another.
    let start = mix(seed.wrapping_add(GAMMA));
    let stream = block.wrapping_mul(LANES as u64).wrapping_add(lane as u64);
    std::array::from_fn(|word| {
        let n = stream.wrapping_mul(4).wrapping_add(word as u64 + 1);
        mix(start.wrapping_add(n.wrapping_mul(GAMMA)))
    })
}

/// The output function of SplitMix64.
#[inline(always)]
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// xoshiro256++ (Blackman, Vigna: Scrambled Linear Pseudorandom Number Generators, 2021).
#[inline(always)]
fn next([s0, s1, s2, s3]: [u64; 4]) -> (u64, [u64; 4]) {
    let draw = s0.wrapping_add(s3).rotate_left(23).wrapping_add(s0);
    let (t2, t3) = (s2 ^ s0, s3 ^ s1);
    (draw, [s0 ^ t3, s1 ^ t2, t2 ^ (s1 << 17), t3.rotate_left(45)])
}

/// 1 when the point drawn lies outside the quarter circle of radius 2³¹, otherwise 0.
///
/// The coordinates are the upper and the lower 31 bits, so the sum of squares is below 2⁶³ and its bit 62
/// tells. The grid is so fine that its bias on π, about 10⁻⁹, drowns in the statistical error of any run
/// below 10¹⁸ points.
#[inline(always)]
fn is_outside(draw: u64) -> u64 {
    let (x, y) = (draw >> 33, draw & 0x7fff_ffff);
    (x * x + y * y) >> 62
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_instruction_set_counts_what_the_plain_loop_counts() {
        for seed in [0, 1, 42, u64::MAX] {
            for block in [0, 1, 1_000_000_007] {
                let plain = inside_part(seed, block, 0..BLOCK);
                for kernel in Kernel::supported() {
                    let points = block * BLOCK..(block + 1) * BLOCK;
                    assert_eq!(kernel.count_inside(seed, points), plain, "{} {seed} {block}", kernel.name());
                }
            }
        }
    }

    #[test]
    fn the_boundary_of_the_circle_is_outside() {
        let r = 1u64 << 31;
        // Coordinates have 31 bits: (r - 1, 0) is the last point inside on the axis.
        assert_eq!(is_outside((r - 1) << 33), 0);
        assert_eq!(is_outside((r - 1) << 33 | 1 << 16), 1);
        assert_eq!(is_outside(u64::MAX), 1);
        assert_eq!(is_outside(0), 0);
    }

    #[test]
    fn a_run_is_the_same_today_and_tomorrow() {
        assert_eq!(count_inside(7, 0..1_000_000), EXPECTED_SEED_7);
    }

    /// What this kernel gave when it was written: results are comparable between versions.
    const EXPECTED_SEED_7: u64 = 784_566;

    #[test]
    fn the_fraction_inside_is_a_quarter_of_pi() {
        let n = 3_000_000u64;
        for seed in 1..=5 {
            let estimate = 4.0 * count_inside(seed, 0..n) as f64 / n as f64;
            assert!((estimate - std::f64::consts::PI).abs() < 4.0 * 1.6421 / (n as f64).sqrt(), "{estimate}");
        }
    }

    #[test]
    fn no_points_no_count() {
        assert_eq!(count_inside(1, 5..5), 0);
        assert_eq!(count_inside(1, Range { start: 9, end: 5 }), 0);
        // The last block of the numbering is cut short by the end of it.
        assert!(count_inside(1, u64::MAX - 100..u64::MAX) <= 100);
    }

    proptest! {
        #[test]
        fn a_range_is_the_sum_of_its_parts(seed: u64, start in 0u64..50_000, len in 0u64..50_000, cut in 0.0f64..1.0) {
            let (end, middle) = (start + len, start + (len as f64 * cut) as u64);
            let whole = count_inside(seed, start..end);
            prop_assert_eq!(whole, count_inside(seed, start..middle) + count_inside(seed, middle..end));
        }
    }
}
