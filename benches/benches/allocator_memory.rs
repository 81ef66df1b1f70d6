//! `cargo bench -p mesos-benches --bench allocator_memory`: what one more agent, framework, offer and refusal takes
//! of the heap, and how long the allocator explains itself over many agents.

use std::error::Error;
use std::time::Duration;

use allocator::explain::{Page, Question};
use allocator::{Allocator, FrameworkOptions, Options};
use api::resources::Resources;
use api::v1::{AgentId, AgentInfo, Filters, FrameworkId, FrameworkInfo, agent_info, framework_info};
use benches::allocator::cluster::AGENT;
use benches::allocator::figures::timed;
use benches::allocator::heap;
use libprocess::Time;
use rand::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;

#[global_allocator]
static HEAP: heap::Counting = heap::Counting;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const N_AGENTS: usize = 4_000;
const N_FRAMEWORKS: usize = 1_000;
/// The rounds in which all agents are declined. More, and less of what is measured is what agents grow by once.
const N_ROUNDS: usize = 100;

fn bytes_in_use() -> usize {
    heap::restart_peak();
    heap::peak_bytes()
}

/// What `f` leaves on the heap, for each of the `n` it says it did something to.
fn print_bytes(what: &str, f: impl FnOnce() -> Result<usize>) -> Result<()> {
    let before = bytes_in_use();
    let n = f()?;
    println!("{what:<52}{:>8.0}", (bytes_in_use() as f64 - before as f64) / n as f64);
    Ok(())
}

struct Cluster {
    allocator: Allocator,
    now: Time,
    rng: Xoshiro256PlusPlus,
}

impl Cluster {
    fn new() -> Cluster {
        let allocator = Allocator::new(Options::default());
        Cluster { allocator, now: Time::from_secs_f64(1.7e9), rng: Xoshiro256PlusPlus::seed_from_u64(7) }
    }

    fn add_agents(&mut self, n: usize) -> Result<usize> {
        use agent_info::capability::Type;
        let capabilities = [Type::MultiRole, Type::HierarchicalRole]
            .map(|it| agent_info::Capability { r#type: Some(it.into()) });
        for n in 0..n {
            let info = AgentInfo { hostname: format!("node{n}.example.org"), ..AgentInfo::default() };
            let id = AgentId::from(format!("{}-S{n}", "01234567-89ab-cdef-0123-456789abcdef"));
            let total = Resources::parse(AGENT, "*")?;
            self.allocator.add_agent(&id, &info, &capabilities, None, total, &[])?;
        }
        Ok(n)
    }

    fn add_frameworks(&mut self, n_roles: usize) -> Result<usize> {
        use framework_info::capability::Type;
        for n in 0..N_FRAMEWORKS {
            let info = FrameworkInfo {
                roles: vec![format!("role{}", n % n_roles)],
                capabilities: vec![framework_info::Capability { r#type: Some(Type::MultiRole.into()) }],
                ..FrameworkInfo::default()
            };
            self.allocator.add_framework(&framework(n), &info, &[], true, &FrameworkOptions::default())?;
        }
        Ok(N_FRAMEWORKS)
    }

    fn offer(&mut self) -> allocator::Allocation {
        self.now += Duration::from_secs(1);
        self.allocator.consider_all_agents();
        self.allocator.cycle(self.now, &mut self.rng)
    }

    fn decline_all(&mut self) -> Result<usize> {
        let allocation = self.offer();
        let filters = Filters { refuse_seconds: Some(1e9) };
        let n_offers = allocation.n_offers();
        for of in allocation.frameworks {
            for offer in of.offers {
                let (agent, resources) = (&offer.agent_id, &offer.resources);
                let (framework, filters) = (&of.framework_id, Some(&filters));
                self.allocator.recover_resources(self.now, framework, agent, resources, filters, false)?;
            }
        }
        Ok(n_offers)
    }

    fn explain(&self, limit: usize) -> Result<()> {
        let id = framework(0);
        let question = Question { page: Page { limit, offset: 0 }, ..Question::default() };
        let (took, told) = timed(|| self.allocator.explain(self.now, &id, &question));
        let told = told?;
        let size = serde_json::to_vec(&told)?.len();
        let (n, took) = (told.n_agents, took.as_secs_f64() * 1e3);
        println!("explain {n} agents, tell {limit} of a reason{took:>12.1} ms, {size} bytes");
        Ok(())
    }
}

fn framework(n: usize) -> FrameworkId {
    FrameworkId::from(format!("{}-{n:04}", "01234567-89ab-cdef-0123-456789abcdef"))
}

fn main() -> Result<()> {
    println!("{:<52}{:>8}", "one more", "bytes");
    let mut cluster = Cluster::new();
    print_bytes("agent that is free", || cluster.add_agents(N_AGENTS))?;
    print_bytes("framework in a role of its own", || cluster.add_frameworks(N_FRAMEWORKS))?;
    print_bytes("offer of all of an agent", || Ok(cluster.offer().n_offers()))?;
    let mut cluster = Cluster::new();
    cluster.add_agents(N_AGENTS)?;
    print_bytes("framework in a role that has others", || cluster.add_frameworks(1))?;
    print_bytes("refusal, the first of an agent", || cluster.decline_all())?;
    print_bytes("refusal of what others refused there too", || {
        (0..N_ROUNDS).map(|_| cluster.decline_all()).sum()
    })?;
    let mut cluster = Cluster::new();
    cluster.add_frameworks(100)?;
    cluster.add_agents(50_000)?;
    cluster.explain(20)?;
    cluster.decline_all()?;
    cluster.explain(1000)
}
