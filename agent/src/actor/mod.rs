//! The agent as an actor: its ways in, and how what the tables decide is carried out.

mod effects;
mod executors;
mod following;
mod master;
mod registration;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use api::internal::StatusUpdate;
use api::v1::AgentInfo;
use detector::{Detector, Masters};
use libprocess::{Context, Id, Limiter, Pid, Process, Time, Timer, Upid};
use uuid::Uuid;

use crate::checkpoint::CheckpointError;
use crate::containers::isolators::Isolator;
use crate::containers::{Containerizer, ContainerizerSettings};
use crate::flags::Flags;
use crate::gc::GarbageCollector;
use crate::http;
use crate::http::executor::Streams;
use crate::journal::{self, Journal, Journaled};
use crate::layout::Layout;
use crate::status_updates::StatusUpdateManager;
use crate::workload::{Settings, Turn, Workload};

use self::registration::Registration;
pub(crate) use self::registration::capabilities;

/// Where the agent stands with its master.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentState {
    /// No master knows it, or the one that did is lost.
    Disconnected,
    /// A master knows it.
    Running,
    /// Everything on it is being ended.
    Terminating,
}

/// What an agent is made from; everything in it was checked at the start.
pub(crate) struct Setup {
    pub(crate) flags: Arc<Flags>,
    /// Where masters may be.
    pub(crate) masters: Masters,
    pub(crate) info: AgentInfo,
    pub(crate) isolators: Vec<Arc<dyn Isolator>>,
    /// Set when the agent cannot go on.
    pub(crate) failure: Arc<OnceLock<String>>,
}

/// The actors that work for an agent.
struct Helpers {
    containerizer: Pid<Containerizer>,
    updates: Pid<StatusUpdateManager>,
    collector: Pid<GarbageCollector>,
}

/// The agent.
pub struct Agent {
    pub(crate) flags: Arc<Flags>,
    pub(crate) state: AgentState,
    pub(crate) workload: Workload,
    pub(crate) registration: Registration,
    /// The open streams of executors.
    pub(crate) streams: Streams,
    pub(crate) started: Time,
    /// When the next request for statistics has its turn: twice in a second.
    pub(crate) statistics: Limiter,
    journal: Journal<Agent>,
    isolators: Vec<Arc<dyn Isolator>>,
    failure: Arc<OnceLock<String>>,
    helpers: Option<Helpers>,
    /// None where the master is appointed.
    detector: Option<Pid<Detector>>,
    /// Per container, why it will be looked at again.
    timers: BTreeMap<String, Vec<Timer>>,
}

impl Agent {
    pub(crate) fn new(setup: Setup) -> Agent {
        let settings = Settings {
            layout: Layout::new(&setup.flags.work_dir),
            flags: setup.flags.clone(),
            upid: String::new(),
            endpoint: String::new(),
            ip: String::new(),
            libprocess_ip: std::env::var("LIBPROCESS_IP").ok().filter(|ip| !ip.is_empty()),
            resource_version: Vec::new(),
        };
        Agent {
            registration: Registration::new(setup.masters),
            workload: Workload::new(settings, setup.info),
            flags: setup.flags,
            state: AgentState::Disconnected,
            streams: Streams::default(),
            started: Time::from_secs_f64(0.0),
            statistics: Limiter::new(2, Duration::from_secs(1)),
            journal: Journal::default(),
            isolators: setup.isolators,
            failure: setup.failure,
            helpers: None,
            detector: None,
            timers: BTreeMap::new(),
        }
    }

    /// Lets the tables handle an event, and carries out what they want.
    pub(crate) fn turn<R>(
        &mut self,
        ctx: &mut Context<Self>,
        event: impl FnOnce(&mut Workload, &mut Turn<'_>) -> R,
    ) -> R {
        let now = ctx.now().as_secs_f64();
        let mut uuids = || -> Uuid { ctx.uuid() };
        let mut turn = Turn { now, uuids: &mut uuids, effects: Vec::new() };
        let answer = event(&mut self.workload, &mut turn);
        let effects = turn.effects;
        self.perform(effects, ctx);
        answer
    }

    /// Ends everything that runs here, then the agent itself.
    pub fn shut_down(&mut self, reason: &str, ctx: &mut Context<Self>) {
        tracing::info!(reason, "the agent shuts down");
        self.state = AgentState::Terminating;
        self.turn(ctx, |workload, turn| workload.shutdown_all(turn));
        self.end_if_shut_down(ctx);
    }

    /// Ends the agent there and then: it cannot go on. Whoever started it is told the reason.
    fn fail(&mut self, reason: String, ctx: &mut Context<Self>) {
        tracing::error!(reason, "the agent ends");
        // The first reason is the one.
        let _ = self.failure.set(reason);
        ctx.terminate_self();
    }

    fn end_if_shut_down(&mut self, ctx: &mut Context<Self>) {
        if self.state == AgentState::Terminating && self.workload.is_shut_down() {
            // What is still to be written, a last sentinel, is written first.
            journal::then(self, |_, ctx| ctx.terminate_self());
            journal::run(self, ctx);
        }
    }

    /// The actors without which it cannot go on.
    fn parts(&self) -> impl Iterator<Item = &Upid> {
        let detector = self.detector.as_ref().map(AsRef::as_ref);
        self.helpers.iter().flat_map(Helpers::upids).chain(detector)
    }

    fn spawn_helpers(&mut self, ctx: &mut Context<Self>) -> Result<Helpers, libprocess::SpawnError> {
        let containerizer = Containerizer::new(ContainerizerSettings {
            launcher: self.flags.launcher.clone(),
            isolators: self.isolators.clone(),
            frameworks_home: self.flags.frameworks_home.clone(),
        });
        let forward = ctx.defer(|agent, update: StatusUpdate, ctx| agent.forward(update, ctx));
        let removed = ctx.defer(|agent, path: PathBuf, _| agent.workload.collected(&path));
        let collector = GarbageCollector::new(
            self.flags.work_dir.clone(),
            self.flags.gc_delay,
            self.flags.gc_disk_headroom,
            self.flags.disk_watch_interval,
            removed,
        );
        Ok(Helpers {
            containerizer: ctx.spawn(Id::prefix("containerizer"), containerizer)?,
            updates: ctx.spawn(Id::prefix("status-update-manager"), StatusUpdateManager::new(forward))?,
            collector: ctx.spawn(Id::prefix("gc"), collector)?,
        })
    }
}

impl Process for Agent {
    /// Every way into the agent, in one list.
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        self.started = ctx.now();
        let settings = &mut self.workload.settings;
        settings.upid = ctx.upid().to_string();
        settings.endpoint = ctx.address().to_string();
        settings.ip = ctx.address().ip().to_string();
        settings.resource_version = ctx.uuid().as_bytes().to_vec();
        match self.spawn_helpers(ctx) {
            Ok(helpers) => self.helpers = Some(helpers),
            Err(error) => return self.fail(format!("it cannot start: {error}"), ctx),
        }
        for helper in self.helpers.iter().flat_map(Helpers::upids) {
            ctx.link(helper);
        }
        // From the master.
        ctx.install(Self::registered);
        ctx.install(Self::reregistered);
        ctx.install(Self::ping);
        ctx.install(Self::come_back);
        ctx.install(Self::run_task);
        ctx.install(Self::run_task_group);
        ctx.install(Self::kill_task);
        ctx.install(Self::shutdown_executor);
        ctx.install(Self::shutdown_framework);
        ctx.install(Self::update_framework);
        ctx.install(Self::checkpoint_resources);
        ctx.install(Self::acknowledge);
        ctx.install(Self::shutdown);
        // From the master, or straight from a framework's driver.
        ctx.install(Self::framework_to_executor);
        // From executors.
        ctx.install(Self::register_executor);
        ctx.install(Self::reregister_executor);
        ctx.install(Self::status_update);
        ctx.install(Self::executor_to_framework);
        http::install(ctx);
        crate::metrics::install(ctx);
        self.detect(ctx);
    }

    fn exited(&mut self, pid: &Upid, ctx: &mut Context<Self>) {
        if self.parts().any(|part| part == pid) {
            return self.fail(format!("its part {pid} has ended"), ctx);
        }
        self.master_lost(pid, ctx);
    }

    fn finalize(&mut self, ctx: &mut Context<Self>) {
        for part in self.parts() {
            ctx.terminate(part);
        }
    }
}

impl Helpers {
    fn upids(&self) -> [&Upid; 3] {
        [self.containerizer.as_ref(), self.updates.as_ref(), self.collector.as_ref()]
    }
}

impl Journaled for Agent {
    fn journal(&mut self) -> &mut Journal<Self> {
        &mut self.journal
    }

    fn write_failed(&mut self, error: &CheckpointError, ctx: &mut Context<Self>) {
        self.fail(chain(error), ctx);
    }
}

/// An error with its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}
