//! The processes that come with every node that listens.

mod duration;
mod help;
pub(crate) mod logging;
mod metrics;
mod processes;
mod system;

use std::sync::Arc;

use bytes::Bytes;

use crate::context::Context;
use crate::http::{Method, Request, Response, RouteOptions};
use crate::node::{NodeInner, SpawnError};
use crate::process::Process;

/// Processes that stand back when the delegate has a route of their name.
pub(crate) const YIELDING: [&str; 2] = ["health", "version"];

/// Starts them. A program that has taken one of the ids keeps it.
pub(crate) fn start(node: &Arc<NodeInner>) {
    let started = [
        node.spawn("help".into(), help::Help).map(drop),
        node.spawn("metrics".into(), metrics::MetricsEndpoint::from_env()).map(drop),
        node.spawn("logging".into(), logging::Logging::default()).map(drop),
        node.spawn("system".into(), system::System).map(drop),
        node.spawn("__processes__".into(), processes::Processes).map(drop),
        node.spawn("health".into(), Health).map(drop),
    ];
    for error in started.into_iter().filter_map(Result::err) {
        match error {
            SpawnError::ShuttingDown => return,
            _ => tracing::debug!(%error, "a built-in process was not started"),
        }
    }
}

/// Whether that is a legal rate limit for `/metrics/snapshot`: `n/duration`, or empty for none.
pub(crate) fn is_rate_limit(text: &str) -> bool {
    metrics::rate_limit(text).is_ok()
}

/// What a route that only shows something accepts.
fn read_only(summary: &str) -> RouteOptions {
    RouteOptions { methods: vec![Method::GET], max_body: 0, ..RouteOptions::help(summary) }
}

/// Answers `/health`: who hears it knows that the node serves requests.
struct Health;

impl Process for Health {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.route_shared("/", read_only("Answers 200 while the node serves requests."), |_| {
            Response::ok().into()
        });
    }
}

/// Answers `/version` with a JSON document: `node.spawn("version", Version::new(document))`.
#[derive(Debug)]
pub struct Version(Bytes);

impl Version {
    /// Shows that document, which has to be JSON.
    pub fn new(document: impl Into<Bytes>) -> Version {
        Version(document.into())
    }
}

impl Process for Version {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        let document = self.0.clone();
        ctx.route_shared("/", read_only("What runs here."), move |request: Request| {
            request.json(document.clone()).into()
        });
    }
}
