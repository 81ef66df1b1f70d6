//! Containers: a sandbox, a tree of processes in it, and the certainty that both end together.

mod container;
mod containerizer;
pub mod fetcher;
pub mod isolators;
pub mod launcher;
pub mod processes;
mod sandbox;

pub use self::container::{Report, ReportKind};
pub use self::containerizer::{Containerizer, ContainerizerSettings};
