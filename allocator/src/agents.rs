//! Agents: what they have, who holds it, and what is left.

use std::borrow::Cow;
use std::collections::BTreeMap;

use api::resources::{Entry, Resources};
use api::v1::agent_info::{Capability, capability};
use api::v1::{AgentId, AgentInfo, Attribute, DomainInfo, FrameworkId};

use crate::amounts::Amounts;
use crate::bits::Bits;
use crate::constraints::AgentView;
use crate::keys::ClientKey;
use crate::maintenance::Maintenance;

/// One agent.
///
/// **Invariant:** `available` is `total` without everything in `held` and `strangers`, but for shared resources:
/// of these all of `total` is always available.
#[derive(Clone, Debug)]
pub(crate) struct Agent {
    pub(crate) id: AgentId,
    /// How many agents were added before it.
    join_number: u64,
    pub(crate) hostname: String,
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) domain: Option<DomainInfo>,
    pub(crate) capabilities: Capabilities,
    pub(crate) active: bool,
    pub(crate) total: Resources,
    /// `total`, as the pool counts it.
    pub(crate) amounts: Amounts,
    pub(crate) traits: Traits,
    /// Offered to or used by each client, without mention of the role it is allocated to.
    pub(crate) held: BTreeMap<ClientKey, Held>,
    /// Held by frameworks the allocator has not been told of, each allocated to its role.
    pub(crate) strangers: BTreeMap<FrameworkId, Resources>,
    pub(crate) available: Resources,
    /// What of `available` counts as free for quota; kept while there is any quota.
    pub(crate) free: Amounts,
    /// More is held than there is, as after the total shrank: what comes back may have to stay away.
    pub(crate) overcommitted: bool,
    /// Clients that got nothing from this agent when it had `declined_of` left, and so get nothing of less.
    pub(crate) declined: Bits,
    /// Clients that got nothing from it because limits or the headroom did not allow it. Holds until these allow
    /// more, or something else is available.
    pub(crate) held_back: Bits,
    /// What was available when they did. Means nothing while there is nobody in these two.
    declined_of: Resources,
    pub(crate) maintenance: Option<Box<Maintenance>>,
}

/// The place of an agent in the order in which a cycle visits agents: ascending, equals by `join_number`, which
/// counts agents as they were added.
///
/// Every cycle draws its own `seed`. An agent's place depends on that and on nothing else, least of all on which
/// others are looked at; so an allocator that looks at all of them, as the naive one of the tests, comes to the
/// same offers. The mixing is the finalizer of splitmix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number
/// Generators, 2014).
pub fn order_key(seed: u64, join_number: u64) -> u64 {
    let mut z = seed ^ join_number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// What the lots are drawn with that decide who takes turns when at an agent, for a cycle that drew `seed`: those of
/// the roles with this, those of the frameworks of the `n`th role to take its turn with `order_key` of this and `n`.
///
/// No more than the place of an agent does it depend on which others are looked at.
pub fn lots_seed(seed: u64, join_number: u64) -> u64 {
    order_key(!seed, join_number)
}

/// What a client holds on an agent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Held {
    /// Offered or used.
    pub(crate) resources: Resources,
    /// What of it is used, as far as quota counts it.
    pub(crate) allocated: Amounts,
}

/// What an agent says it understands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Capabilities {
    pub(crate) multi_role: bool,
    pub(crate) hierarchical_role: bool,
}

impl Capabilities {
    pub(crate) fn of(capabilities: &[Capability]) -> Capabilities {
        let has = |wanted: capability::Type| capabilities.iter().any(|it| it.r#type() == wanted);
        Capabilities {
            multi_role: has(capability::Type::MultiRole),
            hierarchical_role: has(capability::Type::HierarchicalRole),
        }
    }
}

/// What makes an agent's resources more than plain ones. Most are plain, and need not be looked through for
/// every framework.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Traits {
    pub(crate) gpus: bool,
    /// Some entry is not for everyone: reserved, revocable or shared.
    pub(crate) special: bool,
    /// Some entry is there for any number of frameworks at once.
    pub(crate) shared: bool,
    /// Some entry goes to one framework whole or not at all.
    pub(crate) indivisible: bool,
}

impl Traits {
    fn of(total: &Resources) -> Traits {
        let special = |entry: &Entry| entry.is_reserved() || entry.is_revocable() || entry.is_shared();
        Traits {
            gpus: !total.gpus().is_zero(),
            special: total.iter().any(special),
            shared: total.iter().any(Entry::is_shared),
            indivisible: !total.iter().all(Entry::is_divisible),
        }
    }
}

impl Agent {
    /// An agent nobody holds anything of.
    pub(crate) fn new(
        id: AgentId,
        join_number: u64,
        info: &AgentInfo,
        capabilities: &[Capability],
        total: Resources,
        amounts: Amounts,
    ) -> Agent {
        Agent {
            id,
            join_number,
            hostname: info.hostname.clone(),
            attributes: info.attributes.clone(),
            domain: info.domain.clone(),
            capabilities: Capabilities::of(capabilities),
            active: true,
            traits: Traits::of(&total),
            available: total.clone(),
            total,
            amounts,
            held: BTreeMap::new(),
            strangers: BTreeMap::new(),
            free: Amounts::default(),
            overcommitted: false,
            declined: Bits::default(),
            held_back: Bits::default(),
            declined_of: Resources::new(),
            maintenance: None,
        }
    }

    /// Where it stands in the order of agents drawn with `seed`.
    pub(crate) fn order_in(&self, seed: u64) -> (u64, u64) {
        (order_key(seed, self.join_number), self.join_number)
    }

    /// What lots are drawn with at it in a cycle that drew `seed`.
    pub(crate) fn lots_in(&self, seed: u64) -> u64 {
        lots_seed(seed, self.join_number)
    }

    /// What offer constraints look at.
    pub(crate) fn view(&self) -> AgentView<'_> {
        AgentView { hostname: &self.hostname, attributes: &self.attributes, domain: self.domain.as_ref() }
    }

    /// Whether it is in another region than `region`. Who says nothing of where he is, is here.
    pub(crate) fn is_remote(&self, region: Option<&str>) -> bool {
        let own = self.domain.as_ref().and_then(|domain| domain.fault_domain.as_ref());
        matches!((own, region), (Some(own), Some(region)) if own.region.name != region)
    }

    /// Replaces the total, and gives the one before.
    pub(crate) fn set_total(&mut self, total: Resources, amounts: Amounts) -> Resources {
        self.traits = Traits::of(&total);
        let before = std::mem::replace(&mut self.total, total);
        self.amounts = amounts;
        // An agent that only has more has that free: what is held need not be added up.
        if !self.overcommitted && self.total.contains(&before) {
            self.available += &(self.total.clone() - &before);
        } else {
            self.recompute();
        }
        before
    }

    /// Replaces the total by one of the same value, whose conversion `f` does to what is available.
    pub(crate) fn convert(&mut self, total: Resources, f: impl FnOnce(&mut Resources)) {
        self.traits = Traits::of(&total);
        self.total = total;
        if self.overcommitted { self.recompute() } else { f(&mut self.available) }
    }

    /// Notes that somebody, client or stranger, holds `resources` more.
    pub(crate) fn take(&mut self, resources: &Resources) {
        let alone = |entry: &&Entry| !entry.is_shared();
        // Most often it is all there is.
        if resources.iter().filter(alone).eq(self.available.iter().filter(alone)) {
            self.available.retain(Entry::is_shared);
            return;
        }
        let resources = exclusive(resources);
        if self.available.contains(&resources) {
            self.available -= &resources;
        } else {
            self.recompute();
        }
    }

    /// Notes that somebody, client or stranger, holds `resources` less.
    pub(crate) fn put_back(&mut self, resources: &Resources) {
        if self.overcommitted {
            self.recompute();
        } else if resources.iter().any(Entry::is_shared) {
            self.available.extend(resources.iter().filter(|entry| !entry.is_shared()).cloned());
        } else {
            self.available += resources;
        }
    }

    /// Everything that is held, by clients and strangers, but for what is shared.
    pub(crate) fn all_held(&self) -> Resources {
        let mut all = Resources::new();
        self.held.values().for_each(|held| all += &*exclusive(&held.resources));
        self.strangers.values().for_each(|held| all += exclusive(held).into_owned().unallocated());
        all
    }

    pub(crate) fn recompute(&mut self) {
        let held = self.all_held();
        self.overcommitted = !self.total.contains(&held);
        self.available = self.total.clone() - &held;
    }

    /// Forgets who declined what if more is available now than when they did, and for whom something was held
    /// back if anything else is. Less is `no_part` where things go to one client whole or not at all: where one volume
    /// was too much, another may fit.
    pub(crate) fn review_declined(&mut self, no_part: bool) {
        if !self.remembers_anybody() || self.declined_of == self.available {
            return;
        }
        if no_part || !self.declined_of.contains(&self.available) {
            self.declined.clear();
        }
        self.held_back.clear();
        self.declined_of.clone_from(&self.available);
    }

    /// Remembers who got nothing of what is available, and for whom it was held back; after a review.
    pub(crate) fn remember(&mut self, declined: &[ClientKey], held_back: &[ClientKey]) {
        if declined.is_empty() && held_back.is_empty() {
            return;
        }
        self.remember_of_what();
        declined.iter().for_each(|client| self.declined.insert(client.0));
        held_back.iter().for_each(|client| self.held_back.insert(client.0));
    }

    /// Remembers that a client gets nothing, if that follows from its having refused `resources`.
    pub(crate) fn remember_refusal(&mut self, client: ClientKey, resources: &Resources) {
        let of = if self.remembers_anybody() { &self.declined_of } else { &self.available };
        if resources.contains(of) {
            self.remember_of_what();
            self.declined.insert(client.0);
        }
    }

    /// Whether all of `clients` are known to get nothing of what is available.
    pub(crate) fn has_nothing_for(&self, clients: &Bits) -> bool {
        clients.is_covered_by(&self.declined, &self.held_back) && self.declined_of == self.available
    }

    /// The first that is remembered settles what it is remembered of.
    fn remember_of_what(&mut self) {
        if !self.remembers_anybody() {
            self.declined_of.clone_from(&self.available);
        }
    }

    fn remembers_anybody(&self) -> bool {
        !self.declined.is_empty() || !self.held_back.is_empty()
    }
}

/// Without what several may hold at once.
fn exclusive(resources: &Resources) -> Cow<'_, Resources> {
    if resources.iter().any(Entry::is_shared) {
        Cow::Owned(resources.non_shared())
    } else {
        Cow::Borrowed(resources)
    }
}
