//! What a scheduler can ask for.

use std::time::Duration;

use api::internal::FrameworkToExecutorMessage;
use api::v0::scheduler::call;
use api::v1::scheduler::call as v1_call;
use api::v1::{
    AgentId, ExecutorId, Filters, FrameworkId, KillPolicy, Offer, OfferId, Request, TaskId, TaskInfo,
    TaskState, TaskStatus, framework_info, offer, task_status,
};
use libprocess::{Context, Promise, Time};

use super::Scheduler;
use super::process::SchedulerProcess;
use super::session::Session;
use crate::driver::Outcome;

/// The calls of a scheduler, as handed to each of its methods.
///
/// None has an answer of its own: what comes of it is told by the methods of [`Scheduler`]. While there is
/// no master, calls are dropped, and tasks that were to be launched are reported lost.
pub struct SchedulerCalls<'a, S: Scheduler> {
    session: &'a mut Session,
    ended: &'a mut Option<Promise<Outcome>>,
    ctx: &'a mut Context<SchedulerProcess<S>>,
}

impl<'a, S: Scheduler> SchedulerCalls<'a, S> {
    pub(super) fn new(
        session: &'a mut Session,
        ended: &'a mut Option<Promise<Outcome>>,
        ctx: &'a mut Context<SchedulerProcess<S>>,
    ) -> Self {
        SchedulerCalls { session, ended, ctx }
    }

    /// Launches tasks on the resources of these offers, which must be of one agent. What the tasks leave is
    /// declined with `filters`.
    pub fn launch(&mut self, offers: Vec<OfferId>, tasks: Vec<TaskInfo>, filters: Option<Filters>) {
        let launch = offer::Operation {
            r#type: Some(offer::operation::Type::Launch as i32),
            launch: Some(offer::operation::Launch { task_infos: tasks }),
            ..Default::default()
        };
        self.accept(offers, vec![launch], filters);
    }

    /// Applies operations, in order, to the resources of these offers, which must be of one agent.
    pub fn accept(
        &mut self,
        offers: Vec<OfferId>,
        operations: Vec<offer::Operation>,
        filters: Option<Filters>,
    ) {
        if !self.session.is_connected() {
            self.report_lost(operations);
            return;
        }
        let accept = v1_call::Accept { offer_ids: offers, operations, filters };
        self.call(call::Type::Accept, |call| call.accept = Some(accept));
    }

    /// Gives offers back. `filters` says how long the same resources stay away; absent means five seconds.
    pub fn decline(&mut self, offers: Vec<OfferId>, filters: Option<Filters>) {
        let decline = v1_call::Decline { offer_ids: offers, filters };
        self.call(call::Type::Decline, |call| call.decline = Some(decline));
    }

    /// Ends a task. Its agent and how much time it gets may be given.
    pub fn kill(&mut self, task_id: TaskId, agent_id: Option<AgentId>, kill_policy: Option<KillPolicy>) {
        let kill = v1_call::Kill { task_id, agent_id, kill_policy };
        self.call(call::Type::Kill, |call| call.kill = Some(kill));
    }

    /// Ends an executor and its tasks.
    pub fn shutdown_executor(&mut self, executor_id: ExecutorId, agent_id: AgentId) {
        let shutdown = v1_call::Shutdown { executor_id, agent_id };
        self.call(call::Type::Shutdown, |call| call.shutdown = Some(shutdown));
    }

    /// Asks for offers again: removes all filters, and undoes [`suppress`](Self::suppress). Without roles it
    /// is for all of the framework's.
    pub fn revive(&mut self, roles: Vec<String>) {
        self.call(call::Type::Revive, |call| call.revive = Some(v1_call::Revive { roles }));
    }

    /// Asks for no more offers. Without roles it is for all of the framework's.
    pub fn suppress(&mut self, roles: Vec<String>) {
        self.call(call::Type::Suppress, |call| call.suppress = Some(v1_call::Suppress { roles }));
    }

    /// Tells the agent that this update has arrived, so that it sends the task's next. Updates that the
    /// master made want none; for those this does nothing.
    pub fn acknowledge(&mut self, status: &TaskStatus) {
        if let (Some(uuid), Some(agent_id)) = (status.uuid.clone(), status.agent_id.clone()) {
            let task_id = status.task_id.clone();
            let acknowledge = v1_call::Acknowledge { agent_id, task_id, uuid };
            self.call(call::Type::Acknowledge, |call| call.acknowledge = Some(acknowledge));
        }
    }

    /// Asks for the states of these tasks; without any, of all that the master knows of. They come as status
    /// updates.
    pub fn reconcile(&mut self, tasks: Vec<(TaskId, Option<AgentId>)>) {
        let tasks = tasks
            .into_iter()
            .map(|(task_id, agent_id)| v1_call::reconcile::Task { task_id, agent_id })
            .collect();
        self.call(call::Type::Reconcile, |call| call.reconcile = Some(v1_call::Reconcile { tasks }));
    }

    /// Tells an executor something. It may be lost.
    pub fn send_framework_message(&mut self, executor_id: ExecutorId, agent_id: AgentId, data: Vec<u8>) {
        let (Some(framework_id), true) = (self.session.framework_id().cloned(), self.session.is_connected())
        else {
            return;
        };
        match self.session.agent(&agent_id).cloned() {
            Some(agent) => {
                let message =
                    FrameworkToExecutorMessage { slave_id: agent_id, framework_id, executor_id, data };
                self.ctx.send(agent, message);
            }
            None => {
                let message = v1_call::Message { agent_id, executor_id, data };
                self.call(call::Type::Message, |call| call.message = Some(message));
            }
        }
    }

    /// Tells the allocator what would be welcome. Mesos's own allocator does not heed it.
    pub fn request_resources(&mut self, requests: Vec<Request>) {
        self.call(call::Type::Request, |call| call.request = Some(v1_call::Request { requests }));
    }

    /// Ends the driver once this method returns. Unless `failover` says that another scheduler is to take
    /// over, the framework is torn down and all its executors end.
    pub fn stop(&mut self, failover: bool) {
        self.ctx.pid().call(move |process, ctx| process.stop(failover, ctx));
    }

    /// Ends the driver's calls of the scheduler once this method returns. Tasks go on running.
    pub fn abort(&mut self, reason: Option<String>) {
        self.ctx.pid().call(move |process, ctx| process.abort(reason, ctx));
    }

    /// Calls `f` after that time, unless the driver has ended.
    pub fn after(
        &mut self,
        wait: Duration,
        f: impl FnOnce(&mut S, &mut SchedulerCalls<'_, S>) + Send + 'static,
    ) {
        self.ctx.delay(wait, move |process, ctx| {
            if !process.session.is_aborted() {
                process.with(ctx, f);
            }
        });
    }

    /// Does `work`, which may block, somewhere else, and hands what it returns to `f`.
    pub fn blocking<T: Send + 'static>(
        &mut self,
        work: impl FnOnce() -> T + Send + 'static,
        f: impl FnOnce(&mut S, T, &mut SchedulerCalls<'_, S>) + Send + 'static,
    ) {
        let done = self.ctx.blocking(work);
        self.ctx.then(done, move |process, result, ctx| {
            if let (Ok(result), false) = (result, process.session.is_aborted()) {
                process.with(ctx, |scheduler, calls| f(scheduler, result, calls));
            }
        });
    }

    /// The time, by the node's clock.
    pub fn now(&self) -> Time {
        self.ctx.now()
    }

    /// The framework's id, once it was registered.
    pub fn framework_id(&self) -> Option<&FrameworkId> {
        self.session.framework_id()
    }

    /// Whether there is a master.
    pub fn is_connected(&self) -> bool {
        self.session.is_connected()
    }

    fn call(&mut self, kind: call::Type, complete: impl FnOnce(&mut api::v0::scheduler::Call)) {
        // `ended` is empty once the driver was stopped.
        let Some(master) = self.session.connected_to().filter(|_| self.ended.is_some()).cloned() else {
            tracing::debug!(?kind, "there is no master; dropped");
            return;
        };
        let mut call = self.session.call(kind);
        complete(&mut call);
        self.ctx.send(master, call);
    }

    /// Tasks that were to be launched while there was no master.
    fn report_lost(&mut self, operations: Vec<offer::Operation>) {
        let capabilities = &self.session.framework().capabilities;
        let partition_aware = framework_info::capability::Type::PartitionAware as i32;
        let state = match capabilities.iter().any(|it| it.r#type == Some(partition_aware)) {
            true => TaskState::TaskDropped,
            false => TaskState::TaskLost,
        };
        let now = self.ctx.now().as_secs_f64();
        let tasks = operations.into_iter().flat_map(|operation| {
            let group = operation.launch_group.into_iter().flat_map(|it| it.task_group.tasks);
            operation.launch.into_iter().flat_map(|it| it.task_infos).chain(group)
        });
        let lost: Vec<TaskStatus> = tasks
            .map(|task| TaskStatus {
                task_id: task.task_id,
                state: state as i32,
                agent_id: Some(task.agent_id),
                executor_id: task.executor.map(|executor| executor.executor_id),
                source: Some(task_status::Source::Master as i32),
                reason: Some(task_status::Reason::MasterDisconnected as i32),
                message: Some("Master disconnected".to_owned()),
                timestamp: Some(now),
                ..Default::default()
            })
            .collect();
        self.ctx.pid().call(move |process, ctx| {
            if process.session.is_aborted() {
                return;
            }
            for status in lost {
                process.with(ctx, |scheduler, calls| scheduler.status_update(calls, status));
            }
        });
    }
}

/// Filters that keep declined resources away for that long.
pub fn refuse_for(wait: Duration) -> Filters {
    Filters { refuse_seconds: Some(wait.as_secs_f64()) }
}

/// The ids of offers.
pub fn ids_of(offers: &[Offer]) -> Vec<OfferId> {
    offers.iter().map(|offer| offer.id.clone()).collect()
}
