//! Short names for agents, clients and roles: slots in the allocator's tables.
//!
//! A slot is used again once its owner is gone; whoever removes an owner removes every mention of it.

macro_rules! key {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(crate) struct $name(pub(crate) usize);
    };
}

key!(
    /// An agent.
    AgentKey
);
key!(
    /// A framework.
    FrameworkKey
);
key!(
    /// A framework in one of its roles, which is what shares are counted for.
    ClientKey
);
key!(
    /// The account of a role with a quota.
    QuotaKey
);
key!(
    /// A role in which some framework is tracked.
    RoleKey
);
