//! Bitswap: blocks from and to other peers.
//!
//! ```text
//!   streams in ──▶ wire ──▶ message ──▶ client (what we want)  ──┐ asks
//!                                  └──▶ server (what they want) ─┤ answers
//!   streams out ◀── wire ◀── message ◀── one writer per peer ◀── outbox (one per peer)
//! ```
//! [`client`] and [`server`] are pure; this file is the shell around them and the store. A block that
//! arrives is durable before whoever waits for it gets it.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::Bytes;
use futures::future::BoxFuture;
use ipfs_cluster_protocol::{
    content::hash::{VerifyError, supported},
    id::{Cid, PeerId},
    limits::{
        BITSWAP_MESSAGE_BYTES_MAX, BITSWAP_READ_BYTES_MAX, BITSWAP_READS_PER_PEER_MAX,
        BITSWAP_WANTS_MAX,
    },
};
use parking_lot::Mutex;
use tokio::{
    sync::{Semaphore, oneshot},
    task::JoinSet,
    time::timeout,
};

use super::{
    net::StreamUser,
    store::{Store, StoreError},
};
use crate::env::RawPipe;

mod client;
mod message;
mod outbox;
mod server;
mod wire;
mod writer;

#[cfg(test)]
mod tests;

use client::{Arrived, Ask, Client, SessionId};
use message::Message;
use outbox::Outbox;
use server::{Answer, Server};
pub(super) use writer::OpenStream;

/// How long a block may take before another source is tried.
const RETRY: Duration = Duration::from_secs(5);
/// How long a peer may leave us full of answers before its stream is dropped.
const ROOM_TIMEOUT: Duration = Duration::from_secs(60);
/// Reading permits stand for so many bytes each.
const READ_UNIT: usize = 64 * 1024;

/// What a stream's peer speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// Bare blocks, named by sha2-256 in version 0.
    V1_0,
    /// Blocks with the prefix of their name.
    V1_1,
    /// And *have*, with answers to it.
    V1_2,
}

/// Why a block could not be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum FetchError {
    /// It could not be checked.
    #[error(transparent)]
    Name(#[from] VerifyError),
    /// It could not be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The node shuts down.
    #[error("the IPFS node shuts down")]
    Closed,
}

/// The protocol. Cheap to clone.
#[derive(Clone)]
pub(super) struct Bitswap(Arc<Inner>);

struct Inner {
    store: Store,
    open: Arc<dyn OpenStream>,
    state: Mutex<State>,
    /// One permit per block asked of the network.
    slots: Semaphore,
    /// Bounds the bytes of messages being read.
    reading: Semaphore,
}

#[derive(Default)]
struct State {
    client: Client,
    server: Server,
    peers: BTreeMap<PeerId, Peer>,
    closed: bool,
}

struct Peer {
    outbox: Arc<Outbox>,
    /// Bounds its messages being read or handled.
    reads: Arc<Semaphore>,
    /// Its writer; ends with it.
    _writer: JoinSet<()>,
}

impl fmt::Debug for Bitswap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bitswap").finish_non_exhaustive()
    }
}

impl State {
    fn send(&self, asks: Vec<Ask>) {
        for (peer, entry) in asks {
            if let Some(peer) = self.peers.get(&peer) {
                peer.outbox.ask(entry);
            }
        }
    }

    fn answer(&self, peer: &PeerId, cid: Cid, answer: Answer) {
        if let Some(peer) = self.peers.get(peer) {
            peer.outbox.answer(cid, answer);
        }
    }
}

impl Bitswap {
    pub(super) fn new(store: Store, open: Arc<dyn OpenStream>) -> Self {
        Self(Arc::new(Inner {
            store,
            open,
            state: Mutex::default(),
            slots: Semaphore::new(BITSWAP_WANTS_MAX),
            reading: Semaphore::new(BITSWAP_READ_BYTES_MAX / READ_UNIT),
        }))
    }

    /// Blocks that belong together, so that who has one is asked for the others. They are stored
    /// where there is room, and handed out in any case.
    pub(super) fn session(&self) -> Session {
        let id = self.0.state.lock().client.open_session();
        Session {
            bitswap: self.0.clone(),
            id,
            keeps: false,
        }
    }

    /// The same for blocks that are of no use unless they are stored.
    pub(super) fn keeping_session(&self) -> Session {
        let mut session = self.session();
        session.keeps = true;
        session
    }

    /// Blocks were stored otherwise: who waits for them gets them.
    pub(super) fn stored(&self, blocks: &[(Cid, Bytes)]) {
        for (cid, data) in blocks {
            self.0.arrived(cid, Ok(kept(data.clone())), None);
        }
    }

    /// Fails what is wanted and drops all peers.
    pub(super) fn close(&self) {
        let mut state = self.0.state.lock();
        state.closed = true;
        state.server.close();
        let waiters = state.client.close();
        let peers = std::mem::take(&mut state.peers);
        drop(state);
        drop(peers);
        for waiter in waiters {
            let _ = waiter.send(Err(FetchError::Closed));
        }
    }
}

fn kept(data: Bytes) -> Arrived {
    Arrived { data, unkept: None }
}

impl Inner {
    /// A block is here, or cannot be: tells who waits, here and elsewhere.
    fn arrived(&self, cid: &Cid, block: Result<Arrived, FetchError>, from: Option<&PeerId>) {
        let mut state = self.state.lock();
        let (waiters, cancels) = state.client.end(cid, from);
        state.send(cancels);
        if let Ok(Arrived { data, unkept: None }) = &block {
            for (peer, answer) in state.server.stored(cid, data.len() as u64) {
                state.answer(&peer, *cid, answer);
            }
        }
        drop(state);
        for waiter in waiters {
            let _ = waiter.send(block.clone());
        }
    }

    /// Reads messages until the stream ends.
    async fn read(self: Arc<Self>, peer: PeerId, mut stream: RawPipe) {
        let Some((reads, outbox)) = self.peer(&peer) else {
            return;
        };
        loop {
            let len = match wire::read_length(&mut stream).await {
                Ok(Some(len)) => len,
                Ok(None) => return,
                Err(error) => {
                    tracing::debug!(%peer, %error, "dropped a bitswap stream");
                    return;
                }
            };
            let Ok(_one) = reads.acquire().await else {
                return;
            };
            let units = u32::try_from(len / READ_UNIT + 1).unwrap_or(u32::MAX);
            let Ok(_bytes) = self.reading.acquire_many(units).await else {
                return;
            };
            let body = match wire::read_body(&mut stream, len).await {
                Ok(body) => body,
                Err(error) => {
                    tracing::debug!(%peer, %error, "dropped a bitswap stream");
                    return;
                }
            };
            let message = match Message::decode(body) {
                Ok(message) => message,
                Err(error) => {
                    tracing::debug!(%peer, %error, "dropped a bitswap stream");
                    return;
                }
            };
            // A peer that asks but does not take the answers is not listened to any more.
            if timeout(ROOM_TIMEOUT, outbox.room()).await.is_err() {
                tracing::debug!(%peer, "dropped a bitswap stream: its peer takes no answers");
                return;
            }
            self.handle(&peer, message).await;
        }
    }

    fn peer(&self, peer: &PeerId) -> Option<(Arc<Semaphore>, Arc<Outbox>)> {
        let state = self.state.lock();
        let peer = state.peers.get(peer)?;
        Some((peer.reads.clone(), peer.outbox.clone()))
    }

    async fn handle(&self, peer: &PeerId, message: Message) {
        self.take_blocks(peer, message.blocks).await;
        {
            let mut state = self.state.lock();
            for (cid, have) in message.presences {
                let asks = match have {
                    true => state.client.has(peer, &cid),
                    false => state.client.lacks(peer, &cid),
                };
                state.send(asks);
            }
        }
        self.take_wantlist(peer, message.entries, message.full)
            .await;
    }

    /// Stores the blocks that are wanted; others are dropped.
    async fn take_blocks(&self, peer: &PeerId, blocks: Vec<(Cid, Bytes)>) {
        let wanted: Vec<_> = {
            let state = self.state.lock();
            let wanted = |(cid, _): &(Cid, Bytes)| state.client.is_wanted(cid);
            blocks.into_iter().filter(wanted).collect()
        };
        if wanted.is_empty() {
            return;
        }
        let stored = self.store.put_fetched(wanted.clone()).await;
        for (cid, data) in wanted {
            let unkept = stored.clone().err();
            self.arrived(&cid, Ok(Arrived { data, unkept }), Some(peer));
        }
    }

    async fn take_wantlist(&self, peer: &PeerId, entries: Vec<message::Entry>, full: bool) {
        let cids = self.state.lock().server.wantlist(peer, &entries, full);
        if cids.is_empty() {
            return;
        }
        let lens = match self.store.lens(cids.clone()).await {
            Ok(lens) => lens,
            Err(error) => {
                tracing::warn!(%peer, %error, "cannot look for the blocks that a peer wants");
                vec![None; cids.len()]
            }
        };
        let mut state = self.state.lock();
        for (cid, len) in cids.into_iter().zip(lens) {
            if let Some(answer) = state.server.looked(peer, &cid, len) {
                state.answer(peer, cid, answer);
            }
        }
    }
}

impl StreamUser for Bitswap {
    fn connected(&self, peer: &PeerId) {
        let mut state = self.0.state.lock();
        if state.closed || state.peers.contains_key(peer) {
            return;
        }
        let outbox = Arc::new(Outbox::default());
        let mut writer = JoinSet::new();
        writer.spawn(writer::run(
            peer.clone(),
            self.0.open.clone(),
            self.0.store.clone(),
            outbox.clone(),
        ));
        let reads = Arc::new(Semaphore::new(BITSWAP_READS_PER_PEER_MAX));
        let entry = Peer {
            outbox,
            reads,
            _writer: writer,
        };
        state.peers.insert(peer.clone(), entry);
        state.server.connected(peer);
        let asks = state.client.connected(peer);
        state.send(asks);
    }

    fn disconnected(&self, peer: &PeerId) {
        let mut state = self.0.state.lock();
        state.peers.remove(peer);
        state.server.disconnected(peer);
        let asks = state.client.disconnected(peer);
        state.send(asks);
    }

    fn incoming(&self, peer: PeerId, _: Version, stream: RawPipe) -> BoxFuture<'static, ()> {
        Box::pin(self.0.clone().read(peer, stream))
    }
}

/// Fetches blocks that belong together.
pub(super) struct Session {
    bitswap: Arc<Inner>,
    id: SessionId,
    /// A block that cannot be stored is none.
    keeps: bool,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.bitswap.state.lock().client.close_session(self.id);
    }
}

impl Session {
    /// A block, from the store or from whoever has it. Waits for as long as it takes; dropping the
    /// future ends the search. A corrupt block is fetched anew.
    pub(super) async fn get(&self, cid: &Cid) -> Result<Bytes, FetchError> {
        supported(cid)?;
        match self.bitswap.store.get(cid).await {
            Ok(Some(data)) => return Ok(data),
            Ok(None) => {}
            Err(error @ StoreError::Corrupt { .. }) => {
                tracing::error!(%error, "fetching the block anew");
            }
            Err(error) => return Err(error.into()),
        }
        let slot = self.bitswap.slots.acquire().await;
        let _slot = slot.map_err(|_| FetchError::Closed)?;
        let (waiter, mut answer) = oneshot::channel();
        {
            let mut state = self.bitswap.state.lock();
            if state.closed {
                return Err(FetchError::Closed);
            }
            let asks = state.client.want(*cid, self.id, waiter);
            state.send(asks);
        }
        let _guard = GiveUp {
            bitswap: Arc::downgrade(&self.bitswap),
            cid: *cid,
        };
        loop {
            match timeout(RETRY, &mut answer).await {
                Ok(answered) => {
                    let arrived = answered.unwrap_or(Err(FetchError::Closed))?;
                    return match arrived.unkept.filter(|_| self.keeps) {
                        Some(error) => Err(error.into()),
                        None => Ok(arrived.data),
                    };
                }
                // It may have been stored otherwise between the look and the want.
                Err(_) => match self.bitswap.store.get(cid).await? {
                    Some(data) => self.bitswap.arrived(cid, Ok(kept(data)), None),
                    None => {
                        let mut state = self.bitswap.state.lock();
                        let asks = state.client.stalled(cid);
                        state.send(asks);
                    }
                },
            }
        }
    }
}

/// Ends a want whose waiter was dropped.
struct GiveUp {
    bitswap: Weak<Inner>,
    cid: Cid,
}

impl Drop for GiveUp {
    fn drop(&mut self) {
        if let Some(bitswap) = self.bitswap.upgrade() {
            let mut state = bitswap.state.lock();
            let asks = state.client.given_up(&self.cid);
            state.send(asks);
        }
    }
}

const _: () = assert!(BITSWAP_MESSAGE_BYTES_MAX / READ_UNIT < BITSWAP_READ_BYTES_MAX / READ_UNIT);
