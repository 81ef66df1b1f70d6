//! Mesos's JSON rules, one by one: what is written, what is read, what is refused and in which words.

use api::json::{from_slice, from_value, to_string, to_value};
use api::v1::{self, scheduler};
use expect_test::{Expect, expect};
use serde_json::json;

fn read<M: api::schema::Described>(text: &str) -> M {
    from_slice(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn refused<M: api::schema::Described>(text: &str, expected: Expect) {
    expected.assert_eq(&from_slice::<M>(text.as_bytes()).expect_err(text).to_string());
}

/// An id, the smallest message with a required string.
fn task_id(value: &str) -> v1::TaskId {
    v1::TaskId::from(value)
}

#[test]
fn defaults_are_written_but_deprecated_ones_are_not() {
    let info = v1::FrameworkInfo { user: "u".into(), name: "n".into(), ..Default::default() };
    expect![[r#"{"user":"u","name":"n","failover_timeout":0.0,"checkpoint":false}"#]]
        .assert_eq(&to_string(&info));

    let command = v1::CommandInfo { value: Some("true".into()), ..Default::default() };
    expect![[r#"{"shell":true,"value":"true"}"#]].assert_eq(&to_string(&command));

    let filters = v1::Filters::default();
    expect![[r#"{"refuse_seconds":5.0}"#]].assert_eq(&to_string(&filters));

    let docker = v1::container_info::DockerInfo { image: "i".into(), ..Default::default() };
    expect![[r#"{"image":"i","network":"HOST","privileged":false}"#]].assert_eq(&to_string(&docker));

    let agent = v1::AgentInfo { hostname: "h".into(), ..Default::default() };
    expect![[r#"{"hostname":"h","port":5051}"#]].assert_eq(&to_string(&agent));
}

#[test]
fn numbers_keep_their_kind() {
    let scalar = |value| to_string(&v1::value::Scalar { value });
    assert_eq!(scalar(15.0), r#"{"value":15.0}"#);
    assert_eq!(scalar(0.1), r#"{"value":0.1}"#);
    assert_eq!(scalar(1e300), r#"{"value":1e+300}"#);
    assert_eq!(scalar(f64::INFINITY), r#"{"value":"Infinity"}"#);
    assert_eq!(scalar(f64::NEG_INFINITY), r#"{"value":"-Infinity"}"#);
    let range = v1::value::Range { begin: 0, end: u64::MAX };
    assert_eq!(to_string(&range), r#"{"begin":0,"end":18446744073709551615}"#);
    let duration = v1::DurationInfo { nanoseconds: i64::MIN };
    assert_eq!(to_string(&duration), r#"{"nanoseconds":-9223372036854775808}"#);
}

#[test]
fn a_status_update_event() {
    let event = scheduler::Event {
        r#type: Some(scheduler::event::Type::Update.into()),
        update: Some(scheduler::event::Update {
            status: v1::TaskStatus {
                task_id: task_id("t"),
                state: v1::TaskState::TaskRunning.into(),
                uuid: Some((0..16).collect()),
                timestamp: Some(1.0),
                source: Some(99),
                ..Default::default()
            },
        }),
        ..Default::default()
    };
    let text = to_string(&event);
    expect![[r#"{"type":"UPDATE","update":{"status":{"task_id":{"value":"t"},"state":"TASK_RUNNING","timestamp":1.0,"uuid":"AAECAwQFBgcICQoLDA0ODw=="}}}"#]].assert_eq(&text);
    let mut back: scheduler::Event = read(&text);
    // A number that the enum does not have is not written.
    back.update.as_mut().unwrap().status.source = Some(99);
    assert_eq!(back, event);
    assert_eq!(to_value(&event)["update"]["status"]["state"], "TASK_RUNNING");
}

#[test]
fn two_uuids_have_different_shapes() {
    let status = v1::OperationStatus {
        state: v1::OperationState::OperationFinished.into(),
        uuid: Some(v1::Uuid { value: vec![0; 16] }),
        ..Default::default()
    };
    assert_eq!(to_value(&status)["uuid"], json!({"value": "AAAAAAAAAAAAAAAAAAAAAA=="}));
    let call = json!({"type": "ACKNOWLEDGE_OPERATION_STATUS", "acknowledge_operation_status":
        {"uuid": "AAAAAAAAAAAAAAAAAAAAAA==", "operation_id": {"value": "o"}}});
    let call: scheduler::Call = from_value(&call).unwrap();
    assert_eq!(call.acknowledge_operation_status.unwrap().uuid, [0; 16]);
}

#[test]
fn a_drain_call_takes_protobufs_own_duration() {
    let drain: v1::master::call::DrainAgent =
        read(r#"{"agent_id": {"value": "a"}, "max_grace_period": {"seconds": 600}}"#);
    assert_eq!(drain.max_grace_period, Some(api::protobuf::Duration { seconds: 600, nanos: 0 }));
    assert_eq!(
        to_string(&drain),
        r#"{"agent_id":{"value":"a"},"max_grace_period":{"seconds":600},"mark_gone":false}"#
    );
}

#[test]
fn maps_are_objects() {
    let text = r#"{"role":"r","guarantees":{"cpus":{"value":1.0},"mem":{"value":2.5}}}"#;
    let quota: v1::quota::QuotaConfig = read(text);
    assert_eq!(quota.guarantees["mem"].value, 2.5);
    assert_eq!(to_string(&quota), text);
    let text = r#"{"role": "r", "limits": {"cpus": {"value": "Infinity"}, "mem": null}}"#;
    let quota: v1::quota::QuotaConfig = read(text);
    assert_eq!(quota.limits.len(), 1);
    assert_eq!(quota.limits["cpus"].value, f64::INFINITY);
    refused::<v1::quota::QuotaConfig>(
        r#"{"role": "r", "limits": {"cpus": {}}}"#,
        expect![[r#"Missing required fields: limits["cpus"].value"#]],
    );
    refused::<v1::quota::QuotaConfig>(
        r#"{"role": "r", "limits": [1]}"#,
        expect!["field `limits`: expected an object, found an array"],
    );
}

#[test]
fn reading_is_lenient() {
    // Unknown names, also camelCase ones; null; a number in a string; a fraction for an integer.
    let info: v1::FrameworkInfo = read(
        r#"{"user": "u", "name": "n", "id": null, "failoverTimeout": 7, "failover_timeout": "2.5",
            "checkpoint": "true", "roles": "one", "zzz": {"deep": [1]}}"#,
    );
    assert_eq!((info.failover_timeout, info.checkpoint), (Some(2.5), Some(true)));
    assert_eq!(info.roles, ["one"]);
    assert_eq!(info.id, None);

    let range: v1::value::Range = read(r#"{"begin": 1.9, "end": "18446744073709551615"}"#);
    assert_eq!((range.begin, range.end), (1, u64::MAX));
    let duration: v1::DurationInfo = read(r#"{"nanoseconds": -9223372036854775808}"#);
    assert_eq!(duration.nanoseconds, i64::MIN);
    let duration: v1::DurationInfo = read(r#"{"nanoseconds": "-1.5e3"}"#);
    assert_eq!(duration.nanoseconds, -1500);
    // The last of several equal names counts.
    assert_eq!(read::<v1::TaskId>(r#"{"value": "a", "value": "b"}"#).value, "b");
}

#[test]
fn an_unknown_enum_name_counts_as_absent_unless_required() {
    assert_eq!(read::<scheduler::Call>(r#"{"type": "FUTURE"}"#).r#type, None);
    let info: v1::FrameworkInfo =
        read(r#"{"user": "u", "name": "n", "capabilities": [{"type": "FUTURE"}, {"type": "MULTI_ROLE"}]}"#);
    assert_eq!(info.capabilities.len(), 2);
    refused::<v1::DomainInfo>(
        r#"{"fault_domain": {}}"#,
        expect![["Missing required fields: fault_domain.region, fault_domain.zone"]],
    );
    refused::<v1::Value>(
        r#"{"type": "FUTURE"}"#,
        expect![[r#"field `type`: expected one of SCALAR, RANGES, SET, TEXT, found the string "FUTURE""#]],
    );
    refused::<v1::Value>(
        r#"{"type": 0}"#,
        expect!["field `type`: expected one of SCALAR, RANGES, SET, TEXT, found the number 0"],
    );
    refused::<scheduler::Call>(
        r#"{"type": 1}"#,
        expect![[
            "field `type`: expected one of UNKNOWN, SUBSCRIBE, TEARDOWN, ACCEPT, DECLINE, ACCEPT_INVERSE_OFFERS, DECLINE_INVERSE_OFFERS, REVIVE, KILL, SHUTDOWN, ACKNOWLEDGE, ACKNOWLEDGE_OPERATION_STATUS, RECONCILE, RECONCILE_OPERATIONS, MESSAGE, REQUEST, SUPPRESS, UPDATE_FRAMEWORK, found the number 1"
        ]],
    );
}

#[test]
fn every_missing_required_field_is_named() {
    refused::<scheduler::Call>(
        r#"{"type": "SUBSCRIBE", "subscribe": {"framework_info": {"user": null}}}"#,
        expect!["Missing required fields: subscribe.framework_info.user, subscribe.framework_info.name"],
    );
    refused::<scheduler::Call>(
        r#"{"accept": {"offer_ids": [{"value": "o"}, {}], "operations": [{"launch": {"task_infos": [{}]}}]}}"#,
        expect![
            "Missing required fields: accept.offer_ids[1].value, accept.operations[0].launch.task_infos[0].name, accept.operations[0].launch.task_infos[0].task_id, accept.operations[0].launch.task_infos[0].agent_id"
        ],
    );
}

#[test]
fn what_a_field_cannot_hold_is_refused_with_what_it_can() {
    refused::<v1::TaskId>(r#"{"value": 5}"#, expect!["field `value`: expected a string, found the number 5"]);
    refused::<v1::TaskId>(r#"{"value": true}"#, expect!["field `value`: expected a string, found true"]);
    refused::<v1::TaskId>(r#"{"value": ["a"]}"#, expect!["field `value`: expected a string, found an array"]);
    refused::<v1::TaskId>(r#"{"value": {}}"#, expect!["field `value`: expected a string, found an object"]);
    refused::<v1::Uuid>(
        r#"{"value": "!"}"#,
        expect![[r#"field `value`: expected bytes in base64, found the string "!""#]],
    );
    refused::<v1::value::Range>(
        r#"{"begin": -1, "end": 1}"#,
        expect!["field `begin`: expected a whole number from 0 to 18446744073709551615, found the number -1"],
    );
    refused::<v1::value::Range>(
        r#"{"begin": 1e30, "end": 1}"#,
        expect![
            "field `begin`: expected a whole number from 0 to 18446744073709551615, found the number 1e+30"
        ],
    );
    for text in [r#""nan""#, r#""inf""#, r#""NaN""#, r#""""#, r#"" 1""#, "true", "[]", r#""1e999""#] {
        assert!(
            from_slice::<v1::value::Scalar>(format!(r#"{{"value": {text}}}"#).as_bytes()).is_err(),
            "{text}"
        );
    }
    refused::<v1::FrameworkInfo>(
        r#"{"checkpoint": 1}"#,
        expect!["field `checkpoint`: expected true or false, found the number 1"],
    );
    refused::<v1::FrameworkInfo>(
        r#"{"roles": [["a"]]}"#,
        expect!["field `roles[0]`: expected a string, found an array"],
    );
    refused::<v1::FrameworkInfo>(
        r#"{"id": "f"}"#,
        expect![[r#"field `id`: expected an object, found the string "f""#]],
    );
    refused::<v1::TaskId>("[]", expect!["expected a JSON object holding a mesos.v1.TaskID, found an array"]);
    refused::<v1::TaskId>("{", expect!["not valid JSON: EOF while parsing an object at line 1 column 1"]);
    refused::<v1::TaskId>(
        r#"{"value": "a"} x"#,
        expect!["not valid JSON: trailing characters at line 1 column 16"],
    );
    refused::<v1::TaskId>("", expect!["not valid JSON: EOF while parsing a value at line 1 column 0"]);
}

#[test]
fn nesting_is_bounded() {
    let unknown = |n: usize| format!(r#"{{"value": "a", "x": {}{}}}"#, "[".repeat(n), "]".repeat(n));
    assert_eq!(read::<v1::TaskId>(&unknown(199)).value, "a");
    refused::<v1::TaskId>(&unknown(200), expect!["JSON nested deeper than 200 levels"]);
    refused::<v1::TaskId>(&"[".repeat(1_000_000), expect!["JSON nested deeper than 200 levels"]);
    // Brackets in strings do not nest.
    assert_eq!(read::<v1::TaskId>(&format!(r#"{{"value": "\"{}"}}"#, "[".repeat(500))).value.len(), 501);

    let containers = |n: usize| {
        format!("{}{}", r#"{"value": "c", "parent": "#.repeat(n), r#"{"value": "c"}"#) + &"}".repeat(n)
    };
    assert!(from_slice::<v1::ContainerId>(containers(90).as_bytes()).is_ok());
    // JSON allows this depth, protobuf does not.
    assert!(from_slice::<v1::ContainerId>(containers(190).as_bytes()).is_err());
    // A tree that did not come from text is bounded too.
    let mut tree = json!({"value": "c"});
    for _ in 0..300 {
        tree = json!({"value": "c", "parent": tree});
    }
    assert_eq!(
        from_value::<v1::ContainerId>(&tree).unwrap_err().to_string(),
        "JSON nested deeper than 200 levels"
    );
}
