//! The actor that keeps the registry: one batch of operations at a time is written, off the actor; what is
//! asked for meanwhile makes the next batch.

use std::path::PathBuf;
use std::time::Duration;

use api::v1::MasterInfo;
use libprocess::http::{Answer, Request, Response, RouteOptions};
use libprocess::{Context, Future, Process, Promise};

use super::operation::{Kind, Operation};
use super::replica::{Outcomes, Replica, ReplicaError};
use super::state::{Refused, Registry};

/// Where the registry is kept.
#[derive(Debug, Clone)]
pub enum Storage {
    /// Nowhere: it is gone when the master ends. For tests and trials.
    Memory,
    /// In that directory.
    Directory(PathBuf),
}

/// Why an operation has no outcome. The registry's state is then unknown: the master must end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistrarError {
    /// Operations wait for [`Registrar::recover`].
    #[error("the registry has not been recovered yet")]
    NotRecovered,
    /// The storage failed, now or before.
    #[error("the registry is out of service: {0}")]
    Failed(String),
}

/// The registry while nothing is being written.
enum Store {
    Memory(Box<Registry>),
    Durable(Box<Replica>),
}

impl Store {
    fn open(storage: &Storage) -> Result<Store, ReplicaError> {
        match storage {
            Storage::Memory => Ok(Store::Memory(Box::default())),
            Storage::Directory(path) => Ok(Store::Durable(Box::new(Replica::open(path)?))),
        }
    }

    fn commit(&mut self, operations: Vec<Operation>) -> Result<Outcomes, ReplicaError> {
        match self {
            Store::Memory(registry) => {
                Ok(operations.iter().map(|operation| registry.apply(operation)).collect())
            }
            Store::Durable(replica) => replica.commit(operations),
        }
    }

    fn registry(&self) -> &Registry {
        match self {
            Store::Memory(registry) => registry,
            Store::Durable(replica) => replica.registry(),
        }
    }
}

enum State {
    Closed,
    Idle(Store),
    /// The store is with a batch, or with a reader.
    Busy,
    Failed(String),
}

type Waiting<T> = Promise<Result<T, RegistrarError>>;

/// The registry as a process; spawn it under the prefix `registrar`.
pub struct Registrar {
    storage: Storage,
    fetch_timeout: Duration,
    store_timeout: Duration,
    state: State,
    queue: Vec<(Operation, Waiting<Result<(), Refused>>)>,
    /// Who waits for what is being written; here, and not with the writing, so that they hear of a disk that
    /// never answers.
    in_flight: Vec<Waiting<Result<(), Refused>>>,
    recovering: Option<Waiting<Registry>>,
    readers: Vec<Promise<Response>>,
    /// Counts the uses of the store, to know a late timeout from one in time.
    turn: u64,
}

impl Registrar {
    /// A registrar that reads and writes `storage`, and gives it up when it takes longer than the timeouts.
    pub fn new(storage: Storage, fetch_timeout: Duration, store_timeout: Duration) -> Self {
        Registrar {
            storage,
            fetch_timeout,
            store_timeout,
            state: State::Closed,
            queue: Vec::new(),
            in_flight: Vec::new(),
            recovering: None,
            readers: Vec::new(),
            turn: 0,
        }
    }

    /// Opens the registry for the master `info`, and gives what it holds.
    pub fn recover(
        &mut self,
        info: MasterInfo,
        ctx: &mut Context<Self>,
    ) -> Future<Result<Registry, RegistrarError>> {
        let (promise, future) = Promise::new();
        if !matches!(self.state, State::Closed) {
            promise.set(Err(RegistrarError::Failed("it was recovered already".into())));
            return future;
        }
        self.state = State::Busy;
        self.recovering = Some(promise);
        let (storage, began) = (self.storage.clone(), ctx.now());
        let opened = ctx.blocking(move || {
            let mut store = Store::open(&storage)?;
            store.commit(vec![Kind::Recover(info).into()])?;
            Ok::<_, ReplicaError>(store)
        });
        self.watch("reading the registry", self.fetch_timeout, ctx);
        ctx.then(opened, move |this, result, ctx| {
            ctx.metrics().timer("registrar/state_fetch", None).record(ctx.now() - began);
            match result {
                Ok(Ok(store)) => {
                    if let Some(promise) = this.recovering.take() {
                        promise.set(Ok(store.registry().clone()));
                    }
                    this.give_back(store, ctx);
                }
                Ok(Err(error)) => this.fail(&error.to_string()),
                Err(_) => this.fail("opening it ended in a panic"),
            }
        });
        future
    }

    /// Has an operation written. The future brings its outcome once it is on disk.
    pub fn apply(
        &mut self,
        operation: Operation,
        ctx: &mut Context<Self>,
    ) -> Future<Result<Result<(), Refused>, RegistrarError>> {
        let (promise, future) = Promise::new();
        match &self.state {
            State::Closed => promise.set(Err(RegistrarError::NotRecovered)),
            State::Failed(why) => promise.set(Err(RegistrarError::Failed(why.clone()))),
            State::Idle(_) | State::Busy => {
                self.queue.push((operation, promise));
                self.next(ctx);
            }
        }
        future
    }

    /// Starts on what waits, if nothing is going on.
    fn next(&mut self, ctx: &mut Context<Self>) {
        if self.queue.is_empty() && self.readers.is_empty() {
            return;
        }
        let mut store = match std::mem::replace(&mut self.state, State::Busy) {
            State::Idle(store) => store,
            other => {
                self.state = other;
                return;
            }
        };
        let (operations, waiting): (Vec<_>, Vec<_>) = std::mem::take(&mut self.queue).into_iter().unzip();
        self.in_flight = waiting;
        let readers = std::mem::take(&mut self.readers);
        let began = ctx.now();
        let written = ctx.blocking(move || {
            let outcomes = if operations.is_empty() { Ok(Vec::new()) } else { store.commit(operations) };
            if !readers.is_empty() {
                let json = api::json::to_vec(&store.registry().to_proto());
                for reader in readers {
                    reader.set(Response::json(json.clone()));
                }
            }
            (store, outcomes)
        });
        self.watch("writing the registry", self.store_timeout, ctx);
        ctx.then(written, move |this, result, ctx| match result {
            Ok((store, Ok(outcomes))) => {
                ctx.metrics()
                    .timer("registrar/state_store", Duration::from_secs(86_400))
                    .record(ctx.now() - began);
                for (promise, outcome) in std::mem::take(&mut this.in_flight).into_iter().zip(outcomes) {
                    promise.set(Ok(outcome));
                }
                this.give_back(store, ctx);
            }
            Ok((_, Err(error))) => this.fail(&error.to_string()),
            Err(_) => this.fail("writing it ended in a panic"),
        });
    }

    fn give_back(&mut self, store: Store, ctx: &mut Context<Self>) {
        self.turn += 1;
        if !matches!(self.state, State::Failed(_)) {
            self.state = State::Idle(store);
            self.next(ctx);
        }
    }

    fn fail(&mut self, why: &str) {
        tracing::error!(why, "the registry is out of service");
        self.state = State::Failed(why.to_owned());
        let failed = || RegistrarError::Failed(why.to_owned());
        if let Some(promise) = self.recovering.take() {
            promise.set(Err(failed()));
        }
        let queued = std::mem::take(&mut self.queue).into_iter().map(|(_, promise)| promise);
        for promise in std::mem::take(&mut self.in_flight).into_iter().chain(queued) {
            promise.set(Err(failed()));
        }
        self.readers.clear();
    }

    /// Gives the store up if it is not back in time: the disk may hang, and a master that cannot write must
    /// not seem to work.
    fn watch(&mut self, what: &'static str, at_most: Duration, ctx: &mut Context<Self>) {
        let turn = self.turn;
        ctx.delay(at_most, move |this, _| {
            if this.turn == turn && matches!(this.state, State::Busy) {
                this.fail(&format!("{what} took longer than {}", api::duration::format(at_most)));
            }
        });
    }

    fn registry(&mut self, _: Request, ctx: &mut Context<Self>) -> Answer {
        if matches!(self.state, State::Closed | State::Failed(_)) {
            let status = libprocess::http::StatusCode::SERVICE_UNAVAILABLE;
            return Response::text(status, "The registry is not available").into();
        }
        let (promise, future) = Promise::new();
        self.readers.push(promise);
        self.next(ctx);
        future.into()
    }
}

impl Process for Registrar {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.route_with("/registry", RouteOptions::help("The registry, as JSON."), Self::registry);
        ctx.pull_gauge("registrar/queued_operations", |this| this.queue.len() as f64);
    }
}
