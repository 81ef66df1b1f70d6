//! What runs on this agent: frameworks, their executors, and the tasks of each.
//!
//! A pure table. Events are methods; what they want done outside they push, in order, onto the [`Turn`].

mod archive;
mod executor;
mod framework;
mod kill;
mod launch;
mod master;
mod registration;
mod termination;
#[cfg(test)]
mod tests;
mod updates;

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use api::internal::StatusUpdate;
use api::v1::{
    AgentId, AgentInfo, CommandInfo, ContainerId, ExecutorId, ExecutorInfo, FrameworkId, FrameworkInfo,
    KillPolicy, Resource, TaskId, TaskInfo, TaskState, task_status::Reason,
};
use libprocess::Upid;
use uuid::Uuid;

pub use self::executor::{Executor, ExecutorState};
pub(crate) use self::framework::is_capable_of;
pub use self::framework::{Framework, FrameworkState};
pub use self::launch::RunTask;
pub use self::registration::{Refusal, Subscription};
pub use self::updates::Ignored;
pub(crate) use self::updates::describe;
use crate::checkpoint::Write;
use crate::flags::Flags;
use crate::layout::Layout;

/// How many finished frameworks are remembered.
const COMPLETED_FRAMEWORKS_MAX: usize = 50;
/// How many finished tasks of an executor are remembered.
const COMPLETED_TASKS_MAX: usize = 200;

/// How an executor is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// It is a libprocess process.
    Process(Upid),
    /// It holds a stream of `/api/v1/executor` open; the agent keeps streams by container.
    Stream {
        /// The executor's container.
        container_id: String,
    },
}

/// What an executor is told.
#[derive(Debug, Clone, PartialEq)]
pub enum ExecutorEvent {
    /// It is known now.
    Registered {
        /// The framework as the agent knows it, with its id.
        framework: Box<FrameworkInfo>,
        /// The executor as it was launched.
        executor: Box<ExecutorInfo>,
        /// This agent.
        agent: Box<AgentInfo>,
        /// The container it runs in.
        container_id: ContainerId,
    },
    /// Run this.
    Launch {
        /// The framework, which a driver-based executor is told each time.
        framework: Box<FrameworkInfo>,
        /// Where a driver-based framework receives messages.
        framework_pid: Option<String>,
        /// The task.
        task: Box<TaskInfo>,
    },
    /// End this.
    Kill {
        /// The task.
        task_id: TaskId,
        /// How much time it gets, when that differs from what the task says.
        kill_policy: Option<KillPolicy>,
    },
    /// The update is stored: no need to repeat it.
    Acknowledged {
        /// Whose update.
        task_id: TaskId,
        /// Which.
        uuid: Vec<u8>,
    },
    /// Bytes from the framework.
    Message {
        /// The bytes.
        data: Vec<u8>,
    },
    /// End everything, then yourself.
    Shutdown,
}

/// Whom to tell what.
#[derive(Debug, Clone, PartialEq)]
pub struct Tell {
    /// The way there.
    pub link: Link,
    /// The executor's framework.
    pub framework_id: FrameworkId,
    /// The executor.
    pub executor_id: ExecutorId,
    /// The news.
    pub event: ExecutorEvent,
}

/// An executor to start.
#[derive(Debug, Clone, PartialEq)]
pub struct Launch {
    /// The new container.
    pub container_id: String,
    /// Its framework.
    pub framework_id: FrameworkId,
    /// Its executor.
    pub executor: ExecutorInfo,
    /// What to execute.
    pub command: CommandInfo,
    /// Its whole environment.
    pub environment: BTreeMap<String, String>,
    /// Its sandbox, not yet made.
    pub sandbox: PathBuf,
    /// Whom it runs as; `None` is the agent's own user.
    pub user: Option<String>,
    /// What it and its first tasks may use.
    pub resources: Vec<Resource>,
    /// Where to note the pid of its first process.
    pub forked_pid: Option<PathBuf>,
}

/// What is to be called when some time has passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Timeout {
    /// [`Workload::registration_timeout`].
    Registration,
    /// [`Workload::shutdown_timeout`].
    Shutdown,
}

/// What the table wants done outside.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// A change on disk, which comes before every effect behind it.
    Write(Write),
    /// Start a container.
    Launch(Box<Launch>),
    /// End a container; it reports its end as any other does.
    Destroy {
        /// The container.
        container_id: String,
    },
    /// Tell an executor.
    Tell(Box<Tell>),
    /// Store an update and send it to the master; then, if it came from an executor, confirm that.
    Store {
        /// The update.
        update: Box<StatusUpdate>,
        /// The task's file, for frameworks that checkpoint.
        file: Option<PathBuf>,
        /// The confirmation.
        then: Option<Box<Tell>>,
    },
    /// Tell the master that an executor has ended.
    ExitedExecutor {
        /// Its framework.
        framework_id: FrameworkId,
        /// The executor.
        executor_id: ExecutorId,
        /// The wait status, -1 when unknown.
        status: i32,
    },
    /// Come back to this container later.
    After {
        /// When.
        delay: Duration,
        /// The container.
        container_id: String,
        /// Why.
        timeout: Timeout,
    },
    /// These are no longer needed: remove them when their time has come.
    Collect {
        /// Directories.
        paths: Vec<PathBuf>,
    },
    /// These are needed again: do not remove them, and go on only when that is sure.
    Keep {
        /// Directories.
        paths: Vec<PathBuf>,
    },
    /// Nobody waits for this framework's updates any more.
    ForgetUpdates {
        /// The framework.
        framework_id: FrameworkId,
    },
}

/// One event's turn: what it may know of the world, and what it wants done.
pub struct Turn<'a> {
    /// Seconds since the epoch.
    pub now: f64,
    /// Fresh random ids.
    pub uuids: &'a mut dyn FnMut() -> Uuid,
    /// What to do, in this order.
    pub effects: Vec<Effect>,
}

impl Turn<'_> {
    fn push(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    fn uuid_bytes(&mut self) -> Vec<u8> {
        (self.uuids)().as_bytes().to_vec()
    }
}

/// Why tasks of an executor ended, as far as its container knows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Termination {
    /// The wait status of the container's first process.
    pub status: Option<i32>,
    /// What becomes of its tasks.
    pub state: Option<TaskState>,
    /// Why.
    pub reason: Option<Reason>,
    /// In words.
    pub message: String,
    /// What it had too much of.
    pub limited_resources: Vec<Resource>,
}

/// How the agent is set up, as far as it matters here.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its configuration.
    pub flags: Arc<Flags>,
    /// Where its files lie.
    pub layout: Layout,
    /// Itself as a process, `slave(1)@ip:port`.
    pub upid: String,
    /// `ip:port`.
    pub endpoint: String,
    /// Its ip, which containers without a network of their own share.
    pub ip: String,
    /// `LIBPROCESS_IP` of its own environment.
    pub libprocess_ip: Option<String>,
    /// Names the state of its resources; a task decided on another state is refused.
    pub resource_version: Vec<u8>,
}

/// Everything that runs here, and what of the past is remembered.
#[derive(Debug)]
pub struct Workload {
    /// How the agent is set up.
    pub settings: Settings,
    /// What the agent is; its id once a master gave it one.
    pub info: AgentInfo,
    /// Dynamic reservations and volumes, as the master last said.
    pub checkpointed_resources: Vec<Resource>,
    frameworks: BTreeMap<FrameworkId, Framework>,
    completed: VecDeque<Framework>,
    /// Whose container it is.
    containers: BTreeMap<String, (FrameworkId, ExecutorId)>,
    /// Framework and executor directories given up for collection, of which a new run must take care.
    given_up: std::collections::BTreeSet<PathBuf>,
    /// The agent is ending: what terminates leaves at once.
    terminating: bool,
}

impl Workload {
    /// An agent on which nothing runs yet.
    pub fn new(settings: Settings, info: AgentInfo) -> Workload {
        Workload {
            settings,
            info,
            checkpointed_resources: Vec::new(),
            frameworks: BTreeMap::new(),
            completed: VecDeque::new(),
            containers: BTreeMap::new(),
            given_up: Default::default(),
            terminating: false,
        }
    }

    /// The id the master gave this agent; empty before.
    pub fn agent_id(&self) -> AgentId {
        self.info.id.clone().unwrap_or_default()
    }

    /// The frameworks that have something here.
    pub fn frameworks(&self) -> impl ExactSizeIterator<Item = &Framework> {
        self.frameworks.values()
    }

    /// One of them.
    pub fn framework(&self, id: &FrameworkId) -> Option<&Framework> {
        self.frameworks.get(id)
    }

    /// Those that had, oldest first.
    pub fn completed_frameworks(&self) -> impl ExactSizeIterator<Item = &Framework> {
        self.completed.iter()
    }

    /// The executor in a container.
    pub fn executor_of(&self, container_id: &str) -> Option<&Executor> {
        let (framework_id, executor_id) = self.containers.get(container_id)?;
        self.frameworks.get(framework_id)?.executors.get(executor_id)
    }

    fn executor_mut(&mut self, container_id: &str) -> Option<(&mut Framework, ExecutorId)> {
        let (framework_id, executor_id) = self.containers.get(container_id)?;
        Some((self.frameworks.get_mut(framework_id)?, executor_id.clone()))
    }

    /// Every executor with its framework.
    pub fn executors(&self) -> impl Iterator<Item = (&Framework, &Executor)> {
        self.frameworks
            .values()
            .flat_map(|framework| framework.executors.values().map(move |e| (framework, e)))
    }

    /// Whether the tables agree with each other; every test asks after every step.
    pub fn check_invariants(&self) {
        for (container_id, (framework_id, executor_id)) in &self.containers {
            let executor = self.frameworks.get(framework_id).and_then(|f| f.executors.get(executor_id));
            assert!(
                executor.is_some_and(|executor| executor.container_id == *container_id),
                "container {container_id} belongs to an executor that knows it"
            );
        }
        for (framework, executor) in self.executors() {
            assert_eq!(framework.id, executor.framework_id, "an executor lies with its own framework");
            assert!(self.containers.contains_key(&executor.container_id), "an executor's container is known");
            for task in executor.queued.keys() {
                assert!(
                    !executor.launched.contains_key(task) && !executor.terminated.contains_key(task),
                    "a task is queued, launched or terminated, and one of them only"
                );
            }
            for task in executor.launched.keys() {
                assert!(!executor.terminated.contains_key(task), "a launched task has not ended");
            }
            assert!(
                executor.state != ExecutorState::Terminated
                    || (executor.queued.is_empty() && executor.launched.is_empty()),
                "nothing runs in an executor that ended"
            );
            assert!(executor.completed.len() <= COMPLETED_TASKS_MAX);
        }
        assert!(self.completed.len() <= COMPLETED_FRAMEWORKS_MAX);
    }
}
