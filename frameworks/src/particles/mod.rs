//! Where particles come down: a file of parabolas, read in chunks all over the cluster.

pub mod chunk;
pub mod generate;
pub mod landings;
pub mod parabola;
pub mod plot;
pub mod tally;
