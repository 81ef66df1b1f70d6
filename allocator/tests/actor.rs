//! When the actor runs cycles, and where their outcome goes.

#![allow(clippy::unwrap_used, reason = "a test says what is wrong by failing")]

mod common;

use std::collections::BTreeMap;
use std::sync::mpsc;
use std::time::Duration;

use allocator::{Allocation, AllocatorProcess, FrameworkOptions, Options, Quota};
use api::resources::Scalar;
use api::v1::{Filters, WeightInfo};
use common::{agent_capabilities, agent_id, agent_info, framework_id, framework_info, resources};
use libprocess::sim::{Seed, Simulation};
use libprocess::{Context, Node, Pid, Process};

const INTERVAL: Duration = Duration::from_secs(1);

/// Stands where a master would: starts the allocator, and keeps what it allocates.
struct Master {
    allocator: Option<Pid<AllocatorProcess>>,
    allocations: Vec<Allocation>,
}

impl Process for Master {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        let offers = ctx.defer(|master: &mut Master, allocation, _| master.allocations.push(allocation));
        let process = AllocatorProcess::new(Options::default(), move |allocation| {
            offers.call(allocation);
        });
        self.allocator = Some(ctx.spawn("allocator", process).unwrap());
    }
}

struct World {
    sim: Simulation,
    master: Pid<Master>,
    allocator: Pid<AllocatorProcess>,
}

impl World {
    fn new() -> World {
        let mut sim = Simulation::new(Seed(3));
        let node = sim.node("10.0.0.1:5050".parse().unwrap());
        let master = sim.spawn(node, "master", Master { allocator: None, allocations: Vec::new() }).unwrap();
        sim.settle();
        let allocator = sim.with(&master, |master| master.allocator.clone().unwrap()).unwrap();
        World { sim, master, allocator }
    }

    fn call(
        &mut self,
        f: impl FnOnce(&mut AllocatorProcess, &mut Context<AllocatorProcess>) + Send + 'static,
    ) {
        self.allocator.call(f);
    }

    fn add_framework(&mut self, id: &'static str) {
        self.call(move |allocator, ctx| {
            let info = framework_info(&["framework", id, "role=r"]);
            allocator.add_framework(
                framework_id(id),
                info,
                Vec::new(),
                true,
                FrameworkOptions::default(),
                ctx,
            );
        });
    }

    fn add_agent(&mut self, id: &'static str) {
        self.call(move |allocator, ctx| {
            let total = resources("cpus:2;mem:512");
            let info = agent_info(id, None);
            allocator.add_agent(agent_id(id), &info, agent_capabilities(false), total, Vec::new(), ctx);
        });
    }

    fn decline(&mut self, framework: &'static str, agent: &'static str, refuse_seconds: f64) {
        self.call(move |allocator, ctx| {
            let back = resources("cpus:2;mem:512").allocated("r");
            let filters = Some(Filters { refuse_seconds: Some(refuse_seconds) });
            allocator.recover_resources(framework_id(framework), agent_id(agent), back, filters, false, ctx);
        });
    }

    /// What was allocated since the last time, a word per offer.
    fn allocated(&mut self) -> String {
        self.sim.settle();
        let allocations =
            self.sim.with(&self.master, |master| std::mem::take(&mut master.allocations)).unwrap();
        let mut words = Vec::new();
        for allocation in allocations {
            for framework in allocation.frameworks {
                for offer in framework.offers {
                    words.push(format!("{}<-{}", framework.framework_id.value, offer.agent_id.value));
                }
            }
        }
        words.sort();
        words.join(" ")
    }

    fn runs(&mut self) -> i64 {
        let runs =
            self.allocator.dispatch(|_, ctx| ctx.metrics().counter("allocator/mesos/allocation_runs").get());
        self.sim.settle();
        runs.wait(Duration::ZERO).unwrap()
    }
}

#[test]
fn events_are_answered_at_once_and_queued_ones_together() {
    let mut world = World::new();
    world.add_framework("f");
    world.add_agent("a1");
    world.add_agent("a2");
    world.add_agent("a3");
    assert_eq!(world.allocated(), "f<-a1 f<-a2 f<-a3");
    assert_eq!(world.runs(), 1);
}

#[test]
fn what_was_declined_comes_back_at_an_interval_after_the_refusal_ended() {
    let mut world = World::new();
    world.add_framework("f");
    world.add_agent("a1");
    assert_eq!(world.allocated(), "f<-a1");
    world.decline("f", "a1", 2.5);
    world.sim.run_for(2 * INTERVAL);
    assert_eq!(world.allocated(), "");
    world.sim.run_for(INTERVAL);
    assert_eq!(world.allocated(), "f<-a1");
    assert_eq!(world.runs(), 4);
}

#[test]
fn a_pause_holds_back_events_and_intervals() {
    let mut world = World::new();
    world.call(|allocator, ctx| allocator.pause(ctx));
    world.add_framework("f");
    world.add_agent("a1");
    world.sim.run_for(3 * INTERVAL);
    assert_eq!((world.allocated(), world.runs()), (String::new(), 0));
    world.call(|allocator, ctx| allocator.resume(ctx));
    assert_eq!((world.allocated(), world.runs()), ("f<-a1".to_owned(), 1));
}

#[test]
fn a_call_that_makes_no_sense_is_survived() {
    let mut world = World::new();
    world.decline("f", "a1", 5.0);
    world.call(|allocator, ctx| allocator.remove_framework(framework_id("f"), ctx));
    world.add_agent("a1");
    world.add_agent("a1");
    world.add_framework("f");
    assert_eq!(world.allocated(), "f<-a1");
}

#[test]
fn metrics_tell_runs_resources_and_roles() {
    let soon = Duration::from_secs(10);
    let node = Node::local().unwrap();
    let (tell, told) = mpsc::channel();
    let process = AllocatorProcess::new(Options::default(), move |allocation| drop(tell.send(allocation)));
    let allocator = node.spawn("allocator", process).unwrap();
    allocator.call(|allocator, ctx| {
        let info = framework_info(&["framework", "f", "role=r/x"]);
        allocator.add_framework(framework_id("f"), info, Vec::new(), true, FrameworkOptions::default(), ctx);
        let capabilities = agent_capabilities(false);
        let total = resources("cpus:2;mem:512;disk:5");
        let used = vec![(framework_id("g"), resources("cpus:1;mem:256").allocated("s"))];
        allocator.add_agent(agent_id("a1"), &agent_info("a1", None), capabilities, total, used, ctx);
    });
    assert_eq!(told.recv_timeout(soon).unwrap().n_offers(), 1);
    let snapshot =
        allocator.dispatch(|_, ctx| ctx.metrics().snapshot(None)).wait(soon).unwrap().wait(soon).unwrap();
    let value = |name: &str| snapshot.get(&format!("allocator/mesos/{name}"));
    assert!(value("allocation_runs") >= Some(1.0));
    assert!(value("allocation_run_ms").is_some() && value("allocation_run_latency_ms").is_some());
    assert_eq!(value("resources/cpus/total"), Some(2.0));
    assert_eq!(value("resources/cpus/offered_or_allocated"), Some(1.0));
    assert_eq!(value("resources/disk/total"), Some(5.0));
    assert_eq!(value("roles/r/x/shares/dominant"), Some(1.0));
    assert_eq!(value("offer_filters/roles/r/x/active"), Some(0.0));
    allocator.call(|allocator, ctx| {
        allocator.remove_framework(framework_id("f"), ctx);
        allocator.add_agent(
            agent_id("a2"),
            &agent_info("a2", None),
            Vec::new(),
            resources("cpus:1"),
            vec![],
            ctx,
        );
    });
    let gone = || {
        let snapshot = allocator.dispatch(|_, ctx| ctx.metrics().snapshot(None)).wait(soon).unwrap();
        snapshot.wait(soon).unwrap().get("allocator/mesos/roles/r/x/shares/dominant").is_none()
    };
    assert!((0..100).any(|_| gone()), "the gauge of a role that is gone stays");
}

#[test]
fn metrics_tell_of_quotas_while_offers_wait_and_while_they_are_made() {
    let mut world = World::new();
    let quota = |guarantee: &str, limit: &str| Quota {
        guarantees: resources(guarantee).scalar_quantities(),
        limits: resources(limit).scalar_quantities().iter().map(|(name, it)| (name.clone(), it)).collect(),
    };
    let quotas = BTreeMap::from([("q".to_owned(), quota("cpus:3", "cpus:4;mem:1024"))]);
    world.call(move |allocator, ctx| {
        allocator.recover(2, quotas, ctx);
        allocator.update_weights(vec![WeightInfo { role: Some("w/x".into()), weight: 2.0 }], ctx);
    });
    world.sim.run_for(INTERVAL * 2);
    let value = |world: &mut World, name: &str| {
        let snapshot = world.allocator.dispatch(|_, ctx| ctx.metrics().snapshot(None));
        world.sim.run_for(Duration::from_millis(1));
        let snapshot = snapshot.wait(Duration::ZERO).unwrap();
        world.sim.run_for(Duration::from_millis(1));
        snapshot.wait(Duration::ZERO).unwrap().get(&format!("allocator/mesos/{name}"))
    };
    let quota_of = |world: &mut World, what: &str| value(world, &format!("quota/roles/q/resources/{what}"));
    assert_eq!(quota_of(&mut world, "cpus/guarantee"), Some(3.0));
    assert_eq!(quota_of(&mut world, "cpus/limit"), Some(4.0));
    assert_eq!(quota_of(&mut world, "mem/limit"), Some(1024.0));
    assert_eq!(quota_of(&mut world, "mem/guarantee"), None);
    assert_eq!(
        value(&mut world, "offer_filters/roles/w/active"),
        Some(0.0),
        "a role above one with a weight"
    );

    world.call(|allocator, ctx| {
        let info = framework_info(&["framework", "f", "role=q/x"]);
        allocator.add_framework(framework_id("f"), info, Vec::new(), true, FrameworkOptions::default(), ctx);
    });
    world.add_agent("a1");
    world.add_agent("a2");
    assert_eq!(world.allocated(), "f<-a1 f<-a2");
    assert_eq!(quota_of(&mut world, "cpus/offered_or_allocated"), Some(4.0));
    assert_eq!(quota_of(&mut world, "cpus/consumed"), Some(0.0), "offered, not used");
    world.call(|allocator, ctx| {
        let used = resources("cpus:1.5").allocated("q/x");
        allocator.transition_offered_to_allocated(framework_id("f"), agent_id("a1"), used, ctx);
    });
    assert_eq!(quota_of(&mut world, "cpus/consumed"), Some(1.5));
    assert_eq!(value(&mut world, "quota/roles/q/x/resources/cpus/consumed"), Some(1.5));
    assert_eq!(value(&mut world, "event_queue_dispatches"), Some(0.0));

    world.call(|allocator, ctx| allocator.update_quota("q".to_owned(), Quota::default(), ctx));
    world.sim.run_for(INTERVAL * 2);
    assert_eq!(quota_of(&mut world, "cpus/limit"), None);
    assert_eq!(quota_of(&mut world, "cpus/consumed"), Some(1.5));
}

/// Agents may have resources of any name, and there may be thousands of roles.
#[test]
fn gauges_are_of_a_bounded_number_of_resources_that_are_there() {
    let mut world = World::new();
    let n_shown = |world: &mut World| {
        world.sim.run_for(INTERVAL * 2);
        let snapshot = world.allocator.dispatch(|_, ctx| ctx.metrics().snapshot(None));
        world.sim.run_for(Duration::from_millis(1));
        let snapshot = snapshot.wait(Duration::ZERO).unwrap();
        world.sim.run_for(Duration::from_millis(1));
        let snapshot = snapshot.wait(Duration::ZERO).unwrap();
        let value =
            |name: &str| snapshot.get(&format!("allocator/mesos/quota/roles/r/resources/{name}/consumed"));
        let invented = (0..100).filter(|n| value(&format!("a{n}")).is_some()).count();
        (value("cpus").is_some(), value("zeal").is_some(), invented)
    };
    world.add_framework("f");
    world.call(|allocator, ctx| {
        let invented: String = (0..100).map(|n| format!(";a{n}:1")).collect();
        let (total, info) = (resources(&format!("cpus:2;zeal:1{invented}")), agent_info("a", None));
        allocator.add_agent(agent_id("a"), &info, agent_capabilities(false), total, Vec::new(), ctx);
    });
    assert_eq!(n_shown(&mut world), (true, true, 30));
    world.call(|allocator, ctx| {
        let quota = Quota {
            limits: [("a99", Scalar::from_thousandths(5))].into_iter().collect(),
            ..Quota::default()
        };
        allocator.update_quota("q".to_owned(), quota, ctx);
    });
    assert_eq!(n_shown(&mut world), (true, false, 31), "what quotas name takes the place of another");
    world.call(|allocator, ctx| allocator.remove_agent(agent_id("a"), ctx));
    assert_eq!(n_shown(&mut world), (false, false, 0));
    world.add_agent("b");
    assert_eq!(n_shown(&mut world), (true, false, 0));
}
