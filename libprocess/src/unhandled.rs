//! What has come over one connection and has not been handled yet.
//!
//! A process's queue takes what it is given. So that a peer cannot fill it without end, each connection counts
//! the messages it has brought, and is not read while they are too many; then it is the peer's own buffers that
//! fill. What is sent within a node is not counted.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use futures_util::task::AtomicWaker;

/// A connection is read no more when so many bytes of its messages are unhandled. The last read, one frame or
/// one request at most, goes beyond it.
const MAX: usize = 64 << 20;
/// It is read again when there are no more than so many: not for every single message that is handled.
const RESUME: usize = MAX / 2;
/// What a message takes in memory besides its body, and so the least it counts.
const OVERHEAD: usize = 256;

/// The count of one connection.
#[derive(Default)]
pub(crate) struct Unhandled {
    bytes: AtomicUsize,
    reader: AtomicWaker,
}

impl Unhandled {
    /// Counts a message with a body of that size until what this returns is dropped.
    pub(crate) fn hold(self: &Arc<Self>, body: usize) -> Held {
        let size = body + OVERHEAD;
        self.bytes.fetch_add(size, Ordering::Relaxed);
        Held { of: self.clone(), size }
    }

    /// Whether the connection is to be read no more for now.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) > MAX
    }

    /// Waits, if it is full, until it is half empty. Only one may wait, the connection's reader.
    pub(crate) async fn room(&self) {
        if !self.is_full() {
            return;
        }
        poll_fn(|cx| {
            // Before the look, so that what is handled in between is not missed.
            self.reader.register(cx.waker());
            if self.bytes.load(Ordering::Relaxed) <= RESUME { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

/// One message that is counted. Dropped when it has been handled, or with the queue it waits in.
pub(crate) struct Held {
    of: Arc<Unhandled>,
    size: usize,
}

impl Drop for Held {
    fn drop(&mut self) {
        let before = self.of.bytes.fetch_sub(self.size, Ordering::Relaxed);
        if before > RESUME && before - self.size <= RESUME {
            self.of.reader.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn it_is_full_beyond_its_bound_and_has_room_again_at_half() {
        let unhandled = Arc::new(Unhandled::default());
        let body = (1 << 20) - OVERHEAD;
        let mut held: Vec<_> = (0..64).map(|_| unhandled.hold(body)).collect();
        assert!(!unhandled.is_full());
        assert_eq!(unhandled.room().now_or_never(), Some(()));
        held.push(unhandled.hold(0));
        assert!(unhandled.is_full());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut room = pin!(unhandled.room());
            assert_eq!(room.as_mut().now_or_never(), None);
            held.truncate(33);
            assert_eq!(room.as_mut().now_or_never(), None, "33 MiB are left");
            let handled = std::thread::spawn(move || held.truncate(32));
            room.await;
            handled.join().unwrap();
        });
        assert_eq!(unhandled.bytes.load(Ordering::Relaxed), 0);
    }
}
