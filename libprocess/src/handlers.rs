//! Which handler an event goes to.

use std::any::TypeId;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::marker::PhantomData;

use bytes::Bytes;

use crate::context::Context;
use crate::future::Promise;
use crate::http;
use crate::message::{AnyMessage, DecodeError, Message};
use crate::process::Process;
use crate::unhandled::Held;
use crate::upid::Upid;

/// A function that `install` takes. Its signature says which message it is for:
///
/// - `fn(&mut self, message: M, ctx: &mut Context<Self>)`
/// - `fn(&mut self, from: &Upid, message: M, ctx: &mut Context<Self>)`
pub trait Handler<P: Process, Form>: Send + 'static {
    /// The message it is for.
    type Message: Message;

    /// Calls it.
    fn call(&self, process: &mut P, from: Upid, message: Self::Message, ctx: &mut Context<P>);
}

/// Marks the handler form without a sender.
pub struct Plain<M>(PhantomData<M>);
/// Marks the handler form with a sender.
pub struct WithSender<M>(PhantomData<M>);

impl<P: Process, M: Message, F> Handler<P, Plain<M>> for F
where
    F: Fn(&mut P, M, &mut Context<P>) + Send + 'static,
{
    type Message = M;
    fn call(&self, process: &mut P, from: Upid, message: M, ctx: &mut Context<P>) {
        ctx.set_sender(Some(from));
        self(process, message, ctx);
        ctx.set_sender(None);
    }
}

impl<P: Process, M: Message, F> Handler<P, WithSender<M>> for F
where
    F: Fn(&mut P, &Upid, M, &mut Context<P>) + Send + 'static,
{
    type Message = M;
    fn call(&self, process: &mut P, from: Upid, message: M, ctx: &mut Context<P>) {
        ctx.set_sender(Some(from.clone()));
        self(process, &from, message, ctx);
        ctx.set_sender(None);
    }
}

/// A handler with its types erased but for the process's.
trait Installed<P: Process>: Send {
    fn typed(&self, process: &mut P, from: Upid, message: Box<dyn AnyMessage>, ctx: &mut Context<P>);
    fn wire(&self, process: &mut P, from: Upid, body: &[u8], ctx: &mut Context<P>)
    -> Result<(), DecodeError>;
}

struct Typed<F, Form>(F, PhantomData<fn(Form)>);

impl<P: Process, Form: 'static, F: Handler<P, Form>> Installed<P> for Typed<F, Form> {
    fn typed(&self, process: &mut P, from: Upid, message: Box<dyn AnyMessage>, ctx: &mut Context<P>) {
        if let Ok(message) = message.into_any().downcast::<F::Message>() {
            self.0.call(process, from, *message, ctx);
        }
    }

    fn wire(
        &self,
        process: &mut P,
        from: Upid,
        body: &[u8],
        ctx: &mut Context<P>,
    ) -> Result<(), DecodeError> {
        let message = F::Message::decode(body)?;
        self.0.call(process, from, message, ctx);
        Ok(())
    }
}

type Raw<P> = Box<dyn Fn(&mut P, &Upid, &str, Bytes, &mut Context<P>) + Send>;
type Route<P> = Box<dyn Fn(&mut P, http::Request, &mut Context<P>) -> http::Answer + Send>;

/// An addition to the tables, made by a handler that is still running.
pub(crate) enum Addition<P: Process> {
    Typed { kind: TypeId, name: &'static str, handler: AnyHandler<P> },
    Raw { name: String, handler: Raw<P> },
    Delegate { name: String, to: Upid },
    Route { path: String, handler: Route<P> },
}

pub(crate) struct AnyHandler<P: Process>(Box<dyn Installed<P>>);

impl<P: Process> Addition<P> {
    pub(crate) fn typed<Form: 'static, F: Handler<P, Form>>(handler: F) -> Addition<P> {
        Addition::Typed {
            kind: TypeId::of::<F::Message>(),
            name: F::Message::name(),
            handler: AnyHandler(Box::new(Typed(handler, PhantomData))),
        }
    }
}

/// A `TypeId` is a hash already.
#[derive(Default)]
struct TypeIdHasher(u64);

impl Hasher for TypeIdHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

/// A process's tables. Lookup order by name: typed handlers, raw ones, delegates.
pub(crate) struct Handlers<P: Process> {
    typed: HashMap<TypeId, usize, BuildHasherDefault<TypeIdHasher>>,
    named: HashMap<&'static str, usize>,
    handlers: Vec<Box<dyn Installed<P>>>,
    /// Most processes have none of these, and there may be many processes.
    others: Option<Box<Others<P>>>,
}

struct Others<P: Process> {
    raw: HashMap<String, Raw<P>>,
    delegates: HashMap<String, Upid>,
    routes: HashMap<String, Route<P>>,
}

impl<P: Process> Default for Others<P> {
    fn default() -> Self {
        Others { raw: HashMap::default(), delegates: HashMap::default(), routes: HashMap::default() }
    }
}

impl<P: Process> Default for Handlers<P> {
    fn default() -> Self {
        Handlers { typed: HashMap::default(), named: HashMap::default(), handlers: Vec::new(), others: None }
    }
}

impl<P: Process> Handlers<P> {
    pub(crate) fn extend(&mut self, additions: Vec<Addition<P>>) {
        for addition in additions {
            match addition {
                Addition::Typed { kind, name, handler } => {
                    let index = *self.typed.entry(kind).or_insert(self.handlers.len());
                    match self.handlers.get_mut(index) {
                        Some(installed) => *installed = handler.0,
                        None => self.handlers.push(handler.0),
                    }
                    if self.named.insert(name, index).is_some_and(|before| before != index) {
                        tracing::warn!(
                            message = name,
                            process = std::any::type_name::<P>(),
                            "two types of messages have this wire name; what comes from other nodes is taken \
                             for the one installed last"
                        );
                    }
                }
                Addition::Raw { name, handler } => {
                    self.others.get_or_insert_default().raw.insert(name, handler);
                }
                Addition::Delegate { name, to } => {
                    self.others.get_or_insert_default().delegates.insert(name, to);
                }
                Addition::Route { path, handler } => {
                    self.others.get_or_insert_default().routes.insert(path, handler);
                }
            }
        }
    }

    fn raw(&self, name: &str) -> Option<&Raw<P>> {
        self.others.as_ref()?.raw.get(name)
    }

    fn delegate(&self, name: &str) -> Option<&Upid> {
        self.others.as_ref()?.delegates.get(name)
    }

    pub(crate) fn message(
        &self,
        process: &mut P,
        from: Upid,
        message: Box<dyn AnyMessage>,
        ctx: &mut Context<P>,
    ) {
        // The method call must go through the box's contents: a `Box<dyn AnyMessage>` has a type id too.
        let kind = message.as_ref().type_id();
        if let Some(&index) = self.typed.get(&kind) {
            self.handlers[index].typed(process, from, message, ctx);
            return;
        }
        let name = message.wire_name();
        let mut body = Vec::new();
        if let Some(&index) = self.named.get(name) {
            // Another type of the same wire name: two versions of a message, say.
            message.encode_into(&mut body);
            self.decoded(index, process, from, name, &body, ctx);
        } else if let Some(raw) = self.raw(name) {
            message.encode_into(&mut body);
            ctx.set_sender(Some(from.clone()));
            raw(process, &from, name, body.into(), ctx);
            ctx.set_sender(None);
        } else if let Some(to) = self.delegate(name) {
            ctx.node().send_any(&from, to, message);
        } else {
            tracing::debug!(process = %ctx.upid(), message = name, %from, "no handler; dropped");
        }
    }

    /// `held` is kept until the message is handled, and goes with it when it is passed on.
    pub(crate) fn wire(
        &self,
        process: &mut P,
        from: Upid,
        name: &str,
        body: Bytes,
        held: Option<Held>,
        ctx: &mut Context<P>,
    ) {
        if let Some(&index) = self.named.get(name) {
            self.decoded(index, process, from, name, &body, ctx);
        } else if let Some(raw) = self.raw(name) {
            ctx.set_sender(Some(from.clone()));
            raw(process, &from, name, body, ctx);
            ctx.set_sender(None);
        } else if let Some(to) = self.delegate(name) {
            ctx.node().send_encoded(&from, to, name, body, held);
        } else {
            tracing::debug!(process = %ctx.upid(), message = name, %from, "no handler; dropped");
        }
    }

    fn decoded(
        &self,
        index: usize,
        process: &mut P,
        from: Upid,
        name: &str,
        body: &[u8],
        ctx: &mut Context<P>,
    ) {
        if let Err(error) = self.handlers[index].wire(process, from.clone(), body, ctx) {
            tracing::error!(process = %ctx.upid(), message = name, %from, %error, "undecodable message dropped");
        }
    }

    pub(crate) fn http(
        &self,
        process: &mut P,
        request: http::Request,
        route: &str,
        promise: Promise<http::Response>,
        ctx: &mut Context<P>,
    ) {
        match self.others.as_ref().and_then(|others| others.routes.get(route)) {
            Some(handler) => match handler(process, request, ctx) {
                http::Answer::Now(response) => promise.set(response),
                http::Answer::Later(future) => promise.follow(future),
            },
            None => promise.set(http::Response::new(http::StatusCode::NOT_FOUND)),
        }
    }
}
