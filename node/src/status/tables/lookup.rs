//! All tables at one moment, for lists.

use std::collections::BTreeSet;

use ipfs_cluster_protocol::{
    id::{PeerId, Rev, Seq},
    pin::PinPhase,
    status::{Content, Detail, PhaseSet},
};
use roaring::RoaringBitmap;

use super::{StatusTables, Tables};

/// The tables, held for the length of a closure.
#[derive(Debug)]
pub struct Lookup<'a> {
    local: &'a PeerId,
    tables: &'a Tables,
}

impl StatusTables {
    /// Looks at all tables at once. The closure must be short: everything else waits for it.
    pub fn look<T>(&self, look: impl FnOnce(&Lookup<'_>) -> T) -> T {
        let tables = self.0.tables.lock();
        look(&Lookup {
            local: &self.0.local,
            tables: &tables,
        })
    }
}

impl<'a> Lookup<'a> {
    fn content(&self, peer: &PeerId) -> Option<&'a Content> {
        if peer == self.local {
            return Some(self.tables.own.content());
        }
        let table = self.tables.others.get(peer)?;
        Some(table.content())
    }

    /// The rev up to which a peer's table takes the state into account.
    #[must_use]
    pub fn as_of(&self, peer: &PeerId) -> Rev {
        if peer == self.local {
            return self.tables.own.as_of();
        }
        let table = self.tables.others.get(peer);
        table.map_or(Rev(0), |table| table.as_of())
    }

    /// How far a peer has come with a pin that changed last at `rev`; nothing when it has nothing
    /// to do with it.
    #[must_use]
    pub fn status(
        &self,
        peer: &PeerId,
        seq: Seq,
        rev: Rev,
    ) -> Option<(PinPhase, Option<&'a Detail>)> {
        if peer == self.local {
            return self.tables.own.status(seq, rev);
        }
        self.tables.others.get(peer)?.status(seq, rev)
    }

    /// The places in a block of 65 536 seqs that a peer has in some phase.
    #[must_use]
    pub fn known(&self, peer: &PeerId, block: u64) -> RoaringBitmap {
        let content = self.content(peer);
        content.map(|c| c.known(block)).unwrap_or_default()
    }

    /// At most `limit` pins `>= from` that are in one of `phases` at some of the peers; ascending.
    /// Whether the phase still counts (see [`Self::status`]) is to be checked per pin.
    #[must_use]
    pub fn page<'p>(
        &self,
        peers: impl IntoIterator<Item = &'p PeerId>,
        phases: &PhaseSet,
        from: Seq,
        limit: usize,
    ) -> Vec<Seq> {
        let mut found = BTreeSet::new();
        for content in peers.into_iter().filter_map(|peer| self.content(peer)) {
            found.extend(content.page(phases, from, limit));
        }
        found.into_iter().take(limit).collect()
    }
}
