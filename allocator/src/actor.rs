//! The actor around the state machine: when to run a cycle, and where its outcome goes.
//!
//! Whoever spawned it calls its methods by [`Pid::call`](libprocess::Pid::call). The calls mirror those of [`Allocator`]; a call the state
//! machine cannot follow is logged and changes nothing, as the caller is the same program and has no one to
//! tell either.
//!
//! **When a cycle runs.** An event that makes candidates queues one cycle behind whatever is queued already;
//! events before it only add candidates, so any number of them cost one cycle. Each allocation interval,
//! counted from the end of one to the start of the next, a cycle looks at all agents.

use std::collections::{BTreeMap, BTreeSet};

use api::resources::Resources;
use api::v1::agent_info::Capability;
use api::v1::allocator::InverseOfferStatus;
use api::v1::{AgentId, AgentInfo, Filters, FrameworkId, FrameworkInfo, Unavailability, WeightInfo};
use libprocess::metrics::Stopwatch;
use libprocess::{Context, Process};

use crate::metrics::Metrics;
use crate::{Allocation, Allocator, AllocatorError, Conversion, FrameworkOptions, Options, Quota};

/// The allocator as a process; spawn it as `allocator`.
///
/// ```no_run
/// # use allocator::{AllocatorProcess, Options, Allocation};
/// # use libprocess::{Context, Process};
/// # struct Master;
/// # impl Process for Master {
/// fn initialize(&mut self, ctx: &mut Context<Self>) {
///     let offers = ctx.defer(|master: &mut Master, allocation: Allocation, ctx| {});
///     let process = AllocatorProcess::new(Options::default(), move |allocation| {
///         offers.call(allocation);
///     });
///     let allocator = ctx.spawn("allocator", process).expect("nothing else is called `allocator`");
///     // Later, in any handler:
///     allocator.call(|allocator, ctx| allocator.pause(ctx));
/// }
/// # }
/// ```
pub struct AllocatorProcess {
    state: Allocator,
    offers: Box<dyn Fn(Allocation) + Send>,
    /// The wait of a cycle that is queued.
    queued: Option<Stopwatch>,
    metrics: Option<Metrics>,
}

impl AllocatorProcess {
    /// An allocator that hands every outcome with an offer in it to `offers`, once per cycle.
    pub fn new(options: Options, offers: impl Fn(Allocation) + Send + 'static) -> AllocatorProcess {
        AllocatorProcess {
            state: Allocator::new(options),
            offers: Box::new(offers),
            queued: None,
            metrics: None,
        }
    }

    /// The state machine, to look at.
    pub fn state(&self) -> &Allocator {
        &self.state
    }

    /// See [`Allocator::add_framework`].
    pub fn add_framework(
        &mut self,
        id: FrameworkId,
        info: FrameworkInfo,
        used: Vec<(AgentId, Resources)>,
        active: bool,
        options: FrameworkOptions,
        ctx: &mut Context<Self>,
    ) {
        let done = self.state.add_framework(&id, &info, &used, active, &options);
        self.after("add_framework", done, ctx);
    }

    /// See [`Allocator::remove_framework`].
    pub fn remove_framework(&mut self, id: FrameworkId, ctx: &mut Context<Self>) {
        let done = self.state.remove_framework(&id);
        self.after("remove_framework", done, ctx);
    }

    /// See [`Allocator::activate_framework`].
    pub fn activate_framework(&mut self, id: FrameworkId, ctx: &mut Context<Self>) {
        let done = self.state.activate_framework(&id);
        self.after("activate_framework", done, ctx);
    }

    /// See [`Allocator::deactivate_framework`].
    pub fn deactivate_framework(&mut self, id: FrameworkId, ctx: &mut Context<Self>) {
        let done = self.state.deactivate_framework(&id);
        self.after("deactivate_framework", done, ctx);
    }

    /// See [`Allocator::update_framework`].
    pub fn update_framework(
        &mut self,
        id: FrameworkId,
        info: FrameworkInfo,
        options: FrameworkOptions,
        ctx: &mut Context<Self>,
    ) {
        let done = self.state.update_framework(&id, &info, &options);
        self.after("update_framework", done, ctx);
    }

    /// See [`Allocator::suppress_offers`]. No roles are all roles.
    pub fn suppress_offers(&mut self, id: FrameworkId, roles: BTreeSet<String>, ctx: &mut Context<Self>) {
        let done = self.state.suppress_offers(&id, &roles);
        self.after("suppress_offers", done, ctx);
    }

    /// See [`Allocator::revive_offers`]. No roles are all roles.
    pub fn revive_offers(&mut self, id: FrameworkId, roles: BTreeSet<String>, ctx: &mut Context<Self>) {
        let done = self.state.revive_offers(&id, &roles);
        self.after("revive_offers", done, ctx);
    }

    /// See [`Allocator::add_agent`]; of plans for it [`AllocatorProcess::update_unavailability`] tells.
    pub fn add_agent(
        &mut self,
        id: AgentId,
        info: &AgentInfo,
        capabilities: Vec<Capability>,
        total: Resources,
        used: Vec<(FrameworkId, Resources)>,
        ctx: &mut Context<Self>,
    ) {
        let done = self.state.add_agent(&id, info, &capabilities, None, total, &used);
        self.after("add_agent", done, ctx);
    }

    /// See [`Allocator::remove_agent`].
    pub fn remove_agent(&mut self, id: AgentId, ctx: &mut Context<Self>) {
        let done = self.state.remove_agent(&id);
        self.after("remove_agent", done, ctx);
    }

    /// See [`Allocator::update_agent`].
    pub fn update_agent(
        &mut self,
        id: AgentId,
        info: &AgentInfo,
        total: Option<Resources>,
        capabilities: Option<Vec<Capability>>,
        ctx: &mut Context<Self>,
    ) {
        let done = self.state.update_agent(&id, info, total, capabilities.as_deref());
        self.after("update_agent", done, ctx);
    }

    /// See [`Allocator::activate_agent`].
    pub fn activate_agent(&mut self, id: AgentId, ctx: &mut Context<Self>) {
        let done = self.state.activate_agent(&id);
        self.after("activate_agent", done, ctx);
    }

    /// See [`Allocator::deactivate_agent`].
    pub fn deactivate_agent(&mut self, id: AgentId, ctx: &mut Context<Self>) {
        let done = self.state.deactivate_agent(&id);
        self.after("deactivate_agent", done, ctx);
    }

    /// See [`Allocator::update_whitelist`].
    pub fn update_whitelist(&mut self, hostnames: Option<BTreeSet<String>>, ctx: &mut Context<Self>) {
        self.state.update_whitelist(hostnames);
        self.after("update_whitelist", Ok(()), ctx);
    }

    /// See [`Allocator::recover_resources`].
    pub fn recover_resources(
        &mut self,
        framework_id: FrameworkId,
        agent_id: AgentId,
        resources: Resources,
        filters: Option<Filters>,
        allocated: bool,
        ctx: &mut Context<Self>,
    ) {
        let (now, filters) = (ctx.now(), filters.as_ref());
        let done =
            self.state.recover_resources(now, &framework_id, &agent_id, &resources, filters, allocated);
        self.after("recover_resources", done, ctx);
    }

    /// See [`Allocator::add_resource_provider`].
    pub fn add_resource_provider(
        &mut self,
        id: AgentId,
        total: Resources,
        used: Vec<(FrameworkId, Resources)>,
        ctx: &mut Context<Self>,
    ) {
        let done = self.state.add_resource_provider(&id, &total, &used);
        self.after("add_resource_provider", done, ctx);
    }

    /// See [`Allocator::update_allocation`].
    pub fn update_allocation(
        &mut self,
        framework_id: FrameworkId,
        agent_id: AgentId,
        conversions: Vec<Conversion>,
        ctx: &mut Context<Self>,
    ) {
        let done = self.state.update_allocation(&framework_id, &agent_id, &conversions);
        self.after("update_allocation", done, ctx);
    }

    /// See [`Allocator::update_available`]. Whether it could be done is for the caller to tell the operator.
    pub fn update_available(
        &mut self,
        agent_id: AgentId,
        conversions: Vec<Conversion>,
        ctx: &mut Context<Self>,
    ) -> Result<(), AllocatorError> {
        let done = self.state.update_available(&agent_id, &conversions);
        self.after("update_available", Ok(()), ctx);
        done
    }

    /// See [`Allocator::transition_offered_to_allocated`].
    pub fn transition_offered_to_allocated(
        &mut self,
        framework_id: FrameworkId,
        agent_id: AgentId,
        resources: Resources,
        ctx: &mut Context<Self>,
    ) {
        let done = self.state.transition_offered_to_allocated(&framework_id, &agent_id, &resources);
        self.after("transition_offered_to_allocated", done, ctx);
    }

    /// See [`Allocator::update_unavailability`].
    pub fn update_unavailability(
        &mut self,
        agent_id: AgentId,
        unavailability: Option<Unavailability>,
        ctx: &mut Context<Self>,
    ) {
        let done = self.state.update_unavailability(&agent_id, unavailability.as_ref());
        self.after("update_unavailability", done, ctx);
    }

    /// See [`Allocator::update_inverse_offer`].
    pub fn update_inverse_offer(
        &mut self,
        agent_id: AgentId,
        framework_id: FrameworkId,
        status: Option<InverseOfferStatus>,
        filters: Option<Filters>,
        ctx: &mut Context<Self>,
    ) {
        let (status, filters) = (status.as_ref(), filters.as_ref());
        let done = self.state.update_inverse_offer(ctx.now(), &agent_id, &framework_id, status, filters);
        self.after("update_inverse_offer", done, ctx);
    }

    /// See [`Allocator::update_quota`].
    pub fn update_quota(&mut self, role: String, quota: Quota, ctx: &mut Context<Self>) {
        let done = self.state.update_quota(&role, quota);
        self.after("update_quota", done, ctx);
    }

    /// See [`Allocator::recover`]. Offers wait no longer than the recovery timeout.
    pub fn recover(&mut self, n_agents: usize, quotas: BTreeMap<String, Quota>, ctx: &mut Context<Self>) {
        let waits = self.state.recover(n_agents, quotas);
        if waits == Ok(true) {
            let timeout = self.state.options().recovery_timeout;
            tracing::info!(n_agents, ?timeout, "offers wait for agents to come back, as there are quotas");
            ctx.delay(timeout, |allocator, ctx| {
                allocator.state.end_recovery();
                allocator.after("recover", Ok(()), ctx);
            });
        }
        self.after("recover", waits.map(drop), ctx);
    }

    /// See [`Allocator::update_weights`].
    pub fn update_weights(&mut self, weights: Vec<WeightInfo>, ctx: &mut Context<Self>) {
        let weights = weights.iter().map(|it| (it.role(), it.weight));
        let done = self.state.update_weights(weights);
        self.after("update_weights", done, ctx);
    }

    /// See [`Allocator::pause`].
    pub fn pause(&mut self, _ctx: &mut Context<Self>) {
        self.state.pause();
    }

    /// See [`Allocator::resume`].
    pub fn resume(&mut self, ctx: &mut Context<Self>) {
        self.state.resume();
        self.after("resume", Ok(()), ctx);
    }

    /// Logs what could not be done, and queues a cycle if one is due and none is queued.
    fn after(&mut self, call: &str, done: Result<(), AllocatorError>, ctx: &mut Context<Self>) {
        if let Err(error) = done {
            tracing::error!(call, %error, "the allocator ignored a call");
        }
        if self.state.is_due() && self.queued.is_none() {
            self.queued = self.metrics.as_ref().map(|metrics| metrics.run_latency.start());
            ctx.pid().call(Self::run_queued);
        }
    }

    fn run_queued(&mut self, ctx: &mut Context<Self>) {
        if let Some(waited) = self.queued.take() {
            waited.stop();
        }
        self.run(ctx);
    }

    fn run_on_interval(&mut self, ctx: &mut Context<Self>) {
        self.state.consider_all_agents();
        self.run(ctx);
        // Also while nothing is offered, so that it can be seen what is waited for.
        self.show_roles(ctx);
        ctx.delay(self.state.options().allocation_interval, Self::run_on_interval);
    }

    fn show_roles(&mut self, ctx: &mut Context<Self>) {
        if let Some(metrics) = &mut self.metrics {
            metrics.update_roles(&self.state, ctx);
        }
    }

    fn run(&mut self, ctx: &mut Context<Self>) {
        // A cycle that ran early on the interval took the candidates of a queued one with it.
        if !self.state.is_due() {
            return;
        }
        let stopwatch = self.metrics.as_ref().map(|metrics| metrics.run.start());
        let allocation = self.state.cycle(ctx.now(), ctx.rng());
        stopwatch.map(Stopwatch::stop);
        if let Some(metrics) = &self.metrics {
            metrics.runs.inc();
        }
        self.show_roles(ctx);
        if !allocation.is_empty() {
            let (frameworks, offers) = (allocation.frameworks.len(), allocation.n_offers());
            tracing::debug!(frameworks, offers, "allocated");
            (self.offers)(allocation);
        }
    }
}

impl Process for AllocatorProcess {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        self.metrics = Some(Metrics::new(ctx));
        Self::install_explanations(ctx);
        ctx.delay(self.state.options().allocation_interval, Self::run_on_interval);
    }
}
