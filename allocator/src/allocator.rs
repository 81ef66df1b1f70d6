//! The allocator's state.
//!
//! How the cluster's events change it is in `events/`, what is decided from it in `cycle.rs`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use api::resources::Name;
use api::v1::{AgentId, FrameworkId};
use slab::Slab;

use crate::agents::Agent;
use crate::amounts::{Amounts, Pool};
use crate::bits::Bits;
use crate::events::{Result, check_role};
use crate::filters::Filters;
use crate::frameworks::{Client, Framework, Role};
use crate::keys::{AgentKey, FrameworkKey, RoleKey};
use crate::maintenance::InverseFilters;
use crate::quota::{Ledger, Minimums};
use crate::sorter::Sorter;
use crate::{AllocatorError, Options};

/// Hierarchical dominant resource fairness over agents, frameworks and roles.
///
/// Events are methods. They change state and note which agents deserve a look; [`Allocator::cycle`] then
/// decides who is offered what. There is no clock, no randomness and no output in here but what is passed
/// in and handed back, so a history can be replayed.
#[derive(Clone, Debug)]
pub struct Allocator {
    pub(crate) options: Options,
    pub(crate) pool: Pool,
    pub(crate) agents: Slab<Agent>,
    /// How many agents were ever added.
    pub(crate) n_joined: u64,
    pub(crate) agent_keys: HashMap<AgentId, AgentKey>,
    pub(crate) frameworks: Slab<Framework>,
    pub(crate) framework_keys: HashMap<FrameworkId, FrameworkKey>,
    pub(crate) clients: Slab<Client>,
    pub(crate) roles: Slab<Role>,
    pub(crate) role_keys: BTreeMap<Arc<str>, RoleKey>,
    pub(crate) roles_version: u64,
    pub(crate) role_sorter: Sorter<RoleKey>,
    pub(crate) ledger: Ledger,
    pub(crate) minimums: Minimums,
    /// Clients with least amounts of their own.
    pub(crate) own_minimums: Bits,
    /// All that is reserved on all agents, by the role it is reserved to; no role with nothing.
    pub(crate) reservations: BTreeMap<Arc<str>, Amounts>,
    pub(crate) filters: Filters,
    /// `None` lets every hostname through.
    pub(crate) whitelist: Option<BTreeSet<String>>,
    pub(crate) paused: bool,
    /// After a failover: wait for this many agents before anything is offered.
    pub(crate) recovering: Option<usize>,
    pub(crate) inverse_filters: InverseFilters,
    /// Agents that are, or are going to be, unavailable.
    pub(crate) maintained: Bits,
    pub(crate) candidates: Candidates,
    /// Agents about which a look might find something new. Only these are looked at, candidates or not.
    pub(crate) unsettled: Bits,
    /// Clients that may be offered something.
    pub(crate) active: Bits,
    /// Active clients which some agents have not been looked at for since they became active or easier to
    /// please: what agents remember of them does not count.
    pub(crate) fresh: Bits,
    /// Active clients that were parked: some agents have not been looked at for them, what others remember counts.
    pub(crate) woken: Bits,
    /// Quotas changed: nothing that was held back has to be any more.
    pub(crate) requoted: bool,
    /// Where frameworks hold something that the allocator does not know.
    pub(crate) stranger_agents: BTreeMap<FrameworkId, BTreeSet<AgentKey>>,
}

/// The agents the next cycle is for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Candidates {
    pub(crate) all: bool,
    pub(crate) some: Bits,
}

impl Allocator {
    /// An allocator of an empty cluster.
    pub fn new(options: Options) -> Allocator {
        let mut pool = Pool::new(&options.fair_sharing_excluded_resource_names);
        Allocator {
            ledger: Ledger::default(),
            minimums: Minimums::new(&options.min_allocatable_resources, &mut pool),
            own_minimums: Bits::default(),
            reservations: BTreeMap::new(),
            recovering: None,
            inverse_filters: InverseFilters::default(),
            maintained: Bits::default(),
            woken: Bits::default(),
            requoted: false,
            pool,
            agents: Slab::new(),
            n_joined: 0,
            agent_keys: HashMap::new(),
            frameworks: Slab::new(),
            framework_keys: HashMap::new(),
            clients: Slab::new(),
            roles: Slab::new(),
            role_keys: BTreeMap::new(),
            roles_version: 0,
            role_sorter: Sorter::new(options.sorter),
            filters: Filters::default(),
            whitelist: None,
            paused: false,
            candidates: Candidates::default(),
            unsettled: Bits::default(),
            active: Bits::default(),
            fresh: Bits::default(),
            stranger_agents: BTreeMap::new(),
            options,
        }
    }

    /// How this allocator was told to behave.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Sets weights of roles, whether there are such roles yet or not. All are checked before any is set.
    pub fn update_weights<'a>(&mut self, weights: impl IntoIterator<Item = (&'a str, f64)>) -> Result<()> {
        let weights: Vec<(&str, f64)> = weights.into_iter().collect();
        for &(role, weight) in &weights {
            check_role(role)?;
            if !(weight.is_finite() && weight > 0.0) {
                return Err(AllocatorError::InvalidWeight { role: role.to_owned(), weight });
            }
        }
        self.roles_version += u64::from(!weights.is_empty());
        for (role, weight) in weights {
            self.role_sorter.set_weight(role, weight);
        }
        Ok(())
    }

    /// Cycles do nothing until [`Allocator::resume`]. Pausing twice is pausing once.
    pub fn pause(&mut self) {
        self.paused = true;
    }

    /// Ends a pause. What became a candidate meanwhile still is one.
    pub fn resume(&mut self) {
        self.paused = false;
    }

    /// Makes all agents candidates, as every allocation interval does.
    pub fn consider_all_agents(&mut self) {
        self.candidates.all = true;
    }

    /// Whether there are candidates, so that a cycle should be run.
    pub fn is_due(&self) -> bool {
        !self.is_held() && (self.candidates.all || !self.candidates.some.is_empty())
    }

    /// Whether cycles do nothing, paused or recovering.
    pub(crate) fn is_held(&self) -> bool {
        self.paused || self.recovering.is_some()
    }

    // --- For those who watch ---------------------------------------------------------------------------

    /// How much of a scalar resource all agents have, in its own unit.
    pub fn total(&self, name: &Name) -> f64 {
        self.pool.find(name).map_or(0.0, |id| self.pool.total(id) as f64 / 1000.0)
    }

    /// How much of a scalar resource known frameworks hold or are offered, in its own unit.
    pub fn offered_or_allocated(&self, name: &Name) -> f64 {
        let held = self.role_sorter.held_by_all();
        self.pool.find(name).map_or(0.0, |id| held.get(id) as f64 / 1000.0)
    }
}
