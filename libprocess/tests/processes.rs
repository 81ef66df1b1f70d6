//! What processes of one node promise each other.

#![allow(clippy::unwrap_used, reason = "a test says what is wrong by failing")]
#![allow(clippy::disallowed_methods, reason = "a test waits with a deadline")]

use std::sync::mpsc;
use std::time::Duration;

use libprocess::{Context, Id, Message, Node, Pid, Process, SpawnError, Upid, WaitError};
use serde::{Deserialize, Serialize};

const SOON: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Message)]
struct Note(u64);

#[derive(Debug, Serialize, Deserialize, Message)]
struct Echo(u64);

#[derive(Debug, Serialize, Deserialize, Message)]
#[message(name = "test.Boom")]
struct Boom;

/// Keeps what it is told.
struct Recorder {
    notes: Vec<u64>,
    exited: mpsc::Sender<Upid>,
    finalized: mpsc::Sender<&'static str>,
}

fn recorder() -> (Recorder, mpsc::Receiver<Upid>, mpsc::Receiver<&'static str>) {
    let (exited, exits) = mpsc::channel();
    let (finalized, ends) = mpsc::channel();
    (Recorder { notes: Vec::new(), exited, finalized }, exits, ends)
}

impl Recorder {
    fn note(&mut self, note: Note, _: &mut Context<Self>) {
        self.notes.push(note.0);
    }
    fn echo(&mut self, from: &Upid, echo: Echo, ctx: &mut Context<Self>) {
        ctx.send(from, Note(echo.0));
    }
    fn boom(&mut self, _: Boom, _: &mut Context<Self>) {
        panic!("as asked");
    }
}

impl Process for Recorder {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.install(Self::note);
        ctx.install(Self::echo);
        ctx.install(Self::boom);
    }
    fn finalize(&mut self, _: &mut Context<Self>) {
        let _ = self.finalized.send("finalized");
    }
    fn exited(&mut self, pid: &Upid, _: &mut Context<Self>) {
        let _ = self.exited.send(pid.clone());
    }
}

fn notes(pid: &Pid<Recorder>) -> Vec<u64> {
    pid.dispatch(|recorder, _| recorder.notes.clone()).wait(SOON).unwrap()
}

#[test]
fn messages_and_dispatches_of_one_sender_keep_their_order() {
    let node = Node::local().unwrap();
    let to = node.spawn(Id::prefix("recorder"), recorder().0).unwrap();
    for n in 0..1000 {
        if n % 2 == 0 {
            node.send(&to, Note(n));
        } else {
            to.call(move |recorder, _| recorder.notes.push(n));
        }
    }
    assert_eq!(notes(&to), (0..1000).collect::<Vec<_>>());
}

#[test]
fn a_handler_with_a_sender_can_answer_it() {
    let node = Node::local().unwrap();
    let a = node.spawn_on(0, "a", recorder().0).unwrap();
    let b = node.spawn_on(1, "b", recorder().0).unwrap();
    let to = b.upid().clone();
    a.call(move |_, ctx| ctx.send(&to, Echo(7)));
    // b's answer is under way once b has served the request, which went before this.
    b.dispatch(|_, _| ()).wait(SOON).unwrap();
    let deadline = std::time::Instant::now() + SOON;
    while notes(&a).is_empty() && std::time::Instant::now() < deadline {}
    assert_eq!(notes(&a), [7]);
}

#[test]
fn a_reference_parsed_from_text_reaches_the_process() {
    let node = Node::local().unwrap();
    let to = node.spawn("recorder", recorder().0).unwrap();
    let parsed: Upid = to.to_string().parse().unwrap();
    node.send(&parsed, Note(1));
    assert_eq!(notes(&to), [1]);
}

#[test]
fn an_id_is_given_once_and_generated_ones_count_from_one() {
    let node = Node::local().unwrap();
    let first = node.spawn(Id::prefix("slave"), recorder().0).unwrap();
    let second = node.spawn(Id::prefix("slave"), recorder().0).unwrap();
    assert_eq!((first.upid().id(), second.upid().id()), ("slave(1)", "slave(2)"));
    assert!(matches!(node.spawn("slave(1)", recorder().0), Err(SpawnError::IdInUse(id)) if id == "slave(1)"));
    node.terminate(&first);
    node.wait(&first).wait(SOON).unwrap();
    node.spawn("slave(1)", recorder().0).unwrap();
}

#[test]
fn terminate_overtakes_the_queue_and_terminate_after_queued_does_not() {
    let node = Node::local().unwrap();
    for (patient, expected) in [(true, 100), (false, 0)] {
        let (process, _exits, ends) = recorder();
        let to = node.spawn(Id::prefix("recorder"), process).unwrap();
        let (open, gate) = mpsc::channel::<()>();
        let (tell, told) = mpsc::channel();
        to.call(move |_, _| {
            let _ = gate.recv();
        });
        for n in 0..100 {
            let tell = tell.clone();
            to.call(move |_, _| tell.send(n).unwrap());
        }
        let last = to.dispatch(|_, _| ());
        if patient {
            node.terminate_after_queued(&to)
        } else {
            node.terminate(&to)
        }
        let ended = node.wait(&to);
        open.send(()).unwrap();
        ended.wait(SOON).unwrap();
        drop(tell);
        assert_eq!(told.iter().count(), expected);
        assert_eq!(last.wait(SOON).is_ok(), patient);
        assert_eq!(ends.recv_timeout(SOON), Ok("finalized"));
    }
}

#[test]
fn a_panic_ends_one_process_tells_its_linkers_and_no_other() {
    let node = Node::local().unwrap();
    let (process, exits, _ends) = recorder();
    let linker = node.spawn("linker", process).unwrap();
    let (process, _, ends) = recorder();
    let victim = node.spawn_on(0, "victim", process).unwrap();
    let neighbour = node.spawn_on(0, "neighbour", recorder().0).unwrap();
    let to = victim.upid().clone();
    linker.dispatch(move |_, ctx| ctx.link(&to)).wait(SOON).unwrap();
    node.send(&victim, Boom);
    let after = victim.dispatch(|_, _| ());
    assert_eq!(exits.recv_timeout(SOON).as_ref(), Ok(victim.upid()));
    assert_eq!(after.wait(SOON), Err(WaitError::Abandoned));
    assert!(notes(&neighbour).is_empty());
    assert!(ends.try_recv().is_err(), "a process that panicked must not be finalized");
    assert!(node.find("victim").is_none());
}

#[test]
fn a_link_to_a_process_that_is_not_there_exits_at_once() {
    let node = Node::local().unwrap();
    let (process, exits, _ends) = recorder();
    let linker = node.spawn("linker", process).unwrap();
    let nobody = Upid::new("nobody-home", node.address());
    let to = nobody.clone();
    linker.call(move |_, ctx| ctx.link(&to));
    assert_eq!(exits.recv_timeout(SOON), Ok(nobody));
}

#[test]
fn a_dispatch_to_a_dead_process_is_abandoned() {
    let node = Node::local().unwrap();
    let to = node.spawn("recorder", recorder().0).unwrap();
    node.terminate(&to);
    node.wait(&to).wait(SOON).unwrap();
    assert_eq!(to.dispatch(|_, _| ()).wait(SOON), Err(WaitError::Abandoned));
}

#[test]
fn timers_obey_the_clock_and_can_be_cancelled() {
    let node = Node::local().unwrap();
    let clock = node.clock();
    clock.pause();
    let to = node.spawn("recorder", recorder().0).unwrap();
    let cancelled = to
        .dispatch(|_, ctx| {
            for secs in [3, 1, 2] {
                ctx.delay(Duration::from_secs(secs), move |recorder: &mut Recorder, _| {
                    recorder.notes.push(secs)
                });
            }
            ctx.delay(Duration::from_secs(1), |recorder: &mut Recorder, _| recorder.notes.push(99))
        })
        .wait(SOON)
        .unwrap();
    assert!(cancelled.cancel());
    assert!(!cancelled.cancel());
    let start = clock.now();
    clock.advance(Duration::from_secs(1));
    clock.settle();
    assert_eq!(notes(&to), [1], "a timer fires at its very instant, and no other does");
    clock.advance(Duration::from_secs(10));
    clock.settle();
    assert_eq!(notes(&to), [1, 2, 3]);
    assert_eq!(clock.now() - start, Duration::from_secs(11));
    clock.resume();
}

#[test]
fn what_is_asked_of_the_context_comes_back_as_an_event() {
    let node = Node::local().unwrap();
    let to = node.spawn("recorder", recorder().0).unwrap();
    let (tell, told) = mpsc::channel();
    to.call(move |_, ctx| {
        let work = ctx.blocking(|| 6 * 7);
        ctx.then(work, move |recorder: &mut Recorder, result, _| {
            recorder.notes.push(result.unwrap());
            tell.send(()).unwrap();
        });
    });
    told.recv_timeout(SOON).unwrap();
    assert_eq!(notes(&to), [42]);
}

#[test]
#[allow(clippy::zombie_processes)] // The node waits for it.
fn a_childs_end_is_told_with_its_wait_status() {
    let node = Node::local().unwrap();
    let to = node.spawn("recorder", recorder().0).unwrap();
    let mut command = std::process::Command::new("/bin/sh");
    let command = command.args(["-c", "read line; exit 3"]).stdin(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    let os_pid = child.id();
    // Of a process of another node, too: a child is the whole program's.
    let other = Node::local().unwrap().spawn("recorder", recorder().0).unwrap();
    let reaped = [&to, &to, &other].map(|by| by.dispatch(move |_, ctx| ctx.reap(os_pid)));
    let reaped = reaped.map(|asked| asked.wait(SOON).unwrap());
    drop(child.stdin.take());
    for status in reaped {
        assert_eq!(status.wait(SOON), Ok(Some(3 << 8)));
    }
    let again = to.dispatch(move |_, ctx| ctx.reap(os_pid)).flatten();
    assert_eq!(again.wait(SOON), Ok(None));
}

#[test]
fn a_thousand_processes_come_and_go() {
    let node = Node::local().unwrap();
    let (process, exits, _ends) = recorder();
    let linker = node.spawn("linker", process).unwrap();
    let all: Vec<_> = (0..1000).map(|_| node.spawn(Id::prefix("p"), recorder().0).unwrap()).collect();
    for pid in &all {
        let to = pid.upid().clone();
        linker.call(move |_, ctx| ctx.link(&to));
    }
    linker.dispatch(|_, _| ()).wait(SOON).unwrap();
    for pid in &all {
        node.terminate(pid);
    }
    for _ in &all {
        exits.recv_timeout(SOON).unwrap();
    }
    node.shutdown().wait(SOON).unwrap();
    assert!(matches!(node.spawn("late", recorder().0), Err(SpawnError::ShuttingDown)));
}
