//! π as work: what travels between its scheduler and its executors.

use std::ops::Range;

use prost::Message;

use super::kernel::count_inside;
use crate::work::{Answer, Job, Step, Work};

/// Points between two partial results: a tenth of a second or so.
const POINTS_PER_STEP: u64 = 50_000_000;
/// Points an executor is given at a time, about: two seconds of one core.
const POINTS_AT_ONCE: u64 = 1_000_000_000;

#[derive(Clone, PartialEq, Eq, Message)]
struct Task {
    #[prost(uint64, tag = "1")]
    seed: u64,
    #[prost(uint64, tag = "2")]
    start: u64,
    #[prost(uint64, tag = "3")]
    end: u64,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct Counted {
    #[prost(uint64, tag = "1")]
    start: u64,
    #[prost(uint64, tag = "2")]
    end: u64,
    #[prost(uint64, tag = "3")]
    inside: u64,
}

pub(super) struct PiJob {
    pub(super) seed: u64,
    pub(super) points: u64,
    pub(super) points_per_task: u64,
}

impl Job for PiJob {
    /// Points inside.
    type Result = u64;

    fn name(&self) -> &'static str {
        "pi"
    }

    fn length(&self) -> u64 {
        self.points
    }

    fn tasks_at_once(&self) -> usize {
        (POINTS_AT_ONCE / self.points_per_task.max(1)).clamp(1, 100) as usize
    }

    fn task_data(&self, range: &Range<u64>, _: Option<Vec<u8>>) -> Vec<u8> {
        Task { seed: self.seed, start: range.start, end: range.end }.encode_to_vec()
    }

    fn read_answer(&self, data: &[u8]) -> Result<Answer<u64>, String> {
        let Counted { start, end, inside } = Counted::decode(data).map_err(|error| error.to_string())?;
        match end.checked_sub(start) {
            Some(points) if inside <= points => Ok(Answer::Result(start..end, inside)),
            _ => Err(format!("{inside} of the points {start} to {end} inside the circle")),
        }
    }
}

pub(super) struct PiWork {
    task: Task,
    /// Points before this one are counted.
    at: u64,
    inside: u64,
}

impl Work for PiWork {
    fn begin(data: &[u8]) -> Result<Self, String> {
        let task = Task::decode(data).map_err(|error| format!("not a task of pi: {error}"))?;
        if task.start > task.end {
            return Err(format!("not a task of pi: points {} to {}", task.start, task.end));
        }
        Ok(PiWork { at: task.start, inside: 0, task })
    }

    fn step(&mut self) -> Step {
        let end = self.task.end.min(self.at.saturating_add(POINTS_PER_STEP));
        self.inside += count_inside(self.task.seed, self.at..end);
        self.at = end;
        let counted = Counted { start: self.task.start, end, inside: self.inside }.encode_to_vec();
        if end == self.task.end { Step::Done(counted) } else { Step::Partial(counted) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_counts_its_points_in_steps() {
        let job = PiJob { seed: 3, points: 1_000, points_per_task: 1_000 };
        let mut work = PiWork::begin(&job.task_data(&(100..900), None)).unwrap();
        let Step::Done(data) = work.step() else { panic!("a short task is one step") };
        let Ok(Answer::Result(range, inside)) = job.read_answer(&data) else { panic!("a result") };
        assert_eq!((range, inside), (100..900, count_inside(3, 100..900)));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let job = PiJob { seed: 3, points: 1_000, points_per_task: 1_000 };
        for (start, end, inside) in [(5, 4, 0), (0, 10, 11)] {
            assert!(job.read_answer(&Counted { start, end, inside }.encode_to_vec()).is_err());
        }
        assert!(job.read_answer(b"\xff").is_err());
        assert!(PiWork::begin(b"\xff").is_err());
        assert!(PiWork::begin(&Task { seed: 0, start: 2, end: 1 }.encode_to_vec()).is_err());
    }
}
