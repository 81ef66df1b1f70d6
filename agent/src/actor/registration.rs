//! Becoming known to a master, and noticing that one no longer is.

use std::time::Duration;

use api::internal::{
    PingSlaveMessage, PongSlaveMessage, RegisterSlaveMessage, SlaveRegisteredMessage,
    SlaveReregisteredMessage, UpdateSlaveMessage,
};
use api::v1::agent_info::{Capability, capability};
use api::v1::{AgentId, Uuid};
use detector::{Leader, Masters};
use libprocess::{Context, Limiter, Time, Timer, Upid};
use rand::Rng as _;

use super::{Agent, AgentState};
use crate::checkpoint::Write;
use crate::journal;

/// How long to wait for a ping when the master has not said.
const PING_TIMEOUT: Duration = Duration::from_secs(75);
/// The longest span that a wait between two attempts to register is drawn from.
const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// And the shortest: an agent told to spread nothing out must not ask without a pause either.
const BACKOFF_MIN: Duration = Duration::from_millis(100);
/// At most one line in so much time says that somebody who is not the master is ignored.
const STRANGERS_INTERVAL: Duration = Duration::from_secs(10);
/// What this agent can do.
const CAPABILITIES: [capability::Type; 8] = [
    capability::Type::MultiRole,
    capability::Type::HierarchicalRole,
    capability::Type::ReservationRefinement,
    capability::Type::ResourceProvider,
    capability::Type::ResizeVolume,
    capability::Type::AgentOperationFeedback,
    capability::Type::AgentDraining,
    capability::Type::TaskResourceLimits,
];

/// Which master, and how far things are with it.
pub(crate) struct Registration {
    /// Where masters may be.
    pub(super) masters: Masters,
    /// The one to register with.
    pub(super) leader: Option<Leader>,
    /// Over how long it wants registrations spread.
    pub(super) spread: Duration,
    /// The master as it calls itself, once it knows us: it may advertise another address.
    pub(super) known_by: Option<Upid>,
    /// Whom it asked last, and when.
    pub(super) asked: Option<(Leader, Time)>,
    pub(super) attempt: Option<Timer>,
    pub(super) ping: Option<Timer>,
    ping_timeout: Duration,
    /// How often a message from somebody else is worth a line in the log.
    strangers: Limiter,
}

impl Registration {
    pub(super) fn new(masters: Masters) -> Registration {
        Registration {
            masters,
            leader: None,
            spread: Duration::MAX,
            known_by: None,
            asked: None,
            attempt: None,
            ping: None,
            ping_timeout: PING_TIMEOUT,
            strangers: Limiter::new(1, STRANGERS_INTERVAL),
        }
    }

    fn tried(&self) -> Option<&Upid> {
        self.leader.as_ref().map(|leader| &leader.pid)
    }

    /// The host name of the master that leads, for `/state`.
    pub(crate) fn master_hostname(&self) -> Option<&str> {
        self.leader.as_ref().map(|leader| leader.hostname.as_str())
    }

    /// The master that knows this agent.
    pub(crate) fn registered_with(&self) -> Option<&Upid> {
        self.known_by.as_ref()
    }

    /// Whether a message is from the master that is tried, or that knows us. A master on this machine may be
    /// reached under another address than it advertises, so while registering with one that is named by a
    /// loopback address its name and port have to do.
    fn is_master(&self, from: &Upid) -> bool {
        match &self.known_by {
            Some(known_by) => known_by == from,
            None => self.tried().is_some_and(|tried| {
                tried == from
                    || (tried.address().ip().is_loopback()
                        && tried.id() == from.id()
                        && tried.address().port() == from.address().port())
            }),
        }
    }
}

impl Registration {
    /// Whether a ping is from the master that knows us: a part of it pings, so the address has to do. Before
    /// one knows us a ping changes nothing, and whoever pings may be on the way to it.
    fn may_ping(&self, from: &Upid) -> bool {
        self.known_by.as_ref().is_none_or(|known_by| known_by.address() == from.address())
    }
}

/// What this agent can do, as messages carry it.
pub(crate) fn capabilities() -> Vec<Capability> {
    CAPABILITIES.map(|can| Capability { r#type: Some(can as i32) }).into()
}

impl Agent {
    /// Whether a message is from the master; if not, it is to be ignored.
    pub(super) fn is_from_master(&mut self, from: &Upid, what: &str, ctx: &Context<Self>) -> bool {
        let is_master = self.registration.is_master(from);
        if !is_master {
            self.note_stranger(from, what, ctx);
        }
        is_master
    }

    /// Says that somebody is not believed, but not as often as they like.
    fn note_stranger(&mut self, from: &Upid, what: &str, ctx: &Context<Self>) {
        if self.registration.strangers.reserve_within(ctx.now(), Duration::ZERO).is_some() {
            let master = self.registration.known_by.as_ref().or(self.registration.tried());
            let master = master.map(Upid::to_string).unwrap_or_default();
            tracing::warn!(%from, what, master, "ignoring a message from somebody who is not the master");
        }
    }

    pub(super) fn attempt_after(&mut self, wait: Duration, backoff: Duration, ctx: &mut Context<Self>) {
        let timer = ctx.delay(wait, move |agent, ctx| {
            if agent.state == AgentState::Disconnected {
                agent.register(backoff, ctx);
            }
        });
        if let Some(earlier) = self.registration.attempt.replace(timer) {
            earlier.cancel();
        }
    }

    fn register(&mut self, backoff: Duration, ctx: &mut Context<Self>) {
        let Some(leader) = self.registration.leader.clone() else { return };
        let master = leader.pid.clone();
        self.registration.asked = Some((leader, ctx.now()));
        ctx.link(&master);
        let (version, resource_version_uuid) = self.version();
        if self.workload.info.id.is_none() {
            let message = RegisterSlaveMessage {
                slave: self.workload.info.clone(),
                checkpointed_resources: self.workload.checkpointed_resources.clone(),
                version,
                agent_capabilities: capabilities(),
                resource_version_uuid,
            };
            ctx.send(&master, message);
        } else {
            let mut message = self.workload.reregistration();
            message.version = version;
            message.agent_capabilities = capabilities();
            message.resource_version_uuid = resource_version_uuid;
            ctx.send(&master, message);
        }
        let span = span(backoff);
        let wait = span.mul_f64(ctx.rng().random::<f64>());
        self.attempt_after(wait, span * 2, ctx);
    }

    fn version(&self) -> (Option<String>, Option<Uuid>) {
        let version = Some(crate::MESOS_VERSION.to_owned());
        (version, Some(Uuid { value: self.workload.settings.resource_version.clone() }))
    }

    pub(super) fn registered(
        &mut self,
        from: &Upid,
        message: SlaveRegisteredMessage,
        ctx: &mut Context<Self>,
    ) {
        if !self.is_from_master(from, "registered", ctx) {
            return;
        }
        if !self.accept_id(&message.slave_id, ctx) {
            return;
        }
        let timeout = message.connection.and_then(|connection| connection.total_ping_timeout_seconds);
        let layout = &self.workload.settings.layout;
        let writes = [
            Write::Link { path: layout.latest_agent(), target: message.slave_id.to_string().into() },
            Write::message(layout.agent_info(&message.slave_id), &self.workload.info),
            Write::text(layout.boot_id(), boot_id()),
        ];
        for write in writes {
            journal::write(self, write);
        }
        journal::run(self, ctx);
        self.connected(from, timeout, ctx);
    }

    pub(super) fn reregistered(
        &mut self,
        from: &Upid,
        message: SlaveReregisteredMessage,
        ctx: &mut Context<Self>,
    ) {
        if !self.is_from_master(from, "re-registered", ctx) || !self.accept_id(&message.slave_id, ctx) {
            return;
        }
        let timeout = message.connection.and_then(|connection| connection.total_ping_timeout_seconds);
        self.connected(from, timeout, ctx);
        for reconciliation in message.reconciliations {
            self.turn(ctx, |workload, turn| workload.reconcile(&reconciliation, turn));
        }
    }

    /// Takes the id the master gives; an agent that has one keeps it, or ends.
    fn accept_id(&mut self, id: &AgentId, ctx: &mut Context<Self>) -> bool {
        if let Err(error) = id.validate() {
            tracing::error!(%error, "the master gave an id that is none");
            return false;
        }
        match &self.workload.info.id {
            Some(known) if known != id => {
                let reason = format!("the master knows agent `{}` and calls it `{}`", known.value, id.value);
                self.fail(reason, ctx);
                false
            }
            _ => {
                self.workload.info.id = Some(id.clone());
                self.state != AgentState::Terminating
            }
        }
    }

    fn connected(&mut self, master: &Upid, ping_timeout_secs: Option<f64>, ctx: &mut Context<Self>) {
        let timeout = ping_timeout_secs.filter(|secs| secs.is_finite() && *secs > 0.0);
        self.registration.ping_timeout =
            timeout.map_or(PING_TIMEOUT, |secs| Duration::from_secs_f64(secs.min(1e9)));
        self.expect_ping(ctx);
        if self.state == AgentState::Running {
            return;
        }
        if let Some(attempt) = self.registration.attempt.take() {
            attempt.cancel();
        }
        tracing::info!(%master, agent = self.workload.agent_id().as_str(), "registered");
        self.state = AgentState::Running;
        self.registration.known_by = Some(master.clone());
        // Under the address it calls itself, by which its end would be reported.
        ctx.link(master);
        self.resume_updates();
        let (_, resource_version_uuid) = self.version();
        let message = UpdateSlaveMessage {
            slave_id: self.workload.agent_id(),
            update_oversubscribed_resources: Some(false),
            operations: Some(Default::default()),
            resource_version_uuid,
            ..Default::default()
        };
        ctx.send(master, message);
    }

    fn expect_ping(&mut self, ctx: &mut Context<Self>) {
        let timer = ctx.delay(self.registration.ping_timeout, |agent, ctx| {
            if agent.state == AgentState::Running {
                tracing::warn!("no ping from the master for too long; registering again");
                agent.disconnect(ctx);
            }
        });
        if let Some(earlier) = self.registration.ping.replace(timer) {
            earlier.cancel();
        }
    }

    pub(super) fn ping(&mut self, from: &Upid, message: PingSlaveMessage, ctx: &mut Context<Self>) {
        if !self.registration.may_ping(from) {
            return self.note_stranger(from, "ping", ctx);
        }
        ctx.send(from, PongSlaveMessage {});
        if self.state != AgentState::Running {
            return;
        }
        self.expect_ping(ctx);
        if !message.connected {
            tracing::info!("the master has lost sight of this agent; registering again");
            self.disconnect(ctx);
        }
    }

    /// A link broke. If that was to the master, attempts to register begin, or go on by themselves.
    pub(super) fn master_lost(&mut self, pid: &Upid, ctx: &mut Context<Self>) {
        if self.registration.registered_with() == Some(pid) && self.state == AgentState::Running {
            tracing::warn!(master = %pid, "the master is lost");
            self.disconnect(ctx);
        }
    }
}

/// The span that a wait between two attempts is drawn from.
fn span(backoff: Duration) -> Duration {
    backoff.clamp(BACKOFF_MIN, BACKOFF_MAX)
}

/// What names the current boot of this machine; empty where the system does not tell.
fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_master_is_known_by_its_whole_address() {
        let upid = |text: &str| -> Upid { text.parse().unwrap() };
        let led_by = |master: &str| {
            let mut registration = Registration::new(upid(master).into());
            assert!(!registration.is_master(&upid(master)), "nobody leads yet");
            registration.leader = registration.masters.appointed();
            registration
        };
        let mut registration = led_by("master@10.0.0.1:5050");
        assert!(registration.is_master(&upid("master@10.0.0.1:5050")));
        for other in ["master@10.0.0.2:5050", "master@10.0.0.1:5051", "other@10.0.0.1:5050"] {
            assert!(!registration.is_master(&upid(other)), "{other}");
        }
        registration.known_by = Some(upid("master@10.0.0.1:5050"));
        assert!(registration.may_ping(&upid("slave-observer(1)@10.0.0.1:5050")));
        assert!(!registration.may_ping(&upid("slave-observer(1)@10.0.0.2:5050")));
        // Named by a loopback address, it may advertise another one; once it is known it is that one.
        let mut local = led_by("master@127.0.0.1:5050");
        assert!(local.is_master(&upid("master@10.0.0.1:5050")));
        local.known_by = Some(upid("master@10.0.0.1:5050"));
        assert!(!local.is_master(&upid("master@10.0.0.2:5050")));
    }

    #[test]
    fn attempts_to_register_never_follow_each_other_without_a_pause() {
        // `--registration_backoff_factor=0secs` is for the first attempt; doubled it is nothing for ever.
        assert_eq!(span(Duration::ZERO), BACKOFF_MIN);
        assert_eq!(span(Duration::from_secs(2)), Duration::from_secs(2));
        assert_eq!(span(Duration::from_secs(3600)), BACKOFF_MAX);
    }
}
