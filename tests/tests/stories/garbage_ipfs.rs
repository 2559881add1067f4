//! Garbage on the streams of the IPFS swarm, which is open to everybody: behind a valid handshake.

use std::{future::poll_fn, io, task::Poll, time::Duration};

use futures::{AsyncReadExt, AsyncWriteExt, future::join_all};
use ipfs_cluster_tests::{
    Cluster, Setup,
    hostile::{damage, luck, noise},
    random,
};
use libp2p::{
    Multiaddr,
    core::{
        Endpoint, Transport,
        muxing::{StreamMuxerBox, StreamMuxerExt, SubstreamBox},
        transport::{DialOpts, PortUse},
        upgrade::Version,
    },
    identity::Keypair,
    noise as handshake, tcp, yamux,
};
use rand::rngs::StdRng;
use tokio::time::timeout;

use crate::{add, garbage::all_is_well, get, tell};

/// How long the other side may take to say something or hang up.
const PATIENCE: Duration = Duration::from_millis(300);
/// Names that the IPFS node answers to.
const PROTOCOLS: [&str; 6] = [
    "/ipfs/bitswap/1.2.0",
    "/ipfs/bitswap/1.1.0",
    "/ipfs/bitswap",
    "/ipfs/id/push/1.0.0",
    "/ipfs/ping/1.0.0",
    "/no/such/thing",
];

/// A connection as any IPFS node would make it.
async fn connect(address: &str) -> StreamMuxerBox {
    let keys = Keypair::generate_ed25519();
    let mut transport = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true))
        .upgrade(Version::V1)
        .authenticate(handshake::Config::new(&keys).unwrap())
        .multiplex(yamux::Config::default())
        .boxed();
    let (address, _) = address.split_once("/p2p/").unwrap();
    let address: Multiaddr = address.parse().unwrap();
    let options = DialOpts {
        role: Endpoint::Dialer,
        port_use: PortUse::New,
    };
    let (_, muxer) = transport.dial(address, options).unwrap().await.unwrap();
    muxer
}

/// Keeps the connection going, and takes no streams, until it ends.
async fn drive(muxer: &mut StreamMuxerBox) {
    poll_fn(|cx| {
        while let Poll::Ready(inbound) = muxer.poll_inbound_unpin(cx) {
            if inbound.is_err() {
                return Poll::Ready(());
            }
        }
        match muxer.poll_unpin(cx) {
            Poll::Ready(Err(_)) => Poll::Ready(()),
            _ => Poll::Pending,
        }
    })
    .await;
}

async fn open(muxer: &mut StreamMuxerBox) -> io::Result<SubstreamBox> {
    let opened = poll_fn(|cx| {
        if let Poll::Ready(Err(e)) = muxer.poll_unpin(cx) {
            return Poll::Ready(Err(e));
        }
        muxer.poll_outbound_unpin(cx)
    });
    timeout(PATIENCE, opened).await?
}

/// Asks for a protocol, sends bytes and lets the other side answer, if it wants to.
async fn say(muxer: &mut StreamMuxerBox, protocol: &str, bytes: &[u8]) -> io::Result<()> {
    let mut stream = open(muxer).await?;
    let line = format!("{protocol}\n");
    let exchange = async {
        stream.write_all(b"\x13/multistream/1.0.0\n").await?;
        stream
            .write_all(&[u8::try_from(line.len()).unwrap()])
            .await?;
        stream.write_all(line.as_bytes()).await?;
        stream.write_all(bytes).await?;
        stream.close().await?;
        stream.read_to_end(&mut Vec::new()).await.map(drop)
    };
    let exchange = timeout(PATIENCE, exchange);
    tokio::select! {
        biased;
        // It may hang up, answer for long, or wait for more: all of it is fine.
        _ = exchange => Ok(()),
        () = drive(muxer) => Err(io::ErrorKind::ConnectionReset.into()),
    }
}

/// Messages with a length in front, as bitswap has them, and others.
fn messages(rng: &mut StdRng) -> Vec<Vec<u8>> {
    // A wish for a block, and a block.
    let good = [
        vec![
            0x2c, 0x0a, 0x2a, 0x0a, 0x28, 0x0a, 0x24, 0x01, 0x55, 0x12, 0x20,
        ],
        vec![0x0c, 0x1a, 0x0a, 0x0a, 0x04, 0x01, 0x55, 0x12, 0x20, 0x12],
    ];
    let mut messages = vec![
        vec![],
        vec![0xff; 20],
        vec![0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
        vec![0x80, 0x80, 0x80, 0x80, 0x08],
        vec![0; 5000],
    ];
    for message in &good {
        let filled = [message.as_slice(), &[7; 64]].concat();
        messages.extend((0..8).map(|_| damage(&filled, rng)));
        messages.push(filled);
    }
    messages.extend((0..8).map(|_| noise(rng, 3000)));
    messages
}

/// Says all of it in one protocol.
async fn say_all(address: &str, protocol: &str, messages: Vec<Vec<u8>>) {
    let mut muxer = connect(address).await;
    let mut said = 0;
    for message in messages {
        // The other side may end a connection that speaks nonsense; it must take the next.
        match say(&mut muxer, protocol, &message).await {
            Ok(()) => said += 1,
            Err(_) => muxer = connect(address).await,
        }
    }
    assert!(said > 0, "{protocol}");
}

#[test]
fn garbage_on_every_stream_of_the_ipfs_swarm_harms_nobody() {
    tell(async {
        let mut cluster = Cluster::start(Setup::of(1)).await;
        let id = get(&cluster.peers[0], "/id").await;
        let address = id["ipfs"]["addresses"][0].as_str().unwrap().to_owned();
        let mut rng = luck(13);
        let said = PROTOCOLS.map(|protocol| say_all(&address, protocol, messages(&mut rng)));
        join_all(said).await;
        all_is_well(&mut cluster.peers, "garbage on the IPFS swarm").await;
        cluster.add().await;
        cluster.all_see_each_other().await;
        let cid = add(&cluster.peers[0], "", &random(100_000)).await;
        cluster.until_status(1, &cid, "pinned", 2).await;
    });
}
