//! The allocator's answers over HTTP, from a node that listens.

#![allow(clippy::unwrap_used, reason = "a test says what is wrong by failing")]

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc;
use std::time::Duration;

use allocator::{AllocatorProcess, FrameworkOptions, Options};
use common::{agent_capabilities, agent_id, agent_info, framework_id, framework_info, resources};
use libprocess::Node;
use serde_json::Value;

const SOON: Duration = Duration::from_secs(20);

/// A node with an allocator: `f` is offered `a1`, and `a2` is left to nobody.
fn node() -> Node {
    let node = Node::builder().listen("127.0.0.1:0").start().unwrap();
    let (tell, told) = mpsc::channel();
    let process = AllocatorProcess::new(Options::default(), move |allocation| drop(tell.send(allocation)));
    let allocator = node.spawn("allocator", process).unwrap();
    allocator.call(|allocator, ctx| {
        let info = framework_info(&["framework", "f", "role=r/x"]);
        allocator.add_framework(framework_id("f"), info, Vec::new(), true, FrameworkOptions::default(), ctx);
        for (id, total) in [("a1", "cpus:2;mem:512"), ("a2", "cpus(other):2;mem(other):512")] {
            let (info, capabilities) = (agent_info(id, None), agent_capabilities(false));
            allocator.add_agent(agent_id(id), &info, capabilities, resources(total), Vec::new(), ctx);
        }
    });
    assert_eq!(told.recv_timeout(SOON).unwrap().n_offers(), 1);
    node
}

/// The status and the body.
fn get(node: &Node, target: &str) -> (u16, String) {
    request(node, "GET", target)
}

fn request(node: &Node, method: &str, target: &str) -> (u16, String) {
    let address = node.address().to_string();
    let mut stream = TcpStream::connect(&address).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    write!(stream, "{method} {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

fn json(node: &Node, target: &str) -> Value {
    let (status, body) = get(node, target);
    assert_eq!(status, 200, "{target}: {body}");
    serde_json::from_str(&body).unwrap()
}

#[test]
fn a_framework_hears_why() {
    let node = node();
    let told = json(&node, "/allocator/explain?framework=f");
    assert_eq!(told["framework_id"], "f");
    assert_eq!(told["cycles"]["state"], "running");
    assert_eq!((&told["n_agents"], &told["n_roles"]), (&Value::from(2), &Value::from(1)));
    let role = &told["roles"][0];
    assert_eq!((&role["role"], &role["standing"]), (&Value::from("r/x"), &Value::from("active")));
    assert_eq!(role["turn"]["role"][0]["name"], "r");
    assert_eq!(role["turn"]["role"][1]["weighted_share"], 0.5);
    assert_eq!(role["turn"]["framework"]["position"], 1);
    assert_eq!(role["held"]["cpus"], 2.0);
    let groups = role["agents"].as_array().unwrap();
    assert_eq!((&groups[0]["reason"], &groups[1]["reason"]), (&"holds".into(), &"reserved_to_others".into()));
    assert_eq!(groups[1]["count"], 1);
    let agent = &groups[1]["agents"][0];
    assert_eq!((&agent["agent_id"], &agent["reserved_to"][0]), (&"a2".into(), &"other".into()));
    assert_eq!(agent["text"], "what is left is reserved to role `other`");
    let one = json(&node, "/allocator/explain?framework=f&agent=a2&role=r/x&limit=0");
    let groups = one["roles"][0]["agents"].as_array().unwrap();
    assert_eq!(
        (groups.len(), &groups[0]["count"], &groups[0]["agents"]),
        (1, &1.into(), &Value::Array(vec![]))
    );
    let (_, jsonp) = get(&node, "/allocator/explain?framework=f&jsonp=show");
    assert!(jsonp.starts_with("show({"));
}

#[test]
fn roles_and_constraints_are_listed() {
    let node = node();
    let told = json(&node, "/allocator/roles?limit=2&offset=1");
    assert_eq!(told["n_roles"], 3);
    let names: Vec<&str> =
        told["roles"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["r", "r/x"]);
    assert_eq!(told["roles"][1]["frameworks"]["active"], 1);
    let told = json(&node, "/allocator/offer_constraints_debug");
    assert_eq!(told["frameworks"]["f"]["suppressed_roles"], Value::Array(vec![]));
    assert_eq!(told["frameworks"]["f"]["excluded_by_attribute_constraints"], serde_json::json!({}));
}

#[test]
fn bad_questions_hear_what_is_wrong_and_what_is_right() {
    let node = node();
    for (target, status, text) in [
        ("explain", 400, "say whom to explain, as in `/allocator/explain?framework=ID`"),
        ("explain?framework=", 400, "say whom to explain"),
        ("explain?framework=g", 404, "no framework has the id `g`; `/master/frameworks` lists"),
        ("explain?framework=f&agent=b", 404, "no agent has the id `b`; `/master/slaves` lists"),
        ("explain?framework=f&role=q", 404, "framework f is neither subscribed to role `q`"),
        (
            "explain?framework=f&limit=1001",
            400,
            "`limit` is `1001`, but has to be a whole number from 0 to 1000",
        ),
        ("roles?offset=-1", 400, "`offset` is `-1`, but has to be a whole number"),
        ("roles?role=r", 400, "there is no parameter `role`; there are `limit`, `offset`, `jsonp`"),
        ("offer_constraints_debug?limit=x", 400, "`limit` is `x`"),
    ] {
        let (got, body) = get(&node, &format!("/allocator/{target}"));
        assert_eq!(got, status, "{target}: {body}");
        assert!(body.contains(text), "{target}: {body}");
    }
    assert_eq!(request(&node, "POST", "/allocator/roles").0, 405);
}

#[test]
fn help_tells_of_them() {
    let node = node();
    let (_, help) = get(&node, "/help/allocator/explain");
    assert!(help.contains("framework=ID") && help.contains("limit"), "{help}");
}
