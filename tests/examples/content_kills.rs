//! Kills a peer with an embedded node while it adds, fetches a pin and collects garbage, so many times
//! each, at random moments, and looks at its blocks on the disk each time.
//!
//! ```sh
//! cargo run --release -p ipfs-cluster-tests --example content_kills -- 200
//! ```

use std::process::ExitCode;

use ipfs_cluster_tests::{
    by_hand,
    content_kill::{During, Ground},
};

fn main() -> ExitCode {
    let asked = by_hand::number("how many kills of each kind?", 200, 1..=10_000);
    let Some((kills, runtime)) = asked else {
        return ExitCode::FAILURE;
    };
    runtime.block_on(async {
        let mut ground = Ground::prepare().await;
        // The first of each is not killed: it tells how long the work takes.
        for n in 0..=kills {
            for during in [During::Add, During::Pin, During::Gc] {
                let after = ground.kill(during).await;
                if n > 0 {
                    println!("{n} {during:?}: killed after {} ms", after.as_millis());
                }
            }
        }
        ground.conclude().await;
    });
    println!("{kills} kills of each kind: nothing lost, nothing corrupt, nothing left");
    ExitCode::SUCCESS
}
