//! What an operator asks of the group: to take a master in, to let one go, to let another lead. One thing at a time.
//! Each is gone about step by step, by looking at the group as it is: a leader that finds half of it done goes on
//! from there when it is asked again.

use std::time::Duration;

use detector::HostPort;
use libprocess::{Context, Future, Promise, Time, Upid};

use super::super::group::{GroupChange, Member, Role};
use super::messages::{Hello, Introduction, Purpose};
use super::peers::REGISTRAR;
use super::{Registrar, State};

/// A group has no more members.
const LARGEST: usize = 9;

/// How long a master may take to say who it is.
const ASK: Duration = Duration::from_secs(5);

/// How long a new member may take to get on with the log, and a change to take effect.
const CATCH_UP: Duration = Duration::from_secs(30);

/// How long another may take to take over the lead.
const TAKE_OVER: Duration = Duration::from_secs(3);

/// A member that was heard of within that time answers.
const ANSWERS: Duration = Duration::from_millis(1_500);

/// A member has caught up when it lacks no more entries than that.
const BEHIND: u64 = 64;

/// Why the group, or who leads it, was not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// Only the leader changes the group.
    #[error(
        "this master does not lead its group{}; ask again there",
        leader.as_ref().map_or(", and knows no leader".to_owned(), |leader| format!(", {leader} does"))
    )]
    NotLeading {
        /// The leader's registrar, if it is known.
        leader: Option<String>,
    },
    /// One change at a time.
    #[error("the group is being changed already; ask again when that is done")]
    Busy,
    /// Adding a member.
    #[error("master {0} is a member of the group already")]
    AlreadyMember(String),
    /// Removing, or transferring to, who is none.
    #[error("master {master} is no member of the group, which is {}", members.join(", "))]
    NotMember {
        /// Who was named.
        master: String,
        /// Who could be.
        members: Vec<String>,
    },
    /// Adding one that does not answer.
    #[error(
        "master {0} does not answer; start it, with the masters of this group in its --masters, then ask again"
    )]
    NoAnswer(String),
    /// Adding one that is of another group.
    #[error(
        "master {0} belongs to another group; end it, remove its directory, start it again, then ask again"
    )]
    OtherGroup(String),
    /// Adding too many.
    #[error("a group has at most {LARGEST} masters")]
    TooMany,
    /// A new member has been added without a vote, and does not get on.
    #[error(
        "master {0} gets the log but has not caught up, so it has no vote yet; see what keeps it, then ask again, or remove it"
    )]
    Behind(String),
    /// Removing the last one.
    #[error("master {0} is the last of its group; without it there is no registry")]
    Last(String),
    /// Too few would be left.
    #[error(
        "without master {master}, only {answering} of {left} masters would answer, which is no majority; bring the others back first"
    )]
    NoMajority {
        /// Who was to be removed.
        master: String,
        /// How many of those that would be left answer now.
        answering: usize,
        /// How many would be left.
        left: usize,
    },
    /// Transferring to one that has no vote, or does not answer.
    #[error("master {0} cannot lead now: it has no vote, does not answer, or is far behind")]
    CannotLead(String),
    /// It did not come off.
    #[error("master {0} did not take over; ask who leads now, and again if need be")]
    NotTaken(String),
    /// A majority does not take note.
    #[error(
        "the change is not in effect yet, for a majority of the masters does not answer; it may still come into effect"
    )]
    Unsettled,
    /// The registry is out of service.
    #[error("the registry is out of service: {0}")]
    Failed(String),
}

/// What is being gone about.
pub(super) struct Change {
    goal: Goal,
    promise: Promise<Result<(), ChangeError>>,
    /// The term in which it was asked for.
    term: u64,
    deadline: Time,
}

#[derive(Debug, Clone)]
enum Goal {
    /// To hear who is there.
    Ask {
        host_port: HostPort,
        nonce: u64,
    },
    /// That it has a vote, and the one that was there before none.
    Add {
        id: u64,
        host_port: String,
        instead_of: Option<u64>,
        matched: u64,
    },
    Remove {
        id: u64,
    },
    /// That it leads.
    Transfer {
        id: u64,
        host_port: String,
        then: Then,
    },
}

/// What follows when another leads.
#[derive(Debug, Clone, Copy)]
enum Then {
    Nothing,
    /// It is to be asked for what was asked of this one.
    AskAgain,
}

type Settled = Result<(), ChangeError>;

impl Registrar {
    /// Takes a master into the group: it gets the log first, and a vote when it has caught up. A master that was there
    /// before, with another disk, leaves at the same moment.
    ///
    /// The future brings an error that says what is wrong, or that it is done. To ask again is harmless.
    pub fn add(&mut self, master: HostPort, ctx: &mut Context<Self>) -> Future<Settled> {
        let nonce = ctx.uuid().as_u64_pair().1;
        self.begin(ctx, |this, ctx| {
            let own = this.own(ctx);
            if master.to_string() == own {
                return Err(ChangeError::AlreadyMember(own));
            }
            match master.address() {
                Some(address) => this.ask(address.into(), nonce, ctx),
                None => {
                    let name = master.clone();
                    let resolved = ctx.blocking(move || name.resolve());
                    ctx.then(resolved, move |this, resolved, ctx| {
                        let addresses = resolved.ok().and_then(Result::ok).unwrap_or_default();
                        addresses
                            .into_iter()
                            .take(4)
                            .for_each(|address| this.ask(address.into(), nonce, ctx));
                    });
                }
            }
            Ok((Goal::Ask { host_port: master, nonce }, ASK))
        })
    }

    fn ask(&mut self, at: HostPort, nonce: u64, ctx: &mut Context<Self>) {
        let (Some(member), Some(address)) = (self.member(), at.address()) else { return };
        let group = member.machine().members().group;
        let (own, purpose) = (self.own(ctx), Purpose::TakingIn);
        let hello = Hello { nonce, own, purpose, group, masters: Vec::new() };
        ctx.send(Upid::new(REGISTRAR, address), hello);
    }

    /// Lets a master go. A leader that is to go lets another lead first, and says who it is, to be asked again there.
    pub fn remove(&mut self, master: HostPort, ctx: &mut Context<Self>) -> Future<Settled> {
        self.begin(ctx, |this, ctx| {
            let host_port = master.to_string();
            let now = ctx.now();
            let member = this.member().ok_or(ChangeError::Busy)?;
            let id = this.find(member, &host_port, ctx)?;
            let mut left = member.voters();
            if member.role(id) == Role::Voter {
                left.retain(|voter| *voter != id);
                let n_answering = left.iter().filter(|id| this.answers(member, **id, now)).count();
                if left.is_empty() {
                    return Err(ChangeError::Last(host_port));
                }
                if 2 * n_answering <= left.len() {
                    let left = left.len();
                    return Err(ChangeError::NoMajority { master: host_port, answering: n_answering, left });
                }
            }
            if id != member.id() {
                return Ok((Goal::Remove { id }, CATCH_UP));
            }
            let best = left.iter().filter(|id| this.answers(member, **id, now) && **id != member.id());
            let best = best.max_by_key(|id| (member.matched(**id), std::cmp::Reverse(**id))).copied();
            let id = best.ok_or(ChangeError::Busy)?;
            let host_port = this.host_port(member, id, ctx);
            this.offer(id, &host_port)?;
            Ok((Goal::Transfer { id, host_port, then: Then::AskAgain }, TAKE_OVER))
        })
    }

    /// Lets another master lead.
    pub fn transfer(&mut self, master: HostPort, ctx: &mut Context<Self>) -> Future<Settled> {
        self.begin(ctx, |this, ctx| {
            let host_port = master.to_string();
            let member = this.member().ok_or(ChangeError::Busy)?;
            let id = this.find(member, &host_port, ctx)?;
            if id != member.id() {
                let close = member.matched(id).is_some_and(|matched| matched + BEHIND >= member.last_index());
                if !close || !this.answers(member, id, ctx.now()) {
                    return Err(ChangeError::CannotLead(host_port));
                }
                this.offer(id, &host_port)?;
            }
            Ok((Goal::Transfer { id, host_port, then: Then::Nothing }, TAKE_OVER))
        })
    }

    fn offer(&mut self, id: u64, host_port: &str) -> Settled {
        let State::Open(open) = &mut self.state else { return Err(ChangeError::Busy) };
        if open.member.transfer(id) { Ok(()) } else { Err(ChangeError::CannotLead(host_port.to_owned())) }
    }

    fn begin(
        &mut self,
        ctx: &mut Context<Self>,
        goal: impl FnOnce(&mut Self, &mut Context<Self>) -> Result<(Goal, Duration), ChangeError>,
    ) -> Future<Settled> {
        let (promise, future) = Promise::new();
        let begun = match &self.state {
            State::Failed(why) => Err(ChangeError::Failed(why.clone())),
            State::Open(open) if open.member.has_begun() => {
                let term = open.member.term();
                match self.change {
                    Some(_) => Err(ChangeError::Busy),
                    None => goal(self, ctx).map(|begun| (begun, term)),
                }
            }
            _ => Err(ChangeError::NotLeading { leader: self.leader() }),
        };
        match begun {
            Ok(((goal, at_most), term)) => {
                self.change = Some(Change { goal, promise, term, deadline: ctx.now() + at_most });
                self.go_on(ctx);
                self.keep_ticking(ctx);
            }
            Err(error) => {
                promise.set(Err(error));
            }
        }
        future
    }

    /// The member at that address.
    fn find(&self, member: &Member, host_port: &str, ctx: &Context<Self>) -> Result<u64, ChangeError> {
        let ids = member.ids();
        let at = |id: u64| self.host_port(member, id, ctx);
        ids.iter().copied().find(|id| at(*id) == host_port).ok_or_else(|| ChangeError::NotMember {
            master: host_port.to_owned(),
            members: ids.iter().map(|id| at(*id)).collect(),
        })
    }

    fn answers(&self, member: &Member, id: u64, now: Time) -> bool {
        let heard = self.peers.get(id).and_then(|peer| peer.heard);
        id == member.id() || heard.is_some_and(|heard| now - heard <= ANSWERS)
    }

    /// A master that is to be added has said who it is.
    pub(super) fn introduced(&mut self, introduction: Introduction, ctx: &mut Context<Self>) {
        let (Some(change), State::Open(open)) = (&mut self.change, &self.state) else { return };
        let Goal::Ask { host_port, nonce } = &change.goal else { return };
        if introduction.nonce != *nonce {
            return;
        }
        let (id, host_port, member) = (introduction.id, host_port.to_string(), &open.member);
        let known = member.machine().members();
        // One that a leader before began to take in goes on.
        let resumed = member.role(id) == Role::Learner;
        let outcome = match member.role(id) {
            // Until all is settled, the one that leaves may still be needed.
            Role::Voter if !member.is_settled() => Ok(()),
            Role::Voter => Err(ChangeError::AlreadyMember(host_port.clone())),
            Role::Stranger if !introduction.fresh => Err(ChangeError::OtherGroup(host_port.clone())),
            Role::Stranger if member.ids().len() >= LARGEST => Err(ChangeError::TooMany),
            Role::Stranger | Role::Learner => Ok(()),
        };
        if let Err(error) = outcome {
            return self.settle_change(Err(error));
        }
        let others = known.by_id.iter().filter(|(other, at)| **other != id && **at == host_port);
        let instead_of = others.map(|(other, _)| *other).next();
        tracing::info!(master = host_port, id, ?instead_of, resumed, "a master is being added to the group");
        change.goal = Goal::Add { id, host_port, instead_of, matched: 0 };
        change.deadline = ctx.now() + CATCH_UP;
        self.go_on(ctx);
    }

    pub(super) fn settle_change(&mut self, outcome: Settled) {
        if let Some(change) = self.change.take() {
            change.promise.set(outcome);
        }
    }

    /// Does the next step of the change, if it is time. Precedes every output.
    pub(super) fn pursue(&mut self, now: Time) {
        let leader = self.leader();
        let (Some(change), State::Open(open)) = (&mut self.change, &mut self.state) else { return };
        let member = &mut open.member;
        let over = now >= change.deadline;
        let lost = !member.has_begun() || member.term() != change.term;
        let outcome = match &mut change.goal {
            Goal::Transfer { id, host_port, then } => match then {
                _ if member.leader() != Some(*id) => (over || (lost && leader.is_some()))
                    .then(|| Err(ChangeError::NotTaken(host_port.clone()))),
                Then::Nothing => Some(Ok(())),
                Then::AskAgain => Some(Err(ChangeError::NotLeading { leader })),
            },
            _ if lost => Some(Err(ChangeError::NotLeading { leader })),
            Goal::Ask { host_port, .. } => over.then(|| Err(ChangeError::NoAnswer(host_port.to_string()))),
            Goal::Add { id, host_port, instead_of, matched } => {
                let now_matched = member.matched(*id).unwrap_or(0);
                if now_matched > *matched {
                    *matched = now_matched;
                    change.deadline = now + CATCH_UP;
                }
                match member.role(*id) {
                    Role::Voter if member.is_settled() => Some(Ok(())),
                    Role::Stranger if member.has_snapshot() => {
                        let host_port = host_port.clone();
                        member.change(&GroupChange::AddLearner { id: *id, host_port });
                        None
                    }
                    Role::Learner if *matched > 0 && *matched + BEHIND >= member.last_index() => {
                        member.change(&GroupChange::GiveVote { id: *id, instead_of: *instead_of });
                        None
                    }
                    _ => None,
                }
                .or_else(|| {
                    over.then(|| match member.role(*id) {
                        Role::Learner => Err(ChangeError::Behind(host_port.clone())),
                        Role::Voter | Role::Stranger => Err(ChangeError::Unsettled),
                    })
                })
            }
            Goal::Remove { id } => match member.role(*id) {
                Role::Stranger if member.is_settled() => Some(Ok(())),
                Role::Voter | Role::Learner => {
                    member.change(&GroupChange::Remove { id: *id });
                    over.then_some(Err(ChangeError::Unsettled))
                }
                Role::Stranger => over.then_some(Err(ChangeError::Unsettled)),
            },
        };
        if let Some(outcome) = outcome {
            self.settle_change(outcome);
        }
    }
}
