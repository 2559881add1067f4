//! Puts the network together.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU8,
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt as _, channel::mpsc as futures_mpsc, stream};
use ipfs_cluster_protocol::limits;
use libp2p::{
    Multiaddr, Swarm,
    core::transport::ListenerId,
    swarm::{self, SwarmEvent},
};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};

use super::{
    accept, addresses, behaviour,
    config::NetConfig,
    dht,
    dialer::Dialer,
    envelope::Sealer,
    error::NetError,
    event_loop::EventLoop,
    handle::Net,
    identity::Identity,
    peerstore_writer::PeerstoreWriter,
    reconnect::Reconnect,
    shared::Shared,
    transport::{self, Layers},
};
use crate::env::Env;

/// An idle connection with a peer that is no member is closed after this.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a listener may take to report where it listens.
pub(super) const LISTEN_DEADLINE: Duration = Duration::from_secs(10);

/// Listens, and begins to connect to the addresses it was given.
pub async fn start(cfg: NetConfig, env: &Env) -> Result<Net, NetError> {
    let identity = Identity::from_secret(&cfg.private_key)?;
    let keys = identity.keypair().clone();
    let local = keys.public().to_peer_id();
    let network = dht::network_name(cfg.psk.as_ref());
    let shared = Arc::new(Shared::new(identity.peer_id(), local));

    let failed = |e: &dyn std::fmt::Display| NetError::Transport(e.to_string());
    let layers = Layers {
        keys: &keys,
        psk: cfg.psk,
        pings: shared.pings.clone(),
        meters: shared.meters.clone(),
        silence_max: cfg.silence_max,
        dial_timeout: cfg.dial_timeout,
    };
    let pipes = env.transport.pipes().map_err(|e| failed(&e))?;
    let transport = transport::build(pipes, layers).map_err(|e| failed(&e))?;
    let (accepted, inbound) = futures_mpsc::channel(limits::NET_ACCEPTED_MAX);
    let behaviour = behaviour::build(&keys, &cfg, &network, accepted)?;
    let swarm = Swarm::new(transport, behaviour, local, swarm_config());

    let mut event_loop = EventLoop {
        swarm,
        shared: shared.clone(),
        sealer: Sealer::new(keys.clone()),
        keys,
        bootstrap: learn_bootstrap(&cfg, &shared),
        announce: cfg.announce,
        no_announce: cfg.no_announce,
        dht_protocol: dht::protocol(&network).as_ref().to_owned(),
        dialer: Dialer::default(),
        reconnect: Reconnect::default(),
        peerstore: cfg.peerstore.map(|path| PeerstoreWriter::new(path, env)),
        nearby: stream::pending().boxed(),
        record_due: Instant::now(),
        members: BTreeSet::new(),
        since: BTreeMap::new(),
        strangers: BTreeMap::new(),
        go_peers: BTreeSet::new(),
    };
    listen(&mut event_loop, env, &cfg.listen, cfg.psk.is_some()).await?;
    event_loop.refresh_addresses();
    if cfg.mdns {
        let own = shared.own_addresses.lock().clone();
        let own = own.iter().map(ToString::to_string).collect();
        let found = env.discovery.run(&format!("_{network}._ipfs-cluster"), own);
        event_loop.nearby = found.chain(stream::pending()).boxed();
    }

    let (commands, received) = mpsc::channel(limits::NET_COMMANDS_MAX);
    let tasks = vec![
        tokio::spawn(event_loop.run(received)),
        tokio::spawn(accept::run(inbound, shared.clone())),
    ];
    Ok(Net::new(shared, commands, tasks))
}

pub(super) fn swarm_config() -> swarm::Config {
    swarm::Config::with_tokio_executor()
        .with_idle_connection_timeout(IDLE_TIMEOUT)
        .with_max_negotiating_inbound_streams(limits::NET_NEGOTIATING_MAX)
        .with_per_connection_event_buffer_size(64)
        .with_dial_concurrency_factor(NonZeroU8::new(8).unwrap_or(NonZeroU8::MIN))
}

/// Puts the configured addresses into the book; answers whose they are, this peer excepted.
fn learn_bootstrap(cfg: &NetConfig, shared: &Shared) -> BTreeSet<libp2p::PeerId> {
    let mut peers = BTreeSet::new();
    let mut book = shared.book.lock();
    for address in &cfg.bootstrap {
        match addresses::peer_of(address) {
            None => tracing::warn!(%address, "a bootstrap address is not used: no /p2p/ in it"),
            Some(peer) if peer == shared.local_libp2p => {}
            Some(_) if !addresses::is_dialable(address) => {
                tracing::warn!(%address, "a bootstrap address is not used: only TCP is dialled");
            }
            Some(peer) => {
                book.hint(&peer, std::slice::from_ref(address));
                peers.insert(peer);
            }
        }
    }
    peers
}

async fn listen(
    event_loop: &mut EventLoop,
    env: &Env,
    configured: &[Multiaddr],
    has_secret: bool,
) -> Result<(), NetError> {
    let (served, skipped) = addresses::servable(configured, has_secret);
    for skip in skipped {
        tracing::warn!(address = %skip.address, "a listen address is skipped: {}", skip.why);
    }
    if served.is_empty() && !configured.is_empty() {
        return Err(NetError::NothingServable(configured.to_vec()));
    }
    for address in served {
        let refused = |why: String| NetError::Listen {
            address: address.clone(),
            why,
        };
        unused(&address, env).await.map_err(refused)?;
        let listener = event_loop
            .swarm
            .listen_on(address.clone())
            .map_err(|e| refused(cause(&e)))?;
        match timeout(LISTEN_DEADLINE, listening(event_loop, listener)).await {
            Ok(result) => result.map_err(refused)?,
            Err(_) => return Err(refused("the listener reports no address".into())),
        }
    }
    Ok(())
}

/// An error when somebody listens there: libp2p listens with SO_REUSEPORT, and would quietly share
/// the port with another program of the same user.
pub(super) async fn unused(address: &Multiaddr, env: &Env) -> Result<(), String> {
    let Some(socket) = addresses::socket(address) else {
        return Ok(());
    };
    match env.listen.listen(socket).await {
        Err(e) if e.kind() == std::io::ErrorKind::AddrInUse => Err(e.to_string()),
        _ => Ok(()),
    }
}

/// Waits until a listener reports an address, or why it does not.
async fn listening(event_loop: &mut EventLoop, listener: ListenerId) -> Result<(), String> {
    loop {
        let event = event_loop.swarm.select_next_some().await;
        let outcome = match &event {
            SwarmEvent::NewListenAddr { listener_id, .. } if *listener_id == listener => {
                Some(Ok(()))
            }
            SwarmEvent::ListenerClosed {
                listener_id,
                reason,
                ..
            } if *listener_id == listener => Some(Err(match reason {
                Ok(()) => "the listener closed".to_owned(),
                Err(e) => cause(e),
            })),
            SwarmEvent::ListenerError { listener_id, error } if *listener_id == listener => {
                Some(Err(cause(error)))
            }
            _ => None,
        };
        event_loop.on_event(event);
        if let Some(outcome) = outcome {
            return outcome;
        }
    }
}

/// The innermost reason, which is the system's.
pub(super) fn cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut current = error;
    for _ in 0..32 {
        match current.source() {
            Some(inner) => current = inner,
            None => break,
        }
    }
    current.to_string()
}
