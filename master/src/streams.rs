//! Event streams: the open ends of the responses to SUBSCRIBE.

use std::collections::BTreeMap;

use api::v1::scheduler::{Event, event};
use libprocess::http::{BodyWriter, WriteError};
use prost::Message as _;
use uuid::Uuid;

use crate::effect::FrameworkEvent;

/// What the records of a stream, or the body of a call, are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Media {
    /// `application/json`
    Json,
    /// `application/x-protobuf`
    Protobuf,
}

impl Media {
    /// The name in `Content-Type`.
    pub fn name(self) -> &'static str {
        match self {
            Media::Json => "application/json",
            Media::Protobuf => "application/x-protobuf",
        }
    }
}

struct Stream {
    writer: BodyWriter,
    media: Media,
}

/// The open streams.
#[derive(Default)]
pub(crate) struct Streams(BTreeMap<Uuid, Stream>);

impl Streams {
    pub(crate) fn open(&mut self, id: Uuid, writer: BodyWriter, media: Media) {
        self.0.insert(id, Stream { writer, media });
    }

    /// Ends a stream after what was written to it.
    pub(crate) fn close(&mut self, id: &Uuid) {
        self.0.remove(id);
    }

    pub(crate) fn is_open(&self, id: &Uuid) -> bool {
        self.0.contains_key(id)
    }

    /// Writes one event as one record. On an error the other end is gone, or was too slow and is cut off.
    pub(crate) fn write(&mut self, id: &Uuid, event: &Event) -> Result<(), WriteError> {
        let Some(stream) = self.0.get(id) else { return Ok(()) };
        let record = match stream.media {
            Media::Json => api::json::to_vec(event),
            Media::Protobuf => event.encode_to_vec(),
        };
        stream.writer.write(api::recordio::encode(&record)).inspect_err(|_| {
            self.0.remove(id);
        })
    }
}

/// The event that says the connection is alive.
pub(crate) fn heartbeat() -> Event {
    Event { r#type: Some(event::Type::Heartbeat.into()), ..Event::default() }
}

/// The v1 form of what a driver gets as a message.
pub(crate) fn v1_event(event: FrameworkEvent, heartbeat_interval_secs: f64) -> Event {
    use event::Type;
    let of = |kind: Type| Event { r#type: Some(kind.into()), ..Event::default() };
    let subscribed = |framework_id, master_info| Event {
        subscribed: Some(event::Subscribed {
            framework_id,
            heartbeat_interval_seconds: Some(heartbeat_interval_secs),
            master_info: Some(master_info),
        }),
        ..of(Type::Subscribed)
    };
    match event {
        FrameworkEvent::Registered(m) => subscribed(m.framework_id, m.master_info),
        FrameworkEvent::Reregistered(m) => subscribed(m.framework_id, m.master_info),
        FrameworkEvent::Offers(m) => {
            Event { offers: Some(event::Offers { offers: m.offers }), ..of(Type::Offers) }
        }
        FrameworkEvent::Rescind(m) => {
            Event { rescind: Some(event::Rescind { offer_id: m.offer_id }), ..of(Type::Rescind) }
        }
        FrameworkEvent::InverseOffers(m) => Event {
            inverse_offers: Some(event::InverseOffers { inverse_offers: m.inverse_offers }),
            ..of(Type::InverseOffers)
        },
        FrameworkEvent::RescindInverse(m) => Event {
            rescind_inverse_offer: Some(event::RescindInverseOffer { inverse_offer_id: m.inverse_offer_id }),
            ..of(Type::RescindInverseOffer)
        },
        FrameworkEvent::Status(m) => {
            let update = m.update;
            let mut status = update.status;
            // What the message says beside the status belongs into it here.
            status.agent_id = status.agent_id.or(update.slave_id);
            status.executor_id = status.executor_id.or(update.executor_id);
            status.timestamp = status.timestamp.or(Some(update.timestamp));
            status.uuid = update.uuid;
            Event { update: Some(event::Update { status }), ..of(Type::Update) }
        }
        FrameworkEvent::LostAgent(m) => Event {
            failure: Some(event::Failure { agent_id: Some(m.slave_id), executor_id: None, status: None }),
            ..of(Type::Failure)
        },
        FrameworkEvent::ExitedExecutor(m) => Event {
            failure: Some(event::Failure {
                agent_id: Some(m.slave_id),
                executor_id: Some(m.executor_id),
                status: Some(m.status),
            }),
            ..of(Type::Failure)
        },
        FrameworkEvent::FromExecutor(m) => Event {
            message: Some(event::Message { agent_id: m.slave_id, executor_id: m.executor_id, data: m.data }),
            ..of(Type::Message)
        },
        FrameworkEvent::OperationStatus(m) => Event {
            update_operation_status: Some(event::UpdateOperationStatus { status: m.status }),
            ..of(Type::UpdateOperationStatus)
        },
        FrameworkEvent::Error(m) => {
            Event { error: Some(event::Error { message: m.message }), ..of(Type::Error) }
        }
    }
}
