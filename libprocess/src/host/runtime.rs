//! The arbiters that run processes on the real host.

use std::sync::{Arc, OnceLock, mpsc};

use actix_rt::{Arbiter, ArbiterHandle, System};

use super::worker::{Worker, WorkerShared};

/// A set of arbiters, each a thread with an event loop and one worker. Nodes share it; most programs never
/// name it and use the [global](Runtime::global) one.
#[derive(Clone)]
pub struct Runtime(Arc<Inner>);

struct Inner {
    arbiters: Vec<ArbiterHandle>,
    workers: Vec<Arc<WorkerShared>>,
    blocking: tokio::runtime::Handle,
}

/// No thread could be started.
#[derive(Debug, thiserror::Error)]
#[error("could not start the threads that run processes")]
pub struct RuntimeError(#[from] std::io::Error);

impl Runtime {
    /// A runtime of that many workers, at least one.
    pub fn new(n_workers: usize) -> Result<Runtime, RuntimeError> {
        let n_workers = n_workers.clamp(1, 1024);
        let (tell, told) = mpsc::channel();
        std::thread::Builder::new().name("libprocess-0".to_owned()).spawn(move || {
            let system = System::new();
            let mut arbiters = vec![System::current().arbiter().clone()];
            arbiters.extend((1..n_workers).map(|_| Arbiter::new().handle()));
            let workers = arbiters.iter().map(Worker::start_on).collect();
            let blocking = system.runtime().tokio_runtime().handle().clone();
            let inner = Inner { arbiters, workers, blocking };
            if tell.send(Runtime(Arc::new(inner))).is_ok() {
                // Runs until the program ends: arbiters have no owner that could outlive a process.
                let _ = system.run();
            }
        })?;
        told.recv().map_err(|_| RuntimeError(std::io::Error::other("the first thread ended at once")))
    }

    /// The runtime of this program: as many workers as cores, or as `LIBPROCESS_NUM_WORKER_THREADS` (1 to
    /// 1024) says.
    pub fn global() -> Result<Runtime, RuntimeError> {
        static GLOBAL: OnceLock<Runtime> = OnceLock::new();
        if let Some(runtime) = GLOBAL.get() {
            return Ok(runtime.clone());
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let n_workers = match std::env::var("LIBPROCESS_NUM_WORKER_THREADS") {
            Ok(text) => match text.parse() {
                Ok(n) if (1..=1024).contains(&n) => n,
                _ => {
                    tracing::warn!(
                        "LIBPROCESS_NUM_WORKER_THREADS is `{text}`; it must be a number from 1 to 1024"
                    );
                    cores
                }
            },
            Err(_) => cores,
        };
        let runtime = Runtime::new(n_workers)?;
        Ok(GLOBAL.get_or_init(|| runtime).clone())
    }

    /// How many workers there are.
    pub fn n_workers(&self) -> usize {
        self.0.workers.len()
    }

    pub(crate) fn workers(&self) -> &[Arc<WorkerShared>] {
        &self.0.workers
    }

    pub(crate) fn arbiter(&self, index: usize) -> &ArbiterHandle {
        &self.0.arbiters[index % self.0.arbiters.len()]
    }

    pub(crate) fn blocking(&self, work: Box<dyn FnOnce() + Send>) {
        drop(self.0.blocking.spawn_blocking(work));
    }
}
