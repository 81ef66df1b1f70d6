//! Parts of resources, and the same resources under other owners.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Entry, Limits, Name, Quantities, Resources, Scalar};

impl Resources {
    /// The entries that are so.
    pub fn filter(&self, mut keep: impl FnMut(&Entry) -> bool) -> Resources {
        let mut kept = self.entries.iter().filter(|entry| keep(entry));
        let Some(first) = kept.next() else { return Resources::new() };
        // Of a handful most is kept mostly, so there is room for it at once.
        let mut entries = Vec::with_capacity(self.entries.len().min(8));
        entries.push(first.clone());
        // Entries stay unlike each other, so nothing has to be added up.
        entries.extend(kept.cloned());
        Resources { entries }
    }

    /// Drops the entries that are not so.
    pub fn retain(&mut self, keep: impl FnMut(&Entry) -> bool) {
        self.entries.retain(keep);
    }

    /// What has a reservation.
    pub fn reserved(&self) -> Resources {
        self.filter(Entry::is_reserved)
    }

    /// What is reserved to exactly this role.
    pub fn reserved_to(&self, role: &str) -> Resources {
        self.filter(|entry| entry.is_reserved_to(role))
    }

    /// What no role has a claim on.
    pub fn unreserved(&self) -> Resources {
        self.filter(|entry| !entry.is_reserved())
    }

    /// What is reserved, by role.
    pub fn reservations(&self) -> BTreeMap<String, Resources> {
        self.group(Entry::reservation_role)
    }

    /// What is allocated, by role.
    pub fn allocations(&self) -> BTreeMap<String, Resources> {
        self.group(Entry::allocated_to)
    }

    fn group<'a>(&'a self, key: impl Fn(&'a Entry) -> Option<&'a str>) -> BTreeMap<String, Resources> {
        let mut groups: BTreeMap<String, Resources> = BTreeMap::new();
        let Some(first) = self.entries.first().map(&key) else { return groups };
        if let Some(only) = first
            && self.entries.iter().all(|entry| key(entry) == first)
        {
            groups.insert(only.to_owned(), self.clone());
            return groups;
        }
        for entry in &self.entries {
            if let Some(key) = key(entry) {
                match groups.get_mut(key) {
                    Some(group) => group.entries.push(entry.clone()),
                    None => drop(groups.insert(key.to_owned(), Resources { entries: vec![entry.clone()] })),
                }
            }
        }
        groups
    }

    /// What may be offered to `role`: unreserved, or reserved to it or a role above it.
    pub fn allocatable_to(&self, role: &str) -> Resources {
        self.filter(|entry| entry.is_allocatable_to(role))
    }

    /// What may be taken back.
    pub fn revocable(&self) -> Resources {
        self.filter(Entry::is_revocable)
    }

    /// What stays.
    pub fn non_revocable(&self) -> Resources {
        self.filter(|entry| !entry.is_revocable())
    }

    /// What several may hold.
    pub fn shared(&self) -> Resources {
        self.filter(Entry::is_shared)
    }

    /// What one alone may hold.
    pub fn non_shared(&self) -> Resources {
        self.filter(|entry| !entry.is_shared())
    }

    /// Volumes that outlive tasks.
    pub fn persistent_volumes(&self) -> Resources {
        self.filter(Entry::is_persistent_volume)
    }

    /// What has an amount.
    pub fn scalars(&self) -> Resources {
        self.filter(|entry| entry.scalar().is_some())
    }

    /// What an agent has to write down: see [`Entry::needs_checkpointing`].
    pub fn checkpointed(&self) -> Resources {
        self.filter(Entry::needs_checkpointing)
    }

    /// The role all of it is allocated to; `None` when there is none, or several.
    pub fn allocation_role(&self) -> Option<&str> {
        let role = self.entries.first()?.allocated_to();
        role.filter(|_| self.entries.iter().all(|entry| entry.allocated_to() == role))
    }

    /// Allocates all of it to `role`. An `Arc<str>` kept by the caller is shared by all entries of all calls.
    pub fn allocate(&mut self, role: impl Into<Arc<str>>) {
        let role = role.into();
        self.set_role(Some(&role));
    }

    /// [`Resources::allocate`] as a value.
    pub fn allocated(mut self, role: impl Into<Arc<str>>) -> Resources {
        self.allocate(role);
        self
    }

    /// Forgets what it is allocated to.
    pub fn unallocate(&mut self) {
        self.set_role(None);
    }

    /// [`Resources::unallocate`] as a value.
    pub fn unallocated(mut self) -> Resources {
        self.unallocate();
        self
    }

    fn set_role(&mut self, role: Option<&Arc<str>>) {
        let Some(first) = self.entries.first() else { return };
        // Entries that were unlike only by their role become alike.
        let uniform = self.entries.iter().all(|entry| entry.role == first.role);
        for entry in &mut self.entries {
            entry.role = role.cloned();
        }
        if !uniform {
            *self = std::mem::take(self).into_iter().collect();
        }
    }

    /// All of it under one more reservation.
    pub fn push_reservation(self, reservation: &crate::v1::resource::ReservationInfo) -> Resources {
        self.into_iter().map(|entry| entry.reserved(reservation.clone())).collect()
    }

    /// All of it without its last reservation.
    pub fn pop_reservation(self) -> Resources {
        self.into_iter().map(Entry::unreserved).collect()
    }

    /// All of it as if nothing were reserved.
    pub fn to_unreserved(self) -> Resources {
        if self.entries.iter().any(Entry::is_reserved) {
            self.into_iter().map(Entry::flattened).collect()
        } else {
            self
        }
    }

    /// Amounts and owners flattened to names and values: without allocation and reservations.
    pub fn flattened(self) -> Resources {
        self.unallocated().to_unreserved()
    }

    /// The part that fits into `target`, entry by entry as `order` arranges them: a name that is absent there
    /// is dropped, an entry too large is cut to what is left of its name, or dropped when it cannot be cut.
    pub fn shrunk_to(&self, target: &Quantities, order: impl FnOnce(&mut [Entry])) -> Resources {
        self.shrunk(|name| Some(target.get(name)), order)
    }

    /// Like [`Resources::shrunk_to`], but a name without a limit is kept whole.
    pub fn shrunk_within(&self, limits: &Limits, order: impl FnOnce(&mut [Entry])) -> Resources {
        self.shrunk(|name| limits.get(name), order)
    }

    fn shrunk(&self, bound: impl Fn(&Name) -> Option<Scalar>, order: impl FnOnce(&mut [Entry])) -> Resources {
        let mut entries = self.entries.clone();
        order(&mut entries);
        let mut taken = Quantities::new();
        entries.retain_mut(|entry| {
            let Some(bound) = bound(&entry.name) else { return true };
            let fits = entry.shrink(bound - taken.get(&entry.name));
            if fits {
                taken.increase(&entry.name, entry.value.quantity());
            }
            fits
        });
        Resources { entries }
    }
}
