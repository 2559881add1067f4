//! Garbage on every port and every stream: nothing panics, and the peer goes on serving.

use std::{collections::BTreeMap, io, path::Path, time::Duration};

use ipfs_cluster_node::{
    config,
    env::real,
    net::{self, Net, NetConfig, Proto, SecretBytes, Topic},
    storage::DataFolder,
};
use ipfs_cluster_protocol::{
    codec,
    hello::Hello,
    id::PeerId,
    limits::{FRAME_BYTES_MAX, GOSSIP_BYTES_MAX},
};
use ipfs_cluster_tests::{
    Cluster, Peer, Setup,
    hostile::{damage, luck, noise},
    http, missing, random, until,
};
use rand::{Rng, rngs::StdRng};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};

use crate::{add, get, tell};

/// How long the other side may take to say something or hang up.
const PATIENCE: Duration = Duration::from_millis(300);

/// Sends bytes to a port and lets it answer, if it wants to.
async fn send(port: u16, bytes: Vec<u8>) -> io::Result<()> {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).await?;
    let exchange = async {
        socket.write_all(&bytes).await?;
        socket.shutdown().await?;
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).await.map(drop)
    };
    // It may hang up, answer for long, or wait for the rest: all of it is fine.
    let _ = timeout(PATIENCE, exchange).await;
    Ok(())
}

/// Sends all of them, some at a time.
async fn send_all(port: u16, pieces: Vec<Vec<u8>>) {
    for some in pieces.chunks(16) {
        let mut sent = JoinSet::new();
        for bytes in some {
            sent.spawn(send(port, bytes.clone()));
        }
        while let Some(sent) = sent.join_next().await {
            sent.unwrap().expect("the port is open");
        }
    }
}

/// Nobody has panicked, and every peer takes writes and answers reads.
pub(crate) async fn all_is_well(peers: &mut [Peer], after: &str) {
    for peer in peers.iter_mut() {
        assert!(peer.is_running(), "{} has ended after {after}", peer.name);
        let log = peer.log();
        let panic = log.lines().find(|l| l.contains("panicked"));
        assert_eq!(panic, None, "{} after {after}", peer.name);
        let path = format!("/pins/{}?replication=1", missing());
        let answer = peer.rest("POST", &path).await.unwrap();
        assert_eq!(
            answer.status, 200,
            "{} after {after}: {answer:?}",
            peer.name
        );
        get(peer, "/id").await;
        let answer = http::request(peer.proxy_port(), "POST", "/api/v0/id").await;
        assert_eq!(answer.unwrap().status, 200, "{} after {after}", peer.name);
    }
}

/// Requests that servers must get right, to be damaged.
fn requests(rest: bool) -> Vec<Vec<u8>> {
    let part = "--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\
                Content-Type: application/octet-stream\r\n\r\nhello\r\n--B--\r\n";
    let upload = |path: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\
             Content-Type: multipart/form-data; boundary=B\r\n\r\n{part}",
            part.len()
        )
    };
    let cid = missing();
    let plain = |line: &str| format!("{line} HTTP/1.1\r\nHost: a\r\n\r\n");
    let texts = if rest {
        vec![
            upload("/add?replication-min=1&replication-max=2&name=x"),
            plain(&format!(
                "POST /pins/{cid}?mode=direct&meta-a=b&expire-in=1h"
            )),
            plain(&format!("POST /pins/ipfs/{cid}/a/b")),
            plain(&format!("GET /pins/{cid}?local=true")),
            plain("GET /pins?filter=pinned,error&cids="),
            plain("GET /allocations?filter=all&min-index=5"),
            plain("GET /monitor/metrics/ping"),
            plain("OPTIONS /pins"),
        ]
    } else {
        vec![
            upload("/api/v0/add?pin=true&progress=true&chunker=size-100"),
            plain(&format!("POST /api/v0/pin/add?arg={cid}")),
            plain(&format!("POST /api/v0/pin/update?arg={cid}&arg={cid}")),
            plain("POST /api/v0/pin/ls?type=recursive&stream=true"),
            plain(&format!("POST /api/v0/block/get?arg={cid}/x")),
            plain("POST /api/v0/repo/stat?human=true"),
        ]
    };
    texts.into_iter().map(String::into_bytes).collect()
}

/// What is wrong in ways that damage seldom hits.
fn traps() -> Vec<Vec<u8>> {
    let many = "a: b\r\n".repeat(20_000);
    let texts = [
        "GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
        "POST /add HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
        "POST /add HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\nz\r\n",
        "POST /add HTTP/1.1\r\nHost: a\r\nContent-Type: multipart/form-data; boundary=\r\n\r\n",
        "POST /pins/%00%ff%/../.. HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /pins?filter=%f0%28&cids=,,,, HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /pins/\u{fffd} HTTP/9.9\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u{4}\0\0\0\0\0garbage",
        "\r\n\r\n\r\n",
    ];
    let mut traps: Vec<Vec<u8>> = texts.iter().map(|t| t.as_bytes().to_vec()).collect();
    traps.push(format!("GET / HTTP/1.1\r\n{many}\r\n").into_bytes());
    traps.push(format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(200_000)).into_bytes());
    traps
}

fn port_of(address: &str) -> u16 {
    let mut parts = address.split('/').skip_while(|p| *p != "tcp");
    parts.nth(1).unwrap().parse().unwrap()
}

#[test]
fn garbage_on_every_port_harms_nobody() {
    tell(async {
        let mut cluster = Cluster::start(Setup::of(1)).await;
        let mut rng = luck(11);
        let peer = &cluster.peers[0];
        let ports = [("REST", peer.rest_port()), ("proxy", peer.proxy_port())];
        for (name, port) in ports {
            let good = requests(name == "REST");
            let damaged = good.iter().flat_map(|request| {
                (0..12)
                    .map(|_| damage(request, &mut rng))
                    .collect::<Vec<_>>()
            });
            let mut pieces: Vec<_> = damaged.collect();
            pieces.extend(traps());
            pieces.extend((0..16).map(|_| noise(&mut rng, 3000)));
            send_all(port, pieces).await;
            all_is_well(&mut cluster.peers, name).await;
        }
        let peer = &cluster.peers[0];
        let id = get(peer, "/id").await;
        let ipfs = id["ipfs"]["addresses"][0].as_str().unwrap().to_owned();
        let swarms = [
            ("cluster's swarm", peer.swarm_port()),
            ("IPFS swarm", port_of(&ipfs)),
        ];
        for (name, port) in swarms {
            let hello = b"\x13/multistream/1.0.0\n\x07/noise\n".to_vec();
            let mut pieces: Vec<_> = (0..24).map(|_| noise(&mut rng, 3000)).collect();
            for _ in 0..16 {
                let mut piece = hello.clone();
                piece.extend(noise(&mut rng, 3000));
                pieces.extend([damage(&hello, &mut rng), piece]);
            }
            send_all(port, pieces).await;
            all_is_well(&mut cluster.peers, name).await;
        }
        cluster.add().await;
        cluster.all_see_each_other().await;
        let cid = add(&cluster.peers[0], "", &random(100_000)).await;
        cluster.until_status(1, &cid, "pinned", 2).await;
    });
}

/// The network of a member that does not run, with nothing behind it.
async fn turned(folder: &Path, others: &[String]) -> Net {
    let env = real::env();
    let loaded = config::load(folder, &*env.disk, &BTreeMap::new()).unwrap();
    let data = DataFolder::open(&env, folder).await.unwrap();
    let identity = data.identity(&env).await.unwrap().unwrap();
    let config = loaded.config;
    let key = SecretBytes::new(config.identity.private_key.expose().to_vec());
    let secret = config.cluster.secret.as_ref().unwrap();
    let net = net::start(
        NetConfig {
            psk: Some(*secret.expose()),
            listen: vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()],
            bootstrap: others.iter().map(|a| a.parse().unwrap()).collect(),
            ..NetConfig::new(key)
        },
        &env,
    );
    let net = net.await.unwrap();
    net.set_hello(Hello {
        cluster: Some(identity.cluster),
        epoch: identity.epoch,
        incarnation: Some(identity.incarnation),
        ..Hello::default()
    });
    net
}

/// Messages that get past the frames and the first byte.
fn bodies(rng: &mut StdRng) -> Vec<Vec<u8>> {
    let of = |rest: &[u8]| [&[codec::FORMAT], rest].concat();
    let mut bodies = vec![
        vec![],
        vec![0],
        vec![codec::FORMAT + 1],
        of(&[]),
        // An array, a map and a text of more than there is; arrays within arrays.
        of(&[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        of(&[0xbb, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        of(&[0x7b, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]),
        of(&vec![0x81; 100_000]),
        of(&[0xa1, 0x62, b'i', b'd', 0xf6]),
        of(&vec![0; FRAME_BYTES_MAX - 1]),
    ];
    for name in ["Admit", "Id", "Probe", "Pin", "Holds", "Ask", "from", "f"] {
        let mut body = of(&[0xa1, 0x60 + name.len() as u8]);
        body.extend_from_slice(name.as_bytes());
        body.extend(noise(rng, 200));
        bodies.push(body);
    }
    bodies.extend((0..12).map(|_| of(&noise(rng, 2000))));
    bodies
}

/// Sends a message on a stream that was opened as a member's, and reads what comes.
async fn say(net: &Net, peer: &PeerId, proto: Proto, body: Vec<u8>, raw: bool) {
    let Ok(mut stream) = net.open(peer, proto).await else {
        // Streams that nobody serves are refused.
        return;
    };
    let exchange = async {
        if raw || proto == Proto::Http {
            let mut bytes = stream.into_inner();
            let _ = bytes.write_all(&body).await;
            let _ = bytes.shutdown().await;
            let _ = bytes.read_to_end(&mut Vec::new()).await;
        } else {
            let _ = stream.send(body).await;
            let _ = stream.finish().await;
            while let Ok(Some(_)) = stream.recv().await {}
        }
    };
    let _ = timeout(PATIENCE, exchange).await;
}

#[test]
fn garbage_of_a_member_on_every_stream_harms_nobody() {
    tell(async {
        let mut cluster = Cluster::start(Setup::of(4)).await;
        assert_eq!(cluster.peers[3].stop().await, Some(0));
        let others: Vec<String> = (0..3).map(|n| cluster.address(n)).collect();
        let net = turned(&cluster.peers[3].folder, &others).await;
        let targets: Vec<PeerId> = (0..3)
            .map(|n| cluster.peers[n].addresses().id.parse().unwrap())
            .collect();
        let mut rng = luck(12);
        // A member is let in: what follows is not just refused at the door.
        until("a member's stream", Duration::from_secs(20), || async {
            let opened = net.open(&targets[0], Proto::Rpc).await;
            opened.map(drop)
        })
        .await;
        for proto in Proto::ALL {
            for (n, body) in bodies(&mut rng).into_iter().enumerate() {
                let target = &targets[n % targets.len()];
                let raw = rng.random_bool(0.2);
                say(&net, target, proto, body, raw).await;
            }
            all_is_well(&mut cluster.peers[..3], proto.name()).await;
        }
        for topic in Topic::ALL {
            for _ in 0..30 {
                let _ = net.publish(topic, noise(&mut rng, 3000)).await;
            }
            let _ = net
                .publish(topic, vec![codec::FORMAT; GOSSIP_BYTES_MAX])
                .await;
            all_is_well(&mut cluster.peers[..3], topic.name()).await;
        }
        net.shutdown().await;
        drop(net);
        // The member comes to its senses.
        cluster.restart(3).await;
        cluster.all_see_each_other().await;
        let cid = add(&cluster.peers[3], "", &random(100_000)).await;
        cluster.until_status(0, &cid, "pinned", 4).await;
    });
}
