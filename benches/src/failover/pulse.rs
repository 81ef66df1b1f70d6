//! How long a process has to wait for its turn: one on each worker of a node wants it every few milliseconds, as
//! a registrar does for its heartbeats and an observer for its pings.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use libprocess::{Context, Id, Node, Process, Runtime, Time};

use super::Result;

const BEAT: Duration = Duration::from_millis(10);

struct Beating {
    last: Option<Time>,
    worst: Arc<AtomicU64>,
}

impl Beating {
    fn beat(&mut self, ctx: &mut Context<Self>) {
        let now = ctx.now();
        if let Some(last) = self.last.replace(now) {
            let nanos = u64::try_from((now - last).as_nanos()).unwrap_or(u64::MAX);
            self.worst.fetch_max(nanos, Ordering::Relaxed);
        }
        ctx.delay(BEAT, Self::beat);
    }
}

impl Process for Beating {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        self.beat(ctx);
    }
}

/// The processes that want their turn.
pub struct Pulse(Vec<Arc<AtomicU64>>);

impl Pulse {
    /// Starts one on each worker of `runtime`, by timers of `node`.
    pub fn start(node: &Node, runtime: &Runtime) -> Result<Pulse> {
        let mut all = Vec::new();
        for worker in 0..runtime.n_workers() {
            let worst = Arc::new(AtomicU64::new(0));
            node.spawn_on(worker, Id::prefix("pulse"), Beating { last: None, worst: worst.clone() })?;
            all.push(worst);
        }
        Ok(Pulse(all))
    }

    /// The longest time between two beats since the last call, in milliseconds.
    pub fn worst_ms(&self) -> f64 {
        self.0.iter().map(|worst| worst.swap(0, Ordering::Relaxed) as f64 / 1e6).fold(0.0, f64::max)
    }
}
