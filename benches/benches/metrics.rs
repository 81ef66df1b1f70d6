//! `cargo bench -p mesos-benches --bench metrics`: what it costs to read a node's metrics over HTTP, and how
//! fast its HTTP is.
//!
//! A node in this process has 10,000 counters beside its own metrics; a client on a kept connection asks for
//! `/metrics/snapshot` 200 times, and the median counts. The limit on how often that may be asked is off. Then
//! clients ask a route that answers "ok": on one connection, one request at a time; on 8 connections, one at
//! a time each; and on 8 connections, 32 requests outstanding each. The clients share the cores with the node.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use benches::http::Connection;
use benches::{Reach, note, percentile, print_load, rate, row};
use libprocess::http::{Request, Response};
use libprocess::{Context, Node, Process};

const N_COUNTERS: usize = 10_000;
const N_CLIENTS: u64 = 8;

struct Trivial;

impl Trivial {
    fn ok(&mut self, _: Request, _: &mut Context<Self>) -> Response {
        Response::ok().body("ok")
    }
}

impl Process for Trivial {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.route("/ok", Self::ok);
        ctx.route_shared("/shared", Default::default(), |_| Response::ok().body("ok").into());
    }
}

/// Asks `n` times with `depth` requests outstanding; the time of each answer since the one before, in
/// milliseconds.
fn ask(to: SocketAddr, path: &str, n: u64, depth: u64) -> Vec<f64> {
    let mut connection = Connection::open(to).expect("the node accepts");
    let request = connection.get_request(path);
    let (mut sent, mut body) = (0, Vec::new());
    let mut took = Vec::new();
    let mut since = Instant::now();
    for received in 0..n {
        // A whole batch when half of it is back, as a client with a queue would.
        if sent - received <= depth / 2 && sent < n {
            let batch = (depth - (sent - received)).min(n - sent);
            connection.send(&request.repeat(batch as usize)).expect("the node reads");
            sent += batch;
        }
        let head = connection.read_response(&mut body).expect("the node answers");
        assert_eq!(head.status, 200, "{path}");
        took.push(since.elapsed().as_secs_f64() * 1e3);
        since = Instant::now();
    }
    took
}

fn requests_per_second(to: SocketAddr, path: &str, depth: u64) -> f64 {
    const EACH: u64 = 20_000;
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..N_CLIENTS {
            scope.spawn(|| ask(to, path, EACH, depth));
        }
    });
    rate(N_CLIENTS * EACH, start.elapsed())
}

fn main() {
    // SAFETY: no other thread runs yet that could read the environment.
    unsafe { std::env::set_var("LIBPROCESS_METRICS_SNAPSHOT_ENDPOINT_RATE_LIMIT", "") };
    print_load();
    let node = Node::builder().listen("127.0.0.1:0").start().expect("a node");
    node.spawn("trivial", Trivial).expect("spawned");
    let to = node.address();
    for n in 0..N_COUNTERS {
        node.metrics().counter(&format!("bench/counters/number_{n}")).add(n as i64);
    }
    let mut body = Vec::new();
    Connection::open(to).and_then(|mut it| it.get("/metrics/snapshot", &mut body)).expect("a snapshot");
    let snapshot: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(&body).expect("the snapshot is JSON");
    assert!(snapshot.len() >= N_COUNTERS, "only {} metrics", snapshot.len());
    assert_eq!(snapshot["bench/counters/number_9999"], 9999.0);

    let median = percentile(&mut ask(to, "/metrics/snapshot", 200, 1), 0.5);
    row("/metrics/snapshot with 10,000 counters, median", median, "ms", Reach::AtMost(5.0));
    note("  of which bytes", body.len() as f64, "bytes");
    for (name, path) in [("by an actor", "/trivial/ok"), ("off the actor", "/trivial/shared")] {
        let mut one = ask(to, path, 20_000, 1);
        let micros = percentile(&mut one, 0.5) * 1e3;
        note(&format!("GET answered {name}, one client, median"), micros, "µs");
        let per_second = requests_per_second(to, path, 1);
        note(&format!("GET answered {name}, 8 clients, one at a time"), per_second, "requests/s");
        let per_second = requests_per_second(to, path, 32);
        note(&format!("GET answered {name}, 8 clients, 32 outstanding"), per_second, "requests/s");
    }
    let _ = node.shutdown().wait(Duration::from_secs(5));
    std::process::exit(0);
}
