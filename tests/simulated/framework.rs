//! A framework on the real driver: it wants so many tasks to run at a time, and asks for the state of those it has
//! not heard of, as every good one does.

use std::collections::BTreeMap;
use std::time::Duration;

use api::resources::Resources;
use api::v1::{
    AgentId, CommandInfo, FrameworkId, MasterInfo, Offer, TaskId, TaskInfo, TaskState, TaskStatus,
};
use frameworks::driver::{Scheduler, SchedulerCalls};

use libprocess::Time;

use crate::agent::is_terminal;

const RECONCILE: Duration = Duration::from_secs(5);

/// What the framework believes of a task.
pub struct Belief {
    pub state: TaskState,
    pub agent_id: AgentId,
    pub launched: Time,
}

pub struct Framework {
    /// So many tasks at a time.
    pub want: usize,
    pub tasks: BTreeMap<TaskId, Belief>,
    pub n_launched: usize,
    pub n_ended: usize,
    pub n_offers: usize,
    pub connected: bool,
    began: bool,
}

impl Framework {
    pub fn new(want: usize) -> Framework {
        Framework {
            want,
            tasks: BTreeMap::new(),
            n_launched: 0,
            n_ended: 0,
            n_offers: 0,
            connected: false,
            began: false,
        }
    }

    fn reconcile(&mut self, calls: &mut SchedulerCalls<'_, Self>) {
        if !self.tasks.is_empty() {
            let tasks = self.tasks.iter().map(|(id, it)| (id.clone(), Some(it.agent_id.clone())));
            calls.reconcile(tasks.collect());
        }
        // The network of a simulation loses messages while the connection lasts: a launch may never arrive.
        let now = calls.now();
        for (id, belief) in &self.tasks {
            if belief.state == TaskState::TaskStaging && now - belief.launched > RECONCILE {
                calls.kill(id.clone(), Some(belief.agent_id.clone()), None);
            }
        }
    }

    fn reconcile_for_ever(&mut self, calls: &mut SchedulerCalls<'_, Self>) {
        self.reconcile(calls);
        calls.after(RECONCILE, Self::reconcile_for_ever);
    }
}

impl Scheduler for Framework {
    fn registered(&mut self, calls: &mut SchedulerCalls<'_, Self>, _: &FrameworkId, _: &MasterInfo) {
        self.connected = true;
        if !std::mem::replace(&mut self.began, true) {
            self.reconcile_for_ever(calls);
        }
    }

    fn reregistered(&mut self, calls: &mut SchedulerCalls<'_, Self>, _: &MasterInfo) {
        self.connected = true;
        self.reconcile(calls);
    }

    fn disconnected(&mut self, _: &mut SchedulerCalls<'_, Self>) {
        self.connected = false;
    }

    fn resource_offers(&mut self, calls: &mut SchedulerCalls<'_, Self>, offers: Vec<Offer>) {
        self.n_offers += offers.len();
        for offer in offers {
            let room = (self.want - self.tasks.len().min(self.want)).min(2);
            let cpus: f64 = offer
                .resources
                .iter()
                .filter(|it| it.name == "cpus")
                .filter_map(|it| it.scalar.as_ref())
                .map(|it| it.value)
                .sum();
            let tasks: Vec<TaskInfo> = (0..room.min(cpus as usize))
                .map(|_| {
                    self.n_launched += 1;
                    let task_id = TaskId::from(format!("t{:05}", self.n_launched));
                    let belief = Belief {
                        state: TaskState::TaskStaging,
                        agent_id: offer.agent_id.clone(),
                        launched: calls.now(),
                    };
                    self.tasks.insert(task_id.clone(), belief);
                    TaskInfo {
                        name: "t".into(),
                        task_id,
                        agent_id: offer.agent_id.clone(),
                        resources: Resources::parse("cpus:1;mem:64", "*")
                            .expect("good resources")
                            .to_messages(),
                        command: Some(CommandInfo { value: Some("true".into()), ..Default::default() }),
                        ..Default::default()
                    }
                })
                .collect();
            let filters = Some(frameworks::driver::refuse_for(Duration::from_secs(1)));
            if tasks.is_empty() {
                calls.decline(vec![offer.id], filters);
            } else {
                calls.launch(vec![offer.id], tasks, filters);
            }
        }
    }

    fn status_update(&mut self, _: &mut SchedulerCalls<'_, Self>, status: TaskStatus) {
        let state = status.state();
        if is_terminal(state) {
            self.n_ended += usize::from(self.tasks.remove(&status.task_id).is_some());
        } else if let Some(belief) = self.tasks.get_mut(&status.task_id) {
            belief.state = state;
        }
    }

    fn error(&mut self, _: &mut SchedulerCalls<'_, Self>, message: &str) {
        panic!("the master refuses the framework: {message}");
    }
}
