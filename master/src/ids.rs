//! The ids a master hands out. All begin with the id of the master that made them, so that no two
//! masters of a cluster's life ever hand out the same one.

use api::v1::{AgentId, FrameworkId, OfferId};
use uuid::Uuid;

/// Hands out framework, agent and offer ids.
#[derive(Debug, Clone)]
pub struct Ids {
    master: String,
    next_framework: u64,
    next_agent: u64,
    next_offer: u64,
}

impl Ids {
    /// Ids for a master whose own id is `master`.
    pub fn new(master: Uuid) -> Self {
        Ids { master: master.to_string(), next_framework: 0, next_agent: 0, next_offer: 0 }
    }

    /// The master's own id, a UUID.
    pub fn master(&self) -> &str {
        &self.master
    }

    /// `<master id>-NNNN`, counted from 0 and padded to four digits.
    pub fn next_framework(&mut self) -> FrameworkId {
        let value = format!("{}-{:04}", self.master, self.next_framework);
        self.next_framework += 1;
        FrameworkId::from(value)
    }

    /// `<master id>-S<n>`.
    pub fn next_agent(&mut self) -> AgentId {
        let value = format!("{}-S{}", self.master, self.next_agent);
        self.next_agent += 1;
        AgentId::from(value)
    }

    /// `<master id>-O<n>`, shared by offers and inverse offers.
    pub fn next_offer(&mut self) -> OfferId {
        let value = format!("{}-O{}", self.master, self.next_offer);
        self.next_offer += 1;
        OfferId::from(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_carry_the_master_and_count_up() {
        let mut ids = Ids::new(Uuid::nil());
        let nil = Uuid::nil();
        assert_eq!(ids.master(), nil.to_string());
        assert_eq!(ids.next_framework().value, format!("{nil}-0000"));
        assert_eq!(ids.next_framework().value, format!("{nil}-0001"));
        assert_eq!(ids.next_agent().value, format!("{nil}-S0"));
        assert_eq!(ids.next_offer().value, format!("{nil}-O0"));
        assert_eq!(ids.next_offer().value, format!("{nil}-O1"));
    }
}
