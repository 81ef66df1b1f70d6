//! One file for each subcommand.

pub(crate) mod agent;
mod chaos;
mod cluster;
pub(crate) mod execute;
mod framework;
pub(crate) mod internal;
pub(crate) mod local;
pub(crate) mod master;
pub(crate) mod masters;
pub(crate) mod particles;
pub(crate) mod pi;

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use libprocess::{Future, Node, Promise};

use crate::cli::ListenFlags;
use crate::version;

/// How long a node may take to end its processes.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// A node that listens as the flags say.
fn node(listen: &ListenFlags, port: u16, delegate: &str) -> anyhow::Result<Node> {
    let ip = listen.ip.unwrap_or(IpAddr::from([0, 0, 0, 0]));
    let mut builder = Node::builder().listen(SocketAddr::new(ip, port).to_string()).delegate(delegate);
    if listen.advertise_ip.is_some() || listen.advertise_port.is_some() {
        let Some(ip) = listen.advertise_ip.or(listen.ip) else {
            anyhow::bail!("--advertise_port needs --advertise_ip, or --ip, to go with it")
        };
        builder = builder.advertise(SocketAddr::new(ip, listen.advertise_port.unwrap_or(port)));
    }
    let node = builder.start()?;
    version::serve(&node)?;
    Ok(node)
}

/// Settled by the first Ctrl-C or SIGTERM. The second ends the program there and then.
fn interrupted() -> anyhow::Result<Future<()>> {
    static OBEYING: AtomicBool = AtomicBool::new(false);
    let (promise, future) = Promise::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let mut promise = Some(promise);
        runtime.block_on(async move {
            use tokio::signal::unix::{SignalKind, signal};
            let (Ok(mut interrupt), Ok(mut terminate)) =
                (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
            else {
                return;
            };
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if OBEYING.swap(true, Ordering::SeqCst) {
                    std::process::exit(130);
                }
                if let Some(promise) = promise.take() {
                    promise.set(());
                }
            }
        });
    })?;
    Ok(future)
}

/// Blocks until the future is settled, however long that takes.
fn wait_for<T: Send + 'static>(future: Future<T>) -> Option<T> {
    let (tell, told) = std::sync::mpsc::channel();
    future.settled(move |outcome| {
        let _ = tell.send(outcome.ok());
    });
    told.recv().ok().flatten()
}

/// A future of whichever comes first.
fn first<T: Send + 'static>(futures: impl IntoIterator<Item = Future<T>>) -> Future<T> {
    let (promise, future) = Promise::new();
    let promise = std::sync::Arc::new(std::sync::Mutex::new(Some(promise)));
    for each in futures {
        let promise = promise.clone();
        each.settled(move |outcome| {
            let taken = promise.lock().ok().and_then(|mut promise| promise.take());
            if let (Some(promise), Ok(value)) = (taken, outcome) {
                promise.set(value);
            }
        });
    }
    future
}
