//! A simulated node's processes and its part of the world.

use std::sync::Weak;
use std::time::Duration;

use super::world::World;
use crate::clock::{Owner, Timer};
use crate::event::Event;
use crate::future::Promise;
use crate::host::{Arena, Environment};
use crate::process::AnyCell;
use crate::time::Time;
use crate::upid::Upid;

/// Keeps the processes of one life of a node. The world may be gone before the last reference to a process.
pub(super) struct SimArena {
    pub(super) world: Weak<World>,
    pub(super) node: usize,
}

impl Arena for SimArena {
    fn reserve(&self) -> u64 {
        self.world.upgrade().map_or(0, |world| world.reserve(self.node))
    }

    fn adopt(&self, key: u64, cell: Box<dyn AnyCell>) {
        if let Some(world) = self.world.upgrade() {
            world.adopt(key, cell);
        }
    }

    fn post(&self, key: u64, event: Event) {
        if let Some(world) = self.world.upgrade() {
            world.post(key, event);
        }
    }

    fn queued(&self, key: u64, answer: Promise<Vec<&'static str>>) {
        if let Some(world) = self.world.upgrade() {
            answer.set(world.queued(key));
        }
    }
}

/// What a simulated node sees of the world. It belongs to one life of the node: what was under way when it
/// crashed does not come back.
pub(super) struct SimEnvironment {
    pub(super) world: Weak<World>,
    pub(super) node: usize,
    pub(super) life: u64,
}

impl Environment for SimEnvironment {
    fn now(&self) -> Time {
        self.world.upgrade().map_or(Time::EPOCH, |world| world.clock(self.node))
    }

    fn schedule(&self, after: Duration, owner: Option<Owner>, thunk: Box<dyn FnOnce() + Send>) -> Timer {
        let Some(world) = self.world.upgrade() else { return Timer::never() };
        let (weak, node, life) = (self.world.clone(), self.node, self.life);
        let due = move || {
            if let Some(world) = weak.upgrade() {
                world.on_node(node, life, thunk);
            }
        };
        world.schedule_for(owner, world.span(node, after), Box::new(due))
    }

    fn seed(&self, upid: &Upid) -> u64 {
        self.world.upgrade().map_or(0, |world| world.process_seed(self.life, upid))
    }

    fn blocking(&self, work: Box<dyn FnOnce() + Send>) {
        if let Some(world) = self.world.upgrade() {
            world.blocking(self.node, self.life, work);
        }
    }

    /// There are no child processes in a simulation.
    fn reap(&self, _: u32, promise: Promise<Option<i32>>) {
        promise.set(None);
    }
}
