//! Agents register, come back, fall silent, and leave.

mod brought;
mod comeback;
mod join;
mod loss;
mod orders;
mod remembered;
mod removals;
mod update;

pub(crate) use brought::Brought;
pub use orders::OrderError;
pub(crate) use removals::Removals;
