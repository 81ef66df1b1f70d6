//! Hierarchical dominant resource fairness: a pure state machine, and the actor around it.
