//! The registry and where it lives: a state machine ([`Registry`]) fed by a Raft log, of which each master holds
//! a copy ([`group::Member`]); an actor ([`Registrar`]) has it written, and carries what the members say to each
//! other.

mod by_age;
#[cfg(test)]
mod faults;
mod files;
pub mod group;
mod lease;
mod log;
mod machines;
mod operation;
mod orders;
mod policy;
mod registrar;
#[cfg(test)]
mod restarts;
mod restore;
#[cfg(test)]
mod simulated;
mod standing;
mod state;
mod watermark;

pub use by_age::ByAge;
pub use lease::Lease;
pub use log::LogError;
pub use machines::MachineKey;
pub use operation::{Batch, Drain, Kind, Machines, Marked, Operation, Prune, Quotas, Ticket, Weights};
pub use policy::InvalidRegistry;
pub use registrar::{ChangeError, Registrar, RegistrarError, Storage};
pub use restore::{RestoreError, restore};
pub use standing::{Founding, MemberStatus, Standing};
pub use state::{AGENT_DRAINING, Orders, QUOTA_V2, Refused, Registry};
