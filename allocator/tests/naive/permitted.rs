//! Who may be offered what: capabilities, ownership, minimums.

use std::collections::BTreeSet;

use api::resources::{Entry, Quantities, Resources};
use api::v1::{FrameworkInfo, agent_info, framework_info};

use libprocess::Time;

use super::{Naive, Refusal};

fn can(framework: &FrameworkInfo, what: framework_info::capability::Type) -> bool {
    framework.capabilities.iter().any(|it| it.r#type() == what)
}

/// The roles a framework subscribes to: the field depends on MULTI_ROLE.
pub(crate) fn roles_of(info: &FrameworkInfo) -> BTreeSet<String> {
    if can(info, framework_info::capability::Type::MultiRole) {
        info.roles.iter().cloned().collect()
    } else {
        BTreeSet::from([info.role().to_owned()])
    }
}

/// The same framework in some of its roles; one that has a single role leaves it by having several, none of
/// which is one.
pub(super) fn set_roles<'a>(info: &mut FrameworkInfo, roles: impl Iterator<Item = &'a String>) {
    use framework_info::capability::Type;
    info.roles = roles.cloned().collect();
    if !can(info, Type::MultiRole) {
        info.capabilities.push(framework_info::Capability { r#type: Some(Type::MultiRole as i32) });
    }
}

impl Naive {
    /// Whether the framework understands the agent, and the agent the framework.
    pub(crate) fn is_capable(&self, id: &str, role: &str, agent: &str) -> bool {
        use agent_info::capability::Type as AgentType;
        use framework_info::capability::Type;
        let (framework, agent) = (&self.frameworks[id].info, &self.agents[agent]);
        let agent_can = |what: AgentType| agent.capabilities.iter().any(|it| it.r#type() == what);
        // "Agent has gpus, framework lacks GPU_RESOURCES, filter_gpu_resources: whole agent withheld."
        if self.rules.filter_gpus && !agent.total.gpus().is_zero() && !can(framework, Type::GpuResources) {
            return false;
        }
        // "Agent's region is not master's region, framework lacks REGION_AWARE: whole agent withheld."
        let domain = agent.info.domain.as_ref().and_then(|domain| domain.fault_domain.as_ref());
        if let (Some(domain), Some(region)) = (domain, &self.rules.region)
            && domain.region.name != *region
            && !can(framework, Type::RegionAware)
        {
            return false;
        }
        // "Offer constraints: attribute text_equals or text_not_equals."
        let text = agent.info.attributes.iter().find(|it| it.name == "attribute");
        let text = text.map(|it| it.text.as_ref().map_or("", |text| &text.value));
        if let Some(wanted) = self.frameworks[id].wanted.get(role)
            && !wanted.strip_prefix('!').map_or(text == Some(wanted), |other| text != Some(other))
        {
            return false;
        }
        // "Framework MULTI_ROLE, agent lacks it: filtered."
        if can(framework, Type::MultiRole) && !agent_can(AgentType::MultiRole) {
            return false;
        }
        // "Role contains `/`, agent lacks HIERARCHICAL_ROLE: filtered."
        !role.contains('/') || agent_can(AgentType::HierarchicalRole)
    }

    /// "Shared, revocable, refined-reservation resources stripped from the offer."
    pub(crate) fn understood(&self, framework: &str, resources: &Resources) -> Resources {
        use framework_info::capability::Type;
        let info = &self.frameworks[framework].info;
        resources.filter(|entry: &Entry| {
            (!entry.is_shared() || can(info, Type::SharedResources))
                && (!entry.is_revocable() || can(info, Type::RevocableResources))
                && (!entry.has_refined_reservation() || can(info, Type::ReservationRefinement))
        })
    }

    pub(super) fn takes_revocable(&self, framework: &str) -> bool {
        can(&self.frameworks[framework].info, framework_info::capability::Type::RevocableResources)
    }

    /// The sets of minimums the framework named for a role.
    pub(super) fn own_minimums(&self, framework: &str, role: &str) -> Option<Vec<Quantities>> {
        let filters = self.frameworks[framework].info.offer_filters.get(role)?;
        let sets = &filters.min_allocatable_resources.as_ref()?.quantities;
        let amounts = |set: &api::v1::offer_filters::ResourceQuantities| {
            api::resources::amounts(&set.quantities).unwrap_or_default().into_iter().collect()
        };
        Some(sets.iter().map(amounts).collect())
    }

    /// "Non-empty, and satisfies at least one set of minimum quantities": the framework's if it named some
    /// ("an empty list accepts everything"), else the operator's.
    pub(super) fn is_allocatable(&self, framework: &str, role: &str, offer: &Resources) -> bool {
        let minimums = self.own_minimums(framework, role).unwrap_or_else(|| self.rules.minimums.clone());
        let quantities = offer.quantities();
        !offer.is_empty() && (minimums.is_empty() || minimums.iter().any(|it| quantities.contains(it)))
    }

    /// Until when an offer is refused, if it is: a refusal "hides an offer O iff R contains O".
    pub(crate) fn refused_until(
        &self,
        framework: &str,
        role: &str,
        agent: &str,
        offer: &Resources,
    ) -> Option<Time> {
        let by = |it: &&Refusal| it.framework == framework && it.role == role && it.agent == agent;
        // One that ends now still holds.
        let by = |it: &&Refusal| by(it) && it.until >= self.now;
        let hiding = self.refusals.iter().filter(by).filter(|it| it.resources.contains(offer));
        hiding.map(|it| it.until).max()
    }
}
