//! What quota kept from somebody, and when it is worth another look.

use crate::Allocator;
use crate::keys::{AgentKey, QuotaKey};

impl Allocator {
    /// Limits or headroom may allow more than when some agents were looked at: these deserve another look.
    pub(crate) fn release_held_back(&mut self) {
        if std::mem::take(&mut self.requoted) {
            for (agent, state) in &mut self.agents {
                state.held_back.clear();
                if !state.available.is_empty() {
                    self.unsettled.insert(agent);
                }
            }
        }
        if self.ledger.has_grown() {
            self.ledger.grew = false;
            for agent in std::mem::take(&mut self.ledger.kept_from).iter() {
                self.agents[agent].held_back.clear();
                self.unsettled.insert(agent);
            }
        }
        let grown = self.ledger.accounts.iter().filter(|(_, account)| account.grew);
        let grown: Vec<QuotaKey> = grown.map(|(key, _)| QuotaKey(key)).collect();
        for key in grown {
            let account = &mut self.ledger.accounts[key.0];
            account.grew = false;
            let (role, agents) = (account.role.clone(), std::mem::take(&mut account.kept_from));
            self.wake_unless_exhausted(key);
            if agents.is_empty() {
                continue;
            }
            let clients = self.clients_under(&role);
            for agent in agents.iter() {
                self.agents[agent].held_back.subtract(&clients);
                self.unsettled.insert(agent);
            }
        }
    }

    /// An agent is gone, and its number may come to mean another one.
    pub(crate) fn forget_held_back(&mut self, agent: AgentKey) {
        self.ledger.kept_from.remove(agent.0);
        for (_, account) in &mut self.ledger.accounts {
            account.kept_from.remove(agent.0);
        }
    }

    /// Whether another look at an agent is due for what quota kept from somebody.
    pub(crate) fn is_held_back_due(&self, agent: AgentKey) -> bool {
        let is_of = |account: &crate::quota::Account| account.grew && account.kept_from.contains(agent.0);
        self.requoted
            || (self.ledger.kept_from.contains(agent.0) && self.ledger.has_grown())
            || self.ledger.iter().any(|(_, account)| is_of(account))
    }
}
