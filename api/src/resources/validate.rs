//! Which resources of a message are well formed.

use super::{ANY_ROLE, Ranges, RangesError, Scalar, ScalarError};
use crate::roles::{self, RoleError};
use crate::v1::resource::{ReservationInfo, disk_info, reservation_info};
use crate::v1::{self, value};

/// Why a resource, or a list of them, is refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ResourceError {
    /// No name.
    #[error("a resource has no name")]
    NoName,
    /// Text, or a type that does not exist.
    #[error("resource '{0}': its type is SCALAR, RANGES or SET")]
    Type(String),
    /// No value, or not the one that its type announces.
    #[error("resource '{name}' is of type {kind}: it has '{field}' set and no other value")]
    Value {
        /// Of the resource.
        name: String,
        /// Its type's name.
        kind: &'static str,
        /// The field that should be set.
        field: &'static str,
    },
    /// The amount is none.
    #[error("resource '{0}': {1}")]
    Scalar(String, ScalarError),
    /// The ranges cannot be.
    #[error("resource '{0}': {1}")]
    Ranges(String, RangesError),
    /// An item twice in a set.
    #[error("resource '{name}': '{item}' is in the set twice")]
    DuplicateItem {
        /// Of the resource.
        name: String,
        /// The item.
        item: String,
    },
    /// A disk that is none.
    #[error("resource '{0}' has disk information; only 'disk' may")]
    NotADisk(String),
    /// A disk from nowhere.
    #[error("a disk's source is PATH, MOUNT, BLOCK or RAW")]
    DiskSource,
    /// Part of a device.
    #[error("gpus:{0}: devices come whole")]
    PartOfGpu(Scalar),
    /// A reservation without a role.
    #[error("a reservation of '{0}' names no role")]
    ReservationRole(String),
    /// A role that is none.
    #[error("resource '{0}': {1}")]
    Role(String, RoleError),
    /// A reservation to everyone.
    #[error("resource '{0}' cannot be reserved to role '*': that is to nobody")]
    ReservedToAny(String),
    /// A reservation without a type.
    #[error("a reservation of '{0}' is of type STATIC or DYNAMIC")]
    ReservationType(String),
    /// A static reservation on top of another.
    #[error("resource '{0}': only its first reservation may be STATIC, as that is made by an agent's flags")]
    StaticRefinement(String),
    /// A reservation that does not refine.
    #[error(
        "resource '{name}': the reservation to '{role}' does not refine that to '{outer}'; a subrole of it would"
    )]
    NotRefined {
        /// Of the resource.
        name: String,
        /// The reservation that is refined.
        outer: String,
        /// The one that should lie below.
        role: String,
    },
    /// Something in the old reservation that belongs to the new form.
    #[error("resource '{0}': its `reservation` may not set `type` or `role`; `reservations` may")]
    MixedFormats(String),
    /// More than one reservation where the format has room for one.
    #[error(
        "resource '{0}' has refined reservations, which a peer without RESERVATION_REFINEMENT cannot be told of"
    )]
    Refined(String),
    /// One name with two types.
    #[error("resource '{0}' is given with two types")]
    TwoTypes(String),
}

/// Checks that a message's resource is well formed, in either format of reservations.
///
/// # Errors
/// Says what is wrong with which resource.
pub fn validate(resource: &v1::Resource) -> Result<(), ResourceError> {
    super::Entry::try_from(resource).map(drop)
}

/// Reads the value that the resource's type announces.
pub(super) fn value(resource: &v1::Resource) -> Result<super::Value, ResourceError> {
    let name = || resource.name.clone();
    if resource.name.is_empty() {
        return Err(ResourceError::NoName);
    }
    let kind = value::Type::try_from(resource.r#type).map_err(|_| ResourceError::Type(name()))?;
    let field = match kind {
        value::Type::Scalar => "scalar",
        value::Type::Ranges => "ranges",
        value::Type::Set => "set",
        value::Type::Text => return Err(ResourceError::Type(name())),
    };
    let wrong = || ResourceError::Value { name: name(), kind: kind.as_str_name(), field };
    match (kind, &resource.scalar, &resource.ranges, &resource.set) {
        (value::Type::Scalar, Some(scalar), None, None) => {
            let amount =
                Scalar::from_f64(scalar.value).map_err(|error| ResourceError::Scalar(name(), error))?;
            if resource.name == "gpus" && !amount.is_whole() {
                return Err(ResourceError::PartOfGpu(amount));
            }
            Ok(super::Value::Scalar(amount))
        }
        (value::Type::Ranges, None, Some(ranges), None) => {
            let pairs = ranges.range.iter().map(|range| (range.begin, range.end));
            let ranges = Ranges::disjoint(pairs).map_err(|error| ResourceError::Ranges(name(), error))?;
            Ok(super::Value::Ranges(ranges))
        }
        (value::Type::Set, None, None, Some(set)) => {
            let mut items: Vec<&String> = set.item.iter().collect();
            items.sort_unstable();
            match items.windows(2).find(|pair| pair[0] == pair[1]) {
                Some(pair) => Err(ResourceError::DuplicateItem { name: name(), item: pair[0].clone() }),
                None => Ok(super::Value::Set(items.into_iter().cloned().collect())),
            }
        }
        _ => Err(wrong()),
    }
}

/// The disk belongs to a disk, and comes from somewhere.
pub(super) fn disk(resource: &v1::Resource) -> Result<(), ResourceError> {
    let Some(disk) = &resource.disk else { return Ok(()) };
    if resource.name != "disk" {
        return Err(ResourceError::NotADisk(resource.name.clone()));
    }
    match disk.source.as_ref().map(|source| disk_info::source::Type::try_from(source.r#type)) {
        Some(Err(_) | Ok(disk_info::source::Type::Unknown)) => Err(ResourceError::DiskSource),
        _ => Ok(()),
    }
}

/// The stack of reservations: typed, to roles, each below the one before, static at most the first.
pub(super) fn reservations(name: &str, stack: &[ReservationInfo]) -> Result<(), ResourceError> {
    let mut outer: Option<&str> = None;
    for reservation in stack {
        let role =
            reservation.role.as_deref().ok_or_else(|| ResourceError::ReservationRole(name.to_owned()))?;
        reserved_role(name, role)?;
        match reservation.r#type() {
            reservation_info::Type::Unknown => return Err(ResourceError::ReservationType(name.to_owned())),
            reservation_info::Type::Static if outer.is_some() => {
                return Err(ResourceError::StaticRefinement(name.to_owned()));
            }
            _ => {}
        }
        if let Some(outer) = outer
            && !roles::is_below(role, outer)
        {
            let (outer, role) = (outer.to_owned(), role.to_owned());
            return Err(ResourceError::NotRefined { name: name.to_owned(), outer, role });
        }
        outer = Some(role);
    }
    Ok(())
}

/// A role that something can be reserved to.
pub(super) fn reserved_role(name: &str, role: &str) -> Result<(), ResourceError> {
    roles::validate(role).map_err(|error| ResourceError::Role(name.to_owned(), error))?;
    if role == ANY_ROLE {
        return Err(ResourceError::ReservedToAny(name.to_owned()));
    }
    Ok(())
}
