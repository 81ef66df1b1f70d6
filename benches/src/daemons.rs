//! Masters and agents as processes, ended with the bench however it ends.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// How long a daemon that is told to end may take. An agent gives its executors a while, too.
const END_TIMEOUT: Duration = Duration::from_secs(15);
/// The longest anything may take that should happen at once.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is to be ended, newest last.
static RUNNING: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// Held by whoever ends the bench, until it has ended: an interruption makes the bench itself fail, too.
static ENDING: Mutex<()> = Mutex::new(());

/// What is to be removed.
static SCRATCH: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

fn lock<T>(mutex: &'static Mutex<T>) -> MutexGuard<'static, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends what was started and removes what was written: newest first, so that agents go before their masters.
fn clean_up() {
    let running = std::mem::take(&mut *lock(&RUNNING));
    for pid in running.into_iter().rev() {
        end(pid);
    }
    for path in std::mem::take(&mut *lock(&SCRATCH)) {
        if let Err(error) = std::fs::remove_dir_all(&path) {
            eprintln!("could not remove {}: {error}", path.display());
        }
    }
}

fn end(pid: Pid) {
    let deadline = Instant::now() + END_TIMEOUT;
    let _ = kill(pid, Signal::SIGTERM);
    // An error means that there is no such child any more.
    while matches!(waitpid(pid, Some(WaitPidFlag::WNOHANG)), Ok(WaitStatus::StillAlive)) {
        if Instant::now() > deadline {
            eprintln!("process {pid} does not end when told to; killing it");
            let _ = kill(pid, Signal::SIGKILL);
            let _ = waitpid(pid, None);
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Runs a bench; cleans up behind it when it is done, fails, panics, or is interrupted.
pub fn run(bench: impl FnOnce() -> Result<(), Box<dyn std::error::Error>>) -> ! {
    let watching = tokio::runtime::Builder::new_current_thread().enable_io().build().map(|runtime| {
        std::thread::spawn(move || {
            runtime.block_on(async {
                use tokio::signal::unix::{SignalKind, signal};
                let (Ok(mut interrupt), Ok(mut terminate)) =
                    (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
                else {
                    return;
                };
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                let _ending = lock(&ENDING);
                clean_up();
                std::process::exit(130);
            });
        })
    });
    if let Err(error) = watching {
        eprintln!("an interruption will leave processes behind: {error}");
    }
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(bench));
    let _ending = lock(&ENDING);
    clean_up();
    std::process::exit(match outcome {
        Ok(Ok(())) => 0,
        Ok(Err(error)) => {
            eprintln!("the bench failed: {error}");
            1
        }
        // What it was, the panic itself has said.
        Err(_) => 101,
    });
}

/// A directory that goes with the bench.
pub fn scratch() -> io::Result<PathBuf> {
    let path = tempfile::Builder::new().prefix("mesos-bench-").tempdir()?.keep();
    lock(&SCRATCH).push(path.clone());
    Ok(path)
}

/// The `mesos` command as it is shipped, beside this bench.
pub fn binary() -> io::Result<PathBuf> {
    // target/release/deps/<this bench>
    let bench = std::env::current_exe()?;
    let path = bench.ancestors().nth(2).unwrap_or(Path::new("target/release")).join("mesos");
    if !path.is_file() {
        let what = format!("there is no {}: build it first, with `cargo build --release`", path.display());
        return Err(io::Error::new(io::ErrorKind::NotFound, what));
    }
    Ok(path)
}

/// The `mesos` command with a clean environment, silent but for errors.
pub fn mesos(arguments: &[&str]) -> io::Result<Command> {
    let mut command = Command::new(binary()?);
    let ours =
        |name: &str| name.to_ascii_uppercase().starts_with("MESOS_") || name.starts_with("LIBPROCESS_");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(ours)) {
        command.env_remove(name);
    }
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
    Ok(command)
}

/// A running daemon.
#[derive(Debug)]
pub struct Daemon {
    pid: Pid,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Daemon {
    fn start(arguments: &[&str], port: u16) -> io::Result<Daemon> {
        let port_flag = format!("--port={port}");
        let mut arguments = arguments.to_vec();
        arguments.extend_from_slice(&["--ip=127.0.0.1", &port_flag, "--logging_level=ERROR"]);
        let child = mesos(&arguments)?.spawn()?;
        let pid = Pid::from_raw(child.id().cast_signed());
        lock(&RUNNING).push(pid);
        Ok(Daemon { pid, address: SocketAddr::from(([127, 0, 0, 1], port)) })
    }

    /// A master with these flags beside its address. Waits until it serves.
    pub fn master(flags: &[&str]) -> io::Result<Daemon> {
        let mut arguments = vec!["master"];
        arguments.extend_from_slice(flags);
        let daemon = Daemon::start(&arguments, free_port()?)?;
        eventually("the master serves", || super::http::get_json(daemon.address, "/slaves").is_ok())?;
        Ok(daemon)
    }

    /// A master that is one of several, with these flags beside its address. Does not wait for anything.
    pub fn one_of_several(flags: &[&str], port: u16) -> io::Result<Daemon> {
        let mut arguments = vec!["master"];
        arguments.extend_from_slice(flags);
        Daemon::start(&arguments, port)
    }

    /// An agent of that master with these flags beside its address. Waits until the master has it.
    pub fn agent(master: &Daemon, flags: &[&str]) -> io::Result<Daemon> {
        let master_flag = format!("--master={}", master.address);
        let mut arguments = vec!["agent", &master_flag, "--registration_backoff_factor=10ms"];
        arguments.extend_from_slice(flags);
        let daemon = Daemon::start(&arguments, free_port()?)?;
        eventually("the agent is registered", || {
            let slaves = super::http::get_json(master.address, "/slaves").unwrap_or_default();
            slaves["slaves"].as_array().is_some_and(|slaves| !slaves.is_empty())
        })?;
        Ok(daemon)
    }

    /// Its resident memory in bytes.
    pub fn resident_bytes(&self) -> io::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        Ok(kib.ok_or_else(|| io::Error::other("the kernel does not say VmRSS"))? * 1024)
    }

    /// Kills it, as a crash does.
    pub fn kill(self) {
        let _ = kill(self.pid, Signal::SIGKILL);
        let _ = waitpid(self.pid, None);
        lock(&RUNNING).retain(|pid| *pid != self.pid);
    }

    /// Ends it now.
    pub fn end(self) {
        end(self.pid);
        lock(&RUNNING).retain(|pid| *pid != self.pid);
    }
}

/// A port that nobody listens at.
pub fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Waits until `reached`, looking every few milliseconds.
pub fn eventually(what: &str, mut reached: impl FnMut() -> bool) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !reached() {
        if Instant::now() > deadline {
            return Err(io::Error::new(io::ErrorKind::TimedOut, format!("not within {PATIENCE:?}: {what}")));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}
