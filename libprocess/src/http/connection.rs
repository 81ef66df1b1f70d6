//! One accepted connection: its bytes handed to the parser request by request, and its patience.
//!
//! The HTTP library has no time limit for a client that stops reading, nor for one that stops in the middle
//! of its second request, and it spins on one that sends far ahead. All of that is seen to here.

use std::cell::{Cell, RefCell};
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::body::Watch;
use super::framing::Framing;
use crate::unhandled::Unhandled;

/// Seconds a client may take for a request's head.
const HEAD_SECS: u32 = 15;
/// Seconds a connection may idle between requests.
const IDLE_SECS: u32 = 120;
/// Seconds a client may take for a body, besides one for each [`BODY_RATE`] bytes.
const BODY_SECS: u32 = 60;
/// Bytes of a body per second below which a client is too slow.
const BODY_RATE: u64 = 16 << 10;
/// Seconds a client may refuse to read while there is something to be read.
const WRITE_SECS: u32 = 60;
/// Bytes of a refused request that are thrown away, so that its sender comes to read the refusal.
const DISCARD: usize = 4 << 20;
/// Bytes of later requests that are taken off the socket while one is being served.
const AHEAD: usize = 16 << 10;

/// Seconds, counted by one task per arbiter.
#[derive(Default)]
pub(crate) struct Ticker {
    now: Cell<u32>,
    connections: RefCell<Vec<Weak<State>>>,
}

impl Ticker {
    /// A second has passed: connections whose time is up end.
    pub(crate) fn tick(&self) {
        let now = self.now.get().saturating_add(1);
        self.now.set(now);
        let mut expired = Vec::new();
        self.connections.borrow_mut().retain(|connection| {
            let Some(connection) = connection.upgrade() else { return false };
            if now >= connection.read_by.get().min(connection.write_by.get()) {
                expired.push(connection);
            }
            true
        });
        for connection in expired {
            connection.doomed.set(true);
            connection.wake();
        }
    }

    /// Wakes everyone, to see that the node is closing.
    pub(crate) fn close_idle(&self) {
        let connections: Vec<_> = self.connections.borrow().iter().filter_map(Weak::upgrade).collect();
        for connection in connections {
            connection.closing.set(true);
            connection.wake();
        }
    }
}

const NEVER: u32 = u32::MAX;

/// What the connection and the requests it carries know of each other.
pub(crate) struct State {
    ticker: Rc<Ticker>,
    framing: Cell<Framing>,
    /// Later requests' bytes wait, or the end of the stream does.
    waiting: Cell<bool>,
    /// A request is being served; what comes meanwhile is not its business.
    serving: Cell<bool>,
    read_by: Cell<u32>,
    write_by: Cell<u32>,
    body_since: Cell<u32>,
    body_read: Cell<u64>,
    /// How much more may be thrown away of a body that nobody reads.
    discard: Cell<Option<usize>>,
    /// The body being streamed.
    stream: RefCell<Option<Watch>>,
    /// To be ended without ceremony.
    doomed: Cell<bool>,
    /// To be ended when no request is being served.
    closing: Cell<bool>,
    /// Of messages of Apache's wire; other requests are handled one at a time.
    pub(crate) unhandled: Arc<Unhandled>,
    waker: RefCell<Option<Waker>>,
}

impl State {
    fn new(ticker: Rc<Ticker>) -> Rc<State> {
        let now = ticker.now.get();
        let state = Rc::new(State {
            framing: Cell::new(Framing::START),
            waiting: Cell::new(false),
            serving: Cell::new(false),
            read_by: Cell::new(now.saturating_add(HEAD_SECS)),
            write_by: Cell::new(NEVER),
            body_since: Cell::new(0),
            body_read: Cell::new(0),
            discard: Cell::new(None),
            stream: RefCell::new(None),
            doomed: Cell::new(false),
            closing: Cell::new(false),
            unhandled: Arc::default(),
            waker: RefCell::new(None),
            ticker: ticker.clone(),
        });
        ticker.connections.borrow_mut().push(Rc::downgrade(&state));
        state
    }

    fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    fn in_secs(&self, secs: u32) -> u32 {
        self.ticker.now.get().saturating_add(secs)
    }

    /// A request's head was read, and a body framed like this follows.
    pub(crate) fn begin(&self, body: Framing) {
        self.serving.set(true);
        self.discard.set(None);
        self.framing.set(body);
        if body == Framing::Done {
            self.read_by.set(NEVER);
        } else {
            self.body_since.set(self.ticker.now.get());
            self.body_read.set(0);
            self.body_progress(0);
            self.wake();
        }
    }

    /// That much more of the body has come.
    pub(crate) fn body_progress(&self, n: usize) {
        let read = self.body_read.get() + n as u64;
        self.body_read.set(read);
        let earned = u32::try_from(read / BODY_RATE).unwrap_or(NEVER);
        self.read_by.set(self.body_since.get().saturating_add(BODY_SECS).saturating_add(earned));
    }

    /// The body is read, or will not be.
    pub(crate) fn body_done(&self) {
        self.read_by.set(NEVER);
    }

    /// The response begins with its head, and the body follows as it is written.
    pub(crate) fn stream(&self, watch: Watch) {
        *self.stream.borrow_mut() = Some(watch);
        self.wake();
    }

    /// The body that is being streamed cannot go on.
    pub(crate) fn doom(&self) {
        self.doomed.set(true);
        self.wake();
    }

    /// The request is answered, and if it was not the `last`, the next may come. What is left of a body that
    /// was not read is thrown away by the parser.
    pub(crate) fn finish(&self, last: bool) {
        self.serving.set(last);
        self.stream.borrow_mut().take();
        let read_all = self.framing.get() == Framing::Done;
        self.discard.set((!read_all).then_some(DISCARD));
        self.read_by.set(self.in_secs(if read_all && !last { IDLE_SECS } else { HEAD_SECS }));
        if self.waiting.get() || self.closing.get() {
            self.wake();
        }
    }

    /// Whether the current request is read to its end.
    pub(crate) fn is_read(&self) -> bool {
        self.framing.get() == Framing::Done
    }
}

/// A socket, read request by request.
pub(crate) struct Connection {
    stream: TcpStream,
    state: Rc<State>,
    /// Read, but of a later request.
    ahead: BytesMut,
    at_end: bool,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream, ticker: Rc<Ticker>) -> Connection {
        Connection { stream, state: State::new(ticker), ahead: BytesMut::new(), at_end: false }
    }

    pub(crate) fn state(&self) -> &Rc<State> {
        &self.state
    }

    /// Ends the connection so that the peer cannot take what it got for all there is.
    fn abort(&self, reason: &str) -> io::Error {
        tracing::debug!(peer = ?self.stream.peer_addr().ok(), reason, "connection cut off");
        // Frees what the kernel still holds for a peer that does not read.
        let _ = self.stream.set_zero_linger();
        io::Error::new(io::ErrorKind::TimedOut, reason.to_owned())
    }

    fn check(&self) -> io::Result<()> {
        if self.state.doomed.get() {
            return Err(self.abort("it took too long"));
        }
        if self.state.stream.borrow().as_ref().is_some_and(Watch::is_cut_off) {
            return Err(self.abort("it does not read what it asked for"));
        }
        if self.state.closing.get() && !self.state.serving.get() {
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the node has shut down"));
        }
        Ok(())
    }

    /// Takes in what comes while a request is being served, to learn of the connection's end.
    fn poll_ahead(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        while !self.at_end && self.ahead.len() < AHEAD {
            let mut bytes = [MaybeUninit::uninit(); 4096];
            let mut bytes = ReadBuf::uninit(&mut bytes);
            match Pin::new(&mut self.stream).poll_read(cx, &mut bytes) {
                Poll::Ready(read) => read?,
                Poll::Pending => break,
            }
            self.at_end = bytes.filled().is_empty();
            self.ahead.extend_from_slice(bytes.filled());
        }
        self.state.waiting.set(self.at_end || !self.ahead.is_empty());
        if self.state.stream.borrow().is_some() && (self.at_end || self.ahead.len() >= AHEAD) {
            // Half a connection is no connection for a stream: there would be no way to see its reader go.
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the client has left the stream"));
        }
        Ok(())
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.check()?;
        {
            let mut waker = this.state.waker.borrow_mut();
            if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                *waker = Some(cx.waker().clone());
            }
        }
        let mut framing = this.state.framing.get();
        if framing == Framing::Done {
            if this.state.serving.get() {
                this.poll_ahead(cx)?;
                return Poll::Pending;
            }
            framing = Framing::START;
        }
        let start = buf.filled().len();
        if !this.ahead.is_empty() {
            let n = this.ahead.len().min(buf.remaining());
            buf.put_slice(&this.ahead[..n]);
            this.ahead.advance(n);
        } else if this.at_end {
            return Poll::Ready(Ok(()));
        } else {
            ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        }
        let read = &buf.filled()[start..];
        if read.is_empty() {
            this.at_end = true;
            return Poll::Ready(Ok(()));
        }
        if framing == Framing::START {
            this.state.read_by.set(this.state.in_secs(HEAD_SECS));
        }
        if let Some(left) = this.state.discard.get() {
            let Some(left) = left.checked_sub(read.len()) else {
                return Poll::Ready(Err(this.abort("it goes on sending what was refused")));
            };
            this.state.discard.set(Some(left));
        }
        let in_head = matches!(framing, Framing::Head { .. });
        let taken = framing.take(read);
        if in_head && framing == Framing::Done {
            // From here on, so that nothing behind the head is read before its meaning is known.
            this.state.serving.set(true);
        }
        if taken < read.len() {
            if this.ahead.is_empty() {
                this.ahead.extend_from_slice(&read[taken..]);
            } else {
                let mut ahead = BytesMut::with_capacity(read.len() - taken + this.ahead.len());
                ahead.extend_from_slice(&read[taken..]);
                ahead.extend_from_slice(&this.ahead);
                this.ahead = ahead;
            }
            buf.set_filled(start + taken);
        }
        this.state.waiting.set(!this.ahead.is_empty());
        this.state.framing.set(framing);
        Poll::Ready(Ok(()))
    }
}

impl Connection {
    /// Notes whether the client takes what it is sent.
    fn written(&self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &result {
            Poll::Pending if self.state.write_by.get() == NEVER => {
                self.state.write_by.set(self.state.in_secs(WRITE_SECS));
            }
            Poll::Ready(_) => self.state.write_by.set(NEVER),
            Poll::Pending => {}
        }
        result
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.state.doomed.get() {
            return Poll::Ready(Err(this.abort("it took too long")));
        }
        let result = Pin::new(&mut this.stream).poll_write(cx, buf);
        this.written(result)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncWriteExt;

    use super::*;

    async fn pair() -> (TcpStream, Connection, Rc<Ticker>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let ticker = Rc::new(Ticker::default());
        let connection = Connection::new(listener.accept().await.unwrap().0, ticker.clone());
        (client, connection, ticker)
    }

    /// What reading gives now; `None` when it would wait.
    async fn read(connection: &mut Connection) -> Option<io::Result<Vec<u8>>> {
        let mut bytes = [0; 65536];
        let mut buf = ReadBuf::new(&mut bytes);
        poll_fn(|cx| {
            Poll::Ready(match Pin::new(&mut *connection).poll_read(cx, &mut buf) {
                Poll::Ready(result) => Some(result.map(|()| buf.filled().to_vec())),
                Poll::Pending => None,
            })
        })
        .await
    }

    async fn read_some(connection: &mut Connection) -> Vec<u8> {
        loop {
            if let Some(bytes) = read(connection).await {
                return bytes.unwrap();
            }
            tokio::task::yield_now().await;
        }
    }

    #[actix_rt::test]
    async fn a_head_that_does_not_end_ends_the_connection() {
        let (mut client, mut connection, ticker) = pair().await;
        client.write_all(b"GET / HT").await.unwrap();
        assert_eq!(read_some(&mut connection).await, b"GET / HT");
        for _ in 1..HEAD_SECS {
            ticker.tick();
        }
        assert!(read(&mut connection).await.is_none());
        ticker.tick();
        assert_eq!(read(&mut connection).await.unwrap().unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[actix_rt::test]
    async fn a_handler_may_take_its_time_and_an_idle_connection_may_not() {
        let (mut client, mut connection, ticker) = pair().await;
        client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        read_some(&mut connection).await;
        let state = connection.state().clone();
        state.begin(Framing::Done);
        for _ in 0..10 * IDLE_SECS {
            ticker.tick();
        }
        assert!(read(&mut connection).await.is_none());
        state.finish(false);
        assert!(read(&mut connection).await.is_none());
        for _ in 0..IDLE_SECS {
            ticker.tick();
        }
        assert!(read(&mut connection).await.unwrap().is_err());
    }

    #[actix_rt::test]
    async fn a_dripping_body_ends_the_connection_and_a_slow_one_does_not() {
        let (mut client, mut connection, ticker) = pair().await;
        client.write_all(b"POST / HTTP/1.1\r\n\r\n").await.unwrap();
        read_some(&mut connection).await;
        let state = connection.state().clone();
        state.begin(Framing::Length(1 << 30));
        for _ in 0..10 * BODY_SECS {
            ticker.tick();
            state.body_progress(2 * BODY_RATE as usize);
        }
        assert!(read(&mut connection).await.is_none());
        state.begin(Framing::Length(1 << 30));
        for _ in 0..BODY_SECS {
            state.body_progress(1);
            ticker.tick();
        }
        assert!(read(&mut connection).await.unwrap().is_err());
    }

    #[actix_rt::test]
    async fn who_does_not_read_is_cut_off() {
        let (_client, mut connection, ticker) = pair().await;
        connection.state().begin(Framing::Done);
        let bytes = vec![0; 1 << 20];
        let mut n_pending = 0;
        // Twice, since the kernel may have made room in between.
        while n_pending < 2 {
            let written =
                poll_fn(|cx| Poll::Ready(Pin::new(&mut connection).poll_write(cx, &bytes).is_pending()));
            n_pending = if written.await { n_pending + 1 } else { 0 };
            tokio::task::yield_now().await;
        }
        for _ in 0..WRITE_SECS {
            ticker.tick();
        }
        assert!(read(&mut connection).await.unwrap().is_err());
    }

    #[actix_rt::test]
    async fn what_is_behind_a_request_waits_until_it_is_answered() {
        let (mut client, mut connection, _ticker) = pair().await;
        client.write_all(b"GET /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n").await.unwrap();
        let state = connection.state().clone();
        assert_eq!(read_some(&mut connection).await, b"GET /a HTTP/1.1\r\n\r\n");
        state.begin(Framing::Done);
        assert!(read(&mut connection).await.is_none());
        state.finish(false);
        assert_eq!(read_some(&mut connection).await, b"GET /b HTTP/1.1\r\n\r\n");
        state.finish(true);
        client.write_all(b"GET /c HTTP/1.1\r\n\r\n").await.unwrap();
        assert!(read(&mut connection).await.is_none(), "nothing is read behind the last request");
    }
}
