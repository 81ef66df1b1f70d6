//! What drivers and agents send, as the events it stands for. Drivers of every age end in the same calls as
//! HTTP schedulers.

use api::internal::*;
use api::v0;
use api::v1::scheduler::{Call, call};
use api::v1::{FrameworkId, offer::operation};
use libprocess::Upid;

use crate::cluster::Cluster;
use crate::effect::{Connection, OfferOptions};
use crate::framework_life::Subscription;
use crate::validation;

impl Cluster {
    /// `RegisterFrameworkMessage`: a driver without an id.
    pub(crate) fn register_framework(&mut self, from: &Upid, message: RegisterFrameworkMessage) {
        let connection = Connection::Driver(from.clone());
        let mut info = message.framework;
        if info.id.take().is_some_and(|id| !id.value.is_empty()) {
            return self
                .refuse(connection, "Registering with 'id' already set; use ReregisterFrameworkMessage");
        }
        self.subscribe(Subscription { connection, info, force: false, options: OfferOptions::default() });
    }

    /// `ReregisterFrameworkMessage`: a driver with an id, perhaps in place of another.
    pub(crate) fn reregister_framework(&mut self, from: &Upid, message: ReregisterFrameworkMessage) {
        let connection = Connection::Driver(from.clone());
        let info = message.framework;
        if info.id.as_ref().is_none_or(|id| id.value.is_empty()) {
            return self.refuse(connection, "Reregistering without an 'id'; use RegisterFrameworkMessage");
        }
        self.subscribe(Subscription {
            connection,
            info,
            force: message.failover,
            options: OfferOptions::default(),
        });
    }

    /// A driver's call. The only one whose words differ from those of an HTTP scheduler is SUBSCRIBE.
    pub(crate) fn driver_call(&mut self, from: &Upid, message: v0::scheduler::Call) {
        if message.r#type() == v0::scheduler::call::Type::Subscribe {
            return self.driver_subscribe(from, message);
        }
        let call = v1_call(message);
        if let Err(why) = validation::call::scheduler(&call, None) {
            tracing::warn!(%from, why, "ignoring an invalid call of a driver");
            return;
        }
        if matches!(call.r#type(), call::Type::AcknowledgeOperationStatus | call::Type::ReconcileOperations) {
            tracing::warn!(%from, kind = call.r#type().as_str_name(), "ignoring a call that drivers cannot make");
            return;
        }
        let Some(id) = call.framework_id.clone() else { return };
        if call.r#type() == call::Type::UpdateFramework {
            return self.driver_update(&id, from, call.update_framework.unwrap_or_default());
        }
        self.old_call(&id, from, call);
    }

    fn driver_subscribe(&mut self, from: &Upid, message: v0::scheduler::Call) {
        let connection = Connection::Driver(from.clone());
        let Some(subscribe) = message.subscribe else {
            return self.refuse(connection, "Expecting 'subscribe' to be present");
        };
        if let Err(why) =
            validation::call::subscription(message.framework_id.as_ref(), &subscribe.framework_info, None)
        {
            return self.refuse(connection, why);
        }
        let force = subscribe.force();
        let options = OfferOptions {
            suppressed_roles: subscribe.suppressed_roles,
            constraints: subscribe.offer_constraints,
        };
        self.subscribe(Subscription { connection, info: subscribe.framework_info, force, options });
    }

    fn driver_update(&mut self, id: &FrameworkId, from: &Upid, update: call::UpdateFramework) {
        if self.framework_of(id, from).is_none() {
            return;
        }
        let options =
            OfferOptions { suppressed_roles: update.suppressed_roles, constraints: update.offer_constraints };
        if let Err(refused) = self.update_framework(id, update.framework_info, options) {
            self.refuse(Connection::Driver(from.clone()), refused.0);
        }
    }

    /// A call for a framework, when it comes from that framework's driver.
    fn old_call(&mut self, id: &FrameworkId, from: &Upid, call: Call) {
        match self.frameworks.get(id) {
            Some(framework) if framework.pid() == Some(from) => {
                self.call(id, call);
            }
            Some(framework) if !framework.is_connected() => {
                self.refuse(Connection::Driver(from.clone()), "Framework disconnected");
            }
            Some(_) => {
                tracing::warn!(%from, framework = %id, "ignoring a call that does not come from the framework")
            }
            None => tracing::warn!(%from, framework = %id, "ignoring a call of an unknown framework"),
        }
    }

    /// `UnregisterFrameworkMessage`: the framework is done.
    pub(crate) fn unregister_framework(&mut self, from: &Upid, message: UnregisterFrameworkMessage) {
        self.old_call(&message.framework_id, from, new_call(call::Type::Teardown));
    }

    /// `DeactivateFrameworkMessage`: no more offers.
    pub(crate) fn deactivate_framework_message(&mut self, from: &Upid, message: DeactivateFrameworkMessage) {
        self.deactivate_driver(&message.framework_id, from);
    }

    /// `ResourceRequestMessage`.
    pub(crate) fn resource_request(&mut self, from: &Upid, message: ResourceRequestMessage) {
        let request = Some(call::Request { requests: message.requests });
        self.old_call(&message.framework_id, from, Call { request, ..new_call(call::Type::Request) });
    }

    /// `LaunchTasksMessage`; without tasks it declines.
    pub(crate) fn launch_tasks(&mut self, from: &Upid, message: LaunchTasksMessage) {
        let LaunchTasksMessage { framework_id, tasks, filters, offer_ids } = message;
        let filters = Some(filters);
        let call = if tasks.is_empty() {
            Call { decline: Some(call::Decline { offer_ids, filters }), ..new_call(call::Type::Decline) }
        } else {
            let operation = launch(tasks);
            let accept = call::Accept { offer_ids, operations: vec![operation], filters };
            Call { accept: Some(accept), ..new_call(call::Type::Accept) }
        };
        self.old_call(&framework_id, from, call);
    }

    /// `ReviveOffersMessage`.
    pub(crate) fn revive_offers(&mut self, from: &Upid, message: ReviveOffersMessage) {
        let revive = Some(call::Revive { roles: message.roles });
        self.old_call(&message.framework_id, from, Call { revive, ..new_call(call::Type::Revive) });
    }

    /// `KillTaskMessage`.
    pub(crate) fn kill_task(&mut self, from: &Upid, message: KillTaskMessage) {
        let KillTaskMessage { framework_id, task_id, kill_policy } = message;
        let kill = Some(call::Kill { task_id, agent_id: None, kill_policy });
        self.old_call(&framework_id, from, Call { kill, ..new_call(call::Type::Kill) });
    }

    /// `StatusUpdateAcknowledgementMessage`.
    pub(crate) fn acknowledge_status(&mut self, from: &Upid, message: StatusUpdateAcknowledgementMessage) {
        let StatusUpdateAcknowledgementMessage { slave_id, framework_id, task_id, uuid } = message;
        if uuid.len() != 16 {
            tracing::warn!(%from, framework = %framework_id, "ignoring an acknowledgement: its uuid is not 16 bytes long");
            return;
        }
        let acknowledge = Some(call::Acknowledge { agent_id: slave_id, task_id, uuid });
        self.old_call(&framework_id, from, Call { acknowledge, ..new_call(call::Type::Acknowledge) });
    }

    /// `FrameworkToExecutorMessage`.
    pub(crate) fn framework_to_executor(&mut self, from: &Upid, message: FrameworkToExecutorMessage) {
        let FrameworkToExecutorMessage { slave_id, framework_id, executor_id, data } = message;
        let message = Some(call::Message { agent_id: slave_id, executor_id, data });
        self.old_call(&framework_id, from, Call { message, ..new_call(call::Type::Message) });
    }

    /// `ReconcileTasksMessage`.
    pub(crate) fn reconcile_tasks(&mut self, from: &Upid, message: ReconcileTasksMessage) {
        let task = |status: api::v1::TaskStatus| call::reconcile::Task {
            task_id: status.task_id,
            agent_id: status.agent_id,
        };
        let reconcile = Some(call::Reconcile { tasks: message.statuses.into_iter().map(task).collect() });
        self.old_call(&message.framework_id, from, Call { reconcile, ..new_call(call::Type::Reconcile) });
    }

    /// `UnregisterSlaveMessage`.
    pub(crate) fn unregister_slave(&mut self, from: &Upid, message: UnregisterSlaveMessage) {
        self.unregister_agent(from, &message.slave_id);
    }
}

fn new_call(kind: call::Type) -> Call {
    Call { r#type: Some(kind.into()), ..Call::default() }
}

fn launch(task_infos: Vec<api::v1::TaskInfo>) -> api::v1::offer::Operation {
    api::v1::offer::Operation {
        r#type: Some(operation::Type::Launch.into()),
        launch: Some(operation::Launch { task_infos }),
        ..Default::default()
    }
}

fn v1_call(message: v0::scheduler::Call) -> Call {
    Call {
        framework_id: message.framework_id,
        // The numbers of the kinds are the same.
        r#type: message.r#type,
        subscribe: None,
        accept: message.accept,
        decline: message.decline,
        accept_inverse_offers: message.accept_inverse_offers,
        decline_inverse_offers: message.decline_inverse_offers,
        revive: message.revive,
        kill: message.kill,
        shutdown: message.shutdown,
        acknowledge: message.acknowledge,
        acknowledge_operation_status: message.acknowledge_operation_status,
        reconcile: message.reconcile,
        reconcile_operations: message.reconcile_operations,
        message: message.message,
        request: message.request,
        suppress: message.suppress,
        update_framework: message.update_framework,
    }
}
