//! What a cycle decided: who is to be offered what.

use api::resources::Resources;
use api::v1::{AgentId, FrameworkId, Unavailability};

/// The outcome of one cycle, one entry per framework that gets something.
///
/// What is in here already counts as held by the frameworks: it comes back by
/// [`recover_resources`](crate::Allocator::recover_resources) only.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Allocation {
    /// In the order in which frameworks were first chosen.
    pub frameworks: Vec<FrameworkAllocation>,
    /// Who is asked to leave which agent.
    pub inverse_offers: Vec<InverseAllocation>,
}

/// A framework that holds something on an agent is asked to be gone from there for a while.
#[derive(Clone, Debug, PartialEq)]
pub struct InverseAllocation {
    /// Who is asked.
    pub framework_id: FrameworkId,
    /// Where it should not be.
    pub agent_id: AgentId,
    /// When.
    pub unavailability: Unavailability,
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
        self.frameworks.is_empty() && self.inverse_offers.is_empty()
    }

    /// The number of offers to all frameworks.
    pub fn n_offers(&self) -> usize {
        self.frameworks.iter().map(|framework| framework.offers.len()).sum()
    }
}
