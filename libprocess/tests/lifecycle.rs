//! Ids, ends and what hangs on them: what processes of one node may rely on when others come and go.

#![allow(clippy::unwrap_used, reason = "a test says what is wrong by failing")]
#![allow(clippy::disallowed_methods, reason = "a test waits with a deadline")]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use libprocess::{Context, Id, Message, Node, Pid, Process, Promise, Runtime, SpawnError, Upid, WaitError};
use serde::{Deserialize, Serialize};

const SOON: Duration = Duration::from_secs(10);

struct Idle;

impl Process for Idle {}

/// Tells of the ends it hears of.
struct Watcher(mpsc::Sender<Upid>);

impl Process for Watcher {
    fn exited(&mut self, pid: &Upid, _: &mut Context<Self>) {
        let _ = self.0.send(pid.clone());
    }
}

fn watcher(node: &Node) -> (Pid<Watcher>, mpsc::Receiver<Upid>) {
    let (tell, told) = mpsc::channel();
    (node.spawn(Id::prefix("watcher"), Watcher(tell)).unwrap(), told)
}

fn link(watcher: &Pid<Watcher>, to: impl AsRef<Upid>) {
    let to = to.as_ref().clone();
    watcher.dispatch(move |_, ctx| ctx.link(&to)).wait(SOON).unwrap();
}

fn end(node: &Node, pid: impl AsRef<Upid>) {
    node.terminate(&pid);
    node.wait(&pid).wait(SOON).unwrap();
}

/// One worker that no other test uses.
fn lonely_node() -> Node {
    Node::builder().runtime(Runtime::new(1).unwrap()).start().unwrap()
}

#[test]
fn reserved_ids_are_refused_by_name() {
    let node = Node::local().unwrap();
    for id in ["help", "metrics", "logging", "profiler", "memory-profiler", "system", "__processes__"] {
        match node.spawn(id, Idle) {
            Err(error @ SpawnError::IdReserved(_)) => assert!(error.to_string().contains(id)),
            other => panic!("{id}: {other:?}"),
        }
    }
    assert!(matches!(node.spawn(Id::prefix("__reaper__"), Idle), Err(SpawnError::IdReserved(_))));
    node.spawn(Id::prefix("help"), Idle).unwrap();
}

#[test]
fn an_id_that_breaks_references_or_paths_is_refused() {
    let node = Node::local().unwrap();
    for id in ["", "a/b", "a@b", "a b", "a\n"] {
        assert!(matches!(node.spawn(id, Idle), Err(SpawnError::IdInvalid(_))), "{id:?}");
    }
    assert!(matches!(node.spawn(Id::prefix("a/"), Idle), Err(SpawnError::IdInvalid(_))));
}

#[test]
fn generated_ids_may_have_no_prefix_and_pass_over_what_is_taken() {
    let node = Node::local().unwrap();
    assert_eq!(node.spawn(Id::prefix(""), Idle).unwrap().upid().id(), "(1)");
    assert_eq!(node.spawn(Id::prefix(""), Idle).unwrap().upid().id(), "(2)");
    node.spawn("slave(1)", Idle).unwrap();
    assert_eq!(node.spawn(Id::prefix("slave"), Idle).unwrap().upid().id(), "slave(2)");
}

#[test]
fn a_reference_to_a_dead_process_does_not_reach_the_next_of_its_id() {
    let node = Node::local().unwrap();
    let old = node.spawn("x", Idle).unwrap();
    end(&node, &old);
    let new = node.spawn("x", Idle).unwrap();

    node.terminate(&old);
    node.wait(&old).wait(SOON).unwrap();
    assert_eq!(new.dispatch(|_, _| 1).wait(SOON), Ok(1), "still there");
    let (watcher, exits) = watcher(&node);
    link(&watcher, &old);
    assert_eq!(exits.recv_timeout(SOON).as_ref(), Ok(old.upid()), "a dead process exits at once");
}

#[test]
fn an_end_that_is_injected_is_told_and_changes_no_link() {
    let node = Node::local().unwrap();
    let (watcher, exits) = watcher(&node);
    let alive = node.spawn("alive", Idle).unwrap();
    link(&watcher, &alive);
    let elsewhere = Upid::new("x", "10.0.0.1:5050".parse().unwrap());
    for from in [alive.upid(), &elsewhere] {
        assert!(node.inject_exited(from, &watcher));
        assert_eq!(exits.recv_timeout(SOON).as_ref(), Ok(from));
    }
    assert_eq!(alive.dispatch(|_, _| 1).wait(SOON), Ok(1), "still there");
    end(&node, &alive);
    assert_eq!(exits.recv_timeout(SOON).as_ref(), Ok(alive.upid()), "the link was kept");

    assert!(!node.inject_exited(&watcher, &alive), "nobody to tell");
    assert!(!node.inject_exited(&watcher, &elsewhere), "not of this node");
}

#[derive(Serialize, Deserialize, Message)]
struct Count;

struct Counter(u64);

impl Counter {
    fn count(&mut self, _: Count, _: &mut Context<Self>) {
        self.0 += 1;
    }
}

impl Process for Counter {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.install(Self::count);
    }
}

#[test]
fn a_reference_made_of_text_reaches_whoever_has_the_id() {
    let node = Node::local().unwrap();
    let first = node.spawn("x", Counter(0)).unwrap();
    let text: Upid = first.to_string().parse().unwrap();
    for n in 1..=3 {
        let pid = if n == 1 { first.clone() } else { node.spawn("x", Counter(0)).unwrap() };
        node.send(&text, Count);
        node.send(&text, Count);
        assert_eq!(pid.dispatch(|counter, _| counter.0).wait(SOON), Ok(2), "holder {n}");
        let ended = node.wait(&text);
        node.terminate(&text);
        ended.wait(SOON).unwrap();
        node.send(&text, Count);
    }
    // From a process to itself, too.
    let last = node.spawn("x", Counter(0)).unwrap();
    let to_itself = text.clone();
    last.call(move |_, ctx| ctx.send(&to_itself, Count));
    last.dispatch(|_, _| ()).wait(SOON).unwrap();
    assert_eq!(last.dispatch(|counter, _| counter.0).wait(SOON), Ok(1));
}

#[test]
fn nobody_waits_for_a_process_of_another_node() {
    let node = Node::local().unwrap();
    let here = node.spawn("x", Idle).unwrap();
    let elsewhere = Upid::new("x", "10.0.0.1:5050".parse().unwrap());
    assert_eq!(node.wait(&elsewhere).wait(SOON), Ok(()));
    end(&node, &here);
}

#[test]
fn the_next_holder_of_an_id_keeps_its_own_links_and_waits() {
    let node = Node::local().unwrap();
    let (watcher, exits) = watcher(&node);
    for round in 0..2_000 {
        let old = node.spawn_on(round, "x", Idle).unwrap();
        node.terminate(&old);
        let new = loop {
            match node.spawn_on(round + 1, "x", Idle) {
                Ok(new) => break new,
                Err(SpawnError::IdInUse(_)) => std::hint::spin_loop(),
                Err(error) => panic!("{error}"),
            }
        };
        let to = new.upid().clone();
        watcher.call(move |_, ctx| ctx.link(&to));
        let ended = node.wait(&new);
        assert_eq!(new.dispatch(|_, _| ()).wait(SOON), Ok(()));
        watcher.dispatch(|_, _| ()).wait(SOON).unwrap();
        assert!(exits.try_recv().is_err(), "round {round}: the end of the old one was told of the new one");
        node.terminate(&new);
        ended.wait(SOON).unwrap();
        assert!(node.find("x").is_none(), "round {round}: a wait ended early");
        assert_eq!(exits.recv_timeout(SOON).as_ref(), Ok(new.upid()), "round {round}");
    }
}

/// Where a [`Bomb`] goes off.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fuse {
    Initialize,
    Finalize,
    Exited,
    Drop,
}

struct Bomb {
    fuse: Fuse,
    to_link: Upid,
}

impl Process for Bomb {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        assert_ne!(self.fuse, Fuse::Initialize, "as asked");
        if self.fuse == Fuse::Exited {
            ctx.link(&self.to_link);
        }
    }
    fn finalize(&mut self, _: &mut Context<Self>) {
        assert_ne!(self.fuse, Fuse::Finalize, "as asked");
    }
    fn exited(&mut self, _: &Upid, _: &mut Context<Self>) {
        assert_ne!(self.fuse, Fuse::Exited, "as asked");
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_ne!(self.fuse, Fuse::Drop, "as asked");
        }
    }
}

#[test]
fn a_panic_anywhere_ends_one_process_and_its_linkers_hear_of_it() {
    let node = lonely_node();
    let neighbour = node.spawn("neighbour", Idle).unwrap();
    for fuse in [Fuse::Initialize, Fuse::Finalize, Fuse::Exited, Fuse::Drop] {
        let (watcher, exits) = watcher(&node);
        let to_link = Upid::new("nobody-home", node.address());
        // Held up so that the link is made before the bomb's first turn.
        let spawned = watcher.dispatch(move |_, ctx| {
            let pid = ctx.spawn(Id::prefix("bomb"), Bomb { fuse, to_link }).unwrap();
            ctx.link(&pid);
            pid
        });
        let bomb = spawned.wait(SOON).unwrap();
        node.terminate_after_queued(&bomb);
        assert_eq!(exits.recv_timeout(SOON).as_ref(), Ok(bomb.upid()), "{fuse:?}");
        assert_eq!(neighbour.dispatch(|_, _| 1).wait(SOON), Ok(1), "{fuse:?}: the worker lives");
    }
}

#[derive(Serialize, Deserialize, Message)]
struct Explosive;

impl Drop for Explosive {
    fn drop(&mut self) {
        panic!("as asked");
    }
}

#[test]
fn what_was_queued_may_panic_when_it_is_dropped() {
    let node = lonely_node();
    let (watcher, exits) = watcher(&node);
    let victim = node.spawn("victim", Idle).unwrap();
    link(&watcher, &victim);
    let (open, gate) = mpsc::channel::<()>();
    victim.call(move |_, _| gate.recv().unwrap());
    for _ in 0..3 {
        node.send(&victim, Explosive);
    }
    let waits = victim.dispatch(|_, _| ());
    node.terminate(&victim);
    open.send(()).unwrap();
    assert_eq!(waits.wait(SOON), Err(WaitError::Abandoned));
    assert_eq!(exits.recv_timeout(SOON).as_ref(), Ok(victim.upid()));
    // And on its way to one that is gone.
    let neighbour = node.spawn("neighbour", Idle).unwrap();
    assert_eq!(neighbour.dispatch(|_, _| 1).wait(SOON), Ok(1), "the worker lives");
}

struct Recorder(Vec<&'static str>, mpsc::Sender<Vec<&'static str>>);

impl Process for Recorder {
    fn initialize(&mut self, _: &mut Context<Self>) {
        self.0.push("initialized");
    }
    fn finalize(&mut self, _: &mut Context<Self>) {
        self.0.push("finalized");
        let _ = self.1.send(self.0.clone());
    }
}

#[test]
fn a_process_that_is_ended_before_its_first_turn_is_initialized_and_finalized() {
    let node = lonely_node();
    let parent = node.spawn("parent", Idle).unwrap();
    let (tell, told) = mpsc::channel();
    parent.call(move |_, ctx| {
        let child = ctx.spawn("child", Recorder(Vec::new(), tell)).unwrap();
        child.call(|recorder, _| recorder.0.push("served"));
        ctx.terminate(&child);
    });
    assert_eq!(told.recv_timeout(SOON), Ok(vec!["initialized", "finalized"]));
}

#[test]
fn many_processes_are_shut_down_whichever_ends_last() {
    let node = Node::local().unwrap();
    let (open, gate) = mpsc::channel::<()>();
    // By id the first, so that a chain of waits would hang on it.
    let slow = node.spawn_on(0, "(0)", Idle).unwrap();
    slow.call(move |_, _| gate.recv().unwrap());
    let others: Vec<_> = (0..20_000).map(|_| node.spawn_on(1, Id::prefix(""), Idle).unwrap()).collect();
    let down = node.shutdown();
    for other in &others {
        node.wait(other).wait(SOON).unwrap();
    }
    open.send(()).unwrap();
    assert_eq!(down.wait(SOON), Ok(()));
}

#[test]
fn timers_of_one_instant_fire_in_the_order_they_were_started() {
    let node = Node::local().unwrap();
    node.clock().pause();
    let to = node.spawn("x", Counter(0)).unwrap();
    let (tell, told) = mpsc::channel();
    to.dispatch(move |_, ctx| {
        for n in 0..100 {
            let tell = tell.clone();
            ctx.delay(Duration::from_secs(u64::from(n % 2 == 0)), move |_, _| tell.send(n).unwrap());
        }
    })
    .wait(SOON)
    .unwrap();
    node.clock().settle();
    assert_eq!(told.try_iter().collect::<Vec<_>>(), (0..100).filter(|n| n % 2 == 1).collect::<Vec<_>>());
    node.clock().advance(Duration::from_secs(1));
    node.clock().settle();
    assert_eq!(told.try_iter().collect::<Vec<_>>(), (0..100).filter(|n| n % 2 == 0).collect::<Vec<_>>());
}

#[test]
fn the_longest_delay_there_is_never_ends_and_hurts_nothing() {
    let node = Node::local().unwrap();
    let clock = node.clock();
    clock.pause();
    let to = node.spawn("x", Counter(0)).unwrap();
    let timer =
        to.dispatch(|_, ctx| ctx.delay(Duration::MAX, |counter: &mut Counter, _| counter.0 += 1)).wait(SOON);
    clock.advance(Duration::from_secs(100 * 365 * 24 * 3600));
    clock.settle();
    assert_eq!(to.dispatch(|counter, _| counter.0).wait(SOON), Ok(0));
    assert!(timer.unwrap().cancel());
    clock.advance(Duration::MAX);
    clock.advance(Duration::MAX);
}

/// Goes off when it is dropped.
struct Trap;

impl Drop for Trap {
    fn drop(&mut self) {
        panic!("as asked");
    }
}

#[test]
fn a_timer_that_panics_does_not_hold_up_the_others() {
    let node = Node::local().unwrap();
    let dead = node.spawn("dead", Idle).unwrap();
    dead.dispatch(|_, ctx| {
        let trap = Trap;
        ctx.delay(Duration::from_millis(20), move |_: &mut Idle, _| {
            let _ = &trap;
        })
    })
    .wait(SOON)
    .unwrap();
    end(&node, &dead);
    let alive = node.spawn("alive", Idle).unwrap();
    let (tell, told) = mpsc::channel();
    alive.call(move |_, ctx| {
        ctx.delay(Duration::from_millis(40), move |_: &mut Idle, _| tell.send(()).unwrap());
    });
    assert_eq!(told.recv_timeout(SOON), Ok(()));
}

#[test]
fn a_dead_process_keeps_no_timers() {
    let node = Node::local().unwrap();
    let hour = Duration::from_secs(3600);
    let held = Arc::new(());
    let timers: Vec<_> = ["dying", "living"]
        .map(|id| {
            let pid = node.spawn(id, Counter(0)).unwrap();
            let held = held.clone();
            let start = move |_: &mut Counter, ctx: &mut Context<Counter>| {
                [hour, 2 * hour].map(|after| {
                    let held = held.clone();
                    ctx.delay(after, move |counter, _| counter.0 += Arc::strong_count(&held) as u64)
                })
            };
            (pid.clone(), pid.dispatch(start).wait(SOON).unwrap())
        })
        .into();
    assert_eq!(Arc::strong_count(&held), 5);
    let [(dying, lost), (_, kept)] = &timers[..] else { unreachable!() };
    end(&node, dying);
    assert_eq!(Arc::strong_count(&held), 3, "gone before its end is told; the other's are kept");
    assert_eq!(lost.each_ref().map(|timer| timer.cancel()), [false; 2]);
    assert_eq!(kept.each_ref().map(|timer| timer.cancel()), [true; 2]);
    assert_eq!(Arc::strong_count(&held), 1);
}

#[test]
fn what_a_timer_holds_may_turn_to_the_timers_when_the_node_shuts_down() {
    let node = Node::local().unwrap();
    let pid = node.spawn("x", Idle).unwrap();
    let (promise, future) = Promise::<()>::new();
    let hour = Duration::from_secs(3600);
    pid.dispatch(move |_, ctx| ctx.delay(hour, move |_: &mut Idle, _| promise.set(()))).wait(SOON).unwrap();
    let other = pid.dispatch(move |_, ctx| ctx.delay(hour, |_: &mut Idle, _| ())).wait(SOON).unwrap();
    let (tell, told) = mpsc::channel();
    future.settled(move |_| {
        other.cancel();
        tell.send(()).unwrap();
    });
    std::thread::spawn(move || node.shutdown().wait(SOON));
    assert_eq!(told.recv_timeout(SOON), Ok(()));
}

#[test]
fn settle_waits_until_everyone_has_heard() {
    let node = Node::builder().runtime(Runtime::new(2).unwrap()).start().unwrap();
    node.clock().pause();
    let (tell, exits) = mpsc::channel();
    let watcher = node.spawn_on(0, "watcher", Watcher(tell)).unwrap();
    for round in 0..1_000 {
        let pid = node.spawn_on(1, "x", Idle).unwrap();
        link(&watcher, &pid);
        node.terminate(&pid);
        node.clock().settle();
        assert!(exits.try_recv().is_ok(), "round {round}");
    }
}

#[test]
fn a_process_may_not_wait_for_all_to_settle() {
    let node = Node::local().unwrap();
    let pid = node.spawn("x", Idle).unwrap();
    let clock = node.clock();
    assert_eq!(pid.dispatch(move |_, _| clock.settle()).wait(SOON), Err(WaitError::Abandoned));
}

/// Threads post, dispatch, link and end while processes of a few ids come and go.
#[test]
fn processes_come_and_go_while_many_threads_talk_to_them() {
    let node = Node::builder().runtime(Runtime::new(2).unwrap()).start().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicU64::new(0));
    let (watcher, exits) = watcher(&node);
    let talkers: Vec<_> = (0..3)
        .map(|talker: u64| {
            let (node, watcher) = (node.clone(), watcher.clone());
            let (stop, answered) = (stop.clone(), answered.clone());
            std::thread::spawn(move || {
                let mut n = talker;
                while !stop.load(Ordering::Relaxed) {
                    n = n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let id = format!("x{}", n >> 62);
                    let upid = Upid::new(id.as_str(), node.address());
                    match (n >> 40) % 8 {
                        0 => drop(node.spawn_on((n >> 32) as usize, id.as_str(), Counter(0))),
                        1 => node.terminate(&upid),
                        2 => node.terminate_after_queued(&upid),
                        3 => watcher.call(move |_, ctx| ctx.link(&upid)),
                        4 => {
                            let ended = node.wait(&upid);
                            node.terminate(&upid);
                            ended.wait(SOON).expect("told of the end");
                        }
                        5 => match node.spawn(Id::prefix("y"), Counter(0)) {
                            Ok(pid) => {
                                // Two from one sender, in order, then its end.
                                node.send(&pid, Count);
                                let count = pid.dispatch(|counter, _| counter.0);
                                node.terminate_after_queued(&pid);
                                assert_eq!(count.wait(SOON), Ok(1));
                                answered.fetch_add(1, Ordering::Relaxed);
                            }
                            Err(error) => panic!("{error}"),
                        },
                        _ => node.send(&upid, Count),
                    }
                }
            })
        })
        .collect();
    let deadline = Instant::now() + Duration::from_millis(1500);
    let mut n_exits = 0;
    while Instant::now() < deadline {
        n_exits += u64::from(exits.recv_timeout(Duration::from_millis(10)).is_ok());
    }
    stop.store(true, Ordering::Relaxed);
    for talker in talkers {
        talker.join().unwrap();
    }
    assert!(answered.load(Ordering::Relaxed) > 0 && n_exits > 0);
    node.shutdown().wait(SOON).unwrap();
    assert!((0..4).all(|n| node.find(&format!("x{n}")).is_none()));
}
