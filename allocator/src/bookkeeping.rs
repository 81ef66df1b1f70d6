//! Who is tracked where, and who holds what.

use std::collections::BTreeSet;
use std::sync::Arc;

use api::resources::Resources;
use api::v1::FrameworkInfo;

use crate::Allocator;
use crate::amounts::Amounts;
use crate::frameworks::{Client, Role, min_allocatable};
use crate::keys::{AgentKey, ClientKey, FrameworkKey, RoleKey};
use crate::sorter::Sorter;

impl Allocator {
    /// The client for a role, made if need be; not subscribed, if it was just made.
    pub(crate) fn track(&mut self, framework: FrameworkKey, role: &str) -> ClientKey {
        if let Some(&client) = self.frameworks[framework.0].clients.get(role) {
            return client;
        }
        let role_key = match self.role_keys.get(role) {
            Some(key) => *key,
            None => {
                let name: Arc<str> = role.into();
                let key = RoleKey(self.roles.insert(Role { name: name.clone(), sorter: Sorter::default() }));
                self.role_sorter.add(role, key);
                self.role_keys.insert(name, key);
                self.roles_version += 1;
                key
            }
        };
        let client = ClientKey(self.clients.insert(Client {
            framework,
            role: role_key,
            subscribed: false,
            suppressed: false,
            agents: BTreeSet::new(),
            min_allocatable: None,
        }));
        let framework = &mut self.frameworks[framework.0];
        let role = &mut self.roles[role_key.0];
        role.sorter.add(&framework.id.value, client);
        framework.clients.insert(role.name.clone(), client);
        client
    }

    pub(crate) fn untrack_if_idle(&mut self, client: ClientKey) {
        let state = &self.clients[client.0];
        if !state.subscribed && state.agents.is_empty() {
            self.untrack(client);
        }
    }

    pub(crate) fn untrack(&mut self, client: ClientKey) {
        self.filters.drop_client(client);
        self.active.remove(client.0);
        self.fresh.remove(client.0);
        let state = self.clients.remove(client.0);
        let role = &mut self.roles[state.role.0];
        role.sorter.remove(client);
        self.frameworks[state.framework.0].clients.remove(&role.name);
        if role.sorter.is_empty() {
            self.role_sorter.remove(state.role);
            let role = self.roles.remove(state.role.0);
            self.role_keys.remove(&role.name);
            self.roles_version += 1;
        } else if !role.sorter.has_active() {
            self.role_sorter.deactivate(state.role);
        }
    }

    pub(crate) fn subscribe(
        &mut self,
        framework: FrameworkKey,
        role: &str,
        info: &FrameworkInfo,
        suppressed: bool,
    ) {
        let client = self.track(framework, role);
        let min_allocatable = min_allocatable(info.offer_filters.get(role));
        let state = &mut self.clients[client.0];
        let unsuppressed = state.subscribed && state.suppressed && !suppressed;
        let others_will_do = state.min_allocatable != min_allocatable;
        state.subscribed = true;
        state.suppressed = suppressed;
        state.min_allocatable = min_allocatable;
        if unsuppressed {
            self.filters.drop_client(client);
        }
        self.update_activity(client);
        if others_will_do {
            self.refreshed(client);
        }
    }

    pub(crate) fn revive(&mut self, client: ClientKey) {
        self.clients[client.0].suppressed = false;
        self.filters.drop_client(client);
        self.update_activity(client);
        self.refreshed(client);
    }

    /// The client may want what it was not given before, on any agent.
    pub(crate) fn refreshed(&mut self, client: ClientKey) {
        if self.active.contains(client.0) {
            self.fresh.insert(client.0);
        }
    }

    /// Brings the sorters in line with whether the client is to be offered anything.
    pub(crate) fn update_activity(&mut self, client: ClientKey) {
        let state = &self.clients[client.0];
        let wanted = self.frameworks[state.framework.0].active && state.subscribed && !state.suppressed;
        if wanted == self.active.contains(client.0) {
            return;
        }
        let role = &mut self.roles[state.role.0];
        if wanted {
            role.sorter.activate(client);
            self.role_sorter.activate(state.role);
            self.active.insert(client.0);
            self.fresh.insert(client.0);
        } else {
            role.sorter.deactivate(client);
            if !role.sorter.has_active() {
                self.role_sorter.deactivate(state.role);
            }
            self.active.remove(client.0);
            self.fresh.remove(client.0);
        }
    }

    /// Notes that a framework holds resources, each entry allocated to a role.
    pub(crate) fn hold_all(&mut self, framework: FrameworkKey, agent: AgentKey, resources: &Resources) {
        for (role, part) in resources.allocations() {
            let client = self.track(framework, &role);
            self.hold(client, agent, &part.unallocated());
        }
    }

    /// Notes that a client holds resources of an agent, without mention of a role.
    pub(crate) fn hold(&mut self, client: ClientKey, agent: AgentKey, resources: &Resources) {
        if resources.is_empty() {
            return;
        }
        let amounts = self.amounts(resources);
        let state = &mut self.agents[agent.0];
        *state.held.entry(client).or_default() += resources;
        state.take(resources);
        let client_state = &mut self.clients[client.0];
        client_state.agents.insert(agent);
        self.roles[client_state.role.0].sorter.allocated(client, &amounts);
        self.role_sorter.allocated(client_state.role, &amounts);
    }

    /// Notes that a client gave back resources which it held.
    pub(crate) fn release(&mut self, client: ClientKey, agent: AgentKey, resources: &Resources) {
        let amounts = self.amounts(resources);
        let state = &mut self.agents[agent.0];
        let client_state = &mut self.clients[client.0];
        if let Some(held) = state.held.get_mut(&client) {
            *held -= resources;
            if held.is_empty() {
                state.held.remove(&client);
                client_state.agents.remove(&agent);
            }
        }
        state.put_back(resources);
        self.roles[client_state.role.0].sorter.unallocated(client, &amounts);
        self.role_sorter.unallocated(client_state.role, &amounts);
        self.unsettled.insert(agent.0);
    }

    /// Scalars by number. A name not seen before gets one.
    pub(crate) fn amounts(&mut self, resources: &Resources) -> Amounts {
        let mut amounts = Amounts::default();
        for entry in resources {
            if let Some(scalar) = entry.scalar() {
                amounts.add_one(self.pool.name(entry.name()), u128::from(scalar.thousandths()));
            }
        }
        amounts
    }
}
