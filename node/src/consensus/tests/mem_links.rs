//! A network in memory: streams are pipes.

use std::{collections::BTreeMap, io, sync::Arc, time::Duration};

use futures::{
    StreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use ipfs_cluster_protocol::id::{Incarnation, PeerId};
use parking_lot::Mutex;
use tokio::sync::mpsc;

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
            received(streams)
        };
        let accepted = Accepted {
            append: listen(Channel::Append),
            ask: listen(Channel::Ask),
            snapshot: listen(Channel::Snapshot),
            join: listen(Channel::Join),
        };
        let links = MemLinks {
            net: self.clone(),
            local: peer.clone(),
        };
        (Arc::new(links), accepted)
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
            let (sender, incarnation) = {
                let state = net.0.lock();
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
            Ok(Box::new(near) as ByteStream)
        })
    }

    fn introduce(&self, identity: Identity) {
        let mut state = self.net.0.lock();
        state.identities.insert(self.local.clone(), identity);
    }

    fn set_members(&self, _members: BTreeMap<PeerId, Incarnation>) {}

    fn add_addresses(&self, _peer: &PeerId, _addresses: Vec<String>) {}

    fn round_trip(&self, _peer: &PeerId) -> Option<Duration> {
        None
    }

    fn addresses(&self, peer: &PeerId) -> Vec<String> {
        vec![format!("/memory/{peer}")]
    }
}
