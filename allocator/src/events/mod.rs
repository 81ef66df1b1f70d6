//! What happens in the cluster, one file for those it happens to.

mod agents;
mod frameworks;
mod maintenance;
mod operations;
mod quota;
mod resources;

pub use operations::Conversion;

use api::resources::Resources;
use api::v1::{AgentId, FrameworkId};

use crate::AllocatorError;

pub(crate) type Result<T> = std::result::Result<T, AllocatorError>;

pub(crate) fn check_role(role: &str) -> Result<()> {
    if !api::roles::is_short(role) || role.split('/').any(|name| name.is_empty() || name == ".") {
        return Err(AllocatorError::InvalidRole { role: role.chars().take(80).collect() });
    }
    Ok(())
}

/// Held resources have to say in which role, and it has to be one.
pub(crate) fn check_allocated(
    framework_id: &FrameworkId,
    agent_id: &AgentId,
    resources: &Resources,
) -> Result<()> {
    resources.iter().try_for_each(|entry| match entry.allocated_to() {
        Some(role) => check_role(role),
        None => Err(AllocatorError::NotAllocated {
            framework_id: framework_id.to_string(),
            agent_id: agent_id.to_string(),
            resources: resources.clone(),
        }),
    })
}
