//! Process trees: who descends from whom, and how to end a whole tree.
//!
//! Two facts keep a container's tree closed. Its first process adopts the orphans among its descendants
//! (`PR_SET_CHILD_SUBREAPER`), so that whatever they do about sessions, groups and double forks, they stay
//! below it while it lives. And the agent adopts likewise, so that what the first process leaves behind
//! becomes a child of the agent: a child that the agent did not start itself is what is left of a container
//! that has ended.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::process::{Child, Command};
use std::sync::{Mutex, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::{Pid, getpid, getsid};

/// How often the remains of containers are looked for again. Each round kills all there are, so more rounds
/// than a few mean a process that forks faster than it can be killed.
const SWEEP_ROUNDS_MAX: usize = 200;
/// The pause between rounds: the time a killed process takes to vanish.
const SWEEP_PAUSE: Duration = Duration::from_millis(2);

/// The children that this program started as containers, by pid. Pids are reused, hence the token.
static STARTED: Mutex<BTreeMap<u32, u64>> = Mutex::new(BTreeMap::new());
/// Held for reading while a child is started and entered, so that no sweep takes it for a stranger.
static STARTING: RwLock<()> = RwLock::new(());

/// A child that sweeps leave alone, until this is dropped.
#[derive(Debug)]
pub struct Started {
    /// Its pid.
    pub pid: u32,
    token: u64,
}

impl Drop for Started {
    fn drop(&mut self) {
        let mut started = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
        if started.get(&self.pid) == Some(&self.token) {
            started.remove(&self.pid);
        }
    }
}

/// Starts a child that will lead a session of its own, and enters it among those that sweeps leave alone.
pub fn start(command: &mut Command) -> io::Result<(Child, Started)> {
    static TOKENS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let _starting = STARTING.read().unwrap_or_else(PoisonError::into_inner);
    let child = command.spawn()?;
    let token = TOKENS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let pid = child.id();
    STARTED.lock().unwrap_or_else(PoisonError::into_inner).insert(pid, token);
    Ok((child, Started { pid, token }))
}

/// From now on, orphaned descendants become children of this process.
pub fn adopt_orphans() -> io::Result<()> {
    nix::sys::prctl::set_child_subreaper(true).map_err(io::Error::from)
}

fn parse_pids(text: &str) -> impl Iterator<Item = u32> {
    text.split_ascii_whitespace().filter_map(|pid| pid.parse().ok())
}

/// The pids in a directory of `/proc`.
fn pids_in(directory: &str) -> Vec<u32> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Whether the kernel lists the children of a thread.
fn kernel_lists_children() -> bool {
    static LISTS: OnceLock<bool> = OnceLock::new();
    *LISTS.get_or_init(|| {
        let pid = getpid();
        fs::exists(format!("/proc/{pid}/task/{pid}/children")).unwrap_or(false)
    })
}

/// The children of `pid`, zombies included.
pub fn children(pid: u32) -> Vec<u32> {
    if kernel_lists_children() {
        let threads = pids_in(&format!("/proc/{pid}/task"));
        let lists = threads
            .into_iter()
            .filter_map(|thread| fs::read_to_string(format!("/proc/{pid}/task/{thread}/children")).ok());
        return lists.flat_map(|list| parse_pids(&list).collect::<Vec<_>>()).collect();
    }
    pids_in("/proc")
        .into_iter()
        .filter(|child| Stat::of(*child).is_some_and(|stat| stat.parent == pid))
        .collect()
}

/// All that descend from `pid`, parents before children; `pid` itself is not among them.
pub fn descendants(pid: u32) -> Vec<u32> {
    let mut found = children(pid);
    let mut seen: BTreeSet<u32> = found.iter().copied().collect();
    let mut at = 0;
    while let Some(parent) = found.get(at).copied() {
        found.extend(children(parent).into_iter().filter(|child| seen.insert(*child)));
        at += 1;
    }
    found
}

/// What `/proc/<pid>/stat` says of a process.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stat {
    /// Its parent.
    pub parent: u32,
    /// Its session.
    pub session: u32,
    /// `R`, `S`, `Z` and so on.
    pub state: char,
    /// Time in user mode, in clock ticks, with that of children it has waited for.
    pub user_ticks: u64,
    /// Time in the kernel, likewise.
    pub system_ticks: u64,
    /// How many threads it has.
    pub threads: u32,
    /// Its resident pages.
    pub resident_pages: u64,
}

impl Stat {
    /// Reads it; `None` when there is no such process.
    pub fn of(pid: u32) -> Option<Stat> {
        Stat::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    fn parse(text: &str) -> Option<Stat> {
        // The name stands in parentheses and may hold blanks and parentheses itself.
        let fields: Vec<&str> = text[text.rfind(')')? + 1..].split_ascii_whitespace().collect();
        let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
        Some(Stat {
            state: fields.first()?.chars().next()?,
            parent: number(1)? as u32,
            session: number(3)? as u32,
            user_ticks: number(11)? + number(13)?,
            system_ticks: number(12)? + number(14)?,
            threads: number(17)? as u32,
            resident_pages: number(21)?,
        })
    }
}

fn signal(pid: u32, signal: Signal) {
    // What is gone already needs no signal, and what may not be signalled is found by the next round.
    let _ = kill(Pid::from_raw(pid as i32), signal);
}

/// Sends a signal to all that descend from `pid`, but not to itself. Those that fork meanwhile may be missed.
pub fn signal_descendants(pid: u32, with: Signal) {
    for descendant in descendants(pid) {
        signal(descendant, with);
    }
}

/// Kills `top`, a child of this process, and all its descendants. They are stopped first, parents before
/// children, until none is new: a stopped process cannot fork.
///
/// A child keeps its pid until this process has waited for it. A pid that is no child's is somebody else's by
/// now, and is left alone.
pub fn kill_tree(top: u32) {
    if Stat::of(top).is_none_or(|stat| stat.parent != std::process::id()) {
        return;
    }
    signal(top, Signal::SIGSTOP);
    kill_all(top, BTreeSet::from([top]));
}

/// Kills the tree of a child that was started and that sweeps no longer leave alone. A pid that they do leave
/// alone is another container's by now.
pub fn kill_abandoned(top: u32) {
    let _nothing_is_starting = STARTING.write().unwrap_or_else(PoisonError::into_inner);
    if !STARTED.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&top) {
        kill_tree(top);
    }
}

/// Kills all that descend from `pid`, but not itself.
pub fn kill_descendants(pid: u32) {
    kill_all(pid, BTreeSet::new());
}

fn kill_all(top: u32, mut stopped: BTreeSet<u32>) {
    loop {
        let new: Vec<u32> = descendants(top).into_iter().filter(|pid| stopped.insert(*pid)).collect();
        if new.is_empty() {
            break;
        }
        for pid in new {
            signal(pid, Signal::SIGSTOP);
        }
    }
    for pid in stopped {
        signal(pid, Signal::SIGKILL);
    }
}

/// Kills what containers that have ended left behind, and collects it. Whether nothing is left.
///
/// Blocks for as long as the killed take to vanish, milliseconds as a rule.
#[expect(clippy::disallowed_methods, reason = "it runs off the actors")]
pub fn sweep() -> bool {
    let own_session = getsid(None).map_or(0, |session| session.as_raw() as u32);
    for round in 0..SWEEP_ROUNDS_MAX {
        if round > 0 {
            std::thread::sleep(SWEEP_PAUSE);
        }
        let strangers = strangers(own_session);
        if strangers.is_empty() {
            return true;
        }
        for pid in strangers {
            kill_tree(pid);
            match waitpid(Pid::from_raw(pid as i32), Some(WaitPidFlag::WNOHANG)) {
                Ok(_) | Err(Errno::ECHILD) => {}
                Err(error) => tracing::warn!(pid, %error, "cannot collect an orphan"),
            }
        }
    }
    tracing::error!(left = ?strangers(own_session), "orphans of a container withstand being killed");
    false
}

/// The children of this process that it did not start as containers. Whatever else this program may start
/// stays in its own session; a container's processes never are in it.
fn strangers(own_session: u32) -> Vec<u32> {
    let _nothing_is_starting = STARTING.write().unwrap_or_else(PoisonError::into_inner);
    let mut found = children(std::process::id());
    let started = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
    found.retain(|pid| !started.contains_key(pid));
    drop(started);
    found.retain(|pid| Stat::of(*pid).is_some_and(|stat| stat.session != own_session));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_is_read_whatever_the_process_is_called() {
        let line = "42 (a) b) S 7 42 40 0 -1 4194560 500 900 0 0 11 22 33 44 20 0 3 0 12345 9999 77 1844 0";
        let stat = Stat::parse(line).unwrap();
        assert_eq!((stat.parent, stat.session, stat.state), (7, 40, 'S'));
        assert_eq!((stat.user_ticks, stat.system_ticks), (11 + 33, 22 + 44));
        assert_eq!((stat.threads, stat.resident_pages), (3, 77));
        assert_eq!(Stat::parse("42 (x"), None);
    }

    #[test]
    fn nothing_but_a_child_of_this_process_is_killed() {
        let mut child = Command::new("/bin/sh").args(["-c", "sleep 100 & wait"]).spawn().unwrap();
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while descendants(child.id()).is_empty() {
            assert!(std::time::Instant::now() < deadline, "the grandchild never came");
        }
        let grandchild = descendants(child.id())[0];
        kill_tree(grandchild);
        let stat = Stat::of(grandchild).unwrap();
        assert!(!"TZ".contains(stat.state), "it was taken for a child: {stat:?}");
        kill_tree(child.id());
        child.wait().unwrap();
    }

    #[test]
    fn a_grandchild_descends_from_this_process_and_dies_with_its_tree() {
        let mut child = Command::new("/bin/sh").args(["-c", "sleep 100 & wait"]).spawn().unwrap();
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while descendants(child.id()).is_empty() {
            assert!(std::time::Instant::now() < deadline, "the grandchild never came");
        }
        let grandchild = descendants(child.id())[0];
        assert!(descendants(std::process::id()).contains(&grandchild));
        kill_tree(child.id());
        child.wait().unwrap();
        while Stat::of(grandchild).is_some_and(|stat| stat.state != 'Z') {
            assert!(std::time::Instant::now() < deadline, "the grandchild was not killed");
        }
    }
}
