//! `mesos local --chaos SEED`: masters and agents are killed and started again while π is computed, over and over, on
//! the cluster. Each π has to be that of the first computation, which is left in peace.

#![expect(clippy::disallowed_methods, reason = "no actor: it does to a cluster what happens to one")]

use std::fmt;
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use anyhow::Context;
use frameworks::driver::{Masters, node_facing};
use frameworks::pi;
use frameworks::work::{Cancel, ExecutorCommand, Progress, RunState};
use libprocess::Future;
use rand::{Rng as _, SeedableRng as _};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::SHUTDOWN_TIMEOUT;
use super::cluster::Cluster;

const TASKS: u64 = 40;
const POINTS_PER_TASK: u64 = 2_000_000;

/// How long the cluster is left alone between two deeds, in milliseconds.
const BETWEEN: std::ops::Range<u64> = 500..4_000;

/// How long something that was killed stays down, in milliseconds.
const DOWN: std::ops::Range<u64> = 500..6_000;

/// Longer than this no computation takes, whatever is killed meanwhile: it is stuck.
const STUCK: Duration = Duration::from_secs(180);

/// How often it is looked whether there is something to be done or to be said.
const LOOK: Duration = Duration::from_millis(20);

/// What happens beside the killing.
enum News {
    Computed(Result<pi::Summary, pi::PiError>),
    GaveUp(String),
    Interrupted,
}

/// A part of the cluster.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Master(usize),
    Agent(usize),
}

pub(super) fn run(
    cluster: &mut Cluster,
    seed: u64,
    at_most: Option<Duration>,
    interrupted: Future<()>,
) -> anyhow::Result<ExitCode> {
    let (tell, news) = mpsc::channel();
    let interrupt = tell.clone();
    interrupted.settled(move |_| drop(interrupt.send(News::Interrupted)));
    let give_up = tell.clone();
    if let Some(fatal) = cluster.fatal() {
        fatal.settled(move |why| drop(why.map(|why| give_up.send(News::GaveUp(why)))));
    }
    let cancel = Cancel::new();
    let (masters, cancelled) = (cluster.masters()?, cancel.clone());
    let computing = std::thread::Builder::new()
        .name("pi".to_owned())
        .spawn(move || compute(&masters, &tell, &cancelled))
        .context("no thread to compute on")?;
    let mut chaos = Chaos::new(cluster, seed);
    let outcome = chaos.go_on(&news, at_most);
    cancel.cancel();
    // What is down has to be up for the computation to end in order.
    let restored = chaos.restore();
    let _ = computing.join();
    outcome.and(restored)?;
    chaos.say(&chaos.done);
    Ok(ExitCode::SUCCESS)
}

/// Computes π until it is told to stop, as a new framework each time.
fn compute(masters: &Masters, tell: &Sender<News>, cancel: &Cancel) {
    let computed = || -> anyhow::Result<Result<pi::Summary, pi::PiError>> {
        let node = node_facing(masters)?;
        let options = pi::Options {
            tasks: TASKS,
            points_per_task: POINTS_PER_TASK,
            seed: 1,
            executor: ExecutorCommand::this_program("pi-executor")?,
        };
        let computed = pi::run(&node, masters.clone(), options, Silent, cancel);
        let _ = node.shutdown().wait(SHUTDOWN_TIMEOUT);
        Ok(computed)
    };
    while !cancel.is_cancelled() {
        let news = match computed() {
            Ok(computed) => News::Computed(computed),
            Err(error) => News::GaveUp(format!("{error:#}")),
        };
        if tell.send(news).is_err() {
            return;
        }
    }
}

struct Silent;

impl Progress for Silent {
    fn changed(&mut self, _: &RunState) {}
    fn note(&mut self, _: &str) {}
}

/// How often what was done.
#[derive(Default)]
struct Done {
    computations: u32,
    ran_again: u64,
    masters: u32,
    agents: u32,
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Done { computations, ran_again, masters, agents } = self;
        write!(
            f,
            "{computations} computations, all right, with {ran_again} tasks run again; {masters} masters and \
             {agents} agents killed"
        )
    }
}

struct Chaos<'a> {
    cluster: &'a mut Cluster,
    random: Xoshiro256PlusPlus,
    began: Instant,
    /// What is down, and until when.
    down: Vec<(Part, Instant)>,
    next: Instant,
    computed: Instant,
    /// What every computation has to give.
    expected: Option<pi::Estimate>,
    /// Since when nobody leads, after a leader was killed.
    leaderless: Option<Instant>,
    done: Done,
}

impl<'a> Chaos<'a> {
    fn new(cluster: &'a mut Cluster, seed: u64) -> Chaos<'a> {
        let now = Instant::now();
        Chaos {
            cluster,
            random: Xoshiro256PlusPlus::seed_from_u64(seed),
            began: now,
            down: Vec::new(),
            next: now,
            computed: now,
            expected: None,
            leaderless: None,
            done: Done::default(),
        }
    }

    fn say(&self, what: &impl fmt::Display) {
        println!("{:7.1} s  {what}", self.began.elapsed().as_secs_f64());
    }

    fn go_on(&mut self, news: &Receiver<News>, at_most: Option<Duration>) -> anyhow::Result<()> {
        loop {
            match news.recv_timeout(LOOK) {
                Ok(News::Computed(computed)) => self.compare(computed.context("a computation failed")?)?,
                Ok(News::GaveUp(why)) => anyhow::bail!(why),
                Ok(News::Interrupted) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Err(RecvTimeoutError::Timeout) => {}
            }
            let now = Instant::now();
            if at_most.is_some_and(|at_most| self.began.elapsed() > at_most) {
                return Ok(());
            }
            anyhow::ensure!(
                now - self.computed < STUCK,
                "a computation takes longer than {} s: it is stuck",
                STUCK.as_secs()
            );
            self.start_what_was_down_for_long(now)?;
            self.watch_for_a_leader();
            if self.expected.is_some() && now >= self.next {
                self.kill_something();
                self.next = now + Duration::from_millis(self.random.random_range(BETWEEN));
            }
        }
    }

    fn compare(&mut self, summary: pi::Summary) -> anyhow::Result<()> {
        self.computed = Instant::now();
        self.done.computations += 1;
        self.done.ran_again += summary.tasks_failed;
        let expected = *self.expected.get_or_insert(summary.estimate);
        anyhow::ensure!(
            summary.estimate == expected,
            "{summary}, but it was {expected} when nothing was killed"
        );
        match summary.tasks_failed {
            0 => self.say(&summary),
            n => self.say(&format_args!("{summary}, {n} of them run again")),
        }
        Ok(())
    }

    /// At most a minority of the masters is down at a time, or the only one; and never all agents.
    fn kill_something(&mut self) {
        let masters = self.cluster.addresses();
        let agents = self.cluster.agents();
        let is_down = |part| self.down.iter().any(|(down, _)| *down == part);
        let masters_up: Vec<_> = (0..masters.len()).filter(|n| !is_down(Part::Master(*n))).collect();
        let agents_up: Vec<_> = (0..agents.len()).filter(|n| !is_down(Part::Agent(*n))).collect();
        let spare_masters = masters.len().saturating_sub(1).max(2) / 2;
        let may_kill_master = masters.len() - masters_up.len() < spare_masters;
        let may_kill_agent = agents_up.len() > 1;
        let until = Instant::now() + Duration::from_millis(self.random.random_range(DOWN));
        if may_kill_master && (!may_kill_agent || self.random.random_bool(0.5)) {
            let leader = self.cluster.leader();
            // The leader as often as all others together.
            let n = match leader {
                Some(leader) if self.random.random_bool(0.5) => leader,
                _ => masters_up[self.random.random_range(0..masters_up.len())],
            };
            self.cluster.kill_master(n);
            self.done.masters += 1;
            self.down.push((Part::Master(n), until));
            if leader == Some(n) {
                self.leaderless = Some(Instant::now());
                self.say(&format_args!("killed the master at {}, which led", masters[n]));
            } else {
                self.say(&format_args!("killed the master at {}", masters[n]));
            }
        } else if may_kill_agent {
            let n = agents_up[self.random.random_range(0..agents_up.len())];
            self.cluster.kill_agent(n);
            self.done.agents += 1;
            self.down.push((Part::Agent(n), until));
            self.say(&format_args!("killed agent {} at {}", n + 1, agents[n]));
        }
    }

    fn start_what_was_down_for_long(&mut self, now: Instant) -> anyhow::Result<()> {
        while let Some(at) = self.down.iter().position(|(_, until)| *until <= now) {
            let (part, _) = self.down.remove(at);
            self.start(part)?;
        }
        Ok(())
    }

    fn start(&mut self, part: Part) -> anyhow::Result<()> {
        match part {
            Part::Master(n) => {
                let address = self.cluster.addresses()[n];
                self.cluster.start_master(n).with_context(|| format!("the master at {address}"))?;
                self.say(&format_args!("started the master at {address}"));
            }
            Part::Agent(n) => {
                let address = self.cluster.agents()[n];
                self.cluster.start_agent(n).with_context(|| format!("agent {} at {address}", n + 1))?;
                self.say(&format_args!("started agent {} at {address}", n + 1));
            }
        }
        Ok(())
    }

    fn watch_for_a_leader(&mut self) {
        let Some(since) = self.leaderless else { return };
        if let Some(leader) = self.cluster.leader() {
            self.leaderless = None;
            let (address, took) = (self.cluster.addresses()[leader], since.elapsed().as_secs_f64());
            self.say(&format_args!("the master at {address} leads, {took:.2} s later"));
        }
    }

    /// Starts all that is down.
    fn restore(&mut self) -> anyhow::Result<()> {
        let down = std::mem::take(&mut self.down);
        down.into_iter().try_for_each(|(part, _)| self.start(part))
    }
}
