//! Timers, and the clock that tests turn by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, ReentrantMutex};
use tokio::sync::Notify;

use crate::process::{discard, guarded};
use crate::time::Time;

type Thunk = Box<dyn FnOnce() + Send>;

/// Whose timers go with it. Says nothing but who is the same.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Owner(u64);

impl Owner {
    fn next() -> Owner {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Owner(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

struct Entry {
    thunk: Thunk,
    owner: Option<Owner>,
}

/// Timers in the order they are due; of equal ones the older first.
#[derive(Default)]
pub(crate) struct TimerTable {
    entries: BTreeMap<(Time, u64), Entry>,
    /// The entries that have an owner.
    owned: BTreeSet<(Owner, Time, u64)>,
    sequence: u64,
}

impl TimerTable {
    pub(crate) fn insert(&mut self, due: Time, owner: Option<Owner>, thunk: Thunk) -> (Time, u64) {
        self.sequence += 1;
        self.entries.insert((due, self.sequence), Entry { thunk, owner });
        if let Some(owner) = owner {
            self.owned.insert((owner, due, self.sequence));
        }
        (due, self.sequence)
    }

    fn remove(&mut self, key: (Time, u64)) -> Option<Thunk> {
        let Entry { thunk, owner } = self.entries.remove(&key)?;
        if let Some(owner) = owner {
            self.owned.remove(&(owner, key.0, key.1));
        }
        Some(thunk)
    }

    /// Takes an owner's timers out, in the order they are due. They are to be dropped with the table unlocked.
    #[must_use]
    fn take_owned(&mut self, owner: Owner) -> Vec<Thunk> {
        let (first, last) = ((owner, Time::EPOCH, 0), (owner, Time::from_nanos(u64::MAX), u64::MAX));
        let keys: Vec<_> = self.owned.range(first..=last).map(|(_, due, n)| (*due, *n)).collect();
        keys.into_iter().filter_map(|key| self.remove(key)).collect()
    }

    pub(crate) fn next_due(&self) -> Option<Time> {
        self.entries.keys().next().map(|(due, _)| *due)
    }

    /// The next timer that is due at `now`, taken out.
    pub(crate) fn pop_due(&mut self, now: Time) -> Option<Thunk> {
        let (key, _) = self.entries.first_key_value()?;
        let key = *key;
        if key.0 <= now { self.remove(key) } else { None }
    }

    /// Takes all timers out. They are to be dropped with the table unlocked: what they hold may want it.
    #[must_use]
    pub(crate) fn take(&mut self) -> Vec<Thunk> {
        self.owned.clear();
        std::mem::take(&mut self.entries).into_values().map(|entry| entry.thunk).collect()
    }
}

/// Runs a timer. What it holds is the user's and may panic, if only when it is dropped because its process
/// is gone; the other timers go on.
pub(crate) fn run(thunk: Thunk) {
    if let Err(panic) = guarded(thunk) {
        tracing::error!(%panic, "a timer panicked");
    }
}

/// The timers of one process, which are dropped with this: a dead process's closures are not kept until they
/// would be due.
#[derive(Default)]
pub(crate) struct OwnTimers(Option<Box<(Owner, Weak<Mutex<TimerTable>>)>>);

impl OwnTimers {
    /// Notes the timer that `start` starts for the owner it is given.
    pub(crate) fn start(&mut self, start: impl FnOnce(Owner) -> Timer) -> Timer {
        let owner = self.0.as_ref().map_or_else(Owner::next, |own| own.0);
        let timer = start(owner);
        // A process has one node, and that one table.
        self.0.get_or_insert_with(|| Box::new((owner, timer.table.clone())));
        timer
    }
}

impl Drop for OwnTimers {
    fn drop(&mut self) {
        let Some((owner, table)) = self.0.take().map(|own| *own) else { return };
        let thunks = table.upgrade().map(|table| table.lock().take_owned(owner));
        thunks.into_iter().flatten().for_each(discard);
    }
}

/// A timer that is running, or has run. Dropping it changes nothing; [`cancel`](Self::cancel) does.
#[derive(Clone)]
pub struct Timer {
    table: Weak<Mutex<TimerTable>>,
    key: (Time, u64),
}

impl Timer {
    pub(crate) fn new(table: &Arc<Mutex<TimerTable>>, key: (Time, u64)) -> Timer {
        Timer { table: Arc::downgrade(table), key }
    }

    /// A timer that will not fire.
    pub(crate) fn never() -> Timer {
        Timer { table: Weak::new(), key: (Time::EPOCH, 0) }
    }

    /// Stops the timer; whether it had not fired yet. (One that has fired may still be waiting in its
    /// process's queue.)
    pub fn cancel(&self) -> bool {
        let thunk = self.table.upgrade().and_then(|table| table.lock().remove(self.key));
        thunk.is_some()
    }

    /// When it fires, or fired.
    pub fn due(&self) -> Time {
        self.key.0
    }
}

impl std::fmt::Debug for Timer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Timer").field(&self.key.0).finish()
    }
}

struct Dial {
    /// The machine's time when the node started, and the steady clock's reading then. Going on from them,
    /// the node's time never runs backwards.
    base: Time,
    started: Instant,
    /// How far tests have moved it, altogether.
    advanced: Duration,
    paused_at: Option<Time>,
}

/// The clock of a node on the real host.
pub(crate) struct ClockInner {
    dial: Mutex<Dial>,
    timers: Arc<Mutex<TimerTable>>,
    /// Held while timers fire, so that two threads that do it do not change the order, and so that nobody
    /// takes a timer for fired that is only out of the table. Reentrant, since a timer may turn the clock.
    firing: ReentrantMutex<()>,
    changed: Notify,
}

impl ClockInner {
    #[allow(clippy::disallowed_methods)]
    pub(crate) fn new() -> Arc<ClockInner> {
        let dial = Dial {
            base: Time::machine(),
            started: Instant::now(),
            advanced: Duration::ZERO,
            paused_at: None,
        };
        Arc::new(ClockInner {
            dial: Mutex::new(dial),
            timers: Arc::default(),
            firing: ReentrantMutex::new(()),
            changed: Notify::new(),
        })
    }

    pub(crate) fn now(&self) -> Time {
        let dial = self.dial.lock();
        dial.paused_at.unwrap_or_else(|| dial.base + dial.started.elapsed()) + dial.advanced
    }

    pub(crate) fn schedule(&self, after: Duration, owner: Option<Owner>, thunk: Thunk) -> Timer {
        let due = self.now() + after;
        let mut timers = self.timers.lock();
        let earliest = timers.next_due().is_none_or(|next| due < next);
        let key = timers.insert(due, owner, thunk);
        drop(timers);
        if earliest {
            self.changed.notify_one();
        }
        Timer::new(&self.timers, key)
    }

    /// Fires what is due.
    pub(crate) fn fire(&self) {
        let _firing = self.firing.lock();
        let now = self.now();
        loop {
            // The table is not locked while the thunk runs: it may start another timer.
            let thunk = self.timers.lock().pop_due(now);
            match thunk {
                Some(thunk) => run(thunk),
                None => return,
            }
        }
    }

    /// Fires timers as they fall due, for as long as anyone else holds the clock.
    pub(crate) async fn drive(clock: Weak<ClockInner>) {
        while let Some(clock) = clock.upgrade() {
            clock.fire();
            let paused = clock.dial.lock().paused_at.is_some();
            let next = clock.timers.lock().next_due().filter(|_| !paused);
            // Wake now and then even with nothing to do, to notice that the node is gone.
            let wait = next.map_or(Duration::from_secs(1), |due| {
                due.saturating_since(clock.now()).min(Duration::from_secs(1))
            });
            let _ = tokio::time::timeout(wait, clock.changed.notified()).await;
        }
    }

    pub(crate) fn pause(&self) {
        // What was due before is fired when this returns, and nothing more.
        let _firing = self.firing.lock();
        let mut dial = self.dial.lock();
        if dial.paused_at.is_none() {
            dial.paused_at = Some(dial.base + dial.started.elapsed());
        }
    }

    pub(crate) fn advance(&self, by: Duration) {
        let mut dial = self.dial.lock();
        dial.advanced = dial.advanced.saturating_add(by);
        drop(dial);
        self.fire();
        self.changed.notify_one();
    }

    pub(crate) fn resume(&self) {
        self.dial.lock().paused_at = None;
        self.changed.notify_one();
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.dial.lock().paused_at.is_some()
    }

    pub(crate) fn stop(&self) {
        let timers = self.timers.lock().take();
        drop(timers);
    }
}
