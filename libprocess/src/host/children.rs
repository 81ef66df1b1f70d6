//! Learning of the end of child processes.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use parking_lot::Mutex;
use tokio::io::unix::AsyncFd;

use crate::future::Promise;

/// How often a process is looked at that the kernel cannot be asked to tell of: as Mesos does.
const POLL_EVERY: Duration = Duration::from_millis(100);

/// Who waits for the end of which process. Children are the whole program's, whichever node asks.
///
/// A status is collected with this locked: whoever asks before that shares it, and whoever asks after that asks
/// anew, as the kernel may have given the number to another process by then.
static WAITING: Mutex<BTreeMap<u32, Vec<Promise<Option<i32>>>>> = Mutex::new(BTreeMap::new());

/// Settles `promise` with the raw wait status of `os_pid` once it has ended; with `None` when it has ended and
/// is no child of ours. To be run to its end by `spawn`, if it is needed: everyone who waits for one process is
/// told at once.
pub(crate) fn reap(os_pid: u32, promise: Promise<Option<i32>>, spawn: impl FnOnce(Watch)) {
    let is_first = {
        let mut waiting = WAITING.lock();
        let promises = waiting.entry(os_pid).or_default();
        promises.push(promise);
        promises.len() == 1
    };
    if is_first {
        spawn(Watch { os_pid, done: false });
    }
}

/// The one that watches a process for all who wait.
pub(crate) struct Watch {
    os_pid: u32,
    done: bool,
}

impl Watch {
    /// The kernel tells by a pidfd, at once. Without one, because this program has no file descriptor left, say,
    /// the process is polled: nobody is told of the end of a process that lives.
    pub(crate) async fn run(mut self) {
        let Some((raw, pid)) =
            i32::try_from(self.os_pid).ok().and_then(|raw| Some((raw, rustix::process::Pid::from_raw(raw)?)))
        else {
            return self.settle(|| Some(None));
        };
        let told = match rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::NONBLOCK) {
            Ok(fd) => ended(fd).await,
            Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        };
        let pid = Pid::from_raw(raw);
        if let Err(error) = told {
            tracing::warn!(os_pid = raw, %error, "a process has to be polled for its end");
            return self.poll(pid).await;
        }
        self.settle(|| Some(status(pid).ok().flatten()));
    }

    async fn poll(&mut self, pid: Pid) {
        loop {
            self.settle(|| match status(pid) {
                Ok(Some(status)) => Some(Some(status)),
                // Not our child: all there is to ask is whether it is there.
                Err(_) if nix::sys::signal::kill(pid, None) == Err(Errno::ESRCH) => Some(None),
                Ok(None) | Err(_) => None,
            });
            if self.done {
                return;
            }
            tokio::time::sleep(POLL_EVERY).await;
        }
    }

    /// Tells everyone who waits, if `collect` has anything to tell.
    fn settle(&mut self, collect: impl FnOnce() -> Option<Option<i32>>) {
        let (status, promises) = {
            let mut waiting = WAITING.lock();
            let Some(status) = collect() else { return };
            self.done = true;
            (status, waiting.remove(&self.os_pid).unwrap_or_default())
        };
        // Unlocked: who is told may ask for another.
        for promise in promises {
            promise.set(status);
        }
    }
}

impl Drop for Watch {
    /// Not run to its end, because its runtime has ended: what was promised is abandoned, and whoever asks next
    /// watches anew.
    fn drop(&mut self) {
        if !self.done {
            let promises = WAITING.lock().remove(&self.os_pid);
            drop(promises);
        }
    }
}

async fn ended(fd: OwnedFd) -> std::io::Result<()> {
    // SAFETY: an `OwnedFd` names the same open file for as long as it lives, and the `AsyncFd` owns it.
    let watched = unsafe { AsyncFd::register_with_interest(fd, tokio::io::Interest::READABLE)? };
    watched.readable().await.map(|_| ())
}

/// Collects a child if it has ended; an error when it is no child of ours.
fn status(pid: Pid) -> Result<Option<i32>, Errno> {
    loop {
        match waitpid(pid, Some(WaitPidFlag::WNOHANG)) {
            Ok(status) => return Ok(raw(status)),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error),
        }
    }
}

/// The status as `wait` gives it in C: exit code in the second byte, signal in the first.
fn raw(status: nix::sys::wait::WaitStatus) -> Option<i32> {
    use nix::sys::wait::WaitStatus;
    const CORE_DUMPED: libc::c_int = 0x80;
    match status {
        WaitStatus::Exited(_, code) => Some(code << 8),
        WaitStatus::Signaled(_, signal, core) => Some(signal as i32 | if core { CORE_DUMPED } else { 0 }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_process_is_polled_until_it_has_ended_and_not_before() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut child = Command::new("/bin/cat").stdin(Stdio::piped()).spawn().unwrap();
        let os_pid = child.id();
        let pid = Pid::from_raw(os_pid as i32);
        let ask = || {
            let (promise, told) = Promise::new();
            let mut watch = None;
            reap(os_pid, promise, |first| watch = Some(first));
            (told, watch)
        };
        let ((first, watch), (second, none)) = (ask(), ask());
        let mut watch = watch.expect("the first to ask is to watch");
        assert!(none.is_none(), "and nobody else");
        let early =
            runtime.block_on(async { tokio::time::timeout(3 * POLL_EVERY / 2, watch.poll(pid)).await });
        assert!(early.is_err(), "it still runs");
        drop(child.stdin.take());
        runtime.block_on(watch.poll(pid));
        for told in [first, second] {
            assert_eq!(told.wait(POLL_EVERY), Ok(Some(0)));
        }
        let (late, watch) = ask();
        runtime.block_on(watch.expect("asked anew").poll(pid));
        assert_eq!(late.wait(POLL_EVERY), Ok(None), "gone, and no child");
        let _ = child.wait();
    }

    #[test]
    fn a_watch_that_is_given_up_abandons_and_the_next_begins_anew() {
        // No process can have it.
        let nobody = u32::MAX;
        let (promise, told) = Promise::new();
        reap(nobody, promise, drop);
        assert_eq!(told.wait(POLL_EVERY), Err(crate::future::WaitError::Abandoned));
        let (promise, told) = Promise::new();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        reap(nobody, promise, |watch| runtime.block_on(watch.run()));
        assert_eq!(told.wait(POLL_EVERY), Ok(None));
    }
}
