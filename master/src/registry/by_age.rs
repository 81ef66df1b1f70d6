//! Agents in the order something happened to them.

use std::fmt;

use api::v1::AgentId;
use imbl::OrdMap;

/// A map of agents that remembers in which order they came. Each change costs the same however many there are,
/// and a clone shares everything with its original.
#[derive(Clone)]
pub struct ByAge<V> {
    by_id: OrdMap<AgentId, (u64, V)>,
    by_age: OrdMap<u64, AgentId>,
    next: u64,
}

impl<V> Default for ByAge<V> {
    fn default() -> Self {
        ByAge { by_id: OrdMap::new(), by_age: OrdMap::new(), next: 0 }
    }
}

impl<V: Clone> ByAge<V> {
    /// Adds an agent as the youngest, also when it was there.
    pub fn insert(&mut self, id: AgentId, value: V) {
        if let Some((age, _)) = self.by_id.insert(id.clone(), (self.next, value)) {
            self.by_age.remove(&age);
        }
        self.by_age.insert(self.next, id);
        self.next += 1;
    }

    /// Takes an agent out.
    pub fn remove(&mut self, id: &AgentId) -> Option<V> {
        let (age, value) = self.by_id.remove(id)?;
        self.by_age.remove(&age);
        Some(value)
    }

    /// Takes the oldest out.
    pub fn pop(&mut self) -> Option<(AgentId, V)> {
        let id = self.by_age.get_min()?.1.clone();
        self.remove(&id).map(|value| (id, value))
    }

    /// What is said of an agent.
    pub fn get(&self, id: &AgentId) -> Option<&V> {
        self.by_id.get(id).map(|(_, value)| value)
    }

    /// The same, to change. The agent does not become younger.
    pub fn get_mut(&mut self, id: &AgentId) -> Option<&mut V> {
        self.by_id.get_mut(id).map(|(_, value)| value)
    }

    /// Whether an agent is here.
    pub fn contains_key(&self, id: &AgentId) -> bool {
        self.by_id.contains_key(id)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// The oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (&AgentId, &V)> {
        self.by_age.values().filter_map(|id| Some((id, self.get(id)?)))
    }

    /// The oldest first.
    pub fn keys(&self) -> impl Iterator<Item = &AgentId> {
        self.by_age.values()
    }

    /// The oldest first.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }
}

/// The same agents in the same order.
impl<V: Clone + PartialEq> PartialEq for ByAge<V> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl<V: Clone + fmt::Debug> fmt::Debug for ByAge<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<V: Clone> FromIterator<(AgentId, V)> for ByAge<V> {
    fn from_iter<I: IntoIterator<Item = (AgentId, V)>>(all: I) -> Self {
        let mut map = ByAge::default();
        for (id, value) in all {
            map.insert(id, value);
        }
        map
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_that_of_coming() {
        let mut map: ByAge<u8> =
            [("b", 1), ("a", 2), ("c", 3), ("b", 4)].map(|(id, n)| (id.into(), n)).into_iter().collect();
        if let Some(n) = map.get_mut(&"a".into()) {
            *n = 9;
        }
        assert_eq!(map.keys().map(|id| id.value.as_str()).collect::<Vec<_>>(), ["a", "c", "b"]);
        assert_eq!(map.values().copied().collect::<Vec<_>>(), [9, 3, 4]);
        let same: ByAge<u8> = map.iter().map(|(id, n)| (id.clone(), *n)).collect();
        assert_eq!(map, same, "what came and went before makes no difference");
        assert_eq!(map.remove(&"c".into()), Some(3));
        assert_ne!(map, same);
        assert_eq!(map.pop(), Some(("a".into(), 9)));
        assert_eq!((map.len(), map.pop(), map.pop()), (1, Some(("b".into(), 4)), None));
    }
}
