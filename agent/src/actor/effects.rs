//! Carrying out what the tables want, in their order: disk before the world.

use api::internal::{ExitedExecutorMessage, StatusUpdate, StatusUpdateMessage};
use libprocess::Context;

use super::Agent;
use crate::containers::{Report, ReportKind};
use crate::executor_link;
use crate::journal;
use crate::status_updates::streams::TaskKey;
use crate::workload::{Effect, Link, Tell, Timeout};

impl Agent {
    pub(super) fn perform(&mut self, effects: Vec<Effect>, ctx: &mut Context<Self>) {
        for effect in effects {
            match effect {
                Effect::Write(write) => journal::write(self, write),
                Effect::Keep { paths } => journal::wait(self, move |agent, ctx| match &agent.helpers {
                    Some(helpers) => {
                        ctx.dispatch(&helpers.collector, move |gc, _| gc.unschedule(&paths)).flatten()
                    }
                    None => libprocess::Future::ready(()),
                }),
                other => journal::then(self, move |agent, ctx| agent.carry_out(other, ctx)),
            }
        }
        journal::run(self, ctx);
    }

    fn carry_out(&mut self, effect: Effect, ctx: &mut Context<Self>) {
        let Some(helpers) = &self.helpers else { return };
        match effect {
            // The journal has done these.
            Effect::Write(_) | Effect::Keep { .. } => {}
            Effect::Launch(launch) => {
                let report = ctx.defer(|agent, report: Report, ctx| agent.container_report(report, ctx));
                helpers
                    .containerizer
                    .call(move |containerizer, ctx| containerizer.launch(*launch, report, ctx));
            }
            Effect::Destroy { container_id } => {
                helpers
                    .containerizer
                    .call(move |containerizer, ctx| containerizer.destroy(&container_id, ctx));
            }
            Effect::Tell(tell) => self.tell(*tell, ctx),
            Effect::Store { update, file, then } => {
                if let Some(counter) = crate::metrics::end_counter(&update) {
                    ctx.metrics().counter(counter).inc();
                }
                let stored = ctx
                    .dispatch(&helpers.updates, move |manager, ctx| manager.update(*update, file, ctx))
                    .flatten();
                ctx.then(stored, |agent, stored, ctx| match (stored, then) {
                    (Ok(Ok(())), Some(tell)) => agent.tell(*tell, ctx),
                    (Ok(Err(error)), _) => tracing::warn!(%error, "refusing a status update"),
                    _ => {}
                });
            }
            Effect::ExitedExecutor { framework_id, executor_id, status } => {
                let slave_id = self.workload.agent_id();
                if let Some(master) = self.registration.registered_with() {
                    ctx.send(master, ExitedExecutorMessage { slave_id, framework_id, executor_id, status });
                }
            }
            Effect::After { delay, container_id, timeout } => {
                let id = container_id.clone();
                let timer = ctx.delay(delay, move |agent, ctx| {
                    agent.turn(ctx, |workload, turn| match timeout {
                        Timeout::Registration => workload.registration_timeout(&container_id, turn),
                        Timeout::Shutdown => workload.shutdown_timeout(&container_id, turn),
                    });
                });
                self.timers.entry(id).or_default().push(timer);
            }
            Effect::Collect { paths } => {
                helpers.collector.call(move |collector, ctx| collector.schedule(paths, ctx));
            }
            Effect::ForgetUpdates { framework_id } => {
                helpers.updates.call(move |manager, _| manager.forget(&framework_id));
            }
        }
    }

    /// Tells an executor, in the protocol it speaks.
    pub(super) fn tell(&mut self, tell: Tell, ctx: &mut Context<Self>) {
        match tell.link {
            Link::Process(to) => {
                let agent_id = self.workload.agent_id();
                executor_link::send(&to, agent_id, tell.framework_id, tell.executor_id, tell.event, ctx);
            }
            Link::Stream { container_id } => {
                self.stream_event(&container_id, &executor_link::event_of(tell.event));
            }
        }
    }

    /// Writes an event to an executor's stream. One that was cut off is no way to it any more: what comes
    /// next waits until the executor subscribes again.
    pub(crate) fn stream_event(&mut self, container_id: &str, event: &api::v1::executor::Event) {
        if !self.streams.send(container_id, event) {
            self.workload.stream_closed(container_id);
        }
    }

    fn container_report(&mut self, report: Report, ctx: &mut Context<Self>) {
        let container_id = report.container_id;
        match report.kind {
            ReportKind::Forked { pid } => self.workload.forked(&container_id, pid),
            ReportKind::Ended(termination) => {
                self.streams.close(&container_id);
                for timer in self.timers.remove(&container_id).into_iter().flatten() {
                    timer.cancel();
                }
                if termination.reason == Some(api::v1::task_status::Reason::ContainerLaunchFailed) {
                    ctx.metrics().counter("slave/container_launch_errors").inc();
                }
                self.turn(ctx, |workload, turn| workload.terminated(&container_id, termination, turn));
                self.end_if_shut_down(ctx);
            }
        }
    }

    /// Sends an update that is stored to the master. The manager calls, again and again until acknowledged.
    pub(super) fn forward(&mut self, mut update: StatusUpdate, ctx: &mut Context<Self>) {
        let latest = self.workload.latest_state(&update);
        if let Some(latest) = latest {
            update.latest_state = Some(latest as i32);
        }
        if let Some(master) = self.registration.registered_with() {
            let pid = Some(ctx.upid().to_string());
            ctx.send(master, StatusUpdateMessage { update, pid });
        }
    }

    pub(super) fn acknowledged(&mut self, key: TaskKey, uuid: Vec<u8>, ctx: &mut Context<Self>) {
        let Some(helpers) = &self.helpers else { return };
        let at = key.clone();
        let settled = ctx
            .dispatch(&helpers.updates, move |manager, ctx| manager.acknowledge(&at, &uuid, ctx))
            .flatten();
        ctx.then(settled, move |agent, settled, ctx| match settled {
            Ok(Ok(true)) => {
                agent.turn(ctx, |w, turn| w.end_acknowledged(&key.framework_id, &key.task_id, turn));
                agent.end_if_shut_down(ctx);
            }
            Ok(Err(error)) => tracing::info!(%error, "ignoring an acknowledgement"),
            Ok(Ok(false)) | Err(_) => {}
        });
    }

    pub(super) fn pause_updates(&mut self) {
        if let Some(helpers) = &self.helpers {
            helpers.updates.call(|manager, _| manager.pause());
        }
    }

    pub(super) fn resume_updates(&mut self) {
        if let Some(helpers) = &self.helpers {
            helpers.updates.call(|manager, ctx| manager.resume(ctx));
        }
    }

    pub(crate) fn containerizer(&self) -> Option<&libprocess::Pid<crate::containers::Containerizer>> {
        self.helpers.as_ref().map(|helpers| &helpers.containerizer)
    }
}
