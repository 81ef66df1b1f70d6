//! Frameworks, their roles, and each pair of the two.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use api::resources::{Quantities, Scalar};
use api::v1::framework_info::{Capability, capability};
use api::v1::{FrameworkId, FrameworkInfo, OfferFilters};

use crate::amounts::Amounts;
use crate::constraints::Constraints;
use crate::keys::{AgentKey, ClientKey, FrameworkKey, QuotaKey, RoleKey};
use crate::sorter::Sorter;

/// One framework.
#[derive(Clone, Debug)]
pub(crate) struct Framework {
    pub(crate) id: FrameworkId,
    pub(crate) active: bool,
    pub(crate) capabilities: Capabilities,
    pub(crate) constraints: Arc<Constraints>,
    /// Roles it is subscribed to or still holds something in.
    pub(crate) clients: BTreeMap<Arc<str>, ClientKey>,
}

/// What a framework says it understands, as far as offers depend on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Capabilities {
    pub(crate) multi_role: bool,
    pub(crate) gpu_resources: bool,
    pub(crate) revocable_resources: bool,
    pub(crate) shared_resources: bool,
    pub(crate) reservation_refinement: bool,
    pub(crate) region_aware: bool,
}

impl Capabilities {
    pub(crate) fn of(capabilities: &[Capability]) -> Capabilities {
        let has = |wanted: capability::Type| capabilities.iter().any(|it| it.r#type() == wanted);
        Capabilities {
            multi_role: has(capability::Type::MultiRole),
            gpu_resources: has(capability::Type::GpuResources),
            revocable_resources: has(capability::Type::RevocableResources),
            shared_resources: has(capability::Type::SharedResources),
            reservation_refinement: has(capability::Type::ReservationRefinement),
            region_aware: has(capability::Type::RegionAware),
        }
    }
}

/// The roles a framework subscribes to: the field that holds them depends on MULTI_ROLE.
pub(crate) fn roles_of(info: &FrameworkInfo) -> BTreeSet<&str> {
    if Capabilities::of(&info.capabilities).multi_role {
        info.roles.iter().map(String::as_str).collect()
    } else {
        BTreeSet::from([info.role()])
    }
}

/// The sets of amounts of which an offer has to reach one; `None` where the framework leaves it to the operator.
pub(crate) fn min_allocatable(filters: Option<&OfferFilters>) -> Option<Vec<Quantities>> {
    let sets = &filters?.min_allocatable_resources.as_ref()?.quantities;
    // Amounts that are none were refused when the framework subscribed; one that is too large asks for too much.
    let amount = |value: f64| Scalar::from_f64(value).unwrap_or(Scalar::LIMIT);
    let quantities = |set: &api::v1::offer_filters::ResourceQuantities| {
        set.quantities.iter().map(|(name, it)| (name.as_str(), amount(it.value))).collect()
    };
    Some(sets.iter().map(quantities).collect())
}

/// A framework in one of its roles.
///
/// Listed in the role's sorter as active iff its framework is active, it is subscribed, not suppressed and not
/// parked.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) framework: FrameworkKey,
    pub(crate) role: RoleKey,
    /// Otherwise it is here for what it still holds only.
    pub(crate) subscribed: bool,
    pub(crate) suppressed: bool,
    /// Nothing it could be offered is within the limits of its role. Costs as little as being suppressed.
    pub(crate) parked: bool,
    /// It became active, or easier to please, while parked.
    pub(crate) fresh_when_unparked: bool,
    /// Where it holds something.
    pub(crate) agents: BTreeSet<AgentKey>,
    pub(crate) min_allocatable: Option<Vec<Quantities>>,
}

/// A role with frameworks in it.
#[derive(Clone, Debug)]
pub(crate) struct Role {
    pub(crate) name: Arc<str>,
    pub(crate) sorter: Sorter<ClientKey>,
    /// The account it, or the role above it all, counts for.
    pub(crate) quota: Option<QuotaKey>,
    /// What its frameworks are offered or use, as far as quota counts it.
    pub(crate) held: Amounts,
    /// What of that they use.
    pub(crate) allocated: Amounts,
}

impl Role {
    /// The role above it all, or itself.
    pub(crate) fn top_level(&self) -> &str {
        top_level(&self.name)
    }

    /// Whether it has a parent, which old agents do not understand.
    pub(crate) fn is_nested(&self) -> bool {
        self.name.contains('/')
    }
}

/// The first component of a role's path: the role quota is set for.
pub(crate) fn top_level(role: &str) -> &str {
    role.split_once('/').map_or(role, |(top_level, _)| top_level)
}
