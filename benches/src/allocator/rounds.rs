//! Workloads of one cycle after the other.

use std::collections::BTreeSet;
use std::time::Duration;

use api::resources::{Entry, Resources};
use api::v1::framework_info::capability::Type;
use api::v1::resource::{DiskInfo, ReservationInfo, disk_info, reservation_info};
use api::v1::{Label, Labels, Volume, value, volume};

use super::cluster::{AGENT, Cluster, Result, expect, fragmented_ports, resources, used};
use super::figures::{Figures, timed};

/// Agents in use by the frameworks in turn, each with the rest of it on offer.
fn cluster_in_use(n_agents: usize, n_frameworks: usize, mem: u32) -> Result<Cluster> {
    let mut cluster = Cluster::new();
    cluster.add_frameworks(n_frameworks, &[], |_| "*".to_owned())?;
    let used = used(&format!("cpus:16;mem:{mem};disk:1024"), 16, "*")?;
    let agents = cluster.new_agents(n_agents, &resources(AGENT)?, &used);
    cluster.add_agents(agents)?;
    expect("offers at first", cluster.offers.len(), n_agents)?;
    Ok(cluster)
}

/// Every round, whatever is offered is declined for as long as can be, until there is nobody left to ask.
pub(super) fn decline(to: &mut Figures, n_agents: usize, n_frameworks: usize, noted: usize) -> Result<()> {
    let (upstream, reach) = match n_agents {
        1_000 => ((55.0, 1_000.0), (3.0, 0.1)),
        _ => ((357.0, 6_100.0), (15.0, 0.1)),
    };
    let name = format!("DeclineOffers: {n_agents} x {n_frameworks}");
    let mut cluster = cluster_in_use(n_agents, n_frameworks, 2014)?;
    let (mut declines, mut n_declined) = (Duration::ZERO, 0);
    let mut idle = Vec::new();
    for round in 0..n_frameworks * 2 {
        n_declined += cluster.offers.len();
        declines += cluster.decline()?;
        let took = cluster.next_interval();
        let n_offers = cluster.offers.len();
        if round == noted {
            let n_filtered = cluster.n_filtered();
            expect("refusals in between", n_filtered, (noted + 1) * n_agents)?;
            let what = format!("{name}: cycle in round {noted}");
            to.note(what, took, n_offers, n_filtered).beside(upstream.0, reach.0);
        }
        if n_offers == 0 {
            idle.push(took);
        }
    }
    let n_filtered = cluster.n_filtered();
    expect("refusals at last", n_filtered, n_frameworks * n_agents)?;
    let what = format!("{name}: cycle once all is filtered, the slowest of {}", idle.len());
    let slowest = idle.iter().skip(1).max().copied().unwrap_or_default();
    to.note(what, slowest, 0, n_filtered).beside(upstream.1, reach.1);
    to.note(format!("{name}: the first of these, right after the last declines"), idle[0], 0, n_filtered);
    to.note(format!("{name}: one decline, mean"), declines / n_declined as u32, 0, n_filtered);
    cluster.check()
}

/// Another fifth of the frameworks suppresses offers in each of five rounds; what was offered comes back.
pub(super) fn suppress(to: &mut Figures, n_agents: usize, n_frameworks: usize) -> Result<()> {
    let name = format!("SuppressOffers: {n_agents} x {n_frameworks}");
    let mut cluster = cluster_in_use(n_agents, n_frameworks, 1024)?;
    let ids = cluster.frameworks.clone();
    for (round, suppressed) in ids.chunks(n_frameworks / 5).enumerate() {
        cluster.give_back(None)?;
        let (suppressing, done) = timed(|| {
            suppressed.iter().try_for_each(|id| cluster.allocator.suppress_offers(id, &BTreeSet::new()))
        });
        done?;
        let took = cluster.next_interval();
        let n_offers = cluster.offers.len();
        expect("offers to the others", n_offers, if round < 4 { n_agents } else { 0 })?;
        let percent = (round + 1) * 20;
        let figure = to.note(format!("{name}: cycle, {percent} % suppressed"), took, n_offers, 0);
        if round == 0 {
            figure.beside(524.0, 30.0);
            let each = suppressing / suppressed.len() as u32;
            to.note(format!("{name}: one SUPPRESS, mean"), each, 0, 0);
        }
    }
    cluster.check()
}

/// Nearly all suppress offers at once.
pub(super) fn suppress_nearly_all(to: &mut Figures, n_agents: usize, n_frameworks: usize) -> Result<()> {
    let name = format!("ExtremeSuppressOffers: {n_agents} x {n_frameworks}");
    let mut cluster = cluster_in_use(n_agents, n_frameworks, 1024)?;
    for id in &cluster.frameworks[..n_frameworks * 99 / 100] {
        cluster.allocator.suppress_offers(id, &BTreeSet::new())?;
    }
    let mut took = Duration::ZERO;
    for _ in 0..5 {
        cluster.give_back(None)?;
        took += cluster.next_interval();
        expect("offers to the others", cluster.offers.len(), n_agents)?;
    }
    to.note(format!("{name}: cycle, 99 % suppressed, mean of 5"), took / 5, n_agents, 0);
    cluster.check()
}

/// Declining again, but every agent has two reservations with a dozen labels each, no two agents the same.
pub(super) fn labels(to: &mut Figures, n_agents: usize, n_frameworks: usize) -> Result<()> {
    for within_total in [false, true] {
        let which = if within_total { "its own reservations" } else { "reservations it lacks" };
        let name = format!("ResourceLabels: {n_agents} x {n_frameworks}: cycle, {which}");
        let mut cluster = Cluster::new();
        cluster.add_frameworks(n_frameworks, &[], |_| "role1".to_owned())?;
        let plain = used("mem:2014;disk:1024", 16, "role1")?;
        let mut agents = Vec::new();
        for n in 0..n_agents {
            let reserved: Resources =
                (1..=2).map(|which| labelled(n, which)).collect::<Result<Resources>>()?;
            let mut total = resources(if within_total {
                "cpus:8;mem:4096;disk:4096"
            } else {
                "cpus:24;mem:4096;disk:4096"
            })?;
            total += &resources("ports:[31000-32000]")?;
            if within_total {
                total += &reserved;
            }
            let used = plain.clone() + &reserved.allocated("role1");
            let used = vec![(cluster.in_turn(n), used)];
            agents.push(cluster.new_agent(total, used));
        }
        cluster.add_agents(agents)?;
        let (mut took, mut offering, mut n_offers) = (Duration::ZERO, Duration::ZERO, 0);
        for _ in 0..n_frameworks * 2 {
            cluster.decline()?;
            let cycle = cluster.next_interval();
            n_offers += cluster.offers.len();
            took += cycle;
            if !cluster.offers.is_empty() {
                offering += cycle;
            }
        }
        let n_filtered = cluster.n_filtered();
        expect("refusals", n_filtered, n_agents * n_frameworks)?;
        expect("offers after the first", n_offers, n_agents * (n_frameworks - 1))?;
        let n_rounds = 2 * n_frameworks as u32;
        to.note(format!("{name}, mean of {n_rounds}"), took / n_rounds, n_offers, n_filtered)
            .beside(151.0, 8.0);
        let n_rounds = n_frameworks as u32 - 1;
        to.note(format!("{name}, mean of {n_rounds} that offer"), offering / n_rounds, n_offers, n_filtered);
        cluster.check()?;
    }
    Ok(())
}

/// 8 reserved cpus; of 12 labels the last makes it another reservation than any other.
fn labelled(agent: usize, which: usize) -> Result<Entry> {
    let label = |key: String, value: String| Label { key, value: Some(value) };
    let labels = (0..11).map(|n| label(format!("key{n}"), format!("value{n}")));
    let unique = label(format!("unique_key_{which}"), format!("value_{agent}"));
    let reservation = ReservationInfo {
        r#type: Some(reservation_info::Type::Dynamic.into()),
        role: Some("role1".to_owned()),
        principal: Some("principal1".to_owned()),
        labels: Some(Labels { labels: labels.chain([unique]).collect() }),
    };
    let cpus = resources("cpus:8")?.into_iter().next().ok_or("no cpus")?;
    Ok(cpus.reserved(reservation))
}

/// Which of the volumes are shared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Shared {
    No,
    All,
    Half,
}

/// Every agent's resources are reserved, with a persistent volume among them; all that is offered comes back
/// six times.
pub(super) fn volumes(to: &mut Figures, n_agents: usize, n_frameworks: usize, shared: Shared) -> Result<()> {
    let which = match shared {
        Shared::No => "PersistentVolumes",
        Shared::All => "PersistentVolumes, shared",
        Shared::Half => "PersistentVolumes, mixed",
    };
    let name = format!("{which}: {n_agents} x {n_frameworks}");
    let mut cluster = Cluster::new();
    let capabilities: &[Type] = if shared == Shared::No { &[] } else { &[Type::SharedResources] };
    cluster.add_frameworks(n_frameworks, capabilities, |_| "test".to_owned())?;
    let plain = resources("cpus(test):24;mem(test):4096;disk(test):3072;ports(test):[31000-32000]")?;
    let mut used = resources("cpus(test):16;mem(test):1024;disk(test):1024")?;
    used.push(fragmented_ports(16)?.reserved(reserved_to_test()));
    let used = used.allocated("*");
    let mut agents = Vec::new();
    for n in 0..n_agents {
        let used = vec![(cluster.in_turn(n), used.clone())];
        let mut total = plain.clone();
        total.push(volume(n, shared == Shared::All || (shared == Shared::Half && n % 2 == 0))?);
        agents.push(cluster.new_agent(total, used));
    }
    let added = cluster.add_agents(agents)?;
    expect("offers at first", cluster.offers.len(), n_agents)?;
    to.note(format!("{name}: add agents, and their cycle"), added, n_agents, 0);
    let (mut took, mut back) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..6 {
        back += cluster.give_back(None)?;
        took += cluster.next_interval();
        expect("offers of all again", cluster.offers.len(), n_agents)?;
    }
    to.note(format!("{name}: cycle, mean of 6"), took / 6, n_agents, 0).beside(300.0, 30.0);
    to.note(format!("{name}: giving it all back, mean of 6"), back / 6, 0, 0);
    cluster.check()
}

fn reserved_to_test() -> ReservationInfo {
    ReservationInfo {
        r#type: Some(reservation_info::Type::Static.into()),
        role: Some("test".to_owned()),
        ..ReservationInfo::default()
    }
}

fn volume(n: usize, shared: bool) -> Result<Entry> {
    let volume = api::v1::Resource {
        name: "disk".to_owned(),
        r#type: value::Type::Scalar.into(),
        scalar: Some(value::Scalar { value: 1024.0 }),
        reservations: vec![reserved_to_test()],
        disk: Some(Box::new(DiskInfo {
            persistence: Some(disk_info::Persistence { id: format!("id{n}"), principal: None }),
            volume: Some(Volume {
                mode: volume::Mode::Rw.into(),
                container_path: format!("path{n}"),
                ..Volume::default()
            }),
            source: None,
        })),
        shared: shared.then(Default::default),
        ..api::v1::Resource::default()
    };
    Ok(Entry::try_from(&volume)?)
}

/// One role, nothing refused: a cycle that offers every agent.
pub(super) fn full(to: &mut Figures, n_agents: usize, n_frameworks: usize) -> Result<()> {
    let name = format!("Full: {n_agents} x {n_frameworks}: cycle, all free, nothing filtered");
    let mut cluster = cluster_in_use(n_agents, n_frameworks, 2014)?;
    cluster.give_back(None)?;
    let took = cluster.next_interval();
    expect("offers of all", cluster.offers.len(), n_agents)?;
    let figure = to.note(name, took, n_agents, 0);
    match n_agents {
        20_000 => figure.beside(3_800.0, 150.0),
        _ => figure.within(1_000.0),
    }
    Ok(())
}
