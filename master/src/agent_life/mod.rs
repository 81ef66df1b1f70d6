//! Agents register, come back, fall silent, and leave.

mod comeback;
mod join;
mod loss;
mod remembered;
mod update;
