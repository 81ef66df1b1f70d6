//! How much may wait at a master of those who come to it by themselves.

/// How many may wait, and for what. Whoever comes past a bound is told to come back, or not answered; those who wait
/// lose nothing by it.
///
/// No operator has to set them. Who runs a master in a program of his own may: a test has to see what becomes of
/// those for whom there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// So many agents that come back may wait to be taken in: about three seconds' work, and more than most clusters
    /// have.
    pub returning_agents: usize,
    /// What these agents sent may take so many bytes.
    pub returning_bytes: usize,
    /// So many may wait to hear who leads: every agent and every driver of the largest cluster, and then some.
    pub watchers: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Bounds { returning_agents: 64 << 10, returning_bytes: 160 << 20, watchers: 200_000 }
    }
}
