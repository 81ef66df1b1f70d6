//! A registry from a copy, when a majority of the masters' disks is lost.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::group::{Disk as _, Members};
use super::log::{Log, LogError};
use super::state::Registry;

/// Why a copy was not made a registry.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The copy, or the disk.
    #[error(transparent)]
    Log(#[from] LogError),
    /// There is no registry in the copy.
    #[error("there is no registry in `{0}`; it should be a copy of a master's `<work_dir>/registry`")]
    Empty(PathBuf),
    /// What is in the copy cannot be used.
    #[error("the registry in `{path}` cannot be used: {what}")]
    Unusable {
        /// The copy.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The master has a registry.
    #[error("`{0}` is there already; end its master, and move it away")]
    Occupied(PathBuf),
}

/// Makes `registry`, which must not be there yet, of what `copy` holds: that of a new group of which only the master
/// at `own` is a member. The copy stays as it is. Blocks.
pub fn restore(copy: &Path, registry: &Path, own: &str) -> Result<Registry, RestoreError> {
    restore_as(copy, registry, own, uuid::Uuid::new_v4().as_u64_pair())
}

/// The numbers are those of the group and of its member, unlike any others.
pub(super) fn restore_as(
    copy: &Path,
    registry: &Path,
    own: &str,
    (group, id): (u64, u64),
) -> Result<Registry, RestoreError> {
    let disk_error =
        |doing, path: &Path, source| LogError::Disk { file: path.into(), doing, source: Arc::new(source) };
    match fs::exists(registry) {
        Ok(false) => {}
        Ok(true) => return Err(RestoreError::Occupied(registry.into())),
        Err(source) => return Err(disk_error("look at", registry, source).into()),
    }
    let stored = Log::look(copy)?.ok_or_else(|| RestoreError::Empty(copy.into()))?;
    // 0 and 1 have a meaning of their own.
    let (group, id) = (group.max(2), id.max(2));
    let members = Members { group, by_id: [(id, own.to_owned())].into() };
    let (write, machine) =
        stored.refound(&members, id).map_err(|what| RestoreError::Unusable { path: copy.into(), what })?;
    // Half a registry would found a group of its own: it gets its name when it is whole.
    let mut name = registry.as_os_str().to_owned();
    name.push(".restoring");
    let unfinished = PathBuf::from(name);
    match fs::remove_dir_all(&unfinished) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            return Err(disk_error("remove", &unfinished, source).into());
        }
        _ => {}
    }
    let (mut log, _) = Log::open(&unfinished, &[id])?;
    log.submit(write)()?;
    drop(log);
    fs::rename(&unfinished, registry).map_err(|source| disk_error("rename", &unfinished, source))?;
    super::log::sync_directory(registry.parent().unwrap_or(Path::new(".")))?;
    Ok(machine.registry().clone())
}
