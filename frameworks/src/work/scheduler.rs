//! Dealing out the work, and collecting what comes of it.

use std::ops::Range;
use std::time::Duration;

use api::resources::Resources;
use api::v1::{
    AgentId, ExecutorId, ExecutorInfo, FrameworkId, MasterInfo, Offer, Resource, TaskId, TaskInfo, TaskState,
    TaskStatus, task_status,
};
use libprocess::Promise;

use super::plan::{Free, Launch, Plan, Running, TASK_CPUS, TASK_MEM};
use super::run::{ExecutorCommand, Finished, WorkError};
use super::{Answer, Job, Progress, RunState};
use crate::driver::{Scheduler, SchedulerCalls, refuse_for};
use crate::ledger::{Entry, Ledger};

/// After so many tasks or executors have failed one after the other, with no result between, the run gives up.
const FAILURES_MAX: u32 = 20;
/// Units of input that travel with one task: bytes, in practice.
const PAYLOAD_MAX: u64 = 512 * 1024;
/// Inputs kept ready to travel.
const PAYLOADS_READY_MAX: usize = 8;
/// How often the master is asked for the tasks' states: a message that was lost is noticed by nothing else.
const RECONCILIATION_INTERVAL: Duration = Duration::from_secs(15);
/// How long declined resources stay away, unless they are asked for earlier.
const REFUSAL: Duration = Duration::from_secs(5);

pub(super) struct WorkScheduler<J: Job> {
    job: J,
    executor: ExecutorCommand,
    plan: Plan,
    ledger: Ledger<J::Result>,
    progress: Box<dyn Progress>,
    done: Option<Promise<Result<Finished<J>, WorkError>>>,
    tasks_finished: u64,
    tasks_failed: u64,
    failures_in_a_row: u32,
    n_fetching: usize,
    suppressed: bool,
}

/// Whether to ask for offers again that were declined a moment ago.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Eager {
    /// A task has ended, so there is room where there was none.
    Yes,
    No,
}

type Calls<'a, J> = SchedulerCalls<'a, WorkScheduler<J>>;

impl<J: Job> WorkScheduler<J> {
    pub(super) fn new(
        job: J,
        ranges: Vec<Range<u64>>,
        executor: ExecutorCommand,
        progress: Box<dyn Progress>,
        done: Promise<Result<Finished<J>, WorkError>>,
    ) -> WorkScheduler<J> {
        WorkScheduler {
            plan: Plan::new(job.name(), job.tasks_at_once(), ranges),
            ledger: Ledger::new(job.length()),
            job,
            executor,
            progress,
            done: Some(done),
            tasks_finished: 0,
            tasks_failed: 0,
            failures_in_a_row: 0,
            n_fetching: 0,
            suppressed: false,
        }
    }
}

impl<J: Job> Scheduler for WorkScheduler<J> {
    fn registered(&mut self, calls: &mut Calls<'_, J>, id: &FrameworkId, _: &MasterInfo) {
        self.progress.note(&format!("registered as {id}"));
        self.finish_if_complete(calls);
        calls.after(RECONCILIATION_INTERVAL, Self::reconcile_regularly);
    }

    fn reregistered(&mut self, calls: &mut Calls<'_, J>, _: &MasterInfo) {
        self.progress.note("the master has taken the framework back");
        self.suppressed = false;
        self.reconcile(calls);
        self.want_offers(Eager::No, calls);
    }

    fn disconnected(&mut self, _: &mut Calls<'_, J>) {
        self.progress.note("the master is lost; waiting for it to come back");
    }

    fn resource_offers(&mut self, calls: &mut Calls<'_, J>, offers: Vec<Offer>) {
        let answers = self.plan.deal(offers.iter().map(free).collect());
        let mut declined = Vec::new();
        for (free, launches) in answers {
            if launches.is_empty() {
                declined.push(free.offer);
                continue;
            }
            let agent = free.agent;
            let tasks = launches.into_iter().map(|launch| self.task(&agent, launch)).collect();
            calls.launch(vec![free.offer], tasks, Some(refuse_for(REFUSAL)));
        }
        if !declined.is_empty() {
            calls.decline(declined, Some(refuse_for(REFUSAL)));
        }
        // Never eagerly: what was declined just now would come back at once.
        self.want_offers(Eager::No, calls);
        self.tell_progress();
    }

    fn status_update(&mut self, calls: &mut Calls<'_, J>, status: TaskStatus) {
        match status.state() {
            TaskState::TaskFinished => self.task_finished(&status, calls),
            TaskState::TaskStaging
            | TaskState::TaskStarting
            | TaskState::TaskRunning
            | TaskState::TaskKilling => return,
            _ => self.task_failed(&status, calls),
        }
        self.settle(Eager::Yes, calls);
    }

    fn framework_message(
        &mut self,
        calls: &mut Calls<'_, J>,
        executor: &ExecutorId,
        _: &AgentId,
        data: &[u8],
    ) {
        match self.job.read_answer(data) {
            Ok(Answer::Result(range, result)) => {
                self.ledger.insert(range, result);
            }
            Ok(Answer::NoInput) => {}
            Err(reason) => tracing::warn!(%executor, %reason, "a partial result is not one; ignored"),
        }
        self.settle(Eager::No, calls);
    }

    fn agent_lost(&mut self, calls: &mut Calls<'_, J>, agent: &AgentId) {
        self.progress.note(&format!("agent {agent} is lost"));
        for running in self.plan.agent_lost(agent) {
            self.tasks_failed += 1;
            self.plan.again(self.ledger.missing(running.range));
        }
        self.settle(Eager::No, calls);
    }

    fn executor_lost(&mut self, calls: &mut Calls<'_, J>, executor: &ExecutorId, agent: &AgentId, _: i32) {
        if self.plan.executor_lost(agent, executor) {
            self.progress.note(&format!("executor {executor} is lost"));
        }
        self.settle(Eager::No, calls);
    }

    fn error(&mut self, _: &mut Calls<'_, J>, message: &str) {
        self.end(Err(WorkError::Refused(message.to_owned())));
    }
}

impl<J: Job> WorkScheduler<J> {
    fn task(&self, agent: &AgentId, launch: Launch) -> TaskInfo {
        let (cpus, mem) = launch.executor_size;
        let executor = ExecutorInfo {
            executor_id: launch.executor,
            name: Some(self.job.name().to_owned()),
            source: Some(self.job.name().to_owned()),
            command: Some(self.executor.to_command_info()),
            resources: scalars(cpus, mem),
            ..Default::default()
        };
        TaskInfo {
            name: launch.task.to_string(),
            task_id: launch.task,
            agent_id: agent.clone(),
            resources: scalars(TASK_CPUS, TASK_MEM),
            executor: Some(executor),
            data: Some(self.job.task_data(&launch.piece.range, launch.piece.payload)),
            ..Default::default()
        }
    }

    fn task_finished(&mut self, status: &TaskStatus, calls: &mut Calls<'_, J>) {
        let running = self.plan.ended(&status.task_id);
        match self.job.read_answer(status.data()) {
            // Also from a task that was given up: it is a result all the same, and counted once.
            Ok(Answer::Result(range, result)) => {
                if self.ledger.insert(range, result) == Entry::Counted {
                    self.failures_in_a_row = 0;
                }
            }
            Ok(Answer::NoInput) => {}
            Err(reason) => self.failed(&status.task_id, &reason, calls),
        }
        if let Some(running) = running {
            self.tasks_finished += 1;
            self.plan.again(self.ledger.missing(running.range));
        }
    }

    fn task_failed(&mut self, status: &TaskStatus, calls: &mut Calls<'_, J>) {
        // An update for a task that was given up, or that comes again.
        let Some(Running { range, agent, executor }) = self.plan.ended(&status.task_id) else { return };
        self.plan.again(self.ledger.missing(range));
        if status.source() == task_status::Source::Executor
            && let Ok(Answer::NoInput) = self.job.read_answer(status.data())
        {
            self.progress.note(&format!("agent {agent} cannot read the input; sending it"));
            self.plan.needs_payload(&agent);
            return;
        }
        let why = match status.message() {
            "" => status.reason().as_str_name(),
            message => message,
        };
        let why = format!("{}: {why}", status.state().as_str_name());
        // Where not the task has failed but what was to run it, all its other tasks have, too. That is one
        // misfortune and not many.
        let is_news =
            status.source() == task_status::Source::Executor || self.plan.executor_lost(&agent, &executor);
        match is_news {
            true => self.failed(&status.task_id, &why, calls),
            false => self.tasks_failed += 1,
        }
    }

    fn failed(&mut self, task: &TaskId, why: &str, calls: &mut Calls<'_, J>) {
        self.tasks_failed += 1;
        self.failures_in_a_row += 1;
        self.progress.note(&format!("{task} is run again: {why}"));
        if self.failures_in_a_row >= FAILURES_MAX {
            self.end(Err(WorkError::Failing { n: self.failures_in_a_row, last: why.to_owned() }));
            calls.stop(false);
        }
    }

    /// What follows from whatever has happened.
    fn settle(&mut self, eager: Eager, calls: &mut Calls<'_, J>) {
        self.tell_progress();
        self.finish_if_complete(calls);
        self.want_offers(eager, calls);
    }

    fn finish_if_complete(&mut self, calls: &mut Calls<'_, J>) {
        if self.ledger.is_complete() && self.done.is_some() {
            let ledger = std::mem::replace(&mut self.ledger, Ledger::new(0));
            self.end(Ok(Finished { ledger, tasks_failed: self.tasks_failed }));
            calls.stop(false);
        }
    }

    fn end(&mut self, result: Result<Finished<J>, WorkError>) {
        if let Some(done) = self.done.take() {
            done.set(result);
        }
    }

    fn want_offers(&mut self, eager: Eager, calls: &mut Calls<'_, J>) {
        if self.done.is_none() {
            return;
        }
        self.fetch(calls);
        let wants = self.plan.wants_offers();
        if !wants && !self.suppressed && self.n_fetching == 0 {
            self.suppressed = true;
            calls.suppress(vec![]);
        } else if wants && (self.suppressed || eager == Eager::Yes && self.plan.is_running_low()) {
            self.suppressed = false;
            calls.revive(vec![]);
        }
    }

    fn fetch(&mut self, calls: &mut Calls<'_, J>) {
        while let Some(range) = self.plan.next_to_fetch(PAYLOAD_MAX, self.n_fetching, PAYLOADS_READY_MAX) {
            let Some(fetch) = self.job.fetch(range.clone()) else {
                self.plan.again(vec![range]);
                return;
            };
            self.n_fetching += 1;
            calls.blocking(fetch, move |scheduler, payload, calls| {
                scheduler.n_fetching -= 1;
                match payload {
                    Ok(payload) => {
                        scheduler.plan.fetched(range, payload);
                        scheduler.suppressed = false;
                        calls.revive(vec![]);
                    }
                    Err(error) => {
                        scheduler.end(Err(WorkError::Input(error)));
                        calls.stop(false);
                    }
                }
            });
        }
    }

    fn reconcile_regularly(&mut self, calls: &mut Calls<'_, J>) {
        self.reconcile(calls);
        calls.after(RECONCILIATION_INTERVAL, Self::reconcile_regularly);
    }

    fn reconcile(&mut self, calls: &mut Calls<'_, J>) {
        let running = self.plan.running().iter();
        let tasks: Vec<_> = running.map(|(task, it)| (task.clone(), Some(it.agent.clone()))).collect();
        if !tasks.is_empty() {
            calls.reconcile(tasks);
        }
    }

    fn tell_progress(&mut self) {
        if self.done.is_some() {
            self.progress.changed(&RunState {
                done: self.ledger.covered(),
                total: self.ledger.length(),
                executors: self.plan.n_executors(),
                tasks_running: self.plan.running().len(),
                tasks_finished: self.tasks_finished,
                tasks_failed: self.tasks_failed,
            });
        }
    }
}

/// What anyone may use of an offer.
fn free(offer: &Offer) -> Free {
    let resources = Resources::try_from(&offer.resources).unwrap_or_default().unreserved().non_revocable();
    Free {
        offer: offer.id.clone(),
        agent: offer.agent_id.clone(),
        cpus: resources.cpus().thousandths(),
        mem: resources.mem().thousandths() / 1000,
    }
}

fn scalars(cpus_thousandths: u64, mem_megabytes: u64) -> Vec<Resource> {
    let scalar = |name: &str, value: f64| Resource {
        name: name.to_owned(),
        r#type: api::v1::value::Type::Scalar as i32,
        scalar: Some(api::v1::value::Scalar { value }),
        ..Default::default()
    };
    vec![scalar("cpus", cpus_thousandths as f64 / 1000.0), scalar("mem", mem_megabytes as f64)]
}
