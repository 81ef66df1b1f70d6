//! One container, from its launch to the certainty that nothing of it is left.

use std::sync::Arc;

use api::v1::task_status::Reason;
use api::v1::{Resource, ResourceStatistics, TaskState};
use libprocess::{Abandoned, Context, Deferred, Future, Process, Promise};

use super::containerizer::ContainerizerSettings;
use super::processes::{self, Started, Stat};
use super::sandbox::{self, Forked, SandboxError};
use crate::command_task::scalar_amount;
use crate::wait_status;
use crate::workload::{Launch, Termination};

/// News of a container.
#[derive(Debug, Clone)]
pub struct Report {
    /// The container.
    pub container_id: String,
    /// What happened.
    pub kind: ReportKind,
}

/// What happens to a container.
#[derive(Debug, Clone)]
pub enum ReportKind {
    /// Its first process exists.
    Forked {
        /// That process.
        pid: u32,
    },
    /// It is over, and nothing of it is left.
    Ended(Termination),
}

/// Held by a container and by what is being started for it. It is gone when they all are, after what they had
/// started: then nothing is started for the container any more, and nothing it started is spared by a sweep.
pub(super) type Alive = Arc<Promise<()>>;

enum State {
    /// The sandbox and the first process are being made.
    Preparing,
    /// The first process waits while its URIs are fetched.
    Fetching {
        first: Forked,
        /// Once it runs.
        fetcher: Option<Started>,
    },
    /// The first process was let go, or is being killed.
    Running(Started),
    /// It has ended; what it may have left is being removed.
    Ended,
}

/// One container. Whoever launched it drives it through [`Container::destroy`] only; it reports by itself.
pub(super) struct Container {
    launch: Arc<Launch>,
    settings: Arc<ContainerizerSettings>,
    report: Deferred<Report>,
    state: State,
    /// It is to end; set before there is anything to kill, it is looked at when there is.
    destroying: bool,
    /// What to say at the end instead of how the first process ended.
    failure: Option<Termination>,
    /// Last, because fields are dropped in their order.
    alive: Alive,
}

impl Container {
    pub(super) fn new(
        launch: Launch,
        settings: Arc<ContainerizerSettings>,
        report: Deferred<Report>,
        alive: Alive,
    ) -> Container {
        Container {
            launch: Arc::new(launch),
            settings,
            report,
            state: State::Preparing,
            destroying: false,
            failure: None,
            alive,
        }
    }

    fn tell(&self, kind: ReportKind) {
        self.report.call(Report { container_id: self.launch.container_id.clone(), kind });
    }

    fn forked(&mut self, forked: Result<Result<Made, SandboxError>, Abandoned>, ctx: &mut Context<Self>) {
        let step = match forked.map(|made| made.map(Made::take)) {
            Ok(Ok(Some(step))) => step,
            Ok(Ok(None)) => return ctx.terminate_self(),
            Ok(Err(error)) => return self.fail(&error, ctx),
            Err(Abandoned) => return ctx.terminate_self(),
        };
        let pid = step.pid();
        self.tell(ReportKind::Forked { pid });
        let exit = ctx.reap(pid);
        ctx.then(exit, |container, status, ctx| container.exited(status.ok().flatten(), ctx));
        match step {
            Step::LetGo(started) => self.state = State::Running(started),
            Step::Waits(first) => {
                self.state = State::Fetching { first, fetcher: None };
                if !self.destroying {
                    let (settings, launch) = (self.settings.clone(), self.launch.clone());
                    let alive = self.alive.clone();
                    let started = ctx.blocking(move || (sandbox::fetch(&settings, &launch), alive));
                    ctx.then(started, |container, fetcher, ctx| {
                        container.fetching(fetcher.map(|(started, _alive)| started), ctx);
                    });
                }
            }
        }
        if self.destroying {
            self.kill(ctx);
        }
    }

    fn fetching(
        &mut self,
        started: Result<Result<Started, SandboxError>, Abandoned>,
        ctx: &mut Context<Self>,
    ) {
        let started = match started {
            Ok(Ok(started)) => started,
            Ok(Err(error)) => return self.fail(&error, ctx),
            Err(Abandoned) => return ctx.terminate_self(),
        };
        let exit = ctx.reap(started.pid);
        ctx.then(exit, |container, status, ctx| container.fetched(status.ok().flatten(), ctx));
        match &mut self.state {
            State::Fetching { fetcher, .. } => *fetcher = Some(started),
            // Everything ended meanwhile.
            _ => {
                drop(ctx.blocking(move || {
                    processes::kill_tree(started.pid);
                    drop(started);
                    processes::sweep();
                }));
            }
        }
        if self.destroying {
            self.kill(ctx);
        }
    }

    fn fetched(&mut self, status: Option<i32>, ctx: &mut Context<Self>) {
        let State::Fetching { first, .. } = std::mem::replace(&mut self.state, State::Ended) else { return };
        if status == Some(0) && !self.destroying {
            let (started, told) = first.go();
            self.state = State::Running(started);
            if let Err(error) = told {
                tracing::warn!(container = self.launch.container_id, %error, "the launcher is gone already");
            }
            return;
        }
        let ended = status.map_or_else(|| "ended".to_owned(), wait_status::describe);
        let (started, _) = (first.started, ());
        self.state = State::Running(started);
        if !self.destroying {
            let why = format!("fetching its URIs failed: the fetcher {ended}; the sandbox's stderr says why");
            self.failure = Some(launch_failed(why));
        }
        self.kill(ctx);
    }

    /// Nothing runs, and nothing will; or what runs is of no use.
    fn fail(&mut self, error: &SandboxError, ctx: &mut Context<Self>) {
        let mut message = error.to_string();
        let mut cause = std::error::Error::source(error);
        while let Some(error) = cause {
            message += &format!(": {error}");
            cause = error.source();
        }
        self.failure = Some(launch_failed(message));
        match self.state {
            State::Preparing => self.end(None, ctx),
            _ => self.kill(ctx),
        }
    }

    /// Ends the container. It reports when it is over.
    pub(super) fn destroy(&mut self, ctx: &mut Context<Self>) {
        self.destroying = true;
        self.kill(ctx);
    }

    fn kill(&mut self, ctx: &mut Context<Self>) {
        let pids = match &self.state {
            State::Preparing | State::Ended => return,
            State::Running(started) => vec![started.pid],
            State::Fetching { first, fetcher } => {
                fetcher.iter().map(|fetcher| fetcher.pid).chain([first.started.pid]).collect()
            }
        };
        drop(ctx.blocking(move || pids.into_iter().for_each(processes::kill_tree)));
    }

    fn exited(&mut self, status: Option<i32>, ctx: &mut Context<Self>) {
        self.end(status, ctx);
    }

    /// The first process is gone: removes what it may have left, and only then says that it is over.
    fn end(&mut self, status: Option<i32>, ctx: &mut Context<Self>) {
        // What was started is no longer ours to spare.
        self.state = State::Ended;
        let (settings, launch) = (self.settings.clone(), self.launch.clone());
        let cleaned = ctx.blocking(move || {
            processes::sweep();
            for isolator in &settings.isolators {
                if let Err(error) = isolator.cleanup(&launch.container_id) {
                    tracing::warn!(container = launch.container_id, %error, "cleaning up after a container");
                }
            }
        });
        ctx.then(cleaned, move |container, _, ctx| {
            let said = status.map(|status| format!("the executor {}", wait_status::describe(status)));
            let mut termination = container.failure.take().unwrap_or_else(|| Termination {
                message: said.unwrap_or_else(|| "the executor ended".to_owned()),
                ..Default::default()
            });
            termination.status = status;
            container.tell(ReportKind::Ended(termination));
            ctx.terminate_self();
        });
    }

    /// What the container uses now; `None` before it runs and after.
    pub(super) fn usage(
        &mut self,
        resources: Vec<Resource>,
        ctx: &mut Context<Self>,
    ) -> Future<Option<ResourceStatistics>> {
        let State::Running(started) = &self.state else { return Future::ready(None) };
        let (first, settings, launch) = (started.pid, self.settings.clone(), self.launch.clone());
        let timestamp = ctx.now().as_secs_f64();
        ctx.blocking(move || {
            let pids = std::iter::once(first).chain(processes::descendants(first));
            let stats: Vec<Stat> = pids.filter_map(Stat::of).collect();
            let mut statistics = ResourceStatistics { timestamp, ..Default::default() };
            let megabytes = |amount: f64| (amount * 1024.0 * 1024.0) as u64;
            statistics.cpus_soft_limit = Some(scalar_amount(&resources, "cpus"));
            statistics.cpus_limit = statistics.cpus_soft_limit;
            statistics.mem_soft_limit_bytes = Some(megabytes(scalar_amount(&resources, "mem")));
            statistics.mem_limit_bytes = statistics.mem_soft_limit_bytes;
            for isolator in &settings.isolators {
                isolator.usage(&launch.container_id, &stats, &mut statistics);
            }
            Some(statistics)
        })
    }
}

pub(super) fn launch_failed(message: String) -> Termination {
    Termination {
        state: Some(TaskState::TaskFailed),
        reason: Some(Reason::ContainerLaunchFailed),
        message,
        ..Default::default()
    }
}

/// What the first process does once it is made.
enum Step {
    /// There is nothing to fetch: it was let go.
    LetGo(Started),
    /// It waits.
    Waits(Forked),
}

impl Step {
    fn pid(&self) -> u32 {
        match self {
            Step::LetGo(started) => started.pid,
            Step::Waits(forked) => forked.started.pid,
        }
    }
}

/// A first process on its way to the actor. Should the actor be gone when it arrives, nobody would ever end
/// it; it ends itself then.
struct Made(Option<Step>, #[expect(dead_code, reason = "it is held")] Alive);

impl Made {
    fn take(mut self) -> Option<Step> {
        self.0.take()
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        if let Some(step) = self.0.take() {
            processes::kill_tree(step.pid());
            drop(step);
            processes::sweep();
        }
    }
}

impl Process for Container {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        let (settings, launch, alive) = (self.settings.clone(), self.launch.clone(), self.alive.clone());
        let forked = ctx.blocking(move || {
            let forked = sandbox::fork(&settings, &launch)?;
            if !launch.command.uris.is_empty() {
                return Ok(Made(Some(Step::Waits(forked)), alive));
            }
            let (started, told) = forked.go();
            if let Err(error) = told {
                tracing::warn!(container = launch.container_id, %error, "the launcher is gone already");
            }
            Ok(Made(Some(Step::LetGo(started)), alive))
        });
        ctx.then(forked, |container, forked, ctx| container.forked(forked, ctx));
    }

    /// The agent ends. Nothing of the container may outlive it: until agents can find their containers
    /// again, whatever stays would stay for ever.
    fn finalize(&mut self, _ctx: &mut Context<Self>) {
        let first = match std::mem::replace(&mut self.state, State::Ended) {
            State::Running(started) => started,
            State::Fetching { first, .. } => first.started,
            State::Preparing | State::Ended => return,
        };
        processes::kill_tree(first.pid);
        drop(first);
        processes::sweep();
    }
}
