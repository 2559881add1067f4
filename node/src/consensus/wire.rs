//! What Raft's streams and the two store files say: structs of ours, so that a new openraft does
//! not change bytes that other peers read.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use ipfs_cluster_protocol::{
    codec::{self, DecodeError},
    id::Incarnation,
    limits,
};
use openraft::{
    EmptyNode, EntryPayload, Membership,
    raft::{
        AppendEntriesRequest, StreamAppendError, StreamAppendResult, TransferLeaderRequest,
        VoteRequest, VoteResponse,
    },
    vote::leader_id_std::CommittedLeaderId,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::types::{Entry, EntryBytes, LogId, RaftId, StoredMembership, TypeConfig, Vote};
use crate::storage::{Chunk, LogPos, LogRecord, Progress};

/// Every message names both lives, so a frame for a former one is refused.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Frame<T> {
    /// The sender's.
    #[serde(rename = "f")]
    pub(super) from: Incarnation,
    /// The receiver's, as the sender knows it.
    #[serde(rename = "t")]
    pub(super) to: Incarnation,
    /// The message.
    #[serde(rename = "m")]
    pub(super) message: T,
}

/// A vote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct WireVote {
    #[serde(rename = "t")]
    term: u64,
    #[serde(rename = "n")]
    node: RaftId,
    #[serde(rename = "c")]
    committed: bool,
}

impl From<&Vote> for WireVote {
    fn from(v: &Vote) -> Self {
        Self {
            term: v.leader_id.term,
            node: v.leader_id.voted_for.clone(),
            committed: v.committed,
        }
    }
}

impl From<WireVote> for Vote {
    fn from(v: WireVote) -> Self {
        if v.committed {
            Self::new_committed(v.term, v.node)
        } else {
            Self::new(v.term, v.node)
        }
    }
}

/// Term and index.
pub(super) fn pos(id: &LogId) -> LogPos {
    LogPos {
        term: id.leader_id.term,
        index: id.index,
    }
}

/// The inverse of [`pos`].
pub(super) fn log_id(p: LogPos) -> LogId {
    LogId {
        leader_id: CommittedLeaderId::new(p.term),
        index: p.index,
    }
}

/// A membership and the entry it is from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct WireMembership {
    #[serde(rename = "l")]
    log: Option<LogPos>,
    /// One set of voters, two while it changes.
    #[serde(rename = "v")]
    configs: Vec<BTreeSet<RaftId>>,
    /// Voters and stand-ins.
    #[serde(rename = "n")]
    nodes: BTreeSet<RaftId>,
}

impl WireMembership {
    fn of(log: Option<LogPos>, membership: &Membership<RaftId, EmptyNode>) -> Self {
        Self {
            log,
            configs: membership.get_joint_config().clone(),
            nodes: membership.nodes().map(|(id, _)| id.clone()).collect(),
        }
    }

    fn membership(self) -> Result<Membership<RaftId, EmptyNode>, DecodeError> {
        let nodes: BTreeMap<_, _> = self
            .nodes
            .into_iter()
            .map(|id| (id, EmptyNode::new()))
            .collect();
        if self.configs.is_empty() && nodes.is_empty() {
            return Ok(Membership::default());
        }
        Membership::new(self.configs, nodes).map_err(|e| DecodeError::Malformed(e.to_string()))
    }
}

/// The stored form of a membership.
pub(super) fn encode_membership(stored: &StoredMembership) -> Vec<u8> {
    let log = stored.log_id().as_ref().map(pos);
    codec::encode(&WireMembership::of(log, stored.membership()))
}

/// The inverse of [`encode_membership`]; nothing stands for none.
pub(super) fn decode_membership(bytes: &[u8]) -> Result<StoredMembership, DecodeError> {
    if bytes.is_empty() {
        return Ok(StoredMembership::default());
    }
    let wire: WireMembership = codec::decode(bytes, limits::WIRE_SLOT_BYTES_MAX)?;
    let log = wire.log.map(log_id);
    Ok(StoredMembership::new(log, wire.membership()?))
}

/// The stored form of a log id. The index comes first: the log file reads it from there.
pub(super) fn encode_pos(id: &LogId) -> Bytes {
    let mut out = Vec::with_capacity(16);
    out.extend_from_slice(&id.index.to_be_bytes());
    out.extend_from_slice(&id.leader_id.term.to_be_bytes());
    Bytes::from(out)
}

/// The inverse of [`encode_pos`].
pub(super) fn decode_pos(bytes: &[u8]) -> Result<LogId, DecodeError> {
    let malformed = || DecodeError::Malformed("not a log id".into());
    let (index, term) = bytes.split_at_checked(8).ok_or_else(malformed)?;
    let number = |b: &[u8]| <[u8; 8]>::try_from(b).map(u64::from_be_bytes);
    Ok(log_id(LogPos {
        term: number(term).map_err(|_| malformed())?,
        index: number(index).map_err(|_| malformed())?,
    }))
}

/// The stored form of a vote.
pub(super) fn encode_vote(vote: &Vote) -> Bytes {
    Bytes::from(codec::encode(&WireVote::from(vote)))
}

/// The inverse of [`encode_vote`].
pub(super) fn decode_vote(bytes: &[u8]) -> Result<Vote, DecodeError> {
    codec::decode::<WireVote>(bytes, limits::WIRE_SLOT_BYTES_MAX).map(Vote::from)
}

/// What the body of an entry is; on disk and on the wire, never changes.
const BLANK: u8 = 0;
const COMMANDS: u8 = 1;
const MEMBERSHIP: u8 = 2;

/// The stored form of an entry.
pub(super) fn to_record(entry: &Entry) -> LogRecord {
    let (kind, body) = match &entry.payload {
        EntryPayload::Blank => (BLANK, Bytes::new()),
        EntryPayload::Normal(EntryBytes(bytes)) => (COMMANDS, bytes.clone()),
        EntryPayload::Membership(m) => {
            let wire = WireMembership::of(None, m);
            (MEMBERSHIP, Bytes::from(codec::encode(&wire)))
        }
    };
    let LogPos { term, index } = pos(&entry.log_id);
    LogRecord {
        index,
        term,
        kind,
        body,
    }
}

/// The inverse of [`to_record`].
pub(super) fn from_record(record: LogRecord) -> Result<Entry, DecodeError> {
    let payload = match record.kind {
        BLANK => EntryPayload::Blank,
        COMMANDS => EntryPayload::Normal(EntryBytes(record.body)),
        MEMBERSHIP => {
            let wire: WireMembership = codec::decode(&record.body, limits::ENTRY_BYTES_MAX)?;
            EntryPayload::Membership(wire.membership()?)
        }
        kind => {
            return Err(DecodeError::Malformed(format!(
                "an entry of kind {kind}, which only a newer version knows"
            )));
        }
    };
    Ok(Entry {
        log_id: log_id(LogPos {
            term: record.term,
            index: record.index,
        }),
        payload,
    })
}

/// An entry on the wire.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct WireEntry {
    #[serde(rename = "i")]
    index: u64,
    #[serde(rename = "t")]
    term: u64,
    #[serde(rename = "k")]
    kind: u8,
    #[serde(rename = "b")]
    body: Bytes,
}

/// Entries, or a heartbeat when there are none.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Append {
    #[serde(rename = "v")]
    vote: WireVote,
    #[serde(rename = "p")]
    prev: Option<LogPos>,
    #[serde(rename = "c")]
    commit: Option<LogPos>,
    #[serde(rename = "e")]
    entries: Vec<WireEntry>,
}

impl Append {
    /// Bytes of the entries' bodies, for deadlines.
    pub(super) fn body_len(&self) -> usize {
        self.entries.iter().map(|e| e.body.len()).sum()
    }
}

impl From<AppendEntriesRequest<TypeConfig>> for Append {
    fn from(r: AppendEntriesRequest<TypeConfig>) -> Self {
        let entries = r.entries.iter().map(|entry| {
            let LogRecord {
                index,
                term,
                kind,
                body,
            } = to_record(entry);
            WireEntry {
                index,
                term,
                kind,
                body,
            }
        });
        Self {
            vote: (&r.vote).into(),
            prev: r.prev_log_id.as_ref().map(pos),
            commit: r.leader_commit.as_ref().map(pos),
            entries: entries.collect(),
        }
    }
}

impl Append {
    /// As openraft takes it. Entries must follow each other: openraft relies on it.
    pub(super) fn request(self) -> Result<AppendEntriesRequest<TypeConfig>, DecodeError> {
        let mut entries = Vec::with_capacity(self.entries.len());
        let mut next = self.prev.map_or(0, |p| p.index.saturating_add(1));
        for e in self.entries {
            if e.index != next {
                return Err(DecodeError::Malformed(
                    "entries do not follow each other".into(),
                ));
            }
            next = next.saturating_add(1);
            entries.push(from_record(LogRecord {
                index: e.index,
                term: e.term,
                kind: e.kind,
                body: e.body,
            })?);
        }
        Ok(AppendEntriesRequest {
            vote: self.vote.into(),
            prev_log_id: self.prev.map(log_id),
            entries,
            leader_commit: self.commit.map(log_id),
        })
    }
}

/// What a follower answers to [`Append`].
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Appended {
    /// It has everything up to here.
    Match(Option<LogPos>),
    /// Its log differs here.
    Conflict(LogPos),
    /// It follows a higher vote.
    HigherVote(WireVote),
}

impl From<StreamAppendResult<TypeConfig>> for Appended {
    fn from(r: StreamAppendResult<TypeConfig>) -> Self {
        match r {
            Ok(id) => Self::Match(id.as_ref().map(pos)),
            Err(StreamAppendError::Conflict(id)) => Self::Conflict(pos(&id)),
            Err(StreamAppendError::HigherVote(v)) => Self::HigherVote((&v).into()),
        }
    }
}

impl From<Appended> for StreamAppendResult<TypeConfig> {
    fn from(a: Appended) -> Self {
        match a {
            Appended::Match(p) => Ok(p.map(log_id)),
            Appended::Conflict(p) => Err(StreamAppendError::Conflict(log_id(p))),
            Appended::HigherVote(v) => Err(StreamAppendError::HigherVote(v.into())),
        }
    }
}

/// A question on the request stream.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Ask {
    /// Will you vote for me? With `dry`, would you?
    Vote {
        /// The candidate's.
        vote: WireVote,
        /// The end of its log.
        last: Option<LogPos>,
        /// The leader asked it to stand.
        transfer: bool,
        /// Pre-vote: nothing is changed by the answer.
        dry: bool,
    },
    /// Take over the leadership.
    Transfer {
        /// The leader that gives it up.
        from: WireVote,
        /// Who shall take it.
        to: RaftId,
        /// Once it has the log up to here.
        last: Option<LogPos>,
    },
    /// Up to where must one have applied to read what was committed before now?
    ReadIndex,
}

impl Ask {
    pub(super) fn vote(r: &VoteRequest<TypeConfig>, dry: bool) -> Self {
        Self::Vote {
            vote: (&r.vote).into(),
            last: r.last_log_id.as_ref().map(pos),
            transfer: r.leadership_transfer,
            dry,
        }
    }

    pub(super) fn transfer(r: &TransferLeaderRequest<TypeConfig>) -> Self {
        Self::Transfer {
            from: r.from_leader().into(),
            to: r.to_node_id().clone(),
            last: r.last_log_id().map(pos),
        }
    }
}

/// The answer to an [`Ask`].
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Reply {
    /// To a vote request.
    Vote {
        /// The voter's.
        vote: WireVote,
        /// Yes or no.
        granted: bool,
        /// The end of its log.
        last: Option<LogPos>,
    },
    /// To a transfer: whether it was taken.
    Transfer(bool),
    /// To a read: the index, none when the asked one does not lead (any more).
    ReadIndex(Option<u64>),
    /// It cannot be answered.
    Failed(String),
}

impl Reply {
    pub(super) fn vote(r: &VoteResponse<TypeConfig>) -> Self {
        Self::Vote {
            vote: (&r.vote).into(),
            granted: r.vote_granted,
            last: r.last_log_id.as_ref().map(pos),
        }
    }
}

/// What the sender of a snapshot says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Transfer {
    /// First: the leader it comes from.
    Open(WireVote),
    /// Then the state.
    Chunk(Chunk),
}

/// What its receiver says: from where on it wants the state, and at the end what it did with it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Installed {
    /// After the head: it has all up to here.
    From(Progress),
    /// It took the state, or follows this higher vote.
    Vote(WireVote),
    /// It could not take it.
    Failed(String),
}

/// Decodes a frame and checks that it is meant for this life of ours.
pub(super) fn open_frame<T: DeserializeOwned>(
    bytes: &[u8],
    own: Incarnation,
) -> Result<(Incarnation, T), DecodeError> {
    let frame: Frame<T> = codec::decode(bytes, limits::FRAME_BYTES_MAX)?;
    if frame.to != own {
        return Err(DecodeError::Malformed(format!(
            "a frame for incarnation {}, this is {own}",
            frame.to
        )));
    }
    Ok((frame.from, frame.message))
}
