//! The half of a framework that answers offers.

mod calls;
mod handle;
mod process;
mod session;

pub use calls::{SchedulerCalls, ids_of, refuse_for};
pub use handle::SchedulerDriver;
pub use process::SchedulerProcess;

use std::time::Duration;

use api::v1::{AgentId, ExecutorId, FrameworkId, MasterInfo, Offer, OfferId, TaskStatus};

/// A framework's scheduler: told what happens, it answers through the calls it is handed.
///
/// All methods are called by one actor, one at a time, and must not block. Each has a default that does
/// nothing.
pub trait Scheduler: Sized + Send + 'static {
    /// The master has admitted the framework, under this id.
    fn registered(&mut self, calls: &mut SchedulerCalls<'_, Self>, id: &FrameworkId, master: &MasterInfo) {
        let _ = (calls, id, master);
    }

    /// After a disconnection a master, perhaps another one, has taken the framework back.
    ///
    /// Messages may have been lost meanwhile: a scheduler with tasks asks for their state
    /// ([`reconcile`](SchedulerCalls::reconcile)).
    fn reregistered(&mut self, calls: &mut SchedulerCalls<'_, Self>, master: &MasterInfo) {
        let _ = (calls, master);
    }

    /// The master is lost; the driver tries to register again. Offers are void, tasks go on running.
    fn disconnected(&mut self, calls: &mut SchedulerCalls<'_, Self>) {
        let _ = calls;
    }

    /// Resources to use or decline. They are held for this framework until it answers.
    fn resource_offers(&mut self, calls: &mut SchedulerCalls<'_, Self>, offers: Vec<Offer>) {
        let unused = offers.into_iter().map(|offer| offer.id).collect();
        calls.decline(unused, None);
    }

    /// An offer is void.
    fn offer_rescinded(&mut self, calls: &mut SchedulerCalls<'_, Self>, offer: &OfferId) {
        let _ = (calls, offer);
    }

    /// The state of a task. The same may come more than once. Unless the driver was told otherwise it
    /// acknowledges the update when this returns.
    fn status_update(&mut self, calls: &mut SchedulerCalls<'_, Self>, status: TaskStatus) {
        let _ = (calls, status);
    }

    /// Something one of the framework's executors said. It may be lost.
    fn framework_message(
        &mut self,
        calls: &mut SchedulerCalls<'_, Self>,
        executor: &ExecutorId,
        agent: &AgentId,
        data: &[u8],
    ) {
        let _ = (calls, executor, agent, data);
    }

    /// An agent is lost, and with it all tasks on it, whose states come by
    /// [`status_update`](Self::status_update).
    fn agent_lost(&mut self, calls: &mut SchedulerCalls<'_, Self>, agent: &AgentId) {
        let _ = (calls, agent);
    }

    /// An executor has ended, with this raw wait status; −1 if that is unknown.
    fn executor_lost(
        &mut self,
        calls: &mut SchedulerCalls<'_, Self>,
        executor: &ExecutorId,
        agent: &AgentId,
        status: i32,
    ) {
        let _ = (calls, executor, agent, status);
    }

    /// The master refuses this framework. The driver aborts after this.
    fn error(&mut self, calls: &mut SchedulerCalls<'_, Self>, message: &str) {
        let _ = (calls, message);
    }
}

/// How a scheduler's driver is to behave.
#[derive(Clone, Debug)]
pub struct SchedulerOptions {
    /// Acknowledge each status update when [`Scheduler::status_update`] returns. Otherwise the scheduler
    /// calls [`SchedulerCalls::acknowledge`], after it has put the update somewhere safe.
    pub implicit_acknowledgements: bool,
    /// The longest wait between the first and the second attempt to register; it doubles from there.
    pub registration_backoff: Duration,
}

impl Default for SchedulerOptions {
    fn default() -> Self {
        SchedulerOptions { implicit_acknowledgements: true, registration_backoff: Duration::from_millis(250) }
    }
}
