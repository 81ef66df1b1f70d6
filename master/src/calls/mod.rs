//! What a scheduler may ask for, one call in each file. They arrive here from HTTP and from drivers alike,
//! once their framework is known and connected.

mod accept;
mod acknowledge;
mod decline;
mod inverse_offers;
mod kill;
mod message;
mod operations;
mod revive;
mod shutdown;
pub mod update_framework;

use api::v1::FrameworkId;
use api::v1::scheduler::{Call, call::Type};

use crate::cluster::Cluster;

impl Cluster {
    /// Carries out a validated call other than SUBSCRIBE and UPDATE_FRAMEWORK, which answer. Returns false for
    /// a kind this master does not know.
    pub fn call(&mut self, framework_id: &FrameworkId, call: Call) -> bool {
        let kind = call.r#type();
        self.count_call(framework_id, kind);
        match kind {
            Type::Teardown => self.teardown(framework_id),
            Type::Accept => self.accept(framework_id, call.accept.unwrap_or_default()),
            Type::Decline => self.decline(framework_id, call.decline.unwrap_or_default()),
            Type::AcceptInverseOffers => {
                self.accept_inverse_offers(framework_id, call.accept_inverse_offers.unwrap_or_default())
            }
            Type::DeclineInverseOffers => {
                self.decline_inverse_offers(framework_id, call.decline_inverse_offers.unwrap_or_default())
            }
            Type::Revive => self.revive(framework_id, call.revive.unwrap_or_default().roles),
            Type::Suppress => self.suppress(framework_id, call.suppress.unwrap_or_default().roles),
            Type::Kill => self.kill(framework_id, call.kill.unwrap_or_default()),
            Type::Shutdown => self.shutdown_executor(framework_id, call.shutdown.unwrap_or_default()),
            Type::Acknowledge => self.acknowledge(framework_id, call.acknowledge.unwrap_or_default()),
            Type::AcknowledgeOperationStatus => {
                self.acknowledge_operation(
                    framework_id,
                    call.acknowledge_operation_status.unwrap_or_default(),
                );
            }
            Type::Reconcile => {
                let tasks = call.reconcile.unwrap_or_default().tasks;
                let tasks: Vec<_> = tasks.into_iter().map(|task| (task.task_id, task.agent_id)).collect();
                self.reconcile(framework_id, &tasks);
            }
            Type::ReconcileOperations => {
                self.reconcile_operations(framework_id, call.reconcile_operations.unwrap_or_default());
            }
            Type::Message => self.message(framework_id, call.message.unwrap_or_default()),
            Type::Request => self.request(framework_id, call.request.unwrap_or_default().requests),
            Type::Subscribe | Type::UpdateFramework | Type::Unknown => return false,
        }
        true
    }

    pub(crate) fn count_call(&mut self, framework_id: &FrameworkId, kind: Type) {
        self.count_of(framework_id, "calls");
        self.count_of(framework_id, format!("calls/{}", kind.as_str_name().to_ascii_lowercase()));
    }

    fn teardown(&mut self, framework_id: &FrameworkId) {
        self.count("master/messages_unregister_framework");
        self.remove_framework(framework_id);
    }

    fn request(&mut self, framework_id: &FrameworkId, requests: Vec<api::v1::Request>) {
        self.count("master/messages_resource_request");
        self.allocator(crate::effect::AllocatorCall::Request { id: framework_id.clone(), requests });
    }
}
