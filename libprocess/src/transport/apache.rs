//! Apache's wire, outgoing: every message is an HTTP request, whose response says nothing.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval};

use super::connection::Ended;
use super::outbox::{Outbox, Refused};
use crate::upid::{Address, Upid};

const TICK: Duration = Duration::from_secs(1);
/// How long a connection that no link keeps stays open with nothing to send.
const IDLE_TICKS: u32 = 5;

/// A connection to a node that speaks Apache's wire.
pub(crate) struct ApacheConnection {
    address: Address,
    outbox: Outbox<()>,
    /// Whether a link keeps it open.
    persistent: AtomicBool,
}

/// Appends a message as a request.
fn append_request(out: &mut Vec<u8>, from: &Upid, to: &Upid, name: &str, body: &[u8]) {
    let slash = if to.id().is_empty() { "" } else { "/" };
    let address = to.address();
    // Writing to a Vec does not fail.
    let _ = write!(
        out,
        "POST {slash}{}/{name} HTTP/1.1\r\nUser-Agent: libprocess/{from}\r\nLibprocess-From: {from}\r\n\
         Connection: Keep-Alive\r\nHost: {address}\r\n",
        to.id()
    );
    if body.is_empty() {
        out.extend_from_slice(b"\r\n");
        return;
    }
    let _ = write!(out, "Transfer-Encoding: chunked\r\n\r\n{:x}\r\n", body.len());
    out.extend_from_slice(body);
    out.extend_from_slice(b"\r\n0\r\n\r\n");
}

/// Whether a text can stand in a request line or a header without ending it.
fn is_safe(text: &str) -> bool {
    !text.bytes().any(|byte| byte.is_ascii_control() || byte == b' ')
}

impl ApacheConnection {
    pub(crate) fn new(address: Address, persistent: bool) -> Arc<ApacheConnection> {
        let persistent = AtomicBool::new(persistent);
        Arc::new(ApacheConnection { address, outbox: Outbox::new(()), persistent })
    }

    /// Queues a message; false when the connection is ending and a new one is needed.
    pub(crate) fn send(&self, from: &Upid, to: &Upid, name: &str, body: &[u8]) -> bool {
        if !is_safe(to.id()) || !is_safe(from.id()) || !is_safe(name) {
            tracing::warn!(%to, message = name, "spaces and control characters do not go over HTTP; dropped");
            return true;
        }
        let sent = self.outbox.append(body.len() + 512, |out, ()| append_request(out, from, to, name, body));
        // What a full queue drops is counted there, and logged once a second at most.
        sent != Err(Refused::Closed)
    }

    /// A link keeps the connection from now on; false when it is ending and a new one is needed.
    pub(crate) fn persist(&self) -> bool {
        self.persistent.store(true, Ordering::Release);
        self.outbox.append(0, |_, ()| ()).is_ok()
    }

    pub(crate) fn finish(&self) {
        self.outbox.finish();
    }

    /// Serves the connection until it ends.
    pub(crate) async fn run(&self, mut stream: TcpStream) -> Ended {
        notice_silence(&stream);
        let (mut read, mut write) = stream.split();
        let reader = async {
            let mut answers = vec![0; 16 << 10];
            loop {
                match read.read(&mut answers).await {
                    Ok(0) => return Ended::ByPeer,
                    Ok(_) => {}
                    Err(error) => return Ended::Broken(error),
                }
            }
        };
        let writer = async {
            let mut written = Vec::new();
            while let Some(next) = self.outbox.take(written).await {
                if let Err(error) = write.write_all(&next).await {
                    return Ended::Broken(error);
                }
                written = next;
            }
            // Long enough for the peer to read it: closing with answers unread would reset the connection.
            let _ = write.shutdown().await;
            tokio::time::sleep(TICK).await;
            Ended::ByUs
        };
        let ticker = async {
            let mut ticks = interval(TICK);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let (mut idle, mut ending) = (0, 0);
            loop {
                ticks.tick().await;
                // A peer that reads no more does not keep what is to end.
                ending += u32::from(self.outbox.is_ending());
                if ending > IDLE_TICKS {
                    return Ended::ByUs;
                }
                idle = if self.outbox.was_used() { 0 } else { idle + 1 };
                if idle >= IDLE_TICKS && !self.persistent.load(Ordering::Acquire) {
                    self.outbox.finish_if_unused();
                }
                let n_dropped = self.outbox.take_dropped();
                if n_dropped > 0 {
                    tracing::warn!(peer = %self.address, n_dropped, "the peer does not read; messages dropped");
                }
            }
        };
        let why = tokio::select! {
            biased;
            why = reader => why,
            why = writer => why,
            why = ticker => why,
        };
        self.outbox.close();
        why
    }
}

/// Lets the system probe an idle peer, as Apache's wire has no keepalive of its own: a cut cable breaks the
/// connection within seconds.
fn notice_silence(stream: &TcpStream) {
    use nix::sys::socket::{setsockopt, sockopt};
    let set = || {
        setsockopt(stream, sockopt::KeepAlive, &true)?;
        setsockopt(stream, sockopt::TcpKeepIdle, &2)?;
        setsockopt(stream, sockopt::TcpKeepInterval, &1)?;
        setsockopt(stream, sockopt::TcpKeepCount, &3)?;
        setsockopt(stream, sockopt::TcpUserTimeout, &8_000)
    };
    if let Err(error) = set() {
        tracing::debug!(%error, "the system does not probe idle connections");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(to: &str, body: &[u8]) -> String {
        let from = "slave(1)@10.0.0.2:5051".parse().unwrap();
        let mut out = Vec::new();
        append_request(&mut out, &from, &to.parse().unwrap(), "mesos.internal.Ping", body);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_message_is_this_request() {
        assert_eq!(
            request("scheduler(1)@10.0.0.1:5050", b"0123456789abcdef"),
            "POST /scheduler(1)/mesos.internal.Ping HTTP/1.1\r\n\
             User-Agent: libprocess/slave(1)@10.0.0.2:5051\r\n\
             Libprocess-From: slave(1)@10.0.0.2:5051\r\n\
             Connection: Keep-Alive\r\n\
             Host: 10.0.0.1:5050\r\n\
             Transfer-Encoding: chunked\r\n\r\n\
             10\r\n0123456789abcdef\r\n0\r\n\r\n"
        );
    }

    #[test]
    fn an_empty_message_has_no_body_headers_and_an_empty_id_no_slash_of_its_own() {
        assert_eq!(
            request("@10.0.0.1:5050", b""),
            "POST /mesos.internal.Ping HTTP/1.1\r\n\
             User-Agent: libprocess/slave(1)@10.0.0.2:5051\r\n\
             Libprocess-From: slave(1)@10.0.0.2:5051\r\n\
             Connection: Keep-Alive\r\n\
             Host: 10.0.0.1:5050\r\n\r\n"
        );
    }
}
