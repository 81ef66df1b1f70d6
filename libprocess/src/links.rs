//! Who wants to hear of whose end.

use std::collections::{BTreeSet, HashMap};

use crate::upid::{Address, Upid, UpidMap, UpidSet};

/// The links that processes of one node have made. Every answer comes in a defined order, so that a seed
/// replays.
#[derive(Default)]
pub(crate) struct Links {
    linkers: UpidMap<UpidSet>,
    linkees: UpidMap<UpidSet>,
    remote: HashMap<Address, BTreeSet<Upid>>,
}

impl Links {
    pub(crate) fn add(&mut self, linker: &Upid, linkee: &Upid, remote: bool) {
        self.linkers.entry(linkee.clone()).or_default().insert(linker.clone());
        self.linkees.entry(linker.clone()).or_default().insert(linkee.clone());
        if remote {
            self.remote.entry(linkee.address()).or_default().insert(linkee.clone());
        }
    }

    /// `linkee` has ended: forgets the links to it and says who had made them.
    pub(crate) fn take_linkers(&mut self, linkee: &Upid) -> Vec<Upid> {
        let Some(linkers) = self.linkers.remove(linkee) else { return Vec::new() };
        let mut linkers: Vec<Upid> = linkers.into_iter().collect();
        linkers.sort_unstable();
        for linker in &linkers {
            if let Some(linkees) = self.linkees.get_mut(linker) {
                linkees.remove(linkee);
                if linkees.is_empty() {
                    self.linkees.remove(linker);
                }
            }
        }
        self.forget_remote(linkee);
        linkers
    }

    /// `linker` has ended: forgets the links it had made.
    pub(crate) fn forget_linker(&mut self, linker: &Upid) {
        for linkee in self.linkees.remove(linker).unwrap_or_default() {
            if let Some(linkers) = self.linkers.get_mut(&linkee) {
                linkers.remove(linker);
                if linkers.is_empty() {
                    self.linkers.remove(&linkee);
                    self.forget_remote(&linkee);
                }
            }
        }
    }

    /// The node at `address` is lost: forgets the links to all its processes and says who had made them.
    pub(crate) fn take_linkers_at(&mut self, address: Address) -> Vec<(Upid, Vec<Upid>)> {
        let linkees = self.remote.get(&address).cloned().unwrap_or_default();
        linkees
            .into_iter()
            .map(|linkee| {
                let linkers = self.take_linkers(&linkee);
                (linkee, linkers)
            })
            .collect()
    }

    fn forget_remote(&mut self, linkee: &Upid) {
        if self.remote.is_empty() {
            return;
        }
        if let Some(linkees) = self.remote.get_mut(&linkee.address()) {
            linkees.remove(linkee);
            if linkees.is_empty() {
                self.remote.remove(&linkee.address());
            }
        }
    }
}
