//! What the state of the cluster wants done is done.

use libprocess::Context;
use uuid::Uuid;

use crate::actor::{HEARTBEAT_INTERVAL, Master};
use crate::effect::{Connection, Continuation, Effect};
use crate::per_framework::event_name;
use crate::registry::Operation;
use crate::streams::{heartbeat, v1_event};
use crate::telling::{send_agent, tell_driver};

impl Master {
    pub(crate) fn perform(&mut self, effect: Effect, ctx: &mut Context<Self>) {
        match effect {
            Effect::Tell { to, framework_id, event } => {
                if let Some(id) = &framework_id {
                    self.per_framework.count(&self.cluster, id, "events", ctx);
                    self.per_framework.count(&self.cluster, id, event_name(&event), ctx);
                }
                match to {
                    Connection::Driver(pid) => tell_driver(&pid, event, ctx),
                    Connection::Stream(id) => {
                        self.write(&id, &v1_event(event, HEARTBEAT_INTERVAL.as_secs_f64()));
                    }
                }
            }
            Effect::Hangup(id) => self.streams.close(&id),
            Effect::Heartbeat(id) => self.heartbeat(id, ctx),
            Effect::Send { to, message } => send_agent(&to, message, ctx),
            Effect::Link(pid) => ctx.link(&pid),
            Effect::Observe { agent_id, pid } => {
                if let Some(observer) = &self.observer {
                    observer.call(move |observer, ctx| observer.watch(agent_id, pid, ctx));
                }
            }
            Effect::ObserveConnection { agent_id, pid } => {
                if let Some(observer) = &self.observer {
                    observer.call(move |observer, _| observer.set_connection(&agent_id, pid));
                }
            }
            Effect::StopObserving(agent_id) => {
                if let Some(observer) = &self.observer {
                    observer.call(move |observer, _| observer.forget(&agent_id));
                }
            }
            Effect::Allocator(call) => self.tell_allocator(call),
            Effect::Registry { operation, then } => self.persist(operation, then, ctx),
            Effect::Delay { after, then } => {
                self.start_timer(after, then, ctx);
            }
            Effect::Count(name) => self.count(name, ctx),
            Effect::CountOf(id, name) => self.per_framework.count(&self.cluster, &id, &name, ctx),
            Effect::AddTo(id, name, change) => self.per_framework.add(&self.cluster, &id, &name, change, ctx),
            Effect::ShowRoles(id) => self.per_framework.show_roles(&self.cluster, &id, ctx),
            Effect::StopCounting(id) => self.per_framework.forget(&self.cluster, &id, ctx),
        }
    }

    fn write(&mut self, id: &Uuid, event: &api::v1::scheduler::Event) {
        if let Err(error) = self.streams.write(id, event) {
            tracing::info!(stream = %id, %error, "an event stream ended");
            self.cluster.stream_closed(id);
        }
    }

    /// At once after SUBSCRIBED, and then in intervals for as long as the stream is open.
    fn heartbeat(&mut self, id: Uuid, ctx: &mut Context<Self>) {
        if self.streams.is_open(&id) {
            self.event_write(&id, ctx);
            self.heartbeat_later(id, ctx);
        }
    }

    fn heartbeat_later(&mut self, id: Uuid, ctx: &mut Context<Self>) {
        ctx.delay(HEARTBEAT_INTERVAL, move |master, ctx| {
            if master.may_act(ctx) {
                master.heartbeat(id, ctx);
            } else if master.streams.is_open(&id) {
                // It says that a master is there, so one that may not act does not say it.
                master.heartbeat_later(id, ctx);
            }
        });
    }

    fn event_write(&mut self, id: &Uuid, ctx: &mut Context<Self>) {
        self.write(id, &heartbeat());
        if !self.streams.is_open(id) {
            // So that what it did to the cluster has its effects.
            self.act(ctx, |_| ());
        }
    }

    fn persist(&mut self, operation: Operation, then: Continuation, ctx: &mut Context<Self>) {
        let written =
            ctx.dispatch(&self.registrar, move |registrar, ctx| registrar.apply(operation, ctx)).flatten();
        ctx.then(written, move |master, result, ctx| match result {
            Ok(Ok(outcome)) => {
                master.act_in_time(ctx, move |cluster| cluster.registry_done(then, outcome));
            }
            Ok(Err(error)) => master.registry_failed(error, ctx),
            // The contender hears of its end too, and knows what to do.
            Err(_) => {}
        });
    }
}
