//! The actor that keeps the registry: a member of the masters' Raft group, the disk below it, and those who wait
//! for an operation. One write is under way at a time; what is asked for meanwhile makes the next batch.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use api::v1::MasterInfo;
use detector::HostPort;
use libprocess::http::{Answer, Request, Response, RouteOptions};
use libprocess::{Context, Future, Process, Promise, Time, Upid};
use prost::Message as _;
use protobuf::Message as _;
use raft::eraftpb::{Message, MessageType};
use serde::{Deserialize, Serialize};

use super::group::{
    Applied, Arrival, Disk, Incoming, Machine, Member, MemoryDisk, Outgoing, Output, Piece, PieceReceived,
    Seat, SnapshotJob, Stored, TICK, Write,
};
use super::lease::{Lease, LeaseGrant};
use super::log::{Log, LogError};
use super::operation::{Batch, Kind, Operation, Ticket};
use super::standing::{Founding, MemberStatus, Standing};
use super::state::{Refused, Registry};

/// At least so many bytes of log come before a snapshot replaces them.
const SNAPSHOT_AFTER: usize = 1 << 20;

/// A log entry ends with the operation that makes it larger than this, in bytes.
const ENTRY: usize = 512 << 10;

/// Where the registry is kept.
#[derive(Debug, Clone)]
pub enum Storage {
    /// Nowhere: it is gone when the master ends. For tests and trials.
    Memory,
    /// In memory that outlives the master. For simulations.
    Kept(MemoryDisk),
    /// In that directory.
    Directory(PathBuf),
}

impl Storage {
    fn open(&self, voters: &[u64]) -> Result<(Box<dyn Disk>, Stored), LogError> {
        match self {
            Storage::Memory => Ok((Box::new(MemoryDisk::default()), Stored::default())),
            Storage::Kept(disk) => Ok((Box::new(disk.clone()), disk.load())),
            Storage::Directory(path) => {
                let (log, stored) = Log::open(path, voters)?;
                Ok((Box::new(log), stored))
            }
        }
    }
}

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

/// What one member's Raft says to another's.
#[derive(Serialize, Deserialize, libprocess::Message)]
struct RaftMessage {
    /// Protobuf, as raft-rs encodes it.
    bytes: Vec<u8>,
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

/// Hears of each change of the standing; or, as the last thing, why the registry is out of service.
type Told = Box<dyn Fn(Result<Standing, String>) + Send>;

/// The registry as a process; spawn it under the prefix `registrar`.
pub struct Registrar {
    storage: Storage,
    founding: Founding,
    seat: Seat,
    /// Whether the seat was given, and not to be found out.
    seated: bool,
    lease: LeaseGrant,
    told: Option<Told>,
    /// What was told last.
    standing: Option<Standing>,
    /// When another member was last heard of.
    heard: BTreeMap<u64, Time>,
    snapshot_after: usize,
    fetch_timeout: Duration,
    store_timeout: Duration,
    state: State,
    /// What makes the next batches.
    queue: Vec<(Operation, Asked)>,
    /// By index in the log: the term, and who waits for what is there.
    proposed: BTreeMap<u64, (u64, Vec<Asked>)>,
    recovering: Option<Recovering>,
    readers: Vec<Promise<Response>>,
    /// Counts the uses of the disk, to know a late timeout from one in time.
    turn: u64,
    outgoing: BTreeMap<u64, Outgoing>,
    incoming: BTreeMap<u64, Incoming>,
}

impl Registrar {
    /// A registrar that reads and writes `storage`, and gives it up when it takes longer than the timeouts.
    pub fn new(
        storage: Storage,
        founding: Founding,
        fetch_timeout: Duration,
        store_timeout: Duration,
    ) -> Self {
        Registrar {
            storage,
            founding,
            seat: Seat::alone(),
            seated: false,
            lease: LeaseGrant::new(),
            told: None,
            standing: None,
            heard: BTreeMap::new(),
            snapshot_after: SNAPSHOT_AFTER,
            fetch_timeout,
            store_timeout,
            state: State::Closed,
            queue: Vec::new(),
            proposed: BTreeMap::new(),
            recovering: None,
            readers: Vec::new(),
            turn: 0,
            outgoing: BTreeMap::new(),
            incoming: BTreeMap::new(),
        }
    }

    /// As one of several.
    pub fn in_group(self, seat: Seat) -> Self {
        Registrar { seat, seated: true, ..self }
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
        self.standing = None;
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

    fn open_disk(&mut self, ctx: &mut Context<Self>) {
        self.state = State::Opening;
        let (storage, founding) = (self.storage.clone(), self.founding.clone());
        let seat = self.seated.then(|| self.seat.clone());
        let opened = ctx.blocking(move || {
            let seat = seat.map_or_else(|| founding.seat(), Ok)?;
            let (disk, stored) = storage.open(&seat.voters()).map_err(|error| error.to_string())?;
            Ok::<_, String>((seat, disk, stored))
        });
        ctx.delay(self.fetch_timeout, |this, _| {
            let unrecovered = this.seat.is_alone() && this.recovering.is_some();
            if matches!(this.state, State::Opening) || unrecovered {
                let at_most = api::duration::format(this.fetch_timeout);
                this.fail(&format!("reading the registry took longer than {at_most}"));
            }
        });
        ctx.then(opened, |this, result, ctx| {
            if !matches!(this.state, State::Opening) {
                return;
            }
            let (disk, stored) = match result {
                Ok(Ok((seat, disk, stored))) => {
                    this.seat = seat;
                    (disk, stored)
                }
                Ok(Err(error)) => return this.fail(&error),
                Err(_) => return this.fail("opening it ended in a panic"),
            };
            let seed = ctx.uuid().as_u64_pair().0;
            match Member::new(&this.seat, stored, seed, this.snapshot_after, ctx.now()) {
                Ok(member) => {
                    this.state = State::Open(Box::new(Open { member, disk }));
                    if !this.seat.is_alone() {
                        ctx.delay(TICK, Self::tick);
                    }
                    this.read(ctx);
                    this.go_on(ctx);
                }
                Err(error) => this.fail(&error.to_string()),
            }
        });
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

    /// The registrar of the leader, if it is known.
    fn leader(&self) -> Option<String> {
        let leader = self.member()?.leader()?;
        self.seat.upid(leader).map(Upid::to_string)
    }

    /// The members of the group, as far as this one knows them; none before the registry is open.
    pub fn members(&self, ctx: &Context<Self>) -> Vec<MemberStatus> {
        let Some(member) = self.member() else { return Vec::new() };
        let ids = self.seat.members.keys();
        ids.map(|&id| MemberStatus {
            host_port: self.host_port(id, ctx),
            id,
            voter: true,
            leader: member.leader() == Some(id),
            matched: member.matched(id),
            heard_ms_ago: self.heard.get(&id).map(|at| (ctx.now() - *at).as_millis() as u64),
        })
        .collect()
    }

    fn host_port(&self, id: u64, ctx: &Context<Self>) -> String {
        match &self.founding {
            Founding::Group { .. } => self.founding.masters().get(id as usize - 1).map(HostPort::to_string),
            Founding::Alone => None,
        }
        .unwrap_or_else(|| self.seat.upid(id).map_or(ctx.address(), Upid::address).to_string())
    }

    fn standing(&self, ctx: &Context<Self>) -> Standing {
        let member = self.member();
        let masters = self.seat.members.keys().map(|&id| self.host_port(id, ctx)).collect();
        let leader = member.filter(|it| it.leader().is_some() && it.machine().recovered_in() == it.term());
        Standing {
            term: member.map_or(0, Member::term),
            leads: member.is_some_and(Member::has_begun),
            leader: leader.and_then(|it| it.machine().registry().master().cloned()),
            masters,
        }
    }

    /// Says how things stand, if that is news.
    fn tell(&mut self, ctx: &Context<Self>) {
        let Some(told) = &self.told else { return };
        let standing = self.standing(ctx);
        if self.standing.as_ref() != Some(&standing) {
            told(Ok(standing.clone()));
            self.standing = Some(standing);
        }
    }

    fn tick(&mut self, ctx: &mut Context<Self>) {
        let State::Open(open) = &mut self.state else { return };
        ctx.delay(TICK, Self::tick);
        open.member.tick(ctx.now());
        let mut given_up = Vec::new();
        for (&to, outgoing) in &mut self.outgoing {
            match outgoing.tick() {
                Ok(Some(piece)) => {
                    if let Some(upid) = self.seat.upid(to) {
                        ctx.send(upid, piece);
                    }
                }
                Ok(None) => {}
                Err(()) => given_up.push(to),
            }
        }
        for to in given_up {
            self.outgoing.remove(&to);
            open.member.snapshot_sent(to, false);
        }
        self.go_on(ctx);
    }

    fn raft_message(&mut self, from: &Upid, message: RaftMessage, ctx: &mut Context<Self>) {
        if let Some(from) = self.seat.member_at(from) {
            self.receive(from, &message.bytes, ctx);
        }
    }

    fn receive(&mut self, from: u64, bytes: &[u8], ctx: &mut Context<Self>) {
        let State::Open(open) = &mut self.state else { return };
        self.heard.insert(from, ctx.now());
        match open.member.receive(from, bytes, ctx.now()) {
            Ok(()) => self.go_on(ctx),
            Err(error) => self.fail(&error.to_string()),
        }
    }

    fn piece(&mut self, from: &Upid, piece: Piece, ctx: &mut Context<Self>) {
        let Some(member) = self.seat.member_at(from) else { return };
        let Some((receipt, whole)) = self.incoming.entry(member).or_default().take(piece) else { return };
        ctx.send(from, receipt);
        if let Some(bytes) = whole {
            self.receive(member, &bytes, ctx);
        }
    }

    fn piece_received(&mut self, from: &Upid, receipt: PieceReceived, ctx: &mut Context<Self>) {
        let (Some(member), State::Open(open)) = (self.seat.member_at(from), &mut self.state) else { return };
        let Some(outgoing) = self.outgoing.get_mut(&member) else { return };
        match outgoing.receipt(&receipt) {
            None => {}
            Some(Arrival::Partly) => ctx.send(from, outgoing.piece()),
            Some(Arrival::Whole) => {
                self.outgoing.remove(&member);
                open.member.snapshot_sent(member, true);
                self.go_on(ctx);
            }
        }
    }

    /// Proposes what waits, and does what the member says. Follows every event.
    fn go_on(&mut self, ctx: &mut Context<Self>) {
        self.propose(ctx);
        let State::Open(open) = &mut self.state else { return };
        let Output { messages, write, applied } = match open.member.output() {
            Ok(output) => output,
            Err(error) => return self.fail(&error.to_string()),
        };
        let job = open.member.snapshot_due();
        // Before anything is said that lets another be elected.
        self.lease.set(open.member.term(), open.member.lease_until());
        for message in messages {
            self.send(message, ctx);
        }
        if let Some(write) = write {
            self.write(write, ctx);
        }
        for batch in applied {
            self.answer(batch, ctx);
        }
        if let Some(job) = job {
            Self::make_snapshot(job, ctx);
        }
        self.tell(ctx);
    }

    fn propose(&mut self, ctx: &mut Context<Self>) {
        let State::Open(open) = &mut self.state else { return };
        let member = &mut open.member;
        if !member.is_raft_leader() {
            let leader = self.leader();
            let proposed = std::mem::take(&mut self.proposed).into_values().flat_map(|(_, asked)| asked);
            let queued = std::mem::take(&mut self.queue).into_iter().map(|(_, asked)| asked);
            proposed.chain(queued).for_each(|asked| asked.not_leading(&leader));
            if self.told.is_some() {
                self.give_up_recovery();
            }
            return;
        }
        if let Some(recovering) = self.recovering.as_mut().filter(|it| it.asked != Some(member.term())) {
            recovering.asked = Some(member.term());
            self.queue.insert(0, (recovering.operation.clone(), Asked::Recover));
        }
        if member.is_writing() {
            return;
        }
        let mut queue = std::mem::take(&mut self.queue).into_iter().peekable();
        while queue.peek().is_some() {
            let (mut operations, mut asked, mut size) = (Vec::new(), Vec::new(), 0);
            while size < ENTRY
                && let Some((mut operation, who)) = queue.next()
            {
                let since = member.applied();
                operation
                    .ticket
                    .get_or_insert_with(|| Ticket { id: ctx.uuid().into_bytes().to_vec(), since });
                size += operation.encoded_len();
                operations.push(operation);
                asked.push(who);
            }
            match member.propose(&Batch { operations }) {
                Some((index, term)) => {
                    self.proposed.insert(index, (term, asked));
                }
                None => {
                    asked.into_iter().for_each(|asked| asked.not_leading(&None));
                    if let Some(recovering) = &mut self.recovering {
                        recovering.asked = None;
                    }
                }
            }
        }
    }

    fn send(&mut self, message: Message, ctx: &mut Context<Self>) {
        let Some(upid) = self.seat.upid(message.to) else { return };
        let Ok(bytes) = message.write_to_bytes() else { return };
        if message.get_msg_type() == MessageType::MsgSnapshot {
            let outgoing = Outgoing::new(ctx.uuid().as_u64_pair().0, bytes);
            ctx.send(upid, outgoing.piece());
            self.outgoing.insert(message.to, outgoing);
        } else {
            ctx.send(upid, RaftMessage { bytes });
        }
    }

    fn write(&mut self, write: Write, ctx: &mut Context<Self>) {
        let State::Open(open) = &mut self.state else { return };
        let began = ctx.now();
        let job = open.disk.submit(write);
        let written = ctx.blocking(job);
        self.turn += 1;
        let (turn, at_most) = (self.turn, self.store_timeout);
        // The disk may hang, and a master that cannot write must not seem to work.
        ctx.delay(at_most, move |this, _| {
            if this.turn == turn && matches!(this.state, State::Open(_)) {
                this.fail(&format!(
                    "writing the registry took longer than {}",
                    api::duration::format(at_most)
                ));
            }
        });
        ctx.then(written, move |this, result, ctx| {
            this.turn += 1;
            let State::Open(open) = &mut this.state else { return };
            match result {
                Ok(Ok(())) => {
                    if this.recovering.is_none() {
                        let window = Duration::from_secs(86_400);
                        ctx.metrics().timer("registrar/state_store", window).record(ctx.now() - began);
                    }
                    open.member.persisted();
                    this.go_on(ctx);
                }
                Ok(Err(error)) => this.fail(&error.to_string()),
                Err(_) => this.fail("writing it ended in a panic"),
            }
        });
    }

    fn make_snapshot(job: SnapshotJob, ctx: &mut Context<Self>) {
        let SnapshotJob { index, term, machine } = job;
        let image = ctx.blocking(move || machine.to_image());
        ctx.then(image, move |this, image, ctx| {
            let State::Open(open) = &mut this.state else { return };
            match image {
                Ok(image) => {
                    open.member.snapshot_made(index, term, image);
                    this.go_on(ctx);
                }
                Err(_) => this.fail("making a snapshot of it ended in a panic"),
            }
        });
    }

    fn answer(&mut self, batch: Applied, ctx: &mut Context<Self>) {
        let Some((term, asked)) = self.proposed.remove(&batch.index) else { return };
        for (asked, outcome) in asked.into_iter().zip(batch.outcomes) {
            match asked {
                // Another leader's batch took the place.
                asked if term != batch.term => asked.not_leading(&None),
                Asked::Operation(promise) => {
                    promise.set(Ok(outcome));
                }
                Asked::Recover => {
                    let (Some(recovering), State::Open(open)) = (self.recovering.take(), &self.state) else {
                        continue;
                    };
                    let took = ctx.now() - recovering.began;
                    ctx.metrics().timer("registrar/state_fetch", None).record(took);
                    recovering.promise.set(Ok(open.member.machine().registry().clone()));
                }
            }
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
        self.readers.clear();
        self.outgoing.clear();
        self.incoming.clear();
    }

    /// Shows the registry to those who wait to see it.
    fn read(&mut self, ctx: &mut Context<Self>) {
        let State::Open(open) = &self.state else { return };
        let readers = std::mem::take(&mut self.readers);
        if readers.is_empty() {
            return;
        }
        let machine: Arc<Machine> = Arc::clone(open.member.machine());
        // The readers have their answers from there.
        drop(ctx.blocking(move || {
            let json = api::json::to_vec(&machine.registry().to_proto());
            for reader in readers {
                reader.set(Response::json(json.clone()));
            }
        }));
    }

    fn registry(&mut self, _: Request, ctx: &mut Context<Self>) -> Answer {
        if matches!(self.state, State::Closed | State::Failed(_)) {
            let status = libprocess::http::StatusCode::SERVICE_UNAVAILABLE;
            return Response::text(status, "The registry is not available").into();
        }
        let (promise, future) = Promise::new();
        self.readers.push(promise);
        self.read(ctx);
        future.into()
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
        ctx.route_with("/registry", RouteOptions::help("The registry, as JSON."), Self::registry);
        ctx.pull_gauge("registrar/queued_operations", |this| this.queue.len() as f64);
        ctx.pull_gauge("registrar/log/ensemble_size", |this| this.seat.members.len() as f64);
        ctx.pull_gauge("registrar/log/recovered", |this| f64::from(u8::from(this.member().is_some())));
    }
}
