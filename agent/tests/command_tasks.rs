//! Command tasks from launch to acknowledged end, with real processes.

#![allow(clippy::unwrap_used)] // Helpers of tests are tests.
#![allow(clippy::disallowed_methods, reason = "a test waits with a deadline")]

mod common;

use api::internal::*;
use api::v1::*;
use common::*;
use nix::sys::signal::{Signal, kill};

#[test]
fn a_command_runs_in_its_sandbox_and_its_end_is_told() {
    let cluster = Cluster::start();
    let mut task = shell("t", "echo hi; pwd; echo $COLOR $MESOS_EXECUTOR_ID >&2");
    let variable =
        environment::Variable { name: "COLOR".into(), value: Some("green".into()), ..Default::default() };
    task.command.as_mut().unwrap().environment = Some(Environment { variables: vec![variable] });
    cluster.run(&framework(), task);
    cluster.until_state("t", TaskState::TaskFinished);
    assert_eq!(
        cluster.history()["t"],
        ["TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED: Command exited with status 0"]
    );
    let sandbox = cluster.sandbox("t");
    let read = |name: &str| std::fs::read_to_string(sandbox.join(name)).unwrap();
    assert_eq!(read("stdout"), format!("hi\n{}\n", std::fs::canonicalize(&sandbox).unwrap().display()));
    assert_eq!(read("stderr"), "green t\n");
    let status = cluster.with(|master| master.updates[1].status.clone());
    assert_eq!(status.source(), task_status::Source::Executor);
    let container = status.container_status.unwrap();
    assert!(container.executor_pid.is_some() && container.container_id.is_some());
    assert_eq!(container.network_infos[0].ip_addresses[0].ip_address.as_deref(), Some("127.0.0.1"));
    cluster.stop();
}

#[test]
fn how_a_command_fails_is_told() {
    let cluster = Cluster::start();
    cluster.run(&framework(), shell("code", "exit 3"));
    cluster.run(&framework(), shell("signal", "kill -9 $$"));
    let argv = CommandInfo {
        shell: Some(false),
        value: Some("/bin/sh".into()),
        arguments: vec!["sh".into(), "-c".into(), "exit 4".into()],
        ..Default::default()
    };
    cluster.run(&framework(), TaskInfo { command: Some(argv), ..shell("argv", "") });
    let absent =
        CommandInfo { shell: Some(false), value: Some("/no/such/program".into()), ..Default::default() };
    cluster.run(&framework(), TaskInfo { command: Some(absent), ..shell("absent", "") });
    for task in ["code", "signal", "argv", "absent"] {
        cluster.until_state(task, TaskState::TaskFailed);
    }
    let history = cluster.history();
    assert_eq!(history["code"][2], "TASK_FAILED: Command exited with status 3");
    assert_eq!(history["signal"][2], "TASK_FAILED: Command terminated with signal Killed");
    assert_eq!(history["argv"][2], "TASK_FAILED: Command exited with status 4");
    assert!(
        history["absent"][1].starts_with("TASK_FAILED: could not execute `/no/such/program`"),
        "{history:?}"
    );
    cluster.stop();
}

#[test]
fn a_killed_task_gets_its_grace_and_then_all_of_it_dies() {
    let cluster = Cluster::start();
    let command = "trap '' TERM; setsid sleep 98765.1 & (setsid sleep 98765.2 &) ; echo up; \
                   while true; do sleep 98765.3; done";
    let mut framework = framework();
    let killing = framework_info::capability::Type::TaskKillingState as i32;
    framework.capabilities = vec![framework_info::Capability { r#type: Some(killing) }];
    cluster.run(&framework, shell("t", command));
    until("its processes", || processes("sleep 98765.").len() == 3);
    let grace = |nanoseconds| KillPolicy { grace_period: Some(DurationInfo { nanoseconds }) };
    let kill =
        |policy| KillTaskMessage { framework_id: "F".into(), task_id: "t".into(), kill_policy: policy };
    cluster.send(kill(Some(grace(3_600_000_000_000))));
    cluster.until_state("t", TaskState::TaskKilling);
    // The second kill can only shorten the time.
    cluster.send(kill(Some(grace(50_000_000))));
    cluster.until_state("t", TaskState::TaskKilled);
    assert_eq!(
        cluster.history()["t"][2..],
        ["TASK_KILLING", "TASK_KILLED: Command terminated with signal Killed"]
    );
    until("nothing to be left", || processes("sleep 98765.").is_empty());
    cluster.stop();
}

#[test]
fn an_executor_that_is_killed_takes_everything_with_it() {
    let cluster = Cluster::start();
    cluster.run(&framework(), shell("t", "env -i setsid sleep 98764.1 & sleep 98764.2"));
    cluster.until_state("t", TaskState::TaskRunning);
    until("its processes", || processes("sleep 98764.").len() >= 2);
    let pid = cluster.with(|master| {
        let statuses = master.updates.iter().filter_map(|update| update.status.container_status.clone());
        statuses.filter_map(|status| status.executor_pid).next().unwrap()
    });
    kill(nix::unistd::Pid::from_raw(pid as i32), Signal::SIGKILL).unwrap();
    cluster.until_state("t", TaskState::TaskFailed);
    let history = cluster.history();
    let told = "TASK_FAILED REASON_EXECUTOR_TERMINATED: the executor terminated with signal Killed";
    assert_eq!(history["t"].last().unwrap(), told);
    assert!(processes("sleep 98764.").is_empty(), "the end is told when nothing is left");
    cluster.stop();
}

#[test]
fn a_container_that_cannot_be_made_fails_its_task_with_the_reason() {
    let cluster = Cluster::start_with(|flags| flags.switch_user = true);
    let mut stranger = shell("stranger", "true");
    stranger.command.as_mut().unwrap().user = Some("nobody-by-that-name".into());
    cluster.run(&framework(), stranger);
    let mut fetching = shell("fetching", "true");
    let uri = command_info::Uri { value: "/no/such/file".into(), ..Default::default() };
    fetching.command.as_mut().unwrap().uris = vec![uri];
    cluster.run(&framework(), fetching);
    let docker = ContainerInfo { r#type: container_info::Type::Docker as i32, ..Default::default() };
    cluster.run(&framework(), TaskInfo { container: Some(docker), ..shell("docker", "true") });
    for task in ["stranger", "fetching", "docker"] {
        cluster.until_state(task, TaskState::TaskFailed);
    }
    let history = cluster.history();
    assert_eq!(
        history["stranger"],
        [
            "TASK_FAILED REASON_CONTAINER_LAUNCH_FAILED: there is no user `nobody-by-that-name` on this machine"
        ]
    );
    assert!(
        history["fetching"][0].starts_with("TASK_FAILED REASON_CONTAINER_LAUNCH_FAILED: fetching its URIs")
    );
    assert!(history["docker"][0].contains("a Docker container needs"), "{history:?}");
    let stderr = std::fs::read_to_string(cluster.sandbox("fetching").join("stderr")).unwrap();
    assert!(stderr.starts_with("could not fetch `/no/such/file`"), "{stderr}");
    cluster.stop();
}

#[test]
fn uris_are_there_before_the_command_runs() {
    let cluster = Cluster::start();
    let source = tempfile::tempdir().unwrap();
    let program = source.path().join("tool");
    std::fs::write(&program, "#!/bin/sh\necho fetched\n").unwrap();
    let mut task = shell("t", "./tool");
    task.command.as_mut().unwrap().uris = vec![command_info::Uri {
        value: program.display().to_string(),
        executable: Some(true),
        ..Default::default()
    }];
    cluster.run(&framework(), task);
    cluster.until_state("t", TaskState::TaskFinished);
    assert_eq!(std::fs::read_to_string(cluster.sandbox("t").join("stdout")).unwrap(), "fetched\n");
    cluster.stop();
}

#[test]
fn a_task_ends_when_its_time_is_up() {
    let cluster = Cluster::start();
    let limit = Some(DurationInfo { nanoseconds: 100_000_000 });
    cluster.run(&framework(), TaskInfo { max_completion_time: limit, ..shell("t", "sleep 98763.1") });
    cluster.until_state("t", TaskState::TaskFailed);
    let last = cluster.history()["t"].last().unwrap().clone();
    assert!(last.starts_with("TASK_FAILED REASON_MAX_COMPLETION_TIME_REACHED"), "{last}");
    assert!(processes("sleep 98763.").is_empty());
    cluster.stop();
}

#[test]
fn an_agent_that_shuts_down_leaves_nothing_running() {
    let cluster = Cluster::start();
    for n in 0..5 {
        cluster.run(&framework(), shell(&format!("t{n}"), "setsid sleep 98762.1 & sleep 98762.2"));
    }
    until("all processes", || processes("sleep 98762.").len() >= 10);
    cluster.stop();
    assert!(processes("sleep 98762.").is_empty());
}

#[test]
fn an_agent_that_is_torn_down_with_its_node_leaves_nothing_running() {
    let cluster = Cluster::start();
    cluster.run(&framework(), shell("t", "setsid sleep 98761.1 & sleep 98761.2"));
    until("all processes", || processes("sleep 98761.").len() >= 2);
    cluster.agent_node.shutdown().wait(std::time::Duration::from_secs(30)).unwrap();
    until("nothing to be left", || processes("sleep 98761.").is_empty());
    cluster.master_node.shutdown().wait(std::time::Duration::from_secs(30)).unwrap();
}

#[test]
fn updates_that_are_not_acknowledged_are_sent_again_to_a_master_that_forgot_us() {
    let cluster = Cluster::start();
    cluster.with(|master| master.acknowledge = false);
    let mut framework = framework();
    framework.checkpoint = Some(true);
    cluster.run(&framework, shell("t", "true"));
    cluster.until_state("t", TaskState::TaskStarting);
    until("the end to be known", || {
        let files =
            cluster.work_dir.path().join("meta/slaves/S0/frameworks/F/executors/t/runs/latest/tasks/t");
        let records =
            ::agent::checkpoint::read_records::<StatusUpdateRecord>(&files.join("task.updates"), "record");
        records.is_ok_and(|records| records.records.len() == 3)
    });
    assert_eq!(cluster.history()["t"], ["TASK_STARTING"], "one update is on its way at a time");
    cluster.send(PingSlaveMessage { connected: false });
    cluster.until("it registers again", |master| master.reregistrations.len() == 1);
    let told = cluster.with(|master| master.reregistrations[0].clone());
    assert_eq!(told.tasks[0].state(), TaskState::TaskFinished);
    assert_eq!(told.frameworks.len(), 1);
    cluster.until("the update again", |master| master.updates.len() >= 2);
    cluster.with(|master| master.acknowledge = true);
    let first = cluster.with(|master| acknowledgement(&master.updates[0]));
    cluster.send(first);
    cluster.until_state("t", TaskState::TaskFinished);
    assert!(cluster.with(|master| master.pongs) >= 1);
    cluster.stop();
}

#[test]
fn a_hundred_tasks_at_once_all_finish() {
    let cluster = Cluster::start();
    let begin = std::time::Instant::now();
    for n in 0..100 {
        cluster.run(&framework(), shell(&format!("t{n}"), "true"));
    }
    cluster.until("a hundred ends", |master| {
        master.updates.iter().filter(|update| update.status.state() == TaskState::TaskFinished).count() >= 100
    });
    eprintln!("100 tasks in {:?}", begin.elapsed());
    cluster.stop();
}

#[test]
fn an_agent_that_is_killed_takes_its_command_tasks_along() {
    let (master_node, master) = master();
    let work_dir = tempfile::tempdir().unwrap();
    let mut agent = std::process::Command::new(env!("CARGO_BIN_EXE_agent-test-helper"))
        .arg(master_node.address().to_string())
        .arg(work_dir.path())
        .spawn()
        .unwrap();
    let seconds = std::time::Duration::from_secs(30);
    until("the agent registers", || master.dispatch(|m, _| m.agent.is_some()).wait(seconds).unwrap());
    let run = RunTaskMessage {
        framework_id: Some("F".into()),
        framework: framework(),
        task: shell("t", "(setsid sleep 98760.1 &); sleep 98760.2"),
        ..Default::default()
    };
    let sent = master.dispatch(move |master, ctx| ctx.send(master.agent.clone().unwrap(), run));
    sent.wait(seconds).unwrap();
    until("all processes", || processes("sleep 98760.").len() == 2);
    agent.kill().unwrap();
    agent.wait().unwrap();
    until("nothing to be left", || processes("sleep 98760.").is_empty());
    master_node.shutdown().wait(seconds).unwrap();
}

#[test]
fn a_task_that_is_no_longer_healthy_is_told_and_killed() {
    let cluster = Cluster::start();
    let health = HealthCheck {
        command: Some(CommandInfo { value: Some("test -e up".into()), ..Default::default() }),
        delay_seconds: Some(0.0),
        interval_seconds: Some(0.05),
        grace_period_seconds: Some(0.0),
        consecutive_failures: Some(2),
        ..Default::default()
    };
    let command = "touch up; while test ! -e stop; do sleep 0.02; done; rm up; sleep 98759.1";
    let task = TaskInfo { health_check: Some(health), ..shell("t", command) };
    cluster.run(&framework(), task);
    let with_health = |healthy| {
        cluster.until(&format!("healthy={healthy}"), move |master| {
            master.updates.iter().any(|update| update.status.healthy == Some(healthy))
        });
    };
    with_health(true);
    std::fs::write(cluster.sandbox("t").join("stop"), "").unwrap();
    with_health(false);
    cluster.until_state("t", TaskState::TaskKilled);
    let last = cluster.with(|master| master.updates.last().unwrap().status.clone());
    assert_eq!((last.state(), last.healthy), (TaskState::TaskKilled, Some(false)));
    let told = cluster.history()["t"].iter().filter(|text| text.contains("HEALTH_CHECK_STATUS")).count();
    assert!(told >= 3, "{:?}", cluster.history());
    assert!(processes("sleep 98759.").is_empty());
    cluster.stop();
}

#[test]
fn a_check_that_changes_its_mind_is_told() {
    let cluster = Cluster::start();
    let command = CommandInfo { value: Some("exit $(cat code || echo 7)".into()), ..Default::default() };
    let check = CheckInfo {
        r#type: Some(check_info::Type::Command as i32),
        command: Some(check_info::Command { command }),
        delay_seconds: Some(0.0),
        interval_seconds: Some(0.05),
        ..Default::default()
    };
    cluster.run(&framework(), TaskInfo { check: Some(check), ..shell("t", "sleep 98758.1") });
    let with_code = |code: i32| {
        cluster.until(&format!("exit code {code}"), move |master| {
            let of = |update: &StatusUpdate| update.status.check_status?.command?.exit_code;
            master.updates.iter().any(|update| of(update) == Some(code))
        });
    };
    with_code(7);
    std::fs::write(cluster.sandbox("t").join("code"), "3").unwrap();
    with_code(3);
    let first = cluster.with(|master| master.updates[0].status.check_status.unwrap());
    assert_eq!(first.command, Some(check_status_info::Command { exit_code: None }), "empty at first");
    cluster.send(KillTaskMessage { framework_id: "F".into(), task_id: "t".into(), kill_policy: None });
    cluster.until_state("t", TaskState::TaskKilled);
    cluster.stop();
}

#[test]
fn a_task_runs_as_its_user_in_a_sandbox_of_its_own() {
    if !nix::unistd::geteuid().is_root() || nix::unistd::User::from_name("nobody").ok().flatten().is_none() {
        eprintln!("skipped: only root can become somebody else");
        return;
    }
    let cluster = Cluster::start();
    let mut task = shell("t", "id -un; touch mine; stat -c %U:%a . mine stdout");
    task.command.as_mut().unwrap().user = Some("nobody".into());
    cluster.run(&framework(), task);
    cluster.until_state("t", TaskState::TaskFinished);
    let stdout = std::fs::read_to_string(cluster.sandbox("t").join("stdout")).unwrap();
    assert_eq!(stdout, "nobody\nnobody:750\nnobody:644\nnobody:644\n");
    cluster.stop();
}

/// The linker of the C library writes a file for each program that it starts with `LD_DEBUG`, which says as
/// whom that program began.
#[test]
fn what_a_task_sets_for_the_linker_acts_on_nothing_that_is_still_root() {
    if !nix::unistd::geteuid().is_root() || nix::unistd::User::from_name("nobody").ok().flatten().is_none() {
        eprintln!("skipped: only root can become somebody else");
        return;
    }
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let traces = tempfile::tempdir().unwrap();
    std::fs::set_permissions(traces.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let cluster = Cluster::start();
    let mut task = shell("t", "echo $COLOR; exec /bin/true");
    let variable = |name: &str, value: String| environment::Variable {
        name: name.into(),
        value: Some(value),
        ..Default::default()
    };
    let command = task.command.as_mut().unwrap();
    command.user = Some("nobody".into());
    command.environment = Some(Environment {
        variables: vec![
            variable("LD_DEBUG", "libs".into()),
            variable("LD_DEBUG_OUTPUT", traces.path().join("trace").display().to_string()),
            variable("COLOR", "green".into()),
        ],
    });
    command.uris = vec![command_info::Uri { value: "/etc/passwd".into(), ..Default::default() }];
    cluster.run(&framework(), task);
    cluster.until_state("t", TaskState::TaskFinished);
    let stdout = std::fs::read_to_string(cluster.sandbox("t").join("stdout")).unwrap();
    assert_eq!(stdout, "green\n");
    let owners: Vec<u32> = std::fs::read_dir(traces.path())
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().uid())
        .collect();
    assert!(!owners.contains(&0), "a program that was root heeded the task's variables: {owners:?}");
    cluster.stop();
}

#[test]
fn an_agent_that_its_master_takes_for_another_one_ends_and_says_why() {
    let cluster = Cluster::start();
    assert_eq!(cluster.agent.failure(), None);
    cluster.send(SlaveRegisteredMessage { slave_id: "S1".into(), connection: None });
    cluster.agent.ended().wait(std::time::Duration::from_secs(20)).unwrap();
    assert_eq!(cluster.agent.failure(), Some("the master knows agent `S0` and calls it `S1`"));
    cluster.stop();
}
