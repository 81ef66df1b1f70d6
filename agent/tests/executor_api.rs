//! `/api/v1/executor` and the other endpoints, over real connections.

#![allow(clippy::unwrap_used)] // Helpers of tests are tests.

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use api::internal::*;
use api::v1::executor::{Call, Event, call, event};
use api::v1::*;
use common::*;
use prost::Message;

struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

fn connect(cluster: &Cluster, request: &str, body: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(cluster.agent_node.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let length = body.len();
    write!(stream, "{request}\r\nHost: agent\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n")
        .unwrap();
    stream.write_all(body).unwrap();
    stream
}

fn ask(cluster: &Cluster, request: &str, body: &[u8]) -> Answer {
    let mut stream = connect(cluster, request, body);
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let at = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(bytes[..at].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head, body: bytes[at + 4..].to_vec() }
}

/// One of the two forms of a call.
#[derive(Clone, Copy)]
enum Form {
    Json,
    Protobuf,
}

impl Form {
    fn request(self) -> String {
        let media = match self {
            Form::Json => "application/json",
            Form::Protobuf => "application/x-protobuf",
        };
        format!("POST /api/v1/executor HTTP/1.1\r\nContent-Type: {media}\r\nAccept: {media}")
    }

    fn encode(self, call: &Call) -> Vec<u8> {
        match self {
            Form::Json => api::json::to_vec(call),
            Form::Protobuf => call.encode_to_vec(),
        }
    }
}

fn call(kind: call::Type) -> Call {
    Call {
        executor_id: "e".into(),
        framework_id: "F".into(),
        r#type: Some(kind as i32),
        ..Default::default()
    }
}

fn send(cluster: &Cluster, form: Form, call: &Call) -> Answer {
    ask(cluster, &form.request(), &form.encode(call))
}

/// A subscription: events come out of the chunks as they come.
struct Subscription {
    stream: TcpStream,
    form: Form,
    raw: Vec<u8>,
    events: api::recordio::Decoder,
}

impl Subscription {
    fn open(cluster: &Cluster, form: Form) -> Subscription {
        let subscribe = Call { subscribe: Some(call::Subscribe::default()), ..call(call::Type::Subscribe) };
        let mut stream = connect(cluster, &form.request(), &form.encode(&subscribe));
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        assert!(head.starts_with("http/1.1 200") && head.contains("transfer-encoding: chunked"), "{head}");
        Subscription { stream, form, raw: Vec::new(), events: api::recordio::Decoder::new(1 << 20) }
    }

    /// The next event; `None` when the stream has ended.
    fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(record) = self.events.next_record().unwrap() {
                return Some(match self.form {
                    Form::Json => api::json::from_slice(&record).unwrap(),
                    Form::Protobuf => Event::decode(record).unwrap(),
                });
            }
            let size = loop {
                if let Some(end) = self.raw.windows(2).position(|window| window == b"\r\n") {
                    let size = std::str::from_utf8(&self.raw[..end]).unwrap();
                    let size = usize::from_str_radix(size, 16).unwrap();
                    if self.raw.len() >= end + 4 + size {
                        let chunk: Vec<u8> = self.raw.drain(..end + 4 + size).collect();
                        self.events.feed(&chunk[end + 2..end + 2 + size]);
                        break size;
                    }
                }
                let mut buffer = [0; 4096];
                match self.stream.read(&mut buffer).unwrap() {
                    0 => return None,
                    n => self.raw.extend_from_slice(&buffer[..n]),
                }
            };
            if size == 0 {
                return None;
            }
        }
    }

    fn kinds(&mut self, n: usize) -> Vec<event::Type> {
        (0..n).map(|_| self.next().unwrap().r#type()).collect()
    }
}

fn task(id: &str) -> TaskInfo {
    let executor = ExecutorInfo {
        executor_id: "e".into(),
        command: Some(CommandInfo { value: Some("sleep 98745.1".into()), ..Default::default() }),
        ..Default::default()
    };
    TaskInfo { command: None, executor: Some(executor), ..shell(id, "") }
}

fn with_executor() -> Cluster {
    let cluster =
        Cluster::start_with(|flags| flags.executor_shutdown_grace_period = Duration::from_millis(50));
    cluster.run(&framework(), task("t"));
    until("the executor to be known", || {
        send(&cluster, Form::Json, &update("t", 0, TaskState::TaskRunning)).status == 403
    });
    cluster
}

fn update(task: &str, n: u8, state: TaskState) -> Call {
    let status = TaskStatus {
        task_id: task.into(),
        state: state as i32,
        source: Some(task_status::Source::Executor as i32),
        uuid: Some(vec![n; 16]),
        ..Default::default()
    };
    Call { update: Some(call::Update { status }), ..call(call::Type::Update) }
}

#[test]
fn an_executor_subscribes_reports_and_is_shut_down_in_json_and_in_protobuf() {
    for form in [Form::Json, Form::Protobuf] {
        let cluster = with_executor();
        let mut events = Subscription::open(&cluster, form);
        let subscribed = events.next().unwrap().subscribed.unwrap();
        assert_eq!(subscribed.framework_info.id, Some("F".into()));
        assert_eq!(subscribed.agent_info.id, Some("S0".into()));
        assert!(subscribed.container_id.is_some());
        assert_eq!(events.next().unwrap().launch.unwrap().task.task_id, "t".into());
        assert_eq!(send(&cluster, form, &update("t", 1, TaskState::TaskRunning)).status, 202);
        assert_eq!(events.next().unwrap().acknowledged.unwrap().uuid, [1; 16]);
        cluster.until_state("t", TaskState::TaskRunning);
        cluster.send(KillTaskMessage { framework_id: "F".into(), task_id: "t".into(), kill_policy: None });
        assert_eq!(events.next().unwrap().kill.unwrap().task_id, "t".into());
        let message =
            Call { message: Some(call::Message { data: b"x".to_vec() }), ..call(call::Type::Message) };
        assert_eq!(send(&cluster, form, &message).status, 202);
        cluster
            .send(ShutdownExecutorMessage { executor_id: Some("e".into()), framework_id: Some("F".into()) });
        assert_eq!(events.kinds(1), [event::Type::Shutdown]);
        cluster.until_state("t", TaskState::TaskFailed);
        assert!(events.next().is_none(), "the stream ends with the container");
        cluster.stop();
    }
}

#[test]
fn a_later_subscription_takes_over_and_what_got_lost_between_them_is_told() {
    let cluster = with_executor();
    let mut first = Subscription::open(&cluster, Form::Json);
    assert_eq!(first.kinds(2), [event::Type::Subscribed, event::Type::Launch]);
    assert_eq!(send(&cluster, Form::Json, &update("t", 1, TaskState::TaskRunning)).status, 202);
    let mut second = Subscription::open(&cluster, Form::Protobuf);
    assert_eq!(second.kinds(1), [event::Type::Subscribed]);
    while first.next().is_some() {}
    cluster.run(&framework(), task("u"));
    assert_eq!(second.next().unwrap().launch.unwrap().task.task_id, "u".into());
    // A third one that does not know `u`, of which nothing was ever heard: it cannot have arrived.
    let mut third = Subscription::open(&cluster, Form::Json);
    assert_eq!(third.kinds(1), [event::Type::Subscribed]);
    cluster.until_state("u", TaskState::TaskLost);
    let history = cluster.history();
    assert!(history["u"][0].starts_with("TASK_LOST REASON_AGENT_RESTARTED"), "{history:?}");
    assert_eq!(history["t"], ["TASK_RUNNING"]);
    cluster.stop();
}

#[test]
fn an_executor_that_does_not_read_is_cut_off_and_what_comes_next_waits_for_it() {
    let cluster = with_executor();
    let mut first = Subscription::open(&cluster, Form::Protobuf);
    assert_eq!(first.kinds(2), [event::Type::Subscribed, event::Type::Launch]);
    assert_eq!(send(&cluster, Form::Json, &update("t", 1, TaskState::TaskRunning)).status, 202);
    for _ in 0..32 {
        cluster.send(FrameworkToExecutorMessage {
            slave_id: "S0".into(),
            framework_id: "F".into(),
            executor_id: "e".into(),
            data: vec![0; 1 << 20],
        });
    }
    cluster.run(&framework(), task("u"));
    until("the task arrives", || ask(&cluster, "GET /state HTTP/1.1", b"").text().contains("\"id\":\"u\""));
    let mut second = Subscription::open(&cluster, Form::Protobuf);
    assert_eq!(second.kinds(2), [event::Type::Subscribed, event::Type::Launch]);
    cluster.stop();
}

#[test]
fn calls_are_checked_in_order_and_told_what_is_wrong() {
    let cluster = with_executor();
    let post = |headers: &str, body: &[u8]| {
        let answer = ask(&cluster, &format!("POST /slave(1)/api/v1/executor HTTP/1.1{headers}"), body);
        format!("{} {}", answer.status, answer.text())
    };
    let json = "\r\nContent-Type: application/json";
    assert!(ask(&cluster, "GET /api/v1/executor HTTP/1.1", b"").status == 405);
    assert!(post("", b"{}").starts_with("400 Expecting 'Content-Type'"));
    assert!(post("\r\nContent-Type: application/json; charset=utf-8", b"{}").starts_with("415"));
    assert!(post(json, b"{").starts_with("400 Failed to parse"));
    assert!(post(json, b"{}").starts_with("400 Failed to parse"), "ids are required");
    let with_ids = |rest: &str| {
        format!("{{\"executor_id\":{{\"value\":\"e\"}},\"framework_id\":{{\"value\":\"F\"}}{rest}}}")
    };
    assert!(post(json, with_ids("").as_bytes()).starts_with("400 Failed to validate executor::Call"));
    let subscribe = with_ids(",\"type\":\"SUBSCRIBE\"");
    assert!(post(json, subscribe.as_bytes()).contains("Expecting 'subscribe'"));
    let subscribe = with_ids(",\"type\":\"SUBSCRIBE\",\"subscribe\":{}");
    assert!(post(&format!("{json}\r\nAccept: text/html"), subscribe.as_bytes()).starts_with("406"));
    let unknown = subscribe.replace("\"F\"", "\"G\"");
    assert!(post(json, unknown.as_bytes()).starts_with("400 Framework G cannot be found"));
    let heartbeat = with_ids(",\"type\":\"HEARTBEAT\"");
    assert!(post(json, heartbeat.as_bytes()).starts_with("202"));
    let mut wrong = update("t", 1, TaskState::TaskRunning);
    wrong.update.as_mut().unwrap().status.source = None;
    assert_eq!(send(&cluster, Form::Json, &wrong).status, 400);
    wrong = update("t", 1, TaskState::TaskStaging);
    assert_eq!(send(&cluster, Form::Json, &wrong).status, 400);
    wrong = update("t", 1, TaskState::TaskRunning);
    wrong.update.as_mut().unwrap().status.uuid = Some(vec![1; 3]);
    assert_eq!(send(&cluster, Form::Json, &wrong).status, 400);
    wrong = update("t", 1, TaskState::TaskRunning);
    let check = CheckStatusInfo { r#type: Some(check_info::Type::Http as i32), ..Default::default() };
    wrong.update.as_mut().unwrap().status.check_status = Some(check);
    let answer = send(&cluster, Form::Json, &wrong);
    assert_eq!(answer.status, 400);
    assert!(answer.text().ends_with("Expecting 'check_status.http' to be present"), "{}", answer.text());
    cluster.stop();
}

#[test]
fn the_endpoints_show_what_runs() {
    let cluster = with_executor();
    let mut events = Subscription::open(&cluster, Form::Json);
    assert_eq!(events.kinds(2), [event::Type::Subscribed, event::Type::Launch]);
    let get = |path: &str| {
        let answer = ask(&cluster, &format!("GET {path} HTTP/1.1"), b"");
        assert_eq!(answer.status, 200, "{path}: {}", answer.head);
        answer.text()
    };
    let json = |path: &str| serde_json::from_str::<serde_json::Value>(&get(path)).unwrap();
    assert_eq!(get("/health"), "");
    assert_eq!(json("/flags")["flags"]["resources"], "cpus:64;mem:65536");
    until("the container to use memory", || {
        json("/containers")[0]["statistics"]["mem_rss_bytes"].as_u64().is_some_and(|bytes| bytes > 0)
    });
    let state = json("/slave(1)/state");
    assert_eq!(state["id"], "S0");
    assert_eq!(state["resources"]["cpus"], 64.0);
    assert_eq!(state["resources"]["ports"], "[31000-32000]");
    let executor = &state["frameworks"][0]["executors"][0];
    assert_eq!(executor["tasks"][0]["id"], "t");
    assert_eq!(executor["tasks"][0]["state"], "TASK_STAGING");
    let containers = json("/containers");
    assert_eq!(containers[0]["executor_id"], "e");
    assert!(containers[0]["status"]["executor_pid"].as_u64().is_some());
    // Twice in a second: the third request waits for its turn.
    #[expect(clippy::disallowed_methods, reason = "a test measures what a client sees")]
    let asked = std::time::Instant::now();
    let statistics = json("/monitor/statistics");
    for _ in 0..2 {
        json("/monitor/statistics");
    }
    assert!(asked.elapsed() >= Duration::from_secs(1), "{:?}", asked.elapsed());
    assert_eq!(statistics[0]["framework_id"], "F");
    assert!(statistics[0]["statistics"]["cpus_user_time_secs"].is_number());
    assert_eq!(json("/containers?framework_id=G"), serde_json::json!([]));
    let wrong = ask(&cluster, "GET /containers?executor_id=e HTTP/1.1", b"");
    assert_eq!(wrong.status, 400);
    assert!(get("/flags?jsonp=show").starts_with("show({"));
    cluster.stop();
}
