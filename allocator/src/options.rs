//! What the operator can set.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use api::resources::{Name, Quantities, Scalar};

use crate::constraints::Constraints;
use crate::sorter::SorterKind;

/// How the allocator behaves; fixed when it starts.
#[derive(Clone, Debug)]
pub struct Options {
    /// All agents are looked at this long after the end of the last such look. Also the least time for
    /// which a refused offer stays away.
    pub allocation_interval: Duration,
    /// An offer has to reach one of these sets of amounts. With no set at all, any offer that is not empty will do.
    pub min_allocatable_resources: Vec<Quantities>,
    /// Names that do not count when shares are compared.
    pub fair_sharing_excluded_resource_names: BTreeSet<String>,
    /// Keep agents with `gpus` for frameworks that say they know about them.
    pub filter_gpu_resources: bool,
    /// How roles, and frameworks within a role, take turns.
    pub sorter: SorterKind,
    /// The region the master is in; agents that say they are in another one are kept for frameworks that know
    /// about regions.
    pub region: Option<String>,
    /// Make offers from which the headroom took all cpus or all mem.
    /// Without, these are only made to frameworks that named least amounts of their own.
    pub headroom_scraps: bool,
    /// After a failover with quotas set, offers wait for this part of the agents known before ...
    pub agent_recovery_factor: f64,
    /// ... and no longer than this.
    pub recovery_timeout: Duration,
}

/// How a framework wants to be served.
#[derive(Clone, Debug, Default)]
pub struct FrameworkOptions {
    /// Roles in which it is offered nothing until it revives them.
    pub suppressed_roles: BTreeSet<String>,
    /// Which agents it wants offers of.
    pub constraints: Arc<Constraints>,
}

impl Default for Options {
    fn default() -> Options {
        let least =
            |name: &str, thousandths| Quantities::from_iter([(name, Scalar::from_thousandths(thousandths))]);
        Options {
            allocation_interval: Duration::from_secs(1),
            min_allocatable_resources: vec![least("cpus", 10), least("mem", 32_000)],
            fair_sharing_excluded_resource_names: BTreeSet::new(),
            filter_gpu_resources: true,
            sorter: SorterKind::Drf,
            region: None,
            headroom_scraps: false,
            agent_recovery_factor: 0.8,
            recovery_timeout: Duration::from_secs(10 * 60),
        }
    }
}

/// Why a `--min_allocatable_resources` was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MinAllocatableError {
    /// An item without a colon, or without a name before it.
    #[error("`{0}` is not of the form `name:amount`, as in `cpus:0.01|mem:32`")]
    Form(String),
    /// An amount that is no number.
    #[error("`{amount}` is no amount of `{name}`: write a number such as 0.01 or 32")]
    Amount {
        /// The resource.
        name: String,
        /// What was given for it.
        amount: String,
    },
}

/// Reads `cpus:0.01|mem:32`: sets joined by `|`, of which one has to be reached, and inside a set amounts
/// joined by `;`, all of which have to be reached. An empty text is no set at all.
pub fn parse_min_allocatable_resources(text: &str) -> Result<Vec<Quantities>, MinAllocatableError> {
    let items = |joined: &str, by: char| -> Vec<String> {
        joined.split(by).map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
    };
    items(text, '|')
        .iter()
        .map(|set| {
            items(set, ';')
                .iter()
                .map(|item| {
                    let (name, amount) = item
                        .split_once(':')
                        .map(|(name, amount)| (name.trim(), amount.trim()))
                        .filter(|(name, _)| !name.is_empty())
                        .ok_or_else(|| MinAllocatableError::Form(item.clone()))?;
                    let scalar = amount.parse::<Scalar>().map_err(|_| MinAllocatableError::Amount {
                        name: name.to_owned(),
                        amount: amount.to_owned(),
                    })?;
                    Ok((Name::from(name), scalar))
                })
                .collect::<Result<Vec<_>, _>>()
                .map(Quantities::from_iter)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let shown = match parse_min_allocatable_resources(text) {
            Ok(sets) => sets.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or "),
            Err(error) => error.to_string(),
        };
        assert_eq!(shown, expected, "{text}");
    }

    #[test]
    fn sets_are_alternatives_and_their_amounts_go_together() {
        check("cpus:0.01|mem:32", "cpus:0.01 or mem:32");
        check("cpus:1; mem:32 | disk:5", "cpus:1; mem:32 or disk:5");
        check("", "");
    }

    #[test]
    fn errors_name_the_item() {
        check("cpus", "`cpus` is not of the form `name:amount`, as in `cpus:0.01|mem:32`");
        check("cpus:1|mem:x", "`x` is no amount of `mem`: write a number such as 0.01 or 32");
    }

    #[test]
    fn the_default_is_what_the_flag_defaults_to() {
        let parsed = parse_min_allocatable_resources("cpus:0.01|mem:32").unwrap();
        assert_eq!(Options::default().min_allocatable_resources, parsed);
    }
}
