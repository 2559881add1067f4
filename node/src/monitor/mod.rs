//! What this peer knows of the members' health: the metrics they gossip, lapses, alerts, clocks.
//!
//! **Architecture invariant:** the monitor observes and tells; it never acts on what it sees.

mod ping;
mod view;
mod watch;

pub use ping::Ping;
pub use view::{CLOCK, Monitor};
pub use watch::{AskMetrics, start};

use std::time::{SystemTime, UNIX_EPOCH};

use ipfs_cluster_protocol::time::Timestamp;

/// This peer's wall clock.
pub(crate) fn wall_clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let ms = since.map_or(0, |d| d.as_millis());
    Timestamp(u64::try_from(ms).unwrap_or(u64::MAX))
}
