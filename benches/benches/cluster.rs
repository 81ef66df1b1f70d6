//! `cargo bench -p mesos-benches --bench cluster`: a master and an agent with 64 cpus as processes of their
//! own, and what a task costs on them. Needs the release binary: `cargo build --release` first.
//!
//! - Memory: the resident set of each, two seconds after its start, with nothing to do.
//! - `mesos execute`: from the start of the command to its end, median of 20.
//! - Launch: from the ACCEPT being written to the UPDATE with TASK_RUNNING being read, through the v1
//!   scheduler API in JSON, one task at a time, median of 20.
//! - 100 tasks: from one ACCEPT that launches `true` a hundred times to the hundredth TASK_FINISHED, every
//!   update acknowledged, median of 5.

use std::error::Error;
use std::io;
use std::time::{Duration, Instant};

use api::resources::Resources;
use api::v1::scheduler::call;
use api::v1::scheduler::event::Type;
use api::v1::{CommandInfo, Filters, Offer, Resource, TaskInfo, TaskState, offer};
use benches::daemons::{self, Daemon, mesos, scratch};
use benches::scheduler::{Scheduler, of};
use benches::{Reach, note, percentile, print_load, row};

const N_RUNS: usize = 20;
const N_TASKS: usize = 100;

fn main() {
    daemons::run(bench)
}

fn bench() -> Result<(), Box<dyn Error>> {
    daemons::binary()?;
    print_load();
    let work = scratch()?;
    let work_dir = format!("--work_dir={}", work.join("agent").display());
    let started = Instant::now();
    let master = Daemon::master(&[&format!("--work_dir={}", work.join("master").display())])?;
    let resources = "--resources=cpus:64;mem:65536;disk:65536;ports:[31000-32000]";
    let agent = Daemon::agent(&master, &[&work_dir, resources])?;
    // The one thing here that is measured after a time and not after an event: being idle.
    std::thread::sleep(Duration::from_secs(2).saturating_sub(started.elapsed()));
    for (name, daemon) in [("master", &master), ("agent", &agent)] {
        let mb = daemon.resident_bytes()? as f64 / 1e6;
        row(&format!("resident memory of an idle {name}"), mb, "MB", Reach::AtMost(20.0));
    }

    let mut took = Vec::new();
    for _ in 0..N_RUNS {
        took.push(execute(&master)?);
    }
    row("mesos execute --command='echo hi', median", percentile(&mut took, 0.5), "ms", Reach::AtMost(60.0));
    note("  the slowest", percentile(&mut took, 1.0), "ms");

    let mut scheduler = Scheduler::subscribe(master.address)?;
    let mut took = Vec::new();
    for n in 0..N_RUNS {
        took.push(launch_one(&mut scheduler, n)?);
    }
    row("launch to TASK_RUNNING, HTTP API, median", percentile(&mut took, 0.5), "ms", Reach::AtMost(8.0));
    note("  the slowest", percentile(&mut took, 1.0), "ms");

    let mut per_second = Vec::new();
    for n in 0..5 {
        per_second.push(launch_many(&mut scheduler, n)?);
    }
    let what = "100 `true` tasks at once, HTTP API, median";
    row(what, percentile(&mut per_second, 0.5), "tasks/s", Reach::AtLeast(400.0));
    scheduler.call(of(call::Type::Teardown))?;
    scheduler.settle()?;
    Ok(())
}

/// Milliseconds of one `mesos execute`.
fn execute(master: &Daemon) -> io::Result<f64> {
    let master = format!("--master={}", master.address);
    let mut command = mesos(&["execute", &master, "--name=bench", "--command=echo hi"])?;
    let start = Instant::now();
    let status = command.status()?;
    let took = start.elapsed().as_secs_f64() * 1e3;
    if !status.success() {
        return Err(io::Error::other(format!("`mesos execute` fails: {status}")));
    }
    Ok(took)
}

fn resources(text: &str) -> Vec<Resource> {
    Resources::parse(text, "*").map(|resources| resources.to_messages()).unwrap_or_default()
}

fn task(offer: &Offer, id: String, command: &str, needs: &str) -> TaskInfo {
    TaskInfo {
        name: id.clone(),
        task_id: id.into(),
        agent_id: offer.agent_id.clone(),
        resources: resources(needs),
        command: Some(CommandInfo { value: Some(command.into()), ..CommandInfo::default() }),
        ..TaskInfo::default()
    }
}

/// Waits for an offer; what is not used of it comes back at once.
fn next_offer(scheduler: &mut Scheduler) -> io::Result<Offer> {
    let offers = scheduler.wait(Type::Offers)?.offers;
    let offer = offers.and_then(|offers| offers.offers.into_iter().next());
    offer.ok_or_else(|| io::Error::other("OFFERS without an offer"))
}

fn accept(scheduler: &mut Scheduler, offer: Offer, task_infos: Vec<TaskInfo>) -> io::Result<()> {
    let launch = offer::Operation {
        r#type: Some(offer::operation::Type::Launch.into()),
        launch: Some(offer::operation::Launch { task_infos }),
        ..offer::Operation::default()
    };
    let accept = call::Accept {
        offer_ids: vec![offer.id],
        operations: vec![launch],
        filters: Some(Filters { refuse_seconds: Some(0.0) }),
    };
    scheduler.call(api::v1::scheduler::Call { accept: Some(accept), ..of(call::Type::Accept) })
}

/// Milliseconds from the launch of a task to TASK_RUNNING. The task is killed then.
fn launch_one(scheduler: &mut Scheduler, n: usize) -> io::Result<f64> {
    let offer = next_offer(scheduler)?;
    let task = task(&offer, format!("one-{n}"), "sleep 1000", "cpus:1;mem:128");
    let (task_id, agent_id) = (task.task_id.clone(), offer.agent_id.clone());
    let start = Instant::now();
    accept(scheduler, offer, vec![task])?;
    scheduler.wait_for(TaskState::TaskRunning)?;
    let took = start.elapsed().as_secs_f64() * 1e3;
    let kill = call::Kill { task_id, agent_id: Some(agent_id), kill_policy: None };
    scheduler.call(api::v1::scheduler::Call { kill: Some(kill), ..of(call::Type::Kill) })?;
    scheduler.wait_for(TaskState::TaskKilled)?;
    scheduler.settle()?;
    Ok(took)
}

/// Tasks per second of a hundred launched at once.
fn launch_many(scheduler: &mut Scheduler, n: usize) -> io::Result<f64> {
    let offer = loop {
        // The first offers may lack what an earlier task has not given back yet.
        let offer = next_offer(scheduler)?;
        let offered = Resources::try_from(&offer.resources).unwrap_or_default().unallocated();
        if Resources::parse("cpus:64", "*").is_ok_and(|all| offered.contains(&all)) {
            break offer;
        }
        accept(scheduler, offer, Vec::new())?;
    };
    let tasks =
        (0..N_TASKS).map(|task_n| task(&offer, format!("many-{n}-{task_n}"), "true", "cpus:0.1;mem:32"));
    let tasks = tasks.collect();
    let start = Instant::now();
    accept(scheduler, offer, tasks)?;
    for _ in 0..N_TASKS {
        scheduler.wait_for(TaskState::TaskFinished)?;
    }
    let took = start.elapsed();
    scheduler.settle()?;
    Ok(N_TASKS as f64 / took.as_secs_f64())
}
