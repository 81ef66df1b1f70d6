//! A master and an agent that do what a test says, and waiting for something to be so.
// Each test program compiles this and uses a part.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]
#![allow(clippy::disallowed_methods, reason = "a test waits with a deadline")]

use std::time::{Duration, Instant};

use api::internal::*;
use api::v0::scheduler::{Call, call};
use api::v1::{ExecutorInfo, FrameworkId, FrameworkInfo, MasterInfo, Offer, TaskInfo, TaskState, TaskStatus};
use libprocess::{Context, Message, Pid, Process, Upid};

/// Asks again and again until the answer comes, for ten seconds at most.
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "not within ten seconds: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Asks a process, now.
pub fn ask<P: Process, R: Send + 'static>(
    pid: &Pid<P>,
    f: impl FnOnce(&mut P, &mut Context<P>) -> R + Send + 'static,
) -> R {
    pid.dispatch(f).wait(Duration::from_secs(10)).expect("the process answers")
}

/// Takes calls down, and admits whoever asks if it is told to.
#[derive(Default)]
pub struct FakeMaster {
    pub admits: bool,
    pub calls: Vec<Call>,
    pub framework: Option<Upid>,
    pub deactivated: usize,
}

impl Process for FakeMaster {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.install(Self::call);
        ctx.install(|master: &mut Self, _: DeactivateFrameworkMessage, _: &mut Context<Self>| {
            master.deactivated += 1;
        });
    }
}

impl FakeMaster {
    pub fn admitting() -> FakeMaster {
        FakeMaster { admits: true, ..FakeMaster::default() }
    }

    fn call(&mut self, from: &Upid, call: Call, ctx: &mut Context<Self>) {
        if let (Some(subscribe), true) = (&call.subscribe, self.admits) {
            self.framework = Some(from.clone());
            let framework_id =
                subscribe.framework_info.id.clone().unwrap_or_else(|| FrameworkId::from("f-0000"));
            let master_info = MasterInfo { id: "m".to_owned(), ..Default::default() };
            ctx.send(from, FrameworkRegisteredMessage { framework_id, master_info });
        }
        self.calls.push(call);
    }

    pub fn tell(&mut self, message: impl Message, ctx: &mut Context<Self>) {
        let framework = self.framework.clone().expect("a framework is registered");
        ctx.send(framework, message);
    }

    pub fn calls_of(&self, kind: call::Type) -> Vec<Call> {
        self.calls.iter().filter(|call| call.r#type() == kind).cloned().collect()
    }
}

pub fn offer(id: &str, agent: &str, resources: &str) -> Offer {
    Offer {
        id: id.into(),
        framework_id: "f-0000".into(),
        agent_id: agent.into(),
        hostname: agent.to_owned(),
        resources: api::resources::Resources::parse(resources, "*").unwrap().to_messages(),
        ..Default::default()
    }
}

pub fn update(
    task: &str,
    agent: &str,
    state: TaskState,
    uuid: Option<&[u8]>,
    data: Option<Vec<u8>>,
) -> StatusUpdateMessage {
    StatusUpdateMessage {
        update: StatusUpdate {
            framework_id: "f-0000".into(),
            slave_id: Some(agent.into()),
            status: TaskStatus { task_id: task.into(), state: state as i32, data, ..Default::default() },
            timestamp: 1.0,
            uuid: uuid.map(<[u8]>::to_vec),
            ..Default::default()
        },
        pid: None,
    }
}

/// An agent with one executor.
#[derive(Default)]
pub struct FakeAgent {
    pub executor: Option<Upid>,
    pub updates: Vec<StatusUpdate>,
    pub messages: Vec<Vec<u8>>,
    pub reregistration: Option<ReregisterExecutorMessage>,
    /// Acknowledge updates as they come.
    pub acknowledges: bool,
}

impl Process for FakeAgent {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.install(Self::register);
        ctx.install(Self::update);
        ctx.install(|agent: &mut Self, message: ExecutorToFrameworkMessage, _: &mut Context<Self>| {
            agent.messages.push(message.data);
        });
        ctx.install(
            |agent: &mut Self, from: &Upid, message: ReregisterExecutorMessage, _: &mut Context<Self>| {
                agent.executor = Some(from.clone());
                agent.reregistration = Some(message);
            },
        );
    }
}

impl FakeAgent {
    fn register(&mut self, from: &Upid, message: RegisterExecutorMessage, ctx: &mut Context<Self>) {
        self.executor = Some(from.clone());
        ctx.reply(ExecutorRegisteredMessage {
            executor_info: ExecutorInfo { executor_id: message.executor_id, ..Default::default() },
            framework_id: message.framework_id,
            framework_info: FrameworkInfo::default(),
            slave_id: "a".into(),
            slave_info: Default::default(),
        });
    }

    fn update(&mut self, message: StatusUpdateMessage, ctx: &mut Context<Self>) {
        if self.acknowledges {
            self.acknowledge(&message.update, ctx);
        }
        self.updates.push(message.update);
    }

    pub fn acknowledge(&mut self, update: &StatusUpdate, ctx: &mut Context<Self>) {
        let acknowledgement = StatusUpdateAcknowledgementMessage {
            slave_id: "a".into(),
            framework_id: update.framework_id.clone(),
            task_id: update.status.task_id.clone(),
            uuid: update.uuid.clone().unwrap_or_default(),
        };
        self.tell(acknowledgement, ctx);
    }

    pub fn tell(&mut self, message: impl Message, ctx: &mut Context<Self>) {
        let executor = self.executor.clone().expect("an executor is registered");
        ctx.send(executor, message);
    }

    pub fn run(&mut self, task: TaskInfo, ctx: &mut Context<Self>) {
        self.tell(RunTaskMessage { task, framework: FrameworkInfo::default(), ..Default::default() }, ctx);
    }

    pub fn states_of(&self, task: &str) -> Vec<TaskState> {
        self.updates.iter().filter(|it| it.status.task_id.value == task).map(|it| it.status.state()).collect()
    }
}
