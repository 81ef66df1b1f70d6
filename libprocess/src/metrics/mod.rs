//! What a node counts and measures, under names like `master/tasks_running`.
//!
//! A metric belongs to the process that made it ([`Context::metrics`](crate::Context::metrics)) and leaves the
//! registry with it; one made through [`Node::metrics`](crate::Node::metrics) stays. Asking twice for a name
//! gives the same metric, so that counts are never split; a name asked for as another kind is that kind from
//! then on, and the log says so.

mod history;
mod snapshot;

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};

use crate::future::Future;
use crate::host::Environment;
use crate::time::Time;
use crate::upid::Upid;
use history::History;
pub use snapshot::{Kind, Sample, Snapshot};

/// Evaluated by the process it belongs to, which comes behind `Any`.
pub(crate) type Pull = Arc<dyn Fn(&dyn Any) -> f64 + Send + Sync>;

#[derive(Clone)]
enum Metric {
    Counter(Counter),
    Gauge(Gauge),
    Timer(TimerMetric),
    Pull(Pull),
    Queue(Queued),
}

/// A kind of events that wait in a process's queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queued {
    /// Messages, of this node or another.
    Messages,
    /// Calls: dispatches, timers and futures that came back.
    Dispatches,
    /// HTTP requests.
    Requests,
}

impl Queued {
    /// How many events of this kind there are among these.
    fn count(self, events: &[&'static str]) -> usize {
        let kind = match self {
            Queued::Messages => "MESSAGE",
            Queued::Dispatches => "DISPATCH",
            Queued::Requests => "HTTP",
        };
        events.iter().filter(|event| **event == kind).count()
    }
}

struct Entry {
    metric: Metric,
    owner: Option<Upid>,
}

/// All metrics of a node.
pub(crate) struct Registry {
    environment: Arc<dyn Environment>,
    entries: RwLock<BTreeMap<Arc<str>, Entry>>,
}

impl Registry {
    pub(crate) fn new(environment: Arc<dyn Environment>) -> Arc<Registry> {
        Arc::new(Registry { environment, entries: RwLock::default() })
    }

    /// A process has ended: what it measured goes with it.
    pub(crate) fn remove_all_of(&self, owner: &Upid) {
        // A look first: most processes have none, and there may be thousands of metrics.
        let any = self.entries.read().values().any(|entry| entry.owner.as_ref() == Some(owner));
        if any {
            self.entries.write().retain(|_, entry| entry.owner.as_ref() != Some(owner));
        }
    }

    pub(crate) fn add_pull(&self, name: &str, owner: &Upid, pull: Pull) {
        self.add(name, owner, Metric::Pull(pull));
    }

    pub(crate) fn add_queue(&self, name: &str, owner: &Upid, kind: Queued) {
        self.add(name, owner, Metric::Queue(kind));
    }

    fn add(&self, name: &str, owner: &Upid, metric: Metric) {
        self.entries.write().insert(name.into(), Entry { metric, owner: Some(owner.clone()) });
    }

    /// The metric of that name if `existing` knows it as its kind, or else the one that `make` makes.
    fn obtain<M: Clone>(
        &self,
        name: &str,
        owner: Option<&Upid>,
        existing: impl Fn(&Metric) -> Option<&M>,
        make: impl FnOnce() -> (M, Metric),
    ) -> M {
        let mut entries = self.entries.write();
        if let Some(entry) = entries.get_mut(name) {
            if let Some(metric) = existing(&entry.metric) {
                let metric = metric.clone();
                if entry.owner.is_some() {
                    // The last to ask keeps it: the earlier one may be a predecessor about to end.
                    entry.owner = owner.cloned();
                }
                return metric;
            }
            tracing::warn!(name, "a metric changes its kind; its former value is lost");
        }
        let (handle, metric) = make();
        entries.insert(name.into(), Entry { metric, owner: owner.cloned() });
        handle
    }
}

/// A node's metrics, as one process of it (or nobody) adds to them. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    owner: Option<Upid>,
}

impl Metrics {
    pub(crate) fn new(registry: Arc<Registry>, owner: Option<Upid>) -> Metrics {
        Metrics { registry, owner }
    }

    /// The counter of that name.
    pub fn counter(&self, name: &str) -> Counter {
        self.counter_with(name, None)
    }

    /// The counter of that name; of its values over the last `window`, a snapshot shows count, extremes and
    /// percentiles.
    pub fn counter_with_window(&self, name: &str, window: Duration) -> Counter {
        self.counter_with(name, Some(window))
    }

    fn counter_with(&self, name: &str, window: Option<Duration>) -> Counter {
        self.registry.obtain(
            name,
            self.owner.as_ref(),
            |metric| if let Metric::Counter(counter) = metric { Some(counter) } else { None },
            || {
                let history = window.map(|window| Recorder::new(&self.registry, window));
                let counter = Counter(Arc::new(CounterInner { value: AtomicI64::new(0), history }));
                (counter.clone(), Metric::Counter(counter))
            },
        )
    }

    /// The gauge of that name.
    pub fn gauge(&self, name: &str) -> Gauge {
        self.registry.obtain(
            name,
            self.owner.as_ref(),
            |metric| if let Metric::Gauge(gauge) = metric { Some(gauge) } else { None },
            || {
                let gauge = Gauge(Arc::new(AtomicU64::new(0f64.to_bits())));
                (gauge.clone(), Metric::Gauge(gauge))
            },
        )
    }

    /// The timer of that name, in milliseconds: it appears as `<name>_ms`. With a window, a snapshot also shows
    /// count, extremes and percentiles of what was measured within it.
    pub fn timer(&self, name: &str, window: impl Into<Option<Duration>>) -> TimerMetric {
        let window = window.into();
        self.registry.obtain(
            &format!("{name}_ms"),
            self.owner.as_ref(),
            |metric| if let Metric::Timer(timer) = metric { Some(timer) } else { None },
            || {
                let recorder = Recorder::new(&self.registry, window.unwrap_or(Duration::ZERO));
                let timer = TimerMetric(Arc::new(TimerInner { recorder, windowed: window.is_some() }));
                (timer.clone(), Metric::Timer(timer))
            },
        )
    }

    /// Takes a metric out of the registry; whether it was there. Handles to it go on working, unseen. A
    /// timer's name is the one it appears under, with its `_ms`.
    pub fn remove(&self, name: &str) -> bool {
        self.registry.entries.write().remove(name).is_some()
    }

    /// All values, sorted by name. What a process has not answered within `timeout` is left out; without a
    /// timeout every process is waited for, for as long as it lives.
    pub fn snapshot(&self, timeout: Option<Duration>) -> Future<Snapshot> {
        snapshot::take(&self.registry, timeout)
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").field("owner", &self.owner).finish_non_exhaustive()
    }
}

/// Values over a window of time, and the clock to date them by.
struct Recorder {
    environment: Arc<dyn Environment>,
    history: Mutex<History>,
}

impl Recorder {
    fn new(registry: &Registry, window: Duration) -> Recorder {
        Recorder { environment: registry.environment.clone(), history: Mutex::new(History::new(window)) }
    }

    fn record(&self, value: f64) {
        let now = self.environment.now();
        self.history.lock().push(now, value);
    }
}

struct CounterInner {
    value: AtomicI64,
    history: Option<Recorder>,
}

/// A whole number that mostly grows.
#[derive(Clone)]
pub struct Counter(Arc<CounterInner>);

impl Counter {
    /// Adds one.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Adds `n`.
    pub fn add(&self, n: i64) {
        let value = self.0.value.fetch_add(n, Ordering::Relaxed).wrapping_add(n);
        if let Some(history) = &self.0.history {
            history.record(value as f64);
        }
    }

    /// Sets it to zero.
    pub fn reset(&self) {
        self.0.value.store(0, Ordering::Relaxed);
        if let Some(history) = &self.0.history {
            history.record(0.0);
        }
    }

    /// Its value.
    pub fn get(&self) -> i64 {
        self.0.value.load(Ordering::Relaxed)
    }
}

impl std::fmt::Debug for Counter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Counter({})", self.get())
    }
}

/// A value that goes up and down.
#[derive(Clone)]
pub struct Gauge(Arc<AtomicU64>);

impl Gauge {
    /// Sets it.
    pub fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Ordering::Relaxed);
    }

    /// Adds `by`, which may be negative.
    pub fn add(&self, by: f64) {
        let add = |bits| Some((f64::from_bits(bits) + by).to_bits());
        // The closure never refuses, so neither does this.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    /// Its value.
    pub fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }
}

impl std::fmt::Debug for Gauge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Gauge({})", self.get())
    }
}

struct TimerInner {
    recorder: Recorder,
    windowed: bool,
}

/// How long something takes.
#[derive(Clone)]
pub struct TimerMetric(Arc<TimerInner>);

impl TimerMetric {
    /// Records one measurement.
    pub fn record(&self, took: Duration) {
        self.0.recorder.record(took.as_secs_f64() * 1e3);
    }

    /// Starts a measurement by the node's clock; it is recorded by [`Stopwatch::stop`].
    pub fn start(&self) -> Stopwatch {
        Stopwatch { timer: self.clone(), since: self.0.recorder.environment.now() }
    }

    /// The last measurement in milliseconds; none before the first.
    pub fn last_ms(&self) -> Option<f64> {
        self.0.recorder.history.lock().last()
    }
}

impl std::fmt::Debug for TimerMetric {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TimerMetric({:?} ms)", self.last_ms())
    }
}

/// A measurement under way. Dropping it records nothing.
#[derive(Debug)]
pub struct Stopwatch {
    timer: TimerMetric,
    since: Time,
}

impl Stopwatch {
    /// Records the time since the start, and says it.
    pub fn stop(self) -> Duration {
        let took = self.timer.0.recorder.environment.now() - self.since;
        self.timer.record(took);
        took
    }
}
