//! Real daemons for tests, and ways to wait for what they do.
#![allow(dead_code)] // Each test file uses its part.
#![allow(clippy::disallowed_methods, reason = "a test waits with a deadline")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// The longest anything here may take that should happen at once.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// The command under test.
pub(crate) fn mesos() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mesos"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.to_ascii_uppercase().starts_with("MESOS_")) {
        command.env_remove(name);
    }
    command
}

/// A process that is killed when the test is done with it, however that ends.
pub(crate) struct Daemon(Child);

impl Daemon {
    pub(crate) fn start(command: &mut Command) -> Daemon {
        Daemon(command.stdin(Stdio::null()).spawn().expect("started"))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.pid().to_string()]).status();
        assert!(status.expect("kill runs").success(), "could not send {signal} to {}", self.pid());
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self, at_most: Duration) -> ExitStatus {
        let mut status = None;
        eventually(at_most, "a process ends", || {
            status = self.0.try_wait().expect("a child can be waited for");
            status.is_some()
        });
        status.expect("it has ended")
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.0.try_wait().expect("a child can be waited for").is_none()
    }

    /// Its standard output, read to the end.
    pub(crate) fn output(&mut self) -> String {
        let mut text = String::new();
        if let Some(stdout) = self.0.stdout.as_mut() {
            stdout.read_to_string(&mut text).expect("text");
        }
        text
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until `reached`; fails naming `what` when it takes longer than `at_most`.
pub(crate) fn eventually(at_most: Duration, what: &str, mut reached: impl FnMut() -> bool) {
    let deadline = Instant::now() + at_most;
    while !reached() {
        assert!(Instant::now() < deadline, "not within {at_most:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A port that was free a moment ago, and that nobody else is given: the kernel gives connections only higher ones.
pub(crate) fn free_port() -> u16 {
    static N_GIVEN: AtomicU32 = AtomicU32::new(0);
    const FIRST: u32 = 17_000;
    const N: u32 = 15_000;
    // Other tests begin elsewhere.
    let begin = std::process::id().wrapping_mul(97);
    loop {
        let nth = begin.wrapping_add(N_GIVEN.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(FIRST + nth % N).expect("a port");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// `GET path`: status and body; `None` when nobody answers.
pub(crate) fn get(port: u16, path: &str) -> Option<(u16, String)> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

/// `GET path` as JSON; null when nobody answers so.
pub(crate) fn get_json(port: u16, path: &str) -> serde_json::Value {
    let body = get(port, path).filter(|(status, _)| *status == 200).map(|(_, body)| body);
    body.and_then(|body| serde_json::from_str(&body).ok()).unwrap_or_default()
}

/// The processes with `marker` on their command line.
pub(crate) fn processes_with(marker: &str) -> Vec<u32> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").expect("/proc").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.contains(marker) && pid != std::process::id() {
            found.push(pid);
        }
    }
    found
}

/// A master and an agent as processes of their own.
pub(crate) struct Cluster {
    pub(crate) port: u16,
    pub(crate) master: Daemon,
    pub(crate) agent: Daemon,
    pub(crate) dir: tempfile::TempDir,
}

impl Cluster {
    /// Started, and the agent registered. Agents are taken for lost after about two seconds.
    pub(crate) fn start() -> Cluster {
        let dir = tempfile::tempdir().expect("a directory");
        let port = free_port();
        let master = master(port, dir.path());
        let agent = agent(port, dir.path());
        let cluster = Cluster { port, master, agent, dir };
        cluster.wait_for_agents(1);
        cluster
    }

    pub(crate) fn wait_for_agents(&self, n: u64) {
        eventually(SOON, "agents are registered", || {
            get_json(self.port, "/state")["activated_slaves"].as_u64() == Some(n)
        });
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// `mesos execute` of a shell command.
    pub(crate) fn execute(&self, name: &str, command: &str) -> Daemon {
        let (master, name, command) = (
            format!("--master={}", self.address()),
            format!("--name={name}"),
            format!("--command={command}"),
        );
        Daemon::start(
            mesos()
                .args(["execute", &master, &name, &command])
                .stdout(Stdio::piped())
                .stderr(Stdio::inherit()),
        )
    }
}

pub(crate) fn master(port: u16, dir: &Path) -> Daemon {
    Daemon::start(&mut master_command(port, dir))
}

pub(crate) fn master_command(port: u16, dir: &Path) -> Command {
    let mut command = mesos();
    command.args([
        "master",
        "--ip=127.0.0.1",
        &format!("--port={port}"),
        &format!("--work_dir={}", dir.join("master").display()),
        "--agent_ping_timeout=1secs",
        "--max_agent_ping_timeouts=2",
        "--logging_level=WARNING",
    ]);
    command
}

pub(crate) fn agent(master_port: u16, dir: &Path) -> Daemon {
    Daemon::start(mesos().args([
        "agent",
        "--ip=127.0.0.1",
        &format!("--port={}", free_port()),
        &format!("--master=127.0.0.1:{master_port}"),
        &format!("--work_dir={}", dir.join("agent").display()),
        "--resources=cpus:4;mem:2048;disk:1024;ports:[31000-31100]",
        "--registration_backoff_factor=100ms",
        "--logging_level=WARNING",
    ]))
}
