//! What the agent measures of itself.

use api::internal::StatusUpdate;
use api::resources::Resources;
use api::v1::TaskState;
use libprocess::Context;

use crate::actor::{Agent, AgentState};
use crate::command_task::scalar_amount;
use crate::task_state;
use crate::workload::{ExecutorState, FrameworkState};

/// The counters of tasks that ended, by how.
const ENDS: [(TaskState, &str); 5] = [
    (TaskState::TaskFinished, "slave/tasks_finished"),
    (TaskState::TaskFailed, "slave/tasks_failed"),
    (TaskState::TaskKilled, "slave/tasks_killed"),
    (TaskState::TaskLost, "slave/tasks_lost"),
    (TaskState::TaskGone, "slave/tasks_gone"),
];

/// The counter for a task that this update ends.
pub(crate) fn end_counter(update: &StatusUpdate) -> Option<&'static str> {
    let state = task_state::of(&update.status);
    ENDS.into_iter().find(|(end, _)| *end == state).map(|(_, counter)| counter)
}

/// Enters the agent's metrics.
pub(crate) fn install(ctx: &mut Context<Agent>) {
    for name in [
        "valid_status_updates",
        "invalid_status_updates",
        "valid_framework_messages",
        "invalid_framework_messages",
    ] {
        ctx.metrics().counter(&format!("slave/{name}"));
    }
    for name in ["container_launch_errors", "recovery_errors", "executors_preempted"] {
        ctx.metrics().counter(&format!("slave/{name}"));
    }
    for (_, counter) in ENDS {
        ctx.metrics().counter(counter);
    }
    ctx.pull_gauge("slave/registered", |agent: &Agent| f64::from(agent.state == AgentState::Running));
    ctx.pull_gauge("slave/frameworks_active", |agent: &Agent| {
        agent.workload.frameworks().filter(|framework| framework.state == FrameworkState::Running).count()
            as f64
    });
    let states = [
        ("registering", ExecutorState::Registering),
        ("running", ExecutorState::Running),
        ("terminating", ExecutorState::Terminating),
        ("terminated", ExecutorState::Terminated),
    ];
    for (name, state) in states {
        ctx.pull_gauge(&format!("slave/executors_{name}"), move |agent: &Agent| {
            agent.workload.executors().filter(|(_, executor)| executor.state == state).count() as f64
        });
    }
    let live = [
        ("staging", TaskState::TaskStaging),
        ("starting", TaskState::TaskStarting),
        ("running", TaskState::TaskRunning),
        ("killing", TaskState::TaskKilling),
    ];
    for (name, state) in live {
        ctx.pull_gauge(&format!("slave/tasks_{name}"), move |agent: &Agent| {
            let queued =
                |agent: &Agent| agent.workload.executors().map(|(_, e)| e.queued.len()).sum::<usize>();
            let launched = agent.workload.executors().flat_map(|(_, executor)| executor.launched.values());
            let launched = launched.filter(|task| task_state::of_task(task) == state).count();
            (launched + if state == TaskState::TaskStaging { queued(agent) } else { 0 }) as f64
        });
    }
    for name in ["cpus", "gpus", "mem", "disk"] {
        let total = |agent: &Agent, name: &str| scalar_amount(&agent.workload.info.resources, name);
        let used = |agent: &Agent, name: &str| {
            let held: Vec<_> =
                agent.workload.executors().flat_map(|(_, executor)| executor.resources()).collect();
            scalar_amount(&Resources::from_checked(held).to_messages(), name)
        };
        ctx.pull_gauge(&format!("slave/{name}_total"), move |agent: &Agent| total(agent, name));
        ctx.pull_gauge(&format!("slave/{name}_used"), move |agent: &Agent| used(agent, name));
        ctx.pull_gauge(&format!("slave/{name}_percent"), move |agent: &Agent| {
            let total = total(agent, name);
            if total > 0.0 { used(agent, name) / total } else { 0.0 }
        });
    }
}
