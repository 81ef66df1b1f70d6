//! Groups of registrars under simulation: crashes with and without the last unsynced write, partitions of every
//! kind, loss and delay, while a client admits and removes agents and asks again until it is answered.
//!
//! `REGISTRY_SEEDS=10000 cargo test -p mesos-master --lib registry::simulated` runs as many seeds as one likes;
//! `REGISTRY_SEED=17` that one alone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api::v1::{AgentId, AgentInfo, MasterInfo};
use libprocess::sim::{Seed, SimNode, Simulation};
use libprocess::{Id, Pid, Time, Upid};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::group::{ELECTION_TICKS, LEASE, Machine, MemoryDisk, Seat, TICK};
use super::{Founding, Kind, Lease, Operation, Refused, Registrar, RegistrarError, Storage, Ticket};

/// How long the faults go on.
const TROUBLE: Duration = Duration::from_secs(20);

/// After everything is healed: one leader, equal registries, and a new operation acknowledged.
const PEACE: Duration = Duration::from_secs(10);

type Answered = Result<Result<Result<(), Refused>, RegistrarError>, ()>;

/// A change the client wants until it has it.
struct Wish {
    agent: usize,
    kind: Kind,
    ticket: Option<Ticket>,
    /// The answer to the last attempt.
    answer: Arc<Mutex<Option<Answered>>>,
    asked: Option<(usize, Time)>,
}

struct Group {
    sim: Simulation,
    rng: StdRng,
    nodes: Vec<SimNode>,
    disks: Vec<MemoryDisk>,
    pids: Vec<Option<Pid<Registrar>>>,
    leases: Vec<Option<Lease>>,
    members: BTreeMap<u64, Option<Upid>>,
    wishes: Vec<Wish>,
    n_agents: usize,
    /// Agents whose last acknowledged change admitted (true) or removed (false) them.
    acknowledged: BTreeMap<usize, bool>,
    /// Agents for which a change is under way.
    open: BTreeMap<usize, bool>,
    /// By index in the log: term and content of what any member has applied there.
    log: BTreeMap<u64, (u64, Vec<u8>)>,
    /// Per member: up to where its log has been compared.
    seen: Vec<u64>,
    n_acknowledged: usize,
    n_leaders: usize,
    last_leader: Option<(usize, u64)>,
}

fn agent(n: usize) -> AgentId {
    AgentId { value: format!("agent-{n:04}") }
}

fn admitted(machine: &Machine, n: usize) -> bool {
    machine.registry().admitted().any(|(id, _)| *id == agent(n))
}

impl Group {
    fn new(seed: u64, size: usize) -> Group {
        let mut sim = Simulation::new(Seed(seed));
        sim.keep_no_log();
        let nodes: Vec<_> =
            (1..=size).map(|n| sim.node(format!("10.0.0.{n}:5050").parse().unwrap())).collect();
        let upid = |n: usize| format!("registrar(1)@10.0.0.{n}:5050").parse().ok();
        let mut group = Group {
            sim,
            rng: StdRng::seed_from_u64(seed),
            disks: (0..size).map(|_| MemoryDisk::default()).collect(),
            pids: vec![None; size],
            leases: vec![None; size],
            members: (1..=size).map(|n| (n as u64, upid(n))).collect(),
            nodes,
            wishes: Vec::new(),
            n_agents: 0,
            acknowledged: BTreeMap::new(),
            open: BTreeMap::new(),
            log: BTreeMap::new(),
            seen: vec![0; size],
            n_acknowledged: 0,
            n_leaders: 0,
            last_leader: None,
        };
        (0..size).for_each(|n| group.start(n));
        group
    }

    fn start(&mut self, n: usize) {
        self.sim.restart(self.nodes[n]);
        let seat = Seat { id: n as u64 + 1, members: self.members.clone() };
        let timeout = Duration::from_secs(60);
        let registrar =
            Registrar::new(Storage::Kept(self.disks[n].clone()), Founding::Alone, timeout, timeout)
                .in_group(seat)
                .snapshot_after(3_000);
        self.leases[n] = Some(registrar.lease());
        let pid = self.sim.spawn(self.nodes[n], Id::prefix("registrar"), registrar).unwrap();
        let info = MasterInfo { id: format!("master-{n}"), ..Default::default() };
        drop(self.sim.dispatch(&pid, |registrar, ctx| registrar.recover(info, ctx)));
        self.pids[n] = Some(pid);
    }

    fn crash(&mut self, n: usize) {
        if self.pids[n].take().is_some() {
            self.sim.crash(self.nodes[n]);
            self.leases[n] = None;
            let keep = self.rng.random_bool(0.5);
            self.disks[n].crash(keep);
            self.seen[n] = 0;
        }
    }

    /// Looks into a member.
    fn look<R>(&mut self, n: usize, f: impl FnOnce(&super::group::Member) -> R) -> Option<R> {
        let pid = self.pids[n].clone()?;
        self.sim.with(&pid, |registrar| registrar.member().map(f))?
    }

    /// Everything that must hold at any moment.
    fn check(&mut self) {
        let now = self.sim.now();
        let leading: Vec<usize> = (0..self.nodes.len())
            .filter(|&n| self.look(n, |member| member.leads(now)) == Some(true))
            .collect();
        assert!(leading.len() <= 1, "members {leading:?} act as leader at the same time");
        let holding: Vec<usize> = (0..self.nodes.len())
            .filter(|&n| self.leases[n].as_ref().is_some_and(|lease| lease.holds(now)))
            .collect();
        assert_eq!(holding, leading, "who holds a lease, and who leads");
        for n in 0..self.nodes.len() {
            let seen = self.seen[n];
            let Some((applied, entries)) = self.look(n, |member| {
                let applied = member.applied();
                let new = |entry: &&raft::eraftpb::Entry| entry.index > seen && entry.index <= applied;
                let entries: Vec<_> = if applied > seen {
                    let entries = member.entries().iter().filter(new);
                    entries.map(|entry| (entry.index, entry.term, entry.data.to_vec())).collect()
                } else {
                    Vec::new()
                };
                (applied, entries)
            }) else {
                continue;
            };
            self.seen[n] = applied;
            for (index, term, data) in entries {
                let here = (term, data);
                let there = self.log.entry(index).or_insert_with(|| here.clone());
                assert_eq!(*there, here, "member {n} applied something else at {index}");
            }
        }
        if let [n] = leading[..] {
            let term = self.look(n, |member| member.term()).unwrap_or_default();
            if self.last_leader != Some((n, term)) {
                self.last_leader = Some((n, term));
                self.n_leaders += 1;
                self.check_registry(n);
            }
        }
    }

    /// What was acknowledged is in the registry of member `n`, once.
    fn check_registry(&mut self, n: usize) {
        let expected: Vec<(usize, bool)> = self
            .acknowledged
            .iter()
            .filter(|(agent, _)| !self.open.contains_key(agent))
            .map(|(agent, there)| (*agent, *there))
            .collect();
        let Some(machine) = self.look(n, |member| Arc::clone(member.machine())) else { return };
        for (agent, there) in expected {
            assert_eq!(admitted(&machine, agent), there, "agent {agent} at member {n}");
        }
    }

    /// One event, or a jump of the clock, at most to `end`.
    fn step(&mut self, end: Time) {
        let mut first = true;
        let left = end - self.sim.now();
        let _ = self.sim.run_until(left, |_| !std::mem::take(&mut first));
        self.check();
    }

    fn run_for(&mut self, span: Duration) {
        let end = self.sim.now() + span;
        while self.sim.now() < end {
            self.step(end);
        }
    }

    /// Runs into a write of member `n`, if there is one soon.
    fn run_until_writing(&mut self, n: usize) {
        let end = self.sim.now() + Duration::from_millis(200);
        while self.sim.now() < end && self.look(n, |member| member.is_writing()) == Some(false) {
            self.step(end);
        }
        let more = Duration::from_micros(self.rng.random_range(0..1_500));
        self.run_for(more);
    }

    /// A crash, and at once a new start.
    fn blink(&mut self, n: usize) {
        if self.pids[n].is_some() {
            self.crash(n);
            self.start(n);
        }
    }

    /// Who acts as leader.
    fn leader(&mut self) -> Option<usize> {
        let now = self.sim.now();
        (0..self.nodes.len()).find(|&n| self.look(n, |member| member.leads(now)) == Some(true))
    }

    /// Nobody hears of this member any more, nor it of anybody.
    fn isolate(&mut self, n: usize) {
        let mut others = self.nodes.clone();
        let one = others.remove(n);
        self.sim.network().partition(&[one], &others);
    }

    /// A new agent, or a change of one whose last change is acknowledged.
    fn wish(&mut self) {
        let idle: Vec<usize> =
            self.acknowledged.keys().copied().filter(|n| !self.open.contains_key(n)).collect();
        let (n, there) = if idle.is_empty() || self.rng.random_bool(0.5) {
            self.n_agents += 1;
            (self.n_agents, true)
        } else {
            let n = idle[self.rng.random_range(0..idle.len())];
            (n, !self.acknowledged[&n])
        };
        let info = AgentInfo { id: Some(agent(n)), hostname: "h".repeat(100), ..Default::default() };
        let kind = if there { Kind::AdmitAgent(info) } else { Kind::RemoveAgent(agent(n)) };
        self.open.insert(n, there);
        self.wishes.push(Wish { agent: n, kind, ticket: None, answer: Arc::default(), asked: None });
    }

    /// Looks for answers, and asks again where there is none.
    fn attend(&mut self) {
        let now = self.sim.now();
        for mut wish in std::mem::take(&mut self.wishes) {
            let answer = wish.answer.lock().take();
            if let Some(Ok(Ok(outcome))) = answer {
                assert_eq!(
                    outcome,
                    Ok(()),
                    "agent {}: {:?} was done twice, or not before",
                    wish.agent,
                    wish.kind
                );
                if let Some(there) = self.open.remove(&wish.agent) {
                    self.acknowledged.insert(wish.agent, there);
                }
                self.n_acknowledged += 1;
                continue;
            }
            let waiting =
                answer.is_none() && wish.asked.is_some_and(|(_, at)| now - at < Duration::from_millis(700));
            if !waiting {
                self.ask(&mut wish);
            }
            self.wishes.push(wish);
        }
    }

    fn ask(&mut self, wish: &mut Wish) {
        let n = self.rng.random_range(0..self.nodes.len());
        let Some(pid) = self.pids[n].clone() else { return };
        if wish.ticket.is_none() {
            let since = self.look(n, |member| member.applied());
            let id = self.rng.random::<[u8; 16]>().to_vec();
            wish.ticket = since.map(|since| Ticket { id, since });
        }
        let Some(ticket) = wish.ticket.clone() else { return };
        wish.asked = Some((n, self.sim.now()));
        wish.answer = Arc::default();
        let operation = Operation { kind: Some(wish.kind.clone()), ticket: Some(ticket) };
        let answer = Arc::clone(&wish.answer);
        self.sim
            .dispatch(&pid, move |registrar, ctx| registrar.apply(operation, ctx))
            .flatten()
            .settled(move |result| *answer.lock() = Some(result.map_err(|_| ())));
    }

    fn trouble(&mut self) {
        let size = self.nodes.len();
        let n = self.rng.random_range(0..size);
        match self.rng.random_range(0..16) {
            0 | 1 => self.crash(n),
            2..=4 => {
                if self.pids[n].is_none() {
                    self.start(n);
                }
            }
            5 => {
                let other = (n + self.rng.random_range(1..size)) % size;
                let (from, to) = (self.nodes[n], self.nodes[other]);
                self.sim.network().cut(from, to);
            }
            6 => {
                let side: Vec<bool> = (0..size).map(|_| self.rng.random_bool(0.5)).collect();
                let of = |wanted: bool| -> Vec<SimNode> {
                    let nodes = self.nodes.iter().zip(&side);
                    nodes.filter(|(_, side)| **side == wanted).map(|(node, _)| *node).collect()
                };
                let (one, other) = (of(true), of(false));
                self.sim.network().partition(&one, &other);
            }
            7 | 8 => {
                self.sim.network().heal();
            }
            9 => {
                self.run_until_writing(n);
                self.blink(n);
            }
            // The power fails for all of them, where one is writing.
            10 => {
                self.run_until_writing(n);
                (0..size).for_each(|n| self.crash(n));
                (0..size).for_each(|n| self.start(n));
            }
            // The leader is cut off, while those who answered it lose their memory.
            11 | 12 => {
                if let Some(leader) = self.leader() {
                    let others = (0..size).filter(|n| *n != leader);
                    let others: Vec<_> = others.filter(|_| self.rng.random_bool(0.7)).collect();
                    if self.rng.random_bool(0.5) {
                        self.run_until_writing(n);
                    }
                    self.isolate(leader);
                    others.into_iter().for_each(|n| self.blink(n));
                }
            }
            // Some are cut from the leader until they want another one; then it is cut off, while one of the others
            // forgets whom it has heard of last.
            13 => {
                if let Some(leader) = self.leader() {
                    let first = self.rng.random_range(1..size);
                    let others: Vec<_> =
                        (0..size - 1).map(|n| (leader + 1 + (first + n) % (size - 1)) % size).collect();
                    let (estranged, faithful) = others.split_at(size / 2);
                    for &n in estranged {
                        let (leader, n) = (self.nodes[leader], self.nodes[n]);
                        self.sim.network().partition(&[leader], &[n]);
                    }
                    let long = Duration::from_millis(self.rng.random_range(800..2_500));
                    self.run_for(long);
                    self.isolate(leader);
                    self.blink(faithful[0]);
                }
            }
            _ => {
                let loss = [0.0, 0.02, 0.2][self.rng.random_range(0..3)];
                let slowest = [200, 5_000, 30_000, 300_000][self.rng.random_range(0..4)];
                let latency = Duration::from_micros(100)..Duration::from_micros(slowest);
                self.sim.network().loss(loss).duplication(loss / 2.0).latency(latency);
            }
        }
    }

    fn heal(&mut self) {
        let usual = Duration::from_micros(100)..Duration::from_millis(5);
        self.sim.network().heal().loss(0.0).duplication(0.0).latency(usual);
        for n in 0..self.nodes.len() {
            if self.pids[n].is_none() {
                self.start(n);
            }
        }
    }

    fn settled(&mut self) -> bool {
        let now = self.sim.now();
        let size = self.nodes.len();
        let states: Vec<_> = (0..size)
            .filter_map(|n| {
                self.look(n, |member| (member.leads(now), member.applied(), Arc::clone(member.machine())))
            })
            .collect();
        states.len() == size
            && self.wishes.is_empty()
            && states.iter().filter(|(leads, ..)| *leads).count() == 1
            && states.windows(2).all(|pair| pair[0].1 == pair[1].1 && pair[0].2 == pair[1].2)
    }
}

/// One life of a group; gives how many operations were acknowledged, how many leaders there were, and a digest of
/// everything that happened.
fn live(seed: u64, size: usize) -> (usize, usize, u64) {
    let mut group = Group::new(seed, size);
    let end = group.sim.now() + TROUBLE;
    while group.sim.now() < end {
        let pause = Duration::from_millis(group.rng.random_range(1..400));
        group.run_for(pause);
        if group.rng.random_bool(0.5) {
            group.trouble();
        }
        if group.wishes.len() < 20 {
            (0..group.rng.random_range(0..6)).for_each(|_| group.wish());
        }
        group.attend();
    }
    group.heal();
    group.wish();
    let deadline = group.sim.now() + PEACE;
    while !group.settled() {
        assert!(group.sim.now() < deadline, "the group of {size} has not settled");
        group.run_for(Duration::from_millis(100));
        group.attend();
    }
    (0..size).for_each(|n| group.check_registry(n));
    (group.n_acknowledged, group.n_leaders, group.sim.digest())
}

#[test]
fn groups_keep_what_they_acknowledged() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("REGISTRY_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("REGISTRY_SEEDS").unwrap_or(100),
    };
    let n_seeds = seeds.end - seeds.start;
    let (mut acknowledged, mut leaders) = (0, 0);
    for seed in seeds {
        let size = if seed % 4 == 3 { 5 } else { 3 };
        let (n_acknowledged, n_leaders, _) = live(seed, size);
        acknowledged += n_acknowledged;
        leaders += n_leaders;
    }
    println!("{n_seeds} groups: {acknowledged} operations acknowledged, {leaders} changes of leader");
    assert!(n_seeds < 10 || acknowledged as u64 > 20 * n_seeds, "only {acknowledged} operations");
    assert!(n_seeds < 10 || leaders as u64 > 2 * n_seeds, "only {leaders} leaders");
}

#[test]
fn a_seed_replays() {
    assert_eq!(live(5, 3), live(5, 3));
}

#[test]
fn a_member_that_does_not_lead_names_the_leader() {
    let mut group = Group::new(1, 3);
    group.run_for(Duration::from_secs(4));
    let leader = group.leader().expect("a group without faults has a leader");
    let leader_upid = group.pids[leader].as_ref().map(|pid| pid.upid().to_string());
    let follower = group.pids[(leader + 1) % 3].clone().unwrap();
    let operation = Operation::from(Kind::RemoveAgent(agent(1)));
    let answer = Arc::new(Mutex::new(None));
    let answered = Arc::clone(&answer);
    group
        .sim
        .dispatch(&follower, |registrar, ctx| registrar.apply(operation, ctx))
        .flatten()
        .settled(move |result| *answered.lock() = result.ok());
    group.run_for(Duration::from_millis(100));
    assert_eq!(answer.lock().take(), Some(Err(RegistrarError::NotLeading { leader: leader_upid })));
}

/// From the loss of the leader until another one may act: a patience, two rounds of votes, an entry of its own.
#[test]
fn the_next_leader_comes_within_two_seconds() {
    let mut took = Vec::new();
    for seed in 0..20 {
        let mut group = Group::new(seed, 3);
        group.run_for(Duration::from_secs(4));
        let leader = group.leader().expect("a group without faults has a leader");
        group.crash(leader);
        let lost = group.sim.now();
        while group.leader().is_none() {
            group.run_for(Duration::from_millis(10));
            assert!(group.sim.now() - lost < Duration::from_secs(5), "nobody leads, seed {seed}");
        }
        took.push(group.sim.now() - lost);
    }
    took.sort();
    println!("the next leader acts after {:?}, at the latest after {:?}", took[10], took[19]);
    assert!(took[10] < Duration::from_millis(1_500) && took[19] < Duration::from_secs(2), "{took:?}");
}

/// The arithmetic of `docs/failover.md`.
#[test]
fn a_lease_ends_before_a_vote_is_free() {
    let promised = TICK * (ELECTION_TICKS as u32 - 1);
    assert!(LEASE.mul_f64(1.1) < promised, "{LEASE:?} of {promised:?}");
}
