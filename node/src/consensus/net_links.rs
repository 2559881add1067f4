//! The consensus' streams over the network layer.

use std::{collections::BTreeMap, io, sync::Arc, time::Duration};

use futures::{
    StreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use ipfs_cluster_protocol::{
    hello::Hello,
    id::{Epoch, Incarnation, PeerId},
};
use multiaddr::Multiaddr;
use tokio::sync::watch;
use tracing::debug;

use super::{
    handle::{Accepted, Consensus, ConsensusConfig},
    links::{Channel, Incoming, Links},
};
use crate::{
    env::{ByteStream, Env},
    net::{Net, Proto},
    storage::{Identity, OpenError},
};

struct NetLinks(Net);

fn proto(channel: Channel) -> Proto {
    match channel {
        Channel::Append => Proto::RaftAppend,
        Channel::Ask => Proto::Raft,
        Channel::Snapshot => Proto::RaftSnapshot,
        Channel::Join => Proto::Join,
    }
}

fn accept(net: &Net, channel: Channel) -> BoxStream<'static, Incoming> {
    let streams = net.accept(proto(channel));
    let ours = net.clone();
    stream::unfold(streams, |mut streams| async {
        let stream = streams.recv().await?;
        Some((stream, streams))
    })
    .map(move |stream| {
        let same = stream.hello.cluster.is_some() && stream.hello.cluster == ours.hello().cluster;
        Incoming {
            peer: stream.peer.clone(),
            incarnation: stream.hello.incarnation.filter(|_| same),
            bytes: stream.into_inner(),
        }
    })
    .boxed()
}

impl Links for NetLinks {
    fn local(&self) -> PeerId {
        self.0.local_peer().clone()
    }

    fn open(&self, peer: &PeerId, channel: Channel) -> BoxFuture<'static, io::Result<ByteStream>> {
        let (net, peer) = (self.0.clone(), peer.clone());
        Box::pin(async move {
            let opened = net.open(&peer, proto(channel)).await;
            Ok(opened.map_err(io::Error::other)?.into_inner())
        })
    }

    fn introduce(&self, identity: Identity) {
        self.0.set_hello(Hello {
            cluster: Some(identity.cluster),
            epoch: identity.epoch,
            incarnation: Some(identity.incarnation),
            ..self.0.hello()
        });
    }

    fn set_members(&self, members: BTreeMap<PeerId, Incarnation>) {
        self.0.set_members(members);
    }

    fn heard_epoch(&self) -> watch::Receiver<Epoch> {
        self.0.heard_epoch()
    }

    fn add_addresses(&self, peer: &PeerId, addresses: Vec<String>) {
        let mut known = Vec::with_capacity(addresses.len());
        for address in addresses {
            match address.parse::<Multiaddr>() {
                Ok(address) => known.push(address),
                Err(e) => debug!(%peer, error = %e, "an address that is none is skipped"),
            }
        }
        self.0.add_addresses(peer, &known);
    }

    fn round_trip(&self, peer: &PeerId) -> Option<Duration> {
        self.0.rtt(peer)
    }

    fn addresses(&self, peer: &PeerId) -> Vec<String> {
        let known = if peer == self.0.local_peer() {
            self.0.listen_addresses()
        } else {
            self.0.addresses_of(peer)
        };
        known.iter().map(ToString::to_string).collect()
    }
}

impl Consensus {
    /// Opens the data folder and both store files; a member of a cluster takes part in it from
    /// here on. One that is none calls [`Consensus::form`] or [`Consensus::join`].
    pub async fn open(config: ConsensusConfig, env: &Env, net: &Net) -> Result<Self, OpenError> {
        let accepted = Accepted {
            append: accept(net, Channel::Append),
            ask: accept(net, Channel::Ask),
            snapshot: accept(net, Channel::Snapshot),
            join: accept(net, Channel::Join),
        };
        let links = Arc::new(NetLinks(net.clone()));
        Self::open_on(config, env.clone(), links, accepted).await
    }
}
