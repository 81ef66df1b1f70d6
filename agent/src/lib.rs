//! The agent: containers, executors, status updates and sandboxes of one machine.
