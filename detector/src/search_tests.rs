//! What follows from which answers.

use super::*;
use crate::contact::{RETRY_MAX, RETRY_MIN};
use rand::SeedableRng;
use rand::rngs::SmallRng;

/// A search, the time, and what it wants done.
struct Stage {
    search: Search,
    now: Time,
    rng: SmallRng,
    steps: Vec<Step>,
}

fn at(n: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, n], 5050))
}

fn contender(n: u8) -> Upid {
    Upid::new(CONTENDER, at(n))
}

fn leader(n: u8) -> Leader {
    Leader { pid: Upid::new("master", at(n)), id: format!("reign-{n}"), hostname: format!("m{n}") }
}

/// In this term the n-th leads, or nobody does.
fn says(term: u64, led_by: Option<u8>) -> LeaderIs {
    let leader = led_by.map(leader);
    LeaderIs { contender: Upid::nobody(), term, leader, masters: vec![], spread_ms: 7 }
}

impl Stage {
    fn new(masters: u8) -> Stage {
        let hosts = (1..=masters).map(|n| HostPort::from(at(n))).collect();
        Stage::with(hosts)
    }

    fn with(hosts: Vec<HostPort>) -> Stage {
        let mut stage = Stage {
            search: Search::default(),
            now: Time::from_secs_f64(1e9),
            rng: SmallRng::seed_from_u64(1),
            steps: Vec::new(),
        };
        stage.search.follow(hosts, stage.now, &mut stage.rng);
        stage.take();
        stage
    }

    fn take(&mut self) {
        self.steps.extend(self.search.take_steps());
    }

    fn hears(&mut self, from: u8, message: LeaderIs) {
        self.hears_via(from, from, message);
    }

    /// From one who advertises an address and is reached by another.
    fn hears_via(&mut self, via: u8, from: u8, message: LeaderIs) {
        let message = LeaderIs { contender: contender(from), ..message };
        self.search.answered(&contender(via), message, self.now, &mut self.rng);
        self.take();
    }

    fn loses(&mut self, n: u8) {
        self.search.lost(&contender(n), self.now, &mut self.rng);
        self.take();
    }

    /// Lets time pass, waking the search when it wants to be.
    fn passes(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(next) = self.search.wake_at().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            self.search.due(self.now, &mut self.rng);
            self.take();
        }
        self.now = end;
    }

    /// Whom it has asked since the last look.
    fn asked(&mut self) -> Vec<Upid> {
        let asked = self.steps.iter().filter_map(|step| match step {
            Step::Ask(pid) => Some(pid.clone()),
            _ => None,
        });
        let asked = asked.collect();
        self.steps.clear();
        asked
    }

    /// What it has told since the last look.
    fn told(&mut self) -> Vec<Option<Leader>> {
        let told = self.steps.iter().filter_map(|step| match step {
            Step::Tell(leader, _) => Some(leader.clone()),
            _ => None,
        });
        let told = told.collect();
        self.steps.clear();
        told
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn the_answer_of_the_highest_term_counts() {
    let mut stage = Stage::new(3);
    assert_eq!(stage.asked(), [contender(1), contender(2), contender(3)]);
    stage.hears(1, says(4, Some(1)));
    assert_eq!(stage.steps, [Step::Tell(Some(leader(1)), Duration::from_millis(7))]);
    stage.told();
    stage.hears(2, says(5, Some(2)));
    assert_eq!(stage.told(), [Some(leader(2))]);
    // The first has not noticed yet.
    stage.hears(1, says(4, Some(1)));
    assert_eq!(stage.told(), []);
    stage.hears(3, says(6, None));
    assert_eq!(stage.told(), [None]);
}

#[test]
fn who_knows_no_leader_does_not_hide_one() {
    let mut stage = Stage::new(2);
    stage.hears(1, says(4, Some(1)));
    stage.hears(2, says(4, None));
    assert_eq!(stage.told(), [Some(leader(1))]);
    // Unless it takes back what it said itself, and nobody else stands by it.
    stage.hears(1, says(4, None));
    assert_eq!(stage.told(), [None]);
}

#[test]
fn a_leader_whose_link_breaks_is_one_as_long_as_somebody_says_so() {
    let mut stage = Stage::new(3);
    stage.hears(1, says(4, Some(1)));
    stage.hears(2, says(4, Some(1)));
    stage.loses(1);
    assert_eq!(stage.told(), [Some(leader(1))]);
    stage.loses(2);
    assert_eq!(stage.told(), [None]);
    stage.hears(3, says(5, Some(3)));
    assert_eq!(stage.told(), [Some(leader(3))]);
}

#[test]
fn that_the_leader_is_there_again_is_told_for_whoever_waits_to_register() {
    let mut stage = Stage::new(2);
    stage.hears(1, says(4, Some(1)));
    stage.hears(2, says(4, Some(1)));
    assert_eq!(stage.told(), [Some(leader(1))]);
    for n in [2, 1] {
        stage.loses(n);
        stage.passes(RETRY_MIN);
        stage.hears(n, says(4, Some(1)));
        stage.hears(n, says(4, Some(1)));
    }
    let again = |step: &&Step| matches!(step, Step::Again(it, _) if *it == leader(1));
    assert_eq!((stage.steps.iter().filter(again).count(), stage.told()), (1, vec![]));
}

#[test]
fn who_is_left_in_an_earlier_term_is_not_believed_at_first() {
    let mut stage = Stage::new(2);
    stage.hears(1, says(3, Some(1)));
    stage.hears(2, says(4, Some(2)));
    stage.loses(2);
    assert_eq!(stage.told(), [Some(leader(1)), Some(leader(2)), None]);
    stage.passes(HOLD - SECOND);
    assert_eq!(stage.told(), []);
    // The masters may have begun anew.
    stage.hears(1, says(3, Some(1)));
    stage.passes(SECOND);
    assert_eq!(stage.told(), [Some(leader(1))]);
}

#[test]
fn a_lost_link_is_tried_again_ever_more_rarely() {
    let mut stage = Stage::new(2);
    stage.asked();
    let mut attempts = Vec::new();
    for _ in 0..12 {
        stage.loses(1);
        let lost = stage.now;
        while !stage.asked().contains(&contender(1)) {
            stage.passes(Duration::from_millis(1));
        }
        attempts.push(stage.now - lost);
    }
    assert!(attempts[0] <= RETRY_MIN + Duration::from_millis(1), "{attempts:?}");
    assert!(attempts[11] > RETRY_MAX / 2 && attempts[11] <= RETRY_MAX + SECOND, "{attempts:?}");
    // An answer makes up for all of it.
    stage.hears(1, says(1, None));
    stage.loses(1);
    stage.passes(RETRY_MIN);
    assert!(stage.asked().contains(&contender(1)));
}

#[test]
fn who_keeps_silent_is_asked_again_and_then_not_believed() {
    let mut stage = Stage::new(2);
    stage.hears(1, says(4, Some(1)));
    stage.told();
    for _ in 0..10 {
        let before = stage.now;
        while !stage.steps.contains(&Step::Ask(contender(1))) {
            stage.passes(SECOND / 10);
        }
        assert!(stage.now - before < ASK_AGAIN.mul_f64(1.3));
        stage.hears(1, says(4, Some(1)));
        assert_eq!(stage.told(), []);
    }
    stage.passes(ASK_AGAIN.mul_f64(1.3) + 5 * SECOND);
    assert_eq!(stage.told(), [None]);
    // It was stopped, and goes on.
    stage.hears(1, says(4, Some(1)));
    assert_eq!(stage.told(), [Some(leader(1))]);
}

#[test]
fn a_lone_master_that_has_no_contender_is_taken_for_the_leader() {
    let unannounced = Leader::unannounced("master", at(1));
    let mut stage = Stage::new(1);
    stage.loses(1);
    let tell = Step::Tell(Some(unannounced.clone()), Duration::MAX);
    assert_eq!(stage.steps, [Step::Ask(contender(1)), tell]);

    let mut stage = Stage::new(1);
    stage.passes(FIRST_ANSWER - Duration::from_millis(1));
    assert_eq!(stage.told(), []);
    stage.passes(Duration::from_millis(1));
    assert_eq!(stage.told(), [Some(unannounced.clone())]);
    stage.passes(600 * SECOND);
    assert!(stage.asked().len() < 60);
    // It has one after all.
    stage.hears(1, says(1, Some(1)));
    assert_eq!(stage.told(), [Some(leader(1))]);
    assert!(leader(1).may_be(&unannounced));
    stage.loses(1);
    stage.passes(60 * SECOND);
    assert_eq!(stage.told(), [None]);
}

#[test]
fn one_of_several_is_not_taken_for_the_leader_because_it_is_silent() {
    let mut stage = Stage::new(2);
    stage.loses(1);
    stage.passes(60 * SECOND);
    assert_eq!(stage.told(), []);
}

#[test]
fn masters_that_answers_speak_of_are_asked_too_but_not_too_many() {
    let mut stage = Stage::new(1);
    stage.asked();
    let masters = |ns: std::ops::RangeInclusive<u8>| ns.map(|n| at(n).to_string()).collect::<Vec<_>>();
    stage.hears(1, LeaderIs { masters: masters(1..=3), ..says(4, Some(1)) });
    assert_eq!(stage.asked(), [contender(2), contender(3)]);
    stage.loses(1);
    stage.hears(3, says(5, Some(3)));
    assert_eq!(stage.told(), [None, Some(leader(3))]);
    // Those that are no masters any more are forgotten.
    stage.hears(3, LeaderIs { masters: masters(3..=4), ..says(5, Some(3)) });
    assert_eq!(stage.asked(), [contender(4)]);
    stage.loses(2);
    stage.passes(60 * SECOND);
    assert!(!stage.asked().contains(&contender(2)));
    stage.hears(3, LeaderIs { masters: masters(1..=99), ..says(5, Some(3)) });
    assert_eq!(stage.search.contacts.len(), MAX_MASTERS);
}

#[test]
fn names_are_resolved_anew_each_time() {
    let host: HostPort = "m1:5050".parse().unwrap();
    let mut stage = Stage::with(vec![host.clone(), HostPort::from(at(9))]);
    assert!(stage.steps.contains(&Step::Resolve(host.clone())));
    let resolve = |stage: &mut Stage, found: &[u8]| {
        let found = match found.is_empty() {
            true => Err(io::Error::other("no such host")),
            false => Ok(found.iter().map(|n| at(*n)).collect()),
        };
        stage.search.resolved(&host, found, stage.now, &mut stage.rng);
        stage.take();
        let asked = stage.asked().into_iter().filter(|it| *it != contender(9));
        asked.collect::<Vec<_>>()
    };
    assert_eq!(resolve(&mut stage, &[]), []);
    stage.passes(RETRY_MAX);
    assert!(stage.steps.contains(&Step::Resolve(host.clone())));
    // It has two addresses; the first did not work, so the other is tried.
    assert_eq!(resolve(&mut stage, &[1, 2]), [contender(2)]);
    stage.loses(2);
    stage.passes(RETRY_MAX);
    assert_eq!(resolve(&mut stage, &[1, 2]), [contender(1)]);
}

#[test]
fn a_contender_that_calls_itself_by_another_address_is_reached_by_that_if_it_can_be() {
    let mut stage = Stage::new(2);
    stage.asked();
    // Reached as 10.0.0.1, it says that it is 10.0.0.7.
    stage.hears_via(1, 7, says(4, Some(7)));
    let tell = Step::Tell(Some(leader(7)), Duration::from_millis(7));
    assert_eq!(stage.steps, [Step::Ask(contender(7)), tell]);
    stage.told();
    stage.loses(1);
    stage.hears(7, says(4, Some(7)));
    assert_eq!(stage.told(), []);
    stage.loses(7);
    assert_eq!(stage.told(), [None]);
    stage.passes(RETRY_MIN);
    assert_eq!(stage.asked(), [contender(1)]);
    // There is no way to 10.0.0.7 any more; then 10.0.0.1 has to do.
    stage.hears_via(1, 7, says(4, Some(7)));
    stage.loses(7);
    assert_eq!(stage.told(), [Some(leader(7)), None]);
    stage.passes(2 * RETRY_MIN);
    assert!(stage.asked().contains(&contender(1)));
    stage.hears_via(1, 7, says(4, Some(7)));
    assert_eq!((stage.told(), stage.asked()), (vec![Some(leader(7))], vec![]));
    stage.loses(7);
    assert_eq!(stage.told(), []);
    // And if that fails, the other one is worth a try again.
    stage.loses(1);
    stage.passes(4 * RETRY_MIN);
    stage.asked();
    stage.hears_via(1, 7, says(4, Some(7)));
    assert_eq!(stage.asked(), [contender(7)]);
}

#[test]
fn strangers_are_not_believed() {
    let mut stage = Stage::new(2);
    for n in [1, 2] {
        stage.hears(n, says(4, None));
    }
    // All who were asked are known.
    stage.hears(8, says(5, Some(8)));
    assert_eq!(stage.told(), []);

    let mut stage = Stage::new(2);
    let stranger = Upid::new("master", at(1));
    stage.search.answered(&stranger, says(4, Some(1)), stage.now, &mut stage.rng);
    stage.search.answered(
        &contender(1),
        LeaderIs { leader: Some(Leader { id: "x".repeat(MAX_NAME + 1), ..leader(1) }), ..says(4, None) },
        stage.now,
        &mut stage.rng,
    );
    stage.take();
    assert_eq!(stage.told(), []);
}

#[test]
fn other_masters_are_followed_when_one_is_told_so() {
    let mut stage = Stage::new(2);
    stage.hears(1, says(9, Some(1)));
    stage.asked();
    // Another cluster, of a lower term.
    stage.search.follow(vec![HostPort::from(at(3))], stage.now, &mut stage.rng);
    stage.take();
    assert_eq!(stage.steps, [Step::Ask(contender(3)), Step::Tell(None, Duration::MAX)]);
    stage.told();
    stage.hears(3, says(1, Some(3)));
    stage.hears(1, says(10, Some(1)));
    assert_eq!(stage.told(), [Some(leader(3))]);
    stage.search.appoint(leader(5), stage.now);
    stage.take();
    assert_eq!(stage.told(), [Some(leader(5))]);
    stage.hears(3, says(2, Some(3)));
    assert_eq!((stage.told(), stage.search.wake_at()), (vec![], None));
}
