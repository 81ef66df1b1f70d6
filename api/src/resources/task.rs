//! What the resources of one task or executor may be together.

use std::collections::{BTreeMap, BTreeSet};

use super::{Entry, ResourceError, Resources};
use crate::ids::{self, IdError};
use crate::v1;

/// Why the resources of a task, or of an executor, are refused.
#[derive(Debug, thiserror::Error)]
pub enum TaskResourcesError {
    /// None at all.
    #[error("no resources")]
    Missing,
    /// One that is not well formed.
    #[error(transparent)]
    Resource(#[from] ResourceError),
    /// Disk information without content.
    #[error("resource '{0}' has disk information with nothing in it")]
    EmptyDisk(String),
    /// A volume that does not outlive the task.
    #[error(
        "resource '{0}' says where a volume is mounted but has no persistence id: only persistent volumes have one"
    )]
    NotPersistent(String),
    /// A volume of everyone's disk.
    #[error("persistent volume '{0}' is on unreserved disk; it has to be reserved to a role")]
    UnreservedVolume(String),
    /// A volume mounted nowhere.
    #[error("persistent volume '{0}' has no `volume` that says where it is mounted")]
    NotMounted(String),
    /// A volume that names a place on the host.
    #[error("persistent volume '{0}' sets `host_path`; its place on the host is the agent's to choose")]
    HostPath(String),
    /// A persistence id that no directory could have.
    #[error("persistence id '{id}': {reason}")]
    Id {
        /// The id.
        id: String,
        /// What is wrong with it.
        reason: IdError,
    },
    /// One id for two volumes.
    #[error("persistence id '{0}' is given twice for one role")]
    DuplicateId(String),
    /// Reserved while the agent runs, but revocable.
    #[error("resource '{0}' is revocable and dynamically reserved; it can be one of the two")]
    ReservedRevocable(String),
    /// Resources of several offers' roles.
    #[error("resources are allocated to '{0}' and to '{1}'; one task uses those of one role")]
    TwoRoles(String, String),
    /// Some can be taken back and some cannot.
    #[error("'{0}' is both revocable and not; one task uses one of the two")]
    MixedRevocable(String),
}

/// Checks the resources of one task or executor, in either format of reservations, and gives them back for
/// arithmetic.
///
/// # Errors
/// Says which rule is broken, and by what.
pub fn validate_task(resources: &[v1::Resource]) -> Result<Resources, TaskResourcesError> {
    if resources.is_empty() {
        return Err(TaskResourcesError::Missing);
    }
    let entries = resources.iter().map(Entry::try_from).collect::<Result<Vec<_>, _>>()?;
    let mut ids = BTreeSet::new();
    let mut revocable = BTreeMap::new();
    let mut role: Option<&str> = None;
    for entry in &entries {
        let name = || entry.name().to_string();
        check_disk(entry)?;
        if let Some(persistence) = entry.persistence()
            && !ids.insert((entry.reservation_role(), &persistence.id))
        {
            return Err(TaskResourcesError::DuplicateId(persistence.id.clone()));
        }
        if entry.is_revocable() && entry.is_dynamically_reserved() {
            return Err(TaskResourcesError::ReservedRevocable(name()));
        }
        if let (Some(a), Some(b)) = (role, entry.allocated_to())
            && a != b
        {
            return Err(TaskResourcesError::TwoRoles(a.to_owned(), b.to_owned()));
        }
        role = role.or(entry.allocated_to());
        if *revocable.entry(entry.name()).or_insert(entry.is_revocable()) != entry.is_revocable() {
            return Err(TaskResourcesError::MixedRevocable(name()));
        }
    }
    Ok(entries.into_iter().collect())
}

fn check_disk(entry: &Entry) -> Result<(), TaskResourcesError> {
    let Some(disk) = entry.disk() else { return Ok(()) };
    let name = || entry.name().to_string();
    let Some(persistence) = &disk.persistence else {
        return match (&disk.volume, &disk.source) {
            (Some(_), _) => Err(TaskResourcesError::NotPersistent(name())),
            (None, None) => Err(TaskResourcesError::EmptyDisk(name())),
            (None, Some(_)) => Ok(()),
        };
    };
    let id = || persistence.id.clone();
    if !entry.is_reserved() {
        return Err(TaskResourcesError::UnreservedVolume(id()));
    }
    ids::validate(&persistence.id).map_err(|reason| TaskResourcesError::Id { id: id(), reason })?;
    match &disk.volume {
        None => Err(TaskResourcesError::NotMounted(id())),
        Some(volume) if volume.host_path.is_some() => Err(TaskResourcesError::HostPath(id())),
        Some(_) => Ok(()),
    }
}
