//! What holds after every event.

use super::*;

impl History {
    pub(super) fn allocator(&mut self, call: AllocatorCall) {
        match call {
            AllocatorCall::AddAgent { id, used, .. } => {
                for (framework_id, resources) in used {
                    *self.held.entry((framework_id, id.clone())).or_default() += &resources;
                }
            }
            AllocatorCall::RemoveAgent(id) => {
                self.held.retain(|(_, agent_id), _| *agent_id != id);
                self.asked.retain(|(_, agent_id)| *agent_id != id);
            }
            AllocatorCall::RemoveFramework(id) => {
                self.held.retain(|(framework_id, _), _| *framework_id != id)
            }
            AllocatorCall::DeactivateFramework(id) => {
                self.asked.retain(|(framework_id, _)| *framework_id != id)
            }
            AllocatorCall::UpdateUnavailability { agent_id, .. } => {
                self.asked.retain(|(_, asked)| *asked != agent_id);
            }
            AllocatorCall::UpdateInverseOffer { framework_id, agent_id, .. } => {
                self.asked.remove(&(framework_id, agent_id));
            }
            AllocatorCall::Recover { framework_id, agent_id, resources, .. } => {
                // What an agent brought along when it was gone from the allocator already.
                if let Some(held) = self.held.get_mut(&(framework_id, agent_id)) {
                    assert!(held.contains(&resources), "{resources} came back, but only {held} was out");
                    *held -= &resources;
                }
            }
            _ => {}
        }
    }

    pub(super) fn check(&mut self) {
        self.cluster.check_invariants().unwrap();
        self.check_allocator();
        self.check_hosts();
        self.check_clients();
        self.check_gone();
        if self.writes.is_empty() {
            self.check_registry();
        }
        for agent in self.cluster.agents.registered.values() {
            let deactivated = self.cluster.agents.orders(&agent.id).deactivated;
            assert_eq!(agent.active, agent.connected && !deactivated, "agent {}", agent.id);
        }
    }

    fn check_allocator(&mut self) {
        self.held.retain(|_, resources| !resources.is_empty());
        let mut out: BTreeMap<(FrameworkId, AgentId), Resources> = BTreeMap::new();
        for (id, agent) in &self.cluster.agents.registered {
            for (framework_id, used) in &agent.used {
                *out.entry((framework_id.clone(), id.clone())).or_default() += used;
            }
        }
        for offer in self.cluster.offers.values() {
            *out.entry((offer.framework_id().clone(), offer.agent_id().clone())).or_default() +=
                &offer.resources;
        }
        assert_eq!(out, self.held, "the master and its allocator disagree");
        let asked = self.cluster.inverse_offers.values();
        let asked: BTreeSet<_> = asked.map(|it| (it.framework_id.clone(), it.agent_id.clone())).collect();
        assert_eq!(asked, self.asked, "the master and its allocator disagree on who was asked to leave");
    }

    /// What was allocated never exceeds what agents have, whoever leads and whatever was lost on the way.
    fn check_hosts(&self) {
        for (n, host) in &self.hosts {
            let mut used = Resources::new();
            for task in host.running() {
                used += &Resources::from_checked(&task.resources).unallocated();
            }
            let total = Resources::from_checked(&resources("cpus:4;mem:512"));
            assert!(total.contains(&used), "{used} is used on host {n}");
        }
    }

    /// No task of which a framework was told that it runs disappears without an update.
    fn check_clients(&mut self) {
        let (cluster, reign) = (&self.cluster, self.reign);
        for (id, client) in &mut self.clients {
            // A framework that was removed believes nothing any more.
            if client.reign == reign && cluster.frameworks.get(id).is_none() {
                client.told.clear();
            }
        }
        for id in self.clients.keys().cloned().collect::<Vec<_>>() {
            if !self.is_connected(&id) {
                continue;
            }
            self.ask_what_became(&id);
            for (task_id, told) in self.clients[&id].told.iter().filter(|(_, told)| told.runs()) {
                let agents = &self.cluster.agents;
                if told.current {
                    assert!(
                        self.cluster.task(&id, task_id).is_some(),
                        "{task_id} of {id} was told to be {:?}, but the master does not have it",
                        told.state
                    );
                } else {
                    let expected = agents.recovered.contains_key(&told.agent_id)
                        || agents.reregistering.contains(&told.agent_id);
                    assert!(expected, "{id} asked about {task_id}, and was not answered");
                }
            }
        }
    }

    /// An agent marked gone never comes back.
    fn check_gone(&mut self) {
        self.gone.extend(self.registry.gone().map(|(id, _)| id.clone()));
        for id in &self.gone {
            let admitted = self.registry.admitted().any(|(admitted, _)| admitted == id);
            assert!(!admitted, "the registry holds an agent that is gone");
            let listed = self.cluster.agents.get(id).is_some();
            assert!(!listed || !self.writes.is_empty(), "agent {id} is registered, but gone");
        }
    }

    fn check_registry(&self) {
        let agents = &self.cluster.agents;
        let known: BTreeSet<_> = agents.registered.keys().chain(agents.recovered.keys()).collect();
        let admitted: BTreeSet<_> = self.registry.admitted().map(|(id, _)| id).collect();
        assert_eq!(known, admitted, "what is registered or expected is what the registry holds");
        assert!(agents.unreachable.keys().eq(self.registry.unreachable().map(|(id, _)| id)));
        assert!(agents.gone.keys().eq(self.registry.gone().map(|(id, _)| id)));
        let orders: imbl::OrdMap<_, _> =
            self.registry.orders().map(|(id, orders)| (id.clone(), orders)).collect();
        assert_eq!(agents.orders, orders, "what operators ordered");
        let will = self.registry.without_agents();
        assert_eq!(self.cluster.will.schedule(), will.schedule());
        assert_eq!(self.cluster.will.weights(), will.weights());
        assert!(self.cluster.will.machines().eq(will.machines()));
        let down = self
            .cluster
            .agents
            .registered
            .values()
            .find(|agent| self.cluster.is_down(&agent.info, &agent.pid));
        assert!(down.is_none(), "the machine of {:?} is down", down.map(|agent| &agent.id));
        for id in agents.registered.keys() {
            assert!(!agents.is_changing(id), "nothing is written of agent {id}");
        }
        for (id, agent) in &agents.registered {
            let draining =
                agents.orders(id).drain.is_some_and(|it| it.state() == api::v1::DrainState::Draining);
            let done = draining && agent.connected && agent.tasks.is_empty();
            assert!(!done, "agent {id} is drained, but nobody says so");
        }
    }
}
