//! Kills a peer with an embedded node while it adds, fetches a pin and collects garbage, so many times
//! each, at random moments, and looks at its blocks on the disk each time.
//!
//! ```sh
//! cargo run --release -p ipfs-cluster-tests --example content_kills -- 200
//! ```

use std::process::ExitCode;

use ipfs_cluster_tests::content_kill::{During, Ground};

fn main() -> ExitCode {
    let kills = std::env::args().nth(1).map_or(Ok(200), |n| n.parse());
    let Ok(kills @ 1..=10_000) = kills else {
        eprintln!("how many kills of each kind? a number from 1 to 10000");
        return ExitCode::FAILURE;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime can be made");
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
