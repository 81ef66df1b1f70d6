//! What a cycle decided: who is to be offered what.

use api::resources::Resources;
use api::v1::{AgentId, FrameworkId};

/// The outcome of one cycle, one entry per framework that gets something.
///
/// What is in here already counts as held by the frameworks: it comes back by
/// [`recover_resources`](crate::Allocator::recover_resources) only.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Allocation {
    /// In the order in which frameworks were first chosen.
    pub frameworks: Vec<FrameworkAllocation>,
}

/// Everything one framework is to be offered.
#[derive(Clone, Debug, PartialEq)]
pub struct FrameworkAllocation {
    /// Who gets it.
    pub framework_id: FrameworkId,
    /// At most one per agent and role.
    pub offers: Vec<AgentAllocation>,
}

/// What a framework is to be offered from one agent for one of its roles.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentAllocation {
    /// Where.
    pub agent_id: AgentId,
    /// In which role.
    pub role: String,
    /// What, each entry allocated to `role`.
    pub resources: Resources,
}

impl Allocation {
    /// Whether nobody gets anything.
    pub fn is_empty(&self) -> bool {
        self.frameworks.is_empty()
    }

    /// The number of offers to all frameworks.
    pub fn n_offers(&self) -> usize {
        self.frameworks.iter().map(|framework| framework.offers.len()).sum()
    }
}
