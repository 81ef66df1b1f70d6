//! What the state of the cluster wants done to the outside world. The state decides and records; the actor
//! carries out, in this order.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use allocator::Quota;
use api::internal::*;
use api::resources::Resources;
use api::v1::allocator::InverseOfferStatus;
use api::v1::{
    AgentId, AgentInfo, Filters, FrameworkId, FrameworkInfo, OfferId, Request, Unavailability, WeightInfo,
    agent_info, scheduler,
};
use libprocess::Upid;
use uuid::Uuid;

use crate::registry::{Kind, Operation};

/// How a framework is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Connection {
    /// By messages to its driver.
    Driver(Upid),
    /// By events on the response of its SUBSCRIBE.
    Stream(Uuid),
}

/// Something a framework is told. A driver gets the message, a stream the event of the v1 API.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum FrameworkEvent {
    Registered(FrameworkRegisteredMessage),
    Reregistered(FrameworkReregisteredMessage),
    Offers(ResourceOffersMessage),
    Rescind(RescindResourceOfferMessage),
    InverseOffers(InverseOffersMessage),
    RescindInverse(RescindInverseOfferMessage),
    Status(Box<StatusUpdateMessage>),
    LostAgent(LostSlaveMessage),
    ExitedExecutor(ExitedExecutorMessage),
    FromExecutor(ExecutorToFrameworkMessage),
    OperationStatus(Box<UpdateOperationStatusMessage>),
    Error(FrameworkErrorMessage),
}

/// Something an agent is told.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum AgentMessage {
    Registered(SlaveRegisteredMessage),
    Reregistered(SlaveReregisteredMessage),
    RunTask(Box<RunTaskMessage>),
    RunTaskGroup(Box<RunTaskGroupMessage>),
    KillTask(KillTaskMessage),
    ShutdownExecutor(ShutdownExecutorMessage),
    ShutdownFramework(ShutdownFrameworkMessage),
    ToExecutor(FrameworkToExecutorMessage),
    UpdateFramework(Box<UpdateFrameworkMessage>),
    CheckpointResources(CheckpointResourcesMessage),
    Acknowledge(StatusUpdateAcknowledgementMessage),
    Drain(DrainSlaveMessage),
    Shutdown(ShutdownMessage),
}

/// What a framework wants to be offered, beside its [`FrameworkInfo`].
#[derive(Debug, Clone, PartialEq, Default)]
pub struct OfferOptions {
    /// Roles that want no offers for now.
    pub suppressed_roles: Vec<String>,
    /// Which agents each role wants.
    pub constraints: Option<scheduler::OfferConstraints>,
}

/// A change the allocator has to know.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum AllocatorCall {
    AddFramework {
        id: FrameworkId,
        info: Box<FrameworkInfo>,
        used: Vec<(AgentId, Resources)>,
        active: bool,
        options: OfferOptions,
    },
    RemoveFramework(FrameworkId),
    ActivateFramework(FrameworkId),
    DeactivateFramework(FrameworkId),
    UpdateFramework {
        id: FrameworkId,
        info: Box<FrameworkInfo>,
        options: OfferOptions,
    },
    AddAgent {
        id: AgentId,
        info: Arc<AgentInfo>,
        capabilities: Vec<agent_info::Capability>,
        total: Resources,
        used: Vec<(FrameworkId, Resources)>,
    },
    RemoveAgent(AgentId),
    UpdateAgent {
        id: AgentId,
        info: Arc<AgentInfo>,
        total: Resources,
        capabilities: Vec<agent_info::Capability>,
    },
    ActivateAgent(AgentId),
    DeactivateAgent(AgentId),
    /// What the registry holds of quotas, and how many agents may be expected back.
    RecoverQuotas {
        n_agents: usize,
        quotas: BTreeMap<String, Quota>,
    },
    UpdateWeights(Vec<WeightInfo>),
    UpdateQuota {
        role: String,
        quota: Quota,
    },
    /// What was offered is used from now on.
    Allocated {
        framework_id: FrameworkId,
        agent_id: AgentId,
        resources: Resources,
    },
    /// Resources come back: out of an offer, or (`allocated`) out of use.
    Recover {
        framework_id: FrameworkId,
        agent_id: AgentId,
        resources: Resources,
        filters: Option<Filters>,
        allocated: bool,
    },
    /// When an agent is going to be unavailable.
    UpdateUnavailability {
        agent_id: AgentId,
        unavailability: Option<Unavailability>,
    },
    /// A framework answered an inverse offer, or (without a status) has it no more.
    UpdateInverseOffer {
        framework_id: FrameworkId,
        agent_id: AgentId,
        status: Option<InverseOfferStatus>,
        filters: Option<Filters>,
    },
    Suppress {
        id: FrameworkId,
        roles: Vec<String>,
    },
    Revive {
        id: FrameworkId,
        roles: Vec<String>,
    },
    Request {
        id: FrameworkId,
        requests: Vec<Request>,
    },
}

/// Something to be remembered in a while.
#[derive(Debug, Clone, PartialEq)]
pub enum Timeout {
    /// A framework has not come back. `subscription` is which of its subscriptions the wait belongs to.
    FrameworkFailover {
        /// The framework.
        id: FrameworkId,
        /// The count of subscriptions when the wait began.
        subscription: u64,
    },
    /// An offer was not answered.
    Offer(OfferId),
    /// An agent has not come back. `connection` is which of its connections the wait belongs to.
    AgentReregistration {
        /// The agent.
        id: AgentId,
        /// The count of connections when the wait began.
        connection: u64,
    },
    /// The agents of the registry had their time to come back after this master took over.
    Recovery,
    /// One more agent may be given up.
    Removal,
}

/// What to do once the registry holds an operation.
#[derive(Debug, Clone, PartialEq)]
pub enum Continuation {
    /// A new agent.
    Admitted(Box<crate::agents::Joining>),
    /// A known or unknown agent that came back.
    Readmitted(Box<crate::agents::Returning>),
    /// An agent that stopped answering.
    MarkedUnreachable {
        /// The agent.
        id: AgentId,
        /// When it was given up.
        at: libprocess::Time,
        /// Why, for the log and the frameworks.
        cause: &'static str,
    },
    /// An agent that left.
    Removed {
        /// The agent.
        id: AgentId,
        /// Why, for the log and the frameworks.
        cause: &'static str,
        /// Which counter of removals it belongs to.
        counter: &'static str,
    },
    /// An agent an operator declared lost for good.
    MarkedGone {
        /// The agent.
        id: AgentId,
        /// When.
        at: libprocess::Time,
    },
    /// An operator decided something about an agent.
    Ordered {
        /// The agent.
        id: AgentId,
        /// What.
        kind: Box<Kind>,
    },
    /// An operator decided something about roles or machines.
    Decided(Box<Kind>),
    /// Old agents were forgotten.
    Pruned {
        /// The unreachable ones.
        unreachable: Vec<AgentId>,
        /// The gone ones.
        gone: Vec<AgentId>,
    },
}

/// One thing to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Tell a framework, over a connection it has or just had.
    Tell {
        /// Where.
        to: Connection,
        /// Whose counters it belongs to, when the framework is registered.
        framework_id: Option<FrameworkId>,
        /// What.
        event: FrameworkEvent,
    },
    /// End a stream, after what was written to it.
    Hangup(Uuid),
    /// Start the heartbeats of a stream.
    Heartbeat(Uuid),
    /// Tell an agent.
    Send {
        /// Where.
        to: Upid,
        /// What.
        message: AgentMessage,
    },
    /// Ask to be told when that process is gone.
    Link(Upid),
    /// Begin to ping an agent.
    Observe {
        /// Whom.
        agent_id: AgentId,
        /// Where.
        pid: Upid,
    },
    /// The agent's connection broke or came back; the pings tell it.
    ObserveConnection {
        /// Whose.
        agent_id: AgentId,
        /// The address, when it is connected.
        pid: Option<Upid>,
    },
    /// No more pings.
    StopObserving(AgentId),
    /// Tell the allocator.
    Allocator(AllocatorCall),
    /// Make the registry hold this, then continue.
    Registry {
        /// What.
        operation: Operation,
        /// With what.
        then: Continuation,
    },
    /// Come back later.
    Delay {
        /// When.
        after: Duration,
        /// For what.
        then: Timeout,
    },
    /// Count one more of something; the full metric name.
    Count(Cow<'static, str>),
    /// Count one more of something of a framework; the name below the framework's own.
    CountOf(FrameworkId, String),
    /// A number of a framework rose or fell; the name below the framework's own.
    AddTo(FrameworkId, String, f64),
    /// The roles of a framework, or which of them are suppressed, changed.
    ShowRoles(FrameworkId),
    /// Nothing is counted for a framework any more.
    StopCounting(FrameworkId),
}
