//! A scheduler's call, before anything in it is looked up.

use api::v1::scheduler::{Call, call::Type};
use api::v1::{FrameworkId, FrameworkInfo};

use super::Invalid;

/// Checks a v1 call. `principal` is the authenticated one.
pub fn scheduler(call: &Call, principal: Option<&str>) -> Result<(), Invalid> {
    let Some(raw) = call.r#type else { return Err("Expecting 'type' to be present".into()) };
    let Ok(kind) = Type::try_from(raw) else { return Ok(()) };
    if kind == Type::Subscribe {
        let subscribe = call.subscribe.as_ref().ok_or_else(|| expecting("subscribe"))?;
        return subscription(call.framework_id.as_ref(), &subscribe.framework_info, principal);
    }
    let Some(framework_id) = &call.framework_id else {
        return Err("Expecting 'framework_id' to be present".into());
    };
    let present = |set: bool, name: &str| if set { Ok(()) } else { Err(expecting(name)) };
    match kind {
        Type::Accept => present(call.accept.is_some(), "accept"),
        Type::Decline => present(call.decline.is_some(), "decline"),
        Type::AcceptInverseOffers => present(call.accept_inverse_offers.is_some(), "accept_inverse_offers"),
        Type::DeclineInverseOffers => {
            present(call.decline_inverse_offers.is_some(), "decline_inverse_offers")
        }
        Type::Kill => present(call.kill.is_some(), "kill"),
        Type::Shutdown => present(call.shutdown.is_some(), "shutdown"),
        Type::Acknowledge => {
            let acknowledge = call.acknowledge.as_ref().ok_or_else(|| expecting("acknowledge"))?;
            uuid(&acknowledge.uuid)
        }
        Type::AcknowledgeOperationStatus => {
            let acknowledge = call
                .acknowledge_operation_status
                .as_ref()
                .ok_or_else(|| expecting("acknowledge_operation_status"))?;
            uuid(&acknowledge.uuid)?;
            present(acknowledge.agent_id.is_some(), "acknowledge_operation_status.agent_id")
        }
        Type::Reconcile => present(call.reconcile.is_some(), "reconcile"),
        Type::ReconcileOperations => present(call.reconcile_operations.is_some(), "reconcile_operations"),
        Type::Message => present(call.message.is_some(), "message"),
        Type::Request => present(call.request.is_some(), "request"),
        Type::UpdateFramework => {
            let update = call.update_framework.as_ref().ok_or_else(|| expecting("update_framework"))?;
            if update.framework_info.id.as_ref() == Some(framework_id) {
                Ok(())
            } else {
                Err("'framework_id' differs from 'update_framework.framework_info.id'".into())
            }
        }
        Type::Unknown | Type::Subscribe | Type::Teardown | Type::Revive | Type::Suppress => Ok(()),
    }
}

/// The id and principal of a SUBSCRIBE. An empty id is what some drivers send for none.
pub fn subscription(
    id: Option<&FrameworkId>,
    info: &FrameworkInfo,
    principal: Option<&str>,
) -> Result<(), Invalid> {
    let given = |id: Option<&FrameworkId>| id.map(|id| id.value.clone()).filter(|id| !id.is_empty());
    if given(id) != given(info.id.as_ref()) {
        return Err(
            "'framework_id' differs from 'subscribe.framework_info.id'; set both to the same or neither"
                .into(),
        );
    }
    match (principal, info.principal.as_deref()) {
        (Some(authenticated), Some(claimed)) if authenticated != claimed => Err(format!(
            "Authenticated principal '{authenticated}' does not match principal '{claimed}' set in `FrameworkInfo`"
        )),
        _ => Ok(()),
    }
}

fn expecting(name: &str) -> Invalid {
    format!("Expecting '{name}' to be present")
}

fn uuid(bytes: &[u8]) -> Result<(), Invalid> {
    if bytes.len() == 16 {
        Ok(())
    } else {
        Err(format!("Not a valid UUID: it has {} bytes instead of 16", bytes.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::v1::scheduler::call;

    fn call(kind: Type) -> Call {
        Call { r#type: Some(kind.into()), framework_id: Some("f".into()), ..Call::default() }
    }

    #[test]
    fn each_call_needs_its_body() {
        for kind in [
            Type::Accept,
            Type::Decline,
            Type::AcceptInverseOffers,
            Type::DeclineInverseOffers,
            Type::Kill,
            Type::Shutdown,
            Type::Acknowledge,
            Type::AcknowledgeOperationStatus,
            Type::Reconcile,
            Type::ReconcileOperations,
            Type::Message,
            Type::Request,
            Type::UpdateFramework,
            Type::Subscribe,
        ] {
            let expected = format!("Expecting '{}' to be present", kind.as_str_name().to_ascii_lowercase());
            assert_eq!(scheduler(&call(kind), None), Err(expected));
        }
        for kind in [Type::Teardown, Type::Revive, Type::Suppress] {
            assert_eq!(scheduler(&call(kind), None), Ok(()));
        }
    }

    #[test]
    fn all_but_subscribe_name_their_framework() {
        let anonymous = Call { r#type: Some(Type::Revive.into()), ..Call::default() };
        assert_eq!(scheduler(&anonymous, None), Err("Expecting 'framework_id' to be present".into()));
        assert_eq!(scheduler(&Call::default(), None), Err("Expecting 'type' to be present".into()));
    }

    #[test]
    fn acknowledgements_name_an_update() {
        let mut acknowledge = call(Type::Acknowledge);
        acknowledge.acknowledge = Some(call::Acknowledge { uuid: vec![1, 2], ..Default::default() });
        assert!(scheduler(&acknowledge, None).unwrap_err().contains("2 bytes instead of 16"));
    }

    #[test]
    fn a_subscription_claims_no_other_principal() {
        let mut subscribe = call(Type::Subscribe);
        subscribe.framework_id = None;
        let framework_info = FrameworkInfo { principal: Some("eve".into()), ..Default::default() };
        subscribe.subscribe = Some(call::Subscribe { framework_info, ..Default::default() });
        assert_eq!(scheduler(&subscribe, None), Ok(()));
        assert!(scheduler(&subscribe, Some("bob")).is_err());
    }

    #[test]
    fn an_empty_id_is_none() {
        let info = |id: Option<&str>| FrameworkInfo { id: id.map(Into::into), ..Default::default() };
        let (empty, some) = (FrameworkId::from(""), FrameworkId::from("f"));
        assert_eq!(subscription(None, &info(Some("")), None), Ok(()));
        assert_eq!(subscription(Some(&empty), &info(None), None), Ok(()));
        assert_eq!(subscription(Some(&some), &info(Some("f")), None), Ok(()));
        assert!(subscription(Some(&some), &info(None), None).is_err());
    }
}
