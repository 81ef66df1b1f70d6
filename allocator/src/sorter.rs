//! Who is next: clients in a tree, ordered by dominant share, or by lot.
//!
//! A client's path is split at `/`. Inner nodes gather what their clients hold; only leaves are clients.
//! Where a client has clients below it (`ops` and `ops/db`), the inner node `ops` gets a *virtual leaf* `.`
//! which is the client `ops` itself, competing with its own children as an equal.
//!
//! ```text
//! share(node) = max over resource names of held(node, name) / total(name)
//! order of siblings: share / weight ascending, then number of allocations, then path (bytes)
//! order of clients: depth first, inactive clients left out
//! ```
//!
//! Shares are always of the whole cluster, never of the parent's part. How it goes by lot is told in
//! `random.rs`; the tree, what clients hold and who is active are the same for both.
//!
//! **Cost.** Changes are only noted; [`Sorter::refresh`] then puts right what was touched: one changed child
//! moves to its new place by binary search, several changed children of one parent cost one sort of that
//! parent, and only a change of the cluster's totals costs a look at every node.

mod random;
mod tree;
mod turns;
mod view;

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::hash::Hash;

use slab::Slab;

use crate::amounts::{Amounts, Pool};
pub use random::Draws;
use random::Lottery;
use tree::{Inner, Kind, Node, Stale, VIRTUAL};
pub use turns::{Order, Turns};
pub use view::{Branch, Place, Rank, Seat};

/// By what a [`Sorter`] decides who is next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SorterKind {
    /// The smallest dominant share divided by weight comes first.
    #[default]
    Drf,
    /// Drawn by lot, the heavier ones sooner, whatever they hold.
    Random,
}

/// Clients of type `K` in the order in which they should be served.
#[derive(Clone, Debug)]
pub struct Sorter<K> {
    nodes: Slab<Node<K>>,
    root: usize,
    leaves: HashMap<K, usize>,
    /// Weights by path, also of paths that are not in the tree yet. A path not in here weighs 1.
    weights: BTreeMap<String, f64>,
    ranking: Ranking<K>,
}

/// What the last [`Sorter::refresh`] left for those who ask for an order.
#[derive(Clone, Debug)]
enum Ranking<K> {
    /// The order itself is in the nodes.
    Drf {
        /// The [`Pool::version`] under which it was established.
        pool_version: Option<u64>,
    },
    /// `None` once the tree, a weight or who is active has changed.
    Random(Option<Lottery<K>>),
}

impl<K: Copy + Eq + Hash + Debug> Default for Sorter<K> {
    fn default() -> Self {
        Sorter::new(SorterKind::default())
    }
}

impl<K: Copy + Eq + Hash + Debug> Sorter<K> {
    /// A sorter without clients.
    pub fn new(kind: SorterKind) -> Sorter<K> {
        let mut nodes = Slab::new();
        let root = nodes.insert(Node::new("", None, Kind::Inner(Inner::default()), 1.0));
        let ranking = match kind {
            SorterKind::Drf => Ranking::Drf { pool_version: None },
            SorterKind::Random => Ranking::Random(None),
        };
        Sorter { nodes, root, leaves: HashMap::new(), weights: BTreeMap::new(), ranking }
    }

    /// By what this sorter decides.
    pub fn kind(&self) -> SorterKind {
        match self.ranking {
            Ranking::Drf { .. } => SorterKind::Drf,
            Ranking::Random(_) => SorterKind::Random,
        }
    }

    /// Adds a client at `path`, inactive and holding nothing.
    ///
    /// False, and nothing happens, if the path or the client is taken, or a component of the path is empty
    /// or `.`, which is the virtual leaf's name.
    pub fn add(&mut self, path: &str, client: K) -> bool {
        let taken = self.leaves.contains_key(&client) || self.find_leaf(path).is_some();
        if taken || path.split('/').any(|name| name.is_empty() || name == VIRTUAL) {
            return false;
        }
        let mut at = self.root;
        let mut end = 0;
        for name in path.split('/') {
            end += name.len() + usize::from(end > 0 || at != self.root);
            self.open(at);
            at = match self.inner(at).children.get(name) {
                Some(child) => *child,
                None => self.insert_inner(at, name, path.get(..end).unwrap_or(path)),
            };
        }
        // A fresh node is an inner one without children: it turns into the leaf itself.
        let leaf = match &self.nodes[at].kind {
            Kind::Inner(inner) if inner.children.is_empty() => {
                self.nodes[at].kind = Kind::Leaf { client, active: false };
                self.unlist(at);
                at
            }
            _ => {
                let leaf = self.nodes.insert(Node::new(
                    VIRTUAL,
                    Some(at),
                    Kind::Leaf { client, active: false },
                    1.0,
                ));
                self.inner_mut(at).children.insert(VIRTUAL.into(), leaf);
                leaf
            }
        };
        self.leaves.insert(client, leaf);
        true
    }

    /// Takes a client out, with everything it holds.
    pub fn remove(&mut self, client: K) {
        self.deactivate(client);
        let Some(leaf) = self.leaves.remove(&client) else { return };
        let held = std::mem::take(&mut self.nodes[leaf].held);
        let mut parent = self.nodes[leaf].parent;
        while let Some(at) = parent {
            self.nodes[at].held.subtract(&held);
            parent = self.nodes[at].parent;
        }
        self.touch(leaf);
        let mut at = leaf;
        while let Some(parent) = self.nodes[at].parent {
            self.unlist(at);
            let node = self.nodes.remove(at);
            let inner = self.inner_mut(parent);
            inner.children.remove(&node.name);
            inner.stale.forget(at);
            at = parent;
            if !self.inner(at).children.is_empty() {
                break;
            }
        }
        self.close(at);
    }

    /// Lists the client in the order again. False if it was listed, or is not known.
    pub fn activate(&mut self, client: K) -> bool {
        self.set_active(client, true)
    }

    /// Leaves the client out of the order; what it holds still counts for its ancestors.
    pub fn deactivate(&mut self, client: K) -> bool {
        self.set_active(client, false)
    }

    fn set_active(&mut self, client: K, wanted: bool) -> bool {
        let Some(&leaf) = self.leaves.get(&client) else { return false };
        match &mut self.nodes[leaf].kind {
            Kind::Leaf { active, .. } if *active != wanted => *active = wanted,
            _ => return false,
        }
        let mut parent = self.nodes[leaf].parent;
        while let Some(at) = parent {
            let n_active = &mut self.inner_mut(at).n_active;
            *n_active = if wanted { *n_active + 1 } else { n_active.saturating_sub(1) };
            parent = self.nodes[at].parent;
        }
        if wanted {
            self.touch(leaf)
        } else {
            self.unlist(leaf)
        }
        self.forget_lottery();
        true
    }

    /// Sets the weight of a path, which need not be in the tree yet. `weight` must be above zero.
    pub fn set_weight(&mut self, path: &str, weight: f64) {
        if weight == 1.0 {
            self.weights.remove(path);
        } else {
            self.weights.insert(path.to_owned(), weight);
        }
        if let Some(node) = self.find(path) {
            self.nodes[node].weight = weight;
            self.touch(node);
        }
    }

    /// The paths whose weight is not 1, in the tree or not.
    pub fn weighted_paths(&self) -> impl Iterator<Item = &str> {
        self.weights.keys().map(String::as_str)
    }

    /// Notes that the client got `amounts`.
    pub fn allocated(&mut self, client: K, amounts: &Amounts) {
        self.change(client, |node| {
            node.held.add(amounts);
            node.count += 1;
        });
    }

    /// Notes that the client gave `amounts` back.
    pub fn unallocated(&mut self, client: K, amounts: &Amounts) {
        self.change(client, |node| node.held.subtract(amounts));
    }

    /// Notes that what the client holds turned from `old` into `new`, which is not another allocation.
    pub fn update(&mut self, client: K, old: &Amounts, new: &Amounts) {
        self.change(client, |node| {
            node.held.subtract(old);
            node.held.add(new);
        });
    }

    fn change(&mut self, client: K, f: impl Fn(&mut Node<K>)) {
        let Some(&leaf) = self.leaves.get(&client) else { return };
        let mut at = leaf;
        loop {
            f(&mut self.nodes[at]);
            let Some(parent) = self.nodes[at].parent else { break };
            // Noted by lot too, where nobody asks: cheaper than to ask whether somebody does.
            self.inner_mut(parent).stale.note(at);
            at = parent;
        }
    }

    /// What the client holds; nothing if it is not known.
    pub fn held(&self, client: K) -> Option<&Amounts> {
        self.leaves.get(&client).map(|leaf| &self.nodes[*leaf].held)
    }

    /// What the clients at a path and below it together hold; nothing if there are none.
    pub fn held_at(&self, path: &str) -> Option<&Amounts> {
        self.find(path).map(|node| &self.nodes[node].held)
    }

    /// What all clients together hold.
    pub fn held_by_all(&self) -> &Amounts {
        &self.nodes[self.root].held
    }

    /// How often the client was allocated something.
    pub fn count(&self, client: K) -> u64 {
        self.leaves.get(&client).map_or(0, |leaf| self.nodes[*leaf].count)
    }

    /// The dominant share divided by the weight at a path, a client's or an inner one's.
    pub fn weighted_share(&self, path: &str, pool: &Pool) -> Option<f64> {
        Some(self.nodes[self.find(path)?].weighted_share(pool))
    }

    /// Whether the client is in the tree, active or not.
    pub fn contains(&self, client: K) -> bool {
        self.leaves.contains_key(&client)
    }

    /// Whether the client is active.
    pub fn is_active(&self, client: K) -> bool {
        let leaf = self.leaves.get(&client).map(|leaf| &self.nodes[*leaf].kind);
        matches!(leaf, Some(Kind::Leaf { active: true, .. }))
    }

    /// All clients, active or not, in no particular but always the same order.
    pub fn clients(&self) -> impl Iterator<Item = K> + '_ {
        self.nodes.iter().filter_map(|(_, node)| match &node.kind {
            Kind::Leaf { client, .. } => Some(*client),
            Kind::Inner(_) => None,
        })
    }

    /// The number of clients, active or not.
    pub fn len(&self) -> usize {
        self.leaves.len()
    }

    /// Whether there are no clients.
    pub fn is_empty(&self) -> bool {
        self.leaves.is_empty()
    }

    /// Whether some client is active.
    pub fn has_active(&self) -> bool {
        self.inner(self.root).n_active > 0
    }

    /// Brings the order, or the chances, up to date with all changes since the last call.
    pub fn refresh(&mut self, pool: &Pool) {
        match &self.ranking {
            Ranking::Random(Some(_)) => {}
            Ranking::Random(None) => self.ranking = Ranking::Random(Some(self.lottery())),
            Ranking::Drf { pool_version } if *pool_version == Some(pool.version()) => {
                self.refresh_below(self.root, pool);
            }
            Ranking::Drf { .. } => {
                self.ranking = Ranking::Drf { pool_version: Some(pool.version()) };
                let inner: Vec<usize> =
                    self.nodes.iter().filter(|(_, node)| node.is_inner()).map(|(key, _)| key).collect();
                for at in inner {
                    self.inner_mut(at).stale = Stale::No;
                    self.sort_children(at, pool);
                }
            }
        }
    }

    fn refresh_below(&mut self, at: usize, pool: &Pool) {
        match std::mem::take(&mut self.inner_mut(at).stale) {
            Stale::No => {}
            Stale::One(child) => {
                self.place(child, pool);
                if self.nodes[child].is_inner() {
                    self.refresh_below(child, pool);
                }
            }
            Stale::Many => {
                self.sort_children(at, pool);
                for child in self.inner(at).order.clone() {
                    if self.nodes[child].is_inner() {
                        self.refresh_below(child, pool);
                    }
                }
            }
        }
    }

    /// Notes that something about `node` changed: its parent and all above have to look at it.
    fn touch(&mut self, node: usize) {
        let mut at = node;
        while let Some(parent) = self.nodes[at].parent {
            self.inner_mut(parent).stale.note(at);
            at = parent;
        }
        self.forget_lottery();
    }

    fn forget_lottery(&mut self) {
        if let Ranking::Random(lottery) = &mut self.ranking {
            *lottery = None;
        }
    }
}

#[cfg(test)]
mod tests;
