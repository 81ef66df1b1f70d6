//! How a group begins. A master whose disk was never used asks the others it was told of who they are. The first of
//! the list founds the group when all others have said that their disks were never used either, and that they were
//! told of the same masters; they get to know the group from its leader, as every member does that is behind.
//!
//! Only one master of a list may found, so there is one founding; and a master that told it to be ready does nothing
//! for another group as long as it lives. So of two groups that begin with the same masters, which takes a disk lost
//! between, at most one gets anywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use detector::HostPort;
use libprocess::{Context, Time, Upid};

use super::super::group::{Member, Members, Role};
use super::messages::{Hello, Introduction, Purpose};
use super::peers::REGISTRAR;
use super::{Open, Registrar, State};

/// How often a master that waits for its group asks the others.
const INTERVAL: Duration = Duration::from_millis(500);

/// A member that knows of no leader for so long asks the others whether it still is one.
const LEADERLESS: Duration = Duration::from_secs(5);

/// So old may an answer be for the group to be founded on it.
const CURRENT: Duration = Duration::from_secs(3);

/// What a master that waits knows of the others.
#[derive(Default)]
pub(super) struct Greeting {
    /// The group that this master would found, and the mark of its questions.
    pub(super) group: u64,
    /// The group this master has promised itself to.
    pub(super) promised: Option<u64>,
    /// Whether that group exists: then nobody who wants to found another takes this master away from it.
    pub(super) bound: bool,
    /// By address, the last answers.
    answers: BTreeMap<String, (Introduction, Time)>,
    /// The masters whose address is being asked for.
    looking: BTreeSet<HostPort>,
    asked: Option<Time>,
    /// When this master last knew of a leader, or began.
    led: Option<Time>,
    /// Why this master is in no group.
    pub(super) why: Option<String>,
}

impl Registrar {
    /// Asks the others who they are, while this master waits for its group, or for a leader.
    pub(super) fn greet(&mut self, ctx: &mut Context<Self>) {
        let now = ctx.now();
        let State::Open(open) = &self.state else { return };
        let waiting = open.member.is_waiting();
        if !waiting && open.member.leader().is_some() {
            self.greeting.led = Some(now);
            self.greeting.answers.clear();
            if self.greeting.why.take().is_some() {
                tracing::info!("this master belongs to its group");
            }
            return;
        }
        let led = *self.greeting.led.get_or_insert(now);
        if !waiting && now - led < LEADERLESS {
            return;
        }
        if self.greeting.asked.is_some_and(|asked| now - asked < INTERVAL) {
            return;
        }
        let known = open.member.machine().members().by_id.values().filter_map(|at| at.parse().ok());
        let masters: BTreeSet<HostPort> = self.founding.masters().into_iter().chain(known).collect();
        self.greeting.asked = Some(now);
        let own = self.own(ctx);
        for master in masters {
            if master.to_string() == own || self.greeting.looking.contains(&master) {
                continue;
            }
            if let Some(address) = master.address() {
                self.say_hello(Upid::new(REGISTRAR, address), ctx);
                continue;
            }
            self.greeting.looking.insert(master.clone());
            let name = master.clone();
            let resolved = ctx.blocking(move || name.resolve());
            ctx.then(resolved, move |this, resolved, ctx| {
                this.greeting.looking.remove(&master);
                // Whichever answers is the one.
                for address in resolved.ok().and_then(Result::ok).unwrap_or_default().into_iter().take(4) {
                    this.say_hello(Upid::new(REGISTRAR, address), ctx);
                }
            });
        }
        self.consider(ctx);
    }

    fn say_hello(&mut self, to: Upid, ctx: &mut Context<Self>) {
        let (group, own, masters) = (self.greeting.group, self.own(ctx), self.told_of());
        let founds = self.member().is_some_and(Member::is_fresh) && masters.first() == Some(&own);
        let purpose = if founds { Purpose::Founding } else { Purpose::Knowing };
        let hello = Hello { nonce: group, own, purpose, group, masters };
        ctx.send(to, hello);
    }

    /// The masters this one was told of.
    fn told_of(&self) -> Vec<String> {
        self.founding.masters().iter().map(HostPort::to_string).collect()
    }

    /// Somebody wants to know who this is.
    pub(super) fn hello(&mut self, from: &Upid, hello: Hello, ctx: &mut Context<Self>) {
        let (own, masters) = (self.own(ctx), self.told_of());
        let State::Open(open) = &self.state else { return };
        if !hello.is_plausible() {
            return;
        }
        let by_leader = hello.purpose == Purpose::TakingIn;
        let taken = self.greeting.bound && self.greeting.promised != Some(hello.group) && !by_leader;
        let fresh = open.member.is_fresh() && !taken;
        // A leader takes in whom its operator names; else only the first of the list may found.
        let founder = by_leader
            || (hello.purpose == Purpose::Founding
                && hello.masters == masters
                && hello.masters.first() == Some(&hello.own));
        if fresh && founder {
            self.greeting.promised = Some(hello.group);
            self.greeting.bound |= by_leader;
        }
        let known = open.member.machine().members();
        let introduction = Introduction {
            nonce: hello.nonce,
            id: open.member.id(),
            own,
            fresh,
            masters,
            group: known.group,
            applied: open.member.applied(),
            members: known.by_id.iter().map(|(id, at)| (*id, at.clone())).collect(),
        };
        ctx.send(from, introduction);
    }

    /// The answer of another.
    pub(super) fn introduction(&mut self, _: &Upid, introduction: Introduction, ctx: &mut Context<Self>) {
        if !introduction.is_plausible() {
            return;
        }
        if introduction.nonce != self.greeting.group {
            return self.introduced(introduction, ctx);
        }
        let State::Open(open) = &self.state else { return };
        let mut known = open.member.machine().members().by_id.values();
        if self.told_of().contains(&introduction.own) || known.any(|at| *at == introduction.own) {
            self.greeting.answers.insert(introduction.own.clone(), (introduction, ctx.now()));
            self.consider(ctx);
        }
    }

    /// Founds the group if all are ready, or says why not.
    fn consider(&mut self, ctx: &mut Context<Self>) {
        let State::Open(open) = &self.state else { return };
        if !open.member.is_waiting() {
            if let Some(why) = self.removed(&open.member, ctx) {
                self.say_why(why);
            }
            return;
        }
        match self.ready_to_found(open, ctx) {
            Ok(members) => self.found(members, ctx),
            Err(why) => self.say_why(why),
        }
    }

    fn say_why(&mut self, why: String) {
        if self.greeting.why.as_ref() != Some(&why) {
            tracing::warn!(why, "this master belongs to no group");
            self.greeting.why = Some(why);
        }
    }

    /// Whether this master was let go: by what it knows itself, or by what somebody knows who knows more.
    fn removed(&self, member: &Member, ctx: &Context<Self>) -> Option<String> {
        let (own, id) = (member.machine().members(), member.id());
        let knows = |answer: &Introduction| {
            answer.group == own.group
                && answer.applied > member.applied()
                && !answer.members.is_empty()
                && answer.members.iter().all(|(other, _)| *other != id)
        };
        let mut answers = self.greeting.answers.values().map(|(answer, _)| answer);
        let removed = own.group != 0 && (member.role(id) == Role::Stranger || answers.any(knows));
        removed.then(|| {
            format!(
                "the group has let this master go. To take it in anew: end it, remove its directory, start it, and \
                 mesos masters add {}",
                self.own(ctx)
            )
        })
    }

    /// The members of the group to be founded now, or why there are none.
    fn ready_to_found(&self, open: &Open, ctx: &Context<Self>) -> Result<Members, String> {
        let (own, masters, id) = (self.own(ctx), self.told_of(), open.member.id());
        let current = self.greeting.answers.iter().filter(|(_, (_, at))| ctx.now() - *at <= CURRENT);
        let answers: BTreeMap<_, _> = current.map(|(at, (answer, _))| (at, answer)).collect();
        for (at, answer) in &answers {
            if answer.members.is_empty() {
                continue;
            }
            let of: Vec<_> = answer.members.iter().map(|(_, at)| at.as_str()).collect();
            let of = of.join(", ");
            return Err(match answer.members.iter().find(|(other, at)| *other == id || *at == own) {
                Some((known, _)) if *known == id => {
                    format!("it waits for the leader of the group of {of}")
                }
                Some(_) => format!(
                    "the group of {of} knows this master with another disk, and what it promised on that is lost. To \
                     take this one in instead: mesos masters add {own}, at {at}"
                ),
                None => format!(
                    "the group of {of} does not know this master. To take it in: mesos masters add {own}, at {at}"
                ),
            });
        }
        if let Some((at, answer)) = answers.iter().find(|(_, answer)| answer.masters != masters) {
            return Err(format!(
                "master {at} was started with --masters={}, this one with --masters={}; they have to be the same",
                answer.masters.join(","),
                masters.join(",")
            ));
        }
        if let Some(founder) = masters.first().filter(|founder| **founder != own) {
            return Err(format!("it waits for {founder} to found the group"));
        }
        if !open.member.is_fresh() {
            return Err("it has done something for another group; remove its directory".to_owned());
        }
        let others = || masters.iter().filter(|master| **master != own);
        let missing: Vec<_> = others().filter(|at| !answers.contains_key(at)).map(String::as_str).collect();
        if !missing.is_empty() {
            let missing = missing.join(", ");
            return Err(format!(
                "a group is founded when all its masters are there; {missing} did not answer"
            ));
        }
        if let Some(at) = others().find(|at| answers.get(at).is_some_and(|answer| !answer.fresh)) {
            return Err(format!("master {at} has done something for another group; remove its directory"));
        }
        let mut members = Members { group: self.greeting.group, by_id: [(id, own.clone())].into() };
        for (at, answer) in answers {
            if members.by_id.insert(answer.id, at.clone()).is_some() {
                return Err(format!("the directory of master {at} is a copy of another's; remove it"));
            }
        }
        Ok(members)
    }

    fn found(&mut self, members: Members, ctx: &mut Context<Self>) {
        let State::Open(open) = std::mem::replace(&mut self.state, State::Opening) else { return };
        tracing::info!(masters = ?members.by_id.values(), "all masters are there; the group is founded");
        let Open { member, mut disk } = *open;
        let own = member.id();
        let founded = ctx.blocking(move || {
            let stored = members.found(own, &mut *disk);
            stored.map(|stored| (disk, stored)).map_err(|error| error.to_string())
        });
        self.opening(founded, ctx);
    }
}
