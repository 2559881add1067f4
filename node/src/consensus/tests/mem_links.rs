//! A network in memory: streams are pipes.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use futures::{
    StreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use ipfs_cluster_protocol::id::{Epoch, Incarnation, PeerId};
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};

use super::short_pipe::{Meter, Metered};
use crate::{
    consensus::{
        handle::Accepted,
        links::{Channel, Incoming, Links},
    },
    env::ByteStream,
    storage::Identity,
};

#[derive(Default)]
struct State {
    listening: BTreeMap<(PeerId, Channel), mpsc::Sender<Incoming>>,
    identities: BTreeMap<PeerId, Identity>,
    heard: BTreeMap<PeerId, watch::Sender<Epoch>>,
    meters: BTreeMap<(PeerId, Channel), Meter>,
}

impl State {
    /// What the network layer's `Hello` does: one epoch at a time, and the later one is heard of.
    fn greet(&self, a: &PeerId, b: &PeerId) -> io::Result<()> {
        let (Some(of_a), Some(of_b)) = (self.identities.get(a), self.identities.get(b)) else {
            return Ok(());
        };
        if of_a.epoch == of_b.epoch {
            return Ok(());
        }
        for (peer, theirs) in [(a, of_b.epoch), (b, of_a.epoch)] {
            let heard = self
                .heard
                .get(peer)
                .filter(|_| theirs > self.identities[peer].epoch);
            if let Some(heard) = heard {
                heard.send_modify(|known| *known = theirs.max(*known));
            }
        }
        Err(io::ErrorKind::PermissionDenied.into())
    }
}

/// Shared by all peers of a test.
#[derive(Clone, Default)]
pub(super) struct MemNet(Arc<Mutex<State>>);

/// One peer's side of it.
pub(super) struct MemLinks {
    net: MemNet,
    local: PeerId,
}

fn received(mut streams: mpsc::Receiver<Incoming>) -> BoxStream<'static, Incoming> {
    stream::poll_fn(move |cx| streams.poll_recv(cx)).boxed()
}

impl MemNet {
    /// A peer appears (again).
    pub(super) fn plug(&self, peer: &PeerId) -> (Arc<dyn Links>, Accepted) {
        let listen = |channel| {
            let (sender, streams) = mpsc::channel(16);
            let mut state = self.0.lock();
            state.listening.insert((peer.clone(), channel), sender);
            state.heard.insert(peer.clone(), watch::Sender::default());
            received(streams)
        };
        let accepted = Accepted {
            append: listen(Channel::Append),
            ask: listen(Channel::Ask),
            snapshot: listen(Channel::Snapshot),
            join: listen(Channel::Join),
        };
        // It says who it is once it knows.
        self.0.lock().identities.remove(peer);
        let links = MemLinks {
            net: self.clone(),
            local: peer.clone(),
        };
        (Arc::new(links), accepted)
    }
}

impl MemNet {
    /// The next pipe to a peer on this channel breaks after so many bytes.
    pub(super) fn cut_after(&self, peer: &PeerId, channel: Channel, bytes: usize) {
        self.meter(peer, channel).cut_after.store(bytes, Relaxed);
    }

    /// What was written to and cut on the pipes to a peer on this channel.
    pub(super) fn meter(&self, peer: &PeerId, channel: Channel) -> Meter {
        let mut state = self.0.lock();
        let meter = state.meters.entry((peer.clone(), channel));
        meter.or_default().clone()
    }

    /// Nobody reaches a peer on this channel any more.
    pub(super) fn cut(&self, peer: &PeerId, channel: Channel) {
        self.0.lock().listening.remove(&(peer.clone(), channel));
    }
}

impl Links for MemLinks {
    fn local(&self) -> PeerId {
        self.local.clone()
    }

    fn open(&self, peer: &PeerId, channel: Channel) -> BoxFuture<'static, io::Result<ByteStream>> {
        let (net, local, peer) = (self.net.clone(), self.local.clone(), peer.clone());
        Box::pin(async move {
            let (near, far) = tokio::io::duplex(256 * 1024);
            let meter = net.meter(&peer, channel);
            let (sender, incarnation) = {
                let state = net.0.lock();
                state.greet(&local, &peer)?;
                let incarnation = state.identities.get(&local).map(|i| i.incarnation);
                (state.listening.get(&(peer, channel)).cloned(), incarnation)
            };
            let incoming = Incoming {
                peer: local,
                incarnation,
                bytes: Box::new(far),
            };
            let sender = sender.ok_or(io::ErrorKind::ConnectionRefused)?;
            let sent = sender.send(incoming).await;
            sent.map_err(|_| io::ErrorKind::ConnectionRefused)?;
            let pipe: ByteStream = Box::new(near);
            Ok(Box::new(Metered { pipe, meter }) as ByteStream)
        })
    }

    fn introduce(&self, identity: Identity) {
        let mut state = self.net.0.lock();
        state.identities.insert(self.local.clone(), identity);
    }

    fn set_members(&self, _members: BTreeMap<PeerId, Incarnation>) {}

    fn heard_epoch(&self) -> watch::Receiver<Epoch> {
        self.net.0.lock().heard[&self.local].subscribe()
    }

    fn add_addresses(&self, _peer: &PeerId, _addresses: Vec<String>) {}

    fn round_trip(&self, _peer: &PeerId) -> Option<Duration> {
        None
    }

    fn addresses(&self, peer: &PeerId) -> Vec<String> {
        vec![format!("/memory/{peer}")]
    }
}
