//! The master: agents, frameworks, offers and tasks, and the registry on Raft.

mod agent_life;
pub mod agents;
pub mod calls;
pub mod capabilities;
pub mod cluster;
pub mod effect;
mod executors;
pub mod framework_life;
pub mod frameworks;
mod ids;
mod offering;
pub mod offers;
mod reconcile;
pub mod registry;
mod status;
pub mod tasks;
pub mod validation;

pub use ids::Ids;
