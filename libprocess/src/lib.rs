#![doc = include_str!("../README.md")]

mod builtin;
mod clock;
mod context;
mod event;
mod future;
#[doc(hidden)]
pub mod fuzzing;
mod handlers;
mod host;
pub mod http;
mod limiter;
mod links;
mod message;
pub mod metrics;
mod node;
mod process;
pub mod sim;
mod time;
mod transport;
mod unhandled;
mod upid;

pub use builtin::Version;
pub use builtin::logging::set_toggler as set_log_toggler;
pub use clock::Timer;
pub use context::{Context, Deferred, Rng};
pub use future::{Abandoned, Future, Promise, WaitError};
pub use handlers::Handler;
pub use host::runtime::{Runtime, RuntimeError};
pub use libprocess_macros::Message;
pub use limiter::{Limiter, Sequence};
pub use message::{DecodeError, Message, codec};
pub use metrics::Metrics;
pub use node::{ClockHandle, EnvironmentError, Node, NodeBuilder, SpawnError, StartError};
pub use process::Process;
pub use time::Time;
pub use upid::{Address, Id, ParseUpidError, Pid, Upid};
