//! What other peers ask of this one: appends, votes, snapshots. Every frame is checked against the
//! authenticated caller; garbage ends its stream and nothing else.

use ipfs_cluster_protocol::limits;
use std::io;

use bytes::Bytes;
use futures::{SinkExt, StreamExt, future, pin_mut};
use ipfs_cluster_protocol::{codec, id::Incarnation};
use openraft::{
    ReadPolicy, Snapshot,
    raft::{TransferLeaderRequest, VoteRequest},
};
use tokio::time::{Instant, timeout};
use tracing::debug;

use super::{
    core::Core,
    links::{Incoming, Pipe, allowance},
    state_machine::{SnapshotData, meta_of},
    types::{Raft, RaftId, Vote},
    wire::{Append, Appended, Ask, Installed, Reply, Transfer, WireVote, log_id, open_frame},
};
use crate::storage::{Chunk, StateStore};

/// What the streams are served from.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) raft: Raft,
    pub(super) state: StateStore,
    pub(super) own: RaftId,
}

fn invalid(e: impl ToString) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, e.to_string())
}

/// A sender speaks for itself only.
fn check_vote(
    vote: &Vote,
    peer: &ipfs_cluster_protocol::id::PeerId,
    from: Incarnation,
) -> io::Result<()> {
    let node = &vote.leader_id.voted_for;
    if node.peer() == peer && node.incarnation() == from {
        Ok(())
    } else {
        Err(invalid(format!("{peer}#{from} speaks for {node}")))
    }
}

impl Server {
    /// Of a run of the consensus.
    pub(super) fn of(core: &Core) -> Self {
        Self {
            raft: core.raft.clone(),
            state: core.state.clone(),
            own: core.own.clone(),
        }
    }

    /// Entries and heartbeats.
    pub(super) async fn append(self, incoming: Incoming) -> io::Result<()> {
        let (peer, own) = (incoming.peer, self.own.incarnation());
        let (mut sink, source) = Pipe::new(incoming.bytes).split();
        let requests = source
            .map(move |frame| {
                let (from, append) = open_frame::<Append>(&frame?, own).map_err(invalid)?;
                let request = append.request().map_err(invalid)?;
                check_vote(&request.vote, &peer, from)?;
                Ok::<_, io::Error>(request)
            })
            .take_while(|request| {
                if let Err(e) = request {
                    debug!(error = %e, "an append is refused");
                }
                future::ready(request.is_ok())
            })
            .filter_map(|request| future::ready(request.ok()));
        let answers = self.raft.stream_append(requests);
        pin_mut!(answers);
        while let Some(answer) = answers.next().await {
            let answer = answer.map_err(io::Error::other)?;
            let over = answer.is_err();
            let frame = Bytes::from(codec::encode(&Appended::from(answer)));
            timeout(allowance(0), sink.send(frame)).await??;
            if over {
                break;
            }
        }
        timeout(allowance(0), sink.close()).await?
    }

    /// Votes, transfers, reads: one answer per question.
    pub(super) async fn ask(self, incoming: Incoming) -> io::Result<()> {
        let peer = incoming.peer;
        let mut pipe = Pipe::new(incoming.bytes);
        loop {
            let frame = match pipe.recv().await {
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                frame => frame?,
            };
            let (from, ask) = open_frame::<Ask>(&frame, self.own.incarnation()).map_err(invalid)?;
            let reply = self.reply(&peer, from, ask).await?;
            pipe.send(&reply, Instant::now() + allowance(0)).await?;
        }
    }

    async fn reply(
        &self,
        peer: &ipfs_cluster_protocol::id::PeerId,
        from: Incarnation,
        ask: Ask,
    ) -> io::Result<Reply> {
        Ok(match ask {
            Ask::Vote {
                vote,
                last,
                transfer,
                dry,
            } => {
                let vote = Vote::from(vote);
                check_vote(&vote, peer, from)?;
                let mut request = VoteRequest::new(vote, last.map(log_id));
                request.leadership_transfer = transfer;
                let response = if dry {
                    self.raft.pre_vote(request).await
                } else {
                    self.raft.vote(request).await
                };
                response.map_or_else(|e| Reply::Failed(e.to_string()), |r| Reply::vote(&r))
            }
            Ask::Transfer {
                from: leader,
                to,
                last,
            } => {
                let leader = Vote::from(leader);
                // Openraft tells every follower; the caller must be the leader it names.
                check_vote(&leader, peer, from)?;
                let request = TransferLeaderRequest::new(leader, to, last.map(log_id));
                match self.raft.handle_transfer_leader(request).await {
                    Ok(taken) => Reply::Transfer(taken.is_ok()),
                    Err(e) => Reply::Failed(e.to_string()),
                }
            }
            Ask::ReadIndex => Reply::ReadIndex(read_index(&self.raft).await),
        })
    }

    /// Another peer's whole state.
    pub(super) async fn snapshot(self, incoming: Incoming) -> io::Result<()> {
        let mut pipe = Pipe::new(incoming.bytes);
        let answer = match self.receive(&incoming.peer, &mut pipe).await {
            Ok(vote) => Installed::Vote(vote),
            Err(e) => Installed::Failed(e.to_string()),
        };
        pipe.send(&answer, Instant::now() + allowance(0)).await
    }

    async fn receive(
        &self,
        peer: &ipfs_cluster_protocol::id::PeerId,
        pipe: &mut Pipe,
    ) -> io::Result<WireVote> {
        let own = self.own.incarnation();
        let frame = timeout(allowance(0), pipe.recv()).await??;
        let (from, open) = open_frame::<Transfer>(&frame, own).map_err(invalid)?;
        let Transfer::Open(vote) = open else {
            return Err(invalid("a snapshot without a beginning"));
        };
        let vote = Vote::from(vote);
        check_vote(&vote, peer, from)?;
        let Chunk::Head { position } = next_chunk(pipe, own).await? else {
            return Err(invalid("a snapshot without a head"));
        };
        let receiver = self.state.receive(position).await;
        let mut receiver = receiver.map_err(io::Error::other)?;
        let from = Installed::From(receiver.progress());
        pipe.send(&from, Instant::now() + allowance(0)).await?;
        let received = loop {
            let chunk = next_chunk(pipe, own).await?;
            if let Some(received) = receiver.feed(chunk).await.map_err(io::Error::other)? {
                break received;
            }
        };
        let snapshot = Snapshot {
            meta: meta_of(&received.position)?,
            snapshot: SnapshotData::Received(Box::new(received)),
        };
        let response = self.raft.install_full_snapshot(vote, snapshot).await;
        Ok(WireVote::from(&response.map_err(io::Error::other)?.vote))
    }
}

async fn next_chunk(pipe: &mut Pipe, own: Incarnation) -> io::Result<Chunk> {
    let frame = timeout(allowance(limits::WIRE_CHUNK_MAX), pipe.recv()).await??;
    let (_, next) = open_frame::<Transfer>(&frame, own).map_err(invalid)?;
    match next {
        Transfer::Chunk(chunk) => Ok(chunk),
        Transfer::Open(_) => Err(invalid("a second beginning of a snapshot")),
    }
}

/// The index one must have applied to read what was committed before now, if this peer leads.
pub(super) async fn read_index(raft: &Raft) -> Option<u64> {
    let read = raft.get_read_log_id(ReadPolicy::ReadIndex).await.ok()?;
    Some(read.0.index())
}
