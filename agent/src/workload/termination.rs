//! Containers begin and end; what is settled leaves the table.

use api::v1::task_status::Reason;
use api::v1::{FrameworkId, TaskResourceLimitation, TaskState};
use tracing::info;

use super::{
    COMPLETED_FRAMEWORKS_MAX, Effect, ExecutorState, FrameworkState, Termination, Turn, Workload, launch,
};
use crate::checkpoint::Write;
use crate::layout::ExecutorPath;

impl Workload {
    /// A container's first process exists.
    pub fn forked(&mut self, container_id: &str, pid: u32) {
        if let Some((framework, executor_id)) = self.executor_mut(container_id)
            && let Some(executor) = framework.executors.get_mut(&executor_id)
        {
            executor.pid = Some(pid);
        }
    }

    /// A container has ended, or never came to be.
    pub fn terminated(&mut self, container_id: &str, termination: Termination, turn: &mut Turn<'_>) {
        let Some((framework, executor_id)) = self.executor_mut(container_id) else { return };
        let (framework_id, told) = (framework.id.clone(), framework.state == FrameworkState::Running);
        let Some(executor) = framework.executors.get_mut(&executor_id) else { return };
        info!(
            container_id,
            executor = executor_id.as_str(),
            message = termination.message,
            "an executor has ended"
        );
        executor.state = ExecutorState::Terminated;
        executor.link = None;
        let pending = executor.pending_termination.take().unwrap_or_default();
        let for_command_task = executor.for_command_task;
        let tasks: Vec<_> = executor.launched.keys().chain(executor.queued.keys()).cloned().collect();
        if told {
            let state = termination.state.or(pending.state).unwrap_or(TaskState::TaskFailed);
            let reason = termination.reason.or(pending.reason).unwrap_or(Reason::ExecutorTerminated);
            let messages = [pending.message.as_str(), termination.message.as_str()];
            let messages: Vec<_> = messages.into_iter().filter(|message| !message.is_empty()).collect();
            let message =
                if messages.is_empty() { "the executor ended".to_owned() } else { messages.join("; ") };
            for task_id in tasks {
                let executor_id = Some(executor_id.clone());
                let mut update = self.agent_update(
                    &framework_id,
                    &task_id,
                    executor_id,
                    state,
                    Some(reason),
                    &message,
                    turn,
                );
                if !termination.limited_resources.is_empty() {
                    let resources = termination.limited_resources.clone();
                    update.status.limitation = Some(TaskResourceLimitation { resources });
                }
                self.store(update, None, turn);
            }
        } else {
            // Nobody is told, so nobody will acknowledge.
            executor.terminated.clear();
            for (_, mut task) in std::mem::take(&mut executor.launched) {
                task.state = TaskState::TaskKilled as i32;
                executor.remember(task);
            }
            for (_, task) in std::mem::take(&mut executor.queued) {
                let mut task = launch::staging(task, &framework_id, for_command_task);
                task.state = TaskState::TaskKilled as i32;
                executor.remember(task);
            }
        }
        if told && !for_command_task {
            turn.push(Effect::ExitedExecutor {
                framework_id,
                executor_id,
                status: termination.status.unwrap_or(-1),
            });
        }
        self.leave_if_settled(container_id, turn);
    }

    /// Takes an executor out of the table once it has ended and nothing about it is left to tell.
    pub(super) fn leave_if_settled(&mut self, container_id: &str, turn: &mut Turn<'_>) {
        let (agent_id, terminating) = (self.agent_id(), self.terminating);
        let at_most = self.settings.flags.max_completed_executors_per_framework;
        let Some((framework, executor_id)) = self.executor_mut(container_id) else { return };
        let nobody_waits = terminating || framework.state == FrameworkState::Terminating;
        let settled = framework
            .executors
            .get(&executor_id)
            .is_some_and(|e| e.state == ExecutorState::Terminated && (e.is_idle() || nobody_waits));
        if !settled {
            return;
        }
        let Some(mut executor) = framework.executors.remove(&executor_id) else { return };
        for (_, task) in std::mem::take(&mut executor.terminated) {
            executor.remember(task);
        }
        let framework_id = framework.id.clone();
        let (sandbox, checkpoint) = (executor.sandbox.clone(), executor.checkpoint);
        framework.remember(executor, at_most);
        self.containers.remove(container_id);
        let layout = &self.settings.layout;
        let path = ExecutorPath { agent: &agent_id, framework: &framework_id, executor: &executor_id };
        let mut paths = vec![sandbox, layout.executor(path)];
        if checkpoint {
            turn.push(Effect::Write(Write::marker(layout.sentinel(path, container_id))));
            paths.extend([layout.run_meta(path, container_id), layout.executor_meta(path)]);
        }
        self.give_up(paths, turn);
        self.leave_if_idle(&framework_id, turn);
    }

    /// Takes a framework out of the table once it has nothing here.
    pub(super) fn leave_if_idle(&mut self, framework_id: &FrameworkId, turn: &mut Turn<'_>) {
        if !self.frameworks.get(framework_id).is_some_and(|framework| framework.executors.is_empty()) {
            return;
        }
        let Some(framework) = self.frameworks.remove(framework_id) else { return };
        let (agent_id, layout) = (self.agent_id(), &self.settings.layout);
        let mut paths = vec![layout.framework(&agent_id, framework_id)];
        if framework.checkpoint() {
            paths.push(layout.framework_meta(&agent_id, framework_id));
        }
        // A framework that comes and goes is remembered once, with what it ran before.
        let mut framework = framework;
        if let Some(at) = self.completed.iter().position(|known| known.id == *framework_id)
            && let Some(before) = self.completed.remove(at)
        {
            let at_most = self.settings.flags.max_completed_executors_per_framework;
            let now = std::mem::replace(&mut framework.completed_executors, before.completed_executors);
            for executor in now {
                framework.remember(executor, at_most);
            }
        }
        if self.completed.len() == COMPLETED_FRAMEWORKS_MAX {
            self.completed.pop_front();
        }
        self.completed.push_back(framework);
        self.give_up(paths, turn);
    }

    pub(super) fn give_up(&mut self, paths: Vec<std::path::PathBuf>, turn: &mut Turn<'_>) {
        self.given_up.extend(paths.iter().cloned());
        turn.push(Effect::Collect { paths });
    }

    /// Directories that were removed: a new run finds nothing of them in its way.
    pub fn collected(&mut self, path: &std::path::Path) {
        self.given_up.remove(path);
    }
}
