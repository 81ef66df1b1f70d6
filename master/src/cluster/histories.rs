//! Random histories: whatever happens in whatever order, the books agree, and nothing is lost between the
//! master and its allocator.

use std::collections::{BTreeMap, BTreeSet};

use allocator::{AgentAllocation, InverseAllocation};
use api::internal::*;
use api::resources::Resources;
use api::v1::scheduler::{Call, call};
use api::v1::{AgentId, AgentInfo, FrameworkId, FrameworkInfo, TaskId, TaskState, TaskStatus};
use libprocess::{Time, Upid};
use proptest::prelude::*;
use uuid::Uuid;

use super::Cluster;
use super::tests::{agent_capabilities, command, framework, launch, resources, rules, unavailability};
use crate::Ids;
use crate::effect::{AllocatorCall, Connection, Effect, OfferOptions, Timeout};
use crate::framework_life::Subscription;
use crate::registry::Registry;

#[derive(Debug, Clone)]
enum Event {
    Subscribe { stream: u8, framework: u8 },
    Close { stream: u8 },
    Register { host: u8 },
    Exit { host: u8 },
    Return { agent: u8, host: u8, keeps: bool },
    Lose { agent: u8 },
    Leave { agent: u8 },
    Offer { framework: u8, agent: u8 },
    Accept { offer: u8, tasks: u8 },
    Decline { offer: u8 },
    Status { task: u8, state: u8 },
    Acknowledge { task: u8 },
    Kill { task: u8 },
    Teardown { framework: u8 },
    Timeout { which: u8 },
    Plan { agent: u8, start: Option<i64> },
    Ask { framework: u8, agent: u8 },
    Answer { which: u8, accept: bool },
}

fn event() -> impl Strategy<Value = Event> {
    let n = || 0..4u8;
    prop_oneof![
        1 => (n(), n()).prop_map(|(stream, framework)| Event::Subscribe { stream, framework }),
        1 => n().prop_map(|stream| Event::Close { stream }),
        1 => n().prop_map(|host| Event::Register { host }),
        1 => n().prop_map(|host| Event::Exit { host }),
        1 => (n(), n(), any::<bool>()).prop_map(|(agent, host, keeps)| Event::Return { agent, host, keeps }),
        1 => n().prop_map(|agent| Event::Lose { agent }),
        1 => n().prop_map(|agent| Event::Leave { agent }),
        6 => (n(), n()).prop_map(|(framework, agent)| Event::Offer { framework, agent }),
        6 => (n(), 0..4u8).prop_map(|(offer, tasks)| Event::Accept { offer, tasks }),
        1 => n().prop_map(|offer| Event::Decline { offer }),
        6 => (any::<u8>(), 0..5u8).prop_map(|(task, state)| Event::Status { task, state }),
        3 => any::<u8>().prop_map(|task| Event::Acknowledge { task }),
        1 => any::<u8>().prop_map(|task| Event::Kill { task }),
        1 => n().prop_map(|framework| Event::Teardown { framework }),
        1 => n().prop_map(|which| Event::Timeout { which }),
        2 => (n(), proptest::option::of(0..2i64)).prop_map(|(agent, start)| Event::Plan { agent, start }),
        2 => (n(), n()).prop_map(|(framework, agent)| Event::Ask { framework, agent }),
        1 => (n(), any::<bool>()).prop_map(|(which, accept)| Event::Answer { which, accept }),
    ]
}

struct History {
    cluster: Cluster,
    registry: Registry,
    /// What the allocator believes each framework holds on each agent.
    held: BTreeMap<(FrameworkId, AgentId), Resources>,
    /// Whom the allocator believes to have been asked to leave where, and not to have answered.
    asked: BTreeSet<(FrameworkId, AgentId)>,
    waits: Vec<Timeout>,
    n_tasks: usize,
}

fn nth<T: Clone>(of: impl Iterator<Item = T>, n: u8) -> Option<T> {
    let all: Vec<T> = of.collect();
    if all.is_empty() { None } else { Some(all[usize::from(n) % all.len()].clone()) }
}

fn pid(host: u8) -> Upid {
    Upid::new("slave(1)", ([10, 0, 0, 1], 5051 + u16::from(host)).into())
}

fn stream(n: u8) -> Uuid {
    Uuid::from_u128(u128::from(n) + 1)
}

impl History {
    fn settle(&mut self) {
        loop {
            let effects = self.cluster.take_effects();
            if effects.is_empty() {
                return self.check();
            }
            for effect in effects {
                match effect {
                    Effect::Registry { operation, then } => {
                        let result = self.registry.apply(&operation);
                        self.cluster.registry_done(then, result);
                    }
                    Effect::Delay { then, .. } => self.waits.push(then),
                    Effect::Allocator(call) => self.allocator(call),
                    _ => {}
                }
            }
        }
    }

    fn allocator(&mut self, call: AllocatorCall) {
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

    fn check(&mut self) {
        self.cluster.check_invariants().unwrap();
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
        let registered: Vec<_> = self.cluster.agents.registered.keys().collect();
        let admitted: Vec<_> = self.registry.admitted().map(|(id, _)| id).collect();
        assert_eq!(registered, admitted, "what is registered is what the registry holds");
    }

    fn framework(&self, n: u8) -> Option<FrameworkId> {
        nth(self.cluster.frameworks.registered.keys().cloned(), n)
    }

    fn agent(&self, n: u8) -> Option<AgentId> {
        nth(self.cluster.agents.registered.keys().cloned(), n)
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
        if self.cluster.frameworks.get(id).is_some_and(|framework| framework.is_connected()) {
            self.cluster.call(id, call);
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Subscribe { stream: n, framework: which } => {
                let id = if which == 0 { None } else { self.framework(which) };
                let info =
                    FrameworkInfo { id, failover_timeout: Some(5.0), checkpoint: Some(n > 1), ..framework() };
                if self.cluster.frameworks.of_stream(&stream(n)).is_none() {
                    let connection = Connection::Stream(stream(n));
                    self.cluster.subscribe(Subscription {
                        connection,
                        info,
                        force: true,
                        options: OfferOptions::default(),
                    });
                }
            }
            Event::Close { stream: n } => self.cluster.stream_closed(&stream(n)),
            Event::Register { host } => {
                let slave = AgentInfo {
                    hostname: "h".into(),
                    resources: resources("cpus:4;mem:512"),
                    ..Default::default()
                };
                let (version, agent_capabilities) = (Some("1.11.0".to_owned()), agent_capabilities());
                let message =
                    RegisterSlaveMessage { slave, version, agent_capabilities, ..Default::default() };
                self.cluster.register_agent(&pid(host), message);
            }
            Event::Exit { host } => self.cluster.agent_exited(&pid(host)),
            Event::Return { agent, host, keeps } => self.come_back(agent, host, keeps),
            Event::Lose { agent } => {
                if let Some(id) = self.agent(agent) {
                    self.cluster.mark_unreachable(&id, "test");
                }
            }
            Event::Leave { agent } => {
                if let Some(id) = self.agent(agent) {
                    let at = self.cluster.agents.get(&id).unwrap().pid.clone();
                    self.cluster.unregister_agent(&at, &id);
                }
            }
            Event::Offer { framework, agent } => self.offer(framework, agent),
            Event::Accept { offer, tasks } => {
                let Some(offer) = nth(self.cluster.offers.values().cloned(), offer) else { return };
                let infos = (0..tasks)
                    .map(|_| {
                        self.n_tasks += 1;
                        let mut task = command(&format!("t{}", self.n_tasks), "cpus:1;mem:100");
                        task.agent_id = offer.agent_id().clone();
                        task
                    })
                    .collect();
                let (offer_ids, operations) = (vec![offer.id().clone()], vec![launch(infos)]);
                let accept = Some(call::Accept { offer_ids, operations, filters: None });
                self.call(
                    offer.framework_id(),
                    Call { r#type: Some(call::Type::Accept.into()), accept, ..Call::default() },
                );
            }
            Event::Decline { offer } => {
                let Some(offer) = nth(self.cluster.offers.values().cloned(), offer) else { return };
                let decline = Some(call::Decline { offer_ids: vec![offer.id().clone()], filters: None });
                self.call(
                    offer.framework_id(),
                    Call { r#type: Some(call::Type::Decline.into()), decline, ..Call::default() },
                );
            }
            Event::Status { task, state } => {
                use TaskState::*;
                let Some((framework_id, task_id, agent_id)) = self.task(task) else { return };
                let state =
                    [TaskStarting, TaskRunning, TaskFinished, TaskFailed, TaskKilled][usize::from(state)];
                let uuid = Some(vec![state as u8; 16]);
                let status =
                    TaskStatus { task_id, state: state.into(), uuid: uuid.clone(), ..Default::default() };
                let slave_id = Some(agent_id.clone());
                let update = StatusUpdate { framework_id, slave_id, status, uuid, ..Default::default() };
                let at = self.cluster.agents.get(&agent_id).unwrap().pid.clone();
                self.cluster.status_update(&at, StatusUpdateMessage { update, pid: None });
            }
            Event::Acknowledge { task } => {
                let Some((framework_id, task_id, agent_id)) = self.task(task) else { return };
                let uuid = self.cluster.task(&framework_id, &task_id).unwrap().status_update_uuid.clone();
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
                }
            }
            Event::Plan { agent, start } => {
                if let Some(id) = self.agent(agent) {
                    self.cluster.set_unavailability(&id, start.map(unavailability));
                }
            }
            Event::Ask { framework, agent } => self.ask(framework, agent),
            Event::Answer { which, accept } => {
                let outstanding = self.cluster.inverse_offers.iter();
                let outstanding = outstanding.map(|(id, it)| (id.clone(), it.framework_id.clone()));
                let Some((id, framework_id)) = nth(outstanding, which) else { return };
                let inverse_offer_ids = vec![id];
                let call = match accept {
                    true => Call {
                        r#type: Some(call::Type::AcceptInverseOffers.into()),
                        accept_inverse_offers: Some(call::AcceptInverseOffers {
                            inverse_offer_ids,
                            filters: None,
                        }),
                        ..Call::default()
                    },
                    false => Call {
                        r#type: Some(call::Type::DeclineInverseOffers.into()),
                        decline_inverse_offers: Some(call::DeclineInverseOffers {
                            inverse_offer_ids,
                            filters: None,
                        }),
                        ..Call::default()
                    },
                };
                self.call(&framework_id, call);
            }
            Event::Timeout { which } => {
                if self.waits.is_empty() {
                    return;
                }
                match self.waits.remove(usize::from(which) % self.waits.len()) {
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
        }
    }

    /// An agent that is known, or was lost, comes back, perhaps elsewhere, with all or none of its tasks.
    fn come_back(&mut self, agent: u8, host: u8, keeps: bool) {
        let lost = self.cluster.agents.unreachable.keys().cloned();
        let Some(id) = nth(self.cluster.agents.registered.keys().cloned().chain(lost), agent) else { return };
        let mut frameworks = Vec::new();
        let mut tasks = Vec::new();
        for framework in self.cluster.frameworks.registered.values() {
            frameworks.push((*framework.info).clone());
            let live = framework.tasks.values().chain(framework.unreachable_tasks.iter());
            let here = live.filter(|task| keeps && task.agent_id == id);
            tasks.extend(
                here.map(|task| api::v1::Task { state: TaskState::TaskRunning.into(), ..(***task).clone() }),
            );
        }
        let slave = AgentInfo {
            hostname: "h".into(),
            resources: resources("cpus:4;mem:512"),
            id: Some(id),
            ..Default::default()
        };
        let (version, agent_capabilities) = (Some("1.11.0".to_owned()), agent_capabilities());
        let message = ReregisterSlaveMessage {
            slave,
            frameworks,
            tasks,
            version,
            agent_capabilities,
            ..Default::default()
        };
        self.cluster.reregister_agent(&pid(host), message);
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn the_books_agree(events in proptest::collection::vec(event(), 1..120)) {
        let info = api::v1::MasterInfo { id: "m".into(), ..Default::default() };
        let mut cluster = Cluster::new(info, Ids::new(Uuid::nil()), rules());
        cluster.at(Time::from_secs_f64(1.0));
        let mut history =
            History { cluster, registry: Registry::default(), held: BTreeMap::new(), asked: BTreeSet::new(), waits: Vec::new(), n_tasks: 0 };
        for event in events {
            history.happen(event);
            history.settle();
        }
        // In the end everything is free again.
        for id in history.cluster.frameworks.registered.keys().cloned().collect::<Vec<_>>() {
            history.cluster.remove_framework(&id);
            history.settle();
        }
        prop_assert!(history.held.is_empty());
        prop_assert!(history.cluster.agents.registered.values().all(|agent| agent.used.is_empty() && agent.tasks.is_empty()));
    }
}
