//! The handle on a peer's network. Cheap to clone; the network stops with the last one.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use ipfs_cluster_protocol::{
    api::bandwidth::Bandwidth,
    hello::Hello,
    id::{Epoch, Incarnation, PeerId},
    limits::{self, GOSSIP_BYTES_MAX},
};
use libp2p::Multiaddr;
use tokio::{
    sync::{broadcast, mpsc, oneshot, watch},
    task::JoinHandle,
    time::timeout,
};

use super::{
    addresses,
    error::{DialError, OpenError, PublishError},
    gossip::GossipMessage,
    identity::{from_libp2p, to_libp2p},
    introduce,
    proto::{Proto, Topic},
    shared::Shared,
    stream::PeerStream,
    streams,
};
use crate::worker::told;

/// How long opening a stream may take in all: dialling, searching, negotiating, `Hello`.
const OPEN_DEADLINE: Duration = Duration::from_secs(12);
/// How long a shutdown may take.
const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(5);

/// A peer came or went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerEvent {
    /// The first connection to it is open.
    Connected(PeerId),
    /// The last connection to it is closed.
    Disconnected(PeerId),
}

/// What the event loop is asked.
#[derive(Debug)]
pub(super) enum Command {
    /// Makes sure there is a connection.
    Connect(libp2p::PeerId, oneshot::Sender<Result<(), DialError>>),
    /// Opens a stream on a connection there is.
    Open(libp2p::PeerId, Proto, streams::Reply),
    /// Dials an address.
    Dial(
        Multiaddr,
        oneshot::Sender<Result<libp2p::PeerId, DialError>>,
    ),
    /// Publishes a message.
    Publish(Topic, Vec<u8>, oneshot::Sender<Result<(), PublishError>>),
    /// Ends: writes the peerstore, closes the connections.
    Shutdown(oneshot::Sender<()>),
}

/// The network of a peer.
#[derive(Clone)]
pub struct Net(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl fmt::Debug for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Net").field(&self.0.shared.local).finish()
    }
}

impl Net {
    pub(super) fn new(
        shared: Arc<Shared>,
        commands: mpsc::Sender<Command>,
        tasks: Vec<JoinHandle<()>>,
    ) -> Self {
        Self(Arc::new(Inner {
            shared,
            commands,
            tasks,
        }))
    }

    /// Who this peer is.
    #[must_use]
    pub fn local_peer(&self) -> &PeerId {
        &self.0.shared.local
    }

    /// Sets what this peer says of itself, once known or changed.
    pub fn set_hello(&self, hello: Hello) {
        self.0.shared.set_hello(hello);
    }

    /// What this peer says of itself.
    #[must_use]
    pub fn hello(&self) -> Hello {
        self.0.shared.hello()
    }

    /// Sets who is a member: who may call what, whose gossip is believed, and whom this peer stays
    /// connected to. Whether this peer itself is among them makes no difference.
    pub fn set_members(&self, members: BTreeMap<PeerId, Incarnation>) {
        self.0.shared.set_members(members);
    }

    /// Opens a stream: dials if needed (known addresses, then a search), exchanges `Hello`.
    /// It has a deadline of its own.
    pub async fn open(&self, peer: &PeerId, proto: Proto) -> Result<PeerStream, OpenError> {
        timeout(OPEN_DEADLINE, self.open_unbounded(peer, proto))
            .await
            .unwrap_or_else(|_| {
                Err(OpenError::TimedOut {
                    peer: peer.clone(),
                    proto,
                })
            })
    }

    async fn open_unbounded(&self, peer: &PeerId, proto: Proto) -> Result<PeerStream, OpenError> {
        let target = to_libp2p(peer);
        let mut attempts = 0;
        loop {
            self.ask(|reply| Command::Connect(target, reply))
                .await
                .unwrap_or(Err(DialError::Stopped))?;
            let opened = self.open_connected(peer, target, proto).await;
            // The connection may have ended under the stream: one of two, or before a restart.
            match opened {
                Err(OpenError::Failed { .. }) if attempts < limits::NET_OPEN_RETRIES_MAX => {
                    attempts += 1
                }
                outcome => return outcome,
            }
        }
    }

    async fn open_connected(
        &self,
        peer: &PeerId,
        target: libp2p::PeerId,
        proto: Proto,
    ) -> Result<PeerStream, OpenError> {
        let failed = |why: String| OpenError::Failed {
            peer: peer.clone(),
            why,
        };
        let opened = self
            .ask(|reply| Command::Open(target, proto, reply))
            .await
            .ok_or_else(|| failed("the connection ended".into()))?;
        match opened {
            Ok(stream) => introduce::as_opener(&self.0.shared, peer, proto, stream).await,
            Err(streams::StreamError::Unsupported(proto)) => Err(OpenError::Unsupported(proto)),
            Err(e) => Err(failed(e.to_string())),
        }
    }

    /// Streams of a protocol that other peers open. Once per protocol, at start-up: a later call
    /// takes over. Until then, and once the receiver is dropped, such streams are refused.
    #[must_use]
    pub fn accept(&self, proto: Proto) -> mpsc::Receiver<PeerStream> {
        let (sender, receiver) = mpsc::channel(limits::NET_ACCEPTED_PER_PROTOCOL_MAX);
        self.0.shared.acceptors.lock().insert(proto, sender);
        receiver
    }

    /// Publishes a message to the other members. It is not delivered to this peer itself.
    pub async fn publish(&self, topic: Topic, body: Vec<u8>) -> Result<(), PublishError> {
        if body.len() > GOSSIP_BYTES_MAX {
            return Err(PublishError::TooLarge {
                len: body.len(),
                max: GOSSIP_BYTES_MAX,
            });
        }
        self.ask(|reply| Command::Publish(topic, body, reply))
            .await
            .unwrap_or(Err(PublishError::Stopped))
    }

    /// Messages of other members of this cluster and epoch. Once per topic: a later call takes
    /// over. A subscriber that lags by more than a bounded number of messages loses the newest.
    #[must_use]
    pub fn subscribe(&self, topic: Topic) -> mpsc::Receiver<GossipMessage> {
        let (sender, receiver) = mpsc::channel(limits::GOSSIP_WAITING_MAX);
        self.0.shared.subscribers.lock().insert(topic, sender);
        receiver
    }

    /// Messages of a topic that were dropped since the start because their author is no member of
    /// this cluster and epoch, or they are malformed.
    #[must_use]
    pub fn gossip_dropped(&self, topic: Topic) -> u64 {
        let dropped = self.0.shared.gossip_dropped.lock();
        dropped.get(&topic).copied().unwrap_or_default()
    }

    /// Mentions where a peer may be reached.
    pub fn add_addresses(&self, peer: &PeerId, addresses: &[Multiaddr]) {
        let peer = to_libp2p(peer);
        if self.0.shared.book.lock().hint(&peer, addresses) {
            self.0.shared.changed.notify_one();
        }
    }

    /// Gossip since the start, by what became of it.
    #[must_use]
    pub fn gossip_counts(&self) -> [(&'static str, u64); 3] {
        let shared = &self.0.shared;
        [
            ("published", shared.gossip_published.load(Ordering::Relaxed)),
            ("delivered", shared.gossip_delivered.load(Ordering::Relaxed)),
            ("dropped", shared.gossip_dropped.lock().values().sum()),
        ]
    }

    /// Connects to an address, and tells who is there.
    pub async fn dial(&self, address: Multiaddr) -> Result<PeerId, DialError> {
        let dialled = self.ask(|reply| Command::Dial(address, reply));
        let peer = timeout(OPEN_DEADLINE, dialled)
            .await
            .map_err(|_| DialError::TimedOut)?
            .unwrap_or(Err(DialError::Stopped))?;
        from_libp2p(&peer).ok_or_else(|| DialError::BadAddress(peer.to_string()))
    }

    /// Peers with an open connection.
    #[must_use]
    pub fn connected(&self) -> BTreeSet<PeerId> {
        self.0.shared.connected.lock().clone()
    }

    /// What went over the swarm, by protocol.
    #[must_use]
    pub fn bandwidth(&self) -> Bandwidth {
        self.0.shared.meters.stats()
    }

    /// Where this peer tells others it can be reached, with `/p2p/`.
    #[must_use]
    pub fn listen_addresses(&self) -> Vec<Multiaddr> {
        self.0.shared.own_addresses.lock().clone()
    }

    /// Where a peer can be reached, with `/p2p/`.
    #[must_use]
    pub fn addresses_of(&self, peer: &PeerId) -> Vec<Multiaddr> {
        let target = to_libp2p(peer);
        let known = self.0.shared.book.lock().addresses(&target);
        with_peer(&known, &target)
    }

    /// Every peer of which an address is known, this one excepted, with `/p2p/`.
    #[must_use]
    pub fn known_peers(&self) -> BTreeMap<PeerId, Vec<Multiaddr>> {
        let book = self.0.shared.book.lock();
        let known = book.peers().filter_map(|target| {
            let addresses = with_peer(&book.addresses(target), target);
            Some((from_libp2p(target)?, addresses))
        });
        known
            .filter(|(_, addresses)| !addresses.is_empty())
            .collect()
    }

    /// The last measured round trip to a connected peer.
    #[must_use]
    pub fn rtt(&self, peer: &PeerId) -> Option<Duration> {
        self.0.shared.pings.rtt(&to_libp2p(peer))
    }

    /// The highest epoch above this peer's own that a member of this cluster has spoken of.
    #[must_use]
    pub fn heard_epoch(&self) -> watch::Receiver<Epoch> {
        self.0.shared.heard_epoch()
    }

    /// Resolves when a member says that this peer was admitted again since, as which incarnation: the
    /// life that this one goes on with is over.
    pub async fn admitted_again(&self) -> Incarnation {
        told(self.0.shared.later_life()).await
    }

    /// Peers coming and going from now on.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<PeerEvent> {
        self.0.shared.events.subscribe()
    }

    /// Writes the peerstore and closes the connections.
    pub async fn shutdown(&self) {
        let (reply, done) = oneshot::channel();
        let ended = async {
            if self.0.commands.send(Command::Shutdown(reply)).await.is_ok() {
                let _ = done.await;
            }
        };
        if timeout(SHUTDOWN_DEADLINE, ended).await.is_err() {
            tracing::warn!("the network did not end in time");
        }
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.0.commands.send(command(reply)).await.ok()?;
        answer.await.ok()
    }
}

fn with_peer(known: &[Multiaddr], peer: &libp2p::PeerId) -> Vec<Multiaddr> {
    let full = known.iter().map(|a| addresses::with_peer(a, peer));
    full.collect()
}
