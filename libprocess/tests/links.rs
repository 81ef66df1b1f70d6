//! What nodes promise each other over a network.

// Test helpers fail by panicking, as tests do.
#![allow(clippy::unwrap_used)]
#![allow(clippy::disallowed_methods, reason = "a test waits with a deadline")]

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use libprocess::{Context, DecodeError, Message, Node, Pid, Process, Runtime, Upid};
use serde::{Deserialize, Serialize};

const SOON: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Serialize, Deserialize, Message)]
#[message(name = "test.Note")]
struct Note(u64, Vec<u8>);

#[derive(Debug, Serialize, Deserialize, Message)]
#[message(name = "test.Echo")]
struct Echo(u64, Vec<u8>);

/// Keeps what it is told and passes on what it hears of ends.
struct Peer {
    notes: Vec<(Upid, u64, usize)>,
    exited: mpsc::Sender<Upid>,
}

impl Peer {
    fn new() -> (Peer, mpsc::Receiver<Upid>) {
        let (exited, exits) = mpsc::channel();
        (Peer { notes: Vec::new(), exited }, exits)
    }
    fn note(&mut self, from: &Upid, note: Note, _: &mut Context<Self>) {
        self.notes.push((from.clone(), note.0, note.1.len()));
    }
    fn echo(&mut self, echo: Echo, ctx: &mut Context<Self>) {
        ctx.reply(Note(echo.0, echo.1));
    }
}

impl Process for Peer {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.install(Self::note);
        ctx.install(Self::echo);
    }
    fn exited(&mut self, pid: &Upid, _: &mut Context<Self>) {
        let _ = self.exited.send(pid.clone());
    }
}

fn node() -> Node {
    Node::builder().listen("127.0.0.1:0").start().unwrap()
}

/// A node on a thread of its own: what keeps the others busy does not hold up its clock.
fn undisturbed_node() -> Node {
    Node::builder().listen("127.0.0.1:0").runtime(Runtime::new(1).unwrap()).start().unwrap()
}

fn peer(node: &Node, id: &str) -> (Pid<Peer>, mpsc::Receiver<Upid>) {
    let (peer, exits) = Peer::new();
    (node.spawn(id, peer).unwrap(), exits)
}

fn notes(pid: &Pid<Peer>) -> Vec<(Upid, u64, usize)> {
    pid.dispatch(|peer, _| peer.notes.clone()).wait(SOON).unwrap()
}

fn n_notes(pid: &Pid<Peer>) -> usize {
    pid.dispatch(|peer, _| peer.notes.len()).wait(SOON).unwrap()
}

fn numbers(pid: &Pid<Peer>) -> Vec<u64> {
    notes(pid).into_iter().map(|(_, n, _)| n).collect()
}

/// Waits until `done`, for at most `limit`.
fn until_within(limit: Duration, what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < limit, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn until(what: &str, done: impl FnMut() -> bool) {
    until_within(SOON, what, done);
}

/// A reference to a process elsewhere, as it comes out of a message: nothing of it is known here.
fn remote<P>(pid: &Pid<P>) -> Upid {
    pid.to_string().parse().unwrap()
}

fn send(from: &Pid<Peer>, to: &Upid, message: impl Message) {
    let to = to.clone();
    from.call(move |_, ctx| ctx.send(&to, message));
}

fn link(from: &Pid<Peer>, to: &Upid) {
    let to = to.clone();
    from.dispatch(move |_, ctx| ctx.link(&to)).wait(SOON).unwrap();
}

#[test]
fn a_request_is_answered_over_the_link_it_came_by() {
    let (a, b) = (node(), node());
    let ((asker, _), (answerer, _)) = (peer(&a, "asker"), peer(&b, "answerer"));
    send(&asker, &remote(&answerer), Echo(7, vec![1, 2, 3]));
    until("an answer", || numbers(&asker) == [7]);
    assert_eq!(notes(&asker)[0], (answerer.upid().clone(), 7, 3));
}

#[test]
fn messages_of_one_sender_keep_their_order_from_before_the_connection_on() {
    let (a, b) = (node(), node());
    let ((from, _), (to, _)) = (peer(&a, "from"), peer(&b, "to"));
    let target = remote(&to);
    for start in (0..50_000).step_by(1000) {
        let target = target.clone();
        from.call(move |_, ctx| {
            for n in start..start + 1000 {
                ctx.send(&target, Note(n, vec![0; n as usize % 70]));
            }
        });
    }
    until("all to arrive", || n_notes(&to) == 50_000);
    assert_eq!(numbers(&to), (0..50_000).collect::<Vec<_>>());
}

#[test]
fn both_may_begin_at_once() {
    for _ in 0..20 {
        let (a, b) = (node(), node());
        let ((x, x_exits), (y, y_exits)) = (peer(&a, "x"), peer(&b, "y"));
        let (to_x, to_y) = (remote(&x), remote(&y));
        let target = to_y.clone();
        x.call(move |_, ctx| {
            ctx.link(&target);
            (0..1000).for_each(|n| ctx.send(&target, Note(n, vec![])));
        });
        let target = to_x.clone();
        y.call(move |_, ctx| {
            ctx.link(&target);
            (0..1000).for_each(|n| ctx.send(&target, Note(n, vec![])));
        });
        until("all to arrive", || n_notes(&x) == 1000 && n_notes(&y) == 1000);
        assert_eq!(numbers(&x), (0..1000).collect::<Vec<_>>());
        assert_eq!(numbers(&y), (0..1000).collect::<Vec<_>>());
        assert!(x_exits.try_recv().is_err() && y_exits.try_recv().is_err());
        a.terminate(&x);
        assert_eq!(y_exits.recv_timeout(SOON).unwrap(), to_x);
        b.shutdown().wait(SOON).unwrap();
        a.shutdown().wait(SOON).unwrap();
    }
}

#[test]
fn the_end_of_a_linked_process_is_heard_and_of_no_other() {
    let (a, b) = (node(), node());
    let ((linker, exits), (first, _), (second, _)) =
        (peer(&a, "linker"), peer(&b, "first"), peer(&b, "second"));
    link(&linker, &remote(&first));
    link(&linker, &remote(&second));
    b.terminate(&first);
    assert_eq!(exits.recv_timeout(SOON).unwrap(), remote(&first));
    // The link itself lives on.
    send(&linker, &remote(&second), Echo(1, vec![]));
    until("an answer", || numbers(&linker) == [1]);
    assert!(exits.try_recv().is_err());
}

#[test]
fn a_link_to_a_process_that_is_not_there_ends_at_once() {
    let (a, b) = (node(), node());
    let (linker, exits) = peer(&a, "linker");
    let nobody = Upid::new("nobody", b.address());
    link(&linker, &nobody);
    assert_eq!(exits.recv_timeout(SOON).unwrap(), nobody);
}

#[test]
fn a_link_to_an_address_where_nobody_listens_ends() {
    let a = node();
    let (linker, exits) = peer(&a, "linker");
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = Upid::new("nobody", free);
    link(&linker, &nobody);
    assert_eq!(exits.recv_timeout(SOON).unwrap(), nobody);
    link(&linker, &nobody);
    assert_eq!(exits.recv_timeout(SOON).unwrap(), nobody);
}

#[test]
fn a_node_that_shuts_down_is_heard_of_and_found_again() {
    let (a, b) = (node(), node());
    let ((linker, exits), (to, _)) = (peer(&a, "linker"), peer(&b, "to"));
    let to = remote(&to);
    link(&linker, &to);
    send(&linker, &to, Echo(1, vec![]));
    until("an answer", || numbers(&linker) == [1]);
    b.shutdown().wait(SOON).unwrap();
    assert_eq!(exits.recv_timeout(SOON).unwrap(), to);
}

/// Forwards connections to an address, until it is told to stop without closing anything, or to close all.
struct Proxy {
    address: SocketAddr,
    cut: Arc<AtomicBool>,
    streams: Arc<Mutex<Vec<TcpStream>>>,
}

impl Proxy {
    fn to(target: SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let cut = Arc::new(AtomicBool::new(false));
        let streams: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
        let (stop, kept) = (cut.clone(), streams.clone());
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.unwrap();
                let Ok(server) = TcpStream::connect(target) else { continue };
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let stop = stop.clone();
                    kept.lock().unwrap().push(from.try_clone().unwrap());
                    std::thread::spawn(move || {
                        let mut buffer = vec![0; 64 << 10];
                        loop {
                            let n = match from.read(&mut buffer) {
                                Ok(0) | Err(_) => break,
                                Ok(n) => n,
                            };
                            if !stop.load(Ordering::SeqCst) && to.write_all(&buffer[..n]).is_err() {
                                break;
                            }
                        }
                        if !stop.load(Ordering::SeqCst) {
                            let _ = to.shutdown(Shutdown::Both);
                        }
                    });
                }
            }
        });
        Proxy { address, cut, streams }
    }

    fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
    }

    fn close(&self) {
        for stream in self.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

#[test]
fn a_cut_cable_is_noticed_within_seconds_and_a_mended_one_used_again() {
    let (a, b) = (undisturbed_node(), undisturbed_node());
    let proxy = Proxy::to(b.address());
    let ((linker, exits), _to) = (peer(&a, "linker"), peer(&b, "to"));
    let to = Upid::new("to", proxy.address);
    link(&linker, &to);
    send(&linker, &to, Echo(1, vec![]));
    until("an answer", || numbers(&linker) == [1]);
    // Silence alone is nothing to worry about.
    assert!(exits.recv_timeout(Duration::from_secs(5)).is_err());
    proxy.cut();
    let start = Instant::now();
    assert_eq!(exits.recv_timeout(SOON).unwrap(), to);
    let noticed = start.elapsed();
    assert!(noticed > Duration::from_secs(2) && noticed < Duration::from_secs(7), "{noticed:?}");
    proxy.cut.store(false, Ordering::SeqCst);
    send(&linker, &to, Echo(2, vec![]));
    until("an answer", || numbers(&linker) == [1, 2]);
}

#[test]
fn a_broken_connection_is_heard_of_by_every_linker_and_a_new_one_serves() {
    let (a, b) = (node(), node());
    let proxy = Proxy::to(b.address());
    let ((first, first_exits), (second, second_exits)) = (peer(&a, "first"), peer(&a, "second"));
    let _to = peer(&b, "to");
    let to = Upid::new("to", proxy.address);
    link(&first, &to);
    link(&second, &to);
    send(&first, &to, Echo(1, vec![]));
    until("an answer", || numbers(&first) == [1]);
    proxy.close();
    assert_eq!(first_exits.recv_timeout(SOON).unwrap(), to);
    assert_eq!(second_exits.recv_timeout(SOON).unwrap(), to);
    send(&first, &to, Echo(2, vec![]));
    until("an answer", || numbers(&first) == [1, 2]);
}

#[test]
fn a_link_over_a_new_connection_disturbs_no_other_linker() {
    let (a, b) = (node(), node());
    let ((first, first_exits), (second, second_exits)) = (peer(&a, "first"), peer(&a, "second"));
    let (to, to_exits) = peer(&b, "to");
    let target = remote(&to);
    link(&first, &target);
    send(&first, &target, Echo(1, vec![]));
    until("an answer", || numbers(&first) == [1]);
    // The other side has links over the same connection.
    link(&to, &remote(&first));
    let reconnected = target.clone();
    second.dispatch(move |_, ctx| ctx.link_reconnect(&reconnected)).wait(SOON).unwrap();
    send(&second, &target, Echo(2, vec![]));
    until("an answer", || numbers(&second) == [2]);
    send(&to, &remote(&first), Note(3, vec![]));
    until("a message back", || numbers(&first) == [1, 3]);
    // Long enough for the old connection to have ended.
    assert!(first_exits.recv_timeout(Duration::from_secs(2)).is_err());
    assert!(second_exits.try_recv().is_err() && to_exits.try_recv().is_err());
    // All links stand on the new connection.
    a.terminate(&first);
    assert_eq!(to_exits.recv_timeout(SOON).unwrap(), remote(&first));
    b.terminate(&to);
    assert_eq!(second_exits.recv_timeout(SOON).unwrap(), target);
}

/// A connection to `node` that has asked for a link, and what was answered up to the blank line.
fn upgrade(node: &Node, version: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(node.address()).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    write!(
        stream,
        "GET /__link__ HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: libprocess-link/{version}\r\n\
         Libprocess-Address: 127.0.0.1:1\r\n\r\n"
    )
    .unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    (stream, String::from_utf8(head).unwrap())
}

fn greeting(version: u16) -> Vec<u8> {
    let mut bytes = b"lp\x00link\n".to_vec();
    bytes.extend(version.to_le_bytes());
    bytes.extend(77u64.to_le_bytes());
    bytes.push(11);
    bytes.extend(b"127.0.0.1:1");
    bytes
}

/// Reads to the end of `wanted`.
fn read_until(stream: &mut TcpStream, wanted: &[u8]) {
    let mut all = Vec::new();
    while !all.ends_with(wanted) {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        all.push(byte[0]);
    }
}

/// All that comes until the other side closes.
fn rest(mut stream: TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    // A reset after the last byte is an end too.
    let _ = stream.read_to_end(&mut rest);
    rest
}

#[test]
fn a_link_of_another_version_is_refused_by_name() {
    let a = node();
    let (stream, head) = upgrade(&a, "2");
    assert!(head.starts_with("HTTP/1.1 426 "), "{head}");
    let text = String::from_utf8(rest(stream)).unwrap();
    assert_eq!(text, "you speak version 2 of the link, this node version 1\n");
    let (mut stream, head) = upgrade(&a, "1");
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    stream.write_all(&greeting(9)).unwrap();
    rest(stream);
}

#[test]
fn garbage_ends_its_own_connection_only() {
    let (a, b) = (node(), node());
    let ((asker, exits), (answerer, _)) = (peer(&a, "asker"), peer(&b, "answerer"));
    link(&asker, &remote(&answerer));
    let after_greeting: [&[u8]; 5] = [
        b"",
        // A length beyond any bound: refused before the rest is waited for.
        b"\xff\xff\xff\xff",
        // A kind of frame that is none, then a number that was never given, then bytes left over.
        b"\x01\x00\x00\x00\x09",
        b"\x07\x00\x00\x00\x01\x00\x05\x00\x05\x00\x00",
        b"\x02\x00\x00\x00\x00\x00",
    ];
    for garbage in after_greeting {
        let (mut stream, _) = upgrade(&b, "1");
        stream.write_all(&greeting(1)).unwrap();
        stream.write_all(garbage).unwrap();
        if garbage.is_empty() {
            // Ends within a frame.
            stream.write_all(b"\x10\x00\x00\x00\x01").unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
        }
        rest(stream);
    }
    let (mut stream, _) = upgrade(&b, "1");
    stream.write_all(b"not a greeting").unwrap();
    rest(stream);
    send(&asker, &remote(&answerer), Echo(1, vec![]));
    until("an answer", || numbers(&asker) == [1]);
    assert!(exits.try_recv().is_err());
}

#[test]
fn a_peer_that_never_reads_costs_bounded_memory_and_no_one_else_anything() {
    let (a, b) = (undisturbed_node(), undisturbed_node());
    let ((from, _), (to, _)) = (peer(&a, "from"), peer(&b, "to"));
    // Greets as a link, keeps it alive, and never reads.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let deaf = Upid::new("deaf", listener.local_addr().unwrap());
    let greeted = greeting(1);
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\n\r\n").unwrap();
        stream.write_all(&greeted).unwrap();
        while stream.write_all(b"\x01\x00\x00\x00\x00").is_ok() {
            std::thread::sleep(Duration::from_millis(500));
        }
    });
    let before = resident();
    for _ in 0..400 {
        let deaf = deaf.clone();
        from.dispatch(move |_, ctx| ctx.send(&deaf, Blob)).wait(SOON).unwrap();
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < 256 << 20, "grew by {} MiB", grown >> 20);
    send(&from, &remote(&to), Echo(1, vec![]));
    until("an answer", || numbers(&from) == [1]);
}

/// A large message, quickly made.
struct Blob;

impl Message for Blob {
    fn name() -> &'static str {
        "test.Blob"
    }
    fn encode(&self, out: &mut Vec<u8>) {
        out.resize(out.len() + (1 << 20), 7);
    }
    fn decode(_: &[u8]) -> Result<Blob, DecodeError> {
        Ok(Blob)
    }
}

/// This program's memory in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}

/// A node of another kind, played by hand: answers the upgrade as a web server would, then shows requests.
struct Foreign {
    address: SocketAddr,
    requests: mpsc::Receiver<String>,
    streams: mpsc::Receiver<TcpStream>,
}

fn foreign() -> Foreign {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (show, requests) = mpsc::channel();
    let (hand, streams) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = hand.send(stream.try_clone().unwrap());
            let show = show.clone();
            std::thread::spawn(move || {
                let mut text = String::new();
                let mut buffer = [0; 4096];
                while let Ok(n @ 1..) = stream.read(&mut buffer) {
                    text.push_str(std::str::from_utf8(&buffer[..n]).unwrap());
                    while let Some(end) = request_end(&text) {
                        let request: String = text.drain(..end).collect();
                        let upgrade = request.starts_with("GET /__link__ ");
                        let answer: &[u8] = match upgrade {
                            true => b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
                            false => b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n",
                        };
                        let _ = stream.write_all(answer);
                        let _ = show.send(request);
                    }
                }
            });
        }
    });
    Foreign { address, requests, streams }
}

/// Where the first request in `text` ends, if all of it is there.
fn request_end(text: &str) -> Option<usize> {
    let head = text.find("\r\n\r\n")? + 4;
    if !text[..head].contains("Transfer-Encoding: chunked") {
        return Some(head);
    }
    text[head..].find("\r\n0\r\n\r\n").map(|end| head + end + 7)
}

#[test]
fn a_node_of_another_kind_gets_http_requests() {
    let a = node();
    let (from, exits) = peer(&a, "from");
    let foreign = foreign();
    let to = Upid::new("slave(1)", foreign.address);
    link(&from, &to);
    let request = || foreign.requests.recv_timeout(SOON).unwrap();
    assert!(request().starts_with("GET /__link__ HTTP/1.1\r\n"));
    for n in 1..=2u8 {
        send(&from, &to, Note(u64::from(n), b"ab".to_vec()));
        assert_eq!(
            request(),
            format!(
                "POST /slave(1)/test.Note HTTP/1.1\r\nUser-Agent: libprocess/{0}\r\nLibprocess-From: {0}\r\n\
                 Connection: Keep-Alive\r\nHost: {1}\r\nTransfer-Encoding: chunked\r\n\r\n\
                 4\r\n{2}\u{2}ab\r\n0\r\n\r\n",
                from.upid(),
                foreign.address,
                n as char,
            )
        );
    }
    // The upgrade took one connection, everything else one more; its loss is heard of.
    let _probe = foreign.streams.recv_timeout(SOON).unwrap();
    let stream = foreign.streams.recv_timeout(SOON).unwrap();
    assert!(exits.try_recv().is_err() && foreign.streams.try_recv().is_err());
    stream.shutdown(Shutdown::Both).unwrap();
    assert_eq!(exits.recv_timeout(SOON).unwrap(), to);
    // The kind of node is remembered.
    send(&from, &to, Note(3, vec![]));
    assert!(request().starts_with("POST /slave(1)/test.Note HTTP/1.1\r\n"));
}

/// A message of any size, and no codec to slow it down.
struct Bulk(Vec<u8>);

impl Message for Bulk {
    fn name() -> &'static str {
        "test.Bulk"
    }
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
    }
    fn decode(body: &[u8]) -> Result<Bulk, DecodeError> {
        Ok(Bulk(body.to_vec()))
    }
}

struct Sizes(Vec<usize>);

impl Process for Sizes {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.install(|sizes: &mut Sizes, bulk: Bulk, _: &mut Context<Sizes>| sizes.0.push(bulk.0.len()));
    }
}

#[test]
fn a_large_message_arrives_and_a_giant_one_is_dropped_before_it_is_sent() {
    let (a, b) = (undisturbed_node(), undisturbed_node());
    let (from, exits) = peer(&a, "from");
    let to = b.spawn("to", Sizes(Vec::new())).unwrap();
    let target: Upid = to.to_string().parse().unwrap();
    link(&from, &target);
    for size in [40 << 20, 65 << 20, 1] {
        send(&from, &target, Bulk(vec![0; size]));
        if size == 40 << 20 {
            // Once the first has left, there is room for the second: it is its size that is refused.
            until("the large one", || sizes(&to) == [40 << 20]);
        }
    }
    until("the small one", || sizes(&to) == [40 << 20, 1]);
    assert!(exits.try_recv().is_err());
}

fn sizes(pid: &Pid<Sizes>) -> Vec<usize> {
    pid.dispatch(|sizes, _| sizes.0.clone()).wait(SOON).unwrap()
}

#[test]
fn a_peer_that_hangs_up_is_tried_by_the_other_wire_and_a_known_one_is_not() {
    let a = node();
    let (from, exits) = peer(&a, "from");
    // Hangs up on the first connection, then shows what comes on the second.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = Upid::new("to", listener.local_addr().unwrap());
    send(&from, &to, Note(1, vec![]));
    drop(listener.accept().unwrap());
    let (mut second, _) = listener.accept().unwrap();
    let mut start = [0; 9];
    second.read_exact(&mut start).unwrap();
    assert_eq!(&start, b"POST /to/");
    // A node known to make links is taken to be in trouble instead.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = Upid::new("to", listener.local_addr().unwrap());
    link(&from, &to);
    let (mut first, _) = listener.accept().unwrap();
    first.write_all(b"HTTP/1.1 101 Switching Protocols\r\n\r\n").unwrap();
    first.write_all(&greeting(1)).unwrap();
    read_until(&mut first, b"\x02\x02to");
    drop(first);
    assert_eq!(exits.recv_timeout(SOON).unwrap(), to);
    link(&from, &to);
    drop(listener.accept().unwrap());
    assert_eq!(exits.recv_timeout(SOON).unwrap(), to);
}

/// A megabyte, of which nothing but the first byte matters.
struct Slab(u8);

impl Message for Slab {
    fn name() -> &'static str {
        "test.Slab"
    }
    fn encode(&self, out: &mut Vec<u8>) {
        out.resize(out.len() + (1 << 20), self.0);
    }
    fn decode(body: &[u8]) -> Result<Slab, DecodeError> {
        body.first().map(|first| Slab(*first)).ok_or_else(|| DecodeError::new("test.Slab", "it is empty"))
    }
}

struct Flooded(Vec<u8>);

impl Process for Flooded {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.install(|flooded: &mut Flooded, slab: Slab, _: &mut Context<Flooded>| flooded.0.push(slab.0));
    }
}

#[test]
fn a_connection_is_not_read_while_what_it_brought_is_not_handled() {
    let here = undisturbed_node();
    let there = Node::builder().listen("127.0.0.1:0").runtime(Runtime::new(2).unwrap()).start().unwrap();
    let (sender, _exits) = peer(&here, "sender");
    let flooded = there.spawn_on(1, "flooded", Flooded(Vec::new())).unwrap();
    let (other, exits) = Peer::new();
    let other = there.spawn_on(0, "other", other).unwrap();
    // Made from there, the connection is served beside worker 0.
    let to = sender.upid().clone();
    other.call(move |_, ctx| {
        ctx.link(&to);
        ctx.send(&to, Echo(0, vec![]));
    });
    until("the link stands", || n_notes(&other) == 1);

    let (open, gate) = mpsc::channel::<()>();
    flooded.call(move |_, _| gate.recv().unwrap());
    let flood = |numbers: std::ops::Range<u8>| {
        let (flooded, other) = (remote(&flooded), remote(&other));
        sender.call(move |_, ctx| {
            let last = u64::from(numbers.end);
            for n in numbers {
                ctx.send(&flooded, Slab(n));
            }
            ctx.send(&other, Note(last, vec![]));
        });
    };
    flood(0..60);
    until("what is within the bound has come", || numbers(&other) == [0, 60]);
    flood(60..110);
    // Longer than a peer may be silent for.
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(5) {
        assert_eq!(numbers(&other), [0, 60], "no more is read");
        std::thread::sleep(Duration::from_millis(50));
    }
    open.send(()).unwrap();
    until("the rest is read", || numbers(&other) == [0, 60, 110]);
    let got = flooded.dispatch(|flooded, _| flooded.0.clone()).wait(SOON).unwrap();
    assert_eq!(got, (0..110).collect::<Vec<u8>>());
    assert!(exits.try_recv().is_err(), "the link was never lost");
}
