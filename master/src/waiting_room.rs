//! Agents that come back while others are being taken back. They wait here in the order they came, so that a
//! whole cluster at once neither keeps everything else from being served nor fills the memory; who finds the room
//! full is told when to come back instead.

use std::collections::{HashMap, VecDeque};
use std::ops::{Add, Sub};
use std::time::Duration;

use bytes::Bytes;
use libprocess::{Time, Upid};

use crate::bounds::Bounds;

/// How long it takes to take an agent back, before that has been measured.
const FIRST_PACE: Duration = Duration::from_micros(100);

/// Nobody is put off for less, or for more.
const PUT_OFF: std::ops::RangeInclusive<Duration> = Duration::from_millis(50)..=Duration::from_secs(30);

/// What becomes of one who comes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// It waits to be called in.
    Waits,
    /// There is no room; it is to come back after that time.
    Later(Duration),
}

/// So many agents, and what they sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) n_agents: usize,
    /// As it came.
    pub(crate) n_bytes: usize,
}

impl Add for Load {
    type Output = Load;

    fn add(self, other: Load) -> Load {
        Load { n_agents: self.n_agents + other.n_agents, n_bytes: self.n_bytes + other.n_bytes }
    }
}

impl Sub for Load {
    type Output = Load;

    fn sub(self, other: Load) -> Load {
        Load { n_agents: self.n_agents - other.n_agents, n_bytes: self.n_bytes - other.n_bytes }
    }
}

/// Who waits. An agent waits once, with what it sent last.
#[derive(Debug)]
pub(crate) struct WaitingRoom {
    bounds: Bounds,
    order: VecDeque<Upid>,
    /// Nothing of one for which there was no more room when it repeated itself: only its place is kept.
    sent: HashMap<Upid, Option<Bytes>>,
    n_bytes: usize,
    /// How long one takes, on average.
    pace: Duration,
    /// When others were called in last, and how many, if somebody has waited since.
    called_in: Option<(Time, u32)>,
    /// Up to when those who were put off have been given times.
    booked: Time,
}

impl WaitingRoom {
    /// An empty one.
    pub(crate) fn new(bounds: Bounds) -> Self {
        WaitingRoom {
            bounds,
            order: VecDeque::new(),
            sent: HashMap::new(),
            n_bytes: 0,
            pace: FIRST_PACE,
            called_in: None,
            booked: Time::EPOCH,
        }
    }

    /// An agent comes with what it sent, while others, `elsewhere`, have been called in and not yet been dealt with.
    pub(crate) fn enter(&mut self, agent: &Upid, sent: Bytes, elsewhere: Load, now: Time) -> Place {
        let full = !self.has_room(agent, sent.len(), elsewhere);
        let place = self.sent.get_mut(agent);
        let waits = place.is_some();
        // If it repeats itself, nobody has to answer the first.
        let before = place.and_then(Option::take);
        self.n_bytes -= before.map_or(0, |before| before.len());
        if full {
            let n_others = self.order.len() + elsewhere.n_agents - usize::from(waits);
            return Place::Later(self.book(n_others, now));
        }
        self.n_bytes += sent.len();
        if self.sent.insert(agent.clone(), Some(sent)).is_none() {
            self.order.push_back(agent.clone());
        }
        Place::Waits
    }

    /// Whether there is room for an agent with so many bytes: if it waits already, in place of what it sent before; and
    /// for anything, if nobody else waits.
    pub(crate) fn has_room(&self, agent: &Upid, n_bytes: usize, elsewhere: Load) -> bool {
        let place = self.sent.get(agent);
        let n_others = self.order.len() + elsewhere.n_agents - usize::from(place.is_some());
        let before = place.and_then(Option::as_ref).map_or(0, Bytes::len);
        let fits = self.n_bytes - before + elsewhere.n_bytes + n_bytes <= self.bounds.returning_bytes;
        n_others == 0 || fits && (place.is_some() || n_others < self.bounds.returning_agents)
    }

    /// A time for one who is put off: when half of those who wait are through, so that the room does not become
    /// empty, and behind all who were put off before.
    fn book(&mut self, n_before: usize, now: Time) -> Duration {
        let half = self.pace * u32::try_from(n_before / 2).unwrap_or(u32::MAX);
        self.booked = self.booked.max(now + half) + self.pace;
        (self.booked - now).clamp(*PUT_OFF.start(), *PUT_OFF.end())
    }

    /// Calls in the next, so many at most.
    pub(crate) fn call_in(&mut self, at_most: usize, now: Time) -> Vec<(Upid, Bytes)> {
        if let Some((before, n)) = self.called_in.take() {
            // Over the last dozen or so; a single one that took exceptionally long counts for little.
            let took = ((now - before) / n).min(self.pace * 10);
            self.pace = (self.pace * 15 + took) / 16;
        }
        let n = self.order.len().min(at_most);
        let called: Vec<_> = self
            .order
            .drain(..n)
            .filter_map(|agent| {
                let sent = self.sent.remove(&agent).flatten()?;
                Some((agent, sent))
            })
            .collect();
        self.n_bytes -= called.iter().map(|(_, sent)| sent.len()).sum::<usize>();
        if self.order.is_empty() {
            // What comes after a burst is measured anew, and the room the burst took is given back.
            (self.order, self.sent) = Default::default();
        } else {
            self.called_in = u32::try_from(called.len()).ok().filter(|n| *n > 0).map(|n| (now, n));
        }
        called
    }

    /// Whether nobody waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.order.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX_AGENTS: usize = 64 << 10;
    const MAX_BYTES: usize = 1 << 20;

    fn room() -> WaitingRoom {
        WaitingRoom::new(Bounds {
            returning_agents: MAX_AGENTS,
            returning_bytes: MAX_BYTES,
            ..Bounds::default()
        })
    }

    const NONE: Load = Load { n_agents: 0, n_bytes: 0 };

    fn elsewhere(n_agents: usize, n_bytes: usize) -> Load {
        Load { n_agents, n_bytes }
    }

    fn agent(n: usize) -> Upid {
        Upid::new(format!("slave({n})"), "10.0.0.1:5051".parse().unwrap())
    }

    fn at(ms: u64) -> Time {
        Time::EPOCH + Duration::from_secs(1) + Duration::from_millis(ms)
    }

    fn sent(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    #[test]
    fn all_are_called_in_once_in_the_order_they_came_with_what_they_sent_last() {
        let mut room = room();
        for (n, text) in [(1, "one"), (2, "two"), (3, "three"), (1, "one again")] {
            assert_eq!(room.enter(&agent(n), sent(text), NONE, at(0)), Place::Waits);
        }
        assert_eq!((room.len(), room.n_bytes), (3, 17));
        assert_eq!(room.call_in(2, at(1)), [(agent(1), sent("one again")), (agent(2), sent("two"))]);
        assert_eq!(room.call_in(2, at(1)), [(agent(3), sent("three"))]);
        assert_eq!((room.call_in(2, at(2)), room.is_empty(), room.n_bytes), (vec![], true, 0));
        assert_eq!(room.enter(&agent(2), sent("two"), NONE, at(3)), Place::Waits);
        assert_eq!(room.call_in(2, at(3)), [(agent(2), sent("two"))]);
    }

    fn full() -> WaitingRoom {
        let mut room = room();
        for n in 0..MAX_AGENTS {
            assert_eq!(room.enter(&agent(n), sent("x"), NONE, at(0)), Place::Waits);
        }
        room
    }

    #[test]
    fn who_finds_it_full_gets_a_time_of_its_own() {
        let mut room = full();
        let Place::Later(first) = room.enter(&agent(MAX_AGENTS), sent("x"), NONE, at(0)) else { panic!() };
        let Place::Later(second) = room.enter(&agent(MAX_AGENTS + 1), sent("x"), NONE, at(0)) else {
            panic!()
        };
        assert_eq!(first, FIRST_PACE * (MAX_AGENTS as u32 / 2 + 1));
        assert_eq!(second, first + FIRST_PACE);
        // Who waits already is not put off.
        assert_eq!(room.enter(&agent(7), sent("y"), NONE, at(0)), Place::Waits);
        room.call_in(1, at(1));
        assert_eq!(room.enter(&agent(MAX_AGENTS + 2), sent("x"), NONE, at(1)), Place::Waits);
    }

    #[test]
    fn those_that_are_being_dealt_with_count_too_but_one_is_always_let_in() {
        let mut room = room();
        assert!(matches!(room.enter(&agent(1), sent("x"), elsewhere(MAX_AGENTS, 0), at(0)), Place::Later(_)));
        assert!(matches!(room.enter(&agent(1), sent("x"), elsewhere(1, MAX_BYTES), at(0)), Place::Later(_)));
        assert_eq!(room.enter(&agent(1), sent("x"), elsewhere(1, MAX_BYTES - 1), at(0)), Place::Waits);
        assert_eq!(room.call_in(1, at(0)).len(), 1);
        let large = Bytes::from(vec![0; MAX_BYTES + 1]);
        assert_eq!(room.enter(&agent(1), large, NONE, at(0)), Place::Waits);
        assert!(matches!(room.enter(&agent(2), sent("x"), NONE, at(0)), Place::Later(_)));
    }

    #[test]
    fn who_repeats_itself_with_more_than_there_is_room_for_keeps_its_place_but_has_to_say_it_later() {
        let mut room = room();
        let bytes = |n| Bytes::from(vec![0; n]);
        assert_eq!(room.enter(&agent(1), bytes(MAX_BYTES - 9), NONE, at(0)), Place::Waits);
        for n in 2..5 {
            assert_eq!(room.enter(&agent(n), sent("old"), NONE, at(0)), Place::Waits);
        }
        assert!(matches!(room.enter(&agent(2), sent("longer"), NONE, at(0)), Place::Later(_)));
        assert!(matches!(room.enter(&agent(3), sent("longer"), NONE, at(0)), Place::Waits));
        assert!(matches!(room.enter(&agent(4), sent("longer"), NONE, at(0)), Place::Later(_)));
        assert!(matches!(room.enter(&agent(2), sent("longer"), NONE, at(0)), Place::Later(_)));
        assert!(room.n_bytes <= MAX_BYTES);

        assert_eq!(room.call_in(1, at(1)), [(agent(1), bytes(MAX_BYTES - 9))]);
        // One is in time for its place, and the other goes to the end of the line.
        assert_eq!(room.enter(&agent(2), sent("longer"), NONE, at(1)), Place::Waits);
        assert_eq!(room.call_in(3, at(2)), [(agent(2), sent("longer")), (agent(3), sent("longer"))]);
        assert_eq!((room.is_empty(), room.n_bytes), (true, 0));
        assert_eq!(room.enter(&agent(4), sent("longer"), NONE, at(2)), Place::Waits);
        assert_eq!(room.call_in(3, at(2)), [(agent(4), sent("longer"))]);

        // Where nobody else waits there is room for anything.
        for n in 1..3 {
            assert_eq!(room.enter(&agent(1), bytes(n * MAX_BYTES), NONE, at(3)), Place::Waits);
        }
    }

    #[test]
    fn the_times_follow_the_pace() {
        let mut room = full();
        for n in 0..100 {
            room.call_in(10, at(2 * n));
        }
        assert!((180..=200).contains(&room.pace.as_micros()), "{:?}", room.pace);
        for n in 0..1000 {
            room.enter(&agent(MAX_AGENTS + n), sent("x"), NONE, at(1000));
        }
        let Place::Later(long) = room.enter(&agent(0), sent("x"), NONE, at(1000)) else { panic!() };
        assert!((6000..7000).contains(&long.as_millis()), "{long:?}");
    }
}
