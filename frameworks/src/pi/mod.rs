//! π by throwing points at a square.

pub mod estimate;
pub mod kernel;
