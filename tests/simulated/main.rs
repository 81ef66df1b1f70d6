//! A whole cluster under simulation: three masters, agents and a framework on one thread, in virtual time, through
//! seeded faults. `CLUSTER_SEEDS=10000 cargo test --test simulated` runs as many seeds as one likes,
//! `CLUSTER_SEED=17` that one alone.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)] // A test.

mod agent;
mod framework;
mod world;

use std::time::Duration;

use world::{Account, World};

/// How long the faults go on.
const TROUBLE: Duration = Duration::from_secs(40);

/// After everything is healed: every agent is registered, every update acknowledged, the framework has its offers.
const PEACE: Duration = Duration::from_secs(30);

/// One life of a cluster.
fn live(seed: u64) -> Account {
    let mut world = World::new(seed);
    let end = world.sim.now() + TROUBLE;
    // A cluster that nobody disturbs first.
    world.run_for(Duration::from_secs(3));
    while world.sim.now() < end {
        let pause = Duration::from_millis(world.draw(50..1_500));
        world.run_for(pause);
        world.trouble();
        if world.draw(0..40) == 0 {
            world.mark_gone();
        }
    }
    // Now and then long enough for agents to be given up that did not come back to a new leader.
    if seed % 50 == 49 {
        world.heal();
        world.run_for(Duration::from_secs(5));
        world.crash_leader_and_an_agent();
        world.run_for(Duration::from_secs(640));
    }
    world.heal();
    let healed = world.sim.now();
    let offers = world.with_framework(|framework| framework.n_offers);
    loop {
        let unrest = world.unrest();
        let offered = world.with_framework(|framework| framework.n_offers > offers);
        if unrest.is_none() && offered {
            return world.account();
        }
        let waited = world.sim.now() - healed;
        assert!(
            waited < PEACE,
            "seed {seed}, {waited:?} after everything was healed: {unrest:?}, offered: {offered}"
        );
        world.run_for(Duration::from_millis(100));
    }
}

#[test]
fn clusters_heal_and_lose_nothing() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("CLUSTER_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("CLUSTER_SEEDS").unwrap_or(60),
    };
    let n_seeds = seeds.end - seeds.start;
    let n_threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let parts: Vec<_> = (0..n_threads)
        .map(|part| {
            let seeds = seeds.clone().skip(part as usize).step_by(n_threads as usize);
            std::thread::spawn(move || {
                seeds.map(live).fold(Account::default(), |all, account| Account {
                    leaders: all.leaders + account.leaders,
                    launched: all.launched + account.launched,
                    ended: all.ended + account.ended,
                    ..all
                })
            })
        })
        .collect();
    let mut all = Account::default();
    for part in parts {
        let account = part.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        all.leaders += account.leaders;
        all.launched += account.launched;
        all.ended += account.ended;
    }
    println!(
        "{n_seeds} clusters: {} reigns, {} tasks launched, {} ended",
        all.leaders, all.launched, all.ended
    );
    assert!(n_seeds < 10 || all.leaders as u64 > 2 * n_seeds, "only {} reigns", all.leaders);
    assert!(n_seeds < 10 || all.launched as u64 > 20 * n_seeds, "only {} tasks", all.launched);
}

#[test]
fn a_seed_replays() {
    assert_eq!(live(3), live(3));
}
