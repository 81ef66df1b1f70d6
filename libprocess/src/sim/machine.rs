//! What is particular to one node's machine: its clock, its disk, and whether it runs at all.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use rand::Rng as _;

use super::SimNode;
use super::world::{State, World};
use crate::clock;
use crate::time::Time;

type Thunk = Box<dyn FnOnce() + Send>;

/// A billion: clocks' rates are kept in such parts, for a run has to replay to the last digit.
const WHOLE: u128 = 1_000_000_000;

/// What a node's machine is like. It stays so over the node's crashes.
pub(super) struct Machine {
    /// At that moment of the world ...
    since: Time,
    /// ... its clock said this,
    said: Time,
    /// and since then it ran so many billionths as fast.
    rate: u128,
    /// What it said last. A clock that is set back waits until it gets there again.
    told: Time,
    /// What work off the actors takes.
    blocking: Range<Duration>,
    stopped: Option<Stopped>,
}

/// What waits for a node that does not run.
#[derive(Default)]
pub(super) struct Stopped {
    /// Processes that have something to do.
    runnable: Vec<u64>,
    /// What came due or arrived, in order.
    held: Vec<Thunk>,
}

impl Machine {
    pub(super) fn new(now: Time) -> Machine {
        let blocking = Duration::from_micros(50)..Duration::from_micros(2_000);
        Machine { since: now, said: now, rate: WHOLE, told: now, blocking, stopped: None }
    }

    fn clock(&self, now: Time) -> Time {
        let passed = u128::from(now.as_nanos().saturating_sub(self.since.as_nanos()));
        let passed = u64::try_from(passed * self.rate / WHOLE).unwrap_or(u64::MAX);
        self.said + Duration::from_nanos(passed)
    }

    fn tell(&mut self, now: Time) -> Time {
        self.told = self.told.max(self.clock(now));
        self.told
    }

    /// How long the world takes for so much of this clock, and no less.
    fn span(&self, span: Duration) -> Duration {
        if self.rate == WHOLE {
            return span;
        }
        let nanos = (span.as_nanos().min(u128::from(u64::MAX)) * WHOLE).div_ceil(self.rate) + 1;
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// Changes how a node's clock runs. A clock is what [`Context::now`](crate::Context::now) tells and timers wait by;
/// [`Simulation::now`](super::Simulation::now) is the world's, which none of them changes.
pub struct Clock<'a> {
    world: &'a Arc<World>,
    node: usize,
}

impl<'a> Clock<'a> {
    pub(super) fn new(world: &'a Arc<World>, node: SimNode) -> Clock<'a> {
        Clock { world, node: node.0 }
    }

    /// From now on it runs that much as fast as the world's: 1.01 gains a hundredth. Timers that wait already
    /// end when they would have.
    ///
    /// # Panics
    ///
    /// When the rate is not between a thousandth and a thousand.
    pub fn rate(&mut self, rate: f64) -> &mut Self {
        assert!((0.001..=1000.0).contains(&rate), "a clock cannot run at the rate {rate}");
        self.change(|machine, clock| {
            machine.said = clock;
            machine.rate = (rate * WHOLE as f64) as u128;
        })
    }

    /// Sets it forward. No timer ends earlier for that.
    pub fn forward(&mut self, by: Duration) -> &mut Self {
        self.change(|machine, clock| machine.said = clock + by)
    }

    /// Sets it back. What it tells does not run backwards: it stands still until it is there again.
    pub fn back(&mut self, by: Duration) -> &mut Self {
        let nanos = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        self.change(|machine, clock| {
            machine.said = Time::from_nanos(clock.as_nanos().saturating_sub(nanos));
        })
    }

    fn change(&mut self, f: impl FnOnce(&mut Machine, Time)) -> &mut Self {
        let mut state = self.world.state.lock();
        let now = state.now();
        let node = &mut state.nodes[self.node];
        let clock = node.machine.clock(now);
        node.machine.since = now;
        f(&mut node.machine, clock);
        let (address, rate) = (node.address, node.machine.rate as f64 / WHOLE as f64);
        let says = node.machine.clock(now);
        state.log.note(now, format_args!("clock of {address} says {says:?} and runs at {rate}"));
        self
    }
}

impl State {
    pub(super) fn is_stopped(&self, node: usize) -> bool {
        self.nodes[node].machine.stopped.is_some()
    }

    /// Where the node's processes wait for their turn.
    pub(super) fn runnable_of(&mut self, node: usize) -> &mut Vec<u64> {
        match &mut self.nodes[node].machine.stopped {
            Some(stopped) => &mut stopped.runnable,
            None => &mut self.runnable,
        }
    }

    /// What work off the actors takes there, this time.
    fn blocking_takes(&mut self, node: usize) -> Duration {
        let range = &self.nodes[node].machine.blocking;
        let nanos = range.start.as_nanos() as u64..range.end.as_nanos() as u64;
        Duration::from_nanos(self.rng.random_range(nanos))
    }
}

impl World {
    /// What a node's clock says.
    pub(super) fn clock(&self, node: usize) -> Time {
        let mut state = self.state.lock();
        let now = state.now();
        state.nodes[node].machine.tell(now)
    }

    /// How long the world takes for so much of a node's clock.
    pub(super) fn span(&self, node: usize, span: Duration) -> Duration {
        self.state.lock().nodes[node].machine.span(span)
    }

    pub(super) fn set_blocking(&self, node: usize, range: Range<Duration>) {
        assert!(range.start < range.end, "an empty range of durations: {range:?}");
        self.state.lock().nodes[node].machine.blocking = range;
    }

    /// Does something on a node, as soon as it runs, unless it has crashed before.
    pub(super) fn on_node(&self, node: usize, life: u64, thunk: Thunk) {
        let mut state = self.state.lock();
        let it = &mut state.nodes[node];
        if it.life != life || it.inner.is_none() {
            // What it holds may want the world when it is dropped.
            drop(state);
            return;
        }
        match &mut it.machine.stopped {
            Some(stopped) => stopped.held.push(thunk),
            None => {
                drop(state);
                clock::run(thunk);
            }
        }
    }

    pub(super) fn stop(&self, node: usize) {
        let mut state = self.state.lock();
        if state.nodes[node].inner.is_none() || state.is_stopped(node) {
            return;
        }
        let all = std::mem::take(&mut state.runnable);
        let (here, elsewhere) = all.into_iter().partition(|key| state.node_of(*key) == Some(node));
        state.runnable = elsewhere;
        state.nodes[node].machine.stopped = Some(Stopped { runnable: here, held: Vec::new() });
        let (now, address) = (state.now(), state.nodes[node].address);
        state.log.note(now, format_args!("node {address} stopped"));
    }

    pub(super) fn go_on(&self, node: usize) {
        let held = {
            let mut state = self.state.lock();
            let Some(stopped) = state.nodes[node].machine.stopped.take() else { return };
            state.runnable.extend(stopped.runnable);
            let (now, address) = (state.now(), state.nodes[node].address);
            state.log.note(now, format_args!("node {address} goes on"));
            stopped.held
        };
        held.into_iter().for_each(clock::run);
    }

    /// A node that crashes runs again when it is started. What it held is to be dropped with the world unlocked.
    #[must_use]
    pub(super) fn forget_stopped(state: &mut State, node: usize) -> Option<Stopped> {
        state.nodes[node].machine.stopped.take()
    }

    /// Work off the actor takes a while here too; if the node crashes first, it was never done.
    pub(super) fn blocking(self: &Arc<Self>, node: usize, life: u64, work: Thunk) {
        let takes = self.state.lock().blocking_takes(node);
        let world = Arc::downgrade(self);
        let done = move || {
            if let Some(world) = world.upgrade() {
                world.on_node(node, life, work);
            }
        };
        self.schedule(takes, Box::new(done));
    }
}
