//! Registrars alone, without a master around them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use api::v1::MasterInfo;
use libprocess::{Context, Future, Id, Node, Pid, Process, Promise, Upid};
use master::registry::group::Seat;
use master::registry::{Founding, Kind, Registrar, Storage};

use super::{Result, agents};
use crate::daemons::eventually;

const TIMEOUT: Duration = Duration::from_secs(60);
/// So many operations are asked for at a time when a registry is made.
const AT_ONCE: usize = 5_000;

/// Writes a registry into `directory` that holds that many agents.
pub fn prepare(directory: &Path, n_agents: usize) -> Result<()> {
    let node = Node::local()?;
    let storage = Storage::Directory(directory.to_owned());
    let registrar =
        node.spawn(Id::prefix("registrar"), Registrar::new(storage, Founding::Alone, TIMEOUT, TIMEOUT))?;
    let info = MasterInfo { id: "bench".into(), ..MasterInfo::default() };
    registrar.dispatch(move |it, ctx| it.recover(info, ctx)).flatten().wait(TIMEOUT)??;
    for first in (0..n_agents).step_by(AT_ONCE) {
        let admitted = (first..n_agents.min(first + AT_ONCE)).map(|n| {
            let operation = Kind::AdmitAgent(agents::info(n)).into();
            registrar.dispatch(move |it, ctx| it.apply(operation, ctx)).flatten()
        });
        for outcome in Future::all(admitted).wait(TIMEOUT)? {
            outcome??;
        }
    }
    node.terminate(&registrar);
    node.wait(&registrar).wait(TIMEOUT)?;
    node.shutdown().wait(TIMEOUT)?;
    // What it began to write, it writes behind its end.
    eventually("the registry is closed", || !is_open(directory))?;
    Ok(())
}

/// Whether this process has a file in that directory open.
fn is_open(directory: &Path) -> bool {
    let open = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    open.filter_map(|entry| std::fs::read_link(entry.path()).ok()).any(|file| file.starts_with(directory))
}

/// Three registrars on nodes of this process, with real connections between them and one disk below them.
pub struct Group {
    nodes: Vec<Node>,
    leader: Pid<Registrar>,
    leads_on: usize,
}

/// Asks for operations like a master, with a fixed number under way.
struct Client {
    registrar: Pid<Registrar>,
    next: usize,
    left: usize,
    awaited: usize,
    done: Option<Promise<std::result::Result<(), String>>>,
}

impl Client {
    fn run(
        &mut self,
        n: usize,
        concurrently: usize,
        ctx: &mut Context<Self>,
    ) -> Future<std::result::Result<(), String>> {
        let (promise, future) = Promise::new();
        (self.left, self.awaited, self.done) = (n, n, Some(promise));
        for _ in 0..concurrently {
            self.ask(ctx);
        }
        future
    }

    fn ask(&mut self, ctx: &mut Context<Self>) {
        if self.left == 0 {
            return;
        }
        self.left -= 1;
        self.next += 1;
        let operation = Kind::AdmitAgent(agents::info(self.next)).into();
        let applied = ctx.dispatch(&self.registrar, move |it, ctx| it.apply(operation, ctx)).flatten();
        ctx.then(applied, |this, result, ctx| {
            let failed = match result {
                Ok(Ok(Ok(()))) => None,
                Ok(Ok(Err(refused))) => Some(refused.to_string()),
                Ok(Err(error)) => Some(error.to_string()),
                Err(abandoned) => Some(abandoned.to_string()),
            };
            this.awaited -= 1;
            match failed {
                Some(why) => drop(this.done.take().map(|done| done.set(Err(why)))),
                None if this.awaited == 0 => drop(this.done.take().map(|done| done.set(Ok(())))),
                None => this.ask(ctx),
            }
        });
    }
}

impl Process for Client {}

impl Group {
    /// Starts them below `work`, and waits until one leads.
    pub fn start(work: &Path) -> Result<Group> {
        let nodes: std::result::Result<Vec<Node>, _> =
            (0..3).map(|_| Node::builder().listen("127.0.0.1:0").start()).collect();
        let nodes = nodes?;
        let members: BTreeMap<u64, Option<Upid>> = (1..)
            .zip(&nodes)
            .map(|(id, node)| (id, Some(Upid::new("registrar(1)", node.address()))))
            .collect();
        let (tell, told) = mpsc::channel();
        let mut registrars = Vec::new();
        for ((id, node), nth) in (1..).zip(&nodes).zip(0..) {
            let storage = Storage::Directory(work.join(id.to_string()));
            let seat = Seat { id, members: members.clone() };
            let registrar = Registrar::new(storage, Founding::Alone, TIMEOUT, TIMEOUT).in_group(seat);
            let registrar = node.spawn(Id::prefix("registrar"), registrar)?;
            let info = MasterInfo { id: id.to_string(), ..MasterInfo::default() };
            let tell = tell.clone();
            registrar.dispatch(move |it, ctx| it.recover(info, ctx)).flatten().settled(move |result| {
                // The others never lead, and are told so at the end.
                if let Ok(Ok(_)) = result {
                    let _ = tell.send(nth);
                }
            });
            registrars.push(registrar);
        }
        let leads_on = told.recv_timeout(TIMEOUT)?;
        let leader = registrars.swap_remove(leads_on);
        Ok(Group { nodes, leader, leads_on })
    }

    /// Milliseconds of each of `n` operations, one at a time.
    pub fn one_at_a_time(&self, n: usize) -> Result<Vec<f64>> {
        let client = self.client(0)?;
        let mut took = Vec::new();
        for _ in 0..n {
            let start = Instant::now();
            client.dispatch(|it, ctx| it.run(1, 1, ctx)).flatten().wait(TIMEOUT)??;
            took.push(start.elapsed().as_secs_f64() * 1e3);
        }
        Ok(took)
    }

    /// Operations per second when `concurrently` many are under way, of `n`.
    pub fn concurrent(&self, n: usize, concurrently: usize) -> Result<f64> {
        let client = self.client(1 << 32)?;
        let start = Instant::now();
        client.dispatch(move |it, ctx| it.run(n, concurrently, ctx)).flatten().wait(TIMEOUT)??;
        Ok(n as f64 / start.elapsed().as_secs_f64())
    }

    fn client(&self, first: usize) -> Result<Pid<Client>> {
        let registrar = self.leader.clone();
        let client = Client { registrar, next: first, left: 0, awaited: 0, done: None };
        Ok(self.nodes[self.leads_on].spawn(Id::prefix("client"), client)?)
    }

    /// Ends them.
    pub fn end(self) -> Result<()> {
        for node in self.nodes {
            node.shutdown().wait(TIMEOUT)?;
        }
        Ok(())
    }
}
