//! Why a framework was, or was not, offered an agent.
//!
//! Nothing is remembered for this. An explanation asks the same functions that decide a cycle about the state as it
//! is now, so that it can neither drift apart from what is decided nor cost a cycle anything when nobody asks.
//!
//! **Cost.** One look at each agent for each role that is explained, at most [`PAIRS_MAX`] of them beyond the first
//! role, and details for at most [`DETAILS_MAX`] of these looks.

mod constraints;
mod http;
mod order;
mod reason;
mod roles;
mod shown;
mod verdict;

use std::collections::BTreeMap;

use api::v1::{AgentId, FrameworkId};
use serde::Serialize;

use crate::events::Result;
use crate::keys::{AgentKey, ClientKey, FrameworkKey};
use crate::{Allocator, AllocatorError, Time};

pub use constraints::{ConstraintsDebug, ExcludedAgents};
pub use order::{Level, Turn};
pub use reason::{Claimant, Kind, Missing, OfferedOrUsed, Reason, Spent};
pub use roles::{FrameworkCounts, QuotaView, RoleTree, RoleView};

use order::Queue;
pub use shown::Numbers;
use shown::numbers;

/// Roles of one framework in one explanation; of more, those in question have to be named.
pub const ROLES_MAX: usize = 100;
/// Pairs of role and agent that are looked at for one explanation. The first role is looked at whole.
pub const PAIRS_MAX: usize = 100_000;
/// Agents that are told one by one in one explanation.
pub const DETAILS_MAX: usize = 5_000;

/// Which part of a long list to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Page {
    /// How many entries at most, no more than [`Page::LIMIT_MAX`].
    pub limit: usize,
    /// How many to leave out before.
    pub offset: usize,
}

impl Page {
    /// The most entries on one page.
    pub const LIMIT_MAX: usize = 1000;

    fn limit(self) -> usize {
        self.limit.min(Page::LIMIT_MAX)
    }
}

impl Default for Page {
    /// The first hundred.
    fn default() -> Page {
        Page { limit: 100, offset: 0 }
    }
}

/// What to explain of a framework.
#[derive(Clone, Copy, Debug, Default)]
pub struct Question<'q> {
    /// This agent only, rather than all.
    pub agent: Option<&'q AgentId>,
    /// This role only, rather than all of the framework's.
    pub role: Option<&'q str>,
    /// Of the agents there is the same to say of, these.
    pub page: Page,
}

/// Why a framework was, or was not, offered agents.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// Whom it is about.
    pub framework_id: String,
    /// Seconds since the Unix epoch at which all this held.
    pub time: f64,
    /// Whether anybody is offered anything at the time.
    pub cycles: Cycles,
    /// The same in words.
    pub cycles_text: String,
    /// All agents the allocator knows.
    pub n_agents: usize,
    /// All roles the framework is subscribed to, or holds something in.
    pub n_roles: usize,
    /// Which of the agents in each group are told.
    pub page: Page,
    /// Role by role.
    pub roles: Vec<RoleExplanation>,
}

/// Whether cycles are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum Cycles {
    /// Events and every allocation interval lead to one.
    Running,
    /// The master does something that has to be seen whole.
    Paused,
    /// After a failover offers wait for agents to come back.
    Recovering {
        /// For so many agents.
        expected: usize,
    },
}

/// One role of a framework.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RoleExplanation {
    /// Which.
    pub role: String,
    /// Whether the framework is offered anything in it at all.
    pub standing: Standing,
    /// The standing, and the turn, in words.
    pub text: String,
    /// When its turn comes: on each level of the tree of roles, then among the frameworks of the role.
    pub turn: Turn,
    /// What the framework is offered or uses in this role, on all agents; reservations and all.
    pub held: Numbers,
    /// Of how many agents it refuses something.
    pub n_refused_agents: usize,
    /// Agents by what there is to say of them. `None` if that was too much for one answer: ask for this role.
    pub agents: Option<Vec<Group>>,
}

/// Whether a framework takes turns in a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It does.
    Active,
    /// It is not subscribed, and known in this role for what it holds there.
    NotSubscribed,
    /// It is disconnected, or was deactivated.
    FrameworkInactive,
    /// It suppressed offers.
    Suppressed,
    /// The limits of the role leave nothing that could be offered.
    Parked,
}

impl Standing {
    fn text(self) -> &'static str {
        match self {
            Standing::Active => "takes its turn in every cycle",
            Standing::NotSubscribed => {
                "is not subscribed to this role, and known in it for what it still holds there"
            }
            Standing::FrameworkInactive => {
                "is disconnected or deactivated, and offered nothing until it is back"
            }
            Standing::Suppressed => {
                "suppressed offers for this role, and is offered nothing until it revives"
            }
            Standing::Parked => {
                "waits, as the limits of the role leave less than the least amounts of an offer"
            }
        }
    }
}

/// Agents of which there is the same to say.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Group {
    /// What.
    pub reason: Kind,
    /// The same in words.
    pub text: String,
    /// How many agents.
    pub count: usize,
    /// A page of them, by id.
    pub agents: Vec<AgentExplanation>,
}

/// One agent, for one role of a framework.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AgentExplanation {
    /// Which.
    pub agent_id: String,
    /// Where it runs.
    pub hostname: String,
    /// Why.
    #[serde(flatten)]
    pub reason: Reason,
    /// The same in words.
    pub text: String,
    /// What the agent has that nobody holds.
    pub available: String,
    /// What the framework is offered or uses of it in this role.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<String>,
}

impl Allocator {
    /// Why a framework is, or is not, offered what agents have: as things stand at `now`.
    ///
    /// What it would be offered is what a cycle would decide now if nobody else came before.
    ///
    /// # Errors
    /// No such framework or agent, or the framework has nothing to do with that role.
    pub fn explain(
        &self,
        now: Time,
        framework_id: &FrameworkId,
        question: &Question<'_>,
    ) -> Result<Explanation> {
        let framework = self.framework(framework_id)?;
        let agents = match question.agent {
            Some(id) => vec![self.agent(id)?],
            None => self.agents_by_id(),
        };
        let clients = self.clients_in(framework, question.role)?;
        let mut queue = Queue::new(self);
        let (mut pairs_left, mut details_left) = (PAIRS_MAX.max(agents.len()), DETAILS_MAX);
        let mut roles = Vec::new();
        for &client in clients.iter().take(ROLES_MAX) {
            let mut told = None;
            if pairs_left >= agents.len() {
                pairs_left -= agents.len();
                told = Some(self.explain_agents(
                    now,
                    client,
                    &agents,
                    question.page,
                    &mut queue,
                    &mut details_left,
                ));
            }
            roles.push(self.explain_role(now, client, told));
        }
        let (cycles, cycles_text) = self.cycles();
        Ok(Explanation {
            framework_id: framework_id.to_string(),
            time: now.as_secs_f64(),
            cycles,
            cycles_text,
            n_agents: self.agents.len(),
            n_roles: self.frameworks[framework.0].clients.len(),
            page: question.page,
            roles,
        })
    }

    fn clients_in(&self, framework: FrameworkKey, role: Option<&str>) -> Result<Vec<ClientKey>> {
        let state = &self.frameworks[framework.0];
        let Some(role) = role else { return Ok(state.clients.values().copied().collect()) };
        let client = state.clients.get(role).copied();
        client.map(|client| vec![client]).ok_or_else(|| AllocatorError::NotInRole {
            framework_id: state.id.to_string(),
            role: role.to_owned(),
        })
    }

    fn agents_by_id(&self) -> Vec<AgentKey> {
        let mut agents: Vec<AgentKey> = self.agents.iter().map(|(key, _)| AgentKey(key)).collect();
        agents
            .sort_unstable_by(|left, right| self.agents[left.0].id.value.cmp(&self.agents[right.0].id.value));
        agents
    }

    fn explain_role(&self, now: Time, client: ClientKey, agents: Option<Vec<Group>>) -> RoleExplanation {
        let state = &self.clients[client.0];
        let role = &self.roles[state.role.0];
        let standing = self.standing(client);
        let turn = self.turn_of(client);
        RoleExplanation {
            role: role.name.to_string(),
            standing,
            text: format!("The framework {}. {}", standing.text(), turn.text()),
            turn,
            held: role.sorter.held(client).map(|held| numbers(held, &self.pool)).unwrap_or_default(),
            n_refused_agents: self.filters.n_in_force(client, now),
            agents,
        }
    }

    fn explain_agents(
        &self,
        now: Time,
        client: ClientKey,
        agents: &[AgentKey],
        page: Page,
        queue: &mut Queue<'_>,
        details_left: &mut usize,
    ) -> Vec<Group> {
        let mut groups: BTreeMap<Kind, (usize, Vec<AgentKey>)> = BTreeMap::new();
        for &agent in agents {
            let (count, told) = groups.entry(self.kind(client, agent, now)).or_default();
            if *count >= page.offset && told.len() < page.limit() {
                told.push(agent);
            }
            *count += 1;
        }
        let tell = |(kind, (count, told)): (Kind, (usize, Vec<AgentKey>))| {
            let told = told.into_iter().take(*details_left);
            let agents: Vec<_> =
                told.map(|agent| self.explain_agent(now, client, agent, kind, queue)).collect();
            *details_left -= agents.len();
            Group { reason: kind, text: kind.text().to_owned(), count, agents }
        };
        groups.into_iter().map(tell).collect()
    }

    fn standing(&self, client: ClientKey) -> Standing {
        let state = &self.clients[client.0];
        let framework = &self.frameworks[state.framework.0];
        if self.active.contains(client.0) {
            Standing::Active
        } else if !state.subscribed {
            Standing::NotSubscribed
        } else if !framework.active {
            Standing::FrameworkInactive
        } else if state.suppressed {
            Standing::Suppressed
        } else {
            Standing::Parked
        }
    }

    fn cycles(&self) -> (Cycles, String) {
        if let Some(expected) = self.recovering {
            let text = format!(
                "After a failover nobody is offered anything until {expected} agents are back, of which {} are, \
                 or {:?} have passed.",
                self.agents.len(),
                self.options.recovery_timeout
            );
            return (Cycles::Recovering { expected }, text);
        }
        if self.paused {
            let text = "Nobody is offered anything until the master resumes allocation.";
            return (Cycles::Paused, text.to_owned());
        }
        let interval = self.options.allocation_interval;
        (Cycles::Running, format!("Agents are looked at every {interval:?}, and when something happens."))
    }
}
