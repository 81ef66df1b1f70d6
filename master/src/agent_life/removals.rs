//! Agents are given up one after another, no faster than the operator allows. Whether it is the health checks, the
//! wait for an agent to come back or that after a failover: all draw on the same permits. An agent that shows up
//! before its turn is spared.

use std::time::Duration;

use api::v1::AgentId;
use libprocess::Limiter;

use crate::cluster::Cluster;
use crate::effect::{Effect, Timeout};
use crate::registry::ByAge;

/// Why an agent is to be given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Because {
    /// It does not answer pings.
    Silent,
    /// It lost its connection and did not come back; `connection` is which one it lost.
    Away { connection: u64 },
    /// A new master found it in the registry, and it did not come back.
    Missing,
}

/// The agents whose turn has not come.
#[derive(Debug, Default)]
pub(crate) struct Removals {
    limiter: Option<Limiter>,
    waiting: ByAge<Because>,
    /// The next permit is taken; [`Timeout::Removal`] says when it is to be used.
    permit_due: bool,
}

impl Removals {
    /// So many agents per that time, or as many as there are.
    pub(crate) fn new(limit: Option<(u32, Duration)>) -> Self {
        let limiter = limit.map(|(agents, per)| Limiter::new(agents, per));
        Removals { limiter, ..Removals::default() }
    }
}

impl Cluster {
    /// An agent has not answered its pings for too long.
    pub fn agent_is_silent(&mut self, id: &AgentId) {
        self.give_up(id, Because::Silent);
    }

    /// It answered again.
    pub fn agent_answered(&mut self, id: &AgentId) {
        // A disconnected agent has to come back, not only to answer.
        if self.removals.waiting.get(id) == Some(&Because::Silent) {
            self.spare(id);
        }
    }

    /// A disconnected agent did not come back in time.
    pub fn agent_reregistration_timed_out(&mut self, id: &AgentId, connection: u64) {
        self.give_up(id, Because::Away { connection });
    }

    /// The agents of the registry had their time: those still missing are given up, unless they are so many
    /// that the fault is more likely here.
    pub fn recovery_timed_out(&mut self) {
        let missing: Vec<AgentId> = self.agents.recovered.keys().cloned().collect();
        if missing.is_empty() {
            return;
        }
        let share = missing.len() as f64 / self.admitted_at_recovery.max(1) as f64;
        let limit = self.rules.recovery_agent_removal_limit;
        if share > limit {
            self.fatal = Some(format!(
                "{} of the {} agents in the registry have not come back; that is more than --recovery_agent_removal_limit ({:.0}%) allows to give up",
                missing.len(),
                self.admitted_at_recovery,
                limit * 100.0
            ));
            return;
        }
        for id in missing {
            self.give_up(&id, Because::Missing);
        }
    }

    /// An agent's turn to be given up is over before it came.
    pub(crate) fn spare(&mut self, id: &AgentId) {
        if self.removals.waiting.remove(id).is_some() {
            self.count("master/slave_unreachable_canceled");
        }
    }

    /// A permit that was waited for is there.
    pub fn removal_permitted(&mut self) {
        self.removals.permit_due = false;
        self.use_permit();
        self.take_permits();
    }

    fn give_up(&mut self, id: &AgentId, because: Because) {
        if self.agents.is_changing(id) || !self.still_holds(id, because) {
            return;
        }
        if let Some(earlier) = self.removals.waiting.get_mut(id) {
            // An answer to a ping is no longer enough.
            if *earlier == Because::Silent {
                *earlier = because;
            }
            return;
        }
        self.count("master/slave_unreachable_scheduled");
        self.removals.waiting.insert(id.clone(), because);
        self.take_permits();
    }

    fn take_permits(&mut self) {
        while !self.removals.permit_due && !self.removals.waiting.is_empty() {
            let now = self.now;
            let limiter = self.removals.limiter.as_mut();
            let after = limiter.map_or(Duration::ZERO, |limiter| limiter.reserve(now));
            if after.is_zero() {
                self.use_permit();
            } else {
                self.removals.permit_due = true;
                self.push(Effect::Delay { after, then: Timeout::Removal });
            }
        }
    }

    /// Gives up the first agent that still deserves it.
    fn use_permit(&mut self) {
        while let Some((id, because)) = self.removals.waiting.pop() {
            let cause = match because {
                Because::Silent => "health check timed out",
                Because::Away { .. } => "the agent did not reregister in time",
                Because::Missing => "the agent did not reregister after a failover of the master",
            };
            if self.still_holds(&id, because) && self.mark_unreachable(&id, cause) {
                return self.count("master/slave_unreachable_completed");
            }
            self.count("master/slave_unreachable_canceled");
        }
    }

    fn still_holds(&self, id: &AgentId, because: Because) -> bool {
        match because {
            Because::Silent => self.agents.get(id).is_some(),
            Because::Away { connection } => {
                self.agents.get(id).is_some_and(|agent| !agent.connected && agent.connection == connection)
            }
            Because::Missing => self.agents.recovered.contains_key(id),
        }
    }
}
