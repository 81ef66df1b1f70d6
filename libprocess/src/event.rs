//! What a process's queue holds.

use std::any::Any;
use std::sync::Arc;

use bytes::Bytes;

use crate::context::Context;
use crate::future::Promise;
use crate::http;
use crate::message::AnyMessage;
use crate::process::Process;
use crate::unhandled::Held;
use crate::upid::Upid;

/// A closure for one process: it is handed the process and its context, both behind `Any`.
pub(crate) type Call = Box<dyn FnOnce(&mut dyn Any, &mut dyn Any) + Send>;

/// A message from another node.
pub(crate) struct WireMessage {
    pub(crate) from: Upid,
    pub(crate) name: Arc<str>,
    pub(crate) body: Bytes,
    /// Counts it for the connection that brought it.
    pub(crate) held: Option<Held>,
}

/// Small, for it is moved from queue to queue: what is large or rare is behind a box.
pub(crate) enum Event {
    /// From this node: the value itself.
    Message {
        from: Upid,
        message: Box<dyn AnyMessage>,
    },
    /// From another node: decoded by the handler of that name, if there is one.
    Wire(Box<WireMessage>),
    Call(Call),
    Exited(Upid),
    Http {
        request: Box<http::Request>,
        route: Box<str>,
        answer: Promise<http::Response>,
    },
    Terminate,
}

impl Event {
    /// The event that runs `f` on a process of type `P`; on any other it does nothing.
    pub(crate) fn call<P: Process>(f: impl FnOnce(&mut P, &mut Context<P>) + Send + 'static) -> Event {
        Event::Call(Box::new(move |process, ctx| {
            if let (Some(process), Some(ctx)) = (process.downcast_mut(), ctx.downcast_mut()) {
                f(process, ctx);
            }
        }))
    }

    /// The kind, as `/__processes__` shows it.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Event::Message { .. } | Event::Wire(_) => "MESSAGE",
            Event::Call(_) => "DISPATCH",
            Event::Exited(_) => "EXITED",
            Event::Http { .. } => "HTTP",
            Event::Terminate => "TERMINATE",
        }
    }
}
