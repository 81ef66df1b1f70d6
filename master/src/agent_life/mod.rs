//! Agents register, come back, fall silent, and leave.

pub(crate) mod comeback;
mod join;
mod loss;
mod orders;
mod remembered;
mod removals;
mod update;

pub use orders::OrderError;
pub(crate) use removals::Removals;
