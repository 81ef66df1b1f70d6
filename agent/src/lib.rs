//! The agent: containers, executors, status updates and sandboxes of one machine.
//!
//! [`start`] puts one on a node; it then registers with its master and runs what that one sends.
//!
//! - [`workload`] is the table of frameworks, executors and tasks: events in, a list of effects out. It
//!   knows no clock, no disk and no network.
//! - [`status_updates`] owes each framework what its tasks report, until it is acknowledged.
//! - [`containers`] makes sandboxes and process trees, each container an actor, and ends them.
//! - [`executor`] is the executor of tasks that bring a command only, and [`launcher`] the program that
//!   becomes an executor; both run as processes of their own.
//!
//! **Invariant:** what anybody is told is on disk first, for frameworks that checkpoint. A journal holds
//! every effect back until the writes before it are done.
//! **Invariant:** every task gets exactly one end, unless its framework is over; then it gets none.
//! **Invariant:** a container's end is told when nothing of it is left. No process gets away, whatever it
//! does about its parents, its session or its environment.
//! **Invariant:** an id from outside is checked before it becomes part of a path.
//!
//! Not here yet: finding containers again after a restart (what it needs is written already), control
//! groups, namespaces, images and volumes, groups of tasks, authentication.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "a test waits with a deadline"))]

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
