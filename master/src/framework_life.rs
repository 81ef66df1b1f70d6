//! Frameworks come, change, lose their connection, take over from each other, and go.

use std::sync::Arc;
use std::time::Duration;

use api::internal::{
    FrameworkRegisteredMessage, FrameworkReregisteredMessage, ShutdownFrameworkMessage,
    UpdateFrameworkMessage,
};
use api::v1::task_status::Reason;
use api::v1::{AgentId, FrameworkId, FrameworkInfo, TaskState};
use libprocess::Upid;
use uuid::Uuid;

use crate::capabilities::FrameworkCapabilities;
use crate::cluster::Cluster;
use crate::effect::{AgentMessage, AllocatorCall, Connection, Effect, FrameworkEvent, OfferOptions, Timeout};
use crate::frameworks::Framework;
use crate::tasks::TaskRecord;
use crate::validation;

/// A wish to be a framework here.
#[derive(Debug, Clone)]
pub struct Subscription {
    /// Where events are to go.
    pub connection: Connection,
    /// What the framework says of itself; `id` when it was here before.
    pub info: FrameworkInfo,
    /// Whether a driver may take over from another one. A stream always may.
    pub force: bool,
    /// Suppressed roles and constraints.
    pub options: OfferOptions,
}

impl Cluster {
    /// A framework subscribes: for the first time, again, or in place of its former self.
    pub fn subscribe(&mut self, mut subscription: Subscription) {
        // An empty id is what drivers send for none.
        if subscription.info.id.as_ref().is_some_and(|id| id.value.is_empty()) {
            subscription.info.id = None;
        }
        let again = subscription.info.id.is_some();
        self.count(if again {
            "master/messages_reregister_framework"
        } else {
            "master/messages_register_framework"
        });
        let checked = validation::framework::info(&subscription.info, &self.rules)
            .and_then(|()| match &subscription.info.id {
                Some(id) if self.frameworks.is_completed(id) => Err("Framework has been removed".to_owned()),
                _ => Ok(()),
            })
            .and_then(|()| {
                validation::framework::options(&subscription.info, &subscription.options, &self.rules)
            });
        if let Err(why) = checked {
            return self.refuse(subscription.connection, why);
        }
        match subscription.info.id.clone() {
            None => self.subscribe_new(subscription),
            Some(id) => self.subscribe_again(id, subscription),
        }
    }

    fn subscribe_new(&mut self, subscription: Subscription) {
        let Subscription { connection, info, options, .. } = subscription;
        // Drivers repeat their request until they hear back.
        if let Connection::Driver(pid) = &connection
            && let Some(id) = self.frameworks.of_driver(pid).cloned()
        {
            let event = self.registered_event(&id);
            return self.tell(&id, event);
        }
        let id = self.ids.next_framework();
        tracing::info!(framework = %id, name = info.name, "framework subscribes");
        self.frameworks.insert(Framework::new(id.clone(), info.clone(), options.clone(), self.now));
        self.connect_framework(&id, connection);
        if let Some(framework) = self.frameworks.get_mut(&id) {
            framework.active = true;
        }
        self.push(Effect::ShowRoles(id.clone()));
        let info = Box::new(self.frameworks.get(&id).map(|it| (*it.info).clone()).unwrap_or(info));
        self.allocator(AllocatorCall::AddFramework {
            id: id.clone(),
            info,
            used: Vec::new(),
            active: true,
            options,
        });
        let event = self.registered_event(&id);
        self.welcome(&id, event);
    }

    fn subscribe_again(&mut self, id: FrameworkId, subscription: Subscription) {
        let Subscription { connection, mut info, force, options } = subscription;
        if let Connection::Driver(pid) = &connection
            && self.frameworks.of_driver(pid).is_some_and(|other| *other != id)
        {
            tracing::warn!(%pid, framework = %id, "ignoring a subscription: its driver speaks for another framework");
            return;
        }
        if self.frameworks.get(&id).is_none() {
            // A framework of a former master, or one that chose its own id.
            self.recover_framework(&id, info.clone());
        }
        let Some(framework) = self.frameworks.get(&id) else { return };
        if let Err(why) = validation::framework::unchanged_principal(&framework.info, &info) {
            return self.refuse(connection, why);
        }
        // These two decide how what already runs was started.
        info.user = framework.info.user.clone();
        info.checkpoint = framework.info.checkpoint;
        let (recovered, old) = (framework.recovered, framework.connection.clone());
        let takes_over = force || matches!(connection, Connection::Stream(_));
        if !recovered && !takes_over && old.is_some() && old.as_ref() != Some(&connection) {
            return self.refuse(connection, "Framework failed over");
        }
        tracing::info!(framework = %id, recovered, "framework subscribes again");
        self.change_framework(&id, info, options);

        if let Some(old) = old.filter(|old| *old != connection && takes_over) {
            self.refuse(old, "Framework failed over");
        }
        // Whoever takes over does not know the old offers, so there is nothing to tell it.
        self.withdraw_offers_of_framework(&id, !takes_over);
        let by_driver = matches!(connection, Connection::Driver(_));
        self.connect_framework(&id, connection);
        if let Some(framework) = self.frameworks.get_mut(&id) {
            framework.active = true;
        }
        self.allocator(AllocatorCall::ActivateFramework(id.clone()));
        // A driver calls its scheduler's `registered` for a master that did not know it, else `reregistered`.
        let event = if (recovered && by_driver) || (!recovered && takes_over) {
            self.registered_event(&id)
        } else {
            self.reregistered_event(&id)
        };
        self.welcome(&id, event);
        self.broadcast_framework(&id);
    }

    fn registered_event(&self, id: &FrameworkId) -> FrameworkEvent {
        FrameworkEvent::Registered(FrameworkRegisteredMessage {
            framework_id: id.clone(),
            master_info: self.info.clone(),
        })
    }

    fn reregistered_event(&self, id: &FrameworkId) -> FrameworkEvent {
        FrameworkEvent::Reregistered(FrameworkReregisteredMessage {
            framework_id: id.clone(),
            master_info: self.info.clone(),
        })
    }

    fn welcome(&mut self, id: &FrameworkId, event: FrameworkEvent) {
        self.tell(id, event);
        if let Some(Connection::Stream(stream)) = self.frameworks.get(id).and_then(|it| it.connection.clone())
        {
            self.push(Effect::Heartbeat(stream));
        }
    }

    fn connect_framework(&mut self, id: &FrameworkId, connection: Connection) {
        if let Connection::Driver(pid) = &connection {
            self.push(Effect::Link(pid.clone()));
        }
        self.count_call(id, api::v1::scheduler::call::Type::Subscribe);
        if self.frameworks.get(id).is_some_and(|framework| !framework.is_connected()) {
            self.push(Effect::AddTo(id.clone(), "subscribed".into(), 1.0));
        }
        self.frameworks.connect(id, Some(connection));
        let now = self.now;
        if let Some(framework) = self.frameworks.get_mut(id) {
            framework.subscription += 1;
            if framework.subscription > 1 || framework.recovered {
                framework.reregistered = Some(now);
            }
            framework.recovered = false;
        }
    }

    /// A framework that this master knows of only because its tasks run, or because it says so.
    pub(crate) fn recover_framework(&mut self, id: &FrameworkId, info: FrameworkInfo) {
        let mut framework = Framework::new(id.clone(), info, OfferOptions::default(), self.now);
        framework.recovered = true;
        let info = Box::new((*framework.info).clone());
        self.frameworks.insert(framework);
        self.push(Effect::ShowRoles(id.clone()));
        self.allocator(AllocatorCall::AddFramework {
            id: id.clone(),
            info,
            used: Vec::new(),
            active: false,
            options: OfferOptions::default(),
        });
    }

    /// Takes over a changed info. Returns whether it differs from the old one.
    pub(crate) fn change_framework(
        &mut self,
        id: &FrameworkId,
        mut info: FrameworkInfo,
        options: OfferOptions,
    ) -> bool {
        info.id = Some(id.clone());
        // The allocator first: what it frees by the change must not come back in an offer of the old roles.
        self.allocator(AllocatorCall::UpdateFramework {
            id: id.clone(),
            info: Box::new(info.clone()),
            options: options.clone(),
        });
        let Some(framework) = self.frameworks.get_mut(id) else { return false };
        let changed = *framework.info != info;
        framework.capabilities = FrameworkCapabilities::of(&info.capabilities);
        framework.info = Arc::new(info);
        framework.options = Arc::new(options);
        let roles = framework.roles();
        let offers = framework.offers.clone();
        self.push(Effect::ShowRoles(id.clone()));
        for offer_id in &offers {
            if self.offers.get(offer_id).is_some_and(|offer| !roles.contains(&offer.role)) {
                self.rescind_offer(offer_id);
            }
        }
        changed
    }

    /// Tells every agent what a framework says of itself now, and where it is.
    pub(crate) fn broadcast_framework(&mut self, id: &FrameworkId) {
        let agents: Vec<Upid> = self.agents.registered.values().map(|agent| agent.pid.clone()).collect();
        for pid in agents {
            self.send_framework(id, &pid);
        }
    }

    pub(crate) fn send_framework(&mut self, id: &FrameworkId, agent: &Upid) {
        let Some(framework) = self.frameworks.get(id) else { return };
        let message = UpdateFrameworkMessage {
            framework_id: id.clone(),
            pid: framework.pid().map(Upid::to_string),
            framework_info: Some((*framework.info).clone()),
        };
        self.send(agent, AgentMessage::UpdateFramework(Box::new(message)));
    }

    /// A driver's process or node is gone.
    pub fn driver_exited(&mut self, pid: &Upid) {
        if let Some(id) = self.frameworks.of_driver(pid).cloned() {
            // It may only be the connection that broke; if so, the driver learns that it has to come back.
            let event = FrameworkEvent::Error(api::internal::FrameworkErrorMessage {
                message: "Framework disconnected".into(),
            });
            self.tell(&id, event);
            self.disconnect_framework(&id);
        }
    }

    /// A stream was closed by the other end, or cut off because its reader was too slow.
    pub fn stream_closed(&mut self, stream: &Uuid) {
        if let Some(id) = self.frameworks.of_stream(stream).cloned() {
            self.disconnect_framework(&id);
        }
    }

    fn disconnect_framework(&mut self, id: &FrameworkId) {
        tracing::info!(framework = %id, "framework disconnected");
        self.frameworks.connect(id, None);
        self.push(Effect::AddTo(id.clone(), "subscribed".into(), -1.0));
        self.deactivate_framework(id, false);
        let Some(framework) = self.frameworks.get(id) else { return };
        let after = Duration::try_from_secs_f64(framework.info.failover_timeout()).unwrap_or(Duration::MAX);
        let then = Timeout::FrameworkFailover { id: id.clone(), subscription: framework.subscription };
        self.push(Effect::Delay { after, then });
    }

    /// No more offers for a framework, and the ones it has are taken back.
    pub(crate) fn deactivate_framework(&mut self, id: &FrameworkId, tell: bool) {
        if let Some(framework) = self.frameworks.get_mut(id)
            && std::mem::replace(&mut framework.active, false)
        {
            self.allocator(AllocatorCall::DeactivateFramework(id.clone()));
        }
        self.withdraw_offers_of_framework(id, tell);
    }

    /// A driver asks for no more offers.
    pub fn deactivate_driver(&mut self, id: &FrameworkId, from: &Upid) {
        self.count("master/messages_deactivate_framework");
        if self.framework_of(id, from).is_some_and(|framework| framework.active) {
            self.deactivate_framework(id, true);
        }
    }

    /// The wait for a framework to come back is over.
    pub fn failover_timed_out(&mut self, id: &FrameworkId, subscription: u64) {
        let waits = |it: &Framework| !it.is_connected() && it.subscription == subscription;
        if self.frameworks.get(id).is_some_and(waits) {
            tracing::info!(framework = %id, "framework did not come back in time");
            self.remove_framework(id);
        }
    }

    /// The end of a framework: its tasks and executors are shut down everywhere, and its id is used up.
    pub fn remove_framework(&mut self, id: &FrameworkId) {
        let Some(framework) = self.frameworks.get(id) else { return };
        tracing::info!(framework = %id, name = framework.info.name, "removing framework");
        let stream = match &framework.connection {
            Some(Connection::Stream(stream)) => Some(*stream),
            _ => None,
        };
        self.deactivate_framework(id, false);
        let agents: Vec<Upid> = self.agents.registered.values().map(|agent| agent.pid.clone()).collect();
        for pid in agents {
            self.send(
                &pid,
                AgentMessage::ShutdownFramework(ShutdownFrameworkMessage { framework_id: id.clone() }),
            );
        }
        self.end_tasks(id);
        let executors = self.frameworks.get(id).map(|it| it.executors.clone()).unwrap_or_default();
        for (agent_id, executor_id) in executors.keys() {
            self.remove_executor(id, agent_id, executor_id);
        }
        self.allocator(AllocatorCall::RemoveFramework(id.clone()));
        let draining: Vec<_> = self.agents.orders.keys().cloned().collect();
        for agent_id in draining {
            self.check_drained(&agent_id);
        }
        let now = self.now;
        if let Some(framework) = self.frameworks.get_mut(id) {
            framework.unregistered = Some(now);
        }
        if self.frameworks.get(id).is_some_and(Framework::is_connected) {
            self.push(Effect::AddTo(id.clone(), "subscribed".into(), -1.0));
        }
        for forgotten in self.frameworks.complete(id, self.rules.max_completed_frameworks) {
            self.push(Effect::StopCounting(forgotten));
        }
        if let Some(stream) = stream {
            self.push(Effect::Hangup(stream));
        }
    }

    /// All tasks of a framework count as killed; it is not there to be told.
    fn end_tasks(&mut self, id: &FrameworkId) {
        let Some(framework) = self.frameworks.get(id) else { return };
        let message = format!("Framework {id} removed");
        let tasks: Vec<_> = framework.tasks.values().cloned().collect();
        let lost: Vec<_> = framework.unreachable_tasks.iter().cloned().collect();
        for task in tasks {
            let update = self.master_update(
                id,
                &task,
                TaskState::TaskKilled,
                Reason::FrameworkRemoved,
                message.clone(),
            );
            self.update_task(id, &task.task_id, &update);
            self.remove_task(id, &task.task_id);
        }
        let bound = self.rules.max_completed_tasks;
        for mut task in lost {
            let update = self.master_update(
                id,
                &task,
                TaskState::TaskKilled,
                Reason::FrameworkRemoved,
                message.clone(),
            );
            TaskRecord::update(&mut task, &update);
            self.forget_unreachable(&task.agent_id, id, &task.task_id);
            if let Some(framework) = self.frameworks.get_mut(id) {
                framework.unreachable_tasks.remove(&task.task_id);
                framework.complete(task, bound);
            }
        }
    }

    pub(crate) fn forget_unreachable(
        &mut self,
        agent_id: &AgentId,
        id: &FrameworkId,
        task_id: &api::v1::TaskId,
    ) {
        if let Some(tasks) = self.agents.unreachable_tasks.get_mut(agent_id) {
            tasks.remove(&(id.clone(), task_id.clone()));
            if tasks.is_empty() {
                self.agents.unreachable_tasks.remove(agent_id);
            }
        }
    }
}
