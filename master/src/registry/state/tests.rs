//! Operations on agents, and what they cost.

use super::super::operation::{Marked, Prune};
use super::*;

fn agent(id: &str) -> AgentInfo {
    AgentInfo { hostname: "h".into(), id: Some(AgentId::from(id)), ..Default::default() }
}

fn id(id: &str) -> AgentId {
    AgentId::from(id)
}

fn marked(agent: &str, nanoseconds: i64) -> Marked {
    Marked { agent_id: id(agent), time: TimeInfo { nanoseconds } }
}

/// Each line an operation with its outcome, then the registry in short.
fn check(operations: Vec<Kind>, expected: expect_test::Expect) {
    let mut registry = Registry::default();
    let mut out = String::new();
    for kind in operations {
        match registry.apply(&kind.into()) {
            Ok(()) => out.push_str("ok\n"),
            Err(refused) => out.push_str(&format!("{refused}\n")),
        }
    }
    let names = |ids: Vec<&AgentId>| ids.iter().map(|id| id.value.as_str()).collect::<Vec<_>>().join(",");
    out.push_str(&format!(
        "admitted={} unreachable={} gone={}\n",
        names(registry.admitted().map(|(id, _)| id).collect()),
        names(registry.unreachable().map(|(id, _)| id).collect()),
        names(registry.gone().map(|(id, _)| id).collect()),
    ));
    assert_eq!(Registry::from_proto(registry.to_proto()), Ok(registry), "proto round trip");
    expected.assert_eq(&out);
}

#[test]
fn an_agent_is_admitted_once() {
    check(
        vec![Kind::AdmitAgent(agent("a")), Kind::AdmitAgent(agent("a"))],
        expect_test::expect![[r#"
                ok
                agent a is already admitted
                admitted=a unreachable= gone=
            "#]],
    );
}

#[test]
fn only_admitted_agents_are_updated_removed_or_lost() {
    check(
        vec![
            Kind::UpdateAgent(agent("a")),
            Kind::RemoveAgent(id("a")),
            Kind::MarkUnreachable(marked("a", 1)),
            Kind::AdmitAgent(AgentInfo::default()),
        ],
        expect_test::expect![[r#"
                agent a is not admitted
                agent a is not admitted
                agent a is not admitted
                the agent information has no id
                admitted= unreachable= gone=
            "#]],
    );
}

#[test]
fn a_lost_agent_comes_back() {
    check(
        vec![
            Kind::AdmitAgent(agent("a")),
            Kind::AdmitAgent(agent("b")),
            Kind::MarkUnreachable(marked("b", 1)),
            Kind::MarkUnreachable(marked("a", 2)),
            Kind::MarkReachable(agent("a")),
            Kind::MarkReachable(agent("a")),
            Kind::MarkReachable(agent("c")),
        ],
        expect_test::expect![[r#"
                ok
                ok
                ok
                ok
                ok
                ok
                ok
                admitted=a,c unreachable=b gone=
            "#]],
    );
}

#[test]
fn gone_is_final_until_pruned() {
    check(
        vec![
            Kind::AdmitAgent(agent("a")),
            Kind::AdmitAgent(agent("b")),
            Kind::AdmitAgent(agent("c")),
            Kind::MarkUnreachable(marked("b", 1)),
            Kind::MarkUnreachable(marked("c", 1)),
            Kind::MarkGone(marked("a", 2)),
            Kind::MarkGone(marked("b", 3)),
            Kind::MarkGone(marked("a", 4)),
            Kind::MarkGone(marked("x", 4)),
            Kind::Prune(Prune { unreachable: vec![id("c")], gone: vec![id("a"), id("nobody")] }),
        ],
        expect_test::expect![[r#"
                ok
                ok
                ok
                ok
                ok
                ok
                ok
                agent a is already marked gone
                agent x is neither admitted nor unreachable
                ok
                admitted= unreachable= gone=b
            "#]],
    );
}

#[test]
fn gone_agents_never_come_back() {
    check(
        vec![
            Kind::AdmitAgent(agent("a")),
            Kind::MarkGone(marked("a", 1)),
            Kind::MarkReachable(agent("a")),
            Kind::AdmitAgent(agent("a")),
            Kind::UpdateAgent(agent("a")),
            Kind::Prune(Prune { unreachable: vec![], gone: vec![id("a")] }),
            Kind::MarkReachable(agent("a")),
        ],
        expect_test::expect![[r#"
                ok
                ok
                agent a is already marked gone
                agent a is already marked gone
                agent a is already marked gone
                ok
                ok
                admitted=a unreachable= gone=
            "#]],
    );
}

#[test]
fn refusals_are_stored_as_numbers_and_of_bounded_length() {
    let all = [
        Refused::AlreadyAdmitted("a".into()),
        Refused::NotAdmitted("a".into()),
        Refused::AlreadyGone("a".into()),
        Refused::NoId,
        Refused::UnknownKind,
        Refused::TooLate,
        Refused::Unknown("a".into()),
        Refused::NotDraining("a".into()),
        Refused::NotDeactivated("a".into()),
        Refused::StillDraining("a".into()),
        Refused::Invalid("why".into()),
    ];
    for (n, refused) in all.into_iter().enumerate() {
        let (code, what) = refused.to_code();
        assert_eq!((code as usize, Refused::from_code(code, what)), (n + 1, refused));
    }
    assert_eq!(Refused::from_code(99, String::new()), Refused::UnknownKind);
    let long = Refused::invalid("ä".repeat(10_000)).to_string();
    assert!(long.len() < 510 && long.ends_with("ä..."), "{}", long.len());
}

/// The shortest of some rounds of agents that are lost and return, with a reader at each step.
#[allow(clippy::disallowed_methods)] // What is measured is this machine.
fn round(n_agents: usize) -> std::time::Duration {
    let slaves = (0..n_agents).map(|n| Slave { info: agent(&format!("a{n}")), ..Slave::default() }).collect();
    let proto = RegistryProto { slaves: Some(Slaves { slaves }), ..RegistryProto::default() };
    let mut registry = Registry::from_proto(proto).unwrap();
    let rounds = (0..5).map(|_| {
        let began = std::time::Instant::now();
        for n in 0..200 {
            let (name, reader) = (format!("a{n}"), registry.clone());
            registry.apply(&Kind::MarkUnreachable(marked(&name, n)).into()).unwrap();
            registry.apply(&Kind::DeactivateAgent(id(&name)).into()).unwrap();
            drop(reader);
        }
        for n in 0..200 {
            let (name, reader) = (format!("a{n}"), registry.clone());
            registry.apply(&Kind::MarkReachable(agent(&name)).into()).unwrap();
            registry.apply(&Kind::ReactivateAgent(id(&name)).into()).unwrap();
            drop(reader);
        }
        began.elapsed()
    });
    rounds.min().unwrap()
}

#[test]
fn an_operation_costs_what_it_touches_not_what_there_is() {
    let (few, many) = (round(500), round(50_000));
    // A hundred times as many agents; the trees are deeper by a level or two.
    assert!(many < 20 * few, "{few:?} with few agents, {many:?} with many");
}

#[test]
fn an_operation_of_a_newer_master_is_refused_by_name() {
    assert_eq!(Registry::default().apply(&Operation::default()), Err(Refused::UnknownKind));
}
