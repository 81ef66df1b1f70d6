//! Properties over random histories of changes to a tree.

use proptest::prelude::*;
use rand::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;

use super::*;

const PATHS: [&str; 8] = ["a", "a/b", "a/b/c", "a/d", "e", "e/f", "g/h/i", "g"];

#[derive(Clone, Debug)]
enum Step {
    Add(usize),
    Remove(usize),
    Active(usize, bool),
    Weight(usize, u8),
    Give(usize, u16, u16),
    TakeAll(usize),
    Grow(u16, u16),
    Refresh,
}

fn step() -> impl Strategy<Value = Step> {
    let client = 0..PATHS.len();
    prop_oneof![
        3 => client.clone().prop_map(Step::Add),
        1 => client.clone().prop_map(Step::Remove),
        4 => (client.clone(), any::<bool>()).prop_map(|(client, on)| Step::Active(client, on)),
        1 => (client.clone(), 1u8..5).prop_map(|(client, weight)| Step::Weight(client, weight)),
        6 => (client.clone(), 0u16..9, 0u16..9).prop_map(|(client, cpus, mem)| Step::Give(client, cpus, mem)),
        2 => client.prop_map(Step::TakeAll),
        1 => (0u16..5, 0u16..5).prop_map(|(cpus, mem)| Step::Grow(cpus, mem)),
        4 => Just(Step::Refresh),
    ]
}

proptest! {
    /// However changes are interleaved with refreshes, the order is that of a full sort, and a sorter
    /// that refreshes after every step agrees with one that refreshes rarely. By lot, every active client
    /// has one turn and no other has any, refreshed or not.
    #[test]
    fn the_lazy_order_is_the_full_order(steps in prop::collection::vec(step(), 1..120)) {
        let mut pool = Pool::default();
        let total = amounts(&mut pool, "100,100");
        pool.grow(&total);
        let mut lazy = Sorter::default();
        let mut eager = Sorter::default();
        let mut random = Sorter::new(SorterKind::Random);
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(steps.len() as u64);
        for step in steps {
            for sorter in [&mut lazy, &mut eager, &mut random] {
                match step.clone() {
                    Step::Add(client) => { sorter.add(PATHS[client], client); }
                    Step::Remove(client) => sorter.remove(client),
                    Step::Active(client, true) => { sorter.activate(client); }
                    Step::Active(client, false) => { sorter.deactivate(client); }
                    Step::Weight(client, weight) => sorter.set_weight(PATHS[client], f64::from(weight)),
                    Step::Give(client, cpus, mem) => {
                        sorter.allocated(client, &amounts(&mut pool, &format!("{cpus},{mem}")));
                    }
                    Step::TakeAll(client) => {
                        let held = sorter.held(client).cloned().unwrap_or_default();
                        sorter.unallocated(client, &held);
                    }
                    Step::Grow(..) | Step::Refresh => {}
                }
            }
            if let Step::Grow(cpus, mem) = step {
                let more = amounts(&mut pool, &format!("{cpus},{mem}"));
                pool.grow(&more);
            }
            eager.refresh(&pool);
            if matches!(step, Step::Refresh) {
                lazy.refresh(&pool);
                random.refresh(&pool);
                prop_assert_eq!(lazy.iter().collect::<Vec<_>>(), eager.turns(&mut rng).collect::<Vec<_>>());
            }
            let mut turns: Vec<usize> = random.turns(&mut rng).collect();
            turns.sort_unstable();
            let mut active: Vec<usize> = eager.iter().collect();
            active.sort_unstable();
            prop_assert_eq!(turns, active);
            for sorter in [&lazy, &eager, &random] {
                sorter.check_invariants(&pool).map_err(TestCaseError::fail)?;
            }
        }
    }

    /// What the tree keeps is what follows from its clients alone: shares, activity and places.
    #[test]
    fn shares_are_those_recomputed_from_scratch(
        steps in prop::collection::vec(step(), 1..120),
        kind in prop_oneof![Just(SorterKind::Drf), Just(SorterKind::Random)],
    ) {
        let mut pool = Pool::default();
        let total = amounts(&mut pool, "100,100");
        pool.grow(&total);
        let mut sorter = Sorter::new(kind);
        let mut model = Model { total: [100.0; 2], ..Model::default() };
        for step in steps {
            match step {
                Step::Add(client) => {
                    let added = sorter.add(PATHS[client], client);
                    prop_assert_eq!(added, !model.clients.contains_key(PATHS[client]));
                    model.clients.entry(PATHS[client]).or_default();
                }
                Step::Remove(client) => {
                    sorter.remove(client);
                    model.clients.remove(PATHS[client]);
                }
                Step::Active(client, on) => {
                    if on { sorter.activate(client) } else { sorter.deactivate(client) };
                    model.change(client, |known| known.active = on);
                }
                Step::Weight(client, weight) => {
                    sorter.set_weight(PATHS[client], f64::from(weight));
                    model.weights.insert(PATHS[client].to_owned(), f64::from(weight));
                }
                Step::Give(client, cpus, mem) => {
                    sorter.allocated(client, &amounts(&mut pool, &format!("{cpus},{mem}")));
                    model.change(client, |known| {
                        known.held[0] += f64::from(cpus);
                        known.held[1] += f64::from(mem);
                    });
                }
                Step::TakeAll(client) => {
                    let held = sorter.held(client).cloned().unwrap_or_default();
                    sorter.unallocated(client, &held);
                    model.change(client, |known| known.held = [0.0; 2]);
                }
                Step::Grow(cpus, mem) => {
                    let more = amounts(&mut pool, &format!("{cpus},{mem}"));
                    pool.grow(&more);
                    model.total[0] += f64::from(cpus);
                    model.total[1] += f64::from(mem);
                }
                Step::Refresh => sorter.refresh(&pool),
            }
            let branches = sorter.branches(&pool);
            let branches = branches.map(|it| (it.path, it.weight, it.weighted_share, it.active));
            prop_assert_eq!(branches.collect::<Vec<_>>(), model.branches());
            sorter.check_invariants(&pool).map_err(TestCaseError::fail)?;
        }
        sorter.refresh(&pool);
        if kind == SorterKind::Drf {
            let positions = |client: &usize| -> Vec<usize> {
                let levels = sorter.place_of(*client, &pool).unwrap().levels;
                levels.iter().rev().map(|level| level.position.unwrap()).collect()
            };
            let order: Vec<usize> = sorter.iter().collect();
            let mut by_place = order.clone();
            by_place.sort_by_key(positions);
            prop_assert_eq!(order, by_place);
        } else {
            let chance = |client: usize| -> f64 {
                let levels = sorter.place_of(client, &pool).unwrap().levels;
                levels.iter().map(|level| level.chance.unwrap()).product()
            };
            let chances: f64 = sorter.iter().map(chance).sum();
            prop_assert!((chances - f64::from(u8::from(sorter.has_active()))).abs() < 1e-9);
        }
    }
}

/// The same tree, told from its clients each time anew.
#[derive(Default)]
struct Model {
    clients: BTreeMap<&'static str, Known>,
    weights: BTreeMap<String, f64>,
    total: [f64; 2],
}

#[derive(Default)]
struct Known {
    active: bool,
    held: [f64; 2],
}

impl Model {
    fn change(&mut self, client: usize, f: impl Fn(&mut Known)) {
        self.clients.get_mut(PATHS[client]).into_iter().for_each(f);
    }

    /// Every path with its weight, its weighted share and whether it is active. No component in `PATHS`
    /// has a byte less than `/`, so the order of whole texts is that of the tree.
    fn branches(&self) -> Vec<(String, f64, f64, bool)> {
        let mut branches: BTreeMap<String, ([f64; 2], bool)> = BTreeMap::new();
        for (path, known) in &self.clients {
            let ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
            for end in ends {
                let (held, active) = branches.entry(path[..end].to_owned()).or_default();
                held[0] += known.held[0];
                held[1] += known.held[1];
                *active |= known.active;
            }
        }
        let branches = branches.into_iter().map(|(path, (held, active))| {
            let weight = self.weights.get(&path).copied().unwrap_or(1.0);
            let share = f64::max(held[0] / self.total[0], held[1] / self.total[1]);
            (path, weight, share / weight, active)
        });
        branches.collect()
    }
}
