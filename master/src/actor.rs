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
use crate::effect::{AgentMessage, AllocatorCall, Connection, Continuation, Effect, FrameworkEvent, Timeout};
use crate::frameworks::framework_options;
use crate::gauges::Gauges;
use crate::http::reads::Reads;
use crate::observer::Observer;
use crate::per_framework::{PerFramework, event_name};
use crate::registry::{Operation, Registrar};
use crate::streams::{Streams, heartbeat, v1_event};
use crate::whitelist::{self, Whitelist};

/// How often a stream hears that it is alive.
pub(crate) const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(15);

/// What a registry asks of its masters that holds quotas with limits of their own.
const QUOTA_V2: &str = "QUOTA_V2";

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
    registrar: Option<Pid<Registrar>>,
    allocator: Option<Pid<AllocatorProcess>>,
    options: allocator::Options,
    observers: BTreeMap<AgentId, Pid<Observer>>,
    ping_interval: Duration,
    max_ping_timeouts: u32,
    registry_gc_interval: Duration,
    counters: HashMap<Cow<'static, str>, Counter>,
    per_framework: PerFramework,
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
        let unknown: Vec<_> =
            registry.minimum_capabilities().filter(|name| *name != QUOTA_V2).map(str::to_owned).collect();
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

    fn perform(&mut self, effect: Effect, ctx: &mut Context<Self>) {
        match effect {
            Effect::Tell { to, framework_id, event } => {
                if let Some(id) = &framework_id {
                    self.per_framework.count(&self.cluster, id, "events", ctx);
                    self.per_framework.count(&self.cluster, id, event_name(&event), ctx);
                }
                match to {
                    Connection::Driver(pid) => tell_driver(&pid, event, ctx),
                    Connection::Stream(id) => {
                        self.write(&id, &v1_event(event, HEARTBEAT_INTERVAL.as_secs_f64()));
                    }
                }
            }
            Effect::Hangup(id) => self.streams.close(&id),
            Effect::Heartbeat(id) => self.heartbeat(id, ctx),
            Effect::Send { to, message } => send_agent(&to, message, ctx),
            Effect::Link(pid) => ctx.link(&pid),
            Effect::Observe { agent_id, pid } => self.observe(agent_id, pid, ctx),
            Effect::ObserveConnection { agent_id, pid } => {
                if let Some(observer) = self.observers.get(&agent_id) {
                    observer.call(move |observer, _| observer.set_connection(pid));
                }
            }
            Effect::StopObserving(agent_id) => {
                if let Some(observer) = self.observers.remove(&agent_id) {
                    ctx.terminate(&observer);
                }
            }
            Effect::Allocator(call) => self.tell_allocator(call),
            Effect::Registry { operation, then } => self.persist(operation, then, ctx),
            Effect::Delay { after, then } => {
                ctx.delay(after, move |master, ctx| master.timed_out(then, ctx));
            }
            Effect::Count(name) => self.count(name, ctx),
            Effect::CountOf(id, name) => self.per_framework.count(&self.cluster, &id, &name, ctx),
            Effect::AddTo(id, name, change) => self.per_framework.add(&self.cluster, &id, &name, change, ctx),
            Effect::ShowRoles(id) => self.per_framework.show_roles(&self.cluster, &id, ctx),
            Effect::StopCounting(id) => self.per_framework.forget(&self.cluster, &id, ctx),
        }
    }

    fn count(&mut self, name: Cow<'static, str>, ctx: &mut Context<Self>) {
        let counter = self.counters.entry(name).or_insert_with_key(|name| ctx.metrics().counter(name));
        counter.inc();
    }

    fn write(&mut self, id: &Uuid, event: &api::v1::scheduler::Event) {
        if let Err(error) = self.streams.write(id, event) {
            tracing::info!(stream = %id, %error, "an event stream ended");
            self.cluster.stream_closed(id);
        }
    }

    /// At once after SUBSCRIBED, and then in intervals for as long as the stream is open.
    fn heartbeat(&mut self, id: Uuid, ctx: &mut Context<Self>) {
        if self.streams.is_open(&id) {
            self.event_write(&id, ctx);
            ctx.delay(HEARTBEAT_INTERVAL, move |master, ctx| master.heartbeat(id, ctx));
        }
    }

    fn event_write(&mut self, id: &Uuid, ctx: &mut Context<Self>) {
        self.write(id, &heartbeat());
        if !self.streams.is_open(id) {
            self.event(ctx, |_| ());
        }
    }

    pub(crate) fn stream_closed(&mut self, id: &Uuid, ctx: &mut Context<Self>) {
        self.streams.close(id);
        self.event(ctx, |cluster| cluster.stream_closed(id));
    }

    fn observe(&mut self, agent_id: AgentId, agent: Upid, ctx: &mut Context<Self>) {
        let observer =
            Observer::new(ctx.pid(), agent_id.clone(), agent, self.ping_interval, self.max_ping_timeouts);
        match ctx.spawn(Id::prefix("slave-observer"), observer) {
            Ok(pid) => drop(self.observers.insert(agent_id, pid)),
            Err(error) => self.fail(format!("an observer cannot be started: {error}"), ctx),
        }
    }

    pub(crate) fn agent_is_silent(&mut self, id: &AgentId, ctx: &mut Context<Self>) {
        if self.event(ctx, |cluster| cluster.mark_unreachable(id, "health check timed out")) {
            self.count(Cow::Borrowed("master/slave_unreachable_scheduled"), ctx);
        }
    }

    fn persist(&mut self, operation: Operation, then: Continuation, ctx: &mut Context<Self>) {
        let Some(registrar) = self.registrar.clone() else { return };
        let written =
            ctx.dispatch(&registrar, move |registrar, ctx| registrar.apply(operation, ctx)).flatten();
        ctx.then(written, move |master, result, ctx| match result {
            Ok(Ok(outcome)) => {
                if outcome.is_ok() && matches!(then, Continuation::MarkedUnreachable { .. }) {
                    master.count(Cow::Borrowed("master/slave_unreachable_completed"), ctx);
                }
                master.event(ctx, |cluster| cluster.registry_done(then, outcome));
            }
            // What the registry holds is unknown now. The next leader reads it; this one may not guess.
            Ok(Err(error)) => master.fail(error.to_string(), ctx),
            Err(_) => master.fail_soon("the registrar ended".into(), ctx),
        });
    }

    fn timed_out(&mut self, timeout: Timeout, ctx: &mut Context<Self>) {
        self.event(ctx, |cluster| match timeout {
            Timeout::FrameworkFailover { id, subscription } => cluster.failover_timed_out(&id, subscription),
            Timeout::Offer(id) => cluster.offer_timed_out(&id),
            Timeout::AgentReregistration { id, connection } => {
                cluster.agent_reregistration_timed_out(&id, connection)
            }
            Timeout::Recovery => cluster.recovery_timed_out(),
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

    fn tell_allocator(&self, call: AllocatorCall) {
        let Some(allocator) = &self.allocator else { return };
        let regex = self.cluster.rules.regex;
        allocator.call(move |allocator, ctx| match call {
            AllocatorCall::AddFramework { id, info, used, active, options } => {
                let options = framework_options(&info, options, regex);
                allocator.add_framework(id, *info, used, active, options, ctx);
            }
            AllocatorCall::RemoveFramework(id) => allocator.remove_framework(id, ctx),
            AllocatorCall::ActivateFramework(id) => allocator.activate_framework(id, ctx),
            AllocatorCall::DeactivateFramework(id) => allocator.deactivate_framework(id, ctx),
            AllocatorCall::UpdateFramework { id, info, options } => {
                let options = framework_options(&info, options, regex);
                allocator.update_framework(id, *info, options, ctx);
            }
            AllocatorCall::AddAgent { id, info, capabilities, total, used } => {
                allocator.add_agent(id, *info, capabilities, total, used, ctx);
            }
            AllocatorCall::RemoveAgent(id) => allocator.remove_agent(id, ctx),
            AllocatorCall::UpdateAgent { id, info, total, capabilities } => {
                allocator.update_agent(id, *info, Some(total), Some(capabilities), ctx);
            }
            AllocatorCall::ActivateAgent(id) => allocator.activate_agent(id, ctx),
            AllocatorCall::DeactivateAgent(id) => allocator.deactivate_agent(id, ctx),
            AllocatorCall::Recover { framework_id, agent_id, resources, filters, allocated } => {
                allocator.recover_resources(framework_id, agent_id, resources, filters, allocated, ctx);
            }
            AllocatorCall::UpdateUnavailability { agent_id, unavailability } => {
                allocator.update_unavailability(agent_id, unavailability, ctx);
            }
            AllocatorCall::UpdateInverseOffer { framework_id, agent_id, status, filters } => {
                allocator.update_inverse_offer(agent_id, framework_id, status, filters, ctx);
            }
            AllocatorCall::Suppress { id, roles } => {
                allocator.suppress_offers(id, roles.into_iter().collect(), ctx)
            }
            AllocatorCall::Revive { id, roles } => {
                allocator.revive_offers(id, roles.into_iter().collect(), ctx)
            }
            AllocatorCall::RecoverQuotas { n_agents, quotas } => allocator.recover(n_agents, quotas, ctx),
            AllocatorCall::UpdateWeights(weights) => allocator.update_weights(weights, ctx),
            AllocatorCall::Allocated { framework_id, agent_id, resources } => {
                allocator.transition_offered_to_allocated(framework_id, agent_id, resources, ctx);
            }
            // The allocator answers no requests.
            AllocatorCall::Request { .. } => {}
        });
    }

    /// A process this one needs is gone. When the whole node ends, so does this one, and nothing is wrong.
    fn fail_soon(&mut self, why: String, ctx: &mut Context<Self>) {
        ctx.delay(Duration::from_millis(100), move |master, ctx| master.fail(why, ctx));
    }

    /// Ends this master's service: it does not know, or cannot keep, what it has to.
    fn fail(&mut self, why: String, ctx: &mut Context<Self>) {
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

fn tell_driver(to: &Upid, event: FrameworkEvent, ctx: &mut Context<Master>) {
    match event {
        FrameworkEvent::Registered(m) => ctx.send(to, m),
        FrameworkEvent::Reregistered(m) => ctx.send(to, m),
        FrameworkEvent::Offers(m) => ctx.send(to, m),
        FrameworkEvent::Rescind(m) => ctx.send(to, m),
        FrameworkEvent::InverseOffers(m) => ctx.send(to, m),
        FrameworkEvent::RescindInverse(m) => ctx.send(to, m),
        FrameworkEvent::Status(m) => ctx.send(to, *m),
        FrameworkEvent::LostAgent(m) => ctx.send(to, m),
        FrameworkEvent::ExitedExecutor(m) => ctx.send(to, m),
        FrameworkEvent::FromExecutor(m) => ctx.send(to, m),
        FrameworkEvent::Error(m) => ctx.send(to, m),
        // Drivers have no event for operations.
        FrameworkEvent::OperationStatus(_) => {}
    }
}

fn send_agent(to: &Upid, message: AgentMessage, ctx: &mut Context<Master>) {
    match message {
        AgentMessage::Registered(m) => ctx.send(to, m),
        AgentMessage::Reregistered(m) => ctx.send(to, m),
        AgentMessage::RunTask(m) => ctx.send(to, *m),
        AgentMessage::RunTaskGroup(m) => ctx.send(to, *m),
        AgentMessage::KillTask(m) => ctx.send(to, m),
        AgentMessage::ShutdownExecutor(m) => ctx.send(to, m),
        AgentMessage::ShutdownFramework(m) => ctx.send(to, m),
        AgentMessage::ToExecutor(m) => ctx.send(to, m),
        AgentMessage::UpdateFramework(m) => ctx.send(to, *m),
        AgentMessage::CheckpointResources(m) => ctx.send(to, m),
        AgentMessage::Acknowledge(m) => ctx.send(to, m),
        AgentMessage::Shutdown(m) => ctx.send(to, m),
    }
}
