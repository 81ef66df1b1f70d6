//! The tree for those who ask why: nothing in here is needed to decide who is next.
//!
//! Everything is computed when asked for, from what holds at that moment, so that an order in use costs
//! nothing more for being explained.

use std::fmt::Debug;
use std::hash::Hash;

use super::tree::{Kind, Node, VIRTUAL};
use super::{Sorter, SorterKind};
use crate::amounts::{Amounts, NameId, Pool};

/// Where a client stands: itself first, then what it is below of, up to the top.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// At least one; the last one's siblings are at the top of the tree.
    pub levels: Vec<Rank>,
}

/// Where one node stands among its siblings, and the numbers that put it there.
#[derive(Clone, Debug, PartialEq)]
pub struct Rank {
    /// A client that has clients below it competes with them as `PATH/.`.
    pub path: String,
    /// The dominant share divided by the weight.
    pub weighted_share: f64,
    /// The resource of which the node holds the largest fraction of the cluster, and that fraction.
    pub dominant: Option<(NameId, f64)>,
    /// What the share is divided by.
    pub weight: f64,
    /// How often something was allocated to the node or below it.
    pub n_allocations: u64,
    /// From 1 for the sibling whose turn is first. `None` if the node is not active, or by lot.
    pub position: Option<usize>,
    /// By lot, the chance to be the first among the siblings. `None` if the node is not active.
    pub chance: Option<f64>,
    /// How many siblings are active, counting the node itself if it is.
    pub n_active: usize,
}

/// A path in the tree, with what is at it and below it.
#[derive(Clone, Debug, PartialEq)]
pub struct Branch<'a, K> {
    /// The whole path.
    pub path: String,
    /// The client at exactly this path, if there is one.
    pub client: Option<Seat<'a, K>>,
    /// Whether the client, or one below it, is active.
    pub active: bool,
    /// The weight of the path.
    pub weight: f64,
    /// The dominant share divided by the weight.
    pub weighted_share: f64,
    /// The resource of which the largest fraction of the cluster is held here and below, and that fraction.
    pub dominant: Option<(NameId, f64)>,
    /// How often something was allocated here or below.
    pub n_allocations: u64,
    /// What is held here and below.
    pub held: &'a Amounts,
}

/// A client, apart from those below it.
#[derive(Clone, Debug, PartialEq)]
pub struct Seat<'a, K> {
    /// Which one.
    pub client: K,
    /// Whether it takes turns.
    pub active: bool,
    /// What it alone holds.
    pub held: &'a Amounts,
}

impl<K: Copy + Eq + Hash + Debug> Sorter<K> {
    /// Where a client stands now, whatever the last [`Sorter::refresh`] found. `None` if it is not known.
    ///
    /// Costs a look at all siblings of the client and of each node above it.
    pub fn place_of(&self, client: K, pool: &Pool) -> Option<Place> {
        let mut at = *self.leaves.get(&client)?;
        let mut levels = Vec::new();
        while let Some(parent) = self.nodes[at].parent {
            levels.push(self.rank(at, parent, pool));
            at = parent;
        }
        Some(Place { levels })
    }

    fn rank(&self, at: usize, parent: usize, pool: &Pool) -> Rank {
        let node = &self.nodes[at];
        let siblings = self.inner(parent).children.values().map(|child| &self.nodes[*child]);
        let active: Vec<&Node<K>> = siblings.filter(|sibling| sibling.is_active()).collect();
        let (mut position, mut chance) = (None, None);
        match self.kind() {
            _ if !node.is_active() => {}
            SorterKind::Drf => {
                position = Some(1 + active.iter().filter(|other| other.precedes(node, pool)).count());
            }
            SorterKind::Random => {
                let heaviest = active.iter().map(|other| other.weight).fold(0.0, f64::max);
                let sum: f64 = active.iter().map(|other| other.weight / heaviest).sum();
                chance = Some(node.weight / heaviest / sum);
            }
        }
        Rank {
            path: self.path(at),
            weighted_share: node.weighted_share(pool),
            dominant: pool.dominant(&node.held),
            weight: node.weight,
            n_allocations: node.count,
            position,
            chance,
            n_active: active.len(),
        }
    }

    /// The weight of a path, whether it is in the tree or not.
    pub fn weight(&self, path: &str) -> f64 {
        self.weights.get(path).copied().unwrap_or(1.0)
    }

    /// Every path in the tree, each before those below it, siblings by name.
    pub fn branches<'a>(&'a self, pool: &'a Pool) -> impl Iterator<Item = Branch<'a, K>> {
        let mut stack = vec![self.root];
        std::iter::from_fn(move || {
            loop {
                let at = stack.pop()?;
                let node = &self.nodes[at];
                if let Kind::Inner(inner) = &node.kind {
                    let below = inner.children.iter().rev().filter(|(name, _)| &***name != VIRTUAL);
                    stack.extend(below.map(|(_, child)| *child));
                }
                if at != self.root {
                    return Some(Branch {
                        path: self.path(at),
                        client: self.seat(node),
                        active: node.is_active(),
                        weight: node.weight,
                        weighted_share: node.weighted_share(pool),
                        dominant: pool.dominant(&node.held),
                        n_allocations: node.count,
                        held: &node.held,
                    });
                }
            }
        })
    }

    fn seat<'a>(&'a self, node: &'a Node<K>) -> Option<Seat<'a, K>> {
        match &node.kind {
            Kind::Leaf { client, active } => {
                Some(Seat { client: *client, active: *active, held: &node.held })
            }
            Kind::Inner(inner) => self.seat(&self.nodes[*inner.children.get(VIRTUAL)?]),
        }
    }
}

#[cfg(test)]
mod tests;
