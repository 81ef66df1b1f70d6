//! What a master that may know nothing is told of the past: as much of it as a message holds.

use api::internal::archive;
use prost::Message as _;
use tracing::warn;

use super::Framework;

/// How many bytes of the past one message carries. Messages of more than 64 MB are not sent at all, and what
/// runs now comes first; the past is a courtesy.
pub(super) const ARCHIVE_BYTES_MAX: usize = 16 << 20;
/// What an entry costs besides its own bytes: its field's number and its length.
const ENTRY_BYTES: usize = 6;

/// The newest of the `completed` frameworks, which come oldest first, and the newest tasks of each, in at most
/// `at_most` bytes. The order stays. Something that is too large by itself is passed over; else nothing is
/// told that is older than what was left out.
pub(super) fn of<'a>(
    completed: impl DoubleEndedIterator<Item = &'a Framework> + ExactSizeIterator,
    at_most: usize,
) -> Vec<archive::Framework> {
    let n_frameworks = completed.len();
    let (mut told, mut left) = (Vec::new(), at_most);
    let mut n_tasks_left_out = 0;
    let mut full = false;
    for framework in completed.rev() {
        let tasks = || framework.completed_executors.iter().flat_map(|executor| &executor.completed);
        let n_tasks: usize =
            framework.completed_executors.iter().map(|executor| executor.completed.len()).sum();
        let mut archived = archive::Framework {
            framework_info: framework.info.clone(),
            pid: framework.pid.clone(),
            tasks: Vec::new(),
        };
        if full || !take(archived.encoded_len(), at_most, &mut left, &mut full) {
            n_tasks_left_out += n_tasks;
            continue;
        }
        for task in tasks().rev() {
            if full {
                break;
            }
            if take(task.encoded_len(), at_most, &mut left, &mut full) {
                archived.tasks.push(task.clone());
            }
        }
        n_tasks_left_out += n_tasks - archived.tasks.len();
        archived.tasks.reverse();
        told.push(archived);
    }
    told.reverse();
    let n_frameworks_left_out = n_frameworks - told.len();
    if n_frameworks_left_out > 0 || n_tasks_left_out > 0 {
        warn!(
            frameworks = n_frameworks_left_out,
            tasks = n_tasks_left_out,
            "the master is not told of all that has completed here: it is too much for a message"
        );
    }
    told
}

/// Whether `bytes` more go in.
fn take(bytes: usize, at_most: usize, left: &mut usize, full: &mut bool) -> bool {
    let bytes = bytes + ENTRY_BYTES;
    match left.checked_sub(bytes) {
        Some(rest) => {
            *left = rest;
            true
        }
        None => {
            *full = bytes <= at_most;
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use api::v1::{ExecutorInfo, FrameworkInfo, Task};

    use super::*;
    use crate::workload::{Executor, ExecutorState, FrameworkState};

    fn executor(tasks: &[(&str, usize)]) -> Executor {
        let task = |(id, bytes): &(&str, usize)| Task {
            task_id: (*id).into(),
            name: "x".repeat(*bytes),
            ..Default::default()
        };
        Executor {
            info: ExecutorInfo::default(),
            framework_id: "F".into(),
            container_id: "c".into(),
            sandbox: "/w".into(),
            user: None,
            state: ExecutorState::Terminated,
            link: None,
            pid: None,
            for_command_task: false,
            checkpoint: false,
            queued: Default::default(),
            launched: Default::default(),
            terminated: Default::default(),
            completed: tasks.iter().map(task).collect(),
            was_sent: true,
            pending_termination: None,
        }
    }

    fn framework(id: &str, executors: Vec<Executor>) -> Framework {
        Framework {
            id: id.into(),
            info: FrameworkInfo { id: Some(id.into()), ..Default::default() },
            pid: None,
            state: FrameworkState::Running,
            executors: Default::default(),
            completed_executors: VecDeque::from(executors),
        }
    }

    fn told(completed: &[Framework], at_most: usize) -> String {
        let archive = of(completed.iter(), at_most);
        let bytes: usize = archive.iter().map(|framework| framework.encoded_len() + ENTRY_BYTES).sum();
        assert!(bytes <= at_most, "{bytes} bytes");
        let of_one = |framework: &archive::Framework| {
            let tasks: Vec<_> = framework.tasks.iter().map(|task| task.task_id.value.as_str()).collect();
            format!("{}: {}", framework.framework_info.id.as_ref().unwrap().value, tasks.join(" "))
        };
        archive.iter().map(of_one).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn the_newest_of_the_past_is_told_in_its_order_as_far_as_it_fits() {
        let old = framework("old", vec![executor(&[("a", 1000), ("b", 1000)])]);
        let new = framework("new", vec![executor(&[("c", 1000)]), executor(&[("d", 1000), ("e", 1000)])]);
        let completed = [old, new];
        assert_eq!(told(&completed, 1 << 20), "old: a b; new: c d e");
        assert_eq!(told(&completed, 4500), "old: b; new: c d e");
        assert_eq!(told(&completed, 2500), "new: d e");
        assert_eq!(told(&completed, 10), "");
    }

    #[test]
    fn one_task_that_is_too_large_by_itself_does_not_hide_the_others() {
        let completed = [framework("f", vec![executor(&[("a", 10), ("huge", 9000), ("b", 10)])])];
        assert_eq!(told(&completed, 5000), "f: a b");
    }
}
