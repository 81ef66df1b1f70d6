//! The process that pings the agents. The pings also tell each whether the master thinks it connected.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use api::internal::{PingSlaveMessage, PongSlaveMessage};
use api::v1::AgentId;
use libprocess::{Context, Pid, Process, Time, Upid};
use rand::Rng as _;

use crate::actor::Master;

/// So many are pinged before what else there is to do has its turn.
const AT_ONCE: usize = 64;

/// By how much of an interval, at most, the next look at an agent is put off after one that came late. One that is half an
/// interval late says nothing of the agent.
const LATER: f64 = 0.4;

/// Watches the agents of one master.
pub(crate) struct Observer {
    master: Pid<Master>,
    interval: Duration,
    max_timeouts: u32,
    /// Never gone through: what happens has an order of its own, by which a seed replays.
    agents: HashMap<AgentId, Watched>,
    by_pid: HashMap<Upid, AgentId>,
    /// Who is pinged next, and the number that says whether that still holds. There are tens of thousands: a timer
    /// for each would be most of the timers there are.
    due: BTreeMap<(Time, u64), AgentId>,
    n_due: u64,
    /// When it looks at what is due.
    awaited: Option<Time>,
}

/// One agent.
struct Watched {
    pid: Upid,
    connected: bool,
    timeouts: u32,
    ponged: bool,
    /// The master was told that the agent is silent.
    reported: bool,
    pinged: Option<Time>,
    /// Its place in what is due.
    due: (Time, u64),
}

impl Observer {
    pub(crate) fn new(master: Pid<Master>, interval: Duration, max_timeouts: u32) -> Self {
        Observer {
            master,
            interval,
            max_timeouts,
            agents: HashMap::new(),
            by_pid: HashMap::new(),
            due: BTreeMap::new(),
            n_due: 0,
            awaited: None,
        }
    }

    /// An agent is there.
    pub(crate) fn watch(&mut self, id: AgentId, pid: Upid, ctx: &mut Context<Self>) {
        self.forget(&id);
        // It was heard of just now. After a failover all are, and are not to be pinged in one heap ever after.
        let first = ctx.now() + self.interval.mul_f64(ctx.rng().random());
        let due = self.expect(&id, first);
        self.by_pid.insert(pid.clone(), id.clone());
        let agent =
            Watched { pid, connected: true, timeouts: 0, ponged: true, reported: false, pinged: None, due };
        self.agents.insert(id, agent);
        self.wait(ctx);
    }

    /// Its connection broke (no address), or is there again, perhaps at another address.
    pub(crate) fn set_connection(&mut self, id: &AgentId, pid: Option<Upid>) {
        let Some(agent) = self.agents.get_mut(id) else { return };
        agent.connected = pid.is_some();
        let Some(pid) = pid else { return };
        agent.timeouts = 0;
        let old = std::mem::replace(&mut agent.pid, pid.clone());
        if old != pid {
            self.leave(&old, id);
            self.by_pid.insert(pid, id.clone());
        }
    }

    /// It is the master's no more.
    pub(crate) fn forget(&mut self, id: &AgentId) {
        if let Some(agent) = self.agents.remove(id) {
            self.due.remove(&agent.due);
            self.leave(&agent.pid, id);
        }
    }

    /// It is no longer at that address; another one may be.
    fn leave(&mut self, pid: &Upid, id: &AgentId) {
        if self.by_pid.get(pid) == Some(id) {
            self.by_pid.remove(pid);
        }
    }

    fn expect(&mut self, id: &AgentId, at: Time) -> (Time, u64) {
        self.n_due += 1;
        let due = (at, self.n_due);
        self.due.insert(due, id.clone());
        due
    }

    /// Looks again when the next is due, unless it does so already, or before.
    fn wait(&mut self, ctx: &mut Context<Self>) {
        let Some(&(next, _)) = self.due.first_key_value().map(|(due, _)| due) else { return };
        if self.awaited.is_some_and(|at| at <= next) {
            return;
        }
        self.awaited = Some(next);
        ctx.delay(next - ctx.now(), move |observer, ctx| {
            // One that was overtaken by an earlier one has nothing to say.
            if observer.awaited == Some(next) {
                observer.awaited = None;
                observer.look(ctx);
            }
        });
    }

    fn look(&mut self, ctx: &mut Context<Self>) {
        let now = ctx.now();
        for _ in 0..AT_ONCE {
            let Some(first) = self.due.first_entry().filter(|first| first.key().0 <= now) else { break };
            let ((at, _), id) = first.remove_entry();
            let next = self.next_after(at, now, ctx);
            let due = self.expect(&id, next);
            let Some(agent) = self.agents.get_mut(&id) else { continue };
            agent.due = due;
            if agent.is_silent(now, self.interval, self.max_timeouts) {
                let id = id.clone();
                self.master.call(move |master, ctx| master.agent_is_silent(&id, ctx));
            }
            agent.ping(now, ctx);
        }
        self.wait(ctx);
    }

    /// When an agent that was due then is due again. After a moment in which this master could do nothing many are
    /// due together, and are not to stay so.
    fn next_after(&self, at: Time, now: Time, ctx: &mut Context<Self>) -> Time {
        if now - at <= self.interval / 10 {
            at + self.interval
        } else {
            now + self.interval + self.interval.mul_f64(LATER * ctx.rng().random::<f64>())
        }
    }

    fn pong(&mut self, from: &Upid, _: PongSlaveMessage, _: &mut Context<Self>) {
        let Some(id) = self.by_pid.get(from) else { return };
        let Some(agent) = self.agents.get_mut(id) else { return };
        agent.ponged = true;
        agent.timeouts = 0;
        if std::mem::take(&mut agent.reported) {
            // It may still be waiting for its turn to be given up.
            let id = id.clone();
            self.master.call(move |master, ctx| master.agent_answered(&id, ctx));
        }
    }
}

impl Watched {
    /// Whether it has left so many pings without an answer that it is to be given up.
    fn is_silent(&mut self, now: Time, interval: Duration, max_timeouts: u32) -> bool {
        let Some(pinged) = self.pinged else { return false };
        // A look that comes late says more of this master than of the agent, whose answer may lie unread behind it.
        if self.ponged || now - pinged > interval + interval / 2 {
            return false;
        }
        self.timeouts += 1;
        // Pings go on, and this is said again after each: the agent is given up by the master, and not while that may
        // not act.
        self.reported |= self.timeouts >= max_timeouts;
        self.timeouts >= max_timeouts
    }

    fn ping(&mut self, now: Time, ctx: &mut Context<Observer>) {
        self.ponged = false;
        self.pinged = Some(now);
        ctx.send(&self.pid, PingSlaveMessage { connected: self.connected });
    }
}

impl Process for Observer {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.install(Self::pong);
    }
}
