//! Refusals: what a framework does not want to be offered again for a while.

use std::collections::{BTreeMap, BTreeSet, HashMap};
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

/// All refusals in force, found by pair, by client, by agent, and by when they end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filters {
    pairs: HashMap<(ClientKey, AgentKey), Vec<Refusal>>,
    agents_of: BTreeMap<ClientKey, Bits>,
    clients_of: BTreeMap<AgentKey, Bits>,
    /// When, and which; the number keeps refusals apart that end together.
    ends: BTreeSet<(Time, u64, ClientKey, AgentKey)>,
    last: u64,
}

#[derive(Clone, Debug)]
struct Refusal {
    number: u64,
    until: Time,
    /// Often the whole of an agent, refused by many: one copy serves them all.
    resources: Arc<Resources>,
}

impl Filters {
    /// Keeps `resources` of the agent, or any part of them, away from the client until after `until`.
    pub(crate) fn refuse(
        &mut self,
        client: ClientKey,
        agent: AgentKey,
        resources: Arc<Resources>,
        until: Time,
    ) {
        let refusals = self.pairs.entry((client, agent)).or_default();
        if refusals.iter().any(|old| old.until >= until && old.resources.contains(&resources)) {
            return;
        }
        let ends = &mut self.ends;
        let mut forget = |old: &Refusal| ends.remove(&(old.until, old.number, client, agent));
        refusals.retain(|old| {
            let covered = old.until <= until && resources.contains(&old.resources);
            if covered {
                forget(old);
            }
            !covered
        });
        if refusals.len() >= MAX_PER_PAIR
            && let Some(at) = (0..refusals.len()).min_by_key(|at| (refusals[*at].until, refusals[*at].number))
        {
            forget(&refusals.swap_remove(at));
        }
        self.last += 1;
        refusals.push(Refusal { number: self.last, until, resources });
        self.ends.insert((until, self.last, client, agent));
        self.agents_of.entry(client).or_default().insert(agent.0);
        self.clients_of.entry(agent).or_default().insert(client.0);
    }

    /// Whether the client refused all of `offer`.
    pub(crate) fn hide(&self, client: ClientKey, agent: AgentKey, offer: &Resources) -> bool {
        self.pairs
            .get(&(client, agent))
            .is_some_and(|refusals| refusals.iter().any(|refusal| refusal.resources.contains(offer)))
    }

    /// `resources`, shared with another refusal of the same on that agent if the first that comes to hand is
    /// one: whole agents are refused by many.
    pub(crate) fn share(&self, agent: AgentKey, resources: Resources) -> Arc<Resources> {
        let client = self.clients_of.get(&agent).and_then(|clients| clients.iter().next()).map(ClientKey);
        let refusals = client.and_then(|client| self.pairs.get(&(client, agent))).into_iter().flatten();
        let known = refusals.map(|refusal| &refusal.resources).find(|known| ***known == resources).cloned();
        known.unwrap_or_else(|| Arc::new(resources))
    }

    /// Drops refusals which ended before `now`, and says whose they were.
    ///
    /// One that ends at `now` still holds: a cycle and the end of a refusal that fall on the same moment
    /// are a cycle that was due while the refusal was in force.
    pub(crate) fn expire(&mut self, now: Time) -> Vec<(ClientKey, AgentKey)> {
        let mut ended = Vec::new();
        while let Some(&(until, number, client, agent)) = self.ends.first()
            && until < now
        {
            self.ends.pop_first();
            ended.push((client, agent));
            if let Some(refusals) = self.pairs.get_mut(&(client, agent)) {
                refusals.retain(|refusal| refusal.number != number);
                if refusals.is_empty() {
                    self.drop_pair(client, agent);
                }
            }
        }
        ended
    }

    /// Drops all refusals of a client.
    pub(crate) fn drop_client(&mut self, client: ClientKey) {
        let agents = self.agents_of.remove(&client).unwrap_or_default();
        agents.iter().for_each(|agent| self.drop_pair(client, AgentKey(agent)));
    }

    /// Drops all refusals that concern an agent.
    pub(crate) fn drop_agent(&mut self, agent: AgentKey) {
        let clients = self.clients_of.remove(&agent).unwrap_or_default();
        clients.iter().for_each(|client| self.drop_pair(ClientKey(client), agent));
    }

    fn drop_pair(&mut self, client: ClientKey, agent: AgentKey) {
        for refusal in self.pairs.remove(&(client, agent)).unwrap_or_default() {
            self.ends.remove(&(refusal.until, refusal.number, client, agent));
        }
        if let Some(agents) = self.agents_of.get_mut(&client) {
            agents.remove(agent.0);
            if agents.is_empty() {
                self.agents_of.remove(&client);
            }
        }
        if let Some(clients) = self.clients_of.get_mut(&agent) {
            clients.remove(client.0);
            if clients.is_empty() {
                self.clients_of.remove(&agent);
            }
        }
    }

    /// The number of agents of which the client refuses something.
    pub(crate) fn n_of_client(&self, client: ClientKey) -> usize {
        self.agents_of.get(&client).map_or(0, |agents| agents.iter().count())
    }

    pub(crate) fn check_invariants(&self) -> Result<(), String> {
        let n_refusals: usize = self.pairs.values().map(Vec::len).sum();
        if n_refusals != self.ends.len() {
            return Err(format!("{n_refusals} refusals, {} of which end", self.ends.len()));
        }
        for &(until, number, client, agent) in &self.ends {
            let refusals = self.pairs.get(&(client, agent)).map_or(&[][..], Vec::as_slice);
            if !refusals.iter().any(|refusal| (refusal.until, refusal.number) == (until, number)) {
                return Err(format!("refusal {number} ends, but does not exist"));
            }
        }
        let by_client: usize = self.agents_of.values().map(|agents| agents.iter().count()).sum();
        let by_agent: usize = self.clients_of.values().map(|clients| clients.iter().count()).sum();
        let pairs = self.pairs.keys();
        let indexed = |(client, agent): &(ClientKey, AgentKey)| {
            self.agents_of.get(client).is_some_and(|agents| agents.contains(agent.0))
                && self.clients_of.get(agent).is_some_and(|clients| clients.contains(client.0))
        };
        if by_client != self.pairs.len() || by_agent != self.pairs.len() || !pairs.clone().all(indexed) {
            return Err("the indices of refusals disagree".to_owned());
        }
        Ok(())
    }
}
