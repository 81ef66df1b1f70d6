//! Handing out the active clients, one after the other.

use std::borrow::Cow;
use std::fmt::Debug;
use std::hash::Hash;

use rand::Rng;

use super::tree::Kind;
use super::{Draws, Ranking, Sorter};

impl<K: Copy + Eq + Hash + Debug> Sorter<K> {
    /// Active clients, each once, whose turn comes first first.
    ///
    /// By dominant share: in the order of the last [`Sorter::refresh`], and `rng` is left alone. By lot: drawn
    /// anew with every call, one number of `rng` or a few for each client asked for; without a
    /// [`Sorter::refresh`] since the last change that costs a look at every client.
    pub fn turns<'a, R: Rng>(&'a self, rng: &'a mut R) -> Turns<'a, K, R> {
        match &self.ranking {
            Ranking::Drf { .. } => Turns::Order(self.iter()),
            Ranking::Random(Some(lottery)) => Turns::Draws(Draws::new(Cow::Borrowed(lottery), rng)),
            Ranking::Random(None) => Turns::Draws(Draws::new(Cow::Owned(self.lottery()), rng)),
        }
    }

    /// Active clients in the order of the last [`Sorter::refresh`]; by lot, where there is none, in the order
    /// of their paths.
    pub fn iter(&self) -> Order<'_, K> {
        let stack = if self.has_active() { vec![self.inner(self.root).order.iter()] } else { Vec::new() };
        match self.ranking {
            Ranking::Drf { .. } => Order { sorter: self, stack, listed: Vec::new().into_iter() },
            Ranking::Random(_) => {
                let listed = self.lottery().into_clients().into_iter();
                Order { sorter: self, stack: Vec::new(), listed }
            }
        }
    }
}

/// The active clients of a [`Sorter`], as [`Sorter::turns`] hands them out.
pub enum Turns<'a, K: Clone, R> {
    /// By dominant share.
    Order(Order<'a, K>),
    /// By lot.
    Draws(Draws<'a, K, R>),
}

impl<K: Copy, R: Rng> Iterator for Turns<'_, K, R> {
    type Item = K;

    fn next(&mut self) -> Option<K> {
        match self {
            Turns::Order(order) => order.next(),
            Turns::Draws(draws) => draws.next(),
        }
    }
}

/// Walks the active clients of a [`Sorter`] in order.
pub struct Order<'a, K> {
    sorter: &'a Sorter<K>,
    stack: Vec<std::slice::Iter<'a, usize>>,
    /// Clients that come after those the stack leads to.
    listed: std::vec::IntoIter<K>,
}

impl<K: Copy> Iterator for Order<'_, K> {
    type Item = K;

    fn next(&mut self) -> Option<K> {
        while let Some(siblings) = self.stack.last_mut() {
            let Some(child) = siblings.next() else {
                self.stack.pop();
                continue;
            };
            match &self.sorter.nodes[*child].kind {
                Kind::Leaf { client, active } => {
                    if *active {
                        return Some(*client);
                    }
                }
                Kind::Inner(inner) if inner.n_active > 0 => self.stack.push(inner.order.iter()),
                Kind::Inner(_) => {}
            }
        }
        self.listed.next()
    }
}
