//! `FrameworkInfo`, suppressed roles and offer constraints.

use std::collections::BTreeSet;

use api::v1::{FrameworkInfo, OfferFilters};

use super::Invalid;
use crate::capabilities::FrameworkCapabilities;
use crate::cluster::Rules;
use crate::effect::OfferOptions;
use crate::frameworks::roles_of;
use allocator::constraints::Constraints;

/// The longest failover timeout that is a duration: 2^63 - 1 nanoseconds.
const FAILOVER_TIMEOUT_SECS_MAX: f64 = 9_223_372_036.0;

/// Checks what a framework says of itself.
pub fn info(info: &FrameworkInfo, rules: &Rules) -> Result<(), Invalid> {
    let capabilities = FrameworkCapabilities::of(&info.capabilities);
    roles(info, capabilities)?;
    if let Some(id) = info.id.as_ref().filter(|id| !id.value.is_empty()) {
        id.validate().map_err(|error| format!("Not a valid framework id: {error}"))?;
    }
    for (role, filters) in &info.offer_filters {
        offer_filters(role, filters)?;
    }
    let timeout = info.failover_timeout();
    if !(0.0..=FAILOVER_TIMEOUT_SECS_MAX).contains(&timeout) {
        return Err(format!(
            "The framework's failover_timeout ({timeout}) is invalid: it is a number of seconds from 0 to {FAILOVER_TIMEOUT_SECS_MAX}"
        ));
    }
    if let Some(whitelist) = &rules.roles {
        for role in roles_of(info, capabilities) {
            if role != "*" && !whitelist.contains(&role) {
                return Err(format!("Role '{role}' is not present in the master's --roles"));
            }
        }
    }
    if info.user == "root" && !rules.root_submissions {
        return Err("User 'root' is not allowed to run frameworks without --root_submissions set".into());
    }
    Ok(())
}

fn roles(info: &FrameworkInfo, capabilities: FrameworkCapabilities) -> Result<(), Invalid> {
    #[allow(deprecated)]
    let role_is_set = info.role.is_some();
    if capabilities.multi_role {
        if role_is_set {
            return Err(
                "'FrameworkInfo.role' must not be set when the framework is MULTI_ROLE capable; use 'roles'"
                    .into(),
            );
        }
        let mut seen = BTreeSet::new();
        if let Some(twice) = info.roles.iter().find(|role| !seen.insert(role.as_str())) {
            return Err(format!("'FrameworkInfo.roles' contains role '{twice}' twice"));
        }
    } else if !info.roles.is_empty() {
        return Err(
            "'FrameworkInfo.roles' must not be set when the framework is not MULTI_ROLE capable; use 'role'"
                .into(),
        );
    }
    for role in roles_of(info, capabilities) {
        api::roles::validate(&role).map_err(|error| format!("'FrameworkInfo.role' is not valid: {error}"))?;
    }
    Ok(())
}

/// Every offer is held against all of them.
const MAX_MINIMUMS: usize = 100;

fn offer_filters(role: &str, filters: &OfferFilters) -> Result<(), Invalid> {
    let Some(minimum) = &filters.min_allocatable_resources else { return Ok(()) };
    if minimum.quantities.len() > MAX_MINIMUMS {
        return Err(format!(
            "Invalid offer filters for role '{role}': there are {} sets of minimum quantities; at most {MAX_MINIMUMS} are of use",
            minimum.quantities.len()
        ));
    }
    for quantities in &minimum.quantities {
        if quantities.quantities.is_empty() {
            return Err(format!(
                "Invalid offer filters for role '{role}': a set of minimum quantities is empty; name at least one resource"
            ));
        }
        for (name, scalar) in &quantities.quantities {
            if !scalar.value.is_finite() || scalar.value < 0.0 {
                return Err(format!(
                    "Invalid offer filters for role '{role}': the quantity of '{name}' is {}; it must be finite and not negative",
                    scalar.value
                ));
            }
        }
    }
    Ok(())
}

/// Suppressed roles and constraints speak of subscribed roles only.
pub fn options(info: &FrameworkInfo, options: &OfferOptions, rules: &Rules) -> Result<(), Invalid> {
    let roles = roles_of(info, FrameworkCapabilities::of(&info.capabilities));
    for role in &options.suppressed_roles {
        if !roles.contains(role) {
            return Err(format!("Suppressed role '{role}' is not contained in the list of roles"));
        }
    }
    match &options.constraints {
        Some(constraints) => Constraints::compile_within(constraints, &roles, rules.regex).map(drop),
        None => Ok(()),
    }
}

/// Who a framework is may not change; what it wants may.
pub fn unchanged_principal(old: &FrameworkInfo, new: &FrameworkInfo) -> Result<(), Invalid> {
    if old.principal == new.principal {
        Ok(())
    } else {
        Err("Changing framework's principal is not allowed.".into())
    }
}

/// For UPDATE_FRAMEWORK, where a change that SUBSCRIBE silently undoes is an error.
pub fn update(old: &FrameworkInfo, new: &FrameworkInfo) -> Result<(), Invalid> {
    unchanged_principal(old, new)?;
    if old.user != new.user {
        return Err(format!(
            "Updating 'FrameworkInfo.user' is unsupported; attempted to update from '{}' to '{}'",
            old.user, new.user
        ));
    }
    if old.checkpoint() != new.checkpoint() {
        return Err(format!(
            "Updating 'FrameworkInfo.checkpoint' is unsupported; attempted to update from '{}' to '{}'",
            old.checkpoint(),
            new.checkpoint()
        ));
    }
    Ok(())
}
