//! Stories about a cluster, without a network, a disk or a clock. After each event the invariants are checked;
//! what frameworks and agents hear is compared as text.

use std::time::Duration;

use allocator::constraints::RegexLimits;
use allocator::{AgentAllocation, InverseAllocation, Quota};
use api::internal::*;
use api::resources::Resources;
use api::v1::offer::{Operation, operation};
use api::v1::scheduler::{Call, OfferConstraints, call};
use api::v1::{
    AgentInfo, CommandInfo, Filters, FrameworkInfo, MasterInfo, Resource, Task, TaskInfo, TaskState,
    TaskStatus, TimeInfo, Unavailability, WeightInfo, agent_info, framework_info,
};
use expect_test::{Expect, expect};
use libprocess::{Time, Upid};
use uuid::Uuid;

use super::{Cluster, Rules};
use crate::Ids;
use crate::effect::{AgentMessage, AllocatorCall, Connection, Effect, FrameworkEvent, OfferOptions, Timeout};
use crate::framework_life::Subscription;
use crate::registry::Registry;

const STREAM: Uuid = Uuid::from_u128(1);

struct World {
    cluster: Cluster,
    registry: Registry,
    log: String,
    waits: Vec<Timeout>,
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
        World { cluster, registry: Registry::default(), log: String::new(), waits: Vec::new() }
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
                    _ => {}
                }
            }
        }
        self.cluster.check_invariants().unwrap();
    }

    fn tell(&mut self, event: FrameworkEvent) {
        let text = match event {
            FrameworkEvent::Registered(m) => format!("registered {}", tail(&m.framework_id.value)),
            FrameworkEvent::Reregistered(m) => format!("reregistered {}", tail(&m.framework_id.value)),
            FrameworkEvent::Offers(m) => {
                let one = |offer: &api::v1::Offer| {
                    format!(
                        "{} {}",
                        tail(&offer.id.value),
                        Resources::from_checked(&offer.resources).unallocated()
                    )
                };
                format!("offers {}", m.offers.iter().map(one).collect::<Vec<_>>().join(", "))
            }
            FrameworkEvent::Rescind(m) => format!("rescind {}", tail(&m.offer_id.value)),
            FrameworkEvent::InverseOffers(m) => {
                let one = |offer: &api::v1::InverseOffer| {
                    let (agent, start) = (offer.agent_id.as_ref().unwrap(), offer.unavailability.start);
                    format!("{} {} from {}", tail(&offer.id.value), tail(&agent.value), start.nanoseconds)
                };
                format!("leave {}", m.inverse_offers.iter().map(one).collect::<Vec<_>>().join(", "))
            }
            FrameworkEvent::RescindInverse(m) => format!("stay {}", tail(&m.inverse_offer_id.value)),
            FrameworkEvent::Status(m) => {
                let status = &m.update.status;
                let reason =
                    status.reason.map(|_| format!(" {}", status.reason().as_str_name())).unwrap_or_default();
                let ack = if m.update.uuid.is_some() { " (ack)" } else { "" };
                let why = status.message.as_deref().map(|it| format!(": {it}")).unwrap_or_default();
                format!("{} {}{reason}{ack}{why}", status.task_id, status.state().as_str_name())
            }
            FrameworkEvent::LostAgent(m) => format!("lost {}", tail(&m.slave_id.value)),
            FrameworkEvent::ExitedExecutor(m) => format!("executor {} exited", m.executor_id),
            FrameworkEvent::FromExecutor(m) => format!("data from {}", m.executor_id),
            FrameworkEvent::OperationStatus(m) => format!(
                "operation {:?} {}",
                m.status.operation_id.as_ref().map(|it| &it.value),
                m.status.state().as_str_name()
            ),
            FrameworkEvent::Error(m) => format!("error: {}", m.message),
        };
        self.log.push_str(&format!("-> framework {text}\n"));
    }

    fn send(&mut self, message: AgentMessage) {
        let text = match message {
            AgentMessage::Registered(m) => format!("registered {}", tail(&m.slave_id.value)),
            AgentMessage::Reregistered(m) => {
                let missing: Vec<_> = m
                    .reconciliations
                    .iter()
                    .flat_map(|it| &it.statuses)
                    .map(|it| it.task_id.value.clone())
                    .collect();
                format!("reregistered {} missing={}", tail(&m.slave_id.value), missing.join(","))
            }
            AgentMessage::RunTask(m) => {
                format!("run {} launch_executor={}", m.task.task_id, m.launch_executor())
            }
            AgentMessage::RunTaskGroup(m) => format!("run group of {}", m.task_group.tasks.len()),
            AgentMessage::KillTask(m) => format!("kill {}", m.task_id),
            AgentMessage::ShutdownExecutor(m) => {
                format!("shut down executor {}", m.executor_id.unwrap_or_default())
            }
            AgentMessage::ShutdownFramework(m) => {
                format!("shut down framework {}", tail(&m.framework_id.value))
            }
            AgentMessage::ToExecutor(m) => format!("data to {}", m.executor_id),
            AgentMessage::UpdateFramework(m) => format!(
                "framework {} is {}",
                tail(&m.framework_id.value),
                m.framework_info.unwrap_or_default().name
            ),
            AgentMessage::CheckpointResources(_) => "checkpoint".into(),
            AgentMessage::Acknowledge(m) => format!("acknowledge {}", m.task_id),
            AgentMessage::Shutdown(m) => format!("shut down: {}", m.message()),
        };
        self.log.push_str(&format!("-> agent {text}\n"));
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
        self.log.push_str("agent comes back\n");
        let slave = AgentInfo {
            hostname: "host".into(),
            resources: resources("cpus:4;mem:1024"),
            id: Some(id("S0").into()),
            ..AgentInfo::default()
        };
        let frameworks =
            vec![FrameworkInfo { name: "reported".into(), id: Some(id("0000").into()), ..framework() }];
        let message = ReregisterSlaveMessage {
            slave,
            tasks,
            frameworks,
            version: Some("1.11.0".into()),
            agent_capabilities: agent_capabilities(),
            ..Default::default()
        };
        self.cluster.reregister_agent(&pid(n), message);
        self.settle();
        self
    }

    fn expect(&mut self, expected: Expect) {
        expected.assert_eq(&std::mem::take(&mut self.log));
    }
}

pub(super) fn agent_capabilities() -> Vec<agent_info::Capability> {
    use agent_info::capability::Type::*;
    [MultiRole, HierarchicalRole, ReservationRefinement]
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

#[test]
fn a_task_from_offer_to_its_end() {
    let mut world = World::new();
    world.stream(framework()).agent(1, "cpus:4;mem:1024").offer("S0", "cpus:4;mem:1024");
    world.accept(&["O0"], vec![launch(vec![command("t1", "cpus:1;mem:64")])]);
    world.status(1, "t1", TaskState::TaskRunning).acknowledge("t1", TaskState::TaskRunning);
    world.status(1, "t1", TaskState::TaskFinished).acknowledge("t1", TaskState::TaskFinished);
    world.reconcile(&[]);
    world.expect(expect![[r#"
        SUBSCRIBE
        -> framework registered 0000
        agent at 1
        -> agent registered S0
        -> framework offers O0 cpus:4; mem:1024
        ACCEPT
        -> agent run t1 launch_executor=true
          recovered offered cpus:3; mem:960 filter=5
        agent reports t1 TASK_RUNNING
        -> framework t1 TASK_RUNNING (ack)
        ACKNOWLEDGE
        -> agent acknowledge t1
        agent reports t1 TASK_FINISHED
        -> framework t1 TASK_FINISHED (ack)
          recovered used cpus:1; mem:64
        ACKNOWLEDGE
        -> agent acknowledge t1
        RECONCILE
    "#]]);
}

#[test]
fn an_accept_with_invalid_offers_drops_its_tasks_and_returns_the_rest() {
    let mut world = World::new();
    world.stream(framework()).agent(1, "cpus:4;mem:1024").offer("S0", "cpus:2;mem:512");
    world.accept(&["O0", "O9"], vec![launch(vec![command("t1", "cpus:1")])]);
    world.accept(&[], vec![launch(vec![command("t2", "cpus:1")])]);
    world.expect(expect![[r#"
        SUBSCRIBE
        -> framework registered 0000
        agent at 1
        -> agent registered S0
        -> framework offers O0 cpus:2; mem:512
        ACCEPT
          recovered offered cpus:2; mem:512
        -> framework t1 TASK_LOST REASON_INVALID_OFFERS: Task launched with invalid offers: Offer 00000000-0000-0000-0000-000000000000-O9 is no longer valid
        ACCEPT
        -> framework t2 TASK_LOST REASON_INVALID_OFFERS: Task launched with invalid offers: No offers specified
    "#]]);
}

#[test]
fn each_task_is_judged_by_itself() {
    let mut world = World::new();
    world
        .stream(framework())
        .agent(1, "cpus:4;mem:1024;ports:[1-10]")
        .offer("S0", "cpus:4;mem:1024;ports:[1-10]");
    let mut elsewhere = command("t3", "cpus:1");
    elsewhere.agent_id = "other".into();
    let mut both = command("t6", "cpus:1");
    both.command = None;
    let mut operation = launch(vec![
        command("t1", "cpus:1;mem:64;ports:[1-2]"),
        command("t1", "cpus:1"),
        command("a/b", "cpus:1"),
        elsewhere,
        command("t4", "cpus:8"),
        command("t5", "ports:[2-3]"),
        both,
        TaskInfo { resources: vec![], ..command("t7", "cpus:1") },
    ]);
    world.accept(&["O0"], vec![operation.clone()]);
    operation.id = Some("op".into());
    world.offer("S0", "cpus:1");
    world.accept(&["O1"], vec![operation]);
    world.expect(expect![[r#"
        SUBSCRIBE
        -> framework registered 0000
        agent at 1
        -> agent registered S0
        -> framework offers O0 cpus:4; mem:1024; ports:[1-10]
        ACCEPT
        -> agent run t1 launch_executor=true
        -> framework t1 TASK_ERROR REASON_TASK_INVALID: Task has duplicate ID: t1
        -> framework a/b TASK_ERROR REASON_TASK_INVALID: TaskID is invalid: ID 'a/b' contains the invalid character '/'
        -> framework t3 TASK_ERROR REASON_TASK_INVALID: Task uses invalid agent other while agent 00000000-0000-0000-0000-000000000000-S0 is expected
        -> framework t4 TASK_ERROR REASON_TASK_INVALID: Total resources cpus(allocated: *):8 required by task is more than available cpus(allocated: *):3; mem(allocated: *):960; ports(allocated: *):[3-10]
        -> framework t5 TASK_ERROR REASON_TASK_INVALID: Total resources ports(allocated: *):[2-3] required by task is more than available cpus(allocated: *):3; mem(allocated: *):960; ports(allocated: *):[3-10]
        -> framework t6 TASK_ERROR REASON_TASK_INVALID: Task should have at least one (but not both) of CommandInfo or ExecutorInfo present
        -> framework t7 TASK_ERROR REASON_TASK_INVALID: Task uses no resources
          recovered offered cpus:3; mem:960; ports:[3-10] filter=5
        -> framework offers O1 cpus:1
        ACCEPT
        -> framework t1 TASK_ERROR REASON_TASK_INVALID: A LAUNCH operation must not have an id
        -> framework t1 TASK_ERROR REASON_TASK_INVALID: A LAUNCH operation must not have an id
        -> framework a/b TASK_ERROR REASON_TASK_INVALID: A LAUNCH operation must not have an id
        -> framework t3 TASK_ERROR REASON_TASK_INVALID: A LAUNCH operation must not have an id
        -> framework t4 TASK_ERROR REASON_TASK_INVALID: A LAUNCH operation must not have an id
        -> framework t5 TASK_ERROR REASON_TASK_INVALID: A LAUNCH operation must not have an id
        -> framework t6 TASK_ERROR REASON_TASK_INVALID: A LAUNCH operation must not have an id
        -> framework t7 TASK_ERROR REASON_TASK_INVALID: A LAUNCH operation must not have an id
          recovered offered cpus:1 filter=5
    "#]]);
}

#[test]
fn declined_and_unused_resources_go_back_under_a_filter() {
    let mut world = World::new();
    world.stream(framework()).agent(1, "cpus:4;mem:1024").offer("S0", "cpus:4;mem:1024");
    let decline = |offer: &str| Call {
        r#type: Some(call::Type::Decline.into()),
        decline: Some(call::Decline { offer_ids: vec![id(offer).into()], filters: None }),
        ..Call::default()
    };
    world.call(decline("O0")).call(decline("O0"));
    world.expect(expect![[r#"
        SUBSCRIBE
        -> framework registered 0000
        agent at 1
        -> agent registered S0
        -> framework offers O0 cpus:4; mem:1024
        DECLINE
          recovered offered cpus:4; mem:1024 filter=5
        DECLINE
    "#]]);
}

#[test]
fn the_newest_stream_takes_over() {
    let mut world = World::running(framework());
    world.offer("S0", "cpus:1");
    world.subscribe(
        Connection::Stream(Uuid::from_u128(2)),
        FrameworkInfo { id: Some(id("0000").into()), user: "other".into(), ..framework() },
        false,
    );
    world.cluster.stream_closed(&STREAM);
    world.settle();
    let taken_over = world.cluster.frameworks.get(&id("0000").into()).unwrap();
    assert!(taken_over.is_connected());
    assert_eq!(taken_over.info.user, "u", "the user stays");
    let principal = FrameworkInfo { id: Some(id("0000").into()), principal: Some("p".into()), ..framework() };
    world.subscribe(Connection::Stream(Uuid::from_u128(3)), principal, false);
    world.expect(expect![[r#"
        -> framework offers O1 cpus:1
        SUBSCRIBE
        -> framework error: Framework failed over
        hangup
          recovered offered cpus:1
        -> framework registered 0000
        -> agent framework 0000 is f
        SUBSCRIBE
        -> framework error: Changing framework's principal is not allowed.
        hangup
    "#]]);
}

#[test]
fn a_framework_that_does_not_come_back_is_removed() {
    let mut world = World::running(framework());
    world.cluster.stream_closed(&STREAM);
    world.settle();
    let Some(Timeout::FrameworkFailover { id: framework_id, subscription }) = world.waits.pop() else {
        panic!("no wait")
    };
    world.cluster.failover_timed_out(&framework_id, subscription - 1);
    assert!(world.cluster.frameworks.get(&framework_id).is_some(), "an old wait means nothing");
    world.cluster.failover_timed_out(&framework_id, subscription);
    world.settle();
    let completed = &world.cluster.frameworks.completed[0];
    assert_eq!(completed.completed_tasks[0].state(), TaskState::TaskKilled);
    world.stream(FrameworkInfo { id: Some(framework_id), ..framework() });
    world.expect(expect![[r#"
        -> agent shut down framework 0000
          recovered used cpus:1; mem:64
        SUBSCRIBE
        -> framework error: Framework has been removed
        hangup
    "#]]);
}

#[test]
fn an_invalid_framework_hears_why() {
    let mut world = World::new();
    let multi = vec![capability(framework_info::capability::Type::MultiRole)];
    #[allow(deprecated)]
    let infos = [
        FrameworkInfo { roles: vec!["a".into()], ..framework() },
        FrameworkInfo { role: Some("a".into()), capabilities: multi.clone(), ..framework() },
        FrameworkInfo { roles: vec!["a".into(), "a".into()], capabilities: multi.clone(), ..framework() },
        FrameworkInfo { roles: vec!["/a".into()], capabilities: multi, ..framework() },
        FrameworkInfo { failover_timeout: Some(1e30), ..framework() },
        FrameworkInfo { id: Some("a/b".into()), ..framework() },
    ];
    for info in infos {
        world.stream(info);
    }
    world.expect(expect![[r#"
        SUBSCRIBE
        -> framework error: 'FrameworkInfo.roles' must not be set when the framework is not MULTI_ROLE capable; use 'role'
        hangup
        SUBSCRIBE
        -> framework error: 'FrameworkInfo.role' must not be set when the framework is MULTI_ROLE capable; use 'roles'
        hangup
        SUBSCRIBE
        -> framework error: 'FrameworkInfo.roles' contains role 'a' twice
        hangup
        SUBSCRIBE
        -> framework error: 'FrameworkInfo.role' is not valid: Role '/a' must not start or end with a slash, nor contain two slashes in a row
        hangup
        SUBSCRIBE
        -> framework error: The framework's failover_timeout (1000000000000000000000000000000) is invalid: it is a number of seconds from 0 to 9223372036
        hangup
        SUBSCRIBE
        -> framework error: Not a valid framework id: ID 'a/b' contains the invalid character '/'
        hangup
    "#]]);
}

#[test]
fn expressions_are_as_large_as_the_operator_allows() {
    let constraints = r#"{"role_constraints": {"*": {"groups": [{"attribute_constraints": [{
        "selector": {"attribute_name": "rack"}, "predicate": {"text_matches": {"regex": "r[0-9]+"}}}]}]}}}"#;
    let constraints: OfferConstraints = api::json::from_slice(constraints.as_bytes()).unwrap();
    for (instructions, expected) in [
        (100, "-> framework registered 0000\n"),
        (
            3,
            "-> framework error: Offer constraints for role '*' are invalid: the regular expression 'r[0-9]+' cannot be used: its program has 6 instructions, more than 3\nhangup\n",
        ),
    ] {
        let regex = RegexLimits { instructions, ..RegexLimits::default() };
        let mut world = World::with(Rules { regex, ..rules() });
        let options = OfferOptions { constraints: Some(constraints.clone()), ..OfferOptions::default() };
        let (connection, info) = (Connection::Stream(STREAM), framework());
        world.cluster.subscribe(Subscription { connection, info, force: false, options });
        world.settle();
        assert_eq!(world.log, expected);
    }
}

#[test]
fn drivers_repeat_themselves_and_take_over_only_by_force() {
    let mut world = World::new();
    let driver = |n: u16| Connection::Driver(Upid::new("scheduler", ([10, 0, 0, 2], n).into()));
    world.subscribe(driver(1), framework(), false).subscribe(driver(1), framework(), false);
    let known = FrameworkInfo { id: Some(id("0000").into()), ..framework() };
    world.subscribe(driver(2), known.clone(), false);
    world.subscribe(driver(2), known.clone(), true);
    world.subscribe(driver(2), known, false);
    world.expect(expect![[r#"
        SUBSCRIBE
        -> framework registered 0000
        SUBSCRIBE
        -> framework registered 0000
        SUBSCRIBE
        -> framework error: Framework failed over
        SUBSCRIBE
        -> framework error: Framework failed over
        -> framework registered 0000
        SUBSCRIBE
        -> framework reregistered 0000
    "#]]);
}

#[test]
fn an_unreachable_agent_may_return_with_its_tasks() {
    for aware in [false, true] {
        let capabilities = aware.then(|| capability(framework_info::capability::Type::PartitionAware));
        let mut world =
            World::running(FrameworkInfo { capabilities: capabilities.into_iter().collect(), ..framework() });
        world.offer("S0", "cpus:1");
        assert!(world.cluster.mark_unreachable(&id("S0").into(), "health check timed out"));
        world.settle();
        world.reconcile(&[("t1", Some("S0")), ("t1", None)]);
        world.status(1, "t1", TaskState::TaskRunning);
        world.reregister(1, vec![reported(TaskState::TaskRunning)]);
        world.reconcile(&[]);
        if aware {
            world.expect(expect![[r#"
                -> framework offers O1 cpus:1
                  recovered used cpus:1; mem:64
                -> framework t1 TASK_UNREACHABLE REASON_AGENT_REMOVED: Agent 00000000-0000-0000-0000-000000000000-S0 is unreachable: health check timed out
                -> framework rescind O1
                  recovered offered cpus:1
                -> framework lost S0
                RECONCILE
                -> framework t1 TASK_UNREACHABLE REASON_RECONCILIATION: Reconciliation: Task is unreachable
                -> framework t1 TASK_UNKNOWN REASON_RECONCILIATION: Reconciliation: Task is unknown
                agent reports t1 TASK_RUNNING
                agent comes back
                -> framework t1 TASK_RUNNING REASON_AGENT_REREGISTERED: Agent reregistered
                -> agent reregistered S0 missing=
                -> agent framework 0000 is f
                RECONCILE
                -> framework t1 TASK_RUNNING REASON_RECONCILIATION: Reconciliation: Latest task state
            "#]]);
        } else {
            world.expect(expect![[r#"
                -> framework offers O1 cpus:1
                  recovered used cpus:1; mem:64
                -> framework t1 TASK_LOST REASON_AGENT_REMOVED: Agent 00000000-0000-0000-0000-000000000000-S0 is unreachable: health check timed out
                -> framework rescind O1
                  recovered offered cpus:1
                -> framework lost S0
                RECONCILE
                -> framework t1 TASK_LOST REASON_RECONCILIATION: Reconciliation: Task is unreachable
                -> framework t1 TASK_LOST REASON_RECONCILIATION: Reconciliation: Task is unknown
                agent reports t1 TASK_RUNNING
                agent comes back
                -> framework t1 TASK_RUNNING REASON_AGENT_REREGISTERED: Agent reregistered
                -> agent reregistered S0 missing=
                -> agent framework 0000 is f
                RECONCILE
                -> framework t1 TASK_RUNNING REASON_RECONCILIATION: Reconciliation: Latest task state
            "#]]);
        }
    }
}

#[test]
fn an_agent_that_stayed_says_what_became_of_missing_tasks() {
    let mut world = World::running(framework());
    world.cluster.agent_exited(&pid(1));
    world.settle();
    let kill = call::Kill { task_id: "t1".into(), ..Default::default() };
    world.call(Call { r#type: Some(call::Type::Kill.into()), kill: Some(kill), ..Call::default() });
    world.reregister(2, vec![]);
    let (agent_id, connection) = match world.waits.pop() {
        Some(Timeout::AgentReregistration { id, connection }) => (id, connection),
        other => panic!("{other:?}"),
    };
    world.cluster.agent_reregistration_timed_out(&agent_id, connection);
    world.settle();
    world.expect(expect![[r#"
        KILL
        agent comes back
        -> agent reregistered S0 missing=t1
        -> agent kill t1
        -> agent framework 0000 is f
    "#]]);
}

#[test]
fn without_checkpointing_tasks_are_lost_with_the_connection() {
    let mut world = World::running(FrameworkInfo { checkpoint: None, ..framework() });
    world.cluster.agent_exited(&pid(1));
    world.settle();
    world.expect(expect![[r#"
          recovered used cpus:1; mem:64
        -> framework t1 TASK_LOST REASON_AGENT_DISCONNECTED: Agent disconnected
    "#]]);
}

#[test]
fn agents_repeat_themselves_and_leave() {
    let mut world = World::running(framework());
    world.agent(1, "cpus:4;mem:1024");
    world.cluster.unregister_agent(&pid(1), &id("S0").into());
    world.settle();
    world.agent(1, "cpus:4;mem:1024");
    world.expect(expect![[r#"
        agent at 1
        -> agent registered S0
          recovered used cpus:1; mem:64
        -> framework t1 TASK_LOST REASON_AGENT_REMOVED: Agent 00000000-0000-0000-0000-000000000000-S0 removed: the agent unregistered
        -> framework lost S0
        agent at 1
        -> agent registered S1
    "#]]);
}

#[test]
fn a_new_master_learns_of_frameworks_from_their_agents() {
    let mut old = World::running(framework());
    let mut world = World::new();
    world.registry = std::mem::take(&mut old.registry);
    world.cluster.recover(&world.registry.clone()).unwrap();
    world.settle();
    world.reregister(1, vec![reported(TaskState::TaskRunning)]);
    let recovered = world.cluster.frameworks.get(&id("0000").into()).unwrap();
    assert!(recovered.recovered && !recovered.active);
    world.stream(FrameworkInfo { id: Some(id("0000").into()), ..framework() });
    world.reconcile(&[]);
    world.expect(expect![[r#"
        agent comes back
        -> agent reregistered S0 missing=
        -> agent framework 0000 is reported
        SUBSCRIBE
        -> framework reregistered 0000
        -> agent framework 0000 is f
        RECONCILE
        -> framework t1 TASK_RUNNING REASON_RECONCILIATION: Reconciliation: Latest task state
    "#]]);
}

#[test]
fn the_allocator_hears_of_quotas_and_weights_before_any_agent() {
    let json = r#"{
        "slaves": {"slaves": [{"info": {"hostname": "h", "id": {"value": "a"}}}]},
        "quota_configs": [{"role": "r", "guarantees": {"cpus": {"value": 2}}}],
        "weights": [{"info": {"role": "r", "weight": 3}}]
    }"#;
    let proto: api::internal::Registry = api::json::from_slice(json.as_bytes()).unwrap();
    let mut cluster = World::new().cluster;
    cluster.recover(&Registry::from_proto(proto).unwrap()).unwrap();
    let calls: Vec<_> = cluster
        .take_effects()
        .into_iter()
        .filter_map(|effect| match effect {
            Effect::Allocator(call) => Some(call),
            _ => None,
        })
        .collect();
    let guarantees = Resources::parse("cpus:2", "*").unwrap().scalar_quantities();
    let quotas = [("r".to_owned(), Quota { guarantees, ..Quota::default() })].into();
    assert_eq!(
        calls,
        [
            AllocatorCall::RecoverQuotas { n_agents: 1, quotas },
            AllocatorCall::UpdateWeights(vec![WeightInfo { weight: 3.0, role: Some("r".into()) }]),
        ]
    );
}

#[test]
fn questions_about_agents_not_yet_back_are_not_answered() {
    let mut old = World::running(framework());
    let mut world = World::new();
    world.registry = std::mem::take(&mut old.registry);
    world.cluster.recover(&world.registry.clone()).unwrap();
    world.stream(FrameworkInfo { id: Some(id("0000").into()), ..framework() });
    world.reconcile(&[("t1", Some("S0")), ("t1", None), ("t1", Some("elsewhere"))]);
    assert_eq!(world.waits, [Timeout::Recovery]);
    world.cluster.recovery_timed_out();
    world.settle();
    world.reconcile(&[("t1", Some("S0")), ("t2", None)]);
    world.expect(expect![[r#"
        SUBSCRIBE
        -> framework reregistered 0000
        RECONCILE
        -> framework t1 TASK_LOST REASON_RECONCILIATION: Reconciliation: Task is unknown
        -> framework lost S0
        RECONCILE
        -> framework t1 TASK_LOST REASON_RECONCILIATION: Reconciliation: Task is unreachable
        -> framework t2 TASK_LOST REASON_RECONCILIATION: Reconciliation: Task is unknown
    "#]]);
}

#[test]
fn too_many_missing_agents_end_the_master() {
    let mut old = World::running(framework());
    let mut world = World::with(Rules { recovery_agent_removal_limit: 0.5, ..rules() });
    world.registry = std::mem::take(&mut old.registry);
    world.cluster.recover(&world.registry.clone()).unwrap();
    world.cluster.recovery_timed_out();
    assert!(world.cluster.fatal.as_deref().is_some_and(|it| it.contains("1 of the 1 agents")));
}

#[test]
fn histories_are_bounded() {
    let mut world = World::new();
    world.stream(framework()).agent(1, "cpus:4;mem:1024");
    for n in 0..6 {
        world.offer("S0", "cpus:4;mem:1024");
        let task = format!("t{n}");
        world.accept(&[&format!("O{n}")], vec![launch(vec![command(&task, "cpus:1")])]);
        world.status(1, &task, TaskState::TaskFinished).acknowledge(&task, TaskState::TaskFinished);
    }
    let framework = world.cluster.frameworks.get(&id("0000").into()).unwrap();
    let kept: Vec<_> = framework.completed_tasks.iter().map(|task| task.task_id.value.as_str()).collect();
    assert_eq!(kept, ["t3", "t4", "t5"]);
    assert!(framework.tasks.is_empty() && framework.used.is_empty());
}

#[test]
fn offers_time_out() {
    let mut world = World::with(Rules { offer_timeout: Some(Duration::from_secs(30)), ..rules() });
    world.stream(framework()).agent(1, "cpus:4;mem:1024").offer("S0", "cpus:4;mem:1024");
    let Some(Timeout::Offer(offer)) = world.waits.pop() else { panic!("no wait") };
    world.cluster.offer_timed_out(&offer);
    world.settle();
    world.expect(expect![[r#"
        SUBSCRIBE
        -> framework registered 0000
        agent at 1
        -> agent registered S0
        -> framework offers O0 cpus:4; mem:1024
        -> framework rescind O0
          recovered offered cpus:4; mem:1024
    "#]]);
}

#[test]
fn operations_that_are_not_carried_out_say_so() {
    let mut world = World::new();
    world.stream(framework()).agent(1, "cpus:4;mem:1024").offer("S0", "cpus:4;mem:1024");
    let reserve = Operation {
        r#type: Some(operation::Type::Reserve.into()),
        id: Some("op".into()),
        ..Default::default()
    };
    world.accept(&["O0"], vec![reserve]);
    world.expect(expect![[r#"
        SUBSCRIBE
        -> framework registered 0000
        agent at 1
        -> agent registered S0
        -> framework offers O0 cpus:4; mem:1024
        ACCEPT
        -> framework operation Some("op") OPERATION_ERROR
          recovered offered cpus:4; mem:1024 filter=5
    "#]]);
}

#[test]
fn frameworks_are_asked_to_leave_and_answer() {
    let mut world = World::running(framework());
    world.offer("S0", "cpus:3;mem:960").plan(Some(7)).ask(7).ask(7);
    world.answer(false, "O2", None).answer(false, "O2", None);
    world.ask(7).answer(true, "O3", Some(Filters { refuse_seconds: Some(60.0) }));
    let offer = world.offer("S0", "cpus:3;mem:960").cluster.offers.get_max().unwrap().1.clone();
    assert_eq!(offer.offer.unavailability, Some(unavailability(7)));
    world.expect(expect![[r#"
        -> framework offers O1 cpus:3; mem:960
        plan Some(7)
        -> framework rescind O1
          recovered offered cpus:3; mem:960
          unavailable from Some(7)
        ask
        -> framework leave O2 S0 from 7
        ask
        DECLINE_INVERSE_OFFERS
          answered Some((Decline, 100)) filter=Some(5.0)
        DECLINE_INVERSE_OFFERS
        ask
        -> framework leave O3 S0 from 7
        ACCEPT_INVERSE_OFFERS
          answered Some((Accept, 100)) filter=Some(60.0)
        -> framework offers O4 cpus:3; mem:960
    "#]]);
}

#[test]
fn a_wish_that_does_not_hold_any_more_is_taken_back() {
    let mut world = World::with(Rules { offer_timeout: Some(Duration::from_secs(30)), ..rules() });
    world.stream(framework()).agent(1, "cpus:4;mem:1024").plan(Some(7)).ask(7);
    // Another plan, and one that was made meanwhile.
    world.plan(Some(8)).ask(7).ask(8).plan(Some(8));
    let Some(Timeout::Offer(last)) = world.waits.last().cloned() else { panic!("no wait") };
    world.cluster.offer_timed_out(&last);
    world.settle();
    // Whoever takes over knows nothing of what the one before it was asked, and is asked by itself.
    world.ask(8).subscribe(
        Connection::Stream(Uuid::from_u128(2)),
        FrameworkInfo { id: Some(id("0000").into()), ..framework() },
        false,
    );
    world.ask(8).plan(None);
    assert!(world.cluster.inverse_offers.is_empty());
    assert!(!world.cluster.set_unavailability(&id("S9").into(), None));
    world.plan(Some(9)).ask(9);
    world.log.push_str("agent gone\n");
    world.cluster.agent_exited(&pid(1));
    world.settle();
    world.expect(expect![[r#"
        SUBSCRIBE
        -> framework registered 0000
        agent at 1
        -> agent registered S0
        plan Some(7)
          unavailable from Some(7)
        ask
        -> framework leave O0 S0 from 7
        plan Some(8)
        -> framework stay O0
          answered None filter=None
          unavailable from Some(8)
        ask
        ask
        -> framework leave O1 S0 from 8
        plan Some(8)
        -> framework stay O1
          answered None filter=None
        ask
        -> framework leave O2 S0 from 8
        SUBSCRIBE
        -> framework error: Framework failed over
        hangup
          answered None filter=None
        -> framework registered 0000
        -> agent framework 0000 is f
        ask
        -> framework leave O3 S0 from 8
        plan None
        -> framework stay O3
          answered None filter=None
          unavailable from None
        plan Some(9)
          unavailable from Some(9)
        ask
        -> framework leave O4 S0 from 9
        agent gone
        -> framework stay O4
          answered None filter=None
    "#]]);
}
