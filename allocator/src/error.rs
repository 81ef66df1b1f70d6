//! Calls the allocator cannot follow.

use api::resources::{Resources, Scalar};

/// The caller and the allocator disagree about the cluster. Nothing was changed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum AllocatorError {
    /// No such framework was added.
    #[error("framework {0} is not known to the allocator; add it first")]
    UnknownFramework(String),
    /// A framework was added twice.
    #[error("framework {0} was added already; update it instead")]
    KnownFramework(String),
    /// No such agent was added.
    #[error("agent {0} is not known to the allocator; add it first")]
    UnknownAgent(String),
    /// An id that cannot stand among the clients of a role.
    #[error("`{0}` is not the id of a framework: it must not be empty or `.`, nor contain `/`")]
    InvalidFrameworkId(String),
    /// A framework that has nothing to do with a role.
    #[error("framework {framework_id} is neither subscribed to role `{role}` nor holds anything in it")]
    NotInRole {
        /// Which framework.
        framework_id: String,
        /// Which role.
        role: String,
    },
    /// An agent was added twice.
    #[error("agent {0} was added already; update it instead")]
    KnownAgent(String),
    /// A role no path can be made of.
    #[error(
        "`{role}` is not a role: components between `/` must not be empty or `.`, and it must not be too long"
    )]
    InvalidRole {
        /// The role as given.
        role: String,
    },
    /// Resources of a framework that do not say in which role it has them.
    #[error("`{resources}` of framework {framework_id} on agent {agent_id} has to be allocated to a role")]
    NotAllocated {
        /// Whose they are.
        framework_id: String,
        /// Where they are.
        agent_id: String,
        /// What was given.
        resources: Resources,
    },
    /// More came back than went out.
    #[error("framework {framework_id} does not hold `{resources}` in role `{role}` on agent {agent_id}")]
    NotHeld {
        /// Who is said to give them back.
        framework_id: String,
        /// Where they are.
        agent_id: String,
        /// In which role.
        role: String,
        /// What was given.
        resources: Resources,
    },
    /// A weight that cannot divide a share.
    #[error("weight {weight} of role `{role}` has to be a finite number above zero")]
    InvalidWeight {
        /// Whose weight.
        role: String,
        /// The weight as given.
        weight: f64,
    },
    /// Operations on resources of several roles at once.
    #[error("operations on agent {0} have to be on resources allocated to one role")]
    SeveralRoles(String),
    /// An operation needs what an agent does not have, or what somebody holds.
    #[error("agent {agent_id} has only `{available}` of which to take `{resources}`")]
    NotAvailable {
        /// Where.
        agent_id: String,
        /// What was to be taken.
        resources: Resources,
        /// What there is.
        available: Resources,
    },
    /// An operation makes a shared volume that is there already.
    #[error("agent {agent_id} has `{resources}` already; what is shared has to be told apart by its id")]
    AlreadyShared {
        /// Where.
        agent_id: String,
        /// What was to be made.
        resources: Resources,
    },
    /// Quota is of top-level roles.
    #[error("`{0}` is below another role; quota is set for the top-level role, and counts for all below it")]
    NestedQuota(String),
    /// A promise that could not be kept.
    #[error("role `{role}` cannot be guaranteed {name}:{guarantee}, as its limit is {limit}")]
    GuaranteeAboveLimit {
        /// Whose quota.
        role: String,
        /// Of what.
        name: String,
        /// The guarantee.
        guarantee: Scalar,
        /// The limit.
        limit: Scalar,
    },
}
