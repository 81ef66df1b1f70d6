//! What the detector knows, and what follows from it: a state machine without a network or a clock.
//!
//! Each master that is known of is a *contact*. It is resolved, linked to and asked; its latest answer stands until
//! it gives another one or the link to it breaks. Who leads follows from the answers that stand.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use libprocess::{Time, Upid};
use rand::Rng;

use crate::contact::{Answer, Contact, FIRST_ANSWER, Phase, doubled};
use crate::{CONTENDER, HostPort, Leader, LeaderIs, MAX_MASTERS};

/// Questions that are not answered are asked ever more rarely, but at least so often.
const UNANSWERED_MAX: Duration = Duration::from_secs(15);
/// How often somebody who has answered is asked again, lest a lost message stay lost. Each of tens of thousands
/// of agents asks each of the masters.
const ASK_AGAIN: Duration = Duration::from_secs(15);
/// After so many questions in a row without an answer what was answered before is no longer believed.
const SILENT_AFTER: u32 = 3;
/// For so long after everybody who spoke of a term was lost, those who are still in an earlier one are not
/// believed. After that they are: all masters may have begun anew, with empty disks.
const HOLD: Duration = Duration::from_secs(15);
/// Longer names are not taken.
const MAX_NAME: usize = 1024;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Find the addresses of this host, and tell [`Search::resolved`].
    Resolve(HostPort),
    /// Link to this process and ask it who leads.
    Ask(Upid),
    /// Tell the owner who leads. Over how long to spread registrations comes with it.
    Tell(Option<Leader>, Duration),
    /// Tell the owner that the leader is there again.
    Again(Leader, Duration),
}

/// The state machine. Each event may leave steps, to be taken with [`Search::take_steps`].
#[derive(Default)]
pub(crate) struct Search {
    appointed: Option<Leader>,
    /// The masters one was told of at the start.
    listed: Vec<HostPort>,
    contacts: Vec<Contact>,
    n_answers: u64,
    /// The newest term that anybody spoke of ...
    term: u64,
    /// ... and until when it counts, now that nobody does any more.
    term_until: Option<Time>,
    /// Where a lone master is that never answered.
    lone: Option<SocketAddr>,
    /// Whether any of the contacts ever answered.
    heard: bool,
    told: Option<Leader>,
    spread: Duration,
    steps: Vec<Step>,
}

impl Search {
    /// What is to be done now, in order.
    pub(crate) fn take_steps(&mut self) -> Vec<Step> {
        std::mem::take(&mut self.steps)
    }

    /// The leader, as told.
    pub(crate) fn leader(&self) -> Option<&Leader> {
        self.told.as_ref()
    }

    /// When to call [`Search::due`].
    pub(crate) fn wake_at(&self) -> Option<Time> {
        let contacts = self.contacts.iter().filter_map(|contact| match contact.phase {
            Phase::Resolving => None,
            Phase::Waiting(until) => Some(until),
            Phase::Linked { ask_at, .. } => Some(ask_at),
        });
        contacts.chain(self.term_until).min()
    }

    /// This one leads, and nobody is asked.
    pub(crate) fn appoint(&mut self, leader: Leader, now: Time) {
        self.forget();
        self.contacts.clear();
        self.listed.clear();
        self.appointed = Some(leader);
        self.conclude(now);
    }

    /// These are to be asked from now on; what others have said no longer counts.
    pub(crate) fn follow(&mut self, listed: Vec<HostPort>, now: Time, rng: &mut impl Rng) {
        self.forget();
        self.contacts.retain(|contact| listed.contains(&contact.host));
        self.heard = self.contacts.iter().any(|contact| contact.answer.is_some());
        self.listed = listed;
        self.meet(&self.listed.clone(), now);
        self.due(now, rng);
    }

    fn forget(&mut self) {
        self.appointed = None;
        self.lone = None;
        self.term = 0;
        self.term_until = None;
    }

    /// Makes contacts of those that are none yet, as long as there is room.
    fn meet(&mut self, hosts: &[HostPort], now: Time) {
        for host in hosts {
            let known = self.contacts.iter().any(|contact| contact.host == *host);
            if !known && self.contacts.len() < MAX_MASTERS {
                self.contacts.push(Contact::new(host.clone(), now));
            }
        }
    }

    /// What the system said to [`Step::Resolve`].
    pub(crate) fn resolved(
        &mut self,
        host: &HostPort,
        addresses: io::Result<Vec<SocketAddr>>,
        now: Time,
        rng: &mut impl Rng,
    ) {
        let Some(contact) = self.contacts.iter_mut().find(|contact| contact.host == *host) else { return };
        if !matches!(contact.phase, Phase::Resolving) {
            return;
        }
        match addresses {
            Ok(addresses) if !addresses.is_empty() => {
                // A name may have several; the next attempt is for the next one.
                let address = addresses[contact.failures as usize % addresses.len()];
                self.steps.push(contact.link(address, now));
            }
            unknown => {
                if contact.failures == 0 {
                    let error =
                        unknown.err().map_or("it has no address".to_owned(), |error| error.to_string());
                    tracing::warn!(master = %contact.host, error, "a master's name leads nowhere");
                }
                contact.wait(now, rng);
            }
        }
        self.conclude(now);
    }

    /// A contender has answered, or has news. Others than those that were asked are not listened to.
    pub(crate) fn answered(&mut self, from: &Upid, message: LeaderIs, now: Time, rng: &mut impl Rng) {
        let who = self.who_is(from);
        let (Some(leader), false) = (checked(message.leader), who.is_empty()) else { return };
        let contender = Upid::new(CONTENDER, message.contender.address());
        let masters = hosts(&message.masters);
        self.n_answers += 1;
        self.heard = true;
        self.lone = None;
        let mut missed = false;
        for index in who {
            let contact = &mut self.contacts[index];
            missed |= std::mem::take(&mut contact.missed);
            contact.answer = Some(Answer {
                term: message.term,
                leader: leader.clone(),
                spread: Duration::from_millis(message.spread_ms),
                masters: masters.clone(),
                number: self.n_answers,
            });
            let Phase::Linked { target, own, ask_at, unanswered } = &mut contact.phase else { continue };
            *own = Some(contender.clone());
            if *target != contender && contact.unreachable.as_ref() != Some(&contender) {
                // By the address it advertises, as whoever registers there will reach it: of two connections
                // between two nodes, by two addresses, the other side keeps one.
                *target = contender.clone();
                *ask_at = now + FIRST_ANSWER;
                *unanswered = 1;
                self.steps.push(Step::Ask(contender.clone()));
            } else {
                *ask_at = now + ASK_AGAIN.mul_f64(rng.random_range(0.75..=1.25));
                *unanswered = 0;
                contact.failures = 0;
            }
        }
        if !self.conclude(now) && missed {
            self.tell_of_return(contender.address());
        }
        self.keep_company(now, rng);
    }

    /// A node is there again. If the leader is on it, whoever tries to register there may as well do so now.
    fn tell_of_return(&mut self, node: SocketAddr) {
        let leader = self.told.as_ref().filter(|leader| leader.pid.address() == node);
        if let Some(leader) = leader {
            self.steps.push(Step::Again(leader.clone(), self.spread));
        }
    }

    /// The contacts that `from` is: a node may have several names. One that has not spoken yet may do so from another
    /// address than the one by which it was reached; its port has to do.
    fn who_is(&self, from: &Upid) -> Vec<usize> {
        if from.id() != CONTENDER {
            return Vec::new();
        }
        let which = |is: &dyn Fn(&Upid, Option<&Upid>) -> bool| -> Vec<usize> {
            let linked = self.contacts.iter().enumerate().filter_map(|(n, contact)| match &contact.phase {
                Phase::Linked { target, own, .. } if is(target, own.as_ref()) => Some(n),
                _ => None,
            });
            linked.collect()
        };
        let port = from.address().port();
        let mut who = which(&|target, own| own == Some(from) || target == from);
        if who.is_empty() {
            who = which(&|target, own| own.is_none() && target.address().port() == port);
            who.truncate(1);
        }
        who
    }

    /// Contacts are those listed, and those that gave the newest answers or are spoken of there.
    fn keep_company(&mut self, now: Time, rng: &mut impl Rng) {
        let term = self.term;
        let newest = |contact: &Contact| contact.answer.as_ref().is_some_and(|answer| answer.term == term);
        let answers = self.contacts.iter().filter(|contact| newest(contact));
        let masters = answers.filter_map(|contact| contact.answer.as_ref()).flat_map(|it| it.masters.clone());
        let mut hosts: Vec<HostPort> = masters.collect();
        if !hosts.is_empty() {
            hosts.extend(self.listed.iter().cloned());
            self.contacts.retain(|contact| newest(contact) || hosts.contains(&contact.host));
        }
        self.meet(&hosts, now);
        self.due(now, rng);
    }

    /// The link to this contender broke.
    pub(crate) fn lost(&mut self, pid: &Upid, now: Time, rng: &mut impl Rng) {
        let lone = self.is_lone();
        for contact in &mut self.contacts {
            if let Phase::Linked { target, .. } = &contact.phase
                && target == pid
            {
                self.lone = lone.then(|| pid.address());
                contact.wait(now, rng);
            }
        }
        self.conclude(now);
    }

    /// Nobody else could lead, and there is nobody to ask.
    fn is_lone(&self) -> bool {
        !self.heard && self.listed.len() == 1
    }

    /// Does what it is time for.
    pub(crate) fn due(&mut self, now: Time, rng: &mut impl Rng) {
        let lone = self.is_lone();
        for contact in &mut self.contacts {
            match &mut contact.phase {
                Phase::Waiting(until) if *until <= now => match contact.host.address() {
                    Some(address) => self.steps.push(contact.link(address, now)),
                    None => {
                        contact.phase = Phase::Resolving;
                        self.steps.push(Step::Resolve(contact.host.clone()));
                    }
                },
                Phase::Linked { target, ask_at, unanswered, .. } if *ask_at <= now => {
                    if lone {
                        self.lone = Some(target.address());
                    }
                    if *unanswered >= SILENT_AFTER {
                        contact.answer = None;
                        contact.missed = true;
                    }
                    let wait = doubled(FIRST_ANSWER, *unanswered, UNANSWERED_MAX);
                    *ask_at = now + wait.mul_f64(rng.random_range(0.75..=1.0));
                    *unanswered = unanswered.saturating_add(1);
                    self.steps.push(Step::Ask(target.clone()));
                }
                _ => {}
            }
        }
        self.conclude(now);
    }

    /// Who leads, from what stands; tells it if it is news, and whether it was.
    fn conclude(&mut self, now: Time) -> bool {
        let answers = || self.contacts.iter().filter_map(|contact| contact.answer.as_ref());
        let newest = answers().map(|answer| answer.term).max().unwrap_or(0);
        if newest < self.term {
            let until = *self.term_until.get_or_insert(now + HOLD);
            if until <= now {
                (self.term, self.term_until) = (newest, None);
            }
        } else {
            (self.term, self.term_until) = (newest, None);
        }
        let named = answers().filter(|answer| answer.term == self.term && answer.leader.is_some());
        let (leader, spread) = match (&self.appointed, named.max_by_key(|answer| answer.number)) {
            (Some(appointed), _) => (Some(appointed.clone()), Duration::MAX),
            (None, Some(answer)) => (answer.leader.clone(), answer.spread),
            (None, None) => (self.lone.map(|address| Leader::unannounced(MASTER, address)), Duration::MAX),
        };
        let news = leader != self.told;
        self.spread = spread;
        if news {
            self.told = leader.clone();
            self.steps.push(Step::Tell(leader, spread));
        }
        news
    }
}

/// The id of a master's process, where nobody says what it is.
const MASTER: &str = "master";

/// A leader by name: a reference handed out on this very node would mean one life of the process. `None` when it is
/// of a size that no master has.
fn checked(leader: Option<Leader>) -> Option<Option<Leader>> {
    let Some(leader) = leader else { return Some(None) };
    let pid = Upid::new(leader.pid.id(), leader.pid.address());
    let fits = [pid.id(), &leader.id, &leader.hostname].iter().all(|name| name.len() <= MAX_NAME);
    fits.then_some(Some(Leader { pid, ..leader }))
}

fn hosts(masters: &[String]) -> Vec<HostPort> {
    let short = masters.iter().take(MAX_MASTERS).filter(|name| name.len() <= MAX_NAME);
    short.filter_map(|name| name.parse().ok()).collect()
}

#[cfg(test)]
#[path = "search_tests.rs"]
mod tests;
