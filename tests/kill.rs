//! Any one process may die at any moment. What happens then, with real processes.

mod support;

use std::process::Stdio;
use std::time::Duration;

use support::{Cluster, Daemon, SOON, eventually, get_json, mesos, processes_with};

/// A sleep nobody else sleeps.
fn unique_sleep(salt: u32) -> String {
    format!("sleep {}.{}", 5000 + salt, std::process::id())
}

fn kill(pid: u32, signal: &str) {
    let status = std::process::Command::new("kill").args([signal, &pid.to_string()]).status();
    assert!(status.expect("kill runs").success());
}

/// The process that is the sleep itself, not a shell or an executor that names it.
fn sleeper(command: &str) -> Option<u32> {
    processes_with(command).into_iter().find(|pid| {
        std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim() == "sleep")
    })
}

fn wait_for_sleeper(command: &str) -> u32 {
    let mut pid = None;
    eventually(SOON, "the task runs", || {
        pid = sleeper(command);
        pid.is_some()
    });
    pid.expect("found")
}

fn no_process_left(marker: &str) {
    eventually(SOON, "no process is left", || processes_with(marker).is_empty());
}

#[test]
fn a_command_that_ends_well_ends_well() {
    let cluster = Cluster::start();
    let mut execute = cluster.execute("well", "echo from the task");
    assert!(execute.wait(SOON).success());
    assert!(execute.output().contains("TASK_FINISHED"));
}

#[test]
fn a_command_that_fails_fails_with_its_exit_status_in_the_message() {
    let cluster = Cluster::start();
    let mut execute = cluster.execute("ill", "exit 7");
    assert_eq!(execute.wait(SOON).code(), Some(1));
    let output = execute.output();
    assert!(output.contains("TASK_FAILED") && output.contains("exited with status 7"), "{output}");
}

#[test]
fn a_killed_task_fails_with_the_signal_in_the_message() {
    let cluster = Cluster::start();
    let command = unique_sleep(1);
    let mut execute = cluster.execute("task", &command);
    kill(wait_for_sleeper(&command), "-KILL");
    assert_eq!(execute.wait(SOON).code(), Some(1));
    let output = execute.output();
    assert!(output.contains("TASK_FAILED"), "{output}");
    no_process_left(&command);
}

#[test]
fn a_killed_executor_fails_its_task_and_leaves_no_process() {
    let cluster = Cluster::start();
    let command = unique_sleep(2);
    let mut execute = cluster.execute("executor", &command);
    let task = wait_for_sleeper(&command);
    let stat = std::fs::read_to_string(format!("/proc/{task}/stat")).expect("it runs");
    let parent: u32 =
        stat.rsplit(')').next().and_then(|rest| rest.split(' ').nth(2)?.parse().ok()).expect("ppid");
    kill(parent, "-KILL");
    assert_eq!(execute.wait(SOON).code(), Some(1));
    assert!(execute.output().contains("TASK_FAILED"));
    no_process_left(&command);
}

#[test]
fn a_killed_agent_loses_its_tasks_within_the_ping_timeout_and_leaves_no_process() {
    let mut cluster = Cluster::start();
    let command = unique_sleep(3);
    let mut execute = cluster.execute("agent", &command);
    wait_for_sleeper(&command);
    cluster.agent.signal("-KILL");
    cluster.agent.wait(SOON);
    assert_eq!(execute.wait(Duration::from_secs(30)).code(), Some(1));
    let output = execute.output();
    assert!(output.contains("TASK_LOST") || output.contains("TASK_UNREACHABLE"), "{output}");
    no_process_left(&command);
}

#[test]
fn a_killed_driver_takes_its_tasks_with_it() {
    let cluster = Cluster::start();
    let command = unique_sleep(4);
    let mut execute = cluster.execute("driver", &command);
    wait_for_sleeper(&command);
    execute.signal("-KILL");
    execute.wait(SOON);
    no_process_left(&command);
    eventually(SOON, "the framework is completed", || {
        get_json(cluster.port, "/state")["completed_frameworks"].as_array().is_some_and(|all| all.len() == 1)
    });
}

#[test]
fn a_killed_master_comes_back_to_its_agents_frameworks_and_tasks() {
    let mut cluster = Cluster::start();
    let command = unique_sleep(5);
    let mut execute = cluster.execute("master", &command);
    let task = wait_for_sleeper(&command);
    cluster.master.signal("-KILL");
    cluster.master.wait(SOON);
    cluster.master = support::master(cluster.port, cluster.dir.path());
    cluster.wait_for_agents(1);
    eventually(SOON, "the framework and its task are known again", || {
        let state = get_json(cluster.port, "/state");
        state["frameworks"][0]["active"] == true
            && state["frameworks"][0]["tasks"][0]["state"] == "TASK_RUNNING"
    });
    assert_eq!(sleeper(&command), Some(task), "the task was not touched");
    assert!(execute.is_running());
    kill(task, "-TERM");
    assert_eq!(execute.wait(SOON).code(), Some(1));
    assert!(execute.output().contains("TASK_FAILED"));
}

#[test]
fn a_master_whose_disk_is_full_ends_with_file_and_cause_and_loses_nothing() {
    let mut cluster = Cluster::start();
    let id = get_json(cluster.port, "/slaves")["slaves"][0]["id"].clone();
    assert!(id.is_string());
    cluster.master.signal("-KILL");
    cluster.master.wait(SOON);

    // Files may not grow past half a kilobyte, and the log is larger already.
    let command = support::master_command(cluster.port, cluster.dir.path());
    let script = r#"ulimit -f 1; trap "" XFSZ; exec "$@" 2>&1"#;
    let mut limited = std::process::Command::new("sh");
    limited.args(["-c", script, "sh"]).arg(command.get_program()).args(command.get_args());
    let mut limited = Daemon::start(limited.stdout(Stdio::piped()));
    let status = limited.wait(SOON);
    let said = limited.output();
    assert!(!status.success(), "{said}");
    assert!(said.contains("/registry/") && said.contains("File too large"), "{said}");
    assert!(said.contains("start this master again"), "{said}");

    cluster.master = support::master(cluster.port, cluster.dir.path());
    cluster.wait_for_agents(1);
    assert_eq!(get_json(cluster.port, "/slaves")["slaves"][0]["id"], id, "the agent is the one it was");
}

#[test]
fn ctrl_c_ends_a_computation_and_leaves_nothing_behind() {
    let points = 1_000_000_000_000 + u64::from(std::process::id());
    let mut pi = Daemon::start(
        mesos()
            .args(["pi", "--tasks", "4", "--points", &points.to_string()])
            .stdout(Stdio::piped())
            .stderr(Stdio::null()),
    );
    let executors = || -> Vec<u32> {
        let parent_of = |pid: u32| -> Option<u32> {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            stat.rsplit(')').next()?.split(' ').nth(2)?.parse().ok()
        };
        processes_with("pi-executor")
            .into_iter()
            .filter(|executor| parent_of(*executor) == Some(pi.pid()))
            .collect()
    };
    let mut seen = Vec::new();
    eventually(SOON, "executors run", || {
        seen = executors();
        !seen.is_empty()
    });
    pi.signal("-INT");
    let status = pi.wait(SOON);
    assert!(!status.success(), "a computation that was cut short did not succeed");
    for executor in seen {
        eventually(SOON, "the executor is gone", || {
            !std::path::Path::new(&format!("/proc/{executor}")).exists()
        });
    }
}
