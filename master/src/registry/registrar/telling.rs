//! What a registrar tells of its group, and of the registry.

use std::sync::Arc;

use detector::HostPort;
use libprocess::http::{Answer, Request, Response};
use libprocess::{Context, Promise, Upid};

use super::super::group::{Machine, Member, Role};
use super::super::standing::{Founding, MemberStatus, Standing};
use super::{Registrar, State};

impl Registrar {
    /// The registrar of the leader, if it is known.
    pub(super) fn leader(&self) -> Option<String> {
        let (member, leader) = (self.member()?, self.member()?.leader()?);
        let upid = self.peers.upid(leader).map(Upid::to_string);
        let known = || member.machine().members().by_id.get(&leader).cloned();
        upid.or_else(known)
    }

    /// Where this master is, `host:port`.
    pub(super) fn own(&self, ctx: &Context<Self>) -> String {
        match &self.founding {
            Founding::Group { own, .. } => own.to_string(),
            Founding::Alone => HostPort::from(ctx.address()).to_string(),
        }
    }

    /// Why this master belongs to no group, while it does not.
    pub fn waits(&self) -> Option<&str> {
        self.greeting.why.as_deref()
    }

    /// The members of the group, as far as this one knows them; none before it belongs to one.
    pub fn members(&self, ctx: &Context<Self>) -> Vec<MemberStatus> {
        let Some(member) = self.member() else { return Vec::new() };
        let heard = |id| self.peers.get(id).and_then(|peer| peer.heard);
        let status = |id| MemberStatus {
            host_port: self.host_port(member, id, ctx),
            id,
            voter: member.role(id) == Role::Voter,
            leader: member.leader() == Some(id),
            matched: member.matched(id),
            heard_ms_ago: heard(id).map(|at| (ctx.now() - at).as_millis() as u64),
        };
        member.ids().into_iter().map(status).collect()
    }

    pub(super) fn host_port(&self, member: &Member, id: u64, ctx: &Context<Self>) -> String {
        if id == member.id() {
            return self.own(ctx);
        }
        let known = member.machine().members().by_id.get(&id).cloned();
        let at = || self.peers.upid(id).map(|upid| HostPort::from(upid.address()).to_string());
        known.or_else(at).unwrap_or_else(|| format!("number {id}"))
    }

    fn standing(&self, ctx: &Context<Self>) -> Standing {
        let member = self.member();
        let ids = member.map(|member| (member, member.ids())).filter(|(_, ids)| !ids.is_empty());
        let mut masters: Vec<_> = match ids {
            Some((member, ids)) => ids.into_iter().map(|id| self.host_port(member, id, ctx)).collect(),
            None => self.founding.masters().iter().map(HostPort::to_string).chain([self.own(ctx)]).collect(),
        };
        masters.sort_unstable();
        masters.dedup();
        let leader = member.filter(|it| it.leader().is_some() && it.machine().recovered_in() == it.term());
        Standing {
            term: member.map_or(0, Member::term),
            leads: member.is_some_and(Member::has_begun),
            leader: leader.and_then(|it| it.machine().registry().master().cloned()),
            masters,
        }
    }

    /// Says how things stand, if that is news.
    pub(super) fn tell(&mut self, ctx: &Context<Self>) {
        let member = self.member();
        let mark = member.map(|it| (it.term(), it.has_begun(), it.leader(), it.n_changes()));
        if self.told.is_none() || self.marked == Some(mark) {
            return;
        }
        self.marked = Some(mark);
        let standing = self.standing(ctx);
        if let Some(told) = self.told.as_ref().filter(|_| self.standing.as_ref() != Some(&standing)) {
            told(Ok(standing.clone()));
            self.standing = Some(standing);
        }
    }

    /// Shows the registry to those who wait to see it.
    pub(super) fn read(&mut self, ctx: &mut Context<Self>) {
        let State::Open(open) = &self.state else { return };
        let readers = std::mem::take(&mut self.readers);
        if readers.is_empty() {
            return;
        }
        let machine: Arc<Machine> = Arc::clone(open.member.machine());
        // The readers have their answers from there.
        drop(ctx.blocking(move || {
            let json = api::json::to_vec(&machine.registry().to_proto());
            for reader in readers {
                reader.set(Response::json(json.clone()));
            }
        }));
    }

    pub(super) fn registry(&mut self, _: Request, ctx: &mut Context<Self>) -> Answer {
        if matches!(self.state, State::Closed | State::Failed(_)) {
            let status = libprocess::http::StatusCode::SERVICE_UNAVAILABLE;
            return Response::text(status, "The registry is not available").into();
        }
        let (promise, future) = Promise::new();
        self.readers.push(promise);
        self.read(ctx);
        future.into()
    }
}
