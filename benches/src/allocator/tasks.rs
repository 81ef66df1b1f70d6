//! Workloads of frameworks that use what they are offered.

use std::time::Duration;

use allocator::Conversion;
use api::resources::{Entry, Ranges, Resources, Value};
use api::v1::resource::{ReservationInfo, reservation_info};
use api::v1::{Label, Labels};
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::cluster::{Cluster, Result, expect, resources};
use super::figures::{Figures, timed};

/// One agent that is reserved to many roles, four entries each; one framework takes its reservations back and
/// makes them again.
pub(super) fn update_allocation(to: &mut Figures, n_roles: usize) -> Result<()> {
    const N_TIMES: u32 = 20;
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(7);
    let mut letters = || (0..36).map(|_| char::from(rng.random_range(b'a'..=b'z'))).collect::<String>();
    let roles: Vec<String> = (0..n_roles).map(|_| format!("role-{}", letters())).collect();
    let mut cluster = Cluster::new();
    cluster.add_frameworks(n_roles, &[], |n| roles[n].clone())?;
    let (mut total, mut used) = (Resources::new(), Vec::new());
    for (n, role) in roles.iter().enumerate() {
        let mut plain: Vec<Entry> = resources("cpus:100;mem:100;disk:100")?.into_iter().collect();
        plain.push(Entry::new("ports", Value::Ranges(Ranges::disjoint([(2, 2)])?)));
        let mut reserve = |entry: Entry| {
            let label = Label { key: "Label".to_owned(), value: Some(letters()) };
            entry.reserved(ReservationInfo {
                r#type: Some(reservation_info::Type::Dynamic.into()),
                role: Some(role.clone()),
                principal: None,
                labels: Some(Labels { labels: vec![label] }),
            })
        };
        let reserved: Resources = plain.into_iter().map(&mut reserve).collect();
        total += &reserved;
        used.push((cluster.in_turn(n), reserved.allocated(role.as_str())));
    }
    let n_entries = total.len();
    expect("entries", n_entries, 4 * n_roles)?;
    let (framework, held) = used[0].clone();
    let agent = cluster.new_agent(total, used);
    let agent_id = agent.id.clone();
    cluster.add_agents(vec![agent])?;
    let one = |entry: &Entry| Resources::from_iter([entry.clone()]);
    let unreserve: Vec<Conversion> = held
        .iter()
        .map(|entry| Conversion { consumed: one(entry), converted: one(entry).pop_reservation() })
        .collect();
    let reserve: Vec<Conversion> = unreserve
        .iter()
        .map(|it| Conversion { consumed: it.converted.clone(), converted: it.consumed.clone() })
        .collect();
    let (mut reserving, mut unreserving) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..N_TIMES {
        for (conversions, sum) in [(&unreserve, &mut unreserving), (&reserve, &mut reserving)] {
            let (took, done) =
                timed(|| cluster.allocator.update_allocation(&framework, &agent_id, conversions));
            done?;
            *sum += took;
        }
    }
    let name = format!("UpdateAllocation: {n_entries} resource objects");
    let figure = to.note(format!("{name}: one RESERVE, mean"), reserving / N_TIMES, 0, 0);
    if n_entries == 800 {
        figure.beside(9.7, 0.5);
    }
    to.note(format!("{name}: one UNRESERVE, mean"), unreserving / N_TIMES, 0, 0);
    cluster.check()
}

/// What frameworks of one kind do: so many tasks of one size, so many of them from one offer.
struct Profile {
    n_frameworks: usize,
    n_tasks: usize,
    task: &'static str,
    n_per_offer: usize,
}

/// Few frameworks with many small tasks, many with few, and some with large ones.
const PROFILES: [Profile; 3] = [
    Profile { n_frameworks: 4, n_tasks: 4_000, task: "cpus:0.07;mem:400", n_per_offer: 100 },
    Profile { n_frameworks: 500, n_tasks: 5, task: "cpus:0.1;mem:4000", n_per_offer: 1 },
    Profile { n_frameworks: 50, n_tasks: 20, task: "cpus:1;mem:1000", n_per_offer: 5 },
];

/// One framework, and what it has left to do.
struct Framework {
    task: Resources,
    n_left: usize,
    n_per_offer: usize,
}

/// Frameworks of different kinds launch all their tasks, and give back without a filter what they do not need.
///
/// Once a framework has launched all it wants, it suppresses offers, as frameworks do. In Mesos's measurement it
/// goes on being offered, and giving back, what others wait for.
pub(super) fn multi_framework(to: &mut Figures) -> Result<()> {
    let mut frameworks = Vec::new();
    for profile in &PROFILES {
        for _ in 0..profile.n_frameworks {
            let task = resources(profile.task)?;
            let Profile { n_tasks: n_left, n_per_offer, .. } = *profile;
            frameworks.push(Framework { task, n_left, n_per_offer });
        }
    }
    let n_tasks: usize = frameworks.iter().map(|framework| framework.n_left).sum();
    expect("tasks", n_tasks, 19_500)?;
    let role = |n: usize| match n {
        0..4 => format!("roleA-{n}"),
        4..504 => "roleB".to_owned(),
        _ => format!("roleC-{n}"),
    };
    let mut cluster = Cluster::new();
    let agents = cluster.new_agents(80, &resources("cpus:64;mem:488000")?, &Resources::new());
    cluster.add_agents(agents)?;
    cluster.add_frameworks(frameworks.len(), &[], role)?;
    let (mut cycles, mut answers) = (Duration::ZERO, Duration::ZERO);
    let (mut n_cycles, mut n_offers, mut n_launched) = (0, 0, 0);
    while n_launched < n_tasks && n_cycles < 10_000 {
        cycles += cluster.next_interval();
        n_cycles += 1;
        for offer in std::mem::take(&mut cluster.offers) {
            n_offers += 1;
            let n: usize = offer.framework.value.trim_start_matches("framework").parse()?;
            let framework = &mut frameworks[n];
            let mut left = offer.resources.clone().unallocated();
            let mut n_here = 0;
            while n_here < framework.n_per_offer && framework.n_left > 0 && left.contains(&framework.task) {
                left -= &framework.task;
                framework.n_left -= 1;
                n_here += 1;
            }
            n_launched += n_here;
            let left = left.allocated(role(n));
            let (took, done) = timed(|| {
                let used = offer.resources.clone() - &left;
                let allocator = &mut cluster.allocator;
                allocator.transition_offered_to_allocated(&offer.framework, &offer.agent, &used)?;
                if framework.n_left == 0 && n_here > 0 {
                    allocator.suppress_offers(&offer.framework, &Default::default())?;
                }
                cluster.recover(&offer.framework, &offer.agent, &left)
            });
            done?;
            answers += took;
        }
    }
    expect("tasks launched", n_launched, n_tasks)?;
    let name = "MultiFrameworkAllocations: 80 x 554";
    to.note(format!("{name}: cycle, mean of {n_cycles} until all run"), cycles / n_cycles, n_offers, 0);
    to.note(format!("{name}: answering an offer, mean"), answers / n_offers as u32, 0, 0);
    cluster.check()
}
