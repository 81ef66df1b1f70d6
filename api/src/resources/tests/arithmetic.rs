use super::*;
use crate::resources::{Limits, Name, Quantities, Scalar};

#[test]
fn an_entry_is_a_cache_line() {
    assert_eq!(size_of::<Entry>(), 64);
}

#[test]
fn alike_entries_add_up() {
    let sum =
        resources("cpus:1.5;mem:512;ports:[1-5];bugs:{a}") + &resources("ports:[4-9];cpus:0.5;bugs:{b}");
    assert_eq!(sum.to_string(), "cpus:2; mem:512; ports:[1-9]; bugs:{a, b}");
    assert_eq!(resources("cpus:0;mem:0"), Resources::new());
}

#[test]
fn reservations_allocation_and_revocability_keep_entries_apart() {
    let mut all = resources("cpus:1;cpus(web):2");
    all.push(entry(&revocable("cpus:4")));
    all += resources("cpus:8").allocated("web");
    assert_eq!(
        all.to_string(),
        "cpus:1; cpus(reservations: [(STATIC,web)]):2; cpus{REV}:4; cpus(allocated: web):8"
    );
    assert_eq!(all.cpus(), Scalar::from_units(15));
    assert!(!all.contains(&resources("cpus:2")));
    assert_eq!(all.clone().unallocated().to_unreserved().to_string(), "cpus:11; cpus{REV}:4");
    assert_eq!(all.revocable().cpus(), Scalar::from_units(4));
    assert_eq!(all.non_revocable().cpus(), Scalar::from_units(11));
    assert_eq!(all.allocations()["web"].cpus(), Scalar::from_units(8));
    assert_eq!(all.allocation_role(), None);
    assert_eq!(all.clone().allocated("db").allocation_role(), Some("db"));
}

#[test]
fn subtraction_takes_what_there_is() {
    let rest = resources("cpus:1;ports:[1-10]") - &resources("cpus:2;mem:1;ports:[5-20]");
    assert_eq!(rest.to_string(), "ports:[1-4]");
    assert_eq!(resources("cpus:1").checked_sub(&resources("cpus:2")), None);
    assert_eq!(resources("cpus:2").checked_sub(&resources("cpus:2")), Some(Resources::new()));
}

#[test]
fn persistent_volumes_are_there_or_not() {
    let volume_1 = entry(&volume("disk:10", "1"));
    let mut all: Resources = [volume_1.clone(), entry(&volume("disk:10", "2"))].into_iter().collect();
    assert_eq!(all.len(), 2);
    assert_eq!(all.disk(), Scalar::from_units(20));
    assert!(all.contains_entry(&volume_1));
    assert!(!all.contains_entry(&entry(&volume("disk:5", "1"))), "not in part");
    let twice: Resources = [volume_1.clone(), volume_1.clone()].into_iter().collect();
    assert!(!all.contains(&twice), "not twice");
    all.subtract(&volume_1);
    assert_eq!(all.to_string(), "disk[2]:10");
}

#[test]
fn how_a_volume_is_mounted_is_kept_but_not_compared() {
    let mut mounted = volume("disk:10", "1");
    mounted.disk.as_mut().unwrap().volume =
        Some(v1::Volume { container_path: "data".to_owned(), ..Default::default() });
    let (plain, mounted) = (entry(&volume("disk:10", "1")), entry(&mounted));
    assert_eq!(plain, mounted);
    assert_eq!(mounted.to_string(), "disk[1:data]:10");
}

#[test]
fn whole_disks_are_used_whole_and_paths_in_parts() {
    let mut disks = Resources::from_iter([
        entry(&mount("disk:100", "/a")),
        entry(&path("disk:100", "/b")),
        entry(&path("disk:50", "/b")),
    ]);
    assert_eq!(disks.to_string(), "disk[MOUNT:/a]:100; disk[PATH:/b]:150");
    assert!(!disks.contains_entry(&entry(&mount("disk:99", "/a"))));
    assert!(disks.contains_entry(&entry(&path("disk:149", "/b"))));
    disks.subtract(&entry(&mount("disk:100", "/a")));
    assert_eq!(disks.disk(), Scalar::from_units(150));
}

#[test]
fn shared_volumes_are_counted_but_weigh_once() {
    let one: Resources = [entry(&shared(volume("disk:10", "1")))].into_iter().collect();
    let mut two = one.clone() + &one;
    assert_eq!((two.len(), two.iter().next().unwrap().copies()), (1, 2));
    assert_eq!(two.quantities().to_string(), "disk:10");
    assert!(two.contains(&one) && !one.contains(&two) && one != two);
    two -= &one;
    assert_eq!(two, one);
    two -= &one;
    assert!(two.is_empty());
}

#[test]
fn quantities_count_elements() {
    let all = resources("cpus:1;cpus(web):0.5;ports:[1-5,8-8];bugs:{a,b}");
    assert_eq!(all.quantities().to_string(), "bugs:2; cpus:1.5; ports:6");
    assert_eq!(all.scalar_quantities().to_string(), "cpus:1.5");
}

#[test]
fn shrinking_cuts_what_can_be_cut() {
    let mut all = resources("cpus:4;cpus(web):4;mem:512;disk:10");
    all.push(entry(&mount("disk:100", "/a")));
    let target = Quantities::from_iter([("cpus", Scalar::from_units(5)), ("disk", Scalar::from_units(50))]);
    assert_eq!(
        all.shrunk_to(&target, |_| ()).to_string(),
        "cpus:4; cpus(reservations: [(STATIC,web)]):1; disk:10"
    );
    assert_eq!(
        all.shrunk_to(&target, |entries| entries.reverse()).to_string(),
        "disk:10; cpus(reservations: [(STATIC,web)]):4; cpus:1"
    );
    let limits = Limits::from_iter([("cpus", Scalar::ZERO), ("disk", Scalar::from_units(110))]);
    assert_eq!(all.shrunk_within(&limits, |_| ()).to_string(), "mem:512; disk:10; disk[MOUNT:/a]:100");
    assert_eq!(limits.get(&Name::MEM), None);
}

#[test]
fn the_object_of_state_always_has_four_names() {
    let json = |r: &Resources| serde_json::to_string(&crate::resources::Classic(r)).unwrap();
    assert_eq!(json(&Resources::new()), r#"{"cpus":0.0,"gpus":0.0,"mem":0.0,"disk":0.0}"#);
    let mut all = resources("ports:[31000-31005,31007-32000];cpus:1.5;cpus(web):1;bugs:{b,a};mem(web):5");
    all.push(entry(&revocable("cpus:3")));
    all.push(entry(&revocable("nuts:1")));
    assert_eq!(
        json(&all),
        concat!(
            r#"{"cpus":2.5,"gpus":0.0,"mem":5.0,"disk":0.0,"ports":"[31000-31005, 31007-32000]","#,
            r#""bugs":"{a, b}","cpus_revocable":3.0,"nuts_revocable":1.0}"#
        )
    );
}
