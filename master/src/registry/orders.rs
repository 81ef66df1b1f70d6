//! Which agents are to get no work, or to become empty. What was ordered stands until it is taken back, however
//! often the agent is lost and returns, and whoever leads.

use std::sync::Arc;

use api::v1::{AgentId, DrainInfo, DrainState};

use super::operation::Drain;
use super::state::{AGENT_DRAINING, Orders, Refused, Registry, orders_of};

impl Registry {
    /// What was ordered for agents, by agent; only of those of which anything was.
    pub fn orders(&self) -> impl Iterator<Item = (&AgentId, Orders)> {
        let admitted =
            self.admitted.iter().map(|(id, slave)| (id, orders_of(slave.drain_info, slave.deactivated)));
        let unreachable =
            self.unreachable.iter().map(|(id, slave)| (id, orders_of(slave.drain_info, slave.deactivated)));
        admitted.chain(unreachable).filter(|(_, orders)| orders.any())
    }

    /// What was ordered for an agent that is admitted or unreachable.
    pub(super) fn orders_for(&self, id: &AgentId) -> Result<Orders, Refused> {
        if let Some(slave) = self.admitted.get(id) {
            return Ok(orders_of(slave.drain_info, slave.deactivated));
        }
        if let Some(slave) = self.unreachable.get(id) {
            return Ok(orders_of(slave.drain_info, slave.deactivated));
        }
        Err(if self.gone.contains_key(id) {
            Refused::AlreadyGone(id.to_string())
        } else {
            Refused::Unknown(id.to_string())
        })
    }

    fn order(&mut self, id: &AgentId, orders: Orders) -> Result<(), Refused> {
        let old = self.orders_for(id)?;
        let Orders { drain, deactivated } = orders;
        let deactivated = deactivated.then_some(true);
        if let Some(slave) = self.admitted.get_mut(id) {
            let slave = Arc::make_mut(slave);
            (slave.drain_info, slave.deactivated) = (drain, deactivated);
        } else if let Some(slave) = self.unreachable.get_mut(id) {
            (slave.drain_info, slave.deactivated) = (drain, deactivated);
        }
        self.n_ordered = (self.n_ordered + usize::from(orders.any())).saturating_sub(usize::from(old.any()));
        self.require(AGENT_DRAINING, self.n_ordered > 0);
        Ok(())
    }

    /// The agent they were for leaves.
    pub(super) fn forget_orders(&mut self, orders: Orders) {
        if orders.any() {
            self.n_ordered = self.n_ordered.saturating_sub(1);
            self.require(AGENT_DRAINING, self.n_ordered > 0);
        }
    }

    pub(super) fn drain_agent(&mut self, drain: &Drain) -> Result<(), Refused> {
        let drain_info = DrainInfo { state: DrainState::Draining.into(), config: drain.config };
        self.order(&drain.agent_id, Orders { drain: Some(drain_info), deactivated: true })
    }

    pub(super) fn mark_drained(&mut self, id: &AgentId) -> Result<(), Refused> {
        let orders = self.orders_for(id)?;
        match orders.drain {
            Some(drain) if drain.state() == DrainState::Draining => {
                let drain = Some(DrainInfo { state: DrainState::Drained.into(), ..drain });
                self.order(id, Orders { drain, ..orders })
            }
            _ => Err(Refused::NotDraining(id.to_string())),
        }
    }

    pub(super) fn deactivate_agent(&mut self, id: &AgentId) -> Result<(), Refused> {
        let orders = self.orders_for(id)?;
        self.order(id, Orders { deactivated: true, ..orders })
    }

    pub(super) fn reactivate_agent(&mut self, id: &AgentId) -> Result<(), Refused> {
        let orders = self.orders_for(id)?;
        if orders.drain.is_some_and(|drain| drain.state() == DrainState::Draining) {
            return Err(Refused::StillDraining(id.to_string()));
        }
        if !orders.any() {
            return Err(Refused::NotDeactivated(id.to_string()));
        }
        self.order(id, Orders::default())
    }
}

#[cfg(test)]
mod tests {
    use api::v1::{AgentInfo, DrainConfig, DurationInfo, TimeInfo};

    use super::super::operation::{Kind, Marked, Prune};
    use super::*;

    /// Does one thing after another, and tells of each what the registry then says of agents and of itself.
    fn check(story: &[(&str, &str)]) {
        let mut registry = Registry::default();
        for (step, expected) in story {
            let (what, agent) = step.split_once(' ').unwrap();
            let id = AgentId::from(agent);
            let info = AgentInfo { id: Some(id.clone()), ..AgentInfo::default() };
            let marked = Marked { agent_id: id.clone(), time: TimeInfo { nanoseconds: 1 } };
            let max_grace_period = Some(DurationInfo { nanoseconds: 7 });
            let config = DrainConfig { max_grace_period, mark_gone: None };
            let outcome = registry.apply(
                &match what {
                    "admit" => Kind::AdmitAgent(info),
                    "lose" => Kind::MarkUnreachable(marked),
                    "return" => Kind::MarkReachable(info),
                    "update" => Kind::UpdateAgent(AgentInfo { hostname: "new".into(), ..info }),
                    "remove" => Kind::RemoveAgent(id),
                    "gone" => Kind::MarkGone(marked),
                    "prune" => Kind::Prune(Prune { unreachable: vec![id], gone: vec![] }),
                    "drain" => Kind::DrainAgent(Drain { agent_id: id, config }),
                    "drained" => Kind::MarkDrained(id),
                    "deactivate" => Kind::DeactivateAgent(id),
                    "reactivate" => Kind::ReactivateAgent(id),
                    other => panic!("{other}"),
                }
                .into(),
            );
            let mut seen: Vec<String> = registry
                .orders()
                .map(|(id, orders)| {
                    let drain = orders.drain.map(|it| {
                        assert_eq!(it.config, config, "as ordered");
                        format!(" {}", it.state().as_str_name())
                    });
                    let off = if orders.deactivated { " off" } else { "" };
                    format!("{id}{off}{}", drain.unwrap_or_default())
                })
                .collect();
            seen.extend(registry.minimum_capabilities().map(str::to_owned));
            let seen = seen.join(", ");
            let seen = outcome.map_or_else(|refused| refused.to_string(), |()| seen);
            assert_eq!(seen, *expected, "{step}");
            assert_eq!(Registry::from_proto(registry.to_proto()), Ok(registry.clone()), "proto round trip");
        }
    }

    #[test]
    fn an_agent_is_drained_and_comes_back_to_work() {
        check(&[
            ("admit a", ""),
            ("drained a", "agent a is not draining"),
            ("drain a", "a off DRAINING, AGENT_DRAINING"),
            ("reactivate a", "agent a is still draining; it can be reactivated when it is drained"),
            ("drain a", "a off DRAINING, AGENT_DRAINING"),
            ("drained a", "a off DRAINED, AGENT_DRAINING"),
            ("drained a", "agent a is not draining"),
            ("deactivate a", "a off DRAINED, AGENT_DRAINING"),
            ("reactivate a", ""),
            ("reactivate a", "agent a is not deactivated"),
        ]);
    }

    #[test]
    fn orders_are_for_agents_that_are_admitted_or_unreachable() {
        check(&[
            ("drain x", "agent x is neither admitted nor unreachable"),
            ("drained x", "agent x is neither admitted nor unreachable"),
            ("deactivate x", "agent x is neither admitted nor unreachable"),
            ("reactivate x", "agent x is neither admitted nor unreachable"),
            ("admit a", ""),
            ("lose a", ""),
            ("drain a", "a off DRAINING, AGENT_DRAINING"),
            ("drained a", "a off DRAINED, AGENT_DRAINING"),
            ("reactivate a", ""),
            ("deactivate a", "a off, AGENT_DRAINING"),
            ("gone a", ""),
            ("drain a", "agent a is already marked gone"),
            ("drained a", "agent a is already marked gone"),
            ("deactivate a", "agent a is already marked gone"),
            ("reactivate a", "agent a is already marked gone"),
        ]);
    }

    #[test]
    fn orders_stand_while_an_agent_is_away_and_changes() {
        check(&[
            ("admit a", ""),
            ("admit b", ""),
            ("drain a", "a off DRAINING, AGENT_DRAINING"),
            ("deactivate b", "a off DRAINING, b off, AGENT_DRAINING"),
            ("update a", "a off DRAINING, b off, AGENT_DRAINING"),
            ("lose b", "a off DRAINING, b off, AGENT_DRAINING"),
            ("lose a", "b off, a off DRAINING, AGENT_DRAINING"),
            ("return a", "a off DRAINING, b off, AGENT_DRAINING"),
            ("return b", "a off DRAINING, b off, AGENT_DRAINING"),
            ("return b", "a off DRAINING, b off, AGENT_DRAINING"),
            ("reactivate b", "a off DRAINING, AGENT_DRAINING"),
        ]);
    }

    #[test]
    fn the_last_agent_with_orders_takes_the_capability_along() {
        for leave in ["remove a", "gone a"] {
            check(&[
                ("admit a", ""),
                ("drain a", "a off DRAINING, AGENT_DRAINING"),
                (leave, ""),
                ("return b", ""),
            ]);
        }
        check(&[
            ("admit a", ""),
            ("admit b", ""),
            ("deactivate a", "a off, AGENT_DRAINING"),
            ("deactivate b", "a off, b off, AGENT_DRAINING"),
            ("lose a", "b off, a off, AGENT_DRAINING"),
            ("prune a", "b off, AGENT_DRAINING"),
            ("return a", "b off, AGENT_DRAINING"),
            ("remove b", ""),
        ]);
    }
}
