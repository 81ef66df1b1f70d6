//! What the registry holds of the operator's will: quotas and weights.

use std::collections::BTreeMap;

use allocator::Quota;
use api::resources::{Limits, Resources, amounts, upgrade_all};
use api::v1::WeightInfo;

use super::Registry;

/// The registry holds something no master can go by. To go on without it would be to break a promise.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum InvalidRegistry {
    /// A quota.
    #[error("the registry holds a quota of role `{role}` that cannot be: {why}")]
    Quota {
        /// Whose.
        role: String,
        /// What is wrong.
        why: String,
    },
    /// A weight.
    #[error("the registry holds a weight of role `{role}` that cannot be: {why}")]
    Weight {
        /// Whose.
        role: String,
        /// What is wrong.
        why: String,
    },
}

impl Registry {
    /// The quotas, by role. In their old form they are guarantees which are limits too.
    ///
    /// # Errors
    /// Names the first that cannot be.
    pub fn quotas(&self) -> Result<BTreeMap<String, Quota>, InvalidRegistry> {
        let mut quotas = BTreeMap::new();
        for old in &self.rest.quotas {
            let role = old.info.role();
            let mut guarantee = old.info.guarantee.clone();
            let quota = upgrade_all(&mut guarantee).and_then(|()| Resources::try_from(&guarantee));
            let quota = quota.map_err(|error| error.to_string());
            let quota = quota.map(|guarantee| {
                let guarantees = guarantee.scalar_quantities();
                let limits = guarantees.iter().map(|(name, amount)| (name.clone(), amount)).collect();
                Quota { guarantees, limits }
            });
            add(&mut quotas, role, quota)?;
        }
        for config in &self.rest.quota_configs {
            let guarantees = amounts(&config.guarantees).map_err(|error| error.to_string());
            let quota = guarantees.and_then(|guarantees| {
                let limits: Limits =
                    amounts(&config.limits).map_err(|error| error.to_string())?.into_iter().collect();
                Ok(Quota { guarantees: guarantees.into_iter().collect(), limits })
            });
            add(&mut quotas, &config.role, quota)?;
        }
        Ok(quotas)
    }

    /// The weights that were set.
    ///
    /// # Errors
    /// Names the first that cannot be.
    pub fn weights(&self) -> Result<Vec<WeightInfo>, InvalidRegistry> {
        let weights = self.rest.weights.iter().map(|weight| {
            let info = &weight.info;
            let invalid = |why: String| InvalidRegistry::Weight { role: info.role().to_owned(), why };
            api::roles::validate(info.role()).map_err(|error| invalid(error.to_string()))?;
            if !(info.weight.is_finite() && info.weight > 0.0) {
                return Err(invalid(format!("{} is no finite number above zero", info.weight)));
            }
            Ok(info.clone())
        });
        weights.collect()
    }
}

fn add(
    quotas: &mut BTreeMap<String, Quota>,
    role: &str,
    quota: Result<Quota, String>,
) -> Result<(), InvalidRegistry> {
    let invalid = |why: String| InvalidRegistry::Quota { role: role.to_owned(), why };
    let quota = quota.map_err(invalid)?;
    api::roles::validate(role).map_err(|error| invalid(error.to_string()))?;
    if role.contains('/') {
        return Err(invalid("only top-level roles have quota".into()));
    }
    if !quota.limits.allow(&quota.guarantees) {
        return Err(invalid(format!(
            "{} is guaranteed, but the limit is {}",
            quota.guarantees, quota.limits
        )));
    }
    match quotas.insert(role.to_owned(), quota) {
        None => Ok(()),
        Some(_) => Err(invalid("there are two of it".into())),
    }
}

#[cfg(test)]
mod tests {
    use api::internal::Registry as RegistryProto;

    use super::*;

    fn check(json: &str) -> String {
        let proto: RegistryProto = api::json::from_slice(json.as_bytes()).unwrap();
        let registry = Registry::from_proto(proto).unwrap();
        let quotas = registry.quotas().map(|quotas| {
            let one = |(role, quota): (&String, &Quota)| {
                format!("{role}: {} to {}", quota.guarantees, quota.limits)
            };
            quotas.iter().map(one).collect::<Vec<_>>().join(", ")
        });
        let weights = registry.weights().map(|weights| {
            weights.iter().map(|it| format!("{}={}", it.role(), it.weight)).collect::<Vec<_>>().join(", ")
        });
        let text = |it: Result<String, InvalidRegistry>| it.unwrap_or_else(|error| error.to_string());
        format!("{} | {}", text(quotas), text(weights))
    }

    #[test]
    fn quotas_of_both_forms_and_weights_are_read() {
        let registry = r#"{
            "quotas": [{"info": {"role": "old", "guarantee": [{"name": "cpus", "type": "SCALAR", "scalar": {"value": 2.5}}]}}],
            "quota_configs": [
                {"role": "new", "guarantees": {"cpus": {"value": 1}}, "limits": {"cpus": {"value": 4}, "mem": {"value": 0}}},
                {"role": "capped", "limits": {"disk": {"value": 10}}}
            ],
            "weights": [{"info": {"role": "new", "weight": 2}}, {"info": {"role": "old/er", "weight": 0.5}}]
        }"#;
        assert_eq!(
            check(registry),
            "capped: {} to disk:10, new: cpus:1 to cpus:4; mem:0, old: cpus:2.5 to cpus:2.5 | new=2, old/er=0.5"
        );
        assert_eq!(check("{}"), " | ");
    }

    #[test]
    fn what_cannot_be_is_named() {
        for (registry, expected) in [
            (
                r#"{"quota_configs": [{"role": "a/b", "limits": {"cpus": {"value": 1}}}]}"#,
                "the registry holds a quota of role `a/b` that cannot be: only top-level roles have quota | ",
            ),
            (
                r#"{"quota_configs": [{"role": "a", "guarantees": {"cpus": {"value": 2}}, "limits": {"cpus": {"value": 1}}}]}"#,
                "the registry holds a quota of role `a` that cannot be: cpus:2 is guaranteed, but the limit is cpus:1 | ",
            ),
            (
                r#"{"quota_configs": [{"role": "a"}], "quotas": [{"info": {"role": "a"}}]}"#,
                "the registry holds a quota of role `a` that cannot be: there are two of it | ",
            ),
            (
                r#"{"weights": [{"info": {"role": "a", "weight": 0}}]}"#,
                " | the registry holds a weight of role `a` that cannot be: 0 is no finite number above zero",
            ),
        ] {
            assert_eq!(check(registry), expected);
        }
    }
}
