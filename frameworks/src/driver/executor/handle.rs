//! An executor's driver as a program holds it.

use std::time::Duration;

use libprocess::{Future, Node, Pid, SpawnError, StartError, Upid};

use super::process::ExecutorProcess;
use super::{EnvironmentError, Executor, ExecutorCalls, ExecutorEnvironment};
use crate::driver::Outcome;
use crate::driver::outcome::Ending;

/// A running executor. Dropping it leaves the executor running; see [`stop`](Self::stop).
pub struct ExecutorDriver<E: Executor> {
    node: Node,
    pid: Pid<ExecutorProcess<E>>,
    ending: Ending,
}

/// Why an executor did not start.
#[derive(Debug, thiserror::Error)]
pub enum ExecutorError {
    /// See [`EnvironmentError`].
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    /// See [`StartError`].
    #[error("could not start a node for the agent to reach")]
    Node(#[from] StartError),
    /// See [`SpawnError`].
    #[error(transparent)]
    Spawn(#[from] SpawnError),
}

impl<E: Executor> ExecutorDriver<E> {
    /// Runs `executor` in this program, which an agent has started, until it is told to end.
    pub fn run(executor: E) -> Result<Outcome, ExecutorError> {
        let environment = ExecutorEnvironment::of_this_program()?;
        let node = environment.start_node()?;
        let outcome = ExecutorDriver::start(&node, executor, environment)?.join();
        // What was sent last is still on its way to the agent.
        let _ = node.shutdown().wait(Duration::from_secs(1));
        Ok(outcome)
    }

    /// Starts an executor on `node`, which has to listen where the agent can reach it.
    pub fn start(
        node: &Node,
        executor: E,
        environment: ExecutorEnvironment,
    ) -> Result<ExecutorDriver<E>, SpawnError> {
        let (process, outcome) = ExecutorProcess::new(executor, environment);
        let pid = node.spawn(libprocess::Id::prefix("executor"), process)?;
        Ok(ExecutorDriver { node: node.clone(), pid, ending: Ending::of(outcome) })
    }

    /// The executor's process.
    pub fn upid(&self) -> &Upid {
        self.pid.upid()
    }

    /// Makes calls from outside: runs `f` on the driver's actor, in its turn.
    pub fn with<R: Send + 'static>(
        &self,
        f: impl FnOnce(&mut E, &mut ExecutorCalls<'_, E>) -> R + Send + 'static,
    ) -> Future<R> {
        self.pid.dispatch(|process, ctx| process.with(ctx, f))
    }

    /// Ends the driver.
    pub fn stop(&self) {
        self.pid.call(|process, ctx| process.stop(ctx));
    }

    /// Ends the driver's calls of the executor.
    pub fn abort(&self) {
        self.pid.call(|process, _| process.abort(None));
    }

    /// Blocks until the driver was stopped, aborted or shut down. The outcome is told once.
    pub fn join(&self) -> Outcome {
        self.ending.wait()
    }

    /// [`join`](Self::join) for so long at most; `None` when it goes on.
    pub fn join_for(&self, at_most: Duration) -> Option<Outcome> {
        self.ending.wait_for(at_most)
    }

    /// Settled once the driver's process is no more, and with it the executor.
    pub fn gone(&self) -> Future<()> {
        self.node.wait(&self.pid)
    }
}
