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
use api::v1::{FrameworkId, TaskId, TaskState, TaskStatus};
use prost::Message as _;

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
/// How many bytes of a framework's updates may wait, all its tasks together. Executors that send more are not
/// acknowledged. The end of a task is told even then, but without what may be large of it.
pub const BYTES_MAX: usize = 64 << 20;
/// How long the message of an end may be that comes when [`BYTES_MAX`] are waiting, in bytes.
const MESSAGE_BYTES_MAX: usize = 1 << 10;
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
    /// They are too large together.
    #[error("no update of task `{task}` is taken: {BYTES_MAX} bytes of its framework's updates wait")]
    TooManyBytes {
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
    /// How much of that each framework has.
    amounts: BTreeMap<FrameworkId, Amount>,
}

/// What of one framework waits.
#[derive(Debug, Default)]
struct Amount {
    /// Its tasks that have a stream.
    n_streams: usize,
    /// Its updates that are not acknowledged, encoded.
    bytes: usize,
}

impl Default for Streams {
    /// Paused, as an agent starts: no master knows it yet.
    fn default() -> Streams {
        Streams { paused: true, streams: BTreeMap::new(), amounts: BTreeMap::new() }
    }
}

impl Streams {
    /// Takes an update. It is sent at once when no earlier one of its task is waiting. The repetition of a
    /// known one needs nothing and is no error: whoever sent it may be told it is stored.
    pub fn update(
        &mut self,
        mut update: StatusUpdate,
        file: Option<PathBuf>,
    ) -> Result<Vec<Effect>, UpdateError> {
        let key =
            TaskKey { framework_id: update.framework_id.clone(), task_id: update.status.task_id.clone() };
        let task = || key.task_id.to_string();
        let uuid = match &update.uuid {
            Some(uuid) if !uuid.is_empty() => uuid.clone(),
            _ => return Err(UpdateError::NoUuid { task: task() }),
        };
        let known = self.streams.get(&key);
        if known.is_some_and(|stream| stream.knows(&uuid)) {
            return Ok(Vec::new());
        }
        let of_executor = update.status.source == Some(Source::Executor as i32);
        let amount = self.amounts.entry(key.framework_id.clone()).or_default();
        if known.is_none() && of_executor && amount.n_streams >= STREAMS_MAX {
            return Err(UpdateError::TooManyTasks { task: task() });
        }
        // The end of a task is told whatever came before; there is one only.
        let ends = |update: &StatusUpdate| is_terminal(task_state::of(&update.status));
        let is_the_end = ends(&update) && !known.is_some_and(|stream| stream.pending.iter().any(ends));
        if !is_the_end && known.is_some_and(|stream| stream.pending.len() >= PENDING_MAX) {
            return Err(UpdateError::TooManyPending { task: task() });
        }
        if amount.bytes + update.encoded_len() > BYTES_MAX {
            if !is_the_end {
                if amount.n_streams == 0 {
                    self.amounts.remove(&key.framework_id);
                }
                return Err(UpdateError::TooManyBytes { task: task() });
            }
            tracing::warn!(
                task = task(),
                "too much of its framework waits: telling no more than how it ended"
            );
            shorten(&mut update.status);
        }
        amount.n_streams += usize::from(known.is_none());
        amount.bytes += update.encoded_len();
        let stream = self.streams.entry(key.clone()).or_default();
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
        let task = || key.task_id.to_string();
        let unknown =
            || AcknowledgeError::UnknownTask { framework: key.framework_id.to_string(), task: task() };
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
        let amount = self.amounts.entry(key.framework_id.clone()).or_default();
        if terminal {
            // Whatever is queued behind the end of a task says nothing any more.
            let bytes: usize = stream.pending.iter().map(StatusUpdate::encoded_len).sum();
            self.streams.remove(key);
            amount.n_streams = amount.n_streams.saturating_sub(1);
            amount.bytes = amount.bytes.saturating_sub(bytes);
            if amount.n_streams == 0 {
                self.amounts.remove(&key.framework_id);
            }
            return Ok(Acknowledged { terminal, effects });
        }
        amount.bytes = amount.bytes.saturating_sub(head.encoded_len());
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
        self.amounts.remove(framework_id);
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

/// Leaves of the end of a task what it cannot do without.
fn shorten(status: &mut TaskStatus) {
    let mut message = status.message.take().unwrap_or_default();
    let end = (0..=MESSAGE_BYTES_MAX.min(message.len())).rev().find(|at| message.is_char_boundary(*at));
    message.truncate(end.unwrap_or_default());
    message += " (the rest of this update is left out: the framework has too much to acknowledge)";
    *status = TaskStatus {
        task_id: std::mem::take(&mut status.task_id),
        state: status.state,
        message: Some(message),
        source: status.source,
        reason: status.reason,
        agent_id: status.agent_id.take(),
        executor_id: status.executor_id.take(),
        timestamp: status.timestamp,
        uuid: status.uuid.take(),
        ..Default::default()
    };
}

/// The state that an update reports.
pub fn state_of(update: &StatusUpdate) -> TaskState {
    task_state::of(&update.status)
}
