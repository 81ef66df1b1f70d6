//! Reads never hold up the master: it hands out a snapshot, and the document is made elsewhere. Readers of the
//! same document share it; one is made at a time, so that many readers cannot take all processors.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use libprocess::http::{Answer, Request, Response};
use libprocess::{Context, Promise};

use super::snapshot::Snapshot;
use super::{json, shapes};
use crate::actor::Master;

/// A whole document, the same for everybody who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Document {
    State,
    Summary,
    Slaves,
    Frameworks,
}

/// How long a document is kept for others who ask while nothing changes.
const KEPT: Duration = Duration::from_secs(10);

/// Somebody who waits for a document, and how he wants it.
type Reader = (Request, Promise<Response>);

#[derive(Default)]
struct Made {
    /// The last document and what it was made of.
    ready: Option<(u64, Bytes)>,
    /// What is being made, and who waits for it.
    making: Option<(u64, Vec<Reader>)>,
    /// Who asked when what is being made was already behind.
    next: Vec<Reader>,
}

/// The documents and their readers.
#[derive(Default)]
pub(crate) struct Reads(BTreeMap<Document, Made>);

impl Master {
    pub(crate) fn state(&mut self, request: Request, ctx: &mut Context<Self>) -> Answer {
        self.read(Document::State, request, ctx)
    }

    pub(crate) fn state_summary(&mut self, request: Request, ctx: &mut Context<Self>) -> Answer {
        self.read(Document::Summary, request, ctx)
    }

    pub(crate) fn slaves(&mut self, request: Request, ctx: &mut Context<Self>) -> Answer {
        match request.query.get("slave_id").cloned() {
            None => self.read(Document::Slaves, request, ctx),
            Some(id) => self.render(request, ctx, move |snapshot| shapes::slaves(snapshot, Some(&id))),
        }
    }

    pub(crate) fn frameworks(&mut self, request: Request, ctx: &mut Context<Self>) -> Answer {
        match request.query.get("framework_id").cloned() {
            None => self.read(Document::Frameworks, request, ctx),
            Some(id) => self.render(request, ctx, move |snapshot| shapes::frameworks(snapshot, Some(&id))),
        }
    }

    pub(crate) fn tasks(&mut self, request: Request, ctx: &mut Context<Self>) -> Answer {
        let page = shapes::Page::of(&request.query);
        self.render(request, ctx, move |snapshot| shapes::tasks(snapshot, &page))
    }

    /// A document only this reader wants.
    fn render(
        &mut self,
        request: Request,
        ctx: &mut Context<Self>,
        render: impl FnOnce(&Snapshot) -> Vec<u8> + Send + 'static,
    ) -> Answer {
        if let Some(elsewhere) = self.turn_away(&request, ctx) {
            return elsewhere.into();
        }
        let snapshot = Snapshot::of(self);
        ctx.blocking(move || json(&request, render(&snapshot))).into()
    }

    fn read(&mut self, document: Document, request: Request, ctx: &mut Context<Self>) -> Answer {
        if let Some(elsewhere) = self.turn_away(&request, ctx) {
            return elsewhere.into();
        }
        let version = self.version;
        let made = self.reads.0.entry(document).or_default();
        if let Some((of, body)) = &made.ready
            && *of == version
        {
            return json(&request, body.clone()).into();
        }
        let (promise, future) = Promise::new();
        match &mut made.making {
            Some((of, readers)) if *of == version => readers.push((request, promise)),
            // It began before something happened that this reader may know of.
            Some(_) => made.next.push((request, promise)),
            None => self.make(document, vec![(request, promise)], ctx),
        }
        future.into()
    }

    fn make(&mut self, document: Document, readers: Vec<Reader>, ctx: &mut Context<Self>) {
        let version = self.version;
        let snapshot = Snapshot::of(self);
        let made = self.reads.0.entry(document).or_default();
        // A document of this size is about as large as the last one.
        let size = made.ready.take().map_or(1024, |(_, body)| body.len() + body.len() / 8);
        made.making = Some((version, readers));
        let body = ctx.blocking(move || {
            let mut out = Vec::with_capacity(size);
            shapes::write(document, &snapshot, &mut out);
            Bytes::from(out)
        });
        ctx.then(body, move |master, result, ctx| {
            let made = master.reads.0.entry(document).or_default();
            // Without a body, the readers' promises are dropped here and they get an error.
            if let (Some((_, readers)), Ok(body)) = (made.making.take(), result) {
                for (request, promise) in readers {
                    promise.set(json(&request, body.clone()));
                }
                made.ready = Some((version, body));
                // It may be large, and nobody may ever ask again.
                ctx.delay(KEPT, move |master, _| {
                    let made = master.reads.0.entry(document).or_default();
                    if made.ready.as_ref().is_some_and(|(of, _)| *of == version) {
                        made.ready = None;
                    }
                });
            }
            let next = std::mem::take(&mut made.next);
            if !next.is_empty() {
                master.make(document, next, ctx);
            }
        });
    }
}
