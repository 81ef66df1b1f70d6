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
use api::v1::{AgentId, MasterInfo, Unavailability};
use libprocess::http::{Method, RouteOptions};
use libprocess::metrics::Counter;
use libprocess::{Context, Id, Message, Pid, Process, Time, Upid};
use uuid::Uuid;

use crate::acting::Entitlement;
use crate::bounds::Bounds;
use crate::cluster::Cluster;
use crate::contender::Contender;
use crate::counters::COUNTERS;
use crate::effect::Effect;
use crate::gauges::Gauges;
use crate::http::reads::Reads;
use crate::observer::Observer;
use crate::per_framework::PerFramework;
use crate::registry::{AGENT_DRAINING, Lease, QUOTA_V2, Registrar, RegistrarError, Registry};
use crate::returning::Returns;
use crate::streams::Streams;
use crate::whitelist::{self, Whitelist};

/// How often a stream hears that it is alive.
pub(crate) const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(15);

/// What a registry may ask of this master.
const CAPABILITIES: [&str; 2] = [AGENT_DRAINING, QUOTA_V2];

/// The id of the allocator's process.
pub(crate) const ALLOCATOR_ID: &str = "allocator";

/// What a master is started with, beside its state.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) allocator: allocator::Options,
    pub(crate) ping_interval: Duration,
    pub(crate) max_ping_timeouts: u32,
    pub(crate) registry_gc_interval: Duration,
    pub(crate) flags: Arc<BTreeMap<String, String>>,
    pub(crate) cluster_name: Option<String>,
    pub(crate) whitelist: Option<PathBuf>,
    pub(crate) bounds: Bounds,
}

/// Who leads, as far as this master knows.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Known {
    pub(crate) term: u64,
    pub(crate) leader: Option<MasterInfo>,
    pub(crate) masters: Vec<String>,
}

/// The master; [`Contender`] spawns it as `master`. It stands by until it is told to lead, and leads once: when the
/// lead is lost it ends, and another takes its place that knows nothing of its reign.
pub struct Master {
    pub(crate) cluster: Cluster,
    pub(crate) streams: Streams,
    pub(crate) reads: Reads,
    /// Counts the events, so that readers know whether what they have is current.
    pub(crate) version: u64,
    pub(crate) started: Time,
    pub(crate) elected: Option<Time>,
    /// Whether it was told to lead, be it that it has not read the registry yet.
    pub(crate) leads: bool,
    pub(crate) known: Known,
    pub(crate) entitlement: Entitlement,
    pub(crate) setup: Setup,
    pub(crate) gauges: RefCell<Gauges>,
    pub(crate) contender: Pid<Contender>,
    pub(crate) registrar: Pid<Registrar>,
    /// Since it leads.
    pub(crate) allocator: Option<Pid<AllocatorProcess>>,
    /// Since it leads.
    pub(crate) observer: Option<Pid<Observer>>,
    counters: HashMap<Cow<'static, str>, Counter>,
    pub(crate) returns: Returns,
    /// Empty between events. Most lead to a few effects, and making room for them costs more than the effects.
    pub(crate) room_for_effects: Vec<Effect>,
    pub(crate) per_framework: PerFramework,
    whitelist: Whitelist,
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
        // Agents. Their pongs go to the observer.
        ctx.install(on(Cluster::register_agent));
        ctx.install_raw(ReregisterSlaveMessage::name(), Self::agent_returns);
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
        ctx.route_with("/leader", help("Which master leads, and which there are."), Self::leader);
        let only = |method, options| RouteOptions { methods: vec![method], ..options };
        let masters = help("The masters, and how far each has got.");
        ctx.route_with("/masters", only(Method::GET, masters), Self::masters);
        let add = help("Takes a master in: ?master=HOST:PORT.");
        ctx.route_with("/masters/add", only(Method::POST, add), Self::add_master);
        let remove = help("Lets a master go: ?master=HOST:PORT.");
        ctx.route_with("/masters/remove", only(Method::POST, remove), Self::remove_master);
        let transfer = help("Lets another master lead: ?master=HOST:PORT.");
        ctx.route_with("/masters/transfer", only(Method::POST, transfer), Self::transfer_lead);
        ctx.route_shared("/health", help("Whether the master serves."), crate::http::health);
        ctx.route_shared("/version", help("What this is."), crate::http::version);
        crate::gauges::install(ctx);
        self.counters = COUNTERS.iter().map(|name| ((*name).into(), ctx.metrics().counter(name))).collect();

        self.started = ctx.now();
        self.watch_the_time(ctx);
    }

    fn exited(&mut self, pid: &Upid, ctx: &mut Context<Self>) {
        let own = [self.allocator.as_ref().map(Pid::upid), self.observer.as_ref().map(Pid::upid)];
        if own.contains(&Some(pid)) {
            return self.fail_soon(format!("its process {} ended", pid.id()), ctx);
        }
        let pid = pid.clone();
        self.act_in_time(ctx, move |cluster| {
            cluster.driver_exited(&pid);
            cluster.agent_exited(&pid);
        });
    }

    /// What belongs to this reign ends with it. The contender waits for the allocator, whose id the next one needs.
    fn finalize(&mut self, ctx: &mut Context<Self>) {
        if let Some(observer) = self.observer.take() {
            ctx.terminate(&observer);
        }
        if let Some(allocator) = self.allocator.take() {
            ctx.terminate(&allocator);
        }
    }
}

/// A message as an event of the cluster.
fn on<M: Message>(
    event: impl Fn(&mut Cluster, &Upid, M) + Copy + Send + 'static,
) -> impl Fn(&mut Master, &Upid, M, &mut Context<Master>) + Send + 'static {
    move |master, from, message, ctx| {
        let principal = master.cluster.frameworks.principal_at(from).map(str::to_owned);
        if let Some(principal) = &principal {
            master.per_framework.count_message(principal, false, ctx);
        }
        let sender = from.clone();
        if !master.act_on_message(ctx, move |cluster| event(cluster, &sender, message)) {
            // Whoever sent it tries again, here or where it hears that the leader is.
            return master.count(Cow::Borrowed("master/dropped_messages"), ctx);
        }
        if let Some(principal) = &principal {
            master.per_framework.count_message(principal, true, ctx);
        }
    }
}

impl Master {
    pub(crate) fn new(
        cluster: Cluster,
        setup: Setup,
        contender: Pid<Contender>,
        registrar: Pid<Registrar>,
        lease: Lease,
    ) -> Self {
        Master {
            cluster,
            streams: Streams::default(),
            reads: Reads::default(),
            version: 0,
            started: Time::EPOCH,
            elected: None,
            leads: false,
            known: Known::default(),
            entitlement: Entitlement::new(lease),
            gauges: RefCell::default(),
            contender,
            registrar,
            allocator: None,
            observer: None,
            counters: HashMap::new(),
            returns: Returns::new(setup.bounds),
            room_for_effects: Vec::new(),
            per_framework: PerFramework::default(),
            whitelist: Whitelist::new(setup.whitelist.clone()),
            setup,
        }
    }

    /// Whether it leads and has read the registry. That it may act now is more: see `acting`.
    pub(crate) fn is_elected(&self) -> bool {
        self.elected.is_some()
    }

    /// Who leads is news.
    pub(crate) fn hear(&mut self, known: Known) {
        self.known = known;
    }

    /// This master leads its group in that term; it serves when it has read the registry.
    pub(crate) fn lead(&mut self, term: u64, ctx: &mut Context<Self>) {
        self.leads = true;
        self.entitlement.of_term(term);
        let offers =
            ctx.defer(|master: &mut Master, allocation: Allocation, ctx| master.offer(allocation, ctx));
        let process = AllocatorProcess::new(self.setup.allocator.clone(), move |allocation| {
            offers.call(allocation);
        });
        match ctx.spawn(ALLOCATOR_ID, process) {
            Ok(pid) => {
                ctx.link(&pid);
                self.allocator = Some(pid);
            }
            Err(error) => return self.fail(format!("the allocator cannot be started: {error}"), ctx),
        }
        let observer = Observer::new(ctx.pid(), self.setup.ping_interval, self.setup.max_ping_timeouts);
        match ctx.spawn(Id::prefix("slave-observer"), observer) {
            Ok(pid) => {
                ctx.link(&pid);
                self.observer = Some(pid);
            }
            Err(error) => return self.fail(format!("the observer cannot be started: {error}"), ctx),
        }
        self.watch_whitelist(ctx);
        let info = self.cluster.info.clone();
        let recovered =
            ctx.dispatch(&self.registrar, move |registrar, ctx| registrar.recover(info, ctx)).flatten();
        ctx.then(recovered, |master, result, ctx| match result {
            Ok(Ok(registry)) => master.recovered(registry, ctx),
            Ok(Err(error)) => master.registry_failed(error, ctx),
            // The contender hears of its end too, and knows what to do.
            Err(_) => {}
        });
    }

    /// An operation has no outcome. What the registry holds is unknown now: the next leader reads it, be it in this
    /// process's place; this one may not guess.
    pub(crate) fn registry_failed(&mut self, error: RegistrarError, ctx: &mut Context<Self>) {
        if !matches!(error, RegistrarError::NotLeading { .. }) {
            return self.fail(error.to_string(), ctx);
        }
        (self.leads, self.elected) = (false, None);
        let ended = ctx.upid().clone();
        self.contender.call(move |contender, ctx| contender.abdicated(&ended, ctx));
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

    fn recovered(&mut self, registry: Registry, ctx: &mut Context<Self>) {
        let unknown: Vec<_> = registry
            .minimum_capabilities()
            .filter(|name| !CAPABILITIES.contains(name))
            .map(str::to_owned)
            .collect();
        if !unknown.is_empty() {
            let unknown = unknown.join(", ");
            return self.fail(format!("the registry needs a master with the capabilities {unknown}"), ctx);
        }
        self.elected = Some(ctx.now());
        let pid = ctx.upid().clone();
        // Before anything else that happens to the cluster, also if the lease has just run out.
        self.act_first(ctx, move |cluster| match cluster.recover(&registry) {
            Ok(()) => tracing::info!(%pid, "the master serves"),
            Err(error) => cluster.fatal = Some(error.to_string()),
        });
        self.collect_garbage_later(ctx);
    }

    fn collect_garbage_later(&mut self, ctx: &mut Context<Self>) {
        ctx.delay(self.setup.registry_gc_interval, |master, ctx| {
            master.act(ctx, Cluster::collect_registry_garbage);
            master.collect_garbage_later(ctx);
        });
    }

    pub(crate) fn count(&mut self, name: Cow<'static, str>, ctx: &mut Context<Self>) {
        let counter = self.counters.entry(name).or_insert_with_key(|name| ctx.metrics().counter(name));
        counter.inc();
    }

    pub(crate) fn stream_closed(&mut self, id: &Uuid, ctx: &mut Context<Self>) {
        self.streams.close(id);
        let id = *id;
        self.act_in_time(ctx, move |cluster| cluster.stream_closed(&id));
    }

    pub(crate) fn agent_is_silent(&mut self, id: &AgentId, ctx: &mut Context<Self>) {
        self.act(ctx, |cluster| cluster.agent_is_silent(id));
    }

    pub(crate) fn agent_answered(&mut self, id: &AgentId, ctx: &mut Context<Self>) {
        let id = id.clone();
        self.act_in_time(ctx, move |cluster| cluster.agent_answered(&id));
    }

    fn offer(&mut self, allocation: Allocation, ctx: &mut Context<Self>) {
        self.act_in_time(ctx, |cluster| {
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
        (self.leads, self.elected) = (false, None);
        self.contender.call(move |contender, ctx| contender.fail(why, ctx));
        ctx.terminate_self();
    }

    /// See [`Cluster::set_unavailability`].
    pub fn set_unavailability(
        &mut self,
        agent_id: &AgentId,
        unavailability: Option<Unavailability>,
        ctx: &mut Context<Self>,
    ) -> bool {
        self.act(ctx, |cluster| cluster.set_unavailability(agent_id, unavailability)).unwrap_or(false)
    }

    /// Gives up an agent for good. The future-less form of what operators ask for; `false` when it cannot be now.
    pub fn mark_gone(&mut self, id: &AgentId, ctx: &mut Context<Self>) -> bool {
        self.act(ctx, |cluster| cluster.mark_gone(id)).is_some_and(|marked| marked.is_ok())
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

    /// Under which id this master acts as leader at that moment of its node's clock, if it does.
    pub fn acts_as(&self, now: Time) -> Option<&str> {
        (self.is_elected() && self.holds_lease(now)).then_some(self.cluster.info.id.as_str())
    }

    /// Whether that agent is registered.
    pub fn has_agent(&self, id: &AgentId) -> bool {
        self.cluster.agents.get(id).is_some()
    }

    /// Whether that agent is gone for good.
    pub fn is_gone(&self, id: &AgentId) -> bool {
        self.cluster.agents.gone.contains_key(id)
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
