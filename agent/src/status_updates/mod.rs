//! Status updates on their way to the frameworks: stored, sent, repeated until acknowledged.

mod manager;
pub mod streams;
#[cfg(test)]
mod tests;

pub use self::manager::StatusUpdateManager;
