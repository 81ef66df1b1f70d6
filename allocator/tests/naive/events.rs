//! What happens, and what follows from it at once.

use std::collections::BTreeSet;
use std::time::Duration;

use api::resources::Resources;
use api::v1::{AgentInfo, agent_info};

use super::{Agent, Followed, Framework, Naive, Quota, Refusal, permitted, roles_of};

fn refusal_duration(seconds: f64) -> Option<Duration> {
    match seconds {
        0.0 => None,
        it if it > 365.0 * 86400.0 => Some(Duration::from_secs(365 * 86400)),
        it => Some(Duration::try_from_secs_f64(it).unwrap_or(Duration::from_secs(5))),
    }
}

/// Whether the agent of which all but `total` was taken would be given a shared volume twice.
fn makes_shared_again(total: &Resources, converted: &Resources) -> bool {
    let there: Vec<_> = total.iter().filter(|it| it.is_shared()).collect();
    converted.iter().filter(|it| it.is_shared()).any(|it| there.contains(&it))
}

impl Naive {
    // --- Agents ----------------------------------------------------------------------------------------

    pub(crate) fn add_agent(
        &mut self,
        id: &str,
        info: AgentInfo,
        capabilities: &[agent_info::Capability],
        total: Resources,
        used: &[(String, Resources)],
    ) -> Followed {
        if self.agents.contains_key(id) {
            return false;
        }
        let capabilities = capabilities.to_vec();
        self.agents
            .insert(id.to_owned(), Agent { joined: self.n_joined, info, capabilities, active: true, total });
        self.n_joined += 1;
        for (framework, resources) in used {
            self.hold(framework, id, resources);
        }
        self.candidates.insert(id.to_owned());
        self.count_agents();
        true
    }

    pub(crate) fn remove_agent(&mut self, id: &str) -> Followed {
        self.plan(id, false);
        self.held.retain(|(_, agent), _| agent != id);
        self.refusals.retain(|refusal| refusal.agent != id);
        self.candidates.remove(id);
        let known = self.agents.remove(id).is_some();
        self.track();
        known
    }

    /// "Changed attributes drop all filters of that agent"; a candidate "only if anything changed".
    pub(crate) fn update_agent(
        &mut self,
        id: &str,
        info: AgentInfo,
        total: Option<Resources>,
        capabilities: Option<&[agent_info::Capability]>,
    ) -> Followed {
        let Some(agent) = self.agents.get_mut(id) else { return false };
        let before = agent.clone();
        agent.info = info;
        agent.total = total.unwrap_or(before.total.clone());
        agent.capabilities = capabilities.map_or(before.capabilities.clone(), <[_]>::to_vec);
        if agent.info.attributes != before.info.attributes {
            self.refusals.retain(|refusal| refusal.agent != id);
            self.inverse_refusals.retain(|((_, agent), _)| agent != id);
        }
        let agent = &self.agents[id];
        if agent.info != before.info
            || agent.total != before.total
            || agent.capabilities != before.capabilities
        {
            self.candidates.insert(id.to_owned());
        }
        true
    }

    /// "Total grows", and what frameworks have of it is theirs.
    pub(crate) fn add_resource_provider(
        &mut self,
        id: &str,
        total: &Resources,
        used: &[(String, Resources)],
    ) -> Followed {
        let Some(agent) = self.agents.get_mut(id) else { return false };
        agent.total += total;
        for (framework, resources) in used {
            self.hold(framework, id, resources);
        }
        true
    }

    pub(crate) fn set_agent_active(&mut self, id: &str, active: bool) -> Followed {
        self.agents.get_mut(id).map(|agent| agent.active = active).is_some()
    }

    // --- Frameworks ------------------------------------------------------------------------------------

    /// `used` of agents that brought along themselves what the framework holds is not counted again.
    pub(crate) fn add_framework(
        &mut self,
        id: &str,
        framework: Framework,
        used: &[(String, Resources)],
    ) -> Followed {
        if self.frameworks.contains_key(id) {
            return false;
        }
        let active = framework.active;
        self.frameworks.insert(id.to_owned(), framework);
        self.track();
        let brought: Vec<_> = self.held.iter().filter(|((framework, _), _)| framework == id).collect();
        let brought: Vec<_> =
            brought.into_iter().map(|((_, agent), held)| (agent.clone(), held.clone())).collect();
        let used = used.iter().filter(|(agent, _)| !brought.iter().any(|(other, _)| other == agent)).cloned();
        for (agent, resources) in brought.iter().cloned().chain(used) {
            if self.agents.contains_key(&agent) {
                self.held.remove(&(id.to_owned(), agent.clone()));
                self.hold(id, &agent, &resources);
            }
        }
        self.all_are_candidates |= active;
        true
    }

    pub(crate) fn remove_framework(&mut self, id: &str) -> Followed {
        self.held.retain(|(framework, _), _| framework != id || !self.frameworks.contains_key(id));
        self.refusals.retain(|refusal| refusal.framework != id);
        self.inverse_refusals.retain(|((framework, _), _)| framework != id);
        self.asked.retain(|(framework, _)| framework != id);
        let known = self.frameworks.remove(id).is_some();
        self.track();
        known
    }

    pub(crate) fn activate_framework(&mut self, id: &str) -> Followed {
        let Some(framework) = self.frameworks.get_mut(id) else { return false };
        framework.active = true;
        self.all_are_candidates = true;
        true
    }

    /// "Clears offer and inverse-offer filters."
    pub(crate) fn deactivate_framework(&mut self, id: &str) -> Followed {
        let Some(framework) = self.frameworks.get_mut(id) else { return false };
        framework.active = false;
        self.refusals.retain(|refusal| refusal.framework != id);
        self.inverse_refusals.retain(|((framework, _), _)| framework != id);
        true
    }

    /// "Removed roles: drop filters, untrack when nothing is allocated; revive newly unsuppressed." Whether it is
    /// active stays as it is.
    pub(crate) fn update_framework(&mut self, id: &str, new: Framework) -> Followed {
        let Some(framework) = self.frameworks.get_mut(id) else { return false };
        let (left, joined) = (roles_of(&framework.info), roles_of(&new.info));
        let unsuppressed =
            |role: &String| framework.suppressed.contains(role) && !new.suppressed.contains(role);
        let forgotten: BTreeSet<String> =
            left.iter().filter(|role| !joined.contains(*role) || unsuppressed(role)).cloned().collect();
        self.refusals.retain(|it| it.framework != id || !forgotten.contains(&it.role));
        if left.iter().any(|role| joined.contains(role) && unsuppressed(role)) {
            self.inverse_refusals.retain(|((framework, _), _)| framework != id);
        }
        // First it leaves, then it joins: a role nobody else is in starts from nothing.
        let mut staying = new.info.clone();
        permitted::set_roles(&mut staying, left.intersection(&joined));
        let info = new.info.clone();
        *framework = Framework { active: framework.active, info: staying, ..new };
        self.track();
        if let Some(framework) = self.frameworks.get_mut(id) {
            framework.info = info;
        }
        self.track();
        true
    }

    /// No roles are all roles.
    pub(crate) fn suppress(&mut self, id: &str, roles: &BTreeSet<String>) -> Followed {
        let Some(framework) = self.frameworks.get_mut(id) else { return false };
        let meant = |role: &String| roles.is_empty() || roles.contains(role);
        framework.suppressed.extend(roles_of(&framework.info).into_iter().filter(meant));
        true
    }

    /// "Activate, delete the offer filters of those roles and all inverse filters of the framework, then run."
    pub(crate) fn revive(&mut self, id: &str, roles: &BTreeSet<String>) -> Followed {
        let Some(framework) = self.frameworks.get_mut(id) else { return false };
        let subscribed = roles_of(&framework.info);
        let meant = |role: &String| subscribed.contains(role) && (roles.is_empty() || roles.contains(role));
        framework.suppressed.retain(|role| !meant(role));
        self.inverse_refusals.retain(|((framework, _), _)| framework != id);
        self.refusals.retain(|it| it.framework != id || !meant(&it.role));
        self.all_are_candidates = true;
        true
    }

    // --- Resources -------------------------------------------------------------------------------------

    /// Notes that a framework got resources, each entry allocated to a role.
    pub(super) fn hold(&mut self, framework: &str, agent: &str, resources: &Resources) {
        if resources.is_empty() {
            return;
        }
        *self.held.entry((framework.to_owned(), agent.to_owned())).or_default() += resources;
        if self.frameworks.contains_key(framework) {
            self.track();
            for role in resources.allocations().into_keys() {
                self.count_allocation(framework, &role);
            }
        }
    }

    /// "Give back; optional refuse filter; unknown framework or agent tolerated." No run.
    pub(crate) fn recover(
        &mut self,
        framework: &str,
        agent: &str,
        resources: &Resources,
        refuse_seconds: Option<f64>,
    ) -> Followed {
        let key = (framework.to_owned(), agent.to_owned());
        let Some(held) = self.held.get_mut(&key) else {
            let known = self.agents.contains_key(agent) && self.frameworks.contains_key(framework);
            return !known || resources.is_empty();
        };
        if !held.contains(resources) {
            return false;
        }
        *held -= resources;
        if held.is_empty() {
            self.held.remove(&key);
        }
        for (role, part) in resources.allocations() {
            self.refuse(framework, agent, &role, part.unallocated(), refuse_seconds);
        }
        self.track();
        true
    }

    /// "0: no filter; negative or invalid: 5 s; above 365 days: 365 days; then raised to the interval." Who
    /// is not to be offered anything cannot refuse; and of more than 16 refusals by one of one agent, those
    /// that say nothing new aside, the one that ends first is forgotten.
    fn refuse(
        &mut self,
        framework: &str,
        agent: &str,
        role: &str,
        resources: Resources,
        seconds: Option<f64>,
    ) {
        let Some(duration) = seconds.and_then(refusal_duration) else { return };
        if !self.wants_offers(framework, role) {
            return;
        }
        let until = self.now + duration.max(self.rules.interval);
        let same = |it: &Refusal| it.framework == framework && it.agent == agent && it.role == role;
        let mine = |it: &&Refusal| same(it);
        if self.refusals.iter().filter(mine).any(|it| it.until >= until && it.resources.contains(&resources))
        {
            return;
        }
        self.refusals.retain(|it| !(same(it) && it.until <= until && resources.contains(&it.resources)));
        if self.refusals.iter().filter(mine).count() >= 16 {
            let first = self.refusals.iter().enumerate().filter(|(_, it)| same(it));
            let first = first.min_by_key(|(at, it)| (it.until, *at)).map(|(at, _)| at);
            self.refusals.remove(first.unwrap_or_default());
        }
        let (framework, role, agent) = (framework.to_owned(), role.to_owned(), agent.to_owned());
        self.refusals.push(Refusal { framework, role, agent, resources, until });
    }

    /// What a framework holds turns into something else, and the agent's total with it.
    pub(crate) fn convert_held(
        &mut self,
        framework: &str,
        agent: &str,
        conversions: &[(Resources, Resources)],
    ) -> Followed {
        let key = (framework.to_owned(), agent.to_owned());
        let (Some(mut held), Some(state)) = (self.held.get(&key).cloned(), self.agents.get_mut(agent)) else {
            return false;
        };
        if !self.frameworks.contains_key(framework) {
            return false;
        }
        let mut total = state.total.clone();
        for (consumed, converted) in conversions {
            let consumed_total = consumed.clone().unallocated();
            if !held.contains(consumed) || !total.contains(&consumed_total) {
                return false;
            }
            held = held - consumed + converted;
            total -= &consumed_total;
            let converted = converted.clone().unallocated();
            if makes_shared_again(&total, &converted) {
                return false;
            }
            total += &converted;
        }
        state.total = total;
        self.held.insert(key, held);
        self.track();
        true
    }

    /// "Fails if they cannot be applied to `available`, otherwise the total changes."
    pub(crate) fn convert_available(
        &mut self,
        agent: &str,
        conversions: &[(Resources, Resources)],
    ) -> Followed {
        if !self.agents.contains_key(agent) {
            return false;
        }
        let (mut available, mut total) = (self.available(agent), self.agents[agent].total.clone());
        for (consumed, converted) in conversions {
            if !available.contains(consumed) {
                return false;
            }
            available = available - consumed + converted;
            total -= consumed;
            if makes_shared_again(&total, converted) {
                return false;
            }
            total += converted;
        }
        if let Some(state) = self.agents.get_mut(agent) {
            state.total = total;
        }
        true
    }

    // --- Maintenance -----------------------------------------------------------------------------------

    fn plan(&mut self, agent: &str, unavailable: bool) {
        self.maintained.remove(agent);
        self.maintained.extend(unavailable.then(|| agent.to_owned()));
        self.asked.retain(|(_, asked)| asked != agent);
        self.inverse_refusals.retain(|((_, refused), _)| refused != agent);
    }

    /// "Replaces maintenance, drops inverse filters of the agent"; the agent is a candidate.
    pub(crate) fn update_unavailability(&mut self, agent: &str, unavailable: bool) -> Followed {
        if !self.agents.contains_key(agent) {
            return false;
        }
        self.plan(agent, unavailable);
        self.candidates.insert(agent.to_owned());
        true
    }

    /// "Clears the outstanding mark; optional filter", not raised to the interval.
    pub(crate) fn answer_inverse_offer(
        &mut self,
        framework: &str,
        agent: &str,
        seconds: Option<f64>,
    ) -> Followed {
        if !self.agents.contains_key(agent) || !self.frameworks.contains_key(framework) {
            return false;
        }
        let pair = (framework.to_owned(), agent.to_owned());
        self.asked.remove(&pair);
        if let Some(duration) = seconds.and_then(refusal_duration) {
            self.inverse_refusals.push((pair, self.now + duration));
        }
        true
    }

    // --- The cluster -----------------------------------------------------------------------------------

    pub(crate) fn pause(&mut self, paused: bool) {
        self.paused = paused;
    }

    pub(crate) fn consider_all_agents(&mut self) {
        self.all_are_candidates = true;
    }

    /// Only top-level roles have quota, and nobody is guaranteed more than he may have.
    fn is_quota_good(role: &str, quota: &Quota) -> bool {
        let within = |(name, amount)| quota.limits.get(name).is_none_or(|limit| amount <= limit);
        !role.contains('/') && quota.guarantees.iter().all(within)
    }

    pub(crate) fn update_quota(&mut self, role: &str, quota: Quota) -> Followed {
        let good = Naive::is_quota_good(role, &quota);
        if good {
            self.quotas.insert(role.to_owned(), quota);
        }
        good
    }

    /// "Quotas are set; if the expected number is 0 no hold; else until that many agents have been added."
    pub(crate) fn recover_cluster(&mut self, n_agents: usize, role: &str, quota: Quota) -> Followed {
        let promises = !quota.guarantees.is_empty() || !quota.limits.is_empty();
        let good = self.update_quota(role, quota);
        if good && promises {
            self.recovering = Some(n_agents * 4 / 5);
            self.count_agents();
        }
        good
    }

    fn count_agents(&mut self) {
        self.recovering = self.recovering.filter(|expected| self.agents.len() < *expected);
    }

    pub(crate) fn is_due(&self) -> bool {
        !self.paused && self.recovering.is_none() && (self.all_are_candidates || !self.candidates.is_empty())
    }
}
