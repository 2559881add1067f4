//! The node itself: who it is, how full, whom it knows.

use std::time::Duration;

use futures::{StreamExt, stream};
use ipfs_cluster_protocol::id::{Cid, PeerId};
use serde::{Deserialize, Deserializer, de};
use tokio::time::Instant;

use super::{
    Kubo,
    call::{Call, Rpc},
};
use crate::ipfs::{Collected, IpfsError, IpfsId, IpfsStream, RepoStat};

#[derive(Deserialize)]
struct Id {
    #[serde(rename = "ID")]
    id: PeerId,
    #[serde(rename = "Addresses")]
    addresses: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Version {
    #[serde(rename = "Version")]
    version: String,
}

#[derive(Deserialize)]
struct Repo {
    #[serde(rename = "RepoSize", deserialize_with = "count")]
    repo_size: u64,
    #[serde(rename = "StorageMax", deserialize_with = "count", default)]
    storage_max: u64,
}

#[derive(Deserialize)]
struct Peers {
    #[serde(rename = "Peers")]
    peers: Option<Vec<Peer>>,
}

#[derive(Deserialize)]
struct Peer {
    #[serde(rename = "Peer")]
    peer: PeerId,
}

/// A line of `repo/gc`.
#[derive(Deserialize)]
struct Removed {
    #[serde(rename = "Key")]
    key: Option<Link>,
    #[serde(rename = "Error", default)]
    error: String,
}

#[derive(Deserialize)]
struct Link {
    #[serde(rename = "/")]
    cid: Cid,
}

/// A number, a number too large for an integer, or (js-ipfs) a number in a string.
fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Count {
        Whole(u64),
        Float(f64),
        Text(String),
    }
    match Count::deserialize(deserializer)? {
        Count::Whole(n) => Ok(n),
        // Saturates; a negative one becomes 0.
        Count::Float(n) => Ok(n as u64),
        Count::Text(text) => text.parse().map_err(de::Error::custom),
    }
}

impl Rpc {
    /// Connects the node to another one.
    pub(super) async fn connect_swarm(
        &self,
        address: &str,
        time: Duration,
    ) -> Result<(), IpfsError> {
        let call = Call::new("swarm/connect").with("arg", address);
        let _: de::IgnoredAny = self.json(call, time).await?;
        Ok(())
    }
}

impl Kubo {
    pub(super) async fn collect_garbage(&self) -> Result<IpfsStream<Collected>, IpfsError> {
        let deadline = Instant::now() + self.timeouts.gc;
        let call = Call::new("repo/gc").with("stream-errors", true);
        let lines = self.rpc.start(call, self.timeouts.gc).await?.lines();
        let collected = stream::try_unfold(lines, move |mut lines| async move {
            let line: Option<Removed> = lines.next(deadline).await?;
            Ok(line.map(|line| {
                let said = match line.key {
                    Some(Link { cid }) if line.error.is_empty() => Collected::Removed(cid),
                    _ => Collected::Failed(line.error),
                };
                (said, lines)
            }))
        });
        Ok(collected.boxed())
    }

    pub(super) async fn ask_id(&self) -> Result<IpfsId, IpfsError> {
        let Id { id, addresses } = self
            .rpc
            .json(Call::new("id"), self.timeouts.request)
            .await?;
        // Kubo ends each with its ID, js-ipfs as well; older ones did not.
        let suffix = format!("/p2p/{id}");
        let complete = |a: String| match a.contains("/p2p/") {
            true => a,
            false => a + &suffix,
        };
        let addresses = addresses.unwrap_or_default();
        Ok(IpfsId {
            id,
            addresses: addresses.into_iter().map(complete).collect(),
        })
    }

    pub(super) async fn ask_version(&self) -> Result<String, IpfsError> {
        let time = self.timeouts.request;
        let Version { version } = self.rpc.json(Call::new("version"), time).await?;
        Ok(version)
    }

    /// Pins have names since Kubo 0.26; js-ipfs ended at 0.18.
    pub(super) async fn has_names(&self) -> bool {
        let ask = async || self.ask_version().await.map(|v| version_has_names(&v));
        // Unknown for now is "no", and asked again at the next pin.
        matches!(self.has_names.get_or_try_init(ask).await, Ok(true))
    }

    pub(super) async fn ask_repo_stat(&self) -> Result<RepoStat, IpfsError> {
        let call = Call::new("repo/stat").with("size-only", true);
        let repo: Repo = self.rpc.json(call, self.timeouts.request).await?;
        Ok(RepoStat {
            repo_size: repo.repo_size,
            storage_max: repo.storage_max,
        })
    }

    pub(super) async fn ask_swarm_peers(&self) -> Result<Vec<PeerId>, IpfsError> {
        let call = Call::new("swarm/peers");
        let peers: Peers = self.rpc.json(call, self.timeouts.request).await?;
        let peers = peers.peers.unwrap_or_default();
        Ok(peers.into_iter().map(|p| p.peer).collect())
    }
}

fn version_has_names(version: &str) -> bool {
    let mut numbers = version.split('.').map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(0)), Some(Ok(minor))) => minor >= 26,
        (Some(Ok(major)), _) => major >= 1,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::version_has_names;

    #[test]
    fn names_come_with_kubo_0_26() {
        for yes in ["0.26.0", "0.44.0-dev", "1.0.0"] {
            assert!(version_has_names(yes), "{yes}");
        }
        for no in ["0.25.9", "0.18.1", "", "js-ipfs", "0"] {
            assert!(!version_has_names(no), "{no}");
        }
    }
}
