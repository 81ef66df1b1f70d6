//! The nodes of the tree, and keeping siblings in order.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::hash::Hash;

use super::{Ranking, Sorter};
use crate::amounts::{Amounts, Pool};

/// The name of the leaf which stands for a client that has clients below it.
pub(super) const VIRTUAL: &str = ".";

#[derive(Clone, Debug)]
pub(super) struct Node<K> {
    /// The last component of the path. Siblings have the same parent, so comparing names compares paths.
    pub(super) name: Box<str>,
    pub(super) parent: Option<usize>,
    pub(super) kind: Kind<K>,
    pub(super) held: Amounts,
    /// How often something was allocated to this node or below it. Never decreases.
    pub(super) count: u64,
    pub(super) weight: f64,
    /// Weighted share and count by which this node stands in its parent's `order`, if it does.
    pub(super) placed: Option<(f64, u64)>,
}

#[derive(Clone, Debug)]
pub(super) enum Kind<K> {
    Inner(Inner),
    Leaf { client: K, active: bool },
}

#[derive(Clone, Debug, Default)]
pub(super) struct Inner {
    pub(super) children: BTreeMap<Box<str>, usize>,
    /// Inner nodes and active leaves among the children, always sorted by what they were `placed` with.
    pub(super) order: Vec<usize>,
    pub(super) stale: Stale,
    /// Active leaves below.
    pub(super) n_active: usize,
}

/// Which children changed since the order was established.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stale {
    #[default]
    No,
    One(usize),
    Many,
}

impl Stale {
    pub(super) fn note(&mut self, child: usize) {
        match *self {
            Stale::No => *self = Stale::One(child),
            Stale::One(other) if other == child => {}
            _ => *self = Stale::Many,
        }
    }

    /// The child is gone, and its number may come to mean another node.
    pub(super) fn forget(&mut self, child: usize) {
        if *self == Stale::One(child) {
            *self = Stale::No;
        }
    }
}

impl<K> Node<K> {
    pub(super) fn new(name: &str, parent: Option<usize>, kind: Kind<K>, weight: f64) -> Node<K> {
        Node { name: name.into(), parent, kind, held: Amounts::default(), count: 0, weight, placed: None }
    }

    pub(super) fn is_inner(&self) -> bool {
        matches!(self.kind, Kind::Inner(_))
    }

    /// Whether the node is an active client, or has one below it.
    pub(super) fn is_active(&self) -> bool {
        match &self.kind {
            Kind::Leaf { active, .. } => *active,
            Kind::Inner(inner) => inner.n_active > 0,
        }
    }

    /// What siblings are compared by first.
    pub(super) fn weighted_share(&self, pool: &Pool) -> f64 {
        pool.share(&self.held) / self.weight
    }

    /// Whether this one is served before a sibling, if both were placed now.
    pub(super) fn precedes(&self, sibling: &Node<K>, pool: &Pool) -> bool {
        compare(self.place_now(pool), sibling.place_now(pool)).is_lt()
    }

    fn belongs_in_order(&self) -> bool {
        matches!(self.kind, Kind::Inner(_) | Kind::Leaf { active: true, .. })
    }

    /// `placed` sorts first; a node that is not placed has no meaningful position.
    fn place(&self) -> (f64, u64, &str) {
        let (share, count) = self.placed.unwrap_or((f64::INFINITY, u64::MAX));
        (share, count, &self.name)
    }

    /// Where the node belongs by what it holds now.
    fn place_now(&self, pool: &Pool) -> (f64, u64, &str) {
        (self.weighted_share(pool), self.count, &self.name)
    }
}

fn compare(left: (f64, u64, &str), right: (f64, u64, &str)) -> Ordering {
    left.0.total_cmp(&right.0).then(left.1.cmp(&right.1)).then(left.2.cmp(right.2))
}

impl<K: Copy + Eq + Hash + Debug> Sorter<K> {
    /// The node at a path, a leaf or an inner one.
    pub(super) fn find(&self, path: &str) -> Option<usize> {
        let mut at = self.root;
        for name in path.split('/') {
            let Kind::Inner(inner) = &self.nodes[at].kind else { return None };
            at = *inner.children.get(name)?;
        }
        Some(at)
    }

    /// The leaf of the client at a path.
    pub(super) fn find_leaf(&self, path: &str) -> Option<usize> {
        let at = self.find(path)?;
        match &self.nodes[at].kind {
            Kind::Leaf { .. } => Some(at),
            Kind::Inner(inner) => inner.children.get(VIRTUAL).copied(),
        }
    }

    /// The inner part of a node known to be an inner one.
    pub(super) fn inner(&self, at: usize) -> &Inner {
        match &self.nodes[at].kind {
            Kind::Inner(inner) => inner,
            Kind::Leaf { client, .. } => unreachable!("the leaf of {client:?} has no children"),
        }
    }

    pub(super) fn inner_mut(&mut self, at: usize) -> &mut Inner {
        match &mut self.nodes[at].kind {
            Kind::Inner(inner) => inner,
            Kind::Leaf { client, .. } => unreachable!("the leaf of {client:?} has no children"),
        }
    }

    pub(super) fn insert_inner(&mut self, parent: usize, name: &str, path: &str) -> usize {
        let weight = self.weights.get(path).copied().unwrap_or(1.0);
        let node = self.nodes.insert(Node::new(name, Some(parent), Kind::Inner(Inner::default()), weight));
        self.inner_mut(parent).children.insert(name.into(), node);
        self.touch(node);
        node
    }

    /// Turns a leaf into an inner node, with a virtual leaf that takes over the client and what it holds.
    pub(super) fn open(&mut self, at: usize) {
        let Kind::Leaf { client, active } = self.nodes[at].kind else { return };
        let mut leaf = Node::new(VIRTUAL, Some(at), Kind::Leaf { client, active }, 1.0);
        leaf.held = self.nodes[at].held.clone();
        leaf.count = self.nodes[at].count;
        let leaf = self.nodes.insert(leaf);
        let mut inner = Inner { n_active: usize::from(active), ..Inner::default() };
        inner.children.insert(VIRTUAL.into(), leaf);
        self.nodes[at].kind = Kind::Inner(inner);
        self.leaves.insert(client, leaf);
        self.touch(leaf);
    }

    /// Turns an inner node with nothing but a virtual leaf back into a leaf.
    pub(super) fn close(&mut self, at: usize) {
        let inner = self.inner(at);
        let (1, Some(&leaf)) = (inner.children.len(), inner.children.get(VIRTUAL)) else { return };
        let Kind::Leaf { client, active } = self.nodes[leaf].kind else { return };
        self.nodes.remove(leaf);
        self.nodes[at].kind = Kind::Leaf { client, active };
        self.leaves.insert(client, at);
        if !active {
            self.unlist(at);
        }
        self.touch(at);
    }

    /// Takes a node out of its parent's order.
    pub(super) fn unlist(&mut self, node: usize) {
        let Some(parent) = self.nodes[node].parent else { return };
        if self.nodes[node].placed.is_none() {
            return;
        }
        let found = self.position(parent, node);
        self.nodes[node].placed = None;
        if let Ok(position) = found {
            self.inner_mut(parent).order.remove(position);
        }
    }

    fn position(&self, parent: usize, node: usize) -> Result<usize, usize> {
        let place = self.nodes[node].place();
        self.inner(parent).order.binary_search_by(|other| compare(self.nodes[*other].place(), place))
    }

    /// Moves one node to where it belongs among its siblings, all of which are in place.
    pub(super) fn place(&mut self, node: usize, pool: &Pool) {
        let Some(parent) = self.nodes[node].parent else { return };
        if !self.nodes[node].belongs_in_order() {
            return;
        }
        let wanted = (self.nodes[node].weighted_share(pool), self.nodes[node].count);
        if self.nodes[node].placed == Some(wanted) {
            return;
        }
        // Most often it was the first, and had its turn ...
        let from = match self.inner(parent).order.first() {
            Some(first) if *first == node => Some(0),
            _ => self.nodes[node].placed.and_then(|_| self.position(parent, node).ok()),
        };
        let place = (wanted.0, wanted.1, &*self.nodes[node].name);
        let order = &self.inner(parent).order;
        // The node itself still stands in `order` under its old place, which is on one side of the new one
        // as any other sibling would be, so the search is not misled; only the index is one too high when
        // the node comes from the left.
        // ... and is the last now.
        let precedes = |other: &usize| compare(self.nodes[*other].place(), place).is_lt();
        let to = match order.last() {
            Some(last) if precedes(last) => order.len(),
            _ => order.partition_point(precedes),
        };
        self.nodes[node].placed = Some(wanted);
        let order = &mut self.inner_mut(parent).order;
        match from {
            None => order.insert(to, node),
            Some(from) if from < to => order[from..to].rotate_left(1),
            Some(from) => order[to..=from].rotate_right(1),
        }
    }

    /// Establishes the order of all children of one node.
    pub(super) fn sort_children(&mut self, at: usize, pool: &Pool) {
        let mut order = std::mem::take(&mut self.inner_mut(at).order);
        // Children in their old order, those new to it at the end: nearly sorted input sorts faster.
        let newcomers: Vec<usize> = self
            .inner(at)
            .children
            .values()
            .copied()
            .filter(|child| self.nodes[*child].placed.is_none() && self.nodes[*child].belongs_in_order())
            .collect();
        order.extend(newcomers);
        for &child in &order {
            let node = &mut self.nodes[child];
            node.placed = Some((node.weighted_share(pool), node.count));
        }
        order.sort_by(|left, right| compare(self.nodes[*left].place(), self.nodes[*right].place()));
        self.inner_mut(at).order = order;
    }

    /// Compares everything cached with what it is made from. `Err` says what does not hold.
    pub fn check_invariants(&self, pool: &Pool) -> Result<(), String> {
        for (key, node) in self.nodes.iter() {
            let path = self.path(key);
            let Kind::Inner(inner) = &node.kind else { continue };
            let mut held = Amounts::default();
            let (mut n_active, mut n_placed) = (0, 0);
            for (name, child) in &inner.children {
                let child = &self.nodes[*child];
                if child.parent != Some(key) || child.name != *name {
                    return Err(format!("`{path}` and its child `{name}` disagree"));
                }
                held.add(&child.held);
                n_active += match &child.kind {
                    Kind::Inner(inner) => inner.n_active,
                    Kind::Leaf { active, .. } => usize::from(*active),
                };
                n_placed += usize::from(child.placed.is_some());
            }
            let listed: BTreeSet<usize> = inner.order.iter().copied().collect();
            let known = |child: &usize| {
                let node = self.nodes.get(*child);
                node.is_some_and(|node| node.parent == Some(key) && node.placed.is_some())
            };
            if listed.len() != n_placed || inner.order.len() != n_placed || !listed.iter().all(known) {
                return Err(format!("`{path}` does not list each of its children in its place once"));
            }
            if held != node.held || n_active != inner.n_active {
                return Err(format!("`{path}` does not hold what its children do"));
            }
            let is_fresh = match &self.ranking {
                Ranking::Drf { pool_version } => {
                    *pool_version == Some(pool.version()) && inner.stale == Stale::No
                }
                Ranking::Random(_) if inner.order.is_empty() => false,
                Ranking::Random(_) => return Err(format!("the children of `{path}` are ordered for nobody")),
            };
            if is_fresh {
                let mut wanted: Vec<usize> = inner.children.values().copied().collect();
                wanted.retain(|child| self.nodes[*child].belongs_in_order());
                let place = |child: &usize| self.nodes[*child].place_now(pool);
                wanted.sort_by(|left, right| compare(place(left), place(right)));
                if wanted != inner.order {
                    return Err(format!("the children of `{path}` are out of order"));
                }
            }
        }
        match &self.ranking {
            Ranking::Random(Some(lottery)) if *lottery != self.lottery() => {
                Err("the chances are not those of the active clients".to_owned())
            }
            _ => Ok(()),
        }
    }

    pub(super) fn path(&self, node: usize) -> String {
        let name = &self.nodes[node].name;
        match self.nodes[node].parent {
            Some(parent) if parent != self.root => format!("{}/{name}", self.path(parent)),
            _ => name.to_string(),
        }
    }
}
