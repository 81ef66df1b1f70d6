//! Who gets what of one agent.

use api::resources::Resources;
use rand::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::Allocator;
use crate::agents::order_key;
use crate::amounts::Amounts;
use crate::ask::Answer;
use crate::bits::Bits;
use crate::cycle::{Run, Stage};
use crate::keys::{AgentKey, ClientKey, QuotaKey};
use crate::sorter::SorterKind;

/// One look at one agent: what is left of it, and what came of asking.
struct Look {
    left: Resources,
    /// Nothing is left out for this cycle only, so that a "no" is one to all the agent has.
    complete: bool,
    chosen: Vec<(ClientKey, Resources)>,
    /// Who said no, and for whom quota did, as far as the agent is to remember it.
    declined: Vec<ClientKey>,
    held_back: Vec<ClientKey>,
    /// Somebody was offered less because the rest would have been a scrap, which it may not be for long.
    scrap: bool,
    /// What was entered in quota's books.
    spent: Vec<(Option<QuotaKey>, Amounts)>,
}

impl Allocator {
    /// Who gets what of an agent's free resources, decided but not yet done.
    ///
    /// What one client is given changes neither the order of the roles, which is that of the start, nor the
    /// order within another role; so everything can be decided before anything is counted. Only quota's books
    /// are kept meanwhile, and put back at the end.
    pub(crate) fn choose(
        &mut self,
        agent: AgentKey,
        stage: Stage,
        seed: u64,
        run: &mut Run,
    ) -> Vec<(ClientKey, Resources)> {
        if !self.can_be_offered(agent) {
            return Vec::new();
        }
        let asking = self.without_an_answer(agent, stage);
        if asking.is_empty() {
            return Vec::new();
        }
        // Where one is left to ask, as when its refusal has ended, there is no order to be established.
        let only = asking.only().map(ClientKey);
        let only_role = only.map(|client| self.clients[client.0].role);
        let mut look = Look::at(&self.agents[agent.0].available, run.shared.get(&agent));
        if only.is_none() {
            self.role_sorter.refresh(&self.pool);
        }
        let state = &self.agents[agent.0];
        let lots = state.lots_in(seed);
        let mut of_roles = Xoshiro256PlusPlus::seed_from_u64(lots);
        let mut of_frameworks = of_roles.clone();
        let in_turn = only.is_none().then(|| self.role_sorter.turns(&mut of_roles));
        'roles: for (n, role) in (0..).zip(only_role.into_iter().chain(in_turn.into_iter().flatten())) {
            let quota = self.roles[role.0].quota;
            if stage == Stage::Guarantees && !self.ledger.is_unsatisfied(quota) {
                continue;
            }
            if only.is_none() {
                self.roles[role.0].sorter.refresh(&self.pool);
            }
            if self.options.sorter == SorterKind::Random {
                of_frameworks = Xoshiro256PlusPlus::seed_from_u64(order_key(lots, n));
            }
            let sorter = &self.roles[role.0].sorter;
            let in_turn = only.is_none().then(|| sorter.turns(&mut of_frameworks));
            for client in only.into_iter().chain(in_turn.into_iter().flatten()) {
                if !asking.contains(client.0) {
                    continue;
                }
                let candidate = self.candidate(client, agent, run.now);
                let (answer, cut) = self.ask(&candidate, client, agent, &look.left, stage);
                if stage == Stage::FairShare {
                    self.ledger.note_kept(agent, quota, cut.limited, cut.held_back);
                }
                // Where things cannot be cut, less may be what the guarantee has room for.
                let may_change = state.traits.indivisible && self.ledger.is_unsatisfied(quota);
                let Some(offer) = look.take(client, answer, may_change) else { continue };
                if state.traits.shared {
                    look.leave_out(run.shared.entry(agent).or_default(), &offer);
                }
                look.scrap |= cut.scrap;
                self.ledger.spend(quota, &cut.plain);
                look.spent.push((quota, cut.plain));
                look.chosen.push((client, offer));
                if look.left.is_empty() {
                    break 'roles;
                }
                if stage == Stage::Guarantees && !self.ledger.is_unsatisfied(quota) {
                    continue 'roles;
                }
            }
        }
        look.spent.iter().for_each(|(quota, plain)| self.ledger.take_back(*quota, plain));
        self.remember(agent, stage, &look, run);
        look.chosen
    }

    /// Who has to be asked: of the others the agent remembers a "no", or quota says it for them.
    fn without_an_answer(&mut self, agent: AgentKey, stage: Stage) -> Bits {
        let state = &mut self.agents[agent.0];
        state.review_declined(state.traits.indivisible && !self.ledger.is_empty());
        state.declined.subtract(&self.fresh);
        state.held_back.subtract(&self.fresh);
        if self.active.is_covered_by(&state.declined, &state.held_back) {
            return Bits::default();
        }
        let mut asking = self.active.clone();
        asking.subtract(&state.declined);
        asking.subtract(&state.held_back);
        if self.is_out_of_headroom(agent, stage) {
            asking = self.hold_back_all(agent, asking);
        }
        asking
    }

    /// Whether the headroom leaves so little of an agent that nobody can be offered anything in the second stage,
    /// but for those with least amounts of their own. Saves asking everybody, which is dear when thousands wait for
    /// what is held back.
    fn is_out_of_headroom(&self, agent: AgentKey, stage: Stage) -> bool {
        let state = &self.agents[agent.0];
        let headroom = |name| {
            let free = state.free.get(name);
            (free > 0).then(|| free.min(self.ledger.headroom(name)))
        };
        stage == Stage::FairShare
            && self.ledger.holds_back()
            && !state.traits.special
            && self.minimums.are_out_of_reach(headroom)
            // With all of it the least amounts can be reached.
            && !self.minimums.are_out_of_reach(|name| Some(state.free.get(name)))
    }

    /// Answers for `clients` that the headroom keeps from them what the agent has, but for those that have to be
    /// asked all the same.
    fn hold_back_all(&mut self, agent: AgentKey, mut clients: Bits) -> Bits {
        let mut asking = clients.clone();
        clients.subtract(&self.own_minimums);
        asking.subtract(&clients);
        self.ledger.kept_from.insert(agent.0);
        let clients: Vec<ClientKey> = clients.iter().map(ClientKey).collect();
        self.agents[agent.0].remember(&[], &clients);
        asking
    }

    /// Has the agent remember what came of a look at it, and be looked at again where that is not the last word.
    fn remember(&mut self, agent: AgentKey, stage: Stage, look: &Look, run: &mut Run) {
        let state = &mut self.agents[agent.0];
        state.remember(&look.declined, &look.held_back);
        let gave = !look.chosen.is_empty();
        match stage {
            Stage::Guarantees => {
                if state.traits.indivisible && gave {
                    run.cut.insert(agent);
                }
            }
            Stage::FairShare => {
                // What is left may be for somebody for whom it was not when there was more; what is shared and
                // was offered in this cycle, for anybody in the next.
                let indivisible = !self.ledger.is_empty() && state.traits.indivisible;
                let quirks = state.traits.shared || indivisible || look.scrap || !state.held_back.is_empty();
                if !look.complete || run.cut.contains(&agent) || (gave && quirks) {
                    self.unsettled.insert(agent.0);
                }
            }
        }
    }
}

impl Look {
    /// At what is available, but for what is shared and was `offered` in this cycle.
    fn at(available: &Resources, offered: Option<&Resources>) -> Look {
        let left = match offered {
            None => available.clone(),
            Some(offered) => available.filter(|it| !it.is_shared() || !offered.intersects_entry(it)),
        };
        Look {
            left,
            complete: offered.is_none(),
            chosen: Vec::new(),
            declined: Vec::new(),
            held_back: Vec::new(),
            scrap: false,
            spent: Vec::new(),
        }
    }

    /// Takes what was offered out of what is left. What was not is noted, unless it `may_change` in this cycle.
    fn take(&mut self, client: ClientKey, answer: Answer, may_change: bool) -> Option<Resources> {
        // Once something was chosen a "no" is one to what is left only, and nothing is remembered of that.
        let lasts = self.complete && self.chosen.is_empty();
        match answer {
            Answer::Everything => return Some(std::mem::take(&mut self.left)),
            Answer::Offer(offer) => {
                self.left -= &offer;
                return Some(offer);
            }
            Answer::No(_) if lasts => self.declined.push(client),
            Answer::HeldBack if lasts && !may_change => self.held_back.push(client),
            Answer::No(_) | Answer::HeldBack | Answer::NotNow => {}
        }
        None
    }

    /// Of a shared resource one copy is there for every cycle, not one for everybody.
    fn leave_out(&mut self, offered: &mut Resources, offer: &Resources) {
        let shared = offer.shared();
        self.left.retain(|entry| !entry.is_shared() || !shared.intersects_entry(entry));
        *offered += shared;
    }
}
