//! What the log says, and how often.

use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::StreamExt as _;
use libp2p::{
    Swarm, identify,
    identity::Keypair,
    kad::{self, store::MemoryStore},
    swarm::{self, NetworkBehaviour},
};
use tracing::subscriber::DefaultGuard;

use super::{SECRET, config, env, hello, pair, peer, until};
use crate::net::{
    Identity, NetConfig, Proto,
    liveness::Pings,
    start,
    transport::{self, Layers},
};

/// The lines logged by this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn start() -> (Self, DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_max_level(tracing::Level::WARN)
            .with_writer(move || writer.clone())
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    fn lines_with(&self, text: &str) -> usize {
        let all = self.0.lock().unwrap();
        let all = String::from_utf8_lossy(&all);
        all.lines().filter(|l| l.contains(text)).count()
    }
}

#[tokio::test]
async fn a_wrong_secret_is_logged_once_and_never_shown() {
    let (log, _guard) = Log::start();
    let a = peer().await;
    let cfg = NetConfig {
        psk: Some([8; 32]),
        ..config(&Identity::generate())
    };
    let b = start(cfg, &env()).await.unwrap();
    for _ in 0..4 {
        let address = a.listen_addresses().remove(0);
        assert!(b.dial(address).await.is_err());
    }
    // Once by each of the two.
    until("both have logged", || log.lines_with("wrong secret") == 2).await;
    assert_eq!(log.lines_with(&hex::encode(SECRET)), 0);
}

#[tokio::test]
async fn a_foreign_cluster_is_logged_once_per_peer() {
    let (log, _guard) = Log::start();
    let (a, b) = pair().await;
    let _served = a.accept(Proto::Rpc);
    b.set_hello(hello(2, 2));
    for _ in 0..4 {
        b.open(a.local_peer(), Proto::Rpc).await.unwrap_err();
    }
    assert_eq!(log.lines_with("does not talk to a peer of cluster"), 2);
}

#[derive(NetworkBehaviour)]
struct GoPeer {
    identify: identify::Behaviour,
    /// Stands for go-libp2p-raft: what counts is the name of the protocol it offers.
    raft: kad::Behaviour<MemoryStore>,
}

#[tokio::test]
async fn a_peer_of_the_go_program_is_logged_once() {
    let (log, _guard) = Log::start();
    let a = peer().await;
    let keys = Keypair::generate_ed25519();
    let local = keys.public().to_peer_id();
    let layers = Layers {
        keys: &keys,
        psk: Some(SECRET),
        pings: Pings::default(),
        meters: Default::default(),
        silence_max: Duration::from_secs(10),
        dial_timeout: Duration::from_secs(5),
    };
    let transport = transport::build(env().transport.pipes().unwrap(), layers).unwrap();
    let name = libp2p::StreamProtocol::new("/raft/1.0.0/rpc");
    let mut raft =
        kad::Behaviour::with_config(local, MemoryStore::new(local), kad::Config::new(name));
    raft.set_mode(Some(kad::Mode::Server));
    let identify = identify::Config::new("ipfs/0.1.0".into(), keys.public());
    let behaviour = GoPeer {
        identify: identify::Behaviour::new(identify),
        raft,
    };
    let config = swarm::Config::with_tokio_executor();
    let mut go = Swarm::new(transport, behaviour, local, config);
    go.dial(a.listen_addresses().remove(0)).unwrap();
    let drive = tokio::spawn(async move {
        loop {
            go.select_next_some().await;
        }
    });
    until("it is logged", || {
        log.lines_with("a peer of the Go program") == 1
    })
    .await;
    drive.abort();
}
