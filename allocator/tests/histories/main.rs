//! What the allocator does, told as histories: input in words, expected offers.

#![allow(clippy::unwrap_used, reason = "a test says what is wrong by failing")]

#[path = "../common/mod.rs"]
mod common;

mod agents;
mod candidates;
mod frameworks;
mod maintenance;
mod minimums;
mod operations;
mod quota;
mod recovery;
mod refusals;
mod resources;
mod turns;
