//! A response body that is written while it is read, with a bound on what waits in between.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::future::{Future, Promise};

/// What may wait for a reader, in bytes. A client that lags further behind is cut off: the alternative is
/// memory without bound, or a process that waits for the slowest of its clients.
const CAPACITY: usize = 8 << 20;

/// Why nothing more can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The client is gone.
    #[error("the reader is gone")]
    Closed,
    /// The client does not read fast enough; it has been cut off.
    #[error("the reader is too slow and was cut off")]
    Full,
}

#[derive(Default)]
struct Pipe {
    chunks: VecDeque<Bytes>,
    waiting: usize,
    writer_gone: bool,
    reader_gone: bool,
    cut_off: bool,
    waker: Option<Waker>,
    closed: Vec<Promise<()>>,
}

/// The end a process writes to. Dropping it ends the body.
#[derive(Debug)]
pub struct BodyWriter(Arc<Mutex<Pipe>>);

/// The end the connection reads from.
#[derive(Debug)]
pub struct BodyReader(Arc<Mutex<Pipe>>);

impl std::fmt::Debug for Pipe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pipe").field("waiting", &self.waiting).finish_non_exhaustive()
    }
}

impl BodyWriter {
    pub(crate) fn new() -> (BodyWriter, BodyReader) {
        let pipe = Arc::new(Mutex::new(Pipe::default()));
        (BodyWriter(pipe.clone()), BodyReader(pipe))
    }

    /// Writes one chunk. The error is final: this body will not be read any further.
    pub fn write(&self, chunk: impl Into<Bytes>) -> Result<(), WriteError> {
        let chunk = chunk.into();
        let mut pipe = self.0.lock();
        if pipe.cut_off {
            return Err(WriteError::Full);
        }
        if pipe.reader_gone {
            return Err(WriteError::Closed);
        }
        if chunk.is_empty() {
            return Ok(());
        }
        // A single chunk beyond the capacity may pass when nothing waits: there is no other way to send it.
        if pipe.waiting > 0 && pipe.waiting + chunk.len() > CAPACITY {
            pipe.cut_off = true;
            pipe.chunks.clear();
            pipe.waiting = 0;
            let (waker, closed) = (pipe.waker.take(), std::mem::take(&mut pipe.closed));
            drop(pipe);
            wake(waker, closed);
            return Err(WriteError::Full);
        }
        pipe.waiting += chunk.len();
        pipe.chunks.push_back(chunk);
        let waker = pipe.waker.take();
        drop(pipe);
        wake(waker, Vec::new());
        Ok(())
    }

    /// Settled when the client is gone or was cut off.
    pub fn closed(&self) -> Future<()> {
        let (promise, future) = Promise::new();
        let mut pipe = self.0.lock();
        if pipe.reader_gone || pipe.cut_off {
            drop(pipe);
            promise.set(());
        } else {
            pipe.closed.push(promise);
        }
        future
    }

    /// Whether the client is gone or was cut off.
    pub fn is_closed(&self) -> bool {
        let pipe = self.0.lock();
        pipe.reader_gone || pipe.cut_off
    }
}

fn wake(waker: Option<Waker>, closed: Vec<Promise<()>>) {
    if let Some(waker) = waker {
        waker.wake();
    }
    for promise in closed {
        promise.set(());
    }
}

impl Drop for BodyWriter {
    fn drop(&mut self) {
        let mut pipe = self.0.lock();
        pipe.writer_gone = true;
        let (waker, _closed) = (pipe.waker.take(), std::mem::take(&mut pipe.closed));
        drop(pipe);
        wake(waker, Vec::new());
    }
}

/// The body was cut off in the middle: the connection must not end it as if it were whole.
#[derive(Debug, thiserror::Error)]
#[error("the body was cut off because its reader was too slow")]
pub struct CutOff;

/// Tells whether a body was cut off, to whoever does not read it at the moment.
#[derive(Debug)]
pub(crate) struct Watch(Arc<Mutex<Pipe>>);

impl Watch {
    pub(crate) fn is_cut_off(&self) -> bool {
        self.0.lock().cut_off
    }
}

impl BodyReader {
    pub(crate) fn watch(&self) -> Watch {
        Watch(self.0.clone())
    }

    /// The next chunk; `None` at the end.
    pub(crate) fn poll_chunk(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, CutOff>>> {
        let mut pipe = self.0.lock();
        if pipe.cut_off {
            return Poll::Ready(Some(Err(CutOff)));
        }
        // Kept even with a chunk at hand: whoever cuts the body off has to be heard while that one is sent.
        if !pipe.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            pipe.waker = Some(cx.waker().clone());
        }
        if let Some(chunk) = pipe.chunks.pop_front() {
            pipe.waiting -= chunk.len();
            return Poll::Ready(Some(Ok(chunk)));
        }
        if pipe.writer_gone {
            return Poll::Ready(None);
        }
        Poll::Pending
    }
}

impl futures_util::Stream for BodyReader {
    type Item = Result<Bytes, CutOff>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_chunk(cx)
    }
}

impl Drop for BodyReader {
    fn drop(&mut self) {
        let mut pipe = self.0.lock();
        pipe.reader_gone = true;
        pipe.chunks.clear();
        pipe.waiting = 0;
        let closed = std::mem::take(&mut pipe.closed);
        drop(pipe);
        wake(None, closed);
    }
}
