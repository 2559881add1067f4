//! openraft's network over [`Links`]: what this peer sends as leader or candidate.
//!
//! Entries go over one long-lived stream per follower, many requests at a time, answers in order;
//! heartbeats have a stream of their own, so they never wait behind entries. A stream is given up
//! only when it fails or an answer is overdue; answers that nobody waits for any more are skipped.

use std::{
    collections::VecDeque,
    io,
    pin::pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{
    Stream, StreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use ipfs_cluster_protocol::{id::Incarnation, limits};
use openraft::{
    EmptyNode, OptionalSend, RaftNetworkFactory, RaftNetworkV2,
    error::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable},
    network::RPCOption,
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult,
        TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
    },
};
use tokio::time::Instant;
use tracing::info;

use super::{
    links::{Channel, Links, Pipe, allowance},
    state_machine::SnapshotData,
    types::{RaftId, TypeConfig, Vote},
    wire::{Append, Appended, Ask, Frame, Installed, Reply, Transfer},
};
use crate::storage::Chunk;

type Rpc<T> = Result<T, RPCError<TypeConfig>>;
type AppendStream<'s> = BoxStream<'s, Rpc<StreamAppendResult<TypeConfig>>>;

/// How long the receiver of a snapshot may take to sync and install it.
const INSTALL_MAX: Duration = Duration::from_secs(120);

/// Makes the connections of this peer.
#[derive(Clone)]
pub(super) struct Factory {
    pub(super) links: Arc<dyn Links>,
    pub(super) own: Incarnation,
}

/// One connection to one peer, for one purpose.
pub(super) struct Connection {
    factory: Factory,
    target: RaftId,
    // Streams are not `Sync`, openraft wants connections to be: these are only `get_mut`ed.
    append: Mutex<Option<AppendPipe>>,
    ask: Mutex<Option<Pipe>>,
}

impl RaftNetworkFactory<TypeConfig> for Factory {
    type Network = Connection;

    async fn new_client(&mut self, target: RaftId, _node: &EmptyNode) -> Connection {
        Connection {
            factory: self.clone(),
            target,
            append: Mutex::new(None),
            ask: Mutex::new(None),
        }
    }
}

/// The far side cannot be reached: openraft backs off.
fn unreachable(e: &io::Error) -> RPCError<TypeConfig> {
    RPCError::Unreachable(Unreachable::new(e))
}

fn failed(e: &io::Error) -> RPCError<TypeConfig> {
    RPCError::Network(NetworkError::new(e))
}

fn unexpected() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "an unexpected answer")
}

impl Factory {
    fn frame<T>(&self, target: &RaftId, message: T) -> Frame<T> {
        Frame {
            from: self.own,
            to: target.incarnation(),
            message,
        }
    }

    /// One question on a stream of its own. For those that are not openraft's.
    pub(super) async fn ask_once(
        &self,
        target: &RaftId,
        ask: Ask,
        deadline: Instant,
    ) -> io::Result<Reply> {
        let mut pipe = Pipe::open(&*self.links, target.peer(), Channel::Ask, deadline).await?;
        pipe.send(&self.frame(target, ask), deadline).await?;
        pipe.recv_msg(deadline).await
    }
}

/// A stream for entries or heartbeats.
struct AppendPipe {
    pipe: Pipe,
    /// When the answers still to come are due, in order.
    due: VecDeque<Instant>,
    /// How many of them, the first ones, nobody waits for any more.
    skip: usize,
}

impl AppendPipe {
    /// The next answer; nothing when it was one to be skipped. Cancel-safe.
    async fn answer(&mut self) -> io::Result<Option<StreamAppendResult<TypeConfig>>> {
        let due = self.due.front().copied().ok_or_else(unexpected)?;
        let appended: Appended = self.pipe.recv_msg(due).await?;
        self.due.pop_front();
        if self.skip == 0 {
            return Ok(Some(appended.into()));
        }
        self.skip -= 1;
        match appended {
            // The other side ends the stream after a refusal.
            Appended::Conflict(_) | Appended::HigherVote(_) => Ok(Some(appended.into())),
            Appended::Match(_) => Ok(None),
        }
    }

    async fn request(&mut self, frame: &Frame<Append>) -> io::Result<()> {
        let len = frame.message.body_len();
        let deadline = Instant::now() + allowance(len);
        self.pipe.feed(frame, deadline).await?;
        // Answers come in order, so one is due no earlier than those before it.
        let due = self.due.back().map_or(deadline, |last| deadline.max(*last));
        self.due.push_back(due);
        self.pipe.flush(deadline).await
    }

    fn is_waited_for(&self) -> bool {
        self.due.len() > self.skip
    }
}

/// A run of requests and their answers on the kept stream.
struct AppendRun<'s, S> {
    factory: &'s Factory,
    target: &'s RaftId,
    slot: &'s mut Option<AppendPipe>,
    input: Option<S>,
}

impl<S> Drop for AppendRun<'_, S> {
    /// What nobody waits for any more is skipped by the next run.
    fn drop(&mut self) {
        if let Some(pipe) = self.slot {
            pipe.skip = pipe.due.len();
        }
    }
}

impl<S> AppendRun<'_, S>
where
    S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Unpin,
{
    /// The next answer; sends requests meanwhile. Nothing when both are over.
    async fn next(&mut self) -> Option<Rpc<StreamAppendResult<TypeConfig>>> {
        let out = self.drive().await?;
        // After a refusal the other side ends the stream.
        if !matches!(out, Ok(Ok(_))) {
            *self.slot = None;
        }
        Some(out.map_err(|e| failed(&e)))
    }

    async fn drive(&mut self) -> Option<io::Result<StreamAppendResult<TypeConfig>>> {
        let pipe = self.slot.as_mut()?;
        loop {
            if !pipe.is_waited_for() && self.input.is_none() {
                return None;
            }
            let answers = !pipe.due.is_empty();
            let room = pipe.due.len() < limits::APPEND_IN_FLIGHT_MAX;
            let requests = room && self.input.is_some();
            let input = &mut self.input;
            let request = async {
                match input {
                    Some(input) => input.next().await,
                    None => None,
                }
            };
            let request = tokio::select! {
                biased;
                answer = pipe.answer(), if answers => match answer {
                    Ok(Some(answer)) => return Some(Ok(answer)),
                    Ok(None) => continue,
                    Err(e) => return Some(Err(e)),
                },
                request = request, if requests => request,
            };
            let Some(request) = request else {
                self.input = None;
                continue;
            };
            let frame = self.factory.frame(self.target, Append::from(request));
            if let Err(e) = pipe.request(&frame).await {
                return Some(Err(e));
            }
        }
    }
}

impl Connection {
    /// Asks on the kept stream for questions. It is taken meanwhile: an answer that comes too late
    /// must not answer the next question.
    async fn ask(&mut self, ask: Ask, within: Duration) -> Rpc<Reply> {
        let deadline = Instant::now() + within;
        let kept = self.ask.get_mut().ok().and_then(Option::take);
        let mut pipe = match kept {
            Some(pipe) => pipe,
            None => {
                let (links, peer) = (&*self.factory.links, self.target.peer());
                let opened = Pipe::open(links, peer, Channel::Ask, deadline).await;
                opened.map_err(|e| unreachable(&e))?
            }
        };
        let frame = self.factory.frame(&self.target, ask);
        let exchange = async {
            pipe.send(&frame, deadline).await?;
            pipe.recv_msg(deadline).await
        };
        let reply = exchange.await.map_err(|e| failed(&e))?;
        if let Ok(slot) = self.ask.get_mut() {
            *slot = Some(pipe);
        }
        match reply {
            Reply::Failed(why) => Err(failed(&io::Error::other(why))),
            reply => Ok(reply),
        }
    }

    async fn ask_vote(
        &mut self,
        rpc: &VoteRequest<TypeConfig>,
        dry: bool,
        within: Duration,
    ) -> Rpc<VoteResponse<TypeConfig>> {
        match self.ask(Ask::vote(rpc, dry), within).await? {
            Reply::Vote {
                vote,
                granted,
                last,
            } => {
                let last = last.map(super::wire::log_id);
                Ok(VoteResponse::new(Vote::from(vote), last, granted))
            }
            _ => Err(failed(&unexpected())),
        }
    }

    async fn send_snapshot(
        &self,
        vote: &Vote,
        data: SnapshotData,
    ) -> io::Result<SnapshotResponse<TypeConfig>> {
        let SnapshotData::Own(source) = data else {
            return Err(io::Error::other("only one's own state can be sent"));
        };
        let mut reader = source.start().await.map_err(io::Error::other)?;
        let opening = Instant::now() + allowance(0);
        let (links, peer) = (&*self.factory.links, self.target.peer());
        let mut pipe = Pipe::open(links, peer, Channel::Snapshot, opening).await?;
        let open = self
            .factory
            .frame(&self.target, Transfer::Open(vote.into()));
        pipe.feed(&open, opening).await?;
        let position = reader.position();
        let head = Transfer::Chunk(Chunk::Head { position });
        let head = self.factory.frame(&self.target, head);
        pipe.send(&head, opening).await?;
        match pipe.recv_msg(opening).await? {
            Installed::From(progress) => {
                if !progress.is_start() {
                    info!(target = %self.target, "a snapshot goes on where it was cut");
                }
                reader.skip_to(progress);
            }
            Installed::Failed(why) => return Err(io::Error::other(why)),
            Installed::Vote(_) => return Err(unexpected()),
        }
        while let Some(chunk) = reader.next().await.map_err(io::Error::other)? {
            let frame = self.factory.frame(&self.target, Transfer::Chunk(chunk));
            let deadline = Instant::now() + allowance(limits::FRAME_BYTES_MAX);
            pipe.send(&frame, deadline).await?;
        }
        match pipe.recv_msg(Instant::now() + INSTALL_MAX).await? {
            Installed::Vote(vote) => Ok(SnapshotResponse::new(vote.into())),
            Installed::Failed(why) => Err(io::Error::other(why)),
            Installed::From(_) => Err(unexpected()),
        }
    }
}

impl RaftNetworkV2<TypeConfig> for Connection {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Rpc<AppendEntriesResponse<TypeConfig>> {
        let request = Box::pin(stream::once(async { rpc }));
        let mut answers = self.stream_append(request, option).await?;
        match answers.next().await {
            Some(answer) => answer.map(AppendEntriesResponse::from),
            None => Err(failed(&unexpected())),
        }
    }

    fn stream_append<'s, S>(
        &'s mut self,
        mut input: S,
        _option: RPCOption,
    ) -> BoxFuture<'s, Rpc<AppendStream<'s>>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + OptionalSend + Unpin + 'static,
    {
        Box::pin(async move {
            // The pause after a failure is in the stream of requests: opened before the first of
            // them, a stream to a dead follower would be tried again and again without any.
            let Some(first) = input.next().await else {
                return Ok(stream::empty().boxed());
            };
            let input = stream::iter([first]).chain(input);
            let slot = self.append.get_mut().map_err(|_| failed(&unexpected()))?;
            if slot.is_none() {
                let deadline = Instant::now() + allowance(0);
                let (links, peer) = (&*self.factory.links, self.target.peer());
                let opened = Pipe::open(links, peer, Channel::Append, deadline).await;
                *slot = Some(AppendPipe {
                    pipe: opened.map_err(|e| unreachable(&e))?,
                    due: VecDeque::new(),
                    skip: 0,
                });
            }
            let run = AppendRun {
                factory: &self.factory,
                target: &self.target,
                slot,
                input: Some(input),
            };
            let answers = stream::unfold(run, |mut run| async {
                let answer = run.next().await?;
                Some((answer, run))
            });
            Ok(answers.boxed())
        })
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Rpc<VoteResponse<TypeConfig>> {
        self.ask_vote(&rpc, false, option.hard_ttl()).await
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Rpc<VoteResponse<TypeConfig>> {
        self.ask_vote(&rpc, true, option.hard_ttl()).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: openraft::alias::SnapshotOf<TypeConfig, SnapshotData>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let mut cancel = pin!(cancel);
        tokio::select! {
            biased;
            closed = &mut cancel => Err(StreamingError::Closed(closed)),
            sent = self.send_snapshot(&vote, snapshot.snapshot) => {
                sent.map_err(|e| StreamingError::Unreachable(Unreachable::new(&e)))
            }
        }
    }

    async fn transfer_leader(
        &mut self,
        req: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Rpc<TransferLeaderResponse<TypeConfig>> {
        match self.ask(Ask::transfer(&req), option.hard_ttl()).await? {
            Reply::Transfer(true) => Ok(Ok(())),
            Reply::Transfer(false) => {
                let expected = req.last_log_id().copied();
                Ok(Err(openraft::raft::TransferLeaderError::LogNotFlushed {
                    expected,
                    actual: None,
                }))
            }
            _ => Err(failed(&unexpected())),
        }
    }
}
