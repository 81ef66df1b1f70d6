//! Who is offered what.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use api::resources::{Entry, Limits, Name, Quantities, Resources};
use rand::RngCore;

use super::Naive;
use super::order::is_within;

/// By agent, framework and role.
pub(crate) type Offers = BTreeMap<(String, String, String), Resources>;

/// Who is asked to leave which agent.
pub(crate) type Asked = BTreeSet<(String, String)>;

/// The order in which entries are cut or dropped: what can be cut before what cannot, larger before smaller,
/// then by what they print.
fn for_cutting(entries: &mut [Entry]) {
    entries.sort_by_key(|entry| (!entry.is_divisible(), Reverse(entry.scalar()), entry.to_string()));
}

fn top_level(role: &str) -> &str {
    role.split('/').next().unwrap_or(role)
}

/// The quota counts these: unreserved, not revocable, scalar.
fn counted(resources: &Resources) -> Resources {
    resources.unreserved().non_revocable().scalars()
}

impl Naive {
    /// One run: "offers; clear candidates", nothing while paused.
    pub(crate) fn cycle(&mut self, rng: &mut impl RngCore) -> (Offers, Asked) {
        let mut offers = Offers::new();
        if self.paused || self.recovering.is_some() {
            return (offers, Asked::new());
        }
        // A refusal that ends now still holds.
        self.refusals.retain(|refusal| refusal.until >= self.now);
        let all = std::mem::take(&mut self.all_are_candidates);
        let some = std::mem::take(&mut self.candidates);
        let listed = |hostname: &str| self.whitelist.as_ref().is_none_or(|it| it.contains(hostname));
        let agents: Vec<(String, u64)> = self
            .agents
            .iter()
            .filter(|(id, agent)| (all || some.contains(*id)) && agent.active && listed(&agent.info.hostname))
            .map(|(id, agent)| (id.clone(), agent.joined))
            .collect();
        let in_order = |rng: &mut dyn RngCore| {
            let seed = rng.next_u64();
            let mut agents = agents.clone();
            agents.sort_by_key(|(_, joined)| (allocator::order_key(seed, *joined), *joined));
            agents.into_iter().map(move |(id, joined)| (id, allocator::lots_seed(seed, joined)))
        };
        if self.quotas.values().any(|quota| !quota.guarantees.is_empty()) {
            for (agent, lots) in in_order(rng) {
                self.give_guarantees(&agent, lots, &mut offers);
            }
        }
        for (agent, lots) in in_order(rng) {
            self.give_fair_shares(&agent, lots, &mut offers);
        }
        let asked = self.ask_to_leave(|agent| all || some.contains(agent));
        (offers, asked)
    }

    /// "Inverse offers go to every active framework holding resources on a candidate agent with maintenance,
    /// when none is outstanding and no filter applies."
    fn ask_to_leave(&mut self, is_candidate: impl Fn(&str) -> bool) -> Asked {
        let mut asked = Asked::new();
        self.inverse_refusals.retain(|(_, until)| *until >= self.now);
        for (framework, agent) in self.held.keys() {
            let pair = (framework.clone(), agent.clone());
            if self.maintained.contains(agent)
                && is_candidate(agent)
                && self.frameworks.get(framework).is_some_and(|it| it.active)
                && !self.inverse_refusals.iter().any(|(refused, _)| *refused == pair)
                && self.asked.insert(pair.clone())
            {
                asked.insert(pair);
            }
        }
        asked
    }

    /// Stage 1. Frameworks of a role below one with guarantees are served for these too.
    fn give_guarantees(&mut self, agent: &str, lots: u64, offers: &mut Offers) {
        for (role, framework) in self.turns(lots) {
            if let Some(offer) = self.guaranteed(&framework, &role, agent, offers) {
                self.offer(&framework, &role, agent, offer, offers);
            }
        }
    }

    /// Stage 2.
    fn give_fair_shares(&mut self, agent: &str, lots: u64, offers: &mut Offers) {
        for (role, framework) in self.turns(lots) {
            if let Some(offer) = self.fair(&framework, &role, agent, offers) {
                self.offer(&framework, &role, agent, offer, offers);
            }
        }
    }

    /// What a framework would be offered of an agent if nobody came before, in either stage.
    pub(crate) fn alone(&self, framework: &str, role: &str, agent: &str) -> Option<Resources> {
        let state = &self.agents[agent];
        let listed = self.whitelist.as_ref().is_none_or(|it| it.contains(&state.info.hostname));
        let nothing = Offers::new();
        let offer = || {
            let guaranteed = self.guaranteed(framework, role, agent, &nothing);
            guaranteed.or_else(|| self.fair(framework, role, agent, &nothing))
        };
        (listed && state.active).then(offer).flatten()
    }

    fn guaranteed(&self, framework: &str, role: &str, agent: &str, offers: &Offers) -> Option<Resources> {
        let unsatisfied = self.unsatisfied(top_level(role));
        let avail = self.for_framework(framework, role, agent, offers)?;
        let quota_res = counted(&avail);
        let guar = quota_res.shrunk_to(&unsatisfied, for_cutting);
        if guar.is_empty() {
            return None;
        }
        // "Reserved to exactly this role", and whatever nobody has reserved and no quota counts.
        let others = avail.filter(|entry| {
            if entry.is_reserved() {
                entry.is_reserved_to(role)
            } else {
                entry.scalar().is_none() || entry.is_revocable()
            }
        });
        let extra = quota_res - &guar;
        let limits = self.limits(top_level(role)) - &guar.scalar_quantities();
        let extra = extra.shrunk_within(&limits, for_cutting);
        let extra = match self.required_headroom() {
            required if required.is_empty() => extra,
            required => extra.shrunk_to(&(self.available_headroom() - &required), for_cutting),
        };
        self.worth_it(framework, role, agent, others + &guar + &extra)
    }

    fn fair(&self, framework: &str, role: &str, agent: &str, offers: &Offers) -> Option<Resources> {
        let avail = self.for_framework(framework, role, agent, offers)?;
        let others =
            avail.filter(|entry| entry.is_reserved() || entry.scalar().is_none() || entry.is_revocable());
        let within = counted(&avail).shrunk_within(&self.limits(top_level(role)), for_cutting);
        let extra = match self.required_headroom() {
            required if required.is_empty() => within.clone(),
            required => within.shrunk_to(&(self.available_headroom() - &required), for_cutting),
        };
        // An offer that headroom robbed of all there was of a resource is a scrap.
        let whole = (others.clone() + &within).scalar_quantities();
        let offer = others + &extra;
        let left = offer.scalar_quantities();
        let scrap =
            [Name::CPUS, Name::MEM].iter().any(|name| !whole.get(name).is_zero() && left.get(name).is_zero());
        if scrap && !self.rules.headroom_scraps && self.own_minimums(framework, role).is_none() {
            // What headroom does not count stays.
            let others = avail.filter(|entry| entry.is_reserved() || entry.is_revocable());
            return self.worth_it(framework, role, agent, others);
        }
        self.worth_it(framework, role, agent, offer)
    }

    /// "Skip if not allocatable or filtered."
    fn worth_it(&self, framework: &str, role: &str, agent: &str, offer: Resources) -> Option<Resources> {
        let good = self.is_allocatable(framework, role, &offer)
            && self.refused_until(framework, role, agent, &offer).is_none();
        good.then_some(offer)
    }

    /// What of the agent could go to the framework in that role, before quotas are looked at.
    fn for_framework(&self, framework: &str, role: &str, agent: &str, offers: &Offers) -> Option<Resources> {
        let mut avail = self.available(agent).allocatable_to(role);
        for ((on, _, _), offer) in offers {
            if on == agent {
                let shared = offer.shared().unallocated();
                avail.retain(|entry| !shared.iter().any(|other| is_same(entry, other)));
            }
        }
        if !self.is_allocatable(framework, role, &avail) || !self.is_capable(framework, role, agent) {
            return None;
        }
        Some(self.understood(framework, &avail))
    }

    fn offer(&mut self, framework: &str, role: &str, agent: &str, offer: Resources, offers: &mut Offers) {
        let offer = offer.allocated(role);
        self.hold(framework, agent, &offer);
        let key = (agent.to_owned(), framework.to_owned(), role.to_owned());
        *offers.entry(key).or_default() += &offer;
    }

    // --- Quota -----------------------------------------------------------------------------------------

    /// What is missing of a role's guarantees.
    pub(crate) fn unsatisfied(&self, top: &str) -> Quantities {
        match self.quotas.get(top) {
            Some(quota) => quota.guarantees.clone() - &self.consumed(top),
            None => Quantities::new(),
        }
    }

    /// "A role whose limits leave less than the least amounts of an offer takes no turns, as far as its frameworks
    /// neither named least amounts of their own nor take revocable resources." By share it would get nothing if it
    /// did; by lot, who is drawn depends on who else might be.
    pub(super) fn is_parked(&self, framework: &str, role: &str) -> bool {
        let top = top_level(role);
        let left = self.limits(top);
        let usual = [Name::CPUS, Name::MEM, Name::DISK, Name::GPUS];
        let out_of_reach = |set: &Quantities| {
            let mut set = set.iter().filter(|(name, _)| usual.contains(name));
            set.any(|(name, least)| left.get(name).is_some_and(|left| left < least))
        };
        let reserved = |entry: &Entry| {
            entry.scalar().is_some() && entry.reservation_role().is_some_and(|it| is_within(it, top))
        };
        let sets = &self.rules.minimums;
        !sets.is_empty()
            && sets.iter().all(out_of_reach)
            && !self.agents.values().any(|agent| agent.total.iter().any(reserved))
            && self.own_minimums(framework, role).is_none()
            && !self.takes_revocable(framework)
    }

    /// What a role's limits leave.
    fn limits(&self, top: &str) -> Limits {
        match self.quotas.get(top) {
            Some(quota) => quota.limits.clone() - &self.consumed(top),
            None => Limits::new(),
        }
    }

    fn required_headroom(&self) -> Quantities {
        self.quotas.keys().fold(Quantities::new(), |sum, top| sum + &self.unsatisfied(top))
    }

    fn available_headroom(&self) -> Quantities {
        self.agents
            .keys()
            .fold(Quantities::new(), |sum, agent| sum + &counted(&self.available(agent)).scalar_quantities())
    }
}

/// The same shared resource, whatever the number of copies.
fn is_same(left: &Entry, right: &Entry) -> bool {
    let one = |entry: &Entry| Resources::from_iter([entry.clone()]);
    left.is_shared() && (one(left).contains_entry(right) || one(right).contains_entry(left))
}
