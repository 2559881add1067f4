//! From a key and addresses to a running swarm.

use std::{io, sync::Arc, time::Duration};

use ipfs_cluster_protocol::limits::{IPFS_CONNECTIONS_PER_PEER_MAX, IPFS_PEERS_MAX};
use libp2p::{
    Multiaddr, Swarm, Transport, TransportError, connection_limits,
    core::{transport::ListenerId, upgrade},
    identify,
    identity::Keypair,
    multiaddr::Protocol,
    noise, ping,
    swarm::{self, NetworkBehaviour},
    yamux,
};
use parking_lot::Mutex;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};

use super::{Net, NetError, Shared, StreamUser, event_loop::EventLoop, own_id, streams};
use crate::env::{Addr, Env};

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a connection without streams is kept.
const IDLE_TIME: Duration = Duration::from_secs(3600);
/// Calls that wait for the swarm.
const COMMANDS_WAITING: usize = 256;

/// What runs on every connection.
#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    limits: connection_limits::Behaviour,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    pub(super) streams: streams::Behaviour,
}

/// A new private key in libp2p's protobuf form.
pub(in crate::ipfs::embedded) fn new_key() -> Result<Vec<u8>, NetError> {
    let key = Keypair::generate_ed25519();
    key.to_protobuf_encoding()
        .map_err(|e| NetError::Key(e.to_string()))
}

/// Makes the swarm and its handle. Nothing happens before it is run.
pub(in crate::ipfs::embedded) async fn start(
    key: &[u8],
    listen: &[String],
    env: &Env,
) -> Result<(Net, Unstarted), NetError> {
    let key = Keypair::from_protobuf_encoding(key).map_err(|e| NetError::Key(e.to_string()))?;
    let mut swarm = build(&key, env)?;
    let mut silent = vec![];
    for text in listen {
        silent.extend(listen_on(&mut swarm, text, env).await?);
    }
    if let (Some(text), true) = (listen.first(), silent.is_empty()) {
        let why = "no address of the list can be served";
        return Err(refused(text, why));
    }
    let (commands, received) = mpsc::channel(COMMANDS_WAITING);
    let shared = Arc::new(Shared {
        peer: own_id(swarm.local_peer_id()).ok_or_else(|| NetError::Key("no peer ID".into()))?,
        listening: Mutex::default(),
        connected: Mutex::default(),
        kept: Mutex::default(),
        silent: watch::channel(silent).0,
    });
    let unstarted = Unstarted(EventLoop::new(swarm, received, shared.clone()));
    Ok((Net { commands, shared }, unstarted))
}

/// The swarm before it runs.
pub(in crate::ipfs::embedded) struct Unstarted(EventLoop);

impl Unstarted {
    /// Runs the swarm in the background, for as long as the set lives.
    pub(in crate::ipfs::embedded) fn run(self, user: Arc<dyn StreamUser>, tasks: &mut JoinSet<()>) {
        tasks.spawn(self.0.run(user));
    }
}

fn refused(address: &str, why: impl ToString) -> NetError {
    NetError::Listen {
        address: address.to_string(),
        why: why.to_string(),
    }
}

/// Begins to listen; None where an address needs what this node does not speak.
async fn listen_on(
    swarm: &mut Swarm<Behaviour>,
    text: &str,
    env: &Env,
) -> Result<Option<(ListenerId, String)>, NetError> {
    let address: Multiaddr = text.parse().map_err(|e| refused(text, e))?;
    if let Some(socket) = socket(&address)
        && let Err(e) = env.listen.listen(socket).await
        && e.kind() == io::ErrorKind::AddrInUse
    {
        // libp2p listens with SO_REUSEPORT, and would quietly share the port with another program
        // of the same user.
        return Err(refused(text, e));
    }
    match swarm.listen_on(address) {
        Ok(id) => Ok(Some((id, text.to_string()))),
        Err(TransportError::MultiaddrNotSupported(_)) => {
            tracing::warn!(address = %text, "the IPFS node speaks TCP alone: an address is skipped");
            Ok(None)
        }
        Err(TransportError::Other(e)) => Err(refused(text, e)),
    }
}

/// The TCP port of an address, where one is given.
fn socket(address: &Multiaddr) -> Option<Addr> {
    let mut parts = address.iter();
    let host = match parts.next()? {
        Protocol::Ip4(ip) => ip.to_string(),
        Protocol::Ip6(ip) => ip.to_string(),
        _ => return None,
    };
    match (parts.next()?, parts.next()) {
        (Protocol::Tcp(port), None) if port != 0 => Some(Addr::Tcp(host, port)),
        _ => None,
    }
}

fn build(key: &Keypair, env: &Env) -> Result<Swarm<Behaviour>, NetError> {
    let peer = key.public().to_peer_id();
    let noise = noise::Config::new(key).map_err(|e| NetError::Key(e.to_string()))?;
    let transport = env
        .transport
        .pipes()?
        .upgrade(upgrade::Version::V1Lazy)
        .authenticate(noise)
        .multiplex(yamux::Config::default())
        .timeout(CONNECT_TIMEOUT)
        .boxed();
    let limits = connection_limits::ConnectionLimits::default()
        .with_max_established_per_peer(Some(IPFS_CONNECTIONS_PER_PEER_MAX))
        .with_max_established(Some(IPFS_PEERS_MAX));
    let agent = format!("ipfs-cluster-embedded/{}", env!("CARGO_PKG_VERSION"));
    let identify = identify::Config::new("ipfs/0.1.0".into(), key.public());
    let behaviour = Behaviour {
        limits: connection_limits::Behaviour::new(limits),
        identify: identify::Behaviour::new(identify.with_agent_version(agent)),
        ping: ping::Behaviour::default(),
        streams: streams::Behaviour::default(),
    };
    let config = swarm::Config::with_tokio_executor()
        .with_idle_connection_timeout(IDLE_TIME)
        // Kubo opens a stream per message; the default of 128 would drop bursts.
        .with_max_negotiating_inbound_streams(1024);
    Ok(Swarm::new(transport, behaviour, peer, config))
}
