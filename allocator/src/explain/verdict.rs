//! What to say of one agent: the core's verdict, put into words.

use std::borrow::Cow;
use std::collections::BTreeSet;

use api::resources::{Entry, Resources};

use super::order::Queue;
use super::reason::{NOTHING, Sentence};
use super::shown::{bounded, limits, numbers, quantities};
use super::{AgentExplanation, Claimant, Kind, Missing, OfferedOrUsed, Reason, Spent, Standing};
use crate::Time;
use crate::allocator::Allocator;
use crate::ask::{Answer, Why};
use crate::candidate::{Candidate, Unfit};
use crate::keys::{AgentKey, ClientKey};

/// Roles named at most where some are listed.
const NAMED_MAX: usize = 10;

impl Allocator {
    /// What there is to say, without the particulars.
    pub(crate) fn kind(&self, client: ClientKey, agent: AgentKey, now: Time) -> Kind {
        let state = &self.agents[agent.0];
        let Some((answer, cut)) = self.verdict(client, agent, now) else {
            return if !state.active {
                Kind::AgentInactive
            } else if !state.available.is_empty() {
                Kind::NotWhitelisted
            } else if state.held.contains_key(&client) {
                Kind::Holds
            } else {
                Kind::NothingLeft
            };
        };
        match answer {
            Answer::Everything | Answer::Offer(_) => match self.standing(client) {
                Standing::Active => Kind::WouldBeOffered,
                _ => Kind::NotTakingTurns,
            },
            Answer::No(Why::Refused) => Kind::Refused,
            Answer::No(Why::Unfit(unfit)) => match unfit {
                Unfit::Gpus => Kind::NeedsGpuResources,
                Unfit::Region => Kind::NeedsRegionAware,
                Unfit::MultiRole => Kind::AgentLacksMultiRole,
                Unfit::HierarchicalRole => Kind::AgentLacksHierarchicalRole,
                Unfit::Constraints => Kind::ExcludedByConstraints,
                Unfit::BelowMinimum => Kind::BelowMinimum,
                Unfit::NothingForIt => {
                    let role = &*self.roles[self.clients[client.0].role.0].name;
                    if state.available.iter().all(|entry| entry.is_allocatable_to(role)) {
                        Kind::NeedsOtherCapability
                    } else {
                        Kind::ReservedToOthers
                    }
                }
            },
            // The last question is that of the second stage, of which nobody is left out.
            Answer::HeldBack | Answer::NotNow => {
                if cut.held_back {
                    Kind::HeldBack
                } else {
                    Kind::OverLimit
                }
            }
        }
    }

    pub(super) fn explain_agent(
        &self,
        now: Time,
        client: ClientKey,
        agent: AgentKey,
        kind: Kind,
        queue: &mut Queue<'_>,
    ) -> AgentExplanation {
        let state = &self.agents[agent.0];
        let reason = self.reason(now, client, agent, kind, queue);
        AgentExplanation {
            agent_id: state.id.to_string(),
            hostname: state.hostname.clone(),
            text: Sentence(kind, &reason).to_string(),
            reason,
            available: bounded(&state.available),
            held: state.held.get(&client).map(|held| bounded(&held.resources)),
        }
    }

    fn reason(
        &self,
        now: Time,
        client: ClientKey,
        agent: AgentKey,
        kind: Kind,
        queue: &mut Queue<'_>,
    ) -> Reason {
        let candidate = self.candidate(client, agent, now);
        let state = candidate.agent;
        match kind {
            Kind::WouldBeOffered => {
                let offer = self.would_offer(client, agent, now).unwrap_or_default();
                let before = queue.before(client, agent, now);
                Reason::WouldBeOffered {
                    offer: bounded(&offer),
                    refusal_ended: self.filters.hide(client, agent, &offer, Time::EPOCH),
                    before: before.map(|(other, offer)| self.claimant(other, &offer)),
                }
            }
            Kind::NotTakingTurns => Reason::NotTakingTurns {
                offer: bounded(&self.would_offer(client, agent, now).unwrap_or_default()),
                standing: self.standing(client),
            },
            Kind::Holds | Kind::NothingLeft => Reason::Taken {
                by: OfferedOrUsed {
                    n_frameworks: state.held.len(),
                    n_unknown_frameworks: state.strangers.len(),
                    overcommitted: state.overcommitted,
                },
            },
            Kind::AgentInactive
            | Kind::NeedsGpuResources
            | Kind::AgentLacksMultiRole
            | Kind::AgentLacksHierarchicalRole
            | Kind::ExcludedByConstraints => Reason::Plain {},
            Kind::NotWhitelisted => {
                Reason::NotWhitelisted { n_whitelisted: self.whitelist.as_ref().map_or(0, BTreeSet::len) }
            }
            Kind::NeedsRegionAware => {
                let domain = state.domain.as_ref().and_then(|domain| domain.fault_domain.as_ref());
                Reason::NeedsRegionAware {
                    agent_region: domain.map(|it| it.region.name.clone()).unwrap_or_default(),
                    master_region: self.options.region.clone().unwrap_or_default(),
                }
            }
            Kind::ReservedToOthers | Kind::NeedsOtherCapability => Reason::NotForIt {
                reserved_to: reserved_to_others(&candidate),
                missing_capabilities: missing_capabilities(&candidate),
            },
            Kind::BelowMinimum => {
                let set_by_framework = candidate.client.min_allocatable.is_some();
                let minimums = candidate
                    .client
                    .min_allocatable
                    .as_ref()
                    .unwrap_or(&self.options.min_allocatable_resources);
                Reason::BelowMinimum {
                    left: bounded(&state.available.filter(|entry| candidate.may_have(entry))),
                    minimums: minimums.iter().take(NAMED_MAX).map(quantities).collect(),
                    set_by_framework,
                    reserved_to: reserved_to_others(&candidate),
                    missing_capabilities: missing_capabilities(&candidate),
                }
            }
            Kind::Refused => self.refused(&candidate, client, agent),
            Kind::HeldBack | Kind::OverLimit => self.held_by_quota(&candidate, client, agent),
        }
    }

    fn claimant(&self, client: ClientKey, offer: &Resources) -> Claimant {
        let state = &self.clients[client.0];
        Claimant {
            framework_id: self.frameworks[state.framework.0].id.to_string(),
            role: self.roles[state.role.0].name.to_string(),
            offer: bounded(offer),
        }
    }

    /// What could be offered if there were neither refusals nor quotas.
    fn whole(&self, candidate: &Candidate<'_>) -> Resources {
        let whole = candidate.whole(&candidate.agent.available, &self.options);
        whole.map(|whole| whole.into_owned()).unwrap_or_default()
    }

    fn refused(&self, candidate: &Candidate<'_>, client: ClientKey, agent: AgentKey) -> Reason {
        let (offer, now) = (self.whole(candidate), candidate.now);
        let last = self.filters.hiding(client, agent, &offer, now).max_by_key(|(until, _)| *until);
        let (until, refused) = last.map_or((now, Resources::new()), |(until, it)| (until, it.clone()));
        Reason::Refused {
            refused: bounded(&refused),
            offer: bounded(&offer),
            until: until.as_secs_f64(),
            seconds_left: until.saturating_since(now).as_secs_f64(),
        }
    }

    fn held_by_quota(&self, candidate: &Candidate<'_>, client: ClientKey, agent: AgentKey) -> Reason {
        let whole = self.whole(candidate);
        let without_quota = bounded(&whole);
        let account = candidate.role.quota.map(|key| &self.ledger.accounts[key.0]);
        let fair = |takes_scraps| {
            candidate.fair(Cow::Owned(whole.clone()), account, &self.ledger, &self.pool, takes_scraps)
        };
        let cut = fair(candidate.takes_scraps(&self.options));
        // A scrap is shown for what it is.
        let leaves =
            if cut.scrap && cut.resources.is_empty() { fair(true).resources } else { cut.resources.clone() };
        let spent = account.filter(|_| cut.limited).map(|account| Spent {
            role: account.role.to_string(),
            limits: limits(&account.quota.limits),
            consumed: numbers(&account.consumed, &self.pool),
        });
        let unsatisfied = self.ledger.iter().filter(|(key, _)| self.ledger.unsatisfied.contains(key.0));
        let missing = unsatisfied.take(NAMED_MAX).map(|(_, account)| Missing {
            role: account.role.to_string(),
            amounts: numbers(&account.unsatisfied(), &self.pool),
        });
        Reason::Quota {
            without_quota,
            leaves_refused: !cut.resources.is_empty()
                && candidate.is_allocatable(&cut.resources, &self.options)
                && self.filters.hide(client, agent, &cut.resources, candidate.now),
            leaves: if leaves.is_empty() { NOTHING.to_owned() } else { bounded(&leaves) },
            limits: spent,
            missing: if cut.held_back { missing.collect() } else { Vec::new() },
        }
    }

    /// That what is explained is what is decided.
    pub(crate) fn check_explanation(
        &self,
        client: ClientKey,
        agent: AgentKey,
        now: Time,
    ) -> Result<(), String> {
        let offered = matches!(self.kind(client, agent, now), Kind::WouldBeOffered | Kind::NotTakingTurns);
        if offered == self.would_offer(client, agent, now).is_some() {
            return Ok(());
        }
        Err(format!("what is said of {agent:?} to {client:?} is not what it would be offered"))
    }
}

fn reserved_to_others(candidate: &Candidate<'_>) -> Vec<String> {
    let role = &*candidate.role.name;
    let others = candidate.agent.available.iter().filter(|entry| !entry.is_allocatable_to(role));
    let roles: BTreeSet<&str> = others.filter_map(Entry::reservation_role).collect();
    roles.into_iter().take(NAMED_MAX).map(str::to_owned).collect()
}

fn missing_capabilities(candidate: &Candidate<'_>) -> Vec<&'static str> {
    let has = candidate.framework.capabilities;
    let role = &*candidate.role.name;
    let any = |is: fn(&Entry) -> bool| {
        candidate.agent.available.iter().any(|entry| entry.is_allocatable_to(role) && is(entry))
    };
    let mut missing = Vec::new();
    if !has.revocable_resources && any(Entry::is_revocable) {
        missing.push("REVOCABLE_RESOURCES");
    }
    if !has.shared_resources && any(Entry::is_shared) {
        missing.push("SHARED_RESOURCES");
    }
    if !has.reservation_refinement && any(Entry::has_refined_reservation) {
        missing.push("RESERVATION_REFINEMENT");
    }
    missing
}
