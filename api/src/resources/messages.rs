//! Resources as messages carry them, and the two formats of their reservations.
//!
//! In the format of old, a resource has a `role`, and a `reservation` if it was reserved while the agent ran.
//! Since reservations can be refined it has a stack of `reservations` instead. Here only the new format is
//! computed with: what comes in is upgraded, and downgraded for a peer that knows only the old one.
#![allow(deprecated)] // `Resource.role` is the old format.

use super::metadata::Metadata;
use super::{ANY_ROLE, Entry, Range, ResourceError, Resources, Value, validate};
use crate::v1::resource::{AllocationInfo, ReservationInfo, RevocableInfo, SharedInfo, reservation_info};
use crate::v1::{self, value};

/// Brings a resource into the format with a stack of reservations. One that has a stack already only loses
/// what repeats it in the old fields.
///
/// # Errors
/// For a reservation that neither format allows.
pub fn upgrade(resource: &mut v1::Resource) -> Result<(), ResourceError> {
    resource.reservations = stack(resource)?;
    resource.role = None;
    resource.reservation = None;
    Ok(())
}

/// [`upgrade`]s each.
///
/// # Errors
/// For the first that cannot be; those before it are upgraded.
pub fn upgrade_all(resources: &mut [v1::Resource]) -> Result<(), ResourceError> {
    resources.iter_mut().try_for_each(upgrade)
}

/// Brings a resource with a stack of reservations into the format of old, with `role` and `reservation`.
/// One that is in it already is left alone.
///
/// # Errors
/// When there is more than one reservation: the format has no room for refined ones.
pub fn downgrade(resource: &mut v1::Resource) -> Result<(), ResourceError> {
    if resource.reservations.len() > 1 {
        return Err(ResourceError::Refined(resource.name.clone()));
    }
    to_endpoint(resource);
    resource.reservations.clear();
    Ok(())
}

/// [`downgrade`]s all, or none of them.
///
/// # Errors
/// When one has refined reservations.
pub fn downgrade_all(resources: &mut [v1::Resource]) -> Result<(), ResourceError> {
    if let Some(refined) = resources.iter().find(|resource| resource.reservations.len() > 1) {
        return Err(ResourceError::Refined(refined.name.clone()));
    }
    resources.iter_mut().try_for_each(downgrade)
}

/// Adds the old fields to a resource with a stack of reservations, for operators' tools that know only them.
/// Refined reservations have no form in the old fields, which then stay unset.
pub fn to_endpoint(resource: &mut v1::Resource) {
    match resource.reservations.as_slice() {
        [] if resource.role.is_none() => resource.role = Some(ANY_ROLE.to_owned()),
        [only] => {
            let dynamic = only.r#type() == reservation_info::Type::Dynamic;
            resource.reservation = dynamic.then(|| ReservationInfo {
                principal: only.principal.clone(),
                labels: only.labels.clone(),
                ..ReservationInfo::default()
            });
            resource.role.clone_from(&only.role);
        }
        _ => {}
    }
}

/// The stack of reservations that a resource of either format has.
fn stack(resource: &v1::Resource) -> Result<Vec<ReservationInfo>, ResourceError> {
    if !resource.reservations.is_empty() {
        validate::reservations(&resource.name, &resource.reservations)?;
        return Ok(resource.reservations.clone());
    }
    let role = resource.role();
    let Some(old) = &resource.reservation else {
        if role == ANY_ROLE {
            return Ok(Vec::new());
        }
        validate::reserved_role(&resource.name, role)?;
        let r#type = Some(reservation_info::Type::Static.into());
        return Ok(vec![ReservationInfo { r#type, role: Some(role.to_owned()), ..Default::default() }]);
    };
    validate::reserved_role(&resource.name, role)?;
    if old.r#type.is_some() || old.role.is_some() {
        return Err(ResourceError::MixedFormats(resource.name.clone()));
    }
    Ok(vec![ReservationInfo {
        r#type: Some(reservation_info::Type::Dynamic.into()),
        role: Some(role.to_owned()),
        principal: old.principal.clone(),
        labels: old.labels.clone(),
    }])
}

/// Of either format.
impl TryFrom<&v1::Resource> for Entry {
    type Error = ResourceError;

    fn try_from(resource: &v1::Resource) -> Result<Entry, ResourceError> {
        let value = validate::value(resource)?;
        validate::disk(resource)?;
        let metadata = Metadata::new(
            stack(resource)?,
            resource.disk.clone(),
            resource.revocable.is_some(),
            resource.shared.is_some(),
            resource.provider_id.clone(),
        );
        let role = resource.allocation_info.as_ref().and_then(|allocation| allocation.role.as_deref());
        let entry = Entry::new(&resource.name, value).with_metadata(metadata);
        Ok(match role {
            Some(role) => entry.allocated(role),
            None => entry,
        })
    }
}

/// In the format with a stack of reservations. How many copies there are of a shared resource is not told.
impl From<&Entry> for v1::Resource {
    fn from(entry: &Entry) -> v1::Resource {
        let mut resource = v1::Resource {
            name: entry.name.as_str().to_owned(),
            r#type: entry.value.kind().into(),
            allocation_info: entry.allocated_to().map(|role| AllocationInfo { role: Some(role.to_owned()) }),
            ..v1::Resource::default()
        };
        match &entry.value {
            Value::Scalar(amount) => resource.scalar = Some(value::Scalar { value: amount.to_f64() }),
            Value::Ranges(ranges) => {
                let range = ranges.iter().map(|Range { begin, end }| value::Range { begin, end }).collect();
                resource.ranges = Some(value::Ranges { range });
            }
            Value::Set(items) => {
                resource.set = Some(value::Set { item: items.iter().map(str::to_owned).collect() });
            }
        }
        if let Some(metadata) = &entry.metadata {
            resource.reservations.clone_from(&metadata.reservations);
            resource.disk.clone_from(&metadata.disk);
            resource.revocable = metadata.revocable.then(RevocableInfo::default);
            resource.shared = metadata.shared.then(SharedInfo::default);
            resource.provider_id.clone_from(&metadata.provider_id);
        }
        resource
    }
}

impl Resources {
    /// The well-formed ones among a message's resources, in either format. For what was checked at the border;
    /// there `try_from` says what is wrong.
    pub fn from_checked<'a>(resources: impl IntoIterator<Item = &'a v1::Resource>) -> Resources {
        resources.into_iter().filter_map(|resource| Entry::try_from(resource).ok()).collect()
    }

    /// As messages carry them, in the format with a stack of reservations.
    pub fn to_messages(&self) -> Vec<v1::Resource> {
        self.iter().map(v1::Resource::from).collect()
    }

    /// As operators are shown them: in both formats at once.
    pub fn to_endpoint_messages(&self) -> Vec<v1::Resource> {
        let mut messages = self.to_messages();
        messages.iter_mut().for_each(to_endpoint);
        messages
    }
}

/// In either format; fails for the first that is not well formed.
impl TryFrom<&[v1::Resource]> for Resources {
    type Error = ResourceError;

    fn try_from(resources: &[v1::Resource]) -> Result<Resources, ResourceError> {
        resources.iter().map(Entry::try_from).collect()
    }
}

/// In either format; fails for the first that is not well formed.
impl TryFrom<&Vec<v1::Resource>> for Resources {
    type Error = ResourceError;

    fn try_from(resources: &Vec<v1::Resource>) -> Result<Resources, ResourceError> {
        resources.as_slice().try_into()
    }
}

impl From<&Resources> for Vec<v1::Resource> {
    fn from(resources: &Resources) -> Vec<v1::Resource> {
        resources.to_messages()
    }
}
