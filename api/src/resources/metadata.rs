//! What sets two resources of one name apart, besides their allocation.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use crate::v1::resource::{DiskInfo, ReservationInfo, disk_info, reservation_info};
use crate::v1::{Labels, ResourceProviderId};

/// Reservations, disk, revocability and provider of a resource. Most resources have none of it, and those that
/// do share it: it is made once and then only pointed at.
#[derive(Debug)]
pub(super) struct Metadata {
    pub(super) reservations: Vec<ReservationInfo>,
    pub(super) disk: Option<Box<DiskInfo>>,
    pub(super) revocable: bool,
    pub(super) shared: bool,
    pub(super) provider_id: Option<ResourceProviderId>,
    /// Equal ones have equal hashes, so that unequal ones, be their labels ever so many, part at a glance.
    hash: u64,
    whole: bool,
}

/// How resources combine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// Amounts add up and may be cut.
    Divisible,
    /// All or nothing: a persistent volume, a whole disk.
    Whole,
    /// Copies of one thing are counted.
    Shared,
}

impl Metadata {
    /// `None` when there is nothing to say.
    pub(super) fn new(
        reservations: Vec<ReservationInfo>,
        disk: Option<Box<DiskInfo>>,
        revocable: bool,
        shared: bool,
        provider_id: Option<ResourceProviderId>,
    ) -> Option<Arc<Metadata>> {
        if reservations.is_empty() && disk.is_none() && !revocable && !shared && provider_id.is_none() {
            return None;
        }
        let whole = disk.as_deref().is_some_and(is_whole);
        let mut metadata = Metadata { reservations, disk, revocable, shared, provider_id, hash: 0, whole };
        metadata.hash = metadata.compute_hash();
        Some(Arc::new(metadata))
    }

    /// The same with other reservations.
    pub(super) fn with_reservations(
        this: Option<&Metadata>,
        reservations: Vec<ReservationInfo>,
    ) -> Option<Arc<Metadata>> {
        match this {
            None => Metadata::new(reservations, None, false, false, None),
            Some(m) => {
                Metadata::new(reservations, m.disk.clone(), m.revocable, m.shared, m.provider_id.clone())
            }
        }
    }

    pub(super) fn unit(&self) -> Unit {
        match (self.shared, self.whole) {
            (true, _) => Unit::Shared,
            (false, true) => Unit::Whole,
            (false, false) => Unit::Divisible,
        }
    }

    /// What entries keep of the hash, to be told apart without looking here.
    pub(super) fn key(this: Option<&Arc<Metadata>>) -> u32 {
        this.map_or(0, |metadata| (metadata.hash >> 32) as u32)
    }

    pub(super) fn is_divisible(&self) -> bool {
        self.unit() == Unit::Divisible
    }

    fn equals(&self, other: &Metadata) -> bool {
        self.hash == other.hash
            && self.revocable == other.revocable
            && self.shared == other.shared
            && self.provider_id == other.provider_id
            && self.reservations.len() == other.reservations.len()
            && self.reservations.iter().zip(&other.reservations).all(|(a, b)| same_reservation(a, b))
            && same_disk(self.disk.as_deref(), other.disk.as_deref())
    }

    fn compute_hash(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.revocable, self.shared, &self.provider_id, self.reservations.len()).hash(&mut hasher);
        for reservation in &self.reservations {
            (reservation.r#type, &reservation.role, &reservation.principal).hash(&mut hasher);
            hash_labels(reservation.labels.as_ref()).hash(&mut hasher);
        }
        if let Some(disk) = &self.disk {
            disk.persistence.as_ref().map(|persistence| &persistence.id).hash(&mut hasher);
            if let Some(source) = &disk.source {
                (source.r#type, &source.path, &source.mount).hash(&mut hasher);
                (&source.vendor, &source.id, &source.profile).hash(&mut hasher);
                hash_labels(source.metadata.as_ref()).hash(&mut hasher);
            }
        }
        hasher.finish()
    }
}

/// Whether two resources are told apart by nothing but their amount.
pub(super) fn same(a: Option<&Arc<Metadata>>, b: Option<&Arc<Metadata>>) -> bool {
    match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => Arc::ptr_eq(a, b) || a.equals(b),
        _ => false,
    }
}

/// Whether a disk is used whole or not at all. A raw disk without an id is only an amount of storage.
fn is_whole(disk: &DiskInfo) -> bool {
    use disk_info::source::Type;
    disk.persistence.is_some()
        || disk.source.as_ref().is_some_and(|source| match source.r#type() {
            Type::Mount | Type::Block => true,
            Type::Raw => source.id.is_some(),
            Type::Path | Type::Unknown => false,
        })
}

fn same_reservation(a: &ReservationInfo, b: &ReservationInfo) -> bool {
    a.r#type == b.r#type
        && a.role == b.role
        && a.principal == b.principal
        && same_labels(a.labels.as_ref(), b.labels.as_ref())
}

/// How a task mounts a volume (`volume`), and who made it, do not make it another one.
fn same_disk(a: Option<&DiskInfo>, b: Option<&DiskInfo>) -> bool {
    let (a, b) = match (a, b) {
        (None, None) => return true,
        (Some(a), Some(b)) => (a, b),
        _ => return false,
    };
    let id = |disk: &DiskInfo| disk.persistence.as_ref().map(|persistence| persistence.id.clone());
    id(a) == id(b)
        && match (&a.source, &b.source) {
            (None, None) => true,
            (Some(a), Some(b)) => {
                (a.r#type, &a.path, &a.mount, &a.vendor, &a.id, &a.profile)
                    == (b.r#type, &b.path, &b.mount, &b.vendor, &b.id, &b.profile)
                    && same_labels(a.metadata.as_ref(), b.metadata.as_ref())
            }
            _ => false,
        }
}

/// Labels have no order.
fn same_labels(a: Option<&Labels>, b: Option<&Labels>) -> bool {
    match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => {
            a.labels.len() == b.labels.len() && (a.labels == b.labels || sorted(a) == sorted(b))
        }
        _ => false,
    }
}

fn sorted(labels: &Labels) -> Vec<(&str, Option<&str>)> {
    let mut pairs: Vec<_> = labels.labels.iter().map(|l| (l.key.as_str(), l.value.as_deref())).collect();
    pairs.sort_unstable();
    pairs
}

/// The sum of each label's hash, whatever their order.
fn hash_labels(labels: Option<&Labels>) -> Option<u64> {
    labels.map(|labels| {
        labels.labels.iter().fold(0, |sum: u64, label| {
            let mut hasher = DefaultHasher::new();
            (&label.key, &label.value).hash(&mut hasher);
            sum.wrapping_add(hasher.finish())
        })
    })
}

/// Whether the reservation was made while the agent ran, and not by its flags.
pub(super) fn is_dynamic(reservation: &ReservationInfo) -> bool {
    reservation.r#type() == reservation_info::Type::Dynamic
}
