//! Ending tasks, executors, frameworks, and the agent's whole workload.

use api::v1::task_status::Reason;
use api::v1::{ExecutorId, FrameworkId, KillPolicy, TaskId, TaskState};
use tracing::{info, warn};

use super::framework::dropped;
use super::{Effect, ExecutorEvent, ExecutorState, FrameworkState, Termination, Timeout, Turn, Workload};

impl Workload {
    /// The framework wants a task ended.
    pub fn kill_task(
        &mut self,
        framework_id: &FrameworkId,
        task_id: &TaskId,
        kill_policy: Option<KillPolicy>,
        turn: &mut Turn<'_>,
    ) {
        let Some(framework) = self.frameworks.get(framework_id) else {
            // Whoever asks does not know what we do not know: the master reconciles when we register again.
            warn!(
                framework = framework_id.as_str(),
                task = task_id.as_str(),
                "asked to kill a task of an unknown framework"
            );
            return;
        };
        if framework.state == FrameworkState::Terminating {
            return;
        }
        let Some(executor) = framework.executor_with(task_id) else {
            let state = dropped(&framework.info);
            let message = "the agent knows no such task";
            let reason = Some(Reason::ExecutorTerminated);
            let update = self.agent_update(framework_id, task_id, None, state, reason, message, turn);
            return turn.push(Effect::Store { update: Box::new(update), file: None, then: None });
        };
        let (container_id, state) = (executor.container_id.clone(), executor.state);
        // One that waits in an executor which is ending shares its end.
        if executor.queued.contains_key(task_id)
            && matches!(state, ExecutorState::Registering | ExecutorState::Running)
        {
            let executor_id = executor.id().clone();
            let update = self.agent_update(
                framework_id,
                task_id,
                Some(executor_id),
                TaskState::TaskKilled,
                Some(Reason::TaskKilledDuringLaunch),
                "the task was killed before it reached its executor",
                turn,
            );
            self.store(update, None, turn);
            // One that has not registered yet hears that it is not needed when it does.
            if state == ExecutorState::Running
                && self.executor_of(&container_id).is_some_and(|e| !e.was_sent && e.queued.is_empty())
            {
                self.shut_down(&container_id, turn);
            }
            return;
        }
        match state {
            ExecutorState::Running => {
                let kill = ExecutorEvent::Kill { task_id: task_id.clone(), kill_policy };
                turn.effects.extend(executor.tell(kill).map(|tell| Effect::Tell(Box::new(tell))));
            }
            ExecutorState::Registering | ExecutorState::Terminating | ExecutorState::Terminated => {
                info!(
                    task = task_id.as_str(),
                    ?state,
                    "not killing a task whose executor is ending or not there yet"
                );
            }
        }
    }

    /// The framework wants an executor ended.
    pub fn shutdown_executor(
        &mut self,
        framework_id: &FrameworkId,
        executor_id: &ExecutorId,
        turn: &mut Turn<'_>,
    ) {
        let executor = self.frameworks.get(framework_id).and_then(|f| f.executors.get(executor_id));
        match executor.map(|executor| executor.container_id.clone()) {
            Some(container_id) => self.shut_down(&container_id, turn),
            None => warn!(
                framework = framework_id.as_str(),
                executor = executor_id.as_str(),
                "asked to shut down an unknown executor"
            ),
        }
    }

    /// Asks an executor to end, and sees to it that it does.
    pub(super) fn shut_down(&mut self, container_id: &str, turn: &mut Turn<'_>) {
        let default = self.settings.flags.executor_shutdown_grace_period;
        let Some((framework, executor_id)) = self.executor_mut(container_id) else { return };
        let Some(executor) = framework.executors.get_mut(&executor_id) else { return };
        if matches!(executor.state, ExecutorState::Terminating | ExecutorState::Terminated) {
            return;
        }
        // One that was never heard of has nothing to end; one whose stream broke hears it if it subscribes again.
        let has_time = executor.state == ExecutorState::Running;
        executor.state = ExecutorState::Terminating;
        let container_id = container_id.to_owned();
        turn.effects.extend(executor.tell(ExecutorEvent::Shutdown).map(|tell| Effect::Tell(Box::new(tell))));
        turn.push(if has_time {
            let delay = executor.shutdown_grace(default);
            Effect::After { delay, container_id, timeout: Timeout::Shutdown }
        } else {
            Effect::Destroy { container_id }
        });
    }

    /// The framework is over: everything of it ends, and nobody is told of its tasks.
    pub fn shutdown_framework(&mut self, framework_id: &FrameworkId, turn: &mut Turn<'_>) {
        turn.push(Effect::ForgetUpdates { framework_id: framework_id.clone() });
        let Some(framework) = self.frameworks.get_mut(framework_id) else { return };
        if framework.state == FrameworkState::Terminating {
            return;
        }
        info!(framework = framework_id.as_str(), "shutting down a framework");
        framework.state = FrameworkState::Terminating;
        let containers: Vec<_> = framework.executors.values().map(|e| e.container_id.clone()).collect();
        for container_id in containers {
            self.shut_down(&container_id, turn);
            self.leave_if_settled(&container_id, turn);
        }
        self.leave_if_idle(framework_id, turn);
    }

    /// The agent is over: everything ends.
    pub fn shutdown_all(&mut self, turn: &mut Turn<'_>) {
        self.terminating = true;
        let frameworks: Vec<_> = self.frameworks.keys().cloned().collect();
        for framework_id in frameworks {
            self.shutdown_framework(&framework_id, turn);
        }
    }

    /// Whether the agent is over and nothing runs any more.
    pub fn is_shut_down(&self) -> bool {
        self.terminating && self.frameworks.is_empty()
    }

    /// An executor has had its time to end.
    pub fn shutdown_timeout(&mut self, container_id: &str, turn: &mut Turn<'_>) {
        let Some(executor) = self.executor_of(container_id) else { return };
        if executor.state == ExecutorState::Terminating {
            info!(container_id, "an executor did not end in time");
            turn.push(Effect::Destroy { container_id: container_id.to_owned() });
        }
    }

    /// An executor has had its time to register.
    pub fn registration_timeout(&mut self, container_id: &str, turn: &mut Turn<'_>) {
        let waited = api::duration::format(self.settings.flags.executor_registration_timeout);
        let Some((framework, executor_id)) = self.executor_mut(container_id) else { return };
        let Some(executor) = framework.executors.get_mut(&executor_id) else { return };
        if executor.state != ExecutorState::Registering {
            return;
        }
        warn!(container_id, waited, "an executor did not register in time");
        executor.state = ExecutorState::Terminating;
        executor.pending_termination = Some(Termination {
            state: Some(TaskState::TaskFailed),
            reason: Some(Reason::ExecutorRegistrationTimeout),
            message: format!("the executor did not register within {waited}"),
            ..Default::default()
        });
        turn.push(Effect::Destroy { container_id: container_id.to_owned() });
    }
}
