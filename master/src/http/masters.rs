//! `/masters`: the members of the masters' group, and changes of it.

use detector::HostPort;
use libprocess::http::{Answer, Request, Response, StatusCode};
use libprocess::{Context, Future, Upid};

use super::json;
use super::json::Object;
use super::standby::{authority_and, no_leader, redirect};
use crate::actor::Master;
use crate::registry::{ChangeError, MemberStatus, Registrar};

type Changed = Future<Result<(), ChangeError>>;

impl Master {
    /// `GET /masters`: who they are and how far each has got. The leader knows best; while nobody is known to lead,
    /// each answers what it knows itself, for that is when one has to look at them one by one.
    pub(crate) fn masters(&mut self, request: Request, ctx: &mut Context<Self>) -> Answer {
        if !self.leads
            && self.leader_known().is_some()
            && let Some(elsewhere) = self.turn_away(&request, ctx)
        {
            return elsewhere.into();
        }
        let term = self.known.term;
        let members = ctx.dispatch(&self.registrar, |registrar, ctx| {
            (registrar.members(ctx), registrar.waits().map(str::to_owned))
        });
        members.map(move |(members, waits)| json(&request, document(term, &members, waits))).into()
    }

    /// `POST /masters/add?master=HOST:PORT`.
    pub(crate) fn add_master(&mut self, request: Request, ctx: &mut Context<Self>) -> Answer {
        self.change_masters(request, ctx, Registrar::add)
    }

    /// `POST /masters/remove?master=HOST:PORT`. A leader that is to go lets another lead first, who is then asked.
    pub(crate) fn remove_master(&mut self, request: Request, ctx: &mut Context<Self>) -> Answer {
        self.change_masters(request, ctx, Registrar::remove)
    }

    /// `POST /masters/transfer?master=HOST:PORT`: that one is to lead.
    pub(crate) fn transfer_lead(&mut self, request: Request, ctx: &mut Context<Self>) -> Answer {
        self.change_masters(request, ctx, Registrar::transfer)
    }

    /// The answer comes when the change is in effect, which may take half a minute. It does not depend on this
    /// process: that ends when the change takes the lead from it.
    fn change_masters(
        &mut self,
        request: Request,
        ctx: &mut Context<Self>,
        change: fn(&mut Registrar, HostPort, &mut Context<Registrar>) -> Changed,
    ) -> Answer {
        if let Some(elsewhere) = self.turn_away(&request, ctx) {
            return elsewhere.into();
        }
        let named = request.query.get("master").map_or("", String::as_str);
        let master: HostPort = match named.parse() {
            Ok(master) => master,
            Err(error) => {
                let why = format!("Say which master, as ?master=HOST:PORT: {error}");
                return Response::text(StatusCode::BAD_REQUEST, why).into();
            }
        };
        tracing::info!(path = request.path, %master, peer = ?request.peer, "a change of the masters is asked for");
        let changed =
            ctx.dispatch(&self.registrar, move |registrar, ctx| change(registrar, master, ctx)).flatten();
        changed.map(move |changed| answer(&request, changed)).into()
    }
}

fn answer(request: &Request, changed: Result<(), ChangeError>) -> Response {
    match changed {
        Ok(()) => Response::ok(),
        Err(ChangeError::NotLeading { leader }) => match leader.and_then(|leader| Upid::parse_ip(&leader)) {
            Some(leader) => redirect(&authority_and(leader.address(), request)),
            None => no_leader(),
        },
        Err(error @ ChangeError::Failed(_)) => {
            Response::text(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
        }
        Err(error) => Response::text(StatusCode::CONFLICT, error.to_string()),
    }
}

fn document(term: u64, members: &[MemberStatus], waits: Option<String>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut object = Object::new(&mut out);
    object.serialize("term", &term);
    object.optional("leader", members.iter().find(|it| it.leader).map(|it| &it.host_port));
    // Why this one belongs to no group yet.
    object.optional("waits", waits.as_ref());
    let mut masters = object.array("masters");
    for member in members {
        let mut master = masters.object();
        master.field("master", &member.host_port);
        // In JavaScript, and in what is made like it, such a number would lose its last digits.
        master.field("id", &member.id.to_string());
        master.serialize("voter", &member.voter);
        master.serialize("leader", &member.leader);
        master.optional("matched", member.matched.as_ref());
        master.optional("heard_ms_ago", member.heard_ms_ago.as_ref());
        master.end();
    }
    masters.end();
    object.end();
    out
}
