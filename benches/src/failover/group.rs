//! A storm on a group of three masters, and what it leaves of heartbeats between them and of pings to agents that
//! are there already.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use libprocess::Upid;
use serde_json::Value;

use super::agents::Fleet;
use super::storm::{LOOK, Storm, looked_at};
use super::{Result, registry};
use crate::daemons::{Daemon, eventually, free_port};
use crate::http::{Connection, get_json};

/// So many of the agents are there, and pinged, before the others come.
const N_EARLY: usize = 1_000;
/// How often every agent is pinged.
pub const PING_EVERY: Duration = Duration::from_secs(2);

/// What one came to.
pub struct Figures {
    /// From the first re-registration sent to the last acknowledged.
    pub seconds: f64,
    /// The longest that the leader had not heard from another master, in milliseconds.
    pub longest_unheard_ms: f64,
    /// The longest between two pings of an agent that was there before, in seconds.
    pub longest_unpinged_seconds: f64,
    /// The longest between two answers of the leader to who belongs to the group, in milliseconds.
    pub worst_gap_ms: f64,
}

/// The masters are processes, and the agents in this one. It is an error if the leader loses its term, or any agent.
pub fn in_a_group(storm: Storm, work: &Path) -> Result<Figures> {
    let work_dir = tempfile::tempdir_in(work)?;
    let group = Group::start(work_dir.path(), storm.n_agents)?;
    let leader = Upid::new(master::PROCESS_ID, group.leader());
    let early = Fleet::start(&leader, 10, 0..N_EARLY, storm.n_tasks)?;
    let late = Fleet::start(&leader, storm.n_nodes, N_EARLY..storm.n_agents, storm.n_tasks)?;
    eventually("every node is linked to the leader", || early.is_linked() && late.is_linked())?;
    early.reregister();
    eventually("the first agents are acknowledged", || early.n_acknowledged() == early.len())?;
    eventually("they are pinged", || early.board.n_pinged.load(Ordering::Relaxed) >= 2 * early.len())?;
    let longest_unpinged =
        || Duration::from_micros(early.board.longest_unpinged_us.load(Ordering::Relaxed)).as_secs_f64();
    let mut connection = Connection::open(group.leader())?;
    let before = Standing::ask(&mut connection)?;
    let (mut longest_unheard_ms, mut worst_gap_ms) = (0.0f64, 0.0f64);
    let start = Instant::now();
    let others_come = || {
        late.reregister();
        eventually("every agent is acknowledged", || late.n_acknowledged() == late.len())?;
        Ok(start.elapsed().as_secs_f64())
    };
    let seconds = looked_at(others_come, || {
        let asked = Instant::now();
        let now = Standing::ask(&mut connection)?;
        worst_gap_ms = worst_gap_ms.max((asked.elapsed() + LOOK).as_secs_f64() * 1e3);
        longest_unheard_ms = longest_unheard_ms.max(now.longest_unheard_ms);
        if (now.term, &now.leader) != (before.term, &before.leader) {
            let what =
                format!("{} led in term {}, {} in {}", before.leader, before.term, now.leader, now.term);
            return Err(io::Error::other(what));
        }
        Ok(())
    })?;
    // Those who were pinged last before the storm are pinged again by then, or too late.
    let pinged = early.board.n_pinged.load(Ordering::Relaxed);
    eventually("the first agents are pinged on", || {
        early.board.n_pinged.load(Ordering::Relaxed) >= pinged + 2 * early.len()
    })?;
    let metrics = get_json(group.leader(), "/metrics/snapshot")?;
    let (active, lost) = (&metrics["master/slaves_active"], &metrics["master/slave_removals"]);
    if (active.as_f64(), lost.as_f64()) != (Some(storm.n_agents as f64), Some(0.0)) {
        return Err(format!("{active} of {} agents are there, {lost} were removed", storm.n_agents).into());
    }
    let longest_unpinged_seconds = longest_unpinged();
    group.end();
    early.end();
    late.end();
    Ok(Figures { seconds, longest_unheard_ms, longest_unpinged_seconds, worst_gap_ms })
}

/// What the leader says of its group.
struct Standing {
    term: u64,
    leader: String,
    longest_unheard_ms: f64,
    n_voters: usize,
    /// The others have all the log.
    level: bool,
}

impl Standing {
    fn ask(connection: &mut Connection) -> io::Result<Standing> {
        let mut body = Vec::new();
        connection.get("/master/masters", &mut body)?;
        let group: Value = serde_json::from_slice(&body)?;
        let members = group["masters"].as_array().map(Vec::as_slice).unwrap_or_default();
        let heard = |it: &Value| it["heard_ms_ago"].as_f64();
        let last = members.iter().filter_map(|it| it["matched"].as_u64()).max();
        Ok(Standing {
            term: group["term"].as_u64().unwrap_or_default(),
            leader: group["leader"].as_str().unwrap_or("nobody").to_owned(),
            longest_unheard_ms: members.iter().filter_map(heard).fold(0.0, f64::max),
            n_voters: members.iter().filter(|it| it["voter"] == true).count(),
            level: members.iter().all(|it| it["matched"].as_u64() == last),
        })
    }
}

/// Three masters. The first has a registry from before, and takes the others in.
struct Group(Vec<Daemon>);

impl Group {
    fn start(work: &Path, n_agents: usize) -> Result<Group> {
        registry::prepare(&work.join("0").join("registry"), n_agents)?;
        let ports = [free_port()?, free_port()?, free_port()?];
        let list = ports.map(|port| format!("127.0.0.1:{port}"));
        let ping = format!("--agent_ping_timeout={}secs", PING_EVERY.as_secs());
        let mut group = Group(Vec::new());
        for (n, port) in ports.iter().enumerate() {
            let masters = format!("--masters={}", list.join(","));
            let work_dir = format!("--work_dir={}", work.join(n.to_string()).display());
            group.0.push(Daemon::one_of_several(&[&masters, &work_dir, &ping], *port)?);
        }
        eventually("the first master leads", || {
            let metrics = get_json(group.leader(), "/metrics/snapshot").unwrap_or_default();
            metrics["master/elected"].as_f64() == Some(1.0)
        })?;
        for (n, master) in list.iter().enumerate().skip(1) {
            group.add(master)?;
            eventually("the master is one of the group", || {
                group.ask().is_ok_and(|it| it.n_voters == n + 1 && it.level)
            })?;
        }
        Ok(group)
    }

    fn leader(&self) -> SocketAddr {
        self.0[0].address
    }

    fn ask(&self) -> io::Result<Standing> {
        Standing::ask(&mut Connection::open(self.leader())?)
    }

    fn add(&self, master: &str) -> io::Result<()> {
        let mut connection = Connection::open(self.leader())?;
        connection.post(&format!("/master/masters/add?master={master}"), &[], b"")?;
        let mut body = Vec::new();
        match connection.read_response(&mut body)?.status {
            200 => Ok(()),
            _ => Err(io::Error::other(format!("{master}: {}", String::from_utf8_lossy(&body)))),
        }
    }

    /// The standbys first, or one would take the lead.
    fn end(self) {
        self.0.into_iter().rev().for_each(Daemon::kill);
    }
}
