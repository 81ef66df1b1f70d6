//! `cargo bench -p mesos-benches --bench processes`: what a process costs to have and to lose.

use std::sync::mpsc;
use std::time::Duration;

use benches::{Reach, best_of, resident_bytes, row, timed};
use libprocess::{Context, Id, Node, Process, Runtime, Upid};

const N_PROCESSES: usize = 10_000;

struct Idle;

impl Process for Idle {}

/// Spawns, links to and terminates processes, and says when the last has gone.
struct Parent {
    children: Vec<Upid>,
    exited: usize,
    done: mpsc::Sender<()>,
}

impl Parent {
    fn spawn_all(&mut self, ctx: &mut Context<Self>) {
        for _ in 0..N_PROCESSES {
            let child = ctx.spawn(Id::prefix("idle"), Idle).expect("spawned");
            ctx.link(&child);
            self.children.push(child.upid().clone());
        }
    }

    fn terminate_all(&mut self, ctx: &mut Context<Self>) {
        for child in self.children.drain(..) {
            ctx.terminate(child);
        }
    }
}

impl Process for Parent {
    fn exited(&mut self, _: &Upid, _: &mut Context<Self>) {
        self.exited += 1;
        if self.exited == N_PROCESSES {
            self.exited = 0;
            let _ = self.done.send(());
        }
    }
}

fn main() {
    let node = Node::builder().runtime(Runtime::new(2).expect("two arbiters")).start().expect("a node");
    let (done, told) = mpsc::channel();
    let parent = Parent { children: Vec::new(), exited: 0, done };
    let parent = node.spawn_on(0, "parent", parent).expect("spawned");

    let before = resident_bytes();
    parent.call(Parent::spawn_all);
    parent.dispatch(|_, _| ()).wait(Duration::from_secs(60)).expect("spawned");
    let each = resident_bytes().saturating_sub(before) as f64 / N_PROCESSES as f64;
    parent.call(Parent::terminate_all);
    told.recv().expect("all gone");

    let took = best_of(10, || {
        timed(|| {
            parent.call(|parent, ctx| {
                parent.spawn_all(ctx);
                parent.terminate_all(ctx);
            });
            told.recv().expect("all gone");
        })
    });
    let ms = took.as_secs_f64() * 1e3;
    row("spawn, link and terminate 10,000 processes", ms, "ms", Reach::AtMost(20.0));
    row("memory of a process at rest, its link included", each, "bytes", Reach::AtMost(1024.0));
    std::process::exit(0);
}
