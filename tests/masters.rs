//! Three masters as processes of their own, of which any may be killed, or hang.

mod support;

use std::process::Stdio;

use support::{Daemon, SOON, eventually, free_port, get, get_json, mesos, processes_with};

struct Masters {
    ports: Vec<u16>,
    running: Vec<Daemon>,
    dir: tempfile::TempDir,
}

impl Masters {
    fn start() -> Masters {
        let ports: Vec<u16> = (0..3).map(|_| free_port()).collect();
        let mut masters =
            Masters { ports, running: Vec::new(), dir: tempfile::tempdir().expect("a directory") };
        for n in 0..3 {
            let master = masters.master(n);
            masters.running.push(master);
        }
        masters
    }

    fn list(&self) -> String {
        self.ports.iter().map(|port| format!("127.0.0.1:{port}")).collect::<Vec<_>>().join(",")
    }

    fn master(&self, n: usize) -> Daemon {
        self.master_of(n, &self.list())
    }

    fn master_of(&self, n: usize, list: &str) -> Daemon {
        Daemon::start(mesos().args([
            "master",
            "--ip=127.0.0.1",
            &format!("--port={}", self.ports[n]),
            &format!("--masters={list}"),
            &format!("--work_dir={}", self.dir.path().join(format!("master-{n}")).display()),
            "--logging_level=WARNING",
        ]))
    }

    fn agent(&self) -> Daemon {
        Daemon::start(mesos().args([
            "agent",
            "--ip=127.0.0.1",
            &format!("--port={}", free_port()),
            &format!("--master={}", self.list()),
            &format!("--work_dir={}", self.dir.path().join("agent").display()),
            "--resources=cpus:4;mem:2048;disk:1024;ports:[31000-31100]",
            "--registration_backoff_factor=100ms",
            "--logging_level=WARNING",
        ]))
    }

    fn at(&self, n: usize) -> String {
        format!("127.0.0.1:{}", self.ports[n])
    }

    /// `mesos masters` with these words: its exit code, stdout and stderr.
    fn change(&self, words: &[&str]) -> (Option<i32>, String, String) {
        let list = format!("--master={}", self.list());
        let done = mesos().arg("masters").args(words).arg(list).output().expect("it runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (done.status.code(), text(&done.stdout), text(&done.stderr))
    }

    /// The roles by address, as the command lists them.
    fn roles(&self, listed: &str) -> Vec<(String, String)> {
        let rows = listed.lines().filter(|line| line.starts_with("127.0.0.1:"));
        let word = |line: &str, n| line.split_whitespace().nth(n).unwrap_or_default().to_owned();
        rows.map(|line| (word(line, 0), word(line, 1))).collect()
    }

    fn status(&self, n: usize, path: &str) -> Option<u16> {
        get(self.ports[n], path).map(|(status, _)| status)
    }

    /// Waits for one of those to serve, with so many agents.
    fn leader_among(&self, candidates: &[usize], n_agents: u64) -> usize {
        let mut leader = None;
        eventually(SOON, "a master serves, with its agents", || {
            leader = candidates
                .iter()
                .copied()
                .find(|n| get_json(self.ports[*n], "/state")["activated_slaves"].as_u64() == Some(n_agents));
            leader.is_some()
        });
        leader.expect("found")
    }
}

#[test]
fn a_task_outlives_the_leader_and_a_leader_that_hung_stands_by() {
    let mut masters = Masters::start();
    let first = masters.leader_among(&[0, 1, 2], 0);
    let _agent = masters.agent();
    masters.leader_among(&[first], 1);
    let command = format!("sleep 600{}", std::process::id());
    let list = masters.list();
    let mut execute = Daemon::start(
        mesos()
            .args(["execute", &format!("--master={list}"), &format!("--command={command}")])
            .stdout(Stdio::null())
            .stderr(Stdio::inherit()),
    );
    let running = |port: u16| {
        let state = get_json(port, "/state");
        state["frameworks"][0]["active"] == true
            && state["frameworks"][0]["tasks"][0]["state"] == "TASK_RUNNING"
    };
    eventually(SOON, "the task runs", || running(masters.ports[first]));

    // Killed: another has the agent, the framework and its task.
    masters.running[first].signal("-KILL");
    masters.running[first].wait(SOON);
    let others: Vec<usize> = (0..3).filter(|n| *n != first).collect();
    let second = masters.leader_among(&others, 1);
    eventually(SOON, "the task is known again", || running(masters.ports[second]));
    masters.running[first] = masters.master(first);
    eventually(SOON, "it stands by", || masters.status(first, "/state") == Some(307));

    // Stopped: the same; and when it goes on, it does nothing.
    masters.running[second].signal("-STOP");
    let others: Vec<usize> = (0..3).filter(|n| *n != second).collect();
    let third = masters.leader_among(&others, 1);
    eventually(SOON, "the task is known again", || running(masters.ports[third]));
    masters.running[second].signal("-CONT");
    assert_ne!(masters.status(second, "/state"), Some(200), "nobody serves by an old lease");
    eventually(SOON, "it stands by", || masters.status(second, "/state") == Some(307));
    assert_eq!(masters.status(third, "/state"), Some(200));

    let listed = mesos().args(["masters", "list", &format!("--master={list}")]).output().expect("it runs");
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(listed.status.success(), "{text}");
    let leads = format!("127.0.0.1:{}", masters.ports[third]);
    let line = text.lines().find(|line| line.starts_with(&leads)).expect("the leader is listed");
    assert!(line.contains("leader") && text.matches("standby").count() == 2, "{text}");

    assert!(execute.is_running(), "the task was not touched");
    assert!(!processes_with(&command).is_empty());
}

#[test]
fn masters_are_added_removed_replaced_and_led_by_another() {
    let mut masters = Masters::start();
    let first = masters.leader_among(&[0, 1, 2], 0);
    let second = (first + 1) % 3;
    let (code, listed, error) = masters.change(&["transfer", &masters.at(second)]);
    assert_eq!(code, Some(0), "{error}");
    assert!(masters.roles(&listed).contains(&(masters.at(second), "leader".into())), "{listed}");

    // A fourth, which has to be there.
    masters.ports.push(free_port());
    let (code, _, error) = masters.change(&["add", &masters.at(3)]);
    assert_eq!(code, Some(1));
    assert!(error.contains("does not answer"), "{error}");
    let list = masters.list();
    let fourth = masters.master_of(3, &list);
    masters.running.push(fourth);
    eventually(SOON, "it waits to be taken in", || {
        get_json(masters.ports[3], "/masters")["waits"]
            .as_str()
            .is_some_and(|it| it.contains("mesos masters add"))
    });
    let (code, listed, error) = masters.change(&["add", &masters.at(3)]);
    assert_eq!(code, Some(0), "{error}");
    assert!(masters.roles(&listed).contains(&(masters.at(3), "standby".into())), "{listed}");

    // The leader goes: another leads first.
    let (code, listed, error) = masters.change(&["remove", &masters.at(second)]);
    assert_eq!(code, Some(0), "{error}");
    let roles = masters.roles(&listed);
    assert_eq!(roles.len(), 3, "{listed}");
    assert!(roles.iter().any(|(_, role)| role == "leader"), "{listed}");
    masters.running[second].signal("-KILL");
    masters.running[second].wait(SOON);

    // One loses its disk: it is no member under its old name before it is taken in anew.
    let lost = first;
    masters.running[lost].signal("-KILL");
    masters.running[lost].wait(SOON);
    std::fs::remove_dir_all(masters.dir.path().join(format!("master-{lost}"))).expect("removed");
    masters.running[lost] = masters.master_of(lost, &list);
    eventually(SOON, "it waits to be taken in", || {
        get_json(masters.ports[lost], "/masters")["waits"]
            .as_str()
            .is_some_and(|it| it.contains("another disk"))
    });
    let (code, listed, error) = masters.change(&["add", &masters.at(lost)]);
    assert_eq!(code, Some(0), "{error}");
    assert_eq!(masters.roles(&listed).len(), 3, "{listed}");

    let (code, listed, error) = masters.change(&["remove", "127.0.0.1:1"]);
    assert_eq!((code, listed.as_str()), (Some(1), ""));
    assert!(error.contains("127.0.0.1:1 is no member") && error.contains(&masters.at(3)), "{error}");
}

#[test]
fn a_copy_of_one_disk_begins_a_new_group_when_the_others_are_lost() {
    let mut masters = Masters::start();
    let agent = masters.agent();
    let leader = masters.leader_among(&[0, 1, 2], 1);
    let id = |port| get_json(port, "/slaves")["slaves"][0]["id"].clone();
    let agent_id = id(masters.ports[leader]);
    assert!(agent_id.is_string());
    for master in &mut masters.running {
        master.signal("-KILL");
        master.wait(SOON);
    }
    let registry = |n: usize| masters.dir.path().join(format!("master-{n}/registry"));
    let copy = masters.dir.path().join("copy");
    std::fs::rename(registry(leader), &copy).expect("moved");
    let from = format!("--from={}", copy.display());
    let work_dir = format!("--work_dir={}", registry(0).parent().expect("it has one").display());
    let restore = ["restore", &masters.at(0), &from, &work_dir];
    if leader != 0 {
        let (code, _, error) = masters.change(&restore);
        assert_eq!(code, Some(1));
        assert!(error.contains("is there already"), "{error}");
    }
    for n in 0..3 {
        let _ = std::fs::remove_dir_all(registry(n));
    }
    let (code, said, error) = masters.change(&restore);
    assert_eq!(code, Some(0), "{error}");
    assert!(said.contains("begins with 1 agents, 0 unreachable and 0 gone"), "{said}");

    masters.running = (0..3).map(|n| masters.master(n)).collect();
    assert_eq!(masters.leader_among(&[0], 1), 0);
    assert_eq!(id(masters.ports[0]), agent_id, "the agent is the one it was");
    for n in 1..3 {
        eventually(SOON, "it waits to be taken in", || {
            get_json(masters.ports[n], "/masters")["waits"].is_string()
        });
        let (code, listed, error) = masters.change(&["add", &masters.at(n)]);
        assert_eq!(code, Some(0), "{error}");
        assert_eq!(masters.roles(&listed).len(), n + 1, "{listed}");
    }
    drop(agent);
}

#[test]
fn whoever_is_not_on_the_list_is_told_what_would_be_right() {
    let dir = tempfile::tempdir().expect("a directory");
    let port = free_port();
    let refused = mesos()
        .args([
            "master",
            "--ip=127.0.0.1",
            &format!("--port={port}"),
            "--masters=127.0.0.1:1,localhost:2",
            &format!("--work_dir={}", dir.path().display()),
        ])
        .output()
        .expect("it runs");
    let text = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{text}");
    assert!(
        text.contains(&format!("127.0.0.1:{port}")) && text.contains("127.0.0.1:1,localhost:2"),
        "{text}"
    );
}

#[test]
fn nobody_to_ask_is_said_on_stderr() {
    let port = free_port();
    let asked =
        mesos().args(["masters", "list", &format!("--master=127.0.0.1:{port}")]).output().expect("it runs");
    assert_eq!(asked.status.code(), Some(1));
    let text = String::from_utf8_lossy(&asked.stderr);
    assert!(asked.stdout.is_empty() && text.contains(&format!("127.0.0.1:{port}")), "{text}");
}
