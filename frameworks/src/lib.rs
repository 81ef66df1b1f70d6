//! Write a scheduler or an executor; and the examples pi and particles.
