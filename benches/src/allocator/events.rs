//! Workloads whose events are what costs.

use api::resources::{Entry, Resources};
use api::v1::framework_info::capability::Type;

use super::cluster::{AGENT, Cluster, Result, expect, resources};
use super::figures::{Figures, timed};

/// Agents come, partly used, and then all of them turn out to have revocable cpus beside the others.
pub(super) fn add_and_update(to: &mut Figures, n_agents: usize, n_frameworks: usize) -> Result<()> {
    let (upstream, reach) = match n_agents {
        10_000 => ((510.0, 371.0), (50.0, 40.0)),
        _ => ((3_700.0, 2_400.0), (300.0, 250.0)),
    };
    let name = format!("AddAndUpdateSlave: {n_agents} x {n_frameworks}");
    let mut cluster = Cluster::new();
    cluster.add_frameworks(n_frameworks, &[Type::RevocableResources], |_| "*".to_owned())?;
    cluster.cycle();
    let total = resources("cpus:2;mem:1024;disk:4096;ports:[31000-32000]")?;
    let used = resources("cpus:1;mem:128;disk:1024;ports:[31126-31510,31512-31623,31810-31852,31854-31964]")?;
    let agents = cluster.new_agents(n_agents, &total, &used.allocated("*"));
    let infos: Vec<_> = agents.iter().map(|agent| (agent.id.clone(), agent.info.clone())).collect();
    let took = cluster.add_agents(agents)?;
    expect("offers of new agents", cluster.offers.len(), n_agents)?;
    to.note(format!("{name}: add all, and their cycle"), took, n_agents, 0).beside(upstream.0, reach.0);

    let revocable = api::v1::Resource {
        name: "cpus".to_owned(),
        r#type: api::v1::value::Type::Scalar.into(),
        scalar: Some(api::v1::value::Scalar { value: 10.0 }),
        revocable: Some(Default::default()),
        ..api::v1::Resource::default()
    };
    let more: Resources = total.into_iter().chain([Entry::try_from(&revocable)?]).collect();
    let totals = vec![more; n_agents];
    cluster.offers.clear();
    let (updated, done) = timed(|| {
        infos
            .iter()
            .zip(totals)
            .try_for_each(|((id, info), total)| cluster.allocator.update_agent(id, info, Some(total), None))
    });
    done?;
    let took = updated + cluster.cycle();
    expect("offers of updated agents", cluster.offers.len(), n_agents)?;
    to.note(format!("{name}: update all, and their cycle"), took, n_agents, 0).beside(upstream.1, reach.1);
    cluster.check()
}

/// Agents come and are offered whole, and then every framework revives, though there is nothing left.
pub(super) fn backlog(to: &mut Figures, n_agents: usize, n_frameworks: usize) -> Result<()> {
    let name = format!("AllocatorBacklog: {n_agents} x {n_frameworks}");
    let mut cluster = Cluster::new();
    cluster.add_frameworks(n_frameworks, &[], |_| "*".to_owned())?;
    cluster.cycle();
    let agents = cluster.new_agents(n_agents, &resources(AGENT)?, &Resources::new());
    let took = cluster.add_agents(agents)?;
    expect("offers of new agents", cluster.offers.len(), n_agents)?;
    to.note(format!("{name}: add agents, and their cycle"), took, n_agents, 0).beside(386.0, 40.0);

    // Upstream runs a cycle for as many of them as happen to be processed together. Here is one for each.
    let everywhere = std::collections::BTreeSet::new();
    cluster.offers.clear();
    let ids = cluster.frameworks.clone();
    let mut took = std::time::Duration::ZERO;
    for id in &ids {
        let (revived, done) = timed(|| cluster.allocator.revive_offers(id, &everywhere));
        done?;
        took += revived + cluster.cycle();
    }
    expect("offers of nothing", cluster.offers.len(), 0)?;
    to.note(format!("{name}: revive every framework, a cycle after each"), took, 0, 0).beside(1_634.0, 100.0);
    cluster.check()
}
