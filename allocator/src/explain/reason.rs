//! What there can be to say of an agent, and how it is said.

use std::fmt;

use serde::Serialize;

use super::Standing;
use super::shown::Numbers;

/// How no resources are told.
pub(super) const NOTHING: &str = "nothing";

/// What there is to say of an agent for a framework in a role, without the particulars: the first reason
/// that was found. Groups are listed in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The next cycle offers it, unless somebody comes before.
    WouldBeOffered,
    /// It would be offered if the framework took turns.
    NotTakingTurns,
    /// Nothing is left, and the framework is among those who hold it.
    Holds,
    /// Nothing is left, and others hold it.
    NothingLeft,
    /// The agent does not take part.
    AgentInactive,
    /// Its hostname is not on the whitelist.
    NotWhitelisted,
    /// It has gpus, and the framework lacks `GPU_RESOURCES`.
    NeedsGpuResources,
    /// It is in another region, and the framework lacks `REGION_AWARE`.
    NeedsRegionAware,
    /// The framework has `MULTI_ROLE`, the agent lacks it.
    AgentLacksMultiRole,
    /// The role is below another, and the agent lacks `HIERARCHICAL_ROLE`.
    AgentLacksHierarchicalRole,
    /// The framework's offer constraints exclude it.
    ExcludedByConstraints,
    /// What is left is reserved to other roles.
    ReservedToOthers,
    /// What is left is of a kind the framework lacks a capability for.
    NeedsOtherCapability,
    /// What is left, and not reserved to others, does not reach the least amounts.
    BelowMinimum,
    /// The framework refused it.
    Refused,
    /// It is kept for guarantees of other roles.
    HeldBack,
    /// The role has reached its limits.
    OverLimit,
}

impl Kind {
    /// In words, as of several agents.
    pub fn text(self) -> &'static str {
        match self {
            Kind::WouldBeOffered => "would be offered in the next cycle, unless somebody before takes it",
            Kind::NotTakingTurns => "would be offered if the framework took turns in this role",
            Kind::Holds => "nothing is left, and the framework is offered or uses some of it",
            Kind::NothingLeft => "nothing is left: others are offered or use it",
            Kind::AgentInactive => "the agent is deactivated: disconnected, draining, or by an operator",
            Kind::NotWhitelisted => "the agent's hostname is not on the whitelist",
            Kind::NeedsGpuResources => {
                "the agent has gpus, and the framework does not have the capability GPU_RESOURCES"
            }
            Kind::NeedsRegionAware => {
                "the agent is in another region, and the framework does not have the capability REGION_AWARE"
            }
            Kind::AgentLacksMultiRole => {
                "the framework has the capability MULTI_ROLE, and the agent is too old for it"
            }
            Kind::AgentLacksHierarchicalRole => {
                "the role is below another role, and the agent is too old for that"
            }
            Kind::ExcludedByConstraints => "the framework's offer constraints exclude the agent",
            Kind::ReservedToOthers => "what is left is reserved to other roles",
            Kind::NeedsOtherCapability => {
                "what is left is revocable, shared, or has a refined reservation, and the framework does not have \
                 the capability for it"
            }
            Kind::BelowMinimum => {
                "what is left for the framework does not reach the least amounts of an offer"
            }
            Kind::Refused => "the framework refused what is left, and that still holds",
            Kind::HeldBack => "what is left is held back for what other roles are guaranteed",
            Kind::OverLimit => "the role may not have more: its limits leave nothing worth an offer",
        }
    }
}

/// Why an agent is or is not offered, with the particulars.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Reason {
    /// [`Kind::WouldBeOffered`]
    WouldBeOffered {
        /// What.
        offer: String,
        /// The framework refused it, and that has ended since the last cycle.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        refusal_ended: bool,
        /// Who comes before, if anybody who would take some of it.
        #[serde(skip_serializing_if = "Option::is_none")]
        before: Option<Claimant>,
    },
    /// [`Kind::NotTakingTurns`]
    NotTakingTurns {
        /// What.
        offer: String,
        /// Why it does not.
        standing: Standing,
    },
    /// [`Kind::Holds`] and [`Kind::NothingLeft`]
    Taken {
        /// Who holds it.
        by: OfferedOrUsed,
    },
    /// [`Kind::AgentInactive`], [`Kind::AgentLacksMultiRole`], [`Kind::AgentLacksHierarchicalRole`],
    /// [`Kind::NeedsGpuResources`] and [`Kind::ExcludedByConstraints`]: there is no more to it.
    Plain {},
    /// [`Kind::NotWhitelisted`]
    NotWhitelisted {
        /// How many are on the list.
        n_whitelisted: usize,
    },
    /// [`Kind::NeedsRegionAware`]
    NeedsRegionAware {
        /// Of the agent.
        agent_region: String,
        /// Of the master.
        master_region: String,
    },
    /// [`Kind::ReservedToOthers`] and [`Kind::NeedsOtherCapability`]
    NotForIt {
        /// Roles to which some of it is reserved.
        reserved_to: Vec<String>,
        /// Capabilities without which the framework is not offered some of it.
        missing_capabilities: Vec<&'static str>,
    },
    /// [`Kind::BelowMinimum`]
    BelowMinimum {
        /// What it could be offered.
        left: String,
        /// Sets of amounts, one of which has to be reached.
        minimums: Vec<Numbers>,
        /// Whether the framework set them, rather than the operator.
        set_by_framework: bool,
        /// Roles to which some of the rest is reserved.
        reserved_to: Vec<String>,
        /// Capabilities without which the framework is not offered some of the rest.
        missing_capabilities: Vec<&'static str>,
    },
    /// [`Kind::Refused`]
    Refused {
        /// What was refused, of which `offer` is a part.
        refused: String,
        /// What it could be offered.
        offer: String,
        /// Seconds since the Unix epoch; the last of several refusals.
        until: f64,
        /// From now.
        seconds_left: f64,
    },
    /// [`Kind::HeldBack`] and [`Kind::OverLimit`]
    Quota {
        /// What it could be offered if there were no quotas.
        without_quota: String,
        /// What limits and the headroom leave of that.
        leaves: String,
        /// The limits of the role, or of the one above it, if these took some.
        #[serde(skip_serializing_if = "Option::is_none")]
        limits: Option<Spent>,
        /// What is still missing to guarantees, if the headroom took some.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        missing: Vec<Missing>,
        /// What is left was refused.
        leaves_refused: bool,
    },
}

/// Who comes before.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Claimant {
    /// Which framework.
    pub framework_id: String,
    /// In which role.
    pub role: String,
    /// What it would be offered.
    pub offer: String,
}

/// Who holds an agent.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct OfferedOrUsed {
    /// Frameworks, each counted once for each of its roles.
    pub n_frameworks: usize,
    /// Frameworks that were not heard of since the last failover.
    pub n_unknown_frameworks: usize,
    /// More is held than the agent has.
    pub overcommitted: bool,
}

/// What is left of limits.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Spent {
    /// Whose.
    pub role: String,
    /// The limits.
    pub limits: Numbers,
    /// What of them is spent.
    pub consumed: Numbers,
}

/// What is missing to a guarantee.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Missing {
    /// Whose.
    pub role: String,
    /// How much.
    pub amounts: Numbers,
}

/// The sentence for one agent.
pub(super) struct Sentence<'r>(pub(super) Kind, pub(super) &'r Reason);

impl fmt::Display for Sentence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Sentence(kind, reason) = self;
        match reason {
            Reason::WouldBeOffered { offer, refusal_ended, before } => {
                write!(f, "would be offered {offer} in the next cycle")?;
                if *refusal_ended {
                    f.write_str(", as its refusal has ended")?;
                }
                let Some(Claimant { framework_id, role, offer: taken }) = before else { return Ok(()) };
                write!(f, ", but framework {framework_id} in role `{role}` comes before it, ")?;
                write!(f, "and would be offered {taken}")
            }
            Reason::NotTakingTurns { offer, standing } => {
                write!(f, "would be offered {offer}, but the framework {}", standing.text())
            }
            Reason::Taken { by } => {
                write!(f, "{} (frameworks: {}", kind.text(), by.n_frameworks)?;
                if by.n_unknown_frameworks > 0 {
                    write!(f, ", and {} not heard of since the last failover", by.n_unknown_frameworks)?;
                }
                f.write_str(")")?;
                if by.overcommitted { f.write_str("; more is held than the agent has") } else { Ok(()) }
            }
            Reason::Plain {} => f.write_str(kind.text()),
            Reason::NotWhitelisted { n_whitelisted } => {
                write!(f, "{} of {n_whitelisted} hostnames", kind.text())
            }
            Reason::NeedsRegionAware { agent_region, master_region } => {
                write!(f, "the agent is in region `{agent_region}`, the master in `{master_region}`, ")?;
                f.write_str("and the framework does not have the capability REGION_AWARE")
            }
            Reason::NotForIt { reserved_to, missing_capabilities } => {
                write!(f, "what is left is {}", not_for_it(reserved_to, missing_capabilities))
            }
            Reason::BelowMinimum { left, minimums, set_by_framework, reserved_to, missing_capabilities } => {
                let whose = if *set_by_framework { "the framework" } else { "the operator" };
                write!(f, "{left} is left for it, less than any of what {whose} set as least: ")?;
                f.write_str(&minimums.iter().map(amounts).collect::<Vec<_>>().join(" or "))?;
                if reserved_to.is_empty() && missing_capabilities.is_empty() {
                    return Ok(());
                }
                write!(f, "; the rest is {}", not_for_it(reserved_to, missing_capabilities))
            }
            Reason::Refused { refused, offer, seconds_left, .. } => {
                if offer != refused {
                    write!(f, "{offer} could be offered, but ")?;
                }
                write!(f, "the framework refused {refused}")?;
                if *seconds_left < 0.1 {
                    // A cycle at this very moment still keeps to it.
                    f.write_str(" for less than another 0.1 s")
                } else {
                    write!(f, " for another {seconds_left:.1} s")
                }
            }
            Reason::Quota { without_quota, leaves, limits, missing, leaves_refused } => {
                write!(f, "of {without_quota}, {leaves} remains")?;
                match (leaves_refused, leaves.as_str()) {
                    (true, _) => f.write_str(", which the framework refused")?,
                    (false, NOTHING) => {}
                    (false, _) => f.write_str(", which is not worth an offer")?,
                }
                if let Some(Spent { role, limits, consumed }) = limits {
                    let (limits, consumed) = (amounts(limits), amounts(consumed));
                    write!(f, "; role `{role}` is limited to {limits} and has {consumed}")?;
                }
                for Missing { role, amounts: missing } in missing {
                    write!(f, "; {} is held back for role `{role}`", amounts(missing))?;
                }
                Ok(())
            }
        }
    }
}

fn amounts(amounts: &Numbers) -> String {
    if amounts.is_empty() {
        return NOTHING.to_owned();
    }
    amounts.iter().map(|(name, it)| format!("{name}:{it}")).collect::<Vec<_>>().join("; ")
}

fn not_for_it(reserved_to: &[String], missing_capabilities: &[&str]) -> String {
    let mut parts = Vec::new();
    if !reserved_to.is_empty() {
        parts.push(format!("reserved to {}", list(reserved_to)));
    }
    if !missing_capabilities.is_empty() {
        parts.push(format!("only for frameworks with {}", missing_capabilities.join(", ")));
    }
    parts.join(", or ")
}

fn list(roles: &[String]) -> String {
    let names: Vec<String> = roles.iter().map(|role| format!("`{role}`")).collect();
    format!("{} {}", if roles.len() == 1 { "role" } else { "roles" }, names.join(", "))
}
