//! ACCEPT: a framework uses some of what its offers hold. What it leaves goes back under its filters.
//!
//! Only launches are carried out. The other operations are refused: with an OPERATION_ERROR where the
//! operation has an id to refuse it by.

use api::internal::{ResourceVersionUuid, RunTaskGroupMessage, RunTaskMessage};
use api::resources::{Resources, downgrade_all, upgrade_all};
use api::v1::offer::{Operation, operation};
use api::v1::resource::AllocationInfo;
use api::v1::scheduler::call::Accept;
use api::v1::task_status::Reason;
use api::v1::{
    AgentId, ExecutorInfo, FrameworkId, OperationState, OperationStatus, Resource, TaskInfo, TaskState,
};

use crate::agents::Agent;
use crate::cluster::Cluster;
use crate::effect::{AgentMessage, AllocatorCall, Connection, Effect};
use crate::tasks::TaskRecord;
use crate::validation;
use crate::validation::health::infer_health_check_type;
use crate::validation::task::Place;

impl Cluster {
    pub(crate) fn accept(&mut self, framework_id: &FrameworkId, accept: Accept) {
        self.count("master/messages_launch_tasks");
        let Accept { offer_ids, operations, filters } = accept;
        // Absent filters mean the default of their fields, not none.
        let filters = filters.unwrap_or_default();
        let offers = match validation::offers::usable(&offer_ids, framework_id, &self.offers) {
            Ok(offers) => offers,
            Err(why) => {
                for id in &offer_ids {
                    self.discard_offer(id, None);
                }
                let why = format!("Task launched with invalid offers: {why}");
                return self.reject_all(framework_id, operations, None, Reason::InvalidOffers, &why);
            }
        };
        let agent_id = offers[0].agent_id().clone();
        if !self.agents.get(&agent_id).is_some_and(|agent| agent.connected) {
            // Not reached today: the offers of an agent are rescinded when it leaves.
            for id in &offer_ids {
                self.discard_offer(id, None);
            }
            let why = "Task launched on an agent that is disconnected";
            return self.reject_all(
                framework_id,
                operations,
                Some(&agent_id),
                Reason::AgentDisconnected,
                why,
            );
        }
        let mut remaining = Resources::new();
        for offer in &offers {
            self.take_offer(offer.id());
            self.count_of(framework_id, "offers/accepted");
            remaining += &offer.resources;
        }
        let role = offers[0].role.clone();
        let offered = remaining.clone();
        for operation in operations {
            self.operate(framework_id, &agent_id, &role, operation, &mut remaining);
        }
        let used = offered - &remaining;
        // The filter is set before anything else returns, or the next allocation offers the same again.
        self.recover_offered(framework_id, &agent_id, remaining, Some(filters));
        if !used.is_empty() {
            self.allocator(AllocatorCall::Allocated {
                framework_id: framework_id.clone(),
                agent_id,
                resources: used,
            });
        }
    }

    fn operate(
        &mut self,
        framework_id: &FrameworkId,
        agent_id: &AgentId,
        role: &str,
        operation: Operation,
        remaining: &mut Resources,
    ) {
        use operation::Type;
        let has_id = operation.id.is_some();
        match (operation.r#type(), operation.launch, operation.launch_group) {
            (kind @ Type::Launch, Some(launch), _) => {
                self.count_operation(framework_id, kind);
                for mut task in launch.task_infos {
                    let result = if has_id {
                        Err("A LAUNCH operation must not have an id".to_owned())
                    } else {
                        self.launch(framework_id, agent_id, role, &mut task, remaining)
                    };
                    if let Err(why) = result {
                        self.reject_task(
                            framework_id,
                            &task,
                            Some(agent_id),
                            TaskState::TaskError,
                            Reason::TaskInvalid,
                            why,
                        );
                    }
                }
            }
            (kind @ Type::LaunchGroup, _, Some(launch)) => {
                self.count_operation(framework_id, kind);
                let operation::LaunchGroup { mut executor, task_group: mut group } = launch;
                let result = if has_id {
                    Err("A LAUNCH_GROUP operation must not have an id".to_owned())
                } else {
                    self.launch_group(
                        framework_id,
                        agent_id,
                        role,
                        &mut executor,
                        &mut group.tasks,
                        remaining,
                    )
                };
                if let Err(why) = result {
                    for task in &group.tasks {
                        self.reject_task(
                            framework_id,
                            task,
                            Some(agent_id),
                            TaskState::TaskError,
                            Reason::TaskGroupInvalid,
                            why.clone(),
                        );
                    }
                }
            }
            (kind, ..) => self.refuse_operation(framework_id, operation.id, kind),
        }
    }

    fn launch(
        &mut self,
        framework_id: &FrameworkId,
        agent_id: &AgentId,
        role: &str,
        task: &mut TaskInfo,
        remaining: &mut Resources,
    ) -> Result<(), String> {
        prepare(task, role)?;
        if let Some(executor) = &mut task.executor {
            // Frameworks need not repeat who they are.
            executor.framework_id.get_or_insert_with(|| framework_id.clone());
        }
        let (framework, agent) = self.place(framework_id, agent_id)?;
        validation::task::single(task, Place { framework, agent, available: remaining })?;

        let launch_executor = match &task.executor {
            Some(executor) => !agent.has_executor(framework_id, &executor.executor_id),
            None => true,
        };
        let mut for_agent = task.clone();
        adapt(&mut for_agent, agent);
        let message = RunTaskMessage {
            framework_id: Some(framework_id.clone()),
            framework: (*framework.info).clone(),
            pid: framework.pid().map(ToString::to_string),
            task: for_agent,
            resource_version_uuids: resource_versions(agent),
            launch_executor: Some(launch_executor),
        };
        let pid = agent.pid.clone();
        if let Some(executor) = task.executor.clone().filter(|_| launch_executor) {
            self.add_executor_from(framework_id, agent_id, executor, remaining);
        }
        self.stage(framework_id, task, remaining);
        self.send(&pid, AgentMessage::RunTask(Box::new(message)));
        Ok(())
    }

    fn launch_group(
        &mut self,
        framework_id: &FrameworkId,
        agent_id: &AgentId,
        role: &str,
        executor: &mut ExecutorInfo,
        tasks: &mut [TaskInfo],
        remaining: &mut Resources,
    ) -> Result<(), String> {
        prepare_resources(&mut executor.resources, role)?;
        for task in tasks.iter_mut() {
            prepare(task, role)?;
            task.executor.get_or_insert_with(|| executor.clone());
        }
        let (framework, agent) = self.place(framework_id, agent_id)?;
        let group = api::v1::TaskGroupInfo { tasks: tasks.to_vec() };
        validation::task::group(executor, &group, Place { framework, agent, available: remaining })?;

        let launch_executor = !agent.has_executor(framework_id, &executor.executor_id);
        let mut for_agent = group;
        let mut executor_for_agent = executor.clone();
        for task in &mut for_agent.tasks {
            adapt(task, agent);
        }
        adapt_resources(&mut executor_for_agent.resources, agent);
        let message = RunTaskGroupMessage {
            framework: (*framework.info).clone(),
            executor: executor_for_agent,
            task_group: for_agent,
            resource_version_uuids: resource_versions(agent),
            launch_executor: Some(launch_executor),
        };
        let pid = agent.pid.clone();
        if launch_executor {
            self.add_executor_from(framework_id, agent_id, executor.clone(), remaining);
        }
        for task in tasks.iter() {
            self.stage(framework_id, task, remaining);
        }
        self.send(&pid, AgentMessage::RunTaskGroup(Box::new(message)));
        Ok(())
    }

    fn place(
        &self,
        framework_id: &FrameworkId,
        agent_id: &AgentId,
    ) -> Result<(&crate::frameworks::Framework, &Agent), String> {
        let framework = self.frameworks.get(framework_id).ok_or("The framework is not registered")?;
        let agent = self.agents.get(agent_id).ok_or("The agent is not registered")?;
        Ok((framework, agent))
    }

    fn add_executor_from(
        &mut self,
        framework_id: &FrameworkId,
        agent_id: &AgentId,
        executor: ExecutorInfo,
        remaining: &mut Resources,
    ) {
        *remaining -= &Resources::from_checked(&executor.resources);
        self.add_executor(framework_id, agent_id, executor);
    }

    fn stage(&mut self, framework_id: &FrameworkId, task: &TaskInfo, remaining: &mut Resources) {
        let record = TaskRecord::staged(framework_id, task);
        *remaining -= record.resources();
        self.add_task(record);
    }

    fn count_operation(&mut self, framework_id: &FrameworkId, kind: operation::Type) {
        self.count_of(framework_id, "operations");
        self.count_of(framework_id, format!("operations/{}", kind.as_str_name().to_ascii_lowercase()));
    }

    /// None of an ACCEPT's operations can be carried out.
    fn reject_all(
        &mut self,
        framework_id: &FrameworkId,
        operations: Vec<Operation>,
        agent_id: Option<&AgentId>,
        reason: Reason,
        why: &str,
    ) {
        let aware = self.frameworks.get(framework_id).is_some_and(|it| it.capabilities.partition_aware);
        let state = if aware { TaskState::TaskDropped } else { TaskState::TaskLost };
        for operation in operations {
            let kind = operation.r#type();
            let tasks: Vec<TaskInfo> = match (kind, operation.launch, operation.launch_group) {
                (operation::Type::Launch, Some(launch), _) => launch.task_infos,
                (operation::Type::LaunchGroup, _, Some(launch)) => launch.task_group.tasks,
                _ => {
                    self.fail_operation(framework_id, operation.id, kind, why);
                    continue;
                }
            };
            for task in tasks {
                let agent_id = agent_id.unwrap_or(&task.agent_id);
                self.reject_task(framework_id, &task, Some(agent_id), state, reason, why);
            }
        }
    }

    fn refuse_operation(
        &mut self,
        framework_id: &FrameworkId,
        id: Option<api::v1::OperationId>,
        kind: operation::Type,
    ) {
        let why = match kind {
            operation::Type::Unknown => {
                "The operation has no type, or one this master does not know".to_owned()
            }
            operation::Type::Launch | operation::Type::LaunchGroup => {
                format!(
                    "The operation is of type {0} but has no '{1}'",
                    kind.as_str_name(),
                    kind.as_str_name().to_ascii_lowercase()
                )
            }
            _ => format!("This master does not carry out {} operations", kind.as_str_name()),
        };
        self.fail_operation(framework_id, id, kind, &why);
    }

    /// Drivers have no event for operations, and an operation without id has no name to be told by.
    fn fail_operation(
        &mut self,
        framework_id: &FrameworkId,
        id: Option<api::v1::OperationId>,
        kind: operation::Type,
        why: &str,
    ) {
        tracing::warn!(framework = %framework_id, why, "dropping an operation");
        use operation::Type;
        // Launches count by what becomes of their tasks.
        if !matches!(kind, Type::Launch | Type::LaunchGroup) {
            self.count("master/operations/error");
            if kind != Type::Unknown {
                let kind = kind.as_str_name().to_ascii_lowercase();
                self.push(Effect::Count(format!("master/operations/{kind}/error").into()));
            }
        }
        let by_stream = matches!(
            self.frameworks.get(framework_id).and_then(|it| it.connection.as_ref()),
            Some(Connection::Stream(_))
        );
        if let Some(id) = id.filter(|_| by_stream) {
            self.tell_operation(
                framework_id,
                OperationStatus {
                    operation_id: Some(id),
                    state: OperationState::OperationError.into(),
                    message: Some(why.to_owned()),
                    ..OperationStatus::default()
                },
            );
        }
    }
}

/// Fills in what a framework may leave out.
fn prepare(task: &mut TaskInfo, role: &str) -> Result<(), String> {
    prepare_resources(&mut task.resources, role)?;
    if let Some(executor) = &mut task.executor {
        prepare_resources(&mut executor.resources, role)?;
    }
    if let Some(check) = &mut task.health_check {
        infer_health_check_type(check);
    }
    Ok(())
}

fn prepare_resources(resources: &mut [Resource], role: &str) -> Result<(), String> {
    upgrade_all(resources).map_err(|error| format!("Task uses invalid resources: {error}"))?;
    for resource in resources {
        resource.allocation_info.get_or_insert_with(|| AllocationInfo { role: Some(role.to_owned()) });
    }
    Ok(())
}

/// Puts a task in the words its agent understands.
fn adapt(task: &mut TaskInfo, agent: &Agent) {
    adapt_resources(&mut task.resources, agent);
    if let Some(executor) = &mut task.executor {
        adapt_resources(&mut executor.resources, agent);
    }
}

fn adapt_resources(resources: &mut [Resource], agent: &Agent) {
    if !agent.capabilities.multi_role {
        for resource in resources.iter_mut() {
            resource.allocation_info = None;
        }
    }
    if !agent.capabilities.reservation_refinement
        && let Err(error) = downgrade_all(resources)
    {
        // Such an agent has no refined reservations to offer.
        tracing::error!(agent = %agent.id, %error, "resources cannot be put in the agent's format");
    }
}

fn resource_versions(agent: &Agent) -> Vec<ResourceVersionUuid> {
    agent
        .resource_version
        .iter()
        .map(|uuid| ResourceVersionUuid { resource_provider_id: None, uuid: uuid.clone() })
        .collect()
}
