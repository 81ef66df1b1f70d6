//! Hierarchical dominant resource fairness: a pure state machine, and the actor around it.
//!
//! [`Allocator`] decides which framework is offered what. In go agents, frameworks and events; out comes an
//! [`Allocation`], a value.
//!
//! **Invariant:** no sockets and no clock in the state machine. Time comes in as an argument, randomness as a
//! seeded generator, offers go out as a result.
//! **Invariant:** after every event, for every agent: held + available = total.
//!
//! Where this deliberately differs from Mesos:
//! - What becomes a candidate during a pause still is one after it, instead of waiting for the next interval.
//! - A role with nobody to serve, all inactive or suppressed, takes no turn. Its share still counts for its
//!   parents.
//! - The weight of a role that has roles below it, but no framework of its own, can be changed at any time.
//! - One framework can have 16 refusals of one agent at a time; of more, the one that ends first is forgotten.

mod actor;
mod agents;
mod allocation;
mod allocator;
pub mod amounts;
mod bits;
mod bookkeeping;
mod cycle;
mod error;
mod events;
mod filters;
mod frameworks;
mod invariants;
mod keys;
mod metrics;
mod options;
pub mod sorter;

pub use actor::AllocatorProcess;
pub use agents::order_key;
pub use allocation::{AgentAllocation, Allocation, FrameworkAllocation};
pub use allocator::Allocator;
pub use error::AllocatorError;
pub use options::{MinAllocatableError, Options, parse_min_allocatable_resources};

use libprocess::Time;
