//! Use cases on what the IPFS nodes hold: how full they are, and garbage.

use std::time::Duration;

use futures::StreamExt;
use ipfs_cluster_protocol::{
    api::gc::{RepoGc, RepoGcKey, RepoGcPeer},
    limits,
    rpc::{RpcReply, RpcRequest},
};

use super::{Cluster, error::ClusterError, rpc};
use crate::ipfs::{Collected, RepoStat};

/// How long another peer's collection may take: its own time-out comes first.
const GC_MAX: Duration = Duration::from_secs(25 * 3600);

impl Cluster {
    /// Collects the garbage of all IPFS nodes, one after the other, or of this peer's.
    pub async fn repo_gc(&self, local: bool) -> Result<RepoGc, ClusterError> {
        let mut all = RepoGc::default();
        if local {
            let own = self.gc_here().await?;
            all.peer_map.insert(own.peer.clone(), own);
            return Ok(all);
        }
        for member in self.members().await? {
            let collected = if member.peer == self.0.me {
                self.gc_here().await.map_err(|e| e.to_string())
            } else {
                let question = RpcRequest::RepoGc;
                match rpc::ask_within(&self.0.net, &member.peer, &question, GC_MAX).await {
                    Ok(RpcReply::Collected(peer)) => Ok(*peer),
                    Ok(_) => Err("it answered something else".to_owned()),
                    Err(reason) => Err(reason),
                }
            };
            let entry = collected.unwrap_or_else(|error| RepoGcPeer {
                peer: member.peer.clone(),
                peername: member.name.clone(),
                keys: Vec::new(),
                error,
            });
            all.peer_map.insert(member.peer, entry);
        }
        Ok(all)
    }

    /// Collects the garbage of this peer's IPFS node.
    pub(super) async fn gc_here(&self) -> Result<RepoGcPeer, ClusterError> {
        let mut collected = self.0.ipfs.repo_gc().await?;
        let mut own = RepoGcPeer {
            peer: self.0.me.clone(),
            peername: self.0.settings.peername.clone(),
            keys: Vec::new(),
            error: String::new(),
        };
        while let Some(next) = collected.next().await {
            let key = match next? {
                Collected::Removed(cid) => RepoGcKey {
                    key: Some(cid),
                    error: String::new(),
                },
                Collected::Failed(error) => RepoGcKey { key: None, error },
            };
            if own.keys.len() < limits::GC_KEYS_MAX {
                own.keys.push(key);
            }
        }
        Ok(own)
    }

    /// How full the IPFS nodes are, those that can be asked taken together.
    pub async fn repo_stat(&self) -> Result<RepoStat, ClusterError> {
        let mut sum = RepoStat {
            repo_size: 0,
            storage_max: 0,
        };
        for member in self.members().await? {
            let stat = if member.peer == self.0.me {
                self.0.ipfs.repo_stat().await.map_err(|e| e.to_string())
            } else {
                match rpc::ask(&self.0.net, &member.peer, &RpcRequest::RepoStat).await {
                    Ok(RpcReply::RepoStat {
                        repo_size,
                        storage_max,
                    }) => Ok(RepoStat {
                        repo_size,
                        storage_max,
                    }),
                    Ok(_) => Err("it answered something else".to_owned()),
                    Err(reason) => Err(reason),
                }
            };
            match stat {
                Ok(stat) => {
                    sum.repo_size = sum.repo_size.saturating_add(stat.repo_size);
                    sum.storage_max = sum.storage_max.saturating_add(stat.storage_max);
                }
                Err(reason) => tracing::info!(peer = %member.peer, reason, "left out of the sum"),
            }
        }
        Ok(sum)
    }
}
