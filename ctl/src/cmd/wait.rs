//! Waiting until peers have done what was asked.

use std::{io::IsTerminal, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};
use ipfs_cluster_protocol::{
    api::status::{GlobalPinInfo, TrackerStatus},
    id::Cid,
};
use tokio::time::{Instant, sleep, timeout};

use super::Context;
use crate::exit::Failure;

/// Between two looks.
const INTERVAL: Duration = Duration::from_millis(500);
/// Between two looks at a pin that is expected to settle at once.
const SHORT_INTERVAL: Duration = Duration::from_millis(50);
/// How long a status is given to settle before it is shown as it is.
const SETTLE: Duration = Duration::from_secs(1);

/// What to wait for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Goal {
    pub(super) cid: Cid,
    pub(super) status: TrackerStatus,
    /// How many peers; 0 for all that are concerned.
    pub(super) limit: usize,
}

/// How far a goal is reached.
#[derive(Debug, PartialEq, Eq)]
enum Reached {
    /// So many of so many.
    Part(usize, usize),
    All,
    /// A peer is in a state that does not lead there.
    Failed(TrackerStatus, String),
}

impl Goal {
    fn reached(&self, info: &GlobalPinInfo) -> Reached {
        use TrackerStatus::{ClusterError, PinError, Remote, Undefined, UnpinError};
        let mut done = 0;
        let mut concerned = 0;
        for peer in info.peer_map.values() {
            match peer.status {
                s @ (Undefined | ClusterError | PinError | UnpinError) => {
                    return Reached::Failed(s, peer.error.clone());
                }
                s if s == self.status => {
                    done += 1;
                    concerned += 1;
                }
                Remote => {}
                _ => concerned += 1,
            }
        }
        let limit = self.limit.min(info.peer_map.len());
        let wanted = if limit > 0 { limit } else { concerned };
        if done >= wanted {
            Reached::All
        } else {
            Reached::Part(done, wanted)
        }
    }
}

impl Context {
    /// Looks until the goal is reached.
    pub(super) async fn wait_for(
        &self,
        goal: Goal,
        limit: Option<Duration>,
    ) -> Result<GlobalPinInfo, Failure> {
        let waited = self.look_until(goal);
        match limit {
            None => waited.await,
            Some(limit) => timeout(limit, waited)
                .await
                .unwrap_or(Err(Failure::WaitTimeout)),
        }
    }

    async fn look_until(&self, goal: Goal) -> Result<GlobalPinInfo, Failure> {
        let bar = progress_bar("{spinner} {pos}/{len} peers {elapsed}");
        loop {
            let info = self.client.status_after_write(goal.cid).await?;
            match goal.reached(&info) {
                Reached::All => {
                    bar.finish_and_clear();
                    return Ok(info);
                }
                Reached::Part(done, of) => {
                    bar.set_length(of as u64);
                    bar.set_position(done as u64);
                }
                Reached::Failed(status, error) => {
                    bar.finish_and_clear();
                    let wanted = goal.status;
                    let text = format!(
                        "error has occurred while attempting to reach status: {wanted} \
                         (a peer is at {status}: {error})"
                    );
                    return Err(Failure::local("waiting for pin status", text));
                }
            }
            bar.tick();
            sleep(INTERVAL).await;
        }
    }

    /// The status once nothing is on its way any more, or as it is after a moment.
    pub(super) async fn settled(&self, cid: Cid) -> Result<GlobalPinInfo, Failure> {
        use TrackerStatus::{PinQueued, Pinning, UnpinQueued, Unpinning};
        let until = Instant::now() + SETTLE;
        loop {
            let info = self.client.status_after_write(cid).await?;
            let moving = info
                .peer_map
                .values()
                .any(|p| matches!(p.status, PinQueued | Pinning | UnpinQueued | Unpinning));
            if !moving || Instant::now() >= until {
                return Ok(info);
            }
            sleep(SHORT_INTERVAL).await;
        }
    }
}

/// A bar on stderr, if that is a terminal.
pub(super) fn progress_bar(template: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    const CID: &str = "QmazuPJPW7GJSLGnJgVTNFUyEXRVng9tk5SF9AHJdyXWmi";

    fn reached(limit: usize, statuses: &[&str]) -> Reached {
        let peers: Vec<String> = statuses
            .iter()
            .enumerate()
            .map(|(n, status)| {
                let bytes = [
                    &[0, 36, 8, 1, 18, 32][..],
                    &[u8::try_from(n).unwrap(); 32][..],
                ]
                .concat();
                let peer = ipfs_cluster_protocol::id::PeerId::from_bytes(&bytes).unwrap();
                format!(r#""{peer}":{{"status":"{status}"}}"#)
            })
            .collect();
        let json = format!(r#"{{"cid":"{CID}","peer_map":{{{}}}}}"#, peers.join(","));
        let goal = Goal {
            cid: CID.parse().unwrap(),
            status: TrackerStatus::Pinned,
            limit,
        };
        goal.reached(&serde_json::from_str(&json).unwrap())
    }

    #[test]
    fn remote_peers_are_not_waited_for() {
        assert_eq!(reached(0, &["pinned", "remote"]), Reached::All);
        assert_eq!(reached(0, &["pinned", "pinning"]), Reached::Part(1, 2));
        assert_eq!(reached(1, &["pinned", "pinning"]), Reached::All);
        assert_eq!(reached(2, &["remote", "remote"]), Reached::Part(0, 2));
        assert_eq!(reached(0, &["remote", "remote"]), Reached::All);
    }

    #[test]
    fn no_more_peers_are_waited_for_than_there_are() {
        assert_eq!(reached(5, &["pinned", "pinned"]), Reached::All);
        assert_eq!(reached(5, &["pinned", "pinning"]), Reached::Part(1, 2));
    }

    #[test]
    fn an_error_ends_the_wait() {
        assert!(matches!(
            reached(1, &["pinned", "pin_error"]),
            Reached::Failed(..)
        ));
    }
}
