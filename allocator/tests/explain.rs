//! What is said of who is offered what, and why.

#![allow(clippy::unwrap_used, reason = "a test says what is wrong by failing")]

mod common;

use std::fmt::Write;
use std::sync::Arc;

use allocator::constraints::Constraints;
use allocator::explain::{DETAILS_MAX, Explanation, Kind, Page, Question, Standing};
use allocator::sorter::SorterKind;
use allocator::{AllocatorError, FrameworkOptions, Options};
use common::{Cluster, agent_id, framework_id, framework_info};
use expect_test::{Expect, expect};

fn explain(cluster: &Cluster, framework: &str) -> Explanation {
    let question = Question::default();
    cluster.allocator.explain(cluster.now, &framework_id(framework), &question).unwrap()
}

/// A line for a role, and one for each of its agents.
fn told(cluster: &Cluster, framework: &str) -> String {
    let mut out = String::new();
    for role in explain(cluster, framework).roles {
        writeln!(out, "{}: {}", role.role, role.text).unwrap();
        for group in role.agents.unwrap() {
            assert_eq!(group.count, group.agents.len());
            for agent in group.agents {
                let reason = serde_json::to_value(group.reason).unwrap();
                writeln!(out, "  {} {}: {}", agent.agent_id, reason.as_str().unwrap(), agent.text).unwrap();
            }
        }
    }
    out
}

#[track_caller]
fn check_told(options: Options, script: &str, framework: &str, expected: Expect) {
    let mut cluster = Cluster::new(options, 1);
    cluster.run(script);
    expected.assert_eq(&told(&cluster, framework));
}

/// Only what is said of agents.
#[track_caller]
fn check_agents(script: &str, framework: &str, expected: Expect) {
    let mut cluster = Cluster::default();
    cluster.run(script);
    let told = told(&cluster, framework);
    let agents: String = told.split_inclusive('\n').filter_map(|line| line.strip_prefix("  ")).collect();
    expected.assert_eq(&agents);
}

#[test]
fn a_turn_is_told_with_the_numbers_that_decide_it() {
    check_told(
        Options::default(),
        "framework b role=blue | agent a1 cpus:4;mem:4000 | run | framework r role=red
         framework s role=red/dark | agent a2 cpus:4;mem:1000 | run | weight red 2 | agent a3 cpus:8;mem:3000",
        "s",
        expect![[r#"
            red/dark: The framework takes its turn in every cycle. Its turn: role `red` is 1 of 2 (share 0.2500 of cpus / weight 2 = 0.1250, 1 allocations); role `red/dark` is 1 of 2 (share 0.0000 / weight 1 = 0.0000, 0 allocations); framework `s` is 1 of 1 (share 0.0000 / weight 1 = 0.0000, 0 allocations).
              a3 would_be_offered: would be offered cpus:8; mem:3000 in the next cycle
              a1 nothing_left: nothing is left: others are offered or use it (frameworks: 1)
              a2 nothing_left: nothing is left: others are offered or use it (frameworks: 1)
        "#]],
    );
    check_told(
        Options { sorter: SorterKind::Random, ..Options::default() },
        "framework b role=blue | framework r role=red | weight red 3 | agent a1 cpus:4;mem:4000",
        "r",
        expect![[r#"
            red: The framework takes its turn in every cycle. Its turn: role `red` is drawn first of 2 with a chance of 0.750; framework `r` is drawn first of 1 with a chance of 1.000.
              a1 would_be_offered: would be offered cpus:4; mem:4000 in the next cycle
        "#]],
    );
}

#[test]
fn what_is_free_goes_to_it_unless_somebody_comes_before() {
    check_agents(
        "framework f role=r | agent a cpus:4;mem:400",
        "f",
        expect![[r#"
              a would_be_offered: would be offered cpus:4; mem:400 in the next cycle
        "#]],
    );
    check_agents(
        "framework f role=r | framework g role=q | framework h role=p | agent a1 cpus:4;mem:400 used=f,r,cpus:1
         suppress h p | agent a2 cpus(q):4;mem:400",
        "f",
        expect![[r#"
              a1 would_be_offered: would be offered cpus:3; mem:400 in the next cycle, but framework g in role `q` comes before it, and would be offered cpus:3; mem:400
              a2 would_be_offered: would be offered mem:400 in the next cycle, but framework g in role `q` comes before it, and would be offered cpus(reservations: [(STATIC,q)]):4; mem:400
        "#]],
    );
}

#[test]
fn an_agent_that_is_taken_says_by_how_many() {
    check_agents(
        "framework f role=r | agent a1 cpus:4;mem:400 | run | framework g role=q
         agent a2 cpus:4;mem:400 used=g,q,cpus:4;mem:400 | agent a3 cpus:1 used=x,q,cpus:1",
        "f",
        expect![[r#"
              a1 holds: nothing is left, and the framework is offered or uses some of it (frameworks: 1)
              a2 nothing_left: nothing is left: others are offered or use it (frameworks: 1)
              a3 nothing_left: nothing is left: others are offered or use it (frameworks: 0, and 1 not heard of since the last failover)
        "#]],
    );
}

#[test]
fn a_refusal_says_of_what_and_for_how_long() {
    check_agents(
        "framework f role=r | agent a cpus:4;mem:400 | agent b cpus:4;mem:400 | run
         agent c cpus:4;mem:400 | run | decline f a 60 | decline f b 3 | advance 10010 | decline f c 2.5
         advance 2490 | framework g role=r",
        "f",
        expect![[r#"
            b would_be_offered: would be offered cpus:4; mem:400 in the next cycle, as its refusal has ended, but framework g in role `r` comes before it, and would be offered cpus:4; mem:400
            a refused: the framework refused cpus:4; mem:400 for another 47.5 s
            c refused: the framework refused cpus:4; mem:400 for less than another 0.1 s
        "#]],
    );
}

#[test]
fn capabilities_that_are_missing_are_named() {
    check_agents(
        "framework f role=r/s
         agent gpu cpus:4;gpus:1 | agent old cpus:4 old | agent revocable cpus~:4
         agent shared disk%v(r):500 | agent mixed cpus~:4;mem(x):50;cpus:0.001",
        "f",
        expect![[r#"
              gpu needs_gpu_resources: the agent has gpus, and the framework does not have the capability GPU_RESOURCES
              old agent_lacks_multi_role: the framework has the capability MULTI_ROLE, and the agent is too old for it
              revocable needs_other_capability: what is left is only for frameworks with REVOCABLE_RESOURCES
              shared needs_other_capability: what is left is only for frameworks with SHARED_RESOURCES
              mixed below_minimum: cpus:0.001 is left for it, less than any of what the operator set as least: cpus:0.01 or mem:32; the rest is reserved to role `x`, or only for frameworks with REVOCABLE_RESOURCES
        "#]],
    );
    check_agents(
        "framework f role=r/s old | agent a cpus:4;mem:400 old",
        "f",
        expect![[r#"
              a agent_lacks_hierarchical_role: the role is below another role, and the agent is too old for that
        "#]],
    );
    let options = Options { region: Some("here".to_owned()), ..Options::default() };
    check_told(
        options,
        "framework f role=r | agent a cpus:4 region=there",
        "f",
        expect![[r#"
            r: The framework takes its turn in every cycle. Its turn: role `r` is 1 of 1 (share 0.0000 / weight 1 = 0.0000, 0 allocations); framework `f` is 1 of 1 (share 0.0000 / weight 1 = 0.0000, 0 allocations).
              a needs_region_aware: the agent is in region `there`, the master in `here`, and the framework does not have the capability REGION_AWARE
        "#]],
    );
}

#[test]
fn what_is_reserved_to_others_or_too_little_says_to_whom_and_what_would_do() {
    check_agents(
        "framework f role=r | agent a cpus(x):4;mem(y/z):400 | agent b cpus(x):4;cpus:0.005;mem:16
         agent c cpus:4 used=q,q,cpus:3.995",
        "f",
        expect![[r#"
              a reserved_to_others: what is left is reserved to roles `x`, `y/z`
              b below_minimum: cpus:0.005; mem:16 is left for it, less than any of what the operator set as least: cpus:0.01 or mem:32; the rest is reserved to role `x`
              c below_minimum: cpus:0.005 is left for it, less than any of what the operator set as least: cpus:0.01 or mem:32
        "#]],
    );
    check_agents(
        "framework f role=r min=cpus:8;mem:1 | agent a cpus:4;mem:400",
        "f",
        expect![[r#"
              a below_minimum: cpus:4; mem:400 is left for it, less than any of what the framework set as least: cpus:8; mem:1
        "#]],
    );
}

#[test]
fn quota_says_for_whom_it_holds_back_and_which_limit_is_reached() {
    check_agents(
        "framework f role=r | quota q g=cpus:20 | agent a cpus:10;mem:100 | agent b cpus:10;mem:110",
        "f",
        expect![[r#"
              a held_back: of cpus:10; mem:100, mem:100 remains, which is not worth an offer; cpus:20 is held back for role `q`
              b held_back: of cpus:10; mem:110, mem:110 remains, which is not worth an offer; cpus:20 is held back for role `q`
        "#]],
    );
    check_agents(
        "framework f role=r/s caps=revocable | quota r l=cpus:4;mem:0 | agent a cpus:4;mem:400 | run
         agent b cpus:4;mem:400",
        "f",
        expect![[r#"
              a over_limit: of mem:400, nothing remains; role `r` is limited to cpus:4; mem:0 and has cpus:4
              b over_limit: of cpus:4; mem:400, nothing remains; role `r` is limited to cpus:4; mem:0 and has cpus:4
        "#]],
    );
    // What the limit leaves was refused.
    check_agents(
        "framework f role=r | quota r l=cpus:1 | agent a cpus:4;mem:400 | run
         decline f a 60",
        "f",
        expect![[r#"
              a over_limit: of cpus:4; mem:400, cpus:1; mem:400 remains, which the framework refused; role `r` is limited to cpus:1 and has nothing
        "#]],
    );
}

#[test]
fn who_takes_no_turns_hears_why_and_what_he_misses() {
    let agents = "agent a cpus:4;mem:400";
    for (script, standing) in [
        ("framework f role=r suppressed=r", Standing::Suppressed),
        ("framework f role=r inactive", Standing::FrameworkInactive),
        (
            "framework f role=r | agent b cpus:1;mem:100 | run | update_framework f role=q",
            Standing::NotSubscribed,
        ),
    ] {
        let mut cluster = Cluster::default();
        cluster.run(&format!("{script} | {agents}"));
        let role = explain(&cluster, "f").roles.pop().unwrap();
        assert_eq!((role.role.as_str(), role.standing), ("r", standing));
        let groups: Vec<Kind> = role.agents.unwrap().iter().map(|group| group.reason).collect();
        assert!(groups.contains(&Kind::NotTakingTurns), "{script}: {groups:?}");
    }
    check_told(
        Options::default(),
        "framework f role=r | quota r l=cpus:4;mem:400 | agent a cpus:4;mem:400 | run | agent b cpus:2;mem:80",
        "f",
        expect![[r#"
            r: The framework waits, as the limits of the role leave less than the least amounts of an offer. Its turn: role `r` takes no turn, 0 others do (share 0.8333 of mem / weight 1 = 0.8333, 1 allocations); framework `f` takes no turn, 0 others do (share 0.8333 of mem / weight 1 = 0.8333, 1 allocations).
              a holds: nothing is left, and the framework is offered or uses some of it (frameworks: 1)
              b over_limit: of cpus:2; mem:80, nothing remains; role `r` is limited to cpus:4; mem:400 and has cpus:4; mem:400
        "#]],
    );
}

#[test]
fn agents_that_take_no_part_are_told_apart() {
    check_agents(
        "framework f role=r | agent a cpus:4 host=x | agent b cpus:4 | deactivate_agent b | whitelist y,z",
        "f",
        expect![[r#"
              b agent_inactive: the agent is deactivated: disconnected, draining, or by an operator
              a not_whitelisted: the agent's hostname is not on the whitelist of 2 hostnames
        "#]],
    );
}

#[test]
fn offer_constraints_are_told_and_listed() {
    let mut cluster = Cluster::default();
    cluster.run("agent a cpus:4 attribute=x | agent b cpus:4 attribute=y | framework g role=q suppressed=q");
    let json = r#"{"role_constraints": {"r": {"groups": [{"attribute_constraints": [
        {"selector": {"attribute_name": "attribute"}, "predicate": {"text_equals": {"value": "x"}}}]}]}}}"#;
    let constraints = api::json::from_slice(json.as_bytes()).unwrap();
    let constraints = Arc::new(Constraints::compile(&constraints, &["r".to_owned()]).unwrap());
    let options = FrameworkOptions { constraints, ..FrameworkOptions::default() };
    let info = framework_info(&["framework", "f", "role=r"]);
    cluster.allocator.add_framework(&framework_id("f"), &info, &[], true, &options).unwrap();
    let role = explain(&cluster, "f").roles.pop().unwrap();
    let excluded = role.agents.unwrap().pop().unwrap();
    assert_eq!((excluded.reason, excluded.agents[0].agent_id.as_str()), (Kind::ExcludedByConstraints, "b"));
    let debug = cluster.allocator.constraints_debug(Page::default());
    expect![[r#"
        {
          "frameworks": {
            "f": {
              "suppressed_roles": [],
              "excluded_by_attribute_constraints": {
                "r": [
                  "b"
                ]
              }
            },
            "g": {
              "suppressed_roles": [
                "q"
              ],
              "excluded_by_attribute_constraints": {}
            }
          },
          "n_frameworks": 2
        }"#]]
    .assert_eq(&serde_json::to_string_pretty(&debug).unwrap());
    let debug = cluster.allocator.constraints_debug(Page { limit: 1, offset: 0 });
    assert_eq!((debug.frameworks.len(), debug.next_offset), (1, Some(1)));
}

#[test]
fn pauses_and_recovery_are_told() {
    let mut cluster = Cluster::default();
    cluster.run("framework f role=r | pause");
    assert!(explain(&cluster, "f").cycles_text.contains("until the master resumes"));
    cluster.run("resume");
    assert!(explain(&cluster, "f").cycles_text.contains("every 1s"));
    let mut cluster = Cluster::default();
    cluster.run("framework f role=r | recover_cluster 10 q g=cpus:1 | agent a cpus:1");
    assert!(explain(&cluster, "f").cycles_text.contains("until 8 agents are back, of which 1 are"));
}

#[test]
fn answers_are_paged_and_bounded() {
    let mut cluster = Cluster::default();
    let roles: Vec<String> = (0..30).map(|n| format!("r{n}")).collect();
    cluster.run(&format!("framework f role={}", roles.join(",")));
    for n in 0..200 {
        let total = common::resources("cpus:1;mem:100");
        let (id, info) = (agent_id(&format!("a{n:03}")), common::agent_info("host", None));
        let capabilities = common::agent_capabilities(false);
        cluster.allocator.add_agent(&id, &info, &capabilities, None, total, &[]).unwrap();
    }
    let ask = |role, agent: Option<&str>, limit, offset| {
        let agent = agent.map(agent_id);
        let question = Question { agent: agent.as_ref(), role, page: Page { limit, offset } };
        cluster.allocator.explain(cluster.now, &framework_id("f"), &question)
    };
    let one = ask(Some("r7"), None, 3, 198).unwrap();
    let group = &one.roles[0].agents.as_ref().unwrap()[0];
    let ids: Vec<&str> = group.agents.iter().map(|agent| agent.agent_id.as_str()).collect();
    assert_eq!((one.roles.len(), one.n_roles, one.n_agents, group.count), (1, 30, 200, 200));
    assert_eq!(ids, ["a198", "a199"]);
    let all = ask(None, None, usize::MAX, 0).unwrap();
    let details = all.roles.iter().flat_map(|role| role.agents.as_ref().unwrap()).map(|it| it.agents.len());
    assert_eq!(details.sum::<usize>(), DETAILS_MAX);
    let single = ask(None, Some("a007"), 100, 0).unwrap();
    assert!(single.roles.iter().all(|role| role.agents.as_ref().unwrap()[0].count == 1));
    let unknown = ask(Some("other"), None, 3, 0).unwrap_err();
    assert_eq!(
        unknown.to_string(),
        "framework f is neither subscribed to role `other` nor holds anything in it"
    );
    assert_eq!(ask(None, Some("x"), 3, 0), Err(AllocatorError::UnknownAgent("x".to_owned())));
}

#[test]
fn roles_exist_for_a_framework_a_weight_a_quota_or_a_reservation() {
    let mut cluster = Cluster::default();
    cluster.run(
        "framework f role=eng/ml | framework g role=eng suppressed=eng | weight ops/db 2 | quota ads g=cpus:2 l=mem:900
         agent a1 cpus:4;mem:1000;cpus(store/x):4 | run | use f a1 | agent a2 cpus:6;mem:600 | run",
    );
    let tree = cluster.allocator.describe_roles(Page::default());
    let mut out = String::new();
    for role in &tree.roles {
        writeln!(out, "{}", serde_json::to_string(role).unwrap()).unwrap();
    }
    expect![[r#"
        {"name":"ads","weight":1.0,"share":0.0,"weighted_share":0.0,"quota":{"guarantees":{"cpus":2.0},"missing":{"cpus":2.0},"limits":{"mem":900.0},"exhausted":false},"offered_or_allocated":{},"reserved":{},"offered_or_consumed":{},"consumed":{},"frameworks":{"tracked":0,"subscribed":0,"active":0,"suppressed":0,"parked":0},"n_roles_below":0}
        {"name":"eng","weight":1.0,"share":1.0,"dominant_resource":"mem","weighted_share":1.0,"offered_or_allocated":{"cpus":8.0,"mem":1600.0},"reserved":{},"offered_or_consumed":{"cpus":8.0,"mem":1600.0},"consumed":{"cpus":2.0,"mem":1000.0},"frameworks":{"tracked":1,"subscribed":1,"active":0,"suppressed":1,"parked":0},"n_roles_below":1}
        {"name":"eng/ml","weight":1.0,"share":1.0,"dominant_resource":"mem","weighted_share":1.0,"offered_or_allocated":{"cpus":8.0,"mem":1600.0},"reserved":{},"offered_or_consumed":{"cpus":8.0,"mem":1600.0},"consumed":{"cpus":2.0,"mem":1000.0},"frameworks":{"tracked":1,"subscribed":1,"active":1,"suppressed":0,"parked":0},"n_roles_below":0}
        {"name":"ops","weight":1.0,"share":0.0,"weighted_share":0.0,"offered_or_allocated":{},"reserved":{},"offered_or_consumed":{},"consumed":{},"frameworks":{"tracked":0,"subscribed":0,"active":0,"suppressed":0,"parked":0},"n_roles_below":1}
        {"name":"ops/db","weight":2.0,"share":0.0,"weighted_share":0.0,"offered_or_allocated":{},"reserved":{},"offered_or_consumed":{},"consumed":{},"frameworks":{"tracked":0,"subscribed":0,"active":0,"suppressed":0,"parked":0},"n_roles_below":0}
        {"name":"store","weight":1.0,"share":0.0,"weighted_share":0.0,"offered_or_allocated":{},"reserved":{"cpus":4.0},"offered_or_consumed":{"cpus":4.0},"consumed":{"cpus":4.0},"frameworks":{"tracked":0,"subscribed":0,"active":0,"suppressed":0,"parked":0},"n_roles_below":1}
        {"name":"store/x","weight":1.0,"share":0.0,"weighted_share":0.0,"offered_or_allocated":{},"reserved":{"cpus":4.0},"offered_or_consumed":{"cpus":4.0},"consumed":{"cpus":4.0},"frameworks":{"tracked":0,"subscribed":0,"active":0,"suppressed":0,"parked":0},"n_roles_below":0}
    "#]].assert_eq(&out);
    let page = cluster.allocator.describe_roles(Page { limit: 2, offset: 3 });
    let names: Vec<&str> = page.roles.iter().map(|role| role.name.as_str()).collect();
    assert_eq!((page.n_roles, names), (7, vec!["ops", "ops/db"]));
}

/// The page for newcomers shows what is really answered.
#[test]
fn the_sample_in_the_docs_is_an_answer() {
    let mut cluster = Cluster::default();
    cluster.run(
        "framework spark role=analytics | agent a1 cpus:8;mem:16000 | agent a2 cpus:4;mem:8000 | run
         decline spark a2 60 | advance 5000 | framework shop role=web",
    );
    let agent = agent_id("a2");
    let question =
        Question { agent: Some(&agent), page: Page { limit: 20, offset: 0 }, ..Question::default() };
    let answer = cluster.allocator.explain(cluster.now, &framework_id("spark"), &question).unwrap();
    let answer = serde_json::to_string_pretty(&answer).unwrap();
    let docs = include_str!("../../docs/allocator.md");
    assert!(docs.contains(&answer), "docs/allocator.md should show\n{answer}");
}
