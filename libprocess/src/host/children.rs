//! Learning of the end of child processes.

use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::libc;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use tokio::io::unix::AsyncFd;

/// The raw wait status of `os_pid` once it has ended; `None` when it has ended and is no child of ours.
///
/// The kernel tells by a pidfd, at once; nothing is polled.
pub(crate) async fn reap(os_pid: u32) -> Option<i32> {
    let pid = rustix::process::Pid::from_raw(i32::try_from(os_pid).ok()?)?;
    match rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::NONBLOCK) {
        Ok(fd) => {
            if let Err(error) = ended(fd).await {
                tracing::error!(os_pid, %error, "cannot watch a process");
            }
        }
        Err(rustix::io::Errno::SRCH) => {}
        Err(error) => tracing::error!(os_pid, %error, "cannot open a process to watch it"),
    }
    status(os_pid)
}

async fn ended(fd: OwnedFd) -> std::io::Result<()> {
    // SAFETY: an `OwnedFd` names the same open file for as long as it lives, and the `AsyncFd` owns it.
    let watched = unsafe { AsyncFd::register_with_interest(fd, tokio::io::Interest::READABLE)? };
    watched.readable().await.map(|_| ())
}

/// Collects a child that has ended.
fn status(os_pid: u32) -> Option<i32> {
    let pid = Pid::from_raw(i32::try_from(os_pid).ok()?);
    loop {
        match waitpid(pid, Some(WaitPidFlag::WNOHANG)) {
            Ok(status) => return raw(status),
            Err(Errno::EINTR) => {}
            Err(_) => return None,
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
