use rand::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;

use super::*;
use crate::amounts::Pool;
use crate::sorter::SorterKind;

fn rng(seed: u64) -> Xoshiro256PlusPlus {
    Xoshiro256PlusPlus::seed_from_u64(seed)
}

/// Active clients, named by their place in the list, with weights.
fn sorter(clients: &[(&str, f64)]) -> Sorter<usize> {
    let mut sorter = Sorter::new(SorterKind::Random);
    for (client, (path, weight)) in clients.iter().enumerate() {
        assert!(sorter.add(path, client));
        sorter.set_weight(path, *weight);
        sorter.activate(client);
    }
    sorter.refresh(&Pool::default());
    sorter
}

/// How often each client got the turn number `turn`, from 0, in thousandths of all draws.
fn check_turn(sorter: &Sorter<usize>, turn: usize, expected: &[(usize, f64)]) {
    const N: usize = 20_000;
    let mut rng = rng(7);
    let mut counts = [0; 8];
    for _ in 0..N {
        counts[sorter.turns(&mut rng).nth(turn).unwrap()] += 1;
    }
    for &(client, chance) in expected {
        let drawn = counts[client] as f64 / N as f64;
        assert!((drawn - chance).abs() < 0.02, "client {client}: {drawn}, expected {chance}");
    }
}

#[test]
fn the_first_turn_goes_by_weight() {
    let weights = [1.0, 2.0, 3.0, 4.0, 5.0];
    let sorter = sorter(&[("a", 1.0), ("b", 2.0), ("c", 3.0), ("d", 4.0), ("e", 5.0)]);
    check_turn(&sorter, 0, &[0, 1, 2, 3, 4].map(|client| (client, weights[client] / 15.0)));
    // The second one goes by weight among those the first one left.
    let second = |client: usize| -> f64 {
        let firsts = (0..5).filter(|first| *first != client);
        firsts.map(|first| weights[first] / 15.0 * weights[client] / (15.0 - weights[first])).sum()
    };
    check_turn(&sorter, 1, &[0, 1, 2, 3, 4].map(|client| (client, second(client))));
}

#[test]
fn relative_weights_are_products_over_the_path() {
    let clients = [("a", 1.0), ("a/b", 2.0), ("c/d", 1.0), ("c/e", 2.0)];
    let mut sorter = sorter(&clients);
    sorter.set_weight("c", 2.0);
    let chances = [(0, 1.0 / 9.0), (1, 2.0 / 9.0), (2, 2.0 / 9.0), (3, 4.0 / 9.0)];
    check_turn(&sorter, 0, &chances);
    sorter.refresh(&Pool::default());
    check_turn(&sorter, 0, &chances);
}

#[test]
fn only_active_siblings_share_a_parents_weight() {
    let mut sorter = sorter(&[("a/x", 1.0), ("a/y", 3.0), ("b", 1.0), ("c/z", 8.0)]);
    sorter.deactivate(3);
    check_turn(&sorter, 0, &[(0, 0.125), (1, 0.375), (2, 0.5), (3, 0.0)]);
    sorter.deactivate(1);
    check_turn(&sorter, 0, &[(0, 0.5), (1, 0.0), (2, 0.5), (3, 0.0)]);
    sorter.activate(3);
    sorter.remove(0);
    check_turn(&sorter, 0, &[(2, 0.5), (3, 0.5)]);
}

#[test]
fn the_light_get_their_turn_after_one_that_outweighs_all() {
    let sorter = sorter(&[("a", 1e300), ("b", 1e-300), ("c", 1e-300), ("d", 1e-300)]);
    check_turn(&sorter, 0, &[(0, 1.0)]);
    check_turn(&sorter, 1, &[(0, 0.0), (1, 1.0 / 3.0), (2, 1.0 / 3.0), (3, 1.0 / 3.0)]);
    assert_eq!(sorter.turns(&mut rng(1)).count(), 4);
}

#[test]
fn more_than_the_first_few_are_drawn_without_a_repetition() {
    let paths: Vec<String> = (0..1000).map(|client| format!("role{client}")).collect();
    let clients: Vec<(&str, f64)> = paths.iter().map(|path| (path.as_str(), 1.0)).collect();
    let sorter = sorter(&clients);
    let mut turns: Vec<usize> = sorter.turns(&mut rng(3)).collect();
    assert_ne!(turns, sorter.turns(&mut rng(4)).collect::<Vec<_>>());
    assert_eq!(turns, sorter.turns(&mut rng(3)).collect::<Vec<_>>());
    turns.sort_unstable();
    assert_eq!(turns, (0..1000).collect::<Vec<_>>());
}

#[test]
fn nobody_has_no_turn() {
    let mut sorter = sorter(&[("a", 1.0)]);
    sorter.deactivate(0);
    assert_eq!(sorter.turns(&mut rng(1)).next(), None);
    sorter.refresh(&Pool::default());
    assert_eq!(sorter.turns(&mut rng(1)).next(), None);
}
