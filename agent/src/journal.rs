//! The order between an actor's writes to disk and everything that depends on them.
//!
//! What is submitted happens in the order in which it was submitted. Writes are done off the actor, all that
//! are waiting in one go; what comes behind a write waits for it. With nothing to write, nothing waits.

use std::collections::VecDeque;

use libprocess::{Context, Future, Process};

use crate::checkpoint::{CheckpointError, Write};

type Then<P> = Box<dyn FnOnce(&mut P, &mut Context<P>) + Send>;
type Wait<P> = Box<dyn FnOnce(&mut P, &mut Context<P>) -> Future<()> + Send>;

enum Item<P: Process> {
    Write(Write),
    Then(Then<P>),
    Wait(Wait<P>),
}

/// An actor that keeps a journal.
pub(crate) trait Journaled: Process {
    /// Its journal.
    fn journal(&mut self) -> &mut Journal<Self>;

    /// A write failed: nothing that was to come behind it may happen.
    fn write_failed(&mut self, error: &CheckpointError, ctx: &mut Context<Self>);
}

/// What waits, in order.
pub(crate) struct Journal<P: Process> {
    items: VecDeque<Item<P>>,
    /// A write or a wait is under way, or the queue is being worked off.
    busy: bool,
}

impl<P: Process> Default for Journal<P> {
    fn default() -> Journal<P> {
        Journal { items: VecDeque::new(), busy: false }
    }
}

/// Adds a change on disk.
pub(crate) fn write<P: Journaled>(process: &mut P, write: Write) {
    process.journal().items.push_back(Item::Write(write));
}

/// Adds what may happen once everything before it has.
pub(crate) fn then<P: Journaled>(process: &mut P, f: impl FnOnce(&mut P, &mut Context<P>) + Send + 'static) {
    process.journal().items.push_back(Item::Then(Box::new(f)));
}

/// Adds something that takes its time; what is behind it waits for its end, however it ends.
pub(crate) fn wait<P: Journaled>(
    process: &mut P,
    f: impl FnOnce(&mut P, &mut Context<P>) -> Future<()> + Send + 'static,
) {
    process.journal().items.push_back(Item::Wait(Box::new(f)));
}

/// Works off what was added, as far as it goes; it goes on by itself.
pub(crate) fn run<P: Journaled>(process: &mut P, ctx: &mut Context<P>) {
    if std::mem::replace(&mut process.journal().busy, true) {
        return;
    }
    loop {
        let writes = take_writes(&mut process.journal().items);
        if !writes.is_empty() {
            let done = ctx.blocking(move || writes.iter().try_for_each(Write::perform));
            return ctx.then(done, |process, done, ctx| {
                if let Ok(Err(error)) = done {
                    // Busy for ever: nothing behind the failure happens.
                    return process.write_failed(&error, ctx);
                }
                process.journal().busy = false;
                run(process, ctx);
            });
        }
        match process.journal().items.pop_front() {
            Some(Item::Then(f)) => f(process, ctx),
            Some(Item::Wait(f)) => {
                let over = f(process, ctx);
                return ctx.then(over, |process, _, ctx| {
                    process.journal().busy = false;
                    run(process, ctx);
                });
            }
            // There is none in front: all were taken.
            Some(Item::Write(_)) => {}
            None => {
                process.journal().busy = false;
                return;
            }
        }
    }
}

/// Takes the writes up to the next wait. Those from behind a `Then` come earlier than they must, which is
/// never wrong: the disk may know more than the world does, only not less.
fn take_writes<P: Process>(items: &mut VecDeque<Item<P>>) -> Vec<Write> {
    let until = items.iter().position(|item| matches!(item, Item::Wait(_))).unwrap_or(items.len());
    if !items.iter().take(until).any(|item| matches!(item, Item::Write(_))) {
        return Vec::new();
    }
    let behind = items.split_off(until);
    let mut writes = Vec::new();
    for item in std::mem::take(items) {
        match item {
            Item::Write(write) => writes.push(write),
            other => items.push_back(other),
        }
    }
    items.extend(behind);
    writes
}
