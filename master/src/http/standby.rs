//! What a master answers that does not lead, or may not act as leader; and who leads.

use std::net::SocketAddr;

use api::v1::MasterInfo;
use libprocess::Context;
use libprocess::http::{Request, Response, StatusCode};

use super::json;
use super::json::Object;
use crate::actor::Master;

/// What is answered while nobody is known to lead: come again.
pub(crate) fn no_leader() -> Response {
    Response::text(StatusCode::SERVICE_UNAVAILABLE, "No leader elected")
}

impl Master {
    /// What to answer instead of what was asked for, if that is for the leader to say, and this is not it or may not
    /// act as it.
    pub(crate) fn turn_away(&mut self, request: &Request, ctx: &mut Context<Self>) -> Option<Response> {
        if self.may_act(ctx) {
            return None;
        }
        Some(match self.leader_known() {
            // Also when its lease has run out: the leader of the next moment may be it, or another.
            _ if self.is_elected() => no_leader(),
            _ if self.leads => {
                Response::text(StatusCode::SERVICE_UNAVAILABLE, "Master has not finished recovery")
            }
            Some(leader) => redirect(&format!("{}{}", authority(leader), path_and_query(request))),
            None => no_leader(),
        })
    }

    /// Who leads. Another life of this master may still stand in the registry; it leads no more.
    pub(crate) fn leader_known(&self) -> Option<&MasterInfo> {
        let own = &self.cluster.info;
        if self.is_elected() {
            return Some(own);
        }
        self.known.leader.as_ref().filter(|leader| leader.pid != own.pid)
    }

    /// The same for those outside: this master names itself only while it may act. One that was stopped for a while
    /// may have a successor.
    fn leader_told(&mut self, ctx: &mut Context<Self>) -> Option<&MasterInfo> {
        if self.is_elected() && !self.may_act(ctx) {
            return None;
        }
        self.leader_known()
    }

    /// `/redirect`: to the leader, be it this one.
    pub(crate) fn redirect(&mut self, request: Request, ctx: &mut Context<Self>) -> Response {
        if !request.rest.is_empty() {
            return Response::text(StatusCode::NOT_FOUND, "404 Not Found.");
        }
        self.leader_told(ctx).map_or_else(no_leader, |leader| redirect(&authority(leader)))
    }

    /// `/leader`: who leads, in which term, and all masters.
    pub(crate) fn leader(&mut self, request: Request, ctx: &mut Context<Self>) -> Response {
        let Some(leader) = self.leader_told(ctx).cloned() else { return no_leader() };
        let mut out = Vec::new();
        let mut object = Object::new(&mut out);
        object.field("leader", leader.pid());
        write_leader(&mut object, &leader);
        object.serialize("term", &self.known.term);
        object.serialize("masters", &self.known.masters);
        object.end();
        json(&request, out)
    }
}

/// The field `leader_info`, in Mesos's shape.
pub(crate) fn write_leader(object: &mut Object<'_>, info: &MasterInfo) {
    let mut leader = object.object("leader_info");
    leader.field("id", &info.id);
    leader.field("pid", info.pid());
    leader.serialize("port", &info.port);
    leader.field("hostname", info.hostname());
    leader.optional("domain", info.domain.as_ref());
    leader.end();
}

pub(crate) fn redirect(location: &str) -> Response {
    Response::new(StatusCode::TEMPORARY_REDIRECT).header("Location", location)
}

/// Without a scheme, so that whoever came by TLS goes on by TLS.
fn authority(leader: &MasterInfo) -> String {
    let (hostname, port) = (leader.hostname(), leader.port);
    // A literal IPv6 address.
    if hostname.contains(':') { format!("//[{hostname}]:{port}") } else { format!("//{hostname}:{port}") }
}

/// The same request, to the master at that address.
pub(crate) fn authority_and(address: SocketAddr, request: &Request) -> String {
    format!("//{address}{}", path_and_query(request))
}

/// As the request was sent, with `/master` before it if it came without: requests get here under either name.
fn path_and_query(request: &Request) -> String {
    let below = request.rest.join("/");
    let route = request.path.trim_end_matches('/');
    let mut out = match route.strip_suffix(&below) {
        Some(route) if !below.is_empty() => {
            let below: Vec<String> = request.rest.iter().map(|part| encoded(part, b"")).collect();
            format!("{}{}", encoded(route, b"/"), below.join("/"))
        }
        _ => encoded(&request.path, b"/"),
    };
    if !request.query_string.is_empty() {
        out.push('?');
        out.push_str(&request.query_string);
    }
    out
}

/// A path comes decoded, and is put into a header.
fn encoded(text: &str, besides: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&byte) || besides.contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_passed_on_as_it_came() {
        for (path, rest, query, expected) in [
            ("/master/api/v1/scheduler", vec![], "", "/master/api/v1/scheduler"),
            ("/master/tasks", vec![], "limit=5&task_id=a%20b", "/master/tasks?limit=5&task_id=a%20b"),
            ("/master/quota/a/b c", vec!["a/b c"], "", "/master/quota/a%2Fb%20c"),
            ("/master/x\r\nSet-Cookie: a", vec![], "", "/master/x%0D%0ASet-Cookie:%20a"),
        ] {
            let rest = rest.into_iter().map(str::to_owned).collect();
            let request = Request {
                method: libprocess::http::Method::GET,
                path: path.into(),
                rest,
                query_string: query.into(),
                query: Default::default(),
                headers: Default::default(),
                body: Default::default(),
                peer: None,
            };
            assert_eq!(path_and_query(&request), expected);
        }
    }

    #[test]
    fn a_leader_is_named_without_a_scheme() {
        let leader =
            |hostname: &str| MasterInfo { hostname: Some(hostname.into()), port: 5050, ..Default::default() };
        assert_eq!(authority(&leader("m1")), "//m1:5050");
        assert_eq!(authority(&leader("fe80::1")), "//[fe80::1]:5050");
    }
}
