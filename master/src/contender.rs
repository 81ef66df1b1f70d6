//! Whether this node's master leads: one process that hears it from the registrar, has the master act on it, and
//! tells whoever wants to know.
//!
//! A master leads once. When the lead is lost its process ends, and another that knows nothing of that reign takes
//! its place and stands by: so nothing of what it believed can be acted on later, and whoever was linked to it
//! hears of its end.

use std::collections::BTreeSet;
use std::time::Duration;

use api::v1::MasterInfo;
use detector::{Leader, LeaderIs, WatchLeader};
use libprocess::{Context, Id, Pid, Process, Promise, Upid};
use uuid::Uuid;

use crate::actor::{ALLOCATOR_ID, Known, Master};
use crate::bounds::Bounds;
use crate::registry::{Lease, Registrar, Standing};
use crate::start::{PROCESS_ID, Template};

/// How much time each agent of the cluster gets to register with a new leader, so that they do not come all at once.
const SPREAD_PER_AGENT: Duration = Duration::from_micros(25);

/// So few agents may come all at once.
const FEW_AGENTS: usize = 1_000;

/// How often a leader without its lease looks whether it has it again.
const LEASE_LOOK: Duration = Duration::from_millis(50);

/// How often the agents are counted, for those who ask in between.
const COUNT_INTERVAL: Duration = Duration::from_secs(10);

/// The process `contender`, which starts the registrar and the master of its node.
pub struct Contender {
    template: Template,
    idle: Option<Registrar>,
    lease: Lease,
    registrar: Option<Pid<Registrar>>,
    /// The master's: a new one for each of its lives.
    id: Uuid,
    info: MasterInfo,
    master: Option<Pid<Master>>,
    life: Life,
    standing: Standing,
    watchers: BTreeSet<Upid>,
    /// Whether somebody was turned away, to say it once.
    was_full: bool,
    n_agents: usize,
    /// What was said last.
    said: Option<LeaderIs>,
    /// Told why the master ended its service, if it does.
    fatal: Option<Promise<String>>,
}

/// Where this node's master is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    /// It waits to be told to lead.
    Standby,
    /// It was told to lead in that term.
    Reign(u64),
    /// It is ending, to be followed by another.
    Ending,
}

impl Contender {
    pub(crate) fn new(
        template: Template,
        registrar: Registrar,
        id: Uuid,
        fatal: Promise<String>,
    ) -> Contender {
        Contender {
            info: template.announce(id),
            template,
            id,
            lease: registrar.lease(),
            idle: Some(registrar),
            registrar: None,
            master: None,
            life: Life::Standby,
            standing: Standing { term: 0, leads: false, leader: None, masters: Vec::new() },
            watchers: BTreeSet::new(),
            was_full: false,
            n_agents: 0,
            said: None,
            fatal: Some(fatal),
        }
    }

    /// The same, before it is spawned, with other bounds than the default ones.
    pub fn bounded(mut self, bounds: Bounds) -> Contender {
        self.template.setup.bounds = bounds;
        self
    }

    /// The master's process, for tests and tools in the same program. Another one follows when it loses the lead.
    pub fn master(&self) -> Option<Pid<Master>> {
        self.master.clone()
    }

    /// The registrar's process, for the same.
    pub fn registrar(&self) -> Option<Pid<Registrar>> {
        self.registrar.clone()
    }

    /// Whether this node's master leads, be it that it does not serve yet.
    pub fn leads(&self) -> bool {
        matches!(self.life, Life::Reign(_))
    }

    /// How many wait to hear who leads.
    pub fn n_watchers(&self) -> usize {
        self.watchers.len()
    }

    /// How things stood when they changed last.
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    fn start(&mut self, ctx: &mut Context<Self>) {
        let Some(registrar) = self.idle.take() else { return };
        let registrar = match ctx.spawn(Id::prefix("registrar"), registrar) {
            Ok(pid) => pid,
            Err(error) => return self.fail(format!("the registrar cannot be started: {error}"), ctx),
        };
        ctx.link(&registrar);
        self.registrar = Some(registrar.clone());
        self.start_master(ctx);
        let told = ctx.defer(|this: &mut Contender, told: Result<Standing, String>, ctx| match told {
            Ok(standing) => this.stand(standing, ctx),
            Err(why) => this.fail(format!("the registry is out of service: {why}"), ctx),
        });
        registrar.call(move |registrar, ctx| {
            let told = move |standing| {
                // When this process is gone, nobody has to know.
                let _ = told.call(standing);
            };
            registrar.open(told, ctx);
        });
        self.count_agents_later(ctx);
    }

    fn start_master(&mut self, ctx: &mut Context<Self>) {
        let Some(registrar) = self.registrar.clone() else { return };
        let master = self.template.master(self.id, ctx.pid(), registrar, self.lease.clone());
        match ctx.spawn(PROCESS_ID, master) {
            Ok(pid) => {
                ctx.link(&pid);
                self.master = Some(pid);
                self.life = Life::Standby;
                self.tell_master();
            }
            Err(error) => self.fail(format!("the master cannot be started: {error}"), ctx),
        }
    }

    fn stand(&mut self, standing: Standing, ctx: &mut Context<Self>) {
        let news = self.standing != standing;
        self.standing = standing;
        if news {
            self.tell_master();
        }
        match self.life {
            // One reign, one process: who leads again in another term does not know what came between.
            Life::Reign(term) if !self.standing.leads || self.standing.term != term => {
                tracing::warn!(term, "this master leads no more; it stands by as another");
                self.end_reign(ctx);
            }
            Life::Standby if self.standing.leads => self.reign(),
            Life::Standby | Life::Reign(_) | Life::Ending => {}
        }
        self.count_agents(ctx);
    }

    fn reign(&mut self) {
        let Some(master) = &self.master else { return };
        let term = self.standing.term;
        tracing::info!(term, id = self.info.id, pid = %master.upid(), "this master leads");
        self.life = Life::Reign(term);
        master.call(move |master, ctx| master.lead(term, ctx));
    }

    fn end_reign(&mut self, ctx: &mut Context<Self>) {
        self.life = Life::Ending;
        // It has none of the leader's rights any more, whatever the registry says.
        self.say(ctx);
        if let Some(master) = &self.master {
            ctx.terminate(master);
        }
    }

    /// The master was told by the registrar that it leads no more, before this process was.
    pub(crate) fn abdicated(&mut self, master: &Upid, ctx: &mut Context<Self>) {
        let current = self.master.as_ref().is_some_and(|it| it.upid() == master);
        if current && self.leads() {
            tracing::warn!("the registry is another's to write; this master stands by as another");
            self.end_reign(ctx);
        }
    }

    /// The master that was is gone, and its allocator with it.
    fn follow(&mut self, ctx: &mut Context<Self>) {
        self.id = ctx.uuid();
        self.info = self.template.announce(self.id);
        self.start_master(ctx);
        if self.standing.leads && self.life == Life::Standby {
            self.reign();
        }
    }

    fn tell_master(&self) {
        let Some(master) = &self.master else { return };
        let Standing { term, leader, masters, .. } = self.standing.clone();
        let known = Known { term, leader, masters };
        master.call(move |master, _| master.hear(known));
    }

    /// Counts the agents that may come to register, and then says who leads, if that is news.
    fn count_agents(&mut self, ctx: &mut Context<Self>) {
        let Some(registrar) = &self.registrar else { return };
        let counted = ctx.dispatch(registrar, |registrar, _| {
            registrar.member().map_or(0, |member| member.machine().registry().admitted().len())
        });
        ctx.then(counted, |this, counted, ctx| {
            this.n_agents = counted.unwrap_or(this.n_agents);
            this.say(ctx);
        });
    }

    fn count_agents_later(&mut self, ctx: &mut Context<Self>) {
        ctx.delay(COUNT_INTERVAL, |this, ctx| {
            this.count_agents(ctx);
            this.count_agents_later(ctx);
        });
    }

    fn leader_is(&self, ctx: &Context<Self>) -> LeaderIs {
        let Standing { term, leader, masters, .. } = &self.standing;
        let own = |leader: &&MasterInfo| leader.pid == self.info.pid;
        // What the registry says of this node is true of the life it was written by, while that reigns.
        let past = |leader: &&MasterInfo| own(leader) && (leader.id != self.info.id || !self.leads());
        let leader = leader.as_ref().filter(|leader| !past(leader)).and_then(|leader| {
            let pid = Upid::parse_ip(leader.pid())?;
            Some(Leader { pid, id: leader.id.clone(), hostname: leader.hostname().to_owned() })
        });
        LeaderIs {
            contender: ctx.upid().clone(),
            term: *term,
            leader,
            masters: masters.clone(),
            spread_ms: spread(self.n_agents),
        }
    }

    fn say(&mut self, ctx: &mut Context<Self>) {
        let saying = self.leader_is(ctx);
        let news = self.said.as_ref().is_none_or(|said| {
            // How many agents there are is not worth a message to each of them.
            LeaderIs { spread_ms: 0, ..said.clone() } != LeaderIs { spread_ms: 0, ..saying.clone() }
        });
        if news {
            for watcher in &self.watchers {
                ctx.send(watcher, saying.clone());
            }
        }
        self.said = Some(saying);
    }

    fn watch_leader(&mut self, from: &Upid, _: WatchLeader, ctx: &mut Context<Self>) {
        if !self.watchers.contains(from) {
            let n_watchers = self.watchers.len();
            if n_watchers >= self.template.setup.bounds.watchers {
                if !std::mem::replace(&mut self.was_full, true) {
                    tracing::warn!(%from, n_watchers, "too many watch who leads; more are not answered");
                }
                return;
            }
            ctx.link(from);
            self.watchers.insert(from.clone());
        }
        self.answer(from.clone(), ctx);
    }

    /// A leader without its lease may have a successor already: it says nothing until it knows.
    fn answer(&mut self, to: Upid, ctx: &mut Context<Self>) {
        if !self.leads() || self.lease.holds(ctx.now()) {
            let saying = self.leader_is(ctx);
            return ctx.send(&to, saying);
        }
        ctx.delay(LEASE_LOOK, move |this, ctx| {
            if this.watchers.contains(&to) {
                this.answer(to, ctx);
            }
        });
    }

    /// Ends this master's service. Its registrar goes too: a group must not be led by a member without a master.
    pub(crate) fn fail(&mut self, why: String, ctx: &mut Context<Self>) {
        tracing::error!(why, "the master ends");
        if let Some(fatal) = self.fatal.take() {
            fatal.set(why);
        }
        ctx.terminate_self();
    }

    /// A process this one needs is gone. When the whole node ends, so does this one, and nothing is wrong.
    fn fail_soon(&mut self, why: String, ctx: &mut Context<Self>) {
        ctx.delay(Duration::from_millis(100), move |this, ctx| this.fail(why, ctx));
    }
}

/// Over how many milliseconds that many agents spread themselves.
fn spread(n_agents: usize) -> u64 {
    if n_agents < FEW_AGENTS {
        return 0;
    }
    let n_agents = u32::try_from(n_agents).unwrap_or(u32::MAX);
    u64::try_from(SPREAD_PER_AGENT.saturating_mul(n_agents).as_millis()).unwrap_or(u64::MAX)
}

impl Process for Contender {
    /// Every way into this actor, in one list.
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.install(Self::watch_leader);
        ctx.pull_gauge("contender/watchers", |this| this.watchers.len() as f64);
        ctx.pull_gauge("contender/leads", |this| f64::from(u8::from(this.leads())));
        self.start(ctx);
    }

    fn exited(&mut self, pid: &Upid, ctx: &mut Context<Self>) {
        // Not an end by itself: anybody may have watched in the name of a process of this node.
        if self.watchers.remove(pid) {
            self.was_full = false;
        }
        let allocator = Upid::new(ALLOCATOR_ID, ctx.address());
        let is = |process: Option<&Upid>| process == Some(pid);
        if is(self.registrar.as_ref().map(AsRef::as_ref)) {
            self.fail_soon(format!("its process {} ended", pid.id()), ctx);
        } else if is(self.master.as_ref().map(AsRef::as_ref)) {
            if self.life == Life::Ending {
                // The next one needs the allocator's id. If there is none, its end is told at once.
                ctx.link(&allocator);
            } else {
                self.fail_soon("its process master ended".to_owned(), ctx);
            }
        } else if *pid == allocator && self.life == Life::Ending {
            self.follow(ctx);
        }
    }

    fn finalize(&mut self, ctx: &mut Context<Self>) {
        if let Some(master) = self.master.take() {
            ctx.terminate(&master);
        }
        if let Some(registrar) = self.registrar.take() {
            ctx.terminate(&registrar);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::spread;

    #[test]
    fn the_more_agents_the_more_time() {
        assert_eq!([0, 999, 1_000, 40_000].map(spread), [0, 0, 25, 1_000]);
    }
}
