//! What the registry holds of the operator's will: quotas and weights.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use allocator::Quota;
use api::internal::registry::Weight;
use api::resources::{Limits, Resources, amounts, upgrade_all};
use api::v1::WeightInfo;
use api::v1::quota::QuotaConfig;

use super::Registry;
use super::operation::{Quotas, Weights};
use super::state::{QUOTA_V2, Refused};

/// The most that is promised or allowed of `mem` and `disk`: an exbibyte, in mebibytes.
const BYTES_MAX: f64 = (1u64 << 40) as f64;

/// The most that is promised or allowed of anything else.
const AMOUNT_MAX: f64 = 1e12;

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
            add(&mut quotas, &config.role, quota_of(config))?;
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
            check_weight(info).map_err(invalid)?;
            Ok(info.clone())
        });
        weights.collect()
    }
}

impl Registry {
    pub(super) fn update_quota(&mut self, quotas: &Quotas) -> Result<(), Refused> {
        let mut roles = BTreeSet::new();
        let mut changes = Vec::new();
        for config in &quotas.configs {
            let role = config.role.as_str();
            let invalid =
                |why: String| Refused::invalid(format!("the quota of role `{role}` cannot be: {why}"));
            let quota = quota_of(config).map_err(invalid)?;
            check_quota(role, &quota).map_err(invalid)?;
            if !roles.insert(role) {
                return Err(invalid("there are two of it".into()));
            }
            changes.push((config, quota.is_default()));
        }
        let rest = Arc::make_mut(&mut self.rest);
        rest.quotas.retain(|old| !roles.contains(old.info.role()));
        for (config, is_default) in changes {
            let at = rest.quota_configs.iter().position(|old| old.role == config.role);
            match at {
                Some(at) if is_default => drop(rest.quota_configs.remove(at)),
                Some(at) => rest.quota_configs[at] = config.clone(),
                None if is_default => {}
                None => rest.quota_configs.push(config.clone()),
            }
        }
        let any = !rest.quota_configs.is_empty();
        self.require(QUOTA_V2, any);
        Ok(())
    }

    pub(super) fn update_weights(&mut self, weights: &Weights) -> Result<(), Refused> {
        let mut roles = BTreeSet::new();
        for info in &weights.weights {
            let role = info.role();
            let invalid =
                |why: String| Refused::invalid(format!("the weight of role `{role}` cannot be: {why}"));
            check_weight(info).map_err(invalid)?;
            if !roles.insert(role) {
                return Err(invalid("there are two of it".into()));
            }
        }
        let all = &mut Arc::make_mut(&mut self.rest).weights;
        for info in &weights.weights {
            match all.iter_mut().find(|old| old.info.role() == info.role()) {
                Some(old) => old.info = info.clone(),
                None => all.push(Weight { info: info.clone() }),
            }
        }
        Ok(())
    }
}

/// What a message says of a role's quota, in the allocator's words.
fn quota_of(config: &QuotaConfig) -> Result<Quota, String> {
    for (name, amount) in config.guarantees.iter().chain(&config.limits) {
        let most = if matches!(name.as_str(), "mem" | "disk") { BYTES_MAX } else { AMOUNT_MAX };
        if amount.value > most {
            return Err(format!("`{name}` is {}, more than {most}", amount.value));
        }
    }
    let guarantees = amounts(&config.guarantees).map_err(|error| error.to_string())?;
    let limits = amounts(&config.limits).map_err(|error| error.to_string())?;
    Ok(Quota { guarantees: guarantees.into_iter().collect(), limits: limits.into_iter().collect::<Limits>() })
}

fn check_quota(role: &str, quota: &Quota) -> Result<(), String> {
    api::roles::validate(role).map_err(|error| error.to_string())?;
    if role.contains('/') {
        return Err("only top-level roles have quota".into());
    }
    if !quota.limits.allow(&quota.guarantees) {
        return Err(format!("{} is guaranteed, but the limit is {}", quota.guarantees, quota.limits));
    }
    Ok(())
}

fn check_weight(info: &WeightInfo) -> Result<(), String> {
    api::roles::validate(info.role()).map_err(|error| error.to_string())?;
    if info.weight.is_finite() && info.weight > 0.0 {
        Ok(())
    } else {
        Err(format!("{} is no finite number above zero", info.weight))
    }
}

fn add(
    quotas: &mut BTreeMap<String, Quota>,
    role: &str,
    quota: Result<Quota, String>,
) -> Result<(), InvalidRegistry> {
    let invalid = |why: String| InvalidRegistry::Quota { role: role.to_owned(), why };
    let quota = quota.map_err(invalid)?;
    check_quota(role, &quota).map_err(invalid)?;
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

    fn config(json: &str) -> QuotaConfig {
        api::json::from_slice(json.as_bytes()).unwrap()
    }

    fn weight(role: &str, weight: f64) -> WeightInfo {
        WeightInfo { role: Some(role.into()), weight }
    }

    /// Applies one operation after the other, each with what comes of it.
    fn apply(registry: &mut Registry, steps: Vec<(super::super::Kind, &str)>) {
        for (kind, expected) in steps {
            let before = registry.clone();
            let outcome = registry.apply(&kind.clone().into());
            let seen = match outcome {
                Ok(()) => {
                    let roles = |configs: &[QuotaConfig]| {
                        configs.iter().map(|it| it.role.clone()).collect::<Vec<_>>().join(",")
                    };
                    let old: Vec<_> =
                        registry.rest.quotas.iter().map(|it| it.info.role().to_owned()).collect();
                    let weights: Vec<_> = registry
                        .rest
                        .weights
                        .iter()
                        .map(|it| format!("{}={}", it.info.role(), it.info.weight))
                        .collect();
                    let needs: Vec<_> = registry.minimum_capabilities().collect();
                    format!(
                        "{} old:{} weights:{} needs:{}",
                        roles(&registry.rest.quota_configs),
                        old.join(","),
                        weights.join(","),
                        needs.join(",")
                    )
                }
                Err(refused) => {
                    assert_eq!(*registry, before, "refused as a whole");
                    refused.to_string()
                }
            };
            assert_eq!(seen, expected, "{kind:?}");
            assert_eq!(Registry::from_proto(registry.to_proto()), Ok(registry.clone()), "proto round trip");
        }
    }

    #[test]
    fn quotas_are_set_changed_and_ended() {
        let set = |configs: &[&str]| {
            super::super::Kind::UpdateQuota(Quotas { configs: configs.iter().map(|it| config(it)).collect() })
        };
        let proto = r#"{"quotas": [{"info": {"role": "b"}}, {"info": {"role": "c"}}]}"#;
        let mut registry = Registry::from_proto(api::json::from_slice(proto.as_bytes()).unwrap()).unwrap();
        let most = format!(
            r#"{{"role": "z", "limits": {{"mem": {{"value": {BYTES_MAX}}}, "x": {{"value": {AMOUNT_MAX}}}}}}}"#
        );
        apply(
            &mut registry,
            vec![
                (set(&[r#"{"role": "x"}"#]), " old:b,c weights: needs:"),
                (
                    set(&[
                        r#"{"role": "a", "limits": {"cpus": {"value": 1}}}"#,
                        r#"{"role": "b", "guarantees": {"mem": {"value": 1}}}"#,
                    ]),
                    "a,b old:c weights: needs:QUOTA_V2",
                ),
                (
                    set(&[r#"{"role": "a", "limits": {"cpus": {"value": 0}}}"#]),
                    "a,b old:c weights: needs:QUOTA_V2",
                ),
                (set(&[r#"{"role": "c"}"#, r#"{"role": "a"}"#]), "b old: weights: needs:QUOTA_V2"),
                (set(&[r#"{"role": "b", "guarantees": {"cpus": {"value": 0}}}"#]), " old: weights: needs:"),
                (
                    set(&[&most, r#"{"role": "*", "limits": {"cpus": {"value": 2}}}"#]),
                    "z,* old: weights: needs:QUOTA_V2",
                ),
                (
                    set(&[r#"{"role": "d", "limits": {"cpus": {"value": 1}}}"#, r#"{"role": "a/b"}"#]),
                    "the quota of role `a/b` cannot be: only top-level roles have quota",
                ),
                (
                    set(&[r#"{"role": "-"}"#]),
                    "the quota of role `-` cannot be: Role '-' must not have a component starting with '-': '-'",
                ),
                (
                    set(&[r#"{"role": "a", "limits": {"disk": {"value": 1099511627777}}}"#]),
                    "the quota of role `a` cannot be: `disk` is 1099511627777, more than 1099511627776",
                ),
                (
                    set(&[r#"{"role": "a", "guarantees": {"cpus": {"value": 1000000000001}}}"#]),
                    "the quota of role `a` cannot be: `cpus` is 1000000000001, more than 1000000000000",
                ),
                (
                    set(&[r#"{"role": "a", "guarantees": {"cpus": {"value": -1}}}"#]),
                    "the quota of role `a` cannot be: resource 'cpus': -1 is negative; an amount is zero or more",
                ),
                (
                    set(&[
                        r#"{"role": "a", "guarantees": {"cpus": {"value": 2}}, "limits": {"cpus": {"value": 1}}}"#,
                    ]),
                    "the quota of role `a` cannot be: cpus:2 is guaranteed, but the limit is cpus:1",
                ),
                (
                    set(&[r#"{"role": "a"}"#, r#"{"role": "a"}"#]),
                    "the quota of role `a` cannot be: there are two of it",
                ),
            ],
        );
        let mut infinite = config(r#"{"role": "a", "limits": {"cpus": {"value": 1}}}"#);
        for limit in infinite.limits.values_mut() {
            limit.value = f64::NAN;
        }
        let refused =
            registry.apply(&super::super::Kind::UpdateQuota(Quotas { configs: vec![infinite] }).into());
        assert!(refused.unwrap_err().to_string().contains("NaN"));
    }

    #[test]
    fn weights_are_set_and_changed() {
        let set = |weights: &[(&str, f64)]| {
            let weights = weights.iter().map(|(role, it)| weight(role, *it)).collect();
            super::super::Kind::UpdateWeights(Weights { weights })
        };
        apply(
            &mut Registry::default(),
            vec![
                (set(&[]), " old: weights: needs:"),
                (set(&[("b", 2.0), ("a/c", 0.5)]), " old: weights:b=2,a/c=0.5 needs:"),
                (set(&[("*", 3.0), ("b", 1.0)]), " old: weights:b=1,a/c=0.5,*=3 needs:"),
                (
                    set(&[("c", 1.0), ("d", 0.0)]),
                    "the weight of role `d` cannot be: 0 is no finite number above zero",
                ),
                (
                    set(&[("d", f64::INFINITY)]),
                    "the weight of role `d` cannot be: inf is no finite number above zero",
                ),
                (set(&[("", 1.0)]), "the weight of role `` cannot be: Role name must not be empty"),
                (set(&[("d", 1.0), ("d", 2.0)]), "the weight of role `d` cannot be: there are two of it"),
            ],
        );
    }
}
