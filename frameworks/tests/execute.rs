//! One command as a task, with a master that does what the test says.

#![allow(clippy::unwrap_used)] // A test that cannot go on ends.

mod common;

use std::time::Duration;

use api::internal::*;
use api::v0::scheduler::call::Type;
use api::v1::TaskState;
use common::{FakeMaster, ask, eventually, offer, update};
use frameworks::execute::{Options, run};
use frameworks::work::Cancel;
use libprocess::Node;

#[test]
fn a_launch_that_got_lost_is_asked_after_until_there_is_an_answer() {
    let node = Node::local().unwrap();
    let master = node.spawn("master", FakeMaster::admitting()).unwrap();
    let clock = node.clock();
    clock.pause();
    let options = Options {
        name: "t".to_owned(),
        command: "true".to_owned(),
        argv: None,
        environment: vec![],
        resources: "cpus:1".to_owned(),
        user: None,
        role: "*".to_owned(),
    };
    let (its_node, its_master) = (node.clone(), master.upid().clone());
    let running =
        std::thread::spawn(move || run(&its_node, its_master, options, |_| {}, &Cancel::new()).unwrap());
    eventually("registered", || ask(&master, |it, _| it.framework.clone()));
    let offers = vec![offer("o1", "a", "cpus:2")];
    ask(&master, |it, ctx| it.tell(ResourceOffersMessage { offers, pids: vec![] }, ctx));
    eventually("launched", || ask(&master, |it, _| it.calls_of(Type::Accept).pop()));
    for asked in 1..=2 {
        clock.advance(Duration::from_secs(15));
        clock.settle();
        eventually("asked after", || {
            ask(&master, move |it, _| (it.calls_of(Type::Reconcile).len() == asked).then_some(()))
        });
    }
    ask(&master, |it, ctx| it.tell(update("t", "a", TaskState::TaskLost, None, None), ctx));
    assert_eq!(running.join().unwrap().state(), TaskState::TaskLost);
    clock.resume();
}
