//! The sorter alone: clients in a tree, and allocations that move them about.

use std::time::Duration;

use allocator::amounts::{Amounts, Pool};
use allocator::sorter::Sorter;
use api::resources::Resources;

use super::cluster::{Result, expect, fragmented_ports, resources};
use super::figures::{Figures, timed};

/// All clients beside each other.
pub(super) fn flat(to: &mut Figures, n_agents: usize, n_clients: usize) -> Result<()> {
    let paths = (0..n_clients).map(|n| n.to_string()).collect();
    let name = format!("Sorter, DRF, flat: {n_agents} x {n_clients}");
    let [allocate, unallocate] = measure(to, &name, n_agents, paths)?;
    to.note(format!("{name}: allocate all"), allocate, 0, 0).beside(76.0, 20.0);
    to.note(format!("{name}: unallocate all"), unallocate, 0, 0).beside(1_946.0, 20.0);
    Ok(())
}

/// About a thousand clients in trees of three shapes; every node but the root is a client.
pub(super) fn hierarchies(to: &mut Figures, n_agents: usize) -> Result<()> {
    for (height, branching) in [(3, 32), (7, 3), (10, 2)] {
        let mut paths = Vec::new();
        grow(&mut paths, "", height - 1, branching);
        let name = format!("Sorter, DRF, {height} high, {branching} wide: {n_agents} x {}", paths.len());
        let [allocate, unallocate] = measure(to, &name, n_agents, paths)?;
        to.note(format!("{name}: allocate all"), allocate, 0, 0);
        to.note(format!("{name}: unallocate all"), unallocate, 0, 0);
    }
    Ok(())
}

/// Children before their parents.
fn grow(paths: &mut Vec<String>, parent: &str, height: usize, branching: usize) {
    for n in 0..branching {
        let path = if parent.is_empty() { n.to_string() } else { format!("{parent}/{n}") };
        if height > 1 {
            grow(paths, &path, height - 1, branching);
        }
        paths.push(path);
    }
}

/// Notes what sorting takes, and gives the times of all allocations and of taking all of them back.
fn measure(to: &mut Figures, name: &str, n_agents: usize, paths: Vec<String>) -> Result<[Duration; 2]> {
    let mut pool = Pool::default();
    let mut sorter = Sorter::default();
    for (client, path) in paths.iter().enumerate() {
        sorter.add(path, client);
    }
    (0..paths.len()).for_each(|client| _ = sorter.activate(client));
    let agent = amounts(&mut pool, &resources("cpus:24;mem:4096;disk:4096")?);
    (0..n_agents).for_each(|_| pool.grow(&agent));
    let mut used = resources("cpus:16;mem:2014;disk:1024")?;
    used.push(fragmented_ports(100)?);
    sorter.refresh(&pool);

    let (allocate, ()) = timed(|| {
        for agent in 0..n_agents {
            let amounts = amounts(&mut pool, &used);
            sorter.allocated(agent % paths.len(), &amounts);
        }
    });
    let (sort, ()) = timed(|| sorter.refresh(&pool));
    expect("clients in order", sorter.iter().count(), paths.len())?;
    to.note(format!("{name}: sort after these"), sort, 0, 0);
    let (again, ()) = timed(|| sorter.refresh(&pool));
    to.note(format!("{name}: sort when sorted"), again, 0, 0);

    // What a cycle does: one is allocated something, and then the order is asked for.
    let one = amounts(&mut pool, &used);
    let (each, n) = timed(|| {
        let mut n = 0;
        for client in 0..paths.len() {
            sorter.allocated(client, &one);
            sorter.refresh(&pool);
            n += usize::from(sorter.iter().next().is_some());
        }
        n
    });
    expect("first clients", n, paths.len())?;
    to.note(format!("{name}: allocate one and sort, mean"), each / n as u32, 0, 0);
    (0..paths.len()).for_each(|client| sorter.unallocated(client, &one));

    let (unallocate, ()) = timed(|| {
        for agent in 0..n_agents {
            let amounts = amounts(&mut pool, &used);
            sorter.unallocated(agent % paths.len(), &amounts);
        }
    });
    expect("what is held in the end", usize::from(!sorter.held_by_all().is_empty()), 0)?;
    Ok([allocate, unallocate])
}

/// What the allocator makes of resources before it tells the sorter.
fn amounts(pool: &mut Pool, resources: &Resources) -> Amounts {
    let mut amounts = Amounts::default();
    for entry in resources {
        if let Some(scalar) = entry.scalar() {
            amounts.add_one(pool.name(entry.name()), u128::from(scalar.thousandths()));
        }
    }
    amounts
}
