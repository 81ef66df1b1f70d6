//! Learning of the end of child processes.

use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use tokio::io::unix::AsyncFd;

/// How often a process is looked at that the kernel cannot be asked to tell of: as Mesos does.
const POLL_EVERY: Duration = Duration::from_millis(100);

/// The raw wait status of `os_pid` once it has ended; `None` when it has ended and is no child of ours.
///
/// The kernel tells by a pidfd, at once. Without one, because this process has no file descriptor left, say,
/// it is polled: nobody is told of the end of a process that lives.
pub(crate) async fn reap(os_pid: u32) -> Option<i32> {
    let os_pid = i32::try_from(os_pid).ok()?;
    let pid = rustix::process::Pid::from_raw(os_pid)?;
    let told = match rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::NONBLOCK) {
        Ok(fd) => ended(fd).await,
        Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error.into()),
    };
    if let Err(error) = told {
        tracing::warn!(os_pid, %error, "a process has to be polled for its end");
        return polled(Pid::from_raw(os_pid)).await;
    }
    status(Pid::from_raw(os_pid)).ok().flatten()
}

async fn polled(pid: Pid) -> Option<i32> {
    loop {
        match status(pid) {
            Ok(Some(status)) => return Some(status),
            // Not our child: all there is to ask is whether it is there.
            Err(_) if nix::sys::signal::kill(pid, None) == Err(Errno::ESRCH) => return None,
            Ok(None) | Err(_) => tokio::time::sleep(POLL_EVERY).await,
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
        let pid = Pid::from_raw(child.id() as i32);
        let early = runtime.block_on(async { tokio::time::timeout(3 * POLL_EVERY / 2, polled(pid)).await });
        assert!(early.is_err(), "it still runs");
        drop(child.stdin.take());
        assert_eq!(runtime.block_on(polled(pid)), Some(0));
        assert_eq!(runtime.block_on(polled(pid)), None, "gone, and no child");
        let _ = child.wait();
    }
}
