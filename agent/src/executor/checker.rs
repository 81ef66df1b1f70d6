//! The actor that probes a task again and again.

use libprocess::{Context, Deferred, Process, Timer};

use super::checks::{self, Finding, Plan, Probe};
use super::running::Start;
use crate::containers::processes;

/// Probes by its plan, and tells what it finds, until it is terminated.
pub(super) struct Checker {
    plan: Plan,
    found: Deferred<Finding>,
    /// The command that is running, by its number, so that an old timer does not end a new one.
    running: Option<(u64, u32, Timer)>,
    runs: u64,
    timed_out: bool,
}

impl Checker {
    pub(super) fn new(plan: Plan, found: Deferred<Finding>) -> Checker {
        Checker { plan, found, running: None, runs: 0, timed_out: false }
    }

    fn probe(&mut self, ctx: &mut Context<Self>) {
        let timeout = self.plan.timeout;
        match self.plan.probe.clone() {
            Probe::Command(command) => {
                let started = ctx.blocking(move || Start { command, role: None }.start());
                ctx.then(started, |checker, started, ctx| match started {
                    Ok(Ok(pid)) => checker.started(pid, ctx),
                    Ok(Err(error)) => checker.tell(Finding::Nothing(error.to_string()), ctx),
                    Err(_) => {}
                });
            }
            probe => {
                let found = ctx.blocking(move || checks::probe_network(&probe, timeout));
                ctx.then(found, |checker, found, ctx| {
                    if let Ok(finding) = found {
                        checker.tell(finding, ctx);
                    }
                });
            }
        }
    }

    fn started(&mut self, pid: u32, ctx: &mut Context<Self>) {
        self.runs += 1;
        let run = self.runs;
        self.timed_out = false;
        let timer = ctx.delay(self.plan.timeout, move |checker, ctx| {
            if let Some((_, pid, _)) = checker.running.as_ref().filter(|(number, ..)| *number == run) {
                checker.timed_out = true;
                let pid = *pid;
                drop(ctx.blocking(move || processes::kill_tree(pid)));
            }
        });
        self.running = Some((run, pid, timer));
        let exit = ctx.reap(pid);
        ctx.then(exit, |checker, status, ctx| {
            if let Some((.., timer)) = checker.running.take() {
                timer.cancel();
            }
            let finding = if checker.timed_out {
                let timeout = api::duration::format(checker.plan.timeout);
                Finding::Nothing(format!("the check did not end within {timeout}"))
            } else {
                Finding::of_exit(status.ok().flatten())
            };
            checker.tell(finding, ctx);
        });
    }

    fn tell(&mut self, finding: Finding, ctx: &mut Context<Self>) {
        if let Finding::Nothing(reason) = &finding {
            eprintln!("a check of the task found nothing: {reason}");
        }
        self.found.call(finding);
        ctx.delay(self.plan.interval, Self::probe);
    }
}

impl Process for Checker {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.delay(self.plan.delay, Self::probe);
    }

    fn finalize(&mut self, _ctx: &mut Context<Self>) {
        if let Some((_, pid, _)) = self.running.take() {
            processes::kill_tree(pid);
        }
    }
}
