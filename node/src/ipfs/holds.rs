//! The question a release hangs on.

use ipfs_cluster_protocol::{
    id::{Rev, Seq},
    pin::PinMode,
    state::query::{self, Stored},
};

use super::SharedIpfs;
use crate::storage::StateStore;

/// Whether the IPFS node holds a pin, as of a change of it that this peer must have seen. The IPFS
/// node is asked: what a table says does not count.
pub(crate) async fn holds(
    state: &StateStore,
    ipfs: &SharedIpfs,
    seq: Seq,
    rev: Rev,
) -> Result<bool, String> {
    let found = state.read(move |state| query::stored(state, seq)).await;
    let Some(Stored::Live(pin)) = found.map_err(|e| e.to_string())? else {
        return Ok(false);
    };
    if pin.rev < rev {
        return Ok(false);
    }
    let mode = ipfs
        .pin_mode(pin.spec.cid)
        .await
        .map_err(|e| e.to_string())?;
    Ok(match pin.spec.mode {
        PinMode::Recursive => mode == Some(PinMode::Recursive),
        // A recursive pin also holds what a direct one would.
        PinMode::Direct => mode.is_some(),
    })
}
