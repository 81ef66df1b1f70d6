//! The actor around the streams: it writes them down, sends them, and waits.

use std::collections::BTreeMap;
use std::path::PathBuf;

use api::internal::StatusUpdate;
use api::v1::FrameworkId;
use libprocess::{Context, Deferred, Future, Process, Promise, Timer};

use super::streams::{AcknowledgeError, Effect, Streams, TaskKey, UpdateError};
use crate::checkpoint::{CheckpointError, Write};
use crate::journal::{self, Journal, Journaled};

/// All status updates that await acknowledgement.
pub struct StatusUpdateManager {
    streams: Streams,
    journal: Journal<StatusUpdateManager>,
    /// Sends an update to the master.
    forward: Deferred<StatusUpdate>,
    /// The current wait of each stream.
    timers: BTreeMap<TaskKey, Timer>,
}

impl StatusUpdateManager {
    /// Owes nobody anything; paused until a master is there. `forward` is called with each update to send.
    pub fn new(forward: Deferred<StatusUpdate>) -> StatusUpdateManager {
        StatusUpdateManager {
            streams: Streams::default(),
            journal: Journal::default(),
            forward,
            timers: BTreeMap::new(),
        }
    }

    /// Takes an update; the future says when it is stored.
    pub fn update(
        &mut self,
        update: StatusUpdate,
        file: Option<PathBuf>,
        ctx: &mut Context<Self>,
    ) -> Future<Result<(), UpdateError>> {
        let effects = match self.streams.update(update, file) {
            Ok(effects) => effects,
            Err(error) => return Future::ready(Err(error)),
        };
        let (promise, stored) = Promise::new();
        self.perform(effects);
        journal::then(self, |_, _| promise.set(Ok(())));
        journal::run(self, ctx);
        stored
    }

    /// The framework has seen an update; the future says whether that was the task's last.
    pub fn acknowledge(
        &mut self,
        key: &TaskKey,
        uuid: &[u8],
        ctx: &mut Context<Self>,
    ) -> Future<Result<bool, AcknowledgeError>> {
        let done = match self.streams.acknowledge(key, uuid) {
            Ok(done) => done,
            Err(error) => return Future::ready(Err(error)),
        };
        if let Some(timer) = self.timers.remove(key) {
            timer.cancel();
        }
        let (promise, settled) = Promise::new();
        self.perform(done.effects);
        journal::then(self, move |_, _| promise.set(Ok(done.terminal)));
        journal::run(self, ctx);
        settled
    }

    /// No master listens.
    pub fn pause(&mut self) {
        self.streams.pause();
    }

    /// A master listens: everything that waits is sent again.
    pub fn resume(&mut self, ctx: &mut Context<Self>) {
        let effects = self.streams.resume();
        self.perform(effects);
        journal::run(self, ctx);
    }

    /// The framework is gone: nobody is owed its updates.
    pub fn forget(&mut self, framework_id: &FrameworkId) {
        self.streams.forget(framework_id);
        self.timers.retain(|key, timer| {
            let keep = key.framework_id != *framework_id;
            if !keep {
                timer.cancel();
            }
            keep
        });
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Append { file, record } => journal::write(self, Write::record(file, &*record)),
                Effect::Forward(update) => journal::then(self, move |manager, _| {
                    manager.forward.call(*update);
                }),
                Effect::Retry { key, uuid, after } => journal::then(self, move |manager, ctx| {
                    let at = key.clone();
                    let timer = ctx.delay(after, move |manager, ctx| {
                        let effects = manager.streams.timeout(&key, &uuid);
                        manager.perform(effects);
                        journal::run(manager, ctx);
                    });
                    if let Some(earlier) = manager.timers.insert(at, timer) {
                        earlier.cancel();
                    }
                }),
            }
        }
    }
}

impl Journaled for StatusUpdateManager {
    fn journal(&mut self) -> &mut Journal<Self> {
        &mut self.journal
    }

    fn write_failed(&mut self, error: &CheckpointError, ctx: &mut Context<Self>) {
        tracing::error!(%error, "status updates cannot be stored; the agent ends");
        ctx.terminate_self();
    }
}

impl Process for StatusUpdateManager {}
