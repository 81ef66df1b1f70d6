//! The master: agents, frameworks, offers and tasks, and the registry on Raft.

mod actor;
pub mod agent_life;
pub mod agents;
pub mod calls;
pub mod capabilities;
pub mod cluster;
pub mod effect;
mod executors;
mod flags;
pub mod framework_life;
pub mod frameworks;
mod gauges;
mod http;
mod ids;
mod intake;
pub mod maintenance;
mod observer;
mod offering;
pub mod offers;
mod per_framework;
mod perform;
mod reconcile;
pub mod registry;
mod start;
mod status;
pub mod streams;
pub mod tasks;
mod telling;
pub mod validation;
mod whitelist;
mod will;

pub use actor::Master;
pub use flags::{Flags, InvalidFlag};
pub use http::{API_LEVEL, version_document};
pub use ids::Ids;
pub use start::{Handle, PROCESS_ID, Prepared, StartError, prepare, start};
