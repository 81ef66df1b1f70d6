//! A client that admits and removes agents, and asks again until it is answered.

use std::sync::Arc;
use std::time::Duration;

use api::v1::AgentInfo;
use rand::Rng as _;

use super::super::{Kind, Operation, Ticket};
use super::{Group, Wish, agent};

impl Group {
    /// A new agent, or a change of one whose last change is acknowledged.
    pub(super) fn wish(&mut self) {
        let idle: Vec<usize> =
            self.acknowledged.keys().copied().filter(|n| !self.open.contains_key(n)).collect();
        let (n, there) = if idle.is_empty() || self.rng.random_bool(0.5) {
            self.n_agents += 1;
            (self.n_agents, true)
        } else {
            let n = idle[self.rng.random_range(0..idle.len())];
            (n, !self.acknowledged[&n])
        };
        let info = AgentInfo { id: Some(agent(n)), hostname: "h".repeat(100), ..Default::default() };
        let kind = if there { Kind::AdmitAgent(info) } else { Kind::RemoveAgent(agent(n)) };
        self.open.insert(n, there);
        self.wishes.push(Wish { agent: n, kind, ticket: None, answer: Arc::default(), asked: None });
    }

    /// Looks for answers, and asks again where there is none.
    pub(super) fn attend(&mut self) {
        let now = self.sim.now();
        for mut wish in std::mem::take(&mut self.wishes) {
            let answer = wish.answer.lock().take();
            if let Some(Ok(Ok(outcome))) = answer {
                assert_eq!(
                    outcome,
                    Ok(()),
                    "agent {}: {:?} was done twice, or not before",
                    wish.agent,
                    wish.kind
                );
                if let Some(there) = self.open.remove(&wish.agent) {
                    self.acknowledged.insert(wish.agent, there);
                }
                self.n_acknowledged += 1;
                continue;
            }
            let waiting =
                answer.is_none() && wish.asked.is_some_and(|(_, at)| now - at < Duration::from_millis(700));
            if !waiting {
                self.ask(&mut wish);
            }
            self.wishes.push(wish);
        }
    }

    fn ask(&mut self, wish: &mut Wish) {
        let n = self.rng.random_range(0..self.nodes.len());
        let Some(pid) = self.pids[n].clone() else { return };
        if wish.ticket.is_none() {
            let since = self.look(n, |member| member.applied());
            let id = self.rng.random::<[u8; 16]>().to_vec();
            wish.ticket = since.map(|since| Ticket { id, since });
        }
        let Some(ticket) = wish.ticket.clone() else { return };
        wish.asked = Some((n, self.sim.now()));
        wish.answer = Arc::default();
        let operation = Operation { kind: Some(wish.kind.clone()), ticket: Some(ticket) };
        let answer = Arc::clone(&wish.answer);
        self.sim
            .dispatch(&pid, move |registrar, ctx| registrar.apply(operation, ctx))
            .flatten()
            .settled(move |result| *answer.lock() = Some(result.map_err(|_| ())));
    }
}
