//! The leader dies while clients write: what became of what they were promised, and how long
//! nobody's write was acknowledged.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::task::JoinSet;

use crate::{cluster::Cluster, http, values::missing, wait::until};

/// Clients that write at the same time.
pub const WRITERS: usize = 64;
/// Pins that must have been acknowledged before the kill, and again after it.
const PINS: usize = 200;
/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(60);

/// What one kill came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// Pins that were acknowledged to a client.
    pub acknowledged: usize,
    /// Of those, how many a peer does not have, at the peer that lacks most.
    pub lost: usize,
    /// CIDs that a peer lists more than once.
    pub doubled: usize,
    /// The longest time from one acknowledgement to the next, from the last one before the kill on.
    pub gap: Duration,
}

/// Pins by CID, and when each was acknowledged.
type Acknowledged = Arc<Mutex<BTreeMap<String, Instant>>>;

/// Lets [`WRITERS`] clients pin at the peers that do not lead, kills the leader among it, waits until
/// writes are acknowledged again, starts the killed peer again, and looks at every peer's pins.
///
/// # Panics
/// When writes do not go on, or the peer does not come back.
pub async fn kill_the_leader(cluster: &mut Cluster) -> Outcome {
    let leader = cluster.leader().await;
    let others = (0..cluster.peers.len()).filter(|n| *n != leader);
    let ports: Vec<u16> = others.map(|n| cluster.peers[n].rest_port()).collect();
    let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Acknowledged::default());
    let mut writers = JoinSet::new();
    for n in 0..WRITERS {
        let port = ports[n % ports.len()];
        writers.spawn(write(port, stop.clone(), acknowledged.clone()));
    }
    until_more("writes", &acknowledged, PINS).await;
    let killed = Instant::now();
    cluster.peers[leader].kill();
    until("a write that began after the kill", LIMIT, || {
        let last = acknowledged.lock().values().max().copied();
        let later = last.is_some_and(|at| at > killed + Duration::from_millis(100));
        std::future::ready(if later { Ok(()) } else { Err("nothing yet") })
    })
    .await;
    let so_far = acknowledged.lock().len();
    until_more("writes after the kill", &acknowledged, so_far + PINS).await;
    stop.store(true, Ordering::Relaxed);
    while let Some(ended) = writers.join_next().await {
        ended.expect("a writer does not panic");
    }
    cluster.restart(leader).await;
    let acknowledged = std::mem::take(&mut *acknowledged.lock());
    judge(cluster, &acknowledged, killed).await
}

/// One client, until it is told to stop.
async fn write(port: u16, stop: Arc<AtomicBool>, acknowledged: Acknowledged) {
    while !stop.load(Ordering::Relaxed) {
        let cid = missing();
        let path = format!("/pins/{cid}?replication=1");
        let answer = http::request(port, "POST", &path).await;
        if answer.is_ok_and(|a| a.status == 200) {
            acknowledged.lock().insert(cid, Instant::now());
        }
    }
}

async fn until_more(what: &str, acknowledged: &Acknowledged, least: usize) {
    until(what, LIMIT, || {
        let n = acknowledged.lock().len();
        std::future::ready(if n >= least { Ok(()) } else { Err(n) })
    })
    .await;
}

async fn judge(
    cluster: &Cluster,
    acknowledged: &BTreeMap<String, Instant>,
    killed: Instant,
) -> Outcome {
    let mut outcome = Outcome {
        acknowledged: acknowledged.len(),
        lost: 0,
        doubled: 0,
        gap: longest_gap(acknowledged, killed),
    };
    for peer in &cluster.peers {
        // The peer that was away catches up first: it can say of itself when it has.
        let path = "/allocations?consistency=linearizable";
        let what = format!("the pins of {}", peer.name);
        let pins = until(&what, LIMIT, || async {
            let answer = peer.rest("GET", path).await.map_err(|e| e.to_string())?;
            match answer.status {
                200 => answer.items().map_err(|e| e.to_string()),
                _ => Err(answer.text()),
            }
        })
        .await;
        let cids: Vec<&str> = pins.iter().filter_map(|p| p["cid"].as_str()).collect();
        let set: BTreeSet<&str> = cids.iter().copied().collect();
        let lost = acknowledged.keys().filter(|c| !set.contains(c.as_str()));
        outcome.lost = outcome.lost.max(lost.count());
        outcome.doubled = outcome.doubled.max(cids.len() - set.len());
    }
    outcome
}

fn longest_gap(acknowledged: &BTreeMap<String, Instant>, killed: Instant) -> Duration {
    let mut times: Vec<Instant> = acknowledged.values().copied().collect();
    times.sort_unstable();
    let before = times.iter().rposition(|at| *at <= killed).unwrap_or(0);
    let pairs = times[before..].windows(2).map(|pair| pair[1] - pair[0]);
    pairs.max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gap_is_the_longest_from_the_kill_on() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let times = [0, 900, 1000, 1010, 1400, 1410];
        let acknowledged = times.map(|ms| (ms.to_string(), at(ms))).into();
        assert_eq!(
            longest_gap(&acknowledged, at(1005)),
            Duration::from_millis(390)
        );
        assert_eq!(
            longest_gap(&acknowledged, at(950)),
            Duration::from_millis(390)
        );
        assert_eq!(
            longest_gap(&acknowledged, at(500)),
            Duration::from_millis(900)
        );
    }
}
