//! Requests and responses between two operating-system processes over loopback.
//!
//! Run alone it starts itself a second time as the server. Each process has one worker, two cores in all.
//! Clients keep a fixed number of requests outstanding; a response is answered by the next request.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use libprocess::{Context, DecodeError, Id, Message, Node, Process, Promise, Runtime, Upid};

/// A body of a given size, carried as it is.
struct Payload<const REQUEST: bool>(Vec<u8>);

impl<const REQUEST: bool> Message for Payload<REQUEST> {
    fn name() -> &'static str {
        if REQUEST { "bench.Request" } else { "bench.Response" }
    }
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
    }
    fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        Ok(Payload(body.to_vec()))
    }
}

type Request = Payload<true>;
type Response = Payload<false>;

struct Server;

impl Server {
    fn request(&mut self, request: Request, ctx: &mut Context<Self>) {
        ctx.reply(Payload::<false>(request.0));
    }
}

impl Process for Server {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.install(Self::request);
    }
}

struct Client {
    server: Upid,
    size: usize,
    n_outstanding: usize,
    /// Requests yet to be sent, and responses yet to come.
    left: usize,
    awaited: usize,
    done: Option<Promise<()>>,
}

impl Client {
    fn ask(&mut self, body: Vec<u8>, ctx: &mut Context<Self>) {
        if self.left > 0 {
            self.left -= 1;
            ctx.send(&self.server, Payload::<true>(body));
        }
    }
    fn response(&mut self, response: Response, ctx: &mut Context<Self>) {
        assert_eq!(response.0.len(), self.size, "an answer to another question");
        self.awaited -= 1;
        if self.awaited == 0
            && let Some(done) = self.done.take()
        {
            done.set(());
        }
        self.ask(response.0, ctx);
    }
}

impl Process for Client {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.install(Self::response);
        for _ in 0..self.n_outstanding {
            self.ask(vec![7; self.size], ctx);
        }
    }
}

fn node() -> Node {
    let runtime = Runtime::new(1).expect("a thread");
    Node::builder().listen("127.0.0.1:0").runtime(runtime).start().expect("a node on loopback")
}

fn serve() {
    let node = node();
    let server = node.spawn("server", Server).expect("the id is free");
    println!("{server}");
    // Until the parent goes.
    let _ = std::io::stdin().lines().next();
}

/// How long `n` requests take altogether.
fn measure(
    node: &Node,
    server: &Upid,
    n_clients: usize,
    n_outstanding: usize,
    size: usize,
    n: usize,
) -> Duration {
    let start = Instant::now();
    let ends: Vec<_> = (0..n_clients)
        .map(|_| {
            let (promise, future) = Promise::new();
            let each = n / n_clients;
            let client = Client {
                server: server.clone(),
                size,
                n_outstanding,
                left: each,
                awaited: each,
                done: Some(promise),
            };
            (node.spawn(Id::prefix("client"), client).expect("ids are drawn"), future)
        })
        .collect();
    for (client, end) in ends {
        end.wait(Duration::from_secs(120)).expect("all requests are answered");
        node.terminate(&client);
    }
    start.elapsed()
}

fn main() {
    if std::env::args().nth(1).as_deref() == Some("serve") {
        return serve();
    }
    let program = std::env::current_exe().expect("the path of this program");
    let mut child = Command::new(program)
        .arg("serve")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a second process");
    let mut line = String::new();
    let output = child.stdout.take().expect("piped");
    BufReader::new(output).read_line(&mut line).expect("the server's address");
    let server: Upid = line.trim().parse().expect("a process");
    let node = node();
    measure(&node, &server, 1, 1, 3, 1000);
    for (size, wanted) in [(3, 500_000.0), (1024, 300_000.0)] {
        measure(&node, &server, 8, 250, size, 100_000);
        let n = 2_000_000;
        let rate = n as f64 / measure(&node, &server, 8, 250, size, n).as_secs_f64();
        println!(
            "two processes, 8 clients x 250 outstanding, {size} bytes: {rate:.0} pairs/s ({:.2} x the {wanted} promised)",
            rate / wanted
        );
    }
    let n = 50_000;
    let micros = measure(&node, &server, 1, 1, 3, n).as_secs_f64() * 1e6 / n as f64;
    println!(
        "two processes, 1 client x 1 outstanding, 3 bytes: {micros:.1} us a pair ({:.2} x the 50 us promised)",
        micros / 50.0
    );
    if let Some(mut stdin) = child.stdin.take() {
        let _ = stdin.write_all(b"\n");
    }
    let _ = child.wait();
}
