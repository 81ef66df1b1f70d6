//! The whole framework, on a cluster that loses things.

#![allow(clippy::unwrap_used)] // A test that cannot go on ends.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::job::PiWork;
use super::kernel::count_inside;
use super::*;
use crate::work::RunState;
use crate::work::testing::{Faults, no_program, start};

fn options(tasks: u64, points_per_task: u64) -> Options {
    Options { tasks, points_per_task, seed: 7, executor: no_program() }
}

fn run_with(n_agents: usize, options: Options, faults: Faults) -> (Result<Summary, PiError>, usize) {
    let (node, cluster) = start::<PiWork>(n_agents, faults);
    let summary = run(&node, cluster.upid().clone(), options, (), &Cancel::new());
    let (torn_down, n_launched) =
        cluster.dispatch(|it, _| (it.torn_down, it.n_launched)).wait(Duration::from_secs(10)).unwrap();
    assert!(torn_down);
    (summary, n_launched)
}

#[test]
fn pi_is_counted_on_a_cluster() {
    let (summary, n_launched) = run_with(2, options(20, 5_000), Faults::default());
    let summary = summary.unwrap();
    assert_eq!(summary.estimate, Estimate { inside: count_inside(7, 0..100_000), points: 100_000 });
    assert_eq!((summary.tasks, summary.tasks_failed, n_launched), (20, 0, 20));
    let text = summary.to_string();
    assert!(text.starts_with("pi = 3.1") && text.contains(" (20 tasks, 100000 points, "), "{text}");
    assert!(text.ends_with(" s)"), "{text}");
}

#[test]
fn however_it_is_split_pi_is_the_same() {
    for (tasks, points) in [(1, 90_000), (7, 12_857), (90, 1_000)] {
        let (summary, _) = run_with(1, options(tasks, points), Faults::default());
        assert_eq!(summary.unwrap().estimate.inside, count_inside(7, 0..tasks * points));
    }
}

#[test]
fn what_is_lost_is_run_again_and_counted_once() {
    let faults = Faults {
        lose: BTreeSet::from([2, 3]),
        kill_executor: BTreeSet::from([5, 22]),
        lose_agent: Some(12),
        repeat: true,
        mute: true,
        hopeless: false,
    };
    let (summary, n_launched) = run_with(2, options(20, 5_000), faults);
    let summary = summary.unwrap();
    assert_eq!(summary.estimate.inside, count_inside(7, 0..100_000));
    assert!(summary.tasks_failed >= 5 && n_launched > 20, "{summary:?} {n_launched}");
}

#[test]
fn an_executor_that_dies_with_many_tasks_is_one_misfortune() {
    let faults = Faults { kill_executor: BTreeSet::from([60, 140]), ..Default::default() };
    let (summary, _) = run_with(1, options(100, 100), faults);
    let summary = summary.unwrap();
    assert_eq!(summary.estimate.inside, count_inside(7, 0..10_000));
    assert!(summary.tasks_failed >= 30, "{summary:?}");
}

#[test]
fn it_gives_up_when_nothing_works() {
    let (summary, _) = run_with(1, options(5, 10), Faults { hopeless: true, ..Default::default() });
    let text = summary.unwrap_err().to_string();
    assert!(text.starts_with("20 tasks failed one after the other; the last one: TASK_FAILED"), "{text}");
}

#[test]
fn a_cancelled_run_tears_down() {
    let (node, cluster) = start::<PiWork>(1, Faults::default());
    let cancel = Cancel::new();
    struct CancelAtFirst(Cancel);
    impl Progress for CancelAtFirst {
        fn changed(&mut self, _: &RunState) {
            self.0.cancel();
        }
    }
    let options = options(1_000, 1 << 40);
    let result = run(&node, cluster.upid().clone(), options, CancelAtFirst(cancel.clone()), &cancel);
    assert!(matches!(result, Err(PiError::Work(WorkError::Cancelled))), "{result:?}");
    assert!(cluster.dispatch(|it, _| it.torn_down).wait(Duration::from_secs(10)).unwrap());
}

#[test]
fn progress_is_told() {
    let (node, cluster) = start::<PiWork>(1, Faults::default());
    #[derive(Clone, Default)]
    struct Last(Arc<Mutex<RunState>>);
    impl Progress for Last {
        fn changed(&mut self, state: &RunState) {
            let mut last = self.0.lock().unwrap();
            assert!(state.done >= last.done, "it never goes back");
            *last = *state;
        }
    }
    let last = Last::default();
    run(&node, cluster.upid().clone(), options(3, 100), last.clone(), &Cancel::new()).unwrap();
    let last = *last.0.lock().unwrap();
    assert_eq!((last.done, last.total, last.tasks_finished), (300, 300, 3));
}

#[test]
fn sizes_that_cannot_be_are_refused() {
    let (node, cluster) = start::<PiWork>(1, Faults::default());
    for (tasks, points) in [(0, 5), (5, 0), (u64::MAX, 2)] {
        let result = run(&node, cluster.upid().clone(), options(tasks, points), (), &Cancel::new());
        assert!(matches!(result, Err(PiError::WrongSize(_))));
    }
}
