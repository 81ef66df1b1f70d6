//! All containers of an agent.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use api::v1::{Resource, ResourceStatistics};
use libprocess::{Context, Deferred, Future, Id, Pid, Process, Upid};

use super::container::{Container, Report};
use super::isolators::Isolator;
use super::processes;
use crate::workload::Launch;

/// How containers are made.
pub struct ContainerizerSettings {
    /// The `mesos` command.
    pub launcher: PathBuf,
    /// In the order in which they are asked.
    pub isolators: Vec<Arc<dyn Isolator>>,
    /// What relative URIs are relative to.
    pub frameworks_home: Option<PathBuf>,
}

/// All containers, each an actor of its own.
pub struct Containerizer {
    settings: Arc<ContainerizerSettings>,
    containers: BTreeMap<String, Pid<Container>>,
}

impl Containerizer {
    /// Without a container.
    pub fn new(settings: ContainerizerSettings) -> Containerizer {
        Containerizer { settings: Arc::new(settings), containers: BTreeMap::new() }
    }

    /// Makes a container. Its news, its end above all, go to `report`.
    pub fn launch(&mut self, launch: Launch, report: Deferred<Report>, ctx: &mut Context<Self>) {
        let container_id = launch.container_id.clone();
        let container = Container::new(launch, self.settings.clone(), report);
        match ctx.spawn(Id::prefix("container"), container) {
            Ok(pid) => {
                ctx.link(&pid);
                self.containers.insert(container_id, pid);
            }
            // The node is shutting down, and with it whoever would hear the report.
            Err(error) => tracing::warn!(container_id, %error, "cannot make a container"),
        }
    }

    /// Ends a container; one that is not known has ended, and said so.
    pub fn destroy(&mut self, container_id: &str, _ctx: &mut Context<Self>) {
        if let Some(container) = self.containers.get(container_id) {
            drop(container.dispatch(|container, ctx| container.destroy(ctx)));
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
            Some(container) => container.dispatch(|container, ctx| container.usage(resources, ctx)).flatten(),
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

    fn exited(&mut self, pid: &Upid, _ctx: &mut Context<Self>) {
        self.containers.retain(|_, container| container.as_ref() != pid);
    }

    fn finalize(&mut self, ctx: &mut Context<Self>) {
        for container in self.containers.values() {
            ctx.terminate(container);
        }
    }
}
