//! Bytes on their way into one socket.

use std::future::poll_fn;
use std::task::{Poll, Waker};

use parking_lot::Mutex;

/// The most that may wait for a peer, in bytes; what comes beyond it is dropped.
pub(crate) const MAX_QUEUED: usize = 64 << 20;
/// A buffer that grew beyond this is not kept.
const MAX_KEPT: usize = 1 << 20;

/// Bytes that wait to be written. Whoever sends appends to the buffer; the connection's task writes all there
/// is at once. `T` is what encoding needs besides the buffer.
pub(crate) struct Outbox<T>(Mutex<Inner<T>>);

struct Inner<T> {
    buffer: Vec<u8>,
    encoder: T,
    /// Taken out and being written.
    in_flight: usize,
    /// Set while the writer sleeps.
    waker: Option<Waker>,
    end: End,
    /// Anything appended since the last look.
    used: bool,
    dropped: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Open,
    /// What is queued is still written.
    Finishing,
    Closed,
}

/// Why nothing was appended.
#[derive(Debug, PartialEq)]
pub(crate) enum Refused {
    /// The peer does not read fast enough.
    Full,
    /// The connection has ended.
    Closed,
}

impl<T> Outbox<T> {
    pub(crate) fn new(encoder: T) -> Outbox<T> {
        Outbox(Mutex::new(Inner {
            buffer: Vec::new(),
            encoder,
            in_flight: 0,
            waker: None,
            end: End::Open,
            used: false,
            dropped: 0,
        }))
    }

    /// Appends what `encode` appends, about `size` bytes.
    pub(crate) fn append<R>(
        &self,
        size: usize,
        encode: impl FnOnce(&mut Vec<u8>, &mut T) -> R,
    ) -> Result<R, Refused> {
        let mut inner = self.0.lock();
        let inner = &mut *inner;
        if inner.end != End::Open {
            return Err(Refused::Closed);
        }
        if inner.buffer.len() + inner.in_flight + size > MAX_QUEUED {
            inner.dropped += 1;
            return Err(Refused::Full);
        }
        let result = encode(&mut inner.buffer, &mut inner.encoder);
        inner.used = true;
        if let Some(waker) = inner.waker.take() {
            waker.wake();
        }
        Ok(result)
    }

    /// Waits for bytes and takes them all, giving `written` back as the next buffer; `None` when there will
    /// be no more.
    pub(crate) async fn take(&self, mut written: Vec<u8>) -> Option<Vec<u8>> {
        written.clear();
        if written.capacity() > MAX_KEPT {
            written = Vec::new();
        }
        poll_fn(|cx| {
            let mut inner = self.0.lock();
            inner.in_flight = 0;
            if inner.end == End::Closed {
                return Poll::Ready(None);
            }
            if inner.buffer.is_empty() {
                if inner.end == End::Finishing {
                    return Poll::Ready(None);
                }
                if !inner.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                    inner.waker = Some(cx.waker().clone());
                }
                return Poll::Pending;
            }
            inner.in_flight = inner.buffer.len();
            let taken = std::mem::replace(&mut inner.buffer, std::mem::take(&mut written));
            Poll::Ready(Some(taken))
        })
        .await
    }

    /// Takes nothing more; what is queued is still written.
    pub(crate) fn finish(&self) {
        self.end(End::Finishing);
    }

    /// Takes nothing more and forgets what is queued.
    pub(crate) fn close(&self) {
        self.end(End::Closed);
    }

    fn end(&self, end: End) {
        let mut inner = self.0.lock();
        if inner.end != End::Closed {
            inner.end = end;
        }
        if end == End::Closed {
            inner.buffer = Vec::new();
        }
        if let Some(waker) = inner.waker.take() {
            waker.wake();
        }
    }

    /// Whether it takes nothing more.
    pub(crate) fn is_ending(&self) -> bool {
        self.0.lock().end != End::Open
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.0.lock().end == End::Closed
    }

    /// Ends it if nothing waits in it and nothing was appended since the last look.
    pub(crate) fn finish_if_unused(&self) {
        let mut inner = self.0.lock();
        if inner.end == End::Open && inner.buffer.is_empty() && inner.in_flight == 0 && !inner.used {
            inner.end = End::Finishing;
            if let Some(waker) = inner.waker.take() {
                waker.wake();
            }
        }
    }

    /// Whether anything was appended since the last call.
    pub(crate) fn was_used(&self) -> bool {
        std::mem::take(&mut self.0.lock().used)
    }

    /// How many messages were refused for want of room since the last call.
    pub(crate) fn take_dropped(&self) -> u64 {
        std::mem::take(&mut self.0.lock().dropped)
    }
}
