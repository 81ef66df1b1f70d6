//! Executors that come with the agent.

pub mod command;
mod running;
