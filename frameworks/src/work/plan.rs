//! Which range goes where. A plain state machine: offers in, launches out.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use api::v1::{AgentId, ExecutorId, OfferId, TaskId};

/// An executor computes on one core, most of which it holds itself. Its tasks are a queue; each asks for next
/// to nothing, so that however many fit.
const EXECUTOR_CPUS: u64 = 900;
/// The least an executor is started with, on an agent that has less.
const EXECUTOR_CPUS_MIN: u64 = 50;
/// Megabytes of one executor.
const EXECUTOR_MEM: u64 = 64;
/// Thousandths of a cpu of one task.
pub(super) const TASK_CPUS: u64 = 1;
/// Megabytes of one task.
pub(super) const TASK_MEM: u64 = 1;

/// A range to compute, with its input if that has to travel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) range: Range<u64>,
    pub(super) payload: Option<Vec<u8>>,
}

/// What an offer holds for us.
#[derive(Clone, Debug)]
pub(super) struct Free {
    pub(super) offer: OfferId,
    pub(super) agent: AgentId,
    /// In thousandths.
    pub(super) cpus: u64,
    /// In megabytes.
    pub(super) mem: u64,
}

/// A task to launch.
#[derive(Clone, Debug)]
pub(super) struct Launch {
    pub(super) task: TaskId,
    pub(super) executor: ExecutorId,
    /// What the executor holds, in thousandths of a cpu and in megabytes.
    pub(super) executor_size: (u64, u64),
    pub(super) piece: Piece,
}

/// A task that was launched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Running {
    pub(super) range: Range<u64>,
    pub(super) agent: AgentId,
    pub(super) executor: ExecutorId,
}

#[derive(Default)]
struct Agent {
    executors: BTreeMap<ExecutorId, Executor>,
    /// Its executors cannot read the input.
    needs_payload: bool,
}

struct Executor {
    cpus: u64,
    n_queued: usize,
}

/// Ranges waiting and running, and the executors there are.
pub(super) struct Plan {
    name: &'static str,
    tasks_at_once: usize,
    waiting: VecDeque<Piece>,
    running: BTreeMap<TaskId, Running>,
    agents: BTreeMap<AgentId, Agent>,
    n_tasks: u64,
    n_executors: u64,
}

/// A place a task could go to.
struct Place {
    offer: usize,
    executor: Option<ExecutorId>,
    cpus: u64,
    n_queued: usize,
}

impl Plan {
    pub(super) fn new(name: &'static str, tasks_at_once: usize, ranges: Vec<Range<u64>>) -> Plan {
        let waiting = ranges.into_iter().map(|range| Piece { range, payload: None }).collect();
        Plan {
            name,
            tasks_at_once: tasks_at_once.max(1),
            waiting,
            running: BTreeMap::new(),
            agents: BTreeMap::new(),
            n_tasks: 0,
            n_executors: 0,
        }
    }

    /// Deals waiting ranges to these offers, to the executor with the shortest queue each. The answer has an
    /// entry for each offer; without launches it is one to decline.
    pub(super) fn deal(&mut self, mut offers: Vec<Free>) -> Vec<(Free, Vec<Launch>)> {
        let mut places = self.places(&offers);
        let mut launches: Vec<Vec<Launch>> = offers.iter().map(|_| Vec::new()).collect();
        loop {
            let open = |(_, place): &(usize, &Place)| place.n_queued < self.tasks_at_once;
            let shortest = places.iter().enumerate().filter(open).min_by_key(|(_, place)| place.n_queued);
            let Some(chosen) = shortest.map(|(i, _)| i) else { break };
            let place = &mut places[chosen];
            let free = &mut offers[place.offer];
            let (cpus, mem) = match place.executor {
                Some(_) => (TASK_CPUS, TASK_MEM),
                None => (place.cpus + TASK_CPUS, EXECUTOR_MEM + TASK_MEM),
            };
            let piece = (free.cpus >= cpus && free.mem >= mem).then(|| self.take(&free.agent)).flatten();
            let Some(piece) = piece else {
                places.swap_remove(chosen);
                // In a defined order again, of offers.
                places.sort_by_key(|place| place.offer);
                continue;
            };
            (free.cpus, free.mem) = (free.cpus - cpus, free.mem - mem);
            let place = &mut places[chosen];
            place.n_queued += 1;
            let executor = place.executor.get_or_insert_with(|| {
                self.n_executors += 1;
                format!("{}-executor-{}", self.name, self.n_executors).into()
            });
            let launch = self.launched(&offers[place.offer].agent, executor.clone(), place.cpus, piece);
            launches[place.offer].push(launch);
        }
        offers.into_iter().zip(launches).collect()
    }

    /// Executors with room in their queues, and executors that could be started.
    fn places(&self, offers: &[Free]) -> Vec<Place> {
        let mut places = Vec::new();
        for (offer, free) in offers.iter().enumerate() {
            // A second offer of one agent has nothing to say about the executors there are.
            let is_first = offers[..offer].iter().all(|earlier| earlier.agent != free.agent);
            let agent = self.agents.get(&free.agent);
            let executors = agent.into_iter().flat_map(|agent| &agent.executors);
            let before = places.len();
            places.extend(executors.filter(|_| is_first).map(|(id, executor)| Place {
                offer,
                executor: Some(id.clone()),
                cpus: executor.cpus,
                n_queued: executor.n_queued,
            }));
            let has_executors = places.len() > before;
            let by_cpus = free.cpus / (EXECUTOR_CPUS + TASK_CPUS);
            let by_mem = free.mem / (EXECUTOR_MEM + TASK_MEM);
            let sizes = match by_cpus.min(by_mem) {
                0 if has_executors || by_mem == 0 || free.cpus < EXECUTOR_CPUS_MIN + TASK_CPUS => vec![],
                0 => vec![(free.cpus * 9 / 10).clamp(EXECUTOR_CPUS_MIN, EXECUTOR_CPUS)],
                n => vec![EXECUTOR_CPUS; usize::try_from(n).unwrap_or(usize::MAX).min(self.waiting.len())],
            };
            places.extend(sizes.into_iter().map(|cpus| Place { offer, executor: None, cpus, n_queued: 0 }));
        }
        places
    }

    fn take(&mut self, agent: &AgentId) -> Option<Piece> {
        let needs_payload = self.agents.get(agent).is_some_and(|agent| agent.needs_payload);
        let fitting = self.waiting.iter().position(|piece| !needs_payload || piece.payload.is_some())?;
        self.waiting.remove(fitting)
    }

    fn launched(&mut self, agent: &AgentId, executor: ExecutorId, cpus: u64, piece: Piece) -> Launch {
        self.n_tasks += 1;
        let task: TaskId = format!("{}-{}", self.name, self.n_tasks).into();
        let executors = &mut self.agents.entry(agent.clone()).or_default().executors;
        executors.entry(executor.clone()).or_insert(Executor { cpus, n_queued: 0 }).n_queued += 1;
        let running =
            Running { range: piece.range.clone(), agent: agent.clone(), executor: executor.clone() };
        self.running.insert(task.clone(), running);
        Launch { task, executor, executor_size: (cpus, EXECUTOR_MEM), piece }
    }

    /// A task is no more, however it ended. `None` when it was not known, or not any more.
    pub(super) fn ended(&mut self, task: &TaskId) -> Option<Running> {
        let running = self.running.remove(task)?;
        let executors = self.agents.get_mut(&running.agent).map(|agent| &mut agent.executors);
        if let Some(executor) = executors.and_then(|executors| executors.get_mut(&running.executor)) {
            executor.n_queued = executor.n_queued.saturating_sub(1);
        }
        Some(running)
    }

    /// Puts ranges first in line.
    pub(super) fn again(&mut self, ranges: Vec<Range<u64>>) {
        for range in ranges.into_iter().rev() {
            self.waiting.push_front(Piece { range, payload: None });
        }
    }

    /// An executor is no more; whether that is news. Its tasks are no more, too: what becomes of them is told
    /// one by one.
    pub(super) fn executor_lost(&mut self, agent: &AgentId, executor: &ExecutorId) -> bool {
        self.agents.get_mut(agent).is_some_and(|agent| agent.executors.remove(executor).is_some())
    }

    /// An agent is no more, and these tasks with it.
    pub(super) fn agent_lost(&mut self, agent: &AgentId) -> Vec<Running> {
        self.agents.remove(agent);
        let is_there = |(_, running): &(&TaskId, &Running)| running.agent == *agent;
        let lost: Vec<TaskId> = self.running.iter().filter(is_there).map(|(task, _)| task.clone()).collect();
        lost.iter().filter_map(|task| self.running.remove(task)).collect()
    }

    /// Executors of an agent cannot read the input: it has to travel.
    pub(super) fn needs_payload(&mut self, agent: &AgentId) {
        self.agents.entry(agent.clone()).or_default().needs_payload = true;
    }

    /// A range to fetch the input of, `length_max` units at most, if some agent needs that and fewer than
    /// `n_ready_max` are at hand or, as `n_fetching` are, on their way.
    pub(super) fn next_to_fetch(
        &mut self,
        length_max: u64,
        n_fetching: usize,
        n_ready_max: usize,
    ) -> Option<Range<u64>> {
        let n_ready = self.waiting.iter().filter(|piece| piece.payload.is_some()).count();
        let is_needed = self.agents.values().any(|agent| agent.needs_payload);
        if !is_needed || n_ready + n_fetching >= n_ready_max {
            return None;
        }
        let next = self.waiting.iter().position(|piece| piece.payload.is_none())?;
        let piece = self.waiting.remove(next)?;
        let middle = piece.range.end.min(piece.range.start.saturating_add(length_max));
        if middle < piece.range.end {
            self.waiting.insert(next, Piece { range: middle..piece.range.end, payload: None });
        }
        Some(piece.range.start..middle)
    }

    /// The input of a range has come.
    pub(super) fn fetched(&mut self, range: Range<u64>, payload: Vec<u8>) {
        self.waiting.push_front(Piece { range, payload: Some(payload) });
    }

    /// Whether there is anything to be launched.
    pub(super) fn wants_offers(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether some executor will soon have nothing to do.
    pub(super) fn is_running_low(&self) -> bool {
        let mut executors = self.agents.values().flat_map(|agent| agent.executors.values());
        executors.any(|executor| executor.n_queued * 2 <= self.tasks_at_once)
    }

    pub(super) fn n_executors(&self) -> usize {
        self.agents.values().map(|agent| agent.executors.len()).sum()
    }

    pub(super) fn running(&self) -> &BTreeMap<TaskId, Running> {
        &self.running
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::split;

    fn free(offer: &str, agent: &str, cpus: u64, mem: u64) -> Free {
        Free { offer: offer.into(), agent: agent.into(), cpus, mem }
    }

    fn plan(n_tasks: u64, tasks_at_once: usize) -> Plan {
        Plan::new("pi", tasks_at_once, split(n_tasks * 10, n_tasks))
    }

    /// For each offer, how many tasks each executor is sent.
    fn dealt(answer: &[(Free, Vec<Launch>)]) -> Vec<Vec<(String, usize)>> {
        let by_executor = |launches: &Vec<Launch>| {
            let mut counts = BTreeMap::new();
            for launch in launches {
                *counts.entry(launch.executor.to_string()).or_insert(0) += 1;
            }
            counts.into_iter().collect()
        };
        answer.iter().map(|(_, launches)| by_executor(launches)).collect()
    }

    fn executor(n: u64, n_tasks: usize) -> (String, usize) {
        (format!("pi-executor-{n}"), n_tasks)
    }

    #[test]
    fn short_tasks_all_go_out_at_once_evenly() {
        let mut plan = plan(20, 100);
        let answer = plan.deal(vec![free("o1", "a", 2000, 1024), free("o2", "b", 2000, 1024)]);
        let expected = [[executor(1, 5), executor(2, 5)], [executor(3, 5), executor(4, 5)]];
        assert_eq!(dealt(&answer), expected);
        assert!(!plan.wants_offers());
        assert_eq!(plan.n_executors(), 4);
    }

    #[test]
    fn long_tasks_leave_some_for_agents_that_come_later() {
        let mut plan = plan(5, 1);
        let first = plan.deal(vec![free("o1", "a", 2000, 1024)]);
        assert_eq!(dealt(&first), [[executor(1, 1), executor(2, 1)]]);
        let second = plan.deal(vec![free("o2", "b", 2000, 1024)]);
        assert_eq!(dealt(&second), [[executor(3, 1), executor(4, 1)]]);
        assert!(plan.wants_offers() && !plan.is_running_low());
        // An executor that is done gets the next, from what little it left of the agent.
        plan.ended(&first[0].1[0].task);
        assert!(plan.is_running_low());
        assert_eq!(dealt(&plan.deal(vec![free("o3", "a", 199, 500)])), [[executor(1, 1)]]);
        assert!(!plan.wants_offers());
    }

    #[test]
    fn no_more_executors_than_tasks_and_nothing_for_nothing() {
        let mut plan = plan(1, 10);
        assert_eq!(dealt(&plan.deal(vec![free("o1", "a", 64_000, 4096)])), [[executor(1, 1)]]);
        assert_eq!(dealt(&plan.deal(vec![free("o2", "b", 64_000, 4096)])), [[]]);
    }

    #[test]
    fn a_small_agent_gets_a_small_executor_and_too_small_a_one_none() {
        let mut plan = plan(3, 2);
        let answer =
            plan.deal(vec![free("o1", "a", 500, 100), free("o2", "b", 20, 100), free("o3", "c", 2000, 30)]);
        assert_eq!(dealt(&answer), [vec![executor(1, 2)], vec![], vec![]]);
        assert_eq!(answer[0].1[0].executor_size, (450, EXECUTOR_MEM));
    }

    #[test]
    fn what_is_launched_fits_into_the_offer() {
        for cpus in [51, 500, 901, 1802, 1803, 1900, 5000] {
            let mut plan = plan(500, 1000);
            let answer = plan.deal(vec![free("o1", "a", cpus, 2000)]);
            let launches = &answer[0].1;
            let mut executors: Vec<_> =
                launches.iter().map(|it| (&it.executor.value, it.executor_size)).collect();
            executors.dedup();
            executors.sort();
            executors.dedup();
            let used: u64 =
                executors.iter().map(|it| it.1.0).sum::<u64>() + launches.len() as u64 * TASK_CPUS;
            assert!(!launches.is_empty() && used <= cpus, "{cpus}: {used}");
        }
    }

    #[test]
    fn lost_agents_and_executors_are_forgotten() {
        let mut plan = plan(4, 2);
        let answer = plan.deal(vec![free("o1", "a", 1000, 100), free("o2", "b", 1000, 100)]);
        let lost = plan.agent_lost(&"a".into());
        assert_eq!(lost.len(), 2);
        assert_eq!(plan.ended(&answer[0].1[0].task), None, "known no more");
        plan.again(lost.into_iter().map(|running| running.range).collect());
        assert!(plan.executor_lost(&"b".into(), &"pi-executor-2".into()));
        assert!(!plan.executor_lost(&"b".into(), &"pi-executor-2".into()));
        assert_eq!(plan.n_executors(), 0);
        assert_eq!(dealt(&plan.deal(vec![free("o3", "b", 1000, 100)])), [[executor(3, 2)]]);
    }

    #[test]
    fn input_travels_to_agents_that_cannot_read_it() {
        let mut plan = plan(2, 4);
        assert_eq!(plan.next_to_fetch(4, 0, 8), None, "nobody needs it");
        plan.needs_payload(&"a".into());
        assert_eq!(dealt(&plan.deal(vec![free("o1", "a", 1000, 100)])), [[]]);
        assert_eq!(plan.next_to_fetch(4, 0, 1), Some(0..4));
        assert_eq!(plan.next_to_fetch(4, 1, 1), None, "enough is on its way");
        plan.fetched(0..4, b"data".to_vec());
        let answer = plan.deal(vec![free("o2", "a", 1000, 100), free("o3", "b", 1000, 100)]);
        assert_eq!(answer[0].1[0].piece, Piece { range: 0..4, payload: Some(b"data".to_vec()) });
        let ranges: Vec<_> = answer[1].1.iter().map(|launch| launch.piece.range.clone()).collect();
        assert_eq!(ranges, [4..10, 10..20]);
    }
}
