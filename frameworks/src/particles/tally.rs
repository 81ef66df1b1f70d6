//! What is known of some lines: the counts, and enough beside them to name what was wrong and to draw.

use std::collections::BTreeMap;

use super::landings::Landings;
use super::parabola::{MalformedLine, Parabola, Side};

/// How many malformed lines are named; beyond that they are only counted.
pub const N_MALFORMED_MAX: usize = 20;
/// How many trajectories are kept to be drawn.
pub const N_SAMPLE_MAX: usize = 96;

/// The outcome of a range of lines. Tallies of neighbouring ranges add up to that of the whole, exactly and
/// whichever way the lines were cut: also the sample, which is chosen by place in the file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    /// Lines read, blank and malformed ones included.
    pub lines: u64,
    /// Particles that end left of the origin.
    pub left: u64,
    /// Particles that end right of the origin or at it.
    pub right: u64,
    /// Particles that never come down.
    pub never: u64,
    /// Lines that are no parabola.
    pub malformed: u64,
    /// The first of them.
    pub first_malformed: Vec<Malformed>,
    /// Where particles came down.
    pub landings: Landings,
    /// Some that came down.
    pub sample: Sample,
}

/// A line that is no parabola.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Its number, from 0, within the tally's range.
    pub line: u64,
    /// What is wrong with it.
    pub reason: String,
}

impl Tally {
    /// Takes in one line, which begins at byte `offset` of the file. A blank line is nobody's trajectory.
    pub fn line(&mut self, offset: u64, line: &[u8]) {
        if line.iter().all(u8::is_ascii_whitespace) {
            self.lines += 1;
            return;
        }
        match Parabola::parse(line) {
            Ok(parabola) => {
                self.lines += 1;
                self.particle(offset, parabola);
            }
            Err(error) => self.malformed(&error),
        }
    }

    /// Takes in a line that is no parabola.
    pub fn malformed(&mut self, error: &MalformedLine) {
        if self.first_malformed.len() < N_MALFORMED_MAX {
            self.first_malformed.push(Malformed { line: self.lines, reason: error.to_string() });
        }
        self.malformed += 1;
        self.lines += 1;
    }

    fn particle(&mut self, offset: u64, parabola: Parabola) {
        match parabola.side() {
            Side::Left => self.left += 1,
            Side::Right => self.right += 1,
            Side::Never => self.never += 1,
        }
        if let Some(x) = parabola.landing() {
            self.landings.record(x);
            self.sample.offer(offset, parabola);
        }
    }

    /// Adds the tally of the lines that follow.
    pub fn append(&mut self, next: &Tally) {
        let room = N_MALFORMED_MAX.saturating_sub(self.first_malformed.len());
        let renumbered = next.first_malformed.iter().take(room).map(|malformed| Malformed {
            line: malformed.line.saturating_add(self.lines),
            reason: malformed.reason.clone(),
        });
        self.first_malformed.extend(renumbered);
        for (mine, theirs) in [
            (&mut self.lines, next.lines),
            (&mut self.left, next.left),
            (&mut self.right, next.right),
            (&mut self.never, next.never),
            (&mut self.malformed, next.malformed),
        ] {
            *mine = mine.saturating_add(theirs);
        }
        self.landings.merge(&next.landings);
        self.sample.merge(&next.sample);
    }

    /// Particles: lines that are a parabola.
    pub fn particles(&self) -> u64 {
        self.left.saturating_add(self.right).saturating_add(self.never)
    }
}

/// A few trajectories, chosen by a hash of where their lines stand. So the choice is as good as random and
/// yet the same whichever way the file was cut.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    /// Those with the smallest hashes; the offset is beside the hash to tell two lines apart.
    chosen: BTreeMap<(u64, u64), Parabola>,
}

impl Sample {
    /// Takes the particle whose line begins at byte `offset`, if it is among the chosen.
    pub fn offer(&mut self, offset: u64, parabola: Parabola) {
        let key = (hash(offset), offset);
        if self.chosen.len() >= N_SAMPLE_MAX {
            match self.chosen.last_key_value() {
                Some((last, _)) if key < *last => self.chosen.pop_last(),
                _ => return,
            };
        }
        self.chosen.insert(key, parabola);
    }

    /// Takes what is among the chosen of both.
    pub fn merge(&mut self, other: &Sample) {
        for (offset, parabola) in other.iter() {
            self.offer(offset, parabola);
        }
    }

    /// The particles chosen, with the offsets of their lines, in no order of the file.
    pub fn iter(&self) -> impl Iterator<Item = (u64, Parabola)> {
        self.chosen.iter().map(|((_, offset), parabola)| (*offset, *parabola))
    }
}

/// The finalizer of SplitMix64: every bit of the offset moves half the bits of the hash.
fn hash(offset: u64) -> u64 {
    let mut z = offset.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
