//! The allocator's state, and how events change it.
//!
//! What is decided from it is in `cycle.rs`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use api::resources::{Name, Resources};
use api::v1::agent_info::Capability;
use api::v1::{AgentId, AgentInfo, Filters as RefuseFilters, FrameworkId, FrameworkInfo};
use slab::Slab;

use crate::agents::{Agent, Capabilities as AgentCapabilities};
use crate::amounts::{Amounts, Pool};
use crate::bits::Bits;
use crate::filters::{Filters, refusal_duration};
use crate::frameworks::{Capabilities, Client, Framework, Role, min_allocatable, roles_of};
use crate::keys::{AgentKey, ClientKey, FrameworkKey, RoleKey};
use crate::sorter::Sorter;
use crate::{AllocatorError, Options, Time};

type Result<T> = std::result::Result<T, AllocatorError>;

/// Hierarchical dominant resource fairness over agents, frameworks and roles.
///
/// Events are methods. They change state and note which agents deserve a look; [`Allocator::cycle`] then
/// decides who is offered what. There is no clock, no randomness and no output in here but what is passed
/// in and handed back, so a history can be replayed.
#[derive(Clone, Debug)]
pub struct Allocator {
    pub(crate) options: Options,
    pub(crate) pool: Pool,
    pub(crate) agents: Slab<Agent>,
    pub(crate) agent_keys: HashMap<AgentId, AgentKey>,
    pub(crate) frameworks: Slab<Framework>,
    pub(crate) framework_keys: HashMap<FrameworkId, FrameworkKey>,
    pub(crate) clients: Slab<Client>,
    pub(crate) roles: Slab<Role>,
    pub(crate) role_keys: BTreeMap<Arc<str>, RoleKey>,
    pub(crate) roles_version: u64,
    pub(crate) role_sorter: Sorter<RoleKey>,
    pub(crate) filters: Filters,
    /// `None` lets every hostname through.
    pub(crate) whitelist: Option<BTreeSet<String>>,
    pub(crate) paused: bool,
    pub(crate) candidates: Candidates,
    /// Agents about which a look might find something new. Only these are looked at, candidates or not.
    pub(crate) unsettled: Bits,
    /// Clients that may be offered something.
    pub(crate) active: Bits,
    /// Active clients which some agents have not been looked at for since they became active or easier to
    /// please: what agents remember of them does not count.
    pub(crate) fresh: Bits,
    /// Where frameworks hold something that the allocator does not know.
    pub(crate) stranger_agents: BTreeMap<FrameworkId, BTreeSet<AgentKey>>,
}

/// The agents the next cycle is for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Candidates {
    pub(crate) all: bool,
    pub(crate) some: Bits,
}

impl Allocator {
    /// An allocator of an empty cluster.
    pub fn new(options: Options) -> Allocator {
        Allocator {
            pool: Pool::new(&options.fair_sharing_excluded_resource_names),
            options,
            agents: Slab::new(),
            agent_keys: HashMap::new(),
            frameworks: Slab::new(),
            framework_keys: HashMap::new(),
            clients: Slab::new(),
            roles: Slab::new(),
            role_keys: BTreeMap::new(),
            roles_version: 0,
            role_sorter: Sorter::default(),
            filters: Filters::default(),
            whitelist: None,
            paused: false,
            candidates: Candidates::default(),
            unsettled: Bits::default(),
            active: Bits::default(),
            fresh: Bits::default(),
            stranger_agents: BTreeMap::new(),
        }
    }

    /// How this allocator was told to behave.
    pub fn options(&self) -> &Options {
        &self.options
    }

    // --- Frameworks ------------------------------------------------------------------------------------

    /// Adds a framework under each of its roles; in `suppressed_roles` it is offered nothing until revived.
    ///
    /// `used` is what it already holds, each entry allocated to a role, as after a failover of the master.
    /// Agents not added yet bring it along themselves. Resources an agent came with count once.
    /// If the framework is active, all agents become candidates.
    pub fn add_framework(
        &mut self,
        id: &FrameworkId,
        info: &FrameworkInfo,
        used: &[(AgentId, Resources)],
        active: bool,
        suppressed_roles: &BTreeSet<String>,
    ) -> Result<()> {
        if self.framework_keys.contains_key(id) {
            return Err(AllocatorError::KnownFramework(id.value.clone()));
        }
        if matches!(&*id.value, "" | ".") || id.value.contains('/') {
            return Err(AllocatorError::InvalidFrameworkId(id.value.clone()));
        }
        let roles = roles_of(info);
        roles.iter().try_for_each(|role| check_role(role))?;
        for (agent_id, resources) in used {
            check_allocated(id, agent_id, resources)?;
        }
        let key = FrameworkKey(self.frameworks.insert(Framework {
            id: id.clone(),
            active,
            capabilities: Capabilities::of(&info.capabilities),
            clients: BTreeMap::new(),
        }));
        self.framework_keys.insert(id.clone(), key);
        for role in roles {
            self.subscribe(key, role, info, suppressed_roles.contains(role));
        }
        let claimed = self.stranger_agents.remove(id).unwrap_or_default();
        for &agent in &claimed {
            if let Some(held) = self.agents[agent.0].strangers.remove(id) {
                self.agents[agent.0].put_back(&held.clone().unallocated());
                self.hold_all(key, agent, &held);
            }
        }
        for (agent_id, resources) in used {
            if let Some(&agent) = self.agent_keys.get(agent_id)
                && !claimed.contains(&agent)
            {
                self.hold_all(key, agent, resources);
            }
        }
        if active {
            self.consider_all_agents();
        }
        Ok(())
    }

    /// Forgets a framework; whatever it holds is free again.
    pub fn remove_framework(&mut self, id: &FrameworkId) -> Result<()> {
        let key = self.framework(id)?;
        for client in self.clients_of(key) {
            for agent in self.clients[client.0].agents.clone() {
                if let Some(held) = self.agents[agent.0].held.get(&client).cloned() {
                    self.release(client, agent, &held);
                }
            }
            self.untrack(client);
        }
        self.frameworks.remove(key.0);
        self.framework_keys.remove(id);
        Ok(())
    }

    /// Offers may go to the framework again. All agents become candidates.
    pub fn activate_framework(&mut self, id: &FrameworkId) -> Result<()> {
        let key = self.framework(id)?;
        self.frameworks[key.0].active = true;
        self.clients_of(key).into_iter().for_each(|client| self.update_activity(client));
        self.consider_all_agents();
        Ok(())
    }

    /// No more offers to the framework. What it refused is forgotten: it may come back as somebody else.
    pub fn deactivate_framework(&mut self, id: &FrameworkId) -> Result<()> {
        let key = self.framework(id)?;
        self.frameworks[key.0].active = false;
        for client in self.clients_of(key) {
            self.update_activity(client);
            self.filters.drop_client(client);
        }
        Ok(())
    }

    /// Replaces what the framework says of itself, and which of its roles are suppressed.
    ///
    /// In a role it left it keeps what it holds there, and is tracked until it has given that back.
    pub fn update_framework(
        &mut self,
        id: &FrameworkId,
        info: &FrameworkInfo,
        suppressed_roles: &BTreeSet<String>,
    ) -> Result<()> {
        let key = self.framework(id)?;
        let roles = roles_of(info);
        roles.iter().try_for_each(|role| check_role(role))?;
        let capabilities = Capabilities::of(&info.capabilities);
        if self.frameworks[key.0].capabilities != capabilities {
            self.frameworks[key.0].capabilities = capabilities;
            for client in self.clients_of(key) {
                self.refreshed(client);
            }
        }
        for client in self.clients_of(key) {
            let role = self.role_of(client).name.clone();
            if !roles.contains(&*role) && self.clients[client.0].subscribed {
                self.clients[client.0].subscribed = false;
                self.update_activity(client);
                self.filters.drop_client(client);
                self.untrack_if_idle(client);
            }
        }
        for role in roles {
            self.subscribe(key, role, info, suppressed_roles.contains(role));
        }
        Ok(())
    }

    /// No offers to the framework in these roles, in all of its roles if there are none, until it revives them.
    /// What it refused stays refused.
    pub fn suppress_offers(&mut self, id: &FrameworkId, roles: &BTreeSet<String>) -> Result<()> {
        for client in self.subscribed_clients(id, roles)? {
            self.clients[client.0].suppressed = true;
            self.update_activity(client);
        }
        Ok(())
    }

    /// Offers to the framework in these roles again, in all of its roles if there are none, and forgets what
    /// it refused in them. All agents become candidates.
    pub fn revive_offers(&mut self, id: &FrameworkId, roles: &BTreeSet<String>) -> Result<()> {
        for client in self.subscribed_clients(id, roles)? {
            self.revive(client);
        }
        self.consider_all_agents();
        Ok(())
    }

    // --- Agents ----------------------------------------------------------------------------------------

    /// Adds an agent, active. It becomes a candidate.
    ///
    /// `used` is what frameworks hold of it, each entry allocated to a role; frameworks may be added later.
    pub fn add_agent(
        &mut self,
        id: &AgentId,
        info: &AgentInfo,
        capabilities: &[Capability],
        total: Resources,
        used: &[(FrameworkId, Resources)],
    ) -> Result<()> {
        if self.agent_keys.contains_key(id) {
            return Err(AllocatorError::KnownAgent(id.value.clone()));
        }
        for (framework_id, resources) in used {
            check_allocated(framework_id, id, resources)?;
        }
        let amounts = self.amounts(&total);
        self.pool.grow(&amounts);
        let agent = AgentKey(self.agents.insert(Agent::new(id.clone(), info, capabilities, total, amounts)));
        self.agent_keys.insert(id.clone(), agent);
        for (framework_id, resources) in used.iter().filter(|(_, resources)| !resources.is_empty()) {
            match self.framework_keys.get(framework_id) {
                Some(&framework) => self.hold_all(framework, agent, resources),
                None => {
                    let state = &mut self.agents[agent.0];
                    *state.strangers.entry(framework_id.clone()).or_default() += resources;
                    state.take(&resources.clone().unallocated());
                    self.stranger_agents.entry(framework_id.clone()).or_default().insert(agent);
                }
            }
        }
        self.unsettled.insert(agent.0);
        self.consider(agent);
        Ok(())
    }

    /// Forgets an agent, what frameworks hold of it, and what they refused of it.
    pub fn remove_agent(&mut self, id: &AgentId) -> Result<()> {
        let agent = self.agent(id)?;
        for (client, held) in self.agents[agent.0].held.clone() {
            self.release(client, agent, &held);
            self.untrack_if_idle(client);
        }
        self.filters.drop_agent(agent);
        let state = self.agents.remove(agent.0);
        for framework_id in state.strangers.keys() {
            self.forget_stranger(framework_id, agent);
        }
        self.pool.shrink(&state.amounts);
        self.agent_keys.remove(id);
        self.unsettled.remove(agent.0);
        self.candidates.some.remove(agent.0);
        Ok(())
    }

    /// Replaces what is known of an agent; `None` leaves a part as it is. It becomes a candidate if that
    /// changed anything. When its attributes change, everything that was refused of it is forgotten.
    pub fn update_agent(
        &mut self,
        id: &AgentId,
        info: &AgentInfo,
        total: Option<Resources>,
        capabilities: Option<&[Capability]>,
    ) -> Result<()> {
        let agent = self.agent(id)?;
        let state = &mut self.agents[agent.0];
        let mut changed = false;
        if state.attributes != info.attributes {
            state.attributes = info.attributes.clone();
            self.filters.drop_agent(agent);
            changed = true;
        }
        if state.hostname != info.hostname {
            state.hostname = info.hostname.clone();
            changed = true;
        }
        if let Some(capabilities) = capabilities.map(AgentCapabilities::of)
            && capabilities != state.capabilities
        {
            state.capabilities = capabilities;
            changed = true;
        }
        if let Some(total) = total.filter(|total| *total != state.total) {
            let amounts = self.amounts(&total);
            let state = &mut self.agents[agent.0];
            self.pool.shrink(&state.amounts);
            self.pool.grow(&amounts);
            state.set_total(total, amounts);
            changed = true;
        }
        if changed {
            self.reconsider(agent);
            self.consider(agent);
        }
        Ok(())
    }

    /// The agent's resources may be offered again, from the next cycle that looks at it.
    pub fn activate_agent(&mut self, id: &AgentId) -> Result<()> {
        let agent = self.agent(id)?;
        self.agents[agent.0].active = true;
        self.unsettled.insert(agent.0);
        Ok(())
    }

    /// Nothing of the agent is offered any more.
    pub fn deactivate_agent(&mut self, id: &AgentId) -> Result<()> {
        let agent = self.agent(id)?;
        self.agents[agent.0].active = false;
        Ok(())
    }

    /// Offers only agents of these hostnames; `None` is all of them, an empty set none.
    pub fn update_whitelist(&mut self, hostnames: Option<BTreeSet<String>>) {
        self.whitelist = hostnames;
        for (agent, _) in self.agents.iter() {
            self.unsettled.insert(agent);
        }
    }

    // --- Resources -------------------------------------------------------------------------------------

    /// Takes back what a framework held on an agent, each entry allocated to the role it was held in.
    ///
    /// With `filters` they are kept away from it, in that role, for the time these say; without, they are
    /// not. No agent becomes a candidate: what comes back piecemeal is offered together at the next interval.
    /// A framework or agent that is gone took everything with it, so that is no error.
    pub fn recover_resources(
        &mut self,
        now: Time,
        framework_id: &FrameworkId,
        agent_id: &AgentId,
        resources: &Resources,
        filters: Option<&RefuseFilters>,
    ) -> Result<()> {
        let Some(&agent) = self.agent_keys.get(agent_id) else { return Ok(()) };
        check_allocated(framework_id, agent_id, resources)?;
        let not_held = |role: &str| AllocatorError::NotHeld {
            framework_id: framework_id.value.clone(),
            agent_id: agent_id.value.clone(),
            role: role.to_owned(),
            resources: resources.clone(),
        };
        let Some(&framework) = self.framework_keys.get(framework_id) else {
            return self.recover_from_stranger(framework_id, agent, resources, not_held);
        };
        let mut parts = Vec::new();
        for (role, part) in resources.allocations() {
            let part = part.unallocated();
            let client = self.frameworks[framework.0].clients.get(role.as_str()).copied();
            let held = client.and_then(|client| self.agents[agent.0].held.get(&client));
            match client {
                Some(client) if held.is_some_and(|held| held.contains(&part)) => parts.push((client, part)),
                _ => return Err(not_held(&role)),
            }
        }
        let refuse_seconds = filters.map(RefuseFilters::refuse_seconds);
        let refusal = refuse_seconds.and_then(|it| refusal_duration(it, self.options.allocation_interval));
        for (client, part) in parts {
            self.release(client, agent, &part);
            if let Some(duration) = refusal
                && self.active.contains(client.0)
            {
                let part = self.filters.share(agent, part);
                self.filters.refuse(client, agent, part, now + duration);
            }
            self.untrack_if_idle(client);
        }
        Ok(())
    }

    fn recover_from_stranger(
        &mut self,
        framework_id: &FrameworkId,
        agent: AgentKey,
        resources: &Resources,
        not_held: impl Fn(&str) -> AllocatorError,
    ) -> Result<()> {
        let state = &mut self.agents[agent.0];
        let Some(held) = state.strangers.get_mut(framework_id) else { return Ok(()) };
        if !held.contains(resources) {
            return Err(not_held(resources.allocation_role().unwrap_or("*")));
        }
        *held -= resources;
        let nothing_left = held.is_empty();
        if nothing_left {
            state.strangers.remove(framework_id);
        }
        state.put_back(&resources.clone().unallocated());
        self.unsettled.insert(agent.0);
        if nothing_left {
            self.forget_stranger(framework_id, agent);
        }
        Ok(())
    }

    fn forget_stranger(&mut self, framework_id: &FrameworkId, agent: AgentKey) {
        if let Some(agents) = self.stranger_agents.get_mut(framework_id) {
            agents.remove(&agent);
            if agents.is_empty() {
                self.stranger_agents.remove(framework_id);
            }
        }
    }

    // --- The rest --------------------------------------------------------------------------------------

    /// Sets weights of roles, whether there are such roles yet or not. All are checked before any is set.
    pub fn update_weights<'a>(&mut self, weights: impl IntoIterator<Item = (&'a str, f64)>) -> Result<()> {
        let weights: Vec<(&str, f64)> = weights.into_iter().collect();
        for &(role, weight) in &weights {
            check_role(role)?;
            if !(weight.is_finite() && weight > 0.0) {
                return Err(AllocatorError::InvalidWeight { role: role.to_owned(), weight });
            }
        }
        for (role, weight) in weights {
            self.role_sorter.set_weight(role, weight);
        }
        Ok(())
    }

    /// Cycles do nothing until [`Allocator::resume`]. Pausing twice is pausing once.
    pub fn pause(&mut self) {
        self.paused = true;
    }

    /// Ends a pause. What became a candidate meanwhile still is one.
    pub fn resume(&mut self) {
        self.paused = false;
    }

    /// Makes all agents candidates, as every allocation interval does.
    pub fn consider_all_agents(&mut self) {
        self.candidates.all = true;
    }

    /// Whether there are candidates, so that a cycle should be run.
    pub fn is_due(&self) -> bool {
        !self.paused && (self.candidates.all || !self.candidates.some.is_empty())
    }

    fn consider(&mut self, agent: AgentKey) {
        self.candidates.some.insert(agent.0);
    }

    /// What the agent remembers of refusals by its clients does not hold any more.
    fn reconsider(&mut self, agent: AgentKey) {
        self.agents[agent.0].declined.clear();
        self.unsettled.insert(agent.0);
    }

    // --- Bookkeeping -----------------------------------------------------------------------------------

    fn framework(&self, id: &FrameworkId) -> Result<FrameworkKey> {
        self.framework_keys.get(id).copied().ok_or_else(|| AllocatorError::UnknownFramework(id.value.clone()))
    }

    fn agent(&self, id: &AgentId) -> Result<AgentKey> {
        self.agent_keys.get(id).copied().ok_or_else(|| AllocatorError::UnknownAgent(id.value.clone()))
    }

    fn clients_of(&self, framework: FrameworkKey) -> Vec<ClientKey> {
        self.frameworks[framework.0].clients.values().copied().collect()
    }

    fn role_of(&self, client: ClientKey) -> &Role {
        &self.roles[self.clients[client.0].role.0]
    }

    /// The framework's clients of those roles it is subscribed to; of all of them if `roles` is empty.
    fn subscribed_clients(&self, id: &FrameworkId, roles: &BTreeSet<String>) -> Result<Vec<ClientKey>> {
        let framework = &self.frameworks[self.framework(id)?.0];
        let wanted = framework.clients.iter().filter(|(role, client)| {
            self.clients[client.0].subscribed && (roles.is_empty() || roles.contains(&***role))
        });
        Ok(wanted.map(|(_, client)| *client).collect())
    }

    /// Scalars by number. A name not seen before gets one.
    fn amounts(&mut self, resources: &Resources) -> Amounts {
        let mut amounts = Amounts::default();
        for entry in resources {
            if let Some(scalar) = entry.scalar() {
                amounts.add_one(self.pool.name(entry.name()), u128::from(scalar.thousandths()));
            }
        }
        amounts
    }

    /// The client for a role, made if need be; not subscribed, if it was just made.
    fn track(&mut self, framework: FrameworkKey, role: &str) -> ClientKey {
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

    fn untrack_if_idle(&mut self, client: ClientKey) {
        let state = &self.clients[client.0];
        if !state.subscribed && state.agents.is_empty() {
            self.untrack(client);
        }
    }

    fn untrack(&mut self, client: ClientKey) {
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

    fn subscribe(&mut self, framework: FrameworkKey, role: &str, info: &FrameworkInfo, suppressed: bool) {
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

    fn revive(&mut self, client: ClientKey) {
        self.clients[client.0].suppressed = false;
        self.filters.drop_client(client);
        self.update_activity(client);
        self.refreshed(client);
    }

    /// The client may want what it was not given before, on any agent.
    fn refreshed(&mut self, client: ClientKey) {
        if self.active.contains(client.0) {
            self.fresh.insert(client.0);
        }
    }

    /// Brings the sorters in line with whether the client is to be offered anything.
    fn update_activity(&mut self, client: ClientKey) {
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
    fn hold_all(&mut self, framework: FrameworkKey, agent: AgentKey, resources: &Resources) {
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
    fn release(&mut self, client: ClientKey, agent: AgentKey, resources: &Resources) {
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

    // --- For those who watch ---------------------------------------------------------------------------

    /// How much of a scalar resource all agents have, in its own unit.
    pub fn total(&self, name: &Name) -> f64 {
        self.pool.find(name).map_or(0.0, |id| self.pool.total(id) as f64 / 1000.0)
    }

    /// How much of a scalar resource known frameworks hold or are offered, in its own unit.
    pub fn offered_or_allocated(&self, name: &Name) -> f64 {
        let held = self.role_sorter.held_by_all();
        self.pool.find(name).map_or(0.0, |id| held.get(id) as f64 / 1000.0)
    }

    /// The roles in which some framework is subscribed or holds something.
    pub fn roles(&self) -> impl Iterator<Item = &str> {
        self.role_keys.keys().map(|role| &**role)
    }

    /// Changes when a role comes or goes.
    pub fn roles_version(&self) -> u64 {
        self.roles_version
    }

    /// The dominant share of a role and all below it, divided by its weight: what decides whose turn it is.
    pub fn weighted_share(&self, role: &str) -> Option<f64> {
        self.role_sorter.weighted_share(role, &self.pool)
    }

    /// For how many pairs of framework and agent something is refused in a role.
    pub fn n_refusals(&self, role: &str) -> Option<usize> {
        let role = &self.roles[self.role_keys.get(role)?.0];
        Some(role.sorter.clients().map(|client| self.filters.n_of_client(client)).sum())
    }
}

fn check_role(role: &str) -> Result<()> {
    match role.split('/').any(|name| name.is_empty() || name == ".") {
        true => Err(AllocatorError::InvalidRole { role: role.to_owned() }),
        false => Ok(()),
    }
}

/// Held resources have to say in which role, and it has to be one.
fn check_allocated(framework_id: &FrameworkId, agent_id: &AgentId, resources: &Resources) -> Result<()> {
    resources.iter().try_for_each(|entry| match entry.allocated_to() {
        Some(role) => check_role(role),
        None => Err(AllocatorError::NotAllocated {
            framework_id: framework_id.value.clone(),
            agent_id: agent_id.value.clone(),
            resources: resources.clone(),
        }),
    })
}
