//! The files below the log: the system's, and a guard before them that lets the log find out what is there without
//! changing it, and keeps the first thing that went wrong.

mod guard;
mod system;

pub(super) use guard::Guard;
pub(super) use system::System;
