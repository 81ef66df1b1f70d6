//! `cargo bench -p mesos-benches --bench requests`: round trips between processes of one node, 8 clients with
//! 250 requests outstanding each.

use std::sync::mpsc;
use std::time::Duration;

use benches::{Reach, best_of, rate, row, timed};
use libprocess::{Context, Id, Node, Process, Runtime, Upid};
use serde::{Deserialize, Serialize};

const N_CLIENTS: u64 = 8;
const OUTSTANDING: u64 = 250;
const N_REQUESTS: u64 = 500_000;

#[derive(Clone, Copy, Serialize, Deserialize, libprocess::Message)]
struct Request(u64);

#[derive(Clone, Copy, Serialize, Deserialize, libprocess::Message)]
struct Response(u64);

struct Server;

impl Server {
    fn request(&mut self, request: Request, ctx: &mut Context<Self>) {
        ctx.reply(Response(request.0));
    }
}

impl Process for Server {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.install(Self::request);
    }
}

struct Client {
    server: Upid,
    sent: u64,
    answered: u64,
    done: mpsc::Sender<()>,
}

impl Client {
    fn begin(&mut self, ctx: &mut Context<Self>) {
        while self.sent < OUTSTANDING {
            self.sent += 1;
            ctx.send(&self.server, Request(self.sent));
        }
    }

    fn response(&mut self, response: Response, ctx: &mut Context<Self>) {
        std::hint::black_box(response.0);
        self.answered += 1;
        if self.sent < N_REQUESTS {
            self.sent += 1;
            ctx.send(&self.server, Request(self.sent));
        }
        if self.answered == N_REQUESTS {
            let _ = self.done.send(());
        }
    }
}

impl Process for Client {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.install(Self::response);
    }
}

/// How clients and servers are laid out over the workers.
#[derive(Clone, Copy)]
enum Layout {
    /// One server, the clients on all workers.
    OneServer,
    /// A server on each worker, each with the clients beside it.
    ServerPerWorker,
}

fn run(node: &Node, layout: Layout) -> Duration {
    let servers: Vec<_> =
        (0..2).map(|worker| node.spawn_on(worker, Id::prefix("server"), Server).expect("spawned")).collect();
    let (done, told) = mpsc::channel();
    let clients: Vec<_> = (0..N_CLIENTS as usize)
        .map(|n| {
            let server = match layout {
                Layout::OneServer => &servers[0],
                Layout::ServerPerWorker => &servers[n % 2],
            };
            let client = Client { server: server.upid().clone(), sent: 0, answered: 0, done: done.clone() };
            node.spawn_on(n % 2, Id::prefix("client"), client).expect("spawned")
        })
        .collect();
    let took = timed(|| {
        for client in &clients {
            client.call(|client, ctx| client.begin(ctx));
        }
        for _ in &clients {
            told.recv().expect("all answered");
        }
    });
    for upid in clients.iter().map(AsRef::as_ref).chain(servers.iter().map(AsRef::as_ref)) {
        node.terminate(upid);
    }
    took
}

fn main() {
    let node = |n_workers| {
        let runtime = Runtime::new(n_workers).expect("arbiters");
        Node::builder().runtime(runtime).start().expect("a node")
    };
    for (what, n_workers, layout) in [
        ("round trips in one process, one server", 2, Layout::OneServer),
        ("round trips in one process, a server a worker", 2, Layout::ServerPerWorker),
        ("round trips in one process, one server, one worker", 1, Layout::OneServer),
    ] {
        let node = node(n_workers);
        let took = best_of(5, || run(&node, layout));
        let per_second = rate(N_CLIENTS * N_REQUESTS, took) / 1e6;
        row(what, per_second, "million/s", Reach::AtLeast(6.0));
    }
    std::process::exit(0);
}
