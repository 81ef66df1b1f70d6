//! Hierarchical dominant resource fairness: a pure state machine, and the actor around it.
//!
//! [`Allocator`] decides which framework is offered what. In go agents, frameworks and events; out comes an
//! [`Allocation`], a value.
//!
//! **Invariant:** no sockets and no clock in the state machine. Time comes in as an argument, randomness as a
//! seeded generator, offers go out as a result.
//! **Invariant:** after every event, for every agent: held + available = total.
//!
//! Where this deliberately differs from Mesos, and why, is in `docs/allocator.md`.

mod accounts;
mod actor;
mod agents;
mod allocation;
mod allocator;
pub mod amounts;
mod ask;
mod bits;
mod bookkeeping;
mod candidate;
mod choose;
pub mod constraints;
mod cycle;
mod error;
mod events;
pub mod explain;
mod filters;
mod frameworks;
mod invariants;
mod keys;
mod looks;
mod maintenance;
mod metrics;
mod names;
mod options;
mod quota;
pub mod sorter;
mod watch;

pub use actor::AllocatorProcess;
pub use agents::{lots_seed, order_key};
pub use allocation::{AgentAllocation, Allocation, FrameworkAllocation, InverseAllocation};
pub use allocator::Allocator;
pub use error::AllocatorError;
pub use events::Conversion;
pub use options::{FrameworkOptions, MinAllocatableError, Options, parse_min_allocatable_resources};
pub use quota::Quota;

use libprocess::Time;
