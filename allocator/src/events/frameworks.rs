//! Frameworks come, change and go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use api::resources::Resources;
use api::v1::{AgentId, FrameworkId, FrameworkInfo};

use super::{Result, check_allocated, check_role};
use crate::frameworks::{Capabilities, Framework, roles_of};
use crate::keys::{ClientKey, FrameworkKey};
use crate::{Allocator, AllocatorError, FrameworkOptions};

impl Allocator {
    /// Adds a framework under each of its roles; in those suppressed it is offered nothing until revived.
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
        options: &FrameworkOptions,
    ) -> Result<()> {
        if self.framework_keys.contains_key(id) {
            return Err(AllocatorError::KnownFramework(id.to_string()));
        }
        if matches!(&*id.value, "" | ".") || id.value.contains('/') {
            return Err(AllocatorError::InvalidFrameworkId(id.to_string()));
        }
        let roles = roles_of(info);
        roles.iter().try_for_each(|role| check_role(role))?;
        for (agent_id, resources) in used {
            check_allocated(id, agent_id, resources)?;
        }
        self.forget_unused_names();
        let key = FrameworkKey(self.frameworks.insert(Framework {
            id: id.clone(),
            active,
            capabilities: Capabilities::of(&info.capabilities),
            constraints: options.constraints.clone(),
            clients: BTreeMap::new(),
        }));
        self.framework_keys.insert(id.clone(), key);
        for role in roles {
            self.subscribe(key, role, info, options.suppressed_roles.contains(role));
        }
        let claimed = self.stranger_agents.remove(id).unwrap_or_default();
        for &agent in &claimed {
            if let Some(held) = self.agents[agent.0].strangers.remove(id) {
                self.agents[agent.0].put_back(&held.clone().unallocated());
                self.refresh_free(agent);
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
                    self.release(client, agent, &held.resources, None);
                }
            }
            self.untrack(client);
        }
        self.forget_inverse_offers(key, id);
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
        self.inverse_filters.drop_framework(key);
        for client in self.clients_of(key) {
            self.update_activity(client);
            self.filters.drop_client(client);
        }
        Ok(())
    }

    /// Replaces what the framework says of itself, which of its roles are suppressed, and its constraints.
    ///
    /// In a role it left it keeps what it holds there, and is tracked until it has given that back.
    pub fn update_framework(
        &mut self,
        id: &FrameworkId,
        info: &FrameworkInfo,
        options: &FrameworkOptions,
    ) -> Result<()> {
        let key = self.framework(id)?;
        let roles = roles_of(info);
        roles.iter().try_for_each(|role| check_role(role))?;
        let capabilities = Capabilities::of(&info.capabilities);
        let framework = &mut self.frameworks[key.0];
        let same_constraints = Arc::ptr_eq(&framework.constraints, &options.constraints)
            || (framework.constraints.is_empty() && options.constraints.is_empty());
        framework.constraints = options.constraints.clone();
        if framework.capabilities != capabilities || !same_constraints {
            framework.capabilities = capabilities;
            for client in self.clients_of(key) {
                self.update_activity(client);
                self.refreshed(client);
            }
        }
        for client in self.clients_of(key) {
            let role = self.roles[self.clients[client.0].role.0].name.clone();
            if !roles.contains(&*role) && self.clients[client.0].subscribed {
                self.clients[client.0].subscribed = false;
                self.update_activity(client);
                self.filters.drop_client(client);
                self.untrack_if_idle(client);
            }
        }
        for role in roles {
            self.subscribe(key, role, info, options.suppressed_roles.contains(role));
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
        self.inverse_filters.drop_framework(self.framework(id)?);
        self.consider_all_agents();
        Ok(())
    }

    pub(crate) fn framework(&self, id: &FrameworkId) -> Result<FrameworkKey> {
        self.framework_keys.get(id).copied().ok_or_else(|| AllocatorError::UnknownFramework(id.to_string()))
    }

    fn clients_of(&self, framework: FrameworkKey) -> Vec<ClientKey> {
        self.frameworks[framework.0].clients.values().copied().collect()
    }

    /// The framework's clients of those roles it is subscribed to; of all of them if `roles` is empty.
    fn subscribed_clients(&self, id: &FrameworkId, roles: &BTreeSet<String>) -> Result<Vec<ClientKey>> {
        let framework = &self.frameworks[self.framework(id)?.0];
        let wanted = framework.clients.iter().filter(|(role, client)| {
            self.clients[client.0].subscribed && (roles.is_empty() || roles.contains(&***role))
        });
        Ok(wanted.map(|(_, client)| *client).collect())
    }
}
