//! Removes directories that are no longer needed, when their time has come: after `--gc_delay`, or earlier
//! when the disk fills up.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use libprocess::{Context, Deferred, Future, Process, Promise, Time, Timer};

/// The longest a directory may wait on a disk that is used to the part `usage`: the whole delay on an empty
/// disk, nothing when only the headroom is free.
fn max_age(delay: Duration, headroom: f64, usage: f64) -> Duration {
    delay.mul_f64((1.0 - headroom - usage).clamp(0.0, 1.0))
}

/// What is to be removed and when, and what is being removed. A pure table.
#[derive(Debug, Default)]
struct Schedule {
    due: BTreeMap<PathBuf, Time>,
    /// The same by time.
    order: BTreeSet<(Time, PathBuf)>,
    removing: BTreeSet<PathBuf>,
}

impl Schedule {
    fn add(&mut self, path: PathBuf, due: Time) {
        self.forget(&path);
        self.order.insert((due, path.clone()));
        self.due.insert(path, due);
    }

    fn forget(&mut self, path: &Path) {
        if let Some((path, due)) = self.due.remove_entry(path) {
            self.order.remove(&(due, path));
        }
    }

    /// When the next one falls due.
    fn next(&self) -> Option<Time> {
        self.order.first().map(|(due, _)| *due)
    }

    /// Takes paths back; the answer are those for which it is too late.
    fn take_back(&mut self, paths: &[PathBuf]) -> Vec<PathBuf> {
        for path in paths {
            self.forget(path);
        }
        paths.iter().filter(|path| self.removing.contains(*path)).cloned().collect()
    }

    /// What falls due until `until`.
    fn take_due(&mut self, until: Time) -> Vec<PathBuf> {
        let mut taken = Vec::new();
        while self.next().is_some_and(|due| due <= until)
            && let Some((_, path)) = self.order.pop_first()
        {
            self.due.remove(&path);
            self.removing.insert(path.clone());
            taken.push(path);
        }
        taken
    }
}

/// The garbage collector of one agent.
pub(crate) struct GarbageCollector {
    work_dir: PathBuf,
    delay: Duration,
    headroom: f64,
    watch_interval: Duration,
    /// Told of each path that was removed.
    removed: Deferred<PathBuf>,
    schedule: Schedule,
    /// Set for when the next one falls due.
    timer: Option<(Time, Timer)>,
    /// Who waits for the end of a removal.
    waiting: Vec<(BTreeSet<PathBuf>, Promise<()>)>,
}

impl GarbageCollector {
    /// Collects on the file system of `work_dir`.
    pub(crate) fn new(
        work_dir: PathBuf,
        delay: Duration,
        headroom: f64,
        watch_interval: Duration,
        removed: Deferred<PathBuf>,
    ) -> GarbageCollector {
        GarbageCollector {
            work_dir,
            delay,
            headroom,
            watch_interval,
            removed,
            schedule: Schedule::default(),
            timer: None,
            waiting: Vec::new(),
        }
    }

    /// These may go when the delay is over.
    pub(crate) fn schedule(&mut self, paths: Vec<PathBuf>, ctx: &mut Context<Self>) {
        let due = ctx.now() + self.delay;
        for path in paths {
            self.schedule.add(path, due);
        }
        self.set_timer(ctx);
    }

    fn set_timer(&mut self, ctx: &mut Context<Self>) {
        let Some(next) = self.schedule.next() else { return };
        if self.timer.as_ref().is_some_and(|(set_for, _)| *set_for <= next) {
            return;
        }
        let timer = ctx.delay(next.saturating_since(ctx.now()), |collector, ctx| {
            collector.timer = None;
            let now = ctx.now();
            collector.remove_due(now, ctx);
            collector.set_timer(ctx);
        });
        if let Some((_, earlier)) = self.timer.replace((next, timer)) {
            earlier.cancel();
        }
    }

    /// These are needed again. The future says when none of them is being removed any more.
    pub(crate) fn unschedule(&mut self, paths: &[PathBuf]) -> Future<()> {
        let late: BTreeSet<PathBuf> = self.schedule.take_back(paths).into_iter().collect();
        if late.is_empty() {
            return Future::ready(());
        }
        let (promise, over) = Promise::new();
        self.waiting.push((late, promise));
        over
    }

    fn remove_due(&mut self, until: Time, ctx: &mut Context<Self>) {
        for path in self.schedule.take_due(until) {
            let target = path.clone();
            let removed = ctx.blocking(move || remove(&target));
            ctx.then(removed, move |collector, removed, ctx| {
                let kind = if matches!(removed, Ok(true)) { "succeeded" } else { "failed" };
                ctx.metrics().counter(&format!("gc/path_removals_{kind}")).inc();
                collector.was_removed(&path);
            });
        }
    }

    fn was_removed(&mut self, path: &Path) {
        self.schedule.removing.remove(path);
        self.removed.call(path.to_owned());
        for (late, promise) in std::mem::take(&mut self.waiting) {
            let mut late = late;
            late.remove(path);
            if late.is_empty() {
                promise.set(());
            } else {
                self.waiting.push((late, promise));
            }
        }
    }

    fn watch(&mut self, ctx: &mut Context<Self>) {
        ctx.delay(self.watch_interval, |collector, ctx| {
            let work_dir = collector.work_dir.clone();
            let usage = ctx.blocking(move || usage(&work_dir));
            ctx.then(usage, |collector, usage, ctx| {
                if let Ok(Some(usage)) = usage {
                    let early =
                        collector.delay.saturating_sub(max_age(collector.delay, collector.headroom, usage));
                    let until = ctx.now() + early;
                    collector.remove_due(until, ctx);
                }
                collector.watch(ctx);
            });
        });
    }
}

impl Process for GarbageCollector {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.pull_gauge("gc/path_removals_pending", |collector: &Self| collector.schedule.due.len() as f64);
        self.watch(ctx);
    }
}

/// The part of a file system that is used.
fn usage(path: &Path) -> Option<f64> {
    let stat = nix::sys::statvfs::statvfs(path).ok()?;
    let blocks = stat.blocks() as f64;
    (blocks > 0.0).then(|| 1.0 - stat.blocks_available() as f64 / blocks)
}

/// Removes a directory with all that is in it; whether it is gone.
fn remove(path: &Path) -> bool {
    match std::fs::remove_dir_all(path) {
        Ok(()) => true,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => true,
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "could not remove a directory");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    #[test]
    fn directories_wait_the_shorter_the_fuller_the_disk() {
        assert_eq!(max_age(7 * DAY, 0.1, 0.5).as_secs(), (7 * DAY).mul_f64(0.4).as_secs());
        assert_eq!(max_age(7 * DAY, 0.1, 0.95), Duration::ZERO);
        assert_eq!(max_age(7 * DAY, 0.0, 0.0), 7 * DAY);
    }

    #[test]
    fn what_is_taken_back_in_time_stays() {
        let mut schedule = Schedule::default();
        let at = Time::from_secs_f64;
        for (path, due) in [("/a", 1.0), ("/b", 1.0), ("/c", 2.0)] {
            schedule.add(path.into(), at(due));
        }
        assert!(schedule.take_back(&["/a".into()]).is_empty());
        assert_eq!(schedule.take_due(at(1.0)), [PathBuf::from("/b")]);
        assert_eq!(
            schedule.take_back(&["/b".into(), "/c".into()]),
            [PathBuf::from("/b")],
            "too late for that one"
        );
        assert!(schedule.take_due(at(9.0)).is_empty());
    }

    #[test]
    fn scheduling_again_replaces() {
        let mut schedule = Schedule::default();
        let at = Time::from_secs_f64;
        schedule.add("/a".into(), at(1.0));
        schedule.add("/a".into(), at(5.0));
        assert_eq!(schedule.next(), Some(at(5.0)));
        assert!(schedule.take_due(at(4.0)).is_empty());
        assert_eq!(schedule.take_due(at(5.0)), [PathBuf::from("/a")]);
    }

    #[test]
    fn directories_go_when_their_time_has_come_and_the_late_are_told_when() {
        struct Listener(Vec<PathBuf>);
        impl Process for Listener {}
        let node = libprocess::Node::local().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let (kept, gone) = (directory.path().join("kept"), directory.path().join("gone"));
        for path in [&kept, &gone] {
            std::fs::create_dir_all(path.join("inner")).unwrap();
        }
        let listener = node.spawn("listener", Listener(Vec::new())).unwrap();
        let removed = listener
            .dispatch(|_, ctx| ctx.defer(|listener, path, _| listener.0.push(path)))
            .wait(DAY)
            .unwrap();
        // A disk that is never too full, and a delay that is over at once when it is tried.
        let collector =
            GarbageCollector::new(directory.path().into(), Duration::from_millis(200), 0.0, DAY, removed);
        let collector = node.spawn("gc", collector).unwrap();
        let paths = vec![kept.clone(), gone.clone()];
        collector.dispatch(move |collector, ctx| collector.schedule(paths, ctx)).wait(DAY).unwrap();
        let back = vec![kept.clone()];
        collector.dispatch(move |collector, _| collector.unschedule(&back)).flatten().wait(DAY).unwrap();
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        while listener.dispatch(|listener, _| listener.0.clone()).wait(DAY).unwrap() != [gone.clone()] {
            assert!(std::time::Instant::now() < deadline, "nothing was removed");
        }
        assert!(kept.exists() && !gone.exists());
        node.shutdown().wait(DAY).unwrap();
    }
}
