//! The fault `UnpinOnAbsence`: built for the simulator alone.

use futures::TryStreamExt;
use ipfs_cluster_protocol::{
    mutation::{Mutation, planted},
    state::query,
};

use super::start::Parts;

/// Unpins what the IPFS node holds and the state does not know.
pub(super) async fn unpin_unknown(parts: Parts) {
    if !planted(Mutation::UnpinOnAbsence) {
        return;
    }
    let Ok(mut pins) = parts.ipfs.pin_ls().await else {
        return;
    };
    while let Ok(Some((cid, _))) = pins.try_next().await {
        let known = parts
            .state
            .read(move |state| query::stored_by_cid(state, &cid));
        if matches!(known.await, Ok(None)) {
            // What comes of it shows on the IPFS node.
            let _ = parts.ipfs.unpin(cid).await;
        }
    }
}
