//! Unpinning content that was added in shards: what the root stands for goes first, so that a root
//! whose shards could not all be unpinned is still there to be unpinned again.

use futures::{StreamExt, TryStreamExt, stream};
use ipfs_cluster_protocol::{
    command::Command,
    content::links::links,
    id::Cid,
    limits::SHARDS_UNPINNED_MAX,
    pin::{Pin, PinType},
    rpc::Refusal,
    state::query,
};
use tokio::time::{Instant, timeout_at};

use super::{Leader, Miss};

impl Leader {
    /// Unpins the shards of a meta pin and the list of them.
    pub(super) async fn unpin_shards(
        &self,
        meta: Option<&Pin>,
        deadline: Instant,
    ) -> Result<(), Refusal> {
        let Some(list) = meta.and_then(|pin| pin.spec.reference) else {
            return Ok(());
        };
        let is_pinned = self.pinned(list).await?.is_some();
        if is_pinned {
            let shards = self.shards_of(list, deadline).await?;
            stream::iter(
                shards
                    .into_iter()
                    .map(|cid| self.unpin_part(cid, PinType::Shard)),
            )
            .buffer_unordered(SHARDS_UNPINNED_MAX)
            .try_collect::<()>()
            .await?;
        }
        self.unpin_part(list, PinType::ClusterDag).await
    }

    async fn pinned(&self, cid: Cid) -> Result<Option<Pin>, Refusal> {
        self.read(move |state| query::pin_by_cid(state, &cid)).await
    }

    /// What the list of shards, which every peer holds, says.
    async fn shards_of(&self, list: Cid, deadline: Instant) -> Result<Vec<Cid>, Refusal> {
        let unread = |why: String| {
            Refusal::Invalid(format!(
                "the list of shards {list} cannot be read: {why}; bring back a peer that holds it, \
                 or pin it there, then unpin again"
            ))
        };
        let block = timeout_at(deadline, self.0.ipfs.block_get(list)).await;
        let block = block.map_err(|_| unread("nobody has sent it in time".to_owned()))?;
        let block = block.map_err(|e| unread(e.to_string()))?;
        links(&list, &block).map_err(|e| unread(e.to_string()))
    }

    /// Unpins a part of a sharded DAG, unless it is gone already or something else.
    async fn unpin_part(&self, cid: Cid, kind: PinType) -> Result<(), Refusal> {
        let pin = self.pinned(cid).await?;
        if pin.is_none_or(|pin| pin.spec.pin_type != kind) {
            return Ok(());
        }
        match self.propose_own(Command::Unpin { cid }).await {
            Ok(_) | Err(Miss::Refused(Refusal::NotPinned)) => Ok(()),
            Err(Miss::Refused(refusal)) => Err(refusal),
            Err(Miss::Conflict) => Err(Refusal::Unavailable("the state changed meanwhile".into())),
        }
    }
}
