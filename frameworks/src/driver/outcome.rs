//! How a driver ended, and waiting for it.

use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use libprocess::Future;

/// How a driver ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was told to stop.
    Stopped,
    /// It was told to abort, or gave up: then with the reason.
    Aborted(Option<String>),
}

/// Whoever waits for a driver's end.
pub(super) struct Ending {
    receiver: Mutex<Receiver<Outcome>>,
}

impl Ending {
    pub(super) fn of(outcome: Future<Outcome>) -> Ending {
        let (sender, receiver) = channel();
        outcome.settled(move |outcome| {
            // Nobody waits any more when the driver's handle is gone.
            let _ = sender.send(outcome.unwrap_or_else(|_| Outcome::Aborted(Some(GONE.to_owned()))));
        });
        Ending { receiver: Mutex::new(receiver) }
    }

    /// Blocks until the end.
    pub(super) fn wait(&self) -> Outcome {
        let receiver = self.receiver.lock().unwrap_or_else(PoisonError::into_inner);
        receiver.recv().unwrap_or_else(|_| Outcome::Aborted(Some(GONE.to_owned())))
    }

    /// Blocks until the end or the timeout.
    pub(super) fn wait_for(&self, at_most: Duration) -> Option<Outcome> {
        let receiver = self.receiver.lock().unwrap_or_else(PoisonError::into_inner);
        match receiver.recv_timeout(at_most) {
            Ok(outcome) => Some(outcome),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Outcome::Aborted(Some(GONE.to_owned()))),
        }
    }
}

const GONE: &str = "the driver's process has ended";
