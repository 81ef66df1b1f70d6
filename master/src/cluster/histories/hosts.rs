//! The agents: what really runs on each, and what they answer.

use super::*;

/// An address with, perhaps, an agent.
#[derive(Debug, Default)]
pub(super) struct Host {
    /// Who is there, once it has been told.
    pub(super) id: Option<AgentId>,
    pub(super) tasks: BTreeMap<TaskId, Task>,
    pub(super) frameworks: BTreeMap<FrameworkId, FrameworkInfo>,
    /// Nothing gets through, in either direction.
    pub(super) cut: bool,
}

impl Host {
    /// What has not ended.
    pub(super) fn running(&self) -> impl Iterator<Item = &Task> {
        self.tasks.values().filter(|task| !is_terminal(task.state()))
    }
}

fn uuid(state: TaskState) -> Option<Vec<u8>> {
    Some(vec![state as u8; 16])
}

impl History {
    pub(super) fn host_of(&self, id: &AgentId) -> Option<u8> {
        self.hosts.iter().find(|(_, host)| host.id.as_ref() == Some(id)).map(|(n, _)| *n)
    }

    /// A message of the master reaches an agent, or not.
    pub(super) fn deliver(&mut self, to: &Upid, message: AgentMessage) {
        let Some((&n, _)) = self.hosts.iter().find(|(n, _)| pid(**n) == *to) else { return };
        let Some(host) = self.hosts.get_mut(&n).filter(|host| !host.cut) else { return };
        match message {
            AgentMessage::Registered(m) => drop(host.id.get_or_insert(m.slave_id)),
            AgentMessage::Reregistered(m) if host.id.as_ref() == Some(&m.slave_id) => {
                for missing in m.reconciliations {
                    for status in missing.statuses {
                        if !host_has(&self.hosts, n, &status.task_id) {
                            self.report(n, &missing.framework_id, &status.task_id, TaskState::TaskLost);
                        }
                    }
                }
            }
            AgentMessage::RunTask(m) if host.id.as_ref() == Some(&m.task.agent_id) => {
                let framework_id = m.framework_id.unwrap();
                let task = Task {
                    name: m.task.name,
                    task_id: m.task.task_id.clone(),
                    framework_id: framework_id.clone(),
                    agent_id: m.task.agent_id,
                    state: TaskState::TaskStaging.into(),
                    resources: m.task.resources,
                    ..Task::default()
                };
                host.frameworks.insert(framework_id, m.framework);
                host.tasks.insert(m.task.task_id, task);
            }
            AgentMessage::KillTask(m) if host.running().any(|task| task.task_id == m.task_id) => {
                self.report(n, &m.framework_id, &m.task_id, TaskState::TaskKilled);
            }
            AgentMessage::ShutdownFramework(m) => {
                host.tasks.retain(|_, task| task.framework_id != m.framework_id);
                host.frameworks.remove(&m.framework_id);
            }
            AgentMessage::Acknowledge(m) => {
                let ends =
                    |task: &Task| is_terminal(task.state()) && uuid(task.state()) == Some(m.uuid.clone());
                if host.tasks.get(&m.task_id).is_some_and(ends) {
                    host.tasks.remove(&m.task_id);
                }
            }
            AgentMessage::Drain(_) => {
                let running: Vec<_> =
                    host.running().map(|task| (task.framework_id.clone(), task.task_id.clone())).collect();
                for (framework_id, task_id) in running {
                    self.report(n, &framework_id, &task_id, TaskState::TaskKilled);
                }
            }
            AgentMessage::Shutdown(_) => *host = Host::default(),
            _ => {}
        }
    }

    /// A task enters a state, and its agent says so.
    pub(super) fn report(&mut self, n: u8, framework_id: &FrameworkId, task_id: &TaskId, state: TaskState) {
        let Some(host) = self.hosts.get_mut(&n) else { return };
        let Some(id) = host.id.clone() else { return };
        if let Some(task) = host.tasks.get_mut(task_id)
            && !is_terminal(task.state())
        {
            task.state = state.into();
        }
        if host.cut {
            return;
        }
        let status = TaskStatus {
            task_id: task_id.clone(),
            state: state.into(),
            uuid: uuid(state),
            agent_id: Some(id.clone()),
            ..Default::default()
        };
        let update = StatusUpdate {
            framework_id: framework_id.clone(),
            slave_id: Some(id),
            status,
            uuid: uuid(state),
            ..Default::default()
        };
        self.cluster.status_update(&pid(n), StatusUpdateMessage { update, pid: None });
    }

    /// What was not acknowledged is said again.
    pub(super) fn retry(&mut self, n: u8) {
        let tasks: Vec<_> = self.hosts[&n]
            .tasks
            .values()
            .map(|task| (task.framework_id.clone(), task.task_id.clone(), task.state()))
            .filter(|(_, _, state)| *state != TaskState::TaskStaging)
            .collect();
        for (framework_id, task_id, state) in tasks {
            self.report(n, &framework_id, &task_id, state);
        }
    }

    /// A new agent starts on a host. Whatever was there is no more, or has moved; who was linked to it hears of that
    /// before anything of the new one, whose connection is another.
    pub(super) fn register(&mut self, n: u8) {
        self.hosts.insert(n, Host::default());
        self.cluster.agent_exited(&pid(n));
        let slave =
            AgentInfo { hostname: "h".into(), resources: resources("cpus:4;mem:512"), ..Default::default() };
        let (version, agent_capabilities) = (Some("1.11.0".to_owned()), agent_capabilities());
        let message = RegisterSlaveMessage { slave, version, agent_capabilities, ..Default::default() };
        self.cluster.register_agent(&pid(n), message);
    }

    /// The agent of a host comes back, perhaps at another address, with all or none of its tasks.
    pub(super) fn come_back(&mut self, from: u8, to: u8, keeps: bool, twice: bool) {
        if self.hosts[&from].id.is_none() {
            return;
        }
        if let Some(mut host) = self.hosts.insert(from, Host::default()) {
            host.cut = false;
            if !keeps {
                host.tasks.clear();
            }
            self.hosts.insert(to, host);
        }
        let host = &self.hosts[&to];
        let slave = AgentInfo {
            hostname: "h".into(),
            resources: resources("cpus:4;mem:512"),
            id: host.id.clone(),
            ..Default::default()
        };
        let (version, agent_capabilities) = (Some("1.11.0".to_owned()), agent_capabilities());
        let runs_here = |id: &FrameworkId| host.tasks.values().any(|task| task.framework_id == *id);
        let message = ReregisterSlaveMessage {
            slave,
            completed_frameworks: host
                .frameworks
                .iter()
                .filter(|(id, _)| !runs_here(id))
                .map(|(id, info)| archive::Framework {
                    framework_info: FrameworkInfo { id: Some(id.clone()), ..info.clone() },
                    ..Default::default()
                })
                .collect(),
            frameworks: host
                .frameworks
                .iter()
                .filter(|(id, _)| runs_here(id))
                .map(|(id, info)| FrameworkInfo { id: Some(id.clone()), ..info.clone() })
                .collect(),
            tasks: host.tasks.values().cloned().collect(),
            version,
            agent_capabilities,
            ..Default::default()
        };
        if twice {
            self.cluster.reregister_agent(&pid(to), message.clone());
        }
        self.cluster.reregister_agent(&pid(to), message);
    }
}

fn host_has(hosts: &BTreeMap<u8, Host>, n: u8, task: &TaskId) -> bool {
    hosts[&n].tasks.contains_key(task)
}
