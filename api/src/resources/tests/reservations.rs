#![allow(deprecated)] // The old format is what is tested.

use expect_test::{Expect, expect};

use super::*;
use crate::resources::{ResourceError, downgrade, downgrade_all, to_endpoint, upgrade, validate};
use crate::v1::{Label, Labels};

fn old(role: Option<&str>, reservation: Option<ReservationInfo>) -> v1::Resource {
    v1::Resource { role: role.map(str::to_owned), reservation, ..message("cpus:1") }
}

fn owned_by(principal: &str) -> ReservationInfo {
    ReservationInfo { principal: Some(principal.to_owned()), ..Default::default() }
}

#[test]
fn the_old_format_becomes_a_stack_and_back() {
    let cases = [
        (old(Some("*"), None), "cpus:1"),
        (old(Some("web"), None), "cpus(reservations: [(STATIC,web)]):1"),
        (old(Some("web"), Some(owned_by("joe"))), "cpus(reservations: [(DYNAMIC,web,joe)]):1"),
    ];
    for (before, printed) in cases {
        let mut resource = before.clone();
        upgrade(&mut resource).unwrap();
        assert_eq!((resource.role.as_ref(), resource.reservation.as_ref()), (None, None));
        assert_eq!(entry(&resource).to_string(), printed);
        assert_eq!(entry(&before).to_string(), printed, "both formats are read");
        let mut both = resource.clone();
        to_endpoint(&mut both);
        assert_eq!((&both.role, &both.reservation), (&before.role, &before.reservation));
        assert_eq!(both.reservations, resource.reservations);
        assert_eq!(entry(&both).to_string(), printed, "and both at once");
        downgrade(&mut resource).unwrap();
        assert_eq!(resource, before);
        downgrade(&mut resource).unwrap();
        assert_eq!(resource, before, "what is in it stays");
    }
    assert_eq!(entry(&old(None, None)).to_string(), "cpus:1", "no role is *");
}

#[test]
fn refined_reservations_have_no_old_form() {
    let refined = v1::Resource { reservations: vec![dynamic("a"), dynamic("a/b")], ..message("cpus:1") };
    let mut all = vec![message("mem:1"), refined.clone()];
    assert_eq!(downgrade_all(&mut all), Err(ResourceError::Refined("cpus".to_owned())));
    assert_eq!(all, [message("mem:1"), refined.clone()], "nothing changed");
    let mut shown = refined.clone();
    to_endpoint(&mut shown);
    assert_eq!(shown, refined);
    assert!(entry(&refined).has_refined_reservation());
}

#[test]
fn a_role_gets_what_is_free_its_own_or_its_ancestors() {
    let mut all = resources("cpus:1;cpus(a):2;cpus(b):4");
    all.push(entry(&message("cpus:8")).reserved(dynamic("a")).reserved(dynamic("a/b")));
    let cpus = |r: Resources| r.cpus().to_string();
    assert_eq!(cpus(all.allocatable_to("a")), "3");
    assert_eq!(cpus(all.allocatable_to("a/b")), "11");
    assert_eq!(cpus(all.allocatable_to("c")), "1");
    assert_eq!(cpus(all.reserved_to("a/b")), "8");
    assert_eq!(cpus(all.reserved()), "14");
    assert_eq!(cpus(all.unreserved()), "1");
    assert_eq!(cpus(all.checkpointed()), "8");
    assert_eq!(all.reservations().into_keys().collect::<Vec<_>>(), ["a", "a/b", "b"]);
    assert_eq!(all.reserved_to("a/b").pop_reservation().to_string(), "cpus(reservations: [(DYNAMIC,a)]):8");
    assert_eq!(all.to_unreserved().to_string(), "cpus:15");
}

#[test]
fn reserving_and_unreserving_gives_the_same_again() {
    let plain = resources("cpus:1;mem:5");
    let reserved = plain.clone().push_reservation(&dynamic("a"));
    assert_eq!(reserved.reserved_to("a"), reserved);
    assert_eq!(reserved.pop_reservation(), plain);
}

#[test]
fn labels_have_no_order() {
    let labelled = |pairs: &[(&str, &str)]| {
        let labels =
            pairs.iter().map(|(key, value)| Label { key: (*key).into(), value: Some((*value).into()) });
        let labels = Some(Labels { labels: labels.collect() });
        entry(&message("cpus:1")).reserved(ReservationInfo { labels, ..dynamic("a") })
    };
    let one = labelled(&[("x", "1"), ("y", "2")]);
    assert_eq!(one, labelled(&[("y", "2"), ("x", "1")]));
    assert_ne!(one, labelled(&[("y", "1"), ("x", "2")]));
    assert_ne!(one, labelled(&[("x", "1")]));
    assert_eq!(one.to_string(), "cpus(reservations: [(DYNAMIC,a,{x: 1, y: 2})]):1");
}

fn refused(resource: v1::Resource, expected: Expect) {
    expected.assert_eq(&validate(&resource).unwrap_err().to_string());
}

#[test]
fn what_is_refused() {
    let cpus = message("cpus:1");
    let scalar = |value| Some(v1::value::Scalar { value });
    let stack = |reservations: &[ReservationInfo]| v1::Resource {
        reservations: reservations.to_vec(),
        ..message("cpus:1")
    };
    let ranges = |pairs: &[(u64, u64)]| {
        let range = pairs.iter().map(|&(begin, end)| v1::value::Range { begin, end }).collect();
        v1::Resource { ranges: Some(v1::value::Ranges { range }), ..message("ports:[1-2]") }
    };
    refused(v1::Resource { name: String::new(), ..cpus.clone() }, expect!["a resource has no name"]);
    refused(
        v1::Resource { r#type: 3, ..cpus.clone() },
        expect![[r#"resource 'cpus': its type is SCALAR, RANGES or SET"#]],
    );
    refused(
        v1::Resource { r#type: 9, ..cpus.clone() },
        expect![[r#"resource 'cpus': its type is SCALAR, RANGES or SET"#]],
    );
    refused(
        v1::Resource { scalar: None, ..cpus.clone() },
        expect!["resource 'cpus' is of type SCALAR: it has 'scalar' set and no other value"],
    );
    refused(
        v1::Resource { set: Some(Default::default()), ..cpus.clone() },
        expect!["resource 'cpus' is of type SCALAR: it has 'scalar' set and no other value"],
    );
    refused(
        v1::Resource { scalar: scalar(-1.0), ..cpus.clone() },
        expect!["resource 'cpus': -1 is negative; an amount is zero or more"],
    );
    refused(
        v1::Resource { scalar: scalar(f64::NAN), ..cpus.clone() },
        expect!["resource 'cpus': NaN is no finite number"],
    );
    refused(
        v1::Resource { scalar: scalar(1.5), ..message("gpus:1") },
        expect!["gpus:1.5: devices come whole"],
    );
    refused(ranges(&[(5, 1)]), expect!["resource 'ports': range [5-1] ends before it begins"]);
    refused(ranges(&[(1, 5), (5, 7)]), expect!["resource 'ports': ranges [1-5] and [5-7] overlap"]);
    let twice = v1::value::Set { item: vec!["a".into(), "b".into(), "a".into()] };
    refused(
        v1::Resource { set: Some(twice), ..message("bugs:{a}") },
        expect!["resource 'bugs': 'a' is in the set twice"],
    );
    refused(
        v1::Resource { name: "mem".into(), ..volume("disk:1", "1") },
        expect!["resource 'mem' has disk information; only 'disk' may"],
    );
    let unknown = DiskInfo { source: Some(Source::default()), ..Default::default() };
    refused(
        v1::Resource { disk: Some(unknown.into()), ..message("disk:1") },
        expect!["a disk's source is PATH, MOUNT, BLOCK or RAW"],
    );
    refused(
        old(Some("*"), Some(owned_by("joe"))),
        expect!["resource 'cpus' cannot be reserved to role '*': that is to nobody"],
    );
    refused(
        old(None, Some(owned_by("joe"))),
        expect!["resource 'cpus' cannot be reserved to role '*': that is to nobody"],
    );
    refused(
        old(Some("a b"), None),
        expect!["resource 'cpus': Role 'a b' contains the invalid character ' '"],
    );
    refused(
        old(Some("a"), Some(dynamic("a"))),
        expect!["resource 'cpus': its `reservation` may not set `type` or `role`; `reservations` may"],
    );
    refused(
        stack(&[ReservationInfo { role: None, ..dynamic("a") }]),
        expect!["a reservation of 'cpus' names no role"],
    );
    refused(
        stack(&[ReservationInfo { r#type: None, ..dynamic("a") }]),
        expect!["a reservation of 'cpus' is of type STATIC or DYNAMIC"],
    );
    refused(
        stack(&[dynamic("*")]),
        expect!["resource 'cpus' cannot be reserved to role '*': that is to nobody"],
    );
    refused(
        stack(&[dynamic("a/")]),
        expect![
            "resource 'cpus': Role 'a/' must not start or end with a slash, nor contain two slashes in a row"
        ],
    );
    refused(
        stack(&[dynamic("a"), dynamic("ab")]),
        expect![
            "resource 'cpus': the reservation to 'ab' does not refine that to 'a'; a subrole of it would"
        ],
    );
    let refined_static =
        ReservationInfo { r#type: Some(reservation_info::Type::Static.into()), ..dynamic("a/b") };
    refused(
        stack(&[dynamic("a"), refined_static]),
        expect![
            "resource 'cpus': only its first reservation may be STATIC, as that is made by an agent's flags"
        ],
    );
}
