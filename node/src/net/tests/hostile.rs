//! Wrong secrets, garbage, and addresses that cannot be served.

use std::time::Duration;

use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _, channel::mpsc};
use libp2p::{Multiaddr, Swarm, identity::Keypair, swarm};
use tokio::{io::AsyncWriteExt as _, net::TcpStream, sync::oneshot};

use super::{SECRET, config, connected, env, pair, peer, peer_knowing, relay::port, unite, within};
use crate::net::{
    DialError, Identity, NetConfig, NetError, OpenError, Proto,
    liveness::Pings,
    start, streams,
    transport::{self, Layers},
};

#[tokio::test]
async fn a_wrong_secret_is_named_and_joins_nothing() {
    let a = peer().await;
    let cfg = NetConfig {
        psk: Some([8; 32]),
        ..config(&Identity::generate())
    };
    let b = start(cfg, &env()).await.unwrap();
    for address in a.listen_addresses() {
        let refused = within("a refusal", b.dial(address)).await.unwrap_err();
        assert!(
            matches!(refused, DialError::WrongSecret { .. }),
            "{refused}"
        );
    }
    b.add_addresses(a.local_peer(), &a.listen_addresses());
    let refused = b.open(a.local_peer(), Proto::Join).await.unwrap_err();
    assert!(
        matches!(refused, OpenError::Dial(DialError::WrongSecret { .. })),
        "{refused}"
    );
    assert!(a.connected().is_empty() && b.connected().is_empty());
    assert!(a.known_peers().is_empty());
    // The swarm is as good as before.
    let c = peer_knowing(&[&a]).await;
    connected(&a, &c).await;
}

#[tokio::test]
async fn a_peer_without_a_secret_is_named_too() {
    let a = peer().await;
    let cfg = NetConfig {
        psk: None,
        ..config(&Identity::generate())
    };
    let b = start(cfg, &env()).await.unwrap();
    let refused = within("a refusal", b.dial(a.listen_addresses().remove(0))).await;
    assert!(
        matches!(refused, Err(DialError::WrongSecret { .. })),
        "{refused:?}"
    );
}

#[tokio::test]
#[allow(clippy::disallowed_methods, reason = "a test's own sockets")]
async fn garbage_on_the_port_harms_nobody() {
    let a = peer().await;
    let target = port(&a.listen_addresses()[0]);
    let mut held = Vec::new();
    for n in 0..64_usize {
        let mut socket = TcpStream::connect(("127.0.0.1", target)).await.unwrap();
        let garbage: Vec<u8> = (0..n * 37).map(|_| rand::random()).collect();
        // The peer may hang up before all is written.
        let _ = socket.write_all(&garbage).await;
        if n % 2 == 0 {
            held.push(socket);
        }
    }
    let b = peer_knowing(&[&a]).await;
    unite(&[&a, &b]);
    connected(&a, &b).await;
}

/// A swarm that speaks our stream protocols and minds no rules.
fn lawless() -> Swarm<streams::Behaviour> {
    let keys = Keypair::generate_ed25519();
    let layers = Layers {
        keys: &keys,
        psk: Some(SECRET),
        pings: Pings::default(),
        meters: Default::default(),
        silence_max: Duration::from_secs(10),
        dial_timeout: Duration::from_secs(5),
    };
    let transport = transport::build(env().transport.pipes().unwrap(), layers).unwrap();
    let (accepted, _) = mpsc::channel(1);
    Swarm::new(
        transport,
        streams::Behaviour::new(accepted),
        keys.public().to_peer_id(),
        swarm::Config::with_tokio_executor(),
    )
}

async fn raw_stream(
    swarm: &mut Swarm<streams::Behaviour>,
    target: &Multiaddr,
    proto: Proto,
) -> libp2p::Stream {
    let peer = crate::net::addresses::peer_of(target).unwrap();
    if !swarm.is_connected(&peer) {
        swarm.dial(target.clone()).unwrap();
        while !swarm.is_connected(&peer) {
            swarm.select_next_some().await;
        }
    }
    let (reply, mut opened) = oneshot::channel();
    swarm.behaviour_mut().open(peer, proto, reply);
    loop {
        tokio::select! {
            biased;
            stream = &mut opened => return stream.unwrap().unwrap(),
            _ = swarm.select_next_some() => {}
        }
    }
}

#[tokio::test]
async fn garbage_on_every_stream_harms_nobody() {
    let (a, b) = pair().await;
    let _served: Vec<_> = Proto::ALL.map(|p| a.accept(p)).into();
    let target = a.listen_addresses().remove(0);
    let mut swarm = lawless();
    for proto in Proto::ALL {
        for shape in 0..4_u8 {
            let mut stream = within("a raw stream", raw_stream(&mut swarm, &target, proto)).await;
            let mut garbage: Vec<u8> = (0..2000).map(|_| rand::random()).collect();
            match shape {
                // A huge length, a small frame of garbage, no byte at all, plain garbage.
                0 => garbage[..4].copy_from_slice(&[0xff; 4]),
                1 => garbage[..4].copy_from_slice(&[0, 0, 0, 100]),
                2 => garbage.clear(),
                _ => {}
            }
            let talk = async {
                let _ = stream.write_all(&garbage).await;
                let _ = stream.close().await;
                if proto != Proto::Http {
                    let mut answer = Vec::new();
                    let _ = stream.read_to_end(&mut answer).await;
                }
            };
            let drive = async {
                loop {
                    swarm.select_next_some().await;
                }
            };
            within("the end of the stream", async {
                tokio::select! {
                    biased;
                    () = talk => {}
                    () = drive => {}
                }
            })
            .await;
        }
    }
    let mut served = a.accept(Proto::Rpc);
    b.open(a.local_peer(), Proto::Rpc).await.unwrap();
    assert_eq!(&served.recv().await.unwrap().peer, b.local_peer());
}

#[tokio::test]
async fn a_taken_port_is_an_error_that_names_the_address() {
    let a = peer().await;
    let taken: Multiaddr = crate::net::addresses::without_peer(&a.listen_addresses()[0]);
    let cfg = NetConfig {
        listen: vec![taken.clone()],
        ..config(&Identity::generate())
    };
    let error = start(cfg, &env()).await.unwrap_err();
    assert!(matches!(&error, NetError::Listen { address, .. } if *address == taken));
    let text = error.to_string();
    assert!(text.contains(&taken.to_string()), "{text}");
    assert!(text.to_lowercase().contains("in use"), "{text}");
}

#[tokio::test]
async fn quic_beside_a_secret_is_skipped_and_alone_it_is_an_error() {
    let quic: Multiaddr = "/ip4/127.0.0.1/udp/0/quic-v1".parse().unwrap();
    let both = NetConfig {
        listen: vec![quic.clone(), super::any_port()],
        ..config(&Identity::generate())
    };
    let net = start(both, &env()).await.unwrap();
    assert_eq!(net.listen_addresses().len(), 1);
    let alone = NetConfig {
        listen: vec![quic.clone()],
        ..config(&Identity::generate())
    };
    let error = start(alone, &env()).await.unwrap_err();
    assert!(error.to_string().contains(&quic.to_string()), "{error}");
}
