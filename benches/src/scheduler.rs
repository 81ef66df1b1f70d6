//! A scheduler over the v1 HTTP API, as bare as it can be: JSON, a connection for the events and one for the
//! calls.

use std::io;
use std::net::SocketAddr;

use api::recordio::Decoder;
use api::v1::TaskStatus;
use api::v1::scheduler::event::Type;
use api::v1::scheduler::{Call, Event, call};
use api::v1::{FrameworkId, FrameworkInfo, TaskState};

use crate::http::Connection;

const PATH: &str = "/api/v1/scheduler";
const MEDIA: &str = "application/json";
/// Few enough that their answers fit into the buffers of a socket.
const UNANSWERED_MAX: usize = 64;
/// Beyond any record of a bench.
const RECORD_BYTES_MAX: usize = 64 << 20;

/// A subscribed scheduler.
pub struct Scheduler {
    events: Connection,
    calls: Connection,
    /// Calls whose answer was not read yet.
    n_unanswered: usize,
    decoder: Decoder,
    stream_id: String,
    framework_id: FrameworkId,
}

fn broken(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

impl Scheduler {
    /// Subscribes as a new framework.
    pub fn subscribe(to: SocketAddr) -> io::Result<Scheduler> {
        let mut events = Connection::open(to)?;
        let framework_info =
            FrameworkInfo { user: "root".into(), name: "bench".into(), ..FrameworkInfo::default() };
        let subscribe = Call {
            subscribe: Some(call::Subscribe { framework_info, ..Default::default() }),
            ..of(call::Type::Subscribe)
        };
        let body = api::json::to_vec(&subscribe);
        events.post(PATH, &[("Content-Type", MEDIA), ("Accept", MEDIA)], &body)?;
        let head = events.read_head()?;
        let stream_id = head.header("Mesos-Stream-Id").map(str::to_owned);
        let mut scheduler = Scheduler {
            events,
            calls: Connection::open(to)?,
            n_unanswered: 0,
            decoder: Decoder::new(RECORD_BYTES_MAX),
            stream_id: stream_id.ok_or_else(|| broken(format!("SUBSCRIBE is answered by {head:?}")))?,
            framework_id: FrameworkId::default(),
        };
        let subscribed = scheduler.wait(Type::Subscribed)?.subscribed;
        scheduler.framework_id = subscribed.ok_or_else(|| broken("no framework id".into()))?.framework_id;
        Ok(scheduler)
    }

    /// The next event.
    pub fn next_event(&mut self) -> io::Result<Event> {
        loop {
            let record = self.decoder.next_record().map_err(|error| broken(error.to_string()))?;
            if let Some(record) = record {
                return api::json::from_slice(&record).map_err(|error| broken(error.to_string()));
            }
            let chunk = self.events.read_chunk()?;
            self.decoder.feed(&chunk.ok_or_else(|| broken("the master ended the stream".into()))?);
        }
    }

    /// The next event of that kind.
    pub fn wait(&mut self, kind: Type) -> io::Result<Event> {
        loop {
            let event = self.next_event()?;
            if event.r#type() == kind {
                return Ok(event);
            }
            if let Some(error) = event.error {
                return Err(broken(format!("the master refuses the framework: {}", error.message)));
            }
        }
    }

    /// Waits for a task's next status and acknowledges it.
    pub fn next_status(&mut self) -> io::Result<TaskStatus> {
        let status = self.wait(Type::Update)?.update.map(|update| update.status);
        let status = status.ok_or_else(|| broken("an UPDATE without a status".into()))?;
        if let (Some(uuid), Some(agent_id)) = (status.uuid.clone(), status.agent_id.clone()) {
            let acknowledge = call::Acknowledge { agent_id, task_id: status.task_id.clone(), uuid };
            self.call(Call { acknowledge: Some(acknowledge), ..of(call::Type::Acknowledge) })?;
        }
        Ok(status)
    }

    /// Waits until a task is in that state, acknowledging all that comes.
    pub fn wait_for(&mut self, state: TaskState) -> io::Result<()> {
        loop {
            let status = self.next_status()?;
            let came = status.state();
            if came == state {
                return Ok(());
            }
            if !matches!(came, TaskState::TaskStarting | TaskState::TaskRunning) {
                return Err(broken(format!("waiting for {state:?}, a task comes to {status:?}")));
            }
        }
    }

    /// Sends a call. Its answer is read later, at the latest by [`Scheduler::settle`].
    pub fn call(&mut self, call: Call) -> io::Result<()> {
        if self.n_unanswered >= UNANSWERED_MAX {
            self.settle()?;
        }
        let call = Call { framework_id: Some(self.framework_id.clone()), ..call };
        let headers = [("Content-Type", MEDIA), ("Mesos-Stream-Id", self.stream_id.as_str())];
        self.calls.post(PATH, &headers, &api::json::to_vec(&call))?;
        self.n_unanswered += 1;
        Ok(())
    }

    /// Sees that all calls so far were accepted.
    pub fn settle(&mut self) -> io::Result<()> {
        let mut body = Vec::new();
        while self.n_unanswered > 0 {
            let head = self.calls.read_response(&mut body)?;
            self.n_unanswered -= 1;
            if head.status != 202 {
                let why = String::from_utf8_lossy(&body).into_owned();
                return Err(broken(format!("a call is answered by {}: {why}", head.status)));
            }
        }
        Ok(())
    }
}

/// A call of that kind, yet without its content.
pub fn of(kind: call::Type) -> Call {
    Call { r#type: Some(kind.into()), ..Call::default() }
}
