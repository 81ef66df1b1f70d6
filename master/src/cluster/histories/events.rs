//! What can happen.

use api::v1::maintenance::{Schedule, Window};
use api::v1::{MachineId, WeightInfo};

use super::*;
use crate::registry::{Kind, Machines, Weights};

fn machine() -> MachineId {
    MachineId { hostname: Some("h".into()), ip: Some("10.0.0.1".into()) }
}

#[derive(Debug, Clone)]
pub(super) enum Event {
    Subscribe {
        framework: u8,
        checkpoint: bool,
    },
    Close {
        framework: u8,
    },
    Register {
        host: u8,
    },
    /// Nothing gets through to a host any more, and the master does not notice.
    Cut {
        host: u8,
    },
    /// It does.
    Exit {
        host: u8,
    },
    Return {
        host: u8,
        to: u8,
        keeps: bool,
        twice: bool,
    },
    Retry {
        host: u8,
    },
    Lose {
        agent: u8,
    },
    Silent {
        agent: u8,
    },
    Answers {
        agent: u8,
    },
    Leave {
        host: u8,
    },
    Offer {
        framework: u8,
        agent: u8,
    },
    Accept {
        offer: u8,
        tasks: u8,
    },
    Decline {
        offer: u8,
    },
    Status {
        host: u8,
        task: u8,
        state: u8,
    },
    Acknowledge {
        task: u8,
    },
    Kill {
        task: u8,
    },
    Teardown {
        framework: u8,
    },
    Timeout {
        which: u8,
    },
    Plan {
        agent: u8,
        start: Option<i64>,
    },
    Ask {
        framework: u8,
        agent: u8,
    },
    Answer {
        which: u8,
        accept: bool,
    },
    Slow {
        slow: bool,
    },
    Write {
        n: u8,
    },
    Failover {
        written: u8,
    },
    Gone {
        agent: u8,
    },
    Drain {
        agent: u8,
        mark_gone: bool,
    },
    Deactivate {
        agent: u8,
    },
    Reactivate {
        agent: u8,
    },
    /// All agents are on one machine.
    Schedule {
        planned: bool,
    },
    MachineDown {
        down: bool,
    },
    Weigh {
        weight: u8,
    },
}

pub(super) fn event() -> impl Strategy<Value = Event> {
    let n = || 0..4u8;
    let agents = prop_oneof![
        1 => n().prop_map(|host| Event::Register { host }),
        1 => n().prop_map(|host| Event::Cut { host }),
        1 => n().prop_map(|host| Event::Exit { host }),
        4 => (n(), n(), any::<bool>(), any::<bool>())
            .prop_map(|(host, to, stays, twice)| Event::Return { host, to: if stays { host } else { to }, keeps: true, twice }),
        1 => n().prop_map(|host| Event::Return { host, to: host, keeps: false, twice: false }),
        2 => n().prop_map(|host| Event::Retry { host }),
        1 => n().prop_map(|agent| Event::Lose { agent }),
        1 => n().prop_map(|agent| Event::Silent { agent }),
        1 => n().prop_map(|agent| Event::Answers { agent }),
        1 => n().prop_map(|host| Event::Leave { host }),
    ];
    let operators = prop_oneof![
        1 => n().prop_map(|agent| Event::Gone { agent }),
        1 => (n(), any::<bool>()).prop_map(|(agent, mark_gone)| Event::Drain { agent, mark_gone }),
        1 => n().prop_map(|agent| Event::Deactivate { agent }),
        2 => n().prop_map(|agent| Event::Reactivate { agent }),
        1 => any::<bool>().prop_map(|planned| Event::Schedule { planned }),
        1 => any::<bool>().prop_map(|down| Event::MachineDown { down }),
        1 => (0..3u8).prop_map(|weight| Event::Weigh { weight }),
        2 => (n(), proptest::option::of(0..2i64)).prop_map(|(agent, start)| Event::Plan { agent, start }),
    ];
    let frameworks = prop_oneof![
        3 => (n(), any::<bool>()).prop_map(|(framework, checkpoint)| Event::Subscribe { framework, checkpoint }),
        1 => n().prop_map(|framework| Event::Close { framework }),
        1 => n().prop_map(|offer| Event::Decline { offer }),
        6 => any::<u8>().prop_map(|task| Event::Acknowledge { task }),
        1 => any::<u8>().prop_map(|task| Event::Kill { task }),
        1 => n().prop_map(|framework| Event::Teardown { framework }),
        2 => (n(), n()).prop_map(|(framework, agent)| Event::Ask { framework, agent }),
        1 => (n(), any::<bool>()).prop_map(|(which, accept)| Event::Answer { which, accept }),
    ];
    let masters = prop_oneof![
        2 => any::<bool>().prop_map(|slow| Event::Slow { slow }),
        2 => n().prop_map(|n| Event::Write { n }),
        2 => n().prop_map(|written| Event::Failover { written }),
        3 => any::<u8>().prop_map(|which| Event::Timeout { which }),
    ];
    prop_oneof![
        5 => agents,
        1 => operators,
        5 => frameworks,
        2 => masters,
        6 => (n(), n()).prop_map(|(framework, agent)| Event::Offer { framework, agent }),
        6 => (n(), 1..4u8).prop_map(|(offer, tasks)| Event::Accept { offer, tasks }),
        6 => (n(), any::<u8>(), 0..5u8).prop_map(|(host, task, state)| Event::Status { host, task, state }),
    ]
}

impl History {
    fn framework(&self, n: u8) -> Option<FrameworkId> {
        nth(self.cluster.frameworks.registered.keys().cloned(), n)
    }

    fn agent(&self, n: u8) -> Option<AgentId> {
        nth(self.cluster.agents.registered.keys().cloned(), n)
    }

    /// One that is registered, expected or lost.
    fn any_agent(&self, n: u8) -> Option<AgentId> {
        let agents = &self.cluster.agents;
        let all = agents.registered.keys().chain(agents.recovered.keys()).chain(agents.unreachable.keys());
        nth(all.cloned(), n)
    }

    fn task(&self, n: u8) -> Option<(FrameworkId, TaskId, AgentId)> {
        let all = self.cluster.frameworks.registered.values().flat_map(|framework| {
            framework
                .tasks
                .values()
                .map(|task| (framework.id.clone(), task.task_id.clone(), task.agent_id.clone()))
        });
        nth(all, n)
    }

    fn call(&mut self, id: &FrameworkId, call: Call) {
        if self.is_connected(id) {
            self.cluster.call(id, call);
        }
    }

    pub(super) fn happen(&mut self, event: Event) {
        match event {
            Event::Subscribe { framework: 0, checkpoint } => self.subscribe(None, checkpoint),
            Event::Subscribe { framework, checkpoint } => {
                let id = nth(self.clients.keys().cloned(), framework);
                self.subscribe(id, checkpoint);
            }
            Event::Close { framework } => {
                let Some(id) = self.framework(framework) else { return };
                let connection = self.cluster.frameworks.get(&id).and_then(|it| it.connection.clone());
                if let Some(Connection::Stream(stream)) = connection {
                    self.cluster.stream_closed(&stream);
                }
            }
            Event::Register { host } => self.register(host),
            Event::Cut { host } => self.hosts.get_mut(&host).unwrap().cut = true,
            Event::Exit { host } => {
                self.hosts.get_mut(&host).unwrap().cut = true;
                self.cluster.agent_exited(&pid(host));
            }
            Event::Return { host, to, keeps, twice } => self.come_back(host, to, keeps, twice),
            Event::Retry { host } => self.retry(host),
            Event::Lose { agent } => {
                if let Some(id) = self.agent(agent) {
                    self.cluster.mark_unreachable(&id, "test");
                }
            }
            Event::Silent { agent } => {
                if let Some(id) = self.agent(agent) {
                    self.cluster.agent_is_silent(&id);
                }
            }
            Event::Answers { agent } => {
                if let Some(id) = self.agent(agent) {
                    self.cluster.agent_answered(&id);
                }
            }
            Event::Leave { host } => {
                if let Some(id) = self.hosts.insert(host, Host::default()).and_then(|host| host.id) {
                    self.cluster.unregister_agent(&pid(host), &id);
                    self.cluster.agent_exited(&pid(host));
                }
            }
            Event::Offer { framework, agent } => self.offer(framework, agent),
            Event::Accept { offer, tasks } => self.accept(offer, tasks),
            Event::Decline { offer } => {
                let Some(offer) = nth(self.cluster.offers.values().cloned(), offer) else { return };
                let decline = Some(call::Decline { offer_ids: vec![offer.id().clone()], filters: None });
                self.call(
                    offer.framework_id(),
                    Call { r#type: Some(call::Type::Decline.into()), decline, ..Call::default() },
                );
            }
            Event::Status { host, task, state } => {
                use TaskState::*;
                let running = self.hosts[&host].running();
                let running = running.map(|task| (task.framework_id.clone(), task.task_id.clone()));
                let Some((framework_id, task_id)) = nth(running, task) else { return };
                let states = [TaskStarting, TaskRunning, TaskFinished, TaskFailed, TaskKilled];
                self.report(host, &framework_id, &task_id, states[usize::from(state)]);
            }
            Event::Acknowledge { task } => {
                let Some((framework_id, task_id, agent_id)) = self.task(task) else { return };
                let uuid = self.cluster.task(&framework_id, &task_id).unwrap().forwarded_uuid();
                let acknowledge =
                    Some(call::Acknowledge { agent_id, task_id, uuid: uuid.unwrap_or_default() });
                self.call(
                    &framework_id,
                    Call { r#type: Some(call::Type::Acknowledge.into()), acknowledge, ..Call::default() },
                );
            }
            Event::Kill { task } => {
                let Some((framework_id, task_id, _)) = self.task(task) else { return };
                let kill = Some(call::Kill { task_id, ..Default::default() });
                self.call(
                    &framework_id,
                    Call { r#type: Some(call::Type::Kill.into()), kill, ..Call::default() },
                );
            }
            Event::Teardown { framework } => {
                if let Some(id) = self.framework(framework) {
                    self.cluster.remove_framework(&id);
                    if let Some(client) = self.clients.get_mut(&id) {
                        client.told.clear();
                    }
                }
            }
            Event::Plan { agent, start } => {
                if let Some(id) = self.agent(agent) {
                    self.cluster.set_unavailability(&id, start.map(unavailability));
                }
            }
            Event::Ask { framework, agent } => self.ask(framework, agent),
            Event::Answer { which, accept } => self.answer(which, accept),
            Event::Timeout { which } => {
                if !self.waits.is_empty() {
                    let wait = self.waits.remove(usize::from(which) % self.waits.len());
                    self.time_out(wait);
                }
            }
            Event::Slow { slow } => self.slow = slow,
            Event::Write { n } => self.write(n.into()),
            Event::Failover { written } => self.fail_over(written),
            Event::Gone { agent } => {
                if let Some(id) = self.any_agent(agent) {
                    drop(self.cluster.mark_gone(&id));
                }
            }
            Event::Drain { agent, mark_gone } => {
                if let Some(id) = self.any_agent(agent) {
                    let config = DrainConfig { mark_gone: Some(mark_gone), ..Default::default() };
                    drop(self.cluster.drain_agent(&id, config));
                }
            }
            Event::Deactivate { agent } => {
                if let Some(id) = self.any_agent(agent) {
                    drop(self.cluster.deactivate_agent(&id));
                }
            }
            Event::Schedule { planned } => {
                let window = Window {
                    machine_ids: vec![machine()],
                    unavailability: unavailability(i64::from(self.now)),
                };
                let windows = if planned { vec![window] } else { vec![] };
                self.cluster.decide(Kind::UpdateSchedule(Schedule { windows }));
            }
            Event::MachineDown { down } => {
                let machines = Machines { ids: vec![machine()] };
                self.cluster.decide(if down {
                    Kind::StartMaintenance(machines)
                } else {
                    Kind::StopMaintenance(machines)
                });
            }
            Event::Weigh { weight } => {
                let weights = vec![WeightInfo { role: Some("*".into()), weight: weight.into() }];
                self.cluster.decide(Kind::UpdateWeights(Weights { weights }));
            }
            Event::Reactivate { agent } => {
                if let Some(id) = self.any_agent(agent) {
                    drop(self.cluster.reactivate_agent(&id));
                }
            }
        }
    }

    pub(super) fn time_out(&mut self, wait: Timeout) {
        match wait {
            Timeout::FrameworkFailover { id, subscription } => {
                self.cluster.failover_timed_out(&id, subscription)
            }
            Timeout::Offer(id) => self.cluster.offer_timed_out(&id),
            Timeout::AgentReregistration { id, connection } => {
                self.cluster.agent_reregistration_timed_out(&id, connection);
            }
            Timeout::Recovery => self.cluster.recovery_timed_out(),
            Timeout::Removal => self.cluster.removal_permitted(),
        }
    }

    fn accept(&mut self, offer: u8, tasks: u8) {
        let Some(offer) = nth(self.cluster.offers.values().cloned(), offer) else { return };
        let id = offer.framework_id().clone();
        if !self.is_connected(&id) {
            return;
        }
        let mut infos = Vec::new();
        for _ in 0..tasks {
            self.n_tasks += 1;
            let mut task = command(&format!("t{}", self.n_tasks), "cpus:1;mem:100");
            task.agent_id = offer.agent_id().clone();
            // Until it hears otherwise, a framework believes that it runs what it launched.
            let told = clients::Told {
                agent_id: task.agent_id.clone(),
                state: TaskState::TaskStaging,
                current: true,
            };
            if let Some(client) = self.clients.get_mut(&id) {
                client.told.insert(task.task_id.clone(), told);
            }
            infos.push(task);
        }
        let (offer_ids, operations) = (vec![offer.id().clone()], vec![launch(infos)]);
        let accept = Some(call::Accept { offer_ids, operations, filters: None });
        self.call(&id, Call { r#type: Some(call::Type::Accept.into()), accept, ..Call::default() });
    }

    fn answer(&mut self, which: u8, accept: bool) {
        let outstanding = self.cluster.inverse_offers.iter();
        let outstanding = outstanding.map(|(id, it)| (id.clone(), it.framework_id.clone()));
        let Some((id, framework_id)) = nth(outstanding, which) else { return };
        let (inverse_offer_ids, filters) = (vec![id], None);
        let call = if accept {
            Call {
                r#type: Some(call::Type::AcceptInverseOffers.into()),
                accept_inverse_offers: Some(call::AcceptInverseOffers { inverse_offer_ids, filters }),
                ..Call::default()
            }
        } else {
            Call {
                r#type: Some(call::Type::DeclineInverseOffers.into()),
                decline_inverse_offers: Some(call::DeclineInverseOffers { inverse_offer_ids, filters }),
                ..Call::default()
            }
        };
        self.call(&framework_id, call);
    }

    /// What an allocator does about an agent for which something is planned: ask a framework once.
    fn ask(&mut self, framework: u8, agent: u8) {
        let (Some(framework_id), Some(agent_id)) = (self.framework(framework), self.agent(agent)) else {
            return;
        };
        let active = self.cluster.frameworks.get(&framework_id).is_some_and(|it| it.active);
        let planned = self.cluster.agents.get(&agent_id).and_then(|it| it.unavailability);
        if let Some(unavailability) = planned.filter(|_| active)
            && self.asked.insert((framework_id.clone(), agent_id.clone()))
        {
            self.cluster.ask_to_leave(vec![InverseAllocation { framework_id, agent_id, unavailability }]);
        }
    }

    /// What an allocator does: all that is free on an agent.
    fn offer(&mut self, framework: u8, agent: u8) {
        let (Some(framework_id), Some(agent_id)) = (self.framework(framework), self.agent(agent)) else {
            return;
        };
        let agent = self.cluster.agents.get(&agent_id).unwrap();
        let mut free = agent.total.clone();
        for ((_, holder), held) in &self.held {
            if *holder == agent_id {
                free -= &held.clone().unallocated();
            }
        }
        if free.is_empty() {
            return;
        }
        let resources = free.allocated("*");
        *self.held.entry((framework_id.clone(), agent_id.clone())).or_default() += &resources;
        self.cluster.offer(&framework_id, vec![AgentAllocation { agent_id, role: "*".into(), resources }]);
    }
}
