//! How a registrar begins: with the disk.

use libprocess::{Context, Future};

use super::super::group::{Member, Members, Seat};
use super::{Open, Opened, Registrar, State};

impl Registrar {
    pub(super) fn open_disk(&mut self, ctx: &mut Context<Self>) {
        self.state = State::Opening;
        // 0 and 1 have a meaning of their own.
        let fresh = ctx.uuid().as_u64_pair().0.max(2);
        self.greeting.group = ctx.uuid().as_u64_pair().1.max(1);
        let (storage, seat, own) = (self.storage.clone(), self.seat.clone(), self.own(ctx));
        let group = self.greeting.group;
        let is_alone = self.founding.masters().iter().all(|master| master.to_string() == own);
        let opened = ctx.blocking(move || {
            let (mut disk, mut stored) =
                storage.open(fresh, seat.as_ref()).map_err(|error| error.to_string())?;
            if seat.is_none() && is_alone && stored.is_unfounded() && stored.hard_state.term == 0 {
                let id = stored.own().unwrap_or(fresh);
                let members = Members { group, by_id: [(id, own)].into() };
                stored = members.found(id, &mut *disk).map_err(|error| error.to_string())?;
            }
            Ok((disk, stored))
        });
        self.opening(opened, ctx);
    }

    /// Waits for the disk, and begins with what is on it.
    pub(super) fn opening(&mut self, opened: Future<Opened>, ctx: &mut Context<Self>) {
        self.turn += 1;
        let turn = self.turn;
        ctx.delay(self.fetch_timeout, move |this, _| {
            let opening = matches!(this.state, State::Opening) && this.turn == turn;
            let alone = this.member().is_some_and(Member::is_alone);
            if opening || (alone && this.recovering.is_some()) {
                let at_most = api::duration::format(this.fetch_timeout);
                this.fail(&format!("reading the registry took longer than {at_most}"));
            }
        });
        ctx.then(opened, |this, result, ctx| {
            if !matches!(this.state, State::Opening) {
                return;
            }
            let (disk, stored) = match result {
                Ok(Ok(opened)) => opened,
                Ok(Err(error)) => return this.fail(&error),
                Err(_) => return this.fail("opening it ended in a panic"),
            };
            if this.seat.is_none() && stored.own().is_none() {
                return this.fail("its log does not say which member's it is; remove the directory and add this master to its group anew");
            }
            let seed = ctx.uuid().as_u64_pair().0;
            // The one that founds the group is ready to lead it; the others know of none.
            let founded =
                stored.snapshot.index == 1 && stored.entries.is_empty() && stored.hard_state.term == 1;
            let seat = this.seat.clone().unwrap_or_else(Seat::alone);
            let member = Member::new(&seat, stored, seed, this.snapshot_after, ctx.now());
            let stood = member.and_then(|mut member| {
                if founded && !member.is_raft_leader() {
                    member.stand()?;
                }
                Ok(member)
            });
            match stood {
                Ok(member) => {
                    this.state = State::Open(Box::new(Open { member, disk }));
                    (this.known, this.marked) = (None, None);
                    this.greet(ctx);
                    this.read(ctx);
                    this.go_on(ctx);
                }
                Err(error) => this.fail(&error.to_string()),
            }
        });
    }
}
