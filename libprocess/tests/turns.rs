//! A worker that has much to do shares its time with the connections and timers of its thread.

#![allow(clippy::unwrap_used, reason = "a test says what is wrong by failing")]
#![allow(clippy::disallowed_methods, reason = "a test waits with a deadline")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::time::{Duration, Instant};

use libprocess::{Context, Message, Node, Process, Runtime, Upid};
use serde::{Deserialize, Serialize};

const SOON: Duration = Duration::from_secs(30);

/// How long an event of the busy process takes, how many are queued, and behind how many of them nobody waits.
const EVENT: Duration = Duration::from_millis(1);
const N_EVENTS: usize = 3_000;
const FEW: usize = 750;

#[derive(Debug, Serialize, Deserialize, Message)]
struct Hello;

#[derive(Debug, Serialize, Deserialize, Message)]
struct Welcome;

/// Serves long events.
struct Busy;

impl Process for Busy {}

fn work(served: &AtomicUsize) {
    let until = Instant::now() + EVENT;
    while Instant::now() < until {
        std::hint::spin_loop();
    }
    served.fetch_add(1, Ordering::Relaxed);
}

/// Says how much had been served when it heard something.
struct Listener {
    served: Arc<AtomicUsize>,
    heard: Sender<(&'static str, usize)>,
}

impl Listener {
    fn note(&mut self, what: &'static str) {
        self.heard.send((what, self.served.load(Ordering::Relaxed))).unwrap();
    }

    fn hello(&mut self, _: Hello, ctx: &mut Context<Self>) {
        self.note("message");
        ctx.reply(Welcome);
    }
}

impl Process for Listener {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.install(Self::hello);
    }
}

/// On another node; says when it was answered.
struct Caller {
    listener: Upid,
    served: Arc<AtomicUsize>,
    heard: Sender<(&'static str, usize)>,
}

impl Caller {
    fn welcome(&mut self, _: Welcome, _: &mut Context<Self>) {
        self.heard.send(("answer", self.served.load(Ordering::Relaxed))).unwrap();
    }
}

impl Process for Caller {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.install(Self::welcome);
        ctx.send(&self.listener, Hello);
    }
}

#[test]
fn messages_from_other_nodes_and_timers_do_not_wait_for_all_that_is_queued() {
    let (heard, hears) = mpsc::channel();
    let served = Arc::new(AtomicUsize::new(0));
    let busy_node = Node::builder().listen("127.0.0.1:0").runtime(Runtime::new(1).unwrap()).start().unwrap();
    let listener = Listener { served: served.clone(), heard: heard.clone() };
    let listener = busy_node.spawn("listener", listener).unwrap();
    let busy = busy_node.spawn("busy", Busy).unwrap();

    // The way is open before the work begins.
    let other = Node::builder().listen("127.0.0.1:0").runtime(Runtime::new(1).unwrap()).start().unwrap();
    let caller = || Caller {
        listener: Upid::new("listener", busy_node.address()),
        served: served.clone(),
        heard: heard.clone(),
    };
    other.spawn("first", caller()).unwrap();
    for what in ["message", "answer"] {
        assert_eq!(hears.recv_timeout(SOON).unwrap(), (what, 0));
    }

    listener.call(|_, ctx| drop(ctx.delay(EVENT * 20, |listener, _| listener.note("timer"))));
    for _ in 0..N_EVENTS {
        let served = served.clone();
        busy.call(move |_, _| work(&served));
    }
    other.spawn("second", caller()).unwrap();
    for _ in 0..3 {
        let (what, n) = hears.recv_timeout(SOON).unwrap();
        assert!(n < FEW, "the {what} waited for {n} events of {EVENT:?}");
    }
    for node in [&busy_node, &other] {
        node.shutdown().wait(SOON).unwrap();
    }
}
