//! `POST /api/v1/executor`: executors subscribe, report, and send messages.

use std::collections::BTreeMap;
use std::time::Duration;

use api::internal::{ExecutorToFrameworkMessage, StatusUpdate};
use api::v1::executor::{Call, Event, call, event};
use api::v1::task_status::Source;
use api::v1::{CheckStatusInfo, TaskState, TaskStatus, check_info};
use libprocess::Context;
use libprocess::http::{BodyWriter, Method, Request, Response, StatusCode};

use super::media::Media;
use crate::actor::Agent;
use crate::task_state;
use crate::workload::{Executor, Link, Refusal, Subscription};

/// How often an idle stream shows that it lives.
const HEARTBEAT: Duration = Duration::from_secs(30 * 60);

/// An executor's open stream.
struct Stream {
    body: BodyWriter,
    media: Media,
    /// Tells this stream from an earlier one of the same container.
    number: u64,
}

/// The streams of all executors, by container.
#[derive(Default)]
pub(crate) struct Streams {
    open: BTreeMap<String, Stream>,
    opened: u64,
}

impl Streams {
    /// Replaces a container's stream; dropping the former one ends it.
    fn open(&mut self, container_id: &str, body: BodyWriter, media: Media) -> u64 {
        self.opened += 1;
        self.open.insert(container_id.to_owned(), Stream { body, media, number: self.opened });
        self.opened
    }

    /// Writes an event. An executor that does not read is cut off, and may subscribe again.
    ///
    /// Whether the stream is still there.
    pub(crate) fn send(&mut self, container_id: &str, event: &Event) -> bool {
        let Some(stream) = self.open.get(container_id) else { return false };
        let written = stream.body.write(record(stream.media, event));
        if let Err(error) = &written {
            tracing::warn!(container_id, %error, "an executor's stream is cut off");
            self.open.remove(container_id);
        }
        written.is_ok()
    }

    /// Ends a container's stream.
    pub(crate) fn close(&mut self, container_id: &str) {
        self.open.remove(container_id);
    }

    fn is_current(&self, container_id: &str, number: u64) -> bool {
        self.open.get(container_id).is_some_and(|stream| stream.number == number)
    }
}

fn record(media: Media, event: &Event) -> Vec<u8> {
    api::recordio::encode(&media.encode(event))
}

/// Answers a call; the checks are in the order in which clients see them fail.
pub(crate) fn call(agent: &mut Agent, request: Request, ctx: &mut Context<Agent>) -> Response {
    answer(agent, &request, ctx).unwrap_or_else(|refusal| refusal)
}

fn answer(agent: &mut Agent, request: &Request, ctx: &mut Context<Agent>) -> Result<Response, Response> {
    if request.method != Method::POST {
        let text = format!("Expecting one of {{ 'POST' }}, but received '{}'", request.method);
        return Err(Response::text(StatusCode::METHOD_NOT_ALLOWED, text).header("Allow", "POST"));
    }
    let bad = |text: String| Response::text(StatusCode::BAD_REQUEST, text);
    let call: Call = match Media::of_body(request)? {
        Media::Json => api::json::from_slice(&request.body)
            .map_err(|error| bad(format!("Failed to parse body into executor::Call: {error}")))?,
        Media::Protobuf => api::wire::decode(&request.body)
            .map_err(|error| bad(format!("Failed to parse body into executor::Call: {error}")))?,
    };
    validate(&call).map_err(|error| bad(format!("Failed to validate executor::Call: {error}")))?;
    match call.r#type() {
        call::Type::Subscribe => {
            let media = Media::accepted(request)?;
            caller(agent.workload.caller(&call.framework_id, &call.executor_id))?;
            Ok(subscribe(agent, call, media, ctx))
        }
        call::Type::Heartbeat => Ok(Response::new(StatusCode::ACCEPTED)),
        call::Type::Update => {
            let executor = caller(agent.workload.subscribed_caller(&call.framework_id, &call.executor_id))?;
            let link = Link::Stream { container_id: executor.container_id.clone() };
            if let Some(call::Update { status }) = call.update.clone() {
                let update = update_of(&call, status, ctx.now().as_secs_f64());
                agent.take_update(update, link, ctx);
            }
            Ok(Response::new(StatusCode::ACCEPTED))
        }
        call::Type::Message => {
            caller(agent.workload.subscribed_caller(&call.framework_id, &call.executor_id))?;
            let message = ExecutorToFrameworkMessage {
                slave_id: agent.workload.agent_id(),
                framework_id: call.framework_id,
                executor_id: call.executor_id,
                data: call.message.map(|message| message.data).unwrap_or_default(),
            };
            agent.pass_to_framework(message, ctx);
            Ok(Response::new(StatusCode::ACCEPTED))
        }
        call::Type::Unknown => Err(Response::text(StatusCode::NOT_IMPLEMENTED, "501 Not Implemented.")),
    }
}

fn caller(found: Result<&Executor, Refusal>) -> Result<&Executor, Response> {
    found.map_err(|refusal| {
        let status = match refusal {
            Refusal::UnknownFramework(_) | Refusal::UnknownExecutor(_) => StatusCode::BAD_REQUEST,
            Refusal::NotSubscribed(_) => StatusCode::FORBIDDEN,
        };
        Response::text(status, refusal.to_string())
    })
}

/// What is wrong with a call, whoever it is from.
fn validate(call: &Call) -> Result<(), String> {
    let Some(kind) = call.r#type else { return Err("Expecting 'type' to be present".to_owned()) };
    let missing = |name: &str| Err(format!("Expecting '{name}' to be present"));
    match call::Type::try_from(kind) {
        Ok(call::Type::Subscribe) => match &call.subscribe {
            None => missing("subscribe"),
            Some(subscribe) => {
                let mut updates = subscribe.unacknowledged_updates.iter();
                updates.try_for_each(|update| validate_status(&update.status, call))
            }
        },
        Ok(call::Type::Update) => match &call.update {
            None => missing("update"),
            Some(update) => validate_status(&update.status, call),
        },
        Ok(call::Type::Message) if call.message.is_none() => missing("message"),
        _ => Ok(()),
    }
}

fn validate_status(status: &TaskStatus, call: &Call) -> Result<(), String> {
    match &status.uuid {
        None => return Err("Expecting 'uuid' to be present".to_owned()),
        Some(uuid) if uuid.len() != 16 => {
            return Err(format!("Invalid 'uuid': expecting 16 bytes, got {}", uuid.len()));
        }
        Some(_) => {}
    }
    if status.source != Some(Source::Executor as i32) {
        let source = status.source.and_then(|source| Source::try_from(source).ok()).unwrap_or(Source::Master);
        return Err(format!("Received Call from executor with invalid source {}", source.as_str_name()));
    }
    if task_state::of(status) == TaskState::TaskStaging {
        return Err("Received TASK_STAGING from executor, which is not allowed".to_owned());
    }
    if status.executor_id.as_ref().is_some_and(|id| *id != call.executor_id) {
        return Err("The status's 'executor_id' is not that of the call".to_owned());
    }
    if let Some(check) = &status.check_status {
        validate_check(check)?;
    }
    status.task_id.validate().map_err(|error| format!("Invalid 'task_id': {error}"))
}

/// A check's status says which kind of check it is of, and has the part that is of that kind.
fn validate_check(check: &CheckStatusInfo) -> Result<(), String> {
    let kind = check.r#type.and_then(|kind| check_info::Type::try_from(kind).ok());
    let (part, is_there) = match kind {
        Some(check_info::Type::Command) => ("command", check.command.is_some()),
        Some(check_info::Type::Http) => ("http", check.http.is_some()),
        Some(check_info::Type::Tcp) => ("tcp", check.tcp.is_some()),
        Some(check_info::Type::Unknown) | None => {
            return Err("Expecting 'check_status.type' to be COMMAND, HTTP or TCP".to_owned());
        }
    };
    if is_there { Ok(()) } else { Err(format!("Expecting 'check_status.{part}' to be present")) }
}

fn update_of(call: &Call, status: TaskStatus, now: f64) -> StatusUpdate {
    StatusUpdate {
        framework_id: call.framework_id.clone(),
        executor_id: Some(call.executor_id.clone()),
        slave_id: None,
        timestamp: status.timestamp.unwrap_or(now),
        uuid: status.uuid.clone(),
        status,
        latest_state: None,
    }
}

fn subscribe(agent: &mut Agent, call: Call, media: Media, ctx: &mut Context<Agent>) -> Response {
    let now = ctx.now().as_secs_f64();
    let (response, body) = Response::stream(media.name());
    let subscribe = call.subscribe.clone().unwrap_or_default();
    let updates = subscribe
        .unacknowledged_updates
        .into_iter()
        .map(|update| update_of(&call, update.status, now))
        .collect();
    let container_id = match agent.workload.caller(&call.framework_id, &call.executor_id) {
        Ok(executor) => executor.container_id.clone(),
        Err(refusal) => return Response::text(StatusCode::BAD_REQUEST, refusal.to_string()),
    };
    // The stream is there before the tables speak to it.
    let number = agent.streams.open(&container_id, body, media);
    let subscribed = agent.turn(ctx, |workload, turn| {
        let (framework_id, executor_id) = (&call.framework_id, &call.executor_id);
        workload.subscribe(framework_id, executor_id, &subscribe.unacknowledged_tasks, updates, turn)
    });
    match subscribed {
        Ok(Subscription::Accepted { .. }) => {
            watch(agent, &container_id, number, ctx);
            heartbeat_later(container_id, number, ctx);
        }
        Ok(Subscription::Shutdown) => {
            let shutdown = Event { r#type: Some(event::Type::Shutdown as i32), ..Default::default() };
            agent.streams.send(&container_id, &shutdown);
            agent.streams.close(&container_id);
        }
        Err(refusal) => {
            agent.streams.close(&container_id);
            return Response::text(StatusCode::BAD_REQUEST, refusal.to_string());
        }
    }
    response
}

/// Notices when the executor's end of the stream closes.
fn watch(agent: &mut Agent, container_id: &str, number: u64, ctx: &mut Context<Agent>) {
    let Some(stream) = agent.streams.open.get(container_id) else { return };
    let closed = stream.body.closed();
    let container_id = container_id.to_owned();
    ctx.then(closed, move |agent, _, _| {
        if agent.streams.is_current(&container_id, number) {
            agent.streams.close(&container_id);
            agent.workload.stream_closed(&container_id);
        }
    });
}

fn heartbeat_later(container_id: String, number: u64, ctx: &mut Context<Agent>) {
    ctx.delay(HEARTBEAT, move |agent, ctx| {
        if agent.streams.is_current(&container_id, number) {
            let heartbeat = Event { r#type: Some(event::Type::Heartbeat as i32), ..Default::default() };
            agent.stream_event(&container_id, &heartbeat);
            heartbeat_later(container_id, number, ctx);
        }
    });
}
