//! Apache's wire, incoming: HTTP requests that are messages.

use std::net::IpAddr;
use std::sync::Arc;

use super::TcpTransport;
use crate::http::{Method, Request, Response, StatusCode};
use crate::node::NodeInner;
use crate::unhandled::Unhandled;
use crate::upid::Upid;

/// Answers an HTTP request that is a message of Apache's wire; `None` for any other. The message is delivered, and
/// counted in `unhandled`.
pub(crate) fn wire_message(
    node: &NodeInner,
    request: &Request,
    unhandled: &Arc<Unhandled>,
) -> Option<Response> {
    let sender = sender(request)?;
    let transport = TcpTransport::of(node);
    if let Some(transport) = &transport
        && let Err(reason) = check_sender(&sender, request, transport)
    {
        return Some(Response::text(StatusCode::BAD_REQUEST, reason));
    }
    let Some((id, name)) = target(&request.path) else {
        return Some(Response::text(
            StatusCode::BAD_REQUEST,
            "400 Bad Request.\nThe path has to begin with `/`.",
        ));
    };
    if let Some(transport) = &transport
        && !sender.is_nobody()
    {
        transport.spoke_apache(sender.address());
    }
    // Encoded ids have `+` for a space.
    let deliver = |id: &str| {
        let held = Some(unhandled.hold(request.body.len()));
        node.deliver(id, sender.clone(), name, request.body.clone(), held)
    };
    let delivered = deliver(id) || (id.contains('+') && deliver(&id.replace('+', " ")));
    Some(if delivered {
        Response::new(StatusCode::ACCEPTED)
    } else {
        Response::text(StatusCode::NOT_FOUND, "404 Not Found.")
    })
}

/// Who sends, if the request is a message; what names nobody is nobody.
fn sender(request: &Request) -> Option<Upid> {
    if request.method != Method::POST {
        return None;
    }
    let named = request.header("libprocess-from");
    let agent = request.header("user-agent").and_then(|agent| agent.strip_prefix("libprocess/"));
    if named.is_none() && agent.is_none() && !request.headers.contains_key("libprocess-from") {
        return None;
    }
    // Host names are not looked up: that takes time, and an outsider chooses them.
    Some(named.or(agent).and_then(Upid::parse_ip).unwrap_or_else(Upid::nobody))
}

fn check_sender(sender: &Upid, request: &Request, transport: &TcpTransport) -> Result<(), String> {
    if !transport.require_ip_match {
        return Ok(());
    }
    let peer = request.peer.map(|peer| peer.ip().to_canonical());
    let claimed: IpAddr = sender.address().ip().to_canonical();
    match peer {
        Some(peer) if peer == claimed => Ok(()),
        Some(peer) => Err(format!(
            "400 Bad Request.\nThe sender claims the address {claimed} and connects from {peer}."
        )),
        None => Err("400 Bad Request.\nThe sender's address cannot be checked.".to_owned()),
    }
}

/// The process's id, and the message's name: all that is behind the second slash.
fn target(path: &str) -> Option<(&str, &str)> {
    let path = path.strip_prefix('/')?;
    Some(path.split_once('/').unwrap_or((path, "")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{HeaderMap, HeaderName, HeaderValue};

    fn request(method: Method, headers: &[(&str, &str)]) -> Request {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap());
        }
        Request {
            method,
            path: "/a/b".to_owned(),
            rest: Vec::new(),
            query_string: String::new(),
            query: Default::default(),
            headers: map,
            body: Default::default(),
            peer: None,
        }
    }

    #[test]
    fn only_a_post_with_a_sender_is_a_message() {
        let check = |method, headers: &[(&str, &str)]| {
            sender(&request(method, headers)).map(|sender| sender.to_string())
        };
        let from = ("Libprocess-From", " a@1.2.3.4:5 ");
        let agent = ("User-Agent", "libprocess/b@1.2.3.4:5");
        assert_eq!(check(Method::GET, &[from, agent]), None);
        assert_eq!(check(Method::POST, &[("User-Agent", "curl/8")]), None);
        assert_eq!(check(Method::POST, &[from, agent]).as_deref(), Some("a@1.2.3.4:5"));
        assert_eq!(check(Method::POST, &[agent]).as_deref(), Some("b@1.2.3.4:5"));
        let bad = [("Libprocess-From", "rubbish"), agent];
        assert_eq!(check(Method::POST, &bad).as_deref(), Some("@0.0.0.0:0"));
    }

    #[test]
    fn the_name_is_all_behind_the_second_slash() {
        assert_eq!(target("/slave(1)/a.b"), Some(("slave(1)", "a.b")));
        assert_eq!(target("/a/b/c"), Some(("a", "b/c")));
        assert_eq!(target("/a"), Some(("a", "")));
        assert_eq!(target("a/b"), None);
    }

    /// A process that shows the sender and body of messages named `b`.
    struct Shower(std::sync::mpsc::Sender<(Upid, Vec<u8>)>);

    impl crate::Process for Shower {
        fn initialize(&mut self, ctx: &mut crate::Context<Self>) {
            ctx.install_raw("b", |shower: &mut Shower, from, _, body, _| {
                let _ = shower.0.send((from.clone(), body.to_vec()));
            });
        }
    }

    #[test]
    fn a_message_is_answered_by_what_became_of_it() {
        let builder = crate::Node::builder().listen("127.0.0.1:0").require_peer_address_ip_match(true);
        let node = builder.start().unwrap();
        let (show, shown) = std::sync::mpsc::channel();
        let pid = node.spawn("a", Shower(show)).unwrap();
        let inner = pid.upid().local().unwrap().node.upgrade().unwrap();
        let check = |path: &str, peer: Option<&str>| {
            let mut request = request(Method::POST, &[("Libprocess-From", "x@1.2.3.4:5")]);
            request.path = path.to_owned();
            request.body = "body".into();
            request.peer = peer.map(|ip| format!("{ip}:1000").parse().unwrap());
            wire_message(&inner, &request, &Arc::default()).unwrap().status.as_u16()
        };
        let good = Some("1.2.3.4");
        assert_eq!(check("/a/b", good), 202);
        let (from, body) = shown.recv_timeout(std::time::Duration::from_secs(10)).unwrap();
        assert_eq!((from.to_string().as_str(), &body[..]), ("x@1.2.3.4:5", &b"body"[..]));
        // The name is no matter of the wire's.
        assert_eq!(check("/a/unknown", good), 202);
        assert_eq!(check("/nobody/b", good), 404);
        assert_eq!(check("a/b", good), 400);
        assert_eq!(check("/a/b", Some("1.2.3.5")), 400);
        assert_eq!(check("/a/b", None), 400);
        assert!(shown.try_recv().is_err());
    }
}
