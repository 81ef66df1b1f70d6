//! Stories about a cluster, without a network, a disk or a clock. After each event the invariants are checked;
//! what frameworks and agents hear is compared as text.

use std::collections::BTreeMap;
use std::time::Duration;

use allocator::constraints::RegexLimits;
use allocator::{AgentAllocation, InverseAllocation, Quota};
use api::internal::*;
use api::resources::Resources;
use api::v1::offer::{Operation, operation};
use api::v1::scheduler::{Call, OfferConstraints, call};
use api::v1::{
    AgentInfo, CommandInfo, DrainState, Filters, FrameworkInfo, MasterInfo, Resource, Task, TaskInfo,
    TaskState, TaskStatus, TimeInfo, Unavailability, WeightInfo, agent_info, framework_info,
};
use expect_test::{Expect, expect};
use libprocess::{Time, Upid};
use uuid::Uuid;

use super::{Cluster, Rules};
use crate::Ids;
use crate::agent_life::OrderError;
use crate::effect::{AgentMessage, AllocatorCall, Connection, Effect, FrameworkEvent, OfferOptions, Timeout};
use crate::framework_life::Subscription;
use crate::registry::{Kind, Machines, Marked, Registry, Weights};

mod agents;
mod frameworks;
mod offers;
mod recovery;
mod removals;
mod tasks;
mod told;
mod will;

const STREAM: Uuid = Uuid::from_u128(1);

struct World {
    cluster: Cluster,
    registry: Registry,
    log: String,
    waits: Vec<Timeout>,
    /// What was counted how often; without what is below `frameworks/`.
    counts: BTreeMap<String, usize>,
}

pub(super) fn rules() -> Rules {
    Rules {
        roles: None,
        root_submissions: true,
        offer_timeout: None,
        agent_reregister_timeout: Duration::from_secs(600),
        total_ping_timeout: Duration::from_secs(75),
        max_completed_frameworks: 2,
        max_completed_tasks: 3,
        max_unreachable_tasks: 3,
        require_agent_domain: false,
        registry_max_agent_age: Duration::from_secs(1_000),
        registry_max_agent_count: 10,
        recovery_agent_removal_limit: 1.0,
        agent_removal_limit: None,
        weights: Vec::new(),
        regex: RegexLimits::default(),
    }
}

fn pid(n: u16) -> Upid {
    Upid::new("slave(1)", ([10, 0, 0, 1], n).into())
}

pub(super) fn resources(text: &str) -> Vec<Resource> {
    Resources::parse(text, "*").unwrap().to_messages()
}

fn master() -> MasterInfo {
    MasterInfo { id: "m".into(), ..MasterInfo::default() }
}

fn capability(it: framework_info::capability::Type) -> framework_info::Capability {
    framework_info::Capability { r#type: Some(it.into()) }
}

impl World {
    fn new() -> World {
        World::with(rules())
    }

    fn with(rules: Rules) -> World {
        let mut cluster = Cluster::new(master(), Ids::new(Uuid::nil()), rules);
        cluster.at(Time::from_secs_f64(100.0));
        World {
            cluster,
            registry: Registry::default(),
            log: String::new(),
            waits: Vec::new(),
            counts: BTreeMap::new(),
        }
    }

    /// Carries out the effects as the actor would, with a registry that answers at once.
    fn settle(&mut self) {
        loop {
            let effects = self.cluster.take_effects();
            if effects.is_empty() {
                break;
            }
            for effect in effects {
                match effect {
                    Effect::Tell { event, .. } => self.tell(event),
                    Effect::Hangup(_) => self.log.push_str("hangup\n"),
                    Effect::Send { message, .. } => self.send(message),
                    Effect::Allocator(AllocatorCall::Recover { resources, filters, allocated, .. }) => {
                        let from = if allocated { "used" } else { "offered" };
                        let filter =
                            filters.map(|it| format!(" filter={}", it.refuse_seconds())).unwrap_or_default();
                        let resources = resources.unallocated();
                        self.log.push_str(&format!("  recovered {from} {resources}{filter}\n"));
                    }
                    Effect::Allocator(AllocatorCall::UpdateUnavailability { unavailability, .. }) => {
                        let start = unavailability.map(|it| it.start.nanoseconds);
                        self.log.push_str(&format!("  unavailable from {start:?}\n"));
                    }
                    Effect::Allocator(AllocatorCall::UpdateInverseOffer { status, filters, .. }) => {
                        let status = status.map(|it| (it.status(), it.timestamp.nanoseconds / 1_000_000_000));
                        let filter = filters.map(|it| it.refuse_seconds());
                        self.log.push_str(&format!("  answered {status:?} filter={filter:?}\n"));
                    }
                    Effect::Registry { operation, then } => {
                        let result = self.registry.apply(&operation);
                        self.cluster.registry_done(then, result);
                    }
                    Effect::Delay { then, .. } => self.waits.push(then),
                    Effect::Count(name) => *self.counts.entry(name.into_owned()).or_default() += 1,
                    Effect::Allocator(AllocatorCall::UpdateQuota { role, quota }) => {
                        let Quota { guarantees, limits } = quota;
                        self.log.push_str(&format!("  quota of {role}: {guarantees} to {limits}\n"));
                    }
                    Effect::Allocator(AllocatorCall::UpdateWeights(weights)) => {
                        let one = |it: &WeightInfo| format!("{}={}", it.role(), it.weight);
                        let weights: Vec<_> = weights.iter().map(one).collect();
                        self.log.push_str(&format!("  weights {}\n", weights.join(",")));
                    }
                    Effect::Allocator(AllocatorCall::DeactivateAgent(id)) => {
                        self.log.push_str(&format!("  deactivated {}\n", tail(&id.value)));
                    }
                    Effect::Allocator(AllocatorCall::ActivateAgent(id)) => {
                        self.log.push_str(&format!("  activated {}\n", tail(&id.value)));
                    }
                    _ => {}
                }
            }
        }
        self.cluster.check_invariants().unwrap();
    }

    fn subscribe(&mut self, connection: Connection, info: FrameworkInfo, force: bool) -> &mut Self {
        self.log.push_str("SUBSCRIBE\n");
        self.cluster.subscribe(Subscription { connection, info, force, options: OfferOptions::default() });
        self.settle();
        self
    }

    fn stream(&mut self, info: FrameworkInfo) -> &mut Self {
        self.subscribe(Connection::Stream(STREAM), info, false)
    }

    fn agent(&mut self, n: u16, text: &str) -> &mut Self {
        self.log.push_str(&format!("agent at {n}\n"));
        let slave = AgentInfo { hostname: "host".into(), resources: resources(text), ..AgentInfo::default() };
        let version = Some("1.11.0".to_owned());
        let agent_capabilities = agent_capabilities();
        self.cluster.register_agent(
            &pid(n),
            RegisterSlaveMessage { slave, version, agent_capabilities, ..Default::default() },
        );
        self.settle();
        self
    }

    fn offer(&mut self, agent: &str, text: &str) -> &mut Self {
        let resources = Resources::parse(text, "*").unwrap().allocated("*");
        let allocation = AgentAllocation { agent_id: id(agent).into(), role: "*".into(), resources };
        self.cluster.offer(&id("0000").into(), vec![allocation]);
        self.settle();
        self
    }

    /// The operator plans that S0 will be away from that moment.
    fn plan(&mut self, start: Option<i64>) -> &mut Self {
        self.log.push_str(&format!("plan {start:?}\n"));
        assert!(self.cluster.set_unavailability(&id("S0").into(), start.map(unavailability)));
        self.settle();
        self
    }

    /// The allocator asks the framework to leave S0.
    fn ask(&mut self, start: i64) -> &mut Self {
        self.log.push_str("ask\n");
        self.cluster.ask_to_leave(vec![InverseAllocation {
            framework_id: id("0000").into(),
            agent_id: id("S0").into(),
            unavailability: unavailability(start),
        }]);
        self.settle();
        self
    }

    fn answer(&mut self, accept: bool, offer: &str, filters: Option<Filters>) -> &mut Self {
        let inverse_offer_ids = vec![id(offer).into()];
        self.call(match accept {
            true => Call {
                r#type: Some(call::Type::AcceptInverseOffers.into()),
                accept_inverse_offers: Some(call::AcceptInverseOffers { inverse_offer_ids, filters }),
                ..Call::default()
            },
            false => Call {
                r#type: Some(call::Type::DeclineInverseOffers.into()),
                decline_inverse_offers: Some(call::DeclineInverseOffers { inverse_offer_ids, filters }),
                ..Call::default()
            },
        })
    }

    fn call(&mut self, call: Call) -> &mut Self {
        self.log.push_str(&format!("{}\n", call.r#type().as_str_name()));
        assert!(self.cluster.call(&id("0000").into(), call));
        self.settle();
        self
    }

    fn accept(&mut self, offers: &[&str], operations: Vec<Operation>) -> &mut Self {
        let offer_ids = offers.iter().map(|offer| id(offer).into()).collect();
        self.call(Call {
            r#type: Some(call::Type::Accept.into()),
            accept: Some(call::Accept { offer_ids, operations, filters: None }),
            ..Call::default()
        })
    }

    fn status(&mut self, n: u16, task: &str, state: TaskState) -> &mut Self {
        self.log.push_str(&format!("agent reports {task} {}\n", state.as_str_name()));
        let status = TaskStatus {
            task_id: task.into(),
            state: state.into(),
            uuid: Some(vec![state as u8; 16]),
            ..Default::default()
        };
        let update = StatusUpdate {
            framework_id: id("0000").into(),
            slave_id: Some(id("S0").into()),
            status,
            uuid: Some(vec![state as u8; 16]),
            latest_state: Some(state.into()),
            ..Default::default()
        };
        self.cluster.status_update(&pid(n), StatusUpdateMessage { update, pid: None });
        self.settle();
        self
    }

    fn acknowledge(&mut self, task: &str, state: TaskState) -> &mut Self {
        self.call(Call {
            r#type: Some(call::Type::Acknowledge.into()),
            acknowledge: Some(call::Acknowledge {
                agent_id: id("S0").into(),
                task_id: task.into(),
                uuid: vec![state as u8; 16],
            }),
            ..Call::default()
        })
    }

    fn reconcile(&mut self, tasks: &[(&str, Option<&str>)]) -> &mut Self {
        let tasks = tasks
            .iter()
            .map(|(task, agent)| call::reconcile::Task {
                task_id: (*task).into(),
                agent_id: agent.map(|it| id(it).into()),
            })
            .collect();
        self.call(Call {
            r#type: Some(call::Type::Reconcile.into()),
            reconcile: Some(call::Reconcile { tasks }),
            ..Call::default()
        })
    }

    /// One task of `cpus:1;mem:64` running on an agent at port 1.
    fn running(info: FrameworkInfo) -> World {
        let mut world = World::new();
        world.stream(info).agent(1, "cpus:4;mem:1024").offer("S0", "cpus:4;mem:1024");
        world.accept(&["O0"], vec![launch(vec![command("t1", "cpus:1;mem:64")])]);
        world.status(1, "t1", TaskState::TaskRunning);
        world.log.clear();
        world
    }

    fn reregister(&mut self, n: u16, tasks: Vec<Task>) -> &mut Self {
        self.come_back(n, returning("S0", tasks))
    }

    fn come_back(&mut self, n: u16, message: ReregisterSlaveMessage) -> &mut Self {
        self.log.push_str("agent comes back\n");
        self.cluster.reregister_agent(&pid(n), message);
        self.settle();
        self
    }

    /// What the next master knows when this one is gone: what the registry holds.
    fn failover(&self) -> World {
        self.failover_to(rules())
    }

    fn failover_to(&self, rules: Rules) -> World {
        let mut next = World::with(rules);
        // What one master handed out, another does not.
        next.cluster.ids = Ids::new(Uuid::from_u128(1));
        next.registry = self.registry.clone();
        next.cluster.recover(&next.registry.clone()).unwrap();
        next.settle();
        next.log.clear();
        next
    }

    fn count(&self, name: &str) -> usize {
        self.counts.get(&format!("master/{name}")).copied().unwrap_or(0)
    }

    fn expect(&mut self, expected: Expect) {
        expected.assert_eq(&std::mem::take(&mut self.log));
    }
}

pub(super) fn agent_capabilities() -> Vec<agent_info::Capability> {
    use agent_info::capability::Type::*;
    [MultiRole, HierarchicalRole, ReservationRefinement, AgentDraining]
        .map(|it| agent_info::Capability { r#type: Some(it.into()) })
        .to_vec()
}

pub(super) fn unavailability(start: i64) -> Unavailability {
    Unavailability { start: TimeInfo { nanoseconds: start }, duration: None }
}

fn tail(id: &str) -> &str {
    id.rsplit('-').next().unwrap_or(id)
}

fn id(tail: &str) -> String {
    format!("{}-{tail}", Uuid::nil())
}

pub(super) fn framework() -> FrameworkInfo {
    FrameworkInfo { user: "u".into(), name: "f".into(), checkpoint: Some(true), ..FrameworkInfo::default() }
}

pub(super) fn command(task_id: &str, text: &str) -> TaskInfo {
    TaskInfo {
        name: task_id.into(),
        task_id: task_id.into(),
        agent_id: id("S0").into(),
        resources: resources(text),
        command: Some(CommandInfo { value: Some("true".into()), ..Default::default() }),
        ..TaskInfo::default()
    }
}

pub(super) fn launch(task_infos: Vec<TaskInfo>) -> Operation {
    Operation {
        r#type: Some(operation::Type::Launch.into()),
        launch: Some(operation::Launch { task_infos }),
        ..Operation::default()
    }
}

/// What an agent says that comes back with tasks of framework 0000.
fn returning(agent: &str, tasks: Vec<Task>) -> ReregisterSlaveMessage {
    let slave = AgentInfo {
        hostname: "host".into(),
        resources: resources("cpus:4;mem:1024"),
        id: Some(id(agent).into()),
        ..AgentInfo::default()
    };
    let frameworks =
        vec![FrameworkInfo { name: "reported".into(), id: Some(id("0000").into()), ..framework() }];
    ReregisterSlaveMessage {
        slave,
        tasks,
        frameworks,
        version: Some("1.11.0".into()),
        agent_capabilities: agent_capabilities(),
        ..Default::default()
    }
}

fn reported(state: TaskState) -> Task {
    Task {
        name: "t1".into(),
        task_id: "t1".into(),
        framework_id: id("0000").into(),
        agent_id: id("S0").into(),
        state: state.into(),
        resources: Resources::parse("cpus:1;mem:64", "*").unwrap().allocated("*").to_messages(),
        ..Task::default()
    }
}
