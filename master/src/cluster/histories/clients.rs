//! The frameworks: what each believes of its tasks.

use super::*;

/// A framework.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) info: FrameworkInfo,
    pub(super) told: BTreeMap<TaskId, Told>,
    /// Under which master it subscribed last.
    pub(super) reign: u32,
}

/// What a framework believes of a task.
#[derive(Debug, Clone)]
pub(super) struct Told {
    pub(super) agent_id: AgentId,
    pub(super) state: TaskState,
    /// Which subscription it was told in: the master it is from, and whether the framework heard everything since.
    pub(super) current: bool,
}

impl Told {
    /// Whether the framework believes that it runs.
    pub(super) fn runs(&self) -> bool {
        !is_terminal(self.state)
            && self.state != TaskState::TaskUnreachable
            && self.state != TaskState::TaskUnknown
    }
}

impl History {
    pub(super) fn is_connected(&self, id: &FrameworkId) -> bool {
        self.cluster.frameworks.get(id).is_some_and(|framework| framework.is_connected())
    }

    /// A framework hears something.
    pub(super) fn hear(&mut self, id: &FrameworkId, event: FrameworkEvent) {
        match event {
            FrameworkEvent::Registered(_) | FrameworkEvent::Reregistered(_) => {
                let Some(framework) = self.cluster.frameworks.get(id) else { return };
                let info = (*framework.info).clone();
                let reign = self.reign;
                let client = self.clients.entry(id.clone()).or_insert_with(|| Client {
                    info: info.clone(),
                    told: BTreeMap::new(),
                    reign,
                });
                client.reign = reign;
                // Meanwhile it may have missed something.
                for told in client.told.values_mut() {
                    told.current = false;
                }
            }
            FrameworkEvent::Status(message) => {
                let status = &message.update.status;
                let Some(client) = self.clients.get_mut(id) else { return };
                let before = client.told.get(&status.task_id).map(|told| told.agent_id.clone());
                let agent_id = status.agent_id.clone().or(message.update.slave_id).or(before).unwrap();
                let told = Told { agent_id, state: status.state(), current: true };
                client.told.insert(status.task_id.clone(), told);
            }
            _ => {}
        }
    }

    /// A framework asks about what it may have missed news of. What it is not told, is because the agent is
    /// expected back.
    pub(super) fn ask_what_became(&mut self, id: &FrameworkId) {
        let Some(client) = self.clients.get(id) else { return };
        let doubtful = client.told.iter().filter(|(_, told)| told.runs() && !told.current);
        let tasks: Vec<_> = doubtful
            .map(|(task_id, told)| call::reconcile::Task {
                task_id: task_id.clone(),
                agent_id: Some(told.agent_id.clone()),
            })
            .collect();
        if tasks.is_empty() {
            return;
        }
        let reconcile = Some(call::Reconcile { tasks });
        self.cluster
            .call(id, Call { r#type: Some(call::Type::Reconcile.into()), reconcile, ..Call::default() });
        self.process_answers();
    }

    fn process_answers(&mut self) {
        for effect in self.cluster.take_effects() {
            match effect {
                Effect::Tell { framework_id: Some(id), event, .. } => self.hear(&id, event),
                Effect::Count(_) | Effect::CountOf(..) => {}
                other => panic!("an answer is only told, but {other:?}"),
            }
        }
    }

    pub(super) fn subscribe(&mut self, id: Option<FrameworkId>, checkpoint: bool) {
        let aware = framework_info::Capability {
            r#type: Some(framework_info::capability::Type::PartitionAware.into()),
        };
        // Every other one.
        let capabilities = if self.n_streams.is_multiple_of(2) { vec![aware] } else { vec![] };
        let new = || FrameworkInfo {
            failover_timeout: Some(5.0),
            checkpoint: Some(checkpoint),
            capabilities: capabilities.clone(),
            ..framework()
        };
        let known = id.as_ref().and_then(|id| self.clients.get(id));
        let info = known.map_or_else(new, |client| client.info.clone());
        let info = FrameworkInfo { id, ..info };
        self.n_streams += 1;
        let connection = Connection::Stream(Uuid::from_u128(self.n_streams));
        let options = OfferOptions::default();
        self.cluster.subscribe(Subscription { connection, info, force: true, options });
    }
}
