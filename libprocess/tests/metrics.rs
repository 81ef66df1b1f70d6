//! Counting and measuring, from processes and from outside.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use libprocess::metrics::Queued;
use libprocess::{Context, Node, Process};

const SOON: Duration = Duration::from_secs(10);

struct Clerk {
    desks: f64,
}

impl Process for Clerk {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.metrics().counter("clerk/letters").add(3);
        ctx.metrics().gauge("clerk/pending").set(1.5);
        ctx.pull_gauge("clerk/desks", |clerk| clerk.desks);
        ctx.pull_gauge("clerk/chairs", |clerk| clerk.desks * 2.0);
    }
}

#[test]
fn a_snapshot_asks_the_processes_and_is_sorted() {
    let node = Node::local().unwrap();
    node.spawn("clerk", Clerk { desks: 4.0 }).unwrap().dispatch(|_, _| ()).wait(SOON).unwrap();
    node.metrics().counter("a").inc();
    let snapshot = node.metrics().snapshot(None).wait(SOON).unwrap();
    let all: Vec<_> = snapshot.samples().iter().map(|sample| (&*sample.name, sample.value)).collect();
    assert_eq!(
        all,
        [
            ("a", 1.0),
            ("clerk/chairs", 8.0),
            ("clerk/desks", 4.0),
            ("clerk/letters", 3.0),
            ("clerk/pending", 1.5)
        ]
    );
}

#[test]
fn metrics_go_with_their_process_and_those_of_the_node_stay() {
    let node = Node::local().unwrap();
    node.metrics().gauge("stays").set(1.0);
    let clerk = node.spawn("clerk", Clerk { desks: 4.0 }).unwrap();
    clerk.dispatch(|_, _| ()).wait(SOON).unwrap();
    node.terminate(&clerk);
    node.wait(&clerk).wait(SOON).unwrap();
    let snapshot = node.metrics().snapshot(None).wait(SOON).unwrap();
    assert_eq!(snapshot.samples().len(), 1);
    assert_eq!(snapshot.get("stays"), Some(1.0));
}

#[test]
fn a_busy_process_is_left_out_when_time_is_up() {
    let node = Node::local().unwrap();
    node.clock().pause();
    let clerk = node.spawn_on(0, "clerk", Clerk { desks: 4.0 }).unwrap();
    clerk.dispatch(|_, _| ()).wait(SOON).unwrap();
    let (open, gate) = std::sync::mpsc::channel::<()>();
    clerk.call(move |_, _| {
        let _ = gate.recv_timeout(SOON);
    });
    let snapshot = node.metrics().snapshot(Some(Duration::from_secs(5)));
    node.clock().advance(Duration::from_secs(5));
    let snapshot = snapshot.wait(SOON).unwrap();
    open.send(()).unwrap();
    assert_eq!(snapshot.get("clerk/letters"), Some(3.0));
    assert_eq!(snapshot.get("clerk/desks"), None);
}

#[test]
fn what_waits_in_a_queue_is_counted_by_kind() {
    struct Busy;
    impl Process for Busy {
        fn initialize(&mut self, ctx: &mut Context<Self>) {
            ctx.queue_gauge("busy/messages", Queued::Messages);
            ctx.queue_gauge("busy/dispatches", Queued::Dispatches);
            ctx.pull_gauge("busy/pulled", |_| 1.0);
        }
    }
    let node = Node::local().unwrap();
    let busy = node.spawn("busy", Busy).unwrap();
    busy.dispatch(|_, _| ()).wait(SOON).unwrap();
    let idle = node.metrics().snapshot(None).wait(SOON).unwrap();
    assert_eq!((idle.get("busy/messages"), idle.get("busy/dispatches")), (Some(0.0), Some(0.0)));
    let (open, gate) = std::sync::mpsc::channel::<()>();
    let (arrive, arrived) = std::sync::mpsc::channel::<()>();
    busy.call(move |_, _| {
        arrive.send(()).unwrap();
        let _ = gate.recv_timeout(SOON);
    });
    arrived.recv_timeout(SOON).unwrap();
    busy.call(|_, _| ());
    busy.call(|_, _| ());
    let snapshot = node.metrics().snapshot(None);
    open.send(()).unwrap();
    let snapshot = snapshot.wait(SOON).unwrap();
    assert_eq!((snapshot.get("busy/messages"), snapshot.get("busy/pulled")), (Some(0.0), Some(1.0)));
    assert_eq!(snapshot.get("busy/dispatches"), Some(2.0), "and what asks does not count");
}

#[test]
fn a_name_asked_for_twice_is_one_metric() {
    let node = Node::local().unwrap();
    let (one, two) = (node.metrics().counter("n"), node.metrics().counter("n"));
    one.inc();
    two.add(2);
    assert_eq!(one.get(), 3);
    node.metrics().gauge("n").set(0.5);
    assert_eq!(node.metrics().snapshot(None).wait(SOON).unwrap().get("n"), Some(0.5));
    assert!(node.metrics().remove("n"));
    assert!(!node.metrics().remove("n"));
}

#[test]
fn a_timer_shows_its_last_value_and_with_a_window_percentiles() {
    let node = Node::local().unwrap();
    node.clock().pause();
    let plain = node.metrics().timer("plain", None);
    let windowed = node.metrics().timer("windowed", Duration::from_secs(60));
    assert_eq!(node.metrics().snapshot(None).wait(SOON).unwrap().samples().len(), 0);
    for ms in 1..=5 {
        plain.record(Duration::from_millis(ms));
        windowed.record(Duration::from_millis(ms));
    }
    let stopwatch = windowed.start();
    node.clock().advance(Duration::from_millis(6));
    assert_eq!(stopwatch.stop(), Duration::from_millis(6));
    let snapshot = node.metrics().snapshot(None).wait(SOON).unwrap();
    assert_eq!(snapshot.get("plain_ms"), Some(5.0));
    assert_eq!(snapshot.get("plain_ms/count"), None);
    assert_eq!(snapshot.get("windowed_ms"), Some(6.0));
    assert_eq!(snapshot.get("windowed_ms/count"), Some(6.0));
    assert_eq!(snapshot.get("windowed_ms/p50"), Some(3.5));
    assert_eq!(snapshot.get("windowed_ms/p9999").map(|value| value.round()), Some(6.0));
}
