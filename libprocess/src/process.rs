//! The trait every actor implements, and the cell a host keeps it in.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::context::Context;
use crate::event::{Event, WireMessage};
use crate::handlers::Handlers;
use crate::upid::Upid;

/// An actor: it owns its state, and is called with one event at a time.
///
/// A handler runs to completion. It does not block and does not wait: what takes time is asked of the
/// [`Context`] and comes back as another event. A handler that panics ends this process and no other.
pub trait Process: Sized + Send + 'static {
    /// Runs before any event; the place to `install` and `route`.
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        let _ = ctx;
    }

    /// Runs when the process was terminated; not when it panicked.
    fn finalize(&mut self, ctx: &mut Context<Self>) {
        let _ = ctx;
    }

    /// A process that this one had linked to has ended, or its node was lost. The link is gone with it.
    fn exited(&mut self, pid: &Upid, ctx: &mut Context<Self>) {
        let _ = (pid, ctx);
    }
}

/// What a step of a process led to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Flow {
    Continue,
    Terminate,
}

/// A process of any type, with everything that serves it.
pub(crate) trait AnyCell: Send {
    fn upid(&self) -> &Upid;
    fn initialize(&mut self) -> Flow;
    fn serve(&mut self, event: Event) -> Flow;
    fn finalize(&mut self);
    /// The process itself, for a simulation to look into.
    fn process(&mut self) -> &mut dyn Any;
}

pub(crate) struct ProcessCell<P: Process> {
    process: P,
    ctx: Context<P>,
    handlers: Handlers<P>,
}

impl<P: Process> ProcessCell<P> {
    pub(crate) fn new(process: P, ctx: Context<P>) -> ProcessCell<P> {
        ProcessCell { process, ctx, handlers: Handlers::default() }
    }

    fn after_step(&mut self) -> Flow {
        if let Some(installed) = self.ctx.take_installed() {
            self.handlers.extend(installed);
        }
        if self.ctx.wants_to_end() { Flow::Terminate } else { Flow::Continue }
    }
}

impl<P: Process> AnyCell for ProcessCell<P> {
    fn upid(&self) -> &Upid {
        self.ctx.upid()
    }

    fn initialize(&mut self) -> Flow {
        self.process.initialize(&mut self.ctx);
        self.after_step()
    }

    fn serve(&mut self, event: Event) -> Flow {
        match event {
            Event::Message { from, message } => {
                self.handlers.message(&mut self.process, from, message, &mut self.ctx);
            }
            Event::Wire(message) => {
                let WireMessage { from, name, body, held } = *message;
                self.handlers.wire(&mut self.process, from, &name, body, held, &mut self.ctx);
            }
            Event::Call(call) => {
                let process: &mut dyn Any = &mut self.process;
                call(process, &mut self.ctx);
            }
            Event::Exited(pid) => self.process.exited(&pid, &mut self.ctx),
            Event::Http { request, route, answer } => {
                self.handlers.http(&mut self.process, *request, &route, answer, &mut self.ctx);
            }
            Event::Terminate => return Flow::Terminate,
        }
        self.after_step()
    }

    fn finalize(&mut self) {
        self.process.finalize(&mut self.ctx);
    }

    fn process(&mut self) -> &mut dyn Any {
        &mut self.process
    }
}

/// Runs one step of a cell. A panic becomes its text; the cell must not be run again then.
pub(crate) fn guarded<R>(step: impl FnOnce() -> R) -> Result<R, String> {
    catch_unwind(AssertUnwindSafe(step)).map_err(|payload| {
        payload
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "a panic without text".to_owned())
    })
}

/// Drops what may hold anything of a user's, a destructor that panics or a promise that somebody waits for.
pub(crate) fn discard<T>(what: T) {
    if let Err(panic) = guarded(|| drop(what)) {
        tracing::error!(%panic, kind = std::any::type_name::<T>(), "a destructor panicked");
    }
}
