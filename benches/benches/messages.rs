//! `cargo bench -p mesos-benches --bench messages`: a message from one process to another on the same node,
//! beside raw actix in the same run.
//!
//! Both sides are driven alike: a sender that sends bursts, and tells itself to go on after each.

use std::sync::mpsc;
use std::time::Duration;

use actix::{Actor, Addr, Arbiter, AsyncContext, System};
use benches::{Reach, best_of, row, timed};
use libprocess::{Context, Node, Pid, Process, Runtime};
use serde::{Deserialize, Serialize};

const N_MESSAGES: u64 = 2_000_000;
/// Messages of 3 KB that are all made beforehand: 300 MB.
const N_LARGE: u64 = 100_000;
const BURST: u64 = 500;
const N_RUNS: usize = 5;

#[derive(Clone, Copy, Serialize, Deserialize, libprocess::Message)]
struct Small(u64);

#[derive(Serialize, Deserialize, libprocess::Message)]
struct Large(Vec<u8>);

#[derive(Clone, Copy, Serialize, Deserialize, libprocess::Message)]
struct GoOn {
    left: u64,
}

struct Counter {
    left: u64,
    done: mpsc::Sender<()>,
    /// Payloads are freed after the time is taken: freeing is as little the library's as making.
    kept: Vec<Vec<u8>>,
}

impl Counter {
    fn count(&mut self) {
        self.left -= 1;
        if self.left == 0 {
            let _ = self.done.send(());
        }
    }
}

impl Process for Counter {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.install(|counter: &mut Counter, _: Small, _: &mut Context<Counter>| counter.count());
        ctx.install(|counter: &mut Counter, large: Large, _: &mut Context<Counter>| {
            counter.kept.push(large.0);
            counter.count();
        });
    }
}

struct Sender {
    to: Pid<Counter>,
    /// Made before the time is taken; empty for the small message.
    payloads: Vec<Vec<u8>>,
}

impl Sender {
    fn go_on(&mut self, go_on: GoOn, ctx: &mut Context<Self>) {
        let burst = go_on.left.min(BURST);
        for n in 0..burst {
            match self.payloads.pop() {
                Some(payload) => ctx.send(&self.to, Large(payload)),
                None => ctx.send(&self.to, Small(n)),
            }
        }
        if go_on.left > burst {
            let me = ctx.pid();
            ctx.send(&me, GoOn { left: go_on.left - burst });
        }
    }
}

impl Process for Sender {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.install(Self::go_on);
    }
}

/// The time for each message.
///
/// With a payload of that many bytes, or as a `Small`, which has none.
fn libprocess_run(node: &Node, workers: (usize, usize), n_messages: u64, payload: Option<usize>) -> Duration {
    let (done, told) = mpsc::channel();
    let counter = Counter { left: n_messages, done, kept: Vec::with_capacity(n_messages as usize) };
    let payloads = payload.map_or_else(Vec::new, |bytes| (0..n_messages).map(|_| vec![7; bytes]).collect());
    let to = node.spawn_on(workers.1, libprocess::Id::prefix("counter"), counter).expect("spawned");
    let sender = Sender { to: to.clone(), payloads };
    let from = node.spawn_on(workers.0, libprocess::Id::prefix("sender"), sender).expect("spawned");
    let took = timed(|| {
        node.send(&from, GoOn { left: n_messages });
        told.recv().expect("counted");
    });
    node.terminate(&from);
    node.terminate(&to);
    took / n_messages as u32
}

#[derive(actix::Message)]
#[rtype(result = "()")]
struct RawSmall(u64);

#[derive(actix::Message)]
#[rtype(result = "()")]
struct RawGoOn {
    left: u64,
}

struct RawCounter(Counter);

impl Actor for RawCounter {
    type Context = actix::Context<Self>;
}

impl actix::Handler<RawSmall> for RawCounter {
    type Result = ();
    fn handle(&mut self, small: RawSmall, _: &mut Self::Context) {
        std::hint::black_box(small.0);
        self.0.count();
    }
}

struct RawSender(Addr<RawCounter>);

impl Actor for RawSender {
    type Context = actix::Context<Self>;
}

impl actix::Handler<RawGoOn> for RawSender {
    type Result = ();
    fn handle(&mut self, go_on: RawGoOn, ctx: &mut Self::Context) {
        let burst = go_on.left.min(BURST);
        for n in 0..burst {
            self.0.do_send(RawSmall(n));
        }
        if go_on.left > burst {
            ctx.address().do_send(RawGoOn { left: go_on.left - burst });
        }
    }
}

fn actix_run(arbiters: (&actix_rt::ArbiterHandle, &actix_rt::ArbiterHandle)) -> Duration {
    let (done, told) = mpsc::channel();
    let counter = Counter { left: N_MESSAGES, done, kept: Vec::new() };
    let to = RawCounter::start_in_arbiter(arbiters.1, move |_| RawCounter(counter));
    let from = RawSender::start_in_arbiter(arbiters.0, move |_| RawSender(to));
    timed(|| {
        from.do_send(RawGoOn { left: N_MESSAGES });
        told.recv().expect("counted");
    }) / N_MESSAGES as u32
}

fn main() {
    let runtime = Runtime::new(2).expect("two arbiters");
    let node = Node::builder().runtime(runtime).start().expect("a node");
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let system = System::new();
        tell.send((Arbiter::new().handle(), Arbiter::new().handle())).expect("told");
        system.run()
    });
    let (first, second) = told.recv().expect("two more arbiters for actix");

    for (what, same) in [("same arbiter", true), ("across arbiters", false)] {
        let workers = (0, usize::from(!same));
        let raw = best_of(N_RUNS, || actix_run((&first, if same { &first } else { &second })));
        let ours = best_of(N_RUNS, || libprocess_run(&node, workers, N_MESSAGES, None));
        let small = best_of(N_RUNS, || libprocess_run(&node, workers, N_LARGE, Some(8)));
        let large = best_of(N_RUNS, || libprocess_run(&node, workers, N_LARGE, Some(3 << 10)));
        // The two differ in nothing but the size of what they carry.
        println!(
            "{what}, a message: actix do_send {raw:?}, libprocess send {ours:?}, with 8 bytes {small:?}, with 3 KB {large:?}"
        );
        let ratio = raw.as_secs_f64() / ours.as_secs_f64();
        row(&format!("send to an installed handler, {what}"), ratio, "x actix", Reach::AtLeast(0.8));
        let moved = small.as_secs_f64() / large.as_secs_f64();
        row(&format!("3 KB against 8 bytes, {what}"), moved, "x 8 bytes", Reach::AtLeast(0.9));
    }
    std::process::exit(0);
}
