//! Links that come and go.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use rand::Rng as _;

use super::world::World;

/// Two nodes, the one that was added first before the other.
type Pair = (usize, usize);

/// Which links flap, and which of them do not carry anything now.
#[derive(Default)]
pub(super) struct Flapping {
    /// With a number: what was planned for an earlier flapping of the same link does not count.
    links: BTreeMap<Pair, u64>,
    n_links: u64,
    down: BTreeSet<Pair>,
}

fn pair(a: usize, b: usize) -> Pair {
    (a.min(b), a.max(b))
}

impl Flapping {
    pub(super) fn is_down(&self, from: usize, to: usize) -> bool {
        self.down.contains(&pair(from, to))
    }

    pub(super) fn end(&mut self) {
        self.links.clear();
        self.down.clear();
    }
}

impl World {
    pub(super) fn flap(self: &Arc<Self>, a: usize, b: usize, down: Range<Duration>, up: Range<Duration>) {
        for range in [&down, &up] {
            assert!(range.start < range.end, "an empty range of durations: {range:?}");
        }
        let pair = pair(a, b);
        let number = {
            let mut state = self.state.lock();
            let flapping = &mut state.network.flapping;
            flapping.n_links += 1;
            flapping.links.insert(pair, flapping.n_links);
            flapping.down.remove(&pair);
            flapping.n_links
        };
        self.turn(pair, number, down, up);
    }

    /// Cuts the link or mends it, and plans to do the contrary.
    fn turn(self: &Arc<Self>, pair: Pair, number: u64, down: Range<Duration>, up: Range<Duration>) {
        let takes = {
            let mut state = self.state.lock();
            let flapping = &mut state.network.flapping;
            if flapping.links.get(&pair) != Some(&number) {
                return;
            }
            let goes_down = !flapping.down.remove(&pair);
            if goes_down {
                flapping.down.insert(pair);
            }
            let range = if goes_down { &down } else { &up };
            let nanos = range.start.as_nanos() as u64..range.end.as_nanos() as u64;
            let takes = Duration::from_nanos(state.rng.random_range(nanos));
            let (now, a, b) = (state.now(), state.nodes[pair.0].address, state.nodes[pair.1].address);
            let what = if goes_down { "down" } else { "up" };
            state.log.note(now, format_args!("link between {a} and {b} {what}"));
            takes
        };
        let world = Arc::downgrade(self);
        let next = move || {
            if let Some(world) = world.upgrade() {
                world.turn(pair, number, down, up);
            }
        };
        self.schedule(takes, Box::new(next));
    }
}
