//! A host for HTTP alone: whoever knows its address reaches an API through it, without the cluster's
//! secret. It is in no cluster, and serves nothing else.

use std::time::Duration;

use futures::{StreamExt as _, channel::mpsc, stream::BoxStream};
use ipfs_cluster_protocol::limits;
use libp2p::{
    Multiaddr, Swarm,
    connection_limits::{self, ConnectionLimits},
    core::transport::ListenerId,
    identify,
    identity::Keypair,
    ping,
    swarm::{NetworkBehaviour, SwarmEvent},
};
use tokio::{task::JoinSet, time::timeout};
use tokio_util::compat::FuturesAsyncReadCompatExt as _;

use super::{
    addresses,
    bandwidth::Meters,
    error::NetError,
    identity::{Identity, SecretBytes},
    liveness::Pings,
    proto::Proto,
    start::{LISTEN_DEADLINE, cause, swarm_config, unused},
    streams::{self, Inbound},
    transport::{self, Layers},
};
use crate::env::{ByteStream, Env};

/// How long connecting to a client's address may take. Nobody is dialled.
const DIAL_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a connection may bring nothing, once its pings are answered.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// The host. It is gone when dropped.
#[derive(Debug)]
pub struct HttpHost {
    addresses: Vec<Multiaddr>,
    _task: JoinSet<()>,
}

impl HttpHost {
    /// Where it listens, with `/p2p/`.
    #[must_use]
    pub fn addresses(&self) -> &[Multiaddr] {
        &self.addresses
    }
}

/// Pipes of clients, each with its peer ID.
pub type HttpStreams = BoxStream<'static, (ByteStream, String)>;

#[derive(NetworkBehaviour)]
struct Behaviour {
    /// First, so that a refused connection reaches no other behaviour.
    limits: connection_limits::Behaviour,
    streams: streams::Behaviour,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
}

/// Listens on all of `listen` under this key.
pub async fn serve_http(
    key: &SecretBytes,
    listen: &[Multiaddr],
    env: &Env,
) -> Result<(HttpHost, HttpStreams), NetError> {
    let identity = Identity::from_secret(key)?;
    let keys = identity.keypair().clone();
    let local = keys.public().to_peer_id();
    let failed = |e: &dyn std::fmt::Display| NetError::Transport(e.to_string());
    let layers = Layers {
        keys: &keys,
        psk: None,
        pings: Pings::default(),
        meters: Meters::default(),
        silence_max: SILENCE_MAX,
        dial_timeout: DIAL_TIMEOUT,
    };
    let pipes = env.transport.pipes().map_err(|e| failed(&e))?;
    let transport = transport::build(pipes, layers).map_err(|e| failed(&e))?;
    let (accepted, inbound) = mpsc::channel(limits::NET_ACCEPTED_MAX);
    let behaviour = behaviour(&keys, accepted);
    let mut swarm = Swarm::new(transport, behaviour, local, swarm_config());
    for address in listen {
        listen_on(&mut swarm, address, env).await?;
    }
    let found = swarm.listeners().cloned();
    let addresses = found.map(|a| addresses::with_peer(&a, &local)).collect();
    let mut task = JoinSet::new();
    task.spawn(async move {
        loop {
            swarm.select_next_some().await;
        }
    });
    let host = HttpHost {
        addresses,
        _task: task,
    };
    let pipe = |inbound: Inbound| {
        let pipe: ByteStream = Box::new(inbound.stream.compat());
        (pipe, inbound.peer.to_string())
    };
    Ok((host, inbound.map(pipe).boxed()))
}

fn behaviour(keys: &Keypair, accepted: streams::InboundSender) -> Behaviour {
    let limits = ConnectionLimits::default()
        .with_max_pending_incoming(Some(limits::NET_HANDSHAKES_MAX))
        .with_max_established_per_peer(Some(limits::NET_CONNECTIONS_PER_STRANGER_MAX))
        .with_max_established_incoming(Some(limits::HTTP_HOST_CONNECTIONS_MAX));
    let identify = identify::Config::new("ipfs-cluster/1".to_owned(), keys.public())
        .with_agent_version(concat!("ipfs-cluster-service/", env!("CARGO_PKG_VERSION")).into())
        .with_cache_size(0);
    Behaviour {
        limits: connection_limits::Behaviour::new(limits),
        streams: streams::Behaviour::offering(accepted, &[Proto::Http]),
        identify: identify::Behaviour::new(identify),
        ping: ping::Behaviour::new(ping::Config::new()),
    }
}

async fn listen_on(
    swarm: &mut Swarm<Behaviour>,
    address: &Multiaddr,
    env: &Env,
) -> Result<(), NetError> {
    let address = &addresses::without_peer(address);
    let refused = |why: String| NetError::Listen {
        address: address.clone(),
        why,
    };
    unused(address, env).await.map_err(refused)?;
    let listener = swarm.listen_on(address.clone());
    let listener = listener.map_err(|e| refused(cause(&e)))?;
    match timeout(LISTEN_DEADLINE, listening(swarm, listener)).await {
        Ok(result) => result.map_err(refused),
        Err(_) => Err(refused("the listener reports no address".into())),
    }
}

/// Waits until a listener reports an address, or why it does not.
async fn listening(swarm: &mut Swarm<Behaviour>, listener: ListenerId) -> Result<(), String> {
    loop {
        match swarm.select_next_some().await {
            SwarmEvent::NewListenAddr { listener_id, .. } if listener_id == listener => {
                return Ok(());
            }
            SwarmEvent::ListenerError { listener_id, error } if listener_id == listener => {
                return Err(cause(&error));
            }
            SwarmEvent::ListenerClosed {
                listener_id,
                reason,
                ..
            } if listener_id == listener => {
                return Err(match reason {
                    Ok(()) => "the listener closed".to_owned(),
                    Err(e) => cause(&e),
                });
            }
            _ => {}
        }
    }
}
