//! The agent: containers, executors, status updates and sandboxes of one machine.

pub mod checkpoint;
pub mod command_task;
pub mod environment;
pub mod flags;
pub mod layout;
pub mod status_updates;
pub mod task_state;
pub mod workload;
