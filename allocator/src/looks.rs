//! Which agents deserve a look, and whom to ask there.
//!
//! A cycle looks at agents that are candidates and unsettled, and asks the active clients of which the agent remembers
//! no "no". Everything in here serves to leave out what is known to come to nothing; a look that was not needed costs
//! time, one that was left out wrongly costs somebody an offer. `check_invariants` finds the latter.
//!
//! | what | is so | from when | until |
//! | --- | --- | --- | --- |
//! | an agent | a *candidate* | something happened to it; every interval, and whoever joins or revives, makes all so | the next cycle |
//! | | *unsettled*: a look might find something | it joins, changes or gets something back; a refusal ends there; limits or headroom allow what was held back there; somebody is fresh or woken | a look, but for what was left out for that cycle only; or all active clients are known to get nothing |
//! | an agent's memory of a client | *declined*: nothing for it of what is available, nor of less | it was asked in vain, or refused all of that | more is available; its refusal ends or is forgotten; it is fresh; the agent changes |
//! | | *held back*: nothing for it as long as limits and headroom are what they are | it was asked, and these left nothing worth an offer | anything else is available; these allow more; it is fresh; the agent changes |
//! | a client | *active*: takes turns | its framework is active, it is subscribed, not suppressed and not parked | one of these ends |
//! | | *fresh*: what agents remember of it does not count | it became active, or easier to please | the next cycle of all agents |
//! | | *parked*: not active, as it would be offered nothing anywhere | the limits of its role leave less than the least amounts | they leave more, from the next cycle on |
//! | | *woken*: some agents were not looked at for it, what others remember counts | it was parked, and not fresh before | the next cycle of all agents |
//!
//! Parking is done in `accounts.rs` and `bookkeeping.rs`; what an agent remembers is in `agents.rs`.

use crate::bits::Bits;
use crate::keys::{AgentKey, ClientKey, QuotaKey};
use crate::{Allocator, Time};

impl Allocator {
    // --- What happens ----------------------------------------------------------------------------------

    pub(crate) fn consider(&mut self, agent: AgentKey) {
        self.candidates.some.insert(agent.0);
    }

    /// What the agent remembers of refusals by its clients does not hold any more.
    pub(crate) fn reconsider(&mut self, agent: AgentKey) {
        self.agents[agent.0].declined.clear();
        self.agents[agent.0].held_back.clear();
        self.unsettled.insert(agent.0);
    }

    /// The client may want what it was not given before, on any agent.
    pub(crate) fn refreshed(&mut self, client: ClientKey) {
        if self.active.contains(client.0) {
            self.fresh.insert(client.0);
        } else {
            self.clients[client.0].fresh_when_unparked = true;
        }
    }

    // --- What a cycle makes of it ----------------------------------------------------------------------

    pub(crate) fn expire_refusals(&mut self, now: Time) {
        for (client, agent) in self.filters.expire(now) {
            self.agents[agent.0].declined.remove(client.0);
            self.agents[agent.0].held_back.remove(client.0);
            self.unsettled.insert(agent.0);
        }
    }

    /// The agents to look at, which are candidates no more, and the candidates that are to be unavailable.
    pub(crate) fn take_candidates(&mut self) -> (Vec<AgentKey>, Bits) {
        let candidates = std::mem::take(&mut self.candidates);
        if !candidates.all {
            let some = |set: &Bits| candidates.some.iter().filter(|it| set.contains(*it)).collect::<Vec<_>>();
            let mut maintained = Bits::default();
            some(&self.maintained).into_iter().for_each(|agent| maintained.insert(agent));
            return (some(&self.unsettled).into_iter().map(AgentKey).collect(), maintained);
        }
        if !self.fresh.is_empty() || !self.woken.is_empty() {
            for (agent, state) in &mut self.agents {
                state.declined.subtract(&self.fresh);
                state.held_back.subtract(&self.fresh);
                let asked =
                    self.fresh.is_empty() && self.woken.is_covered_by(&state.declined, &state.held_back);
                if !state.available.is_empty() && !asked {
                    self.unsettled.insert(agent);
                }
            }
            self.fresh.clear();
            self.woken.clear();
        }
        (self.unsettled.iter().map(AgentKey).collect(), self.maintained.clone())
    }

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
