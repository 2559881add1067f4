//! What clients must not be able to do to a peer's servers: after each of these it still answers.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use ipfs_cluster_tests::{Cluster, Peer, Setup, http, until};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

const LIMIT: Duration = Duration::from_secs(30);
/// Connections that lie idle, where the machine has room for them.
const IDLE: usize = 10_000;

fn on_a_peer<F: Future<Output = ()>>(story: impl FnOnce(Cluster) -> F) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(async {
        let setup = Setup::of(1)
            .with("CLUSTER_RESTAPI_READHEADERTIMEOUT", "1s")
            .with("CLUSTER_PINSVCAPI_READHEADERTIMEOUT", "1s")
            .with("CLUSTER_IPFSPROXY_READHEADERTIMEOUT", "1s")
            .with("CLUSTER_PINSVCAPI_READTIMEOUT", "2s")
            .with("CLUSTER_PINSVCAPI_WRITETIMEOUT", "2s");
        story(Cluster::start(setup).await).await;
    });
}

async fn answers(peer: &Peer) {
    for port in [peer.rest_port(), peer.pinning_port()] {
        let answer = http::request(port, "GET", "/health").await.unwrap();
        assert_eq!(answer.status, 204, "{answer:?}");
    }
    let version = http::request(peer.proxy_port(), "POST", "/api/v0/version").await;
    assert_eq!(version.unwrap().status, 200);
}

fn ports(peer: &Peer) -> [u16; 3] {
    [peer.rest_port(), peer.pinning_port(), peer.proxy_port()]
}

/// Bytes of memory that a peer's process has now.
fn memory(peer: &Peer) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", peer.pid())).unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib * 1024
}

async fn dial(port: u16) -> TcpStream {
    TcpStream::connect(("127.0.0.1", port)).await.unwrap()
}

/// All that comes until the server closes.
async fn rest(mut stream: TcpStream) -> String {
    let mut all = Vec::new();
    // A reset ends it as well as an end does.
    let _ = timeout(LIMIT, stream.read_to_end(&mut all)).await.unwrap();
    String::from_utf8_lossy(&all).into_owned()
}

/// Clients that begin a request at these ports and say no more are cut off, none with this answer;
/// the peer goes on answering others.
async fn are_cut_off(peer: &Peer, ports: impl Iterator<Item = u16>, begun: &[u8], answer: &str) {
    let mut slow = Vec::new();
    for port in ports {
        let mut stream = dial(port).await;
        stream.write_all(begun).await.unwrap();
        slow.push(stream);
    }
    answers(peer).await;
    for stream in slow {
        let text = rest(stream).await;
        assert!(!text.contains(answer), "{text}");
    }
    answers(peer).await;
}

#[test]
fn heads_that_never_end_are_cut_off() {
    on_a_peer(|cluster| async move {
        let peer = &cluster.peers[0];
        let begun = b"GET /id HTTP/1.1\r\nX-A: b\r\n";
        let ports = (0..300).map(|n| ports(peer)[n % 3]);
        are_cut_off(peer, ports, begun, " 200 ").await;
    });
}

/// Where the operator set a time for a whole request.
#[test]
fn bodies_that_trickle_are_cut_off_where_a_limit_is_set() {
    on_a_peer(|cluster| async move {
        let peer = &cluster.peers[0];
        let begun = b"POST /pins HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{\"cid\":";
        let ports = std::iter::repeat_n(peer.pinning_port(), 100);
        are_cut_off(peer, ports, begun, " 202 ").await;
    });
}

#[test]
fn clients_that_ask_and_never_read_cost_little() {
    on_a_peer(|cluster| async move {
        let peer = &cluster.peers[0];
        let before = memory(peer);
        let deaf = (0..90).map(|n| async move {
            let mut stream = dial(ports(peer)[n % 3]).await;
            // Far more answers than a socket holds: the server must stop to read, not to answer.
            let asked = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(5000);
            // It may not even take all the questions.
            let _ = timeout(Duration::from_secs(2), stream.write_all(&asked)).await;
            stream
        });
        let deaf = futures::future::join_all(deaf).await;
        answers(peer).await;
        let grown = memory(peer).saturating_sub(before);
        assert!(
            grown < 256 << 20,
            "{grown} bytes for {} clients",
            deaf.len()
        );
        drop(deaf);
        answers(peer).await;
    });
}

#[test]
fn heads_of_very_many_fields_are_refused() {
    on_a_peer(|cluster| async move {
        let peer = &cluster.peers[0];
        for port in ports(peer) {
            let many = "A: b\r\n".repeat(20_000);
            if let Ok(answer) = http::send(port, "GET", "/health", &many, b"").await {
                assert_eq!(answer.status, 431, "{answer:?}");
            }
        }
        answers(peer).await;
    });
}

#[test]
fn heads_and_bodies_that_are_too_large_are_refused() {
    on_a_peer(|cluster| async move {
        let peer = &cluster.peers[0];
        for port in ports(peer) {
            let long = format!("X-Long: {}\r\n", "y".repeat(200_000));
            let answer = http::send(port, "GET", "/health", &long, b"").await;
            // It may be told so, or cut off while it still sends.
            if let Ok(answer) = answer {
                assert_eq!(answer.status, 431, "{answer:?}");
            }
        }
        let large = vec![b' '; 3 * 1024 * 1024];
        for (port, path) in [(peer.rest_port(), "/peers"), (peer.pinning_port(), "/pins")] {
            if let Ok(answer) = http::send(port, "POST", path, "", &large).await {
                assert_eq!(answer.status, 400, "{answer:?}");
            }
        }
        answers(peer).await;
    });
}

#[test]
fn an_upload_that_breaks_off_pins_nothing() {
    on_a_peer(|cluster| async move {
        let peer = &cluster.peers[0];
        let head = "POST /add HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\
                    Content-Type: multipart/form-data; boundary=B\r\n\r\n\
                    --B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n";
        for _ in 0..20 {
            let mut stream = dial(peer.rest_port()).await;
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.write_all(&[b'x'; 500_000]).await.unwrap();
            drop(stream);
        }
        // In pieces, cut within one, and at its end.
        for (port, path) in [
            (peer.rest_port(), "/add"),
            (peer.proxy_port(), "/api/v0/add"),
        ] {
            for end in ["3e8\r\nabc", "3\r\nabc\r\n", "3\r\nabcdef", "zz\r\n", ""] {
                let head = "Host: x\r\nTransfer-Encoding: chunked\r\n\
                            Content-Type: multipart/form-data; boundary=B\r\n\r\n";
                let part =
                    "--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n";
                let piece = format!("{:x}\r\n{part}\r\n", part.len());
                let mut stream = dial(port).await;
                let sent = format!("POST {path} HTTP/1.1\r\n{head}{piece}{end}");
                stream.write_all(sent.as_bytes()).await.unwrap();
                stream.shutdown().await.unwrap();
                rest(stream).await;
            }
        }
        answers(peer).await;
        let pins = peer.rest("GET", "/allocations").await.unwrap();
        assert_eq!(pins.status, 204, "{pins:?}");
    });
}

#[test]
fn garbage_is_answered_or_cut_off() {
    on_a_peer(|cluster| async move {
        let peer = &cluster.peers[0];
        let pieces: [&[u8]; 6] = [
            b"\x16\x03\x01\x00\xff",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"GET / HTTP/9.9\r\n\r\n",
            b"GET /%ff%00 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            b"POST /add HTTP/1.1\r\nTransfer-Encoding: chunked\r\nHost: x\r\n\r\nffffffffffffffffff\r\n",
            b"\0\0\0\0\0\0\0\0\r\n\r\n",
        ];
        for port in ports(peer) {
            for piece in pieces {
                let mut stream = dial(port).await;
                stream.write_all(piece).await.unwrap();
                stream.shutdown().await.unwrap();
                let text = rest(stream).await;
                assert!(!text.contains(" 500 "), "{text}");
            }
        }
        answers(peer).await;
    });
}

#[test]
fn thousands_of_idle_connections_leave_room_for_others() {
    on_a_peer(|cluster| async move {
        let peer = &cluster.peers[0];
        // The sockets of this side are another process's, which raises its own limit.
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/idle.py");
        let mut holder = Command::new("python3")
            .arg(script)
            .args([peer.rest_port().to_string(), IDLE.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut output = BufReader::new(holder.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        let held: usize = line.trim().parse().unwrap();
        if held < IDLE {
            eprintln!("{held} connections are all that this machine lets a process have");
        }
        assert!(held > 500, "{held}");
        until("answers", LIMIT, || async {
            let answer = peer.rest("GET", "/id").await.map_err(|e| e.to_string())?;
            if answer.status == 200 {
                Ok(())
            } else {
                Err(answer.text())
            }
        })
        .await;
        answers(peer).await;
        drop(holder.stdin.take());
        holder.wait().unwrap();
        answers(peer).await;
    });
}
