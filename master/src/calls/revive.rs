//! REVIVE and SUPPRESS: a framework wants offers again, or none for now, for some or all of its roles.

use api::v1::FrameworkId;

use crate::cluster::Cluster;
use crate::effect::{AllocatorCall, Effect};

impl Cluster {
    pub(crate) fn revive(&mut self, framework_id: &FrameworkId, roles: Vec<String>) {
        self.count("master/messages_revive_offers");
        if self.may_name(framework_id, &roles) {
            self.note_suppressed(framework_id, &roles, false);
            self.allocator(AllocatorCall::Revive { id: framework_id.clone(), roles });
        }
    }

    pub(crate) fn suppress(&mut self, framework_id: &FrameworkId, roles: Vec<String>) {
        self.count("master/messages_suppress_offers");
        if self.may_name(framework_id, &roles) {
            self.note_suppressed(framework_id, &roles, true);
            self.allocator(AllocatorCall::Suppress { id: framework_id.clone(), roles });
        }
    }

    /// One role that is not the framework's makes the whole call void.
    fn may_name(&self, framework_id: &FrameworkId, roles: &[String]) -> bool {
        let Some(framework) = self.frameworks.get(framework_id) else { return false };
        let own = framework.roles();
        let foreign = roles.iter().find(|role| !own.contains(role));
        if let Some(role) = foreign {
            tracing::warn!(framework = %framework_id, role, "ignoring a call for a role the framework is not subscribed to");
        }
        foreign.is_none()
    }

    fn note_suppressed(&mut self, framework_id: &FrameworkId, roles: &[String], suppressed: bool) {
        let Some(framework) = self.frameworks.get_mut(framework_id) else { return };
        let roles = if roles.is_empty() { framework.roles() } else { roles.to_vec() };
        let options = std::sync::Arc::make_mut(&mut framework.options);
        options.suppressed_roles.retain(|role| !roles.contains(role));
        if suppressed {
            options.suppressed_roles.extend(roles);
        }
        self.push(Effect::ShowRoles(framework_id.clone()));
    }
}
