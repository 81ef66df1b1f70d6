//! The framework of the documentation, as two programs that reach a master and an agent over the network.
#![allow(clippy::unwrap_used)] // A test that cannot go on ends.

mod common;

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use api::internal::*;
use api::v0::scheduler::{Call, call};
use api::v1::{ExecutorInfo, FrameworkInfo, MasterInfo, TaskInfo};
use common::{ask, eventually, offer};
use libprocess::{Context, Node, Process, Upid};

/// A master and its only agent.
#[derive(Default)]
struct Cluster {
    framework: Option<Upid>,
    executor: Option<Upid>,
    program: Option<Child>,
    waiting: Vec<TaskInfo>,
    n_offers: usize,
    torn_down: bool,
}

impl Process for Cluster {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.install(Self::call);
        ctx.install(Self::register);
        ctx.install(Self::update);
    }
}

impl Cluster {
    fn call(&mut self, from: &Upid, call: Call, ctx: &mut Context<Self>) {
        match call.r#type() {
            call::Type::Subscribe => {
                self.framework = Some(from.clone());
                let master_info = MasterInfo { id: "m".to_owned(), ..Default::default() };
                ctx.reply(FrameworkRegisteredMessage { framework_id: "f".into(), master_info });
                self.offer(ctx);
            }
            call::Type::Accept => {
                let operations = call.accept.unwrap().operations;
                for task in operations.into_iter().flat_map(|it| it.launch.unwrap().task_infos) {
                    self.launch(task, ctx);
                }
                self.offer(ctx);
            }
            call::Type::Teardown => {
                self.torn_down = true;
                ctx.send(self.executor.clone().unwrap(), ShutdownExecutorMessage::default());
            }
            _ => {}
        }
    }

    fn offer(&mut self, ctx: &mut Context<Self>) {
        self.n_offers += 1;
        let offers = vec![offer(&format!("o{}", self.n_offers), "a", "cpus:1;mem:1024")];
        ctx.send(self.framework.clone().unwrap(), ResourceOffersMessage { offers, pids: vec![] });
    }

    fn launch(&mut self, task: TaskInfo, ctx: &mut Context<Self>) {
        if let Some(executor) = self.executor.clone() {
            ctx.send(executor, run(task));
            return;
        }
        if self.program.is_none() {
            let command = task.executor.clone().unwrap().command.unwrap();
            let child = Command::new(command.value.unwrap())
                .args(&command.arguments[1..])
                .env("MESOS_FRAMEWORK_ID", "f")
                .env("MESOS_EXECUTOR_ID", "hello")
                .env("MESOS_SLAVE_ID", "a")
                .env("MESOS_SLAVE_PID", ctx.upid().to_string())
                .env("MESOS_DIRECTORY", "/")
                .spawn();
            self.program = Some(child.unwrap());
        }
        self.waiting.push(task);
    }

    fn register(&mut self, from: &Upid, message: RegisterExecutorMessage, ctx: &mut Context<Self>) {
        self.executor = Some(from.clone());
        ctx.reply(ExecutorRegisteredMessage {
            executor_info: ExecutorInfo { executor_id: message.executor_id, ..Default::default() },
            framework_id: message.framework_id,
            framework_info: FrameworkInfo { user: "u".into(), name: "hello".into(), ..Default::default() },
            slave_id: "a".into(),
            slave_info: api::v1::AgentInfo { hostname: "h".into(), ..Default::default() },
        });
        for task in std::mem::take(&mut self.waiting) {
            ctx.reply(run(task));
        }
    }

    fn update(&mut self, message: StatusUpdateMessage, ctx: &mut Context<Self>) {
        ctx.send(self.framework.clone().unwrap(), message);
    }
}

fn run(task: TaskInfo) -> RunTaskMessage {
    let framework = FrameworkInfo { user: "u".into(), name: "hello".into(), ..Default::default() };
    RunTaskMessage { task, framework, ..Default::default() }
}

/// Examples are built beside the tests.
fn hello() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    tests.parent().unwrap().parent().unwrap().join("examples/hello")
}

#[test]
fn hello_says_hello_and_leaves_nothing_running() {
    let node = Node::builder().listen("127.0.0.1:0").start().unwrap();
    let cluster = node.spawn("master", Cluster::default()).unwrap();
    let mut scheduler =
        Command::new(hello()).arg(node.address().to_string()).stdout(Stdio::piped()).spawn().unwrap();
    let finished = eventually("the scheduler ends", || scheduler.try_wait().unwrap());
    let mut output = String::new();
    std::io::Read::read_to_string(&mut scheduler.stdout.take().unwrap(), &mut output).unwrap();
    assert!(finished.success(), "{output}");
    assert!(output.starts_with("registered as f\n"), "{output}");
    assert!(output.contains("hello-5 is TASK_FINISHED: hello from number 5"), "{output}");
    eventually("the framework is torn down", || ask(&cluster, |it, _| it.torn_down.then_some(())));
    let mut executor = ask(&cluster, |it, _| it.program.take()).unwrap();
    assert!(eventually("the executor ends", || executor.try_wait().unwrap()).success());
    node.shutdown().wait(Duration::from_secs(10)).unwrap();
}
