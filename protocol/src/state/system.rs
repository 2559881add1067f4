//! What there is once: cluster, epoch, counters, log time, feature level, rolling hash.
//!
//! All of it is one row, read once and written once per entry.

use serde::{Deserialize, Serialize};

use super::{
    rows,
    tx::{StateRead, StateTx, StoreError, Table},
};
use crate::{
    codec,
    command::{FEATURE_LEVEL_MAX, Rejection},
    id::{ClusterId, Epoch, LogIndex, MemberNo, Rev, Seq},
    limits::EPOCH_MAX,
    time::Timestamp,
};

/// Bits of a pin's number below its epoch's.
const SEQ_BITS: u32 = 32;

/// The key of the one row of [`Table::System`].
const KEY: &[u8] = b"core";

/// The state as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct System {
    /// Drawn by the first peer; none before `Init`.
    #[serde(rename = "c")]
    pub cluster: Option<ClusterId>,
    /// Raised by recovery and restore.
    #[serde(rename = "e")]
    pub epoch: Epoch,
    /// The last entry applied.
    #[serde(rename = "i")]
    pub index: LogIndex,
    /// The last command applied.
    #[serde(rename = "r")]
    pub rev: Rev,
    /// The next new pin's number.
    #[serde(rename = "q")]
    pub next_seq: Seq,
    /// Log time: never falls.
    #[serde(rename = "t")]
    pub at: Timestamp,
    /// What may be proposed.
    #[serde(rename = "l")]
    pub feature_level: u32,
    /// The hash of all that was written up to `rev`.
    #[serde(rename = "h")]
    pub hash: u64,
    /// The next new member's number.
    #[serde(rename = "m")]
    pub next_member: MemberNo,
    /// Pins in the pinset.
    #[serde(rename = "p")]
    pub live_pins: u64,
    /// Removed pins that somebody has still to unpin.
    #[serde(rename = "d")]
    pub tombstones: u64,
}

impl Default for System {
    fn default() -> Self {
        Self {
            cluster: None,
            epoch: Epoch(0),
            index: LogIndex(0),
            rev: Rev(0),
            next_seq: Seq(1),
            at: Timestamp(0),
            feature_level: 1,
            hash: 0,
            next_member: MemberNo(1),
            live_pins: 0,
            tombstones: 0,
        }
    }
}

impl System {
    /// Reads it; a fresh one where nothing was applied yet.
    pub fn load(read: &dyn StateRead) -> Result<Self, StoreError> {
        Ok(rows::load(read, Table::System, KEY)?.unwrap_or_default())
    }

    pub(crate) fn save(&self, tx: &mut dyn StateTx) -> Result<(), StoreError> {
        tx.put(Table::System, KEY, &codec::encode(self))
    }

    pub(crate) fn init(&mut self, cluster: ClusterId, epoch: Epoch) -> Result<(), Rejection> {
        if self.cluster.is_some() {
            return Err(Rejection::AlreadyFormed);
        }
        self.cluster = Some(cluster);
        self.epoch = epoch;
        Ok(())
    }

    /// Each epoch numbers its pins in a range of its own: what was pinned in an abandoned epoch,
    /// after the entry the new one begins with, has numbers that are never given again. So whatever
    /// a peer keeps by a pin's number (its ledger of what is the cluster's on its IPFS node, above
    /// all) stays true when the peer comes over from that epoch.
    pub(crate) fn raise_epoch(&mut self, epoch: Epoch) -> Result<(), Rejection> {
        if epoch <= self.epoch {
            let current = self.epoch;
            return Err(Rejection::StaleEpoch { current });
        }
        if epoch > EPOCH_MAX {
            return Err(Rejection::Limit(format!("epochs end at {EPOCH_MAX}")));
        }
        self.epoch = epoch;
        self.next_seq = self.next_seq.max(Seq(epoch.0 << SEQ_BITS));
        Ok(())
    }

    /// Raises the feature level; one that this version does not know stops the peer, because what
    /// may come after it cannot be applied here.
    pub(crate) fn raise_level(&mut self, level: u32) -> Result<Result<(), Rejection>, StoreError> {
        if level > FEATURE_LEVEL_MAX {
            return Err(StoreError(format!(
                "feature level {level} was set, this version knows up to {FEATURE_LEVEL_MAX}: \
                 upgrade this peer"
            )));
        }
        if level < self.feature_level {
            return Ok(Err(Rejection::FeatureLevel {
                current: self.feature_level,
                wanted: level,
            }));
        }
        self.feature_level = level;
        Ok(Ok(()))
    }
}
