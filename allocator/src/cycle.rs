//! One round of deciding who is offered what.
//!
//! ```text
//! for each candidate agent, in an order drawn anew:
//!     for each role, the one with the smallest share first:
//!         for each of its frameworks, the one with the smallest share first:
//!             offer it everything on the agent that it may have and has not refused
//! ```
//!
//! Whatever is left on an agent goes to the first who may have it; fairness comes from many agents, many
//! cycles, and from frameworks declining what they do not need.
//!
//! **Cost.** Only *unsettled* agents are looked at. Looking settles an agent: everyone was asked, and an
//! answer of "no" to some resources is a "no" to fewer of them, so that only an event can change it. An agent
//! also remembers who said no, so that one event there does not ask everyone again; see
//! [`Agent::declined`](crate::agents::Agent).

use std::borrow::Cow;
use std::collections::BTreeMap;

use api::resources::{Entry, Resources};
use rand::Rng;

use crate::agents::Agent;
use crate::allocation::{AgentAllocation, Allocation, FrameworkAllocation};
use crate::frameworks::{Client, Framework, Role};
use crate::keys::{AgentKey, ClientKey, FrameworkKey};
use crate::{Allocator, Options, Time};

impl Allocator {
    /// Decides what to offer from the candidates, and counts it as held. Does nothing while paused.
    ///
    /// `rng` draws a seed for the order of agents, see [`order_key`](crate::order_key). Refusals that ended before `now` are forgotten first.
    pub fn cycle(&mut self, now: Time, rng: &mut impl Rng) -> Allocation {
        if self.paused {
            return Allocation::default();
        }
        self.expire_refusals(now);
        let seed = rng.next_u64();
        let mut agents = self.take_candidates();
        agents.sort_by_cached_key(|agent| self.agents[agent.0].order_in(seed));
        let mut allocation = Allocation::default();
        let mut places: BTreeMap<FrameworkKey, usize> = BTreeMap::new();
        for agent in agents {
            self.unsettled.remove(agent.0);
            for (client, resources) in self.choose(agent) {
                self.hold(client, agent, &resources);
                let client = &self.clients[client.0];
                let place = *places.entry(client.framework).or_insert_with(|| {
                    let framework_id = self.frameworks[client.framework.0].id.clone();
                    allocation.frameworks.push(FrameworkAllocation { framework_id, offers: Vec::new() });
                    allocation.frameworks.len() - 1
                });
                let role = self.roles[client.role.0].name.clone();
                allocation.frameworks[place].offers.push(AgentAllocation {
                    agent_id: self.agents[agent.0].id.clone(),
                    role: role.to_string(),
                    resources: resources.allocated(role),
                });
            }
        }
        allocation
    }

    fn expire_refusals(&mut self, now: Time) {
        for (client, agent) in self.filters.expire(now) {
            self.agents[agent.0].declined.remove(client.0);
            self.unsettled.insert(agent.0);
        }
    }

    /// The agents to look at, which are candidates no more.
    fn take_candidates(&mut self) -> Vec<AgentKey> {
        let candidates = std::mem::take(&mut self.candidates);
        if !candidates.all {
            return candidates
                .some
                .iter()
                .filter(|agent| self.unsettled.contains(*agent))
                .map(AgentKey)
                .collect();
        }
        if !self.fresh.is_empty() {
            for (agent, state) in &mut self.agents {
                state.declined.subtract(&self.fresh);
                if !state.available.is_empty() {
                    self.unsettled.insert(agent);
                }
            }
            self.fresh.clear();
        }
        self.unsettled.iter().map(AgentKey).collect()
    }

    /// Who gets what of an agent's free resources, decided but not yet done.
    ///
    /// What one client is given changes neither the order of the roles, which is that of the start, nor the
    /// order within another role; so everything can be decided before anything is counted.
    fn choose(&mut self, agent: AgentKey) -> Vec<(ClientKey, Resources)> {
        let state = &mut self.agents[agent.0];
        let hidden = self.whitelist.as_ref().is_some_and(|whitelist| !whitelist.contains(&state.hostname));
        if !state.active || state.available.is_empty() || hidden {
            return Vec::new();
        }
        state.review_declined();
        state.declined.subtract(&self.fresh);
        let mut chosen = Vec::new();
        if self.active.is_subset(&state.declined) {
            return chosen;
        }
        let mut left = state.available.clone();
        self.role_sorter.refresh(&self.pool);
        'roles: for role in self.role_sorter.iter() {
            let role = &mut self.roles[role.0];
            role.sorter.refresh(&self.pool);
            for client in role.sorter.iter() {
                if state.declined.contains(client.0) {
                    continue;
                }
                let client_state = &self.clients[client.0];
                let framework = &self.frameworks[client_state.framework.0];
                let candidate = Candidate { agent: state, framework, role, client: client_state };
                let offer = candidate.offer(&left, &self.options);
                let offer =
                    offer.filter(|offer| !self.filters.hide(client, agent, offer)).map(Cow::into_owned);
                match offer {
                    Some(offer) => {
                        left -= &offer;
                        chosen.push((client, offer));
                        if left.is_empty() {
                            break 'roles;
                        }
                    }
                    // Once something was chosen a "no" is one to what is left only, and the agent remembers
                    // nothing of that.
                    None if chosen.is_empty() => state.declined.insert(client.0),
                    None => {}
                }
            }
        }
        chosen
    }

    /// What would be offered to a client if the agent were looked at now.
    pub(crate) fn would_offer(&self, client: ClientKey, agent: AgentKey) -> Option<Resources> {
        let state = &self.agents[agent.0];
        let hidden = self.whitelist.as_ref().is_some_and(|whitelist| !whitelist.contains(&state.hostname));
        if !state.active || hidden {
            return None;
        }
        let client_state = &self.clients[client.0];
        let candidate = Candidate {
            agent: state,
            framework: &self.frameworks[client_state.framework.0],
            role: &self.roles[client_state.role.0],
            client: client_state,
        };
        let offer = candidate.offer(&state.available, &self.options)?;
        (!self.filters.hide(client, agent, &offer)).then(|| offer.into_owned())
    }
}

/// A framework in a role, in front of an agent.
struct Candidate<'a> {
    agent: &'a Agent,
    framework: &'a Framework,
    role: &'a Role,
    client: &'a Client,
}

impl Candidate<'_> {
    /// What of `left` the framework may have, if that is worth an offer.
    fn offer<'l>(&self, left: &'l Resources, options: &Options) -> Option<Cow<'l, Resources>> {
        if !self.is_capable(options) {
            return None;
        }
        let offer = match self.agent.traits.special {
            true => Cow::Owned(left.filter(|entry| self.may_have(entry))),
            false => Cow::Borrowed(left),
        };
        let minimums = self.client.min_allocatable.as_ref().unwrap_or(&options.min_allocatable_resources);
        is_allocatable(&offer, minimums).then_some(offer)
    }

    /// Whether the framework understands this agent, and the agent this framework.
    fn is_capable(&self, options: &Options) -> bool {
        let framework = self.framework.capabilities;
        let agent = self.agent.capabilities;
        (framework.gpu_resources || !self.agent.traits.gpus || !options.filter_gpu_resources)
            && (agent.multi_role || !framework.multi_role)
            && (agent.hierarchical_role || !self.role.is_nested())
    }

    fn may_have(&self, entry: &Entry) -> bool {
        let framework = self.framework.capabilities;
        entry.is_allocatable_to(&self.role.name)
            && (framework.revocable_resources || !entry.is_revocable())
            && (framework.shared_resources || !entry.is_shared())
            && (framework.reservation_refinement || !entry.has_refined_reservation())
    }
}

/// Not empty, and reaches one of the sets of amounts, if there are any.
fn is_allocatable(offer: &Resources, minimums: &[api::resources::Quantities]) -> bool {
    if offer.is_empty() {
        return false;
    }
    if minimums.is_empty() {
        return true;
    }
    let quantities = offer.quantities();
    minimums.iter().any(|minimum| quantities.contains(minimum))
}
