//! Writing a framework: a [`Scheduler`] that answers offers, and an [`Executor`] that runs tasks.
//!
//! Both are plain types with methods. A driver, which is one actor, speaks Apache's messages for them: it
//! registers and registers again when the master or the link to it is lost, acknowledges status updates,
//! and keeps those of an executor until the agent has stored them.
//!
//! A complete framework, scheduler and executor in one program:
//!
//! ```ignore
#![doc = include_str!("../../examples/hello.rs")]
//! ```

mod address;
mod backoff;
mod executor;
mod outcome;
mod scheduler;

pub use address::{FacingError, node_facing};
pub use backoff::REGISTRATION_BACKOFF_MAX;
pub use detector::Masters;
pub use executor::{
    EnvironmentError, Executor, ExecutorCalls, ExecutorDriver, ExecutorEnvironment, ExecutorError,
    ExecutorProcess, InvalidUpdate,
};
pub use outcome::Outcome;
pub use scheduler::{
    Scheduler, SchedulerCalls, SchedulerDriver, SchedulerOptions, SchedulerProcess, ids_of, refuse_for,
};
