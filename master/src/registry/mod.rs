//! The registry and where it lives: a state machine ([`Registry`]) fed by a Raft log, of which each master holds
//! a copy ([`group::Member`]); an actor ([`Registrar`]) has it written, and carries what the members say to each
//! other.

pub mod group;
mod log;
mod operation;
mod policy;
mod registrar;
#[cfg(test)]
mod restarts;
#[cfg(test)]
mod simulated;
mod state;
mod watermark;

pub use log::LogError;
pub use operation::{Batch, Kind, Marked, Operation, Prune, Ticket};
pub use policy::InvalidRegistry;
pub use registrar::{Registrar, RegistrarError, Storage};
pub use state::{Refused, Registry};
