//! Computing tasks, one after the other, with all that one core has.

use std::collections::VecDeque;

use api::v1::{TaskId, TaskInfo, TaskState, TaskStatus};

use crate::driver::{Executor, ExecutorCalls, ExecutorDriver, ExecutorError, Outcome};

/// One task, as the executor computes it.
pub trait Work: Sized + Send + 'static {
    /// Begins a task from what the scheduler sent.
    ///
    /// # Errors
    /// With a text for the user, when that is not a task.
    fn begin(data: &[u8]) -> Result<Self, String>;

    /// Computes for some tens of milliseconds.
    fn step(&mut self) -> Step;
}

/// What came of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// There is more to do. The result so far, from the task's beginning.
    Partial(Vec<u8>),
    /// The result of the task.
    Done(Vec<u8>),
    /// It cannot be done. A text for the user, and what the scheduler should know.
    Failed(String, Option<Vec<u8>>),
}

/// Runs an executor for this kind of work in this program, which an agent has started, until it is told to
/// end.
pub fn run_executor<W: Work>() -> Result<Outcome, ExecutorError> {
    ExecutorDriver::run(WorkExecutor::<W>::default())
}

/// A queue of tasks, of which the first is being computed.
pub(crate) struct WorkExecutor<W> {
    queue: VecDeque<TaskInfo>,
    current: Option<Current>,
    work: std::marker::PhantomData<fn() -> W>,
}

struct Current {
    task: TaskId,
    /// It is to end when its step does.
    killed: bool,
}

impl<W> Default for WorkExecutor<W> {
    fn default() -> Self {
        WorkExecutor { queue: VecDeque::new(), current: None, work: std::marker::PhantomData }
    }
}

type Calls<'a, W> = ExecutorCalls<'a, WorkExecutor<W>>;

impl<W: Work> Executor for WorkExecutor<W> {
    fn launch_task(&mut self, calls: &mut Calls<'_, W>, task: TaskInfo) {
        self.queue.push_back(task);
        self.begin_next(calls);
    }

    fn kill_task(&mut self, calls: &mut Calls<'_, W>, task: &TaskId) {
        if let Some(current) = self.current.as_mut().filter(|current| current.task == *task) {
            current.killed = true;
        } else if let Some(place) = self.queue.iter().position(|queued| queued.task_id == *task) {
            self.queue.remove(place);
            report(calls, task.clone(), TaskState::TaskKilled, None, None);
        }
    }

    fn shutdown(&mut self, _: &mut Calls<'_, W>) {
        // The step that is under way ends with the process.
        self.queue.clear();
    }
}

impl<W: Work> WorkExecutor<W> {
    fn begin_next(&mut self, calls: &mut Calls<'_, W>) {
        while self.current.is_none() {
            let Some(task) = self.queue.pop_front() else { return };
            match W::begin(task.data()) {
                Ok(work) => {
                    report(calls, task.task_id.clone(), TaskState::TaskRunning, None, None);
                    self.current = Some(Current { task: task.task_id, killed: false });
                    self.step(work, calls);
                }
                Err(reason) => report(calls, task.task_id, TaskState::TaskFailed, Some(reason), None),
            }
        }
    }

    fn step(&mut self, mut work: W, calls: &mut Calls<'_, W>) {
        let compute = move || {
            let step = work.step();
            (work, step)
        };
        calls.blocking(compute, |executor, (work, step), calls| executor.stepped(work, step, calls));
    }

    fn stepped(&mut self, work: W, step: Step, calls: &mut Calls<'_, W>) {
        let Some(current) = self.current.take() else { return };
        let (state, message, data) = match step {
            Step::Partial(data) => {
                calls.send_framework_message(data);
                if !current.killed {
                    self.current = Some(current);
                    self.step(work, calls);
                    return;
                }
                (TaskState::TaskKilled, None, None)
            }
            Step::Done(data) => (TaskState::TaskFinished, None, Some(data)),
            Step::Failed(reason, data) => (TaskState::TaskFailed, Some(reason), data),
        };
        report(calls, current.task, state, message, data);
        self.begin_next(calls);
    }
}

fn report<W: Work>(
    calls: &mut Calls<'_, W>,
    task_id: TaskId,
    state: TaskState,
    message: Option<String>,
    data: Option<Vec<u8>>,
) {
    let status = TaskStatus { task_id, state: state as i32, message, data, ..Default::default() };
    if let Err(error) = calls.send_status_update(status) {
        tracing::error!(%error, "a status update was not sent");
    }
}
