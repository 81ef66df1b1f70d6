//! Quotas change.

use std::collections::BTreeMap;

use super::{Result, check_role};
use crate::quota::Quota;
use crate::{Allocator, AllocatorError};

impl Allocator {
    /// Sets what a top-level role is promised and what it may have, with all roles below it. The default quota
    /// is none.
    pub fn update_quota(&mut self, role: &str, quota: Quota) -> Result<()> {
        check_quota(role, &quota)?;
        self.set_quota(role, quota);
        Ok(())
    }

    /// The quota of a role, if it has one.
    pub fn quota(&self, role: &str) -> Option<&Quota> {
        self.ledger.key(role).map(|key| &self.ledger.accounts[key.0].quota)
    }

    /// After a failover: sets quotas, and if there are any makes offers wait until most of the `n_agents` known
    /// before are back, so that nobody is offered what has to be held back.
    ///
    /// True if offers wait; then [`Allocator::end_recovery`] is to be called after
    /// [`Options::recovery_timeout`](crate::Options::recovery_timeout).
    pub fn recover(&mut self, n_agents: usize, quotas: BTreeMap<String, Quota>) -> Result<bool> {
        quotas.iter().try_for_each(|(role, quota)| check_quota(role, quota))?;
        let none = quotas.values().all(Quota::is_default);
        for (role, quota) in quotas {
            self.set_quota(&role, quota);
        }
        if none {
            return Ok(false);
        }
        let expected = (n_agents as f64 * self.options.agent_recovery_factor) as usize;
        self.recovering = Some(expected);
        self.agent_joined();
        Ok(self.recovering.is_some())
    }

    /// Offers wait for agents no longer.
    pub fn end_recovery(&mut self) {
        self.recovering = None;
    }

    pub(crate) fn agent_joined(&mut self) {
        if self.recovering.is_some_and(|expected| self.agents.len() >= expected) {
            self.recovering = None;
        }
    }
}

fn check_quota(role: &str, quota: &Quota) -> Result<()> {
    check_role(role)?;
    if role.contains('/') {
        return Err(AllocatorError::NestedQuota(role.to_owned()));
    }
    for (name, guarantee) in quota.guarantees.iter() {
        if let Some(limit) = quota.limits.get(name).filter(|limit| *limit < guarantee) {
            let name = name.to_string();
            return Err(AllocatorError::GuaranteeAboveLimit {
                role: role.to_owned(),
                name,
                guarantee,
                limit,
            });
        }
    }
    Ok(())
}
