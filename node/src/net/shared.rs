//! What the handle, the event loop and the acceptor all look at.
//!
//! Each lock is held for a lookup or a change and never across an await.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem::{Discriminant, discriminant},
    sync::{Arc, atomic::AtomicU64},
};

use ipfs_cluster_protocol::{
    hello::{Hello, Refusal},
    id::{ClusterId, Epoch, Incarnation, PeerId},
    limits,
};
use libp2p::Multiaddr;
use parking_lot::Mutex;
use tokio::sync::{Notify, broadcast, mpsc, watch};

use super::{
    bandwidth::Meters,
    gossip::GossipMessage,
    handle::PeerEvent,
    liveness::Pings,
    peers::Book,
    policy::Standing,
    proto::{Proto, Topic},
    stream::PeerStream,
};

/// Members and their incarnations.
pub(super) type Members = Arc<BTreeMap<PeerId, Incarnation>>;

pub(super) struct Shared {
    pub(super) local: PeerId,
    pub(super) local_libp2p: libp2p::PeerId,
    hello: Mutex<Hello>,
    members: Mutex<Members>,
    /// The cluster that accepted our request to join.
    joining: Mutex<Option<ClusterId>>,
    pub(super) connected: Mutex<BTreeSet<PeerId>>,
    /// What others are told, with `/p2p/`.
    pub(super) own_addresses: Mutex<Vec<Multiaddr>>,
    pub(super) book: Mutex<Book>,
    pub(super) pings: Pings,
    pub(super) meters: Meters,
    heard_epoch: watch::Sender<Epoch>,
    later_life: watch::Sender<Option<Incarnation>>,
    pub(super) events: broadcast::Sender<PeerEvent>,
    /// Members or addresses changed: the event loop looks again.
    pub(super) changed: Notify,
    pub(super) acceptors: Mutex<BTreeMap<Proto, mpsc::Sender<PeerStream>>>,
    pub(super) subscribers: Mutex<BTreeMap<Topic, mpsc::Sender<GossipMessage>>>,
    /// Messages of this peer that left it, and others' that reached a subscriber.
    pub(super) gossip_published: AtomicU64,
    pub(super) gossip_delivered: AtomicU64,
    /// Messages that went no further, per topic.
    pub(super) gossip_dropped: Mutex<BTreeMap<Topic, u64>>,
    logged: Mutex<BTreeMap<PeerId, Discriminant<Refusal>>>,
}

impl Shared {
    pub(super) fn new(local: PeerId, local_libp2p: libp2p::PeerId) -> Self {
        Self {
            local,
            local_libp2p,
            hello: Mutex::default(),
            members: Mutex::default(),
            joining: Mutex::default(),
            connected: Mutex::default(),
            own_addresses: Mutex::default(),
            book: Mutex::new(Book::new(local_libp2p)),
            pings: Pings::default(),
            meters: Meters::default(),
            heard_epoch: watch::Sender::new(Epoch(0)),
            later_life: watch::Sender::new(None),
            events: broadcast::Sender::new(limits::NET_EVENTS_MAX),
            changed: Notify::new(),
            acceptors: Mutex::default(),
            subscribers: Mutex::default(),
            gossip_published: AtomicU64::new(0),
            gossip_delivered: AtomicU64::new(0),
            gossip_dropped: Mutex::default(),
            logged: Mutex::default(),
        }
    }

    pub(super) fn hello(&self) -> Hello {
        self.hello.lock().clone()
    }

    pub(super) fn set_hello(&self, hello: Hello) {
        if hello.cluster.is_some() {
            *self.joining.lock() = None;
        }
        *self.hello.lock() = hello;
        self.changed.notify_one();
    }

    pub(super) fn members(&self) -> Members {
        self.members.lock().clone()
    }

    pub(super) fn set_members(&self, members: BTreeMap<PeerId, Incarnation>) {
        *self.members.lock() = Arc::new(members);
        self.changed.notify_one();
    }

    /// The cluster `theirs` let us ask for admission.
    pub(super) fn asked_to_join(&self, theirs: &Hello) {
        if self.hello.lock().cluster.is_none() {
            *self.joining.lock() = theirs.cluster;
        }
    }

    pub(super) fn judge(&self, peer: &PeerId, theirs: &Hello, proto: Proto) -> Result<(), Refusal> {
        let ours = self.hello();
        Standing {
            ours: &ours,
            members: &self.members(),
            joining: *self.joining.lock(),
        }
        .judge(peer, theirs, proto)
    }

    pub(super) fn judge_answer(&self, peer: &PeerId, theirs: &Hello) -> Result<(), Refusal> {
        let ours = self.hello();
        Standing {
            ours: &ours,
            members: &self.members(),
            joining: None,
        }
        .judge_answer(peer, theirs)
    }

    /// A member speaks of this cluster in another epoch: a higher one is reported. The word of a
    /// peer that is no member counts for nothing here, or it could stop this peer's writes.
    pub(super) fn heard(&self, peer: &PeerId, theirs: &Hello) {
        let ours = self.hello();
        if theirs.cluster.is_some() && theirs.cluster == ours.cluster {
            self.heard_epoch_of(peer, theirs.epoch, &ours);
        }
    }

    pub(super) fn heard_epoch_of(&self, peer: &PeerId, epoch: Epoch, ours: &Hello) {
        if epoch <= ours.epoch || !self.members.lock().contains_key(peer) {
            return;
        }
        let news = self.heard_epoch.send_if_modified(|heard| {
            let higher = epoch > *heard;
            if higher {
                *heard = epoch;
            }
            higher
        });
        if news {
            tracing::warn!(%peer, ours = %ours.epoch, theirs = %epoch, "heard of a later epoch");
        }
    }

    pub(super) fn heard_epoch(&self) -> watch::Receiver<Epoch> {
        self.heard_epoch.subscribe()
    }

    /// A member refused this peer: word of a later life of it is reported.
    pub(super) fn refused(&self, peer: &PeerId, refusal: &Refusal) {
        self.log_refusal(peer, refusal, false);
        let Refusal::IncarnationOver { refuser, refused } = refusal else {
            return;
        };
        let own = self.hello().incarnation;
        if own == Some(*refused) && refuser > refused && self.members.lock().contains_key(peer) {
            self.later_life.send_replace(Some(*refuser));
        }
    }

    pub(super) fn later_life(&self) -> watch::Receiver<Option<Incarnation>> {
        self.later_life.subscribe()
    }

    /// Logs a refusal, once per peer and kind: a foreign peer may try for ever.
    pub(super) fn log_refusal(&self, peer: &PeerId, refusal: &Refusal, by_us: bool) {
        if matches!(refusal, Refusal::NotServed { .. } | Refusal::Busy { .. }) {
            tracing::debug!(%peer, by_us, "a stream was refused: {refusal}");
            return;
        }
        let mut logged = self.logged.lock();
        if logged.len() >= limits::NET_LOGGED_MAX && !logged.contains_key(peer) {
            logged.clear();
        }
        if logged.insert(peer.clone(), discriminant(refusal)) != Some(discriminant(refusal)) {
            let by = if by_us { "this peer" } else { "the other side" };
            tracing::warn!(%peer, by, "a stream was refused: {refusal}");
        }
    }
}
