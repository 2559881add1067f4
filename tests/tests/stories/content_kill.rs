//! A peer dies in the middle of an upload, a fetch and a collection of garbage: a few moments here, a
//! few hundred with `--example content_kills`.

use ipfs_cluster_tests::content_kill::{During, Ground};

use crate::tell;

/// Kills of each kind; one more runs undisturbed first.
const KILLS: usize = 3;

#[test]
fn a_killed_peer_loses_no_pin_and_leaves_nothing_behind() {
    tell(async {
        let mut ground = Ground::prepare().await;
        for _ in 0..=KILLS {
            for during in [During::Add, During::Pin, During::Gc] {
                ground.kill(during).await;
            }
        }
        ground.conclude().await;
    });
}
