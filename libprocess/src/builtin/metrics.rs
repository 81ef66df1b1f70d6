//! `/metrics` and `/metrics/snapshot`.

use std::time::Duration;

use super::{duration, read_only};
use crate::context::Context;
use crate::future::{Future, Promise};
use crate::http::{Answer, Request, Response, StatusCode};
use crate::limiter::Limiter;
use crate::metrics::Snapshot;
use crate::process::Process;

const RATE_LIMIT: &str = "LIBPROCESS_METRICS_SNAPSHOT_ENDPOINT_RATE_LIMIT";
/// Requests that would have to wait longer for their turn are refused: each one waiting costs memory.
const PATIENCE: Duration = Duration::from_secs(60);
/// Prometheus names no timeout; this is its own default one.
const SCRAPE_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) struct MetricsEndpoint {
    limiter: Option<Limiter>,
}

impl MetricsEndpoint {
    pub(super) fn from_env() -> MetricsEndpoint {
        let text = std::env::var(RATE_LIMIT).unwrap_or_else(|_| "2/1secs".to_owned());
        let limiter = rate_limit(&text).unwrap_or_else(|error| {
            tracing::warn!("{RATE_LIMIT}: {error}; it stays at 2/1secs");
            Some(Limiter::new(2, Duration::from_secs(1)))
        });
        MetricsEndpoint { limiter }
    }

    fn snapshot(&mut self, request: Request, ctx: &mut Context<Self>) -> Answer {
        let timeout = match request.query.get("timeout").map(|text| duration::parse(text)).transpose() {
            Ok(timeout) => timeout,
            Err(error) => {
                let text = format!("Failed to parse timeout: {error}.");
                return Response::text(StatusCode::BAD_REQUEST, text).into();
            }
        };
        let wait = match &mut self.limiter {
            Some(limiter) => limiter.reserve_within(ctx.now(), PATIENCE),
            None => Some(Duration::ZERO),
        };
        let taken = match wait {
            Some(Duration::ZERO) => ctx.metrics().snapshot(timeout),
            Some(wait) => self.snapshot_after(wait, timeout, ctx),
            None => {
                let text = "Too many requests for a snapshot are waiting already.";
                return Response::text(StatusCode::SERVICE_UNAVAILABLE, text).into();
            }
        };
        taken.map(move |snapshot| request.json(snapshot.to_json())).into()
    }

    fn snapshot_after(
        &mut self,
        wait: Duration,
        timeout: Option<Duration>,
        ctx: &mut Context<Self>,
    ) -> Future<Snapshot> {
        let (promise, future) = Promise::new();
        ctx.delay(wait, move |_, ctx| promise.follow(ctx.metrics().snapshot(timeout)));
        future
    }

    fn prometheus(&mut self, _: Request, ctx: &mut Context<Self>) -> Answer {
        let taken = ctx.metrics().snapshot(Some(SCRAPE_TIMEOUT));
        let response = |snapshot: Snapshot| {
            Response::ok()
                .header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
                .body(snapshot.to_prometheus())
        };
        taken.map(response).into()
    }
}

/// Reads `n/duration`; empty for no limit.
pub(super) fn rate_limit(text: &str) -> Result<Option<Limiter>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = || format!("`{text}` is no rate: expected a number, `/` and a duration, as in `2/1secs`");
    let (permits, per) = text.split_once('/').ok_or_else(wrong)?;
    let permits: u32 = permits.parse().ok().filter(|permits| *permits > 0).ok_or_else(wrong)?;
    Ok(Some(Limiter::new(permits, duration::parse(per)?)))
}

impl Process for MetricsEndpoint {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        let mut snapshot = read_only("The value of every metric, as JSON.");
        snapshot.description = "`timeout=VALUE`: leave out what is not known by then, for example `5secs`. \
             Without it, everything is waited for."
            .to_owned();
        ctx.route_with("/snapshot", snapshot, Self::snapshot);
        ctx.route_with(
            "/",
            read_only("The value of every metric, in Prometheus's text format."),
            Self::prometheus,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_per_duration() {
        assert!(rate_limit("").is_ok_and(|limiter| limiter.is_none()));
        assert!(rate_limit("10/1mins").is_ok_and(|limiter| limiter.is_some()));
        for wrong in ["2", "0/1secs", "x/1secs", "2/1"] {
            assert!(rate_limit(wrong).is_err(), "{wrong}");
        }
    }
}
