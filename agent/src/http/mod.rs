//! The agent's HTTP endpoints.

pub(crate) mod executor;
mod media;
mod state;
mod statistics;

use libprocess::Context;
use libprocess::http::{Method, Request, Response, RouteOptions, StatusCode};
use serde_json::Value;

use crate::actor::Agent;

/// Enters all endpoints.
pub(crate) fn install(ctx: &mut Context<Agent>) {
    let executor = RouteOptions {
        summary: "Where executors subscribe and report.".to_owned(),
        ..RouteOptions::default()
    };
    ctx.route_with("/api/v1/executor", executor, executor::call);
    let get = |summary: &str| RouteOptions { methods: vec![Method::GET], ..RouteOptions::help(summary) };
    ctx.route_with(
        "/state",
        RouteOptions::help("Everything about this agent and what runs on it."),
        state::state,
    );
    ctx.route_with("/flags", get("The agent's configuration."), state::flags);
    ctx.route_with("/health", get("200 while the agent serves requests."), |_, _, _| Response::ok());
    ctx.route_with(
        "/containers",
        get("The containers, with their status and usage."),
        statistics::containers,
    );
    ctx.route_with("/monitor/statistics", get("What each executor uses."), statistics::statistics);
}

/// A JSON document, or a call of the function that `?jsonp=` names.
fn json(request: &Request, document: &Value) -> Response {
    rendered(request.query.get("jsonp").map(String::as_str), document)
}

fn rendered(jsonp: Option<&str>, document: &Value) -> Response {
    match jsonp {
        None => Response::json(document.to_string()),
        Some(name) if name.chars().all(|c| c.is_ascii_alphanumeric() || "_.$".contains(c)) => {
            Response::ok().header("Content-Type", "text/javascript").body(format!("{name}({document});"))
        }
        Some(_) => Response::text(StatusCode::BAD_REQUEST, "Expecting 'jsonp' to be the name of a function"),
    }
}
