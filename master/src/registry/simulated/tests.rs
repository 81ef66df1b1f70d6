use std::sync::Arc;
use std::time::Duration;

use api::v1::AgentInfo;
use parking_lot::Mutex;
use rand::Rng as _;

use super::super::group::{ELECTION_TICKS, LEASE, TICK};
use super::super::{Kind, Operation, RegistrarError};
use super::{Group, PEACE, TROUBLE, agent};

/// One life of a group; gives how many operations were acknowledged, how many leaders there were, and a digest of
/// everything that happened.
fn live(seed: u64, size: usize) -> (usize, usize, [usize; 3], u64) {
    let mut group = Group::new(seed, size, 1);
    // Some begin in peace, some in the middle of it.
    if seed.is_multiple_of(2) {
        group.run_for(Duration::from_secs(3));
    }
    let end = group.sim.now() + TROUBLE;
    while group.sim.now() < end {
        let pause = Duration::from_millis(group.rng.random_range(1..400));
        group.run_for(pause);
        if group.rng.random_bool(0.5) {
            group.trouble();
        }
        if group.rng.random_bool(0.2) {
            group.operate();
        }
        if group.wishes.len() < 20 {
            (0..group.rng.random_range(0..6)).for_each(|_| group.wish());
        }
        group.attend();
        group.attend_operator();
    }
    group.heal();
    group.wish();
    let deadline = group.sim.now() + PEACE;
    while !group.settled() {
        assert!(group.sim.now() < deadline, "the group of {size} has not settled: {}", group.describe());
        group.run_for(Duration::from_millis(100));
        group.replace_failed();
        group.attend();
        group.complete();
        group.attend_operator();
    }
    (0..size).for_each(|n| group.check_registry(n));
    (group.n_acknowledged, group.n_leaders, group.operator.done, group.sim.digest())
}

#[test]
fn groups_keep_what_they_acknowledged() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("REGISTRY_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("REGISTRY_SEEDS").unwrap_or(100),
    };
    let n_seeds = seeds.end - seeds.start;
    let (mut acknowledged, mut leaders, mut done) = (0, 0, [0; 3]);
    for seed in seeds {
        let size = if seed % 4 == 3 { 5 } else { 3 };
        let (n_acknowledged, n_leaders, n_done, _) = live(seed, size);
        acknowledged += n_acknowledged;
        leaders += n_leaders;
        (0..3).for_each(|n| done[n] += n_done[n]);
    }
    let [added, removed, passed] = done;
    println!(
        "{n_seeds} groups: {acknowledged} operations acknowledged, {leaders} changes of leader; {added} masters \
         added, {removed} removed, {passed} leads passed on"
    );
    assert!(n_seeds < 10 || [added, removed, passed].iter().all(|n| *n as u64 > n_seeds / 5), "{done:?}");
    assert!(n_seeds < 10 || acknowledged as u64 > 20 * n_seeds, "only {acknowledged} operations");
    assert!(n_seeds < 10 || leaders as u64 > 2 * n_seeds, "only {leaders} leaders");
}

#[test]
fn a_seed_replays() {
    assert_eq!(live(5, 3), live(5, 3));
}

#[test]
fn a_member_that_does_not_lead_names_the_leader() {
    let mut group = Group::new(1, 3, 0);
    group.run_for(Duration::from_secs(4));
    let leader = group.leader().expect("a group without faults has a leader");
    let leader_upid = group.pids[leader].as_ref().map(|pid| pid.upid().to_string());
    let follower = group.pids[(leader + 1) % 3].clone().unwrap();
    let operation = Operation::from(Kind::RemoveAgent(agent(1)));
    let answer = Arc::new(Mutex::new(None));
    let answered = Arc::clone(&answer);
    group
        .sim
        .dispatch(&follower, |registrar, ctx| registrar.apply(operation, ctx))
        .flatten()
        .settled(move |result| *answered.lock() = result.ok());
    group.run_for(Duration::from_millis(100));
    assert_eq!(answer.lock().take(), Some(Err(RegistrarError::NotLeading { leader: leader_upid })));
}

/// More than are remembered under their tickets: who has none cannot ask again, so there is nothing to remember.
#[test]
fn any_number_may_be_asked_for_at_once() {
    let mut group = Group::new(1, 3, 0);
    group.run_for(Duration::from_secs(4));
    let leader = group.leader().expect("a group without faults has a leader");
    let pid = group.pids[leader].clone().unwrap();
    let outcomes = Arc::new(Mutex::new(Vec::new()));
    for n in 0..20_000 {
        let outcomes = Arc::clone(&outcomes);
        let info = AgentInfo { id: Some(agent(n)), ..Default::default() };
        let asked = group.sim.dispatch(&pid, move |registrar, ctx| {
            registrar.apply(Operation::from(Kind::AdmitAgent(info)), ctx)
        });
        asked.flatten().settled(move |result| outcomes.lock().push(result.ok()));
    }
    group.run_for(Duration::from_secs(5));
    let outcomes = outcomes.lock();
    assert_eq!(outcomes.len(), 20_000);
    assert!(outcomes.iter().all(|outcome| *outcome == Some(Ok(Ok(())))));
}

/// From the loss of the leader until another one may act: a patience, two rounds of votes, an entry of its own.
#[test]
fn the_next_leader_comes_within_two_seconds() {
    let mut took = Vec::new();
    for seed in 0..20 {
        let mut group = Group::new(seed, 3, 0);
        group.run_for(Duration::from_secs(4));
        let leader = group.leader().expect("a group without faults has a leader");
        group.crash(leader);
        let lost = group.sim.now();
        while group.leader().is_none() {
            group.run_for(Duration::from_millis(10));
            assert!(group.sim.now() - lost < Duration::from_secs(5), "nobody leads, seed {seed}");
        }
        took.push(group.sim.now() - lost);
    }
    took.sort();
    println!("the next leader acts after {:?}, at the latest after {:?}", took[10], took[19]);
    assert!(took[10] < Duration::from_millis(1_500) && took[19] < Duration::from_secs(2), "{took:?}");
}

/// The arithmetic of `docs/failover.md`.
#[test]
fn a_lease_ends_before_a_vote_is_free() {
    let promised = TICK * (ELECTION_TICKS as u32 - 1);
    assert!(LEASE.mul_f64(1.1) < promised, "{LEASE:?} of {promised:?}");
}
