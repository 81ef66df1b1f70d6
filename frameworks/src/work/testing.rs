//! A master and its agents in one process, which lose what a test wants lost.

#![allow(clippy::unwrap_used)] // A test that cannot go on ends.

use std::collections::{BTreeMap, BTreeSet};
use std::marker::PhantomData;

use api::internal::*;
use api::resources::Resources;
use api::v0::scheduler::{Call, call};
use api::v1::{
    AgentId, ExecutorId, ExecutorInfo, FrameworkInfo, MasterInfo, Offer, OfferId, TaskId, TaskInfo,
    TaskState, TaskStatus, task_status,
};
use libprocess::{Context, Id, Node, Pid, Process, Upid};

use super::executor::WorkExecutor;
use super::{ExecutorCommand, Work};
use crate::driver::{ExecutorEnvironment, ExecutorProcess};

/// What goes wrong. Tasks are counted from 1 as they are launched.
#[derive(Clone, Default)]
pub(crate) struct Faults {
    /// These never reach their executors.
    pub(crate) lose: BTreeSet<usize>,
    /// When these are launched, their executor dies with all its tasks.
    pub(crate) kill_executor: BTreeSet<usize>,
    /// When this one is launched, its agent is lost; another one comes.
    pub(crate) lose_agent: Option<usize>,
    /// Each update comes twice.
    pub(crate) repeat: bool,
    /// Partial results do not arrive.
    pub(crate) mute: bool,
    /// Every task fails.
    pub(crate) hopeless: bool,
}

/// The cluster: agents of two cpus each.
pub(crate) struct FakeCluster<W> {
    faults: Faults,
    framework: Option<Upid>,
    suppressed: bool,
    agents: BTreeMap<AgentId, Agent>,
    offers: BTreeMap<OfferId, AgentId>,
    n_offers: usize,
    n_agents: usize,
    pub(crate) n_launched: usize,
    pub(crate) torn_down: bool,
    pub(crate) payloads: bool,
    work: PhantomData<fn() -> W>,
}

#[derive(Default)]
struct Agent {
    executors: BTreeMap<ExecutorId, RunningExecutor>,
    offered: bool,
}

#[derive(Default)]
struct RunningExecutor {
    process: Option<Upid>,
    registered: bool,
    cpus: u64,
    tasks: BTreeMap<TaskId, TaskInfo>,
}

pub(crate) fn start<W: Work>(n_agents: usize, faults: Faults) -> (Node, Pid<FakeCluster<W>>) {
    let node = Node::local().unwrap();
    let mut cluster = FakeCluster {
        faults,
        framework: None,
        suppressed: false,
        agents: BTreeMap::new(),
        offers: BTreeMap::new(),
        n_offers: 0,
        n_agents: 0,
        n_launched: 0,
        torn_down: false,
        payloads: false,
        work: PhantomData,
    };
    (0..n_agents).for_each(|_| cluster.add_agent());
    let pid = node.spawn("master", cluster).unwrap();
    (node, pid)
}

pub(crate) fn no_program() -> ExecutorCommand {
    ExecutorCommand { program: "/bin/true".into(), arguments: vec![] }
}

impl<W: Work> Process for FakeCluster<W> {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.install(Self::call);
        ctx.install(Self::register_executor);
        ctx.install(Self::status_update);
        ctx.install(Self::executor_message);
    }
}

impl<W: Work> FakeCluster<W> {
    fn add_agent(&mut self) {
        self.n_agents += 1;
        self.agents.insert(format!("agent-{}", self.n_agents).into(), Agent::default());
    }

    fn call(&mut self, from: &Upid, call: Call, ctx: &mut Context<Self>) {
        match call.r#type() {
            call::Type::Subscribe => {
                self.framework = Some(from.clone());
                let master_info = MasterInfo { id: "m".to_owned(), ..Default::default() };
                ctx.reply(FrameworkRegisteredMessage { framework_id: "f".into(), master_info });
                self.offer(ctx);
            }
            call::Type::Accept => {
                let accept = call.accept.unwrap();
                self.take_back(&accept.offer_ids);
                let tasks = accept.operations.into_iter().flat_map(|it| it.launch.unwrap().task_infos);
                tasks.for_each(|task| self.launch(task, ctx));
                self.offer(ctx);
            }
            call::Type::Decline => self.take_back(&call.decline.unwrap().offer_ids),
            call::Type::Suppress => self.suppressed = true,
            call::Type::Revive => {
                self.suppressed = false;
                self.offer(ctx);
            }
            call::Type::Teardown => {
                self.torn_down = true;
                let executors = self.agents.values().flat_map(|agent| agent.executors.values());
                for process in executors.filter_map(|it| it.process.clone()) {
                    ctx.send(process, ShutdownExecutorMessage::default());
                }
            }
            _ => {}
        }
    }

    /// What is free of agents that have no offer outstanding.
    fn offer(&mut self, ctx: &mut Context<Self>) {
        if self.suppressed {
            return;
        }
        let mut offers = Vec::new();
        for (id, agent) in self.agents.iter_mut().filter(|(_, agent)| !agent.offered) {
            let used: u64 = agent.executors.values().map(|it| it.cpus + it.tasks.len() as u64).sum();
            let mem: usize = agent.executors.values().map(|it| 64 + it.tasks.len()).sum();
            assert!(used <= 2000 && mem <= 1024, "more was launched than was offered");
            let resources = format!("cpus:{};mem:{}", (2000 - used) as f64 / 1000.0, 1024 - mem);
            self.n_offers += 1;
            let offer_id: OfferId = format!("o{}", self.n_offers).into();
            agent.offered = true;
            self.offers.insert(offer_id.clone(), id.clone());
            offers.push(Offer {
                id: offer_id,
                framework_id: "f".into(),
                agent_id: id.clone(),
                hostname: id.to_string(),
                resources: Resources::parse(&resources, "*").unwrap().to_messages(),
                ..Default::default()
            });
        }
        if let (Some(framework), false) = (self.framework.clone(), offers.is_empty()) {
            ctx.send(framework, ResourceOffersMessage { offers, pids: vec![] });
        }
    }

    fn take_back(&mut self, offers: &[OfferId]) {
        for offer in offers {
            let agent = self.offers.remove(offer).expect("the offer is outstanding");
            if let Some(agent) = self.agents.get_mut(&agent) {
                agent.offered = false;
            }
        }
    }

    fn launch(&mut self, task: TaskInfo, ctx: &mut Context<Self>) {
        self.n_launched += 1;
        let (n, faults) = (self.n_launched, self.faults.clone());
        self.payloads |= task.data().len() > 10_000;
        let agent_id = task.agent_id.clone();
        if faults.lose.contains(&n) || !self.agents.contains_key(&agent_id) {
            self.report(&task, TaskState::TaskLost, ctx);
            return;
        }
        if faults.hopeless {
            self.report(&task, TaskState::TaskFailed, ctx);
            return;
        }
        let info = task.executor.clone().unwrap();
        let executor_id = info.executor_id.clone();
        let address = ctx.upid().clone();
        let agent = self.agents.get_mut(&agent_id).unwrap();
        let executor = agent.executors.entry(executor_id.clone()).or_default();
        executor.cpus = Resources::try_from(&info.resources).unwrap().cpus().thousandths();
        executor.tasks.insert(task.task_id.clone(), task.clone());
        match (&executor.process, executor.registered) {
            (None, _) => {
                let environment = environment(&agent_id, &executor_id, address);
                let (process, _) = ExecutorProcess::new(WorkExecutor::<W>::default(), environment);
                executor.process = Some(ctx.spawn(Id::prefix("executor"), process).unwrap().upid().clone());
            }
            (Some(process), true) => {
                let process = process.clone();
                ctx.send(process, run_task(task.clone()));
            }
            (Some(_), false) => {}
        }
        if faults.kill_executor.contains(&n) {
            self.executor_dies(&agent_id, &executor_id, ctx);
        }
        if faults.lose_agent == Some(n) {
            let agent = self.agents.remove(&agent_id).unwrap();
            self.add_agent();
            let framework = self.framework.clone().unwrap();
            ctx.send(framework, LostSlaveMessage { slave_id: agent_id });
            for executor in agent.executors.into_values() {
                ctx.terminate(executor.process.unwrap());
                executor.tasks.values().for_each(|task| self.report(task, TaskState::TaskLost, ctx));
            }
            self.offer(ctx);
        }
    }

    fn executor_dies(&mut self, agent_id: &AgentId, executor_id: &ExecutorId, ctx: &mut Context<Self>) {
        let executor = self.agents.get_mut(agent_id).unwrap().executors.remove(executor_id).unwrap();
        ctx.terminate(executor.process.unwrap());
        let framework = self.framework.clone().unwrap();
        executor.tasks.values().for_each(|task| self.report(task, TaskState::TaskFailed, ctx));
        let message = ExitedExecutorMessage {
            slave_id: agent_id.clone(),
            framework_id: "f".into(),
            executor_id: executor_id.clone(),
            status: 9,
        };
        ctx.send(framework, message);
    }

    /// An update that the agent or the master makes.
    fn report(&self, task: &TaskInfo, state: TaskState, ctx: &mut Context<Self>) {
        let status = TaskStatus {
            task_id: task.task_id.clone(),
            state: state as i32,
            source: Some(task_status::Source::Agent as i32),
            ..Default::default()
        };
        let update = StatusUpdate { framework_id: "f".into(), status, ..Default::default() };
        ctx.send(self.framework.clone().unwrap(), StatusUpdateMessage { update, pid: None });
    }

    fn register_executor(&mut self, from: &Upid, message: RegisterExecutorMessage, ctx: &mut Context<Self>) {
        ctx.reply(ExecutorRegisteredMessage {
            executor_info: ExecutorInfo { executor_id: message.executor_id.clone(), ..Default::default() },
            framework_id: message.framework_id,
            framework_info: FrameworkInfo::default(),
            slave_id: "agent".into(),
            slave_info: Default::default(),
        });
        let executors = self.agents.values_mut().flat_map(|agent| &mut agent.executors);
        for (_, executor) in executors.filter(|(id, _)| **id == message.executor_id) {
            executor.registered = true;
            // In the order of launching: ids are numbered.
            let mut tasks: Vec<TaskInfo> = executor.tasks.values().cloned().collect();
            tasks.sort_by_key(|task| (task.task_id.value.len(), task.task_id.value.clone()));
            tasks.into_iter().for_each(|task| ctx.send(from, run_task(task)));
        }
    }

    fn status_update(&mut self, from: &Upid, message: StatusUpdateMessage, ctx: &mut Context<Self>) {
        let status = &message.update.status;
        ctx.send(
            from,
            StatusUpdateAcknowledgementMessage {
                slave_id: "agent".into(),
                framework_id: "f".into(),
                task_id: status.task_id.clone(),
                uuid: status.uuid.clone().unwrap(),
            },
        );
        if status.state() != TaskState::TaskRunning {
            let executors = self.agents.values_mut().flat_map(|agent| agent.executors.values_mut());
            executors.for_each(|executor| drop(executor.tasks.remove(&status.task_id)));
        }
        let framework = self.framework.clone().unwrap();
        for _ in 0..1 + usize::from(self.faults.repeat) {
            ctx.send(&framework, message.clone());
        }
        self.offer(ctx);
    }

    fn executor_message(&mut self, message: ExecutorToFrameworkMessage, ctx: &mut Context<Self>) {
        if !self.faults.mute {
            ctx.send(self.framework.clone().unwrap(), message);
        }
    }
}

fn run_task(task: TaskInfo) -> RunTaskMessage {
    RunTaskMessage { task, framework: FrameworkInfo::default(), ..Default::default() }
}

fn environment(agent: &AgentId, executor: &ExecutorId, address: Upid) -> ExecutorEnvironment {
    ExecutorEnvironment {
        framework_id: "f".into(),
        executor_id: executor.clone(),
        agent_id: agent.clone(),
        agent: address,
        directory: "/".into(),
        checkpoint: false,
        recovery_timeout: std::time::Duration::ZERO,
        shutdown_grace_period: std::time::Duration::ZERO,
        ip: None,
        port: 0,
    }
}
