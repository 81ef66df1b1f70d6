//! One process per agent that pings it. The pings also tell the agent whether the master thinks it connected.

use std::time::Duration;

use api::internal::{PingSlaveMessage, PongSlaveMessage};
use api::v1::AgentId;
use libprocess::{Context, Pid, Process, Time, Upid};
use rand::Rng as _;

use crate::actor::Master;

/// Watches one agent.
pub(crate) struct Observer {
    master: Pid<Master>,
    agent_id: AgentId,
    agent: Upid,
    connected: bool,
    interval: Duration,
    max_timeouts: u32,
    timeouts: u32,
    ponged: bool,
    /// The master was told that the agent is silent.
    reported: bool,
    pinged: Time,
}

impl Observer {
    pub(crate) fn new(
        master: Pid<Master>,
        agent_id: AgentId,
        agent: Upid,
        interval: Duration,
        max_timeouts: u32,
    ) -> Self {
        Observer {
            master,
            agent_id,
            agent,
            connected: true,
            interval,
            max_timeouts,
            timeouts: 0,
            ponged: true,
            reported: false,
            pinged: Time::EPOCH,
        }
    }

    /// The connection broke (no address), or is there again, perhaps at another address.
    pub(crate) fn set_connection(&mut self, agent: Option<Upid>) {
        self.connected = agent.is_some();
        if let Some(agent) = agent {
            self.agent = agent;
            self.timeouts = 0;
        }
    }

    fn ping(&mut self, ctx: &mut Context<Self>) {
        self.ponged = false;
        self.pinged = ctx.now();
        ctx.send(&self.agent, PingSlaveMessage { connected: self.connected });
        ctx.delay(self.interval, Self::check);
    }

    fn check(&mut self, ctx: &mut Context<Self>) {
        // A look that comes late says more of this master than of the agent, whose answer may lie unread behind it.
        let late = ctx.now() - self.pinged > self.interval + self.interval / 2;
        if !self.ponged && !late {
            self.timeouts += 1;
            if self.timeouts >= self.max_timeouts {
                // Pings go on, and this is said again after each: the agent is given up by the master, and not while
                // that may not act.
                self.reported = true;
                let id = self.agent_id.clone();
                self.master.call(move |master, ctx| master.agent_is_silent(&id, ctx));
            }
        }
        self.ping(ctx);
    }

    fn pong(&mut self, _: PongSlaveMessage, _: &mut Context<Self>) {
        self.ponged = true;
        self.timeouts = 0;
        if std::mem::take(&mut self.reported) {
            // It may still be waiting for its turn to be given up.
            let id = self.agent_id.clone();
            self.master.call(move |master, ctx| master.agent_answered(&id, ctx));
        }
    }
}

impl Process for Observer {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.install(Self::pong);
        // It was heard of just now. After a failover all are, and are not to be pinged in one heap ever after.
        let first = self.interval.mul_f64(ctx.rng().random());
        ctx.delay(first, Self::ping);
    }
}
