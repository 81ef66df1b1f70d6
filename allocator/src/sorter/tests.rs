use api::resources::Name;

use super::*;

/// `cpus,mem` pairs and the like as amounts.
fn amounts(pool: &mut Pool, text: &str) -> Amounts {
    let mut amounts = Amounts::default();
    for (name, amount) in [Name::CPUS, Name::MEM].iter().zip(text.split(',')) {
        let thousandths = (amount.trim().parse::<f64>().unwrap() * 1000.0).round() as u128;
        amounts.add_one(pool.name(name), thousandths);
    }
    amounts
}

/// Progressive filling: gives one task after another to the first client in order whose task still fits.
///
/// Clients are named A, B, ...; each is its demand and its weight. Answers with who got each task.
fn fill(total: &str, clients: &[(&str, f64)]) -> String {
    let mut pool = Pool::default();
    let mut left = amounts(&mut pool, total);
    pool.grow(&left);
    let names = ["A", "B", "C"];
    let mut sorter = Sorter::default();
    let mut demands = Vec::new();
    for (client, (demand, weight)) in clients.iter().enumerate() {
        assert!(sorter.add(names[client], client));
        sorter.set_weight(names[client], *weight);
        sorter.activate(client);
        demands.push(amounts(&mut pool, demand));
    }
    let mut picks = String::new();
    loop {
        sorter.refresh(&pool);
        sorter.check_invariants(&pool).unwrap();
        let fits = |client: &usize| demands[*client].iter().all(|(name, amount)| left.get(name) >= amount);
        let Some(next) = sorter.iter().find(fits) else { return picks };
        left.subtract(&demands[next]);
        sorter.allocated(next, &demands[next]);
        picks.push_str(names[next]);
    }
}

fn check_fill(total: &str, clients: &[(&str, f64)], order: &str) {
    assert_eq!(fill(total, clients), order);
}

fn check_counts(total: &str, demands: [&str; 2], weights: [f64; 2], counts: [usize; 2]) {
    let picks = fill(total, &[(demands[0], weights[0]), (demands[1], weights[1])]);
    let n_a = picks.matches('A').count();
    assert_eq!([n_a, picks.len() - n_a], counts, "{total} {demands:?} {weights:?}");
}

#[test]
fn v1_progressive_filling() {
    check_fill("9,18", &[("1,4", 1.0), ("3,1", 1.0)], "ABABA");
}

#[test]
fn v2_a_client_whose_task_no_longer_fits_is_skipped() {
    check_fill("10,20", &[("3,2", 1.0), ("1,5", 1.0)], "ABBAB");
}

#[test]
fn v3_and_v4_weights_divide_shares_and_ties_go_to_fewer_allocations() {
    check_fill("9,18", &[("1,4", 2.0), ("3,1", 1.0)], "ABAAB");
    check_fill("9,18", &[("1,4", 1.0), ("3,1", 2.0)], "ABBAA");
}

#[test]
fn v5_and_v6_weights_the_other_total() {
    check_fill("10,20", &[("3,2", 2.0), ("1,5", 1.0)], "ABABB");
    check_fill("10,20", &[("3,2", 1.0), ("1,5", 2.0)], "ABBBA");
}

#[test]
fn v7_equal_demands_split_by_weight() {
    check_fill("12,12", &[("1,1", 2.0), ("1,1", 1.0)], "ABABAABAABAA");
}

#[test]
fn v8_three_clients() {
    check_fill("12,24", &[("2,2", 1.0), ("1,6", 1.0), ("1,2", 1.0)], "ABCCACBC");
}

#[test]
fn larger_totals() {
    let first = ["1,4", "3,1"];
    check_counts("90,180", first, [1.0, 1.0], [30, 20]);
    check_counts("90,180", first, [2.0, 1.0], [41, 16]);
    check_counts("90,180", first, [1.0, 2.0], [18, 24]);
    check_counts("900,1800", first, [1.0, 1.0], [300, 200]);
    check_counts("900,1800", first, [2.0, 1.0], [415, 140]);
    check_counts("900,1800", first, [1.0, 2.0], [180, 240]);
    let second = ["3,2", "1,5"];
    check_counts("100,200", second, [1.0, 1.0], [24, 28]);
    check_counts("100,200", second, [2.0, 1.0], [27, 19]);
    check_counts("100,200", second, [1.0, 2.0], [15, 34]);
    check_counts("1000,2000", second, [1.0, 1.0], [238, 286]);
    check_counts("1000,2000", second, [2.0, 1.0], [277, 169]);
    check_counts("1000,2000", second, [1.0, 2.0], [145, 342]);
}

/// Runs a script over a pool of cpus 100, mem 200 and answers with what `order` and `share` print.
///
/// Lines: `add PATH`, `remove PATH`, `active PATH`, `inactive PATH`, `weight PATH W`,
/// `give PATH CPUS,MEM`, `take PATH CPUS,MEM`, `total CPUS,MEM` (more of it), `order`, `share PATH`.
fn check(script: &str, expected: expect_test::Expect) {
    let mut pool = Pool::default();
    let total = amounts(&mut pool, "100,200");
    pool.grow(&total);
    let mut sorter: Sorter<usize> = Sorter::default();
    let mut paths: Vec<String> = Vec::new();
    let mut out = String::new();
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.split(' ').collect();
        let path = words.get(1).copied().unwrap_or_default();
        let client = paths.iter().position(|known| known == path).unwrap_or_else(|| {
            paths.push(path.to_owned());
            paths.len() - 1
        });
        match words[0] {
            "add" => {
                assert!(sorter.add(path, client), "{line}");
                sorter.activate(client);
            }
            "remove" => sorter.remove(client),
            "active" => assert!(sorter.activate(client), "{line}"),
            "inactive" => assert!(sorter.deactivate(client), "{line}"),
            "weight" => sorter.set_weight(path, words[2].parse().unwrap()),
            "give" => sorter.allocated(client, &amounts(&mut pool, words[2])),
            "take" => sorter.unallocated(client, &amounts(&mut pool, words[2])),
            "total" => {
                let more = amounts(&mut pool, path);
                pool.grow(&more);
            }
            "order" => {
                sorter.refresh(&pool);
                let order: Vec<&str> = sorter.iter().map(|client| paths[client].as_str()).collect();
                out.push_str(&format!("{}\n", order.join(", ")));
            }
            "share" => {
                out.push_str(&format!("{path} {:.4}\n", sorter.weighted_share(path, &pool).unwrap()));
            }
            other => panic!("unknown word `{other}`"),
        }
        sorter.check_invariants(&pool).unwrap();
    }
    expected.assert_eq(&out);
}

const TREE: &str = "
    add eng
    add eng/ml
    add ops
    add ops/db
    add ops/web
    give eng 10,10
    give eng/ml 5,60
    give ops 30,40
    give ops/db 0,0
    give ops/web 8,30
    weight ops 2";

#[test]
fn tree_order() {
    check(
        &format!(
            "{TREE}
            order
            share eng
            share ops
            inactive ops/web
            order
            share ops"
        ),
        expect_test::expect![[r#"
            ops/db, ops/web, ops, eng, eng/ml
            eng 0.3500
            ops 0.1900
            ops/db, ops, eng, eng/ml
            ops 0.1900
        "#]],
    );
}

#[test]
fn a_virtual_leaf_collapses_when_its_last_sibling_leaves() {
    check(
        &format!(
            "{TREE}
            remove ops/db
            remove ops/web
            order
            share ops
            inactive ops
            order
            add ops/db
            order
            active ops
            order"
        ),
        expect_test::expect![[r#"
            ops, eng, eng/ml
            ops 0.1500
            eng, eng/ml
            ops/db, eng, eng/ml
            ops/db, ops, eng, eng/ml
        "#]],
    );
}

#[test]
fn a_parent_added_after_its_children_becomes_a_virtual_leaf() {
    check(
        "add a/b/c
        add a
        give a/b/c 1,1
        order
        give a 2,2
        order
        remove a/b/c
        order
        share a",
        expect_test::expect![[r#"
            a, a/b/c
            a/b/c, a
            a
            a 0.0200
        "#]],
    );
}

#[test]
fn an_inactive_client_counts_for_its_parent_but_is_not_listed() {
    check(
        "add a/x
        add a/y
        add b
        give a/x 50,50
        give b 20,20
        inactive a/x
        order
        inactive a/y
        order
        active a/x
        order",
        expect_test::expect![[r#"
            b, a/y
            b
            b, a/x
        "#]],
    );
}

#[test]
fn the_weight_of_a_path_holds_before_and_after_the_path_exists() {
    check(
        "weight a/b 4
        weight a 2
        add a/b
        add a/c
        add d
        give a/b 40,0
        give a/c 20,0
        give d 29,0
        order
        weight a 4
        order
        share a/b
        share a",
        expect_test::expect![[r#"
            d, a/b, a/c
            a/b, a/c, d
            a/b 0.1000
            a 0.1500
        "#]],
    );
}

#[test]
fn growing_totals_reorder_by_the_resource_that_now_dominates() {
    check(
        "add a
        add b
        give a 10,0
        give b 0,30
        order
        total 100,0
        order",
        expect_test::expect![[r#"
            a, b
            a, b
        "#]],
    );
    check(
        "add a
        add b
        give a 10,0
        give b 0,16
        order
        total 100,0
        order",
        expect_test::expect![[r#"
            b, a
            a, b
        "#]],
    );
}

#[test]
fn paths_with_empty_or_dotted_components_are_refused() {
    let mut sorter: Sorter<u8> = Sorter::default();
    for path in ["", "a//b", "/a", "a/", ".", "a/."] {
        assert!(!sorter.add(path, 1), "{path}");
    }
    assert!(sorter.add("a", 1) && !sorter.add("a", 2) && !sorter.add("b", 1));
}

mod properties;

#[test]
fn an_update_is_no_allocation() {
    let mut pool = Pool::default();
    let (all, one, two) = (amounts(&mut pool, "10,10"), amounts(&mut pool, "1,1"), amounts(&mut pool, "2,2"));
    pool.grow(&all);
    let mut sorter = Sorter::default();
    sorter.add("a", 0);
    sorter.allocated(0, &one);
    sorter.update(0, &one, &two);
    sorter.unallocated(0, &one);
    assert_eq!((sorter.count(0), sorter.held(0)), (1, Some(&one)));
}
