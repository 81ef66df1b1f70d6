//! The detector as an actor.

use std::time::Duration;

use libprocess::{Context, Process, Timer, Upid};

use crate::masters::FileError;
use crate::search::{Search, Step};
use crate::{Leader, LeaderIs, Masters, WatchLeader};

/// How often a file that names the masters is read.
const READ_AGAIN: Duration = Duration::from_secs(5);

/// Follows the leader: asks the masters it knows of who leads, and tells its owner of each change.
///
/// The owner is told the leader, or `None` while nobody is known to lead, and over how long those who are to
/// register with that leader should spread themselves; [`Duration::MAX`] where nobody has said.
///
/// | what happens | what follows |
/// | --- | --- |
/// | answers differ | the one of the highest term counts; within a term one that names a leader |
/// | the link to a master breaks | its answer counts no more; it is tried again, by its name, after a while |
/// | the leader's node is there again | the owner is told again, for it may be waiting to try |
/// | a master keeps silent | it is asked again, ever more rarely; what it said before counts no more |
/// | an answer names other masters | these are asked, too, up to [`MAX_MASTERS`](crate::MAX_MASTERS) in all |
/// | a lone master answers no such question | it is taken for the leader, for nobody else could be |
pub struct Detector {
    masters: Masters,
    /// What the file said, when it is one.
    read: Option<Masters>,
    /// The last complaint about the file.
    unread: Option<String>,
    search: Search,
    wake: Option<Timer>,
    told: Box<dyn Fn(Option<Leader>, Duration) + Send>,
}

impl Detector {
    /// Follows the leader among `masters`, and calls `told` at each change.
    pub fn new(
        masters: impl Into<Masters>,
        told: impl Fn(Option<Leader>, Duration) + Send + 'static,
    ) -> Detector {
        Detector {
            masters: masters.into(),
            read: None,
            unread: None,
            search: Search::default(),
            wake: None,
            told: Box::new(told),
        }
    }

    /// Who leads, as far as is known.
    pub fn leader(&self) -> Option<&Leader> {
        self.search.leader()
    }

    fn follow(&mut self, masters: Masters, ctx: &mut Context<Self>) {
        let now = ctx.now();
        if let Some(leader) = masters.appointed() {
            self.search.appoint(leader, now);
        } else if let Masters::Listed(hosts) = masters {
            self.search.follow(hosts, now, ctx.rng());
        }
        self.act(ctx);
    }

    fn read_file(&mut self, ctx: &mut Context<Self>) {
        let masters = self.masters.clone();
        let read = ctx.blocking(move || masters.read());
        ctx.then(read, |detector, result, ctx| {
            if let Ok(result) = result {
                detector.file_read(result, ctx);
            }
            ctx.delay(READ_AGAIN, Self::read_file);
        });
    }

    fn file_read(&mut self, result: Result<Masters, FileError>, ctx: &mut Context<Self>) {
        match result {
            Ok(masters) => {
                self.unread = None;
                if self.read.as_ref() != Some(&masters) {
                    tracing::info!(%masters, "following the masters that the file names");
                    self.read = Some(masters.clone());
                    self.follow(masters, ctx);
                }
            }
            Err(error) => {
                let error = with_cause(&error);
                if self.unread.as_ref() != Some(&error) {
                    let kept = self.read.as_ref().map(Masters::to_string).unwrap_or_default();
                    tracing::warn!(error, kept, "the file that names the masters is of no use");
                    self.unread = Some(error);
                }
            }
        }
    }

    fn leader_is(&mut self, from: &Upid, message: LeaderIs, ctx: &mut Context<Self>) {
        let now = ctx.now();
        self.search.answered(from, message, now, ctx.rng());
        self.act(ctx);
    }

    fn wake(&mut self, ctx: &mut Context<Self>) {
        let now = ctx.now();
        self.search.due(now, ctx.rng());
        self.act(ctx);
    }

    /// Does what follows from an event, and sees to being called for the next one.
    fn act(&mut self, ctx: &mut Context<Self>) {
        for step in self.search.take_steps() {
            match step {
                Step::Resolve(host) => {
                    let asked = host.clone();
                    let addresses = ctx.blocking(move || asked.resolve());
                    ctx.then(addresses, move |detector, addresses, ctx| {
                        let gone = |_| Err(std::io::Error::other("nobody could be asked"));
                        let (addresses, now) = (addresses.unwrap_or_else(gone), ctx.now());
                        detector.search.resolved(&host, addresses, now, ctx.rng());
                        detector.act(ctx);
                    });
                }
                Step::Ask(contender) => {
                    ctx.link(&contender);
                    ctx.send(&contender, WatchLeader {});
                }
                Step::Tell(leader, spread) => {
                    match &leader {
                        Some(leader) => tracing::info!(pid = %leader.pid, id = leader.id, "a master leads"),
                        None => tracing::info!("no master is known to lead"),
                    }
                    (self.told)(leader, spread);
                }
                Step::Again(leader, spread) => (self.told)(Some(leader), spread),
            }
        }
        if let Some(earlier) = self.wake.take() {
            earlier.cancel();
        }
        if let Some(at) = self.search.wake_at() {
            let wait = at.saturating_since(ctx.now());
            self.wake = Some(ctx.delay(wait, Self::wake));
        }
    }
}

impl Process for Detector {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.install(Self::leader_is);
        match self.masters.clone() {
            Masters::File(_) => self.read_file(ctx),
            masters => self.follow(masters, ctx),
        }
    }

    fn exited(&mut self, pid: &Upid, ctx: &mut Context<Self>) {
        let now = ctx.now();
        self.search.lost(pid, now, ctx.rng());
        self.act(ctx);
    }
}

fn with_cause(error: &FileError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
