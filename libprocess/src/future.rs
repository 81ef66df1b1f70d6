//! A value that comes later, and the promise to bring it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Waker};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::process::guarded;

/// The promise was dropped before a value was set: a process ended, or forgot to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nobody is left who could bring the value")]
pub struct Abandoned;

/// Why [`Future::wait`] came back without a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WaitError {
    /// See [`Abandoned`].
    #[error("nobody is left who could bring the value")]
    Abandoned,
    /// The value may still come; this future can no longer tell.
    #[error("no value within {0:?}")]
    TimedOut(Duration),
}

type Callback<T> = Box<dyn FnOnce(Result<T, Abandoned>) + Send>;

enum State<T> {
    Pending { callback: Option<Callback<T>>, waker: Option<Waker> },
    Settled(Option<Result<T, Abandoned>>),
}

struct Shared<T> {
    state: Mutex<State<T>>,
    settled: Condvar,
}

/// A value that comes later, or never ([`Abandoned`]).
///
/// Actors take it with [`Context::then`](crate::Context::then); a thread of its own may [`wait`](Self::wait);
/// asynchronous code may `.await` it.
#[must_use = "a future that nobody asks tells nobody"]
pub struct Future<T>(Arc<Shared<T>>);

/// The other half: sets the value, once. Dropping it abandons the future.
pub struct Promise<T>(Option<Arc<Shared<T>>>);

impl<T: Send + 'static> Promise<T> {
    /// A promise and its future.
    #[allow(clippy::new_ret_no_self)]
    pub fn new() -> (Promise<T>, Future<T>) {
        let shared = Arc::new(Shared {
            state: Mutex::new(State::Pending { callback: None, waker: None }),
            settled: Condvar::new(),
        });
        (Promise(Some(shared.clone())), Future(shared))
    }

    /// Brings the value.
    pub fn set(mut self, value: T) {
        if let Some(shared) = self.0.take() {
            settle(&shared, Ok(value));
        }
    }

    /// Brings whatever `future` brings.
    pub fn follow(mut self, future: Future<T>) {
        if let Some(shared) = self.0.take() {
            future.settled(move |result| settle(&shared, result));
        }
    }

    /// Whether the future is gone and nothing is to be done with the value.
    pub fn is_unwanted(&self) -> bool {
        self.0.as_ref().is_none_or(|shared| {
            // Whoever leaves a callback behind does so under the lock, and drops the future after it.
            let state = shared.state.lock();
            let awaited = matches!(&*state, State::Pending { callback: Some(_), .. });
            Arc::strong_count(shared) == 1 && !awaited
        })
    }
}

impl<T> Drop for Promise<T> {
    fn drop(&mut self) {
        if let Some(shared) = self.0.take() {
            settle(&shared, Err(Abandoned));
        }
    }
}

fn settle<T>(shared: &Shared<T>, result: Result<T, Abandoned>) {
    let mut state = shared.state.lock();
    let State::Pending { callback, waker } = &mut *state else { return };
    let (callback, waker) = (callback.take(), waker.take());
    match callback {
        Some(callback) => {
            *state = State::Settled(None);
            drop(state);
            // Whoever brings a value is not to suffer from what another does with it.
            if let Err(panic) = guarded(|| callback(result)) {
                tracing::error!(%panic, "what was to be done with the value of a future panicked");
            }
        }
        None => {
            *state = State::Settled(Some(result));
            drop(state);
            shared.settled.notify_all();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

impl<T: Send + 'static> Future<T> {
    /// A future whose value is there already.
    pub fn ready(value: T) -> Future<T> {
        let (promise, future) = Promise::new();
        promise.set(value);
        future
    }

    /// Calls `f` once the outcome is known: here and now, or on whichever thread brings it. Actors want
    /// [`Context::then`](crate::Context::then), which comes back to the actor.
    pub fn settled(self, f: impl FnOnce(Result<T, Abandoned>) + Send + 'static) {
        let mut state = self.0.state.lock();
        match &mut *state {
            State::Pending { callback, .. } => *callback = Some(Box::new(f)),
            State::Settled(result) => {
                let result = result.take().unwrap_or(Err(Abandoned));
                drop(state);
                f(result);
            }
        }
    }

    /// The future of `f` of the value.
    pub fn map<U: Send + 'static>(self, f: impl FnOnce(T) -> U + Send + 'static) -> Future<U> {
        let (promise, future) = Promise::new();
        self.settled(move |result| {
            if let Ok(value) = result {
                promise.set(f(value));
            }
        });
        future
    }

    /// The same as a value: how it went, which is never itself abandoned.
    pub fn outcome(self) -> Future<Result<T, Abandoned>> {
        let (promise, future) = Promise::new();
        self.settled(move |result| promise.set(result));
        future
    }

    /// The values of all `futures` in the order given; abandoned as soon as one of them is. To hear of all
    /// that come and of all that do not, collect their [outcomes](Self::outcome).
    pub fn all(futures: impl IntoIterator<Item = Future<T>>) -> Future<Vec<T>> {
        let futures: Vec<_> = futures.into_iter().collect();
        if futures.is_empty() {
            return Future::ready(Vec::new());
        }
        let (promise, future) = Promise::new();
        let values = futures.iter().map(|_| None).collect();
        let gathering = Gathering { missing: futures.len(), values, promise: Some(promise) };
        let gathering = Arc::new(Mutex::new(gathering));
        for (index, future) in futures.into_iter().enumerate() {
            let gathering = gathering.clone();
            future.settled(move |result| {
                let brought = gathering.lock().take_in(index, result);
                // Unlocked, since a promise runs others' code when it is set, and when it is dropped.
                if let (Some(promise), Some(values)) = brought {
                    promise.set(values);
                }
            });
        }
        future
    }

    /// Blocks this thread until the value comes. Never call it in a handler: it would hold up every
    /// process on the same arbiter, perhaps the one that is to bring the value.
    pub fn wait(self, at_most: Duration) -> Result<T, WaitError> {
        let mut state = self.0.state.lock();
        if matches!(*state, State::Pending { .. }) {
            let shared = &self.0;
            shared.settled.wait_while_for(&mut state, |s| matches!(s, State::Pending { .. }), at_most);
        }
        match &mut *state {
            State::Pending { .. } => Err(WaitError::TimedOut(at_most)),
            State::Settled(result) => {
                result.take().unwrap_or(Err(Abandoned)).map_err(|_| WaitError::Abandoned)
            }
        }
    }
}

/// The values of several futures, as far as they are there.
struct Gathering<T> {
    missing: usize,
    values: Vec<Option<T>>,
    promise: Option<Promise<Vec<T>>>,
}

impl<T> Gathering<T> {
    /// Takes one in. The promise comes back with the values when this was the last, and without when there
    /// is nothing to wait for any more.
    fn take_in(
        &mut self,
        index: usize,
        result: Result<T, Abandoned>,
    ) -> (Option<Promise<Vec<T>>>, Option<Vec<T>>) {
        let Ok(value) = result else { return (self.promise.take(), None) };
        self.values[index] = Some(value);
        self.missing -= 1;
        if self.missing > 0 {
            return (None, None);
        }
        (self.promise.take(), std::mem::take(&mut self.values).into_iter().collect())
    }
}

impl<T: Send + 'static> Future<Future<T>> {
    /// The inner future's value.
    pub fn flatten(self) -> Future<T> {
        let (promise, future) = Promise::new();
        self.settled(move |result| {
            if let Ok(inner) = result {
                promise.follow(inner);
            }
        });
        future
    }
}

impl<T> std::future::Future for Future<T> {
    type Output = Result<T, Abandoned>;

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let mut state = self.0.state.lock();
        match &mut *state {
            State::Pending { waker: Some(waker), .. } if waker.will_wake(cx.waker()) => Poll::Pending,
            State::Pending { waker, .. } => {
                let before = waker.replace(cx.waker().clone());
                // A waker may be all that keeps a task, and a task may hold promises.
                drop(state);
                drop(before);
                Poll::Pending
            }
            State::Settled(result) => Poll::Ready(result.take().unwrap_or(Err(Abandoned))),
        }
    }
}
