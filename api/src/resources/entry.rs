//! One resource: a name, a value, and what sets it apart.

use std::fmt;
use std::sync::Arc;

use super::metadata::{self, Metadata, Unit};
use super::{Name, Scalar, Value};
use crate::roles;
use crate::v1::ResourceProviderId;
use crate::v1::resource::{DiskInfo, ReservationInfo, disk_info, reservation_info};

/// One resource, never changed but through [`super::Resources`].
///
/// A cache line long, as arithmetic over all agents of a cluster walks many of them.
#[derive(Clone, Debug)]
pub struct Entry {
    pub(super) name: Name,
    /// The role it is allocated to.
    pub(super) role: Option<Arc<str>>,
    pub(super) metadata: Option<Arc<Metadata>>,
    /// Of equal metadata equal: most of what differs is told apart by it, without a look elsewhere in memory.
    key: u32,
    /// One, but for shared resources, which are held several times. None only while something is taken away.
    pub(super) copies: u32,
    pub(super) value: Value,
}

impl Entry {
    /// A plain resource: unreserved, unallocated.
    pub fn new(name: impl Into<Name>, value: Value) -> Entry {
        Entry { name: name.into(), role: None, metadata: None, key: 0, copies: 1, value }
    }

    /// The same with other metadata.
    pub(super) fn with_metadata(mut self, metadata: Option<Arc<Metadata>>) -> Entry {
        self.key = Metadata::key(metadata.as_ref());
        self.metadata = metadata;
        self
    }

    /// What it is called.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// How much of it, or which.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// The amount, if it is a scalar.
    pub fn scalar(&self) -> Option<Scalar> {
        match self.value {
            Value::Scalar(amount) => Some(amount),
            _ => None,
        }
    }

    /// How often a shared resource is held; one for any other.
    pub fn copies(&self) -> u32 {
        self.copies
    }

    /// Whether there is nothing of it.
    pub fn is_empty(&self) -> bool {
        self.value.is_empty()
    }

    /// The role it is allocated to.
    pub fn allocated_to(&self) -> Option<&str> {
        self.role.as_deref()
    }

    /// Its reservations, the outermost first; each refines the one before.
    pub fn reservations(&self) -> &[ReservationInfo] {
        self.metadata.as_deref().map_or(&[], |metadata| &metadata.reservations)
    }

    /// Whether any role has a claim on it.
    pub fn is_reserved(&self) -> bool {
        !self.reservations().is_empty()
    }

    /// The role that has the claim on it: that of its last reservation.
    pub fn reservation_role(&self) -> Option<&str> {
        self.reservations().last().map(|reservation| reservation.role())
    }

    /// Whether it is reserved to exactly this role.
    pub fn is_reserved_to(&self, role: &str) -> bool {
        self.reservation_role() == Some(role)
    }

    /// Whether its last reservation was made while the agent ran.
    pub fn is_dynamically_reserved(&self) -> bool {
        self.reservations().last().is_some_and(metadata::is_dynamic)
    }

    /// Whether a reservation refines another; old frameworks and agents cannot say that.
    pub fn has_refined_reservation(&self) -> bool {
        self.reservations().len() > 1
    }

    /// Whether it may be offered to `role`: it is unreserved, or reserved to the role or to one above it.
    pub fn is_allocatable_to(&self, role: &str) -> bool {
        self.reservation_role().is_none_or(|reserved| reserved == role || roles::is_below(role, reserved))
    }

    /// Whether it may be taken back at any time.
    pub fn is_revocable(&self) -> bool {
        self.metadata.as_ref().is_some_and(|metadata| metadata.revocable)
    }

    /// Whether several may hold it at once.
    pub fn is_shared(&self) -> bool {
        self.metadata.as_ref().is_some_and(|metadata| metadata.shared)
    }

    /// What kind of disk it is and how it is used.
    pub fn disk(&self) -> Option<&DiskInfo> {
        self.metadata.as_ref()?.disk.as_deref()
    }

    /// What makes it a persistent volume, if it is one.
    pub fn persistence(&self) -> Option<&disk_info::Persistence> {
        self.disk()?.persistence.as_ref()
    }

    /// Whether it is a persistent volume.
    pub fn is_persistent_volume(&self) -> bool {
        self.persistence().is_some()
    }

    /// Who provides it; an agent's own resources have no provider.
    pub fn provider_id(&self) -> Option<&ResourceProviderId> {
        self.metadata.as_ref()?.provider_id.as_ref()
    }

    /// Whether an agent has to write it down: it came into being while the agent ran, and is the agent's own.
    pub fn needs_checkpointing(&self) -> bool {
        self.provider_id().is_none()
            && (self.is_persistent_volume() || self.reservations().iter().any(metadata::is_dynamic))
    }

    /// The same allocated to `role`.
    pub fn allocated(mut self, role: impl Into<Arc<str>>) -> Entry {
        self.role = Some(role.into());
        self
    }

    /// The same under one more reservation.
    pub fn reserved(self, reservation: ReservationInfo) -> Entry {
        let mut stack = self.reservations().to_vec();
        stack.push(reservation);
        let metadata = Metadata::with_reservations(self.metadata.as_deref(), stack);
        self.with_metadata(metadata)
    }

    /// The same without its last reservation.
    pub fn unreserved(self) -> Entry {
        let Some((_, stack)) = self.reservations().split_last() else { return self };
        let metadata = Metadata::with_reservations(self.metadata.as_deref(), stack.to_vec());
        self.with_metadata(metadata)
    }

    /// The same without any reservation.
    pub fn flattened(self) -> Entry {
        if !self.is_reserved() {
            return self;
        }
        let metadata = Metadata::with_reservations(self.metadata.as_deref(), Vec::new());
        self.with_metadata(metadata)
    }

    /// The same with another value, whether or not it may be cut; see [`Entry::shrink`].
    pub fn with_value(mut self, value: Value) -> Entry {
        self.value = value;
        self
    }

    /// Cuts it to `limit`, if need be. False, and nothing changed, when it is larger and cannot be cut (a
    /// persistent volume, a whole disk, a shared resource, or anything but a scalar), or nothing would be left.
    pub fn shrink(&mut self, limit: Scalar) -> bool {
        if self.value.quantity() > limit {
            match &mut self.value {
                Value::Scalar(amount)
                    if !limit.is_zero() && self.metadata.as_deref().is_none_or(Metadata::is_divisible) =>
                {
                    *amount = limit;
                }
                _ => return false,
            }
        }
        !self.is_empty()
    }

    /// Whether part of it can go here and part there; a persistent volume, a whole disk and what is shared cannot.
    pub fn is_divisible(&self) -> bool {
        self.unit() == Unit::Divisible
    }

    pub(super) fn unit(&self) -> Unit {
        self.metadata.as_ref().map_or(Unit::Divisible, |metadata| metadata.unit())
    }

    /// Points at `other`'s metadata, if it is the same: comparing pointers is quicker later. Whether it does now.
    pub(super) fn share_metadata(&mut self, other: &Entry) -> bool {
        let same = self.key == other.key && metadata::same(self.metadata.as_ref(), other.metadata.as_ref());
        if same {
            self.metadata.clone_from(&other.metadata);
        }
        same
    }

    /// Whether the two differ in nothing but their values.
    pub(super) fn is_like(&self, other: &Entry) -> bool {
        self.key == other.key
            && self.name == other.name
            && metadata::same(self.metadata.as_ref(), other.metadata.as_ref())
            && same_role(self.role.as_ref(), other.role.as_ref())
            && self.value.same_kind(&other.value)
    }

    /// Whether `other` is to be looked for here: what can be cut by its kind, anything else by its value too.
    pub(super) fn matches(&self, other: &Entry) -> bool {
        self.is_like(other) && (other.unit() == Unit::Divisible || self.value == other.value)
    }
}

fn same_role(a: Option<&Arc<str>>, b: Option<&Arc<str>>) -> bool {
    match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => Arc::ptr_eq(a, b) || a == b,
        _ => false,
    }
}

/// The same resource, as much of it.
impl PartialEq for Entry {
    fn eq(&self, other: &Entry) -> bool {
        self.is_like(other) && self.value == other.value && self.copies == other.copies
    }
}

impl Eq for Entry {}

/// `name(allocated: role)(reservations: [(STATIC,role)]):value`, for people.
impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name)?;
        if let Some(role) = self.allocated_to() {
            write!(f, "(allocated: {role})")?;
        }
        if self.is_reserved() {
            f.write_str("(reservations: [")?;
            for (i, reservation) in self.reservations().iter().enumerate() {
                let comma = if i == 0 { "" } else { "," };
                let kind = match reservation.r#type() {
                    reservation_info::Type::Unknown => "UNKNOWN",
                    reservation_info::Type::Static => "STATIC",
                    reservation_info::Type::Dynamic => "DYNAMIC",
                };
                write!(f, "{comma}({kind},{}", reservation.role())?;
                if let Some(principal) = &reservation.principal {
                    write!(f, ",{principal}")?;
                }
                if let Some(labels) = &reservation.labels {
                    f.write_str(",{")?;
                    for (i, label) in labels.labels.iter().enumerate() {
                        let comma = if i == 0 { "" } else { ", " };
                        write!(f, "{comma}{}: {}", label.key, label.value())?;
                    }
                    f.write_str("}")?;
                }
                f.write_str(")")?;
            }
            f.write_str("])")?;
        }
        if let Some(disk) = self.disk() {
            write_disk(disk, f)?;
        }
        if self.is_revocable() {
            f.write_str("{REV}")?;
        }
        if self.is_shared() {
            f.write_str("<SHARED>")?;
            if self.copies != 1 {
                write!(f, "<{}>", self.copies)?;
            }
        }
        write!(f, ":{}", self.value)
    }
}

/// `[MOUNT(id,profile):root,persistence id:container path]`
fn write_disk(disk: &DiskInfo, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str("[")?;
    if let Some(source) = &disk.source {
        f.write_str(source.r#type().as_str_name())?;
        if source.id.is_some() || source.profile.is_some() {
            write!(f, "({},{})", source.id(), source.profile())?;
        }
        let path = source.path.as_ref().and_then(|path| path.root.as_deref());
        let mount = source.mount.as_ref().and_then(|mount| mount.root.as_deref());
        if let Some(root) = path.or(mount) {
            write!(f, ":{root}")?;
        }
    }
    if let Some(persistence) = &disk.persistence {
        let comma = if disk.source.is_some() { "," } else { "" };
        write!(f, "{comma}{}", persistence.id)?;
    }
    if let Some(volume) = &disk.volume {
        write!(f, ":{}", volume.container_path)?;
    }
    f.write_str("]")
}
