//! `/masters`: the members of the masters' group.

use libprocess::Context;
use libprocess::http::{Answer, Request};

use super::json;
use super::json::Object;
use crate::actor::Master;
use crate::registry::MemberStatus;

impl Master {
    /// `GET /masters`: who they are and how far each has got. The leader knows best; while nobody leads, each answers
    /// what it knows itself, for that is when one has to look at them one by one.
    pub(crate) fn masters(&mut self, request: Request, ctx: &mut Context<Self>) -> Answer {
        if !self.leads
            && self.leader_known().is_some()
            && let Some(elsewhere) = self.turn_away(&request, ctx)
        {
            return elsewhere.into();
        }
        let term = self.known.term;
        let members = ctx.dispatch(&self.registrar, |registrar, ctx| registrar.members(ctx));
        members.map(move |members| json(&request, document(term, &members))).into()
    }
}

fn document(term: u64, members: &[MemberStatus]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut object = Object::new(&mut out);
    object.serialize("term", &term);
    object.optional("leader", members.iter().find(|it| it.leader).map(|it| &it.host_port));
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
