//! The order between an actor's writes to disk and everything that depends on them.
//!
//! What is submitted happens in the order in which it was submitted. Writes are done off the actor, all that
//! are waiting in one go; what comes behind a write waits for it. With nothing to write, nothing waits.

use std::collections::VecDeque;

use libprocess::{Abandoned, Context, Future, Process};

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
    /// How many of them are writes: without any, none is looked for.
    n_writes: usize,
    /// A write or a wait is under way, or the queue is being worked off.
    busy: bool,
}

impl<P: Process> Default for Journal<P> {
    fn default() -> Journal<P> {
        Journal { items: VecDeque::new(), n_writes: 0, busy: false }
    }
}

/// Adds a change on disk.
pub(crate) fn write<P: Journaled>(process: &mut P, write: Write) {
    let journal = process.journal();
    journal.n_writes += 1;
    journal.items.push_back(Item::Write(write));
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
        let writes = take_writes(process.journal());
        if !writes.is_empty() {
            let done = ctx.blocking(move || writes.iter().try_for_each(Write::perform));
            return ctx.then(done, written);
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

/// The writes are done, or one has failed: by refusing, or by a panic, after which nobody knows what is on disk.
fn written<P: Journaled>(
    process: &mut P,
    done: Result<Result<(), CheckpointError>, Abandoned>,
    ctx: &mut Context<P>,
) {
    match done.unwrap_or(Err(CheckpointError::Abandoned)) {
        Ok(()) => {
            process.journal().busy = false;
            run(process, ctx);
        }
        // Busy for ever: nothing behind the failure happens.
        Err(error) => process.write_failed(&error, ctx),
    }
}

/// Takes the writes up to the next wait. Those from behind a `Then` come earlier than they must, which is
/// never wrong: the disk may know more than the world does, only not less.
fn take_writes<P: Process>(journal: &mut Journal<P>) -> Vec<Write> {
    if journal.n_writes == 0 {
        return Vec::new();
    }
    let items = &mut journal.items;
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
    journal.n_writes -= writes.len();
    writes
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::{Duration, Instant};

    use libprocess::{Node, Promise};

    use super::*;

    #[derive(Default)]
    struct Clerk {
        journal: Journal<Clerk>,
        /// What happened, with whether the file was there by then.
        happened: Vec<(&'static str, bool)>,
        failed: bool,
        waits_for: Option<Promise<()>>,
    }

    impl Process for Clerk {}

    impl Journaled for Clerk {
        fn journal(&mut self) -> &mut Journal<Self> {
            &mut self.journal
        }

        fn write_failed(&mut self, _error: &CheckpointError, _ctx: &mut Context<Self>) {
            self.failed = true;
        }
    }

    fn note(clerk: &mut Clerk, what: &'static str, file: PathBuf) {
        then(clerk, move |clerk, _| clerk.happened.push((what, file.exists())));
    }

    fn at_length(clerk: &libprocess::Pid<Clerk>, state: fn(&Clerk) -> bool) -> Vec<(&'static str, bool)> {
        let deadline = Instant::now() + Duration::from_secs(20);
        let limit = Duration::from_secs(20);
        while !clerk.dispatch(move |clerk, _| state(clerk)).wait(limit).unwrap() {
            assert!(Instant::now() < deadline, "it never came to that");
        }
        clerk.dispatch(|clerk, _| clerk.happened.clone()).wait(limit).unwrap()
    }

    #[test]
    fn what_stands_behind_a_write_waits_for_it_and_what_stands_alone_does_not() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        let node = Node::local().unwrap();
        let clerk = node.spawn("clerk", Clerk::default()).unwrap();
        let path = file.clone();
        let at_once = clerk.dispatch(move |clerk, ctx| {
            note(clerk, "alone", path.clone());
            run(clerk, ctx);
            let at_once = clerk.happened.len();
            write(clerk, Write::marker(path.clone()));
            note(clerk, "behind", path.clone());
            wait(clerk, |clerk, _| {
                let (promise, future) = Promise::new();
                clerk.waits_for = Some(promise);
                future
            });
            note(clerk, "later", path);
            run(clerk, ctx);
            at_once
        });
        assert_eq!(at_once.wait(Duration::from_secs(20)).unwrap(), 1);
        let happened = at_length(&clerk, |clerk| clerk.waits_for.is_some());
        assert_eq!(happened, [("alone", false), ("behind", true)]);
        clerk.call(|clerk, _| clerk.waits_for.take().unwrap().set(()));
        let happened = at_length(&clerk, |clerk| clerk.happened.len() == 3);
        assert_eq!(happened[2], ("later", true));
        node.shutdown().wait(Duration::from_secs(20)).unwrap();
    }

    #[test]
    fn nothing_happens_behind_a_write_that_failed() {
        let node = Node::local().unwrap();
        let clerk = node.spawn("clerk", Clerk::default()).unwrap();
        clerk.call(|clerk, ctx| {
            let impossible = PathBuf::from("/dev/null/file");
            write(clerk, Write::marker(impossible.clone()));
            note(clerk, "behind", impossible);
            run(clerk, ctx);
        });
        assert_eq!(at_length(&clerk, |clerk| clerk.failed), []);
        node.shutdown().wait(Duration::from_secs(20)).unwrap();
    }

    #[test]
    fn nothing_happens_behind_a_write_that_panicked() {
        let node = Node::local().unwrap();
        let clerk = node.spawn("clerk", Clerk::default()).unwrap();
        clerk.call(|clerk, ctx| {
            // As `run` does, with writes that no disk is asked for.
            clerk.journal.busy = true;
            let done = ctx.blocking(|| panic!("on purpose"));
            ctx.then(done, written);
            note(clerk, "behind", PathBuf::from("/"));
            run(clerk, ctx);
        });
        assert_eq!(at_length(&clerk, |clerk| clerk.failed), []);
        node.shutdown().wait(Duration::from_secs(20)).unwrap();
    }
}
