//! What can happen to the registry. An operation is a log entry, so it is protobuf and keeps its tags.

use api::v1::maintenance::Schedule;
use api::v1::quota::QuotaConfig;
use api::v1::{AgentId, AgentInfo, DrainConfig, MachineId, MasterInfo, TimeInfo, WeightInfo};

/// A log entry: the operations that queued up while the entry before it was being written.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Batch {
    /// In the order they were asked for.
    #[prost(message, repeated, tag = "1")]
    pub operations: Vec<Operation>,
}

/// One change of the registry. The time is part of the operation, so that every replica and every
/// replay arrives at the same bytes.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Operation {
    /// What is to happen; absent only when a newer master wrote a kind this one does not know.
    #[prost(oneof = "Kind", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16, 17, 18")]
    pub kind: Option<Kind>,
    /// Makes asking again for the same operation harmless.
    #[prost(message, optional, tag = "15")]
    pub ticket: Option<Ticket>,
}

/// Marks an operation, so that however often it is asked for, it is done at most once.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Ticket {
    /// Unlike that of any other operation.
    #[prost(bytes = "vec", tag = "1")]
    pub id: Vec<u8>,
    /// How far the log had certainly got before the operation was asked for the first time.
    #[prost(uint64, tag = "2")]
    pub since: u64,
}

/// The kinds of [`Operation`].
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Kind {
    /// A master took over; remember who it is.
    #[prost(message, tag = "1")]
    Recover(MasterInfo),
    /// A new agent joins. Refused when its id is admitted already.
    #[prost(message, tag = "2")]
    AdmitAgent(AgentInfo),
    /// An admitted agent came back with different information. Refused when it is not admitted.
    #[prost(message, tag = "3")]
    UpdateAgent(AgentInfo),
    /// An admitted agent stopped answering. Refused when it is not admitted.
    #[prost(message, tag = "4")]
    MarkUnreachable(Marked),
    /// An agent that is not admitted came back; also one never seen before. Refused when it was marked gone.
    #[prost(message, tag = "5")]
    MarkReachable(AgentInfo),
    /// An admitted agent leaves for good. Refused when it is not admitted.
    #[prost(message, tag = "6")]
    RemoveAgent(AgentId),
    /// The operator declared an admitted or unreachable agent lost for good.
    #[prost(message, tag = "7")]
    MarkGone(Marked),
    /// Forget old unreachable and gone agents.
    #[prost(message, tag = "8")]
    Prune(Prune),
    /// What roles are promised and what they may have at most. A quota that promises and limits nothing ends
    /// that of its role. All or none: refused when one of them cannot be.
    #[prost(message, tag = "9")]
    UpdateQuota(Quotas),
    /// How much roles count beside each other. All or none.
    #[prost(message, tag = "10")]
    UpdateWeights(Weights),
    /// The plan of which machines are away when, in place of the one before. Refused when it leaves out a
    /// machine that is down.
    #[prost(message, tag = "11")]
    UpdateSchedule(Schedule),
    /// Machines of the plan are taken down. Refused when one of them is not planned, or is down.
    #[prost(message, tag = "12")]
    StartMaintenance(Machines),
    /// Machines are back, and out of the plan. Refused when one of them is not down.
    #[prost(message, tag = "13")]
    StopMaintenance(Machines),
    /// An admitted or unreachable agent is to become empty, and gets no new work.
    #[prost(message, tag = "14")]
    DrainAgent(Drain),
    /// An agent that was to become empty is. Refused when it was not to.
    #[prost(message, tag = "16")]
    MarkDrained(AgentId),
    /// An admitted or unreachable agent gets no new work.
    #[prost(message, tag = "17")]
    DeactivateAgent(AgentId),
    /// It does again. Refused when it is active, or still becoming empty.
    #[prost(message, tag = "18")]
    ReactivateAgent(AgentId),
}

/// Which agent, and when.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Marked {
    /// The agent.
    #[prost(message, required, tag = "1")]
    pub agent_id: AgentId,
    /// When the master decided it.
    #[prost(message, required, tag = "2")]
    pub time: TimeInfo,
}

/// The agents to forget.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Prune {
    /// Of the unreachable ones.
    #[prost(message, repeated, tag = "1")]
    pub unreachable: Vec<AgentId>,
    /// Of the gone ones.
    #[prost(message, repeated, tag = "2")]
    pub gone: Vec<AgentId>,
}

/// Quotas of roles.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Quotas {
    /// One of each role.
    #[prost(message, repeated, tag = "1")]
    pub configs: Vec<QuotaConfig>,
}

/// Weights of roles.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Weights {
    /// One of each role.
    #[prost(message, repeated, tag = "1")]
    pub weights: Vec<WeightInfo>,
}

/// Some machines.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Machines {
    /// Each once.
    #[prost(message, repeated, tag = "1")]
    pub ids: Vec<MachineId>,
}

/// How an agent is to become empty.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Drain {
    /// The agent.
    #[prost(message, required, tag = "1")]
    pub agent_id: AgentId,
    /// How long its tasks have, and what becomes of it then.
    #[prost(message, required, tag = "2")]
    pub config: DrainConfig,
}

impl From<Kind> for Operation {
    fn from(kind: Kind) -> Self {
        Operation { kind: Some(kind), ticket: None }
    }
}
