//! Write a scheduler or an executor; and the examples pi and particles.

pub mod driver;
pub mod ledger;
pub mod particles;
pub mod pi;
