//! Where everything lies below the agent's `work_dir`: sandboxes, and under `meta` what a restarted agent
//! reads to find its executors and their unacknowledged updates again.

use std::path::{Path, PathBuf};

use api::v1::{AgentId, ExecutorId, FrameworkId, TaskId};

/// The paths below one `work_dir`.
#[derive(Debug, Clone)]
pub struct Layout {
    work_dir: PathBuf,
}

/// One executor of one framework on one agent: the prefix of its run directories.
#[derive(Debug, Clone, Copy)]
pub struct ExecutorPath<'a> {
    /// The agent's id.
    pub agent: &'a AgentId,
    /// The framework's id.
    pub framework: &'a FrameworkId,
    /// The executor's id.
    pub executor: &'a ExecutorId,
}

impl Layout {
    /// The layout below `work_dir`; nothing is touched.
    pub fn new(work_dir: impl Into<PathBuf>) -> Layout {
        Layout { work_dir: work_dir.into() }
    }

    /// The directory itself.
    pub fn work_dir(&self) -> &Path {
        &self.work_dir
    }

    /// `meta`, where everything checkpointed lies.
    pub fn meta(&self) -> PathBuf {
        self.work_dir.join("meta")
    }

    /// The kernel's boot id when the agent last started.
    pub fn boot_id(&self) -> PathBuf {
        self.meta().join("boot_id")
    }

    /// The symbolic link to the directory of the agent id in use.
    pub fn latest_agent(&self) -> PathBuf {
        self.meta().join("slaves").join("latest")
    }

    /// What is checkpointed under one agent id.
    pub fn agent_meta(&self, agent: &AgentId) -> PathBuf {
        self.meta().join("slaves").join(&agent.value)
    }

    /// The agent's own description.
    pub fn agent_info(&self, agent: &AgentId) -> PathBuf {
        self.agent_meta(agent).join("slave.info")
    }

    /// The resources kept over restarts: reservations and volumes.
    pub fn resources_state(&self) -> PathBuf {
        self.meta().join("resources").join("resources_and_operations.state")
    }

    /// The same, as records, for older readers.
    pub fn resources_info(&self) -> PathBuf {
        self.meta().join("resources").join("resources.info")
    }

    fn framework_below(root: &Path, agent: &AgentId, framework: &FrameworkId) -> PathBuf {
        root.join("slaves").join(&agent.value).join("frameworks").join(&framework.value)
    }

    fn executor_below(root: &Path, path: ExecutorPath<'_>) -> PathBuf {
        Self::framework_below(root, path.agent, path.framework).join("executors").join(&path.executor.value)
    }

    /// A framework's sandboxes.
    pub fn framework(&self, agent: &AgentId, framework: &FrameworkId) -> PathBuf {
        Self::framework_below(&self.work_dir, agent, framework)
    }

    /// What is checkpointed of a framework.
    pub fn framework_meta(&self, agent: &AgentId, framework: &FrameworkId) -> PathBuf {
        Self::framework_below(&self.meta(), agent, framework)
    }

    /// An executor's sandboxes, one for each run.
    pub fn executor(&self, path: ExecutorPath<'_>) -> PathBuf {
        Self::executor_below(&self.work_dir, path)
    }

    /// What is checkpointed of an executor.
    pub fn executor_meta(&self, path: ExecutorPath<'_>) -> PathBuf {
        Self::executor_below(&self.meta(), path)
    }

    /// The sandbox of one run of an executor.
    pub fn sandbox(&self, path: ExecutorPath<'_>, container: &str) -> PathBuf {
        self.executor(path).join("runs").join(container)
    }

    /// What is checkpointed of one run.
    pub fn run_meta(&self, path: ExecutorPath<'_>, container: &str) -> PathBuf {
        self.executor_meta(path).join("runs").join(container)
    }

    /// The pid of the container's first process.
    pub fn forked_pid(&self, path: ExecutorPath<'_>, container: &str) -> PathBuf {
        self.run_meta(path, container).join("pids").join("forked.pid")
    }

    /// Where a driver-based executor receives messages.
    pub fn libprocess_pid(&self, path: ExecutorPath<'_>, container: &str) -> PathBuf {
        self.run_meta(path, container).join("pids").join("libprocess.pid")
    }

    /// Present once an executor has subscribed over HTTP.
    pub fn http_marker(&self, path: ExecutorPath<'_>, container: &str) -> PathBuf {
        self.run_meta(path, container).join("pids").join("http.marker")
    }

    /// Present once a run is over and everything about it acknowledged.
    pub fn sentinel(&self, path: ExecutorPath<'_>, container: &str) -> PathBuf {
        self.run_meta(path, container).join("executor.sentinel")
    }

    /// What is checkpointed of one task.
    pub fn task_meta(&self, path: ExecutorPath<'_>, container: &str, task: &TaskId) -> PathBuf {
        self.run_meta(path, container).join("tasks").join(&task.value)
    }

    /// The task as it was launched.
    pub fn task_info(&self, path: ExecutorPath<'_>, container: &str, task: &TaskId) -> PathBuf {
        self.task_meta(path, container, task).join("task.info")
    }

    /// The task's updates and acknowledgements, in the order in which they came.
    pub fn task_updates(&self, path: ExecutorPath<'_>, container: &str, task: &TaskId) -> PathBuf {
        self.task_meta(path, container, task).join("task.updates")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_paths_are_those_that_mesos_tools_expect() {
        let layout = Layout::new("/var/lib/mesos");
        let (agent, framework) = (AgentId::from("S0"), FrameworkId::from("F-0000"));
        let executor = ExecutorId::from("e");
        let path = ExecutorPath { agent: &agent, framework: &framework, executor: &executor };
        assert_eq!(
            layout.sandbox(path, "c"),
            Path::new("/var/lib/mesos/slaves/S0/frameworks/F-0000/executors/e/runs/c")
        );
        assert_eq!(
            layout.task_updates(path, "c", &TaskId::from("t")),
            Path::new(
                "/var/lib/mesos/meta/slaves/S0/frameworks/F-0000/executors/e/runs/c/tasks/t/task.updates"
            )
        );
        assert_eq!(layout.agent_info(&agent), Path::new("/var/lib/mesos/meta/slaves/S0/slave.info"));
    }
}
