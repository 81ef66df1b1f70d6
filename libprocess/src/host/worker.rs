//! One arbiter's share of the processes: an actix actor that runs them in turn.
//!
//! A process is pinned to one worker. A message between two of the same worker touches no lock and no atomic
//! of the worker's: it goes from one queue to another. From elsewhere it goes into the worker's inbox, which
//! is emptied in one sweep.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future as _;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Arc, OnceLock};
use std::task::{Context as TaskContext, Poll};
use std::time::{Duration, Instant};

use actix::{Actor, ActorFuture, Addr, AsyncContext, Context as ActixContext};
use actix_rt::ArbiterHandle;
use crossbeam_queue::SegQueue;
use futures_util::task::AtomicWaker;

use super::Arena;
use crate::event::Event;
use crate::future::Promise;
use crate::process::{AnyCell, Flow, discard, guarded};
use crate::upid::Upid;

/// Events served before the arbiter's other work (connections, timers) has its turn.
const TURN: usize = 1024;
/// How long they may take, if they take long.
const TURN_TIME: Duration = Duration::from_millis(5);
/// So many are served between two looks at the time, which costs about as much as the smallest of them.
const LOOK: usize = 16;
/// Beside an event that takes so long a look costs nothing.
const LONG_EVENT: Duration = Duration::from_micros(20);
/// Events one process may serve before the next process has its turn.
const BATCH: usize = 128;
/// Room for so many events is kept for the next time; what a burst took beyond that is given back.
const ROOM_KEPT: usize = 4096;

/// The part of a worker that other threads may touch.
pub(crate) struct WorkerShared {
    id: usize,
    /// What other threads sent, in the order in which they did.
    inbox: SegQueue<(u64, Parcel)>,
    /// Whether the worker will look into the inbox without being told.
    awake: AtomicBool,
    /// Wakes the worker. It is no message of actix's: those are made and queued anew for each waking, and a
    /// worker that serves faster than another sends is woken for every single event.
    waker: AtomicWaker,
    /// Held so that the actor lives.
    address: OnceLock<Addr<Worker>>,
    /// Slots that were given back, and the next that never was used. A key is an index into the slots and a
    /// generation, so that an event for a dead process cannot reach the next one in its slot.
    free_keys: SegQueue<u64>,
    next_slot: AtomicU32,
    /// Turns taken so far, for `Clock::settle`.
    turns: AtomicU64,
}

enum Parcel {
    Event(Event),
    Adopt(Box<dyn AnyCell>),
    Queued(Promise<Vec<&'static str>>),
}

fn parts(key: u64) -> (usize, u32) {
    ((key & 0xffff_ffff) as usize, (key >> 32) as u32)
}

#[derive(Default)]
struct Slot {
    generation: u32,
    queue: VecDeque<Event>,
    cell: Option<Box<dyn AnyCell>>,
    /// In the run queue.
    scheduled: bool,
    initialized: bool,
    /// Being run; its cell is out.
    running: bool,
}

#[derive(Default)]
struct WorkerLocal {
    slots: RefCell<Vec<Slot>>,
    runnable: RefCell<VecDeque<usize>>,
    /// Spare queue, swapped with a process's own while that is served.
    spare: Cell<VecDeque<Event>>,
    /// The worker's turn, or one is on its way: what is posted here needs no waking.
    awake: Cell<bool>,
}

thread_local! {
    static CURRENT: Cell<usize> = const { Cell::new(0) };
    static LOCAL: RefCell<Option<Rc<WorkerLocal>>> = const { RefCell::new(None) };
}

/// A worker's turn.
struct Turn {
    started: Instant,
    n_served: usize,
    /// Whether events take long, so that the time is looked at after each.
    slow: bool,
    over: bool,
}

impl Turn {
    fn start() -> Self {
        Turn { started: now(), n_served: 0, slow: false, over: false }
    }

    /// One more event is served, or what counts as one.
    fn spend(&mut self) {
        self.n_served += 1;
        let n = self.n_served;
        // How long they take is seen soon, unless there is only one.
        if self.slow || n.is_multiple_of(LOOK) || n == 2 || n == 4 {
            let took = self.started.elapsed();
            self.slow = took > LONG_EVENT.saturating_mul(u32::try_from(n).unwrap_or(u32::MAX));
            self.over = n >= TURN || took >= TURN_TIME;
        }
    }

    fn is_over(&self) -> bool {
        self.over
    }
}

/// The time by which the arbiter shares out its own.
#[allow(clippy::disallowed_methods)]
fn now() -> Instant {
    Instant::now()
}

pub(crate) struct Worker {
    shared: Arc<WorkerShared>,
    local: Rc<WorkerLocal>,
}

impl Worker {
    pub(crate) fn start_on(arbiter: &ArbiterHandle) -> Arc<WorkerShared> {
        static IDS: AtomicUsize = AtomicUsize::new(1);
        let shared = Arc::new(WorkerShared {
            id: IDS.fetch_add(1, Ordering::Relaxed),
            inbox: SegQueue::new(),
            awake: AtomicBool::new(false),
            waker: AtomicWaker::new(),
            address: OnceLock::new(),
            free_keys: SegQueue::new(),
            next_slot: AtomicU32::new(0),
            turns: AtomicU64::new(0),
        });
        let mine = shared.clone();
        let address = Worker::start_in_arbiter(arbiter, move |_| {
            let local = Rc::new(WorkerLocal::default());
            CURRENT.set(mine.id);
            LOCAL.with(|slot| *slot.borrow_mut() = Some(local.clone()));
            Worker { shared: mine, local }
        });
        let _ = shared.address.set(address);
        shared
    }

    /// Serves events until there are none or the turn is over; whether there are more.
    fn turn(&mut self) -> bool {
        let mut turn = Turn::start();
        while !turn.is_over() {
            self.empty_inbox();
            let Some(index) = self.local.runnable.borrow_mut().pop_front() else {
                if self.fall_asleep() {
                    return false;
                }
                // Counts, or mail for processes that are gone could keep a turn going for ever.
                turn.spend();
                continue;
            };
            if self.run(index, &mut turn) == 0 {
                turn.spend();
            }
        }
        true
    }

    /// Says that this worker has to be woken from now on, unless somebody wrote to it meanwhile.
    fn fall_asleep(&self) -> bool {
        if !self.shared.inbox.is_empty() {
            return false;
        }
        // Before the worker can be found idle.
        self.shared.turns.fetch_add(1, Ordering::SeqCst);
        self.shared.awake.store(false, Ordering::SeqCst);
        // Who sends looks at `awake` after sending, and here the inbox is looked at after setting it: one of the two
        // sees the other.
        fence(Ordering::SeqCst);
        if !self.shared.inbox.is_empty() && !self.shared.awake.swap(true, Ordering::SeqCst) {
            return false;
        }
        self.local.awake.set(false);
        true
    }

    fn empty_inbox(&mut self) {
        // No more than there is now, or one who sends without end would keep everybody from being served.
        for _ in 0..self.shared.inbox.len() {
            let Some((key, parcel)) = self.shared.inbox.pop() else { break };
            match parcel {
                Parcel::Event(event) => self.local.post(key, event),
                Parcel::Adopt(cell) => self.local.adopt(key, cell),
                Parcel::Queued(answer) => answer.set(self.local.queued(key)),
            }
        }
    }

    /// Gives the process in that slot its share of the turn; how many events it served.
    fn run(&mut self, index: usize, turn: &mut Turn) -> usize {
        let (mut cell, mut batch, initialized) = {
            let mut slots = self.local.slots.borrow_mut();
            let slot = &mut slots[index];
            slot.scheduled = false;
            let Some(cell) = slot.cell.take() else { return 0 };
            slot.running = true;
            let batch = std::mem::replace(&mut slot.queue, self.local.spare.take());
            (cell, batch, std::mem::replace(&mut slot.initialized, true))
        };
        let upid = cell.upid().clone();
        let mut served = 0;
        // One guard for the whole batch: what panics does not go on anyway.
        let outcome = guarded(|| {
            // A process is initialized even if it is to end at once: it will be finalized as well.
            if !initialized {
                served += 1;
                turn.spend();
                if cell.initialize() == Flow::Terminate {
                    return Flow::Terminate;
                }
            }
            while served < BATCH && !turn.is_over() {
                if upid.is_terminating() {
                    return Flow::Terminate;
                }
                let Some(event) = batch.pop_front() else { return Flow::Continue };
                served += 1;
                turn.spend();
                if cell.serve(event) == Flow::Terminate {
                    return Flow::Terminate;
                }
            }
            Flow::Continue
        });
        match outcome {
            Ok(Flow::Continue) => self.local.put_back(index, cell, batch),
            Ok(Flow::Terminate) => {
                let reason = guarded(|| cell.finalize()).err();
                self.end(index, cell, batch, &upid, reason);
            }
            Err(panic) => self.end(index, cell, batch, &upid, Some(panic)),
        }
        served
    }

    fn end(
        &mut self,
        index: usize,
        cell: Box<dyn AnyCell>,
        mut batch: VecDeque<Event>,
        upid: &Upid,
        panic: Option<String>,
    ) {
        let queue = {
            let mut slots = self.local.slots.borrow_mut();
            let slot = &mut slots[index];
            slot.generation = slot.generation.wrapping_add(1);
            slot.running = false;
            self.shared.free_keys.push(u64::from(slot.generation) << 32 | index as u64);
            std::mem::take(&mut slot.queue)
        };
        upid.mark_ended();
        // What was queued is dropped first: its promises are abandoned before anybody hears of the end.
        batch.drain(..).chain(queue).for_each(discard);
        self.local.keep(batch);
        discard(cell);
        upid.ended(panic);
    }
}

impl WorkerLocal {
    fn post(&self, key: u64, event: Event) {
        let (index, generation) = parts(key);
        let mut slots = self.slots.borrow_mut();
        if slots.len() <= index {
            // Its process waits in the inbox to be adopted.
            slots.resize_with(index + 1, Slot::default);
        }
        let Some(slot) = slots.get_mut(index).filter(|slot| slot.generation == generation) else {
            // The event's promises are abandoned by a destructor that may post in turn.
            drop(slots);
            discard(event);
            return;
        };
        slot.queue.push_back(event);
        self.schedule(slot, index);
    }

    fn schedule(&self, slot: &mut Slot, index: usize) {
        if !slot.scheduled && !slot.running && slot.cell.is_some() {
            slot.scheduled = true;
            self.runnable.borrow_mut().push_back(index);
        }
    }

    fn adopt(&self, key: u64, cell: Box<dyn AnyCell>) {
        let (index, generation) = parts(key);
        let mut slots = self.slots.borrow_mut();
        if slots.len() <= index {
            slots.resize_with(index + 1, Slot::default);
        }
        let slot = &mut slots[index];
        slot.generation = generation;
        slot.cell = Some(cell);
        slot.initialized = false;
        self.schedule(slot, index);
    }

    /// Returns a cell to its slot. What is left of its batch goes before what came meanwhile.
    fn put_back(&self, index: usize, cell: Box<dyn AnyCell>, mut batch: VecDeque<Event>) {
        let mut slots = self.slots.borrow_mut();
        let slot = &mut slots[index];
        slot.running = false;
        slot.cell = Some(cell);
        if batch.is_empty() {
            self.keep(batch);
        } else {
            batch.append(&mut slot.queue);
            slot.queue = batch;
        }
        if !slot.queue.is_empty() {
            self.schedule(slot, index);
        }
    }

    /// An idle process keeps no queue; a worker keeps one.
    fn keep(&self, queue: VecDeque<Event>) {
        if queue.capacity() <= ROOM_KEPT {
            self.spare.set(queue);
        }
    }

    fn queued(&self, key: u64) -> Vec<&'static str> {
        let (index, generation) = parts(key);
        let slots = self.slots.borrow();
        let slot = slots.get(index).filter(|slot| slot.generation == generation);
        slot.map_or_else(Vec::new, |slot| slot.queue.iter().map(Event::kind).collect())
    }
}

impl WorkerShared {
    fn deliver(&self, key: u64, parcel: Parcel) {
        self.inbox.push((key, parcel));
        fence(Ordering::SeqCst);
        self.wake();
    }

    fn wake(&self) {
        if !self.awake.load(Ordering::SeqCst) && !self.awake.swap(true, Ordering::SeqCst) {
            self.waker.wake();
        }
    }

    /// Something was put into a queue on this worker's thread: not by a handler, if the worker is asleep, but
    /// by a connection or a timer.
    fn stir(&self, local: &WorkerLocal) {
        if !local.awake.replace(true) {
            self.wake();
        }
    }

    fn is_this_thread(&self) -> bool {
        CURRENT.get() == self.id
    }

    fn local<R>(&self, f: impl FnOnce(&WorkerLocal) -> R) -> Option<R> {
        LOCAL.with(|local| local.borrow().as_deref().map(f))
    }

    pub(crate) fn n_turns(&self) -> u64 {
        self.turns.load(Ordering::SeqCst)
    }

    pub(crate) fn is_idle(&self) -> bool {
        !self.awake.load(Ordering::SeqCst) && self.inbox.is_empty()
    }
}

/// Whether processes run on this thread.
pub(crate) fn is_a_workers_thread() -> bool {
    CURRENT.get() != 0
}

impl Arena for WorkerShared {
    fn reserve(&self) -> u64 {
        let unused = || u64::from(self.next_slot.fetch_add(1, Ordering::Relaxed));
        self.free_keys.pop().unwrap_or_else(unused)
    }

    fn adopt(&self, key: u64, cell: Box<dyn AnyCell>) {
        if self.is_this_thread() {
            let mut cell = Some(cell);
            self.local(|local| {
                if let Some(cell) = cell.take() {
                    local.adopt(key, cell);
                    self.stir(local);
                }
            });
        } else {
            self.deliver(key, Parcel::Adopt(cell));
        }
    }

    fn post(&self, key: u64, event: Event) {
        if self.is_this_thread() {
            self.local(|local| {
                local.post(key, event);
                self.stir(local);
            });
        } else {
            self.deliver(key, Parcel::Event(event));
        }
    }

    fn queued(&self, key: u64, answer: Promise<Vec<&'static str>>) {
        self.deliver(key, Parcel::Queued(answer));
    }
}

impl Actor for Worker {
    type Context = ActixContext<Self>;

    fn started(&mut self, ctx: &mut ActixContext<Self>) {
        ctx.spawn(Turns);
    }
}

/// The worker's turns, one after the other, for as long as the program runs.
struct Turns;

impl ActorFuture<Worker> for Turns {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        worker: &mut Worker,
        _: &mut ActixContext<Worker>,
        task: &mut TaskContext<'_>,
    ) -> Poll<()> {
        // Before the worker can fall asleep: who finds it asleep wakes it by this.
        worker.shared.waker.register(task.waker());
        // The actor may be polled for reasons of its own; then nobody has said that it is awake.
        worker.shared.awake.store(true, Ordering::SeqCst);
        worker.local.awake.set(true);
        if worker.turn() {
            worker.shared.turns.fetch_add(1, Ordering::SeqCst);
            // Woken after the arbiter has looked at its connections and timers, and served what there is to do for
            // them: a worker that wakes itself comes before all that other threads have woken.
            let _pending = pin!(tokio::task::yield_now()).poll(task);
        }
        Poll::Pending
    }
}
