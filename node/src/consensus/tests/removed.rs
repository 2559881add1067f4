//! Peers that are removed while nobody reaches them.

use tokio::time::timeout;

use super::cluster::{Bench, PATIENCE, leader, must_pin, peer, soon, stop_a_follower, wait};
use crate::consensus::{Consensus, links::Channel};

/// Waits until a peer does not count itself among the members.
async fn knows_it_was_removed(c: &Consensus) {
    let own = c.0.links.local();
    let mut members = c.members();
    let gone = members.wait_for(|m| !m.contains_key(&own));
    timeout(PATIENCE, gone).await.unwrap().unwrap();
}

#[tokio::test]
async fn one_removed_before_it_got_the_log_finds_out() {
    let bench = Bench::new();
    let first = bench.open(1).await;
    first.form().await.unwrap();
    let second = bench.open(2).await;
    bench.net.cut(&peer(2), Channel::Append);
    second.join(&[peer(1)], soon()).await.unwrap();
    assert!(second.members().borrow().contains_key(&peer(2)));
    first.remove_member(peer(2), soon()).await.unwrap();
    knows_it_was_removed(&second).await;
    assert_eq!(second.status().borrow().applied.0, 0);
}

#[tokio::test]
async fn one_removed_while_it_was_down_finds_out_when_it_comes_back() {
    let bench = Bench::new();
    let mut peers = bench.cluster(3).await;
    let (n, who) = stop_a_follower(&mut peers).await;
    let lead = leader(&peers);
    lead.remove_member(who.clone(), soon()).await.unwrap();
    wait(lead, |s| {
        !s.voters.contains(&who) && !s.stand_ins.contains(&who)
    })
    .await;
    let back = bench.open(n).await;
    knows_it_was_removed(&back).await;
    // The others are not disturbed, and a member that asks is one.
    for p in &peers {
        assert!(p.members().borrow().contains_key(&p.0.links.local()));
    }
    must_pin(leader(&peers), 9).await;
}
