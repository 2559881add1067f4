//! Streams and who may open them.

use super::{hello, pair, peer, peer_knowing, unite, within};
use crate::net::{OpenError, Proto};
use ipfs_cluster_protocol::{
    hello::{Hello, Refusal},
    id::{Epoch, Incarnation},
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

#[tokio::test]
async fn a_stream_opens_with_hello_and_carries_messages_both_ways() {
    let (a, b) = pair().await;
    let mut served = a.accept(Proto::Rpc);
    let (opened, accepted) = within("a stream", async {
        tokio::join!(b.open(a.local_peer(), Proto::Rpc), served.recv())
    })
    .await;
    let (mut near, mut far) = (opened.unwrap(), accepted.unwrap());
    assert_eq!(&near.peer, a.local_peer());
    assert_eq!(&far.peer, b.local_peer());
    assert_eq!(near.hello, a.hello());
    assert_eq!(far.hello, b.hello());

    near.send_msg(&"question".to_owned()).await.unwrap();
    let asked: String = far.recv_msg().await.unwrap().unwrap();
    assert_eq!(asked, "question");
    let large = vec![5_u8; ipfs_cluster_protocol::limits::FRAME_BYTES_MAX];
    let (sent, got) = tokio::join!(far.send(large.clone()), near.recv());
    sent.unwrap();
    assert_eq!(got.unwrap().unwrap(), large);
    near.finish().await.unwrap();
    assert!(far.recv().await.unwrap().is_none());
}

#[tokio::test]
async fn a_burst_of_streams_loses_none() {
    const BURST: usize = 500;
    let (a, b) = pair().await;
    let mut served = a.accept(Proto::Rpc);
    let target = a.local_peer().clone();
    let mut burst = tokio::task::JoinSet::new();
    for n in 0..BURST {
        let (net, target) = (b.clone(), target.clone());
        burst.spawn(async move {
            let mut stream = net.open(&target, Proto::Rpc).await?;
            stream.send_msg(&n).await.unwrap();
            Ok::<_, OpenError>(stream)
        });
    }
    let mut seen = std::collections::BTreeSet::new();
    let mut held = Vec::new();
    for _ in 0..BURST {
        let mut stream = within("every stream", served.recv()).await.unwrap();
        let n: usize = within("its message", stream.recv_msg())
            .await
            .unwrap()
            .unwrap();
        seen.insert(n);
        held.push(stream);
    }
    while let Some(opened) = burst.join_next().await {
        opened.unwrap().unwrap();
    }
    assert_eq!(seen.len(), BURST);
}

#[tokio::test]
async fn a_peer_of_another_cluster_is_refused_by_name() {
    let (a, b) = pair().await;
    let _served = a.accept(Proto::Rpc);
    b.set_hello(hello(2, 2));
    let refused = b.open(a.local_peer(), Proto::Rpc).await.unwrap_err();
    let text = refused.to_string();
    assert!(text.contains(&"01".repeat(16)), "{text}");
    assert!(text.contains(&"02".repeat(16)), "{text}");
}

#[tokio::test]
async fn a_lower_epoch_is_refused_and_hears_of_the_higher_one() {
    let (a, b) = pair().await;
    let _served = a.accept(Proto::Rpc);
    let mut heard = b.heard_epoch();
    a.set_hello(Hello {
        epoch: Epoch(4),
        ..a.hello()
    });
    let refused = b.open(a.local_peer(), Proto::Rpc).await.unwrap_err();
    assert!(
        matches!(
            &refused,
            OpenError::Refused {
                refusal: Refusal::EpochOver { .. },
                ..
            }
        ),
        "{refused}"
    );
    within("the news", heard.wait_for(|e| *e == Epoch(4)))
        .await
        .unwrap();
    assert_eq!(*a.heard_epoch().borrow(), Epoch(0));
}

#[tokio::test]
async fn a_former_incarnation_is_refused() {
    let (a, b) = pair().await;
    let _served = a.accept(Proto::Raft);
    b.set_hello(hello(1, 1));
    let refused = b.open(a.local_peer(), Proto::Raft).await.unwrap_err();
    assert!(
        matches!(
            &refused,
            OpenError::Refused {
                refusal: Refusal::IncarnationOver {
                    refuser: Incarnation(2),
                    refused: Incarnation(1)
                },
                ..
            }
        ),
        "{refused}"
    );
}

#[tokio::test]
async fn a_peer_without_a_cluster_asks_to_join_and_is_then_spoken_to() {
    let a = peer().await;
    unite(&[&a]);
    let mut joins = a.accept(Proto::Join);
    let b = peer_knowing(&[&a]).await;
    let mut appends = b.accept(Proto::RaftAppend);
    super::connected(&a, &b).await;

    let early = a.open(b.local_peer(), Proto::RaftAppend);
    let early = within("an answer", early).await.unwrap_err();
    assert!(matches!(early, OpenError::Refused { .. }), "{early}");
    let rpc = b.open(a.local_peer(), Proto::Rpc).await.unwrap_err();
    assert!(matches!(rpc, OpenError::Refused { .. }), "{rpc}");

    let join = b.open(a.local_peer(), Proto::Join).await.unwrap();
    assert_eq!(join.hello.cluster, a.hello().cluster);
    assert_eq!(joins.recv().await.unwrap().hello.cluster, None);
    a.open(b.local_peer(), Proto::RaftAppend).await.unwrap();
    assert_eq!(&appends.recv().await.unwrap().peer, a.local_peer());
}

#[tokio::test]
async fn http_needs_no_hello_and_is_raw() {
    let a = peer().await;
    unite(&[&a]);
    let mut served = a.accept(Proto::Http);
    let client = peer_knowing(&[&a]).await;
    let near = client.open(a.local_peer(), Proto::Http).await.unwrap();
    let mut near = near.into_inner();
    near.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    near.flush().await.unwrap();
    let far = within("the stream", served.recv()).await.unwrap();
    let mut far = far.into_inner();
    let mut got = [0; 16];
    far.read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"GET / HTTP/1.1\r\n");
}

#[tokio::test]
async fn what_nobody_serves_is_refused() {
    let (a, b) = pair().await;
    let refused = b.open(a.local_peer(), Proto::Blocks).await.unwrap_err();
    assert!(
        matches!(
            &refused,
            OpenError::Refused {
                refusal: Refusal::NotServed { .. },
                ..
            }
        ),
        "{refused}"
    );
}

#[tokio::test]
async fn a_member_that_ends_is_reported_as_gone() {
    let (a, b) = pair().await;
    super::connected(&a, &b).await;
    let mut events = a.events();
    b.shutdown().await;
    let gone = within("an event", events.recv()).await.unwrap();
    assert_eq!(
        gone,
        crate::net::PeerEvent::Disconnected(b.local_peer().clone())
    );
    assert!(a.connected().is_empty());
}

#[tokio::test]
async fn two_peers_that_dial_each_other_at_once_can_open_streams_at_once() {
    for _ in 0..5 {
        let (a, b) = (peer().await, peer().await);
        a.add_addresses(b.local_peer(), &b.listen_addresses());
        b.add_addresses(a.local_peer(), &a.listen_addresses());
        unite(&[&a, &b]);
        let (mut at_a, mut at_b) = (a.accept(Proto::Rpc), b.accept(Proto::Rpc));
        let both = async {
            tokio::join!(
                a.open(b.local_peer(), Proto::Rpc),
                b.open(a.local_peer(), Proto::Rpc),
                at_a.recv(),
                at_b.recv()
            )
        };
        let (to_b, to_a, from_b, from_a) = within("streams both ways", both).await;
        to_a.unwrap();
        to_b.unwrap();
        assert!(from_a.is_some() && from_b.is_some());
    }
}
