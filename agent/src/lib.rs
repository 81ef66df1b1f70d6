//! The agent: containers, executors, status updates and sandboxes of one machine.

mod actor;
pub mod checkpoint;
pub mod command_task;
pub mod containers;
pub mod detect;
pub mod environment;
pub mod executor;
mod executor_link;
pub mod flags;
mod gc;
mod http;
mod journal;
pub mod layout;
mod metrics;
mod start;
pub mod status_updates;
pub mod task_state;
pub mod wait_status;
pub mod workload;

pub use self::actor::{Agent, AgentState};
pub use self::flags::Flags;
pub use self::start::{Handle, StartError, start};

/// The level of Mesos's API that the agent speaks; clients read it as three numbers.
pub const MESOS_VERSION: &str = "1.11.0";

/// `mesos containerizer launch`, with the words behind that.
pub use self::containers::launcher;
