//! Turns by lot: active clients in random order, the heavier ones sooner.
//!
//! A client's *chance* to be the next is its relative weight: along its path, the product of each node's
//! weight divided by the sum of the weights of its active siblings and itself. An inner node is active if
//! some client below it is. Whoever had a turn leaves the draw, and the others keep their chances in the
//! same proportion.
//!
//! **Cost.** Chances are computed again only after the tree, a weight or who is active changed. They stand in
//! a tree of sums, so that a draw costs O(log n), and clients that nobody asks for cost nothing.

use std::borrow::Cow;
use std::fmt::Debug;
use std::hash::Hash;

use rand::Rng;

use super::Sorter;
use super::tree::Kind;

/// So many clients are drawn before the sums are copied; see [`Draws`].
const FEW: usize = 32;

/// So often may a draw hit somebody who had a turn before the sums are copied.
const MISSES_MAX: usize = 8;

/// The active clients, by path, and their chances.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Lottery<K> {
    clients: Vec<K>,
    chances: Sums,
}

impl<K> Default for Lottery<K> {
    fn default() -> Self {
        Lottery { clients: Vec::new(), chances: Sums::default() }
    }
}

/// Numbers above zero, from which one is drawn in proportion to its size.
///
/// A binary tree in an array: the root at 1, the children of `at` at `2 * at` and `2 * at + 1`, the numbers
/// themselves in the second half. A sum is always recomputed from its two parts, never subtracted from, so
/// what is taken out leaves nothing behind, not even a rounding error.
#[derive(Clone, Debug, Default, PartialEq)]
struct Sums(Vec<f64>);

impl Sums {
    fn new(numbers: &[f64]) -> Sums {
        let half = numbers.len().next_power_of_two();
        let mut sums = vec![0.0; 2 * half];
        sums[half..half + numbers.len()].copy_from_slice(numbers);
        for at in (1..half).rev() {
            sums[at] = sums[2 * at] + sums[2 * at + 1];
        }
        Sums(sums)
    }

    fn total(&self) -> f64 {
        self.0.get(1).copied().unwrap_or(0.0)
    }

    /// The place of one of the numbers. The total must be above zero.
    fn draw(&self, rng: &mut impl Rng) -> usize {
        let half = self.0.len() / 2;
        let mut rest = rng.random::<f64>() * self.total();
        let mut at = 1;
        while at < half {
            let (left, right) = (self.0[2 * at], self.0[2 * at + 1]);
            // Rounding may lead `rest` to the end of the right half, but not into an empty one.
            at = if rest < left || right == 0.0 {
                2 * at
            } else {
                rest -= left;
                2 * at + 1
            };
        }
        at - half
    }

    fn take(&mut self, place: usize) {
        let mut at = place + self.0.len() / 2;
        self.0[at] = 0.0;
        while at > 1 {
            at /= 2;
            self.0[at] = self.0[2 * at] + self.0[2 * at + 1];
        }
    }
}

impl<K: Copy + Eq + Hash + Debug> Sorter<K> {
    /// Computes all chances.
    pub(super) fn lottery(&self) -> Lottery<K> {
        let mut clients = Vec::new();
        let mut chances = Vec::new();
        let mut stack = vec![(self.root, 1.0)];
        while let Some((at, chance)) = stack.pop() {
            match &self.nodes[at].kind {
                // Whoever weighs next to nothing comes last, but comes.
                Kind::Leaf { client, .. } => {
                    clients.push(*client);
                    chances.push(f64::max(chance, f64::MIN_POSITIVE));
                }
                Kind::Inner(inner) => {
                    let active = || {
                        let children =
                            inner.children.values().rev().map(|child| (*child, &self.nodes[*child]));
                        children.filter(|(_, node)| node.is_active())
                    };
                    // Measured by the heaviest, no sum of weights is too large to be a number.
                    let heaviest = active().map(|(_, node)| node.weight).fold(0.0, f64::max);
                    let sum: f64 = active().map(|(_, node)| node.weight / heaviest).sum();
                    stack.extend(
                        active().map(|(child, node)| (child, chance * (node.weight / heaviest) / sum)),
                    );
                }
            }
        }
        Lottery { clients, chances: Sums::new(&chances) }
    }
}

impl<K: Copy> Lottery<K> {
    /// The active clients in the order of their paths.
    pub(super) fn into_clients(self) -> Vec<K> {
        self.clients
    }
}

/// Draws the active clients of a [`Sorter`], each once.
///
/// Most of the time the first few are all that is asked for. These are drawn from sums shared by all, and a
/// hit on somebody who had a turn is drawn again. Only who asks for more gets a copy of the sums, from which
/// those who had a turn are taken out.
#[derive(Debug)]
pub struct Draws<'a, K: Clone, R> {
    lottery: Cow<'a, Lottery<K>>,
    rng: &'a mut R,
    drawn: Vec<usize>,
    misses: usize,
    left: Option<Sums>,
}

impl<'a, K: Copy, R: Rng> Draws<'a, K, R> {
    pub(super) fn new(lottery: Cow<'a, Lottery<K>>, rng: &'a mut R) -> Self {
        Draws { lottery, rng, drawn: Vec::new(), misses: 0, left: None }
    }
}

impl<K: Copy, R: Rng> Iterator for Draws<'_, K, R> {
    type Item = K;

    fn next(&mut self) -> Option<K> {
        let Lottery { clients, chances } = &*self.lottery;
        let left = match &mut self.left {
            Some(left) => left,
            None => {
                while self.drawn.len() < FEW.min(clients.len()) && self.misses < MISSES_MAX {
                    let place = chances.draw(self.rng);
                    if !self.drawn.contains(&place) {
                        self.drawn.push(place);
                        return clients.get(place).copied();
                    }
                    self.misses += 1;
                }
                let mut left = chances.clone();
                self.drawn.iter().for_each(|place| left.take(*place));
                self.left.insert(left)
            }
        };
        if left.total() == 0.0 {
            return None;
        }
        let place = left.draw(self.rng);
        left.take(place);
        clients.get(place).copied()
    }
}

#[cfg(test)]
mod tests;
