//! The same over HTTP.

use std::collections::BTreeMap;

use api::v1::{AgentId, FrameworkId};
use libprocess::Context;
use libprocess::http::{Method, Request, Response, RouteOptions, StatusCode};
use serde::Serialize;

use super::{Page, Question};
use crate::{AllocatorError, AllocatorProcess};

impl AllocatorProcess {
    /// Installs what an operator can ask.
    pub(crate) fn install_explanations(ctx: &mut Context<Self>) {
        let options = |summary: &str, description: &str| RouteOptions {
            methods: vec![Method::GET],
            summary: summary.to_owned(),
            description: description.to_owned(),
            ..RouteOptions::default()
        };
        let page = "`limit` is at most 1000; `offset` is how many to leave out before.";
        let explain = format!(
            "Query parameters: `framework=ID`, and if wanted `agent=ID` and `role=NAME` to ask about these only, \
             and `limit=N` (20) and `offset=N` (0) for which agents to tell of those there is the same to say \
             of. {page}"
        );
        let summary = "Why a framework is, or is not, offered agents.";
        ctx.route_with("/explain", options(summary, &explain), Self::serve_explanation);
        let roles = format!("Query parameters: `limit=N` (100) and `offset=N` (0). {page}");
        let summary = "The roles there are: weight, share, quota and consumption.";
        ctx.route_with("/roles", options(summary, &roles), Self::serve_roles);
        let summary = "Which agents the offer constraints of frameworks exclude.";
        ctx.route_with("/offer_constraints_debug", options(summary, &roles), Self::serve_constraints);
    }

    fn serve_explanation(&mut self, request: Request, ctx: &mut Context<Self>) -> Response {
        let query = &request.query;
        let asked = page_of(query, &["framework", "agent", "role"], 20).and_then(|page| {
            let wanted = "say whom to explain, as in `/allocator/explain?framework=ID`; \
                          `/master/frameworks` lists ids";
            let id = query.get("framework").filter(|id| !id.is_empty()).ok_or(wanted.to_owned())?;
            let agent = query.get("agent").map(|id| AgentId::from(id.as_str()));
            Ok((FrameworkId::from(id.as_str()), agent, page))
        });
        let (framework_id, agent, page) = match asked {
            Ok(asked) => asked,
            Err(why) => return bad_request(why),
        };
        let role = query.get("role").map(String::as_str);
        let question = Question { agent: agent.as_ref(), role, page };
        match self.state().explain(ctx.now(), &framework_id, &question) {
            Ok(explanation) => json(&request, &explanation),
            Err(error) => Response::text(StatusCode::NOT_FOUND, not_found(&error)),
        }
    }

    fn serve_roles(&mut self, request: Request, _: &mut Context<Self>) -> Response {
        match page_of(&request.query, &[], 100) {
            Ok(page) => json(&request, &self.state().describe_roles(page)),
            Err(why) => bad_request(why),
        }
    }

    /// Without `jsonp`, as in Mesos.
    fn serve_constraints(&mut self, request: Request, _: &mut Context<Self>) -> Response {
        match page_of(&request.query, &[], 100) {
            Ok(page) => match serde_json::to_vec(&self.state().constraints_debug(page)) {
                Ok(document) => Response::json(document),
                Err(error) => unprintable(&error),
            },
            Err(why) => bad_request(why),
        }
    }
}

/// Reads the query, in which there is nothing but `others` and what every page takes.
fn page_of(query: &BTreeMap<String, String>, others: &[&str], limit: usize) -> Result<Page, String> {
    for name in query.keys() {
        let known = ["limit", "offset", "jsonp"];
        if !known.contains(&name.as_str()) && !others.contains(&name.as_str()) {
            let names: Vec<String> = others.iter().chain(&known).map(|name| format!("`{name}`")).collect();
            return Err(format!("there is no parameter `{name}`; there are {}", names.join(", ")));
        }
    }
    let number = |name: &str, default: usize, most: usize| match query.get(name) {
        None => Ok(default),
        Some(text) => match text.parse::<usize>() {
            Ok(number) if number <= most => Ok(number),
            _ => Err(format!("`{name}` is `{text}`, but has to be a whole number from 0 to {most}")),
        },
    };
    Ok(Page {
        limit: number("limit", limit, Page::LIMIT_MAX)?,
        offset: number("offset", 0, u32::MAX as usize)?,
    })
}

fn bad_request(why: String) -> Response {
    Response::text(StatusCode::BAD_REQUEST, why + "\n")
}

fn not_found(error: &AllocatorError) -> String {
    match error {
        AllocatorError::UnknownFramework(id) => {
            format!("no framework has the id `{id}`; `/master/frameworks` lists those there are\n")
        }
        AllocatorError::UnknownAgent(id) => {
            format!("no agent has the id `{id}`; `/master/slaves` lists those there are\n")
        }
        other => format!("{other}\n"),
    }
}

fn json(request: &Request, document: &impl Serialize) -> Response {
    match serde_json::to_vec(document) {
        Ok(document) => request.json(document),
        Err(error) => unprintable(&error),
    }
}

fn unprintable(error: &serde_json::Error) -> Response {
    tracing::error!(%error, "an explanation cannot be written as JSON");
    Response::new(StatusCode::INTERNAL_SERVER_ERROR)
}
