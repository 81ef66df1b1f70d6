//! Who gets what of one agent.

use std::borrow::Cow;

use api::resources::Resources;
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::Allocator;
use crate::amounts::Amounts;
use crate::candidate::{Candidate, Cut, Unfit};
use crate::cycle::{Run, Stage};
use crate::keys::{AgentKey, ClientKey, QuotaKey};
use crate::quota::Ledger;
use crate::sorter::SorterKind;

/// The answer to whether a client is offered something of an agent.
pub(crate) enum Answer {
    /// All that is left.
    Everything,
    Offer(Resources),
    /// Nothing of this, nor of less.
    No(Why),
    /// Nothing as long as limits and headroom do not allow more.
    HeldBack,
    /// Nothing in this stage.
    NotNow,
}

/// Why it is a "no", for those who ask afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    Unfit(Unfit),
    /// The framework refused it, and that still holds.
    Refused,
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
        rng: &mut impl Rng,
        run: &mut Run,
    ) -> Vec<(ClientKey, Resources)> {
        let mut chosen = Vec::new();
        if !self.can_be_offered(agent) {
            return chosen;
        }
        let state = &mut self.agents[agent.0];
        if state.traits.indivisible && !self.ledger.is_empty() && state.declined_of != state.available {
            // Less is not always a part of what was refused: where one volume was too much, another may fit.
            state.declined.clear();
        }
        state.review_declined();
        state.declined.subtract(&self.fresh);
        state.held_back.subtract(&self.fresh);
        if self.active.is_covered_by(&state.declined, &state.held_back)
            || self.is_out_of_headroom(agent, stage)
        {
            return chosen;
        }
        let state = &self.agents[agent.0];
        let mut left = state.available.clone();
        let mut asked_about_all = true;
        if let Some(shared) = run.shared.get(&agent) {
            left = left.filter(|entry| !entry.is_shared() || !shared.intersects_entry(entry));
            asked_about_all = false;
        }
        let mut books: Vec<(Option<QuotaKey>, Amounts)> = Vec::new();
        let (mut declined, mut held_back) = (Vec::new(), Vec::new());
        self.role_sorter.refresh(&self.pool);
        let mut turns = Turns::draw(self.options.sorter, rng);
        'roles: for role_key in self.role_sorter.turns(&mut turns.roles) {
            let quota = self.roles[role_key.0].quota;
            if stage == Stage::Guarantees && !is_unsatisfied(&self.ledger, quota) {
                continue;
            }
            self.roles[role_key.0].sorter.refresh(&self.pool);
            let role = &self.roles[role_key.0];
            for client in role.sorter.turns(&mut turns.frameworks) {
                if state.declined.contains(client.0) || state.held_back.contains(client.0) {
                    continue;
                }
                let client_state = &self.clients[client.0];
                let framework = &self.frameworks[client_state.framework.0];
                let candidate = Candidate { agent: state, framework, role, client: client_state };
                let (answer, cut) = self.ask(&candidate, client, agent, &left, stage);
                if stage == Stage::FairShare && (cut.limited || cut.held_back) {
                    if cut.held_back {
                        self.ledger.held.insert(agent.0);
                    }
                    if cut.limited
                        && let Some(key) = quota
                    {
                        self.ledger.accounts[key.0].held.insert(agent.0);
                    }
                }
                let offer = match answer {
                    Answer::Everything => Some(std::mem::take(&mut left)),
                    Answer::Offer(offer) => {
                        left -= &offer;
                        Some(offer)
                    }
                    // Once something was chosen a "no" is one to what is left only, and the agent remembers
                    // nothing of that.
                    Answer::No(_) if chosen.is_empty() && asked_about_all => {
                        declined.push(client);
                        None
                    }
                    // Where things cannot be cut, less may be what the guarantee has room for.
                    Answer::HeldBack if state.traits.indivisible && is_unsatisfied(&self.ledger, quota) => {
                        None
                    }
                    Answer::HeldBack if chosen.is_empty() && asked_about_all => {
                        held_back.push(client);
                        None
                    }
                    Answer::No(_) | Answer::HeldBack | Answer::NotNow => None,
                };
                let Some(offer) = offer else { continue };
                if state.traits.shared {
                    // Of a shared resource one copy is there for every cycle, not one for everybody.
                    let shared = offer.shared();
                    left = left.filter(|entry| !entry.is_shared() || !shared.intersects_entry(entry));
                    *run.shared.entry(agent).or_default() += &shared;
                }
                self.ledger.free.subtract(&cut.plain);
                if let Some(key) = quota {
                    self.ledger.change(key, |consumed| consumed.add(&cut.plain));
                }
                books.push((quota, cut.plain));
                chosen.push((client, offer));
                if left.is_empty() {
                    break 'roles;
                }
                if stage == Stage::Guarantees && !is_unsatisfied(&self.ledger, quota) {
                    continue 'roles;
                }
            }
        }
        for (quota, plain) in books {
            self.ledger.free.add(&plain);
            if let Some(key) = quota {
                self.ledger.change(key, |consumed| consumed.subtract(&plain));
            }
        }
        let state = &mut self.agents[agent.0];
        declined.iter().for_each(|client| state.declined.insert(client.0));
        held_back.iter().for_each(|client| state.held_back.insert(client.0));
        if stage == Stage::Guarantees && state.traits.indivisible && !chosen.is_empty() {
            run.cut.insert(agent);
        }
        if stage == Stage::FairShare {
            // What is left may be for somebody for whom it was not when there was more; what is shared and was
            // offered in this cycle, for anybody in the next.
            let quirks = state.traits.shared || (!self.ledger.is_empty() && state.traits.indivisible);
            let cut_before = run.cut.contains(&agent);
            if !asked_about_all
                || cut_before
                || (!chosen.is_empty() && (quirks || !state.held_back.is_empty()))
            {
                self.unsettled.insert(agent.0);
            }
        }
        chosen
    }

    /// Whether anything of the agent may be offered to anybody.
    pub(crate) fn can_be_offered(&self, agent: AgentKey) -> bool {
        let state = &self.agents[agent.0];
        let listed = self.whitelist.as_ref().is_none_or(|whitelist| whitelist.contains(&state.hostname));
        state.active && listed && !state.available.is_empty()
    }

    /// Whether the headroom leaves so little of an agent that nobody can be offered anything in the second stage.
    /// Saves asking everybody, which is dear when thousands wait for what is held back.
    fn is_out_of_headroom(&mut self, agent: AgentKey, stage: Stage) -> bool {
        let state = &self.agents[agent.0];
        let headroom = |name| {
            let free = state.free.get(name);
            (free > 0).then(|| free.min(self.ledger.headroom(name)))
        };
        let out = stage == Stage::FairShare
            && self.ledger.holds_back()
            && !state.traits.special
            && self.n_own_minimums == 0
            && self.minimums.are_out_of_reach(headroom)
            // With all of it the least amounts can be reached.
            && !self.minimums.are_out_of_reach(|name| Some(state.free.get(name)));
        if out {
            let mut all = self.active.clone();
            all.subtract(&state.declined);
            self.ledger.held.insert(agent.0);
            let state = &mut self.agents[agent.0];
            all.iter().for_each(|client| state.held_back.insert(client));
        }
        out
    }

    pub(crate) fn ask(
        &self,
        candidate: &Candidate<'_>,
        client: ClientKey,
        agent: AgentKey,
        left: &Resources,
        stage: Stage,
    ) -> (Answer, Cut<'static>) {
        let nothing = || Cut::default();
        let whole = match candidate.whole(left, &self.options) {
            Ok(whole) => whole,
            Err(unfit) => return (Answer::No(Why::Unfit(unfit)), nothing()),
        };
        if self.filters.hide(client, agent, &whole) {
            return (Answer::No(Why::Refused), nothing());
        }
        if self.ledger.is_empty() {
            return (Answer::of(whole), nothing());
        }
        let account = candidate.role.quota.map(|key| &self.ledger.accounts[key.0]);
        let cut = match (stage, account) {
            (Stage::Guarantees, Some(account)) => {
                candidate.guaranteed(&whole, account, &self.ledger, &self.pool)
            }
            (Stage::Guarantees, None) => None,
            (Stage::FairShare, account) => Some(candidate.fair(whole, account, &self.ledger, &self.pool)),
        };
        let Some(cut) = cut else { return (Answer::NotNow, nothing()) };
        let scrap = cut.scrap && !self.options.headroom_scraps && candidate.client.min_allocatable.is_none();
        let is_cut = cut.limited || cut.held_back || stage == Stage::Guarantees;
        let good = !is_cut
            || (!scrap
                && candidate.is_allocatable(&cut.resources, &self.options)
                && !self.filters.hide(client, agent, &cut.resources));
        let Cut { resources, plain, limited, held_back, scrap } = cut;
        let rest = Cut { resources: Cow::Owned(Resources::new()), plain, limited, held_back, scrap };
        match (good, stage) {
            (true, _) => (Answer::of(resources), rest),
            (false, Stage::Guarantees) => (Answer::NotNow, rest),
            (false, Stage::FairShare) => (Answer::HeldBack, rest),
        }
    }

    /// What would be offered to a client if the agent were looked at for it alone now.
    pub(crate) fn would_offer(&self, client: ClientKey, agent: AgentKey) -> Option<Resources> {
        self.verdict(client, agent)?.0.offer(&self.agents[agent.0].available)
    }

    /// The answer a client would get if the agent were looked at for it alone now; `None` if nobody would.
    pub(crate) fn verdict(&self, client: ClientKey, agent: AgentKey) -> Option<(Answer, Cut<'static>)> {
        if !self.can_be_offered(agent) {
            return None;
        }
        let candidate = self.candidate(client, agent);
        let guaranteed = candidate.role.quota.is_some_and(|key| self.ledger.unsatisfied.contains(key.0));
        let ask = |stage| self.ask(&candidate, client, agent, &candidate.agent.available, stage);
        if guaranteed {
            let (answer, cut) = ask(Stage::Guarantees);
            if matches!(answer, Answer::Everything | Answer::Offer(_)) {
                return Some((answer, cut));
            }
        }
        Some(ask(Stage::FairShare))
    }

    pub(crate) fn candidate(&self, client: ClientKey, agent: AgentKey) -> Candidate<'_> {
        let client = &self.clients[client.0];
        Candidate {
            agent: &self.agents[agent.0],
            framework: &self.frameworks[client.framework.0],
            role: &self.roles[client.role.0],
            client,
        }
    }
}

impl Answer {
    /// Borrowed is what nothing had to be taken from.
    fn of(offer: Cow<'_, Resources>) -> Answer {
        match offer {
            Cow::Borrowed(_) => Answer::Everything,
            Cow::Owned(offer) => Answer::Offer(offer),
        }
    }

    /// What is offered when `left` was left, if anything.
    pub(crate) fn offer(self, left: &Resources) -> Option<Resources> {
        match self {
            Answer::Everything => Some(left.clone()),
            Answer::Offer(offer) => Some(offer),
            Answer::No(_) | Answer::HeldBack | Answer::NotNow => None,
        }
    }
}

/// What random sorters draw from, one source for each level of the loop.
struct Turns {
    roles: Xoshiro256PlusPlus,
    frameworks: Xoshiro256PlusPlus,
}

impl Turns {
    /// Draws nothing for sorters that have no use for it, so that these replay alike with and without.
    fn draw(kind: SorterKind, rng: &mut impl Rng) -> Turns {
        let mut seed = || match kind {
            SorterKind::Drf => 0,
            SorterKind::Random => rng.next_u64(),
        };
        Turns {
            roles: Xoshiro256PlusPlus::seed_from_u64(seed()),
            frameworks: Xoshiro256PlusPlus::seed_from_u64(seed()),
        }
    }
}

/// Whether a role has less than it is guaranteed.
fn is_unsatisfied(ledger: &Ledger, quota: Option<QuotaKey>) -> bool {
    quota.is_some_and(|key| ledger.unsatisfied.contains(key.0))
}
