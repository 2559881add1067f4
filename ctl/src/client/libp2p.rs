//! HTTP streams inside the cluster's swarm: the only place of the client that knows libp2p's types.
//!
//! A [`Dialer`] owns a swarm that listens nowhere. It dials a peer once and opens one stream of
//! `/libp2p-http` per byte pipe asked for.

use std::{
    collections::{BTreeMap, VecDeque},
    convert::Infallible,
    io,
    task::{Context, Poll},
    time::Duration,
};

use futures::{AsyncRead, AsyncWrite, StreamExt};
use ipfs_cluster_protocol::id::PeerId;
use libp2p::{
    Multiaddr, PeerId as SwarmPeer, Stream, StreamProtocol, Swarm, Transport,
    core::{
        Endpoint,
        muxing::StreamMuxerBox,
        transport::{Boxed, PortUse},
        upgrade::{DeniedUpgrade, ReadyUpgrade, Version},
    },
    identity::Keypair,
    noise,
    pnet::{PnetConfig, PreSharedKey},
    swarm::{
        self, ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, DialError,
        FromSwarm, NetworkBehaviour, NotifyHandler, SubstreamProtocol, SwarmEvent, THandler,
        THandlerInEvent, THandlerOutEvent, ToSwarm,
        dial_opts::DialOpts,
        handler::{ConnectionEvent, DialUpgradeError, FullyNegotiatedOutbound},
    },
    tcp, yamux,
};
use tokio::sync::{mpsc, oneshot};
use tokio_util::compat::FuturesAsyncReadCompatExt;

use super::connect::ByteStream;

const PROTOCOL: StreamProtocol = StreamProtocol::new("/libp2p-http");
/// How long securing and multiplexing a connection may take.
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection without streams is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Requests for streams that wait for the swarm.
const OPEN_QUEUE: usize = 64;

/// A raw byte pipe, as libp2p sees it: TCP, or what a simulation has in its place.
pub trait RawPipe: AsyncRead + AsyncWrite + Send + Unpin + 'static {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> RawPipe for T {}

type Reply = oneshot::Sender<io::Result<Stream>>;

struct Open {
    address: Multiaddr,
    peer: SwarmPeer,
    reply: Reply,
}

/// Handle on the swarm; the swarm ends with its last handle.
#[derive(Debug, Clone)]
pub struct Dialer(mpsc::Sender<Open>);

impl Dialer {
    /// Starts the swarm over TCP, behind the secret if there is one.
    pub(super) fn start(secret: Option<[u8; 32]>) -> io::Result<Self> {
        let tcp = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true));
        let dns = libp2p::dns::tokio::Transport::system(tcp)?;
        Self::over(dns.boxed(), secret)
    }

    /// Starts the swarm over any transport of raw pipes, behind the secret if there is one.
    pub fn over<P: RawPipe>(pipes: Boxed<P>, secret: Option<[u8; 32]>) -> io::Result<Self> {
        let key = Keypair::generate_ed25519();
        let config =
            swarm::Config::with_tokio_executor().with_idle_connection_timeout(IDLE_TIMEOUT);
        let peer = key.public().to_peer_id();
        let transport = secured(pipes, &key, secret)?;
        let swarm = Swarm::new(transport, Streams::default(), peer, config);
        let (tx, rx) = mpsc::channel(OPEN_QUEUE);
        tokio::spawn(run(swarm, rx));
        Ok(Self(tx))
    }

    /// A stream to a peer.
    pub async fn open(&self, address: Multiaddr, peer: &PeerId) -> io::Result<ByteStream> {
        let peer = SwarmPeer::from_bytes(peer.as_bytes()).map_err(io::Error::other)?;
        let (reply, opened) = oneshot::channel();
        let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
        let open = Open {
            address,
            peer,
            reply,
        };
        self.0.send(open).await.map_err(|_| gone())?;
        let stream = opened.await.map_err(|_| gone())??;
        Ok(Box::new(stream.compat()))
    }
}

/// Secret, noise and yamux above raw pipes.
fn secured<P: RawPipe>(
    pipes: Boxed<P>,
    key: &Keypair,
    secret: Option<[u8; 32]>,
) -> io::Result<Boxed<(SwarmPeer, StreamMuxerBox)>> {
    let noise = noise::Config::new(key).map_err(io::Error::other)?;
    let yamux = yamux::Config::default();
    Ok(match secret.map(PreSharedKey::new) {
        Some(psk) => pipes
            .and_then(move |socket, _| PnetConfig::new(psk).handshake(socket))
            .upgrade(Version::V1Lazy)
            .authenticate(noise)
            .multiplex(yamux)
            .timeout(UPGRADE_TIMEOUT)
            .boxed(),
        None => pipes
            .upgrade(Version::V1Lazy)
            .authenticate(noise)
            .multiplex(yamux)
            .timeout(UPGRADE_TIMEOUT)
            .boxed(),
    })
}

/// Owns the swarm until the last handle is gone.
async fn run(mut swarm: Swarm<Streams>, mut requests: mpsc::Receiver<Open>) {
    // Those who wait for a connection, by peer.
    let mut waiting: BTreeMap<SwarmPeer, Vec<Reply>> = BTreeMap::new();
    loop {
        tokio::select! {
            biased;
            event = swarm.select_next_some() => settle(event, &mut swarm, &mut waiting),
            request = requests.recv() => match request {
                None => return,
                Some(open) => begin(open, &mut swarm, &mut waiting),
            },
        }
    }
}

fn begin(open: Open, swarm: &mut Swarm<Streams>, waiting: &mut BTreeMap<SwarmPeer, Vec<Reply>>) {
    if swarm.is_connected(&open.peer) {
        swarm.behaviour_mut().open(open.peer, open.reply);
        return;
    }
    let others = waiting.entry(open.peer).or_default();
    others.push(open.reply);
    if others.len() > 1 {
        return;
    }
    let options = DialOpts::peer_id(open.peer).addresses(vec![open.address]);
    if let Err(e) = swarm.dial(options.build()) {
        fail(waiting.remove(&open.peer), &e.to_string());
    }
}

fn settle(
    event: SwarmEvent<Infallible>,
    swarm: &mut Swarm<Streams>,
    waiting: &mut BTreeMap<SwarmPeer, Vec<Reply>>,
) {
    match event {
        SwarmEvent::ConnectionEstablished { peer_id, .. } => {
            for reply in waiting.remove(&peer_id).unwrap_or_default() {
                swarm.behaviour_mut().open(peer_id, reply);
            }
        }
        SwarmEvent::OutgoingConnectionError {
            peer_id: Some(peer),
            error,
            ..
        } => fail(waiting.remove(&peer), &why(&error)),
        _ => {}
    }
}

/// The error in words that say what to do, where it can be told.
fn why(error: &DialError) -> String {
    let text = error.to_string();
    // A peer behind a secret answers a wrong one, or none, with bytes that make no sense.
    if text.contains("Handshake failed") || text.contains("Timeout") {
        return format!(
            "failed to negotiate security protocol, is --secret that of the cluster? ({text})"
        );
    }
    text
}

fn fail(replies: Option<Vec<Reply>>, why: &str) {
    for reply in replies.unwrap_or_default() {
        // Nobody listens any more when the caller has given up.
        let _ = reply.send(Err(io::Error::new(io::ErrorKind::ConnectionRefused, why)));
    }
}

/// Opens streams; takes none.
#[derive(Default)]
struct Streams {
    asked: VecDeque<(SwarmPeer, Reply)>,
}

impl Streams {
    fn open(&mut self, peer: SwarmPeer, reply: Reply) {
        self.asked.push_back((peer, reply));
    }
}

impl NetworkBehaviour for Streams {
    type ConnectionHandler = Opener;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: SwarmPeer,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Opener::default())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: SwarmPeer,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Opener::default())
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(
        &mut self,
        _: SwarmPeer,
        _: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        // Filled by the loop that polls the swarm next, so no waker is needed.
        match self.asked.pop_front() {
            Some((peer_id, event)) => Poll::Ready(ToSwarm::NotifyHandler {
                peer_id,
                handler: NotifyHandler::Any,
                event,
            }),
            None => Poll::Pending,
        }
    }
}

/// The end of one connection.
#[derive(Default)]
struct Opener {
    asked: VecDeque<Reply>,
}

impl ConnectionHandler for Opener {
    type FromBehaviour = Reply;
    type ToBehaviour = Infallible;
    type InboundProtocol = DeniedUpgrade;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Reply;

    fn listen_protocol(&self) -> SubstreamProtocol<DeniedUpgrade> {
        SubstreamProtocol::new(DeniedUpgrade, ())
    }

    fn poll(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, Reply, Infallible>> {
        // The swarm polls a handler after each event it hands to it.
        match self.asked.pop_front() {
            Some(reply) => Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest {
                protocol: SubstreamProtocol::new(ReadyUpgrade::new(PROTOCOL), reply),
            }),
            None => Poll::Pending,
        }
    }

    fn on_behaviour_event(&mut self, reply: Reply) {
        self.asked.push_back(reply);
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<'_, DeniedUpgrade, Self::OutboundProtocol, (), Reply>,
    ) {
        match event {
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol,
                info,
            }) => {
                let _ = info.send(Ok(protocol));
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info, error }) => {
                let _ = info.send(Err(io::Error::other(error.to_string())));
            }
            _ => {}
        }
    }
}
