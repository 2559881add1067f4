//! The embedded node's own swarm: TCP, noise, yamux; identify, ping and bitswap streams.
//!
//! It is not behind the cluster's secret and has a key of its own. Whom to dial it is told: by
//! `swarm connect`, and by the list of the members' addresses, which it keeps connected. libp2p's
//! types stay in this folder.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
    sync::Arc,
    time::Duration,
};

use futures::future::BoxFuture;
use ipfs_cluster_protocol::{id::PeerId, limits::IPFS_DIALS_MAX};
use libp2p::{Multiaddr, core::transport::ListenerId, multiaddr::Protocol};
use parking_lot::Mutex;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::timeout,
};

use super::bitswap::Version;
use crate::env::RawPipe;

mod event_loop;
mod start;
mod streams;

use event_loop::Command;
pub(super) use start::{new_key, start};

/// How long a listener may take to get its address.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a call waits for the swarm.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Why the swarm could not be started.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// Not a private key.
    #[error("the private key of the IPFS node is not valid: {0}")]
    Key(String),
    /// No transport.
    #[error("the IPFS node has no transport: {0}")]
    Transport(#[from] io::Error),
    /// An address cannot be listened on.
    #[error("the IPFS node cannot listen on {address}: {why}")]
    Listen {
        /// Where.
        address: String,
        /// Why.
        why: String,
    },
}

/// Why a stream could not be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum OpenError {
    #[error("there is no connection")]
    NotConnected,
    #[error("{0}")]
    Failed(String),
    #[error("the IPFS node shuts down")]
    Closed,
}

/// Who is told of connections and gets the streams that others open.
pub(super) trait StreamUser: Send + Sync + 'static {
    fn connected(&self, peer: &PeerId);
    fn disconnected(&self, peer: &PeerId);
    fn incoming(&self, peer: PeerId, version: Version, stream: RawPipe) -> BoxFuture<'static, ()>;
}

/// A handle on the swarm. Cheap to clone; it does not keep the swarm alive.
#[derive(Clone)]
pub(super) struct Net {
    commands: mpsc::Sender<Command>,
    shared: Arc<Shared>,
}

/// What the event loop publishes.
struct Shared {
    peer: PeerId,
    listening: Mutex<BTreeSet<Multiaddr>>,
    connected: Mutex<BTreeMap<PeerId, u32>>,
    /// The members' addresses by peer, to be kept connected.
    kept: Mutex<BTreeMap<libp2p::PeerId, BTreeSet<Multiaddr>>>,
    /// Listeners asked for that have no address yet.
    silent: watch::Sender<Vec<(ListenerId, String)>>,
}

impl fmt::Debug for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Net")
            .field("peer", &self.shared.peer)
            .finish_non_exhaustive()
    }
}

/// The core's form of a peer ID.
fn own_id(peer: &libp2p::PeerId) -> Option<PeerId> {
    PeerId::from_bytes(&peer.to_bytes()).ok()
}

/// libp2p's form of a peer ID.
fn their_id(peer: &PeerId) -> Option<libp2p::PeerId> {
    libp2p::PeerId::from_bytes(peer.as_bytes()).ok()
}

/// A multiaddr that ends in `/p2p/<id>`, taken apart.
fn split_address(text: &str) -> Result<(libp2p::PeerId, Multiaddr), String> {
    let invalid = |e| format!("failed to parse multiaddr {text:?}: {e}");
    let mut address: Multiaddr = text.parse().map_err(invalid)?;
    match address.pop() {
        Some(Protocol::P2p(peer)) => Ok((peer, address)),
        _ => Err(format!("multiaddr {text:?} does not end in /p2p/<id>")),
    }
}

impl Net {
    /// This node.
    pub(super) fn peer(&self) -> &PeerId {
        &self.shared.peer
    }

    /// Where it can be reached, with `/p2p/`.
    pub(super) fn addresses(&self) -> Vec<String> {
        let peer = &self.shared.peer;
        let listening = self.shared.listening.lock();
        listening
            .iter()
            .map(|a| format!("{a}/p2p/{peer}"))
            .collect()
    }

    /// Resolves when every listener has an address.
    pub(super) async fn listening(&self) -> Result<(), NetError> {
        let mut silent = self.shared.silent.subscribe();
        let all = timeout(LISTEN_TIMEOUT, silent.wait_for(Vec::is_empty));
        if let Ok(Ok(_)) = all.await {
            return Ok(());
        }
        let address = self.shared.silent.borrow().first().cloned();
        Err(NetError::Listen {
            address: address.map(|(_, text)| text).unwrap_or_default(),
            why: format!("no address within {LISTEN_TIMEOUT:?}"),
        })
    }

    /// Peers connected now.
    pub(super) fn connected(&self) -> Vec<PeerId> {
        self.shared.connected.lock().keys().cloned().collect()
    }

    /// Keeps these addresses connected instead of those told before. What is not understood, and
    /// this node itself, is left out.
    pub(super) fn keep_connected(&self, addresses: &[String]) {
        let mut kept: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for text in addresses.iter().take(IPFS_DIALS_MAX) {
            match split_address(text) {
                Ok((peer, _)) if own_id(&peer).as_ref() == Some(&self.shared.peer) => {}
                Ok((peer, address)) => {
                    kept.entry(peer).or_default().insert(address);
                }
                Err(error) => tracing::debug!(%error, "an address of a member's IPFS node"),
            }
        }
        *self.shared.kept.lock() = kept;
        // When the queue is full the loop sees the list at its next round.
        let _ = self.commands.try_send(Command::DialKept);
    }

    /// Connects to one address, unless its peer is connected.
    pub(super) async fn connect(&self, address: &str) -> Result<(), String> {
        let (peer, address) = split_address(address)?;
        let (reply, answer) = oneshot::channel();
        let command = Command::Dial {
            peer,
            address,
            reply,
        };
        let result = match self.call(command, answer).await {
            Some(result) => result,
            None => Err("no answer in time".into()),
        };
        result.map_err(|why| format!("connect {peer} failure: {why}"))
    }

    /// Opens a bitswap stream to a connected peer.
    pub(super) async fn open(&self, peer: &PeerId) -> Result<(Version, RawPipe), OpenError> {
        let peer = their_id(peer).ok_or(OpenError::NotConnected)?;
        let (reply, answer) = oneshot::channel();
        match self.call(Command::Open { peer, reply }, answer).await {
            Some(opened) => opened.map(|(version, stream)| (version, Box::new(stream) as RawPipe)),
            None => Err(OpenError::Closed),
        }
    }

    async fn call<T>(&self, command: Command, answer: oneshot::Receiver<T>) -> Option<T> {
        let call = async {
            self.commands.send(command).await.ok()?;
            answer.await.ok()
        };
        timeout(CALL_TIMEOUT, call).await.ok()?
    }
}
