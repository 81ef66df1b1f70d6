//! Actors that each own one piece of state: in one process, on many nodes, under a simulator.
