//! Use cases on status: answered from this peer's copies of everybody's tables, asking nobody.

use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use ipfs_cluster_protocol::{
    api::status::GlobalPinInfo,
    id::Cid,
    rpc::{RpcReply, RpcRequest},
    state::{query, query::Stored},
};

use super::{Cluster, error::ClusterError, rpc, shown::Roster};

impl Cluster {
    /// The status of one CID at every peer, or at this one.
    pub async fn status(&self, cid: Cid, local: bool) -> Result<GlobalPinInfo, ClusterError> {
        let roster = self.roster(local).await?;
        let stored = self
            .read(move |state| query::stored_by_cid(state, &cid))
            .await?;
        let now = self.wall_clock();
        Ok(self.0.tables.look(|look| match stored {
            Some(Stored::Live(pin)) => roster.pin(&pin, look),
            Some(Stored::Tombstone(gone)) => roster.unpinned(cid, Some(&gone), look, now),
            None => roster.unpinned(cid, None, look, now),
        }))
    }

    /// Retries a pin where it failed, and tells its status.
    pub async fn recover(&self, cid: Cid, local: bool) -> Result<GlobalPinInfo, ClusterError> {
        if local {
            self.allocation(cid).await?;
            self.recover_here(cid).await?;
            return self.status(cid, true).await;
        }
        let question = RpcRequest::Recover { cid };
        for member in self.members().await? {
            if member.peer == self.0.me {
                self.recover_here(cid).await?;
            } else if let Err(reason) = rpc::ask(&self.0.net, &member.peer, &question).await {
                tracing::info!(peer = %member.peer, %cid, reason, "not asked to recover");
            }
        }
        self.status(cid, false).await
    }

    /// Retries everything that failed; yields what was queued again.
    pub fn recover_all(
        &self,
        local: bool,
    ) -> BoxStream<'static, Result<GlobalPinInfo, ClusterError>> {
        let cluster = self.clone();
        let queued = async move {
            let mut cids = cluster.recover_all_here().await?;
            let others = if local {
                Vec::new()
            } else {
                cluster.members().await?
            };
            for member in others.iter().filter(|m| m.peer != cluster.0.me) {
                match rpc::ask(&cluster.0.net, &member.peer, &RpcRequest::RecoverAll).await {
                    Ok(RpcReply::Recovered(more)) => cids.extend(more),
                    Ok(_) => {}
                    Err(reason) => tracing::info!(peer = %member.peer, reason, "not recovered"),
                }
            }
            cids.sort_unstable();
            cids.dedup();
            Ok::<_, ClusterError>(futures::stream::iter(cids).then(move |cid| {
                let cluster = cluster.clone();
                async move { cluster.status(cid, local).await }
            }))
        };
        futures::stream::once(queued).try_flatten().boxed()
    }

    /// Who is shown now.
    pub(super) async fn roster(&self, local: bool) -> Result<Roster, ClusterError> {
        let members = self.members().await?;
        let local = local.then_some(&self.0.me);
        Ok(Roster::new(members, &self.0.monitor, local))
    }
}
