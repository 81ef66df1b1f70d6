use api::resources::Name;

use super::*;

/// Adds clients, active, that hold so many of 100 cpus, and prints what `place_of` and `branches` say.
fn check(kind: SorterKind, clients: &[(&'static str, u128)], expected: expect_test::Expect) {
    let mut pool = Pool::default();
    let cpus = pool.name(&Name::CPUS);
    let amounts = |amount| {
        let mut amounts = Amounts::default();
        amounts.add_one(cpus, amount * 1000);
        amounts
    };
    pool.grow(&amounts(100));
    let mut sorter = Sorter::new(kind);
    sorter.set_weight("ops", 2.0);
    for &(path, held) in clients {
        assert!(sorter.add(path, path));
        sorter.activate(path);
        sorter.allocated(path, &amounts(held));
    }
    sorter.deactivate("ops/idle");
    let mut out = String::new();
    for (client, _) in clients {
        out.push_str(&format!("{client}:"));
        for level in sorter.place_of(client, &pool).unwrap().levels {
            let order = match (level.position, level.chance) {
                (Some(position), None) => format!("no. {position}"),
                (None, Some(chance)) => format!("{chance:.2}"),
                (None, None) => "not active".to_owned(),
                (Some(_), Some(_)) => unreachable!(),
            };
            let Rank { path, weighted_share, weight, n_allocations, n_active, .. } = level;
            let dominant = level.dominant.map_or(0.0, |(_, fraction)| fraction);
            out.push_str(&format!(
                " [{path} {order} of {n_active}, {dominant:.2}/{weight}={weighted_share:.2}, {n_allocations}x]"
            ));
        }
        out.push('\n');
    }
    for branch in sorter.branches(&pool) {
        let seat = branch.client.map(|seat| (seat.client, seat.active, seat.held.get(cpus) / 1000));
        let held = branch.held.get(cpus) / 1000;
        out.push_str(&format!(
            "{} {held} {} {:.2} {seat:?}\n",
            branch.path, branch.active, branch.weighted_share
        ));
    }
    assert_eq!(sorter.place_of("nobody", &pool), None);
    expected.assert_eq(&out);
}

const CLIENTS: [(&str, u128); 6] =
    [("eng/ml", 15), ("eng-x", 20), ("ops", 10), ("ops/db", 0), ("ops/web", 10), ("ops/idle", 30)];

#[test]
fn by_dominant_share_a_place_is_a_position_at_each_level() {
    check(
        SorterKind::Drf,
        &CLIENTS,
        expect_test::expect![[r#"
        eng/ml: [eng/ml no. 1 of 1, 0.15/1=0.15, 1x] [eng no. 1 of 3, 0.15/1=0.15, 1x]
        eng-x: [eng-x no. 2 of 3, 0.20/1=0.20, 1x]
        ops: [ops/. no. 2 of 3, 0.10/1=0.10, 1x] [ops no. 3 of 3, 0.50/2=0.25, 4x]
        ops/db: [ops/db no. 1 of 3, 0.00/1=0.00, 1x] [ops no. 3 of 3, 0.50/2=0.25, 4x]
        ops/web: [ops/web no. 3 of 3, 0.10/1=0.10, 1x] [ops no. 3 of 3, 0.50/2=0.25, 4x]
        ops/idle: [ops/idle not active of 3, 0.30/1=0.30, 1x] [ops no. 3 of 3, 0.50/2=0.25, 4x]
        eng 15 true 0.15 None
        eng/ml 15 true 0.15 Some(("eng/ml", true, 15))
        eng-x 20 true 0.20 Some(("eng-x", true, 20))
        ops 50 true 0.25 Some(("ops", true, 10))
        ops/db 0 true 0.00 Some(("ops/db", true, 0))
        ops/idle 30 false 0.30 Some(("ops/idle", false, 30))
        ops/web 10 true 0.10 Some(("ops/web", true, 10))
    "#]],
    );
}

#[test]
fn by_lot_a_place_is_a_chance_at_each_level() {
    check(
        SorterKind::Random,
        &CLIENTS,
        expect_test::expect![[r#"
            eng/ml: [eng/ml 1.00 of 1, 0.15/1=0.15, 1x] [eng 0.25 of 3, 0.15/1=0.15, 1x]
            eng-x: [eng-x 0.25 of 3, 0.20/1=0.20, 1x]
            ops: [ops/. 0.33 of 3, 0.10/1=0.10, 1x] [ops 0.50 of 3, 0.50/2=0.25, 4x]
            ops/db: [ops/db 0.33 of 3, 0.00/1=0.00, 1x] [ops 0.50 of 3, 0.50/2=0.25, 4x]
            ops/web: [ops/web 0.33 of 3, 0.10/1=0.10, 1x] [ops 0.50 of 3, 0.50/2=0.25, 4x]
            ops/idle: [ops/idle not active of 3, 0.30/1=0.30, 1x] [ops 0.50 of 3, 0.50/2=0.25, 4x]
            eng 15 true 0.15 None
            eng/ml 15 true 0.15 Some(("eng/ml", true, 15))
            eng-x 20 true 0.20 Some(("eng-x", true, 20))
            ops 50 true 0.25 Some(("ops", true, 10))
            ops/db 0 true 0.00 Some(("ops/db", true, 0))
            ops/idle 30 false 0.30 Some(("ops/idle", false, 30))
            ops/web 10 true 0.10 Some(("ops/web", true, 10))
        "#]],
    );
}
