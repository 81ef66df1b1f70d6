//! What goes wrong.

use std::time::Duration;

use libprocess::sim::SimNode;
use rand::Rng as _;

use super::Group;

impl Group {
    /// Runs into a write of member `n`, if there is one soon.
    fn run_until_writing(&mut self, n: usize) {
        let end = self.sim.now() + Duration::from_millis(200);
        while self.sim.now() < end && self.look(n, |member| member.is_writing()) == Some(false) {
            self.step(end);
        }
        let more = Duration::from_micros(self.rng.random_range(0..1_500));
        self.run_for(more);
    }

    /// A crash, and at once a new start.
    pub(super) fn blink(&mut self, n: usize) {
        if self.pids[n].is_some() {
            self.crash(n);
            self.start(n);
        }
    }

    /// Nobody hears of this member any more, nor it of anybody.
    pub(super) fn isolate(&mut self, n: usize) {
        let mut others = self.nodes.clone();
        let one = others.remove(n);
        self.sim.network().partition(&[one], &others);
    }

    /// Something does.
    pub(super) fn trouble(&mut self) {
        let size = self.nodes.len();
        let n = self.rng.random_range(0..size);
        match self.rng.random_range(0..22) {
            0 | 1 => self.crash(n),
            2..=4 => {
                if self.pids[n].is_none() {
                    self.start(n);
                }
            }
            5 => {
                let other = (n + self.rng.random_range(1..size)) % size;
                let (from, to) = (self.nodes[n], self.nodes[other]);
                self.sim.network().cut(from, to);
            }
            6 => {
                let side: Vec<bool> = (0..size).map(|_| self.rng.random_bool(0.5)).collect();
                let of = |wanted: bool| -> Vec<SimNode> {
                    let nodes = self.nodes.iter().zip(&side);
                    nodes.filter(|(_, side)| **side == wanted).map(|(node, _)| *node).collect()
                };
                let (one, other) = (of(true), of(false));
                self.sim.network().partition(&one, &other);
            }
            7 | 8 => {
                self.sim.network().heal();
            }
            9 => {
                self.run_until_writing(n);
                self.blink(n);
            }
            // The power fails for all of them, where one is writing.
            10 => {
                self.run_until_writing(n);
                (0..size).for_each(|n| self.crash(n));
                (0..size).for_each(|n| self.start(n));
            }
            // The leader is cut off, while those who answered it lose their memory.
            11 | 12 => {
                if let Some(leader) = self.leader() {
                    let others = (0..size).filter(|n| *n != leader);
                    let others: Vec<_> = others.filter(|_| self.rng.random_bool(0.7)).collect();
                    if self.rng.random_bool(0.5) {
                        self.run_until_writing(n);
                    }
                    self.isolate(leader);
                    others.into_iter().for_each(|n| self.blink(n));
                }
            }
            // Some are cut from the leader until they want another one; then it is cut off, while one of the others
            // forgets whom it has heard of last.
            13 => {
                if let Some(leader) = self.leader() {
                    let first = self.rng.random_range(1..size);
                    let others: Vec<_> =
                        (0..size - 1).map(|n| (leader + 1 + (first + n) % (size - 1)) % size).collect();
                    let (estranged, faithful) = others.split_at(size / 2);
                    for &n in estranged {
                        let (leader, n) = (self.nodes[leader], self.nodes[n]);
                        self.sim.network().partition(&[leader], &[n]);
                    }
                    let long = Duration::from_millis(self.rng.random_range(800..2_500));
                    self.run_for(long);
                    self.isolate(leader);
                    self.blink(faithful[0]);
                }
            }
            14..20 => self.machine_trouble(n),
            _ => {
                let loss = [0.0, 0.02, 0.2][self.rng.random_range(0..3)];
                let slowest = [200, 5_000, 30_000, 300_000][self.rng.random_range(0..4)];
                let latency = Duration::from_micros(100)..Duration::from_micros(slowest);
                self.sim.network().loss(loss).duplication(loss / 2.0).latency(latency);
            }
        }
    }
}
