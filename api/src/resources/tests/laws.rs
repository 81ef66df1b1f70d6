#![allow(deprecated)] // Both formats of reservations are drawn.

use proptest::prelude::*;

use super::*;
use crate::resources::{downgrade, upgrade};

fn plain() -> impl Strategy<Value = v1::Resource> {
    let amount = (prop::sample::select(vec!["cpus", "mem", "disk", "nuts"]), 0..4_000u64)
        .prop_map(|(name, thousandths)| format!("{name}:{}", thousandths as f64 / 1000.0));
    let ranges =
        (0..20u64, 0..9u64).prop_map(|(begin, length)| format!("ports:[{begin}-{}]", begin + length));
    let items = prop::sample::subsequence(vec!["a", "b", "c"], 1..=3)
        .prop_map(|items| format!("bugs:{{{}}}", items.join(",")));
    prop_oneof![4 => amount, 1 => ranges, 1 => items]
        .prop_map(|text| v1::Resource::from(&crate::resources::parse_list(&text, "*").unwrap()[0]))
}

/// With metadata: allocation, reservations, revocability, disks.
fn any_resource() -> impl Strategy<Value = v1::Resource> {
    let role = prop::sample::select(vec![None, Some("web"), Some("web/shop")]);
    (plain(), role.clone(), role, any::<bool>(), 0..8u8).prop_map(
        |(resource, allocated, reserved, rev, disk)| {
            let role = |role: &str| v1::resource::AllocationInfo { role: Some(role.to_owned()) };
            let resource = v1::Resource {
                allocation_info: allocated.map(role),
                reservations: reserved.map(dynamic).into_iter().collect(),
                revocable: rev.then(RevocableInfo::default),
                ..resource
            };
            let made = |disk: v1::Resource| v1::Resource {
                disk: disk.disk,
                shared: disk.shared,
                ..resource.clone()
            };
            match (resource.name.as_str(), disk) {
                ("disk", 0) => made(volume("disk:1", "v")),
                ("disk", 1) => made(mount("disk:1", "/m")),
                ("disk", 2) => made(path("disk:1", "/p")),
                ("disk", 3) => made(shared(volume("disk:1", "s"))),
                _ => resource,
            }
        },
    )
}

fn some() -> impl Strategy<Value = Resources> {
    prop::collection::vec(any_resource(), 0..8).prop_map(|list| Resources::try_from(&list).unwrap())
}

/// Without numbers or items in both, of which a sum keeps one.
fn disjoint(a: &Resources, b: &Resources) -> bool {
    !a.filter(|entry| entry.scalar().is_none()).intersects(&b.filter(|entry| entry.scalar().is_none()))
}

proptest! {
    #[test]
    fn addition_commutes_and_associates(a in some(), b in some(), c in some()) {
        prop_assert_eq!(a.clone() + &b, b.clone() + &a);
        prop_assert_eq!((a.clone() + &b) + &c, a.clone() + &(b.clone() + &c));
        prop_assert_eq!(a.clone() + &Resources::new(), a.clone());
        let mut moved = a.clone();
        moved += b.clone();
        prop_assert_eq!(moved, a + &b);
    }

    #[test]
    fn what_is_added_can_be_taken_again(a in some(), b in some()) {
        let sum = a.clone() + &b;
        prop_assert!(sum.contains(&a) && sum.contains(&b));
        if disjoint(&a, &b) {
            prop_assert_eq!(sum.clone() - &b, a.clone());
            prop_assert_eq!(sum.scalar_quantities().contains(&a.scalar_quantities()), true);
        }
    }

    #[test]
    fn containing_is_being_able_to_give(a in some(), b in some()) {
        match a.checked_sub(&b) {
            Some(rest) => {
                prop_assert!(a.contains(&b));
                prop_assert_eq!(rest + &b, a);
            }
            None => prop_assert!(!a.contains(&b)),
        }
    }

    #[test]
    fn entries_stay_apart_and_are_never_empty(a in some(), b in some()) {
        for result in [a.clone() + &b, a.clone() - &b, a.clone().unallocated(), a.to_unreserved()] {
            for (i, entry) in result.iter().enumerate() {
                prop_assert!(!entry.is_empty());
                let alike = |other: &&Entry| other.matches(entry) && !entry.is_persistent_volume();
                let whole = entry.disk().is_some();
                prop_assert!(whole || result.iter().skip(i + 1).find(alike).is_none(), "{}", result);
            }
        }
    }

    #[test]
    fn filters_divide(a in some()) {
        prop_assert_eq!(a.reserved() + &a.unreserved(), a.clone());
        prop_assert_eq!(a.revocable() + &a.non_revocable(), a.clone());
        prop_assert_eq!(a.shared() + &a.non_shared(), a.clone());
        let by_role = a.reservations().into_values().fold(a.unreserved(), |sum, part| sum + &part);
        prop_assert_eq!(by_role, a.clone());
        let allocated = a.clone().allocated("x");
        prop_assert_eq!(allocated.allocation_role(), if a.is_empty() { None } else { Some("x") });
        prop_assert_eq!(a.clone().unallocated().quantities(), a.clone().allocated("x").quantities());
    }

    #[test]
    fn reaching_amounts_is_containing_them(a in some(), b in some()) {
        let least = b.quantities();
        prop_assert_eq!(a.reach(&least), a.quantities().contains(&least));
        prop_assert!((a + &b).reach(&b.scalar_quantities()));
    }

    #[test]
    fn order_does_not_matter(a in some(), b in some(), c in some()) {
        let (ab, ba) = (a.clone() + &b, b.clone() + &a);
        prop_assert!(ab.contains(&ba) && ba.contains(&ab));
        prop_assert_eq!(ab.clone() - &c, ba.clone() - &c);
        prop_assert_eq!(c.clone() - &ab, c - &ba);
        prop_assert!((ab - &ba).is_empty());
    }

    #[test]
    fn shrinking_stays_inside(a in some(), b in some()) {
        let target = b.scalar_quantities();
        let shrunk = a.scalars().shrunk_to(&target, |entries| entries.reverse());
        prop_assert!(target.contains(&shrunk.quantities()));
        prop_assert!(a.contains(&shrunk));
    }

    #[test]
    fn messages_carry_it_all(a in some()) {
        // All but how many copies there are.
        let once = Resources::try_from(&a.to_messages()).unwrap();
        prop_assert_eq!(once.non_shared(), a.non_shared());
        prop_assert_eq!(Resources::try_from(&a.to_endpoint_messages()).unwrap(), once);
    }

    #[test]
    fn upgrading_undoes_downgrading(resource in any_resource()) {
        let mut other = resource.clone();
        downgrade(&mut other).unwrap();
        prop_assert!(other.reservations.is_empty() && other.role.is_some());
        upgrade(&mut other).unwrap();
        prop_assert_eq!(other, resource);
    }

    #[test]
    fn what_is_printed_reads_back(list in prop::collection::vec(plain(), 0..8)) {
        let a = Resources::try_from(&list).unwrap();
        let printed = if a.is_empty() { String::new() } else { a.to_string() };
        prop_assert_eq!(Resources::parse(&printed, "*").unwrap(), a);
    }

    #[test]
    fn any_text_gets_an_answer(text in "[a-c(){}\\[\\]:;,0-9. -]{0,24}") {
        let _ = Resources::parse(&text, "*");
        let _ = crate::attributes::parse(&text);
    }
}
