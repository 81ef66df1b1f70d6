//! Contenders that say what a test wants.
#![allow(dead_code, missing_docs, unreachable_pub, clippy::unwrap_used)] // Each test file uses its part.

use std::collections::BTreeSet;
use std::time::Duration;

use detector::{Detector, Leader, LeaderIs, Masters, WatchLeader};
use libprocess::{Address, Context, Id, Pid, Process, Upid};

/// Answers whoever asks, and tells all who asked when it changes its mind.
pub struct FakeContender {
    pub term: u64,
    pub leader: Option<Leader>,
    pub masters: Vec<String>,
    pub watchers: BTreeSet<Upid>,
    pub asked: usize,
}

impl FakeContender {
    pub fn saying(term: u64, leader: Option<Leader>) -> FakeContender {
        FakeContender { term, leader, masters: vec![], watchers: BTreeSet::new(), asked: 0 }
    }

    pub fn says(&mut self, term: u64, leader: Option<Leader>, ctx: &mut Context<Self>) {
        (self.term, self.leader) = (term, leader);
        for watcher in &self.watchers {
            ctx.send(watcher, self.answer(ctx));
        }
    }

    fn answer(&self, ctx: &Context<Self>) -> LeaderIs {
        LeaderIs {
            contender: ctx.upid().clone(),
            term: self.term,
            leader: self.leader.clone(),
            masters: self.masters.clone(),
            spread_ms: 0,
        }
    }

    fn watch(&mut self, from: &Upid, _: WatchLeader, ctx: &mut Context<Self>) {
        self.asked += 1;
        self.watchers.insert(from.clone());
        ctx.link(from);
        ctx.send(from, self.answer(ctx));
    }
}

impl Process for FakeContender {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.install(Self::watch);
    }

    fn exited(&mut self, pid: &Upid, _: &mut Context<Self>) {
        self.watchers.remove(pid);
    }
}

pub fn leader(at: Address, id: &str) -> Option<Leader> {
    Some(Leader { pid: Upid::new("master", at), id: id.to_owned(), hostname: "m".to_owned() })
}

/// Has a detector, and writes down what it says.
pub struct Owner {
    pub masters: Masters,
    pub detector: Option<Pid<Detector>>,
    pub told: Vec<Option<String>>,
}

impl Owner {
    pub fn of(masters: &str) -> Owner {
        Owner { masters: masters.parse().unwrap(), detector: None, told: vec![] }
    }

    pub fn last(&self) -> Option<&str> {
        self.told.last().and_then(|told| told.as_deref())
    }
}

impl Process for Owner {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        let told = ctx.defer(|owner: &mut Owner, leader: Option<Leader>, _| {
            owner.told.push(leader.map(|leader| leader.id));
        });
        let told = move |leader: Option<Leader>, _: Duration| {
            told.call(leader);
        };
        self.detector =
            Some(ctx.spawn(Id::prefix("detector"), Detector::new(self.masters.clone(), told)).unwrap());
    }
}
