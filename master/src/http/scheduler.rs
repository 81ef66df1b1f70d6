//! `POST /api/v1/scheduler`: the checks of a call in the order Mesos makes them, then the call.

use api::v1::scheduler::{Call, call};
use libprocess::Context;
use libprocess::http::{Answer, Method, Request, Response, StatusCode};
use uuid::Uuid;

use super::negotiate;
use super::standby::no_leader;
use crate::actor::Master;
use crate::effect::{Connection, OfferOptions};
use crate::framework_life::Subscription;
use crate::streams::Media;
use crate::validation;

const STREAM_ID: &str = "Mesos-Stream-Id";

impl Master {
    /// A call of an HTTP scheduler.
    pub(crate) fn scheduler(&mut self, request: Request, ctx: &mut Context<Self>) -> Answer {
        self.in_time(request, ctx, |master, request, ctx| {
            master.try_scheduler(&request, ctx).unwrap_or_else(|refused| refused)
        })
    }

    fn try_scheduler(&mut self, request: &Request, ctx: &mut Context<Self>) -> Result<Response, Response> {
        let bad = |why: String| Response::text(StatusCode::BAD_REQUEST, why);
        if let Some(elsewhere) = self.turn_away(request, ctx) {
            return Err(elsewhere);
        }
        if request.method != Method::POST {
            let why = format!("Expecting one of {{ 'POST' }}, but received '{}'", request.method);
            return Err(Response::text(StatusCode::METHOD_NOT_ALLOWED, why).header("Allow", "POST"));
        }
        let call = parse(negotiate::content_type(request)?, &request.body).map_err(bad)?;
        validation::call::scheduler(&call, None)
            .map_err(|why| bad(format!("Failed to validate scheduler::Call: {why}")))?;
        // A number that names no kind reads as UNKNOWN.
        let kind = call.r#type();
        let accepted = match kind {
            call::Type::Subscribe | call::Type::ReconcileOperations => negotiate::accepted(request)?,
            _ => Media::Json,
        };
        let stream_id = request.header(STREAM_ID);
        if kind == call::Type::Subscribe {
            if stream_id.is_some() {
                return Err(bad("Subscribe calls should not include the 'Mesos-Stream-Id' header".into()));
            }
            return Ok(self.subscribe(call.subscribe.unwrap_or_default(), accepted, ctx));
        }
        let id = call.framework_id.clone().unwrap_or_default();
        let Some(framework) = self.cluster.frameworks.get(&id) else {
            return Err(bad("Framework cannot be found".into()));
        };
        let forbidden = |why: &str| Response::text(StatusCode::FORBIDDEN, why);
        let current = match &framework.connection {
            None => return Err(forbidden("Framework is not subscribed")),
            Some(Connection::Driver(_)) => return Err(forbidden("Framework is not connected via HTTP")),
            Some(Connection::Stream(stream)) => *stream,
        };
        match stream_id {
            None => {
                return Err(
                    bad("All non-subscribe calls should include the 'Mesos-Stream-Id' header".into()),
                );
            }
            Some(given) if Uuid::parse_str(given).ok() != Some(current) => {
                return Err(bad(format!(
                    "The stream ID '{given}' included in this request didn't match the stream ID currently associated with framework ID {id}"
                )));
            }
            Some(_) => {}
        }
        if kind == call::Type::UpdateFramework {
            let update = call.update_framework.unwrap_or_default();
            let options = OfferOptions {
                suppressed_roles: update.suppressed_roles,
                constraints: update.offer_constraints,
            };
            let updated =
                self.act(ctx, |cluster| cluster.update_framework(&id, update.framework_info, options));
            return updated.ok_or_else(no_leader)?.map(|()| Response::ok()).map_err(|refused| bad(refused.0));
        }
        if self.act(ctx, |cluster| cluster.call(&id, call)).ok_or_else(no_leader)? {
            Ok(Response::new(StatusCode::ACCEPTED))
        } else {
            Err(Response::text(StatusCode::NOT_IMPLEMENTED, "501 Not Implemented."))
        }
    }

    /// The stream is open before the framework is judged: a refusal is its first and last record.
    fn subscribe(&mut self, subscribe: call::Subscribe, media: Media, ctx: &mut Context<Self>) -> Response {
        let stream = ctx.uuid();
        let (response, writer) = Response::stream(media.name());
        let closed = writer.closed();
        self.streams.open(stream, writer, media);
        ctx.then(closed, move |master, result, ctx| {
            // Abandoned when the master itself ended the stream.
            if result.is_ok() {
                master.stream_closed(&stream, ctx);
            }
        });
        let subscription = Subscription {
            connection: Connection::Stream(stream),
            info: subscribe.framework_info,
            force: true,
            options: OfferOptions {
                suppressed_roles: subscribe.suppressed_roles,
                constraints: subscribe.offer_constraints,
            },
        };
        if self.act(ctx, |cluster| cluster.subscribe(subscription)).is_none() {
            self.streams.close(&stream);
            return no_leader();
        }
        response.header(STREAM_ID, &stream.to_string())
    }
}

fn parse(media: Media, body: &[u8]) -> Result<Call, String> {
    match media {
        Media::Json => {
            api::json::from_slice(body).map_err(|error| format!("Failed to parse body into JSON: {error}"))
        }
        Media::Protobuf => api::wire::decode(body)
            .map_err(|error| format!("Failed to parse body into Call protobuf: {error}")),
    }
}
