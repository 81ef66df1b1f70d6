//! A framework in front of an agent: what it may have of it.

use std::borrow::Cow;

use api::resources::{Entry, Name, Quantities, Resources, Scalar};

use crate::agents::Agent;
use crate::amounts::{Amounts, NameId, Pool};
use crate::frameworks::{Client, Framework, Role};
use crate::quota::{Account, Ledger};
use crate::{Options, Time};

/// A framework in a role, in front of an agent.
pub(crate) struct Candidate<'a> {
    pub(crate) agent: &'a Agent,
    pub(crate) framework: &'a Framework,
    pub(crate) role: &'a Role,
    pub(crate) client: &'a Client,
    /// A refusal that ended before does not count any more.
    pub(crate) now: Time,
}

/// Why an agent is not for a framework, whatever others do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Unfit {
    /// It has gpus, and the framework does not say that it knows about them.
    Gpus,
    /// It is in another region, and the framework does not say that it knows about regions.
    Region,
    /// It does not understand frameworks with several roles.
    MultiRole,
    /// It does not understand roles below others.
    HierarchicalRole,
    /// The framework's offer constraints exclude it.
    Constraints,
    /// All that is left is reserved to others, or of a kind the framework does not understand.
    NothingForIt,
    /// What is left does not reach the least amounts.
    BelowMinimum,
}

/// What quota leaves of an offer.
#[derive(Debug, Default)]
pub(crate) struct Cut<'l> {
    pub(crate) resources: Cow<'l, Resources>,
    /// What of it counts against limits and headroom.
    pub(crate) plain: Amounts,
    /// A limit took some of it.
    pub(crate) limited: bool,
    /// The headroom took some of it.
    pub(crate) held_back: bool,
    /// The headroom took all cpus or all mem, and so only what is not held back is left.
    pub(crate) scrap: bool,
}

impl Candidate<'_> {
    /// What of `left` the framework may have if there were no quotas, provided it is worth an offer.
    pub(crate) fn whole<'l>(
        &self,
        left: &'l Resources,
        options: &Options,
    ) -> Result<Cow<'l, Resources>, Unfit> {
        self.check_agent(options)?;
        let all = !self.agent.traits.special || left.iter().all(|entry| self.may_have(entry));
        let offer =
            if all { Cow::Borrowed(left) } else { Cow::Owned(left.filter(|entry| self.may_have(entry))) };
        if offer.is_empty() {
            Err(Unfit::NothingForIt)
        } else if self.is_allocatable(&offer, options) {
            Ok(offer)
        } else {
            Err(Unfit::BelowMinimum)
        }
    }

    /// Whether it is offered what the headroom leaves, be all of some resource gone.
    pub(crate) fn takes_scraps(&self, options: &Options) -> bool {
        options.headroom_scraps || self.client.min_allocatable.is_some()
    }

    /// Whether the framework understands this agent, and the agent this framework.
    fn check_agent(&self, options: &Options) -> Result<(), Unfit> {
        let framework = self.framework.capabilities;
        let agent = self.agent.capabilities;
        if self.agent.traits.gpus && options.filter_gpu_resources && !framework.gpu_resources {
            return Err(Unfit::Gpus);
        }
        if !framework.region_aware && self.agent.is_remote(options.region.as_deref()) {
            return Err(Unfit::Region);
        }
        if framework.multi_role && !agent.multi_role {
            return Err(Unfit::MultiRole);
        }
        if self.role.is_nested() && !agent.hierarchical_role {
            return Err(Unfit::HierarchicalRole);
        }
        if self.framework.constraints.allow(&self.role.name, self.agent.view()) {
            Ok(())
        } else {
            Err(Unfit::Constraints)
        }
    }

    pub(crate) fn may_have(&self, entry: &Entry) -> bool {
        let framework = self.framework.capabilities;
        entry.is_allocatable_to(&self.role.name)
            && (framework.revocable_resources || !entry.is_revocable())
            && (framework.shared_resources || !entry.is_shared())
            && (framework.reservation_refinement || !entry.has_refined_reservation())
    }

    /// Not empty, and reaches one of the sets of amounts, if there are any.
    pub(crate) fn is_allocatable(&self, offer: &Resources, options: &Options) -> bool {
        let minimums = self.client.min_allocatable.as_ref().unwrap_or(&options.min_allocatable_resources);
        is_allocatable(offer, minimums)
    }

    /// What quota leaves of `whole` in the first stage, which gives roles what they are guaranteed: what is
    /// missing to the guarantees, and with it as much as limits and headroom allow, what is reserved to exactly
    /// this role, and what no quota counts. `None` if nothing of the guarantees is in it.
    pub(crate) fn guaranteed<'l>(
        &self,
        whole: &Resources,
        account: &Account,
        ledger: &Ledger,
        pool: &Pool,
    ) -> Option<Cut<'l>> {
        let (plain, mut offer) = split(whole);
        let role = &*self.role.name;
        offer.retain(|entry| !entry.is_reserved() || entry.is_reserved_to(role));
        let unsatisfied = account.unsatisfied();
        let mut granted = plain.clone();
        shrink(&mut granted, pool, |name| Some(unsatisfied.get(name)));
        if granted.is_empty() {
            return None;
        }
        let guaranteed = amounts(&granted, pool);
        let mut extra: Vec<Entry> = (plain.into_iter().collect::<Resources>()
            - &granted.iter().cloned().collect::<Resources>())
            .into_iter()
            .collect();
        let limited = shrink(&mut extra, pool, |name| {
            account.limit_left(name).map(|left| left.saturating_sub(guaranteed.get(name)))
        });
        let held_back = ledger.holds_back() && shrink(&mut extra, pool, |name| Some(ledger.headroom(name)));
        let mut plain = guaranteed;
        plain.add(&amounts(&extra, pool));
        offer.extend(granted);
        offer.extend(extra);
        Some(Cut { resources: Cow::Owned(offer), plain, limited, held_back, scrap: false })
    }

    /// What quota leaves of `whole` in the second stage, which gives everybody a fair share: as much as the limits
    /// of the role (or of the one above it) and the headroom allow. Unless the framework `takes_scraps`, nothing but
    /// what is reserved or revocable is left where the headroom takes all cpus there were, or all mem.
    pub(crate) fn fair<'l>(
        &self,
        whole: Cow<'l, Resources>,
        account: Option<&Account>,
        ledger: &Ledger,
        pool: &Pool,
        takes_scraps: bool,
    ) -> Cut<'l> {
        let limit = |name| account.and_then(|account| account.limit_left(name));
        let headroom = |name| ledger.holds_back().then(|| ledger.headroom(name));
        let all = plain_amounts(&whole, pool);
        let fits = |bound: &dyn Fn(NameId) -> Option<u128>| {
            all.iter().all(|(name, amount)| bound(name).is_none_or(|bound| amount <= bound))
        };
        if fits(&limit) && fits(&headroom) {
            return Cut { resources: whole, plain: all, limited: false, held_back: false, scrap: false };
        }
        let (mut plain, mut offer) = split(&whole);
        let limited = shrink(&mut plain, pool, limit);
        let before = amounts(&plain, pool);
        let held_back = shrink(&mut plain, pool, headroom);
        let after = amounts(&plain, pool);
        // What is reserved or revocable makes up for what was held back.
        let rest = amounts(&offer, pool);
        let robbed = [Name::CPUS, Name::MEM]
            .iter()
            .filter_map(|name| pool.find(name))
            .any(|name| before.get(name) != 0 && after.get(name) == 0 && rest.get(name) == 0);
        let scrap = robbed && !takes_scraps;
        if scrap {
            // What is the role's own, and what may be taken back, nobody holds back.
            offer.retain(|entry| entry.is_reserved() || entry.is_revocable());
            return Cut {
                resources: Cow::Owned(offer),
                plain: Amounts::default(),
                limited,
                held_back,
                scrap,
            };
        }
        offer.extend(plain);
        Cut { resources: Cow::Owned(offer), plain: after, limited, held_back, scrap }
    }
}

/// What quota counts: unreserved scalars that are there to stay.
pub(crate) fn is_plain(entry: &Entry) -> bool {
    entry.scalar().is_some() && !entry.is_reserved() && !entry.is_revocable()
}

/// What quota counts in `resources`, by number; a name not seen before counts for nothing.
pub(crate) fn plain_amounts(resources: &Resources, pool: &Pool) -> Amounts {
    amounts(resources.iter().filter(|entry| is_plain(entry)), pool)
}

fn amounts<'e>(entries: impl IntoIterator<Item = &'e Entry>, pool: &Pool) -> Amounts {
    let mut amounts = Amounts::default();
    for entry in entries {
        if let (Some(id), Some(scalar)) = (pool.find(entry.name()), entry.scalar()) {
            amounts.add_one(id, u128::from(scalar.thousandths()));
        }
    }
    amounts
}

/// What quota counts in the order in which it is to be cut, and the rest.
///
/// The order is the same whenever the entries are, so that the part of an agent which a framework refused is the
/// part it would be offered again: what can be cut first, then larger before smaller, then by how it prints.
fn split(resources: &Resources) -> (Vec<Entry>, Resources) {
    let mut plain: Vec<Entry> = resources.iter().filter(|entry| is_plain(entry)).cloned().collect();
    let several = |name: &Name| plain.iter().filter(|entry| entry.name() == name).count() > 1;
    if plain.iter().any(|entry| several(entry.name())) {
        plain.sort_by_cached_key(|entry| {
            (!entry.is_divisible(), std::cmp::Reverse(entry.scalar()), entry.to_string())
        });
    }
    (plain, resources.filter(|entry| !is_plain(entry)))
}

/// Cuts or drops entries until there is at most `bound` of each name, `None` being any amount. Whether it did.
fn shrink(entries: &mut Vec<Entry>, pool: &Pool, bound: impl Fn(NameId) -> Option<u128>) -> bool {
    let mut taken = Amounts::default();
    let mut cut = false;
    entries.retain_mut(|entry| {
        let Some(name) = pool.find(entry.name()) else { return true };
        let Some(bound) = bound(name) else { return true };
        let left = u64::try_from(bound.saturating_sub(taken.get(name))).unwrap_or(u64::MAX);
        let before = entry.scalar();
        let fits = entry.shrink(Scalar::from_thousandths(left));
        cut |= !fits || entry.scalar() != before;
        if fits && let Some(scalar) = entry.scalar() {
            taken.add_one(name, u128::from(scalar.thousandths()));
        }
        fits
    });
    cut
}

/// Not empty, and reaches one of the sets of amounts, if there are any.
fn is_allocatable(offer: &Resources, minimums: &[Quantities]) -> bool {
    !offer.is_empty() && (minimums.is_empty() || minimums.iter().any(|minimum| offer.reach(minimum)))
}
