//! Accepting connections, and giving each to the protocol it speaks.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_http::HttpService;
use actix_http::KeepAlive;
use actix_service::{Service, ServiceFactory, fn_service, map_config};
use actix_web::App;
use actix_web::dev::{AppConfig, ServiceRequest};
use nix::sys::socket::{Backlog, listen, setsockopt, sockopt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};

use super::connection::{Connection, State, Ticker};
use super::dispatch::answer;
use super::respond::{Wanted, respond};
use crate::future::{Future, Promise};
use crate::host::runtime::Runtime;
use crate::node::NodeInner;
use crate::transport;

/// Connections the kernel completes ahead of us.
const BACKLOG: i32 = 4096;
/// How a native link begins.
const LINK: &[u8] = b"GET /__link__ ";
/// How long a new connection may say nothing.
const FIRST_BYTES: Duration = Duration::from_secs(30);
/// Seconds a client has to take an answer that it got before it had sent all of its request.
const LINGER: Duration = Duration::from_secs(5);
/// Seconds that answers under way are given when the node shuts down.
const FAREWELL: Duration = Duration::from_secs(2);
/// The pause after a failure to accept: out of file descriptors, most likely, and trying again at once
/// would only burn the processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A listening node's way to stop.
pub(crate) struct Serving {
    stop: watch::Sender<bool>,
    stopped: Option<Future<()>>,
}

impl Serving {
    /// Closes the port and the connections; settled when the port is free.
    pub(crate) fn stop(mut self) -> Future<()> {
        self.stop.send_replace(true);
        self.stopped.take().unwrap_or_else(|| Future::ready(()))
    }
}

/// Accepts connections for a node, spread over the arbiters of its runtime.
pub(crate) fn serve(node: &Arc<NodeInner>, runtime: &Runtime, listener: TcpListener) -> Serving {
    let (stop, stopping) = watch::channel(false);
    let (promise, stopped) = Promise::new();
    if let Err(error) = Backlog::new(BACKLOG).and_then(|backlog| listen(&listener, backlog)) {
        tracing::debug!(%error, "the queue of new connections stays short");
    }
    let mut doors = Vec::new();
    for index in 0..runtime.n_workers() {
        let (door, accepted) = mpsc::unbounded_channel();
        let (node, stopping) = (node.clone(), stopping.clone());
        runtime.arbiter(index).spawn_fn(move || {
            actix_rt::spawn(serve_here(node, accepted, stopping));
        });
        doors.push(door);
    }
    runtime.arbiter(0).spawn(async move {
        accept(listener, doors, stopping).await;
        promise.set(());
    });
    Serving { stop, stopped: Some(stopped) }
}

type Accepted = (std::net::TcpStream, SocketAddr);

async fn accept(
    listener: TcpListener,
    doors: Vec<mpsc::UnboundedSender<Accepted>>,
    mut stopping: watch::Receiver<bool>,
) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "cannot listen");
            return;
        }
    };
    for next in 0usize.. {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopping.wait_for(|stop| *stop) => return,
        };
        let accepted = accepted.and_then(|(stream, peer)| {
            prepare(&stream);
            Ok((stream.into_std()?, peer))
        });
        match accepted {
            // A closed door means that its arbiter is gone, and the program with it.
            Ok(accepted) => drop(doors[next % doors.len()].send(accepted)),
            Err(error) => {
                tracing::warn!(%error, "could not accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// What sockets should be like; a system that refuses one of these still works.
fn prepare(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    // A peer whose cable was cut is noticed by a stream that has nothing to say, too.
    let fd = stream.as_fd();
    let _ = setsockopt(&fd, sockopt::KeepAlive, &true);
    let _ = setsockopt(&fd, sockopt::TcpKeepIdle, &15);
    let _ = setsockopt(&fd, sockopt::TcpKeepInterval, &5);
    let _ = setsockopt(&fd, sockopt::TcpKeepCount, &3);
}

/// Serves the connections of one arbiter.
async fn serve_here(
    node: Arc<NodeInner>,
    mut accepted: mpsc::UnboundedReceiver<Accepted>,
    stopping: watch::Receiver<bool>,
) {
    let ticker = Rc::new(Ticker::default());
    actix_rt::spawn(tick(ticker.clone(), stopping.clone()));
    let answering = node.clone();
    let app = App::new().default_service(fn_service(move |mut request: ServiceRequest| {
        let node = answering.clone();
        async move {
            let Some(state) = request.conn_data::<Rc<State>>().cloned() else {
                let error = "a connection without its state";
                return Err(actix_web::error::ErrorInternalServerError(error));
            };
            let payload = actix_web::HttpMessage::take_payload(&mut request);
            let wanted = Wanted::by(request.head());
            let response = answer(node, &state, request.head_mut(), payload).await;
            let response = respond(&state, response, wanted).await;
            Ok(request.into_response(response))
        }
    }));
    let http = HttpService::build()
        .keep_alive(KeepAlive::Os)
        .client_request_timeout(Duration::ZERO)
        .client_disconnect_timeout(LINGER)
        .on_connect_ext(|connection: &Connection, extensions| {
            extensions.insert(connection.state().clone());
        })
        .h1(map_config(app, |_| AppConfig::default()));
    let http = match http.new_service(()).await {
        Ok(http) => Rc::new(http),
        Err(()) => {
            tracing::error!("the HTTP service did not start");
            return;
        }
    };
    while let Some((stream, peer)) = accepted.recv().await {
        let stream = match TcpStream::from_std(stream) {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection was lost");
                continue;
            }
        };
        let (node, http, ticker, mut stopping) =
            (node.clone(), http.clone(), ticker.clone(), stopping.clone());
        actix_rt::spawn(async move {
            let native = tokio::select! {
                native = tokio::time::timeout(FIRST_BYTES, is_link(&stream)) => native,
                _ = stopping.wait_for(|stop| *stop) => return,
            };
            match native {
                Ok(Ok(true)) => transport::accept_native(node, stream).await,
                Ok(Ok(false)) => {
                    drop(node);
                    let served = http.call((Connection::new(stream, ticker), Some(peer)));
                    let served = tokio::select! {
                        served = served => served,
                        () = farewell(stopping) => return,
                    };
                    if let Err(error) = served {
                        tracing::debug!(%peer, %error, "a connection ended");
                    }
                }
                // It said nothing, or left.
                Ok(Err(_)) | Err(_) => {}
            }
        });
    }
}

/// Whether a native link begins here; nothing is taken off the stream.
async fn is_link(stream: &TcpStream) -> std::io::Result<bool> {
    let mut first = [0; LINK.len()];
    let mut seen = 0;
    loop {
        let n = stream.peek(&mut first).await?;
        if n == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if n == LINK.len() || !LINK.starts_with(&first[..n]) {
            return Ok(first == LINK);
        }
        if n == seen {
            // There is no waiting for more than was there before.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        seen = n;
    }
}

async fn farewell(mut stopping: watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stop| *stop).await;
    tokio::time::sleep(FAREWELL).await;
}

async fn tick(ticker: Rc<Ticker>, mut stopping: watch::Receiver<bool>) {
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            _ = seconds.tick() => ticker.tick(),
            _ = stopping.wait_for(|stop| *stop) => {
                ticker.close_idle();
                return;
            }
        }
    }
}
