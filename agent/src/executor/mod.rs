//! Executors that come with the agent.

mod checker;
mod checks;
pub mod command;
mod running;
