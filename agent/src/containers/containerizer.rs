//! All containers of an agent.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use api::v1::{Resource, ResourceStatistics};
use libprocess::{Context, Deferred, Future, Id, Pid, Process, Promise};

use super::container::{Container, Report, ReportKind, launch_failed};
use super::isolators::Isolator;
use super::processes;
use crate::workload::{Launch, Termination};

/// How containers are made.
pub struct ContainerizerSettings {
    /// The `mesos` command.
    pub launcher: PathBuf,
    /// In the order in which they are asked.
    pub isolators: Vec<Arc<dyn Isolator>>,
    /// What relative URIs are relative to.
    pub frameworks_home: Option<PathBuf>,
}

/// A container that has not said that it is over.
struct Kept {
    pid: Pid<Container>,
    /// Where its news go.
    report: Deferred<Report>,
    /// Its first process, once that was there.
    first: Option<u32>,
}

/// All containers, each an actor of its own.
pub struct Containerizer {
    settings: Arc<ContainerizerSettings>,
    containers: BTreeMap<String, Kept>,
}

impl Containerizer {
    /// Without a container.
    pub fn new(settings: ContainerizerSettings) -> Containerizer {
        Containerizer { settings: Arc::new(settings), containers: BTreeMap::new() }
    }

    /// Makes a container. Its news, its end above all, go to `report`; its end goes there even when the actor
    /// that keeps it fails.
    pub fn launch(&mut self, launch: Launch, report: Deferred<Report>, ctx: &mut Context<Self>) {
        let container_id = launch.container_id.clone();
        let news = ctx.defer(|containerizer, news: Report, _| containerizer.pass_on(news));
        let (alive, gone) = Promise::new();
        let container = Container::new(launch, self.settings.clone(), news, Arc::new(alive));
        match ctx.spawn(Id::prefix("container"), container) {
            Ok(pid) => {
                self.containers.insert(container_id.clone(), Kept { pid, report, first: None });
                ctx.then(gone, move |containerizer, _, ctx| containerizer.gone(container_id, ctx));
            }
            Err(error) => {
                tracing::warn!(container_id, %error, "cannot make a container");
                let ended = launch_failed(format!("the agent cannot keep another container: {error}"));
                report.call(Report { container_id, kind: ReportKind::Ended(ended) });
            }
        }
    }

    fn pass_on(&mut self, news: Report) {
        let Some(kept) = self.containers.get_mut(&news.container_id) else { return };
        match &news.kind {
            ReportKind::Forked { pid } => {
                kept.first = Some(*pid);
                kept.report.call(news);
            }
            ReportKind::Ended(_) => {
                if let Some(kept) = self.containers.remove(&news.container_id) {
                    kept.report.call(news);
                }
            }
        }
    }

    /// A container's actor is no more, and nothing is being started for it. One that has not told its end has
    /// failed: what it started is spared by sweeps no longer, so a sweep ends it, and its end is told here.
    fn gone(&mut self, container_id: String, ctx: &mut Context<Self>) {
        let Some(kept) = self.containers.get(&container_id) else { return };
        let first = kept.first;
        tracing::error!(container_id, "a container's actor has failed; the container is ended");
        let (settings, id) = (self.settings.clone(), container_id.clone());
        let cleaned = ctx.blocking(move || {
            // One that was let go just now may not have left the agent's session, where sweeps do not look.
            first.into_iter().for_each(processes::kill_abandoned);
            processes::sweep();
            for isolator in &settings.isolators {
                if let Err(error) = isolator.cleanup(&id) {
                    tracing::warn!(container = id, %error, "cleaning up after a container");
                }
            }
        });
        ctx.then(cleaned, move |containerizer, _, _| {
            let message = "the agent's keeper of the container failed".to_owned();
            let ended = match first {
                Some(_) => Termination { message, ..Default::default() },
                None => launch_failed(message),
            };
            containerizer.pass_on(Report { container_id, kind: ReportKind::Ended(ended) });
        });
    }

    /// Ends a container; one that is not known has ended, and said so.
    pub fn destroy(&mut self, container_id: &str, _ctx: &mut Context<Self>) {
        if let Some(kept) = self.containers.get(container_id) {
            drop(kept.pid.dispatch(|container, ctx| container.destroy(ctx)));
        }
    }

    /// What a container uses now, given what it may use; `None` when it does not run.
    pub fn usage(
        &mut self,
        container_id: &str,
        resources: Vec<Resource>,
        _ctx: &mut Context<Self>,
    ) -> Future<Option<ResourceStatistics>> {
        match self.containers.get(container_id) {
            Some(kept) => kept.pid.dispatch(|container, ctx| container.usage(resources, ctx)).flatten(),
            None => Future::ready(None),
        }
    }
}

impl Process for Containerizer {
    fn initialize(&mut self, _ctx: &mut Context<Self>) {
        if let Err(error) = processes::adopt_orphans() {
            tracing::error!(%error, "what containers leave behind cannot be found: orphans may stay");
        }
    }

    fn finalize(&mut self, ctx: &mut Context<Self>) {
        for kept in self.containers.values() {
            ctx.terminate(&kept.pid);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;
    use std::time::{Duration, Instant};

    use api::v1::{CommandInfo, ExecutorInfo, task_status::Reason};
    use libprocess::Node;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    /// Stands where the agent does.
    struct Listener {
        containerizer: Pid<Containerizer>,
        news: VecDeque<ReportKind>,
    }

    impl Process for Listener {}

    impl Listener {
        fn launch(&mut self, launch: Launch, ctx: &mut Context<Self>) {
            let report =
                ctx.defer(|listener: &mut Listener, news: Report, _| listener.news.push_back(news.kind));
            self.containerizer.call(move |containerizer, ctx| containerizer.launch(launch, report, ctx));
        }
    }

    fn next_news(listener: &Pid<Listener>) -> ReportKind {
        let deadline = Instant::now() + LIMIT;
        loop {
            if let Some(news) =
                listener.dispatch(|listener, _| listener.news.pop_front()).wait(LIMIT).unwrap()
            {
                return news;
            }
            assert!(Instant::now() < deadline, "the container said nothing");
        }
    }

    fn start(
        launcher: &Path,
        isolators: Vec<Arc<dyn Isolator>>,
        sandbox: &Path,
    ) -> (Node, Pid<Containerizer>, Pid<Listener>) {
        let node = Node::local().unwrap();
        let settings = ContainerizerSettings { launcher: launcher.into(), isolators, frameworks_home: None };
        let containerizer = node.spawn("containerizer", Containerizer::new(settings)).unwrap();
        let listener = Listener { containerizer: containerizer.clone(), news: VecDeque::new() };
        let listener = node.spawn("listener", listener).unwrap();
        let command = CommandInfo { value: Some("true".into()), ..Default::default() };
        let launch = Launch {
            container_id: "c".into(),
            framework_id: "F".into(),
            executor: ExecutorInfo::default(),
            command,
            environment: BTreeMap::new(),
            sandbox: sandbox.into(),
            user: None,
            resources: Vec::new(),
            forked_pid: None,
        };
        listener.call(move |listener, ctx| listener.launch(launch, ctx));
        (node, containerizer, listener)
    }

    fn kept(containerizer: &Pid<Containerizer>) -> usize {
        containerizer.dispatch(|containerizer, _| containerizer.containers.len()).wait(LIMIT).unwrap()
    }

    #[test]
    fn a_container_whose_actor_fails_is_ended_with_all_its_processes_and_its_end_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let launcher = directory.path().join("launcher");
        // A grandchild in another session, as a container's processes may be.
        fs::write(&launcher, "#!/bin/sh\nexec setsid sh -c 'setsid sleep 1000 & exec sleep 1000'\n").unwrap();
        fs::set_permissions(&launcher, fs::Permissions::from_mode(0o755)).unwrap();
        let (node, containerizer, listener) = start(&launcher, Vec::new(), &directory.path().join("sandbox"));
        let ReportKind::Forked { pid } = next_news(&listener) else { panic!("it did not begin") };
        let deadline = Instant::now() + LIMIT;
        while processes::descendants(pid).is_empty() {
            assert!(Instant::now() < deadline, "the grandchild never came");
        }
        let grandchild = processes::descendants(pid)[0];
        containerizer.call(|containerizer, _| {
            let container = &containerizer.containers["c"].pid;
            container.call(|_, _| panic!("on purpose"));
        });
        let ReportKind::Ended(ended) = next_news(&listener) else { panic!("it began again") };
        // The workload gives what says nothing else TASK_FAILED and REASON_EXECUTOR_TERMINATED.
        assert_eq!((ended.state, ended.reason), (None, None));
        assert!(ended.message.contains("failed"), "{}", ended.message);
        for pid in [pid, grandchild] {
            assert!(processes::Stat::of(pid).is_none_or(|stat| stat.state == 'Z'), "{pid} is left");
        }
        assert_eq!(kept(&containerizer), 0);
        node.shutdown().wait(LIMIT).unwrap();
    }

    #[derive(Debug)]
    struct Panics;

    impl Isolator for Panics {
        fn name(&self) -> &'static str {
            "panics"
        }

        fn usage(&self, _: &str, _: &[processes::Stat], _: &mut ResourceStatistics) {}

        fn prepare(&self, _launch: &Launch) -> Result<(), crate::containers::isolators::IsolatorError> {
            panic!("on purpose")
        }
    }

    #[test]
    fn a_container_that_fails_before_anything_runs_is_a_launch_that_failed() {
        let directory = tempfile::tempdir().unwrap();
        let (node, containerizer, listener) =
            start(Path::new("/bin/true"), vec![Arc::new(Panics)], &directory.path().join("sandbox"));
        let ReportKind::Ended(ended) = next_news(&listener) else { panic!("something ran") };
        assert_eq!(ended.reason, Some(Reason::ContainerLaunchFailed));
        assert_eq!(kept(&containerizer), 0);
        node.shutdown().wait(LIMIT).unwrap();
    }
}
