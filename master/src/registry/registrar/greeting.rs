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

use super::super::group::Members;
use super::messages::{Hello, Introduction};
use super::peers::REGISTRAR;
use super::{Open, Registrar, State};

/// How often a master that waits for its group asks the others.
const INTERVAL: Duration = Duration::from_millis(500);

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
    /// Why this master is in no group.
    pub(super) why: Option<String>,
}

impl Registrar {
    /// Asks the others who they are, while this master waits for its group.
    pub(super) fn greet(&mut self, ctx: &mut Context<Self>) {
        let now = ctx.now();
        let State::Open(open) = &self.state else { return };
        if !open.member.is_waiting() {
            if self.greeting.why.take().is_some() {
                tracing::info!("this master belongs to its group");
                self.greeting.answers.clear();
            }
            return;
        }
        if self.greeting.asked.is_some_and(|asked| now - asked < INTERVAL) {
            return;
        }
        self.greeting.asked = Some(now);
        let own = self.own(ctx);
        for master in self.founding.masters() {
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
        let group = self.greeting.group;
        let hello = Hello { nonce: group, own: self.own(ctx), group, masters: self.told_of() };
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
        let by_leader = hello.masters.is_empty();
        let taken = self.greeting.bound && self.greeting.promised != Some(hello.group) && !by_leader;
        let fresh = open.member.is_fresh() && !taken;
        // A leader takes in whom its operator names; else only the first of the list may found.
        let founder = by_leader || (hello.masters == masters && hello.masters.first() == Some(&hello.own));
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
        if self.told_of().contains(&introduction.own) {
            self.greeting.answers.insert(introduction.own.clone(), (introduction, ctx.now()));
            self.consider(ctx);
        }
    }

    /// Founds the group if all are ready, or says why not.
    fn consider(&mut self, ctx: &mut Context<Self>) {
        let State::Open(open) = &self.state else { return };
        if !open.member.is_waiting() {
            return;
        }
        match self.ready_to_found(open, ctx) {
            Ok(members) => self.found(members, ctx),
            Err(why) => {
                if self.greeting.why.as_ref() != Some(&why) {
                    tracing::warn!(why, "this master belongs to no group yet");
                    self.greeting.why = Some(why);
                }
            }
        }
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
