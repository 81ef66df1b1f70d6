//! Random histories in the words of `common`, and settings to run them under.

use std::collections::BTreeSet;
use std::fmt;

use allocator::sorter::SorterKind;
use allocator::{Options, parse_min_allocatable_resources};
use proptest::prelude::*;

/// One line of a script.
#[derive(Clone)]
pub(crate) struct Statement(pub(crate) String);

impl fmt::Debug for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

const ROLES: [&str; 5] = ["r", "r/x", "r/x/y", "s", "*"];

fn total() -> impl Strategy<Value = String> {
    let reserved =
        prop::sample::select(vec!["", "", "", "cpus(r):1;", "cpus(r/x):2;mem(r/x):64;", "cpus(s):2;"]);
    let more = [
        "",
        "",
        "",
        "",
        ";gpus:1",
        ";disk:25;disk@m:20;disk@n:30",
        ";cpus~:2",
        ";disk(r):30",
        ";disk%w(r/x):20",
        ";disk#w(r):20",
        ";ports(r):[9-9]",
    ];
    (1..6u8, 0..4u8, reserved, one_of(&more)).prop_map(|(cpus, mem, reserved, more)| {
        format!("{reserved}cpus:{cpus};mem:{};ports:[1-{cpus}]{more}", u32::from(mem) * 100)
    })
}

fn capabilities() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "",
        "",
        "",
        " caps=gpu",
        " caps=refined",
        " caps=gpu,revocable",
        " caps=shared",
        " caps=shared,revocable,region",
        " where=0",
        " where=!0",
        " min=",
        " min=cpus:2;mem:150",
    ])
}

fn agent() -> impl Strategy<Value = String> {
    (0..3u8).prop_map(|n| format!("a{n}"))
}

fn framework() -> impl Strategy<Value = String> {
    (0..4u8).prop_map(|n| format!("f{n}"))
}

fn role() -> impl Strategy<Value = &'static str> {
    prop::sample::select(ROLES.to_vec())
}

fn roles() -> impl Strategy<Value = String> {
    prop::sample::subsequence(ROLES.to_vec(), 1..3).prop_map(|roles| roles.join(","))
}

fn one_of(words: &[&'static str]) -> impl Strategy<Value = &'static str> + Clone + use<> {
    prop::sample::select(words.to_vec())
}

fn agents_change() -> impl Strategy<Value = String> {
    let used = (role(), framework()).prop_map(|(role, f)| format!("used={f},{role},cpus:1;mem:50"));
    let extra = one_of(&["", "", "", "", " old", " attribute=0", " host=h", " region=there", " region=here"]);
    prop_oneof![
        6 => (agent(), total(), extra).prop_map(|(a, total, extra)| format!("agent {a} {total}{extra}")),
        2 => (agent(), used).prop_map(|(a, used)| format!("agent {a} cpus:3;mem:300 {used}")),
        2 => agent().prop_map(|a| format!("remove_agent {a}")),
        1 => agent().prop_map(|a| format!("deactivate_agent {a}")),
        2 => agent().prop_map(|a| format!("activate_agent {a}")),
        2 => (agent(), total()).prop_map(|(a, total)| format!("total {a} {total}")),
        1 => (agent(), one_of(&["disk:50", "cpus:1;mem:100", "gpus:1"]))
            .prop_map(|(a, total)| format!("provider {a} {total}")),
        1 => (agent(), framework(), one_of(&["r,disk:20", "s,cpus:1;mem:50", "r/x,disk:50"]))
            .prop_map(|(a, f, held)| format!("provider {a} cpus:1;mem:50;disk:50 used={f},{held}")),
        2 => (agent(), 0..3u8).prop_map(|(a, value)| format!("attribute {a} {value}")),
        1 => agent().prop_map(|a| format!("upgrade_agent {a}")),
        1 => one_of(&["all", "all", "h,a0", "a1,a2"]).prop_map(|it| format!("whitelist {it}")),
    ]
}

fn frameworks_change() -> impl Strategy<Value = String> {
    let suppressed =
        || prop_oneof![2 => Just(String::new()), 1 => role().prop_map(|it| format!(" suppressed={it}"))];
    let joining = || {
        (framework(), roles(), capabilities(), suppressed())
            .prop_map(|(f, roles, caps, suppressed)| format!("framework {f} role={roles}{caps}{suppressed}"))
    };
    prop_oneof![
        6 => joining(),
        2 => (framework(), role(), one_of(&["old", "inactive"]))
            .prop_map(|(f, role, extra)| format!("framework {f} role={role} {extra}")),
        1 => framework().prop_map(|f| format!("remove_framework {f}")),
        1 => (framework(), roles()).prop_map(|(f, roles)| format!("failover {f} role={roles}")),
        1 => framework().prop_map(|f| format!("deactivate {f}")),
        2 => framework().prop_map(|f| format!("activate {f}")),
        3 => joining().prop_map(|joining| format!("update_{joining}")),
        1 => (framework(), role()).prop_map(|(f, role)| format!("suppress {f} {role}")),
        2 => (framework(), role(), any::<bool>())
            .prop_map(|(f, role, one)| if one { format!("revive {f} {role}") } else { format!("revive {f}") }),
        2 => (role(), 1..4u8).prop_map(|(role, weight)| format!("weight {role} {weight}")),
    ]
}

fn quota_changes() -> impl Strategy<Value = String> {
    let amounts = ["", " g=cpus:1", " g=cpus:2;mem:100", " g=cpus:6", " g=disk:20", " g=disk:45"];
    let limits = [
        "",
        "",
        " l=cpus:2",
        " l=cpus:3;mem:150",
        " l=cpus:8",
        " l=cpus:0",
        " l=cpus:0;mem:0",
        " l=cpus:1;mem:100",
        " l=disk:0",
        " l=disk:60",
    ];
    let role = one_of(&["r", "r", "s", "s", "q", "*", "r/x"]);
    let quota =
        || (role.clone(), one_of(&amounts), one_of(&limits)).prop_map(|(role, g, l)| format!("{role}{g}{l}"));
    prop_oneof![
        12 => quota().prop_map(|it| format!("quota {it}")),
        1 => (0..4u8, quota()).prop_map(|(n, it)| format!("recover_cluster {n} {it}")),
        2 => Just("recovery_timeout".to_owned()),
    ]
}

fn operations() -> impl Strategy<Value = String> {
    let free = one_of(&[
        "cpus:1 -> cpus(r):1",
        "cpus(r):1 -> cpus:1",
        "mem:64 -> mem(s):64",
        "mem(s):64 -> mem:64",
        "cpus(r/x):1 -> cpus:1",
        "disk(r):10 -> disk#v(r):10",
        "disk#v(r):10 -> disk(r):10",
        "disk(r):10 -> disk%x(r):10",
    ]);
    let held = one_of(&[
        "r cpus:1 -> cpus(r):1",
        "r cpus(r):1 -> cpus:1",
        "r/x mem:50 -> mem(r/x):50",
        "r/x mem(r/x):50 -> mem:50",
        "s cpus:2 -> cpus(s):2",
        "s cpus(s):2 -> cpus:2",
        "r disk(r):10 -> disk#u(r):10",
        "r disk#u(r):10 -> disk(r):10",
        "r disk(r):10 -> disk%x(r):10",
    ]);
    prop_oneof![
        2 => (agent(), free).prop_map(|(a, operation)| format!("convert_free {a} {operation}")),
        3 => (framework(), agent(), held).prop_map(|(f, a, operation)| format!("convert {f} {a} {operation}")),
        1 => (framework(), agent()).prop_map(|(f, a)| format!("use {f} {a}")),
    ]
}

fn maintenance() -> impl Strategy<Value = String> {
    prop_oneof![
        2 => agent().prop_map(|a| format!("unavailable {a}")),
        1 => agent().prop_map(|a| format!("available {a}")),
        2 => (framework(), agent(), one_of(&["", " 0.5", " 3"]))
            .prop_map(|(f, a, seconds)| format!("answer {f} {a}{seconds}")),
    ]
}

fn time_passes() -> impl Strategy<Value = String> {
    let some = prop::sample::select(vec![1, 400, 600, 1000, 3000, 4999, 5000]);
    prop_oneof![
        1 => Just("pause".to_owned()),
        3 => Just("resume".to_owned()),
        2 => (1..6000u16).prop_map(|millis| format!("advance {millis}")),
        2 => some.prop_map(|millis| format!("advance {millis}")),
        6 => Just("run".to_owned()),
        6 => Just("cycle".to_owned()),
    ]
}

/// Some frameworks give back what they have of one agent, or a part of it.
fn return_some() -> impl Strategy<Value = Vec<String>> {
    let who = prop::sample::subsequence(vec!["f0", "f1", "f2", "f3"], 1..5);
    let how = one_of(&["-1", "-1", "0", "0.5", "0.5", "3", "7", "100", "recover"]);
    (who, agent(), how, one_of(&["", "", " first", " half"])).prop_map(|(who, agent, how, part)| {
        let line = |f: &str| match how {
            "recover" => format!("recover {f} {agent}{part}"),
            seconds => format!("decline {f} {agent} {seconds}{part}"),
        };
        who.into_iter().map(line).collect()
    })
}

/// What happens, in twos and threes where one thing leads to another.
pub(crate) fn history() -> impl Strategy<Value = Vec<Statement>> {
    let step = prop_oneof![
        3 => agents_change().prop_map(|it| vec![it]),
        3 => frameworks_change().prop_map(|it| vec![it]),
        2 => quota_changes().prop_map(|it| vec![it]),
        1 => operations().prop_map(|it| vec![it]),
        1 => maintenance().prop_map(|it| vec![it]),
        1 => (maintenance(), agent()).prop_map(|(answer, a)| {
            vec![format!("unavailable {a}"), "cycle".to_owned(), answer, "advance 400".to_owned(), "cycle".to_owned()]
        }),
        2 => return_some(),
        2 => (return_some(), time_passes()).prop_map(|(mut lines, time)| {
            lines.extend([time, "cycle".to_owned()]);
            lines
        }),
        4 => time_passes().prop_map(|it| vec![it]),
    ];
    prop::collection::vec(step, 1..60).prop_map(|steps| steps.into_iter().flatten().map(Statement).collect())
}

/// What an operator may set, in words.
#[derive(Clone)]
pub(crate) struct Settings(pub(crate) String);

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Settings {
    pub(crate) fn options(&self) -> Options {
        let says = |what: &str| self.0.split(' ').any(|word| word == what);
        let excluded =
            if says("no_gpu_shares") { BTreeSet::from(["gpus".to_owned()]) } else { BTreeSet::new() };
        let mut options = Options {
            headroom_scraps: says("scraps"),
            region: says("region=here").then(|| "here".to_owned()),
            fair_sharing_excluded_resource_names: excluded,
            filter_gpu_resources: !says("gpus_for_all"),
            sorter: if says("random") { SorterKind::Random } else { SorterKind::Drf },
            ..Options::default()
        };
        if let Some(sets) = self.0.split(' ').find_map(|word| word.strip_prefix("min=")) {
            options.min_allocatable_resources = parse_min_allocatable_resources(sets).unwrap();
        }
        options
    }
}

pub(crate) fn settings() -> impl Strategy<Value = Settings> {
    let min = one_of(&["", "", "min=", "min=cpus:1;mem:50"]);
    let flags = prop::sample::subsequence(
        vec!["scraps", "region=here", "no_gpu_shares", "gpus_for_all", "random"],
        0..5,
    );
    (flags, min).prop_map(|(mut flags, min)| {
        flags.push(min);
        Settings(flags.join(" "))
    })
}
