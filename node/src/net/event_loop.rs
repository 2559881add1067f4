//! The one owner of the swarm: takes commands, keeps members connected, and passes on what happens.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures::{StreamExt as _, stream::BoxStream};
use libp2p::{Multiaddr, PeerId, Swarm, core::PeerRecord, identity::Keypair};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, MissedTickBehavior, interval, timeout},
};

use super::{
    addresses,
    behaviour::Behaviour,
    dialer::Dialer,
    envelope::{Payload, Sealer},
    error::PublishError,
    gossip,
    handle::Command,
    identity::to_libp2p,
    peerstore_writer::PeerstoreWriter,
    proto::Topic,
    reconnect::Reconnect,
    shared::Shared,
};

/// How often the schedule is looked at.
const TICK: Duration = Duration::from_millis(500);
/// How often this peer's signed address record is gossiped.
const RECORD_INTERVAL: Duration = Duration::from_secs(30);
/// How soon it follows a change, or a new connection.
const RECORD_DELAY: Duration = Duration::from_secs(1);
/// How long closing the connections may take.
const CLOSE_DEADLINE: Duration = Duration::from_secs(1);

/// What the loop keeps.
pub(super) struct EventLoop {
    pub(super) swarm: Swarm<Behaviour>,
    pub(super) shared: Arc<Shared>,
    pub(super) keys: Keypair,
    /// Signs what is gossiped.
    pub(super) sealer: Sealer,
    /// What others are told, when configured.
    pub(super) announce: Vec<Multiaddr>,
    /// What others are never told.
    pub(super) no_announce: Vec<Multiaddr>,
    /// Peers named by the configuration: stayed connected to until the members are known.
    pub(super) bootstrap: BTreeSet<PeerId>,
    /// The protocol of this network's DHT.
    pub(super) dht_protocol: String,
    pub(super) dialer: Dialer,
    pub(super) reconnect: Reconnect,
    pub(super) peerstore: Option<PeerstoreWriter>,
    /// Peers nearby, as multiaddrs.
    pub(super) nearby: BoxStream<'static, String>,
    /// When the address record is gossiped next.
    pub(super) record_due: Instant,
    /// Whose members the behaviours were told of last.
    pub(super) members: BTreeSet<PeerId>,
    /// Connected peers, and since when.
    pub(super) since: BTreeMap<PeerId, Instant>,
    /// Where a wrong secret was logged from, and when.
    pub(super) strangers: BTreeMap<IpAddr, Instant>,
    /// Go peers that were logged.
    pub(super) go_peers: BTreeSet<PeerId>,
}

impl EventLoop {
    /// Runs until the last handle is gone or a shutdown is asked for.
    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let shared = self.shared.clone();
        loop {
            tokio::select! {
                biased;
                command = commands.recv() => match command {
                    Some(Command::Shutdown(done)) => return self.shut_down(done).await,
                    Some(command) => self.on_command(command),
                    None => return,
                },
                () = shared.changed.notified() => self.on_changed(),
                _ = tick.tick() => self.on_tick(),
                Some(address) = self.nearby.next() => self.on_nearby(&address),
                event = self.swarm.select_next_some() => self.on_event(event),
            }
        }
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Connect(peer, reply) => {
                let shared = self.shared.clone();
                let book = shared.book.lock();
                self.dialer
                    .connect(&mut self.swarm, &book, peer, Some(reply));
            }
            Command::Open(peer, proto, reply) => {
                self.swarm.behaviour_mut().streams.open(peer, proto, reply);
            }
            Command::Dial(address, reply) => self.dialer.dial(&mut self.swarm, address, reply),
            Command::Publish(topic, body, reply) => {
                let _ = reply.send(self.publish(topic, Payload::Body(body)));
            }
            // Taken in `run`, which ends with it.
            Command::Shutdown(done) => drop(done),
        }
    }

    fn publish(&mut self, topic: Topic, payload: Payload) -> Result<(), PublishError> {
        use libp2p::gossipsub::PublishError as Error;
        let sealed = self.sealer.seal(&self.shared.hello(), topic, payload);
        let sealed = sealed.map_err(|e| PublishError::Failed(e.to_string()))?;
        let sealed = sealed.ok_or(PublishError::NoCluster)?;
        let len = sealed.len();
        let published = self
            .swarm
            .behaviour_mut()
            .gossip
            .publish(gossip::topic(topic), sealed);
        match published {
            Ok(_) | Err(Error::Duplicate) => {
                self.shared.gossip_published.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            Err(Error::NoPeersSubscribedToTopic) => Err(PublishError::Alone),
            Err(Error::AllQueuesFull(_)) => Err(PublishError::Busy),
            Err(Error::MessageTooLarge) => Err(PublishError::TooLarge {
                len,
                max: ipfs_cluster_protocol::limits::GOSSIP_BYTES_MAX,
            }),
            Err(e) => Err(PublishError::Failed(e.to_string())),
        }
    }

    /// Members or addresses changed.
    pub(super) fn on_changed(&mut self) {
        let members = self.shared.members();
        let members: BTreeSet<_> = members
            .keys()
            .filter(|p| **p != self.shared.local)
            .map(to_libp2p)
            .collect();
        if members != self.members {
            let behaviour = self.swarm.behaviour_mut();
            behaviour.streams.keep(members.clone());
            for gone in self.members.difference(&members) {
                behaviour.limits.remove_peer_id(gone);
            }
            for peer in &members {
                behaviour.limits.bypass_peer_id(peer);
            }
            self.shared.pings.set_members(members.clone());
            self.members = members;
            self.record_soon();
        }
        self.dial_wanted();
    }

    fn on_tick(&mut self) {
        self.dial_wanted();
        if Instant::now() >= self.record_due {
            self.record_due = Instant::now() + RECORD_INTERVAL;
            self.publish_record();
        }
        if let Some(peerstore) = &mut self.peerstore {
            peerstore.write_if_due(&self.shared, &self.members);
        }
    }

    /// Peers that should be connected: the members, and before they are known, whoever the
    /// configuration names.
    fn wanted(&self) -> &BTreeSet<PeerId> {
        if self.members.is_empty() {
            &self.bootstrap
        } else {
            &self.members
        }
    }

    fn dial_wanted(&mut self) {
        let now = Instant::now();
        let due: Vec<_> = self
            .wanted()
            .iter()
            .filter(|p| !self.swarm.is_connected(p) && !self.dialer.is_under_way(p))
            .filter(|p| self.reconnect.is_due(p, now))
            .copied()
            .collect();
        let shared = self.shared.clone();
        for peer in due {
            let book = shared.book.lock();
            let started = self.dialer.connect(&mut self.swarm, &book, peer, None);
            drop(book);
            if !started {
                self.gave_up(peer);
            }
        }
        let (members, bootstrap) = (&self.members, &self.bootstrap);
        self.reconnect
            .retain(|p| members.contains(p) || bootstrap.contains(p));
    }

    /// A peer could not be connected to.
    pub(super) fn gave_up(&mut self, peer: PeerId) {
        if self.wanted().contains(&peer) {
            self.reconnect
                .failed(peer, Instant::now(), rand::random::<f64>());
        }
    }

    fn on_nearby(&mut self, address: &str) {
        let Ok(address) = address.parse::<Multiaddr>() else {
            return;
        };
        if let Some(peer) = addresses::peer_of(&address)
            && self.shared.book.lock().hint(&peer, &[address])
        {
            self.reconnect.reset(&peer);
        }
    }

    /// Tells others where this peer can be reached now.
    pub(super) fn refresh_addresses(&mut self) {
        let listening: Vec<_> = self.swarm.listeners().cloned().collect();
        let told = addresses::advertised(&listening, &self.announce, &self.no_announce);
        let before: Vec<_> = self.swarm.external_addresses().cloned().collect();
        if before.iter().collect::<BTreeSet<_>>() != told.iter().collect() {
            for address in before.iter().filter(|a| !told.contains(a)) {
                self.swarm.remove_external_address(address);
            }
            for address in told.iter().filter(|a| !before.contains(a)) {
                self.swarm.add_external_address(address.clone());
            }
            let connected: Vec<_> = self.since.keys().copied().collect();
            self.swarm.behaviour_mut().identify.push(connected);
            self.record_soon();
        }
        let local = self.shared.local_libp2p;
        *self.shared.own_addresses.lock() = told
            .iter()
            .map(|a| addresses::with_peer(a, &local))
            .collect();
    }

    /// Gossips the address record within a second; several causes make one message.
    pub(super) fn record_soon(&mut self) {
        self.record_due = self.record_due.min(Instant::now() + RECORD_DELAY);
    }

    fn publish_record(&mut self) {
        let own: Vec<_> = self
            .shared
            .own_addresses
            .lock()
            .iter()
            .map(addresses::without_peer)
            .collect();
        if own.is_empty() {
            return;
        }
        let signed = match PeerRecord::new(&self.keys, own) {
            Ok(record) => record.into_signed_envelope().into_protobuf_encoding(),
            Err(e) => return tracing::error!("the address record could not be signed: {e}"),
        };
        match self.publish(Topic::Metrics, Payload::Addresses(signed)) {
            Ok(()) | Err(PublishError::Alone | PublishError::NoCluster) => {}
            Err(e) => tracing::debug!("the address record was not gossiped: {e}"),
        }
    }

    async fn shut_down(mut self, done: oneshot::Sender<()>) {
        if let Some(peerstore) = self.peerstore.take() {
            peerstore.finish(&self.shared, &self.members).await;
        }
        for peer in self.since.into_keys() {
            let _ = self.swarm.disconnect_peer_id(peer);
        }
        let closed = async {
            while self.swarm.connected_peers().next().is_some() {
                self.swarm.select_next_some().await;
            }
        };
        if timeout(CLOSE_DEADLINE, closed).await.is_err() {
            tracing::debug!("some connections did not close in time");
        }
        self.shared.connected.lock().clear();
        let _ = done.send(());
    }

    /// Puts the peer's own addresses where they are looked for.
    pub(super) fn learned(&mut self, peer: &PeerId) {
        let said = self.shared.book.lock().advertised(peer).to_vec();
        super::dht::set_addresses(&mut self.swarm.behaviour_mut().dht, peer, &said);
        self.reconnect.reset(peer);
    }
}
