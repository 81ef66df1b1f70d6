//! The master: agents, frameworks, offers and tasks, and the registry on Raft.
