//! `/api/v1/scheduler` over TCP.
#![allow(clippy::unwrap_used)] // A test.
#![allow(clippy::disallowed_methods, reason = "a test waits with a deadline")]

mod support;

use std::net::SocketAddr;

use api::v1::offer::{Operation, operation};
use api::v1::scheduler::{Call, call, event};
use api::v1::{DurationInfo, Filters, FrameworkInfo, TaskState, TimeInfo, Unavailability, framework_info};
use libprocess::{Node, Pid};
use master::Master;
use support::http::{Reply, SCHEDULER, Scheduler, get, request};
use support::*;

struct Cluster {
    node: Node,
    master: Pid<Master>,
    agent: Seen,
    agent_id: String,
}

impl Cluster {
    fn start() -> Cluster {
        let node = node();
        let master = master::start(&node, in_memory()).unwrap();
        let (_, agent) = Agent::spawn(&node, "slave(1)", master.pid.upid(), None);
        let agent_id = agent.expect("registered");
        Cluster { node, master: master.pid, agent, agent_id }
    }

    fn address(&self) -> SocketAddr {
        self.node.address()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.node.shutdown().wait(PATIENCE).unwrap();
    }
}

fn of(kind: call::Type) -> Call {
    Call { r#type: Some(kind.into()), ..Call::default() }
}

fn subscribe(info: FrameworkInfo) -> Call {
    let framework_id = info.id.clone();
    let subscribe = Some(call::Subscribe { framework_info: info, ..Default::default() });
    Call { framework_id, subscribe, ..of(call::Type::Subscribe) }
}

fn story(protobuf: bool) {
    let cluster = Cluster::start();
    let mut scheduler = Scheduler::subscribe(cluster.address(), &subscribe(framework()), protobuf);
    assert_eq!(scheduler.next().unwrap().r#type(), event::Type::Heartbeat, "a heartbeat comes at once");
    let offer = scheduler.wait(event::Type::Offers).offers.unwrap().offers.remove(0);
    assert_eq!(offer.agent_id.value, cluster.agent_id);
    assert!(offer.allocation_info.is_none(), "the framework is not MULTI_ROLE");

    let launch = Operation {
        r#type: Some(operation::Type::Launch.into()),
        launch: Some(operation::Launch { task_infos: vec![command(&offer.agent_id, "t1")] }),
        ..Default::default()
    };
    let accept = call::Accept { offer_ids: vec![offer.id], operations: vec![launch], filters: None };
    let reply = scheduler.call(Call { accept: Some(accept), ..of(call::Type::Accept) });
    assert_eq!((reply.status, reply.body.len()), (202, 0));
    let status = scheduler.wait(event::Type::Update).update.unwrap().status;
    assert_eq!(status.state(), TaskState::TaskRunning);
    assert_eq!(status.agent_id.as_ref(), Some(&offer.agent_id));
    let acknowledge = |status: api::v1::TaskStatus| Call {
        acknowledge: Some(call::Acknowledge {
            agent_id: status.agent_id.unwrap(),
            task_id: status.task_id,
            uuid: status.uuid.unwrap(),
        }),
        ..of(call::Type::Acknowledge)
    };
    assert_eq!(scheduler.call(acknowledge(status)).status, 202);
    cluster.agent.expect("acknowledged t1");

    let kill = call::Kill { task_id: "t1".into(), ..Default::default() };
    assert_eq!(scheduler.call(Call { kill: Some(kill), ..of(call::Type::Kill) }).status, 202);
    let status = scheduler.wait(event::Type::Update).update.unwrap().status;
    assert_eq!(status.state(), TaskState::TaskKilled);
    assert_eq!(scheduler.call(acknowledge(status)).status, 202);

    let reconcile =
        call::Reconcile { tasks: vec![call::reconcile::Task { task_id: "x".into(), agent_id: None }] };
    assert_eq!(scheduler.call(Call { reconcile: Some(reconcile), ..of(call::Type::Reconcile) }).status, 202);
    let status = scheduler.wait(event::Type::Update).update.unwrap().status;
    assert_eq!((status.state(), status.uuid), (TaskState::TaskLost, None));

    let info = FrameworkInfo { id: Some(scheduler.framework_id.as_str().into()), ..framework() };
    let update = |info: FrameworkInfo| Call {
        update_framework: Some(call::UpdateFramework { framework_info: info, ..Default::default() }),
        ..of(call::Type::UpdateFramework)
    };
    assert_eq!(scheduler.call(update(FrameworkInfo { name: "renamed".into(), ..info.clone() })).status, 200);
    let refused = scheduler.call(update(FrameworkInfo { user: "other".into(), ..info }));
    assert_eq!(refused.status, 400);
    assert!(refused.text().contains("'FrameworkInfo.user'"), "{}", refused.text());

    assert_eq!(scheduler.call(of(call::Type::Teardown)).status, 202);
    while let Some(event) = scheduler.next() {
        assert_ne!(event.r#type(), event::Type::Error, "the stream ends without a word");
    }
    assert_eq!(scheduler.call(of(call::Type::Revive)).status, 400);
    let info = FrameworkInfo { id: Some(scheduler.framework_id.as_str().into()), ..framework() };
    let mut again = Scheduler::open(cluster.address(), &subscribe(info), protobuf);
    assert_eq!(again.next().unwrap().error.unwrap().message, "Framework has been removed");
    assert_eq!(again.next(), None);
}

#[test]
fn a_framework_in_json() {
    story(false);
}

#[test]
fn a_framework_in_protobuf() {
    story(true);
}

#[test]
fn the_newest_subscription_wins() {
    let cluster = Cluster::start();
    let patient = FrameworkInfo { failover_timeout: Some(1000.0), ..framework() };
    let mut old = Scheduler::subscribe(cluster.address(), &subscribe(patient.clone()), false);
    let info = FrameworkInfo { id: Some(old.framework_id.as_str().into()), ..patient };
    let mut new = Scheduler::subscribe(cluster.address(), &subscribe(info.clone()), false);
    assert_eq!(new.framework_id, old.framework_id);
    assert_eq!(old.wait(event::Type::Error).error.unwrap().message, "Framework failed over");
    assert_eq!(old.next(), None);
    assert_eq!(old.call(of(call::Type::Revive)).status, 400, "the old stream speaks no more");
    assert_eq!(new.call(of(call::Type::Revive)).status, 202);
    new.wait(event::Type::Offers);
    // Closing the connection is a disconnection.
    let id = new.framework_id.clone();
    drop(new);
    let deadline = std::time::Instant::now() + PATIENCE;
    let connected = || get(cluster.address(), "/frameworks").json()["frameworks"][0]["connected"].clone();
    while connected() != false {
        assert!(std::time::Instant::now() < deadline, "the framework still counts as connected");
    }
    let back = Scheduler::subscribe(cluster.address(), &subscribe(info), false);
    assert_eq!(back.framework_id, id);
}

#[test]
fn calls_are_checked_in_order() {
    let cluster = Cluster::start();
    let scheduler = Scheduler::subscribe(cluster.address(), &subscribe(framework()), false);
    let json = [("Content-Type", "application/json")];
    let id = &scheduler.framework_id;
    let revive = format!(r#"{{"type":"REVIVE","framework_id":{{"value":"{id}"}}}}"#);
    let unknown = r#"{"type":"REVIVE","framework_id":{"value":"nobody"}}"#;
    let subscribe = r#"{"type":"SUBSCRIBE","subscribe":{"framework_info":{"user":"u","name":"n"}}}"#;
    let check = |method: &str, headers: &[(&str, &str)], body: &str, status: u16, text: &str| -> Reply {
        let reply = request(cluster.address(), method, SCHEDULER, headers, body.as_bytes());
        assert_eq!(reply.status, status, "{method} {headers:?} {body}: {}", reply.text());
        assert!(reply.text().contains(text), "{}", reply.text());
        reply
    };
    let reply = check("GET", &[], "", 405, "'POST'");
    assert_eq!(reply.header("Allow"), Some("POST"));
    check("POST", &[], &revive, 400, "'Content-Type' to be present");
    check(
        "POST",
        &[("Content-Type", "application/json; charset=utf-8")],
        &revive,
        415,
        "application/x-protobuf",
    );
    check("POST", &json, "{", 400, "Failed to parse body into JSON");
    check("POST", &[("Content-Type", "application/x-protobuf")], "\u{1}", 400, "Failed to parse body");
    check("POST", &json, r#"{"type":"ACCEPT"}"#, 400, "Failed to validate scheduler::Call");
    check("POST", &[json[0], ("Accept", "text/html")], subscribe, 406, "'Accept'");
    check("POST", &[json[0], ("Mesos-Stream-Id", "x")], subscribe, 400, "should not include");
    check("POST", &json, unknown, 400, "Framework cannot be found");
    check("POST", &json, &revive, 400, "should include the 'Mesos-Stream-Id'");
    check("POST", &[json[0], ("Mesos-Stream-Id", "x")], &revive, 400, "didn't match the stream ID");
    check("POST", &[json[0], ("Mesos-Stream-Id", &scheduler.stream_id)], &revive, 202, "");
}

#[test]
fn documents_have_their_shapes() {
    let cluster = Cluster::start();
    let (_, scheduler) =
        Driver::spawn(&cluster.node, "scheduler", &cluster.node.find("master").unwrap(), framework());
    let framework_id = scheduler.expect("registered");
    scheduler.expect("status t1 TASK_RUNNING");
    let address = cluster.address();

    let state = get(address, "/state").json();
    assert_eq!(state["version"], "1.11.0");
    assert_eq!(state["pid"], format!("master@{address}"));
    assert_eq!(state["leader"], state["pid"]);
    assert_eq!(state["activated_slaves"], 1);
    let slave = &state["slaves"][0];
    assert_eq!(slave["id"], cluster.agent_id);
    assert_eq!(slave["pid"], format!("slave(1)@{address}"));
    assert_eq!(slave["resources"], serde_json::json!({"cpus": 4.0, "gpus": 0.0, "mem": 1024.0, "disk": 0.0}));
    assert_eq!(slave["used_resources"]["cpus"], 1.0);
    let framework = &state["frameworks"][0];
    assert_eq!(framework["id"], framework_id);
    assert_eq!(framework["role"], "*");
    assert_eq!(framework["active"], true);
    let task = &framework["tasks"][0];
    assert_eq!(task["state"], "TASK_RUNNING");
    assert_eq!(task["statuses"][0]["state"], "TASK_RUNNING");
    assert_eq!(task["role"], "*");

    assert_eq!(get(address, "/master/state").json()["id"], state["id"]);
    assert_eq!(get(address, "/slaves").json()["slaves"][0]["id"], cluster.agent_id);
    assert_eq!(get(address, "/slaves?slave_id=other").json()["slaves"], serde_json::json!([]));
    let frameworks = get(address, &format!("/frameworks?framework_id={framework_id}")).json();
    assert_eq!(frameworks["frameworks"][0]["tasks"][0]["id"], "t1");
    let tasks = get(address, "/tasks?limit=1&order=asc").json();
    assert_eq!(tasks["tasks"][0]["slave_id"], cluster.agent_id);
    assert_eq!(get(address, "/tasks?offset=1").json()["tasks"], serde_json::json!([]));
    let summary = get(address, "/state-summary").json();
    assert_eq!(summary["slaves"][0]["TASK_RUNNING"], 1);
    assert_eq!(summary["frameworks"][0]["slave_ids"][0], cluster.agent_id);
    assert_eq!(get(address, "/flags").json()["flags"]["root_submissions"], "true");
    let padded = get(address, "/state?jsonp=call").text();
    assert!(padded.starts_with("call({") && padded.ends_with("})"));

    let version = get(address, "/version").json();
    assert_eq!(version["version"], "1.11.0");
    assert_eq!(version["implementation"]["name"], "mesos-rs");
    for document in [&version, &state] {
        assert_eq!(
            (&document["build_date"], &document["build_time"], &document["build_user"]),
            (&"".into(), &0.0.into(), &"".into())
        );
    }
    assert_eq!((get(address, "/health").status, get(address, "/master/health").status), (200, 200));
    let redirect = get(address, "/redirect");
    assert_eq!(redirect.status, 307);
    assert_eq!(redirect.header("Location"), Some(format!("//{address}").as_str()));
    assert_eq!(get(address, "/redirect/x").status, 404);
    let registry = get(address, "/registrar(1)/registry").json();
    assert_eq!(registry["slaves"]["slaves"][0]["info"]["id"]["value"], cluster.agent_id);
    let metrics = get(address, "/metrics/snapshot").json();
    let own = |name: &str| metrics[format!("master/frameworks/test/{framework_id}/{name}")].clone();
    for (name, value) in
        [("subscribed", 1.0), ("calls/subscribe", 1.0), ("calls/accept", 1.0), ("offers/accepted", 1.0)]
    {
        assert_eq!(own(name), value, "{name}");
    }
    assert_eq!(
        (own("tasks/active/task_running"), own("tasks/active/task_staging")),
        (1.0.into(), 0.0.into())
    );
    for (name, value) in [
        ("master/elected", 1.0),
        ("master/event_queue_http_requests", 0.0),
        ("master/slave_removals", 0.0),
        ("master/slaves_active", 1.0),
        ("master/tasks_running", 1.0),
        ("master/cpus_total", 4.0),
        ("master/cpus_used", 1.0),
        ("master/slave_registrations", 1.0),
    ] {
        assert_eq!(metrics[name], value, "{name}");
    }
}

#[test]
fn metrics_tell_suppressed_roles_and_operations() {
    let cluster = Cluster::start();
    let multi_role = framework_info::capability::Type::MultiRole.into();
    let info = FrameworkInfo {
        roles: vec!["a".into(), "b/c".into()],
        capabilities: vec![framework_info::Capability { r#type: Some(multi_role) }],
        ..framework()
    };
    let mut first = subscribe(info.clone());
    first.subscribe.as_mut().unwrap().suppressed_roles = vec!["b/c".into()];
    let mut scheduler = Scheduler::subscribe(cluster.address(), &first, false);
    let id = scheduler.framework_id.clone();
    let metrics = || get(cluster.address(), "/metrics/snapshot").json();
    let suppressed =
        |role: &str| metrics()[format!("master/frameworks/test/{id}/roles/{role}/suppressed")].clone();
    assert_eq!((suppressed("a"), suppressed("b/c")), (0.0.into(), 1.0.into()));

    let offer = scheduler.wait(event::Type::Offers).offers.unwrap().offers.remove(0);
    let launch = Operation {
        r#type: Some(operation::Type::Launch.into()),
        launch: Some(operation::Launch { task_infos: vec![command(&offer.agent_id, "t1")] }),
        ..Default::default()
    };
    let reserve = Operation { r#type: Some(operation::Type::Reserve.into()), ..Default::default() };
    let accept = call::Accept { offer_ids: vec![offer.id], operations: vec![launch, reserve], filters: None };
    assert_eq!(scheduler.call(Call { accept: Some(accept), ..of(call::Type::Accept) }).status, 202);
    let counted = metrics();
    for (name, value) in [
        (format!("master/frameworks/test/{id}/operations"), 1.0),
        (format!("master/frameworks/test/{id}/operations/launch"), 1.0),
        ("master/operations/error".to_owned(), 1.0),
        ("master/operations/reserve/error".to_owned(), 1.0),
    ] {
        assert_eq!(counted[&name], value, "{name}");
    }

    let suppress = Some(call::Suppress { roles: vec!["a".into()] });
    assert_eq!(scheduler.call(Call { suppress, ..of(call::Type::Suppress) }).status, 202);
    assert_eq!((suppressed("a"), suppressed("b/c")), (1.0.into(), 1.0.into()));
    assert_eq!(scheduler.call(of(call::Type::Revive)).status, 202, "of all roles");
    assert_eq!((suppressed("a"), suppressed("b/c")), (0.0.into(), 0.0.into()));
    let framework_info =
        FrameworkInfo { id: Some(id.as_str().into()), roles: vec!["a".into(), "d".into()], ..info };
    let update_framework = Some(call::UpdateFramework {
        framework_info,
        suppressed_roles: vec!["d".into()],
        ..Default::default()
    });
    assert_eq!(scheduler.call(Call { update_framework, ..of(call::Type::UpdateFramework) }).status, 200);
    assert_eq!((suppressed("a"), suppressed("d")), (0.0.into(), 1.0.into()));
    assert!(suppressed("b/c").is_null(), "a role it has left");
}

#[test]
fn a_subscriber_that_does_not_read_is_cut_off() {
    let cluster = Cluster::start();
    let idle = Scheduler::subscribe(cluster.address(), &subscribe(framework()), false);
    // Each answer repeats the task's id: enough of them exceed what is kept for a reader.
    let id = "x".repeat(250);
    let tasks = vec![call::reconcile::Task { task_id: id.as_str().into(), agent_id: None }; 3000];
    let reconcile = call::Reconcile { tasks };
    let deadline = std::time::Instant::now() + PATIENCE;
    let status =
        || idle.call(Call { reconcile: Some(reconcile.clone()), ..of(call::Type::Reconcile) }).status;
    while status() == 202 {
        assert!(std::time::Instant::now() < deadline, "the master goes on writing");
    }
    assert_eq!(get(cluster.address(), "/health").status, 200);
}

#[test]
fn a_framework_is_asked_to_leave_an_agent_until_it_says_for_how_long_not_to() {
    let cluster = Cluster::start();
    let mut scheduler = Scheduler::subscribe(cluster.address(), &subscribe(framework()), false);
    let offer = scheduler.wait(event::Type::Offers).offers.unwrap().offers.remove(0);
    assert_eq!(offer.unavailability, None);
    let launch = Operation {
        r#type: Some(operation::Type::Launch.into()),
        launch: Some(operation::Launch { task_infos: vec![command(&offer.agent_id, "t1")] }),
        ..Default::default()
    };
    let accept = call::Accept { offer_ids: vec![offer.id], operations: vec![launch], filters: None };
    scheduler.call(Call { accept: Some(accept), ..of(call::Type::Accept) });
    scheduler.wait(event::Type::Update);

    let unavailability = Unavailability {
        start: TimeInfo { nanoseconds: 5 },
        duration: Some(DurationInfo { nanoseconds: 9 }),
    };
    let id = offer.agent_id.clone();
    cluster.master.call(move |master, ctx| {
        master.set_unavailability(&id, Some(unavailability), ctx);
    });
    let leave = |scheduler: &mut Scheduler| {
        scheduler.wait(event::Type::InverseOffers).inverse_offers.unwrap().inverse_offers.remove(0)
    };
    let first = leave(&mut scheduler);
    assert_eq!(first.agent_id.as_ref(), Some(&offer.agent_id));
    assert_eq!((first.unavailability, first.url), (unavailability, offer.url));
    assert!(first.resources.is_empty());
    let decline = |id, refuse_seconds| Call {
        decline_inverse_offers: Some(call::DeclineInverseOffers {
            inverse_offer_ids: vec![id],
            filters: Some(Filters { refuse_seconds: Some(refuse_seconds) }),
        }),
        ..of(call::Type::DeclineInverseOffers)
    };
    assert_eq!(scheduler.call(decline(first.id.clone(), 0.0)).status, 202);
    let second = leave(&mut scheduler);
    assert_ne!(second.id, first.id);

    // What was not answered is taken back when there is nothing to leave for.
    let id = offer.agent_id.clone();
    cluster.master.call(move |master, ctx| {
        master.set_unavailability(&id, None, ctx);
    });
    let rescinded = scheduler.wait(event::Type::RescindInverseOffer).rescind_inverse_offer.unwrap();
    assert_eq!(rescinded.inverse_offer_id, second.id);
}
