//! What the agent still owes its frameworks: per task a queue of status updates, the oldest of which is on
//! its way until it is acknowledged.
//!
//! A pure table. Each call answers with what should happen outside, in that order: above all, an update is
//! on disk before anyone hears of it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::time::Duration;

use api::internal::{StatusUpdate, StatusUpdateRecord, status_update_record};
use api::v1::task_status::Source;
use api::v1::{FrameworkId, TaskId, TaskState};

use crate::task_state::{self, is_terminal};

/// The first wait for an acknowledgement.
pub const RETRY_INTERVAL_MIN: Duration = Duration::from_secs(10);
/// The longest wait: each one doubles until here.
pub const RETRY_INTERVAL_MAX: Duration = Duration::from_secs(600);
/// How many updates of one task may wait. An executor that sends more is not acknowledged, so a loop in an
/// executor cannot fill the agent's memory.
pub const PENDING_MAX: usize = 10_000;
/// How many tasks of a framework may have updates waiting before its executors may not begin with another one.
/// They may report on tasks that the agent does not know, and so make up as many as they like.
pub const STREAMS_MAX: usize = 100_000;
/// How many acknowledged updates of a task are remembered, to recognise the repetition of one. An executor
/// repeats only what the agent has not confirmed, so a repetition never lags further behind.
const REMEMBERED_MAX: usize = 1_000;

/// Which task of which framework a stream belongs to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskKey {
    /// The framework.
    pub framework_id: FrameworkId,
    /// Its task.
    pub task_id: TaskId,
}

/// What a call wants done outside.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Add a record to the task's file; nothing after it may happen before it is written.
    Append {
        /// The task's `task.updates`.
        file: PathBuf,
        /// The update, or the acknowledgement of one.
        record: Box<StatusUpdateRecord>,
    },
    /// Send the update to the master.
    Forward(Box<StatusUpdate>),
    /// Call [`Streams::timeout`] when this much time has passed.
    Retry {
        /// The stream.
        key: TaskKey,
        /// The update that is waited for.
        uuid: Vec<u8>,
        /// How long to wait.
        after: Duration,
    },
}

/// An update that cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UpdateError {
    /// Without a uuid nobody could acknowledge it.
    #[error("the status update of task `{task}` has no uuid")]
    NoUuid {
        /// The task.
        task: String,
    },
    /// Too many tasks have some that wait.
    #[error("no update of task `{task}` is taken: {STREAMS_MAX} of its framework have some that wait")]
    TooManyTasks {
        /// The task.
        task: String,
    },
    /// Too many wait already.
    #[error("task `{task}` already has {PENDING_MAX} status updates that its framework has not acknowledged")]
    TooManyPending {
        /// The task.
        task: String,
    },
}

/// An acknowledgement that acknowledges nothing. None of these is more than a repetition or a straggler.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AcknowledgeError {
    /// The task has no unacknowledged update.
    #[error("task `{task}` of framework `{framework}` has no status updates waiting")]
    UnknownTask {
        /// The framework.
        framework: String,
        /// The task.
        task: String,
    },
    /// The uuid is not that of the update which is on its way.
    #[error("the update acknowledged for task `{task}` is not the one that was sent")]
    NotTheHead {
        /// The task.
        task: String,
    },
}

/// What an acknowledgement settled.
#[derive(Debug, Clone, PartialEq)]
pub struct Acknowledged {
    /// Whether the stream is over: the task's end has been acknowledged.
    pub terminal: bool,
    /// What to do next.
    pub effects: Vec<Effect>,
}

#[derive(Debug, Default)]
struct Stream {
    /// Where it is checkpointed; `None` for frameworks without checkpointing.
    file: Option<PathBuf>,
    /// Not yet acknowledged, oldest first; the first one is on its way.
    pending: VecDeque<StatusUpdate>,
    acknowledged: VecDeque<Vec<u8>>,
    interval: Duration,
}

impl Stream {
    fn knows(&self, uuid: &[u8]) -> bool {
        self.pending.iter().any(|update| update.uuid.as_deref() == Some(uuid))
            || self.acknowledged.iter().any(|known| known == uuid)
    }

    fn send_head(&mut self, key: &TaskKey, interval: Duration, effects: &mut Vec<Effect>) {
        let Some(head) = self.pending.front() else { return };
        self.interval = interval;
        effects.push(Effect::Forward(Box::new(head.clone())));
        effects.push(Effect::Retry {
            key: key.clone(),
            uuid: head.uuid.clone().unwrap_or_default(),
            after: interval,
        });
    }
}

/// All streams of an agent.
#[derive(Debug)]
pub struct Streams {
    /// While no master listens nothing is sent; what waits is sent again on [`Streams::resume`].
    paused: bool,
    streams: BTreeMap<TaskKey, Stream>,
    /// How many of them each framework has.
    counts: BTreeMap<FrameworkId, usize>,
}

impl Default for Streams {
    /// Paused, as an agent starts: no master knows it yet.
    fn default() -> Streams {
        Streams { paused: true, streams: BTreeMap::new(), counts: BTreeMap::new() }
    }
}

impl Streams {
    /// Takes an update. It is sent at once when no earlier one of its task is waiting. The repetition of a
    /// known one needs nothing and is no error: whoever sent it may be told it is stored.
    pub fn update(
        &mut self,
        update: StatusUpdate,
        file: Option<PathBuf>,
    ) -> Result<Vec<Effect>, UpdateError> {
        let task = || update.status.task_id.value.clone();
        let uuid = match &update.uuid {
            Some(uuid) if !uuid.is_empty() => uuid.clone(),
            _ => return Err(UpdateError::NoUuid { task: task() }),
        };
        let key =
            TaskKey { framework_id: update.framework_id.clone(), task_id: update.status.task_id.clone() };
        let of_executor = update.status.source == Some(Source::Executor as i32);
        if !self.streams.contains_key(&key) {
            let n_streams = self.counts.entry(key.framework_id.clone()).or_default();
            if of_executor && *n_streams >= STREAMS_MAX {
                return Err(UpdateError::TooManyTasks { task: task() });
            }
            *n_streams += 1;
        }
        let stream = self.streams.entry(key.clone()).or_default();
        if stream.knows(&uuid) {
            return Ok(Vec::new());
        }
        // The end of a task is told whatever came before; there is one only.
        let ends = |update: &StatusUpdate| is_terminal(task_state::of(&update.status));
        if stream.pending.len() >= PENDING_MAX && (!ends(&update) || stream.pending.iter().any(ends)) {
            return Err(UpdateError::TooManyPending { task: task() });
        }
        // An update made by the agent for a task whose executor is unknown comes without a file; the
        // stream keeps the one it has.
        stream.file = stream.file.take().or(file);
        let mut effects = Vec::new();
        if let Some(file) = &stream.file {
            let record = StatusUpdateRecord {
                r#type: status_update_record::Type::Update as i32,
                update: Some(update.clone()),
                uuid: None,
            };
            effects.push(Effect::Append { file: file.clone(), record: Box::new(record) });
        }
        stream.pending.push_back(update);
        if stream.pending.len() == 1 && !self.paused {
            stream.send_head(&key, RETRY_INTERVAL_MIN, &mut effects);
        }
        Ok(effects)
    }

    /// The framework has seen the update `uuid`. The next one of the task, if any, is sent.
    pub fn acknowledge(&mut self, key: &TaskKey, uuid: &[u8]) -> Result<Acknowledged, AcknowledgeError> {
        let task = || key.task_id.value.clone();
        let unknown =
            || AcknowledgeError::UnknownTask { framework: key.framework_id.value.clone(), task: task() };
        let stream = self.streams.get_mut(key).ok_or_else(unknown)?;
        let head = match stream.pending.front() {
            Some(head) if head.uuid.as_deref() == Some(uuid) => head,
            Some(_) => return Err(AcknowledgeError::NotTheHead { task: task() }),
            None => return Err(unknown()),
        };
        let terminal = is_terminal(task_state::of(&head.status));
        let mut effects = Vec::new();
        if let Some(file) = &stream.file {
            let record = StatusUpdateRecord {
                r#type: status_update_record::Type::Ack as i32,
                update: None,
                uuid: Some(uuid.to_vec()),
            };
            effects.push(Effect::Append { file: file.clone(), record: Box::new(record) });
        }
        if terminal {
            // Whatever is queued behind the end of a task says nothing any more.
            self.streams.remove(key);
            if let Some(n_streams) = self.counts.get_mut(&key.framework_id) {
                *n_streams = n_streams.saturating_sub(1);
                if *n_streams == 0 {
                    self.counts.remove(&key.framework_id);
                }
            }
            return Ok(Acknowledged { terminal, effects });
        }
        stream.pending.pop_front();
        stream.acknowledged.push_back(uuid.to_vec());
        if stream.acknowledged.len() > REMEMBERED_MAX {
            stream.acknowledged.pop_front();
        }
        if !self.paused {
            stream.send_head(key, RETRY_INTERVAL_MIN, &mut effects);
        }
        Ok(Acknowledged { terminal, effects })
    }

    /// The wait for an acknowledgement is over. Nothing happens when it has come meanwhile, or while paused.
    pub fn timeout(&mut self, key: &TaskKey, uuid: &[u8]) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.paused {
            return effects;
        }
        if let Some(stream) = self.streams.get_mut(key)
            && stream.pending.front().is_some_and(|head| head.uuid.as_deref() == Some(uuid))
        {
            let interval = (stream.interval * 2).min(RETRY_INTERVAL_MAX);
            stream.send_head(key, interval, &mut effects);
        }
        effects
    }

    /// No master listens: send nothing until [`Streams::resume`].
    pub fn pause(&mut self) {
        self.paused = true;
    }

    /// A master listens, perhaps another one than before: every task's oldest update is sent again.
    pub fn resume(&mut self) -> Vec<Effect> {
        self.paused = false;
        let mut effects = Vec::new();
        for (key, stream) in &mut self.streams {
            stream.send_head(key, RETRY_INTERVAL_MIN, &mut effects);
        }
        effects
    }

    /// Forgets a framework's updates: it was removed, nobody waits for them.
    pub fn forget(&mut self, framework_id: &FrameworkId) {
        self.streams.retain(|key, _| key.framework_id != *framework_id);
        self.counts.remove(framework_id);
    }

    /// The tasks that have updates waiting.
    pub fn waiting(&self) -> BTreeSet<&TaskKey> {
        self.streams.iter().filter(|(_, stream)| !stream.pending.is_empty()).map(|(key, _)| key).collect()
    }

    /// Whether the task's updates and acknowledgements so far say that it has ended.
    pub fn is_ending(&self, key: &TaskKey) -> bool {
        let ends = |update: &StatusUpdate| is_terminal(task_state::of(&update.status));
        self.streams.get(key).is_some_and(|stream| stream.pending.iter().any(ends))
    }
}

/// The state that an update reports.
pub fn state_of(update: &StatusUpdate) -> TaskState {
    task_state::of(&update.status)
}
