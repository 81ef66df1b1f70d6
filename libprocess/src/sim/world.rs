//! Everything there is in a simulation, and the step that moves it on.

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rand::{Rng as _, SeedableRng};

use super::arena::{SimArena, SimEnvironment};
use super::connections::Links;
use super::log::Log;
use super::machine::Machine;
use super::network::NetworkState;
use super::transport::SimTransport;
use crate::clock::{self, Owner, Timer, TimerTable};
use crate::context::Rng;
use crate::event::Event;
use crate::node::NodeInner;
use crate::process::{AnyCell, Flow, Process, discard, guarded};
use crate::time::Time;
use crate::upid::{Address, Upid};

/// When every simulation begins: the same instant, so that times in a log can be compared.
const BEGINNING: Time = Time::from_nanos(1_700_000_000_000_000_000);

/// Events at one instant before a run is taken for a loop that never ends.
const STEPS_AT_ONE_INSTANT: u64 = 10_000_000;

pub(super) struct World {
    seed: u64,
    pub(super) state: Mutex<State>,
    timers: Arc<Mutex<TimerTable>>,
}

pub(super) struct State {
    now: Time,
    steps_here: u64,
    pub(super) rng: Rng,
    pub(super) nodes: Vec<NodeState>,
    processes: BTreeMap<u64, Slot>,
    next_key: u64,
    pub(super) runnable: Vec<u64>,
    pub(super) network: NetworkState,
    pub(super) links: Links,
    pub(super) log: Log,
}

pub(super) struct NodeState {
    pub(super) address: Address,
    delegate: Option<String>,
    /// Counts its starts.
    pub(super) life: u64,
    /// `None` while it is down.
    pub(super) inner: Option<Arc<NodeInner>>,
    pub(super) machine: Machine,
}

struct Slot {
    node: usize,
    upid: Option<Upid>,
    queue: VecDeque<Event>,
    cell: Option<Box<dyn AnyCell>>,
    initialized: bool,
    runnable: bool,
}

impl World {
    pub(super) fn new(seed: u64) -> Arc<World> {
        Arc::new(World {
            seed,
            state: Mutex::new(State {
                now: BEGINNING,
                steps_here: 0,
                rng: Rng::seed_from_u64(seed),
                nodes: Vec::new(),
                processes: BTreeMap::new(),
                next_key: 1,
                runnable: Vec::new(),
                network: NetworkState::default(),
                links: Links::default(),
                log: Log::new(),
            }),
            timers: Arc::default(),
        })
    }

    pub(super) fn add_node(self: &Arc<Self>, address: Address, delegate: Option<String>) -> usize {
        let index = {
            let mut state = self.state.lock();
            assert!(
                state.nodes.iter().all(|node| node.address != address),
                "two nodes cannot share the address {address}"
            );
            let machine = Machine::new(state.now);
            state.nodes.push(NodeState { address, delegate, life: 0, inner: None, machine });
            state.nodes.len() - 1
        };
        self.restart(index);
        index
    }

    pub(super) fn restart(self: &Arc<Self>, node: usize) {
        let (address, delegate, life) = {
            let mut state = self.state.lock();
            let node = &mut state.nodes[node];
            if node.inner.is_some() {
                return;
            }
            node.life += 1;
            (node.address, node.delegate.clone(), node.life)
        };
        let world = Arc::downgrade(self);
        let environment = Arc::new(SimEnvironment { world: world.clone(), node, life });
        let arena = Arc::new(SimArena { world: world.clone(), node });
        let inner = NodeInner::new(address, delegate, environment, vec![arena]);
        inner.set_transport(Arc::new(SimTransport { world, node, life }));
        let mut state = self.state.lock();
        state.nodes[node].inner = Some(inner);
        let now = state.now;
        state.log.note(now, format_args!("node {address} up, life {life}"));
    }

    pub(super) fn crash(self: &Arc<Self>, node: usize) {
        let mut gone = Vec::new();
        let (inner, stopped) = {
            let mut state = self.state.lock();
            let Some(inner) = state.nodes[node].inner.take() else { return };
            let stopped = World::forget_stopped(&mut state, node);
            let keys: Vec<u64> =
                state.processes.iter().filter(|(_, slot)| slot.node == node).map(|(key, _)| *key).collect();
            for key in keys {
                gone.extend(state.processes.remove(&key));
            }
            let alive = &state.processes;
            let runnable = state.runnable.iter().copied().filter(|key| alive.contains_key(key)).collect();
            state.runnable = runnable;
            let (now, address) = (state.now, state.nodes[node].address);
            state.log.note(now, format_args!("node {address} crashed"));
            (inner, stopped)
        };
        for slot in &gone {
            if let Some(upid) = &slot.upid {
                upid.mark_ended();
            }
        }
        // Promises are abandoned here, without the world locked: who waits for them may post.
        drop((gone, stopped));
        drop(inner);
        self.peer_lost(node);
    }

    /// Breaks the cycles between the world, its nodes and their processes.
    pub(super) fn dissolve(&self) {
        let (nodes, stopped, processes) = {
            let mut state = self.state.lock();
            state.runnable.clear();
            let nodes: Vec<_> = state.nodes.iter_mut().filter_map(|node| node.inner.take()).collect();
            let all = 0..state.nodes.len();
            let stopped: Vec<_> = all.map(|node| World::forget_stopped(&mut state, node)).collect();
            (nodes, stopped, std::mem::take(&mut state.processes))
        };
        for slot in processes.values() {
            if let Some(upid) = &slot.upid {
                upid.mark_ended();
            }
        }
        let timers = self.timers.lock().take();
        drop(timers);
        drop(stopped);
        drop(processes);
        drop(nodes);
    }

    pub(super) fn inner(&self, node: usize) -> Option<Arc<NodeInner>> {
        self.state.lock().nodes[node].inner.clone()
    }

    /// Which of its lives a node is in; `None` while it is down.
    pub(super) fn life(&self, node: usize) -> Option<u64> {
        let state = self.state.lock();
        state.nodes[node].inner.as_ref().map(|_| state.nodes[node].life)
    }

    pub(super) fn address(&self, node: usize) -> Address {
        self.state.lock().nodes[node].address
    }

    pub(super) fn node_at(&self, address: Address) -> Option<usize> {
        self.state.lock().node_at(address)
    }

    pub(super) fn now(&self) -> Time {
        self.state.lock().now
    }

    pub(super) fn log_text(&self) -> String {
        self.state.lock().log.text()
    }

    pub(super) fn log_digest(&self) -> u64 {
        self.state.lock().log.digest()
    }

    pub(super) fn keep_no_log(&self) {
        self.state.lock().log.keep_no_text();
    }

    pub(super) fn reserve(&self, node: usize) -> u64 {
        let mut state = self.state.lock();
        let key = state.next_key;
        state.next_key += 1;
        let queue = VecDeque::new();
        let slot = Slot { node, upid: None, queue, cell: None, initialized: false, runnable: false };
        state.processes.insert(key, slot);
        key
    }

    pub(super) fn adopt(&self, key: u64, cell: Box<dyn AnyCell>) {
        let mut state = self.state.lock();
        if let Some(slot) = state.processes.get_mut(&key) {
            slot.upid = Some(cell.upid().clone());
            slot.cell = Some(cell);
            state.make_runnable(key);
        }
    }

    pub(super) fn post(&self, key: u64, event: Event) {
        let mut state = self.state.lock();
        match state.processes.get_mut(&key) {
            Some(slot) => {
                slot.queue.push_back(event);
                state.make_runnable(key);
            }
            None => {
                drop(state);
                discard(event);
            }
        }
    }

    pub(super) fn queued(&self, key: u64) -> Vec<&'static str> {
        let state = self.state.lock();
        state.processes.get(&key).map_or_else(Vec::new, |slot| slot.queue.iter().map(Event::kind).collect())
    }

    pub(super) fn schedule(&self, after: Duration, thunk: Box<dyn FnOnce() + Send>) -> Timer {
        self.schedule_for(None, after, thunk)
    }

    pub(super) fn schedule_for(
        &self,
        owner: Option<Owner>,
        after: Duration,
        thunk: Box<dyn FnOnce() + Send>,
    ) -> Timer {
        let due = self.now() + after;
        let key = self.timers.lock().insert(due, owner, thunk);
        Timer::new(&self.timers, key)
    }

    /// The seed of one process's random numbers: of the run, the node's life and the process's name alone, so
    /// that one process drawing more does not change another.
    pub(super) fn process_seed(&self, life: u64, upid: &Upid) -> u64 {
        let mut hash = self.seed ^ life.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for byte in upid.to_string().bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        hash
    }

    pub(super) fn is_alive(&self, node: usize, life: u64) -> bool {
        let state = self.state.lock();
        state.nodes[node].life == life && state.nodes[node].inner.is_some()
    }

    pub(super) fn with<P: Process, R>(&self, upid: &Upid, f: impl FnOnce(&mut P) -> R) -> Option<R> {
        let key = upid.local()?.key;
        let mut cell = self.state.lock().processes.get_mut(&key)?.cell.take()?;
        let process: &mut dyn Any = cell.process();
        let result = process.downcast_mut::<P>().map(f);
        let mut state = self.state.lock();
        if let Some(slot) = state.processes.get_mut(&key) {
            slot.cell = Some(cell);
            if !slot.queue.is_empty() {
                // `f` posted to it; it could not be made runnable with its cell out.
                state.make_runnable(key);
            }
        }
        result
    }

    /// Serves one event, or moves the time to the next timer and fires it; false when `end` is reached and
    /// nothing is left to do.
    pub(super) fn step(&self, end: Time) -> bool {
        if self.serve_one() {
            return true;
        }
        let thunk = {
            let mut timers = self.timers.lock();
            match timers.next_due().filter(|due| *due <= end) {
                Some(due) => {
                    let mut state = self.state.lock();
                    if due > state.now {
                        state.now = due;
                        state.steps_here = 0;
                    }
                    timers.pop_due(due)
                }
                None => None,
            }
        };
        match thunk {
            Some(thunk) => {
                clock::run(thunk);
                true
            }
            None => {
                let mut state = self.state.lock();
                state.now = state.now.max(end);
                state.steps_here = 0;
                false
            }
        }
    }

    fn serve_one(&self) -> bool {
        let (key, mut cell, event, upid) = {
            let mut state = self.state.lock();
            if state.runnable.is_empty() {
                return false;
            }
            state.steps_here += 1;
            assert!(
                state.steps_here < STEPS_AT_ONE_INSTANT,
                "the processes of this simulation (seed {}) keep each other busy without time passing",
                self.seed
            );
            let n_runnable = state.runnable.len();
            let pick = state.rng.random_range(0..n_runnable);
            let key = state.runnable.swap_remove(pick);
            let now = state.now;
            let State { processes, log, .. } = &mut *state;
            let Some(slot) = processes.get_mut(&key) else { return true };
            slot.runnable = false;
            let Some(cell) = slot.cell.take() else { return true };
            let upid = cell.upid().clone();
            let event = if slot.initialized { slot.queue.pop_front() } else { None };
            match &event {
                Some(event) => log.event(now, &upid, event),
                None => log.note(now, format_args!("{upid} initialize")),
            }
            slot.initialized = true;
            (key, cell, event, upid)
        };
        let outcome = guarded(|| match event {
            // Even if it is to end at once: it will be finalized as well.
            None => cell.initialize(),
            Some(_) if upid.is_terminating() => Flow::Terminate,
            Some(event) => cell.serve(event),
        });
        match outcome {
            Ok(Flow::Continue) => {
                let mut state = self.state.lock();
                match state.processes.get_mut(&key) {
                    Some(slot) => {
                        slot.cell = Some(cell);
                        if !slot.queue.is_empty() {
                            state.make_runnable(key);
                        }
                    }
                    None => {
                        drop(state);
                        drop(cell);
                    }
                }
            }
            Ok(Flow::Terminate) => {
                let panic = guarded(|| cell.finalize()).err();
                self.end(key, cell, &upid, panic);
            }
            Err(panic) => self.end(key, cell, &upid, Some(panic)),
        }
        true
    }

    fn end(&self, key: u64, cell: Box<dyn AnyCell>, upid: &Upid, panic: Option<String>) {
        let slot = {
            let mut state = self.state.lock();
            let now = state.now;
            match &panic {
                Some(panic) => state.log.note(now, format_args!("{upid} panicked: {panic}")),
                None => state.log.note(now, format_args!("{upid} ended")),
            }
            state.processes.remove(&key)
        };
        upid.mark_ended();
        // What was queued is dropped first: its promises are abandoned before anybody hears of the end.
        slot.into_iter().flat_map(|slot| slot.queue).for_each(discard);
        discard(cell);
        upid.ended(panic);
    }
}

impl State {
    pub(super) fn now(&self) -> Time {
        self.now
    }

    fn make_runnable(&mut self, key: u64) {
        if let Some(slot) = self.processes.get_mut(&key)
            && !slot.runnable
            && slot.cell.is_some()
        {
            slot.runnable = true;
            let node = slot.node;
            self.runnable_of(node).push(key);
        }
    }

    /// The node of a process.
    pub(super) fn node_of(&self, key: u64) -> Option<usize> {
        self.processes.get(&key).map(|slot| slot.node)
    }

    pub(super) fn node_at(&self, address: Address) -> Option<usize> {
        self.nodes.iter().position(|node| node.address == address)
    }
}
