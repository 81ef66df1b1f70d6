//! Groups of registrars under simulation, founded from empty disks: crashes with and without the last unsynced write,
//! disks lost for good, slow or full, clocks that run apart, stops, partitions of every kind, loss and delay, while a client admits and removes agents and asks
//! again until it is answered, and an operator adds, removes and replaces masters and passes on the lead.
//!
//! `REGISTRY_SEEDS=10000 cargo test -p mesos-master --lib registry::simulated` runs as many seeds as one likes;
//! `REGISTRY_SEED=17` that one alone.

mod client;
mod machines;
mod operator;
mod stories;
mod tests;
mod trouble;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api::v1::{AgentId, MasterInfo};
use detector::HostPort;
use libprocess::sim::{Seed, SimNode, Simulation};
use libprocess::{Id, Pid, Time};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::group::{Machine, Member, MemoryDisk};
use super::{Founding, Kind, Lease, Refused, Registrar, RegistrarError, Standing, Storage, Ticket};
use operator::Operator;

/// How long the faults go on.
const TROUBLE: Duration = Duration::from_secs(14);

/// After everything is healed: one leader, equal registries, all masters members, and a new operation acknowledged.
const PEACE: Duration = Duration::from_secs(20);

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

/// What a registrar told last.
type Told = Arc<Mutex<Option<Result<Standing, String>>>>;

struct Group {
    sim: Simulation,
    rng: StdRng,
    nodes: Vec<SimNode>,
    disks: Vec<MemoryDisk>,
    pids: Vec<Option<Pid<Registrar>>>,
    leases: Vec<Option<Lease>>,
    standings: Vec<Told>,
    /// The masters that are told of each other at first; the others are told of these.
    founders: Vec<HostPort>,
    operator: Operator,
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
    AgentId::from(format!("agent-{n:04}"))
}

/// Where a master is.
fn at(n: usize) -> HostPort {
    format!("10.0.0.{}:5050", n + 1).parse().unwrap()
}

fn admitted(machine: &Machine, n: usize) -> bool {
    machine.registry().admitted().any(|(id, _)| *id == agent(n))
}

impl Group {
    /// A group of so many, and others that may join.
    fn new(seed: u64, size: usize, n_others: usize) -> Group {
        let mut group = Group::unstarted(seed, size, n_others);
        group.set_clocks();
        (0..group.nodes.len()).for_each(|n| group.start(n));
        group
    }

    /// The same, with clocks that agree, before anybody runs.
    fn unstarted(seed: u64, size: usize, n_others: usize) -> Group {
        let mut sim = Simulation::new(Seed(seed));
        sim.keep_no_log();
        let all = size + n_others;
        let nodes: Vec<_> = (0..all).map(|n| sim.node(at(n).address().unwrap())).collect();
        Group {
            sim,
            rng: StdRng::seed_from_u64(seed),
            disks: (0..all).map(|_| MemoryDisk::default()).collect(),
            pids: vec![None; all],
            leases: vec![None; all],
            standings: vec![Told::default(); all],
            founders: (0..size).map(at).collect(),
            operator: Operator::default(),
            nodes,
            wishes: Vec::new(),
            n_agents: 0,
            acknowledged: BTreeMap::new(),
            open: BTreeMap::new(),
            log: BTreeMap::new(),
            seen: vec![0; all],
            n_acknowledged: 0,
            n_leaders: 0,
            last_leader: None,
        }
    }

    fn start(&mut self, n: usize) {
        self.sim.restart(self.nodes[n]);
        let founding = Founding::Group { own: at(n), masters: self.founders.clone() };
        let timeout = Duration::from_secs(60);
        let registrar = Registrar::new(Storage::Kept(self.disks[n].clone()), founding, timeout, timeout)
            .snapshot_after(3_000);
        self.leases[n] = Some(registrar.lease());
        let pid = self.sim.spawn(self.nodes[n], Id::prefix("registrar"), registrar).unwrap();
        self.standings[n] = Told::default();
        let (told, back) = (Arc::clone(&self.standings[n]), pid.clone());
        let recover = move |term| {
            let info = MasterInfo { id: format!("master-{n}-{term}"), ..Default::default() };
            drop(back.dispatch(|registrar, ctx| registrar.recover(info, ctx)));
        };
        let hear = move |standing: Result<Standing, String>| {
            let led = told.lock().as_ref().and_then(|it| it.as_ref().ok().map(|it| (it.leads, it.term)));
            if let Ok(Standing { leads: true, term, .. }) = standing
                && led != Some((true, term))
            {
                recover(term);
            }
            *told.lock() = Some(standing);
        };
        drop(self.sim.dispatch(&pid, |registrar, ctx| registrar.open(hear, ctx)));
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
    fn look<R>(&mut self, n: usize, f: impl FnOnce(&Member) -> R) -> Option<R> {
        let pid = self.pids[n].clone()?;
        self.sim.with(&pid, |registrar| registrar.member().map(f))?
    }

    /// Everything that must hold at any moment.
    fn check(&mut self) {
        let leading = self.leading();
        assert!(leading.len() <= 1, "members {leading:?} act as leader at the same time");
        let holding: Vec<usize> = (0..self.nodes.len())
            .filter(|&n| {
                let now = self.sim.now_at(self.nodes[n]);
                self.leases[n].as_ref().is_some_and(|lease| lease.holds(now))
            })
            .collect();
        assert_eq!(holding, leading, "who holds a lease, and who leads");
        for n in 0..self.nodes.len() {
            let failure = self.failure(n);
            assert!(
                failure.as_ref().is_none_or(|why| why.contains("could not write `memory`")),
                "member {n} is out of service: {failure:?}"
            );
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

    /// Who acts as leader.
    fn leader(&mut self) -> Option<usize> {
        self.leading().first().copied()
    }

    fn heal(&mut self) {
        let usual = Duration::from_micros(100)..Duration::from_millis(5);
        self.sim.network().heal().loss(0.0).duplication(0.0).latency(usual);
        self.heal_machines();
        for n in 0..self.nodes.len() {
            if self.pids[n].is_none() {
                self.start(n);
            }
        }
    }

    /// Where the voters are, as the leader has it.
    fn members(&mut self) -> Vec<String> {
        let Some(leader) = self.leader() else { return Vec::new() };
        let members = self.look(leader, |member| {
            let members = &member.machine().members().by_id;
            member.voters().iter().filter_map(|id| members.get(id).cloned()).collect()
        });
        let mut members: Vec<String> = members.unwrap_or_default();
        members.sort_unstable();
        members
    }

    /// What keeps it from settling, for whoever reads of a failure.
    fn describe(&mut self) -> String {
        use std::fmt::Write as _;
        let mut text = format!("{:?}, {} wishes", self.operator, self.wishes.len());
        for n in 0..self.nodes.len() {
            let (pid, now) = (self.pids[n].clone(), self.sim.now_at(self.nodes[n]));
            let waits = pid.and_then(|pid| self.sim.with(&pid, |it| it.waits().map(str::to_owned)).flatten());
            let state = self.look(n, |member| {
                let names: Vec<_> = member.ids().iter().map(|id| (*id, member.role(*id))).collect();
                format!(
                    "{} leads {} term {} leader {:?} applied {} last {} changing {} {names:?} {:?}",
                    member.id(),
                    member.leads(now),
                    member.term(),
                    member.leader(),
                    member.applied(),
                    member.last_index(),
                    member.is_changing(),
                    member.machine().members().by_id,
                )
            });
            let state = state.or_else(|| self.failure(n)).unwrap_or_default();
            let _ = write!(text, "\nmember {n}: {state} {}", waits.unwrap_or_default());
        }
        text
    }

    fn settled(&mut self) -> bool {
        let size = self.nodes.len();
        let mut all: Vec<_> = (0..size).map(|n| at(n).to_string()).collect();
        all.sort_unstable();
        let states: Vec<_> = (0..size)
            .filter_map(|n| {
                let now = self.sim.now_at(self.nodes[n]);
                self.look(n, |member| (member.leads(now), member.applied(), Arc::clone(member.machine())))
            })
            .collect();
        states.len() == size
            && self.wishes.is_empty()
            && self.operator.is_idle()
            && self.members() == all
            && states.iter().filter(|(leads, ..)| *leads).count() == 1
            && states.windows(2).all(|pair| pair[0].1 == pair[1].1 && pair[0].2 == pair[1].2)
    }
}
