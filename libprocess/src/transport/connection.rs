//! One native link: frames both ways over one socket.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval};

use super::frame::{self, Frame, FrameError, Name, Numbered, Numbering};
use super::outbox::{Outbox, Refused};
use super::{TcpTransport, yield_to_worker};
use crate::event::{Event, WireMessage};
use crate::node::NodeInner;
use crate::unhandled::Unhandled;
use crate::upid::{Address, Upid};

const TICK: Duration = Duration::from_millis(500);
/// Ticks without a frame of ours before a keepalive goes out.
const IDLE_TICKS: u32 = 2;
/// Ticks without anything from the peer before it counts as lost: several keepalives.
const SILENT_TICKS: u32 = 8;
/// Ticks that a replaced connection is kept.
const RETIRED_TICKS: u32 = 4;
/// Room made for each read.
const READ: usize = 64 << 10;
/// A body up to this is copied out of the read buffer: whoever keeps it must not keep all of that.
const COPIED: usize = 256;

/// One end of a native link.
pub(crate) struct Connection {
    /// The address the peer is known under here.
    pub(crate) address: Address,
    pub(crate) incarnation: u64,
    /// Whether the peer made the connection.
    pub(crate) accepted: bool,
    outbox: Outbox<Numbering>,
    ended: Notify,
    /// Replaced by another connection, and to be closed once the peer uses that too.
    retired: AtomicBool,
    /// The ids of this node's processes whose end the peer wants to hear of.
    watched: Mutex<BTreeSet<Box<str>>>,
}

/// Why a link ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ended {
    #[error("the peer closed the connection")]
    ByPeer,
    #[error("this side closed the connection")]
    ByUs,
    #[error("nothing came from the peer for {} s", (TICK * SILENT_TICKS).as_secs())]
    Silent,
    #[error("the connection broke: {0}")]
    Broken(#[from] std::io::Error),
    #[error("the peer sent {0}")]
    Garbage(#[from] FrameError),
}

impl Connection {
    pub(crate) fn new(address: Address, incarnation: u64, accepted: bool) -> Arc<Connection> {
        Arc::new(Connection {
            address,
            incarnation,
            accepted,
            outbox: Outbox::new(Numbering::default()),
            ended: Notify::new(),
            retired: AtomicBool::new(false),
            watched: Mutex::default(),
        })
    }

    /// Queues a message.
    pub(crate) fn send(&self, own: Address, from: &Upid, to: &Upid, name: &str, body: &[u8]) {
        let address = (from.address() != own).then(|| from.address());
        let sent = self.outbox.append(body.len() + 64, |out, numbering| {
            numbering.append_message(out, to.id(), (from.id(), address), name, body)
        });
        match sent {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%to, message = name, %error, "dropped"),
            // Counted there, and logged once a second at most.
            Err(Refused::Full) => {}
            Err(Refused::Closed) => tracing::debug!(%to, message = name, "the connection is lost; dropped"),
        }
    }

    /// Asks the peer to tell of the end of its process `id`.
    pub(crate) fn link(&self, id: &str) {
        let _ = self.outbox.append(id.len() + 16, |out, _| frame::append(&Frame::Link(id), out));
    }

    /// Tells the peer that the process `id` of this node has ended.
    pub(crate) fn exited(&self, id: &str) {
        if self.watched.lock().remove(id) {
            let _ = self.outbox.append(id.len() + 16, |out, _| frame::append(&Frame::Exited(id), out));
        }
    }

    pub(crate) fn is_alive(&self) -> bool {
        !self.outbox.is_closed()
    }

    /// Sends what is queued, then closes.
    pub(crate) fn finish(&self) {
        self.outbox.finish();
    }

    /// Closes in a while. The peer learns of the connection that replaces this one by another way than of
    /// the end of this one: ended at once, it would count as lost there.
    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }

    /// Closes at once.
    pub(crate) fn close(&self) {
        self.outbox.close();
        self.ended.notify_one();
    }

    pub(crate) fn watched(&self) -> BTreeSet<Box<str>> {
        std::mem::take(&mut *self.watched.lock())
    }

    /// Serves the connection until it ends; `arrived` is what has been read of it already.
    pub(crate) async fn run(
        self: &Arc<Self>,
        transport: &Arc<TcpTransport>,
        mut stream: TcpStream,
        arrived: BytesMut,
    ) -> Ended {
        let peer_ip = stream.peer_addr().map_or(self.address.ip(), |peer| peer.ip());
        let heard = AtomicBool::new(true);
        // Not read for now, so that the peer cannot be heard.
        let deaf = AtomicBool::new(false);
        let (mut read, mut write) = stream.split();
        let mut receiver = Receiver {
            connection: self.clone(),
            transport: transport.clone(),
            require_ip: transport.require_ip(peer_ip),
            names: Numbered::default(),
            unhandled: Arc::default(),
        };
        let reader = async {
            let mut bytes = arrived;
            loop {
                if let Err(error) = receiver.receive(&mut bytes) {
                    return Ended::from(error);
                }
                if receiver.unhandled.is_full() {
                    tracing::debug!(peer = %self.address, "more than is handled; not read for now");
                    deaf.store(true, Ordering::Relaxed);
                    receiver.unhandled.room().await;
                    heard.store(true, Ordering::Relaxed);
                    deaf.store(false, Ordering::Relaxed);
                }
                if bytes.capacity() - bytes.len() < READ / 4 {
                    bytes.reserve(READ);
                }
                match read.read_buf(&mut bytes).await {
                    Ok(0) => return Ended::ByPeer,
                    Ok(_) => heard.store(true, Ordering::Relaxed),
                    Err(error) => return Ended::Broken(error),
                }
                if bytes.len() == bytes.capacity() {
                    yield_to_worker().await;
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
            // The peer reads to the end, closes in turn, and the reader sees it.
            let _ = write.shutdown().await;
            tokio::time::sleep(TICK * 2).await;
            Ended::ByUs
        };
        let ticker = async {
            let mut ticks = interval(TICK);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let (mut idle, mut silent, mut retired, mut ending) = (0, 0, 0, 0);
            loop {
                ticks.tick().await;
                idle = if self.outbox.was_used() { 0 } else { idle + 1 };
                if idle >= IDLE_TICKS {
                    idle = 0;
                    let _ = self.outbox.append(8, |out, _| frame::append(&Frame::Keepalive, out));
                    self.outbox.was_used();
                }
                let heard = heard.swap(false, Ordering::Relaxed) || deaf.load(Ordering::Relaxed);
                silent = if heard { 0 } else { silent + 1 };
                if silent >= SILENT_TICKS {
                    return Ended::Silent;
                }
                // A peer that reads no more does not keep what is to end.
                ending += u32::from(self.outbox.is_ending());
                if ending > SILENT_TICKS {
                    return Ended::ByUs;
                }
                if self.retired.load(Ordering::Relaxed) {
                    retired += 1;
                    if retired == RETIRED_TICKS {
                        self.outbox.finish();
                    }
                }
                let n_dropped = self.outbox.take_dropped();
                if n_dropped > 0 {
                    tracing::warn!(peer = %self.address, n_dropped, "the peer does not read; messages dropped");
                }
            }
        };
        let ended = async {
            self.ended.notified().await;
            Ended::ByUs
        };
        // In this order: what has arrived is seen before silence is.
        let why = tokio::select! {
            biased;
            why = reader => why,
            why = writer => why,
            why = ended => why,
            why = ticker => why,
        };
        self.outbox.close();
        why
    }
}

/// Takes frames apart and delivers what they hold.
struct Receiver {
    connection: Arc<Connection>,
    transport: Arc<TcpTransport>,
    /// The only IP address senders may have, if that is required.
    require_ip: Option<std::net::IpAddr>,
    names: Numbered<Known>,
    unhandled: Arc<Unhandled>,
}

/// A name that the peer has numbered, and what it stands for as far as it was asked.
struct Known {
    text: Arc<str>,
    /// The process of this node.
    local: Option<Upid>,
    /// The process of the peer's node.
    remote: Option<Upid>,
}

impl Receiver {
    /// Delivers all whole frames in `bytes` and leaves the rest.
    fn receive(&mut self, bytes: &mut BytesMut) -> Result<(), FrameError> {
        loop {
            let end = frame::whole(bytes)?;
            if end == 0 {
                return Ok(());
            }
            let chunk = bytes.split_to(end).freeze();
            // A node that is gone takes no messages.
            let Some(node) = self.transport.node() else { return Ok(()) };
            let mut rest = &chunk[..];
            while let Some(frame) = frame::next(&mut rest)? {
                match frame {
                    Frame::Message(envelope) => self.message(&node, &chunk, &envelope)?,
                    Frame::Keepalive => {}
                    Frame::Forget => self.names.forget(),
                    Frame::Link(id) => self.link(&node, id),
                    Frame::Exited(id) => self.transport.remote_exited(&node, &self.connection, id),
                }
            }
        }
    }

    fn message(
        &mut self,
        node: &NodeInner,
        chunk: &Bytes,
        envelope: &frame::Envelope<'_>,
    ) -> Result<(), FrameError> {
        // All three are learnt before anything is dropped, or the numbers would run apart.
        let to = self.learn(envelope.to)?;
        let from = self.learn(envelope.from)?;
        let name = self.learn(envelope.name)?;
        let from = match envelope.from_address {
            None => self.remote(from, envelope.from),
            Some(address) => {
                let sender = Upid::new(self.text(from, envelope.from), address);
                if self.require_ip.is_some_and(|ip| ip != address.ip().to_canonical()) {
                    tracing::debug!(%sender, peer = %self.connection.address, "not the peer's address; dropped");
                    return Ok(());
                }
                if sender.is_nobody() { Upid::nobody() } else { sender }
            }
        };
        let name = match name {
            Some(number) => self.names.get_mut(number).text.clone(),
            None => self.text(None, envelope.name).into(),
        };
        let Some(to) = self.local(node, to, envelope.to) else {
            tracing::debug!(to = %self.text(to, envelope.to), message = %name, %from, "no such process; dropped");
            return Ok(());
        };
        let body = match envelope.body.len() {
            0 => Bytes::new(),
            1..=COPIED => Bytes::copy_from_slice(envelope.body),
            _ => chunk.slice_ref(envelope.body),
        };
        let held = Some(self.unhandled.hold(body.len()));
        to.post(Event::Wire(Box::new(WireMessage { from, name, body, held })));
        Ok(())
    }

    fn learn(&mut self, name: Name<'_>) -> Result<Option<usize>, FrameError> {
        self.names.learn(name, |text| Known { text: text.into(), local: None, remote: None })
    }

    fn text<'a>(&'a mut self, number: Option<usize>, name: Name<'a>) -> &'a str {
        match (number, name) {
            (Some(number), _) => &self.names.get_mut(number).text,
            (None, Name::Once(text) | Name::New(text)) => text,
            // A known name has its number.
            (None, Name::Known(_)) => "",
        }
    }

    fn remote(&mut self, number: Option<usize>, name: Name<'_>) -> Upid {
        let address = self.connection.address;
        match number {
            Some(number) => {
                let known = self.names.get_mut(number);
                known.remote.get_or_insert_with(|| Upid::new(&*known.text, address)).clone()
            }
            None => Upid::new(self.text(None, name), address),
        }
    }

    fn local(&mut self, node: &NodeInner, number: Option<usize>, name: Name<'_>) -> Option<Upid> {
        let Some(number) = number else { return node.find(self.text(None, name)) };
        let known = self.names.get_mut(number);
        if known.local.as_ref().is_none_or(Upid::has_ended) {
            known.local = node.find(&known.text);
        }
        known.local.clone()
    }

    fn link(&self, node: &NodeInner, id: &str) {
        self.connection.watched.lock().insert(id.into());
        self.transport.watch(id, &self.connection);
        // Only now, so that an end in between is not missed.
        if node.find(id).is_none() {
            self.transport.tell_exited(id);
        }
    }
}
