//! The registry and where it lives: a state machine ([`Registry`]) fed by a Raft log ([`Replica`]), which
//! an actor ([`Registrar`]) keeps busy with one batch of operations at a time.

mod log;
mod operation;
mod policy;
mod registrar;
mod replica;
mod state;
mod watermark;

pub use log::LogError;
pub use operation::{Batch, Kind, Marked, Operation, Prune};
pub use policy::InvalidRegistry;
pub use registrar::{Registrar, RegistrarError, Storage};
pub use replica::{Outcomes, Replica, ReplicaError};
pub use state::{Refused, Registry};
