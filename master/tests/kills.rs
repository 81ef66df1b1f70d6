//! A registry on a real disk, in a process that is killed with SIGKILL again and again while it writes as fast as it
//! can: what was acknowledged is there, and what is there is a prefix of what was asked for.
//!
//! `KILLS=5000 cargo test -p mesos-master --test kills -- --nocapture` kills it as often as one likes; `KILLS_SEED=7`
//! says when.
#![allow(clippy::unwrap_used, reason = "a test says what is wrong by failing")]
#![allow(clippy::disallowed_methods, reason = "a test waits with a deadline")]

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use api::v1::{AgentId, AgentInfo, MasterInfo};
use libprocess::{Id, Node};
use master::registry::{Founding, Kind, Registrar, Registry, Storage};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

const DIRECTORY: &str = "REGISTRY_TO_BE_KILLED";

const DEADLINE: Duration = Duration::from_secs(60);

/// The registry grows to so many agents; then one leaves for each that comes.
const AGENTS: usize = 100;

/// So many operations are asked for before the first of them is answered.
const AHEAD: usize = 8;

fn agent(n: usize) -> AgentId {
    AgentId::from(format!("agent-{n:08}"))
}

/// What is asked for after so many other operations.
fn operation(n_before: usize) -> Kind {
    let admit = |n| {
        let info = AgentInfo { id: Some(agent(n)), hostname: "h".repeat(100), ..Default::default() };
        Kind::AdmitAgent(info)
    };
    match n_before.checked_sub(AGENTS) {
        None => admit(n_before),
        Some(later) if later % 2 == 0 => admit(AGENTS + later / 2),
        Some(later) => Kind::RemoveAgent(agent(later / 2)),
    }
}

/// After how many operations the registry is this; `None` when it never is.
fn n_operations(registry: &Registry) -> Option<usize> {
    let names: Vec<_> = registry.admitted().map(|(id, _)| id.to_string()).collect();
    let first: usize = names.first().map_or(Some(0), |name| name.strip_prefix("agent-")?.parse().ok())?;
    let end = first + names.len();
    if (first..end).map(|n| agent(n).value).ne(names) {
        return None;
    }
    match end.checked_sub(AGENTS) {
        None | Some(0) => (first == 0).then_some(end),
        Some(more) => (more == first || more == first + 1).then_some(AGENTS + first + more),
    }
}

/// The process that is killed: says what it found, and then of each operation that it is acknowledged.
#[test]
#[ignore = "the other test starts it"]
fn writer() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let node = Node::builder().listen("127.0.0.1:0").start().unwrap();
    let storage = Storage::Directory(directory.into());
    let registrar = Registrar::new(storage, Founding::Alone, DEADLINE, DEADLINE).snapshot_after(20_000);
    let pid = node.spawn(Id::prefix("registrar"), registrar).unwrap();
    let recovered = pid.dispatch(|registrar, ctx| registrar.recover(MasterInfo::default(), ctx)).flatten();
    let registry = match recovered.wait(DEADLINE).unwrap() {
        Ok(registry) => registry,
        Err(error) => {
            println!("refused {error}");
            return;
        }
    };
    let Some(found) = n_operations(&registry) else {
        println!("refused {:?}", registry.admitted().map(|(id, _)| &id.value).collect::<Vec<_>>());
        return;
    };
    // The parent reads lines; a part of one says nothing.
    let mut out = std::io::stdout();
    writeln!(out, "\nfound {found}").unwrap();
    let mut waiting = VecDeque::new();
    for n in found.. {
        let kind = operation(n);
        let answer = pid.dispatch(move |registrar, ctx| registrar.apply(kind.into(), ctx)).flatten();
        waiting.push_back((n, answer));
        if waiting.len() == AHEAD {
            let (n, answer) = waiting.pop_front().unwrap();
            assert_eq!(answer.wait(DEADLINE).unwrap(), Ok(Ok(())), "operation {n}");
            writeln!(out, "acknowledged {}", n + 1).unwrap();
        }
    }
}

struct Writer {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Writer {
    fn start(directory: &Path) -> Writer {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "writer", "--nocapture"])
            .env(DIRECTORY, directory)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = child.stdout.take().unwrap();
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            let mut reader = BufReader::new(stdout);
            let mut line = String::new();
            while reader.read_line(&mut line).is_ok_and(|n| n > 0) {
                if line.ends_with('\n') {
                    let _ = sender.send(line.trim().to_owned());
                }
                line.clear();
            }
        });
        Writer { child, lines }
    }

    fn kill(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.lines.iter().collect()
    }
}

fn number(line: &str, what: &str) -> Option<usize> {
    line.strip_prefix(what)?.trim().parse().ok()
}

#[test]
fn what_was_acknowledged_survives_every_kill() {
    let from_env = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let (n_kills, seed) = (from_env("KILLS").unwrap_or(300), from_env("KILLS_SEED").unwrap_or(1));
    let mut rng = StdRng::seed_from_u64(seed);
    let directory = tempfile::tempdir().unwrap();
    // How many operations are certainly there, and how many may be.
    let (mut least, mut most) = (0, 0);
    let (mut n_early, mut n_found) = (0, 0);
    for kill in 0..n_kills {
        let writer = Writer::start(directory.path());
        let mut lines = Vec::new();
        // One in four is killed at any moment of its start.
        let early = rng.random_bool(0.25);
        if !early {
            while !lines.last().is_some_and(|line: &String| line.starts_with("found")) {
                let line = writer.lines.recv_timeout(DEADLINE).expect("it finds something");
                assert!(!line.starts_with("refused"), "kill {kill} of seed {seed}: {line}");
                lines.push(line);
            }
        }
        std::thread::sleep(Duration::from_micros(rng.random_range(0..60_000)));
        lines.extend(writer.kill());
        n_early += u64::from(early);
        for line in lines {
            assert!(!line.starts_with("refused"), "kill {kill} of seed {seed}: {line}");
            if let Some(found) = number(&line, "found") {
                n_found += 1;
                assert!(
                    (least..=most).contains(&found),
                    "kill {kill} of seed {seed}: {found} operations are there, not {least} to {most}"
                );
                (least, most) = (found, found + AHEAD);
            }
            if let Some(acknowledged) = number(&line, "acknowledged") {
                assert_eq!(acknowledged, least + 1);
                (least, most) = (acknowledged, acknowledged + AHEAD);
            }
        }
    }
    let size: u64 = std::fs::read_dir(directory.path().join("log"))
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    println!(
        "{n_kills} kills, {n_early} of them at the start; {least} operations acknowledged, {size} bytes of log"
    );
    assert!(n_found >= n_kills - n_early && least as u64 > n_kills, "too little was written");
}
