use expect_test::{Expect, expect};

use super::*;
use crate::resources::validate_task;

fn check(resources: &[v1::Resource], expected: Expect) {
    expected.assert_eq(&match validate_task(resources) {
        Ok(resources) => resources.to_string(),
        Err(error) => error.to_string(),
    });
}

fn mounted(id: &str, role: Option<&str>, host_path: Option<&str>) -> v1::Resource {
    let mut resource = volume("disk:10", id);
    resource.reservations = role.map(dynamic).into_iter().collect();
    if let Some(disk) = &mut resource.disk {
        let host_path = host_path.map(str::to_owned);
        disk.volume = Some(v1::Volume { container_path: "data".to_owned(), host_path, ..Default::default() });
    }
    resource
}

#[test]
fn what_one_task_may_use() {
    let cpus = message("cpus:1");
    let allocated = |role| v1::Resource::from(&entry(&cpus).allocated(role));
    let unmounted = v1::Resource { reservations: vec![dynamic("a")], ..volume("disk:1", "v") };
    let no_persistence = {
        let mut resource = mounted("v", Some("a"), None);
        resource.disk.as_mut().unwrap().persistence = None;
        resource
    };
    let empty = v1::Resource { disk: Some(Default::default()), ..message("disk:1") };
    let reserved_revocable = v1::Resource { reservations: vec![dynamic("a")], ..revocable("cpus:1") };
    check(
        &[cpus.clone(), message("mem:5"), mounted("v", Some("a"), None)],
        expect!["cpus:1; mem:5; disk(reservations: [(DYNAMIC,a)])[v:data]:10"],
    );
    check(&[mount("disk:5", "/m")], expect!["disk[MOUNT:/m]:5"]);
    check(&[], expect!["no resources"]);
    check(
        &[message("gpus:1"), v1::Resource { scalar: None, ..cpus.clone() }],
        expect!["resource 'cpus' is of type SCALAR: it has 'scalar' set and no other value"],
    );
    check(&[empty], expect!["resource 'disk' has disk information with nothing in it"]);
    check(
        &[no_persistence],
        expect![
            "resource 'disk' says where a volume is mounted but has no persistence id: only persistent volumes have one"
        ],
    );
    check(&[unmounted], expect!["persistent volume 'v' has no `volume` that says where it is mounted"]);
    check(
        &[mounted("v", None, None)],
        expect!["persistent volume 'v' is on unreserved disk; it has to be reserved to a role"],
    );
    check(
        &[mounted("v", Some("a"), Some("/etc"))],
        expect!["persistent volume 'v' sets `host_path`; its place on the host is the agent's to choose"],
    );
    check(
        &[mounted("../v", Some("a"), None)],
        expect!["persistence id '../v': ID '../v' contains the invalid character '/'"],
    );
    check(
        &[mounted("v", Some("a"), None), mounted("v", Some("a"), None)],
        expect!["persistence id 'v' is given twice for one role"],
    );
    check(
        &[mounted("v", Some("a"), None), mounted("v", Some("b"), None)],
        expect!["disk(reservations: [(DYNAMIC,a)])[v:data]:10; disk(reservations: [(DYNAMIC,b)])[v:data]:10"],
    );
    check(
        &[reserved_revocable],
        expect!["resource 'cpus' is revocable and dynamically reserved; it can be one of the two"],
    );
    check(
        &[allocated("a"), allocated("b")],
        expect!["resources are allocated to 'a' and to 'b'; one task uses those of one role"],
    );
    check(
        &[cpus.clone(), revocable("cpus:1")],
        expect!["'cpus' is both revocable and not; one task uses one of the two"],
    );
    check(&[cpus, revocable("mem:1")], expect!["cpus:1; mem{REV}:1"]);
}
