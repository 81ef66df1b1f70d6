//! State that can check itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::resources::Resources;

use crate::amounts::Amounts;
use crate::candidate::plain_amounts;
use crate::keys::{AgentKey, ClientKey};
use crate::{Allocator, Time};

impl Allocator {
    /// Compares everything that is cached or indexed with what it is made from. `Err` says what does not hold.
    ///
    /// Walks the whole state: for tests.
    pub fn check_invariants(&self) -> Result<(), String> {
        self.filters.check_invariants()?;
        self.inverse_filters.check_invariants()?;
        self.role_sorter.check_invariants(&self.pool)?;
        let mut total = Amounts::default();
        for (key, agent) in &self.agents {
            total.add(&agent.amounts);
            let held = agent.all_held();
            if agent.available != agent.total.clone() - &held {
                return Err(format!("agent {}: available is not total without held", agent.id.value));
            }
            if !agent.overcommitted && agent.available.clone() + &held != agent.total {
                return Err(format!("agent {}: available and held are not total", agent.id.value));
            }
            for (client, held) in &agent.held {
                let known = self.clients.get(client.0).is_some_and(|it| it.agents.contains(&AgentKey(key)));
                if held.resources.is_empty() || !known {
                    return Err(format!("agent {}: {client:?} is not known to hold it", agent.id.value));
                }
            }
            self.check_settled(AgentKey(key))?;
        }
        for (id, amount) in total.iter() {
            if self.pool.total(id) != amount {
                return Err(format!("the pool's {} is not the sum over agents", self.pool.name_of(id)));
            }
        }
        if !self.used_names().iter().all(|name| self.pool.is_known(*name)) {
            return Err("a name was forgotten that is in use".to_owned());
        }
        for (agent, _) in &self.agents {
            let mut clients = self.clients.iter().map(|(client, _)| ClientKey(client));
            clients.try_for_each(|client| self.check_explanation(client, AgentKey(agent), Time::EPOCH))?;
        }
        self.check_quota()?;
        self.check_roles()?;
        self.check_clients()
    }

    /// An agent nobody needs to look at has nothing for any client.
    fn check_settled(&self, agent: AgentKey) -> Result<(), String> {
        if self.unsettled.contains(agent.0) || self.is_held_back_due(agent) {
            return Ok(());
        }
        let due = |client: &usize| self.fresh.contains(*client) || self.woken.contains(*client);
        for client in self.active.iter().filter(|client| !due(client)) {
            // That a refusal ended is noticed by the next cycle.
            if let Some(offer) = self.would_offer(ClientKey(client), agent, Time::EPOCH) {
                let id = &self.agents[agent.0].id.value;
                return Err(format!("agent {id} is settled, but has `{offer}` for client {client}"));
            }
        }
        Ok(())
    }

    /// What quota counts, counted anew.
    fn check_quota(&self) -> Result<(), String> {
        self.ledger.check_invariants()?;
        let mut reservations: BTreeMap<Arc<str>, Amounts> = BTreeMap::new();
        let mut free = Amounts::default();
        for (_, agent) in &self.agents {
            free.add(&plain_amounts(&agent.available, &self.pool));
            for (role, reserved) in agent.total.reservations() {
                let sum = reservations.entry(role.as_str().into()).or_default();
                for entry in &reserved {
                    if let (Some(id), Some(scalar)) = (self.pool.find(entry.name()), entry.scalar()) {
                        sum.add_one(id, u128::from(scalar.thousandths()));
                    }
                }
            }
        }
        reservations.retain(|_, reserved| !reserved.is_empty());
        if reservations != self.reservations {
            return Err("reservations are not the sum over agents".to_owned());
        }
        if !self.ledger.is_empty() && free != self.ledger.free {
            return Err("what is free is not the sum over agents".to_owned());
        }
        for (key, account) in self.ledger.iter() {
            // That limits leave more again is noticed by the next cycle.
            let exhausted = self.is_exhausted(key);
            if exhausted != account.exhausted && (exhausted || !account.grew) {
                return Err(format!("whether role {} is at its limits is not noted", account.role));
            }
            if account.consumed != self.consumed(&account.role) {
                return Err(format!("role {} consumed something else of its quota", account.role));
            }
        }
        for (_, role) in &self.roles {
            if role.quota != self.ledger.key(role.top_level()) {
                return Err(format!("role {} counts for another quota than that of its parent", role.name));
            }
            let (mut held, mut allocated) = (Amounts::default(), Amounts::default());
            for client in role.sorter.clients() {
                for agent in &self.clients[client.0].agents {
                    if let Some(here) = self.agents[agent.0].held.get(&client) {
                        held.add(&plain_amounts(&here.resources, &self.pool));
                        allocated.add(&here.allocated);
                    }
                }
            }
            if held != role.held || allocated != role.allocated {
                return Err(format!("role {}: quota counts something else than agents say", role.name));
            }
        }
        Ok(())
    }

    /// What a role's frameworks hold, what is shared once for all of them.
    fn held_in_role(&self, role: crate::keys::RoleKey) -> Amounts {
        let mut all = Amounts::default();
        for (_, agent) in &self.agents {
            let of_role = agent.held.iter().filter(|(client, _)| self.clients[client.0].role == role);
            let here = of_role.fold(Resources::new(), |sum, (_, held)| sum + &held.resources);
            for entry in &here {
                if let (Some(id), Some(scalar)) = (self.pool.find(entry.name()), entry.scalar()) {
                    all.add_one(id, u128::from(scalar.thousandths()));
                }
            }
        }
        all
    }

    fn check_roles(&self) -> Result<(), String> {
        for (key, role) in &self.roles {
            role.sorter.check_invariants(&self.pool)?;
            let role_key = crate::keys::RoleKey(key);
            let held = self.role_sorter.held(role_key);
            if held != Some(&self.held_in_role(role_key)) || role.sorter.is_empty() {
                return Err(format!("role {} does not hold what its frameworks do", role.name));
            }
            if self.role_keys.get(&role.name) != Some(&role_key) {
                return Err(format!("role {} is not found by its name", role.name));
            }
            if self.role_sorter.is_active(role_key) != role.sorter.has_active() {
                return Err(format!("role {} is listed for nobody, or not listed for somebody", role.name));
            }
        }
        if self.roles.len() == self.role_sorter.len() && self.roles.len() == self.role_keys.len() {
            Ok(())
        } else {
            Err("the tables of roles disagree".to_owned())
        }
    }

    fn check_clients(&self) -> Result<(), String> {
        for (key, client) in &self.clients {
            let framework = &self.frameworks[client.framework.0];
            let role = &self.roles[client.role.0];
            let name = format!("{} in {}", framework.id.value, role.name);
            let wants = framework.active && client.subscribed && !client.suppressed;
            let parked = wants
                && role.quota.is_some_and(|key| self.ledger.accounts[key.0].exhausted)
                && client.min_allocatable.is_none()
                && !framework.capabilities.revocable_resources;
            if parked != client.parked {
                return Err(format!("{name} should be parked: {parked}"));
            }
            let wanted = wants && !parked;
            let key = ClientKey(key);
            if wanted != self.active.contains(key.0) || wanted != role.sorter.is_active(key) {
                return Err(format!("{name} should be active: {wanted}"));
            }
            if framework.clients.get(&role.name) != Some(&key) {
                return Err(format!("{name} is not found by its role"));
            }
            if !client.subscribed && client.agents.is_empty() {
                return Err(format!("{name} is tracked for nothing"));
            }
            let mut held = Amounts::default();
            for agent in &client.agents {
                let here = self.agents.get(agent.0).and_then(|agent| agent.held.get(&key));
                let here = here.ok_or_else(|| format!("{name} holds nothing on {agent:?}"))?;
                for entry in &here.resources {
                    if let (Some(id), Some(scalar)) = (self.pool.find(entry.name()), entry.scalar()) {
                        held.add_one(id, u128::from(scalar.thousandths()));
                    }
                }
            }
            if role.sorter.held(key) != Some(&held) {
                return Err(format!("{name} holds something else than its agents say"));
            }
        }
        let n_clients: usize = self.frameworks.iter().map(|(_, framework)| framework.clients.len()).sum();
        let known = |client: usize| self.clients.contains(client);
        let stray = !self.active.iter().all(known)
            || self.fresh.iter().chain(self.woken.iter()).any(|client| !self.active.contains(client));
        if n_clients == self.clients.len() && !stray {
            Ok(())
        } else {
            Err("the tables of clients disagree".to_owned())
        }
    }
}
