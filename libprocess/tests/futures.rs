//! What futures and promises promise.

#![allow(clippy::unwrap_used, reason = "a test says what is wrong by failing")]

use std::sync::mpsc;
use std::time::Duration;

use libprocess::{Abandoned, Context, Future, Node, Process, Promise, WaitError};

const SOON: Duration = Duration::from_secs(10);

#[test]
fn a_value_comes_through_maps_and_layers() {
    let (promise, future) = Promise::new();
    let doubled = future.map(|n: u64| Future::ready(n * 2)).flatten();
    promise.set(21);
    assert_eq!(doubled.wait(SOON), Ok(42));
}

#[test]
fn dropping_a_promise_abandons_all_that_was_made_of_its_future() {
    let (promise, future) = Promise::<u64>::new();
    let (told, outcome) = Promise::new();
    told.follow(future.map(|n| n + 1).outcome());
    drop(promise);
    assert_eq!(outcome.wait(SOON), Ok(Err(Abandoned)));
}

#[test]
fn waiting_gives_up_in_time_and_knows_an_abandoned_future() {
    let (promise, future) = Promise::<()>::new();
    let brief = Duration::from_millis(1);
    assert_eq!(future.wait(brief), Err(WaitError::TimedOut(brief)));
    drop(promise);
    let (promise, future) = Promise::<()>::new();
    drop(promise);
    assert_eq!(future.wait(SOON), Err(WaitError::Abandoned));
}

#[test]
fn a_promise_is_wanted_as_long_as_something_is_to_be_done_with_its_value() {
    let (promise, future) = Promise::new();
    assert!(!promise.is_unwanted());
    let (tell, told) = mpsc::channel();
    future.settled(move |result: Result<u64, _>| tell.send(result).unwrap());
    assert!(!promise.is_unwanted(), "the future is gone, but a callback waits");
    promise.set(1);
    assert_eq!(told.recv(), Ok(Ok(1)));

    let (promise, future) = Promise::<u64>::new();
    drop(future);
    assert!(promise.is_unwanted());
}

#[test]
fn all_values_come_in_the_order_asked_for() {
    let (promises, futures): (Vec<_>, Vec<_>) = (0..5).map(|_| Promise::new()).unzip();
    let all = Future::all(futures);
    for (n, promise) in promises.into_iter().enumerate().rev() {
        promise.set(n);
    }
    assert_eq!(all.wait(SOON), Ok(vec![0, 1, 2, 3, 4]));
    assert_eq!(Future::<()>::all([]).wait(SOON), Ok(vec![]));
}

#[test]
fn one_abandoned_future_abandons_all_at_once_but_not_their_outcomes() {
    let (kept, pending) = Promise::<u64>::new();
    let (dropped, lost) = Promise::new();
    let all = Future::all([pending, lost]);
    drop(dropped);
    assert_eq!(all.wait(SOON), Err(WaitError::Abandoned));
    drop(kept);

    let (dropped, lost) = Promise::<u64>::new();
    let outcomes = Future::all([Future::ready(1).outcome(), lost.outcome()]);
    drop(dropped);
    assert_eq!(outcomes.wait(SOON), Ok(vec![Ok(1), Err(Abandoned)]));
}

#[test]
fn a_hundred_thousand_futures_are_gathered_on_one_stack() {
    let (promises, futures): (Vec<_>, Vec<_>) = (0..100_000).map(|_| Promise::new()).unzip();
    let all = Future::all(futures);
    promises.into_iter().rev().for_each(|promise| promise.set(()));
    assert_eq!(all.wait(SOON).map(|all| all.len()), Ok(100_000));
}

struct Giver {
    given: u64,
}

impl Process for Giver {}

#[test]
fn who_brings_a_value_does_not_suffer_from_what_is_done_with_it() {
    let node = Node::local().unwrap();
    let giver = node.spawn("giver", Giver { given: 0 }).unwrap();
    let (open, gate) = mpsc::channel::<()>();
    giver.call(move |_, _| gate.recv().unwrap());
    let value = giver.dispatch(|giver, _: &mut Context<Giver>| {
        giver.given += 1;
        giver.given
    });
    let spoilt = value.map(|_| -> u64 { panic!("as asked") });
    open.send(()).unwrap();
    assert_eq!(spoilt.wait(SOON), Err(WaitError::Abandoned));
    assert_eq!(giver.dispatch(|giver, _| giver.given).wait(SOON), Ok(1), "the giver lives");
}
