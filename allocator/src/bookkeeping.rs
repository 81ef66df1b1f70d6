//! Who is tracked where, and who holds what.

use std::collections::BTreeSet;
use std::sync::Arc;

use api::resources::{Entry, Resources};
use api::v1::FrameworkInfo;

use crate::Allocator;
use crate::amounts::{Amounts, Pool};
use crate::candidate::plain_amounts;
use crate::frameworks::{Client, Role, min_allocatable, top_level};
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
                let key = RoleKey(self.roles.insert(Role {
                    quota: self.ledger.key(top_level(&name)),
                    name: name.clone(),
                    sorter: Sorter::new(self.options.sorter),
                    held: Amounts::default(),
                    allocated: Amounts::default(),
                }));
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
            parked: false,
            fresh_when_unparked: false,
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
        self.woken.remove(client.0);
        let state = self.clients.remove(client.0);
        self.own_minimums.remove(client.0);
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
        match min_allocatable {
            Some(_) => self.own_minimums.insert(client.0),
            None => self.own_minimums.remove(client.0),
        }
        state.subscribed = true;
        state.suppressed = suppressed;
        state.min_allocatable = min_allocatable;
        if unsuppressed {
            self.filters.drop_client(client);
            self.inverse_filters.drop_framework(framework);
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

    /// Brings the sorters in line with whether the client is to be offered anything.
    pub(crate) fn update_activity(&mut self, client: ClientKey) {
        let state = &self.clients[client.0];
        let framework = &self.frameworks[state.framework.0];
        let wants = framework.active && state.subscribed && !state.suppressed;
        let role = &self.roles[state.role.0];
        let exhausted = role.quota.is_some_and(|key| self.ledger.accounts[key.0].exhausted);
        let parked = wants
            && exhausted
            && state.min_allocatable.is_none()
            && !framework.capabilities.revocable_resources;
        let was_active = self.active.contains(client.0);
        let was_parked = std::mem::replace(&mut self.clients[client.0].parked, parked);
        if parked && !was_parked {
            self.clients[client.0].fresh_when_unparked = !was_active || self.fresh.contains(client.0);
        }
        let wanted = wants && !parked;
        if wanted == was_active {
            return;
        }
        let state = &self.clients[client.0];
        let role = &mut self.roles[state.role.0];
        if wanted {
            role.sorter.activate(client);
            self.role_sorter.activate(state.role);
            self.active.insert(client.0);
            if was_parked && !state.fresh_when_unparked {
                self.woken.insert(client.0)
            } else {
                self.fresh.insert(client.0)
            }
        } else {
            role.sorter.deactivate(client);
            if !role.sorter.has_active() {
                self.role_sorter.deactivate(state.role);
            }
            self.active.remove(client.0);
            self.fresh.remove(client.0);
            self.woken.remove(client.0);
        }
    }

    /// Notes that a framework uses resources, each entry allocated to a role.
    pub(crate) fn hold_all(&mut self, framework: FrameworkKey, agent: AgentKey, resources: &Resources) {
        for (role, part) in resources.allocations() {
            let client = self.track(framework, &role);
            let part = part.unallocated();
            // What somebody had all along now counts for a guarantee, and leaves as much free: headroom grows.
            let quota = self.roles[self.clients[client.0].role.0].quota;
            self.ledger.grew |= quota.is_some_and(|key| self.ledger.unsatisfied.contains(key.0));
            self.hold(client, agent, &part);
            self.note_allocated(client, agent, &part);
        }
        // Without the cpus that the headroom held back, what is left is no scrap any more.
        self.unsettled.insert(agent.0);
    }

    /// Notes that a client holds resources of an agent, without mention of a role.
    pub(crate) fn hold(&mut self, client: ClientKey, agent: AgentKey, resources: &Resources) {
        if resources.is_empty() {
            return;
        }
        let amounts = self.counted(client, agent, resources);
        let of_role = self.counted_for_role(client, agent, resources, &amounts);
        let plain = self.plain(resources, &amounts);
        let state = &mut self.agents[agent.0];
        state.held.entry(client).or_default().resources += resources;
        state.take(resources);
        let client_state = &mut self.clients[client.0];
        client_state.agents.insert(agent);
        let role = client_state.role;
        self.roles[role.0].sorter.allocated(client, &amounts);
        self.role_sorter.allocated(role, of_role.as_ref().unwrap_or(&amounts));
        self.roles[role.0].held.add(&plain);
        self.consume(role, &plain);
        self.refresh_free(agent);
    }

    /// Notes that a client gave back resources which it held; `allocated` if it used them, rather than just
    /// being offered them, and `None` if that is not known of each.
    pub(crate) fn release(
        &mut self,
        client: ClientKey,
        agent: AgentKey,
        resources: &Resources,
        allocated: Option<bool>,
    ) {
        let state = &mut self.agents[agent.0];
        let mut used = Amounts::default();
        if let Some(held) = state.held.get_mut(&client) {
            held.resources -= resources;
            used = match allocated {
                Some(true) => plain_amounts(resources, &self.pool),
                Some(false) => Amounts::default(),
                None => held.allocated.clone(),
            };
            used = smaller(&used, &held.allocated);
            held.allocated.subtract(&used);
            if held.resources.is_empty() {
                used.add(&held.allocated);
                state.held.remove(&client);
                self.clients[client.0].agents.remove(&agent);
            }
        }
        state.put_back(resources);
        let amounts = self.counted(client, agent, resources);
        let of_role = self.counted_for_role(client, agent, resources, &amounts);
        let plain = self.plain(resources, &amounts);
        let role = self.clients[client.0].role;
        self.roles[role.0].sorter.unallocated(client, &amounts);
        self.role_sorter.unallocated(role, of_role.as_ref().unwrap_or(&amounts));
        self.roles[role.0].held.subtract(&plain);
        self.roles[role.0].allocated.subtract(&used);
        self.unconsume(role, &plain);
        self.refresh_free(agent);
        self.unsettled.insert(agent.0);
    }

    /// Notes that a client uses resources which it holds.
    pub(crate) fn note_allocated(&mut self, client: ClientKey, agent: AgentKey, resources: &Resources) {
        let plain = plain_amounts(resources, &self.pool);
        if let Some(held) = self.agents[agent.0].held.get_mut(&client) {
            held.allocated.add(&plain);
            let role = self.clients[client.0].role;
            self.roles[role.0].allocated.add(&plain);
        }
    }

    /// Scalars by number. A name not seen before gets one.
    pub(crate) fn amounts(&mut self, resources: &Resources) -> Amounts {
        amounts(&mut self.pool, resources)
    }

    /// What shares count of resources that are not, or no more, among those a client holds on an agent: what is
    /// shared counts once, however many copies it holds.
    pub(crate) fn counted(&mut self, client: ClientKey, agent: AgentKey, resources: &Resources) -> Amounts {
        if !resources.iter().any(Entry::is_shared) {
            return self.amounts(resources);
        }
        let held = self.agents[agent.0].held.get(&client);
        let new = |entry: &&Entry| {
            !entry.is_shared() || held.is_none_or(|held| !held.resources.intersects_entry(entry))
        };
        amounts(&mut self.pool, resources.iter().filter(new))
    }

    /// What the share of the client's role counts, if that is not `counted` too: what is shared counts once for all
    /// frameworks of a role.
    pub(crate) fn counted_for_role(
        &self,
        client: ClientKey,
        agent: AgentKey,
        resources: &Resources,
        counted: &Amounts,
    ) -> Option<Amounts> {
        if !resources.iter().any(Entry::is_shared) {
            return None;
        }
        let held = &self.agents[agent.0].held;
        let own = held.get(&client);
        let role = self.clients[client.0].role;
        let others = || held.iter().filter(|(it, _)| **it != client && self.clients[it.0].role == role);
        let mut of_role = counted.clone();
        for entry in resources.iter().filter(|entry| entry.is_shared()) {
            let is_counted = own.is_none_or(|held| !held.resources.intersects_entry(entry));
            if is_counted && others().any(|(_, held)| held.resources.intersects_entry(entry)) {
                of_role.subtract(&amount_of(&self.pool, entry));
            }
        }
        Some(of_role)
    }

    /// What quota counts, given what shares count: the same if all is plain.
    fn plain(&self, resources: &Resources, counted: &Amounts) -> Amounts {
        if resources.iter().any(|entry| entry.is_reserved() || entry.is_revocable()) {
            plain_amounts(resources, &self.pool)
        } else {
            counted.clone()
        }
    }
}

/// The amount of one entry whose name is known.
fn amount_of(pool: &Pool, entry: &Entry) -> Amounts {
    let mut amounts = Amounts::default();
    if let (Some(id), Some(scalar)) = (pool.find(entry.name()), entry.scalar()) {
        amounts.add_one(id, u128::from(scalar.thousandths()));
    }
    amounts
}

fn amounts<'e>(pool: &mut Pool, entries: impl IntoIterator<Item = &'e Entry>) -> Amounts {
    let mut amounts = Amounts::default();
    for entry in entries {
        if let Some(scalar) = entry.scalar() {
            amounts.add_one(pool.name(entry.name()), u128::from(scalar.thousandths()));
        }
    }
    amounts
}

/// The smaller amount of each resource.
fn smaller(left: &Amounts, right: &Amounts) -> Amounts {
    let mut smaller = Amounts::default();
    left.iter().for_each(|(name, amount)| smaller.add_one(name, amount.min(right.get(name))));
    smaller
}
