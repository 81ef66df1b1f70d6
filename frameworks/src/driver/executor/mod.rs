//! The half of a framework that runs tasks on an agent.

mod calls;
mod environment;
mod handle;
mod process;
mod unacknowledged;

pub use calls::{ExecutorCalls, InvalidUpdate};
pub use environment::{EnvironmentError, ExecutorEnvironment};
pub use handle::{ExecutorDriver, ExecutorError};
pub use process::ExecutorProcess;

use api::v1::{AgentInfo, ExecutorInfo, FrameworkInfo, TaskId, TaskInfo};

/// A framework's executor: runs the tasks it is handed and reports through the calls.
///
/// All methods are called by one actor, one at a time, and must not block: long work goes through
/// [`ExecutorCalls::blocking`]. Each but the first has a default that does nothing.
pub trait Executor: Sized + Send + 'static {
    /// A task to run. Report its state with [`ExecutorCalls::send_status_update`], the last time with a
    /// terminal one.
    fn launch_task(&mut self, calls: &mut ExecutorCalls<'_, Self>, task: TaskInfo);

    /// The agent has admitted this executor.
    fn registered(
        &mut self,
        calls: &mut ExecutorCalls<'_, Self>,
        executor: &ExecutorInfo,
        framework: &FrameworkInfo,
        agent: &AgentInfo,
    ) {
        let _ = (calls, executor, framework, agent);
    }

    /// The agent was restarted and has found this executor again.
    fn reregistered(&mut self, calls: &mut ExecutorCalls<'_, Self>, agent: &AgentInfo) {
        let _ = (calls, agent);
    }

    /// The agent is gone. It may come back, if the framework checkpoints; otherwise
    /// [`shutdown`](Self::shutdown) follows.
    fn disconnected(&mut self, calls: &mut ExecutorCalls<'_, Self>) {
        let _ = calls;
    }

    /// A task is to end. Whatever comes of it is to be reported, as always.
    fn kill_task(&mut self, calls: &mut ExecutorCalls<'_, Self>, task: &TaskId) {
        let _ = (calls, task);
    }

    /// Something the framework's scheduler said.
    fn framework_message(&mut self, calls: &mut ExecutorCalls<'_, Self>, data: &[u8]) {
        let _ = (calls, data);
    }

    /// The executor is to end: the driver stops after this, and the agent kills what is left a few seconds
    /// later.
    fn shutdown(&mut self, calls: &mut ExecutorCalls<'_, Self>) {
        let _ = calls;
    }
}
