//! One round of deciding who is offered what.
//!
//! ```text
//! stage 1, only while some role has less than it is guaranteed:
//!     for each candidate agent, in an order drawn anew:
//!         for each such role, the one with the smallest share first:
//!             for each of its frameworks, the one with the smallest share first:
//!                 offer it what is missing to the guarantee, and what limits and headroom allow beside
//! stage 2:
//!     for each candidate agent, in an order drawn anew:
//!         for each role, the one with the smallest share first:
//!             for each of its frameworks, the one with the smallest share first:
//!                 offer it everything on the agent that it may have and has not refused,
//!                 as far as limits and headroom allow
//! ```
//!
//! Whatever is left on an agent goes to the first who may have it; fairness comes from many agents, many
//! cycles, and from frameworks declining what they do not need.
//!
//! **Cost.** Looking settles an agent: everyone was asked, and an answer of "no" to some resources is a "no" to fewer
//! of them, so that only an event can change it. Which agents are looked at, and who is asked, is told in `looks.rs`.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use api::resources::Resources;
use rand::Rng;

use crate::allocation::{AgentAllocation, Allocation, FrameworkAllocation};
use crate::keys::{AgentKey, ClientKey, FrameworkKey};
use crate::{Allocator, Time};

/// Which part of a cycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Roles get what they are guaranteed.
    Guarantees,
    /// Everybody gets a fair share.
    FairShare,
}

/// What a cycle has done so far.
pub(crate) struct Run {
    pub(crate) now: Time,
    allocation: Allocation,
    places: HashMap<FrameworkKey, usize>,
    /// Where the offers of the first stage are among their framework's, as the second may add to them.
    given: BTreeMap<(ClientKey, AgentKey), usize>,
    /// Shared resources that were offered: nobody else gets them in the same cycle.
    pub(crate) shared: BTreeMap<AgentKey, Resources>,
    /// Agents with something that cannot be cut of which the first stage gave a part.
    pub(crate) cut: BTreeSet<AgentKey>,
}

impl Run {
    fn at(now: Time) -> Run {
        Run {
            now,
            allocation: Allocation::default(),
            places: HashMap::new(),
            given: BTreeMap::new(),
            shared: BTreeMap::new(),
            cut: BTreeSet::new(),
        }
    }
}

impl Allocator {
    /// Decides what to offer from the candidates, and counts it as held. Does nothing while paused or recovering.
    ///
    /// For each stage `rng` draws a seed for the order of agents, see [`order_key`](crate::order_key), and for lots,
    /// see [`lots_seed`](crate::lots_seed). Refusals that ended before `now` are forgotten first.
    pub fn cycle(&mut self, now: Time, rng: &mut impl Rng) -> Allocation {
        if self.is_held() {
            return Allocation::default();
        }
        self.expire_refusals(now);
        self.release_held_back();
        let (agents, maintained) = self.take_candidates();
        let mut run = Run::at(now);
        if self.ledger.iter().any(|(_, account)| account.is_guaranteed()) {
            let seed = rng.next_u64();
            for agent in self.in_order(&agents, seed) {
                if self.ledger.unsatisfied.is_empty() {
                    break;
                }
                self.look_at(agent, Stage::Guarantees, seed, &mut run);
            }
        }
        let seed = rng.next_u64();
        for agent in self.in_order(&agents, seed) {
            self.unsettled.remove(agent.0);
            self.look_at(agent, Stage::FairShare, seed, &mut run);
        }
        self.ledger.note_headroom();
        run.allocation.inverse_offers = self.ask_to_leave(&maintained, now);
        run.allocation
    }

    fn look_at(&mut self, agent: AgentKey, stage: Stage, seed: u64, run: &mut Run) {
        for (client_key, resources) in self.choose(agent, stage, seed, run) {
            self.hold(client_key, agent, &resources);
            let client = &self.clients[client_key.0];
            let frameworks = &mut run.allocation.frameworks;
            let place = *run.places.entry(client.framework).or_insert_with(|| {
                let framework_id = self.frameworks[client.framework.0].id.clone();
                frameworks.push(FrameworkAllocation { framework_id, offers: Vec::new() });
                frameworks.len() - 1
            });
            let role = self.roles[client.role.0].name.clone();
            let agent_id = &self.agents[agent.0].id;
            let offers = &mut frameworks[place].offers;
            if stage == Stage::Guarantees {
                run.given.insert((client_key, agent), offers.len());
            } else if let Some(&at) = run.given.get(&(client_key, agent)) {
                offers[at].resources += resources.allocated(role);
                continue;
            }
            offers.push(AgentAllocation {
                agent_id: agent_id.clone(),
                role: role.to_string(),
                resources: resources.allocated(role),
            });
        }
    }

    fn in_order(&self, agents: &[AgentKey], seed: u64) -> Vec<AgentKey> {
        let mut order: Vec<_> = agents.iter().map(|key| (self.agents[key.0].order_in(seed), *key)).collect();
        order.sort_unstable();
        order.into_iter().map(|(_, key)| key).collect()
    }
}
