//! What a driver knows of its standing with the master, and the calls that follow from it.

use std::collections::BTreeMap;

use api::v0::scheduler::{Call, call};
use api::v1::{AgentId, FrameworkId, FrameworkInfo, Offer};
use libprocess::Upid;

/// Connection and identity of one framework.
pub(super) struct Session {
    /// The one that leads, if one does.
    master: Option<Upid>,
    framework: FrameworkInfo,
    /// The framework had its id from an earlier scheduler, which this one replaces.
    takes_over: bool,
    standing: Standing,
    /// Has a master ever admitted this scheduler?
    was_registered: bool,
    /// Where agents are, so that messages to executors need not go through the master.
    agents: BTreeMap<AgentId, Upid>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Disconnected,
    Connected,
    Aborted,
}

/// What a registration means to the scheduler.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Admission {
    First(FrameworkId),
    Again,
    /// From a master that is not ours, or said already.
    Ignored,
}

impl Session {
    pub(super) fn new(framework: FrameworkInfo) -> Session {
        let takes_over = framework.id.as_ref().is_some_and(|id| !id.value.is_empty());
        Session {
            master: None,
            framework,
            takes_over,
            standing: Standing::Disconnected,
            was_registered: false,
            agents: BTreeMap::new(),
        }
    }

    /// The master that leads.
    pub(super) fn master(&self) -> Option<&Upid> {
        self.master.as_ref()
    }

    /// The master that has admitted this framework.
    pub(super) fn connected_to(&self) -> Option<&Upid> {
        self.master().filter(|_| self.is_connected())
    }

    pub(super) fn framework(&self) -> &FrameworkInfo {
        &self.framework
    }

    pub(super) fn framework_id(&self) -> Option<&FrameworkId> {
        self.framework.id.as_ref().filter(|id| !id.value.is_empty())
    }

    pub(super) fn is_connected(&self) -> bool {
        self.standing == Standing::Connected
    }

    pub(super) fn is_aborted(&self) -> bool {
        self.standing == Standing::Aborted
    }

    /// Whether a message of the master's, from this sender, is to be heeded.
    pub(super) fn heeds(&self, from: &Upid) -> bool {
        self.connected_to() == Some(from)
    }

    /// What to send until the master answers.
    pub(super) fn subscribe(&self) -> Call {
        let subscribe = call::Subscribe {
            framework_info: self.framework.clone(),
            force: Some(self.takes_over),
            ..Default::default()
        };
        Call { subscribe: Some(subscribe), ..self.call(call::Type::Subscribe) }
    }

    /// A call in this framework's name, to be completed.
    pub(super) fn call(&self, kind: call::Type) -> Call {
        let framework_id = self.framework_id().cloned();
        Call { framework_id, r#type: Some(kind as i32), ..Default::default() }
    }

    /// The master has admitted this framework.
    pub(super) fn admitted(&mut self, from: &Upid, id: FrameworkId) -> Admission {
        if self.standing != Standing::Disconnected || self.master() != Some(from) {
            return Admission::Ignored;
        }
        self.standing = Standing::Connected;
        self.takes_over = false;
        self.framework.id = Some(id.clone());
        match std::mem::replace(&mut self.was_registered, true) {
            false => Admission::First(id),
            true => Admission::Again,
        }
    }

    /// The master is lost; true if it was ours until now.
    pub(super) fn lost(&mut self) -> bool {
        let was_connected = self.is_connected();
        if was_connected {
            self.standing = Standing::Disconnected;
        }
        was_connected
    }

    /// Another master leads, or none does.
    pub(super) fn follow(&mut self, master: Option<&Upid>) {
        self.master = master.map(by_name);
    }

    pub(super) fn abort(&mut self) {
        self.standing = Standing::Aborted;
    }

    /// Offers came, with the agents' addresses beside them.
    pub(super) fn offered(&mut self, offers: &[Offer], pids: &[String]) {
        for (offer, pid) in offers.iter().zip(pids) {
            // Never a look-up of names: an address is what agents send.
            if let Some(pid) = Upid::parse_ip(pid) {
                self.agents.insert(offer.agent_id.clone(), pid);
            }
        }
    }

    pub(super) fn agent(&self, agent: &AgentId) -> Option<&Upid> {
        self.agents.get(agent)
    }

    pub(super) fn agent_lost(&mut self, agent: &AgentId) {
        self.agents.remove(agent);
    }
}

/// Whoever has this name and address. A reference handed out on our own node would mean one process, and
/// still mean it after that has ended and another one leads in its place.
fn by_name(master: &Upid) -> Upid {
    Upid::new(master.id(), master.address())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upid(id: &str) -> Upid {
        Upid::new(id, ([127, 0, 0, 1], 5050).into())
    }

    fn session(framework: FrameworkInfo) -> Session {
        let mut session = Session::new(framework);
        assert_eq!(session.admitted(&upid("master"), "f".into()), Admission::Ignored);
        session.follow(Some(&upid("master")));
        session
    }

    #[test]
    fn the_first_admission_names_the_framework_and_later_ones_find_it_again() {
        let mut session = session(FrameworkInfo::default());
        assert_eq!(session.subscribe().subscribe.unwrap().force, Some(false));
        assert_eq!(session.admitted(&upid("impostor"), "f".into()), Admission::Ignored);
        assert_eq!(session.admitted(&upid("master"), "f".into()), Admission::First("f".into()));
        assert_eq!(session.admitted(&upid("master"), "f".into()), Admission::Ignored);
        assert!(session.lost() && !session.lost());
        assert_eq!(session.subscribe().framework_id, Some("f".into()));
        assert_eq!(session.admitted(&upid("master"), "f".into()), Admission::Again);
    }

    #[test]
    fn a_scheduler_that_brings_an_id_takes_over_until_it_is_admitted() {
        let framework = FrameworkInfo { id: Some("f".into()), ..Default::default() };
        let mut session = session(framework);
        assert_eq!(session.subscribe().subscribe.unwrap().force, Some(true));
        session.admitted(&upid("master"), "f".into());
        session.lost();
        assert_eq!(session.subscribe().subscribe.unwrap().force, Some(false));
    }

    #[test]
    fn an_aborted_session_is_never_admitted() {
        let mut session = session(FrameworkInfo::default());
        session.abort();
        assert_eq!(session.admitted(&upid("master"), "f".into()), Admission::Ignored);
        assert!(!session.heeds(&upid("master")));
    }
}
