//! The actor that keeps the registry: a member of the masters' Raft group, the disk below it, and those who wait
//! for an operation. One write is under way at a time; what is asked for meanwhile makes the next batch.
//!
//! | file | knows |
//! | --- | --- |
//! | `opening` | how it begins |
//! | `duty` | what follows each event: propose, send, write, answer |
//! | `exchange` | what goes to the other members and comes from them |
//! | `peers` | where they are |
//! | `greeting` | how a group begins |
//! | `telling` | what it tells of group and registry |
//! | `change` | taking masters in, letting them go, passing on the lead |

mod change;
mod duty;
mod exchange;
mod greeting;
mod messages;
mod opening;
mod peers;
mod storage;
mod telling;

use std::collections::BTreeMap;
use std::time::Duration;

use api::v1::MasterInfo;
use libprocess::http::{Response, RouteOptions};
use libprocess::{Context, Future, Process, Promise, Time, Upid};

use super::group::{Disk, Incoming, Member, Outgoing, Seat, Stored};
use super::lease::{Lease, LeaseGrant};
use super::operation::{Kind, Operation, Ticket};
use super::standing::{Founding, Standing};
use super::state::{Refused, Registry};
use change::Change;
pub use change::ChangeError;
use greeting::Greeting;
use peers::Peers;
pub use storage::Storage;

/// At least so many bytes of log come before a snapshot replaces them.
const SNAPSHOT_AFTER: usize = 1 << 20;

/// A log entry ends with the operation that makes it larger than this, in bytes.
const ENTRY: usize = 512 << 10;

/// Why an operation has no outcome.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistrarError {
    /// Operations wait for [`Registrar::recover`].
    #[error("the registry has not been recovered yet")]
    NotRecovered,
    /// This master cannot say what becomes of the operation: it does not lead, or no longer. To ask the leader
    /// for the same operation, under the same ticket, is harmless.
    #[error(
        "this master does not lead its group{}; ask again there",
        leader.as_ref().map_or(", and knows no leader".to_owned(), |leader| format!(", {leader} does"))
    )]
    NotLeading {
        /// The leader's registrar, if it is known.
        leader: Option<String>,
    },
    /// The storage failed, now or before. The registry's state is unknown: the master must end.
    #[error("the registry is out of service: {0}")]
    Failed(String),
}

enum State {
    Closed,
    Opening,
    Open(Box<Open>),
    Failed(String),
}

struct Open {
    member: Member,
    disk: Box<dyn Disk>,
}

type Waiting<T> = Promise<Result<T, RegistrarError>>;

/// Who is told what came of an operation.
enum Asked {
    /// Whoever waits for [`Registrar::recover`].
    Recover,
    Operation(Waiting<Result<(), Refused>>),
}

struct Recovering {
    operation: Operation,
    promise: Waiting<Registry>,
    began: Time,
    /// The term in which it was asked for last.
    asked: Option<u64>,
}

/// Term, whether this member leads, who does, and how often the group has changed; nothing before it is open.
type Mark = Option<(u64, bool, Option<u64>, u64)>;

/// A disk and what is on it, or why there is none.
type Opened = Result<(Box<dyn Disk>, Stored), String>;

/// Hears of each change of the standing; or, as the last thing, why the registry is out of service.
type Told = Box<dyn Fn(Result<Standing, String>) + Send>;

/// The registry as a process; spawn it under the prefix `registrar`.
pub struct Registrar {
    storage: Storage,
    founding: Founding,
    /// A place in a group of fixed addresses, instead of what the disk and the founding say.
    seat: Option<Seat>,
    snapshot_after: usize,
    fetch_timeout: Duration,
    store_timeout: Duration,
    state: State,
    lease: LeaseGrant,
    told: Option<Told>,
    /// What was told last.
    standing: Option<Standing>,
    /// What that depends on, as it was then: term, whether it leads, who does, and the count of changes.
    marked: Option<Mark>,
    /// What makes the next batches.
    queue: Vec<(Operation, Asked)>,
    /// By index in the log: the term, and who waits for what is there.
    proposed: BTreeMap<u64, (u64, Vec<Asked>)>,
    recovering: Option<Recovering>,
    readers: Vec<Promise<Response>>,
    /// Counts the uses of the disk, to know a late timeout from one in time.
    turn: u64,
    /// Whether a tick is to come.
    ticking: bool,
    peers: Peers,
    /// Which of the member's changes of the group the peers are up to.
    known: Option<u64>,
    outgoing: BTreeMap<u64, Outgoing>,
    /// What is coming in, and from whom.
    incoming: Option<(u64, Incoming)>,
    greeting: Greeting,
    change: Option<Change>,
}

impl Registrar {
    /// A registrar that reads and writes `storage`, and gives it up when it takes longer than the timeouts. If that
    /// was never used, the group is founded that `founding` speaks of; if it was, it says what group it is of.
    pub fn new(
        storage: Storage,
        founding: Founding,
        fetch_timeout: Duration,
        store_timeout: Duration,
    ) -> Self {
        Registrar {
            storage,
            founding,
            seat: None,
            snapshot_after: SNAPSHOT_AFTER,
            fetch_timeout,
            store_timeout,
            state: State::Closed,
            lease: LeaseGrant::new(),
            told: None,
            standing: None,
            marked: None,
            queue: Vec::new(),
            proposed: BTreeMap::new(),
            recovering: None,
            readers: Vec::new(),
            turn: 0,
            ticking: false,
            peers: Peers::default(),
            known: None,
            outgoing: BTreeMap::new(),
            incoming: None,
            greeting: Greeting::default(),
            change: None,
        }
    }

    /// As a member of a group at fixed addresses, that never changes. For trials.
    pub fn in_group(self, seat: Seat) -> Self {
        Registrar { peers: Peers::seated(&seat.members), seat: Some(seat), ..self }
    }

    /// With a snapshot after that many bytes of log instead of a megabyte.
    pub fn snapshot_after(self, bytes: usize) -> Self {
        Registrar { snapshot_after: bytes, ..self }
    }

    /// Whether this master may act as leader, to be looked at from anywhere at any time.
    pub fn lease(&self) -> Lease {
        self.lease.lease()
    }

    /// Opens the disk and joins the group. `told` hears at once how things stand, and again whenever that changes;
    /// an error is the last thing it hears: the registry is out of service, and the program should end.
    pub fn open(
        &mut self,
        told: impl Fn(Result<Standing, String>) + Send + 'static,
        ctx: &mut Context<Self>,
    ) {
        if let State::Failed(why) = &self.state {
            return told(Err(why.clone()));
        }
        self.told = Some(Box::new(told));
        (self.standing, self.marked) = (None, None);
        if matches!(self.state, State::Closed) {
            self.open_disk(ctx);
        }
        self.tell(ctx);
    }

    /// Writes into the registry that this master leads, as `info`, and gives what it holds then. The answer is
    /// [`RegistrarError::NotLeading`] when it does not lead, or the lead is lost meanwhile.
    ///
    /// Where nobody called [`Registrar::open`], this opens the registry, and waits until this master leads.
    pub fn recover(
        &mut self,
        info: MasterInfo,
        ctx: &mut Context<Self>,
    ) -> Future<Result<Registry, RegistrarError>> {
        let (promise, future) = Promise::new();
        if let State::Failed(why) = &self.state {
            promise.set(Err(RegistrarError::Failed(why.clone())));
            return future;
        }
        self.give_up_recovery();
        let operation = Kind::Recover(info).into();
        self.recovering = Some(Recovering { operation, promise, began: ctx.now(), asked: None });
        if matches!(self.state, State::Closed) {
            self.open_disk(ctx);
        } else {
            self.go_on(ctx);
        }
        future
    }

    /// Answers whoever waits for the registry that this master does not lead.
    fn give_up_recovery(&mut self) {
        if let Some(recovering) = self.recovering.take() {
            let leader = self.leader();
            recovering.promise.set(Err(RegistrarError::NotLeading { leader }));
        }
    }

    /// Has an operation written. The future brings its outcome once it is on the disks of a majority.
    ///
    /// An operation with a ticket takes effect at most once, however often it is asked for, here or at any other
    /// master of the group.
    pub fn apply(
        &mut self,
        operation: Operation,
        ctx: &mut Context<Self>,
    ) -> Future<Result<Result<(), Refused>, RegistrarError>> {
        let (promise, future) = Promise::new();
        match &self.state {
            State::Closed => promise.set(Err(RegistrarError::NotRecovered)),
            State::Failed(why) => promise.set(Err(RegistrarError::Failed(why.clone()))),
            State::Opening | State::Open(_) => {
                self.queue.push((operation, Asked::Operation(promise)));
                self.go_on(ctx);
            }
        }
        future
    }

    /// A ticket for an operation that may have to be asked for more than once; `None` before the registry is open.
    pub fn ticket(&self, ctx: &mut Context<Self>) -> Option<Ticket> {
        match &self.state {
            State::Open(open) => {
                Some(Ticket { id: ctx.uuid().into_bytes().to_vec(), since: open.member.applied() })
            }
            _ => None,
        }
    }

    /// The member of the group, while the registry is open.
    pub fn member(&self) -> Option<&Member> {
        match &self.state {
            State::Open(open) => Some(&open.member),
            _ => None,
        }
    }

    fn fail(&mut self, why: &str) {
        tracing::error!(why, "the registry is out of service");
        self.lease.end();
        self.state = State::Failed(why.to_owned());
        if let Some(told) = self.told.take() {
            told(Err(why.to_owned()));
        }
        let failed = || RegistrarError::Failed(why.to_owned());
        if let Some(recovering) = self.recovering.take() {
            recovering.promise.set(Err(failed()));
        }
        let proposed = std::mem::take(&mut self.proposed).into_values().flat_map(|(_, asked)| asked);
        let queued = std::mem::take(&mut self.queue).into_iter().map(|(_, asked)| asked);
        for asked in proposed.chain(queued) {
            if let Asked::Operation(promise) = asked {
                promise.set(Err(failed()));
            }
        }
        self.settle_change(Err(ChangeError::Failed(why.to_owned())));
        self.readers.clear();
        self.outgoing.clear();
        self.incoming = None;
    }
}

impl Asked {
    fn not_leading(self, leader: &Option<String>) {
        match self {
            Asked::Operation(promise) => {
                promise.set(Err(RegistrarError::NotLeading { leader: leader.clone() }));
            }
            // It is asked again as soon as this master leads.
            Asked::Recover => {}
        }
    }
}

impl Process for Registrar {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.install(Self::raft_message);
        ctx.install(Self::piece);
        ctx.install(Self::piece_received);
        ctx.install(Self::hello);
        ctx.install(Self::introduction);
        ctx.route_with("/registry", RouteOptions::help("The registry, as JSON."), Self::registry);
        ctx.pull_gauge("registrar/queued_operations", |this| this.queue.len() as f64);
        ctx.pull_gauge("registrar/log/ensemble_size", |this| {
            this.member().map_or(0.0, |member| member.voters().len() as f64)
        });
        ctx.pull_gauge("registrar/log/term", |this| this.member().map_or(0.0, |it| it.term() as f64));
        ctx.pull_gauge("registrar/log/applied", |this| this.member().map_or(0.0, |it| it.applied() as f64));
        ctx.pull_gauge("registrar/log/leads", |this| {
            f64::from(u8::from(this.member().is_some_and(Member::has_begun)))
        });
        ctx.pull_gauge("registrar/log/recovered", |this| {
            f64::from(u8::from(this.member().is_some_and(|member| !member.is_waiting())))
        });
    }

    fn exited(&mut self, pid: &Upid, ctx: &mut Context<Self>) {
        self.peer_lost(pid, ctx);
    }
}
