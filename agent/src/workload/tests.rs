//! Stories of a workload, told as steps and what each one did to the world outside.

use std::sync::Arc;

use api::internal::{ReconcileTasksMessage, RunTaskGroupMessage, StatusUpdate};
use api::v1::task_status::Reason;
use api::v1::{
    AgentId, AgentInfo, CommandInfo, ExecutorId, ExecutorInfo, FrameworkId, FrameworkInfo, TaskId, TaskInfo,
    TaskState, TaskStatus, framework_info, framework_info::capability,
};
use expect_test::{Expect, expect};
use libprocess::Upid;
use uuid::Uuid;

use super::*;
use crate::task_state;

struct Story {
    workload: Workload,
    /// Containers and updates are numbered in the order in which they are made.
    uuids: u128,
    checkpoint: bool,
    aware: bool,
    log: String,
}

fn fw() -> FrameworkId {
    "F".into()
}

fn pid() -> Upid {
    "executor(1)@127.0.0.1:7000".parse().unwrap()
}

impl Story {
    fn new() -> Story {
        let mut flags = Flags::new("127.0.0.1:5050", "/w");
        flags.launcher = "/bin/mesos".into();
        flags.switch_user = false;
        let settings = Settings {
            flags: Arc::new(flags),
            layout: Layout::new("/w"),
            upid: "slave(1)@127.0.0.1:5051".into(),
            endpoint: "127.0.0.1:5051".into(),
            ip: "127.0.0.1".into(),
            libprocess_ip: None,
            resource_version: vec![7; 16],
        };
        let info = AgentInfo { id: Some(AgentId::from("S0")), ..Default::default() };
        let workload = Workload::new(settings, info);
        Story { workload, uuids: 0, checkpoint: false, aware: false, log: String::new() }
    }

    fn step<R>(&mut self, name: &str, step: impl FnOnce(&mut Workload, &mut Turn<'_>) -> R) -> R {
        let count = &mut self.uuids;
        let mut uuids = || {
            *count += 1;
            Uuid::from_u128(*count)
        };
        let mut turn = Turn { now: 1.0, uuids: &mut uuids, effects: Vec::new() };
        let answer = step(&mut self.workload, &mut turn);
        self.log += &format!("{name}\n");
        for effect in &turn.effects {
            self.log += &format!("    {}\n", told(effect));
        }
        self.workload.check_invariants();
        answer
    }

    fn framework(&self) -> FrameworkInfo {
        let aware = framework_info::Capability { r#type: Some(capability::Type::PartitionAware as i32) };
        FrameworkInfo {
            id: Some(fw()),
            user: "me".into(),
            name: "story".into(),
            checkpoint: Some(self.checkpoint),
            capabilities: if self.aware { vec![aware] } else { vec![] },
            ..Default::default()
        }
    }

    fn run(&mut self, task: TaskInfo, launch_executor: Option<bool>) {
        let name = format!("run {}", task.task_id);
        let run = RunTask {
            framework: self.framework(),
            framework_pid: None,
            task,
            resource_versions: vec![],
            launch_executor,
        };
        self.step(&name, |workload, turn| workload.run_task(run, turn));
    }

    fn register(&mut self, executor: &str) {
        let id = ExecutorId::from(executor);
        self.step("register", |workload, turn| workload.register_executor(&fw(), &id, pid(), turn));
    }

    fn update(&mut self, task: &str, n: u8, state: TaskState) {
        let update = StatusUpdate {
            framework_id: fw(),
            status: TaskStatus { task_id: task.into(), state: state as i32, ..Default::default() },
            uuid: Some(vec![n; 16]),
            ..Default::default()
        };
        let answer =
            self.step("update", |workload, turn| workload.status_update(update, Link::Process(pid()), turn));
        if let Err(error) = answer {
            self.log += &format!("    ignored: {error}\n");
        }
    }

    fn kill(&mut self, task: &str) {
        let id = TaskId::from(task);
        self.step("kill", |workload, turn| workload.kill_task(&fw(), &id, None, turn));
    }

    fn terminated(&mut self, container: &str, termination: Termination) {
        let container = container.to_owned();
        self.step("terminated", |workload, turn| workload.terminated(&container, termination, turn));
    }

    fn acknowledge_end(&mut self, task: &str) {
        let id = TaskId::from(task);
        self.step("end acknowledged", |workload, turn| workload.end_acknowledged(&fw(), &id, turn));
    }

    fn container(&self) -> String {
        self.workload.executors().next().map(|(_, executor)| executor.container_id.clone()).unwrap()
    }

    fn check(&self, expected: Expect) {
        expected.assert_eq(&self.log.replace("00000000-0000-0000-0000-00000000000", "c"));
    }
}

fn told(effect: &Effect) -> String {
    match effect {
        Effect::Write(Write::Replace { path, .. }) => format!("write {}", path.display()),
        Effect::Write(Write::Append { path, .. }) => format!("append {}", path.display()),
        Effect::Write(Write::Link { path, target }) => {
            format!("link {} -> {}", path.display(), target.display())
        }
        Effect::Launch(launch) => format!("launch {} {}", launch.container_id, launch.executor.executor_id),
        Effect::Destroy { container_id } => format!("destroy {container_id}"),
        Effect::Tell(tell) => format!("tell {} {}", tell.executor_id, said(&tell.event)),
        Effect::Store { update, file, then } => {
            let status = &update.status;
            let reason = status.reason.and_then(|reason| Reason::try_from(reason).ok());
            let reason = reason.map(|reason| format!(" {}", reason.as_str_name())).unwrap_or_default();
            let latest = update.latest_state.and_then(|state| TaskState::try_from(state).ok());
            format!(
                "store {} {}{reason}{}{}{}",
                status.task_id,
                task_state::of(status).as_str_name(),
                status.message.as_ref().map(|message| format!(" \"{message}\"")).unwrap_or_default(),
                if latest.is_some_and(|latest| latest != task_state::of(status)) { " (late)" } else { "" },
                match (file, then) {
                    (Some(_), Some(_)) => ", to file, then confirm",
                    (Some(_), None) => ", to file",
                    (None, Some(_)) => ", then confirm",
                    (None, None) => "",
                }
            )
        }
        Effect::ExitedExecutor { executor_id, status, .. } => format!("exited {executor_id} {status}"),
        Effect::After { delay, timeout, .. } => format!("after {delay:?} {timeout:?}"),
        Effect::Collect { paths } => {
            let paths: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
            format!("collect {}", paths.join(" "))
        }
        Effect::Keep { paths } => format!("keep {} directories", paths.len()),
        Effect::ForgetUpdates { framework_id } => format!("forget updates of {framework_id}"),
    }
}

fn said(event: &ExecutorEvent) -> String {
    match event {
        ExecutorEvent::Registered { .. } => "registered".into(),
        ExecutorEvent::Launch { task, .. } => format!("launch {}", task.task_id),
        ExecutorEvent::Kill { task_id, .. } => format!("kill {task_id}"),
        ExecutorEvent::Acknowledged { uuid, .. } => format!("confirmed {}", uuid[0]),
        ExecutorEvent::Message { data } => format!("message of {} bytes", data.len()),
        ExecutorEvent::Shutdown => "shutdown".into(),
    }
}

fn command_task(id: &str) -> TaskInfo {
    TaskInfo {
        task_id: id.into(),
        agent_id: "S0".into(),
        command: Some(CommandInfo { value: Some("true".into()), ..Default::default() }),
        ..Default::default()
    }
}

fn executor_task(id: &str, executor: &str) -> TaskInfo {
    let info = ExecutorInfo {
        executor_id: executor.into(),
        command: Some(CommandInfo { value: Some("./run".into()), ..Default::default() }),
        ..Default::default()
    };
    TaskInfo { command: None, executor: Some(info), ..command_task(id) }
}

#[test]
fn a_command_task_lives_and_everything_about_it_leaves() {
    let mut story = Story::new();
    story.run(command_task("t"), Some(true));
    story.register("t");
    story.update("t", 1, TaskState::TaskRunning);
    story.update("t", 2, TaskState::TaskFinished);
    let container = story.container();
    story.terminated(&container, Termination { status: Some(0), ..Default::default() });
    story.acknowledge_end("t");
    story.check(expect![[r#"
        run t
            launch c1 t
            after 60s Registration
        register
            tell t registered
            tell t launch t
        update
            store t TASK_RUNNING, then confirm
        update
            store t TASK_FINISHED, then confirm
        terminated
        end acknowledged
            collect /w/slaves/S0/frameworks/F/executors/t/runs/c1 /w/slaves/S0/frameworks/F/executors/t
            collect /w/slaves/S0/frameworks/F
    "#]]);
    let framework = story.workload.completed_frameworks().next().unwrap();
    assert_eq!(framework.completed_executors[0].completed[0].state, TaskState::TaskFinished as i32);
}

#[test]
fn a_checkpointing_framework_is_on_disk_before_anything_starts() {
    let mut story = Story::new();
    story.checkpoint = true;
    story.run(executor_task("t", "e"), None);
    story.register("e");
    story.update("t", 1, TaskState::TaskFinished);
    let container = story.container();
    story.terminated(&container, Termination::default());
    story.acknowledge_end("t");
    story.run(executor_task("u", "e"), None);
    story.check(expect![[r#"
        run t
            write /w/meta/slaves/S0/frameworks/F/framework.info
            write /w/meta/slaves/S0/frameworks/F/framework.pid
            write /w/meta/slaves/S0/frameworks/F/executors/e/executor.info
            write /w/meta/slaves/S0/frameworks/F/executors/e/executor_generated_for_command_task
            link /w/meta/slaves/S0/frameworks/F/executors/e/runs/latest -> c1
            write /w/meta/slaves/S0/frameworks/F/executors/e/runs/c1/tasks/t/task.info
            launch c1 e
            after 60s Registration
        register
            write /w/meta/slaves/S0/frameworks/F/executors/e/runs/c1/pids/libprocess.pid
            tell e registered
            tell e launch t
        update
            store t TASK_FINISHED, to file, then confirm
        terminated
            exited e -1
        end acknowledged
            collect /w/meta/slaves/S0/frameworks/F/executors/e/runs/c1/tasks/t
            write /w/meta/slaves/S0/frameworks/F/executors/e/runs/c1/executor.sentinel
            collect /w/slaves/S0/frameworks/F/executors/e/runs/c1 /w/slaves/S0/frameworks/F/executors/e /w/meta/slaves/S0/frameworks/F/executors/e/runs/c1 /w/meta/slaves/S0/frameworks/F/executors/e
            collect /w/slaves/S0/frameworks/F /w/meta/slaves/S0/frameworks/F
        run u
            keep 2 directories
            write /w/meta/slaves/S0/frameworks/F/framework.info
            write /w/meta/slaves/S0/frameworks/F/framework.pid
            write /w/meta/slaves/S0/frameworks/F/executors/e/executor.info
            write /w/meta/slaves/S0/frameworks/F/executors/e/executor_generated_for_command_task
            link /w/meta/slaves/S0/frameworks/F/executors/e/runs/latest -> c2
            keep 2 directories
            write /w/meta/slaves/S0/frameworks/F/executors/e/runs/c2/tasks/u/task.info
            launch c2 e
            after 60s Registration
    "#]]);
}

#[test]
fn tasks_of_one_executor_share_it_and_fail_with_it() {
    let mut story = Story::new();
    story.run(executor_task("t1", "e"), Some(true));
    story.run(executor_task("t2", "e"), Some(false));
    story.register("e");
    story.run(executor_task("t3", "e"), Some(false));
    story.update("t1", 1, TaskState::TaskFinished);
    let container = story.container();
    story.terminated(
        &container,
        Termination { status: Some(9), message: "killed".into(), ..Default::default() },
    );
    for task in ["t1", "t2", "t3"] {
        story.acknowledge_end(task);
    }
    story.check(expect![[r#"
        run t1
            launch c1 e
            after 60s Registration
        run t2
        register
            tell e registered
            tell e launch t1
            tell e launch t2
        run t3
            tell e launch t3
        update
            store t1 TASK_FINISHED, then confirm
        terminated
            store t2 TASK_FAILED REASON_EXECUTOR_TERMINATED "killed"
            store t3 TASK_FAILED REASON_EXECUTOR_TERMINATED "killed"
            exited e 9
        end acknowledged
        end acknowledged
        end acknowledged
            collect /w/slaves/S0/frameworks/F/executors/e/runs/c1 /w/slaves/S0/frameworks/F/executors/e
            collect /w/slaves/S0/frameworks/F
    "#]]);
}

#[test]
fn a_task_with_the_id_of_an_earlier_one_of_its_executor_has_a_history_of_its_own() {
    let mut story = Story::new();
    story.checkpoint = true;
    story.run(executor_task("t", "e"), None);
    story.register("e");
    story.update("t", 1, TaskState::TaskFinished);
    story.acknowledge_end("t");
    story.log.clear();
    story.run(executor_task("t", "e"), None);
    let tasks = "/w/meta/slaves/S0/frameworks/F/executors/e/runs/c1/tasks";
    let expected = format!(
        "run t\n    keep 1 directories\n    write {tasks}/t/task.updates\n    write {tasks}/t/task.info\n    tell e launch t\n"
    );
    assert_eq!(story.log.replace("00000000-0000-0000-0000-00000000000", "c"), expected);
    // One of another id begins with nothing to take care of.
    story.log.clear();
    story.run(executor_task("u", "e"), None);
    assert!(!story.log.contains("keep") && !story.log.contains("task.updates"), "{}", story.log);
}

#[test]
fn an_end_that_the_agent_tells_says_in_which_container_it_was() {
    let mut story = Story::new();
    story.run(executor_task("ran", "e"), None);
    let container = story.container();
    story.register("e");
    story.step("forked", |workload, _| workload.forked(&container, 42));
    let ends = story.step("terminated", |workload, turn| {
        workload.terminated(&container, Termination::default(), turn);
        turn.effects.clone()
    });
    let status = ends.iter().find_map(|effect| match effect {
        Effect::Store { update, .. } => update.status.container_status.clone(),
        _ => None,
    });
    let status = status.unwrap();
    assert_eq!(status.container_id.unwrap().value, container);
    assert_eq!(status.executor_pid, Some(42));
    assert_eq!(status.network_infos.len(), 1);
    // One that never reached its executor was in none.
    let mut story = Story::new();
    story.run(executor_task("waits", "e"), None);
    let ends = story.step("kill", |workload, turn| {
        workload.kill_task(&fw(), &"waits".into(), None, turn);
        turn.effects.clone()
    });
    assert!(ends.iter().any(|effect| matches!(
        effect,
        Effect::Store { update, .. } if update.status.container_status.is_none()
    )));
}

#[test]
fn a_task_killed_before_its_executor_came_is_killed_and_the_executor_is_not_needed() {
    let mut story = Story::new();
    story.run(command_task("t"), None);
    story.kill("t");
    story.register("t");
    let container = story.container();
    story.terminated(&container, Termination::default());
    story.acknowledge_end("t");
    story.check(expect![[r#"
        run t
            launch c1 t
            after 60s Registration
        kill
            store t TASK_KILLED REASON_TASK_KILLED_DURING_LAUNCH "the task was killed before it reached its executor"
        register
            tell t shutdown
            after 5s Shutdown
        terminated
        end acknowledged
            collect /w/slaves/S0/frameworks/F/executors/t/runs/c1 /w/slaves/S0/frameworks/F/executors/t
            collect /w/slaves/S0/frameworks/F
    "#]]);
}

#[test]
fn an_executor_that_does_not_register_is_destroyed_and_its_tasks_fail_for_that() {
    let mut story = Story::new();
    story.run(command_task("t"), None);
    let container = story.container();
    story.step("registration timeout", |workload, turn| workload.registration_timeout(&container, turn));
    story.register("t");
    story.terminated(&container, Termination { status: Some(9), ..Default::default() });
    story.check(expect![[r#"
        run t
            launch c1 t
            after 60s Registration
        registration timeout
            destroy c1
        register
            tell t shutdown
        terminated
            store t TASK_FAILED REASON_EXECUTOR_REGISTRATION_TIMEOUT "the executor did not register within 1mins"
    "#]]);
}

#[test]
fn what_the_master_believes_of_an_executor_must_agree_with_what_is_here() {
    let mut story = Story::new();
    story.aware = true;
    story.run(executor_task("t1", "e"), Some(false));
    story.run(executor_task("t2", "e"), Some(true));
    story.register("e");
    story.run(executor_task("t3", "e"), Some(true));
    story.run(executor_task("t4", "e"), None);
    story.run(command_task("e"), None);
    story.check(expect![[r#"
        run t1
            store t1 TASK_DROPPED REASON_EXECUTOR_TERMINATED "the task's executor has ended"
        run t2
            launch c2 e
            after 60s Registration
        register
            tell e registered
            tell e launch t2
        run t3
            tell e shutdown
            after 5s Shutdown
            store t3 TASK_DROPPED REASON_EXECUTOR_TERMINATED "the master asked for a new executor, but one of that id is still running"
        run t4
            store t4 TASK_DROPPED REASON_EXECUTOR_TERMINATED "the task's executor is ending"
        run e
            store e TASK_DROPPED REASON_TASK_INVALID "a task with the id `e` is still known here"
    "#]]);
}

#[test]
fn a_master_that_entered_an_executor_hears_when_it_was_not_launched() {
    let mut story = Story::new();
    let mut task = executor_task("t1", "e");
    task.limits = [("cpus".to_owned(), Default::default())].into();
    story.run(task.clone(), Some(true));
    // Nobody has entered one for these.
    story.run(TaskInfo { task_id: "t2".into(), ..task }, Some(false));
    let group = RunTaskGroupMessage {
        framework: story.framework(),
        executor: ExecutorInfo { executor_id: "g".into(), ..Default::default() },
        task_group: api::v1::TaskGroupInfo { tasks: vec![command_task("t3"), command_task("t4")] },
        launch_executor: Some(true),
        ..Default::default()
    };
    story.step("group", |workload, turn| workload.run_task_group(group, turn));
    story.check(expect![[r#"
        run t1
            store t1 TASK_LOST REASON_GC_ERROR "a limit of cpus needs an isolator that enforces it, and this agent has none"
            exited e -1
        run t2
            store t2 TASK_LOST REASON_GC_ERROR "a limit of cpus needs an isolator that enforces it, and this agent has none"
        group
            store t3 TASK_ERROR REASON_TASK_GROUP_INVALID "this agent runs no task groups; launch the tasks one by one"
            store t4 TASK_ERROR REASON_TASK_GROUP_INVALID "this agent runs no task groups; launch the tasks one by one"
            exited g -1
    "#]]);
}

#[test]
fn an_executor_whose_stream_broke_has_its_time_to_end_all_the_same() {
    let mut story = Story::new();
    story.run(executor_task("t", "e"), Some(true));
    let (container, id) = (story.container(), ExecutorId::from("e"));
    let subscribed =
        story.step("subscribe", |workload, turn| workload.subscribe(&fw(), &id, &[], vec![], turn));
    assert_eq!(subscribed, Ok(Subscription::Accepted { container_id: container.clone() }));
    story.workload.stream_closed(&container);
    story.step("shut down", |workload, turn| workload.shutdown_executor(&fw(), &id, turn));
    let again = story.step("subscribe", |workload, turn| workload.subscribe(&fw(), &id, &[], vec![], turn));
    assert_eq!(again, Ok(Subscription::Shutdown));
    story.step("time is up", |workload, turn| workload.shutdown_timeout(&container, turn));
    story.check(expect![[r#"
        run t
            launch c1 e
            after 60s Registration
        subscribe
            tell e registered
            tell e launch t
        shut down
            after 5s Shutdown
        subscribe
        time is up
            destroy c1
    "#]]);
}

#[test]
fn a_task_that_waits_in_an_executor_which_is_ending_shares_its_end() {
    let mut story = Story::new();
    story.run(executor_task("t", "e"), Some(true));
    let container = story.container();
    story.step("timeout", |workload, turn| workload.registration_timeout(&container, turn));
    story.kill("t");
    story.terminated(&container, Termination { status: Some(9), ..Default::default() });
    story.check(expect![[r#"
        run t
            launch c1 e
            after 60s Registration
        timeout
            destroy c1
        kill
        terminated
            store t TASK_FAILED REASON_EXECUTOR_REGISTRATION_TIMEOUT "the executor did not register within 1mins"
            exited e 9
    "#]]);
}

#[test]
fn tasks_that_cannot_run_here_are_refused_with_the_reason() {
    let mut story = Story::new();
    let mut limited = command_task("limited");
    limited.limits.insert("mem".into(), Default::default());
    story.run(limited, None);
    story.run(TaskInfo { command: None, ..command_task("neither") }, None);
    story.run(TaskInfo { agent_id: "S9".into(), ..command_task("elsewhere") }, None);
    story.run(command_task("../evil"), None);
    story.run(executor_task("t", "../evil"), None);
    story.check(expect![[r#"
        run limited
            store limited TASK_LOST REASON_GC_ERROR "a limit of mem needs an isolator that enforces it, and this agent has none"
        run neither
            store neither TASK_ERROR REASON_TASK_INVALID "the task has neither a command nor an executor"
        run elsewhere
        run ../evil
        run t
            store t TASK_ERROR REASON_TASK_INVALID "the executor's id is invalid: ID '../evil' contains the invalid character '/'"
    "#]]);
    assert_eq!(story.workload.frameworks().len(), 0);
}

#[test]
fn only_the_first_end_of_a_task_counts_and_the_executor_is_told_to_stop_repeating() {
    let mut story = Story::new();
    story.run(command_task("t"), None);
    story.register("t");
    story.update("t", 1, TaskState::TaskFailed);
    story.update("t", 2, TaskState::TaskFinished);
    story.update("t", 3, TaskState::TaskRunning);
    story.update("t", 4, TaskState::TaskStaging);
    story.check(expect![[r#"
        run t
            launch c1 t
            after 60s Registration
        register
            tell t registered
            tell t launch t
        update
            store t TASK_FAILED, then confirm
        update
            tell t confirmed 2
        update
            store t TASK_RUNNING (late), then confirm
        update
            tell t shutdown
            after 5s Shutdown
            ignored: an executor reports TASK_STAGING for task `t`, which only masters and agents may
    "#]]);
}

#[test]
fn a_framework_that_is_shut_down_hears_nothing_more() {
    let mut story = Story::new();
    story.run(executor_task("t", "e"), None);
    story.register("e");
    story.step("shut down", |workload, turn| workload.shutdown_framework(&fw(), turn));
    story.update("t", 1, TaskState::TaskKilled);
    story.run(executor_task("u", "e"), None);
    let container = story.container();
    story.step("time is up", |workload, turn| workload.shutdown_timeout(&container, turn));
    story.terminated(&container, Termination::default());
    story.check(expect![[r#"
        run t
            launch c1 e
            after 60s Registration
        register
            tell e registered
            tell e launch t
        shut down
            forget updates of F
            tell e shutdown
            after 5s Shutdown
        update
            ignored: framework `F` is not known here, or is being shut down
        run u
        time is up
            destroy c1
        terminated
            collect /w/slaves/S0/frameworks/F/executors/e/runs/c1 /w/slaves/S0/frameworks/F/executors/e
            collect /w/slaves/S0/frameworks/F
    "#]]);
}

#[test]
fn an_executor_that_subscribes_again_is_sent_what_waits_and_what_it_never_got_is_dropped() {
    let mut story = Story::new();
    story.run(executor_task("t", "e"), None);
    let subscribe = |workload: &mut Workload, turn: &mut Turn<'_>, known: &[TaskInfo]| {
        workload.subscribe(&fw(), &"e".into(), known, vec![], turn).unwrap()
    };
    let container_id = story.container();
    let answer = story.step("subscribe", |workload, turn| subscribe(workload, turn, &[]));
    assert_eq!(answer, Subscription::Accepted { container_id: container_id.clone() });
    story.step("closed", |workload, _| workload.stream_closed(&container_id));
    story.run(executor_task("u", "e"), None);
    story.step("subscribe", |workload, turn| subscribe(workload, turn, &[]));
    story.check(expect![[r#"
        run t
            launch c1 e
            after 60s Registration
        subscribe
            tell e registered
            tell e launch t
        closed
        run u
        subscribe
            store t TASK_LOST REASON_AGENT_RESTARTED "the task did not reach its executor before the executor subscribed again"
            tell e registered
            tell e launch u
    "#]]);
}

#[test]
fn tasks_the_master_believes_in_and_nobody_here_knows_are_dropped() {
    let mut story = Story::new();
    story.run(command_task("t"), None);
    let status = |id: &str| TaskStatus { task_id: id.into(), ..Default::default() };
    let reconciliation = ReconcileTasksMessage {
        framework_id: fw(),
        statuses: vec![status("t"), status("lost")],
        framework: Some(story.framework()),
    };
    story.step("reconcile", |workload, turn| workload.reconcile(&reconciliation, turn));
    story.check(expect![[r#"
        run t
            launch c1 t
            after 60s Registration
        reconcile
            store lost TASK_LOST REASON_RECONCILIATION "the task never reached this agent, or is long over"
    "#]]);
    let told = story.workload.reregistration();
    assert_eq!(told.tasks.len(), 1);
    assert_eq!(told.tasks[0].state, TaskState::TaskStaging as i32);
    assert!(told.executor_infos.is_empty(), "masters do not know executors of command tasks");
}

/// Random histories: whatever happens, the tables agree, every task gets exactly one end, and when all
/// containers have ended and all ends are acknowledged, nothing is left.
mod histories {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        RunCommand,
        RunOn(u8),
        Kill(usize),
        Register(u8),
        Subscribe(u8),
        Closed(usize),
        Report(usize, bool),
        Acknowledge,
        Terminate(usize),
        RegistrationTimeout(usize),
        ShutdownExecutor(u8),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            2 => Just(Step::RunCommand),
            3 => (0u8..3).prop_map(Step::RunOn),
            2 => (0usize..20).prop_map(Step::Kill),
            2 => (0u8..3).prop_map(Step::Register),
            2 => (0u8..3).prop_map(Step::Subscribe),
            1 => (0usize..4).prop_map(Step::Closed),
            4 => (0usize..20, any::<bool>()).prop_map(|(task, end)| Step::Report(task, end)),
            3 => Just(Step::Acknowledge),
            2 => (0usize..4).prop_map(Step::Terminate),
            1 => (0usize..4).prop_map(Step::RegistrationTimeout),
            1 => (0u8..3).prop_map(Step::ShutdownExecutor),
        ]
    }

    struct History {
        story: Story,
        tasks: Vec<String>,
        alive: BTreeSet<String>,
        ends: BTreeMap<String, usize>,
        to_acknowledge: Vec<String>,
        acknowledged: BTreeSet<String>,
        n_updates: u8,
    }

    impl History {
        fn turn<R>(&mut self, step: impl FnOnce(&mut Workload, &mut Turn<'_>) -> R) -> R {
            let count = &mut self.story.uuids;
            let mut uuids = || {
                *count += 1;
                Uuid::from_u128(*count)
            };
            let mut turn = Turn { now: 1.0, uuids: &mut uuids, effects: Vec::new() };
            let answer = step(&mut self.story.workload, &mut turn);
            for effect in turn.effects {
                match effect {
                    Effect::Launch(launch) => {
                        assert!(self.alive.insert(launch.container_id), "a container is launched once");
                    }
                    Effect::Store { update, .. } if Workload::is_end(&update) => {
                        let task = update.status.task_id.to_string();
                        *self.ends.entry(task.clone()).or_default() += 1;
                        self.to_acknowledge.push(task);
                    }
                    _ => {}
                }
            }
            self.story.workload.check_invariants();
            answer
        }

        fn run(&mut self, make: impl Fn(&str) -> TaskInfo) {
            let id = format!("t{}", self.tasks.len());
            let run = RunTask {
                framework: self.story.framework(),
                framework_pid: None,
                task: make(&id),
                resource_versions: vec![],
                launch_executor: None,
            };
            self.tasks.push(id);
            self.turn(|workload, turn| workload.run_task(run, turn));
        }

        fn terminate(&mut self, container: &str) {
            self.alive.remove(container);
            let termination = Termination { status: Some(9), ..Default::default() };
            self.turn(|workload, turn| workload.terminated(container, termination, turn));
        }

        fn acknowledge(&mut self, task: String) {
            let id = TaskId::from(task.as_str());
            self.acknowledged.insert(task);
            self.turn(|workload, turn| workload.end_acknowledged(&fw(), &id, turn));
        }

        fn take(&mut self, step: Step) {
            let nth = |set: &BTreeSet<String>, n: usize| set.iter().nth(n % set.len().max(1)).cloned();
            match step {
                Step::RunCommand => self.run(command_task),
                Step::RunOn(executor) => self.run(|id| executor_task(id, &format!("e{executor}"))),
                Step::Kill(task) => {
                    // Killing what is over is answered again; that is an end told twice, and meant so.
                    let known = |task: &&String| !self.ends.contains_key(*task);
                    if let Some(task) = self.tasks.get(task).filter(known) {
                        let id = TaskId::from(task.as_str());
                        self.turn(|workload, turn| workload.kill_task(&fw(), &id, None, turn));
                    }
                }
                Step::Register(executor) => {
                    let id = ExecutorId::from(format!("e{executor}"));
                    self.turn(|workload, turn| workload.register_executor(&fw(), &id, pid(), turn));
                }
                Step::Subscribe(executor) => {
                    let id = ExecutorId::from(format!("e{executor}"));
                    let _ = self.turn(|workload, turn| workload.subscribe(&fw(), &id, &[], vec![], turn));
                }
                Step::Closed(container) => {
                    if let Some(container) = nth(&self.alive, container) {
                        self.turn(|workload, _| workload.stream_closed(&container));
                    }
                }
                Step::Report(task, end) => {
                    let Some(task) = self.tasks.get(task).filter(|task| !self.acknowledged.contains(*task))
                    else {
                        return;
                    };
                    // An executor reports on its own tasks; those refused have none.
                    let id = TaskId::from(task.as_str());
                    let known =
                        self.story.workload.framework(&fw()).is_some_and(|f| f.executor_with(&id).is_some());
                    if !known {
                        return;
                    }
                    self.n_updates = self.n_updates.wrapping_add(1);
                    let state = if end { TaskState::TaskFinished } else { TaskState::TaskRunning };
                    let update = StatusUpdate {
                        framework_id: fw(),
                        status: TaskStatus { task_id: id, state: state as i32, ..Default::default() },
                        uuid: Some(vec![self.n_updates; 16]),
                        ..Default::default()
                    };
                    let link = Link::Process(pid());
                    self.turn(|workload, turn| workload.status_update(update, link, turn)).unwrap();
                }
                Step::Acknowledge => {
                    if !self.to_acknowledge.is_empty() {
                        let task = self.to_acknowledge.remove(0);
                        self.acknowledge(task);
                    }
                }
                Step::Terminate(container) => {
                    if let Some(container) = nth(&self.alive, container) {
                        self.terminate(&container);
                    }
                }
                Step::RegistrationTimeout(container) => {
                    if let Some(container) = nth(&self.alive, container) {
                        self.turn(|workload, turn| workload.registration_timeout(&container, turn));
                    }
                }
                Step::ShutdownExecutor(executor) => {
                    let id = ExecutorId::from(format!("e{executor}"));
                    self.turn(|workload, turn| workload.shutdown_executor(&fw(), &id, turn));
                }
            }
        }
    }

    proptest! {
        #[test]
        fn every_task_ends_once_and_nothing_stays(
            checkpoint: bool,
            steps in prop::collection::vec(step(), 0..80),
        ) {
            let mut story = Story::new();
            story.checkpoint = checkpoint;
            let mut history = History {
                story,
                tasks: vec![],
                alive: BTreeSet::new(),
                ends: BTreeMap::new(),
                to_acknowledge: vec![],
                acknowledged: BTreeSet::new(),
                n_updates: 0,
            };
            for step in steps {
                history.take(step);
            }
            for container in history.alive.clone() {
                history.terminate(&container);
            }
            for task in std::mem::take(&mut history.to_acknowledge) {
                history.acknowledge(task);
            }
            for task in &history.tasks {
                prop_assert_eq!(history.ends.get(task), Some(&1), "the ends of {}", task);
            }
            prop_assert_eq!(history.story.workload.frameworks().len(), 0);
        }
    }
}
