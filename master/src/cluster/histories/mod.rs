//! Random histories: agents, frameworks, a registry that takes its time, messages that are lost, and masters that
//! fail and are followed by others, in whatever order. After each event the books agree, nothing is lost between the
//! master and its allocator, and nobody believes what is not so; in the end everything is as it should be.
//!
//! `PROPTEST_CASES=10000 cargo test -p mesos-master --lib histories` runs as many as one likes.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use allocator::{AgentAllocation, InverseAllocation};
use api::internal::*;
use api::resources::Resources;
use api::v1::scheduler::{Call, call};
use api::v1::{
    AgentId, AgentInfo, DrainConfig, FrameworkId, FrameworkInfo, Task, TaskId, TaskState, TaskStatus,
    framework_info,
};
use libprocess::{Time, Upid};
use proptest::prelude::*;
use uuid::Uuid;

use super::tests::{agent_capabilities, command, framework, launch, resources, rules, unavailability};
use super::{Cluster, Rules};
use crate::Ids;
use crate::counters::COUNTERS;
use crate::effect::{
    AgentMessage, AllocatorCall, Connection, Continuation, Effect, FrameworkEvent, OfferOptions, Timeout,
};
use crate::framework_life::Subscription;
use crate::registry::{Operation, Registry};
use crate::tasks::is_terminal;

mod books;
mod clients;
mod end;
mod events;
mod hosts;

use clients::Client;
use events::Event;
use hosts::Host;

struct History {
    rules: Rules,
    cluster: Cluster,
    registry: Registry,
    /// What the registry has not written yet.
    writes: VecDeque<(Operation, Continuation)>,
    slow: bool,
    /// What the allocator believes each framework holds on each agent.
    held: BTreeMap<(FrameworkId, AgentId), Resources>,
    /// Whom the allocator believes to have been asked to leave where, and not to have answered.
    asked: BTreeSet<(FrameworkId, AgentId)>,
    waits: Vec<Timeout>,
    /// What really runs where.
    hosts: BTreeMap<u8, Host>,
    /// What frameworks believe.
    clients: BTreeMap<FrameworkId, Client>,
    /// Agents the registry ever called gone.
    gone: BTreeSet<AgentId>,
    /// How many masters there were before this one.
    reign: u32,
    n_tasks: usize,
    n_streams: u128,
    now: u32,
}

fn nth<T: Clone>(of: impl Iterator<Item = T>, n: u8) -> Option<T> {
    let all: Vec<T> = of.collect();
    if all.is_empty() { None } else { Some(all[usize::from(n) % all.len()].clone()) }
}

fn pid(host: u8) -> Upid {
    Upid::new("slave(1)", ([10, 0, 0, 1], 5051 + u16::from(host)).into())
}

fn new_master(reign: u32, rules: &Rules) -> Cluster {
    let info = api::v1::MasterInfo { id: format!("m{reign}"), ..Default::default() };
    Cluster::new(info, Ids::new(Uuid::from_u128(u128::from(reign))), rules.clone())
}

impl History {
    fn new(limited: bool) -> History {
        let agent_removal_limit = limited.then_some((1, Duration::from_secs(20)));
        let rules = Rules { agent_removal_limit, ..rules() };
        History {
            cluster: new_master(0, &rules),
            rules,
            registry: Registry::default(),
            writes: VecDeque::new(),
            slow: false,
            held: BTreeMap::new(),
            asked: BTreeSet::new(),
            waits: Vec::new(),
            hosts: (0..4).map(|n| (n, Host::default())).collect(),
            clients: BTreeMap::new(),
            gone: BTreeSet::new(),
            reign: 0,
            n_tasks: 0,
            n_streams: 0,
            now: 0,
        }
    }

    fn step(&mut self, event: Event) {
        self.now += 1;
        self.cluster.at(Time::from_secs_f64(f64::from(self.now)));
        self.happen(event);
        self.settle();
    }

    /// Does what the master wants done.
    fn settle(&mut self) {
        loop {
            let effects = self.cluster.take_effects();
            if effects.is_empty() && (self.slow || self.writes.is_empty()) {
                break;
            }
            for effect in effects {
                match effect {
                    Effect::Registry { operation, then } => self.writes.push_back((operation, then)),
                    Effect::Delay { then, .. } => self.waits.push(then),
                    Effect::Allocator(call) => self.allocator(call),
                    Effect::Send { to, message } => self.deliver(&to, message),
                    Effect::Tell { framework_id: Some(id), event, .. } => self.hear(&id, event),
                    Effect::Count(Cow::Borrowed(name)) => {
                        assert!(COUNTERS.contains(&name), "{name} is not there before it happens");
                    }
                    _ => {}
                }
            }
            if !self.slow {
                self.write(usize::MAX);
            }
        }
        self.check();
    }

    /// The registry writes some of what it was asked to.
    fn write(&mut self, n: usize) {
        for _ in 0..n.min(self.writes.len()) {
            let Some((operation, then)) = self.writes.pop_front() else { return };
            let result = self.registry.apply(&operation);
            self.cluster.registry_done(then, result);
        }
    }

    /// The master is no more, and another one reads the registry. Of what was asked for, some was written, but
    /// nobody has heard that it was.
    fn fail_over(&mut self, written: u8) {
        for (operation, _) in self.writes.drain(..).take(usize::from(written)).collect::<Vec<_>>() {
            drop(self.registry.apply(&operation));
        }
        self.writes.clear();
        self.reign += 1;
        self.cluster = new_master(self.reign, &self.rules);
        self.cluster.at(Time::from_secs_f64(f64::from(self.now)));
        self.held.clear();
        self.asked.clear();
        self.waits.clear();
        self.cluster.recover(&self.registry.clone()).unwrap();
    }
}

fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(300)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_books_agree_and_nothing_is_forgotten(
        limited: bool,
        events in proptest::collection::vec(events::event(), 1..160),
    ) {
        let mut history = History::new(limited);
        for event in events {
            history.step(event);
        }
        history.heal();
        history.check_peace();
        // In the end everything is free again.
        for id in history.cluster.frameworks.registered.keys().cloned().collect::<Vec<_>>() {
            history.cluster.remove_framework(&id);
            history.settle();
        }
        prop_assert!(history.held.is_empty());
        prop_assert!(history.cluster.agents.registered.values().all(|agent| agent.used.is_empty() && agent.tasks.is_empty()));
        prop_assert!(history.hosts.values().all(|host| host.running().count() == 0));
    }
}
