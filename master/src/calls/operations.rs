//! ACKNOWLEDGE_OPERATION_STATUS and RECONCILE_OPERATIONS. This master carries out no operations beside
//! launches, so it knows none: acknowledgements are ignored, and questions answered by where the agent stands.

use api::internal::UpdateOperationStatusMessage;
use api::v1::scheduler::call::{AcknowledgeOperationStatus, ReconcileOperations};
use api::v1::{FrameworkId, OperationState, OperationStatus};

use crate::cluster::Cluster;
use crate::effect::FrameworkEvent;

impl Cluster {
    pub(crate) fn acknowledge_operation(
        &mut self,
        framework_id: &FrameworkId,
        acknowledge: AcknowledgeOperationStatus,
    ) {
        self.count("master/messages_operation_status_update_acknowledgement");
        self.count("master/invalid_operation_status_update_acknowledgements");
        tracing::warn!(framework = %framework_id, operation = %acknowledge.operation_id, "ignoring the acknowledgement of an unknown operation");
    }

    pub(crate) fn reconcile_operations(
        &mut self,
        framework_id: &FrameworkId,
        reconcile: ReconcileOperations,
    ) {
        self.count("master/messages_reconcile_operations");
        for operation in reconcile.operations {
            let agent_id = operation.agent_id.as_ref();
            let state = if agent_id.is_some_and(|id| self.agents.recovered.contains_key(id)) {
                OperationState::OperationRecovering
            } else if agent_id.is_some_and(|id| self.agents.unreachable.contains_key(id)) {
                OperationState::OperationUnreachable
            } else if agent_id.is_some_and(|id| self.agents.gone.contains_key(id)) {
                OperationState::OperationGoneByOperator
            } else {
                OperationState::OperationUnknown
            };
            let status = OperationStatus {
                operation_id: Some(operation.operation_id),
                state: state.into(),
                message: Some("Reconciliation: Operation is unknown to the master".into()),
                agent_id: operation.agent_id,
                resource_provider_id: operation.resource_provider_id,
                ..OperationStatus::default()
            };
            self.tell_operation(framework_id, status);
        }
    }

    pub(crate) fn tell_operation(&mut self, framework_id: &FrameworkId, status: OperationStatus) {
        let message = UpdateOperationStatusMessage {
            framework_id: Some(framework_id.clone()),
            status,
            ..UpdateOperationStatusMessage::default()
        };
        self.tell(framework_id, FrameworkEvent::OperationStatus(Box::new(message)));
    }
}
