//! The leader dies while clients write.

use ipfs_cluster_tests::{Cluster, Setup, leader_kill::kill_the_leader};

use crate::tell;

#[test]
fn no_acknowledged_pin_is_lost_or_doubled_when_the_leader_is_killed() {
    tell(async {
        let mut cluster = Cluster::start(Setup::of(3)).await;
        let outcome = kill_the_leader(&mut cluster).await;
        assert_eq!((outcome.lost, outcome.doubled), (0, 0), "{outcome:?}");
    });
}
