//! What nodes promise each other over a network.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use libprocess::{Context, Message, Node, Pid, Process, Upid};
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
fn remote(pid: &Pid<Peer>) -> Upid {
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
    let (a, b) = (node(), node());
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
