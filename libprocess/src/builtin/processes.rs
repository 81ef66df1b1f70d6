//! `/__processes__`: who runs here, and what waits in their queues.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value, json};

use super::read_only;
use crate::context::Context;
use crate::future::{Future, Promise};
use crate::http::{Answer, Request};
use crate::process::Process;

pub(super) struct Processes;

/// What workers have told so far.
struct Gathered {
    queues: Mutex<BTreeMap<String, Vec<&'static str>>>,
    promise: Mutex<Option<Promise<Value>>>,
}

/// The last one to go delivers.
impl Drop for Gathered {
    fn drop(&mut self) {
        if let Some(promise) = self.promise.get_mut().take() {
            let kinds = |kinds: &[&str]| kinds.iter().map(|kind| json!({ "type": kind })).collect::<Vec<_>>();
            let queues = self.queues.get_mut();
            promise
                .set(queues.iter().map(|(id, queue)| json!({ "id": id, "events": kinds(queue) })).collect());
        }
    }
}

impl Processes {
    fn list(&mut self, request: Request, ctx: &mut Context<Self>) -> Answer {
        let (promise, future): (_, Future<Value>) = Promise::new();
        let gathered = Arc::new(Gathered { queues: Mutex::default(), promise: Mutex::new(Some(promise)) });
        for upid in ctx.node().processes() {
            let Some(local) = upid.local().filter(|_| upid.id() != ctx.upid().id()) else { continue };
            let (promise, queue) = Promise::new();
            local.arena.queued(local.key, promise);
            let gathered = gathered.clone();
            queue.settled(move |queue| {
                if let Ok(queue) = queue {
                    gathered.queues.lock().insert(upid.id().to_owned(), queue);
                }
            });
        }
        drop(gathered);
        future.map(move |all| request.json(all.to_string())).into()
    }
}

impl Process for Processes {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.route_with(
            "/",
            read_only("The processes of this node and what waits in their queues."),
            Self::list,
        );
    }
}
