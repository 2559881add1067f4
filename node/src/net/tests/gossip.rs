//! Gossip between members, and only between them.

use super::{connected, hello, pair, peer_knowing, unite, until, within};
use crate::net::{GossipMessage, Net, PublishError, Topic};
use std::{collections::BTreeMap, time::Duration};

/// Publishes as soon as somebody listens.
async fn publish(net: &Net, topic: Topic, body: &str) {
    let published = async {
        while net.publish(topic, body.into()).await == Err(PublishError::Alone) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within("publishing", published).await;
}

fn message(from: &Net, body: &'static str) -> GossipMessage {
    GossipMessage {
        from: from.local_peer().clone(),
        body: body.into(),
    }
}

#[tokio::test]
async fn a_member_hears_each_topic() {
    let (a, b) = pair().await;
    let mut metrics = a.subscribe(Topic::Metrics);
    let mut status = a.subscribe(Topic::Status);
    publish(&b, Topic::Metrics, "metric").await;
    publish(&b, Topic::Status, "delta").await;
    let heard = within("a metric", metrics.recv()).await;
    assert_eq!(heard, Some(message(&b, "metric")));
    let heard = within("a delta", status.recv()).await;
    assert_eq!(heard, Some(message(&b, "delta")));
}

#[tokio::test]
async fn what_a_peer_that_is_no_member_publishes_is_dropped() {
    let (a, b) = pair().await;
    let mut heard = a.subscribe(Topic::Status);
    let c = peer_knowing(&[&a]).await;
    connected(&a, &c).await;
    // It knows the secret and the cluster, and claims to be a member.
    c.set_hello(hello(1, 3));
    c.set_members(BTreeMap::from([(
        a.local_peer().clone(),
        ipfs_cluster_protocol::id::Incarnation(1),
    )]));
    publish(&c, Topic::Status, "intruder").await;
    until("it is dropped", || a.gossip_dropped(Topic::Status) == 1).await;
    unite(&[&a, &b, &c]);
    publish(&c, Topic::Status, "member").await;
    let first = within("a message", heard.recv()).await;
    assert_eq!(first, Some(message(&c, "member")));
}

#[tokio::test]
async fn another_clusters_gossip_is_dropped() {
    let (a, b) = pair().await;
    let mut heard = a.subscribe(Topic::Status);
    let ours = b.hello();
    connected(&a, &b).await;
    b.set_hello(hello(9, 2));
    publish(&b, Topic::Status, "foreign").await;
    b.set_hello(ours);
    publish(&b, Topic::Status, "ours").await;
    assert_eq!(
        within("a message", heard.recv()).await,
        Some(message(&b, "ours"))
    );
}

#[tokio::test]
async fn a_message_over_the_bound_and_one_without_a_cluster_are_refused() {
    let (a, b) = pair().await;
    connected(&a, &b).await;
    let max = ipfs_cluster_protocol::limits::GOSSIP_BYTES_MAX;
    let large = a.publish(Topic::Status, vec![0; max + 1]).await;
    assert!(matches!(large, Err(PublishError::TooLarge { .. })));
    let mut heard = b.subscribe(Topic::Status);
    let largest = String::from_utf8(vec![b'x'; max]).unwrap();
    publish(&a, Topic::Status, &largest).await;
    assert_eq!(
        within("the largest", heard.recv())
            .await
            .unwrap()
            .body
            .len(),
        max
    );
    a.set_hello(ipfs_cluster_protocol::hello::Hello::default());
    let none = a.publish(Topic::Status, vec![]).await;
    assert_eq!(none, Err(PublishError::NoCluster));
}
