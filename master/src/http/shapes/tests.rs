//! The documents of clusters small and large.

use api::v1::{FrameworkId, MasterInfo, TaskStatus};
use imbl::{OrdMap, Vector};
use libprocess::{Time, Upid};

use super::*;
use crate::capabilities::AgentCapabilities;
use crate::effect::OfferOptions;

fn resources(text: &str) -> Resources {
    Resources::parse(text, "*").unwrap()
}

fn agent(n: usize) -> Arc<Agent> {
    let id = AgentId::from(format!("7e1c5d5c-0d3c-4a3a-9d58-1d9a3c8f0b11-S{n}"));
    let info = AgentInfo { id: Some(id.clone()), hostname: format!("host-{n}"), ..Default::default() };
    Arc::new(Agent {
        id,
        info: Arc::new(info),
        pid: Upid::new("slave(1)", ([10, 0, 0, 1], 5051).into()),
        version: "1.11.0".into(),
        capability_list: Vec::new(),
        capabilities: AgentCapabilities::default(),
        connected: true,
        active: true,
        connection: 1,
        registered: Time::EPOCH,
        reregistered: None,
        total: resources("cpus:64;mem:262144;disk:100000;ports:[31000-32000]"),
        used: OrdMap::unit(FrameworkId::from("f"), resources("cpus:10;mem:1024").allocated("*")),
        executors: OrdMap::new(),
        tasks: Default::default(),
        offers: Default::default(),
        unavailability: None,
        inverse_offers: Default::default(),
        killed: Default::default(),
        resource_version: None,
    })
}

fn task(n: usize, n_agents: usize) -> Arc<TaskRecord> {
    let status =
        |state: TaskState| TaskStatus { state: state.into(), timestamp: Some(1.0), ..Default::default() };
    Arc::new(TaskRecord::from(Task {
        name: format!("task-{n}"),
        task_id: format!("task-{n}").into(),
        framework_id: "7e1c5d5c-0d3c-4a3a-9d58-1d9a3c8f0b11-0000".into(),
        agent_id: format!("7e1c5d5c-0d3c-4a3a-9d58-1d9a3c8f0b11-S{}", n % n_agents).into(),
        state: TaskState::TaskRunning.into(),
        resources: resources("cpus:0.1;mem:32").allocated("*").to_messages(),
        statuses: vec![status(TaskState::TaskStarting), status(TaskState::TaskRunning)],
        ..Default::default()
    }))
}

fn snapshot(n_agents: usize, n_tasks: usize) -> Snapshot {
    let info = FrameworkInfo { name: "f".into(), user: "u".into(), ..Default::default() };
    let mut framework = Framework::new("f".into(), info, OfferOptions::default(), Time::EPOCH);
    framework.tasks = (0..n_tasks).map(|n| task(n, n_agents)).map(|it| (it.task_id.clone(), it)).collect();
    framework.completed_tasks = (n_tasks..2 * n_tasks).map(|n| task(n, n_agents)).collect();
    framework.used = (0..n_agents).map(agent).map(|it| (it.id.clone(), it.total_used())).collect();
    Snapshot {
        info: MasterInfo::default(),
        started: Time::EPOCH,
        elected: None,
        cluster_name: None,
        flags: Arc::default(),
        frameworks: OrdMap::unit(framework.id.clone(), Arc::new(framework)),
        completed: Vector::new(),
        agents: (0..n_agents).map(agent).map(|it| (it.id.clone(), it)).collect(),
        recovered: OrdMap::new(),
        orders: OrdMap::new(),
        offers: OrdMap::new(),
        n_unreachable: 0,
    }
}

#[test]
fn the_document_holds_every_agent_and_task() {
    let snapshot = snapshot(3, 5);
    let mut out = Vec::new();
    state(&snapshot, &mut out);
    let document: serde_json::Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(document["slaves"].as_array().unwrap().len(), 3);
    let framework = &document["frameworks"][0];
    assert_eq!(framework["tasks"].as_array().unwrap().len(), 5);
    assert_eq!(framework["completed_tasks"].as_array().unwrap().len(), 5);
    assert_eq!(framework["used_resources"]["cpus"], 30.0);
    assert_eq!(document["slaves"][0]["resources"]["ports"], "[31000-32000]");
}
