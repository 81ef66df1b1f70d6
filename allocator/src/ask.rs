//! What one client is offered of one agent, if anything.
//!
//! A cycle asks this of clients in their order; whoever wants to know why, and the invariants, ask it of one.

use std::borrow::Cow;

use api::resources::Resources;

use crate::candidate::{Candidate, Cut, Unfit};
use crate::cycle::Stage;
use crate::keys::{AgentKey, ClientKey};
use crate::{Allocator, Time};

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

impl Allocator {
    /// Whether anything of the agent may be offered to anybody.
    pub(crate) fn can_be_offered(&self, agent: AgentKey) -> bool {
        let state = &self.agents[agent.0];
        let listed = self.whitelist.as_ref().is_none_or(|whitelist| whitelist.contains(&state.hostname));
        state.active && listed && !state.available.is_empty()
    }

    /// What a client is offered when `left` is left of an agent, and what quota took from that.
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
        if self.filters.hide(client, agent, &whole, candidate.now) {
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
            (Stage::FairShare, account) => {
                let takes_scraps = candidate.takes_scraps(&self.options);
                Some(candidate.fair(whole, account, &self.ledger, &self.pool, takes_scraps))
            }
        };
        let Some(cut) = cut else { return (Answer::NotNow, nothing()) };
        let is_cut = cut.limited || cut.held_back || stage == Stage::Guarantees;
        let good = !is_cut
            || (candidate.is_allocatable(&cut.resources, &self.options)
                && !self.filters.hide(client, agent, &cut.resources, candidate.now));
        let Cut { resources, plain, limited, held_back, scrap } = cut;
        let rest = Cut { resources: Cow::Owned(Resources::new()), plain, limited, held_back, scrap };
        match (good, stage) {
            (true, _) => (Answer::of(resources), rest),
            (false, Stage::Guarantees) => (Answer::NotNow, rest),
            (false, Stage::FairShare) => (Answer::HeldBack, rest),
        }
    }

    /// What would be offered to a client if the agent were looked at for it alone at `now`.
    pub(crate) fn would_offer(&self, client: ClientKey, agent: AgentKey, now: Time) -> Option<Resources> {
        self.verdict(client, agent, now)?.0.offer(&self.agents[agent.0].available)
    }

    /// The answer a client would get if the agent were looked at for it alone at `now`; `None` if nobody would.
    pub(crate) fn verdict(
        &self,
        client: ClientKey,
        agent: AgentKey,
        now: Time,
    ) -> Option<(Answer, Cut<'static>)> {
        if !self.can_be_offered(agent) {
            return None;
        }
        let candidate = self.candidate(client, agent, now);
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

    pub(crate) fn candidate(&self, client: ClientKey, agent: AgentKey, now: Time) -> Candidate<'_> {
        let client = &self.clients[client.0];
        Candidate {
            now,
            agent: &self.agents[agent.0],
            framework: &self.frameworks[client.framework.0],
            role: &self.roles[client.role.0],
            client,
        }
    }
}
