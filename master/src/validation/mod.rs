//! What a message must look like. Each check names what was wrong and what would be right; the order of the
//! checks is part of the interface, as the first failure is the one that is reported.

pub mod agent;
pub mod call;
pub mod container;
pub mod framework;
pub mod health;
pub mod offers;
pub mod task;

/// Why something is refused, in words for whoever sent it.
pub type Invalid = String;
