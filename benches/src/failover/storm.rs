//! A master that has just taken over, and all its agents at once.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use libprocess::{Node, Runtime, Upid};

use super::agents::Fleet;
use super::pulse::Pulse;
use super::{Result, processor_seconds, registry};
use crate::daemons::{Daemon, eventually};
use crate::http::Connection;

/// How large a storm is.
#[derive(Clone, Copy)]
pub struct Storm {
    /// Agents.
    pub n_agents: usize,
    /// Tasks that run on each.
    pub n_tasks: usize,
    /// Nodes that the agents are on: so many connections.
    pub n_nodes: usize,
}

/// What one cost.
pub struct Figures {
    /// From the first re-registration sent to the last acknowledged.
    pub seconds: f64,
    /// Processor time of this process then.
    pub processor_seconds: f64,
    /// The longest that a process on the master's workers waited for its turn.
    pub worst_gap_ms: f64,
    /// How often an agent was told to come back later.
    pub n_sent_back: usize,
    /// The resident memory of the master then, in bytes, where it is a process of its own.
    pub resident_bytes: Option<u64>,
}

/// Everything in this process: a master on its node, the agents on theirs.
pub fn in_one_process(storm: Storm, work: &Path) -> Result<Figures> {
    let work_dir = tempfile::tempdir_in(work)?;
    registry::prepare(&work_dir.path().join("registry"), storm.n_agents)?;
    let runtime = Runtime::new(2)?;
    let node = Node::builder()
        .listen("127.0.0.1:0")
        .runtime(runtime.clone())
        .delegate(master::PROCESS_ID)
        .start()?;
    let flags = master::Flags { work_dir: Some(work_dir.path().to_owned()), ..Default::default() };
    let master = master::start(&node, flags)?;
    let address = Upid::new(master::PROCESS_ID, node.address());
    let fleet = Fleet::start(&address, storm.n_nodes, 0..storm.n_agents, storm.n_tasks)?;
    let mut n_recovered = None;
    let recovered = eventually("the master has read its registry", || {
        let look = master.pid.dispatch(|it, _| it.recovered_agents().len());
        n_recovered = look.wait(Duration::from_secs(9)).ok();
        n_recovered.is_none_or(|n| n == storm.n_agents)
    });
    if n_recovered.is_none() {
        return Err(master.fatal.wait(Duration::from_secs(1))?.into());
    }
    recovered?;
    eventually("every node is linked to the master", || fleet.is_linked())?;
    let pulse = Pulse::start(&node, &runtime)?;
    let processor_before = processor_seconds();
    pulse.worst_ms();
    let start = Instant::now();
    fleet.reregister();
    eventually("every agent is acknowledged", || fleet.n_acknowledged() == storm.n_agents)?;
    let seconds = start.elapsed().as_secs_f64();
    let figures = Figures {
        seconds,
        processor_seconds: processor_seconds() - processor_before,
        worst_gap_ms: pulse.worst_ms(),
        n_sent_back: fleet.board.n_sent_back.load(Ordering::Relaxed),
        resident_bytes: None,
    };
    let checked = master.pid.dispatch(|it, _| it.n_agents()).wait(Duration::from_secs(60))?;
    if checked != storm.n_agents {
        return Err(format!("the master has {checked} agents, not {}", storm.n_agents).into());
    }
    // Before its agents, whose loss would keep it busy.
    node.shutdown().wait(Duration::from_secs(60))?;
    fleet.end();
    Ok(figures)
}

/// The master as it is shipped, a process of its own; the agents in this one. The gap is that between an answer
/// to `/health` and the next, asked for every 2 ms.
pub fn with_a_process(storm: Storm, work: &Path) -> Result<Figures> {
    let work_dir = tempfile::tempdir_in(work)?;
    registry::prepare(&work_dir.path().join("registry"), storm.n_agents)?;
    let master = Daemon::master(&[&format!("--work_dir={}", work_dir.path().display())])?;
    let address = Upid::new(master::PROCESS_ID, master.address);
    let fleet = Fleet::start(&address, storm.n_nodes, 0..storm.n_agents, storm.n_tasks)?;
    eventually("every node is linked to the master", || fleet.is_linked())?;
    let mut connection = Connection::open(master.address)?;
    let (mut worst_gap_ms, mut body) = (0.0f64, Vec::new());
    let start = Instant::now();
    let storm = || {
        fleet.reregister();
        eventually("every agent is acknowledged", || fleet.n_acknowledged() == storm.n_agents)?;
        Ok(start.elapsed().as_secs_f64())
    };
    let seconds = looked_at(storm, || {
        let asked = Instant::now();
        connection.get("/health", &mut body)?;
        worst_gap_ms = worst_gap_ms.max((asked.elapsed() + LOOK).as_secs_f64() * 1e3);
        Ok(())
    })?;
    let figures = Figures {
        seconds,
        processor_seconds: f64::NAN,
        worst_gap_ms,
        n_sent_back: fleet.board.n_sent_back.load(Ordering::Relaxed),
        resident_bytes: Some(master.resident_bytes()?),
    };
    master.kill();
    fleet.end();
    Ok(figures)
}

/// How long it is from one look at a storm to the next.
pub(super) const LOOK: Duration = Duration::from_millis(2);

/// What `storm` comes to; while it lasts, and once at the least, somebody has a `look` every now and then.
pub(super) fn looked_at<T>(
    storm: impl FnOnce() -> Result<T>,
    mut look: impl FnMut() -> io::Result<()> + Send,
) -> Result<T> {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let looking = scope.spawn(|| -> io::Result<()> {
            loop {
                look()?;
                if done.load(Ordering::Relaxed) {
                    return Ok(());
                }
                std::thread::sleep(LOOK);
            }
        });
        let outcome = storm();
        done.store(true, Ordering::Relaxed);
        looking.join().map_err(|_| "who looked at it panicked")??;
        outcome
    })
}
