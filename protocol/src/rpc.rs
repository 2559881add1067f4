//! What peers ask of each other: writes forwarded to the leader (`/ipfs-cluster/forward/1`) and
//! single questions (`/ipfs-cluster/rpc/1`).

use serde::{Deserialize, Serialize};

use crate::{
    api,
    command::{LearntSize, Session},
    id::{Cid, LogIndex, PeerId, Rev, Seq},
    metrics::Metric,
    pin::{Pin, PinSpec},
    request::{RequestId, RequestKey},
    time::Timestamp,
};

/// A write for the leader to decide. Many wait on one stream; replies come in any order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForwardRequest {
    /// Pairs the reply with it.
    pub id: u64,
    /// Makes a repeat harmless.
    pub session: Session,
    /// Milliseconds the origin still waits.
    pub patience_ms: u64,
    /// The W3C trace context (`traceparent`) of the origin's client, if it has one that is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    /// What to decide.
    pub op: Op,
}

/// The answer to a [`ForwardRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForwardReply {
    /// The request's.
    pub id: u64,
    /// What came of it.
    pub result: Result<Done, Refusal>,
}

/// A write, before the leader has decided placement and time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    /// Pin.
    Pin {
        /// What the user wants, defaults filled in.
        spec: Box<PinSpec>,
        /// Peers that hold the content already and shall keep it (after an add).
        preset: Option<Vec<PeerId>>,
    },
    /// Pin `to` with everything `from` has, but for what is given here.
    Update {
        /// A live data pin.
        from: Cid,
        /// The new root.
        to: Cid,
        /// Replaces the name unless empty.
        name: String,
        /// Replaces the expiry if given.
        expire_at: Option<Timestamp>,
    },
    /// Unpin.
    Unpin {
        /// Which.
        cid: Cid,
    },
    /// The origin's IPFS node holds these tombstones and releases no more.
    Gone {
        /// The rev up to which the origin had seen the state.
        as_of: Rev,
        /// Which; at most `GONE_SEQS_MAX`.
        seqs: Vec<Seq>,
    },
    /// What the origin's IPFS node counted of pins whose size nobody knew. Told only where the state's
    /// feature level says that every leader understands it.
    Sized {
        /// Of which; at most `SIZES_PER_REPORT_MAX`.
        sizes: Vec<LearntSize>,
    },
    /// Accept a request of the Pinning Service API.
    Request {
        /// Its id, given by the origin.
        id: RequestId,
        /// What is asked for, defaults filled in.
        spec: Box<PinSpec>,
        /// What it takes the place of.
        replaces: Option<RequestKey>,
    },
    /// Withdraw a request.
    Withdraw {
        /// Which.
        id: RequestId,
    },
    /// Take a peer out.
    Remove {
        /// Who.
        peer: PeerId,
        /// Move its pins away first.
        drain: bool,
    },
    /// Take the origin out at once; answered when the consensus can do without it.
    Leave,
}

impl Op {
    /// What it is, in a word.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Pin { .. } => "pin",
            Self::Update { .. } => "update",
            Self::Unpin { .. } => "unpin",
            Self::Gone { .. } => "gone",
            Self::Sized { .. } => "sized",
            Self::Request { .. } => "request",
            Self::Withdraw { .. } => "withdraw",
            Self::Remove { .. } => "remove",
            Self::Leave => "leave",
        }
    }
}

/// A write is in the log of a quorum, synced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// Where.
    pub index: LogIndex,
    /// The pin as it is now, or, after an unpin, as it was.
    pub pin: Option<Pin>,
}

/// Why a write was not done, or why it is not known whether it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// Ask another peer. Nothing was done.
    #[error("this peer is not the leader")]
    NotLeader {
        /// Who is, if known.
        leader: Option<PeerId>,
    },
    /// There is no such pin.
    #[error("pin is not part of the pinset")]
    NotPinned,
    /// It breaks a rule; the text is for the user.
    #[error("{0}")]
    Invalid(String),
    /// It may or may not happen yet.
    #[error("{0}")]
    Unknown(String),
    /// Nothing was done, and nothing can be just now.
    #[error("{0}")]
    Unavailable(String),
    /// Nothing was done: the asked peer was left behind in an epoch that is over.
    #[error("{0}")]
    LeftBehind(String),
}

/// A question to one peer, one per stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RpcRequest {
    /// Who are you?
    Id,
    /// Does your IPFS node hold this pin, as of this rev?
    Holds {
        /// Which.
        seq: Seq,
        /// The pin's last change that the asker knows.
        rev: Rev,
    },
    /// Can you reach this peer?
    Probe {
        /// Whom.
        peer: PeerId,
    },
    /// Retry this pin now.
    Recover {
        /// Which.
        cid: Cid,
    },
    /// Retry all that failed.
    RecoverAll,
    /// What do you do about pins that lack copies?
    Repair,
    /// Collect the garbage of your IPFS node.
    RepoGc,
    /// How full is your IPFS node?
    RepoStat,
    /// To which nodes is your IPFS node connected?
    SwarmPeers,
    /// What have you last told of yourself?
    Metrics,
}

/// The answer to an [`RpcRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RpcReply {
    /// To `Id`.
    Id(Box<api::id::Id>),
    /// To `Holds`, `Probe`.
    Yes(bool),
    /// To `Recover`, `RecoverAll`: the CIDs that were queued again.
    Recovered(Vec<Cid>),
    /// To `Repair`.
    Repair(Box<api::repair::Repair>),
    /// To `RepoGc`.
    Collected(Box<api::gc::RepoGcPeer>),
    /// To `SwarmPeers`.
    Peers(Vec<PeerId>),
    /// To `RepoStat`.
    RepoStat {
        /// Bytes used.
        repo_size: u64,
        /// Bytes allowed.
        storage_max: u64,
    },
    /// The peer could not answer.
    Failed(String),
    /// To `Metrics`: each with what is left of its TTL; at most `METRICS_PER_PEER_MAX`.
    Metrics(Vec<Metric>),
}
