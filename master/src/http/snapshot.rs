//! What a reader gets: the state at one moment. Taking it copies nothing that grows with the cluster.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::v1::{AgentId, AgentInfo, FrameworkId, MasterInfo};
use imbl::{OrdMap, Vector};
use libprocess::Time;

use crate::actor::Master;
use crate::agents::Agent;
use crate::frameworks::Framework;
use crate::offers::Offers;
use crate::registry::Orders;

/// The state at one moment.
#[derive(Clone)]
pub(crate) struct Snapshot {
    pub(crate) info: MasterInfo,
    pub(crate) started: Time,
    pub(crate) elected: Option<Time>,
    pub(crate) cluster_name: Option<String>,
    pub(crate) flags: Arc<BTreeMap<String, String>>,
    pub(crate) frameworks: OrdMap<FrameworkId, Arc<Framework>>,
    pub(crate) completed: Vector<Arc<Framework>>,
    pub(crate) agents: OrdMap<AgentId, Arc<Agent>>,
    pub(crate) recovered: OrdMap<AgentId, Arc<AgentInfo>>,
    pub(crate) orders: OrdMap<AgentId, Orders>,
    pub(crate) offers: Offers,
    pub(crate) n_unreachable: usize,
}

impl Snapshot {
    pub(crate) fn of(master: &Master) -> Self {
        let cluster = &master.cluster;
        Snapshot {
            info: cluster.info.clone(),
            started: master.started,
            elected: master.elected,
            cluster_name: master.setup.cluster_name.clone(),
            flags: master.setup.flags.clone(),
            frameworks: cluster.frameworks.registered.clone(),
            completed: cluster.frameworks.completed.clone(),
            agents: cluster.agents.registered.clone(),
            recovered: cluster.agents.recovered.clone(),
            orders: cluster.agents.orders.clone(),
            offers: cluster.offers.clone(),
            n_unreachable: cluster.agents.unreachable.len(),
        }
    }
}
