//! Refusals: what a framework does not want to be offered again for a while.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;
use std::time::Duration;

use api::resources::Resources;

use crate::Time;
use crate::bits::Bits;
use crate::keys::{AgentKey, ClientKey};

/// For how long a refusal holds when it does not say, or says something impossible.
const DEFAULT_REFUSAL: Duration = Duration::from_secs(5);
const LONGEST_REFUSAL: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A framework that accepts part of an offer and refuses the rest, over and over, may pile up refusals of
/// ever different leftovers of one agent. Past this many the one that ends first is forgotten.
const MAX_PER_PAIR: usize = 16;

/// How long to keep an offer away that was refused for `refuse_seconds`; `None` is not at all.
///
/// Never shorter than the allocation interval: otherwise the next cycle would bring the offer back before
/// anyone else had a chance to see it.
pub(crate) fn refusal_duration(refuse_seconds: f64, allocation_interval: Duration) -> Option<Duration> {
    let duration = if refuse_seconds > LONGEST_REFUSAL.as_secs_f64() {
        LONGEST_REFUSAL
    } else {
        Duration::try_from_secs_f64(refuse_seconds).unwrap_or(DEFAULT_REFUSAL)
    };
    (!duration.is_zero()).then(|| duration.max(allocation_interval))
}

/// All refusals in force, found by agent and client, by client, and by when they end.
///
/// A refusal takes about a hundred bytes, one of the same resources as another on that agent not much more than its
/// place: there may be one for every framework and agent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filters {
    /// By slot.
    agents: Vec<OfAgent>,
    agents_of: BTreeMap<ClientKey, Bits>,
    /// The first to end on top. Refusals that were dropped stay in here until then, or until they are the majority.
    ends: BinaryHeap<Reverse<End>>,
    n_refusals: usize,
    last: u64,
}

/// What is refused of one agent.
#[derive(Clone, Debug, Default)]
struct OfAgent {
    clients: Bits,
    /// By the client's slot and the refusal's number.
    refusals: BTreeMap<(u32, u64), Refusal>,
}

#[derive(Clone, Debug)]
struct Refusal {
    until: Time,
    /// Often the whole of an agent, refused by many: one copy serves them all.
    resources: Arc<Resources>,
}

/// When a refusal ends. The number keeps those apart that end together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct End {
    until: Time,
    number: u64,
    client: u32,
    agent: u32,
}

impl OfAgent {
    fn of_client(&self, client: u32) -> impl Iterator<Item = (u64, &Refusal)> {
        let refusals = self.refusals.range((client, 0)..=(client, u64::MAX));
        refusals.map(|((_, number), refusal)| (*number, refusal))
    }
}

/// Slots are counted in 32 bits here: there are fewer clients and agents than that, and many refusals.
fn slot(of: usize) -> u32 {
    u32::try_from(of).unwrap_or(u32::MAX)
}

impl Filters {
    /// Keeps `resources` of the agent, or any part of them, away from the client until after `until`. Whether
    /// another refusal of that pair had to be forgotten for it, so that something is refused no more.
    pub(crate) fn refuse(
        &mut self,
        client: ClientKey,
        agent: AgentKey,
        resources: Arc<Resources>,
        until: Time,
    ) -> bool {
        let mut forgotten = false;
        if self.agents.len() <= agent.0 {
            self.agents.resize_with(agent.0 + 1, OfAgent::default);
        }
        let here = &mut self.agents[agent.0];
        let key = slot(client.0);
        if here.clients.contains(client.0) {
            if here.of_client(key).any(|(_, old)| old.until >= until && old.resources.contains(&resources)) {
                return false;
            }
            let covered = |old: &Refusal| old.until <= until && resources.contains(&old.resources);
            let mut gone: Vec<u64> =
                here.of_client(key).filter(|(_, old)| covered(old)).map(|(number, _)| number).collect();
            if here.of_client(key).count() - gone.len() >= MAX_PER_PAIR
                && let Some((_, first)) = here.of_client(key).map(|(number, old)| (old.until, number)).min()
            {
                gone.push(first);
                forgotten = true;
            }
            for number in gone {
                self.n_refusals -= usize::from(here.refusals.remove(&(key, number)).is_some());
            }
        } else {
            here.clients.insert(client.0);
            self.agents_of.entry(client).or_default().insert(agent.0);
        }
        self.last += 1;
        here.refusals.insert((key, self.last), Refusal { until, resources });
        self.n_refusals += 1;
        self.ends.push(Reverse(End { until, number: self.last, client: key, agent: slot(agent.0) }));
        self.forget_dropped();
        forgotten
    }

    /// Whether the client refuses all of `offer` at `now`.
    pub(crate) fn hide(&self, client: ClientKey, agent: AgentKey, offer: &Resources, now: Time) -> bool {
        self.hiding(client, agent, offer, now).next().is_some()
    }

    /// Until when the client refuses `offer`, and as part of what: for each of its refusals that contain it and have
    /// not ended at `now`, be they still in here until the next cycle.
    pub(crate) fn hiding<'f>(
        &'f self,
        client: ClientKey,
        agent: AgentKey,
        offer: &'f Resources,
        now: Time,
    ) -> impl Iterator<Item = (Time, &'f Resources)> {
        let here = self.agents.get(agent.0).filter(|here| here.clients.contains(client.0));
        let refusals = here.into_iter().flat_map(move |here| here.of_client(slot(client.0)));
        let hiding =
            refusals.filter(move |(_, refusal)| refusal.until >= now && refusal.resources.contains(offer));
        hiding.map(|(_, refusal)| (refusal.until, &*refusal.resources))
    }

    /// `resources`, shared with another refusal of the same on that agent if the first that comes to hand is
    /// one: whole agents are refused by many.
    pub(crate) fn share(&self, agent: AgentKey, resources: Resources) -> Arc<Resources> {
        let first = self.agents.get(agent.0).and_then(|here| here.refusals.values().next());
        match first.filter(|refusal| *refusal.resources == resources) {
            Some(refusal) => refusal.resources.clone(),
            None => Arc::new(resources),
        }
    }

    /// Drops refusals which ended before `now`, and says whose they were.
    ///
    /// One that ends at `now` still holds: a cycle and the end of a refusal that fall on the same moment
    /// are a cycle that was due while the refusal was in force.
    pub(crate) fn expire(&mut self, now: Time) -> Vec<(ClientKey, AgentKey)> {
        let mut ended = Vec::new();
        while let Some(Reverse(end)) = self.ends.peek().filter(|Reverse(end)| end.until < now).copied() {
            self.ends.pop();
            let (client, agent) = (ClientKey(end.client as usize), AgentKey(end.agent as usize));
            let Some(here) = self.agents.get_mut(agent.0) else { continue };
            if here.refusals.remove(&(end.client, end.number)).is_none() {
                continue; // It was dropped before.
            }
            self.n_refusals -= 1;
            ended.push((client, agent));
            if here.of_client(end.client).next().is_none() {
                here.clients.remove(client.0);
                self.forget_pair(client, agent);
            }
        }
        ended
    }

    /// Drops all refusals of a client.
    pub(crate) fn drop_client(&mut self, client: ClientKey) {
        let key = slot(client.0);
        for agent in self.agents_of.remove(&client).unwrap_or_default().iter() {
            let Some(here) = self.agents.get_mut(agent) else { continue };
            here.clients.remove(client.0);
            let gone: Vec<u64> = here.of_client(key).map(|(number, _)| number).collect();
            self.n_refusals -= gone.len();
            gone.into_iter().for_each(|number| drop(here.refusals.remove(&(key, number))));
        }
        self.forget_dropped();
    }

    /// Drops all refusals that concern an agent.
    pub(crate) fn drop_agent(&mut self, agent: AgentKey) {
        let Some(here) = self.agents.get_mut(agent.0).map(std::mem::take) else { return };
        self.n_refusals -= here.refusals.len();
        here.clients.iter().for_each(|client| self.forget_pair(ClientKey(client), agent));
        self.forget_dropped();
    }

    fn forget_pair(&mut self, client: ClientKey, agent: AgentKey) {
        if let Some(agents) = self.agents_of.get_mut(&client) {
            agents.remove(agent.0);
            if agents.is_empty() {
                self.agents_of.remove(&client);
            }
        }
    }

    /// Keeps those that were dropped from outnumbering those in force.
    fn forget_dropped(&mut self) {
        if self.ends.len() <= 64 + 2 * self.n_refusals {
            return;
        }
        let agents = &self.agents;
        self.ends.retain(|Reverse(end)| {
            let here = agents.get(end.agent as usize);
            here.is_some_and(|here| here.refusals.contains_key(&(end.client, end.number)))
        });
        self.ends.shrink_to(64 + 2 * self.n_refusals);
    }

    /// The number of agents of which the client refused something; in force until the next cycle forgets it.
    pub(crate) fn n_of_client(&self, client: ClientKey) -> usize {
        self.agents_of.get(&client).map_or(0, |agents| agents.iter().count())
    }

    /// The number of agents of which the client refuses something at `now`.
    pub(crate) fn n_in_force(&self, client: ClientKey, now: Time) -> usize {
        let agents = self.agents_of.get(&client).into_iter().flat_map(Bits::iter);
        let mut here = agents.filter_map(|agent| self.agents.get(agent));
        let in_force = |here: &OfAgent| here.of_client(slot(client.0)).any(|(_, it)| it.until >= now);
        here.by_ref().filter(|here| in_force(here)).count()
    }

    pub(crate) fn check_invariants(&self) -> Result<(), String> {
        let n_refusals: usize = self.agents.iter().map(|here| here.refusals.len()).sum();
        let is_live = |end: &End| {
            let refusal = self.agents.get(end.agent as usize);
            let refusal = refusal.and_then(|here| here.refusals.get(&(end.client, end.number)));
            refusal.is_some_and(|refusal| refusal.until == end.until)
        };
        let n_ends = self.ends.iter().filter(|Reverse(end)| is_live(end)).count();
        if n_refusals != n_ends || n_refusals != self.n_refusals {
            return Err(format!("{n_refusals} refusals, {n_ends} of which end, {} counted", self.n_refusals));
        }
        let mut n_pairs = 0;
        for (agent, here) in self.agents.iter().enumerate() {
            let clients: BTreeSet<usize> = here.refusals.keys().map(|(client, _)| *client as usize).collect();
            let indexed =
                |client: &usize| self.agents_of.get(&ClientKey(*client)).is_some_and(|it| it.contains(agent));
            if !clients.iter().copied().eq(here.clients.iter()) || !clients.iter().all(indexed) {
                return Err("the indices of refusals disagree".to_owned());
            }
            n_pairs += clients.len();
        }
        if n_pairs == self.agents_of.values().map(|agents| agents.iter().count()).sum::<usize>() {
            Ok(())
        } else {
            Err("the indices of refusals disagree".to_owned())
        }
    }
}
