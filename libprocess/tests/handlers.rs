//! Which handler a message finds.

#![allow(clippy::unwrap_used, reason = "a test says what is wrong by failing")]

use std::time::Duration;

use bytes::Bytes;
use libprocess::{Context, Deferred, Id, Message, Node, Pid, Process, Upid};
use serde::{Deserialize, Serialize};

const SOON: Duration = Duration::from_secs(10);

#[derive(Debug, Serialize, Deserialize, Message)]
#[message(name = "test.Note")]
struct Note(u64);

/// Another type of the same wire name and shape.
#[derive(Debug, Serialize, Deserialize, Message)]
#[message(name = "test.Note")]
struct Memo(u64);

/// A third, that nobody installs.
#[derive(Debug, Serialize, Deserialize, Message)]
#[message(name = "test.Note")]
struct Slip(u64);

#[derive(Debug, Serialize, Deserialize, Message)]
struct Install;

#[derive(Default)]
struct Clerk {
    heard: Vec<String>,
}

impl Process for Clerk {}

impl Clerk {
    fn note(&mut self, note: Note, _: &mut Context<Self>) {
        self.heard.push(format!("note {}", note.0));
    }
    fn newer_note(&mut self, from: &Upid, note: Note, _: &mut Context<Self>) {
        self.heard.push(format!("newer note {} from {}", note.0, from.id()));
    }
    fn memo(&mut self, memo: Memo, _: &mut Context<Self>) {
        self.heard.push(format!("memo {}", memo.0));
    }
    fn raw(&mut self, from: &Upid, name: &str, body: Bytes, _: &mut Context<Self>) {
        let note = Note::decode(&body).unwrap();
        self.heard.push(format!("raw {name} {} from {}", note.0, from.id()));
    }
    fn install(&mut self, _: Install, ctx: &mut Context<Self>) {
        ctx.install(Self::note);
    }
}

/// Spawns a clerk and lets it install.
fn clerk(node: &Node, install: impl FnOnce(&mut Context<Clerk>) + Send + 'static) -> Pid<Clerk> {
    let pid = node.spawn(Id::prefix("clerk"), Clerk::default()).unwrap();
    pid.dispatch(move |_, ctx| install(ctx)).wait(SOON).unwrap();
    pid
}

fn heard(pid: &Pid<Clerk>) -> Vec<String> {
    pid.dispatch(|clerk, _| clerk.heard.clone()).wait(SOON).unwrap()
}

#[test]
fn a_handler_installed_by_a_handler_serves_the_very_next_message() {
    let node = Node::local().unwrap();
    let clerk = clerk(&node, |ctx| ctx.install(Clerk::install));
    node.send(&clerk, Note(1));
    node.send(&clerk, Install);
    node.send(&clerk, Note(2));
    assert_eq!(heard(&clerk), ["note 2"]);
}

#[test]
fn a_later_handler_replaces_the_earlier_one() {
    let node = Node::local().unwrap();
    let clerk = clerk(&node, |ctx| {
        ctx.install(Clerk::note);
        ctx.install(Clerk::newer_note);
    });
    node.send(&clerk, Note(1));
    assert_eq!(heard(&clerk), ["newer note 1 from "]);
}

#[test]
fn two_types_of_one_wire_name_are_told_apart_where_the_value_itself_comes() {
    let node = Node::local().unwrap();
    let clerk = clerk(&node, |ctx| {
        ctx.install(Clerk::note);
        ctx.install(Clerk::memo);
    });
    node.send(&clerk, Note(1));
    node.send(&clerk, Memo(2));
    // Only the name to go by: the type installed last.
    node.send(&clerk, Slip(3));
    assert_eq!(heard(&clerk), ["note 1", "memo 2", "memo 3"]);
}

#[test]
fn typed_handlers_come_before_raw_ones_and_those_before_delegates() {
    let node = Node::local().unwrap();
    let last = clerk(&node, |ctx| ctx.install(Clerk::newer_note));
    let to = last.upid().clone();
    let first = clerk(&node, move |ctx| ctx.delegate("test.Note", &to));
    let boss = clerk(&node, |_| ());
    let send = |n: u64| {
        let to = first.upid().clone();
        boss.dispatch(move |_, ctx| ctx.send(&to, Note(n))).wait(SOON).unwrap();
        first.dispatch(|_, _| ()).wait(SOON).unwrap();
    };
    send(1);
    assert_eq!(
        heard(&last),
        [format!("newer note 1 from {}", boss.upid().id())],
        "delegated, from its sender"
    );
    first.dispatch(|_, ctx| ctx.install_raw("test.Note", Clerk::raw)).wait(SOON).unwrap();
    send(2);
    first.dispatch(|_, ctx| ctx.install(Clerk::note)).wait(SOON).unwrap();
    send(3);
    let raw = format!("raw test.Note 2 from {}", boss.upid().id());
    assert_eq!(heard(&first), [raw, "note 3".to_owned()]);
    assert_eq!(heard(&last).len(), 1);
}

#[test]
fn deferred_calls_come_back_in_order_and_know_when_nobody_is_there() {
    let node = Node::local().unwrap();
    let pid = clerk(&node, |_| ());
    let deferred: Deferred<u64> = pid
        .dispatch(|_, ctx| ctx.defer(|clerk: &mut Clerk, n: u64, _| clerk.heard.push(n.to_string())))
        .wait(SOON)
        .unwrap();
    let elsewhere = deferred.clone();
    std::thread::spawn(move || (0..3).for_each(|n| assert!(elsewhere.call(n)))).join().unwrap();
    assert_eq!(heard(&pid), ["0", "1", "2"]);
    node.terminate(&pid);
    node.wait(&pid).wait(SOON).unwrap();
    assert!(!deferred.call(3));
}

#[test]
fn reconnecting_to_a_process_of_ones_own_node_is_linking() {
    struct Linker(std::sync::mpsc::Sender<Upid>);
    impl Process for Linker {
        fn exited(&mut self, pid: &Upid, _: &mut Context<Self>) {
            let _ = self.0.send(pid.clone());
        }
    }
    let node = Node::local().unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    let linker = node.spawn("linker", Linker(tell)).unwrap();
    let clerk = clerk(&node, |_| ());
    let to = clerk.upid().clone();
    linker
        .dispatch(move |_, ctx| {
            ctx.link(&to);
            ctx.link_reconnect(&to);
        })
        .wait(SOON)
        .unwrap();
    assert!(told.try_recv().is_err());
    node.terminate(&clerk);
    assert_eq!(told.recv_timeout(SOON).as_ref(), Ok(clerk.upid()));
    linker.dispatch(|_, _| ()).wait(SOON).unwrap();
    assert!(told.try_recv().is_err(), "one link, one end");
}
