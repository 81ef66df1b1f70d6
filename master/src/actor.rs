//! The master as a process: what reaches it becomes an event of the [`Cluster`], and what the cluster wants
//! done is done.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use allocator::{Allocation, AllocatorProcess};
use api::internal::*;
use api::v1::{AgentId, Unavailability};
use libprocess::http::RouteOptions;
use libprocess::metrics::Counter;
use libprocess::{Context, Id, Message, Pid, Process, Promise, Time, Upid};
use uuid::Uuid;

use crate::cluster::Cluster;
use crate::effect::Timeout;
use crate::gauges::Gauges;
use crate::http::reads::Reads;
use crate::observer::Observer;
use crate::per_framework::PerFramework;
use crate::registry::{AGENT_DRAINING, QUOTA_V2, Registrar};
use crate::streams::Streams;
use crate::whitelist::{self, Whitelist};

/// How often a stream hears that it is alive.
pub(crate) const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(15);

/// What a registry may ask of this master.
const CAPABILITIES: [&str; 2] = [AGENT_DRAINING, QUOTA_V2];

/// What a master is started with, beside its state.
pub(crate) struct Setup {
    pub(crate) allocator: allocator::Options,
    pub(crate) registrar: Registrar,
    pub(crate) ping_interval: Duration,
    pub(crate) max_ping_timeouts: u32,
    pub(crate) registry_gc_interval: Duration,
    pub(crate) flags: Arc<BTreeMap<String, String>>,
    pub(crate) cluster_name: Option<String>,
    pub(crate) whitelist: Option<PathBuf>,
    /// Told why the master ended its service, if it does.
    pub(crate) fatal: Promise<String>,
}

/// The master; spawn it as `master`.
pub struct Master {
    pub(crate) cluster: Cluster,
    pub(crate) streams: Streams,
    pub(crate) reads: Reads,
    /// Counts the events, so that readers know whether what they have is current.
    pub(crate) version: u64,
    pub(crate) started: Time,
    pub(crate) elected: Option<Time>,
    pub(crate) flags: Arc<BTreeMap<String, String>>,
    pub(crate) cluster_name: Option<String>,
    pub(crate) gauges: RefCell<Gauges>,
    /// Until it is started.
    idle_registrar: Option<Registrar>,
    pub(crate) registrar: Option<Pid<Registrar>>,
    pub(crate) allocator: Option<Pid<AllocatorProcess>>,
    options: allocator::Options,
    pub(crate) observers: BTreeMap<AgentId, Pid<Observer>>,
    pub(crate) ping_interval: Duration,
    pub(crate) max_ping_timeouts: u32,
    registry_gc_interval: Duration,
    counters: HashMap<Cow<'static, str>, Counter>,
    pub(crate) per_framework: PerFramework,
    whitelist: Whitelist,
    fatal: Option<Promise<String>>,
}

impl Process for Master {
    /// Every way into this actor, in one list.
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        // Schedulers.
        ctx.install(Self::submit_scheduler);
        ctx.install(on(Cluster::register_framework));
        ctx.install(on(Cluster::reregister_framework));
        ctx.install(on(Cluster::unregister_framework));
        ctx.install(on(Cluster::deactivate_framework_message));
        ctx.install(on(Cluster::resource_request));
        ctx.install(on(Cluster::launch_tasks));
        ctx.install(on(Cluster::revive_offers));
        ctx.install(on(Cluster::kill_task));
        ctx.install(on(Cluster::acknowledge_status));
        ctx.install(on(Cluster::framework_to_executor));
        ctx.install(on(Cluster::reconcile_tasks));
        ctx.install(on(Cluster::driver_call));
        // Agents. Their pongs go to the observers.
        ctx.install(on(Cluster::register_agent));
        ctx.install(on(Cluster::reregister_agent));
        ctx.install(on(Cluster::unregister_slave));
        ctx.install(on(Cluster::update_agent));
        ctx.install(on(Cluster::status_update));
        ctx.install(on(Cluster::executor_message));
        ctx.install(on(Cluster::executor_exited));
        // Either.
        ctx.install(Self::authenticate);
        // HTTP.
        let help = RouteOptions::help;
        ctx.route_with("/api/v1/scheduler", help("The scheduler API."), Self::scheduler);
        ctx.route_with("/state", help("Everything the master knows."), Self::state);
        ctx.route_with(
            "/state-summary",
            help("Agents and frameworks with counts of tasks."),
            Self::state_summary,
        );
        ctx.route_with("/slaves", help("The agents."), Self::slaves);
        ctx.route_with("/frameworks", help("The frameworks."), Self::frameworks);
        ctx.route_with("/tasks", help("The tasks, a page at a time."), Self::tasks);
        ctx.route_with("/flags", help("The flags."), Self::flags);
        ctx.route_with("/redirect", help("Redirects to the leading master."), Self::redirect);
        ctx.route_shared("/health", help("Whether the master serves."), crate::http::health);
        ctx.route_shared("/version", help("What this is."), crate::http::version);
        crate::gauges::install(ctx);

        self.start(ctx);
    }

    fn exited(&mut self, pid: &Upid, ctx: &mut Context<Self>) {
        let allocator = self.allocator.as_ref().is_some_and(|it| it.upid() == pid);
        let registrar = self.registrar.as_ref().is_some_and(|it| it.upid() == pid);
        if allocator || registrar {
            return self.fail_soon(format!("its process {} ended", pid.id()), ctx);
        }
        self.event(ctx, |cluster| {
            cluster.driver_exited(pid);
            cluster.agent_exited(pid);
        });
    }
}

/// A message as an event of the cluster.
fn on<M: Message>(
    event: impl Fn(&mut Cluster, &Upid, M) + Send + 'static,
) -> impl Fn(&mut Master, &Upid, M, &mut Context<Master>) + Send + 'static {
    move |master, from, message, ctx| {
        let principal = master.cluster.frameworks.principal_at(from).map(str::to_owned);
        if let Some(principal) = &principal {
            master.per_framework.count_message(principal, false, ctx);
        }
        if !master.is_serving() {
            // Whoever sent it tries again; what it asks for cannot be judged before the registry is read.
            return master.count(Cow::Borrowed("master/dropped_messages"), ctx);
        }
        master.event(ctx, |cluster| event(cluster, from, message));
        if let Some(principal) = &principal {
            master.per_framework.count_message(principal, true, ctx);
        }
    }
}

impl Master {
    pub(crate) fn new(cluster: Cluster, setup: Setup) -> Self {
        Master {
            cluster,
            streams: Streams::default(),
            reads: Reads::default(),
            version: 0,
            started: Time::EPOCH,
            elected: None,
            flags: setup.flags,
            cluster_name: setup.cluster_name,
            gauges: RefCell::default(),
            idle_registrar: Some(setup.registrar),
            registrar: None,
            allocator: None,
            options: setup.allocator,
            observers: BTreeMap::new(),
            ping_interval: setup.ping_interval,
            max_ping_timeouts: setup.max_ping_timeouts,
            registry_gc_interval: setup.registry_gc_interval,
            counters: HashMap::new(),
            per_framework: PerFramework::default(),
            whitelist: Whitelist::new(setup.whitelist),
            fatal: Some(setup.fatal),
        }
    }

    /// Whether it leads and has read the registry.
    pub(crate) fn is_serving(&self) -> bool {
        self.elected.is_some()
    }

    /// The only number that changes without an event.
    fn tell_uptime(&mut self, ctx: &mut Context<Self>) {
        ctx.metrics().gauge("master/uptime_secs").set((ctx.now() - self.started).as_secs_f64());
        ctx.delay(Duration::from_secs(1), Self::tell_uptime);
    }

    /// A master alone leads at once; it serves when it has read the registry.
    fn start(&mut self, ctx: &mut Context<Self>) {
        self.started = ctx.now();
        self.tell_uptime(ctx);
        let offers =
            ctx.defer(|master: &mut Master, allocation: Allocation, ctx| master.offer(allocation, ctx));
        let process = AllocatorProcess::new(self.options.clone(), move |allocation| {
            offers.call(allocation);
        });
        match ctx.spawn("allocator", process) {
            Ok(pid) => {
                ctx.link(&pid);
                self.allocator = Some(pid);
            }
            Err(error) => return self.fail(format!("the allocator cannot be started: {error}"), ctx),
        }
        self.watch_whitelist(ctx);
        let Some(registrar) = self.idle_registrar.take() else { return };
        let registrar = match ctx.spawn(Id::prefix("registrar"), registrar) {
            Ok(pid) => pid,
            Err(error) => return self.fail(format!("the registrar cannot be started: {error}"), ctx),
        };
        ctx.link(&registrar);
        self.registrar = Some(registrar.clone());
        let info = self.cluster.info.clone();
        let recovered =
            ctx.dispatch(&registrar, move |registrar, ctx| registrar.recover(info, ctx)).flatten();
        ctx.then(recovered, |master, result, ctx| match result {
            Ok(Ok(registry)) => master.recovered(&registry, ctx),
            Ok(Err(error)) => master.fail(error.to_string(), ctx),
            Err(_) => master.fail_soon("the registrar ended".into(), ctx),
        });
    }

    /// Reads the whitelist now and in intervals, off this actor.
    fn watch_whitelist(&mut self, ctx: &mut Context<Self>) {
        let Some(path) = self.whitelist.path.clone() else { return };
        let read = ctx.blocking(move || whitelist::read(&path));
        ctx.then(read, |master, read, ctx| {
            if let Ok(read) = read
                && let Some(hosts) = master.whitelist.take(read)
            {
                tracing::info!(hosts = hosts.len(), "the whitelist says which agents are offered");
                if let Some(allocator) = &master.allocator {
                    allocator.call(move |allocator, ctx| allocator.update_whitelist(Some(hosts), ctx));
                }
            }
            ctx.delay(whitelist::INTERVAL, Self::watch_whitelist);
        });
    }

    fn recovered(&mut self, registry: &crate::registry::Registry, ctx: &mut Context<Self>) {
        let unknown: Vec<_> = registry
            .minimum_capabilities()
            .filter(|name| !CAPABILITIES.contains(name))
            .map(str::to_owned)
            .collect();
        if !unknown.is_empty() {
            let unknown = unknown.join(", ");
            return self.fail(format!("the registry needs a master with the capabilities {unknown}"), ctx);
        }
        if let Err(error) = self.event(ctx, |cluster| cluster.recover(registry)) {
            return self.fail(error.to_string(), ctx);
        }
        self.elected = Some(ctx.now());
        self.collect_garbage_later(ctx);
        tracing::info!(pid = %ctx.upid(), "the master serves");
    }

    fn collect_garbage_later(&mut self, ctx: &mut Context<Self>) {
        ctx.delay(self.registry_gc_interval, |master, ctx| {
            master.event(ctx, Cluster::collect_registry_garbage);
            master.collect_garbage_later(ctx);
        });
    }

    /// Lets something happen to the cluster, and does what follows from it.
    pub(crate) fn event<R>(&mut self, ctx: &mut Context<Self>, event: impl FnOnce(&mut Cluster) -> R) -> R {
        self.version += 1;
        let result = event(self.cluster.at(ctx.now()));
        loop {
            let effects = self.cluster.take_effects();
            if effects.is_empty() {
                break;
            }
            for effect in effects {
                self.perform(effect, ctx);
            }
        }
        if let Some(why) = self.cluster.fatal.take() {
            self.fail(why, ctx);
        }
        result
    }

    pub(crate) fn count(&mut self, name: Cow<'static, str>, ctx: &mut Context<Self>) {
        let counter = self.counters.entry(name).or_insert_with_key(|name| ctx.metrics().counter(name));
        counter.inc();
    }

    pub(crate) fn stream_closed(&mut self, id: &Uuid, ctx: &mut Context<Self>) {
        self.streams.close(id);
        self.event(ctx, |cluster| cluster.stream_closed(id));
    }

    pub(crate) fn agent_is_silent(&mut self, id: &AgentId, ctx: &mut Context<Self>) {
        self.event(ctx, |cluster| cluster.agent_is_silent(id));
    }

    pub(crate) fn agent_answered(&mut self, id: &AgentId, ctx: &mut Context<Self>) {
        self.event(ctx, |cluster| cluster.agent_answered(id));
    }

    pub(crate) fn timed_out(&mut self, timeout: Timeout, ctx: &mut Context<Self>) {
        self.event(ctx, |cluster| match timeout {
            Timeout::FrameworkFailover { id, subscription } => cluster.failover_timed_out(&id, subscription),
            Timeout::Offer(id) => cluster.offer_timed_out(&id),
            Timeout::AgentReregistration { id, connection } => {
                cluster.agent_reregistration_timed_out(&id, connection)
            }
            Timeout::Recovery => cluster.recovery_timed_out(),
            Timeout::Removal => cluster.removal_permitted(),
        });
    }

    fn offer(&mut self, allocation: Allocation, ctx: &mut Context<Self>) {
        self.event(ctx, |cluster| {
            for framework in allocation.frameworks {
                cluster.offer(&framework.framework_id, framework.offers);
            }
            cluster.ask_to_leave(allocation.inverse_offers);
        });
    }

    /// A process this one needs is gone. When the whole node ends, so does this one, and nothing is wrong.
    pub(crate) fn fail_soon(&mut self, why: String, ctx: &mut Context<Self>) {
        ctx.delay(Duration::from_millis(100), move |master, ctx| master.fail(why, ctx));
    }

    /// Ends this master's service: it does not know, or cannot keep, what it has to.
    pub(crate) fn fail(&mut self, why: String, ctx: &mut Context<Self>) {
        tracing::error!(why, "the master ends");
        self.elected = None;
        if let Some(fatal) = self.fatal.take() {
            fatal.set(why);
        }
        ctx.terminate_self();
    }

    /// See [`Cluster::set_unavailability`].
    pub fn set_unavailability(
        &mut self,
        agent_id: &AgentId,
        unavailability: Option<Unavailability>,
        ctx: &mut Context<Self>,
    ) -> bool {
        self.event(ctx, |cluster| cluster.set_unavailability(agent_id, unavailability))
    }

    /// How many agents are registered. This and what follows is for tests and tools in the same program.
    pub fn n_agents(&self) -> usize {
        self.cluster.agents.registered.len()
    }

    /// How many agents are known and unreachable.
    pub fn n_unreachable_agents(&self) -> usize {
        self.cluster.agents.unreachable.len()
    }

    /// See [`Cluster::check_invariants`].
    pub fn check_invariants(&self) -> Result<(), String> {
        self.cluster.check_invariants()
    }

    /// The agents of the registry that have not come back yet.
    pub fn recovered_agents(&self) -> Vec<AgentId> {
        self.cluster.agents.recovered.keys().cloned().collect()
    }

    fn submit_scheduler(&mut self, _: SubmitSchedulerRequest, ctx: &mut Context<Self>) {
        ctx.reply(SubmitSchedulerResponse { okay: false });
    }

    fn authenticate(&mut self, message: AuthenticateMessage, ctx: &mut Context<Self>) {
        self.count(Cow::Borrowed("master/messages_authenticate"), ctx);
        tracing::warn!(client = message.pid, "refusing to authenticate: this master has no authenticator");
        ctx.reply(AuthenticationErrorMessage { error: Some("No authenticator loaded".into()) });
    }
}
