//! Workloads in which roles are promised something.

use std::time::Duration;

use allocator::sorter::SorterKind;
use allocator::{Options, Quota};
use api::resources::{Limits, Name, Quantities, Resources, Scalar};

use super::cluster::{Cluster, Result, expect, resources};
use super::figures::{Figures, timed};

/// What each agent has.
const AGENT: &str = "cpus:2;mem:2048;disk:2048";

/// `amount` of cpus, and a thousand times that of mem and disk, as guarantee and limit.
fn quota(cpus: u64) -> Quota {
    let amounts = [(Name::CPUS, cpus), (Name::MEM, cpus * 1024), (Name::DISK, cpus * 1024)];
    let amounts = amounts.map(|(name, amount)| (name, Scalar::from_units(amount)));
    Quota { guarantees: Quantities::from_iter(amounts.clone()), limits: Limits::from_iter(amounts) }
}

fn cluster(sorter: SorterKind, n_agents: usize) -> Result<Cluster> {
    let mut cluster = Cluster::with(Options { sorter, ..Options::default() });
    let agents = cluster.new_agents(n_agents, &resources(AGENT)?, &Resources::new());
    cluster.add_agents(agents)?;
    Ok(cluster)
}

fn offered_cpus(cluster: &Cluster) -> u64 {
    cluster.offers.iter().map(|offer| offer.resources.cpus().thousandths()).sum::<u64>() / 1000
}

/// Many roles with a quota of half an agent, some with one of two agents: agents and quotas are cut.
pub(super) fn large_and_small(
    to: &mut Figures,
    sorter: SorterKind,
    n_small: usize,
    n_large: usize,
) -> Result<()> {
    let (n_agents, n_roles) = (n_small / 5 + n_large * 5, n_small + n_large);
    let name = format!("LargeAndSmallQuota, {sorter:?}: {n_agents} x {n_roles} roles");
    let role = |n: usize| if n < n_small { format!("small{n}") } else { format!("large{n}") };
    let mut cluster = cluster(sorter, n_agents)?;
    cluster.allocator.pause();
    let added = cluster.add_frameworks(n_roles, &[], role)?;
    let (set, done) = timed(|| {
        (0..n_roles).try_for_each(|n| {
            cluster.allocator.update_quota(&role(n), quota(if n < n_small { 1 } else { 4 }))
        })
    });
    done?;
    cluster.allocator.resume();
    let took = cluster.next_interval();
    let n_offers = cluster.offers.len();
    expect("cpus promised", offered_cpus(&cluster) as usize, n_small + 4 * n_large)?;
    let again = cluster.next_interval();
    expect("offers in the idle cycle", cluster.offers.len() - n_offers, 0)?;
    let bounded = n_roles == 3_000 && sorter == SorterKind::Drf;
    let mut note = |what: &str, took: Duration, n_offers: usize, upstream: f64, reach: f64| {
        let figure = to.note(format!("{name}: {what}"), took, n_offers, 0);
        if bounded {
            figure.beside(upstream, reach);
        }
    };
    note("add frameworks", added, 0, 22_600.0, 100.0);
    note("first cycle", took, n_offers, 10_000.0, 300.0);
    note("idle cycle", again, 0, 13_300.0, 1.0);
    to.note(format!("{name}: set one quota, mean"), set / n_roles as u32, 0, 0);
    cluster.check()
}

/// The same cycle with and without quotas, each of which is two whole agents.
pub(super) fn quota_or_not(to: &mut Figures, sorter: SorterKind, n_roles: usize) -> Result<()> {
    let n_agents = 2 * n_roles;
    for with_quota in [false, true] {
        let mut cluster = cluster(sorter, n_agents)?;
        cluster.allocator.pause();
        cluster.add_frameworks(2 * n_roles, &[], |n| format!("role{}", n / 2))?;
        if with_quota {
            (0..n_roles).try_for_each(|n| cluster.allocator.update_quota(&format!("role{n}"), quota(4)))?;
        }
        cluster.allocator.resume();
        let took = cluster.next_interval();
        let n_offers = cluster.offers.len();
        expect("cpus offered", offered_cpus(&cluster) as usize, 2 * n_agents)?;
        let again = cluster.next_interval();
        expect("offers in the idle cycle", cluster.offers.len() - n_offers, 0)?;
        let which = if with_quota { "with quota" } else { "without" };
        let name = format!("NonQuotaVsQuota, {sorter:?}: {n_agents} x {}: {which}", 2 * n_roles);
        let figure = to.note(format!("{name}, first cycle"), took, n_offers, 0);
        match (with_quota, n_roles, sorter) {
            (true, 1_000, SorterKind::Drf) => figure.beside(115.0, 20.0),
            (true, 1_000, SorterKind::Random) => figure.beside(708.0, 30.0),
            _ => {}
        }
        to.note(format!("{name}, idle cycle"), again, 0, 0);
        cluster.check()?;
    }
    Ok(())
}

/// All that the metrics say of a cluster in which every role has a quota.
pub(super) fn metrics(to: &mut Figures, n_agents: usize, n_frameworks: usize) -> Result<()> {
    let mut cluster = Cluster::new();
    let amounts = [(Name::CPUS, 1), (Name::MEM, 512), (Name::DISK, 256)];
    let amounts = amounts.map(|(name, amount)| (name, Scalar::from_units(amount)));
    let quota = Quota { guarantees: amounts.into_iter().collect(), limits: Limits::new() };
    (0..n_frameworks).try_for_each(|n| cluster.allocator.update_quota(&n.to_string(), quota.clone()))?;
    cluster.add_frameworks(n_frameworks, &[], |n| n.to_string())?;
    let agents = cluster.new_agents(n_agents, &resources("cpus:16;mem:2048;disk:1024")?, &Resources::new());
    cluster.add_agents(agents)?;
    let allocator = &cluster.allocator;
    let (took, sum) = timed(|| {
        let mut sum = 0.0;
        for name in [Name::CPUS, Name::MEM, Name::DISK] {
            sum += allocator.total(&name) + allocator.offered_or_allocated(&name);
        }
        for role in allocator.roles() {
            sum += allocator.weighted_share(role).unwrap_or_default();
            sum += allocator.n_refusals(role).unwrap_or_default() as f64;
            sum += allocator.quota(role).map_or(0.0, |quota| quota.guarantees.get(&Name::CPUS).to_f64());
        }
        sum
    });
    expect("totals", usize::from(sum > (n_agents * 3_000) as f64), 1)?;
    to.note(
        format!("Metrics: {n_agents} x {n_frameworks}: read what the gauges of all roles show"),
        took,
        0,
        0,
    );
    cluster.check()
}
