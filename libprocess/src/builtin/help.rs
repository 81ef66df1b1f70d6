//! `/help`: what can be asked of this node.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::json;

use super::read_only;
use crate::context::Context;
use crate::http::{Request, Response, RouteOptions, StatusCode};
use crate::process::Process;

/// They are for those who know of them.
const HIDDEN: [&str; 2] = ["help", "__processes__"];

pub(super) struct Help;

type Routes = BTreeMap<String, BTreeMap<String, RouteOptions>>;

impl Help {
    fn help(&mut self, request: Request, ctx: &mut Context<Self>) -> Response {
        let mut routes = ctx.node().routes();
        routes.retain(|id, routes| !HIDDEN.contains(&id.as_str()) && !routes.is_empty());
        let rest: Vec<&str> = request.rest.iter().map(String::as_str).collect();
        let text = match rest.as_slice() {
            [] if request.query.get("format").is_some_and(|format| format == "json") => {
                return request.json(as_json(&routes));
            }
            [] => index(&routes),
            [id] => match routes.get(*id) {
                Some(routes) => endpoints(id, routes),
                None => return unknown(&format!("No help available for '/{id}'.")),
            },
            [id, name @ ..] => {
                let name = name.join("/");
                match routes.get(*id).and_then(|routes| routes.get(&name)) {
                    Some(options) => page(id, &name, options),
                    None => return unknown(&format!("No help available for '/{id}/{name}'.")),
                }
            }
        };
        let agent = request.header("User-Agent").unwrap_or_default();
        if agent.starts_with("curl") || agent.starts_with("HTTPie") {
            return Response::ok().header("Content-Type", "text/x-markdown").body(text);
        }
        Response::ok().header("Content-Type", "text/html; charset=utf-8").body(html(&text))
    }
}

impl Process for Help {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        let options = RouteOptions { catch_all: true, ..read_only("What can be asked of this node.") };
        ctx.route_with("/", options, Self::help);
    }
}

fn unknown(text: &str) -> Response {
    Response::text(StatusCode::BAD_REQUEST, text)
}

fn endpoint(id: &str, name: &str) -> String {
    if name.is_empty() { format!("/{id}") } else { format!("/{id}/{name}") }
}

fn index(routes: &Routes) -> String {
    let mut text = "# HELP\n".to_owned();
    for id in routes.keys() {
        // Writing to a string does not fail.
        let _ = writeln!(text, "- [/{id}](/help/{id})");
    }
    text
}

fn endpoints(id: &str, routes: &BTreeMap<String, RouteOptions>) -> String {
    let mut text = format!("# /{id}\n");
    for (name, options) in routes {
        let endpoint = endpoint(id, name);
        let _ = writeln!(text, "- [{endpoint}](/help{endpoint}): {}", options.summary);
    }
    text
}

fn page(id: &str, name: &str, options: &RouteOptions) -> String {
    let mut text = format!("### USAGE ###\n>        {}\n", endpoint(id, name));
    if !options.summary.is_empty() {
        let _ = write!(text, "\n### TL;DR; ###\n{}\n", options.summary);
    }
    if !options.methods.is_empty() {
        let methods: Vec<_> = options.methods.iter().map(|method| method.as_str()).collect();
        let _ = write!(text, "\n### METHODS ###\n{}\n", methods.join(", "));
    }
    if !options.description.is_empty() {
        let _ = write!(text, "\n### DESCRIPTION ###\n{}\n", options.description);
    }
    text
}

fn as_json(routes: &Routes) -> String {
    let processes: Vec<_> = routes
        .iter()
        .map(|(id, routes)| {
            let endpoints: Vec<_> = routes
                .iter()
                .map(|(name, options)| json!({ "name": format!("/{name}"), "text": page(id, name, options) }))
                .collect();
            json!({ "id": id, "endpoints": endpoints })
        })
        .collect();
    json!({ "processes": processes }).to_string()
}

/// The text as a page: headings and links are all the Markdown that it has.
fn html(text: &str) -> String {
    let mut page = "<!DOCTYPE html><html><head><title>Help</title></head><body>\n".to_owned();
    for line in text.lines() {
        let line =
            line.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
        let _ = match line.trim_start_matches('#') {
            heading if heading.len() < line.len() => {
                writeln!(page, "<h3>{}</h3>", heading.trim_matches([' ', '#']))
            }
            _ => match link(&line) {
                Some((label, target, rest)) => {
                    writeln!(page, "<p><a href=\"{target}\">{label}</a>{rest}</p>")
                }
                None => writeln!(page, "<p>{line}</p>"),
            },
        };
    }
    page.push_str("</body></html>\n");
    page
}

/// The parts of `- [label](target)rest`.
fn link(line: &str) -> Option<(&str, &str, &str)> {
    let (label, rest) = line.strip_prefix("- [")?.split_once("](")?;
    // Ids have parentheses of their own: `slave(1)`. The target repeats the label, behind `/help`.
    let target = rest.get(.."/help".len() + label.len())?;
    Some((label, target, rest.get(target.len() + 1..)?))
}
