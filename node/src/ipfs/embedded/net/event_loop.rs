//! The sole owner of the swarm.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::StreamExt;
use ipfs_cluster_protocol::limits::IPFS_STREAMS_MAX;
use libp2p::{
    Multiaddr, PeerId, Stream, Swarm,
    swarm::{DialError, SwarmEvent, dial_opts::DialOpts},
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

use super::{
    OpenError, Shared, StreamUser, own_id,
    start::{Behaviour, BehaviourEvent},
    streams::Incoming,
};
use crate::ipfs::embedded::bitswap::Version;

/// How often members that are not connected are dialled.
const REDIAL: Duration = Duration::from_secs(5);

/// What the handle asks for.
pub(super) enum Command {
    Dial {
        peer: PeerId,
        address: Multiaddr,
        reply: oneshot::Sender<Result<(), String>>,
    },
    Open {
        peer: PeerId,
        reply: oneshot::Sender<Result<(Version, Stream), OpenError>>,
    },
    /// The list of members' addresses changed.
    DialKept,
}

pub(super) struct EventLoop {
    swarm: Swarm<Behaviour>,
    commands: mpsc::Receiver<Command>,
    shared: Arc<Shared>,
    /// Who waits for a connection to whom.
    dials: BTreeMap<PeerId, Vec<oneshot::Sender<Result<(), String>>>>,
    /// Streams that others opened, being served.
    serving: JoinSet<()>,
}

impl EventLoop {
    pub(super) fn new(
        swarm: Swarm<Behaviour>,
        commands: mpsc::Receiver<Command>,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            swarm,
            commands,
            shared,
            dials: BTreeMap::new(),
            serving: JoinSet::new(),
        }
    }

    /// Runs until every handle is gone.
    pub(super) async fn run(mut self, user: Arc<dyn StreamUser>) {
        let mut redial = interval(REDIAL);
        redial.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                command = self.commands.recv() => match command {
                    Some(command) => self.command(command),
                    None => return,
                },
                event = self.swarm.select_next_some() => self.event(event, &*user),
                Some(_) = self.serving.join_next() => {}
                _ = redial.tick() => self.dial_kept(),
            }
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Dial {
                peer,
                address,
                reply,
            } => self.dial(peer, address, reply),
            Command::Open { peer, reply } => self.swarm.behaviour_mut().streams.open(peer, reply),
            Command::DialKept => self.dial_kept(),
        }
    }

    fn dial(
        &mut self,
        peer: PeerId,
        address: Multiaddr,
        reply: oneshot::Sender<Result<(), String>>,
    ) {
        if self.swarm.is_connected(&peer) {
            let _ = reply.send(Ok(()));
            return;
        }
        let options = DialOpts::peer_id(peer).addresses(vec![address]).build();
        match self.swarm.dial(options) {
            // Somebody dials already: his outcome is ours.
            Ok(()) | Err(DialError::DialPeerConditionFalse(_)) => {
                let waiting = self.dials.entry(peer).or_default();
                waiting.retain(|w| !w.is_closed());
                waiting.push(reply);
            }
            Err(error) => {
                let _ = reply.send(Err(error.to_string()));
            }
        }
    }

    fn dial_kept(&mut self) {
        let kept = self.shared.kept.lock().clone();
        for (peer, addresses) in kept {
            if !self.swarm.is_connected(&peer) {
                let addresses = addresses.into_iter().collect();
                // Already dialling, or over a limit: the next round tries again.
                let _ = self
                    .swarm
                    .dial(DialOpts::peer_id(peer).addresses(addresses).build());
            }
        }
    }

    fn event(&mut self, event: SwarmEvent<BehaviourEvent>, user: &dyn StreamUser) {
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Streams(incoming)) => self.serve(incoming, user),
            SwarmEvent::NewListenAddr {
                listener_id,
                address,
            } => {
                self.shared.listening.lock().insert(address);
                let silent = &self.shared.silent;
                silent.send_modify(|s| s.retain(|(id, _)| *id != listener_id));
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                self.shared.listening.lock().remove(&address);
            }
            SwarmEvent::ListenerError { error, .. } => {
                tracing::warn!(%error, "a listener of the IPFS node failed");
            }
            SwarmEvent::ConnectionEstablished {
                peer_id,
                num_established,
                ..
            } => {
                for waiting in self.dials.remove(&peer_id).unwrap_or_default() {
                    let _ = waiting.send(Ok(()));
                }
                self.count(&peer_id, num_established.get(), user);
            }
            SwarmEvent::ConnectionClosed {
                peer_id,
                num_established,
                ..
            } => self.count(&peer_id, num_established, user),
            SwarmEvent::OutgoingConnectionError {
                peer_id: Some(peer),
                error,
                ..
            } => {
                for waiting in self.dials.remove(&peer).unwrap_or_default() {
                    let _ = waiting.send(Err(error.to_string()));
                }
            }
            _ => {}
        }
    }

    /// Notes how many connections there are to a peer; tells of the first and of the last.
    fn count(&mut self, peer: &PeerId, connections: u32, user: &dyn StreamUser) {
        let Some(peer) = own_id(peer) else { return };
        let mut connected = self.shared.connected.lock();
        let before = match connections {
            0 => connected.remove(&peer),
            n => connected.insert(peer.clone(), n),
        };
        drop(connected);
        match (before, connections) {
            (Some(_), 0) => user.disconnected(&peer),
            (None, 1..) => user.connected(&peer),
            _ => {}
        }
    }

    fn serve(&mut self, incoming: Incoming, user: &dyn StreamUser) {
        let Some(peer) = own_id(&incoming.peer) else {
            return;
        };
        if self.serving.len() >= IPFS_STREAMS_MAX {
            tracing::warn!(%peer, "closed a bitswap stream: too many are being served");
            return;
        }
        let stream = Box::new(incoming.stream);
        self.serving
            .spawn(user.incoming(peer, incoming.version, stream));
    }
}
