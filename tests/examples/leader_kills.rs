//! Kills the leader of three peers under the writes of 64 clients, again and again, and says what
//! became of the acknowledged pins and how long no write was acknowledged.
//!
//! ```sh
//! cargo run --release -p ipfs-cluster-tests --example leader_kills -- 20
//! ```

use std::{process::ExitCode, time::Duration};

use ipfs_cluster_tests::{
    Cluster, Setup, by_hand,
    leader_kill::{Outcome, WRITERS, kill_the_leader},
};

fn main() -> ExitCode {
    let Some((runs, runtime)) = by_hand::number("how many runs?", 20, 1..=1000) else {
        return ExitCode::FAILURE;
    };
    let mut outcomes = Vec::new();
    for n in 1..=runs {
        let outcome = runtime.block_on(async {
            let mut cluster = Cluster::start(Setup::of(3)).await;
            kill_the_leader(&mut cluster).await
        });
        println!("run {n}: {}", told(&outcome));
        outcomes.push(outcome);
    }
    summary(&outcomes)
}

fn told(outcome: &Outcome) -> String {
    format!(
        "{} acknowledged, {} lost, {} doubled, {} ms without an acknowledgement",
        outcome.acknowledged,
        outcome.lost,
        outcome.doubled,
        outcome.gap.as_millis()
    )
}

fn summary(outcomes: &[Outcome]) -> ExitCode {
    let sum = |of: fn(&Outcome) -> usize| outcomes.iter().map(of).sum::<usize>();
    let (lost, doubled) = (sum(|o| o.lost), sum(|o| o.doubled));
    let mut gaps: Vec<Duration> = outcomes.iter().map(|o| o.gap).collect();
    gaps.sort_unstable();
    println!(
        "{} runs, {WRITERS} writers: {} acknowledged, {lost} lost, {doubled} doubled; write gap min {} ms, \
         median {} ms, max {} ms",
        outcomes.len(),
        sum(|o| o.acknowledged),
        gaps[0].as_millis(),
        gaps[gaps.len() / 2].as_millis(),
        gaps[gaps.len() - 1].as_millis(),
    );
    if lost + doubled == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
