//! What a framework or an agent said it can do.

use api::v1::{agent_info, framework_info};

/// The capabilities of a framework the master cares about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FrameworkCapabilities {
    /// It has `roles`; offers tell which role they are for.
    pub multi_role: bool,
    /// It knows what became of tasks on lost agents by more states than TASK_LOST.
    pub partition_aware: bool,
    /// Its resources carry a stack of reservations.
    pub reservation_refinement: bool,
}

impl FrameworkCapabilities {
    /// Of the capabilities in a `FrameworkInfo`; unknown ones count for nothing.
    pub fn of(capabilities: &[framework_info::Capability]) -> Self {
        use framework_info::capability::Type;
        let has = |wanted| capabilities.iter().any(|it| it.r#type() == wanted);
        FrameworkCapabilities {
            multi_role: has(Type::MultiRole),
            partition_aware: has(Type::PartitionAware),
            reservation_refinement: has(Type::ReservationRefinement),
        }
    }
}

/// The capabilities of an agent the master cares about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AgentCapabilities {
    /// Its resources carry the role they are allocated to.
    pub multi_role: bool,
    /// Its resources carry a stack of reservations.
    pub reservation_refinement: bool,
    /// Operations on its resources are tracked.
    pub resource_provider: bool,
    /// Tasks may have limits beside their requests.
    pub task_resource_limits: bool,
    /// It knows how to become empty.
    pub draining: bool,
}

impl AgentCapabilities {
    /// Of the capabilities in a registration; unknown ones count for nothing.
    pub fn of(capabilities: &[agent_info::Capability]) -> Self {
        use agent_info::capability::Type;
        let has = |wanted| capabilities.iter().any(|it| it.r#type() == wanted);
        AgentCapabilities {
            multi_role: has(Type::MultiRole),
            reservation_refinement: has(Type::ReservationRefinement),
            resource_provider: has(Type::ResourceProvider),
            task_resource_limits: has(Type::TaskResourceLimits),
            draining: has(Type::AgentDraining),
        }
    }
}
