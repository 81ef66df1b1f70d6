//! HTTP requests to simulated nodes.

use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;

use super::world::World;
use crate::future::{Future, Promise};
use crate::http::{self, HeaderMap, Method, Response};

type Task = Pin<Box<dyn std::future::Future<Output = ()> + Send>>;

/// A request on its way through a node.
struct Answering {
    world: Weak<World>,
    node: usize,
    life: u64,
    task: Mutex<Option<Task>>,
}

impl Answering {
    fn go_on(self: Arc<Self>) {
        // Out of the lock: what it waits for may be there at once and wake it.
        let Some(mut task) = self.task.lock().take() else { return };
        let waker = Waker::from(self.clone());
        if task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
            *self.task.lock() = Some(task);
        }
    }
}

impl Wake for Answering {
    fn wake(self: Arc<Self>) {
        // Not from within whoever brings the value: in its turn, as everything here.
        if let Some(world) = self.world.upgrade() {
            let (node, life) = (self.node, self.life);
            let weak = self.world.clone();
            let go_on = move || {
                if let Some(world) = weak.upgrade() {
                    world.on_node(node, life, Box::new(move || self.go_on()));
                }
            };
            world.schedule(Duration::ZERO, Box::new(go_on));
        }
    }
}

impl World {
    pub(super) fn request(
        self: &Arc<Self>,
        node: usize,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Future<Response> {
        let (promise, future) = Promise::new();
        let Some((inner, life)) = self.inner(node).zip(self.life(node)) else { return future };
        let path = path.to_owned();
        let world = Arc::downgrade(self);
        let task = async move {
            let response = http::answer_at_hand(&inner, method, &path, headers, body).await;
            // From a node that has crashed meanwhile nothing comes back.
            if world.upgrade().is_some_and(|world| world.is_alive(node, life)) {
                promise.set(response);
            }
        };
        let task: Mutex<Option<Task>> = Mutex::new(Some(Box::pin(task)));
        let answering = Arc::new(Answering { world: Arc::downgrade(self), node, life, task });
        self.on_node(node, life, Box::new(move || answering.go_on()));
        future
    }
}
